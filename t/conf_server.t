#!/usr/bin/env perl

# Mistakes in rust_shared_cert and rust_shared_cert_clear, and what is said of a server that uses what
# is not applied to the certificates of a zone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

my $template = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%
    rust_shared_cert_zone zone=certs:1m;
    rust_shared_cert_zone zone=more:1m;
    %%HTTP%%
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        %%SERVER%%
    }
}
EOF

my $pair = $t->install($t->pair('static'), dir => '.');
my $static = 'ssl_certificate static.cert.pem; ssl_certificate_key static.key.pem;';

my @good = (
	['', 'rust_shared_cert certs;'],
	['', 'rust_shared_cert certs default=a.test;'],
	['', "rust_shared_cert certs; $static"],
	['', "rust_shared_cert off; $static"],
	['rust_shared_cert certs;', ''],
	['rust_shared_cert certs default=a.test;', 'rust_shared_cert more;'],
	['rust_shared_cert certs;', "rust_shared_cert off; $static"],
	[$static, 'rust_shared_cert certs;'],
	["rust_shared_cert certs; $static", 'rust_shared_cert off;'],
	['', 'rust_shared_cert certs; location / { rust_shared_cert_clear more; }'],
	['server { listen 127.0.0.1:%%PORT_plain%%; location = /c { rust_shared_cert_clear certs; } }',
		'rust_shared_cert certs;'],
	['server { listen 127.0.0.1:%%PORT_plain%%; rust_shared_cert certs; }', 'rust_shared_cert certs;'],
);

my @bad = (
	['', 'rust_shared_cert x;', qr/unknown zone "x" in .*:\d+/],
	['rust_shared_cert x;', $static, qr/unknown zone "x" in .*:\d+/],
	['limit_req_zone $host zone=other:1m rate=1r/s;', 'rust_shared_cert other;', qr/"other" in .*:\d+/],
	['', 'rust_shared_cert certs; rust_shared_cert more;', qr/"rust_shared_cert" directive is duplicate in .*:\d+/],
	['rust_shared_cert certs; rust_shared_cert off;', 'rust_shared_cert certs;',
		qr/"rust_shared_cert" directive is duplicate in .*:\d+/],
	['', 'rust_shared_cert;', qr/invalid number of arguments in "rust_shared_cert" directive in/],
	['', 'rust_shared_cert certs default=a b;', qr/invalid number of arguments/],
	['', 'rust_shared_cert certs nonsense;', qr/invalid parameter "nonsense" in .*:\d+/],
	['', 'rust_shared_cert certs default=;', qr/invalid parameter "default=" in .*:\d+/],
	['', 'rust_shared_cert certs default=../x;', qr/invalid parameter "default=\.\.\/x" in .*:\d+/],
	['', "rust_shared_cert off default=a.test; $static", qr/invalid parameter "default=a.test" in .*:\d+/],
	['', 'location / { rust_shared_cert certs; }', qr/"rust_shared_cert" directive is not allowed here/],
	['', 'rust_shared_cert off;', qr/no "ssl_certificate" is defined/],
	['rust_shared_cert certs;', 'rust_shared_cert off;', qr/no "ssl_certificate" is defined/],
	['', '', qr/no "ssl_certificate" is defined/],
	['', 'rust_shared_cert certs; location / { rust_shared_cert_clear x; }', qr/unknown zone "x" in .*:\d+/],
	['', 'rust_shared_cert certs; location / { rust_shared_cert_clear; }',
		qr/invalid number of arguments in "rust_shared_cert_clear"/],
	['', 'rust_shared_cert certs; location / { rust_shared_cert_clear certs more; }',
		qr/invalid number of arguments in "rust_shared_cert_clear"/],
	['', 'rust_shared_cert certs; location / { rust_shared_cert_clear certs; rust_shared_cert_clear more; }',
		qr/"rust_shared_cert_clear" directive is duplicate in .*:\d+/],
	['', 'rust_shared_cert certs; rust_shared_cert_clear certs;',
		qr/"rust_shared_cert_clear" directive is not allowed here/],
);

for my $case (@good) {
	my ($http, $server) = @$case;
	is(mistake($http, $server), '', "good: $http | $server");
	is($t->test_status(), 0, 'and nginx -t ends well');
}

for my $case (@bad) {
	my ($http, $server, $text) = @$case;
	like(mistake($http, $server), qr/\[emerg\].*$text/, "bad: $http | $server");
	is($t->test_status(), 1, 'and nginx -t fails');
}

# a server without a certificate, beside a default that has a zone only

for my $protocol ('ssl', 'quic') {
	if ($protocol eq 'quic' && $t->nginx_version() !~ /http_v3_module/) {
		next;
	}
	my $both = $template =~ s/%%HTTP%%/server {
		listen 127.0.0.1:%%PORT_tls%% $protocol; server_name off.test; rust_shared_cert off; }/r
		=~ s/%%SERVER%%/rust_shared_cert certs;/r =~ s/%%PORT_tls%% ssl/%%PORT_tls%% $protocol/r;
	# the default server is the first
	$both =~ s/(    server \{\s+listen[^}]+off; \})(.*?)(    server \{.*?\n    \})/$3$2$1/s;
	like($t->conf_error($both),
		qr/\[emerg\].*no "ssl_certificate" is defined for the "listen ... $protocol" directive in/,
		"off without a certificate, $protocol");
}

# the zone may come after its use

my $text = $template =~ s/    rust_shared_cert_zone zone=certs:1m;\n//r;
$text =~ s/%%HTTP%%//;
$text =~ s/%%SERVER%%/rust_shared_cert certs;/;
$text =~ s/\}\s*\z/    rust_shared_cert_zone zone=certs:1m;\n}\n/;
is($t->conf_error($text), '', 'a zone that is defined further down');

# not applied

my $got = mistake('', "rust_shared_cert certs; $static ssl_stapling on;");
my @warn = $got =~ /\[warn\].*"ssl_stapling".*zone "certs"/g;
is(scalar @warn, 1, 'ssl_stapling: one [warn]') or diag($got);
is($t->test_status(), 0, 'and nginx -t ends well');
is(mistake('', "rust_shared_cert off; $static ssl_stapling off;"), '', 'none without');

$t->done();

###############################################################################

sub mistake {
	my ($http, $server) = @_;
	return $t->conf_error($template =~ s/%%HTTP%%/$http/r =~ s/%%SERVER%%/$server/r);
}
