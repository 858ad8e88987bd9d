#!/usr/bin/env perl

# A reload that loads the module from another path: the same layout of the zone is taken over, another
# one is refused, and the old configuration goes on. A module that is replaced in place is not loaded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Copy qw/ copy /;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(fault => 1);    # has another layout
my $fault = $t->{module};
my $module = $fault =~ s!/fault/!/vendored/!r;
my $d = $t->dir();
copy($module, "$d/$_.so") or die $! for 'one', 'two';
copy($fault, "$d/other.so") or die $!;

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:256k;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }
    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $pair = $t->install($t->pair('a.test'));
load('one');
$t->start();
is(served(), $pair->{serial}, 'at first');

# only the zone has it

rename "$d/certs", "$d/away" or die $!;
load('two');
ok($t->reload(), 'the same module from another path');
is(served(), $pair->{serial}, 'P6: the zone is taken over');

my @workers = $t->worker_pids();
load('other');
ok(!$t->reload(), 'a module with another layout is refused');
like(($t->log_lines(qr/\[emerg\]/))[-1], qr/zone "certs" was made by another version of the module/,
	'for that');
is_deeply([$t->worker_pids()], \@workers, 'the same workers');
is(served(), $pair->{serial}, 'P6: they serve on');

load('one');
ok($t->reload(), 'and back');
is(served(), $pair->{serial}, 'P6: the zone is taken over');

# a zone of another module, under the same name

$t->conf($conf =~ s/rust_shared_cert_zone zone=certs:256k;/limit_req_zone \$host zone=certs:256k rate=1r\/s; rust_shared_cert_zone zone=more:256k;/r
	=~ s/rust_shared_cert(_clear)? certs/"rust_shared_cert" . ($1 \/\/ '') . ' more'/ger);
ok($t->reload(), 'the name becomes that of a zone of another module');
rename "$d/away", "$d/certs" or die $!;
is(served(), $pair->{serial}, 'another zone serves');
load('two');
ok($t->reload(), 'and ours again');
is(served(), $pair->{serial}, 'which begins empty, and reads');

# replaced in place, by another inode, as a package does it

copy($fault, "$d/two.so.new") or die $!;
rename "$d/two.so.new", "$d/two.so" or die $!;
ok($t->reload(), 'a reload after the file was replaced');
is(served(), $pair->{serial}, 'goes on with what is loaded');

$t->done();

###############################################################################

sub load {
	my ($name) = @_;
	$t->{module} = "$d/$name.so";
	$t->conf($conf, log => 'notice');
	return;
}

sub served {
	my $got = $t->handshake('tls', 'a.test');
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
