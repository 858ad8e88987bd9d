#!/usr/bin/env perl

# What renewed files took the place of leaves the state directory, too: a key that was replaced is not to
# come back with a restart, nor to lie there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $entry = $t->dir() . '/state/a.test';

configure('valid=1s');
$t->install($t->pair('a.test'));
$t->start();
my $pushed = $t->pair('a.test');
is($t->push_set($pushed)->{status}, 201, 'pushed');
ok(-e $entry, 'the control: it is on the disk');
my $renewed = $t->install($t->pair('a.test'));
ok(wait_for(10, sub { served() eq $renewed->{serial} }), 'renewed files serve');
ok(wait_for(10, sub { !-e $entry }), 'P8: and what was pushed leaves the disk');

# while the files are gone, a restart does not bring it back

$t->remove('a.test');
$t->stop();
$t->start();
is(served(), 'alert 112', 'nor does it come back');

# a push after that is kept again

$pushed = $t->pair('a.test');
is($t->push_set($pushed)->{status}, 201, 'pushed again');
ok(!wait_for(6, sub { !-e $entry }), 'which stays');

# found at a reload of a zone that is filled at the start

configure('load=startup');
ok($t->reload(), 'to load=startup');
ok(-e $entry, 'what was pushed stays');
$renewed = $t->install($t->pair('a.test'));
ok($t->reload(), 'renewed files');
is(served(), $renewed->{serial}, 'serve');
ok(!-e $entry, 'and the entry is gone');
is($t->push_set($pushed)->{status}, 200, 'a push after that');
ok(-e $entry, 'is kept again');

$t->done();

sub configure {
	my ($parameters) = @_;
	$t->conf(<<'EOF' =~ s/%%PARAMETERS%%/$parameters/r, log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m %%PARAMETERS%% state=%%DIR%%/state;

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
	return;
}

sub served {
	my $got = $t->handshake('tls', 'a.test');
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
