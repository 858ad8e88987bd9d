#!/usr/bin/env perl

# A state directory on a file system that is full, then one that is read-only: a push is refused, and
# changes neither the disk nor what is served.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $d = $t->dir();
mkdir "$d/disk";
plan(skip_all => 'no right to mount')
	if run_command('mount', '-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', "$d/disk")->{status};

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off state=%%DIR%%/disk/state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
        location = /pid { return 200 $pid; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

my ($first, $second) = map { $t->pair('a.test') } 1, 2;
$t->start();
is($t->push_set($first)->{status}, 201, 'pushed');
# so that the files which each write needs are there
$t->push_set($second);
$t->push_set($first);
my $entry = slurp("$d/disk/state/a.test");
my $generation = $t->api('GET', 'sets/a.test')->{json}{generation};

# full

open my $fill, '>', "$d/disk/fill" or die $!;
1 while defined syswrite $fill, 'x' x 1024;
close $fill;
my $got = $t->push_set($second);
is($got->{status}, 507, 'full: refused');
like($got->{json}{title}, qr/state directory is full/, 'with the reason');
is($t->push_set($t->pair('new.test'))->{status}, 507, 'full: a new one too');
unchanged('full');
is($t->api('GET', 'sets/new.test')->{status}, 404, 'full: nothing of the new one');
ok(scalar $t->log_lines(qr/\[error\].*No space left on device/), 'and the log says why');
unlink "$d/disk/fill";
is($t->push_set($second)->{status}, 200, 'with room it is taken');
is($t->push_set($first)->{status}, 200, 'and back');
$entry = slurp("$d/disk/state/a.test");
$generation = $t->api('GET', 'sets/a.test')->{json}{generation};

# read-only

is(run_command('mount', '-o', 'remount,ro', "$d/disk")->{status}, 0, 'read-only');
$got = $t->push_set($second);
is($got->{status}, 503, 'read-only: refused');
ok($got->{headers}{'retry-after'}, 'to be tried again');
is($t->api('DELETE', 'sets/a.test')->{status}, 503, 'read-only: a removal too');
is($t->api('POST', 'sets/a.test/rollback')->{status}, 503, 'read-only: a rollback too');
unchanged('read-only');
run_command('mount', '-o', 'remount,rw', "$d/disk");
is($t->push_set($second)->{status}, 200, 'once it is writable it is taken');
is($t->handshake('tls', 'a.test')->{serial}, $second->{serial}, 'and served');

$t->stop();
$t->start();
is($t->handshake('tls', 'a.test')->{serial}, $second->{serial}, 'also after a restart');

# a start with such a disk: what there is serves

for my $what ('full', 'read-only') {
	$t->stop();
	if ($what eq 'full') {
		open $fill, '>', "$d/disk/fill" or die $!;
		1 while defined syswrite $fill, 'x' x 1024;
		close $fill;
	} else {
		run_command('mount', '-o', 'remount,ro', "$d/disk");
	}
	$t->start();
	is($t->handshake('tls', 'a.test')->{serial}, $second->{serial}, "$what at a start: what there is serves");
	like(($t->log_lines(qr/\[error\].*state directory is read and not written/))[-1], qr/failed \((?:28|30): /, 'with a line');
	is($t->push_set($first)->{status}, 503, 'a push is refused');
	ok($t->reload(), 'as before after a reload');
	is($t->push_set($first)->{status}, 503, 'refused still');
	unlink "$d/disk/fill";
	run_command('mount', '-o', 'remount,rw', "$d/disk");
	my $got = $t->push_set($first);
	is($got->{status}, 503, 'with room it takes a reload');
	ok($t->reload(), 'reload');
	is($t->push_set($first)->{status}, 200, 'then it is taken');
	is($t->push_set($second)->{status}, 200, 'and back');
}

$t->stop();
$t->done();

sub unchanged {
	my ($what) = @_;
	my $seen = $t->seen_by_all('tls', 'a.test');
	is(scalar(grep { $_->{serial} ne $first->{serial} } map { @$_ } values %$seen), 0,
		"$what: what served is served");
	ok(slurp("$d/disk/state/a.test") eq $entry, "$what: what was on disk is on disk");
	is($t->api('GET', 'sets/a.test')->{json}{generation}, $generation, "$what: the same generation");
	return;
}
END { local $?; run_command('umount', "$d/disk") if $t->{owner} == $$; }
