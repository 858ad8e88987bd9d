#!/usr/bin/env perl

# P15 and GET metrics: each event moves its series, and nothing else does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;
    rust_shared_cert_zone zone=small:64k;
    rust_shared_cert_zone zone=kept:64k load=off state=%%DIR%%/state;

    ssl_session_cache shared:sessions:1m;
    ssl_session_tickets off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_static%% ssl;
        rust_shared_cert certs;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_small%% ssl;
        rust_shared_cert small;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
        location /small/ { rust_shared_cert_api small write=unix; }
        location /kept/ { rust_shared_cert_api kept write=unix; }
    }
}
EOF

my $d = $t->dir();
my $trouble = qr/\[(?:notice|warn|error|crit)\]/;

my $first = $t->install($t->pair('a.test', not_after => '490102030407Z'));
$t->install($t->pair('static'), dir => '.');

# something in the state directory that does not belong there
mkdir "$d/state", 0700 or die $!;
spew("$d/state/foreign.test", "hello\n");
chmod 0600, "$d/state/foreign.test";
chown scalar getpwnam('www-data'), 0, "$d/state", "$d/state/foreign.test" if $> == 0;
$t->start();

# nothing has happened yet

my $got = $t->api('GET', 'metrics');
is($got->{status}, 200, 'metrics');
is($got->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'as text');
my $now = $t->metrics();
is_deeply([grep { /timestamp/ } sort keys %$now], [], 'no certificate, no time');
is(join(' ', grep { $now->{$_} } grep { !/^(?:zone_|build_info)/ } sort keys %$now), '', 'all is 0');
is(scalar(grep { /^load_failures_total/ } keys %$now), 18, 'each reason is there');
is(scalar(grep { /^build_info\{version="[\d.]+"\}$/ } keys %$now), 1, 'the version');
is($t->metrics(prefix => '/kept/')->{state_errors_total}, 1, 'an error of the state directory');

# handshakes, each as its variable says

my %asked = map { $_ => 0 } qw/ hit zone file stale static none resumed /;
ask('tls', 'a.test') for 1 .. 12;
counted('from files, the zone and the cache');
is($asked{file}, 1, 'one read the files');
cmp_ok($asked{hit}, '>=', 10, 'most are hits');
ask('tls', 'unknown.test') for 1 .. 5;
ask('tls', undef);
is($asked{none}, 6, 'refused');
ask('static', $_) for 'unknown.test', undef;
is($asked{static}, 2, 'left to the static certificate');
counted('none and static');

my $session = $t->new_session();
ask('tls', 'a.test', version => 'TLSv1_2', session => $session) for 1 .. 5;
cmp_ok($asked{resumed}, '>=', 3, 'resumed');
counted('resumed');

$now = $t->metrics();
is($now->{'sets{source="lazy"}'}, 1, 'one lazy set');
is($now->{'not_after_timestamp_seconds{name="a.test",key_type="EC"}'}, 2493169447, 'when it ends');
is($now->{'not_before_timestamp_seconds{name="a.test",key_type="EC"}'}, 1577836800, 'and began');
is($now->{soonest_not_after_timestamp_seconds}, 2493169447, 'which is the soonest');

# a renewal that is bad, then is not

my $second = $t->pair('a.test');
my $mismatch = 'load_failures_total{reason="mismatch"}';
$t->install($second, only => 'key');
is($t->api('POST', 'clear')->{status}, 200, 'a clear');
ask('tls', 'a.test') for 1 .. 8;
is($asked{stale}, 8, 'the last good');
counted('stale');
$now = $t->metrics();
is($now->{$mismatch}, 1, 'files were not loaded');
is($now->{update_failing}, 1, 'an update is failing');
$t->install($second);
is($t->api('POST', 'clear?name=a.test')->{status}, 200, 'mended');
$now = $t->metrics();
is($now->{update_failing}, 0, 'none is failing');
is($now->{$mismatch}, 1, 'the failure stays counted');

# a name that never was good is no update

for my $half ('cert', 'key') {
	spew("$d/certs/bad.test.$half.pem", "bad\n");
	utime time - 60, time - 60, "$d/certs/bad.test.$half.pem";
}
ask('tls', 'bad.test');
$now = $t->metrics();
is($now->{'load_failures_total{reason="not_pem"}'}, 1, 'a bad pair');
is($now->{update_failing}, 0, 'is no update');

# pushes

my ($soon, $late) = (2493169445, 2493169446);
my $ec = $t->pair('p.test', not_after => '490102030405Z');
my $rsa = $t->pair('p.test', not_after => '490102030406Z', key => 'rsa');
is($t->push_set($ec)->{status}, 201, 'pushed');
$now = $t->metrics();
is_deeply([ends_of_p($now)], [$soon, undef], 'its end is there at once');
is($now->{'sets{source="pushed"}'}, 1, 'one pushed set');
my $previous = $now->{previous_sets};
is($t->push_set($rsa)->{status}, 200, 'another one');
$now = $t->metrics();
is_deeply([ends_of_p($now)], [undef, $late], 'has another end');
is($now->{previous_sets}, $previous + 1, 'a previous one is kept');
is($t->api('POST', 'sets/p.test/rollback')->{status}, 200, 'rolled back');
$now = $t->metrics();
is_deeply([ends_of_p($now)], [$soon, undef], 'to the end before');
my $brief = $t->metrics(query => 'names=0');
is(join(' ', grep { /name=/ } keys %$brief), '', 'names=0 leaves names out');
is($brief->{soonest_not_after_timestamp_seconds}, $now->{soonest_not_after_timestamp_seconds},
	'but not the soonest');
is($t->metrics(prefix => '/small/')->{'sets{source="pushed"}'}, 0, 'another zone is another one');

# a zone that becomes full

my $key = $t->pair('key.test', key => 'rsa');
my @lazy = map { $t->install($t->pair("lazy$_.test", reuse => $key)) } 1 .. 40;
$t->handshake('small', $_->{name}) for @lazy;
$now = $t->metrics(prefix => '/small/');
cmp_ok($now->{evictions_total}, '>', 0, 'lazy sets made room');
is($now->{'sets{source="lazy"}'} + $now->{evictions_total}, @lazy, 'for all others');
is($now->{no_room_total}, 0, 'no push was refused');
for my $n (1 .. 60) {
	$got = $t->push_set($key, as => "n$n.test", prefix => '/small/');
	last if $got->{status} != 201;
}
is($got->{status}, 507, 'full');
my $full = $t->metrics(prefix => '/small/');
is($full->{no_room_total}, 1, 'a push was refused');
cmp_ok($full->{'sets{source="lazy"}'}, '<=', 1, 'lazy sets are left only where a renewal has room');
is($full->{zone_size_bytes}, $now->{zone_size_bytes}, 'of the same size');

# P15: a storm of unknown names

counted('before the storm');
my $before = $t->metrics();
my $lines = $t->log_lines($trouble);
my %wrong;
for (1 .. 1000) {
	my $refused = $t->handshake('tls', "unknown-$_.test");
	$wrong{ $refused->{error} // 'served' }++ if ($refused->{alert} // 0) != 112;
}
is(join(' ', %wrong), '', 'a thousand unknown names are refused');
$asked{none} += 1000;
counted('a thousand unknown names');
my $after = $t->metrics();
my @moved = grep { ($after->{$_} // '') ne ($before->{$_} // '') } sort keys %{ { %$before, %$after } };
is_deeply(\@moved, ['handshakes_total{status="none"}'], 'P15: and nothing else moved');
is($t->log_lines($trouble) - $lines, 0, 'P15: no line above info');

# a reload: what old workers counted last is told when they end

ask('tls', 'a.test') for 1 .. 5;
ok($t->reload(), 'reload');
counted('over a reload');
is($t->metrics()->{$_}, $after->{$_}, "$_ is as it was")
	for $mismatch, 'sets{source="pushed"}', 'previous_sets';

# one worker counts, and its timer tells, though it has looked up no name; the other answers

ok($t->reload(), 'reload');
my ($one, $two) = $t->worker_pids();
halt($two);
ok($t->handshake('tls', 'a.test', version => 'TLSv1_2', session => $session)->{resumed},
	'resumed, in a worker that did nothing before');
$asked{resumed}++;
select undef, undef, undef, 2;
halt($one);
kill 'CONT', $two;
is($t->metrics()->{'handshakes_total{status="resumed"}'}, $asked{resumed}, 'told by its timer');
kill 'CONT', $one;

# as Prometheus reads it

SKIP: {
	skip('no promtool', 2) if !grep { -x "$_/promtool" } split /:/, $ENV{PATH};
	for my $prefix ('/certs/', '/kept/') {
		spew("$d/metrics", $t->api('GET', 'metrics', prefix => $prefix)->{body});
		$got = run_command('sh', '-c', "promtool check metrics <$d/metrics");
		is("$got->{status} $got->{all}", '0 ', "promtool has nothing to say of $prefix");
	}
}

$t->done();

###############################################################################

# A handshake that has to be counted, as what the variable says of it.
sub ask {
	my ($port, $name, %opt) = @_;
	my $got = $t->handshake($port, $name, get => '/status', host => 'x', %opt);
	$asked{ ($got->{alert} // 0) == 112 ? 'none' : $got->{body} // $got->{error} }++;
	return;
}

# Workers tell by their timers.
sub counted {
	my ($what) = @_;
	my %told;
	wait_for(8, sub {
		my $now = $t->metrics();
		%told = map { $_ => $now->{"handshakes_total{status=\"$_\"}"} } keys %asked;
		return !grep { $told{$_} != $asked{$_} } keys %asked;
	});
	is_deeply(\%told, \%asked, "counted: $what");
	return;
}

# Stopped for good: one that is about to stop still takes the event of a connection, which then waits
# for it.
sub halt {
	my ($pid) = @_;
	kill 'STOP', $pid;
	wait_for(10, sub { slurp("/proc/$pid/stat") =~ /\) T / }) or die "$pid does not stop";
	return;
}

sub ends_of_p {
	my ($now) = @_;
	my $family = 'not_after_timestamp_seconds{name="p.test",key_type=';
	return map { $now->{"$family\"$_\"}"} } 'EC', 'RSA';
}
