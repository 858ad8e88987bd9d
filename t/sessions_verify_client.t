#!/usr/bin/env perl

# Sessions and client certificates: a session that was made with one server is not taken by another
# one that verifies clients, nor is what one CA vouched for good for the server of another.

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
    rust_shared_cert certs;
    ssl_session_ticket_key ticket.key;
    ssl_session_cache shared:sessions:1m;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name open.test;
        location = /who { return 200 "$ssl_server_name $ssl_client_verify $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name one.test;
        ssl_verify_client on;
        ssl_verify_depth 2;
        ssl_client_certificate one.pem;
        location = /who { return 200 "$ssl_server_name $ssl_client_verify $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        server_name two.test;
        ssl_verify_client on;
        ssl_verify_depth 2;
        ssl_client_certificate two.pem;
        location = /who { return 200 "$ssl_server_name $ssl_client_verify $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_one%% ssl;
        ssl_verify_client on;
        ssl_client_certificate one.pem;
        location = /who { return 200 "$ssl_server_name $ssl_client_verify $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_names%% ssl;
        server_name open.test one.test;
        ssl_verify_client on;
        ssl_client_certificate one.pem;
        location = /who { return 200 "$ssl_server_name $ssl_client_verify $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_two%% ssl;
        ssl_verify_client on;
        ssl_client_certificate two.pem;
        location = /who { return 200 "$ssl_server_name $ssl_client_verify $ssl_session_reused"; }
    }

    server {
        listen 127.0.0.1:%%PORT_open%% ssl;
        location = /who { return 200 "$ssl_server_name $ssl_client_verify $ssl_session_reused"; }
    }
}
EOF

my $d = $t->dir();
spew("$d/ticket.key", join '', map { chr($_ * 41 & 255) } 1 .. 80);
for my $name ('one', 'two') {
	spew("$d/$name.pem", slurp($t->ca($name)->{file}));
	my $client = $t->pair("client-$name", issuer => $name);
	spew("$d/client-$name.cert.pem", $client->{cert});
	spew("$d/client-$name.key.pem", $client->{key});
}
$t->install($t->pair($_)) for 'open.test', 'one.test', 'two.test';
$t->start();

for my $version ('TLSv1_2', 'TLSv1_3') {
	is(who('tls', 'open.test', $version, undef), 'open.test NONE .', "$version: no client certificate");
	is(who('tls', 'one.test', $version, 'one'), 'one.test SUCCESS .', "$version: the right one");
	is(who('tls', 'two.test', $version, 'two'), 'two.test SUCCESS .', "$version: the other right one");
	isnt(who('tls', 'one.test', $version, 'two'), 'one.test SUCCESS .', "$version: the wrong one");

	# the positive control: each session is good where it was made

	my $open = session('tls', 'open.test', $version, undef);
	my $one = session('tls', 'one.test', $version, 'one');
	my $two = session('tls', 'two.test', $version, 'two');
	is(who('tls', 'open.test', $version, undef, $open), 'open.test NONE r', "$version: resumed");
	like(who('tls', 'one.test', $version, 'one', $one), qr/^one\.test SUCCESS [r.]$/,
		"$version: at home");

	# a server that verifies has two names, and they are one server

	my $names = session('names', 'open.test', $version, 'one');
	for my $name ('open.test', 'one.test', 'OPEN.test', 'open.test.') {
		like(who('names', $name, $version, 'one', $names), qr/ SUCCESS [r.]$/,
			"$version: at $name of the same server");
	}

	# on one port

	for my $case (
		[$open, 'one.test', 'an open session'], [$open, 'two.test', 'an open session'],
		[$one, 'two.test', 'a session of one.test'], [$two, 'one.test', 'a session of two.test'],
	) {
		my ($session, $name, $what) = @$case;
		unlike(who('tls', $name, $version, undef, $session), qr/SUCCESS|NONE/,
			"$version: $what, at $name");
	}

	# from port to port

	my $port_one = session('one', 'one.test', $version, 'one');
	my $port_open = session('open', 'one.test', $version, undef);
	unlike(who('two', 'one.test', $version, undef, $port_one), qr/SUCCESS/,
		"$version: a session of another port, whose server trusts another CA");
	unlike(who('one', 'one.test', $version, undef, $port_open), qr/SUCCESS|NONE/,
		"$version: a session of a port that verifies nobody");
}

$t->done();

###############################################################################

# What the server says of the client, or the status or error where it does not answer with 200.
sub who {
	my ($port, $name, $version, $client, $session) = @_;
	my %opt = (version => $version, get => '/who');
	if ($client) {
		@opt{qw/ cert key /} = map { "$d/client-$client.$_.pem" } 'cert', 'key';
	}
	$opt{session} = $session if $session;
	my $got = $t->handshake($port, $name, %opt);
	return $got->{error} if $got->{error};
	return ($got->{status} // 0) == 200 ? $got->{body} : 'status ' . ($got->{status} // 'none');
}

sub session {
	my ($port, $name, $version, $client) = @_;
	my $session = $t->new_session();
	who($port, $name, $version, $client, $session);
	return $session;
}
