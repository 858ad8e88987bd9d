#!/usr/bin/env perl

# load=startup: the master reads all files, as root, at start and at each reload; keys stay root:root
# 0600 (P9). All names of a certificate are served.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=startup
        cert=live/$ssl_server_name/fullchain.pem key=live/$ssl_server_name/privkey.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
        location = /status {
            return 200 "$rust_shared_cert_name $rust_shared_cert_status $rust_shared_cert_match";
        }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;

        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

# as certbot leaves it: links from live/ to archive/, which only root may enter

my $d = $t->dir();
mkdir "$d/$_", 0700 for 'live', 'archive';
spew("$d/live/README", "This directory contains your keys and certificates.\n");
my %now;
my $apex = issue('example.com', san => ['example.com', 'www.example.com', '*.apps.example.com']);
my $second = issue('example.com-0001', san => ['shop.example.com', 'www.example.com']);
my $rsa = issue('rsa.test', key => 'rsa');
# files that were written within the last tick of a clock may yet change unseen: they are read again
select undef, undef, undef, 3;
$t->start();
my @workers = $t->worker_pids();

is((stat "/proc/$workers[0]")[4], (getpwnam('www-data'))[2], 'the workers are www-data');
is((stat "$d/archive/example.com/privkey1.pem")[2] & 07777, 0600, 'P9: the keys are 0600');

for (
	['example.com', $apex, 'example.com hit exact'],
	['www.example.com', $second, 'example.com-0001 hit exact', 'the later notBefore'],
	['shop.example.com', $second, 'example.com-0001 hit exact'],
	['x.apps.example.com', $apex, 'example.com hit wildcard'],
	['rsa.test', $rsa, 'rsa.test hit exact'],
) {
	my ($name, $pair, $status, $why) = @$_;
	my $seen = $t->seen_by_all('tls', $name);
	is_deeply([map { $_->[-1]{serial} } values %$seen], [($pair->{serial}) x @workers],
		"$name in every worker" . ($why ? ": $why" : ''));
	is($t->handshake('tls', $name, get => '/status')->{body}, $status, "$name: variables");
}
is(served('a.b.apps.example.com'), 'alert 112', 'a wildcard is one label');
is(served('example.com-0001'), 'alert 112', 'a NAME that its certificate does not cover');
is(served('unknown.test'), 'alert 112', 'an unknown name');

# nothing that a worker could do

my $clear = $t->clear();
is($clear->{status}, 409, 'a clear is refused');
like($clear->{json}{detail}, qr/reload/, 'and says what to do');
is($t->clear('?name=example.com')->{status}, 409, 'that of a name too');

# a renewal, an expansion, a new name, a name less

my $new = issue('example.com', san => ['example.com', 'new.example.com']);
$t->ca('intermediate', issuer => 'root');
my $late = issue('late.test', issuer => 'root');
is(served('example.com'), $apex->{serial}, 'not before the reload');
gone('rsa.test');
ok($t->reload(), 'reload');
is(served('example.com'), $new->{serial}, 'the renewed one');
is(served('new.example.com'), $new->{serial}, 'a name more in it');
is(served('x.apps.example.com'), 'alert 112', 'and one less');
is(scalar $t->log_lines(qr/\[warn\].*"example.com": its files no longer cover ".*" and \d more/), 1, 'which is told');
is(served('www.example.com'), $second->{serial}, 'what others serve stays');
is(served('late.test'), $late->{serial}, 'a new one');
is(served('rsa.test'), 'alert 112', 'one that is gone');
like(last_notice(), qr/3 certificates looked at, 1 of them unchanged, 0 bad, zone "certs"/,
	'files that did not change are not read');

# a chain that became shorter, written just before the reload: not for a file that is being written

my $short = issue('late.test', issuer => 'root');
$late = $short;
ok($t->reload(), 'a reload right after the write');
is($t->handshake('tls', 'late.test', verify => 'root')->{serial}, $short->{serial}, 'a shorter chain is served');

# bad files: the last good, and a line each

spew("$d/live/late.test/privkey.pem", $rsa->{key});
spew("$d/live/example.com/fullchain.pem", 'nothing');
issue('bad.test', san => ['other.test']);
spew("$d/live/bad.test/privkey.pem", '');
ok($t->reload(), 'reload with bad files');
is(served('late.test'), $late->{serial}, 'P3: the last good');
is(served('example.com'), $new->{serial}, 'P3: the last good');
is(served('other.test'), 'alert 112', 'a bad one that is new');
my @bad = grep { !/no longer cover/ } $t->log_lines(qr/\[warn\].*certificate "/);
is(scalar @bad, 3, 'a line each') or diag(join "\n", @bad);
like((grep { /late/ } @bad)[0],
	qr/"late.test": "\S+late.test\/privkey.pem": key does not match.*last good.*, zone "certs"/,
	'with path and reason');

ok($t->reload(), 'another reload');
is(served('late.test'), $late->{serial}, 'P3: the last good still');

$late = issue('late.test');
ok($t->reload(), 'good again');
is(served('late.test'), $late->{serial}, 'and served');

# overwritten halfway, with what is of the same length: only the signature tells, and only where
# something better serves it is asked

$late = issue('late.test', issuer => 'intermediate');
ok($t->reload(), 'with a chain');
my ($leaf) = $late->{cert} =~ /CERTIFICATE-----\n(.*?)-----END/s;
my $der = decode_base64($leaf);
substr($der, -1) ^= "\1";
my $torn = encode_base64($der) =~ s/\n//gr =~ s/(.{64})/$1\n/gr;
write_root("$d/live/late.test/fullchain.pem",
	$late->{cert} =~ s/(CERTIFICATE-----\n).*?(\n-----END)/$1$torn$2/sr);
sleep 3;
ok($t->reload(), 'a signature that is no longer good');
is(served('late.test'), $late->{serial}, 'P3: the last good');
like(($t->log_lines(qr/\[warn\].*"late.test"/))[-1], qr/not signed by the next.*last good/,
	'with the reason');

$t->done();

###############################################################################

# A pair with a later notBefore than all before it, as certbot installs it.
sub issue {
	my ($name, %opt) = @_;
	my $pair = $t->pair($name, not_before => sprintf('2601010000%02dZ', ++$now{serial}),
		not_after => '360101000000Z', %opt);
	my $n = ++$now{$name};
	mkdir $_ for "$d/archive/$name", "$d/live/$name";
	write_root("$d/archive/$name/fullchain$n.pem", $pair->{cert});
	write_root("$d/archive/$name/privkey$n.pem", $pair->{key});
	for my $file ('fullchain', 'privkey') {
		symlink "../../archive/$name/$file$n.pem", "$d/live/$name/$file.new" or die $!;
		rename "$d/live/$name/$file.new", "$d/live/$name/$file.pem" or die $!;
	}
	return $pair;
}

sub write_root {
	my ($file, $bytes) = @_;
	spew($file, $bytes);
	chmod 0600, $file;
	return;
}

sub gone {
	my ($name) = @_;
	unlink glob "$d/live/$name/*.pem";
	rmdir "$d/live/$name" or die $!;
	return;
}

sub last_notice { return ($t->log_lines(qr/\[notice\].*looked at/))[-1] }

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
