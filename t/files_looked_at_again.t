#!/usr/bin/env perl

# Without any clear: files that were bad or absent are looked at again about a second later, when they
# have changed; files that serve are not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'info');
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

my $pair = $t->pair('a.test');
my $late = $t->pair('late.test');
my $kept = $t->install($t->pair('kept.test'));
$t->install($pair, only => 'cert');
$t->start();

is(served('kept.test'), $kept->{serial}, 'good files');
is(served('late.test'), 'alert 112', 'absent files');
is(served('a.test'), 'alert 112', 'a certificate without its key');

# absent, and then there

$t->install($late);
ok(within('late.test', $late), 'P15: absence is remembered for a second at most');

# bad, and then good

$t->install($pair, only => 'key');
ok(within('a.test', $pair), 'bad files are looked at again when they change');

# bad, and then bad in another way: one line each, however often it is asked for

spew($t->dir() . '/certs/b.test.cert.pem', '');
spew($t->dir() . '/certs/b.test.key.pem', '');
for (1 .. 3) {
	served('b.test') for 1 .. 10;
	select undef, undef, undef, 0.6;
}
is(lines('b.test'), 1, 'bad files that do not change: one line');
spew($t->dir() . '/certs/b.test.cert.pem', $pair->{cert});
for (1 .. 4) {
	served('b.test') for 1 .. 10;
	select undef, undef, undef, 0.6;
}
is(lines('b.test'), 2, 'bad files that do: one more');

# files that serve are left alone until a clear

my $new = $t->install($t->pair('kept.test'));
select undef, undef, undef, 2.5;
is(served('kept.test'), $kept->{serial}, 'files that serve are not looked at');

# the last good while files are bad, and the new one soon after they are good, without a clear

spew($t->dir() . '/certs/kept.test.cert.pem', 'bad');
$t->clear();
is(served('kept.test'), $kept->{serial}, 'P3: the last good');
$t->install($new);
ok(within('kept.test', $new), 'and the new one, once its files are good');

$t->done();

###############################################################################

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}

# Served within three seconds: one to look again, and some for a busy machine.
sub within {
	my ($name, $pair) = @_;
	return wait_for(3, sub { served($name) eq $pair->{serial} });
}

sub lines { return scalar(() = $t->log_lines(qr/\[warn\].*"$_[0]"/)) }
