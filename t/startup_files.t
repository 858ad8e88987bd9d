#!/usr/bin/env perl

# load=startup: what lies in the directory besides good pairs. Each has a line, none stops the start;
# with many files there are lines of progress, and what does not fit is [emerg] with the size needed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:%%SIZE%% load=startup;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
    }
}
EOF

my $d = $t->dir();
my $good = $t->install($t->pair('good.test'));
my $pair = $t->pair('a.test');
my $expired = $t->install($t->pair('expired.test', not_after => '210101000000Z'));

# what is no server name, or not in its normal form, is counted in one line

$t->install($pair, as => $_) for 'A.test', '*.a.test', 'a b', 'x..y', '.hidden', 'not a name';
spew("$d/certs/README", 'text');

# bad pairs of every kind

$t->install($pair, as => 'mismatch.test');
$t->install($good, as => 'mismatch.test', only => 'key');
$t->install($pair, as => 'lonely-cert.test', only => 'cert');
$t->install($pair, as => 'lonely-key.test', only => 'key');
bad('empty.test', '');
bad('cut.test', substr $pair->{cert}, 0, 300);
bad('zeros.test', "\0" x (1 << 20));
bad($_) for 'directory.test', 'loop.test', 'dangling.test', 'fifo.test';
mkdir "$d/certs/directory.test.cert.pem";
symlink 'loop.test.cert.pem', "$d/certs/loop.test.cert.pem";
symlink 'nowhere', "$d/certs/dangling.test.cert.pem";
system('mkfifo', "$d/certs/fifo.test.cert.pem");
$t->install($t->pair('nameless.test', san => [], cn => 'no name at all'), as => 'nameless.test');

my $said = $t->conf_error($conf =~ s/%%SIZE%%/1m/r, log => 'notice');
is($t->test_status(), 0, 'nginx -t succeeds');
my @lines = split /\n/, $said;
my %reason = (
	'mismatch' => qr/key does not match/, 'lonely-cert' => qr/key.pem" failed \(2: No such file/,
	'lonely-key' => qr/cert.pem" failed \(2: No such file/, 'empty' => qr/PEM data is empty/,
	'cut' => qr/truncated/, 'zeros' => qr/larger than 256k/, 'directory' => qr/not a regular file/,
	'loop' => qr/failed \(40: /, 'dangling' => qr/cert.pem" failed \(2: /,
	'fifo' => qr/not a regular file/, 'nameless' => qr/does not cover any server name/,
);
for my $name (sort keys %reason) {
	my @about = grep { /\[warn\].*"$name\.test"/ } @lines;
	is(scalar @about, 1, "$name: one line");
	like($about[0] // '', $reason{$name}, "$name: with the reason");
}
is(scalar(grep { /expired\.test.*has expired/ } @lines), 1, 'an expired one is served, with a line');
like((grep { /skipped/ } @lines)[0] // '', qr/\[warn\].*10 files are skipped.*no server names/,
	'names that are none: one line');
unlike($said, qr/hidden|README/, 'hidden files and others are no matter');

$t->conf($conf =~ s/%%SIZE%%/1m/r, log => 'notice');
$t->start();
is(served('good.test'), $good->{serial}, 'the good one serves');
is(served('expired.test'), $expired->{serial}, 'the expired one too');
is(served('a.test'), 'alert 112', 'the others do not');
$t->stop();

# what does not fit, and the size that does

for my $i (1 .. 400) {
	for my $half ('cert', 'key') {
		link "$d/certs/good.test.$half.pem", "$d/certs/n$i.test.$half.pem" or die $!;
	}
}
$said = $t->conf_error($conf =~ s/%%SIZE%%/64k/r);
is($t->test_status(), 1, 'what does not fit fails the test');
my ($size, $unit) = $said =~
	/\[emerg\].*zone "certs" is too small for its certificates, (\d+)([km]) are needed/;
ok($size, 'with the size that is needed') or diag($said);
$t->conf($conf =~ s/%%SIZE%%/$size$unit/r, log => 'notice');
$t->start();
is(served('good.test'), $good->{serial}, "$size$unit are enough");
my $less = int($size * 0.9);
$said = $t->conf_error($conf =~ s/%%SIZE%%/$less$unit/r);
like($said, qr/too small/, "and $less$unit are not");

# many names: progress

mkdir "$d/many";
mkdir "$d/many/n$_.test" or die $! for 1 .. 10_100;
$t->conf($conf =~ s/%%SIZE%%/1m/r =~ s!(load=startup)!$1
	cert=many/\$ssl_server_name/cert key=many/\$ssl_server_name/key!r, log => 'notice');
ok($t->reload(), 'a reload with many names');
is(scalar(() = $t->log_lines(qr/\[notice\].* 10000 of 10100 certificates looked at/)), 1, 'progress');

$t->done();

###############################################################################

# A good key, and what is to be its certificate.
sub bad {
	my ($name, $cert) = @_;
	spew("$d/certs/$name.cert.pem", $cert) if defined $cert;
	spew("$d/certs/$name.key.pem", $pair->{key});
	return;
}

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
