#!/usr/bin/env perl

# HTTP/3: a server that listens for QUIC too has its certificates from the zone. There is no QUIC client
# in Debian 12: this is the configuration, TCP beside it, and what a datagram of nonsense does.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();
$t->has(qr/--with-http_v3_module/, 'HTTP/3');

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        listen 127.0.0.2:%%PORT_tls%% quic reuseport;
        rust_shared_cert certs;
        location / { return 200 $rust_shared_cert_fingerprint; }
    }

    server {
        listen 127.0.0.2:%%PORT_tls%% quic;
        server_name b.test;
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

is($t->conf_error($conf), '', 'QUIC, and no ssl_certificate');
is($t->test_status(), 0, 'nginx -t ends well');
like($t->conf_error($conf =~ s/        rust_shared_cert certs;\n//r),
	qr/no "ssl_certificate" is defined/, 'QUIC without any certificate');

$t->conf($conf);
my $pair = $t->install($t->pair('a.test'));
$t->start();
is($t->handshake('tls', 'a.test', get => '/')->{body}, $pair->{fingerprint}, 'TCP beside it');

my $udp = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.2:' . $t->port('tls'));
$udp->send("\xc0\0\0\0\1\x08" . 'x' x 1200) for 1 .. 5;

my $new = $t->install($t->pair('a.test'));
$t->clear();
is($t->handshake('tls', 'a.test', get => '/')->{body}, $new->{fingerprint}, 'P2: a rotation');
ok($t->reload(), 'reload');
is($t->handshake('tls', 'a.test', get => '/')->{body}, $new->{fingerprint}, 'after it');

$t->done();
