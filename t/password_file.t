#!/usr/bin/env perl

# password_file=: keys that lie encrypted, in both forms of PEM, for lazy and startup zones.

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

    rust_shared_cert_zone zone=lazy:1m password_file=passwords;
    rust_shared_cert_zone zone=startup:1m load=startup password_file=%%DIR%%/passwords;
    rust_shared_cert_zone zone=without:1m;

    server {
        listen 127.0.0.1:%%PORT_lazy%% ssl;
        rust_shared_cert lazy;
    }
    server {
        listen 127.0.0.1:%%PORT_startup%% ssl;
        rust_shared_cert startup;
    }
    server {
        listen 127.0.0.1:%%PORT_without%% ssl;
        rust_shared_cert without;
    }
    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear lazy; }
    }
}
EOF
$t->conf($conf);

my $d = $t->dir();
spew("$d/passwords", "not this one\r\n\nthe second word\nthird\n");
my %pair = (
	pkcs8 => encrypted('pkcs8.test', 'third', 'pkcs8', '-topk8', '-v2', 'aes-256-cbc'),
	traditional => encrypted('old.test', 'the second word', 'ec', '-aes128'),
	rsa => encrypted('rsa.test', 'third', 'rsa', '-aes256', '-traditional'),
	plain => $t->install($t->pair('plain.test')),
);
my $unknown = encrypted('unknown.test', 'another', 'pkcs8', '-topk8');
$t->start();

for my $zone ('lazy', 'startup') {
	for my $kind (sort keys %pair) {
		is(served($zone, $pair{$kind}{name}), $pair{$kind}{serial}, "$zone: $kind");
	}
	is(served($zone, 'unknown.test'), 'alert 112', "$zone: with another password");
	is(scalar(() = $t->log_lines(
		qr/\[warn\].*unknown.test.*none of the passwords of "password_file".*zone "$zone"/)),
		1, "$zone: a line says so");
}
is(served('without', 'pkcs8.test'), 'alert 112', 'without passwords');
is(scalar(() = $t->log_lines(qr/\[warn\].*private key is encrypted;.*zone "without"/)), 1,
	'a line says so');
is(served('without', 'plain.test'), $pair{plain}{serial}, 'a key that is not encrypted');

# a rotation

my $new = encrypted('pkcs8.test', 'third', 'pkcs8', '-topk8');
is($t->clear()->{status}, 200, 'a clear');
is(served('lazy', 'pkcs8.test'), $new->{serial}, 'P2: a new key with the old password');

unlike($t->log(), qr/third|second word|not this one/, 'P7: no password in the log');

# mistakes

for (
	['none', undef, qr/\[emerg\].*open\(\) "\S+none" failed \(2: No such file.*:\d+/],
	['long', 'x' x 2000, qr/\[emerg\].*too long line in "\S+long" in .*:\d+/],
	['', undef, qr/\[emerg\].*invalid parameter "password_file="/],
) {
	my ($file, $text, $expected) = @$_;
	spew("$d/$file", $text) if defined $text;
	my $bad = $conf =~ s/password_file=passwords/password_file=$file/r;
	like($t->conf_error($bad), $expected, "password_file=$file");
}

$t->done();

###############################################################################

sub encrypted {
	my ($name, $password, $command, @args) = @_;
	my $pair = $t->pair($name, key => $command eq 'rsa' ? 'rsa' : 'p256');
	openssl($command, @args, '-in', "$pair->{path}.key", '-passout', "pass:$password", '-out',
		"$pair->{path}.encrypted");
	my $key = slurp("$pair->{path}.encrypted");
	die $key if $key !~ /ENCRYPTED/;
	return $t->install({ %$pair, key => $key });
}

sub served {
	my $got = $t->handshake(@_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
