#!/usr/bin/env perl

# load=startup: a directory that is missing or empty, as when a file system is not mounted, removes
# nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=startup;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
    }
}
EOF

my $d = $t->dir();

# at the start there is nothing to lose, but something to tell

rename "$d/certs", "$d/elsewhere" or die $!;
$t->start();
is(served('a.test'), 'alert 112', 'started without a directory');
is(errors(), 1, 'an error says so');
like(($t->log_lines(qr/\[error\]/))[0], qr!opendir\(\) "$d/certs/" failed \(2: No such file!, 'which');

rename "$d/elsewhere", "$d/certs" or die $!;
my %pair = map { $_ => $t->install($t->pair($_)) } 'a.test', 'b.test';
ok($t->reload(), 'reload');
is(served($_), $pair{$_}{serial}, "$_ is there") for sort keys %pair;

# missing, empty, another one that is empty

rename "$d/certs", "$d/elsewhere" or die $!;
ok($t->reload(), 'reload without the directory');
is(served($_), $pair{$_}{serial}, "$_ serves on") for sort keys %pair;
is(errors(), 2, 'an error says so');

mkdir "$d/certs";
ok($t->reload(), 'reload with an empty directory');
is(served($_), $pair{$_}{serial}, "$_ serves on") for sort keys %pair;
like(($t->log_lines(qr/\[error\]/))[-1], qr/no certificate files found; no certificate is removed/,
	'an error says so');

# links that lead nowhere

rmdir "$d/certs";
rename "$d/elsewhere", "$d/certs" or die $!;
mkdir "$d/archive";
for my $half ('cert', 'key') {
	rename "$d/certs/a.test.$half.pem", "$d/archive/a.$half" or die $!;
	symlink "../archive/a.$half", "$d/certs/a.test.$half.pem" or die $!;
}
ok($t->reload(), 'reload with links');
rename "$d/archive", "$d/archive.away" or die $!;
ok($t->reload(), 'reload with links that lead nowhere');
is(served($_), $pair{$_}{serial}, "$_ serves on") for sort keys %pair;
cmp_ok(scalar $t->log_lines(qr/\[warn\].*"a.test".*failed \(2: .*last good/), '>=', 1, 'a line says so');
rename "$d/archive.away", "$d/archive" or die $!;
rename "$d/certs", "$d/elsewhere" or die $!;
mkdir "$d/certs";

# one name less is one name less

rmdir "$d/certs";
rename "$d/elsewhere", "$d/certs" or die $!;
$t->remove('a.test');
ok($t->reload(), 'reload with one name less');
is(served('a.test'), 'alert 112', 'it is gone');
is(served('b.test'), $pair{'b.test'}{serial}, 'the other is not');
is(errors(), 3, 'and no error');

$t->done();

###############################################################################

sub errors { return scalar(() = $t->log_lines(qr/\[error\].*no certificate is removed/)) }

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
