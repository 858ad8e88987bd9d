#!/usr/bin/env perl

# P11: a server name becomes a path only if it is a host name. Wherever another name would lead, there
# is a pair that covers it, so that a module which went there would serve it.

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

    rust_shared_cert_zone zone=certs:1m;
    rust_shared_cert_zone zone=live:1m
        cert=live/$ssl_server_name/fullchain.pem key=live/$ssl_server_name/privkey.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen 127.0.0.1:%%PORT_static%% ssl;
        rust_shared_cert certs;
        ssl_certificate static.cert.pem;
        ssl_certificate_key static.key.pem;
    }

    server {
        listen 127.0.0.1:%%PORT_live%% ssl;
        rust_shared_cert live;
    }

    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $d = $t->dir();
mkdir "$d/$_" for 'secret', 'certs/sub', 'certs/_', 'certs/certs', 'live';
my $static = $t->install($t->pair('static'), dir => '.');

my $label = 'l' x 63;
my @good = ('a.test', 'x-1.test', 'under_score.test', '_dmarc.test', "$label.test", '127.0.0.1', 'one');
my @bad = (
	'../secret/x', 'certs/../../secret/y', 'sub/x', './dot.test', '..', '../secret/z.test', '_/x',
	'a..test', '.a.test', 'a.test..', "${label}l.test", 'a b.test', 'a%62.test', '*.test', '_.w.test',
	'a\\b.test', '$ssl_server_name', 'a.test:443', 'a@b.test', '~', "tab\tb.test",
);

my %pair;
for my $name (@good, @bad) {
	$pair{$name} = $t->pair($name, cn => 'x', san => [san($name)]);
	$t->install($pair{$name});
}

$t->start();

for my $name (@good) {
	is(served('tls', $name), $pair{$name}{fingerprint}, "a host name: $name");
}
is(served('tls', 'A.TEST'), $pair{'a.test'}{fingerprint}, 'P11: lower-cased');
is(served('tls', 'X-1.Test'), $pair{'x-1.test'}{fingerprint}, 'P11: lower-cased');
is(served('tls', 'a.test.'), $pair{'a.test'}{fingerprint}, 'P11: one trailing dot is dropped');
is(served('tls', 'A.test.'), $pair{'a.test'}{fingerprint}, 'P11: both');

for my $name (@bad) {
	my $shown = $name =~ s/\t/ tab /r;
	is(served('tls', $name), 'alert 112', "P11: no host name: $shown");
	is(served('static', $name), $static->{fingerprint}, "P11: no host name: $shown, the static one");
	next if $name =~ /^[*_]\./;    # a wildcard's set has such a name
	my $query = $name =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ger;
	is($t->clear("?name=$query")->{status}, 400, "P11: no name to clear: $shown");
}

# the longest name: a directory, since a file of that name would be too long

my $stem = join '.', map { $_ x 61 } 'a' .. 'd';
for my $length (253, 254) {
	my $name = $stem . 'e' x ($length - 252) . '.test';
	$name = substr("$stem.eeeeee", 0, $length);
	is(length $name, $length, "a name of $length bytes");
	mkdir "$d/live/$name";
	my $pair = $t->pair($name, cn => 'x');
	spew("$d/live/$name/fullchain.pem", $pair->{cert});
	spew("$d/live/$name/privkey.pem", $pair->{key});
	my $want = $length == 253 ? $pair->{fingerprint} : 'alert 112';
	is(served('live', $name), $want, "P11: $length bytes");
}

# P15: unknown names write no line above info

is(join("\n", $t->log_lines(qr/\[(?:notice|warn|error|crit)\](?!.*(?:signal|nginx\/|process|epoll|gcc|OS:|RLIMIT|exit))/)),
	'', 'P15: nothing in the log above info');

$t->done();

###############################################################################

sub served {
	my $got = $t->s_client(@_);
	return $got->{fingerprint} // 'alert ' . ($got->{alert} // '?');
}

# As openssl's configuration wants it.
sub san {
	my ($name) = @_;
	return $name =~ s/([\\\$])/\\$1/gr;
}
