#!/usr/bin/env perl

# Which certificate: what lua sets is a fallback like any other, and the zone comes before it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();
my @modules = map { "/usr/lib/nginx/modules/$_" } 'ndk_http_module.so', 'ngx_http_lua_module.so';
$t->load_modules(@modules);

$t->conf(<<'EOF', workers => 1);
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;

        ssl_certificate placeholder.cert.pem;
        ssl_certificate_key placeholder.key.pem;
        ssl_certificate_by_lua_block {
            local ssl = require "ngx.ssl"
            local name = ssl.server_name()
            if name ~= "lua.test" then
                return
            end
            local function read(kind)
                local file = assert(io.open("%%DIR%%/lua/lua.test." .. kind .. ".pem"))
                return file:read("*a")
            end
            assert(ssl.clear_certs())
            assert(ssl.set_cert(assert(ssl.parse_pem_cert(read("cert")))))
            assert(ssl.set_priv_key(assert(ssl.parse_pem_priv_key(read("key")))))
        }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

mkdir $t->dir() . '/lua';
my $placeholder = $t->install($t->pair('placeholder'), dir => '.');
my $lua = $t->install($t->pair('lua.test'), dir => 'lua');
my $pair = $t->install($t->pair('a.test'));
$t->start();

for my $round (1, 2) {
	is(served('a.test'), $pair->{serial}, 'the zone first');
	is(served('lua.test'), $lua->{serial}, 'lua, for what is not in the zone');
	is(served('x.test'), $placeholder->{serial}, 'what lua leaves alone');
	is(served(undef), $placeholder->{serial}, 'no name');
}

my $own = $t->install($t->pair('lua.test'));
is($t->clear()->{status}, 200, 'clear');
is(served('lua.test'), $own->{serial}, 'a name that is in the zone now');

$t->done();

###############################################################################

sub served { return $t->handshake('tls', @_)->{serial} // 'none' }
