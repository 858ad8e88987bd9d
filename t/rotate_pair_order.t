#!/usr/bin/env perl

# P1 and P3: certificate and key are two files, written one after the other, in any order, with gaps,
# half or not at all for a moment, and cleared at the worst time: no handshake fails, none is served a
# mixture. Each generation has its own key and its own intermediate, and the clients verify.

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

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;

        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

$t->ca("intermediate $_", issuer => 'root') for 1, 2;
my @pairs = map { $t->pair('a.test', issuer => 'intermediate ' . ($_ % 2 + 1)) } 1 .. 4;
my $now = $t->install($pairs[0]);

$t->start();
my @pids = $t->worker_pids();
is(served(), $now->{serial}, 'the first');
$t->start_load(\&client) for 1 .. 2;

# one half, a clear, the other half, a clear; the last good serves between them

my $next = 1;
for my $order (['cert', 'key'], ['key', 'cert'], ['cert', 'key'], ['key', 'cert']) {
	my $new = $pairs[$next++ % @pairs];
	my $what = "$order->[0] first";

	$t->install($new, only => $order->[0]);
	$t->clear();
	is(served(), $now->{serial}, "P3: $what: the last good between the two files");
	is($t->clear('?name=a.test')->{status}, 422, "$what: a clear of the name says so");

	$t->install($new, only => $order->[1]);
	$t->clear();
	is(served(), $new->{serial}, "P2: $what: the new one after both");
	$now = $new;
}

# a file that is being written; a cut between two certificates leaves a whole chain, but a shorter one

for my $cut ('cert', 'key', 'leaf') {
	my $new = $pairs[$next++ % @pairs];
	my $half = $cut eq 'key' ? 'key' : 'cert';
	my $part = $cut eq 'leaf' ? $new->{leaf} : substr $new->{$half}, 0, length($new->{$half}) / 2;
	my $file = $t->dir() . "/certs/a.test.$half.pem";

	$t->install($new, only => $half eq 'cert' ? 'key' : 'cert');
	spew($file, $part);
	$t->clear();
	is(served(), $now->{serial}, "P3: $cut, cut short: the last good");

	spew($file, '');
	$t->clear();
	is(served(), $now->{serial}, "P3: an empty $half: the last good");

	spew($file, $new->{$half});
	$t->clear();
	is(served(), $new->{serial}, "P2: the whole $half: the new one");
	$now = $new;
}

# no file for a moment

$t->remove('a.test');
$t->clear();
is(served(), $now->{serial}, 'P3: absent for a moment: the last good');

$now = $pairs[$next++ % @pairs];
$t->install($now);
$t->clear();
is(served(), $now->{serial}, 'P2: back again: the new one');

# many rotations with gaps, and a clear after each file and in each gap

for my $round (1 .. 40) {
	my $new = $pairs[$next++ % @pairs];
	my @order = $round % 2 ? ('cert', 'key') : ('key', 'cert');
	$t->install($new, only => $order[0]);
	$t->clear() if $round % 3;
	select undef, undef, undef, 0.02 * ($round % 4);
	$t->clear() if $round % 5;
	$t->install($new, only => $order[1]);
	$t->clear();
	$now = $new;
}
is(served(), $now->{serial}, 'P2: after many rotations');

my $load = $t->stop_load();
is(join("\n", @{ $load->{wrong} }), '', "P1, P3: no handshake of $load->{count} failed");
cmp_ok($load->{count}, '>', 100, 'there were handshakes all the time');
is_deeply([$t->worker_pids()], \@pids, 'P4: the same workers');

# a pair is looked at each time it is another one, and told of once each

my @bad = $t->log_lines(qr/\[warn\]/);
cmp_ok(scalar @bad, '>=', 8, 'the bad pairs are in the log');

$t->install($pairs[$next++ % @pairs], only => 'cert');
$t->clear();
my @ok = grep { served() eq $now->{serial} } 1 .. 30;
is(@ok, 30, 'P3: with a bad pair: the last good');
my $more = (() = $t->log_lines(qr/\[warn\]/)) - @bad;
ok($more >= 1 && $more <= @pids, "which the log has, and not once for each handshake: $more");

$t->done();

###############################################################################

sub served { return $t->handshake('tls', 'a.test', verify => 'root')->{serial} // 'none' }

sub client {
	my $got = $t->handshake('tls', 'a.test', verify => 'root');
	return $got->{error} if !$got->{ok};
	return $got->{chain} == 2 ? undef : "a chain of $got->{chain}";
}
