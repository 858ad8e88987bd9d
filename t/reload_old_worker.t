#!/usr/bin/env perl

# P5: a worker that is shutting down serves the new certificate to the connections that it accepted
# before. The client connects before the reload, and sends its ClientHello after the rotation.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', workers => 1);
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

my $old = $t->install($t->pair('a.test'));
my $new = $t->pair('a.test');
my $newer = $t->pair('a.test');
$t->start();
my ($old_worker) = $t->worker_pids();

is($t->handshake('tls', 'a.test')->{serial}, $old->{serial}, 'the old worker has the old one');

my @sockets = map { connected() } 1 .. 4;
ok($t->reload(), 'reload');
my ($new_worker) = $t->worker_pids();
isnt($new_worker, $old_worker, 'a new worker');
like(slurp("/proc/$old_worker/cmdline"), qr/shutting down/, 'the old one is shutting down');

# a rotation that the new worker is told of

$t->install($new);
is($t->clear()->{status}, 200, 'a clear');
is_deeply(in_old(shift @sockets), [$new->{serial}, $old_worker],
	'P5: the new certificate in the old worker, which reads it itself');

$t->install($newer);
is($t->clear()->{status}, 200, 'a clear');
is($t->handshake('tls', 'a.test')->{serial}, $newer->{serial}, 'the new worker has the newer one');
is_deeply(in_old(shift @sockets), [$newer->{serial}, $old_worker],
	'P5: the newer certificate in the old worker, out of the zone');

$t->install($new);
is($t->clear('?name=a.test')->{status}, 200, 'a clear of the name');
is_deeply(in_old(shift @sockets), [$new->{serial}, $old_worker],
	'P5: after a clear of the name');

# what the old worker reads is good for the new one

my $first = $t->install($t->pair('b.test'));
is($t->handshake(0, 'b.test', socket => shift @sockets)->{serial}, $first->{serial},
	'a name that the old worker reads first');
is($t->handshake('tls', 'b.test')->{serial}, $first->{serial}, 'and then the new one');
ok(wait_for(10, sub { !-d "/proc/$old_worker" }), 'the old worker ends with its connections');

$t->done();

###############################################################################

# A TCP connection that a worker has accepted.
sub connected {
	my $before = () = $t->log_lines(qr/ accept: 127/);
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port('tls')) or die $!;
	wait_for(10, sub { $before < $t->log_lines(qr/ accept: 127/) }) or die 'not accepted';
	return $s;
}

sub in_old {
	my ($socket) = @_;
	my $got = $t->handshake(0, 'a.test', socket => $socket, get => '/pid');
	return [$got->{serial} // $got->{error}, $got->{body} // ''];
}
