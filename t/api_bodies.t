#!/usr/bin/env perl

# P7: a pushed key is nowhere but in the zone, in whatever form it came and whatever the surrounding
# configuration does with bodies.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Find;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', workers => 1);
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    client_body_in_file_only on;
    client_body_buffer_size 16;
    client_max_body_size 10;
    client_body_in_single_buffer on;

    log_format body '$request_uri [$request_body] [$request_body_file] $request_length';
    rust_shared_cert_zone zone=certs:2m load=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        access_log %%DIR%%/access.log body;
        HTTP2
        rust_shared_cert certs;
        location /certs/ { rust_shared_cert_api certs write=on; }
        location /mirrored/ {
            rust_shared_cert_api certs write=on;
            mirror /mirror;
        }
        location = /mirror {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_sink%%;
        }
        location /echo {
            proxy_pass http://127.0.0.1:%%PORT_sink%%;
        }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        access_log %%DIR%%/access.log body;
        location /certs/ { rust_shared_cert_api certs write=unix; }
        location /own/ {
            client_body_buffer_size 16;
            client_max_body_size 100;
            rust_shared_cert_api certs write=unix;
            client_body_in_file_only clean;
        }
        location /mirrored/ {
            rust_shared_cert_api certs write=unix;
            mirror /mirror;
            mirror_request_body on;
        }
        location = /mirror {
            internal;
            proxy_pass http://127.0.0.1:%%PORT_sink%%/sink;
        }
        location /rewritten/ {
            client_max_body_size 0;
            rewrite ^/rewritten/(.*)$ /certs/$1 last;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_sink%%;
        access_log %%DIR%%/sink.log body;
        location / {
            proxy_pass http://127.0.0.1:%%PORT_nobody%%;
        }
    }
}
EOF
my $file = $t->dir() . '/nginx.conf';
my $is_new = $t->nginx_version() =~ m!nginx/1\.(?:2[5-9]|[3-9])!;
my $listen = $is_new ? 'http2 on;' : '';
spew($file, slurp($file) =~ s/HTTP2/$listen/r);
spew($file, slurp($file) =~ s/(listen 127\.0\.0\.1:\d+ ssl);/$1 http2;/r) unless $is_new;

$t->start();
my $n = 0;

sub fresh { $n++; return $t->pair("n$n.test", key => ['p256', 'rsa', 'ed25519']->[$n % 3]) }

sub check {
	my ($what, $pair, $got) = @_;
	is($got->{status}, 201, $what) or diag($got->{all} // $got->{error});
	is($t->handshake('tls', $pair->{name})->{serial}, $pair->{serial}, "$what: served");
	return;
}

my $pair = fresh();
check('with a length', $pair, $t->push_set($pair));

for my $size (1, 7, 100, 4096) {
	$pair = fresh();
	check("in chunks of $size", $pair,
		$t->push_set($pair, body => undef, chunks => [unpack "(a$size)*", $t->bundle($pair)]));
}

$pair = fresh();

$pair = fresh();
check('with the location\'s own body directives', $pair, $t->push_set($pair, prefix => '/own/'));
$pair = fresh();
check('in chunks there', $pair,
	$t->push_set($pair, prefix => '/own/', chunks => [unpack '(a50)*', $t->bundle($pair)]));
$pair = fresh();
check('with mirror', $pair, $t->push_set($pair, prefix => '/mirrored/'));
$pair = fresh();
check('in chunks with mirror', $pair,
	$t->push_set($pair, prefix => '/mirrored/', chunks => [unpack '(a500)*', $t->bundle($pair)]));
$pair = fresh();
check('with a rewritten path', $pair, $t->push_set($pair, prefix => '/rewritten/'));

# slowly, byte by byte

$pair = fresh();
my $s = $t->api_connect();
my $body = $t->bundle($pair);
print $s "PUT /certs/sets/$pair->{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	. 'Content-Length: ' . length($body) . "\r\n\r\n" . substr $body, 0, 10;
$s->flush();
for my $piece (unpack '(a200)*', substr $body, 10) {
	select undef, undef, undef, 0.02;
	print $s $piece;
	$s->flush();
}
my $answer = join '', <$s>;
like($answer, qr!^HTTP/1.1 201!, 'slowly');

# one after another on one connection

$s = $t->api_connect();
my @two = (fresh(), fresh());
print $s map {
	my $body = $t->bundle($_);
	"PUT /certs/sets/$_->{name} HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($body) . "\r\n\r\n$body"
} @two;
print $s "GET /certs/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
$s->flush();
$answer = join '', <$s>;
is(() = $answer =~ m!^HTTP/1.1 201!mg, 2, 'pipelined pushes');
like($answer, qr!^HTTP/1.1 200.*"pushed"!ms, 'and the request behind them');

# HTTP/2 over TLS, with curl

SKIP: {
	skip 'no HTTP/2 in this curl or NGINX', 4
		unless run_command('curl', '-V')->{all} =~ /HTTP2/ && $t->nginx_version() =~ /http_v2/;
	my $first = $t->pair('curl.test');
	$t->push_set($first);
	for my $more ([], ['-H', 'Expect: 100-continue']) {
		$pair = fresh();
		spew($t->dir() . '/body.txt', $t->bundle($pair));
		my $got = $t->curl('tls', 'curl.test', "/certs/sets/$pair->{name}", '--http2', @$more, '-T',
			$t->dir() . '/body.txt');
		is("$got->{status} $got->{http}", '201 2', "HTTP/2 @$more");
		is($t->handshake('tls', $pair->{name})->{serial}, $pair->{serial}, 'served');
		unlink $t->dir() . '/body.txt';
	}
}

# the control: the same log and the same limits do keep the bodies of other locations

$t->api('POST', 'echo', prefix => '/', port => 'sink', body => 'x' x 9);
wait_for(5, sub { -s $t->dir() . '/sink.log' });
like(slurp($t->dir() . '/sink.log'), qr/\[xxxxxxxxx\]|\[[^\]]*temp_client_body[^\]]*\]/,
	'the control: other bodies are logged');

# what is on disk

my @found;
find({ no_chdir => 1, wanted => sub {
	return unless -f $_ && !m!/made/|/nginx\.conf|/body\.txt!;
	my $text = slurp($_);
	push @found, map { "the key of $_ in $File::Find::name" } $t->secrets_in($text);
} }, $t->dir());
is(join("\n", @found), '', 'P7: no key in any file');
my @files = glob $t->dir() . '/temp_client_body/*';
cmp_ok(scalar @files, '<=', 1, 'P7: no body of ours in a temporary file');
unlike(slurp($t->dir() . '/sink.log'), qr/BEGIN|\[-----/, 'P7: mirror has nothing');
is((() = slurp($t->dir() . '/access.log') =~ m!/sets/n\d+\.test \[-\] \[-\]!g) > 10, 1,
	'P7: $request_body is empty');

$t->done();
