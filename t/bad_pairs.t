#!/usr/bin/env perl

# Bad pairs: one line with path and reason, and the last good or the fallback serves. Never a crash, a
# hang or a leftover; see error_queue.t for the last.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw/ S_ISFIFO /;
use POSIX qw/ mkfifo /;
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', workers => 1, log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

$t->ca('intermediate', issuer => 'root');
my $static = $t->install($t->pair('static'), dir => '.');
my $stranger = $t->pair('stranger.test');
my $good = $t->install($t->pair('good.test'));

# name => [what the file is to be, which file is at fault, the reason]
my %case = (
	mismatch => [sub { key => $stranger->{key} }, 'key', qr/key does not match the certificate/],
	truncated => [sub { cert => cut($_[0]{cert}) }, 'cert', qr/is truncated/],
	'truncated-key' => [sub { key => cut($_[0]{key}) }, 'key', qr/is truncated/],
	empty => [sub { cert => '' }, 'cert', qr/no certificate|is empty/],
	'empty-key' => [sub { key => '' }, 'key', qr/no (?:private )?key|is empty/],
	text => [sub { cert => "something else\n" }, 'cert', qr/not PEM/],
	'no-key' => [sub { key => $_[0]{cert} }, 'key', qr/no (?:private )?key/],
	order => [sub { cert => reversed($_[0]{cert}) }, 'cert',
		qr/certificate chain is out of order|key does not match/],
	chain => [sub { cert => $_[0]{cert} . $stranger->{cert} }, 'cert',
		qr/certificate chain is out of order/],
	der => [sub { cert => der($_[0]{cert}) }, 'cert', qr/not PEM/],
	'bad-base64' => [sub { cert => $_[0]{cert} =~ s/^M(.{20})/M\!$1/mr }, 'cert', qr/\w+/],
	'bad-der' => [sub { cert => $_[0]{cert} =~ s/^(MII.{8}).{8}/$1AAAAAAAA/mr }, 'cert', qr/\w+/],
	encrypted => [sub { key => encrypted($_[0]) }, 'key', qr/private key is encrypted/],
	'encrypted-traditional' => [sub { key => encrypted($_[0], '-traditional') }, 'key',
		qr/private key is encrypted/],
	cover => [sub { $stranger }, 'cert', qr/does not cover "cover\.test"/],
	fifo => [sub { cert => \&fifo }, 'cert', qr/is not a regular file/],
	'fifo-key' => [sub { key => \&fifo }, 'key', qr/is not a regular file/],
	directory => [sub { cert => sub { mkdir $_[0] } }, 'cert', qr/is not a regular file/],
	device => [sub { cert => sub { symlink '/dev/zero', $_[0] } }, 'cert', qr/is not a regular file/],
	zeros => [sub { cert => sub { spew($_[0], "\0" x 10_000_000) } }, 'cert', qr/is larger than 256k/],
	large => [sub { cert => $_[0]{cert} x 300 }, 'cert', qr/is larger than 256k/],
	permission => [sub { key => sub { spew($_[0], $good->{key}); chmod 0, $_[0] } }, 'key',
		qr/\(13: Permission denied\)/],
	'key-only' => [sub { cert => sub { } }, 'cert', qr/\(2: No such file or directory\)/],
	'cert-only' => [sub { key => sub { } }, 'key', qr/\(2: No such file or directory\)/],
	weak => [sub { $t->pair('weak.test', key => 'rsa1024') }, 'cert', qr/key too small|ee key/i],
);
delete $case{permission} if $> == 0 && slurp($t->dir() . '/nginx.conf') !~ /user www-data/;

$t->start();
my ($worker) = $t->worker_pids();

for my $case (sort keys %case) {
	my $name = "$case.test";
	my ($make, $half, $reason) = @{ $case{$case} };
	my $file = qr!certs/\Q$name\E\.$half\.pem!;
	my $pair = $t->pair($name, issuer => 'intermediate');

	# never good: the fallback

	put($name, $pair, $make->($pair));
	is(served($name), $static->{serial}, "$case: the fallback serves") for 1 .. 3;
	my @lines = warnings_of($name);
	is(scalar @lines, 1, "$case: one line") or diag(join "\n", @lines);
	like($lines[0] // '', $reason, "$case: the reason");
	like($lines[0] // '', $file, "$case: the path");
	like($lines[0] // '', qr/zone "certs"/, "$case: the zone");

	my $got = $t->clear("?name=$name");
	is($got->{status}, 422, "$case: a clear of the name says so");
	like($got->{json}{detail} // '', $reason, "$case: with the reason");

	# good, and then bad: the last good

	put($name, $pair, cert => $pair->{cert}, key => $pair->{key});
	is($t->clear("?name=$name")->{status}, 200, "$case: put right");
	is(served($name), $pair->{serial}, "$case: served");

	put($name, $pair, $make->($pair));
	$t->clear();
	is(served($name), $pair->{serial}, "P3: $case: the last good serves") for 1 .. 3;
	cmp_ok(scalar(warnings_of($name)), '>', @lines, "$case: a line about it");
	cmp_ok(scalar(warnings_of($name)), '<=', @lines + 2, "$case: not one for each handshake");
}

is(served('good.test'), $good->{serial}, 'a good one among them');
is_deeply([$t->worker_pids()], [$worker], 'the same worker');

# the log has nothing that lets control characters or lines in

unlike($t->log(), qr/[^\n\t\x20-\x7e]/, 'the log is plain text');

$t->done();

###############################################################################

sub served {
	my ($name) = @_;
	my $got = $t->handshake('tls', $name);
	return $got->{serial} // $got->{error};
}

sub warnings_of {
	my ($name) = @_;
	return $t->log_lines(qr/\[warn\].*"\Q$name\E"/);
}

# put($name, $pair, cert => ..., key => ...): the halves that are given, the others from the pair;
# bytes, or what makes the file.
sub put {
	my ($name, $pair, @halves) = @_;
	my %half = (cert => $pair->{cert}, key => $pair->{key});
	%half = (%half, @halves == 1 ? %{ $halves[0] } : @halves);
	for my $kind ('cert', 'key') {
		my $file = $t->dir() . "/certs/$name.$kind.pem";
		-d $file && !-l $file ? rmdir $file : unlink $file;
		ref $half{$kind} ? $half{$kind}->($file) : spew($file, $half{$kind});
	}
	return;
}

sub cut { return substr $_[0], 0, length($_[0]) * 0.4 }

sub reversed { return join '', reverse $_[0] =~ /(-----BEGIN.+?-----END[^\n]+\n)/sg }

sub der {
	my ($pem) = @_;
	spew($t->dir() . '/der.pem', $pem);
	Test::SharedCert::Util::openssl('x509', '-in', $t->dir() . '/der.pem', '-outform', 'DER',
		'-out', $t->dir() . '/der');
	return slurp($t->dir() . '/der');
}

sub encrypted {
	my ($pair, @options) = @_;
	my $file = $t->dir() . '/encrypted';
	Test::SharedCert::Util::openssl('pkey', '-in', "$pair->{path}.key", '-aes128', '-passout',
		'pass:word', @options, '-out', $file);
	return slurp($file);
}

sub fifo { return mkfifo($_[0], 0644) }
