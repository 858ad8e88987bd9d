#!/usr/bin/env perl

# A name whose files are removed ends, without a clear; one whose file system is not mounted does not,
# nor does one whose directory cannot be entered. What comes back serves again.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw/ sleep /;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m valid=1s;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $d = $t->dir();
my %pair = map { $_ => $t->install($t->pair($_)) } 'a.test', 'b.test';
$t->start();
is(served($_), $pair{$_}{serial}, "$_ at first") for sort keys %pair;

# one of two files: never gone

unlink "$d/certs/a.test.key.pem";
ok(!wait_for(4, sub { served('a.test') ne $pair{'a.test'}{serial} }), 'a key less: the last good');
$t->install($pair{'a.test'});

# both

$t->remove('a.test');
ok(wait_for(6, sub { served('a.test') eq 'alert 112' }), 'both files less: the name ends');
is_deeply(in_all('a.test'), ['alert 112'], 'in every worker');
is(served('b.test'), $pair{'b.test'}{serial}, 'the other does not');
$t->install($pair{'a.test'});
ok(wait_for(3, sub { served('a.test') eq $pair{'a.test'}{serial} }), 'back again, without a clear');

# a name that nobody asks for: gone a second after the first that does, in all workers at once

$t->remove('a.test');
sleep 4;
served('a.test');
sleep 1.3;
is_deeply(in_all('a.test'), ['alert 112'], 'an idle name: the second look is the last, in every worker');
$t->install($pair{'a.test'});
ok(wait_for(3, sub { served('a.test') eq $pair{'a.test'}{serial} }), 'back again');

# links that lead nowhere, as certbot's when archive/ is on a file system that is not mounted

mkdir "$d/archive";
for my $half ('cert', 'key') {
	rename "$d/certs/a.test.$half.pem", "$d/archive/a.$half" or die $!;
	symlink "../archive/a.$half", "$d/certs/a.test.$half.pem" or die $!;
}
ok(!wait_for(3, sub { served('a.test') ne $pair{'a.test'}{serial} }), 'links');
rename "$d/archive", "$d/archive.away" or die $!;
$t->clear();
ok(!wait_for(4, sub { served('a.test') ne $pair{'a.test'}{serial} }), 'links that lead nowhere: the last good');
cmp_ok(scalar $t->log_lines(qr/\[warn\].*"a.test".*cert.pem" failed \(2: .*last good/), '>=', 1, 'a line says so');
rename "$d/archive.away", "$d/archive" or die $!;
ok(wait_for(4, sub { ($t->handshake('tls', 'a.test', get => '/status')->{body} // '') ne 'stale' }), 'good again');

# the whole directory

rename "$d/certs", "$d/elsewhere" or die $!;
ok(!wait_for(4, sub { served('a.test') ne $pair{'a.test'}{serial} }), 'no directory: the last good');
is(scalar(() = $t->log_lines(qr!\[warn\] .*files are not there: open\(\) "$d/certs/" failed \(2: !)), 1,
	'one line says so');
mkdir "$d/certs";
ok(!wait_for(4, sub { served('a.test') ne $pair{'a.test'}{serial} }),
	'another directory, with nothing in it: the last good');
$t->clear();
sleep 2.5;
is(served('a.test'), $pair{'a.test'}{serial}, 'after a clear too');

rmdir "$d/certs";
rename "$d/elsewhere", "$d/certs" or die $!;
my $new = $t->install($t->pair('b.test'));
ok(wait_for(4, sub { served('b.test') eq $new->{serial} }), 'there again: what is new serves');
is(served('a.test'), $pair{'a.test'}{serial}, 'and what is not');

# the last file of a directory that is otherwise the same

$t->remove($_) for sort keys %pair;
ok(wait_for(6, sub { served('a.test') eq 'alert 112' && served('b.test') eq 'alert 112' }),
	'the last names of a directory end as well');

SKIP: {
	skip 'only root can mount', 3 if $> != 0;
	skip 'no mount here', 3 if run_command('mount', '-t', 'tmpfs', 'none', "$d/certs")->{status};
	my $mounted = $t->install($t->pair('m.test'));
	ok(wait_for(3, sub { served('m.test') eq $mounted->{serial} }), 'on a file system of its own');
	run_command('umount', "$d/certs")->{status} == 0 or die 'umount';
	ok(!wait_for(4, sub { served('m.test') ne $mounted->{serial} }), 'unmounted: the last good');
	$t->clear();
	sleep 2.5;
	is(served('m.test'), $mounted->{serial}, 'after a clear too');
}

$t->done();

###############################################################################

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}

# What many connections get, each kind once.
sub in_all {
	my ($name) = @_;
	my %seen = map { served($name) => 1 } 1 .. 30;
	return [sort keys %seen];
}
