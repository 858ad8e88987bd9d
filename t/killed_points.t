#!/usr/bin/env perl

# P12: a worker that is killed at a store of a write, and one that is killed while it repairs what that
# left, leave a zone that works: each set is the old or the new one, pushes and clears go on, and no memory
# is lost. All points with TEST_KILL_POINTS=all, else some of each operation.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(fault => 1)->with_faults();
$Test::SharedCert::TIMEOUT = 3600 if $ENV{TEST_KILL_POINTS};
alarm $Test::SharedCert::TIMEOUT;
my $points = $ENV{TEST_KILL_POINTS} // 40;

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:256k load=lazy valid=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=on; }
    }
}
EOF

my ($old, $new) = map { $t->pair('a.test', san => ['a.test', "www$_.a.test"]) } 1, 2;
my @kept = map { $t->pair("kept$_.test") } 1 .. 3;
my $other = $t->pair('kept1.test');
my $inserted = $t->pair('b.test', key => 'rsa');
my $lazy = $t->install($t->pair('lazy.test'));
$t->start();
my $empty = used();

my %operations = (
	'a push of a new set' => [sub { $t->push_set($inserted) }, { 'b.test' => [undef, $inserted] }],
	'a push over a set' => [sub { $t->push_set($new) }, { 'a.test' => [$old, $new] }],
	'a rollback' => [sub { $t->api('POST', 'sets/a.test/rollback') }, { 'a.test' => [$new, $old] },
		sub { $t->push_set($new) }],
	'a previous set that is dropped' => [sub { $t->api('DELETE', 'sets/a.test/previous') },
		{ 'a.test' => [$new] }, sub { $t->push_set($new) }],
	'a removal' => [sub { $t->api('DELETE', 'sets/a.test') }, { 'a.test' => [$old, undef] }],
	'a lazy load' => [sub { $t->handshake('tls', 'lazy.test') }, { 'lazy.test' => [$lazy] },
		sub { $t->push_set($lazy); $t->api('DELETE', 'sets/lazy.test') }],
);

my ($kills, $repairs) = (0, 0);
my $of_repair = repair_stores();
for my $what (sort keys %operations) {
	my ($do, $may_serve, $prepare) = @{ $operations{$what} };
	begin($prepare);
	my $stores = $t->stores_of($do);
	cmp_ok($stores, '>', 5, "$what: $stores stores");
	my $step = $points eq 'all' ? 1 : int($stores / $points) || 1;
	my ($bad, $not_struck) = (0, 0);
	for (my $point = 0; $point < $stores; $point += $step) {
		begin($prepare);
		# who comes next repairs, a new worker or a writer; it is killed as well, somewhere
		my $in_repair = $kills % 2 ? undef : 37 * $point % $of_repair;
		$t->arm($point, 'KILL', $in_repair);
		$do->();
		my $struck = $t->struck();
		if (!$struck) {
			$not_struck++;
			$t->disarm();
			next;
		}
		$kills++;
		if (defined $in_repair) {
			$t->push_set($other);
			$repairs++ if $t->struck() != $struck;
			$t->disarm();
		} elsif ($kills % 6 == 0) {
			$bad++ if !is_same_everywhere(keys %$may_serve, "$what, $point");
		}
		$bad++ if !is_consistent($may_serve, "$what, $point");
		$bad++ if !goes_on("$what, $point");
	}
	is($bad, 0, "P12: $what: nothing is lost");
	# some of a lazy load's depend on what other workers have noted
	cmp_ok($not_struck, '<=', $stores / $step / 4, 'the points were reached');
	ok(is_empty_again(), 'and no memory');
}
diag("kills $kills, kills of the next writer $repairs, repairs "
	. ($t->metrics()->{repairs_total} // 0));
cmp_ok($kills, '>=', 100, "$kills kills in a write");
cmp_ok($repairs, '>=', 50, "$repairs kills of the one that comes next");
cmp_ok($t->metrics()->{repairs_total}, '>', 0, 'zones were repaired');

$t->allow_alert(qr/exited on signal 9|shared memory zone "certs" was locked by/);
$t->done();

###############################################################################

# How many stores a repair has, with the push that it comes before.
sub repair_stores {
	begin();
	$t->arm(60);
	return $t->stores_of(sub {
		$t->push_set($new);
		$t->struck() or die 'nobody was killed';
		wait_for(10, sub { $t->workers_ready() });
		$t->push_set($other);
	}) - 60;
}

sub used { return $t->api('GET', '')->{json}{bytes_used} }

sub begin {
	my ($prepare) = @_;
	for my $pair ($old, @kept) {
		works(sub { $t->push_set($pair) }) or die "no push";
	}
	works(sub { $t->api('DELETE', "sets/$_/previous") }, 200, 404) for 'a.test', 'kept1.test';
	works(sub { $t->api('DELETE', 'sets/b.test') }, 200, 404);
	$prepare->() if $prepare;
	return;
}

# A killed worker takes the connections along that it has accepted.
sub works {
	my ($call, @good) = @_;
	@good = (200, 201) if !@good;
	my $got;
	return wait_for(10, sub {
		$got = $call->();
		my $status = $got->{status} // 0;
		return grep { $_ == $status } @good;
	}) || !diag('answered: ' . ($got->{all} // $got->{error} // 'nothing'));
}

sub served {
	my ($name) = @_;
	my $got;
	wait_for(10, sub {
		$got = $t->handshake('tls', $name);
		return $got->{ok} || ($got->{alert} // 0) == 112;
	});
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}

sub is_consistent {
	my ($may_serve, $what) = @_;
	my %expected = (map({ $_->{name} => [$_] } @kept), 'kept1.test' => [$kept[0], $other],
		'a.test' => [$old], %$may_serve);
	my $good = 1;
	for my $name (sort keys %expected) {
		my @serials = map { $_ ? $_->{serial} : 'alert 112' } @{ $expected{$name} };
		my $served = served($name);
		next if grep { $_ eq $served } @serials;
		diag("$what: $name serves $served and not one of @serials");
		$good = 0;
	}
	return $good;
}

# All workers go by the same, with nobody writing.
sub is_same_everywhere {
	my ($name, $what) = @_;
	wait_for(10, sub { $t->workers_ready() });
	my %served = map { served($name) => 1 } 1 .. 16;
	return 1 if keys %served == 1;
	diag("$what: $name serves " . join ' and ', sort keys %served);
	return 0;
}

sub goes_on {
	my ($what) = @_;
	my $good = works(sub { $t->push_set($new) }) && served('a.test') eq $new->{serial}
		&& works(sub { $t->api('POST', 'clear') }) && served('lazy.test') eq $lazy->{serial};
	diag("$what: it does not go on") if !$good;
	return $good;
}

sub is_empty_again {
	my @names = map { $_->{name} } @{ $t->api('GET', 'sets/')->{json}{sets} };
	works(sub { $t->api('DELETE', "sets/$_") }, 200, 404) for @names;
	# what is left is lazy, and goes when it is replaced and removed
	for my $set (@{ $t->api('GET', 'sets/')->{json}{sets} }) {
		works(sub { $t->push_set($lazy) });
		works(sub { $t->api('DELETE', "sets/$set->{name}") });
	}
	my $used = used();
	diag("used $used, at first $empty") if $used != $empty;
	return $used == $empty;
}
