#!/usr/bin/env perl

# What a process of the workers' user can put where a state directory has its own files: it keeps no start
# from serving, and is not followed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $d = $t->dir();
my $dir = "$d/state";
my $uid = getpwnam('www-data');

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off state=%%DIR%%/state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF
$t->conf($conf);
my @pairs = map { $t->pair('a.test') } 0, 1;
my $n = 0;
$t->start();
is($t->push_set($pairs[0])->{status}, 201, 'pushed');

my $lock = '.lock-2d';    # that of a.test
ok(-e "$dir/$lock", 'the control: it is this lock');
my $notes = '.removed-b.test';
my $own = join ' ', '.claim', $lock, '.owner', $notes;

# what could be an own file, were a link followed
spew("$d/precious", 'precious');
chmod 0600, "$d/precious";
chown $uid, 0, "$d/precious";

my %kinds = (
	link => sub { symlink "$d/precious", $_[0] or die $! },
	loose => sub { symlink "$d/nowhere", $_[0] or die $! },
	directory => sub { mkdir $_[0] or die $! },
	fifo => sub { POSIX::mkfifo($_[0], 0600) or die $! },
);
for my $kind (sort keys %kinds) {
	$t->stop();
	put($kind, split ' ', $own);
	like($t->conf_error($conf), qr/^nginx: \[warn\] [^\n]*claim" is not a regular file; a start removes it[^\n]*\n$/,
		"$kind: a test tells of it");
	is($t->test_status(), 0, "$kind: and succeeds");
	is(lines(qr/\[warn\].*is not a regular file; it was removed/), 0, "$kind: nothing removed yet");
	$t->start();
	serves($kind);
	is(lines(qr!\[warn\].*/state/\.claim" is not a regular file; it was removed \(so for 4 in all\), zone "certs"!), 1,
		"$kind: one line");
	takes_writes($kind);
	ok(-f "$dir/$_" && !-l "$dir/$_", "$kind: $_ is a file") for '.claim', $lock, '.owner';
	spew("$d/error.log", '');
}

# under a running NGINX: a reload mends it

put('link', $lock);
is($t->push_set($pairs[1 - $n])->{status}, 503, 'no push by a lock that is a link');
ok($t->reload(), 'a reload');
takes_writes('after a reload');
put('link', '.owner');
ok($t->reload(), 'a reload without an owner file');
takes_writes('after that');

# a file of its own that is none any more

chmod 0644, "$dir/.owner";
ok($t->reload(), 'a reload with an owner file that others can read');
serves('after it');
is($t->push_set($pairs[1 - $n])->{status}, 503, 'but takes no push');
is(lines(qr!\[error\].*takes no pushes: ".*/state/\.owner" is open to group or others!), 1, 'and says why');
chmod 0600, "$dir/.owner";
takes_writes('once it is mended');

# what cannot be removed

for my $place (split ' ', $own) {
	$t->stop();
	put('directory', $place);
	spew("$dir/$place/file", '');
	no_writes("a directory in the place of $place", qr!rmdir\(\) ".*/state/\Q$place\E" failed \(39: Directory not empty\)!);
	unlink "$dir/$place/file";
	ok($t->reload(), 'a reload once it is empty');
	takes_writes("after $place");
}

# a lock that somebody holds

for my $place ('.claim', $lock) {
	$t->stop();
	my $holder = hold_lock("$dir/$place", $uid);
	no_writes("$place is held", qr!/state(?:/\.claim)?" is locked by another process!);
	ok($t->reload(), 'a reload meanwhile');
	serves('after it');
	kill 'KILL', $holder;
	waitpid $holder, 0;
	ok($t->reload(), 'a reload once it is free');
	takes_writes("after $place");
}

# what is a regular file is somebody's

for my $place ('.claim', $lock, '.owner') {
	$t->stop();
	unlink "$dir/$place";
	spew("$dir/$place", 'precious');
	chmod 0600, "$dir/$place";
	no_writes("a file of root's in the place of $place", qr!/state/\Q$place\E" belongs to user 0!);
	is(slurp("$dir/$place"), 'precious', "$place is left alone");
	unlink "$dir/$place";
	ok($t->reload(), 'a reload once it is gone');
	takes_writes("after $place");
}

is(slurp("$d/precious"), 'precious', 'nothing was written through a link');
is_deeply([(stat "$d/precious")[4, 2]], [$uid, 0100600], 'nor given to anybody');
ok(!-e "$d/nowhere", 'nor made by one');
is(lines(qr/\[emerg\]/), 0, 'no start failed');
$t->done();

sub put {
	my ($kind, @places) = @_;
	for my $place (@places) {
		unlink "$dir/$place";
		$kinds{$kind}->("$dir/$place");
		run_command('chown', '-h', 'www-data', "$dir/$place");
	}
	return;
}

sub lines { return scalar(my @lines = $t->log_lines($_[0])) }

sub serves {
	my ($what) = @_;
	is($t->handshake('tls', 'a.test')->{serial}, $pairs[$n]{serial}, "$what: what is on disk is served");
	return;
}

sub takes_writes {
	my ($what) = @_;
	$n = 1 - $n;
	my $got = $t->push_set($pairs[$n]);
	is($got->{status}, 200, "$what: a push is taken") or diag($got->{all});
	serves($what);
	return;
}

sub no_writes {
	my ($what, $reason) = @_;
	$t->start();
	serves($what);
	like(join("\n", $t->log_lines(qr/\[error\].*state directory is read and not written to/)), $reason, "$what: a line");
	is($t->push_set($pairs[1 - $n])->{status}, 503, "$what: a push is refused");
	serves($what);
	return;
}
