#!/usr/bin/env perl

# What a reload may do to zones: other files, another way of loading, another name, away and back, and
# servers that move from one to the other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);

my $template = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    %%ZONES%%

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        ssl_certificate %%DIR%%/static.pem;
        ssl_certificate_key %%DIR%%/static.key;
        rust_shared_cert %%ZONE%%;
    }
}
EOF

my $d = $t->dir();
mkdir "$d/$_" for 'one', 'two', 'root';
chmod 0700, "$d/root";
my %pair;
for my $dir ('one', 'two', 'root') {
	$pair{$dir}{$_} = $t->install($t->pair($_), dir => $dir) for 'a.test', "$dir.test";
}
my $static = $t->pair('static.test');
spew("$d/static.pem", $static->{cert});
spew("$d/static.key", $static->{key});

my %files = map {
	$_ => "cert=$d/$_/\$ssl_server_name.cert.pem key=$d/$_/\$ssl_server_name.key.pem"
} 'one', 'two', 'root';
my $zone = 'rust_shared_cert_zone zone=certs:256k';

configure("$zone $files{one};", 'certs');
$t->start();
serves('one', 'one.test');

step('other files', "$zone $files{two};", 'certs');
serves('two', 'two.test');
ok(wait_for(4, sub { served('one.test') eq $static->{serial} }), 'what only the old files had ends');

step('lazy to startup', "$zone load=startup $files{root};", 'certs');
serves('root', 'root.test');
is(served('two.test'), $static->{serial}, 'what was lazy is gone');

step('startup to off', "$zone load=off;", 'certs');
is(served($_), $static->{serial}, "$_: nothing") for 'a.test', 'root.test';

step('off to startup', "$zone load=startup $files{root};", 'certs');
serves('root', 'root.test');

step('startup to lazy, with keys that workers cannot read', "$zone $files{root};", 'certs');
serves('root', 'root.test');

step('lazy with keys that they can', "$zone $files{one};", 'certs');
serves('one', 'one.test');

# connections that workers of load=startup accepted, while workers of a lazy zone read

step('to startup', "$zone load=startup $files{one};", 'certs');
my @sockets = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port('tls')) or die $! } 1 .. 6;
select undef, undef, undef, 0.3;
step('and to lazy again', "$zone $files{one};", 'certs');
is(served('a.test'), $pair{one}{'a.test'}{serial}, 'a new worker reads');
for my $socket (@sockets) {
	is($t->handshake(0, 'a.test', socket => $socket)->{serial}, $pair{one}{'a.test'}{serial},
		'an old worker has what the new one read');
}

step('another name', 'rust_shared_cert_zone zone=other:256k ' . "$files{one};", 'other');
serves('one', 'one.test');

step('two zones', "$zone $files{one}; rust_shared_cert_zone zone=other:256k $files{two};", 'other');
serves('two', 'two.test');
step('the server moves', "$zone $files{one}; rust_shared_cert_zone zone=other:256k $files{two};", 'certs');
serves('one', 'one.test');

step('no zone', '', 'off');
is(served('a.test'), $static->{serial}, 'static');
step('and back', "$zone load=startup $files{root};", 'certs');
serves('root', 'root.test');

# a failed reload changes nothing: neither what was read nor what it would have removed

my $new = $t->install($t->pair('a.test'), dir => 'root');
$t->remove('root.test', dir => 'root');
configure("$zone load=startup $files{root};", 'certs; nonsense');
ok(!$t->reload(), 'a reload that is refused');
serves('root', 'root.test');
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $!;
configure("$zone load=startup $files{root};", 'certs; listen 127.0.0.1:' . $taken->sockport());
ok(!$t->reload(), 'one that fails after the zones were started');
serves('root', 'root.test');
close $taken;
step('one that succeeds', "$zone load=startup $files{root};", 'certs');
is(served('a.test'), $new->{serial}, 'has the new one');
is(served('root.test'), $static->{serial}, 'and not what is gone');

$t->done();

###############################################################################

sub configure {
	my ($zones, $zone) = @_;
	$t->conf($template =~ s/%%ZONES%%/$zones/r =~ s/%%ZONE%%/$zone/r, log => 'notice');
	return;
}

sub step {
	my ($what, @conf) = @_;
	configure(@conf);
	ok($t->reload(), "reload: $what");
	return;
}

sub serves {
	my ($dir, @names) = @_;
	is(served($_), $pair{$dir}{$_}{serial}, "$_ as in $dir") for 'a.test', @names;
	return;
}

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
