#!/usr/bin/env perl

# Which certificate: several zones and servers on one port, servers without the directive beside
# them, the http level, "off", and default=.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();
my $d = $t->dir();

my $zones = <<'EOF';
    rust_shared_cert_zone zone=one:1m
        cert=one/$ssl_server_name.cert.pem key=one/$ssl_server_name.key.pem;
    rust_shared_cert_zone zone=two:1m
        cert=two/$ssl_server_name.cert.pem key=two/$ssl_server_name.key.pem;
EOF

$t->conf(<<"EOF");
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%
$zones
    # the directive in some servers

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name a.test;
        rust_shared_cert one;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name b.test *.b.test;
        rust_shared_cert two;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name c.test;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name d.test;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name e.test;
        rust_shared_cert one default=a.test;
    }

    # the default server has a certificate of its own and no zone

    server {
        listen 127.0.0.1:%%PORT_plain%% ssl;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }

    server {
        listen 127.0.0.1:%%PORT_plain%% ssl;
        server_name b.test;
        rust_shared_cert two;
    }

    # default=

    server {
        listen 127.0.0.1:%%PORT_default%% ssl;
        rust_shared_cert one default=a.test;
    }

    server {
        listen 127.0.0.1:%%PORT_nodefault%% ssl;
        rust_shared_cert one default=nowhere.test;
    }

    server {
        listen 127.0.0.1:%%PORT_both%% ssl;
        rust_shared_cert one default=a.test;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }
}
EOF

mkdir "$d/$_" for 'one', 'two';
my %one = map { $_ => $t->install($t->pair($_), dir => 'one') } map { "$_.test" } 'a' .. 'f';
my %two = map { $_ => $t->install($t->pair($_), dir => 'two') } map { "$_.test" } 'a' .. 'f';
my $static = $t->install($t->pair('static'), dir => '.')->{serial};
$t->start();

is(served('tls', 'a.test'), $one{'a.test'}{serial}, "the server's zone");
is(served('tls', 'b.test'), $two{'b.test'}{serial}, 'another zone in another server of the port');
is(served('tls', 'c.test'), $one{'c.test'}{serial},
	"no directive and no certificate: the zone of the port's default server");
is(served('tls', 'd.test'), $static, 'no directive, but a certificate');
is(served('tls', 'e.test'), $one{'e.test'}{serial}, 'the name, before default=');
is(served('tls', 'f.test'), $one{'f.test'}{serial}, 'no server of that name: the default server');
is(served('tls', 'x.b.test'), 'alert 112', 'a name that the zone of its server does not have');
is(served('tls', 'x.test'), 'alert 112', 'a name that nobody has');
is(served('tls', undef), 'alert 112', 'no name');
is(served('tls', 'E.test'), $one{'e.test'}{serial}, 'upper case');

is(served('plain', 'a.test'), $static, 'a default server without a zone');
is(served('plain', 'b.test'), $two{'b.test'}{serial}, 'a server with one beside it');
is(served('plain', undef), $static, 'no name');

is(served('default', 'b.test'), $one{'b.test'}{serial}, 'default=: not for names that are there');
is(served('default', 'x.test'), $one{'a.test'}{serial}, 'default=: for the others');
is(served('default', '../x'), $one{'a.test'}{serial}, 'default=: for what is no name');
is(served('default', undef), $one{'a.test'}{serial}, 'default=: for no name');
is(served('nodefault', 'x.test'), 'alert 112', 'default= without files');
is(served('nodefault', undef), 'alert 112', 'default= without files, no name');
is(served('both', 'x.test'), $one{'a.test'}{serial}, 'default= comes before ssl_certificate');
is(served('both', undef), $one{'a.test'}{serial}, 'for no name too');
$t->stop();

# the directive for all servers

$t->conf(<<"EOF");
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert one default=c.test;    # before its zone
$zones
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name a.test;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name b.test;
        rust_shared_cert two;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name c.test;
        rust_shared_cert off;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name d.test other.test;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }
}
EOF
$t->start();

is(served('tls', 'a.test'), $one{'a.test'}{serial}, 'http level: inherited');
is(served('tls', 'b.test'), $two{'b.test'}{serial}, 'http level: another zone in a server');
is(served('tls', 'c.test'), $static, 'http level: off in a server');
is(served('tls', 'd.test'), $one{'d.test'}{serial}, 'http level: before ssl_certificate');
is(served('tls', 'x.test'), $one{'c.test'}{serial}, 'http level: default=');
is(served('tls', undef), $one{'c.test'}{serial}, 'http level: default=, no name');
is(served('tls', 'other.test'), $one{'c.test'}{serial}, 'http level: default= before ssl_certificate');

is(join("\n", $t->log_lines(qr/\[(?:warn|error|crit)\]/)), '', 'nothing in the log');

$t->done();

###############################################################################

sub served {
	my $got = $t->handshake(@_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
