#!/usr/bin/env perl

# HTTP/3: QUIC handshakes by aioquic, and HTTP/2 and HTTP/1.1 beside them, get the same certificates, over
# rotations, reloads and resumptions; unknown names get none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();
$t->has(qr/--with-http_v3_module/, 'HTTP/3');
my $python = "$FindBin::Bin/../build/python/bin/python";
plan(skip_all => 'no aioquic: scripts/test installs it') unless -x $python;

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m valid=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        listen 127.0.0.2:%%PORT_tls%% quic reuseport;
        rust_shared_cert certs;
        location / { return 200 "$server_protocol $rust_shared_cert_fingerprint $rust_shared_cert_status"; }
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        listen 127.0.0.2:%%PORT_tls%% quic;
        server_name b.test;
        location / { return 200 "second $rust_shared_cert_fingerprint"; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF
$conf =~ s/    rust_shared_cert_zone/    http2 on;\n    rust_shared_cert_zone/ if $t->nginx_version() =~ m!nginx/1\.(?:2[5-9]|[3-9]\d)!;

is($t->conf_error($conf), '', 'QUIC, and no ssl_certificate');
is($t->test_status(), 0, 'nginx -t ends well');
like($t->conf_error($conf =~ s/        rust_shared_cert certs;\n//r),
	qr/no "ssl_certificate" is defined/, 'QUIC without any certificate');

$t->conf($conf);
my $pair = $t->install($t->pair('a.test'));
my $second = $t->install($t->pair('b.test', key => 'rsa'));
$t->start();
my @pids = $t->worker_pids();

everywhere($pair, 'the first certificate');
is(quic('b.test')->{body}, "second $second->{fingerprint}", 'another name: its server and its certificate');

for my $round (1 .. 4) {
	$pair = $t->install($t->pair('a.test', key => $round % 2 ? 'rsa' : 'p256'));
	is($t->clear()->{status}, 200, 'clear');
	everywhere($pair, "P2: rotation $round");
}
$pair = $t->pair('a.test');
is($t->push_set($pair)->{status}, 200, 'a push');
everywhere($pair, 'P2: what was pushed');
is(join(' ', $t->worker_pids()), "@pids", 'no worker was replaced');
ok($t->reload(), 'reload');
everywhere($pair, 'after it');

# resumption

my $session = $t->dir() . '/session';
is(quic('a.test', $session)->{resumed}, JSON::PP::false, 'a new session');
my $got = quic('a.test', $session);
is($got->{resumed}, JSON::PP::true, 'it is resumed');
is($got->{body}, 'HTTP/3.0  resumed', 'without a certificate');
$pair = $t->pair('a.test');
$t->push_set($pair);
is(quic('a.test', $session)->{resumed}, JSON::PP::true, 'after a rotation, too');
is(quic('a.test')->{fingerprint}, $pair->{fingerprint}, 'a new one gets the new certificate');

# unknown names: TLS alert 112, as the error of QUIC

for my $name ('c.test', '', 'x.a.test') {
	is(quic($name)->{error}, 0x100 + 112, "unknown name: \"$name\"");
}
my $udp = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.2:' . $t->port('tls'));
$udp->send("\xc0\0\0\0\1\x08" . 'x' x 1200) for 1 .. 5;
everywhere($pair, 'after nonsense');

$t->done();

# everywhere PAIR, WHAT: by HTTP/3, HTTP/2 and HTTP/1.1, several times each.
sub everywhere {
	my ($pair, $what) = @_;
	my %seen;
	for (1 .. 4) {
		my $got = quic('a.test');
		$seen{'HTTP/3.0'}{ $got->{fingerprint} // explain($got) } = 1;
		$seen{body}{$got->{body} =~ s/ \w+\z//r} = 1;
		for my $version ('2', '1.1') {
			$got = $t->curl('tls', 'a.test', '/', "--http$version");
			$seen{"HTTP/$version"}{ $got->{fingerprint} // $got->{all} } = 1;
		}
	}
	is(join(' ', keys %{ $seen{"HTTP/$_"} }), $pair->{fingerprint}, "$what, HTTP/$_") for '3.0', '2', '1.1';
	is(join(', ', keys %{ $seen{body} }), "HTTP/3.0 $pair->{fingerprint}", 'the variables say the same');
	return;
}

# quic NAME [SESSION]: see t/lib/quic.py.
sub quic {
	my ($name, @session) = @_;
	my $got = run_command($python, "$FindBin::Bin/lib/quic.py", '127.0.0.2', $t->port('tls'), $name, '/',
		@session);
	my ($line) = $got->{all} =~ /^(\{.*\})$/m or die "quic.py:\n$got->{all}";
	return decode_json($line);
}
