#!/usr/bin/env perl

# P4: rotations start and replace no process, and cost neither the workers nor the zone any memory.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $ZONE = 1112 * 1024;    # no other mapping has this size

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', log => 'error');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1112k;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;

        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my @pairs = map { $t->pair('a.test') } 1 .. 4;
$t->install($pairs[0]);
$t->install($t->pair('b.test', key => 'rsa'));
$t->start();
my @pids = $t->worker_pids();

$t->handshake('tls', 'b.test') for 1 .. 10;
is(rotations(150), '', '150 rotations, each served to both workers');
my ($memory, $used) = (rss(), used());

is(rotations(450), '', '450 more');
is_deeply([$t->worker_pids()], \@pids, 'P4: the same workers');

for my $pid (@pids) {
	cmp_ok($t->rss($pid), '<=', $memory->{$pid} + 1024, "P4: worker memory, from $memory->{$pid} KiB");
}
# one set that is not given back would be about 1 KiB for each of them
cmp_ok(used(), '<=', $used + 2048, "P4: the zone's bytes, from $used");

$t->done();

###############################################################################

sub rotations {
	my ($times) = @_;
	my %wrong;
	for (1 .. $times) {
		my $pair = $pairs[$_ % @pairs];
		$t->install($pair);
		$t->clear($_ % 2 ? '' : '?name=a.test')->{status} == 200 or $wrong{clear}++;
		for (1 .. 3) {
			my $serial = $t->handshake('tls', 'a.test')->{serial} // 'none';
			$wrong{serial}++ if $serial ne $pair->{serial};
		}
	}
	return join ' ', %wrong;
}

sub rss { return { map { $_ => $t->rss($_) } @pids } }

# What is not zero: a freed block is wiped.
sub used { return $t->zone_bytes($pids[0], $ZONE) =~ tr/\0//c }
