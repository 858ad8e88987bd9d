#!/usr/bin/env perl

# P6: a reload keeps the zone, and is a clear: new workers have what the old ones had read, and look at
# the files again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

my $conf = <<'EOF';
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

$t->conf($conf);

my @names = map { "$_.test" } 'a' .. 'f';
my %pair = map { $_ => $t->install($t->pair($_)) } @names;
my $new = $t->pair('a.test');

$t->start();
my @pids = $t->worker_pids();
is(served('tls', $_), $pair{$_}{serial}, "$_ before") for @names;

# new files and a reload, no clear

$t->install($new);
ok($t->reload(), 'reload');
isnt(($t->worker_pids())[0], $pids[0], 'new workers');
is(served('tls', 'a.test'), $new->{serial}, 'P6: the reload was a clear');
is(served('tls', 'b.test'), $pair{'b.test'}{serial}, 'what did not change serves');

# files that cannot be used: only the zone has the pair, no worker ever read it

spew($t->dir() . '/certs/c.test.cert.pem', "no certificate\n");
$t->remove('d.test');
ok($t->reload(), 'reload with bad files');
is(served('tls', 'c.test'), $pair{'c.test'}{serial}, 'P6: the last good, out of the zone');
is(served('tls', 'd.test'), $pair{'d.test'}{serial}, 'P6: absent for a moment, out of the zone');
cmp_ok(scalar $t->log_lines(qr/\[warn\].*c\.test\.cert\.pem/), '>=', 1, 'the bad file is told of');

# a configuration that is refused

$t->conf($conf =~ s/rust_shared_cert certs/rust_shared_cert other/r);
ok(!$t->reload(), 'a reload that is refused');
is(served('tls', 'b.test'), $pair{'b.test'}{serial}, 'P6: the old configuration goes on');
is(served('tls', 'c.test'), $pair{'c.test'}{serial}, 'P6: with its zone');

# one zone more, and one less

my $two = $conf =~ s/(rust_shared_cert_zone zone=)certs:1m;/$1certs:1m; ${1}more:64k;/r;
$t->conf($two);
ok($t->reload(), 'reload with another zone');
is(served('tls', 'c.test'), $pair{'c.test'}{serial}, 'P6: the first is kept');

$t->conf($conf);
ok($t->reload(), 'reload without it');
is(served('tls', 'c.test'), $pair{'c.test'}{serial}, 'P6: and kept');

# many in a row

for my $round (1 .. 4) {
	$new = $t->install($t->pair('a.test'));
	$t->reload();
	is(served('tls', 'a.test'), $new->{serial}, "P6: reload $round serves the new files");
}
is($t->clear()->{status}, 200, 'a clear afterwards');
$new = $t->install($t->pair('a.test'));
$t->clear();
is(served('tls', 'a.test'), $new->{serial}, 'P2: and it works');

$t->done();

###############################################################################

sub served { return $t->handshake(@_)->{serial} // 'none' }
