#!/usr/bin/env perl

# The previous generation: kept, rolled back to, dropped and wiped (P8).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $ZONE = 1116 * 1024;    # no other mapping has this size

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1116k load=off;

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

my @made = map { $t->pair('a.test', san => ['a.test', "n$_.test"]) } 0 .. 3;
$t->start();
my ($pid) = $t->worker_pids();

$t->push_set($made[0]);
is($t->api('GET', 'sets/a.test')->{json}{previous}, undef, 'no previous one at first');
is($t->api('POST', 'sets/a.test/rollback')->{status}, 409, 'nothing to roll back to');
is($t->api('DELETE', 'sets/a.test/previous')->{status}, 404, 'nothing to drop');

my $one = $t->api('GET', 'sets/a.test')->{json}{generation};
$t->push_set($made[1]);
my $shown = $t->api('GET', 'sets/a.test')->{json};
is($shown->{previous}{generation}, $one, 'the one before is kept');
is($shown->{previous}{certificates}[0]{fingerprint}, $made[0]{fingerprint}, 'and told of');
is(copies($_), 1, 'its key is in the zone once') for @made[0, 1];

$t->push_set($made[2]);
is(copies($made[0]), 0, 'P8: the key of the one before that is not');

# and back

my $got = $t->api('POST', 'sets/a.test/rollback');
is($got->{status}, 200, 'rolled back');
ok($got->{json}{generation} > $shown->{generation}, 'as a new generation');
served_by_all($made[1], 'a.test', 'n1.test');
is($t->handshake('tls', 'n2.test')->{alert}, 112, 'names of the other are gone');
$got = $t->api('POST', 'sets/a.test/rollback', headers => { 'If-Match' => $got->{headers}{etag} });
is($got->{status}, 200, 'and back again');
served_by_all($made[2], 'a.test', 'n2.test');

# who heals lost pushes does not undo a rollback

$got = $t->push_set($made[1], query => 'unless=previous');
is($got->{status}, 200, 'what was rolled back from, pushed again');
ok(!$got->{json}{changed} && $got->{json}{is_previous}, 'is left alone');
served_by_all($made[2], 'a.test', 'n2.test');
is($t->api('GET', 'sets/a.test')->{json}{previous}{certificates}[0]{fingerprint}, $made[1]{fingerprint},
	'as the previous one');
$got = $t->push_set($made[0], query => 'unless=previous');
ok($got->{json}{changed}, 'another one is not');
served_by_all($made[0], 'a.test', 'n0.test');
$t->push_set($_) for @made[1, 2];

# dropped

is($t->api('DELETE', 'sets/a.test/previous')->{status}, 200, 'the previous one dropped');
is(copies($made[1]), 0, 'P8: its key is gone from the zone');
is($t->api('POST', 'sets/a.test/rollback')->{status}, 409, 'and cannot be rolled back to');
$t->push_set($made[3], query => 'previous=drop');
is(copies($made[2]), 0, 'P8: a push with previous=drop keeps none');
is($t->api('GET', 'sets/a.test')->{json}{previous}, undef, 'and tells so');

# back to a key type less

$t->push_set($made[3], query => 'force=1');
$t->push_set($t->pair('a.test', key => 'rsa'), query => 'add=1&force=1');
$got = $t->api('POST', 'sets/a.test/rollback');
is_deeply($got->{json}{lost_key_types}, ['RSA'], 'a rollback says which key type it ends');

# removed, all of it

$t->push_set($made[2]);
is($t->api('DELETE', 'sets/a.test')->{status}, 200, 'removed');
is(copies($_), 0, 'P8: no key of it is in the zone') for @made;
is_deeply($t->api('GET', '')->{json}{sets}, { pushed => 0, startup => 0, lazy => 0, previous => 0 },
	'nothing is left');

# what has expired does not come back by itself

my $past = $t->pair('a.test', not_after => '210101000000Z');
$t->push_set($past);
$t->push_set($made[0]);
is($t->api('POST', 'sets/a.test/rollback')->{status}, 409, 'the previous one has expired');
served_by_all($made[0], 'a.test');
is($t->api('POST', 'sets/a.test/rollback?force=1')->{status}, 200, 'by force');
is($t->handshake('tls', 'a.test')->{serial}, $past->{serial}, 'it is served');

# idle workers have nothing of what is gone

$t->push_set($made[1], query => 'previous=drop&force=1');
served_by_all($made[1], 'a.test');
$t->push_set($made[3], query => 'previous=drop&force=1');
served_by_all($made[3], 'a.test');
select undef, undef, undef, 11;
for my $worker ($t->worker_pids()) {
	my $memory = $t->private_memory($worker);
	is(index($memory, scalar reverse $made[1]{secret}), -1, "P8: worker $worker has dropped it");
	is(index($memory, $made[1]{secret}), -1, "P8: worker $worker has no DER of it");
	unlike($memory, qr/\Q@{[substr +(split m!\n!, $made[1]{key})[1], 36]}\E/,
		"P8: worker $worker has no PEM of it");
}

$t->done();

sub copies {
	my ($pair) = @_;
	my $bytes = $t->zone_bytes($pid, $ZONE);
	my $copies = () = $bytes =~ /\Q$pair->{secret}\E/g;
	return $copies;
}

sub served_by_all {
	my ($pair, @names) = @_;
	for my $name (@names) {
		my $seen = $t->seen_by_all('tls', $name);
		my @wrong = grep { ($_->{serial} // '') ne $pair->{serial} } map { @$_ } values %$seen;
		ok(keys %$seen == 2 && !@wrong, "$name is served by all workers");
	}
	return;
}
