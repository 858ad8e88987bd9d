#!/usr/bin/env perl

# A slow disk holds up no handshake, and writers of one NAME have one history: every push is written in
# a thread, in the same order as in memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
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
    }
}
EOF

my @pairs = map { $t->pair('a.test') } 0 .. 1;
$t->start(preload => $slow);

my $begin = time();
is($t->push_set($pairs[0])->{status}, 201, 'pushed');
cmp_ok(time() - $begin, '>', 0.35, 'the control: a push waits for the disk');

my $pusher = fork() // die;
if (!$pusher) {
	my @bad = grep { $t->push_set($pairs[$_ % 2])->{status} != 200 } 1 .. 8;
	POSIX::_exit(scalar @bad);
}
my (@took, $wrong);
while (waitpid($pusher, POSIX::WNOHANG()) == 0) {
	my $start = time();
	$wrong++ unless $t->handshake('tls', 'a.test')->{ok};
	push @took, time() - $start;
}
is($? >> 8, 0, 'all pushes were taken');
@took = sort { $a <=> $b } @took;
my $p99 = $took[int(0.99 * $#took)];
ok(!$wrong && @took > 100, @took . ' handshakes meanwhile');
cmp_ok($p99, '<', 0.05, sprintf 'the p99 of handshakes is under 50 ms (%.1f ms)', 1000 * $p99);

# a writer that is not yet done, and one that comes: both are answered, in order

$t->stop();
$t->start();
$t->push_set($pairs[0]);
my @children;
for my $n (0 .. 7) {
	my $pid = fork() // die;
	if (!$pid) {
		my $got = $t->push_set($pairs[$n % 2]);
		POSIX::_exit($got->{status} == 200 ? 0 : 1);
	}
	push @children, $pid;
}
my $failed = 0;
for (@children) {
	waitpid $_, 0;
	$failed++ if $?;
}
is($failed, 0, 'pushes of one NAME at the same time are all taken');
my $serial = $t->handshake('tls', 'a.test')->{serial};
my $generation = $t->api('GET', 'sets/a.test')->{json}{generation};
$t->stop();
$t->start();
is($t->handshake('tls', 'a.test')->{serial}, $serial, 'the last one in memory was the last on disk');
is($t->api('GET', 'sets/a.test')->{json}{generation}, $generation, 'of the same generation');

$t->done();
