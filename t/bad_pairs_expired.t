#!/usr/bin/env perl

# Expired and not yet valid certificates: an expired one serves, with one [warn], when there is nothing
# better; it does not take the place of a valid one, and is not offered beside a valid one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', workers => 1);
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m
        cert=certs/$ssl_server_name.cert.pem key=certs/$ssl_server_name.key.pem
        cert=certs/$ssl_server_name.rsa.cert.pem key=certs/$ssl_server_name.rsa.key.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_static%% ssl;
        rust_shared_cert certs;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }

    server {
        listen 127.0.0.1:%%PORT_late%% ssl;
        rust_shared_cert certs;
        ssl_certificate late.cert.pem;
        ssl_certificate_key late.key.pem;
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my @expired = (not_before => '200101000000Z', not_after => '210101000000Z');
my $static = $t->install($t->pair('static'), dir => '.');
$t->install($t->pair('late', @expired), dir => '.');
my $old = $t->install($t->pair('old.test', @expired));
my $good = $t->install($t->pair('good.test'));
my $valid = $t->install($t->pair('two.test', key => 'rsa'), infix => '.rsa');
$t->install($t->pair('two.test', @expired));
$t->start();

# nothing better

is(served('old.test'), $old->{serial}, 'expired: serves when there is nothing better') for 1 .. 3;
is($t->handshake('static', 'old.test')->{serial}, $static->{serial}, 'a static one that is valid is better');
is($t->handshake('late', 'old.test')->{serial}, $old->{serial}, 'one that has expired too is not');
my @lines = $t->log_lines(qr/\[warn\].*old\.test/);
is(scalar @lines, 1, 'expired: one line');
like($lines[0], qr/has expired/, 'expired: which says so');

my $new = $t->install($t->pair('old.test'));
$t->clear();
is(served('old.test'), $new->{serial}, 'expired: replaced by a valid one');

# something better

is(served('good.test'), $good->{serial}, 'a valid one');
$t->install($t->pair('good.test', @expired));
$t->clear();
is(served('good.test'), $good->{serial}, 'P3: an expired one does not take its place') for 1 .. 3;
cmp_ok(scalar $t->log_lines(qr/\[warn\].*good\.test.*has expired/), '>=', 1, 'and is told of');

$new = $t->install($t->pair('good.test'));
$t->clear();
is(served('good.test'), $new->{serial}, 'P2: but a valid one does');

# one member of two

is(served('two.test'), $valid->{serial}, 'an expired ECDSA is not offered beside a valid RSA');

# of the name's own files and the wildcard's, those that are valid

my $wildcard = $t->install($t->pair('_.two.test', san => ['*.two.test']));
$t->install($t->pair('z.two.test', @expired));
is(served('z.two.test'), $wildcard->{serial}, 'a valid wildcard before an expired exact one');
my $refresh = $t->clear('?name=z.two.test');
is($refresh->{status}, 422, 'a clear of the name does not take the expired one for what is served');
like($refresh->{json}{detail}, qr/"z\.two\.test" has expired; that of "\*?_?\.two\.test" is served/, 'and says so');
spew($t->dir() . '/certs/_.two.test.key.pem', 'no key');
$t->clear();
is(served('z.two.test'), $wildcard->{serial}, 'the last good of a wildcard that is bad now');
is($t->clear('?name=z.two.test')->{status}, 422, 'is what a clear finds too');
my $exact = $t->install($t->pair('z.other.test', @expired));
$t->install($t->pair('_.other.test', san => ['*.other.test'], @expired));
$refresh = $t->clear('?name=z.other.test');
is($refresh->{status}, 200, 'an expired one where the wildcard has expired too') or diag($refresh->{body});
is($refresh->{json}{set}, 'z.other.test', 'is what is served');
is(served('z.other.test'), $exact->{serial}, 'indeed');
is($t->clear('?name=old.test&name=two.test')->{status}, 400, 'two names in one call');
my $got = $t->s_client('tls', 'two.test', '-sigalgs', 'ECDSA+SHA256');
ok(!$got->{ok}, 'not to a client for ECDSA only');
my $both = $t->install($t->pair('two.test'));
$t->clear();
is($t->s_client('tls', 'two.test', '-sigalgs', 'ECDSA+SHA256')->{fingerprint}, $both->{fingerprint},
	'once it is valid it is offered');

$t->done();

###############################################################################

sub served { return $t->handshake('tls', @_)->{serial} // 'none' }
