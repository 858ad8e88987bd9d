#!/usr/bin/env perl

# P14: a zone that is too small for all names serves all of them, and keeps what is used most. A pair
# that does not fit at all is served too.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', workers => 1, log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:100k worker_cache=1;
    rust_shared_cert_zone zone=tiny:64k;
    rust_shared_cert_zone zone=small:64k;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;

        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_tiny%% ssl;
        rust_shared_cert tiny;

        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_small%% ssl;
        rust_shared_cert small;

        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /small { rust_shared_cert_clear small; }
        location = /clear { rust_shared_cert_clear certs; }
        location = /tiny { rust_shared_cert_clear tiny; }
    }
}
EOF

# one key for many: what counts is the names
my $key = $t->pair('key.test', key => 'rsa');
my %pair = map { $_ => $t->install($t->pair($_, reuse => $key)) } map { "n$_.test" } 1 .. 80;
my $hot = $t->install($t->pair('hot.test', reuse => $key));
my @san = map { "a-rather-long-name-to-fill-a-certificate-$_.big.test" } 1 .. 1400;
my $big = $t->install($t->pair('big.test', san => ['big.test', @san]));

$t->start();
my ($worker) = $t->worker_pids();

# all in turn, with one that is asked for all the time

my (%status, $wrong, $hot_wrong);
served($hot);
for my $round (1, 2) {
	for my $name (sort keys %pair) {
		$wrong++ if served($pair{$name}) ne 'ok';
		my ($ok, $status) = served($hot);
		$hot_wrong++ if $ok ne 'ok';
		$status{$status}++;
	}
}
ok(!$wrong, 'P14: every name of a zone that is too small is served');
ok(!$hot_wrong, 'P14: and the one in use');
is_deeply([keys %status], ['zone'], 'P14: the one in use stays in the zone')
	or diag(join ' ', %status);

my @old = (sort keys %pair)[0 .. 9];
my @others = (sort keys %pair)[10 .. 79];
served($pair{$_}) for @old;
select undef, undef, undef, 1.1;
for my $name (@others) {
	served($pair{$name});
	served($hot);
}
my @evicted = grep { (served($pair{$_}))[1] eq 'file' } @old;
is((served($hot))[1], 'zone', 'P14: the one in use is still there');
# the time of use is one for several names
cmp_ok(scalar @evicted, '>=', 6, 'P14: most of those that were not used for longest are not');
served($pair{$evicted[0]});
is((served($pair{$evicted[0]}))[1], 'hit', 'and come back');

# a pair that the whole zone cannot hold

is(served($hot, 'tiny'), 'ok', 'a pair that fits');
is(served($big, 'tiny'), 'ok', 'P14: a pair that does not fit is served');
is((served($big, 'tiny'))[1], 'hit', "P14: from the worker's cache");
is(served($hot, 'tiny'), 'ok', 'the other one is served');

my $bigger = $t->install($t->pair('big.test', san => ['big.test', @san]));
is($t->http('control', 'GET /tiny')->{status}, 200, 'clear');
is(served($bigger, 'tiny'), 'ok', 'P2: and it rotates');

# rotations in a full zone

for my $round (1 .. 6) {
	my $name = (sort keys %pair)[$round * 7];
	$pair{$name} = $t->install($t->pair($name, reuse => $key));
	$hot = $t->install($t->pair('hot.test', reuse => $key));
	is($t->clear()->{status}, 200, 'clear');
	is(served($pair{$name}), 'ok', "P2: rotation $round in a full zone");
	is(served($hot), 'ok', "P2: of the one in use too");
}
is($t->clear('?name=n9.test')->{status}, 200, 'a clear of a name in a full zone');

# what was evicted is in the worker's cache, and is the last good of it when the files are bad

my $last = 0;
for my $round (1, 2) {
	$last = grep { (served($pair{$_}, 'small'))[1] eq 'hit' } sort keys %pair;
}
# a change of one name is taken for one of others, now and then
cmp_ok($last, '>=', 65, "P14: names of a small zone are served from the worker's cache");
spew($t->dir() . "/certs/$_.cert.pem", 'bad') for sort keys %pair;
is($t->http('control', 'GET /small')->{json}{cleared} < keys %pair, 1, 'a clear; not all are in the zone');
is(scalar(grep { served($pair{$_}, 'small') ne 'ok' } sort keys %pair), 0,
	'P3: the last good of all, also of those that were evicted');
select undef, undef, undef, 9;
is(scalar(grep { served($pair{$_}, 'small') ne 'ok' } sort keys %pair), 0, 'P3: and later');

is_deeply([$t->worker_pids()], [$worker], 'P4: the same worker');
is(join("\n", $t->log_lines(qr/no memory|already free|\[crit\]/)), '', 'no complaint of the slab');

$t->done();

###############################################################################

sub served {
	my ($pair, $port) = @_;
	my $got = $t->handshake($port // 'tls', $pair->{name}, get => '/status');
	my $ok = ($got->{serial} // '') eq $pair->{serial} ? 'ok' : $got->{error} // $got->{serial};
	return wantarray ? ($ok, $got->{body} // 'none') : $ok;
}
