#!/usr/bin/env perl

# P14: a full zone refuses a push with 507 and changes nothing; before that it drops previous
# generations, then lazy sets.

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

    rust_shared_cert_zone zone=certs:64k;

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

my @lazy = map { $t->install($t->pair("lazy$_.test")) } 1 .. 3;
$t->start();
is($t->handshake('tls', $_->{name})->{serial}, $_->{serial}, "$_->{name} is read") for @lazy;
is(sets()->{lazy}, 3, 'lazy sets');

# previous generations are there, then are not

my $kept = $t->pair('kept.test', key => 'rsa');
# no smaller than that one
my $rsa = $t->pair('rsa-rsa.test', key => 'rsa', reuse => $kept);
$t->push_set($kept);
$t->push_set($t->pair('kept.test', key => 'rsa', reuse => $kept));
is(sets()->{previous}, 1, 'a previous generation');

my (@pushed, $got);
for my $n (1 .. 60) {
	my $before = sets();
	$got = $t->push_set($rsa, as => "n$n.test");
	last if $got->{status} != 201;
	push @pushed, "n$n.test";
	my $now = sets();
	ok(!$now->{previous} || $now->{lazy} == 3, 'P14: previous generations go before lazy sets')
		if $now->{lazy} != $before->{lazy} || $now->{previous} != $before->{previous};
}
is($got->{status}, 507, 'P14: the zone is full');
like($got->{json}{detail}, qr/bytes are needed/, 'and says how much is missing');
my $full = $t->api('GET', '')->{json};
is($full->{sets}{pushed}, @pushed + 1, 'P14: all pushed sets are there');
is($full->{sets}{previous}, 0, 'and no previous one; lazy ones where the renewal of one has room');

is($t->push_set($rsa, as => 'more.test')->{status}, 507, 'again');
my $again = $t->pair('kept.test', key => 'rsa', reuse => $kept);
is($t->push_set($again)->{status}, 200, 'P14: a renewal of one that is there has room');
is($t->handshake('tls', 'kept.test')->{serial}, $again->{serial}, 'and serves');
is($t->push_set($kept)->{status}, 200, 'as often as there are some');
my @renewals = map { $t->pair('rsa-rsa.test', key => 'rsa', reuse => $kept) } 1 .. 4;
is_deeply([map { my $pair = $_; map { $t->push_set($pair, as => $_)->{status} } @pushed[0 .. 4] } @renewals],
	[(200) x 20], 'P14: and all that there are, although no two certificates have one length');
# what was a byte too small for a new one may not be now
for my $n (61 .. 63) {
	last if $t->push_set($rsa, as => "n$n.test")->{status} != 201;
	push @pushed, "n$n.test";
}
$full = $t->api('GET', '')->{json};
is($t->push_set($rsa, as => 'more.test')->{status}, 507, 'a new one has none still');
is($t->api('GET', '')->{json}{bytes_used}, $full->{bytes_used}, 'P14: no byte more or less');
is($t->api('GET', 'sets/more.test')->{status}, 404, 'nothing of it is there');

# lazy sets are served from the workers' caches, and files that are new are too

is($t->handshake('tls', $_->{name})->{serial}, $_->{serial}, "P14: $_->{name} is served") for @lazy;
my $late = $t->install($t->pair('late.test'));
is($t->handshake('tls', 'late.test')->{serial}, $late->{serial}, 'P14: as is a name that is new');
is(sets()->{pushed}, @pushed + 1, 'no pushed set went for it');

# a small one may still fit where a large one goes

# one that was not renewed: what replaces a set may have a smaller block than a new one is given
is($t->api('DELETE', "sets/$pushed[7]")->{status}, 200, 'one is removed');
is($t->push_set($rsa, as => 'more.test')->{status}, 201, 'then there is room');

$t->done();

sub sets { return $t->api('GET', '')->{json}{sets} }
