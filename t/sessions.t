#!/usr/bin/env perl

# Sessions: they are resumed after a rotation and after a reload, without a certificate, in each TLS
# version, by ticket and by the session cache; also of names that are no longer there.

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
    rust_shared_cert_zone zone=other:1m
        cert=other/$ssl_server_name.cert.pem key=other/$ssl_server_name.key.pem;
    ssl_session_ticket_key ticket.key;

    server {
        listen 127.0.0.1:%%PORT_ticket%% ssl;
        rust_shared_cert certs;
        location = /status { return 200 "$rust_shared_cert_status $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_cache%% ssl;
        rust_shared_cert certs;
        ssl_session_tickets off;
        ssl_session_cache shared:sessions:1m;
        location = /status { return 200 "$rust_shared_cert_status $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_other%% ssl;
        rust_shared_cert other;
        location = /status { return 200 "$rust_shared_cert_status $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

spew($t->dir() . '/ticket.key', join '', map { chr($_ * 37 & 255) } 1 .. 80);
mkdir $t->dir() . '/other';
$t->install($t->pair('a.test'), dir => 'other');
$t->install($t->pair('gone.test'));
my $old = $t->install($t->pair('a.test'));
$t->start();

my @kinds = map { my $port = $_; map { [$port, $_] } 'TLSv1_2', 'TLSv1_3' } 'ticket', 'cache';
my %session;

for my $kind (@kinds) {
	my ($port, $version) = @$kind;
	my $what = "$version, $port";
	my $session = $session{$what} = $t->new_session();

	my $got = resume($port, 'a.test', $version, $session);
	is($got->{resumed}, 0, "$what: a full handshake");
	is($got->{serial}, $old->{serial}, "$what: with the certificate");
	like($got->{body}, qr/^(?:file|zone|hit) \.$/, "$what: the status");

	$got = resume($port, 'a.test', $version, $session);
	is($got->{resumed}, 1, "$what: resumed");
	is($got->{body}, 'resumed r', "$what: the status");
}

# a rotation

my $new = $t->install($t->pair('a.test'));
$t->clear();
is($t->handshake('ticket', 'a.test')->{serial}, $new->{serial}, 'a rotation');

for my $kind (@kinds) {
	my ($port, $version) = @$kind;
	my $what = "$version, $port";
	my $got = resume($port, 'a.test', $version, $session{$what});
	is($got->{resumed}, 1, "$what: resumed after the rotation");
	is($got->{body}, 'resumed r', "$what: the status");
}

# a reload

ok($t->reload(), 'reload');
for my $kind (@kinds) {
	my ($port, $version) = @$kind;
	my $what = "$version, $port";
	my $got = resume($port, 'a.test', $version, $session{$what});
	is($got->{resumed}, 1, "$what: resumed after a reload");
}

# a name that is gone, and one that never was there

my $session = $t->new_session();
resume('ticket', 'gone.test', 'TLSv1_3', $session);
$t->remove('gone.test');
$t->clear();
ok(wait_for(8, sub {
	select undef, undef, undef, 0.6;
	return $t->handshake('ticket', 'gone.test')->{error};
}), 'a name is gone');
is(resume('ticket', 'gone.test', 'TLSv1_3', $session)->{resumed}, 1, 'its sessions are not');

# a session of one zone is none of another's: both have the same ticket key

my $got = resume('other', 'a.test', 'TLSv1_2', $session{'TLSv1_2, ticket'});
is($got->{resumed} // 0, 0, "a session of another zone's server is not resumed");

# the openssl client

my $file = $t->dir() . '/session';
for my $version ('-tls1_2', '-tls1_3') {
	my $id = $version eq '-tls1_2' ? 'TLS 1.2' : 'TLS 1.3';
	# in TLS 1.3 the ticket comes after the handshake: some data keeps the client there
	session_by_s_client($version, $file);
	$got = $t->s_client('ticket', 'a.test', $version, '-sess_in', $file);
	is($got->{resumed}, 1, "$id: s_client resumes");
}

$t->done();

###############################################################################

sub resume {
	my ($port, $name, $version, $session) = @_;
	return $t->handshake($port, $name, version => $version, session => $session, get => '/status');
}

sub session_by_s_client {
	my ($version, $file) = @_;
	my $port = $t->port('ticket');
	my $command = "printf 'GET /status HTTP/1.0\\r\\nHost: a.test\\r\\n\\r\\n' | openssl s_client"
		. " -connect 127.0.0.1:$port -servername a.test $version -sess_out $file -ign_eof";
	return run_command('sh', '-c', $command);
}
