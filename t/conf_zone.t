#!/usr/bin/env perl

# Mistakes in rust_shared_cert_zone are [emerg] in NGINX's wording, with file and line.

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
    %%MISTAKE%%
    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }
}
EOF

my $cert = 'cert=certs/$ssl_server_name.pem';
my $key = 'key=certs/$ssl_server_name.key';

my @good = (
	'zone=certs:1m', 'zone=certs:32k', 'zone=certs:1048576', 'zone=certs:2M', 'zone=certs:1g',
	"zone=certs:1m $cert $key", "$cert $key zone=certs:1m",
	"zone=certs:1m $cert $key cert=certs/\$ssl_server_name/rsa.pem key=certs/\$ssl_server_name/rsa.pem",
	'zone=certs:1m cert=${ssl_server_name}.pem key=${ssl_server_name}.pem',
	'zone=certs:1m worker_cache=1', 'zone=certs:1m worker_cache=100000',
	'zone=certs:1m load=lazy valid=5m', 'zone=certs:1m valid=off', 'zone=certs:1m valid=1',
	'load=off zone=certs:1m', 'zone=certs:1m load=off valid=off',
	'zone=certs:1m load=off state=state',
);

my @bad = (
	['zone=certs', qr/invalid zone size "zone=certs"/],
	['zone=certs:', qr/invalid zone size "/],
	['zone=certs:x', qr/invalid zone size "/],
	['zone=certs:1t', qr/invalid zone size "/],
	['zone=certs:-1m', qr/invalid zone size "/],
	['zone=certs:99999999999g', qr/invalid zone size "/],
	['zone=:1m', qr/invalid zone name "/],
	['zone=certs:4k', qr/zone "certs" is too small/],
	['zone=certs:0', qr/zone "certs" is too small/],
	["$cert $key", qr/"rust_shared_cert_zone" must have "zone" parameter/],
	["zone=certs:1m $cert", qr/cert.*without.*key/],
	["zone=certs:1m $key", qr/key.*without.*cert/],
	["zone=certs:1m $cert $key $cert", qr/cert.*without.*key/],
	["zone=certs:1m $cert $cert $key", qr/cert.*without.*key/],
	["zone=certs:1m cert=a.pem $key", qr/"cert=a\.pem" must contain "\$ssl_server_name"/],
	["zone=certs:1m $cert key=a.key", qr/"key=a\.key" must contain "\$ssl_server_name"/],
	["zone=certs:1m $cert key=\$ssl_server_name/\$ssl_server_name.key", qr/contains "\$ssl_server_name" more than once/],
	["zone=certs:1m cert=\$host.pem $key", qr/contains a variable other than "\$ssl_server_name"/],
	["zone=certs:1m cert=\$ssl_server_name.\$host.pem $key", qr/contains a variable other than "\$ssl_server_name"/],
	["zone=certs:1m cert= $key", qr/invalid parameter "cert="/],
	['zone=certs:1m load=never', qr/invalid parameter "load=never"/],
	['zone=certs:1m load=', qr/invalid parameter "load="/],
	['zone=certs:1m load=lazy load=lazy', qr/invalid parameter "load=lazy"/],
	['zone=certs:1m valid=0', qr/invalid parameter "valid=0"/],
	['zone=certs:1m valid=-1s', qr/invalid parameter "valid=-1s"/],
	['zone=certs:1m valid=soon', qr/invalid parameter "valid=soon"/],
	['zone=certs:1m valid=', qr/invalid parameter "valid="/],
	['zone=certs:1m valid=1s valid=off', qr/invalid parameter "valid=off"/],
	['zone=certs:1m load=startup valid=60s', qr/"valid" parameter cannot be used with "load=startup"/],
	['zone=certs:1m load=off valid=60s', qr/"valid" parameter cannot be used with "load=off"/],
	["zone=certs:1m load=off $cert $key", qr/"cert" parameter cannot be used with "load=off"/],
	['zone=certs:1m load=off password_file=certs/x', qr/open\(\) ".*\/certs\/x" failed/],
	['zone=certs:1m password_file=', qr/invalid parameter "password_file="/],
	["zone=certs:1m cert=data:\$ssl_server_name $key", qr/"cert=data:\$ssl_server_name" must be a path/],
	['zone=certs:1m state=', qr/invalid parameter "state="/],
	['zone=certs:1m state=a state=b', qr/invalid parameter "state=b"/],
	['zone=certs:1m nonsense', qr/invalid parameter "nonsense"/],
	['zone=certs:1m worker_cache=0', qr/invalid parameter "worker_cache=0"/],
	['zone=certs:1m worker_cache=x', qr/invalid parameter "worker_cache=x"/],
	['zone=certs:1m worker_cache=-1', qr/invalid parameter "worker_cache=-1"/],
	['zone=certs:1m worker_cache=99999999999999999999', qr/invalid parameter "worker_cache=/],
	['zone=certs:1m zone=more:1m', qr/invalid parameter "zone=more:1m"/],
	['', qr/invalid number of arguments in "rust_shared_cert_zone" directive/],
);

for my $parameters (@good) {
	is(mistake("rust_shared_cert_zone $parameters;"), '', "good: $parameters");
	is($t->test_status(), 0, 'and nginx -t ends well');
}

for my $case (@bad) {
	my ($parameters, $text) = @$case;
	my $got = mistake("rust_shared_cert_zone $parameters;");
	like($got, qr/\[emerg\].*$text.* in .*mistake\.conf:\d+/, "bad: $parameters");
	is($t->test_status(), 1, 'and nginx -t fails');
}

like(mistake('rust_shared_cert_zone zone=certs:1m; rust_shared_cert_zone zone=certs:1m;'),
	qr/\[emerg\].*duplicate zone "certs" in .*mistake\.conf:\d+/, 'the same zone twice');
like(mistake('rust_shared_cert_zone zone=certs:1m; limit_req_zone $host zone=certs:1m rate=1r/s;'),
	qr/\[emerg\].*"certs"/, 'a zone of that name of another module');
is(mistake('rust_shared_cert_zone zone=certs:1m; rust_shared_cert_zone zone=more:64k;'), '', 'two zones');
like(mistake('server { rust_shared_cert_zone zone=certs:1m; }'),
	qr/\[emerg\].*"rust_shared_cert_zone" directive is not allowed here/, 'in a server');

$t->done();

###############################################################################

sub mistake {
	my ($text) = @_;
	return $t->conf_error($template =~ s/%%MISTAKE%%/$text/r);
}
