#!/usr/bin/env perl

# HTTP/2: certificates, rotations and the variables as with HTTP/1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();
$t->has(qr/--with-http_v2_module/, 'HTTP/2');

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl http2;
        rust_shared_cert certs;
        location / { return 200 "$server_protocol $rust_shared_cert_name $rust_shared_cert_fingerprint"; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }

    server {
        listen 127.0.0.1:%%PORT_h2%% ssl http2;
        rust_shared_cert certs;
        location = /clear { rust_shared_cert_clear certs; }
        location /certs/ { rust_shared_cert_api certs write=on; }
    }
}
EOF

my @pairs = map { $t->pair('a.test') } 1 .. 3;
$t->install($pairs[0]);
$t->start();

for my $pair (@pairs) {
	$t->install($pair);
	is($t->clear()->{status}, 200, 'clear');
	for my $round (1 .. 4) {
		my $got = $t->curl('tls', 'a.test', '/', '--http2');
		is($got->{http}, 2, 'HTTP/2');
		is($got->{fingerprint}, $pair->{fingerprint}, 'P2: the new certificate');
		is($got->{body}, "HTTP/2.0 a.test $pair->{fingerprint}", 'the variables');
	}
}

# the clear handler over HTTP/2

$t->install($pairs[0]);
my $got = $t->curl('h2', 'a.test', '/clear?name=a.test', '--http2', '-X', 'POST');
is($got->{status}, 200, 'a clear over HTTP/2');
like($got->{body}, qr/"fingerprint":"$pairs[0]{fingerprint}"/, 'with the fingerprint');
is($t->curl('tls', 'a.test', '/', '--http2')->{fingerprint}, $pairs[0]{fingerprint}, 'P2: which serves');
is($t->curl('h2', 'a.test', '/clear', '--http2', '-X', 'DELETE')->{status}, 405, 'DELETE');
is($t->curl('h2', 'a.test', '/clear', '--http2', '--head')->{status}, 200, 'HEAD');

# the site of a page is told in another header

my $h2 = 'a.test:' . $t->port('h2');
for (["https://$h2", 404], ['https://a.test', 403], ['https://evil.test', 403]) {
	my ($origin, $status) = @$_;
	is($t->curl('h2', 'a.test', '/certs/sets/b.test/rollback', '--http2', '-X', 'POST', '-H', "Origin: $origin")->{status},
		$status, "P10: a page of $origin");
}

$t->done();
