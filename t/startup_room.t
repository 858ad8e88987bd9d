#!/usr/bin/env perl

# load=startup in a zone that is nearly full: what is gone makes room for what is new in the same reload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:32k load=startup;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }
}
EOF

my @names = map { "$_.test" } 'a' .. 'j';
my @others = map { "$_.test" } 'k' .. 't';
my %pair = map { $_ => $t->install($t->pair($_)) } @names;
$t->start();
is(served($_), $pair{$_}{serial}, "$_ at first") for @names;

$t->remove($_) for @names;
$pair{$_} = $t->install($t->pair($_)) for @others;
ok($t->reload(), 'reload with other names');
is(served($_), $pair{$_}{serial}, $_) for @others;
is(served($_), 'alert 112', "$_ is gone") for @names;

# too many do not fit, and nothing changes

$t->install($t->pair("more$_.test")) for 1 .. 30;
ok(!$t->reload(), 'a reload with many more');
like(($t->log_lines(qr/\[emerg\]/))[-1], qr/zone "certs" is too small for its certificates/, 'is refused');
is(served($_), $pair{$_}{serial}, "$_ serves on") for @others;
is(join("\n", $t->log_lines(qr/\[error\]/)), '', 'nothing else is told');

$t->done();

###############################################################################

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
