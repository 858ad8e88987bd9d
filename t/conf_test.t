#!/usr/bin/env perl

# nginx -t and -T beside a running server, as root and as an ordinary user: nothing live is touched,
# every bad pair is told of, exit status 0.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=lazy:256k;
    rust_shared_cert_zone zone=startup:256k load=startup
        cert=%%DIR%%/root/$ssl_server_name.cert.pem key=%%DIR%%/root/$ssl_server_name.key.pem;

    server {
        listen 127.0.0.1:%%PORT_lazy%% ssl;
        rust_shared_cert lazy;
        location = /status { return 200 $rust_shared_cert_status; }
    }
    server {
        listen 127.0.0.1:%%PORT_startup%% ssl;
        rust_shared_cert startup;
    }
}
EOF

my $d = $t->dir();
mkdir "$d/root", 0755;
my $lazy = $t->install($t->pair('lazy.test'));
my $startup = $t->install($t->pair('startup.test'), dir => 'root');
chmod 0600, glob "$d/root/*.key.pem";
$t->start();
serves('at first');

# what the running server must not see before its next reload

my $new = $t->install($t->pair('startup.test'), dir => 'root');
chmod 0600, glob "$d/root/*.key.pem";
my $mismatch = $t->install($t->pair('bad.test'), dir => 'root');
$t->install($startup, as => 'bad.test', dir => 'root', only => 'key');
spew("$d/root/worse.test.cert.pem", '');
spew("$d/root/worse.test.key.pem", '');
spew("$d/certs/lazy-bad.test.cert.pem", '');
spew("$d/certs/lazy-bad.test.key.pem", '');

spew("$d/nobody.conf", slurp("$d/nginx.conf") =~ s!^(pid|error_log) $d/!$1 $d/nobody/!mgr
	=~ s!_temp_path $d/!_temp_path $d/nobody/!gr);
mkdir "$d/nobody";
chmod 0777, "$d/nobody";
chmod 0644, "$d/nobody.conf";
for my $option ('-t', '-T') {
	my $got = tested('', $option);
	is($got->{status}, 0, "nginx $option as root: exit status 0") or diag($got->{all});
	for my $name ('bad', 'worse', 'lazy-bad') {
		is(scalar(() = $got->{all} =~ /\[warn\].*"$name\.test"/g), 1, "nginx $option: $name.test");
	}
	unlike($got->{all}, qr/PRIVATE KEY/, "P7: nginx $option shows no key");
	serves("after nginx $option");
}

# as somebody who may read the configuration and write the log, but read no key

my $got = tested('nobody', '-t');
like($got->{all}, qr/\[warn\].*"startup\.test".*failed \(13: Permission denied\)/,
	'as an ordinary user: keys that cannot be read are told of');
is($got->{status}, 0, 'and are no reason to fail') or diag($got->{all});
serves('after that');
ok($t->reload(), 'a reload');
is($t->handshake('startup', 'startup.test')->{serial}, $new->{serial}, 'has the new one');

$t->done();

###############################################################################

sub tested {
	my ($user, $option) = @_;
	my @as = $user ? ('setpriv', "--reuid=$user", '--clear-groups', '--') : ();
	my ($conf, $log) = $user ? ("$d/nobody.conf", "$d/nobody/test.log") : ("$d/nginx.conf", "$d/test.log");
	return run_command(@as, $t->binary(), $option, '-p', "$d/", '-e', $log, '-c', $conf);
}

sub serves {
	my ($when) = @_;
	is($t->handshake('lazy', 'lazy.test')->{serial}, $lazy->{serial}, "lazy, $when");
	is($t->handshake('startup', 'startup.test')->{serial}, $startup->{serial}, "startup, $when");
	return;
}
