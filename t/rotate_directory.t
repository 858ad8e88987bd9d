#!/usr/bin/env perl

# P1 and P3 for files that change all at once: a directory of Kubernetes, where ..data is a link that is
# replaced, and a link that is the directory. Handshakes go on; none fails, none is served a mixture.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m
        cert=live/$ssl_server_name/tls.crt key=live/$ssl_server_name/tls.key;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $d = $t->dir();
mkdir $_ for "$d/live", "$d/live/kube.test", "$d/versions";
$t->ca("intermediate $_", issuer => 'root') for 0, 1;
my %pairs = map {
	my $name = $_;
	$name => [map { $t->pair($name, issuer => 'intermediate ' . $_ % 2) } 1 .. 4];
} 'kube.test', 'link.test';
symlink "..data/$_", "$d/live/kube.test/$_" for 'tls.crt', 'tls.key';

my %now;
my $version = 0;
rotate($_) for 'kube.test', 'link.test';
$t->start();
is(served($_), $now{$_}{serial}, "$_ at first") for 'kube.test', 'link.test';

$t->start_load(\&client) for 1 .. 2;
my %stale;
for my $round (1 .. 60) {
	for my $name ('kube.test', 'link.test') {
		rotate($name);
		$t->clear($round % 2 ? '' : "?name=$name");
		$stale{$name}++ if served($name) ne $now{$name}{serial};
	}
}
my $load = $t->stop_load();

is(join(' ', %stale), '', 'P2: the new one after each clear');
is(join("\n", @{ $load->{wrong} }), '', "P1, P3: no handshake of $load->{count} failed");
cmp_ok($load->{count}, '>', 100, 'there were handshakes all the time');

$t->done();

###############################################################################

# The next pair in a directory of its own, and the link to it replaced by rename.
sub rotate {
	my ($name) = @_;
	my $pair = $now{$name} = $pairs{$name}[++$version % 4];
	my $directory = "$d/versions/$version";
	mkdir $directory or die "mkdir $directory: $!";
	spew("$directory/tls.crt", $pair->{cert});
	spew("$directory/tls.key", $pair->{key});
	my $link = $name eq 'kube.test' ? "$d/live/kube.test/..data" : "$d/live/link.test";
	symlink $directory, "$link.new";
	rename "$link.new", $link or die "rename $link: $!";
	return;
}

sub served { return $t->handshake('tls', $_[0], verify => 'root')->{serial} // 'none' }

sub client {
	for my $name ('kube.test', 'link.test') {
		my $got = $t->handshake('tls', $name, verify => 'root');
		return "$name: $got->{error}" if !$got->{ok};
	}
	return;
}
