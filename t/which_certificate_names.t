#!/usr/bin/env perl

# Which certificate: the name itself, then _.PARENT, then PARENT, the last two only where the
# certificate covers the name.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

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
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;

        location = /match { return 200 "$rust_shared_cert_name $rust_shared_cert_match"; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $wildcard = $t->install($t->pair('_.w.test', cn => 'w', san => ['*.w.test']));
my $exact = $t->install($t->pair('e.w.test'));
my $parent = $t->install($t->pair('p.test', san => ['p.test', 'www.p.test']));
my $lineage = $t->install($t->pair('l.test', san => ['l.test', '*.l.test', 'a.b.l.test']));
my $cn = $t->install($t->pair('cn.test', san => []));
$t->install($t->pair('other.test', san => ['another.test']));
$t->start();

is(served('e.w.test'), "$exact->{serial} e.w.test exact", 'the name itself before the wildcard');
is(served('h.w.test'), "$wildcard->{serial} _.w.test wildcard", 'a wildcard');
is(served('H.W.test'), "$wildcard->{serial} _.w.test wildcard", 'a wildcard, upper case');
is(served('x.h.w.test'), 'alert 112', 'a wildcard is for one label');
is(served('w.test'), 'alert 112', 'and not for the domain itself');

is(served('p.test'), "$parent->{serial} p.test exact", 'a domain');
is(served('www.p.test'), "$parent->{serial} p.test parent", 'a parent that covers the name');
is(served('api.p.test'), 'alert 112', 'a parent that does not');
is(served('l.test'), "$lineage->{serial} l.test exact", 'a lineage of domain and wildcard');
is(served('any.l.test'), "$lineage->{serial} l.test parent", 'by its wildcard');
is(served('a.b.l.test'), 'alert 112', "a grandparent is not looked at");

is(served('cn.test'), "$cn->{serial} cn.test exact", 'without SAN the CN counts');
is(served('www.cn.test'), 'alert 112', 'for itself');

# a parent that does not cover a name is not bad; a pair that does not cover its own is

is(served('other.test'), 'alert 112', 'a pair that does not cover its name');
is(served('another.test'), 'alert 112', 'nor is it looked for by the name that it covers');
my @warn = $t->log_lines(qr/\[warn\]/);
is(scalar @warn, 1, 'one line about it') or diag(join "\n", @warn);
like($warn[0], qr/does not cover/, 'with the reason');

# what comes later and is nearer wins, once cleared

my $own = $t->install($t->pair('h.w.test'));
my $www = $t->install($t->pair('www.p.test'));
$t->clear();
is(served('h.w.test'), "$own->{serial} h.w.test exact", 'the name has its own now');
is(served('i.w.test'), "$wildcard->{serial} _.w.test wildcard", 'another one has not');
is(served('www.p.test'), "$www->{serial} www.p.test exact", 'nor needs its parent');

# and a rotation of what serves others

my $new = $t->install($t->pair('_.w.test', cn => 'w', san => ['*.w.test']));
is($t->clear('?name=_.w.test')->{status}, 200, 'a clear by the name of the set');
is(served('i.w.test'), "$new->{serial} _.w.test wildcard", 'P2: for a name that it serves');

$new = $t->install($t->pair('l.test', san => ['l.test', '*.l.test']));
is($t->clear('?name=any.l.test')->{json}{set}, 'l.test', 'a clear of a name that a parent serves');
is(served('any.l.test'), "$new->{serial} l.test parent", 'P2: for that name');
is(served('l.test'), "$new->{serial} l.test exact", 'P2: and for the parent');
is(served('more.l.test'), "$new->{serial} l.test parent", 'P2: and for another one');

# gone: the next candidate serves

$t->remove('h.w.test');
$t->clear();
is(served('h.w.test'), "$own->{serial} h.w.test exact", 'absent for a moment, it still serves');
wait_for(8, sub {
	select undef, undef, undef, 0.6;
	return served('h.w.test') =~ /wildcard/;
});
like(served('h.w.test'), qr/ _\.w\.test wildcard$/, 'gone: the wildcard serves');

$t->done();

###############################################################################

sub served {
	my ($name) = @_;
	my $got = $t->handshake('tls', $name, get => '/match', host => 'x');
	return 'alert ' . ($got->{alert} // $got->{error}) if !$got->{ok};
	return "$got->{serial} $got->{body}";
}
