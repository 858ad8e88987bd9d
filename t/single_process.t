#!/usr/bin/env perl

# master_process off: one process is all there is, with reloads in it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

my $conf = <<'EOF';
%%GLOBALS%%
master_process off;
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=lazy:%%SIZE%% valid=1s;
    rust_shared_cert_zone zone=startup:%%SIZE%% load=startup;

    server {
        listen 127.0.0.1:%%PORT_lazy%% ssl;
        rust_shared_cert lazy;
    }
    server {
        listen 127.0.0.1:%%PORT_startup%% ssl;
        rust_shared_cert startup;
    }
    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear lazy; }
    }
}
EOF
$t->conf($conf =~ s/%%SIZE%%/256k/gr, workers => 0, log => 'notice');

my $pair = $t->install($t->pair('a.test'));
$t->start();
is(served($_), $pair->{serial}, "$_ at first") for 'lazy', 'startup';

$pair = $t->install($t->pair('a.test'));
is($t->clear()->{status}, 200, 'a clear');
is(served('lazy'), $pair->{serial}, 'P2: the new one');

$pair = $t->install($t->pair('a.test'));
ok(wait_for(4, sub { served('lazy') eq $pair->{serial} }), 'valid=: the new one');

# NGINX takes no new connections after a reload of a single process, but the old ones go on in it: not
# into memory that is no longer there

my @sockets = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port($_)) or die $! }
	('lazy', 'startup') x 2;
select undef, undef, undef, 0.3;
for my $size ('256k', '1m') {
	$pair = $t->install($t->pair('a.test'));
	$t->conf($conf =~ s/%%SIZE%%/$size/gr, workers => 0, log => 'notice');
	my $before = () = $t->log_lines(qr/version .*built for/);
	kill 'HUP', $t->master();
	wait_for(10, sub { $before < $t->log_lines(qr/version .*built for/) }) or die 'no reload';
	for my $zone ('lazy', 'startup') {
		my $got = $t->handshake(0, 'a.test', socket => shift @sockets);
		my $seen = $got->{serial} // 'alert ' . ($got->{alert} // 'none');
		my $want = $size eq '256k' ? qr/^$pair->{serial}$/ : qr/^alert 112$/;
		like($seen, $want, "an old connection after a reload with $size: $zone");
	}
}
unlike(slurp('/proc/' . $t->master() . '/status'), qr/^State:\s+Z/m, 'the process lives');

$t->allow_alert(qr/worker_connections are not enough/);
$t->done();

###############################################################################

sub served {
	my $got = $t->handshake($_[0], 'a.test');
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
