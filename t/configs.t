#!/usr/bin/env perl

# The example configurations: each file of nginx-config/ is run as it stands, but for the paths, the
# ports and where the module is, and does what its comment says. What needs njs is compared only: what
# migration-njs-before.conf does for a handshake and for /clear, -after does too.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();
my $d = $t->dir();
my $examples = "$FindBin::Bin/../nginx-config";

# What certbot does for the n-th certificate of a lineage: files in archive/, and links to them.
sub lineage {
	my ($name, $n, $pair) = @_;
	mkdir "$d/$_/$name" for 'archive', 'live';
	for my $part (['fullchain', 'cert'], ['privkey', 'key']) {
		my ($file, $half) = @$part;
		spew("$d/archive/$name/$file$n.pem", $pair->{$half});
		unlink "$d/live/$name/$file.pem";
		symlink "../../archive/$name/$file$n.pem", "$d/live/$name/$file.pem";
	}
	return $pair;
}

# An example with this test's paths, ports and module.
sub adapted {
	my ($name) = @_;
	my $text = slurp("$examples/$name");
	$text =~ s/^load_module .*ngx_http_rust_shared_cert_module.*\n//m;
	$text =~ s!/etc/nginx/certs!%%DIR%%/certs!g;
	$text =~ s!/etc/letsencrypt/live!%%DIR%%/live!g;
	$text =~ s!/var/log/nginx/!%%DIR%%/!g;
	$text =~ s!/var/lib/nginx-certs/!%%DIR%%/state-!g;
	$text =~ s!/run/nginx-certs/!%%DIR%%/!g;
	$text =~ s/listen 443 ssl/listen 127.0.0.1:%%PORT_tls%% ssl/g;
	$text =~ s/listen 127\.0\.0\.1:8080/listen 127.0.0.1:%%PORT_control%%/g;
	$text =~ s/^http \{/http {\n%%GLOBALS_HTTP%%/m;
	$text =~ s/access_log off;// if $text =~ /access_log \%\%DIR/;
	return "%%GLOBALS%%\n$text";
}

sub run_example {
	my ($name) = @_;
	$t->conf(adapted($name));
	$t->start();
}

# minimal

my $first = $t->install($t->pair('www.example.com'));
run_example('minimal.conf');
is($t->handshake('tls', 'www.example.com')->{serial}, $first->{serial}, 'minimal: served');
my $second = $t->install($t->pair('www.example.com'));
$t->clear();
is($t->handshake('tls', 'www.example.com')->{serial}, $second->{serial}, 'minimal: rotated');
$t->stop();

# the way from static server blocks

my $a = $t->install($t->pair('a.example.com'));
my $b = $t->install($t->pair('b.example.com'));
for my $name ('migration-static-before.conf', 'migration-static-after.conf') {
	run_example($name);
	is($t->handshake('tls', 'a.example.com')->{serial}, $a->{serial}, "$name: a");
	is($t->handshake('tls', 'b.example.com')->{serial}, $b->{serial}, "$name: b");
	if ($name =~ /after/) {
		$a = $t->install($t->pair('a.example.com'));
		my $new = $t->install($t->pair('b.example.com'));
		$t->clear();
		is($t->handshake('tls', 'a.example.com')->{serial}, $a->{serial}, 'a rotates');
		is($t->handshake('tls', 'b.example.com')->{serial}, $b->{serial}, 'b is off, so static');
	}
	$t->stop();
}

# the way from njs

my $before = slurp("$examples/migration-njs-before.conf");
my $after = slurp("$examples/migration-njs-after.conf");
for my $line ('listen 443 ssl;', 'listen 127.0.0.1:8080;', 'location = /clear {') {
	ok(index($before, $line) > 0 && index($after, $line) > 0, "njs, both: $line");
}

run_example('migration-njs-after.conf');
is($t->handshake('tls', 'a.example.com')->{serial}, $a->{serial}, 'njs, after: served');
my $c = $t->install($t->pair('a.example.com'));
$t->clear();
is($t->handshake('tls', 'a.example.com')->{serial}, $c->{serial}, 'njs, after: rotated');
$t->stop();

# several key types

my $ecdsa = $t->pair('www.example.com', key => 'p256');
my $rsa = $t->pair('www.example.com', key => 'rsa');
spew("$d/certs/www.example.com.ecdsa.cert.pem", $ecdsa->{cert});
spew("$d/certs/www.example.com.ecdsa.key.pem", $ecdsa->{key});
spew("$d/certs/www.example.com.rsa.cert.pem", $rsa->{cert});
spew("$d/certs/www.example.com.rsa.key.pem", $rsa->{key});
chmod 0644, glob "$d/certs/*";
run_example('key-types.conf');
is($t->handshake('tls', 'www.example.com')->{serial}, $ecdsa->{serial}, 'key types: ECDSA');
is($t->s_client('tls', 'www.example.com', '-tls1_2', '-sigalgs', 'RSA+SHA256')->{fingerprint},
	$rsa->{fingerprint}, 'key types: RSA');
is($t->handshake('tls', 'other.example.com')->{serial}, $ecdsa->{serial}, 'key types: default');
$t->stop();

# certbot

mkdir "$d/$_" for 'live', 'archive';
my @san = ('example.com', 'www.example.com', '*.example.com');
my $live = lineage('example.com', 1, $t->pair('example.com', san => \@san));
my $more = lineage('example.com-0001', 1, $t->pair('example.com'));
run_example('certbot-live.conf');
for my $name ('example.com', 'www.example.com', 'any.example.com') {
	is($t->handshake('tls', $name)->{serial}, $live->{serial}, "certbot: $name");
}

$live = lineage('example.com', 2, $t->pair('example.com', san => \@san));
is($t->clear()->{status}, 200, 'certbot: the hook');
for my $name ('any.example.com', 'www.example.com', 'example.com') {
	is($t->handshake('tls', $name)->{serial}, $live->{serial}, "certbot, renewed: $name");
}

$t->stop();

# certbot, with keys that only root can read

SKIP: {
	skip 'only root has keys of its own', 3 if $> != 0;
	chmod 0700, "$d/live", "$d/archive";
	chmod 0600, glob "$d/archive/*/*";
	run_example('startup-root-only.conf');
	is($t->handshake('tls', 'any.example.com')->{serial}, $live->{serial}, 'root only: served');
	$more = lineage('example.com-0001', 2, $t->pair('example.com-0001', san => ['shop.example.com']));
	chmod 0600, glob "$d/archive/*/*";
	ok($t->reload(), 'root only: the hook');
	is($t->handshake('tls', 'shop.example.com')->{serial}, $more->{serial}, 'root only: a -0001 lineage');
	$t->stop();
}

# pushed, by the README's calls

run_example('api.conf');
my ($one, $two) = map { $t->pair('example.com') } 1, 2;
my $url = 'http://localhost/certs';
like(shell($one, "curl -sS --unix-socket $d/api.sock -T - $url/sets/example.com"), qr/"changed":true/,
	'api: pushed');
is($t->handshake('tls', 'example.com')->{serial}, $one->{serial}, 'api: served');
like(shell($two, "curl -sS --unix-socket $d/api.sock -T - '$url/sets/example.com?dry_run=1'"),
	qr/"dry_run":true/, 'api: a dry run');
like(shell($two, "curl -sS --unix-socket $d/api.sock -T - $url/sets/example.com"), qr/"changed":true/,
	'api: replaced');
like(run_command('curl', '-sS', '--unix-socket', "$d/api.sock", '-X', 'POST',
	"$url/sets/example.com/rollback")->{all}, qr/"generation"/, 'api: rolled back');
$t->stop();
$t->start();
is($t->handshake('tls', 'example.com')->{serial}, $one->{serial}, 'api: also after a restart');
for my $path ('/', '/sets/?limit=100', '/sets/example.com') {
	like(run_command('curl', '-sS', '--unix-socket', "$d/api.sock", "$url$path")->{all}, qr/^\{/,
		"api: $path");
}
for my $call (['DELETE', '/sets/example.com/previous'], ['DELETE', '/sets/example.com']) {
	my ($method, $path) = @$call;
	unlike(run_command('curl', '-fsS', '--unix-socket', "$d/api.sock", '-X', $method, "$url$path")->{all},
		qr/error/, "api: $method $path");
}

sub shell {
	my ($pair, $command) = @_;
	spew("$d/bundle.pem", $pair->{cert} . $pair->{key});
	return run_command('sh', '-c', "cat $d/bundle.pem | $command")->{all};
}

$t->done();

###############################################################################
