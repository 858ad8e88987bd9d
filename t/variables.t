#!/usr/bin/env perl

# The variables: what served this connection.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', workers => 2);
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;
    log_format all "$rust_shared_cert_name|$rust_shared_cert_status|$rust_shared_cert_match";

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs default=default.test;
        location = /pid { return 200 "$pid $rust_shared_cert_status"; }
        location = /all {
            access_log %%DIR%%/access.log all;
            return 200 "$rust_shared_cert_name|$rust_shared_cert_status|$rust_shared_cert_match|$rust_shared_cert_fingerprint|$rust_shared_cert_not_after";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_static%% ssl;
        rust_shared_cert certs;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
        location = /all { return 200 "$rust_shared_cert_name|$rust_shared_cert_status|$rust_shared_cert_match|$rust_shared_cert_fingerprint|$rust_shared_cert_not_after"; }
    }

    server {
        listen 127.0.0.1:%%PORT_no_zone%% ssl;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
        location = /all { return 200 "$rust_shared_cert_name|$rust_shared_cert_status|$rust_shared_cert_match|$rust_shared_cert_fingerprint|$rust_shared_cert_not_after"; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
        location = /all { return 200 "$rust_shared_cert_name|$rust_shared_cert_status|$rust_shared_cert_match|$rust_shared_cert_fingerprint|$rust_shared_cert_not_after"; }
    }
}
EOF

my @dates = (not_before => '240102030405Z', not_after => '490102030405Z');
my $end = 2493169445;
my $pair = $t->install($t->pair('a.test', @dates));
my $wildcard = $t->install($t->pair('_.w.test', cn => 'w', san => ['*.w.test'], @dates));
my $parent = $t->install($t->pair('p.test', san => ['p.test', 'www.p.test'], @dates));
my $default = $t->install($t->pair('default.test', @dates));
my $static = $t->install($t->pair('static'), dir => '.');
$t->start();

# status: each worker in turn

my %first;
for (1 .. 200) {
	my ($pid, $status) = split / /, $t->handshake('tls', 'a.test', get => '/pid')->{body};
	push @{ $first{$pid} }, $status;
	last if 2 == grep { @$_ > 3 } values %first;
}
is(join(' ', sort map { $_->[0] } values %first), 'file zone', 'one worker read the files, one the zone');
is(join(' ', grep { $_ ne 'hit' } map { @$_[2 .. $#$_] } values %first), '', 'hit soon after');

is(all('tls', 'a.test'), "a.test|hit|exact|$pair->{fingerprint}|$end", 'a hit');
is(all('tls', 'A.Test'), "a.test|hit|exact|$pair->{fingerprint}|$end", 'in upper case');

# match

like(all('tls', 'x.w.test'), qr/^_\.w\.test\|\w+\|wildcard\|$wildcard->{fingerprint}\|$end$/, 'wildcard');
like(all('tls', 'www.p.test'), qr/^p\.test\|\w+\|parent\|$parent->{fingerprint}\|$end$/, 'parent');
like(all('tls', 'x.test'), qr/^default\.test\|\w+\|default\|$default->{fingerprint}\|$end$/, 'default');
like(all('tls', undef), qr/^default\.test\|\w+\|default\|$default->{fingerprint}\|$end$/, 'no name');
like(all('tls', 'default.test'), qr/^default\.test\|\w+\|exact\|/, 'the default by its name');

# no certificate of a zone

is(all('static', 'x.test'), '|static|||', 'static');
is(all('static', undef), '|static|||', 'static, no name');
like(all('static', 'a.test'), qr/^a\.test\|\w+\|exact\|$pair->{fingerprint}\|/, 'the zone in such a server');
is(all('no_zone', 'a.test'), '||||', 'no zone: empty');
is($t->http('control', 'GET /all')->{body}, '||||', 'no TLS: empty');

# stale: the last good of bad files

spew($t->dir() . '/certs/a.test.cert.pem', '');
$t->clear();
is(all('tls', 'a.test'), "a.test|stale|exact|$pair->{fingerprint}|$end", 'stale') for 1 .. 3;
my $new = $t->install($t->pair('a.test'));
$t->clear();
like(all('tls', 'a.test'), qr/^a\.test\|file\|exact\|$new->{fingerprint}\|/, 'file after that');

# resumed

my $session = $t->new_session();
all('tls', 'a.test', session => $session) for 1 .. 2;
my @resumed = split /\|/, all('tls', 'a.test', session => $session), -1;
is($resumed[1], 'resumed', 'a resumed session');

# a connection says what it was made with, also after a rotation

my $kept = $t->handshake('tls', 'a.test', keep => 1)->{socket};
$t->install($t->pair('a.test'));
$t->clear();
print $kept "GET /all HTTP/1.0\r\nHost: a.test\r\n\r\n";
like(join('', <$kept>), qr/a\.test\|\w+\|exact\|$new->{fingerprint}\|/, 'a connection from before');

like(slurp($t->dir() . '/access.log'), qr/^a\.test\|hit\|exact$/m, 'in the access log');

$t->done();

###############################################################################

sub all {
	my ($port, $name, %opt) = @_;
	return $t->handshake($port, $name, get => '/all', host => 'x', %opt)->{body};
}
