#!/usr/bin/env perl

# P16: a panic never crosses into C: the call fails in NGINX's terms, one [alert] says where, and the
# worker goes on. The build for this test panics on request.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(fault => 1);

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF
$t->conf($conf, workers => 1);

my $pair = $t->install($t->pair('a.test'));
$t->install($t->pair('panic.fault.test'));
$t->start();
my @pids = $t->worker_pids();
is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'a handshake before');

# in the SNI hook

my $before = alerts();
my $got = $t->handshake('tls', 'panic.fault.test');
ok($got->{error}, 'P16: the handshake fails');
ok($got->{alert}, 'P16: by an alert');
is(alerts() - $before, 1, 'P16: one [alert] line');
is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'P16: the next handshake is good');

for (1 .. 20) {
	$t->handshake('tls', 'panic.fault.test');
}
is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'P16: after many of them too');

# in a content handler

$before = alerts();
is($t->clear('?name=panic.fault.test')->{status}, 500, 'P16: the handler answers 500');
is(alerts() - $before, 1, 'P16: one [alert] line');
is($t->clear('?name=a.test')->{status}, 200, 'P16: the next one is good');
is($t->clear()->{status}, 200, 'P16: and a clear');

# a connection that lives through it

my $kept = $t->handshake('tls', 'a.test', keep => 1)->{socket};
$t->handshake('tls', 'panic.fault.test');
print $kept "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n";
like(join('', <$kept>), qr/^HTTP/, 'P16: another connection of the worker lives');

is_deeply([$t->worker_pids()], \@pids, 'P16: the same worker');
like(($t->log_lines(qr/\[alert\]/))[0] // '', qr/panic.*\w+\.rs:\d+/, 'P16: the [alert] says where');

# in a directive

my $mistake = $t->conf_error($conf =~ s/zone=certs:1m;/zone=certs:1m; rust_shared_cert_zone zone=panic_fault_test:1m;/r);
like($mistake, qr/\[(?:emerg|alert)\]/, 'P16: nginx -t says so');
is($t->test_status(), 1, 'P16: and fails, without a signal');

$t->conf($conf =~ s/zone=certs:1m;/zone=certs:1m; rust_shared_cert_zone zone=panic_fault_test:1m;/r,
	workers => 1);
ok(!$t->reload(), 'P16: a reload fails');
is($t->handshake('tls', 'a.test')->{serial}, $pair->{serial}, 'P16: the master goes on');

$t->allow_alert(qr/panic/);
$t->done();

###############################################################################

sub alerts { return scalar(() = $t->log_lines(qr/\[alert\]/)) }
