#!/usr/bin/env perl

# A bad pair leaves nothing in the error queue of OpenSSL: on the same worker handshakes for other names
# and the connections that are open go on. One error that is left would end one of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

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
        location / { return 200 good; }
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $good = $t->install($t->pair('good.test'));
my $other = $t->pair('other.test');
my $kept = $t->install($t->pair('kept.test'));
my $dir = $t->dir() . '/certs';

# each breaks OpenSSL's parsing in another place
my %bad = (
	'key.test' => [cert => $other->{cert}, key => "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
	'der.test' => [cert => $good->{cert} =~ s/^(MII.{8}).{8}/$1AAAAAAAA/mr, key => $good->{key}],
	'base64.test' => [cert => $good->{cert} =~ s/^M.{20}/M!!!!/mr, key => $good->{key}],
	'mismatch.test' => [cert => $good->{cert}, key => $other->{key}],
	'half.test' => [cert => substr($good->{cert}, 0, 300), key => $good->{key}],
	'weak.test' => [%{ $t->pair('weak.test', key => 'rsa1024') }],
	'type.test' => [cert => $good->{cert}, key => $t->pair('x', key => 'ed25519')->{key}],
	'params.test' => [cert => $good->{cert}, key => "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"],
	'utf.test' => [cert => "\xff\xfe\0\0", key => "\xff\xfe\0\0"],
);
for my $name (keys %bad) {
	my %half = @{ $bad{$name} };
	spew("$dir/$name.$_.pem", $half{$_}) for 'cert', 'key';
}

$t->start();
my ($worker) = $t->worker_pids();

# connections that live through it: one idle between requests, one before its first

my $idle = connection();
is(request($idle), 'good', 'a kept connection before');

for my $round (1 .. 3) {
	for my $name (sort keys %bad) {
		my $fresh = connection();
		my $got = $t->handshake('tls', $name);
		is($got->{alert}, 112, "$name is refused");
		is(request($idle), 'good', 'the kept connection goes on');
		is(request($fresh), 'good', 'and the fresh one');
		is($t->handshake('tls', 'good.test', verify => 'root')->{serial}, $good->{serial},
			'the next handshake is good');

		is($t->clear("?name=$name")->{status}, 422, "a clear of $name");
		is(request($idle), 'good', 'the kept connection goes on');
		is($t->handshake('tls', 'good.test', verify => 'root')->{serial}, $good->{serial},
			'the next handshake is good');
		close $fresh;
	}
	$t->clear();
}

# the last good of a name whose files are bad serves, and its handshake is as good

is($t->handshake('tls', 'kept.test')->{serial}, $kept->{serial}, 'a name that will be bad');
for my $name (sort keys %bad) {
	my %half = @{ $bad{$name} };
	spew("$dir/kept.test.$_.pem", $half{$_}) for 'cert', 'key';
	$t->clear();
	is($t->handshake('tls', 'kept.test', verify => 'root')->{serial}, $kept->{serial},
		"the last good, with the files of $name");
	is(request($idle), 'good', 'the kept connection goes on');
}

is_deeply([$t->worker_pids()], [$worker], 'the same worker');
is(join("\n", $t->log_lines(qr/\[(?:crit|error)\]/)), '', 'no error in the log');

$t->done();

###############################################################################

sub connection { return $t->handshake('tls', 'good.test', keep => 1)->{socket} }

# One request on a connection that stays open.
sub request {
	my ($s) = @_;
	print $s "GET / HTTP/1.1\r\nHost: good.test\r\n\r\n";
	my $answer = '';
	while ($answer !~ /\r\n\r\ngood$/) {
		sysread($s, $answer, 4096, length $answer) or return "closed after: $answer";
	}
	return 'good';
}
