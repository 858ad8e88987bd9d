#!/usr/bin/env perl

# A second NGINX on one state directory that is no upgrade of the first: it is told of once, by the pid of
# the first; the first takes writes again when it ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $first = Test::SharedCert->new(root => 1);
my $second = Test::SharedCert->new(root => 1);
my $state = $first->dir() . '/state';

my $conf = <<"EOF";
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off state=$state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF
$_->conf($conf, log => 'notice') for $first, $second;
my @pairs = map { $first->pair('a.test') } 0 .. 3;

for my $daemon (0, 1) {
	my $as = $daemon ? 'as a daemon' : 'in the foreground';
	$first->start(daemon => $daemon);
	my $pushed = $first->push_set($pairs[0]);
	like($pushed->{status}, qr/^20[01]$/, "$as: pushed") or diag($pushed->{all});
	ok(!told($first), 'alone there is nothing to tell');
	$second->conf_error($conf);
	is($second->test_status(), 0, 'a test of the second configuration');
	ok(!told($second), 'tells nothing');
	$second->conf($conf, log => 'notice');

	$second->start(daemon => $daemon);
	is($second->handshake('tls', 'a.test')->{serial}, $pairs[0]{serial}, 'the second one has what was pushed');
	my $pid = $first->master();
	is_deeply([map { /(\[\w+\]).*: another NGINX (.*)$/ } told($second)],
		['[warn]', "(process $pid) has the state directory \"$state\", too; it takes no pushes while this one runs, zone \"certs\""],
		"$as: the second one tells of the first");
	ok($second->reload(), 'a reload');
	is(scalar(my @once = told($second)), 1, 'tells nothing more');

	is($second->push_set($pairs[1])->{status}, 200, 'the second one takes the writes');
	my $got = $first->push_set($pairs[2]);
	is($got->{status}, 503, 'the first one does not') or diag($got->{all});
	is($got->{json}{title}, 'another NGINX has the state directory', 'and says why');

	$second->stop();
	ok(wait_for(10, sub { $first->push_set($pairs[2])->{status} == 200 }), 'when it ends, the first one writes');
	ok($first->reload(), 'and is reloaded');
	ok(!told($first), 'without a word');
	$first->stop();
	spew($second->dir() . '/error.log', '');
}
$second->end_checks();
$first->done();

sub told {
	my ($t) = @_;
	return $t->log_lines(qr/another NGINX/);
}
