#!/usr/bin/env perl

# The right certificate for each key type, TLS version and client: TLS 1.2, 1.3 and 1.3 with a
# HelloRetryRequest (the server takes P-384 only, which no client sends a key share for at first);
# IO::Socket::SSL, openssl s_client and curl, which verify.

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

    rust_shared_cert_zone zone=certs:1m
        cert=certs/$ssl_server_name.cert.pem key=certs/$ssl_server_name.key.pem
        cert=certs/$ssl_server_name.rsa.cert.pem key=certs/$ssl_server_name.rsa.key.pem;
    rust_shared_cert certs;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        location / { return 200 $ssl_server_name; }
    }

    server {
        listen 127.0.0.1:%%PORT_retry%% ssl reuseport;
        ssl_ecdh_curve secp384r1;
        location / { return 200 $ssl_server_name; }
    }
}
EOF

$t->ca('intermediate', issuer => 'root');
my @types = ('p256', 'p384', 'ed25519', 'rsa');
my %pair = map { $_ => $t->install($t->pair("$_.test", key => $_, issuer => 'intermediate')) } @types;
my $ecdsa = $t->install($t->pair('both.test', issuer => 'intermediate'));
my $rsa = $t->install($t->pair('both.test', key => 'rsa', issuer => 'intermediate'), infix => '.rsa');
my $root = $t->ca('root')->{file};
$t->start();

my @versions = (
	# what it is, port, its version as the clients call it, HelloRetryRequests
	['TLS 1.2', 'tls', 'TLSv1_2', '-tls1_2', ['--tlsv1.2', '--tls-max', '1.2'], 0],
	['TLS 1.3', 'tls', 'TLSv1_3', '-tls1_3', ['--tlsv1.3'], 0],
	['TLS 1.3 with HelloRetryRequest', 'retry', 'TLSv1_3', '-tls1_3', ['--tlsv1.3'], 1],
);

for my $version (@versions) {
	my ($what, $port, $perl, $openssl, $curl, $retries) = @$version;
	for my $type (@types) {
		certificate("$type, $what", $version, "$type.test", $pair{$type});
	}

	# both: what the client can do decides
	my @verify = ('-CAfile', $root, '-verify_return_error');
	for my $choice (
		['ECDSA', 'ECDSA+SHA256', $ecdsa], ['RSA', 'RSA+SHA256:RSA-PSS+SHA256', $rsa],
	) {
		my ($can, $algorithms, $want) = @$choice;
		my $got = $t->s_client($port, 'both.test', $openssl, '-sigalgs', $algorithms, @verify);
		is($got->{fingerprint}, $want->{fingerprint}, "RSA and ECDSA, $what: a client for $can");
		is($got->{hello_retry}, $retries, 'HelloRetryRequests') if $openssl eq '-tls1_3';
	}
	certificate("RSA and ECDSA, $what", $version, 'both.test', $ecdsa);
}

# a name whose second pair is there alone, and one that has it later

my $only = $t->install($t->pair('only.test', key => 'rsa'), infix => '.rsa');
is($t->handshake('tls', 'only.test')->{fingerprint}, $only->{fingerprint}, 'the second pair alone');

$t->done();

###############################################################################

# By all clients, twice each, so that both workers and the cache of each have their turn.
sub certificate {
	my ($what, $version, $name, $pair) = @_;
	my (undef, $port, $perl, $openssl, $curl, $retries) = @$version;

	for my $round (1, 2) {
		my $got = $t->handshake($port, $name, version => $perl, verify => 'root');
		is($got->{fingerprint} // $got->{error}, $pair->{fingerprint}, "$what: IO::Socket::SSL");
		is($got->{chain}, 2, 'and its chain');

		my $session = $t->new_session();
		for my $resumed (0, 1) {
			$got = $t->handshake($port, $name, version => $perl, session => $session, get => '/');
			is("$got->{resumed} $got->{body}", "$resumed $name",
				$resumed ? "$what: resumed" : "$what: a session");
		}

		$got = $t->s_client($port, $name, $openssl, '-CAfile', $root, '-verify_return_error');
		is($got->{fingerprint} // $got->{all}, $pair->{fingerprint}, "$what: s_client");
		is($got->{chain} . $got->{ok}, '21', 'and its chain, verified');
		is($got->{hello_retry}, $retries, 'HelloRetryRequests') if $openssl eq '-tls1_3';

		$got = $t->curl($port, $name, '/', @$curl);
		is($got->{fingerprint} // $got->{all}, $pair->{fingerprint}, "$what: curl");
		is($got->{body} // $got->{all}, $name, 'and an answer');
	}
	return;
}
