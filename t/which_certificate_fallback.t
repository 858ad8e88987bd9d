#!/usr/bin/env perl

# Which certificate: what is not in the zone falls back to the certificate of the same server, static
# or with variables; without one the handshake ends with the alert unrecognized_name (112).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();
my $d = $t->dir();

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

    server {
        listen 127.0.0.1:%%PORT_none%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_static%% ssl;
        rust_shared_cert certs;
        ssl_certificate rsa.cert.pem;
        ssl_certificate_key rsa.key.pem;
        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_static%% ssl;
        server_name neither.test;
        location = /status { return 200 "neither $rust_shared_cert_status"; }
    }

    server {
        listen 127.0.0.1:%%PORT_variable%% ssl;
        rust_shared_cert certs;
        ssl_certificate %%DIR%%/variable/$ssl_server_name.cert.pem;
        ssl_certificate_key %%DIR%%/variable/$ssl_server_name.key.pem;
        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_reject%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_reject%% ssl;
        server_name b.test;
        rust_shared_cert certs;
        ssl_reject_handshake on;
    }

    server {
        listen 127.0.0.1:%%PORT_rejected%% ssl;
        ssl_reject_handshake on;
    }

    server {
        listen 127.0.0.1:%%PORT_rejected%% ssl;
        server_name b.test;
        rust_shared_cert certs;
    }
}
EOF

mkdir "$d/variable";
my %pair = map { $_ => $t->install($t->pair($_)) } 'a.test', 'b.test';
my $rsa = $t->install($t->pair('rsa', key => 'rsa'), dir => '.');
my $variable = $t->install($t->pair('variable.test'), dir => 'variable');
my $both = $t->install($t->pair('b.test'), dir => 'variable');
$t->start();

# no fallback

is(served('none', 'a.test'), $pair{'a.test'}{serial}, 'in the zone');
is(served('none', 'x.test'), 'alert 112', 'not in the zone: unrecognized_name');
is(served('none', undef), 'alert 112', 'no name: unrecognized_name');
like($t->curl('none', 'x.test', '/')->{all}, qr/unrecognized name/, 'curl says so');

# static

is(served('static', 'a.test'), $pair{'a.test'}{serial}, 'static: the zone first');
is(served('static', 'x.test'), $rsa->{serial}, 'static: not in the zone');
is(served('static', undef), $rsa->{serial}, 'static: no name');
is($t->handshake('static', 'x.test', get => '/status')->{body}, 'static', 'static: the status');

# a server with neither certificate nor directive, beside that one: what the listen default has

is(served('static', 'neither.test'), $rsa->{serial}, 'neither: the static one of the default');
is($t->handshake('static', 'neither.test', get => '/status')->{body}, 'neither static', 'its status');

# the zone's ECDSA certificate takes the place of all that the server has, of its RSA too

my @rsa_only = ('-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256');
my $got = $t->s_client('static', 'a.test', @rsa_only);
is($got->{fingerprint} // 'none', 'none', 'P1: no certificate of the server beside one of the zone');
is($t->s_client('static', 'x.test', @rsa_only)->{fingerprint}, $rsa->{fingerprint},
	'such a client gets the static one where it serves');
is(served('static', 'a.test'), $pair{'a.test'}{serial}, 'static: the zone again');
is(served('static', 'x.test'), $rsa->{serial}, 'static: and not in the zone');

# variables

is(served('variable', 'a.test'), $pair{'a.test'}{serial}, 'variables: the zone first, no such file');
is(served('variable', 'b.test'), $pair{'b.test'}{serial}, 'variables: the zone first, and a file');
is(served('variable', 'variable.test'), $variable->{serial}, 'variables: not in the zone');
is($t->handshake('variable', 'variable.test', get => '/status')->{body}, 'static', 'their status');
like(served('variable', 'x.test'), qr/^alert/, 'variables: no such file');
is(served('variable', 'a.test'), $pair{'a.test'}{serial}, 'variables: the zone again');

# refused on purpose

is(served('reject', 'a.test'), $pair{'a.test'}{serial}, 'beside ssl_reject_handshake');
is(served('reject', 'b.test'), 'alert 112', 'ssl_reject_handshake, for a name in the zone');
is(served('rejected', 'b.test'), $pair{'b.test'}{serial}, 'beside a default that rejects');
is(served('rejected', 'a.test'), 'alert 112', 'a default that rejects');
$t->stop();

# a certificate at the http level is inherited as a fallback

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;
    ssl_certificate rsa.cert.pem;
    ssl_certificate_key rsa.key.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name b.test;
    }
}
EOF
$t->start();

is(served('tls', 'a.test'), $pair{'a.test'}{serial}, 'http level: the zone first');
is(served('tls', 'x.test'), $rsa->{serial}, 'http level: not in the zone');
is(served('tls', 'b.test'), $rsa->{serial}, 'http level: a server without the directive');

$t->done();

###############################################################################

sub served {
	my $got = $t->handshake(@_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
