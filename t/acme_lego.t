#!/usr/bin/env perl

# lego with nginx-cert-push as its hook, against Pebble; and beside certbot, each with one key type of a
# name.


use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;
use Test::SharedCert::Acme;

my $t = Test::SharedCert->new();
my $acme = Test::SharedCert::Acme->new($t, 'lego', 'certbot');

$acme->start();

my @lego = ('--domains', 'a.test', '--domains', 'www.a.test');
my @renew = ('renew', '--days', 99999, '--no-random-sleep', '--renew-hook', $acme->push_hook());
$acme->rotates('a.test', sub { $acme->lego(@lego, 'run', '--run-hook', $acme->push_hook()) },
	sub { $acme->lego(@lego, @renew) });
is(served('www.a.test'), served('a.test'), 'the second name, too');

# RSA by one tool, ECDSA by the other

$acme->write_push('--add');
my $ecdsa = served('a.test', 'aECDSA');
is(served('a.test', 'aRSA'), 'nothing', 'lego makes ECDSA');
my $got = $acme->certbot_issue('--key-type', 'rsa', '-d', 'a.test', '-d', 'www.a.test');
is($got->{status}, 0, 'certbot with RSA') or diag($got->{all});
like($acme->pushed(), qr/: a\.test: pushed/, 'is pushed');
my $rsa = served('a.test', 'aRSA');
isnt($rsa, 'nothing', 'RSA is served');
is(served('a.test', 'aECDSA'), $ecdsa, 'ECDSA goes on');
$got = $acme->certbot_renew();
is($got->{status}, 0, 'RSA is renewed') or diag($got->{all});
isnt(served('a.test', 'aRSA'), $rsa, 'and served');
is(served('a.test', 'aECDSA'), $ecdsa, 'ECDSA goes on');
$rsa = served('a.test', 'aRSA');
$got = $acme->lego(@lego, @renew);
is($got->{status}, 0, 'ECDSA is renewed') or diag($got->{all});
isnt(served('a.test', 'aECDSA'), $ecdsa, 'and served');
is(served('a.test', 'aRSA'), $rsa, 'RSA goes on');
is(served('www.a.test', 'aRSA'), $rsa, 'for all names');

$t->done();

# served NAME, AUTHENTICATION: the serial number of the certificate that such a client gets.
sub served {
	my ($name, $ciphers) = @_;
	my @only = $ciphers ? (version => 'TLSv1_2', ciphers => $ciphers) : ();
	return $t->handshake('tls', $name, @only)->{serial} // 'nothing';
}
