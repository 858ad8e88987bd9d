#!/usr/bin/env perl

# Back from an upgrade, and at once a reload: what the new master had acknowledged is there, also where the
# old one knows files only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $d = $t->dir();

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=startup state=%%DIR%%/state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_api%%;
        location /certs/ { rust_shared_cert_api certs write=on; }
    }
}
EOF
my $file = $t->install($t->pair('a.test'));
$t->start(daemon => 1);
my $old = $t->master();
is($t->push_set($t->pair('b.test'), port => 'api')->{status}, 201, 'pushed');
is($t->handshake('tls', 'a.test')->{serial}, $file->{serial}, 'files serve');

my $new = $t->upgrade();
my $pushed = $t->pair('a.test');
ok(wait_for(20, sub { $t->push_set($pushed, port => 'api')->{status} == 200 }), 'pushed to the new master');
ok(wait_for(20, sub { $t->api('DELETE', 'sets/b.test', port => 'api')->{status} == 200 }), 'and removed there');
kill 'QUIT', $new;
ok(wait_for(20, sub { !-d "/proc/$new" }), 'the new master ends');
kill 'HUP', $old;
ok(wait_for(20, sub { $t->handshake('tls', 'a.test')->{serial} eq $pushed->{serial} }), 'the old one serves what was pushed');
ok(wait_for(10, sub { ($t->handshake('tls', 'b.test')->{alert} // 0) == 112 }), 'and not what was removed');
sleep 5;
is($t->handshake('tls', 'a.test')->{serial}, $pushed->{serial}, 'it stays so');
ok(-e "$d/state/a.test", 'and is on the disk');
ok(!-e "$d/state/b.test", 'while the other is not');
$t->done();
