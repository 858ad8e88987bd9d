#!/usr/bin/env perl

# The answers of rust_shared_cert_clear: methods, the whole zone, one name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
        location = /clear { rust_shared_cert_clear certs; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
        location = /closed { rust_shared_cert_clear certs; deny all; }
    }
}
EOF

my $pair = $t->install($t->pair('a.test', not_before => '240102030405Z', not_after => '490102030405Z'));
my $other = $t->install($t->pair('b.test', key => 'rsa'));
my $new = $t->pair('a.test');
$t->start();

is($t->handshake('tls', $_->{name})->{serial}, $_->{serial}, "$_->{name} is served") for $pair, $other;

# the whole zone

for my $method ('GET', 'POST') {
	my $got = $t->http('control', "$method /clear");
	is($got->{status}, 200, "$method");
	is_deeply($got->{json}, { zone => 'certs', cleared => 2, kept => 0 }, "$method: what was cleared");
	like($got->{headers}{'content-type'}, qr!^application/json!, "$method: type");
	is($got->{headers}{'cache-control'}, 'no-store', "$method: not to be stored");
	is($got->{headers}{'content-length'} // length $got->{body}, length $got->{body}, "$method: length");
	$t->handshake('tls', $_->{name}) for $pair, $other;
}

my $head = $t->http('control', 'HEAD /clear');
is($head->{status}, 200, 'HEAD');
is($head->{body}, '', 'HEAD: no body');

for my $method ('PUT', 'DELETE', 'PATCH', 'OPTIONS') {
	is($t->http('control', "$method /clear", body => '')->{status}, 405, "$method is not allowed");
}
is($t->http('control', 'POST /closed', body => '')->{status}, 403, 'deny');
is($t->http('control', 'POST /clear', body => 'x' x 100_000)->{status}, 200, 'a body is read and dropped');
is($t->handshake('tls', 'a.test', get => '/clear')->{status}, 200, 'over TLS');

# HEAD clears too

$t->handshake('tls', 'a.test');
$t->install($new);
is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'not cleared yet');
$t->http('control', 'HEAD /clear');
is($t->handshake('tls', 'a.test')->{serial}, $new->{serial}, 'P2: HEAD is a clear');

# one name

$t->install($pair);
my $got = $t->clear('?name=a.test');
is($got->{status}, 200, 'a name');
is_deeply($got->{json}, {
	zone => 'certs', name => 'a.test', set => 'a.test', changed => JSON::PP::true,
	certificates => [{ key_type => 'EC', fingerprint => $pair->{fingerprint},
		not_before => 1704164645, not_after => 2493169445 }],
}, 'what it serves now') or diag($got->{body});
is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'P2: which is so');

$got = $t->clear('?name=A.TEST.');
is($got->{json}{name} // '', 'a.test', 'in another spelling');
ok(!$got->{json}{changed}, 'nothing has changed');
is($got->{json}{certificates}[0]{fingerprint}, $pair->{fingerprint}, 'the fingerprint all the same');
is($t->http('control', 'GET /clear?name=b.test')->{json}{certificates}[0]{key_type}, 'RSA', 'by GET');
is($t->clear('?x=1&name=b.test&y=2')->{json}{set}, 'b.test', 'among other arguments');
for my $query ('?nmae=b.test', '?x', '?name') {
	is($t->clear($query)->{status}, 400, "no clear of everything by mistake: $query");
}

# a name that nobody asked for yet

my $fresh = $t->install($t->pair('fresh.test', key => 'ed25519'));
$got = $t->clear('?name=fresh.test');
is($got->{json}{certificates}[0]{fingerprint}, $fresh->{fingerprint}, 'a name that was not loaded');
like($got->{json}{certificates}[0]{key_type}, qr/^ed25519$/i, 'Ed25519');

# that cannot be used

spew($t->dir() . '/certs/a.test.key.pem', $other->{key});
$got = $t->clear('?name=a.test');
is($got->{status}, 422, 'bad files');
like($got->{headers}{'content-type'}, qr!^application/problem\+json!, 'bad files: type');
is($got->{json}{status}, 422, 'bad files: status');
ok(length $got->{json}{title}, 'bad files: title');
like($got->{json}{detail}, qr/certs\/a\.test\.key\.pem.*does not match|does not match.*a\.test\.key\.pem/,
	'bad files: path and reason');
is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'P3: the last good serves');

$got = $t->clear('?name=nothing.test');
is($got->{status}, 422, 'no files');
like($got->{json}{detail}, qr/nothing\.test/, 'no files: says for what');

for my $name ('', 'a..test', '..%2Fsecret', 'a/b', 'x' x 300, '%', '%00') {
	is($t->clear("?name=$name")->{status}, 400, 'no host name: ' . substr $name, 0, 20);
}

$t->done();
