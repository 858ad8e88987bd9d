#!/usr/bin/env perl

# P3: what is pushed and is no good is refused with its reason, and changes nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:2m load=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

$t->ca('middle', issuer => 'root');
my $good = $t->pair('a.test', issuer => 'middle');
my $other = $t->pair('a.test');
my $rsa = $t->pair('a.test', key => 'rsa');
my $expired = $t->pair('a.test', not_after => '210101000000Z');
my $future = $t->pair('a.test', not_before => '400101000000Z', not_after => '410101000000Z');
my $stranger = $t->pair('b.test');
my ($leaf, $middle) = $good->{cert} =~ /(-----BEGIN.+?-----END CERTIFICATE-----\n)/sg;

$t->start();
is($t->push_set($good)->{status}, 201, 'a good one');
my $etag = $t->api('GET', 'sets/a.test')->{headers}{etag};

openssl('pkey', '-in', "$other->{path}.key", '-aes128', '-passout', 'pass:x', '-out',
	$t->dir() . '/encrypted.key');
my $encrypted = slurp($t->dir() . '/encrypted.key');
my $der = decode_base64(join '', grep { !/-----/ } split /\n/, $other->{leaf});
my $body = $t->bundle($other);

my @bodies = (
	['empty', '', 400, qr/empty/],
	['no PEM', "hello\n", 400, qr/not PEM/],
	['DER', $der, 400, qr/DER/],
	['cut within a block', substr($body, 0, length($body) - 60), 400, qr/truncated/],
	['a broken character', $body =~ s/\n(M.)../\n$1~~/r, 400, qr/base64/],
	['a certificate that is none', $body =~ s/(BEGIN CERTIFICATE-----\n)\S{12}/$1AAAAAAAAAAAA/r, 400,
		qr/cannot be parsed/],
	['no certificate', $other->{key}, 422, qr/no certificate/],
	['no key', $other->{cert}, 422, qr/no private key/],
	['an encrypted key', $other->{cert} . $encrypted, 422, qr/encrypted/],
	['the key of another', $other->{cert} . $stranger->{key}, 422, qr/does not match/],
	['two keys of one type', $body . $stranger->{key}, 422, qr/two (?:private )?keys of one type/],
	['two certificates of one type', $body . $good->{leaf} . $good->{key}, 422, qr/two .*of one type/],
	['a chain in the wrong order', $middle . $leaf . $good->{key}, 422, qr/out of order/],
	['a chain that is not its own', $other->{leaf} . $middle . $other->{key}, 422, qr/out of order/],
	['one that has expired', $t->bundle($expired), 422, qr/expired/],
	['one that is not yet valid', $t->bundle($future), 422, qr/not yet valid/],
	['none of the names', $t->bundle($stranger), 422, qr/none of the names/],
	['256 KiB + 1', $body . ("\n" x (256 * 1024 + 1 - length $body)), 413, qr/at most 262144 bytes/],
);

for (@bodies) {
	my ($what, $text, $status, $reason) = @$_;
	my $got = $t->api('PUT', 'sets/a.test', body => $text);
	is($got->{status}, $status, $what);
	like($got->{json}{detail}, $reason, "$what: the reason");
	is($got->{headers}{'content-type'}, 'application/problem+json', "$what: a problem");
	unlike($got->{all}, qr/BEGIN|[A-Za-z0-9+\/]{40}/, "P7: $what: nothing of it comes back");
}

# in chunks a body has no announced length
my $big = $body . ("\n" x (300 * 1024));
is($t->api('PUT', 'sets/a.test', chunks => [unpack '(a10000)*', $big])->{status}, 413,
	'300 KiB in chunks');

# a certificate with very many names

my $san = join ',', map { "DNS:n$_.test" } 1 .. 10_000;
spew($t->dir() . '/many.cnf', "[req]\ndistinguished_name=dn\n[dn]\n[ext]\nsubjectAltName=$san\n");
openssl('req', '-new', '-x509', '-config', $t->dir() . '/many.cnf', '-extensions', 'ext', '-subj',
	'/CN=many', '-key', "$other->{path}.key", '-out', $t->dir() . '/many.pem');
my $got = $t->api('PUT', 'sets/many.test', body => slurp($t->dir() . '/many.pem') . $other->{key});
is($got->{status}, 422, '10,000 names');
like($got->{json}{detail}, qr/more than 1000 names/, '10,000 names: the reason');

# requests

my @requests = (
	['a name with ..', 'PUT', 'sets/a..test', 400],
	['a path with ..', 'PUT', 'sets/%2e%2e', 405],
	['a slash in the name', 'PUT', 'sets/a%2Ftest', 400],
	['a zero byte in the name', 'PUT', 'sets/a%00.test', 400],
	['a name that is no UTF-8', 'PUT', 'sets/b%FFcher.test', 400],
	['a U-label', 'PUT', 'sets/b%C3%BCcher.test', 400, qr/xn--bcher-kva\.test/],
	['a long name', 'PUT', 'sets/' . join('.', ('a' x 63) x 4), 400],
	['an unknown path', 'PUT', 'set/a.test', 404],
	['a path below a set', 'GET', 'sets/a.test/keys', 404],
	['an unknown argument', 'PUT', 'sets/a.test?forced=1', 400, qr/forced/],
	['an argument that cannot be', 'PUT', 'sets/a.test?force=yes', 400],
	['a method that is not there', 'PATCH', 'sets/a.test', 405],
	['a method that nobody knows', 'BREW', 'sets/a.test', 405],
	['a push to all', 'PUT', 'sets/', 405],
	['a push to a rollback', 'PUT', 'sets/a.test/rollback', 405],
);
for (@requests) {
	my ($what, $method, $path, $status, $reason) = @$_;
	my $got = $t->api($method, $path, body => $body);
	is($got->{status}, $status, $what);
	like($got->{json}{detail}, $reason, "$what: the reason") if $reason;
	ok($got->{headers}{allow}, "$what: Allow") if $status == 405;
}

for (['application/json', {}], ['multipart/form-data; boundary=x', {}],
	['text/plain', { 'Content-Encoding' => 'gzip' }]) {
	my ($type, $more) = @$_;
	$got = $t->api('PUT', 'sets/a.test', body => $body, headers => { 'Content-Type' => $type, %$more });
	is($got->{status}, 415, join ' ', $type, %$more);
	ok($got->{headers}{accept}, 'and which ones are taken');
}

# conditions

my ($number) = $etag =~ /(\d+)/;
for (['If-Match', '"' . ($number - 1) . '"', 412], ['If-Match', '"1", "2"', 412],
	['If-Match', $number, 400], ['If-None-Match', '*', 412], ['If-None-Match', $etag, 400]) {
	my ($header, $value, $status) = @$_;
	for my $call (['PUT', 'sets/a.test'], ['DELETE', 'sets/a.test'],
		['POST', 'sets/a.test/rollback']) {
		my ($method, $path) = @$call;
		my $got = $t->api($method, $path, body => $body, headers => { $header => $value });
		is($got->{status}, $status, "$method with $header: $value");
	}
}
is($t->api('PUT', 'sets/c.test', body => $t->bundle($stranger), headers => { 'If-Match' => '*' })
	->{status}, 412, 'If-Match: * where nothing is');

# a client that goes away in the middle

$t->api('PUT', 'sets/a.test', body => $body, cut => 700);

# nothing has changed

is($t->handshake('tls', 'a.test')->{serial}, $good->{serial}, 'the first one is served');
my $now = $t->api('GET', 'sets/a.test');
is($now->{headers}{etag}, $etag, 'the same generation');
is($now->{json}{previous}, undef, 'and no other');
is(@{ $t->api('GET', 'sets/')->{json}{sets} }, 1, 'and no other set');

# what looks odd and is good

my $crlf = $body =~ s/\n/\r\n/gr;
is($t->api('PUT', 'sets/a.test', body => $crlf)->{status}, 200, 'CRLF');
is($t->api('PUT', 'sets/a.test', body => "\n\n$good->{key}\n\ntext: x\n$good->{cert}\nmore\n")
	->{status}, 200, 'key first, blank lines, text round the PEM');
is($t->handshake('tls', 'a.test')->{serial}, $good->{serial}, 'served');
$etag = $t->api('GET', 'sets/a.test')->{headers}{etag};
is($t->push_set($other, headers => { 'If-Match' => "\"1\", $etag" })->{status}, 200,
	'If-Match that holds');
is($t->push_set($stranger, query => 'force=1', as => 'a.test')->{status}, 200, 'other names by force');
is($t->push_set([$rsa, $other], query => 'force=1')->{status}, 200, 'two key types at once');
is($t->push_set($expired, as => 'new.test')->{status}, 201, 'an expired one where nothing is');

$t->done();
