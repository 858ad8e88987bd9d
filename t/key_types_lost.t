#!/usr/bin/env perl

# RSA and ECDSA for one name: one pair that is absent for a moment takes no certificate from clients;
# one that stays away does, at the second look. A bad one holds the whole set back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m %%LOAD%%
        cert=certs/$ssl_server_name.cert.pem key=certs/$ssl_server_name.key.pem
        cert=certs/$ssl_server_name.rsa.cert.pem key=certs/$ssl_server_name.rsa.key.pem;

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

for my $load ('load=lazy', 'load=startup') {
	my $is_lazy = $load eq 'load=lazy';
	my $ec = $t->install($t->pair('a.test'));
	my $rsa = $t->install($t->pair('a.test', key => 'rsa'), infix => '.rsa');
	$t->conf($conf =~ s/%%LOAD%%/$load/r, log => 'info');
	$t->start();
	is_deeply(both(), [$ec->{serial}, $rsa->{serial}], "$load: both");

	# absent for a moment

	unlink glob $t->dir() . '/certs/a.test.rsa.*';
	if ($is_lazy) {
		$t->clear();
		is_deeply(both(), [$ec->{serial}, $rsa->{serial}], "$load: one pair absent, the first look");
		$rsa = $t->install($t->pair('a.test', key => 'rsa'), infix => '.rsa');
		ok(wait_for(5, sub { both()->[1] eq $rsa->{serial} }), "$load: and back");
		unlink glob $t->dir() . '/certs/a.test.rsa.*';
		$t->clear();
	} else {
		$t->reload();
	}

	# and for good

	ok(wait_for(6, sub { both()->[1] eq 'none' }), "$load: one pair gone");
	is(both()->[0], $ec->{serial}, "$load: the other serves");

	# bad

	$rsa = $t->install($t->pair('a.test', key => 'rsa'), infix => '.rsa');
	$is_lazy ? $t->clear() : $t->reload();
	is_deeply(both(), [$ec->{serial}, $rsa->{serial}], "$load: both again");
	spew($t->dir() . '/certs/a.test.rsa.key.pem', 'bad');
	my $new = $t->install($t->pair('a.test'));
	$is_lazy ? $t->clear() : $t->reload();
	is_deeply(both(), [$ec->{serial}, $rsa->{serial}], "$load: a bad one: the last good of both");
	$t->stop();
}

$t->done();

###############################################################################

# What clients get that take ECDSA only, and RSA only.
sub both {
	return [map {
		my $got = $t->handshake('tls', 'a.test', version => 'TLSv1_2', ciphers => "ECDHE-$_-AES128-GCM-SHA256");
		$got->{serial} // 'none';
	} 'ECDSA', 'RSA'];
}
