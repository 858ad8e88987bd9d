#!/usr/bin/env perl

# P15: unknown names cost what a refused handshake costs: no growth, no line above info, and no harm to
# the names that are known.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $ZONE = 1112 * 1024;    # no other mapping has this size

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', workers => 1, log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1112k;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;

        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $pair = $t->install($t->pair('a.test'));
$t->start();
my ($worker) = $t->worker_pids();

is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'a known name') for 1, 2;
is(unknown(2500), '', 'unknown names are refused');
my ($memory, $zone) = ($t->rss($worker), used());

is(unknown(5000), '', 'and more of them');
cmp_ok($t->rss($worker), '<=', $memory + 256, "P15: no growth of the worker, from $memory KiB");
is(used(), $zone, 'P15: nor in the zone');
is(join("\n", $t->log_lines(qr/\[(?:warn|error|crit)\]/)), '', 'P15: no line above info');

my $got = $t->handshake('tls', 'a.test', get => '/status');
is("$got->{serial} $got->{body}", "$pair->{serial} hit", 'P15: the known name is on the hit path');

$t->done();

###############################################################################

my $n;

# That many names that nobody has; what else than the alert there was.
sub unknown {
	my ($count) = @_;
	my %wrong;
	for (1 .. $count) {
		my $got = $t->handshake('tls', sprintf 'unknown-%d.%d.test', ++$n, $n % 7);
		$wrong{ $got->{alert} // $got->{error} // 'served' }++ if ($got->{alert} // 0) != 112;
	}
	return join ' ', %wrong;
}

# What is not zero.
sub used { return $t->zone_bytes($worker, $ZONE) =~ tr/\0//c }
