#!/usr/bin/env perl

# A certificate that the security level of a server does not allow is not served by it: not when it is
# read, and not out of a zone that was filled when the level was lower.

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

    rust_shared_cert_zone zone=certs:1m;
    rust_shared_cert_zone zone=startup:1m load=startup;
    ssl_ciphers ALL:@SECLEVEL=%%LEVEL%%;

    server {
        listen 127.0.0.1:%%PORT_default%% ssl;
        rust_shared_cert certs default=good.test;
    }
    server {
        listen 127.0.0.1:%%PORT_startup%% ssl;
        rust_shared_cert startup default=good.test;
    }
    server {
        listen 127.0.0.1:%%PORT_static%% ssl;
        rust_shared_cert certs;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }
}
EOF

my $weak = $t->install($t->pair('weak.test', key => 'rsa1024'));
my $good = $t->install($t->pair('good.test'));
my $static = $t->install($t->pair('static'), dir => '.');
at_level(0);
$t->start();
is(served($_, 'weak.test'), $weak->{serial}, "$_: at level 0") for 'default', 'static', 'startup';

at_level(2);
ok($t->reload(), 'reload at level 2');
for (1, 2) {
	is(served('default', 'weak.test'), $good->{serial}, 'default= instead');
	is(served('static', 'weak.test'), $static->{serial}, 'the static one instead');
	is(served('startup', 'weak.test'), $good->{serial}, 'default= instead, read at startup');
}
is(served('default', 'good.test'), $good->{serial}, 'what is allowed');
is(scalar(() = $t->log_lines(qr/\[warn\].*key too small; it is not served, zone "startup"/)), 1,
	'a line of the master');
my @lines = $t->log_lines(qr/\[warn\].*zone "certs"/);
is(scalar @lines, 1, 'one line') or diag(join "\n", @lines);
like($lines[0] // '', qr/"\S+weak.test.cert.pem": .*key too small/, 'with the reason');

at_level(0);
ok($t->reload(), 'reload at level 0');
is(served($_, 'weak.test'), $weak->{serial}, "$_: at level 0 again") for 'default', 'static', 'startup';

$t->done();

###############################################################################

sub at_level {
	my ($level) = @_;
	$t->conf($conf =~ s/%%LEVEL%%/$level/r, log => 'info');
	return;
}

sub served {
	my ($port, $name) = @_;
	my $got = $t->handshake($port, $name, ciphers => 'ALL:@SECLEVEL=0');
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
