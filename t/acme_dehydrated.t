#!/usr/bin/env perl

# dehydrated with nginx-cert-push as its hook, against Pebble.


use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;
use Test::SharedCert::Acme;

my $t = Test::SharedCert->new();
my $acme = Test::SharedCert::Acme->new($t, 'dehydrated');

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
        location = /pid { return 200 $pid; }
    }

    server {
        listen 127.0.0.1:%%PORT_http01%%;
        location /.well-known/acme-challenge/ { root %%DIR%%/webroot; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

$t->start();
$acme->start();

$acme->rotates('a.test', sub { $acme->dehydrated('--cron', '--domain', 'a.test www.a.test') },
	sub { $acme->dehydrated('--cron', '--force', '--domain', 'a.test www.a.test') });
ok($t->handshake('tls', 'www.a.test', verify => 'pebble')->{ok}, 'the second name, too');
my $got = $acme->dehydrated('--cron', '--domain', 'a.test www.a.test');
is($got->{status}, 0, 'nothing to renew') or diag($got->{all});
is($acme->pushed(), '', 'nothing is pushed, and nothing said of the other handlers');

$t->done();
