#!/usr/bin/env perl

# P2: when a clear has answered, every fresh handshake in every worker is served the new files.
# The clients connect after the last byte of the answer, until each worker has been seen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', workers => 3, log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

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

my @pairs = map { $t->pair('a.test') } 1 .. 6;
my $other = $t->install($t->pair('b.test', key => 'rsa'));

$t->install($pairs[0]);
$t->start();
my @pids = $t->worker_pids();

is(stale($pairs[0]), '', 'the first certificate, in every worker');
is($t->handshake('tls', 'b.test')->{serial}, $other->{serial}, 'another name');

$t->install($pairs[1]);
is($t->handshake('tls', 'a.test')->{serial}, $pairs[0]{serial}, 'new files are not seen before');

for my $round (1 .. 12) {
	my $pair = $pairs[$round % @pairs];
	$t->install($pair);
	is($t->clear()->{status}, 200, "clear $round");
	is(stale($pair), '', "P2: the new certificate in every worker, round $round");
}

for my $round (1 .. 6) {
	my $pair = $pairs[$round % @pairs];
	$t->install($pair);
	is($t->clear('?name=a.test')->{status}, 200, "clear of the name $round");
	is(stale($pair), '', "P2: after a clear of the name, round $round");
}

is($t->handshake('tls', 'b.test')->{serial}, $other->{serial}, 'the other name still serves');
is_deeply([$t->worker_pids()], \@pids, 'P4: the same workers');

$t->done();

###############################################################################

# What was served that is not this pair, by worker; or that a worker was never seen.
sub stale {
	my ($pair) = @_;
	my $seen = $t->seen_by_all('tls', 'a.test', verify => 'root');
	my @wrong = grep {
		my $pid = $_;
		grep { ($_->{serial} // '') ne $pair->{serial} } @{ $seen->{$pid} }
	} sort keys %$seen;
	push @wrong, 'not every worker was seen' if keys %$seen != @pids && @pids;
	return join ' ', @wrong;
}
