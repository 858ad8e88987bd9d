#!/usr/bin/env perl

# Who may write to a state directory when a reload or a start fails, and when a reload gives the directory
# to another zone, another user, or puts another directory in its place.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);
my $d = $t->dir();

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
my @pairs = map { $t->pair('a.test') } 0 .. 11;
my $n = 0;
$t->start();
is($t->push_set($pairs[0])->{status}, 201, 'pushed');

# a second start by mistake: its ports are taken

my $wrong = 'certs:1m load=off state=%%DIR%%/state; rust_shared_cert_zone zone=certs2:1m load=off state=/etc';
spew("$d/second.conf", $t->expand($conf) =~ s!\Q$d\E/nginx\.pid!$d/second.pid!r);
my $second = run_command($t->binary(), '-p', "$d/", '-e', "$d/second.log", '-c', "$d/second.conf");
isnt($second->{status}, 0, 'a second NGINX on the same ports does not start');
takes_writes('after that', 200);
is(scalar(my @files = glob "$d/state/.instance-*"), 1, 'one instance is left');

# a reload that fails after the directory of a new zone was opened

$t->conf($conf =~ s/zone=certs:1m.*?;/zone=$wrong;/r);
ok(!$t->reload(), 'a reload that fails');
takes_writes('after that', 200);
$t->conf($conf =~ s/certs/renamed/gr =~ s!location /renamed/!location /certs/!r =~ s/(http \{)/$1 rust_shared_cert_zone zone=certs2:1m load=off state=\/etc;/r);
ok(!$t->reload(), 'one that would give it to another zone fails');
takes_writes('after that', 200);

# to another zone

$t->conf($conf =~ s/certs/renamed/gr =~ s!location /renamed/!location /certs/!r);
ok($t->reload(), 'another zone gets the directory');
is($t->handshake('tls', 'a.test')->{serial}, $pairs[$n]{serial}, 'with what is in it');
takes_writes('in that zone', 200);
$t->conf($conf);
ok($t->reload(), 'and back');
is($t->handshake('tls', 'a.test')->{serial}, $pairs[$n]{serial}, 'with what is in it');
takes_writes('in the first zone', 200);

ok(!$t->log_lines(qr/another NGINX/), 'none of which is taken for another NGINX');

# another directory in its place

rename "$d/state", "$d/gone" or die;
ok($t->reload(), 'a directory that was moved away is made again');
ok(-e "$d/state/a.test", 'and gets what the zone holds');
is($t->handshake('tls', 'a.test')->{serial}, $pairs[$n]{serial}, 'which is still there');
takes_writes('into it', 200);
$t->stop();
$t->start();
is($t->handshake('tls', 'a.test')->{serial}, $pairs[$n]{serial}, 'after a restart, too');

# an earlier copy in its place: what was pushed since is written to it

run_command('cp', '-a', "$d/state", "$d/backup");
takes_writes('after a backup', 200);
rename "$d/state", "$d/newer" or die;
rename "$d/backup", "$d/state" or die;
ok($t->reload(), 'a backup takes its place');
$t->stop();
$t->start();
is($t->handshake('tls', 'a.test')->{serial}, $pairs[$n]{serial}, 'what was pushed since is in it after a restart');

# another one in its place while it runs: what is pushed would not be there after a restart

rename "$d/state", "$d/moved" or die;
run_command('cp', '-a', "$d/moved", "$d/state");
my $got = $t->push_set($pairs[0]);
is($got->{status}, 503, 'no push into a directory that was moved away') or diag($got->{all});
like(join('', $t->log_lines(qr/\[error\]/)), qr!/state" is not the directory that NGINX has open, reload it!, 'which is told');
ok($t->reload(), 'a reload');
takes_writes('into the one that is there', 200);
chmod 0755, "$d/state";
ok(!$t->reload(), 'a reload fails where a start would');
chmod 0700, "$d/state";

# another user

$t->conf($conf, user => 'nobody');
ok(!$t->reload(), 'workers of another user cannot use it');
like(join('', $t->log_lines(qr/\[emerg\].*state/)), qr/belongs to user \d+/, 'which is told');
takes_writes('by the first', 200);
$t->done();

sub takes_writes {
	my ($what, $status) = @_;
	$n++;
	my $got = $t->push_set($pairs[$n]);
	is($got->{status}, $status, "a push is taken $what") or diag($got->{all});
	is($t->handshake('tls', 'a.test')->{serial}, $pairs[$n]{serial}, "and served $what");
	return;
}
