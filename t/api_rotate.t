#!/usr/bin/env perl

# P1, P2, P3, P4 for pushes: no handshake fails or gets a mixture, none that begins after the answer gets
# the old set, and no process or byte is lost over many pushes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $PUSHES = 400;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:256k load=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
        location = /pid { return 200 $pid; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

$t->ca('middle', issuer => 'root');
my @pairs = map { $t->pair('a.test', issuer => $_ % 2 ? 'middle' : 'root', key => $_ < 4 ? 'p256' : 'rsa') }
	0 .. 5;
my %chain = map { $pairs[$_]{serial} => $_ % 2 ? 2 : 1 } 0 .. 5;
$t->start();
$t->push_set($pairs[0]);
$t->push_set($pairs[1]);
my @pids = $t->worker_pids();

# the clients verify name and chain; the signature is OpenSSL's to check
$t->start_load(sub {
	my $got = $t->handshake('tls', 'a.test', verify => 'root');
	return $got->{error} if !$got->{ok};
	return "P1: $got->{serial} came with $got->{chain} certificates"
		if $got->{chain} != $chain{ $got->{serial} };
	return;
}) for 1, 2;

my ($wrong, $bytes) = (0);
for my $n (0 .. $PUSHES - 1) {
	my $pair = $pairs[$n % 6];
	my $got = $t->push_set($pair);
	$wrong++ if $got->{status} != 200;
	for (1 .. 3) {
		$wrong++ if ($t->handshake('tls', 'a.test')->{serial} // '') ne $pair->{serial};
	}
	$bytes //= $t->api('GET', '')->{json}{bytes_used} if $n == 11;
}
is($wrong, 0, "P2: each of $PUSHES pushes is served at once");
my $load = $t->stop_load();
is(join("\n", @{ $load->{wrong} }), '', "P1, P3: none of $load->{count} handshakes failed");
cmp_ok($load->{count}, '>', 100, 'there were some all the time');
is_deeply([$t->worker_pids()], \@pids, 'P4: the same workers');
$t->push_set($pairs[$_]) for 0 .. 5;
is($t->api('GET', '')->{json}{bytes_used}, $bytes, 'P4: the zone has as many bytes as before');

$t->done();
