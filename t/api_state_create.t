#!/usr/bin/env perl

# The master makes the state directory as root, maybe below one of the workers' user: what that user puts
# in its place in the middle of that is not given away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $d = $t->dir();
my $uid = getpwnam('www-data');

# a mkdir() after which there is time

spew("$d/slow.c", <<'EOF');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>
int mkdir(const char *path, mode_t mode) {
    int (*real)(const char *, mode_t) = (int (*)(const char *, mode_t)) dlsym(RTLD_NEXT, "mkdir");
    int result = real(path, mode);
    usleep(300000);
    return result;
}
EOF
my $built = run_command('gcc', '-shared', '-fPIC', '-o', "$d/slow.so", "$d/slow.c", '-ldl');
plan(skip_all => 'no C compiler') if $built->{status};

mkdir "$d/var";
chown $uid, $uid, "$d/var";
spew("$d/of_root", 'x');
mkdir "$d/dir_of_root", 0700;
spew("$d/dir_of_root/file", 'x');

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off state=%%DIR%%/var/state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }
}
EOF

for my $target ("$d/of_root", "$d/dir_of_root") {
	my $pid = fork() // die;
	if (!$pid) {
		POSIX::setgid($uid);
		POSIX::setuid($uid);
		for (1 .. 20_000) {
			if (-d "$d/var/state" && !-l "$d/var/state") {
				rename "$d/var/state", "$d/var/away";
				symlink $target, "$d/var/state";
				POSIX::_exit(0);
			}
			select undef, undef, undef, 0.0005;
		}
		POSIX::_exit(1);
	}
	ok(!eval { $t->start(preload => "$d/slow.so"); 1 }, 'it does not start');
	waitpid $pid, 0;
	is($?, 0, 'the control: something else was in its place');
	is((stat $target)[4], 0, "$target stays root's");
	unlink "$d/var/state";
	rename "$d/var/away", "$d/gone" . $$ . (stat $target)[1];
}
ok(eval { $t->start(); 1 }, 'it starts when nobody interferes');
is((stat "$d/var/state")[4], $uid, 'with a directory of the workers\' user');
$t->done();
