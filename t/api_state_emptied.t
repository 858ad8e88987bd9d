#!/usr/bin/env perl

# What is not in the state directory for any other reason than that it was removed by a call goes on being
# served: a directory that was emptied, the one of an earlier configuration, an entry that cannot be read.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $d = $t->dir();

my $conf = <<'EOF';
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
        location /slow { limit_rate 1; return 200 "long"; }
    }
}
EOF
$t->conf($conf, log => 'info');
my @pairs = map { $t->pair("$_.test") } 'a', 'b', 'c';
$t->start(daemon => 1);
is($t->push_set($_)->{status}, 201, 'pushed') for @pairs;

# emptied under a running NGINX

for my $files ('all', 'entries') {
	empty("$d/state", $files eq 'all' ? () : ('-name', '[a-z]*'));
	sleep 5;
	serves("when it was emptied: $files");
	if ($files eq 'all') {
		my $got = $t->push_set($pairs[0]);
		is($got->{status}, 503, 'what is pushed could not be kept') or diag($got->{all});
		my $lines = $t->log_lines(qr/\[error\].*was emptied, reload NGINX/);
		ok($lines == 1 || $lines == 2, "which is told once in a minute: $lines");
	}
	ok($t->reload(), 'a reload');
	ok(-e "$d/state/a.test" && -e "$d/state/c.test", "after which it has what is served: $files");
	is($t->push_set($pairs[0])->{status}, 200, 'and takes pushes');
}
$t->stop();
$t->start(daemon => 1);
serves('after a restart');

# an entry that cannot be read when the directory is taken over

my $old = $t->master();
my $new = $t->upgrade();
chmod 0640, "$d/state/a.test";
ok(wait_for(20, sub { $t->api('DELETE', 'sets/c.test')->{status} == 200 }), 'a set is removed by the new master');
kill 'QUIT', $new;
ok(wait_for(20, sub { !-d "/proc/$new" }), 'which ends');
ok(wait_for(15, sub { $t->log_lines(qr/taken over: its owner is gone/) }), 'the old one takes over');
is($t->handshake('tls', 'c.test')->{alert}, 112, 'what was removed is gone');
pop @pairs;
serves('what cannot be read');
chmod 0600, "$d/state/a.test";
ok(wait_for(10, sub { -e "$d/nginx.pid" }), 'the pid file is back');

# of an earlier configuration, one of whose workers has a connection still

my $slow = $t->api_connect();
$slow->autoflush(1);
print $slow "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
sysread $slow, my $first, 100;
$t->conf($conf =~ s!%%DIR%%/state!%%DIR%%/other!r, log => 'info');
ok($t->reload(), 'a reload to another directory');
is($t->workers_of($old) - 2, 1, 'the control: a worker of the earlier one is there still');
push @pairs, $t->pair('d.test');
is($t->push_set($pairs[-1])->{status}, 201, 'pushed');
empty("$d/state");
sleep 6;
serves('when the directory of the earlier one was emptied');
ok(!-e "$d/state/.owner", 'which nobody takes');
close $slow;
$t->done();

sub empty {
	my ($directory, @which) = @_;
	run_command('find', $directory, '-mindepth', 1, @which, '-delete');
	return;
}

sub serves {
	my ($what) = @_;
	is($t->handshake('tls', $_->{name})->{serial}, $_->{serial}, "$_->{name} is served: $what") for @pairs;
	return;
}
