#!/usr/bin/env perl

# A name whose own files are gone or bad while a wildcard would cover it: /clear?name= never answers
# with a set that handshakes are not given, and the own files are looked at again by themselves.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

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
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $wild = $t->pair('_.w.test', san => ['*.w.test']);
my $own = $t->install($t->pair('a.w.test'));
$t->install($wild);
$t->start();

sub served { return $t->handshake('tls', shift)->{serial} // 'none' }

is(served('a.w.test'), $own->{serial}, 'its own');
is(served('b.w.test'), $wild->{serial}, 'the wildcard');

$t->remove('a.w.test');
is($t->clear('?name=a.w.test')->{status}, 422, 'no files of its own: not the wildcard');
is(served('a.w.test'), $own->{serial}, 'the last good until the second look');
ok(wait_for(10, sub { served('a.w.test') eq $wild->{serial} }), 'then the wildcard');

# the certificate first, the key later, and no clear

my $new = $t->pair('c.w.test');
$t->install($new, only => 'cert');
is(served('c.w.test'), $wild->{serial}, 'half a pair: the wildcard');
$t->install($new, only => 'key');
ok(wait_for(10, sub { served('c.w.test') eq $new->{serial} }), 'a whole one: its own');

$t->done();
