#!/usr/bin/env perl

# What TLS servers are asked for besides a certificate: early data, PROXY protocol, renegotiation, a
# HelloRetryRequest with the name gone between the two hellos.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $d = $t->dir();

$t->conf(<<'EOF', workers => 1, log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off;
    rust_shared_cert certs;

    server {
        listen 127.0.0.1:%%PORT_early%% ssl;
        ssl_early_data on;
        location /status { return 200 "$rust_shared_cert_status $ssl_session_reused $ssl_early_data"; }
    }

    server {
        listen 127.0.0.1:%%PORT_proxied%% ssl proxy_protocol;
        location /from { return 200 $proxy_protocol_addr; }
    }

    server {
        listen 127.0.0.1:%%PORT_retry%% ssl;
        ssl_ecdh_curve secp384r1;
        location /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

my ($first, $second) = map { $t->pair('a.test') } 1, 2;
$t->start();
my @pids = $t->worker_pids();
is($t->push_set($first)->{status}, 201, 'pushed');

# early data, before and after a rotation

spew("$d/request", "GET /status HTTP/1.0\r\nHost: a.test\r\n\r\n");
my @session = ('-tls1_3', '-sess_out', "$d/session");
like(s_client('early', "cat $d/request; sleep 1", @session), qr/^(?:zone|hit) \. /m, 'a full handshake');
my @again = ('-tls1_3', '-sess_in', "$d/session", '-early_data', "$d/request");
my $got = s_client('early', 'sleep 1', @again, '-sess_out', "$d/session");
like($got, qr/Early data was accepted/, 'early data');
like($got, qr/^resumed r /m, 'of a session that is resumed');
is($t->push_set($second)->{status}, 200, 'a rotation');
$got = s_client('early', 'sleep 1', @again);
like($got, qr/Early data was accepted/, 'early data of a session from before it');
is($t->handshake('early', 'a.test')->{serial}, $second->{serial}, 'full handshakes have the new certificate');

# the PROXY protocol

my $tcp = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port('proxied')) or die;
syswrite $tcp, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n";
$got = $t->handshake('proxied', 'a.test', socket => $tcp, get => '/from');
is($got->{serial}, $second->{serial}, 'behind a PROXY header');
is($got->{body}, '192.0.2.7', 'which is read');
$tcp = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port('proxied')) or die;
syswrite $tcp, "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n";
is($t->handshake('proxied', 'none.test', socket => $tcp)->{alert}, 112, 'an unknown name there');

# renegotiation is refused, by NGINX's own rule, and nothing happens to the worker

$got = s_client('early', 'sleep 0.3; echo R; sleep 0.7; echo GET /status; sleep 0.3', '-tls1_2');
like($got, qr/RENEGOTIATING/, 'a client that renegotiates');
unlike($got, qr/^(?:zone|hit) /m, 'gets no further');
is($t->handshake('early', 'a.test')->{serial}, $second->{serial}, 'others do');

# HelloRetryRequest; the set is removed, or another one, between the two hellos

my @retry = ('-tls1_3', '-groups', 'X25519:P-384');
$got = $t->s_client('retry', 'a.test', @retry);
is($got->{hello_retry}, 1, 'the control: a HelloRetryRequest');
is($got->{fingerprint}, $second->{fingerprint}, 'and the certificate');
$got = between_the_hellos(sub { $t->push_set($first) });
is($got->{hello_retry}, 1, 'a HelloRetryRequest, and a rotation before the second hello');
ok((grep { $got->{fingerprint} eq $_->{fingerprint} } $first, $second), 'one of the two');
$got = between_the_hellos(sub { $t->api('DELETE', 'sets/a.test') });
ok($got->{ok} ? $got->{fingerprint} eq $first->{fingerprint} : $got->{alert} == 112,
	'the name is removed before the second hello: served what was chosen, or refused')
	or diag($got->{all});
is($t->handshake('retry', 'a.test')->{alert}, 112, 'after that it is unknown');
is_deeply([$t->worker_pids()], \@pids, 'the same worker');

$t->done();

###############################################################################

# The openssl client, with what a shell command writes.
sub s_client {
	my ($port, $input, @args) = @_;
	my $client = join ' ', map { "'$_'" } 'openssl', 's_client', '-connect', '127.0.0.1:' . $t->port($port),
		'-servername', 'a.test', @args;
	return run_command('sh', '-c', "($input) | $client")->{all};
}

# A handshake through a relay that does something before it sends on what comes after the server's first
# answer.
sub between_the_hellos {
	my ($do) = @_;
	my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die;
	my $relay = fork() // die;
	if (!$relay) {
		my $client = $listen->accept();
		my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port('retry')) or die;
		my ($answers, $done) = (0, 0);
		my $select = IO::Select->new($client, $server);
		RELAY: while (my @ready = $select->can_read(10)) {
			for my $from (@ready) {
				my $to = $from == $client ? $server : $client;
				sysread($from, my $bytes, 65536) or last RELAY;
				$answers++ if $from == $server;
				$do->() if $from == $client && $answers && !$done++;
				syswrite $to, $bytes;
			}
		}
		POSIX::_exit(0);
	}
	my $port = $listen->sockport();
	close $listen;
	my $got = $t->s_client($port, 'a.test', @retry);
	waitpid $relay, 0;
	return $got;
}
