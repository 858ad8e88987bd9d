#!/usr/bin/env perl

# P2, P9: what is pushed is served at once by all workers, which can read no key file; each call of
# the API that changes a set, and what it answers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
    }

    server {
        listen unix:%%DIR%%/api.sock;

        location /certs/ { rust_shared_cert_api certs write=unix; }
        location /read/ { rust_shared_cert_api certs; }
        location = /exact { rust_shared_cert_api certs; }
    }
}
EOF

$t->start();
my @pids = $t->worker_pids();

# nothing is there

my $zone = $t->api('GET', '');
is($zone->{status}, 200, 'the zone');
is_deeply($zone->{json}{sets}, { pushed => 0, startup => 0, lazy => 0, previous => 0 }, 'is empty');
is($t->api('GET', '', prefix => '/exact')->{status}, 200, 'in an exact location');
is_deeply($t->api('GET', 'sets/')->{json}, { sets => [], next => undef }, 'an empty list');
is($t->api('GET', 'sets/a.test')->{status}, 404, 'no set');
is($t->api('DELETE', 'sets/a.test')->{status}, 404, 'none to delete');
is($t->api('POST', 'sets/a.test/rollback')->{status}, 404, 'none to roll back');
is($t->handshake('tls', 'a.test')->{alert}, 112, 'no certificate');

# a push

my $first = $t->pair('a.test', san => ['a.test', 'www.a.test', '*.sub.a.test']);
my $got = $t->push_set($first);
is($got->{status}, 201, 'pushed');
is($got->{headers}{'content-type'}, 'application/json', 'as JSON');
is($got->{headers}{etag}, "\"$got->{json}{generation}\"", 'with its generation');
is_deeply($got->{json}{serves}, ['a.test', 'www.a.test', '*.sub.a.test'], 'what it serves');
is($got->{json}{source}, 'pushed', 'its source');
is($got->{json}{certificates}[0]{fingerprint}, $first->{fingerprint}, 'its fingerprint');
ok($got->{json}{changed}, 'a change');
served_by_all($first, 'a.test', 'www.a.test', 'x.sub.a.test');
is($t->handshake('tls', 'y.a.test')->{alert}, 112, 'and no other name');

my $again = $t->push_set($first);
is($again->{status}, 200, 'the same again');
ok(!$again->{json}{changed}, 'is no change');
is($again->{json}{generation}, $got->{json}{generation}, 'and no generation');

my $second = $t->pair('a.test', san => ['a.test', 'www.a.test']);
my $dry = $t->push_set($second, query => 'dry_run=1');
is($dry->{status}, 200, 'a dry run');
ok($dry->{json}{dry_run}, 'says so');
is_deeply($dry->{json}{no_longer_served}, [{ name => '*.sub.a.test', by => undef }], 'and what would be lost');
served_by_all($first, 'a.test');

$got = $t->push_set($second);
is($got->{status}, 200, 'replaced');
ok($got->{json}{generation} > $again->{json}{generation}, 'by a later generation');
served_by_all($second, 'a.test', 'www.a.test');
is($t->handshake('tls', 'x.sub.a.test')->{alert}, 112, 'a name that the new one has not is gone');
is_deeply($got->{json}{no_longer_served}, [{ name => '*.sub.a.test', by => undef }], 'which the answer says');
is(scalar $t->log_lines(qr/\[notice\].*pushed, generation \d+, without \*\.sub\.a\.test,/), 1, 'and the log');

# another key type

my $rsa = $t->pair('a.test', key => 'rsa', san => ['a.test', 'www.a.test']);
$got = $t->push_set($rsa, query => 'add=1');
is($got->{status}, 200, 'another key type');
is_deeply([map { $_->{key_type} } @{ $got->{json}{certificates} }], ['RSA', 'EC'], 'beside the first');
is($t->handshake('tls', 'a.test', version => 'TLSv1_2', ciphers => 'aRSA')->{serial},
	$rsa->{serial}, 'RSA');
is($t->handshake('tls', 'a.test', version => 'TLSv1_2', ciphers => 'aECDSA')->{serial},
	$second->{serial}, 'ECDSA');
is_deeply($got->{json}{serves}, ['a.test', 'www.a.test'], 'each name once');
my $other = $t->pair('a.test', key => 'rsa', san => ['a.test', 'ftp.a.test']);
$got = $t->push_set($other, query => 'add=1');
is($got->{status}, 422, 'one without a name of the set ends no name');
like($got->{json}{detail}, qr/without www\.a\.test; \?force=1/, 'and says which');
is(scalar $t->log_lines(qr/\[warn\].*"a\.test": a push was refused: .*without www\.a\.test/), 1, 'so does the log');
served_by_all($second, 'www.a.test');
$got = $t->push_set($other, query => 'add=1&force=1');
is_deeply($got->{json}{serves}, ['a.test'], 'unless by force');
is_deeply($t->push_set($second, query => 'dry_run=1')->{json}{lost_key_types}, ['RSA'], 'what a push would end');
$got = $t->push_set($second);
is(@{ $got->{json}{certificates} }, 1, 'a push without add replaces the whole set');
is_deeply($got->{json}{lost_key_types}, ['RSA'], 'which the answer says');
is(scalar $t->log_lines(qr/\[notice\].*pushed, generation \d+, without its RSA key,/), 1, 'and the log');

# a set under the name that it had, and has not

my $elsewhere = $t->pair('elsewhere.test');
$t->push_set($t->pair('solo.test'));
for my $query ('dry_run=1&force=1', 'force=1') {
	$got = $t->push_set($elsewhere, as => 'solo.test', query => $query);
	is_deeply($got->{json}{no_longer_served}, [{ name => 'solo.test', by => undef }], "$query: nothing serves it");
}
my $x = $t->push_set($t->pair('solo.test'), as => 'x.test');
is_deeply($x->{json}{serves}, ['solo.test'], 'its NAME is no claim to it');
is_deeply($t->push_set($t->pair('x.test'), as => 'x.test', query => 'force=1')->{json}{no_longer_served},
	[{ name => 'solo.test', by => undef }], 'nor does it serve it');
$t->api('DELETE', "sets/$_") for 'solo.test', 'x.test';

# a leaf in the place of a whole chain

$t->ca('intermediate', issuer => 'root');
my ($whole, $alone) = map { $t->pair('chain.test', issuer => 'intermediate') } 1 .. 2;
is($t->push_set($whole)->{json}{certificates}[0]{chain}, 1, 'with an intermediate');
$alone = { %$alone, cert => $alone->{leaf} };
$got = $t->push_set($alone);
is($got->{status}, 422, 'cert.pem in the place of fullchain.pem is refused');
like($got->{json}{detail}, qr/without the intermediate .*\?force=1/, 'and why');
is($t->handshake('tls', 'chain.test')->{serial}, $whole->{serial}, 'what served goes on');
is($t->push_set($alone, query => 'force=1')->{json}{certificates}[0]{chain}, 0, 'unless by force');
$t->api('DELETE', 'sets/chain.test');

# lists

my @names = map { "n$_.test" } 1 .. 5;
my $many = $t->pair('many.test');
is($t->push_set($many, as => $_)->{status}, 201, "$_ as NAME of another name's certificate") for @names;
my ($after, @seen) = ('');
for (1 .. 10) {
	my $page = $t->api('GET', "sets/?limit=2$after")->{json};
	push @seen, map { $_->{name} } @{ $page->{sets} };
	last unless defined $page->{next};
	$after = "&after=$page->{next}";
}
is_deeply([sort @seen], ['a.test', @names], 'a list, page by page');
my $shadowed = $t->api('GET', 'sets/n2.test')->{json};
is_deeply($shadowed->{serves}, [], 'of sets for one name, one serves');
is_deeply($shadowed->{shadowed}, [{ name => 'many.test', by => 'n1.test' }], 'and that is told');
is($t->api('DELETE', "sets/$_")->{status}, 200, "$_ removed") for @names;

# wildcards have two spellings

my $wild = $t->pair('wild.test', san => ['*.wild.test'], not_before => '260102000000Z', not_after => '360101000000Z');
is($t->push_set($wild, as => '*.wild.test')->{status}, 201, 'a wildcard');
is($t->api('GET', 'sets/_.wild.test')->{json}{generation},
	$t->api('GET', 'sets/%2a.wild.test')->{json}{generation}, 'is one set');
served_by_all($wild, 'x.wild.test');

# of sets with one wildcard the later serves the names below it, whatever they are called

for (['260101000000Z', 'y.wild.test', '_.wild.test'], ['260103000000Z', '_.wild.test', 'y.wild.test']) {
	my ($not_before, $shadowed, $by) = @$_;
	my $beside = $t->pair('y.wild.test', san => ['y.wild.test', '*.wild.test'], not_before => $not_before,
		not_after => '360101000000Z');
	$t->push_set($beside);
	served_by_all($beside, 'y.wild.test');
	served_by_all($by eq 'y.wild.test' ? $beside : $wild, 'x.wild.test');
	is_deeply($t->api('GET', "sets/$shadowed")->{json}{shadowed}, [{ name => '*.wild.test', by => $by }],
		"of $shadowed it is shadowed");
	is_deeply($t->api('GET', "sets/$by")->{json}{shadowed}, [], "of $by it is not");
}
$t->api('DELETE', 'sets/y.wild.test');

# reading only

for (['PUT', 'sets/a.test'], ['DELETE', 'sets/a.test'], ['POST', 'sets/a.test/rollback'],
	['DELETE', 'sets/a.test/previous']) {
	my ($method, $path) = @$_;
	is($t->api($method, $path, prefix => '/read/')->{status}, 403, "$method $path without write");
}
is($t->api('GET', 'sets/a.test', prefix => '/read/')->{status}, 200, 'reading is');
is($t->api('HEAD', 'sets/a.test')->{body}, '', 'HEAD');
is($t->api('POST', 'clear')->{status}, 409, 'nothing to clear');

# removed

$got = $t->api('DELETE', 'sets/a.test');
is($got->{status}, 200, 'removed');
is_deeply($got->{json}{names},
	[{ name => 'a.test', by => undef }, { name => 'www.a.test', by => undef }], 'who serves now');
is($t->handshake('tls', 'a.test')->{alert}, 112, 'no longer served') for 1 .. 4;

is_deeply([$t->worker_pids()], \@pids, 'the same workers');
$t->done();

sub served_by_all {
	my ($pair, @names) = @_;
	for my $name (@names) {
		my $seen = $t->seen_by_all('tls', $name);
		my @wrong = grep { ($_->{serial} // '') ne $pair->{serial} } map { @$_ } values %$seen;
		ok(keys %$seen == 2 && !@wrong, "P2: $name is served by all workers");
	}
	return;
}
