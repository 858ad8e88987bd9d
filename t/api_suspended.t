#!/usr/bin/env perl

# While a push waits for the disk, events of its connection are no reason to go on, and the worker is
# not to end before the disk is through.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;
use Time::HiRes qw/ sleep time /;

my $t = Test::SharedCert->new(root => 1);
my $slow = $t->slow_fsync() // plan(skip_all => 'no C compiler');

$t->conf(<<'EOF', workers => 1, log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off state=%%DIR%%/state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
        location / { return 200 "other\n"; }
    }
}
EOF

my @pairs = map { $t->pair('a.test') } 0 .. 9;
my $push = sub {
	my ($pair) = @_;
	return $t->api_request('PUT', 'sets/a.test', body => $t->bundle($pair), headers => { Connection => 'keep-alive' });
};
my $next = "GET /other HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
$t->start(preload => $slow);
is($t->push_set($pairs[0])->{status}, 201, 'pushed');

# the next request comes while the push is at the disk, in pieces

my $s = $t->api_connect();
$s->autoflush(1);
print $s $push->($pairs[1]);
for my $piece (unpack '(a9)*', $next) {
	sleep 0.03;
	print $s $piece;
}
my $answer = join '', <$s>;
like($answer, qr!^HTTP/1\.1 200 OK\r\n.*"changed":true.*HTTP/1\.1 200 OK\r\n.*\r\n\r\nother\n$!s,
	'a pipelined request is answered after the push') or diag($answer);
is($t->handshake('tls', 'a.test')->{serial}, $pairs[1]{serial}, 'which is served');

# the answer to one request is on its way on a connection whose client reads slowly: its socket becomes
# writable in the middle of the next one

$s = $t->api_connect();
$s->autoflush(1);
print $s "GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n", $push->($pairs[2]);
sleep 0.1;
sysread $s, my $first, 4096;
print $s $next;
$answer = join '', <$s>;
like($answer, qr!"changed":true.*other\n$!s, 'events of a socket that can be written to again');
is($t->handshake('tls', 'a.test')->{serial}, $pairs[2]{serial}, 'the push is served');

# clients that go away

for my $n (3 .. 5) {
	$s = $t->api_connect();
	print $s $push->($pairs[$n]);
	$s->flush();
	sleep 0.05 * ($n - 2);
	close $s;
}
ok(wait_for(10, sub { $t->handshake('tls', 'a.test')->{serial} eq $pairs[5]{serial} }),
	'a push goes on without its client');

# a worker that is to end

$s = $t->api_connect();
print $s $push->($pairs[6]);
$s->flush();
sleep 0.1;
my ($worker) = $t->worker_pids();
kill 'HUP', $t->master();
my $text = '';
while (sysread $s, $text, 4096, length $text) { }
like($text, qr!^HTTP/1\.1 (?:200|503) !, 'a push in a worker that is told to end is answered');
my $is_taken = $text =~ m!^HTTP/1\.1 200 !;
ok(wait_for(20, sub { !-d "/proc/$worker" }), 'and the worker ends');
my $expected = $pairs[$is_taken ? 6 : 5]{serial};
is($t->handshake('tls', 'a.test')->{serial}, $expected, 'what was answered is what is served');
$t->stop();
$t->start();
is($t->handshake('tls', 'a.test')->{serial}, $expected, 'and what is on the disk');

$t->done();
