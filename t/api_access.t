#!/usr/bin/env perl

# P10: only those whom write= names may write, told by the kernel and by nothing that a client says;
# who may read is for NGINX's own rules.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);

my %uid = (
	root => 0, worker => scalar getpwnam('www-data'), named => scalar getpwnam('backup'),
	stranger => scalar getpwnam('nobody'),
);

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
    }

    server {
        listen unix:%%DIR%%/api.sock;
        listen 127.0.0.1:%%PORT_tcp%%;

        set_real_ip_from 127.0.0.1;
        set_real_ip_from unix:;
        real_ip_header X-Real-IP;

        location /unix/ { rust_shared_cert_api certs write=unix; }
        location /named/ { rust_shared_cert_api certs write=unix:backup; }
        location /off/ { rust_shared_cert_api certs write=off; }
        location /on/ { rust_shared_cert_api certs write=on; }
        location /denied/ { rust_shared_cert_api certs write=on; deny all; }
        location /limited/ {
            rust_shared_cert_api certs write=on;
            limit_except GET { deny all; }
        }
    }

    server {
        listen unix:%%DIR%%/proxied.sock proxy_protocol;
        listen 127.0.0.1:%%PORT_proxied%% proxy_protocol;

        set_real_ip_from 127.0.0.1;
        set_real_ip_from unix:;
        real_ip_header proxy_protocol;

        location /unix/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

my $pair = $t->pair('a.test');
$t->start();
my $socket = $t->dir() . '/api.sock';
chmod 0755, $t->dir();

my @cases = (
	# location, where, who may
	['/unix/', 'socket', { root => 1 }],
	['/named/', 'socket', { root => 1, named => 1 }],
	['/off/', 'socket', {}],
	['/on/', 'socket', { root => 1, worker => 1, named => 1, stranger => 1 }],
	['/denied/', 'socket', {}],
	['/limited/', 'socket', {}],
	['/unix/', 'tcp', {}],
	['/named/', 'tcp', {}],
	['/on/', 'tcp', { root => 1, worker => 1, named => 1, stranger => 1 }],
);

# what a client or a proxy says of an address changes nothing
my @lies = ({}, { 'X-Real-IP' => 'unix:' }, { 'X-Real-IP' => '127.0.0.1' });

for (@cases) {
	my ($prefix, $where, $may) = @$_;
	my %to = $where eq 'socket' ? (socket => $socket) : (port => $t->port('tcp'));
	for my $who (sort keys %uid) {
		for my $headers (@lies) {
			my $got = $t->push_set($pair, prefix => $prefix, uid => $uid{$who}, headers => $headers, %to);
			my $want = $may->{$who} ? qr/^20[01]$/ : qr/^403$/;
			like($got->{status} // $got->{error}, $want,
				"P10: push by $who, $prefix on $where" . join ' ', '', %$headers);
		}
	}
}

# the rule is for each call that writes; and reading is for everybody whom NGINX lets in

my $stranger = $uid{stranger};
for (['DELETE', 'sets/a.test'], ['POST', 'sets/a.test/rollback'], ['DELETE', 'sets/a.test/previous'],
	['PUT', 'sets/a.test?dry_run=1']) {
	my ($method, $path) = @$_;
	is($t->api($method, $path, prefix => '/unix/', uid => $stranger, body => $t->bundle($pair))->{status},
		403, "P10: $method $path by a stranger");
}
is($t->api('GET', 'sets/a.test', prefix => '/unix/', uid => $stranger)->{status}, 200, 'reading');
is($t->api('GET', 'sets/a.test', prefix => '/denied/', uid => $stranger)->{status}, 403, 'but not here');
is($t->api('GET', 'sets/a.test', prefix => '/limited/', uid => $stranger)->{status}, 200,
	'limit_except lets GET in');
is($t->api('POST', 'clear', prefix => '/unix/', uid => $stranger)->{status}, 409,
	'a clear is not a write: it is refused for another reason');

# a browser that shows the page of another site, which write=on cannot tell from a tool

for (['http://evil.test', 403], ['null', 403], ['http://localhost', 409]) {
	my ($origin, $status) = @$_;
	is($t->api('POST', 'sets/a.test/rollback', prefix => '/on/', port => $t->port('tcp'),
		headers => { Origin => $origin, Host => 'localhost' })->{status}, $status, "P10: a page of $origin");
}

# PROXY protocol

my $request = join "\r\n", 'PUT /unix/sets/p.test HTTP/1.1', 'Host: x', 'Connection: close',
	'Content-Length: ' . length $t->bundle($pair), '', $t->bundle($pair);
my $hello = "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n";
my %proxied = (socket => $t->dir() . '/proxied.sock');
is($t->api('', '', raw => $hello . $request, uid => $stranger, %proxied)->{status}, 403,
	'P10: a stranger behind a proxy header');
is($t->api('', '', raw => $hello . $request, port => 'proxied')->{status}, 403,
	'P10: TCP behind a proxy header');
is($t->api('', '', raw => $hello . $request, uid => 0, %proxied)->{status}, 201,
	'root, whatever the proxy header says');

# configuration

my $conf = <<'EOF';
%%GLOBALS%%
events {
}
http {
    %%GLOBALS_HTTP%%
    rust_shared_cert_zone zone=certs:1m load=off;
    server {
        listen 127.0.0.1:%%PORT_tcp%%;
        LOCATION
    }
}
EOF
for (
	['location /a { rust_shared_cert_api certs write=unix:no_such_user; }', qr/user "no_such_user" not found/],
	['location /a { rust_shared_cert_api certs write=unix:; }', qr/user "" not found/],
	['location /a { rust_shared_cert_api certs write=unixes; }', qr/invalid parameter "write=unixes"/],
	['location /a { rust_shared_cert_api certs writes=on; }', qr/invalid parameter "writes=on"/],
	['location /a { rust_shared_cert_api other; }', qr/unknown zone "other"/],
	['location /a { rust_shared_cert_api certs; rust_shared_cert_api certs; }', qr/is duplicate/],
	['location ~ /a { rust_shared_cert_api certs; }', qr/cannot be used in location given by regular/],
	['location @a { rust_shared_cert_api certs; }', qr/or in named location/],
	['rust_shared_cert_api certs;', qr/is not allowed here/],
) {
	my ($location, $error) = @$_;
	like($t->conf_error($conf =~ s/LOCATION/$location/r), $error, $location);
}

$t->done();
