#!/usr/bin/env perl

# certbot with nginx-cert-push as its deploy hook, against Pebble: http-01 is served by the NGINX that
# gets the certificates. Lineages with other names than the certificate's, wildcards, and a renewal that
# NGINX slept through.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;
use Test::SharedCert::Acme;

my $t = Test::SharedCert->new();
my $acme = Test::SharedCert::Acme->new($t, 'certbot');

$acme->start();

$acme->rotates('a.test', sub { $acme->certbot_issue('-d', 'a.test', '-d', 'www.a.test') },
	sub { $acme->certbot_renew() });
is(served('www.a.test'), served('a.test'), 'apex and www: one certificate');

# lineages that are not called as their certificates

my $got = $acme->certbot_issue('--cert-name', 'shop', '-d', 'shop.test', '-d', 'www.shop.test');
is($got->{status}, 0, '--cert-name') or diag($got->{all});
like($acme->pushed(), qr/\Anginx-cert-push: shop: pushed, generation \d+\n\z/, 'is the name of the set');
ok($t->handshake('tls', 'www.shop.test', verify => 'pebble')->{ok}, 'which serves the names of the certificate');

my $before = served('a.test');
$got = $acme->certbot_issue('--duplicate', '-d', 'a.test', '-d', 'www.a.test');
is($got->{status}, 0, 'a second lineage for the same names') or diag($got->{all});
like($acme->pushed(), qr/^nginx-cert-push: a\.test-0001: pushed, generation \d+\n/, 'is a set besides');
is(served('a.test'), $before, 'the set that is called as the name goes on');
isnt(served('www.a.test'), $before, 'of a name that no set is called as the later one is served');
$got = $acme->certbot_renew('--cert-name', 'a.test');
is($got->{status}, 0, 'the first is renewed') or diag($got->{all});
isnt(served('a.test'), $before, 'and served');
$acme->pushed();

# a wildcard by dns-01, beside an exact name

my ($set, $clear) = $acme->dns_hooks();
$got = $acme->certbot('certonly', '--manual', '--preferred-challenges', 'dns', '--manual-auth-hook', $set,
	'--manual-cleanup-hook', $clear, '--deploy-hook', $acme->push_hook(), '-d', '*.a.test');
is($got->{status}, 0, 'a wildcard') or diag($got->{all});
like($acme->pushed(), qr/^nginx-cert-push: a\.test-0002: pushed, generation \d+\n/,
	'certbot calls the lineage as the apex');
my $wildcard = served('x.a.test');
ok($t->handshake('tls', 'x.a.test', verify => 'pebble')->{ok}, 'it serves the names below');
isnt(served('www.a.test'), $wildcard, 'and not the exact name');

# NGINX is down when certbot renews

$before = served('a.test');
$t->stop();
$got = $acme->certbot_renew('--cert-name', 'shop', '--webroot-path', $acme->webroot(), '--manual',
	'--preferred-challenges', 'dns', '--manual-auth-hook', $set, '--manual-cleanup-hook', $clear);
is($got->{status}, 0, 'renewed while NGINX is down') or diag($got->{all});
like($acme->pushed(), qr/^nginx-cert-push: shop: .*connect/, 'the hook could not push');
$t->start();
ok(!$t->handshake('tls', 'a.test')->{ok}, 'the zone is empty after a restart without state=');
$got = run_command($acme->push_hook(), '--all', $acme->live());
is($got->{status}, 0, '--all') or diag($acme->pushed());
is(served('a.test'), $before, 'heals it');
my ($leaf) = slurp($acme->live() . '/shop/cert.pem');
is($t->handshake('tls', 'shop.test')->{fingerprint}, Test::SharedCert::Util::fingerprint($leaf),
	'with what was renewed meanwhile');

$t->done();

sub served { return $t->handshake('tls', shift)->{serial} // 'nothing' }
