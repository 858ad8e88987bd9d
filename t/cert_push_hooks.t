#!/usr/bin/env perl

# scripts/nginx-cert-push: what lego, acme.sh and dehydrated give their hooks, replayed; and --clear.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=pushed:1m load=off;
    rust_shared_cert_zone zone=files:1m valid=off;

    server {
        listen 127.0.0.1:%%PORT_pushed%% ssl;
        rust_shared_cert pushed;
    }

    server {
        listen 127.0.0.1:%%PORT_files%% ssl;
        rust_shared_cert files;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api pushed write=unix; }
    }

    server {
        listen 127.0.0.1:%%PORT_clear%%;
        location = /clear { rust_shared_cert_clear files; }
        location = /off/clear { rust_shared_cert_clear pushed; }
        location = /web/clear { return 200 hi; }
    }
}
EOF

my $script = "$FindBin::Bin/../scripts/nginx-cert-push";
my $d = $t->dir();
my @socket = ('--socket', "$d/api.sock", '--wait', 0);
my %path = map { $_ => "$d/$_.pem" } 'chain', 'leaf', 'issuer', 'key';
$t->ca('middle', issuer => 'root');
$t->start();

# what each tool gives

hook('lego 4', 'a.test', LEGO_CERT_DOMAIN => 'a.test', LEGO_CERT_PATH => $path{chain},
	LEGO_CERT_KEY_PATH => $path{key}, LEGO_ISSUER_CERT_PATH => $path{issuer});
hook('lego 4 --no-bundle', 'a.test', LEGO_CERT_DOMAIN => 'a.test', LEGO_CERT_PATH => $path{leaf},
	LEGO_CERT_KEY_PATH => $path{key}, LEGO_ISSUER_CERT_PATH => $path{issuer});
hook('lego 4, a wildcard', '*.w.test', LEGO_CERT_DOMAIN => '*.w.test', LEGO_CERT_PATH => $path{chain},
	LEGO_CERT_KEY_PATH => $path{key});
hook('lego 5', 'a.test', LEGO_HOOK_CERT_NAME => 'a.test', LEGO_HOOK_CERT_DOMAINS => 'a.test,www.a.test',
	LEGO_HOOK_CERT_PATH => $path{chain}, LEGO_HOOK_CERT_KEY_PATH => $path{key});
hook('acme.sh', 'a.test', Le_Domain => 'a.test', CERT_PATH => $path{leaf}, CERT_KEY_PATH => $path{key},
	CA_CERT_PATH => $path{issuer}, CERT_FULLCHAIN_PATH => $path{chain});
is(push_it(LEGO_CERT_PATH => $path{chain})->{status}, 1, 'a tool that gives no name');

# dehydrated

my $pair = write_pair('a.test');
my @files = @path{qw/ key leaf chain issuer /};
my $got = run_command($script, @socket, 'deploy_cert', 'a.test', @files, time);
is($got->{status}, 0, 'dehydrated, deploy_cert') or diag($got->{all});
served('a.test', $pair);
for (['startup_hook'], ['sync_cert', @files, time], ['unchanged_cert', 'a.test', @files], ['exit_hook', ''],
	['deploy_challenge', 'a.test', 'token', 'value'], ['deploy_ocsp', 'a.test', $path{leaf}, time],
	['this_hookscript_is_broken__dehydrated_is_working_fine__please_ignore_unknown_hooks_in_your_script'])
{
	$got = run_command($script, @socket, @$_);
	is($got->{status}, 0, "$_->[0]: nothing to do");
	is($got->{all}, '', 'and nothing is said');
}
is(run_command($script, @socket, 'deploy_cert', 'a.test', $path{key})->{status}, 2,
	'deploy_cert without its files');
$got = run_command($script, @socket, 'my_set', @path{qw/ chain key /});
is($got->{status}, 0, 'a set with such a name') or diag($got->{all});
like($got->{all}, qr/: my_set: pushed/, 'is pushed');

# --clear

my $base = 'http://127.0.0.1:' . $t->port('clear');
my @clear = ('--tcp', '--wait', 0, '--clear', '--url');
my $old = $t->install($t->pair('a.test'));
is($t->handshake('files', 'a.test')->{serial}, $old->{serial}, 'files are served');
my $new = $t->install($t->pair('a.test'));
is($t->handshake('files', 'a.test')->{serial}, $old->{serial}, 'and are not looked at');
$got = run_command($script, @clear, $base, 'a.test');
is($got->{status}, 0, '--clear NAME') or diag($got->{all});
is($got->{all}, "nginx-cert-push: a.test: read again, SHA-256 $new->{fingerprint}\n", 'in one line');
is($t->handshake('files', 'a.test')->{serial}, $new->{serial}, 'the new one is served');
$got = run_command($script, @clear, $base, 'a.test');
is($got->{all}, "nginx-cert-push: a.test: unchanged, SHA-256 $new->{fingerprint}\n", 'and once more');

$new = $t->install($t->pair('a.test'));
{
	local @ENV{qw/ RENEWED_LINEAGE RENEWED_DOMAINS /} = ("$d/live/a.test-0001", 'a.test www.a.test');
	$got = run_command($script, @clear, $base);
}
is($got->{status}, 1, '--clear as a hook, with a name that is not served');
like($got->{all}, qr/: a\.test: read again/, 'the names are read');
like($got->{all}, qr/: www\.a\.test: refused, 422: /, 'and it is told which could not be');
is($t->handshake('files', 'a.test')->{serial}, $new->{serial}, 'the new one is served');

my $wild = $t->install($t->pair('*.w.test'), as => '_.w.test');
is($t->handshake('files', 'x.w.test')->{serial}, $wild->{serial}, 'a wildcard is served');
$wild = $t->install($t->pair('*.w.test'), as => '_.w.test');
$got = run_command($script, @clear, $base, 'deploy_cert', '*.w.test', @files, time);
is($got->{status}, 0, '--clear of a wildcard, by dehydrated') or diag($got->{all});
is($t->handshake('files', 'x.w.test')->{serial}, $wild->{serial}, 'the new one is served');

$new = $t->install($t->pair('a.test'));
$got = run_command($script, @clear, $base);
is($got->{status}, 0, '--clear of all');
like($got->{all}, qr/\Anginx-cert-push: cleared, the files of 2 sets are read again\n\z/, 'in one line');
is($t->handshake('files', 'a.test')->{serial}, $new->{serial}, 'the new one is served');

$got = run_command($script, @clear, "$base/off");
is($got->{status}, 1, '--clear of a zone without files');
like($got->{all}, qr/all names: refused, 409: the zone has no files/, 'with the reason');
$got = run_command($script, @clear, "$base/web", 'a.test');
is($got->{status}, 1, 'what is not the API');
like($got->{all}, qr/what answers at \S+ is not the API/, 'is told');
is(run_command($script, @clear, $base, 'a b')->{status}, 1, 'no name');
is(run_command($script, @clear, $base, '--all', $d)->{status}, 2, 'with --all');

$t->done();

# hook TOOL NAME VARIABLE...: a renewal, which is pushed and served with its chain.
sub hook {
	my ($tool, $name, %env) = @_;
	my $pair = write_pair($name);
	my $got = push_it(%env);
	is($got->{status}, 0, $tool) or diag($got->{all});
	served($name =~ s/^\*/x/r, $pair);
	return;
}

sub push_it {
	my %env = @_;
	local @ENV{keys %env} = values %env;
	return run_command($script, @socket);
}

sub served {
	my ($name, $pair) = @_;
	my $got = $t->handshake('pushed', $name);
	is($got->{serial}, $pair->{serial}, "$name: the new one is served");
	is($got->{chain}, 2, 'with its chain');
	return;
}

sub write_pair {
	my $pair = $t->pair(shift, issuer => 'middle');
	spew($path{chain}, $pair->{cert});
	spew($path{leaf}, $pair->{leaf});
	spew($path{issuer}, $pair->{cert} =~ s/\A\Q$pair->{leaf}\E//r);
	spew($path{key}, $pair->{key});
	return $pair;
}
