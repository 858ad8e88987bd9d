#!/usr/bin/env perl

# A reload to load=startup while a worker holds the zone's lock: one that is stopped makes the reload
# fail, and the old configuration goes on; one that was killed holds nothing up.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw/ time /;
use Test::SharedCert;

my $ZONE = 1116 * 1024;    # no other mapping has this size

my $t = Test::SharedCert->new(root => 1);

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1116k %%LOAD%%;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
    }
}
EOF
$t->conf($conf =~ s/ %%LOAD%%//r, log => 'notice');
my $pair = $t->install($t->pair('a.test'));
$t->start();
is(served(), $pair->{serial}, 'lazy');

my ($worker) = $t->worker_pids();
lock_as($worker);
$t->conf($conf =~ s/%%LOAD%%/load=startup/r, log => 'notice');
ok(!$t->reload(), 'a reload while a worker has the lock');
like(($t->log_lines(qr/\[emerg\]/))[-1], qr/zone "certs" is being written to by another process for too long/,
	'is refused');
is(served(), $pair->{serial}, 'the old configuration goes on');

kill 'HUP', $t->master();
select undef, undef, undef, 0.5;
kill 'KILL', $worker;
my $begin = time();
ok(wait_for(10, sub { $t->log_lines(qr/\[notice\].*1 certificates looked at/) && $t->workers_ready() }),
	'a reload while its holder is killed');
cmp_ok(time() - $begin, '<', 4, 'goes on at once');
is(served(), $pair->{serial}, 'the new configuration serves');

$t->allow_alert(qr/exited on signal 9/);
$t->done();

###############################################################################

# The first word of the zone is the pid of who has its lock.
sub lock_as {
	my ($pid) = @_;
	my ($from) = $t->zone_range($pid, $ZONE);
	open my $fh, '+<:raw', "/proc/$pid/mem" or die $!;
	sysseek $fh, $from, 0;
	syswrite $fh, pack('Q', $pid) or die $!;
	return;
}

sub served {
	for (1 .. 5) {
		my $got = $t->handshake('tls', 'a.test');
		return $got->{serial} if $got->{serial};
	}
	return 'none';
}
