#!/usr/bin/env perl

# P12 for state=DIR: a worker that is killed in the middle of a push leaves the old set or the new one,
# the same in memory and on disk; and so does a master that is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Test::SharedCert;
use Time::HiRes qw/ sleep time /;

my $KILLS = $ENV{TEST_STATE_KILLS} // 40;

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off state=%%DIR%%/state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
        location = /pid { return 200 $pid; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

my @pairs = map { $t->pair('a.test') } 0 .. 1;
my %which = map { $pairs[$_]{serial} => $_ } 0 .. 1;
$t->start();
is($t->push_set($pairs[0])->{status}, 201, 'pushed');

# how long a push takes here, in seconds
my $push_time = time();
$t->push_set($pairs[$_ % 2]) for 1 .. 10;
$push_time = (time() - $push_time) / 10;

# a client pushes one and the other; a worker is killed at some moment

my ($wrong, $answered, $moved) = (0, 0, 0);
my $served = 0;
# on a busy machine most are killed before their first push
for my $n (1 .. 4 * $KILLS) {
	last if $n > $KILLS && $moved > $KILLS / 5;
	my $pusher = fork() // die;
	if (!$pusher) {
		for (1 .. 20) {
			my $got = $t->push_set($pairs[$_ % 2]);
			POSIX::_exit(1) if !$got->{status};
		}
		POSIX::_exit(0);
	}
	sleep rand 10 * $push_time;
	my @workers = $t->worker_pids();
	kill 'KILL', $workers[rand @workers];
	waitpid $pusher, 0;
	wait_for(10, sub { $t->worker_pids() == 2 });

	my %memory = map { ($_->{serial} // 'none') => 1 }
		map { @$_ } values %{ $t->seen_by_all('tls', 'a.test') };
	my ($serial) = keys %memory;
	my $disk = disk();
	my $shown = $t->api('GET', 'sets/a.test')->{json};
	if (keys %memory != 1 || !exists $which{$serial} || $disk ne "a.test$serial") {
		$wrong++;
		diag("kill $n: served " . join(' ', keys %memory) . ", on disk $disk");
	}
	$moved++ if $served ne $serial;
	$served = $serial;
}
is($wrong, 0, "P12: $KILLS kills or more: memory and disk agree after each");
cmp_ok($moved, '>', $KILLS / 5, 'and the pushes between them did something');
ok(wait_for(10, sub { !grep { -s } glob $t->dir() . '/state/.lock-*' }), 'nothing is left unsettled');

# what a writer leaves that was killed: only a removal removes, where there is no entry

my ($lock) = glob $t->dir() . '/state/.lock-*';
for (['a.test', 1], ['a.test ' . (generation() - 1), 1], ['a.test ' . generation(), '']) {
	my ($mark, $stays) = @$_;
	unlink $t->dir() . '/state/a.test';
	spew($lock, $mark);
	ok(wait_for(10, sub { !-s $lock }), "settled: $mark");
	is($t->handshake('tls', 'a.test')->{ok} // '', $stays, $stays ? 'the set stays' : 'the set goes');
}
is($t->push_set($pairs[0])->{status}, 201, 'pushed again');

# all at once

# The second is NGINX's own word for a zone whose lock a killed worker had.
$t->allow_alert(qr/exited on signal 9|shared memory zone "certs" was locked by/);
my $master = $t->master();
my @workers = $t->worker_pids();
my $pusher = fork() // die;
if (!$pusher) {
	$t->push_set($pairs[$_ % 2]) for 1 .. 30;
	POSIX::_exit(0);
}
sleep 0.02;
kill 'KILL', $master, @workers;
waitpid $pusher, 0;
waitpid $master, 0;
delete $t->{master};
unlink $t->dir() . '/api.sock';    # as the package's ExecStopPost= does
my $disk = disk();
$t->start();
my $got = $t->handshake('tls', 'a.test')->{serial};
is("a.test$got", $disk, 'P12: after a kill of everything, what is on disk is served');
is($t->push_set($pairs[1 - $which{$got}])->{status}, 200, 'and a push works');

$t->done();

sub generation { return $t->api('GET', 'sets/a.test')->{json}{generation} }

# The name and the serial of the set on disk: its certificate is there as DER.
sub disk {
	my $bytes = slurp($t->dir() . '/state/a.test');
	my @at = map { [index($bytes, der($_)), $_] } @pairs;
	my ($first) = sort { $a->[0] <=> $b->[0] } grep { $_->[0] >= 0 } @at;
	return $first ? "a.test$first->[1]{serial}" : 'none';
}

sub der {
	my ($pair) = @_;
	require MIME::Base64;
	return MIME::Base64::decode_base64(join '', grep { !/-----/ } split /\n/, $pair->{leaf});
}
