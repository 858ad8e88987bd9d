#!/usr/bin/env perl

# An upgrade of the binary: USR2, WINCH, QUIT, and the ways back to the old master, by HUP or by the end of
# the new one. No handshake fails; each instance has zones of its own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=lazy:256k valid=off;
    rust_shared_cert_zone zone=startup:256k load=startup
        cert=%%DIR%%/root/$ssl_server_name.cert.pem key=%%DIR%%/root/$ssl_server_name.key.pem;

    server {
        listen 127.0.0.1:%%PORT_lazy%% ssl;
        rust_shared_cert lazy;
        location = /pid { return 200 $pid; }
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

my $d = $t->dir();
mkdir "$d/root", 0700;
my $lazy = $t->install($t->pair('lazy.test'));
my $startup = $t->install($t->pair('startup.test'), dir => 'root');
$t->start(daemon => 1);    # a master in the foreground takes no USR2
serve('at first');
like($t->log(), qr/\[notice\].*rust_shared_cert: version \d+\.\d+\.\d+, built for nginx\/\d/,
	'the log says which version runs');

my ($old, $before) = ($t->master(), $t->log());
$t->start_load(\&client) for 1, 2;

# up: the new master reads for itself

my $new = $t->upgrade();
isnt($new, $old, 'another master');
serve('with both');
like(substr($t->log(), length $before), qr/\[notice\].*rust_shared_cert: version/, 'the log says so again');
kill 'WINCH', $old;
ok(wait_for(10, sub { !$t->workers_of($old) }), 'WINCH: the old workers end');
serve('with the new one');

$lazy = $t->install($t->pair('lazy.test'));
is($t->clear()->{status}, 200, 'a clear');
serve('P2: after a clear in the new one');

# and back: the old master starts workers again, which read the files again

kill 'HUP', $old;
ok(wait_for(10, sub { $t->workers_of($old) }), 'HUP: the old master has workers again');
kill 'QUIT', $new;
ok(wait_for(20, sub { !-d "/proc/$new" }), 'QUIT: the new one ends');
serve('back in the old one');
$startup = $t->install($t->pair('startup.test'), dir => 'root');
ok(wait_for(10, sub { -e "$d/nginx.pid" }), 'the pid file is back');
kill 'HUP', $old;
ok(wait_for(10, sub { served('startup', 'startup.test') eq $startup->{serial} }), 'it reloads');

# up, and back without HUP: where its workers have ended, the old master starts others by itself

select undef, undef, undef, 1.1;    # until then its workers may be the first after the reload
$new = $t->upgrade();
kill 'WINCH', $old;
ok(wait_for(10, sub { !$t->workers_of($old) }), 'WINCH again');
$lazy = $t->install($t->pair('lazy.test'));
is($t->clear()->{status}, 200, 'a clear in the new one');
kill 'QUIT', $new;
ok(wait_for(20, sub { !-d "/proc/$new" && $t->workers_of($old) }), 'it ends, and the old one has workers');
is(served('lazy', 'lazy.test'), $lazy->{serial}, 'P2: they have what was cleared meanwhile');
ok(wait_for(10, sub { -e "$d/nginx.pid" }), 'the pid file is back');

# up once more, and the old one ends

$new = $t->upgrade();
kill 'QUIT', $old;
ok(wait_for(20, sub { !-d "/proc/$old" }), 'the old one ends');
serve('in the new one alone');

my $load = $t->stop_load();
is(join("\n", @{ $load->{wrong} }), '', "P3: no handshake of $load->{count} failed");
cmp_ok($load->{count}, '>', 50, 'there were handshakes all the time');

kill 'QUIT', $new;
ok(wait_for(20, sub { !-d "/proc/$new" }), 'the end');
delete $t->{master};
$t->done();

###############################################################################

# Sends USR2; the new master's pid.

# How many workers a master has; a new master is a child of the old one.

sub serve {
	my ($when) = @_;
	for (1 .. 6) {
		my @got = (served('lazy', 'lazy.test'), served('startup', 'startup.test'));
		next if "@got" eq "$lazy->{serial} $startup->{serial}";
		return is("@got", "$lazy->{serial} $startup->{serial}", $when);
	}
	return pass("both serve $when");
}

sub client {
	for my $zone ('lazy', 'startup') {
		my $got = $t->handshake($zone, "$zone.test", verify => 'root');
		return "$zone: $got->{error}" if !$got->{ok};
	}
	return;
}

sub served {
	my $got = $t->handshake(@_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
