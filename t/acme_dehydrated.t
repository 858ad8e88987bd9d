#!/usr/bin/env perl

# dehydrated with nginx-cert-push as its hook, against Pebble.


use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;
use Test::SharedCert::Acme;

my $t = Test::SharedCert->new();
my $acme = Test::SharedCert::Acme->new($t, 'dehydrated');

$acme->start();

$acme->rotates('a.test', sub { $acme->dehydrated('--cron', '--domain', 'a.test www.a.test') },
	sub { $acme->dehydrated('--cron', '--force', '--domain', 'a.test www.a.test') });
ok($t->handshake('tls', 'www.a.test', verify => 'pebble')->{ok}, 'the second name, too');
my $got = $acme->dehydrated('--cron', '--domain', 'a.test www.a.test');
is($got->{status}, 0, 'nothing to renew') or diag($got->{all});
is($acme->pushed(), '', 'nothing is pushed, and nothing said of the other handlers');

$t->done();
