#!/usr/bin/env perl

# valid=: files of a name that serves are looked at again, without a clear. A name that is being used
# is looked at by a timer, by one worker for all; one that is not, in the next handshake for it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw/ sleep time /;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m valid=2s;
    rust_shared_cert_zone zone=never:1m valid=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_off%% ssl;
        rust_shared_cert never;
    }
}
EOF

my %pair;
for my $name ('used.test', 'idle.test') {
	$pair{$name} = [map { $t->pair($name) } 0 .. 2];
}
$t->install($_->[0]) for values %pair;
my $same = $t->install($t->pair('same.test'));
$t->start();
is(served('tls', $_), $pair{$_}[0]{serial}, "$_ at first") for sort keys %pair;
is(served('tls', 'same.test'), $same->{serial}, 'same.test at first');
is(served('off', 'used.test'), $pair{'used.test'}[0]{serial}, 'and in the other zone');

# in use: from one worker to the other, no handshake finds it late or waits for it

for my $n (1, 2) {
	$t->install($pair{'used.test'}[$n]);
	my $begin = time();
	my $seen;
	wait_for(6, sub { $seen = served('tls', 'used.test'); $seen eq $pair{'used.test'}[$n]{serial} });
	my $took = time() - $begin;
	is($seen, $pair{'used.test'}[$n]{serial}, "rotation $n of a name in use");
	cmp_ok($took, '<', 3.5, "within valid and a second, here $took s");
	my $all = $t->seen_by_all('tls', 'used.test');
	is_deeply([sort map { $_->[-1]{serial} } values %$all], [($pair{'used.test'}[$n]{serial}) x 2],
		'and in every worker');
}

# idle: the first handshake after that time has the new one

$t->install($pair{'idle.test'}[1]);
sleep 3.2;
is(served('tls', 'idle.test'), $pair{'idle.test'}[1]{serial}, 'a name that was idle');

# files that did not change: still a hit, nothing is read

served('tls', 'same.test') for 1 .. 20;
my $end = time() + 5;
my %status;
while (time() < $end) {
	my $got = $t->handshake('tls', 'same.test', get => '/status');
	$status{ $got->{body} }++;
	sleep 0.01;
}
is($status{file} // 0, 0, 'files that did not change are not read again');
cmp_ok($status{hit}, '>', 20 * ($status{zone} // 0), 'and hardly a handshake is off the hit path');

# half a rotation: the last good, until it is whole

my ($old, $new) = @{ $pair{'used.test'} }[2, 0];
$t->install($new, only => 'cert');
my $stale = 0;
wait_for(4, sub {
	my $got = $t->handshake('tls', 'used.test', get => '/status');
	$stale++ if $got->{body} eq 'stale';
	return $got->{serial} ne $old->{serial};
}) and fail('P3: something else than the last good');
cmp_ok($stale, '>', 0, 'P3: the last good while half is there');
$t->install($new, only => 'key');
ok(wait_for(4, sub { served('tls', 'used.test') eq $new->{serial} }), 'and the new one when it is whole');

# off: nothing is seen without a clear

is(served('off', 'used.test'), $pair{'used.test'}[0]{serial}, 'valid=off: as at the beginning');

$t->done();

###############################################################################

sub served {
	my $got = $t->handshake(@_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
