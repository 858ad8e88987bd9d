#!/usr/bin/env perl

# P13: a worker that is stopped at a store of a write, with the zone's lock, holds up no handshake of the
# other worker, neither for names that are served nor for new ones; a push is answered 503 within 5 s, and
# is taken again when the stopped one is killed. A master that is stopped or killed in a reload holds up
# nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Test::SharedCert;
use Time::HiRes qw/ sleep time /;

my $t = Test::SharedCert->new(fault => 1)->with_faults();
my $points = $ENV{TEST_STOP_POINTS} // 6;
$Test::SharedCert::TIMEOUT = 60 + 10 * $points;
alarm $Test::SharedCert::TIMEOUT;
my $each = 100;    # handshakes

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:2m load=lazy valid=off;
    rust_shared_cert_zone zone=startup:1m load=startup
        cert=startup/$ssl_server_name.cert.pem key=startup/$ssl_server_name.key.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_startup%% ssl;
        rust_shared_cert startup;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=on; }
    }
}
EOF

my @pairs = map { $t->pair('a.test') } 0, 1;
my $wild = $t->pair('*.wild.test');
my $next = 0;
$t->install($wild, as => "n$_.wild.test") for 0 .. $each * (4 + 4 * $points);
mkdir $t->dir() . '/startup';
$t->install($t->pair('s.test'), dir => 'startup');
$t->start();
$t->push_set($pairs[1]);
$t->push_set($pairs[0]);
my $stores = $t->stores_of(sub { $t->push_set($pairs[1]) });
$t->push_set($pairs[0]);

my %quiet = (served => [], new => []);
my %stopped = (served => [], new => []);
my ($bad, $late, $again) = (0, 0, 0);
my @answers;
for my $n (0 .. $points - 1) {
	# each with its own quiet time before it: a machine is not the same all the time
	push @{ $quiet{$_} }, @{ measure($_) } for 'served', 'new';
	$t->arm(int($stores * ($n + 0.5) / $points), 'STOP');
	my $pusher = fork() // die;
	if (!$pusher) {
		$t->push_set($pairs[1]);
		POSIX::_exit(0);
	}
	wait_for(10, sub { $t->struck() });
	my $pid = $t->struck() or die "no worker was stopped at point $n";
	push @{ $stopped{$_} }, @{ measure($_) } for 'served', 'new';

	my $begin = time();
	my $got = $t->push_set($pairs[1]);
	push @answers, $got->{status} // $got->{error};
	$late++ if time() - $begin > 6;
	kill 'KILL', $pid;
	waitpid $pusher, 0;
	wait_for(10, sub { $t->workers_ready() });
	$again++ if wait_for(5, sub { ($t->push_set($pairs[0])->{status} // 0) == 200 });
	$bad++ if $t->handshake('tls', 'a.test')->{serial} ne $pairs[0]{serial};
}
is(join(' ', @answers), join(' ', (503) x $points), 'P13: pushes are refused meanwhile');
is($late, 0, 'within 5 s');
is($again, $points, 'and taken again when the stopped worker is killed');
is($bad, 0, 'and served');
for my $kind ('served', 'new') {
	my ($p99, $of_quiet) = map { percentile($_, 0.99) } $stopped{$kind}, $quiet{$kind};
	my ($median, $quiet_median) = map { percentile($_, 0.5) } $stopped{$kind}, $quiet{$kind};
	diag(sprintf '%s names: median %.2f ms, quiet %.2f; p99 %.2f ms, quiet %.2f', $kind,
		map { 1000 * $_ } $median, $quiet_median, $p99, $of_quiet);
	cmp_ok($median, '<', 1.5 * $quiet_median, "P13: handshakes for $kind names do not wait");
	# a machine that does other things too
	cmp_ok($p99, '<', 1.5 * $of_quiet + 0.02, "P13: nor do the slowest for $kind names");
}

# the master, in a reload

my @old = $t->worker_pids();
my $of_files = $t->install($t->pair('s.test'), dir => 'startup');
$t->arm(20, 'STOP');
kill 'HUP', $t->master();
ok(wait_for(10, sub { $t->struck() }), 'the master is stopped in a reload');
is($t->struck(), $t->master(), 'while it writes to a zone');
for my $port ('tls', 'startup') {
	my $name = $port eq 'tls' ? 'a.test' : 's.test';
	is(scalar(grep({ $t->handshake($port, $name)->{ok} } 1 .. 20)), 20, "P13: handshakes go on: $port");
}
my $status = $t->push_set($pairs[0])->{status};
ok($status == 200 || $status == 503, "a push is answered: $status");
kill 'CONT', $t->master();
ok(wait_for(20, sub { my %now = map { $_ => 1 } $t->worker_pids(); $t->workers_ready() && !grep { $now{$_} } @old }),
	'the reload is done when it goes on');
ok(wait_for(10, sub { ($t->push_set($pairs[1])->{status} // 0) == 200 }), 'and pushes are taken');
is($t->handshake('tls', 'a.test')->{serial}, $pairs[1]{serial}, 'and served');
is($t->handshake('startup', 's.test')->{serial}, $of_files->{serial}, 'with what the reload has read');

# killed there: its workers go on, and a new master starts on the same ports when they have ended

my $orphans = join ' ', $t->worker_pids();
$t->install($t->pair('s.test'), dir => 'startup');
$t->arm(20, 'KILL');
kill 'HUP', $t->master();
ok(wait_for(10, sub { $t->struck() }), 'the master is killed in a reload');
waitpid delete $t->{master}, 0;
is(scalar(grep({ $t->handshake('startup', 's.test')->{ok} } 1 .. 20)), 20, 'P13: its workers serve');
is(scalar(grep({ $t->handshake('tls', 'a.test')->{ok} } 1 .. 20)), 20, 'P13: from both zones');
my $begin = time();
my $orphaned = $t->push_set($pairs[0])->{status} // 'nothing';
like($orphaned, qr/^(?:200|503)$/, "P13: a push is answered: $orphaned");
cmp_ok(time() - $begin, '<', 6, 'in time');
is($t->handshake('tls', 'a.test')->{serial}, $pairs[$orphaned eq '200' ? 0 : 1]{serial}, 'and served, if it was taken');
kill 'KILL', split ' ', $orphans;
unlink $t->dir() . '/nginx.pid', $t->dir() . '/api.sock';
ok(eval { $t->start(); 1 }, 'and it starts again') or diag($@);
ok($t->handshake('startup', 's.test')->{ok}, 'and serves');

$t->allow_alert(qr/exited on signal 9|shared memory zone "certs" was locked by/);
$t->done();

###############################################################################

sub measure {
	my ($kind) = @_;
	my @took;
	for (1 .. $each) {
		my $name = $kind eq 'served' ? 'a.test' : 'n' . $next++ . '.wild.test';
		my $begin = time();
		$t->handshake('tls', $name)->{ok} or die "no handshake for $name";
		push @took, time() - $begin;
	}
	return \@took;
}

sub percentile {
	my ($took, $part) = @_;
	my @sorted = sort { $a <=> $b } @$took;
	return $sorted[int($part * $#sorted)];
}
