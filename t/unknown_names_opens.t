#!/usr/bin/env perl

# P15: a worker opens no file for a name that nobody has, in no kind of zone: in a lazy one it asks for
# their entries, and not a second time within a second.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;
use Time::HiRes qw/ sleep /;

my $t = Test::SharedCert->new();
my $d = $t->dir();

# counts what is opened, in all processes together

spew("$d/count.c", <<'EOF');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <sys/stat.h>
static unsigned long *counts;
enum { OPENS, STATS };
static void count(int which) {
    if (counts) __atomic_fetch_add(&counts[which], 1, __ATOMIC_RELAXED);
}
__attribute__((constructor)) static void begin(void) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...)) dlsym(RTLD_NEXT, "open");
    int fd = real(getenv("TEST_OPENS"), O_RDWR);
    counts = mmap(0, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counts == MAP_FAILED) counts = 0;
}
#define WRAP(name, params, args) \
    int name params { \
        static int (*real) params; \
        va_list list; \
        mode_t mode; \
        if (!real) real = (int (*) params) dlsym(RTLD_NEXT, #name); \
        va_start(list, flags); mode = va_arg(list, int); va_end(list); \
        count(OPENS); \
        return real args; \
    }
WRAP(open, (const char *path, int flags, ...), (path, flags, mode))
WRAP(open64, (const char *path, int flags, ...), (path, flags, mode))
WRAP(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
WRAP(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
#define WRAP_STAT(name, params, args) \
    int name params { \
        static int (*real) params; \
        if (!real) real = (int (*) params) dlsym(RTLD_NEXT, #name); \
        count(STATS); \
        return real args; \
    }
WRAP_STAT(fstatat, (int at, const char *path, struct stat *st, int flags), (at, path, st, flags))
WRAP_STAT(fstatat64, (int at, const char *path, struct stat64 *st, int flags), (at, path, st, flags))
WRAP_STAT(statx, (int at, const char *path, int flags, unsigned mask, struct statx *st), (at, path, flags, mask, st))
EOF
my $built = run_command('gcc', '-shared', '-fPIC', '-o', "$d/count.so", "$d/count.c", '-ldl');
plan(skip_all => 'no C compiler') if $built->{status};
spew("$d/opens", "\0" x 16);
chmod 0666, "$d/opens";
$ENV{TEST_OPENS} = "$d/opens";

$t->conf(<<'EOF', workers => 1, log => 'notice');
env TEST_OPENS;
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=lazy:1m;
    rust_shared_cert_zone zone=startup:1m load=startup;
    rust_shared_cert_zone zone=pushed:1m load=off;

    server {
        listen 127.0.0.1:%%PORT_lazy%% ssl;
        rust_shared_cert lazy;
    }

    server {
        listen 127.0.0.1:%%PORT_startup%% ssl;
        rust_shared_cert startup;
    }

    server {
        listen 127.0.0.1:%%PORT_pushed%% ssl;
        rust_shared_cert pushed;
    }
}
EOF

$t->install($t->pair('a.test'));
$t->start(preload => "$d/count.so");
ok($t->handshake($_, 'a.test')->{ok}, "$_: a known name") for 'lazy', 'startup';
$t->install($t->pair('b.test'));
my ($opens, $stats) = counted(sub { $t->handshake('lazy', 'b.test') });
cmp_ok($opens, '>', 0, 'the control: opens are counted');
cmp_ok($stats, '>', 0, 'and looks at entries');

my $names = 50;
my %of = map { my $port = $_; $port => [counted(sub { refused($port, "u$_.x$_.test") for 1 .. $names })] }
	qw/ lazy startup pushed /;
is_deeply($of{startup}, [0, 0], 'P15: a zone that was filled at the start: no file is opened or looked at');
is_deeply($of{pushed}, [0, 0], 'P15: nor where sets are pushed');
is($of{lazy}[0], 0, 'P15: nor is one opened in a lazy zone');
# NAME, the wildcard and the parent: the directory, the certificate and the key of each
is($of{lazy}[1] / $names, 9, 'P15: where so many entries are asked for, for each new name');
($opens, $stats) = counted(sub { refused('lazy', 'same.test') for 1 .. 20 });
cmp_ok($stats, '<=', 18, 'P15: and not again for one that was asked for just now');
$t->done();

sub refused {
	my ($port, $name) = @_;
	my $alert = $t->handshake($port, $name)->{alert} // 0;
	die "$name: $alert" if $alert != 112;
	return;
}

sub counted {
	my ($do) = @_;
	my @before = unpack 'Q2', slurp("$d/opens");
	$do->();
	sleep 0.05;
	my @after = unpack 'Q2', slurp("$d/opens");
	return map { $after[$_] - $before[$_] } 0, 1;
}
