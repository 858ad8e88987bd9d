#!/usr/bin/env perl

# acme.sh with nginx-cert-push as its reload command, against Pebble. No package registry has it: this runs
# where it is in PATH, or TEST_ACME_SH is the path of one. t/cert_push_hooks.t replays what it gives a hook.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Basename qw/ dirname /;
use Test::More;
use Test::SharedCert;
use Test::SharedCert::Acme;

$ENV{PATH} .= ':' . dirname($ENV{TEST_ACME_SH}) if $ENV{TEST_ACME_SH};

my $t = Test::SharedCert->new();
my $acme = Test::SharedCert::Acme->new($t, 'acme.sh');

$acme->start();

$acme->rotates('a.test', sub {
	my $got = $acme->acme_sh('--issue', '-d', 'a.test', '-d', 'www.a.test', '-w', $acme->webroot());
	return $got if $got->{status};
	return $acme->acme_sh('--install-cert', '-d', 'a.test', '--reloadcmd', $acme->push_hook(),
		'--key-file', $acme->dir() . '/a.key', '--fullchain-file', $acme->dir() . '/a.pem');
}, sub { $acme->acme_sh('--renew', '-d', 'a.test', '--force') });
is($t->handshake('tls', 'www.a.test')->{serial}, $t->handshake('tls', 'a.test')->{serial}, 'the second name, too');

# what the hook says ends the renewal

my $served = $t->handshake('tls', 'a.test')->{serial};
{
	local $ENV{NGINX_CERT_SOCKET} = $t->dir() . '/nobody.sock';
	my $got = $acme->acme_sh('--renew', '-d', 'a.test', '--force');
	like($got->{all}, qr/[Rr]eload error/, 'no NGINX is told of');
}
like($acme->pushed(), qr/nginx-cert-push: a\.test: /, 'the hook says why');
is($t->handshake('tls', 'a.test')->{serial}, $served, 'and what served goes on');

$t->done();
