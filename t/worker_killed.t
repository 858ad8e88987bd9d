#!/usr/bin/env perl

# A worker that is killed leaves a zone that works: the next worker has what was read, and rotations go
# on. (Kills in the middle of a write are for the tests of the store.)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

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

my @pairs = map { $t->pair('a.test') } 1 .. 4;
my $kept = $t->install($t->pair('kept.test'));
my $now = $t->install($pairs[0]);
$t->start();
is(served('kept.test'), $kept->{serial}, 'before');

# the zone is all that is left of it, once its files are gone and every worker is another one

$t->remove('kept.test');
for my $pid ($t->worker_pids()) {
	killed($pid);
}
is(served('kept.test'), $kept->{serial}, 'new workers serve what the killed ones read');

# under load: a kill each time, and a rotation right after it; connections of the killed worker fail

$t->start_load(sub { $t->handshake('tls', 'a.test'); return });
my $stale = 0;
for my $round (1 .. 12) {
	my ($pid) = $t->worker_pids();
	kill 'KILL', $pid if $pid;
	$now = $t->install($pairs[$round % @pairs]);
	my $answer = 0;
	ok(wait_for(10, sub { $answer = $t->clear($round % 2 ? '' : '?name=a.test')->{status} // 0; $answer == 200 }),
		"a clear after kill $round") or diag($answer);
	wait_for(10, sub { $t->workers_ready() });
	$stale++ if served('a.test') ne $now->{serial};
}
$t->stop_load();
is($stale, 0, 'P2: the new certificate after each of them');

my $new = $t->install($t->pair('kept.test'));
$t->clear();
is(served('kept.test'), $new->{serial}, 'and the other name rotates');

$t->allow_alert(qr/exited on signal 9/);
$t->done();

###############################################################################

sub killed {
	my ($pid) = @_;
	kill 'KILL', $pid;
	wait_for(10, sub { $t->workers_ready() && !grep { $_ == $pid } $t->worker_pids() })
		or die 'no new worker';
	return;
}

# The first connection may have been given to a worker that is no more.
sub served {
	my ($name) = @_;
	for (1 .. 5) {
		my $serial = $t->handshake('tls', $name)->{serial};
		return $serial if $serial;
	}
	return 'none';
}
