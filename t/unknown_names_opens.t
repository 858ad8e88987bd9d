#!/usr/bin/env perl

# P15: how many files a worker opens for a name that nobody has: a few in a lazy zone, and none a second
# time within a second; none at all in a zone that was filled at the start, or by pushes.

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
static unsigned long *opens;
static void count(void) {
    if (opens) __atomic_fetch_add(opens, 1, __ATOMIC_RELAXED);
}
__attribute__((constructor)) static void begin(void) {
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...)) dlsym(RTLD_NEXT, "open");
    int fd = real(getenv("TEST_OPENS"), O_RDWR);
    opens = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (opens == MAP_FAILED) opens = 0;
}
#define WRAP(name, params, args) \
    int name params { \
        static int (*real) params; \
        va_list list; \
        mode_t mode; \
        if (!real) real = (int (*) params) dlsym(RTLD_NEXT, #name); \
        va_start(list, flags); mode = va_arg(list, int); va_end(list); \
        count(); \
        return real args; \
    }
WRAP(open, (const char *path, int flags, ...), (path, flags, mode))
WRAP(open64, (const char *path, int flags, ...), (path, flags, mode))
WRAP(openat, (int at, const char *path, int flags, ...), (at, path, flags, mode))
WRAP(openat64, (int at, const char *path, int flags, ...), (at, path, flags, mode))
EOF
my $built = run_command('gcc', '-shared', '-fPIC', '-o', "$d/count.so", "$d/count.c", '-ldl');
plan(skip_all => 'no C compiler') if $built->{status};
spew("$d/opens", "\0" x 8);
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
cmp_ok(opens_of(sub { $t->handshake('lazy', 'b.test') }), '>', 0, 'the control: opens are counted');

my $names = 50;
my %opens = map { my $port = $_; $port => opens_of(sub { refused($port, "u$_.x$_.test") for 1 .. $names }) }
	qw/ lazy startup pushed /;
is($opens{startup}, 0, 'P15: a zone that was filled at the start: no file is opened');
is($opens{pushed}, 0, 'P15: nor where sets are pushed');
my $each = $opens{lazy} / $names;
# NAME, the wildcard and the parent: the directory, the certificate and the key of each
cmp_ok($each, '<=', 9, "P15: a lazy zone: $each for each new name");
is(opens_of(sub { refused('lazy', 'same.test') for 1 .. 20 }) <= 12, 1, 'P15: and not again for one that was asked for just now');
$t->done();

sub refused {
	my ($port, $name) = @_;
	my $alert = $t->handshake($port, $name)->{alert} // 0;
	die "$name: $alert" if $alert != 112;
	return;
}

sub opens_of {
	my ($do) = @_;
	my $before = unpack 'Q', slurp("$d/opens");
	$do->();
	sleep 0.05;
	return unpack('Q', slurp("$d/opens")) - $before;
}
