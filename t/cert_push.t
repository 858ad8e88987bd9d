#!/usr/bin/env perl

# scripts/nginx-cert-push: certbot's hook, plain arguments, all lineages, and what it says of refusals.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Path qw/ make_path /;
use POSIX ();
use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
    }

    server {
        listen unix:%%DIR%%/api.sock;
        listen 127.0.0.1:%%PORT_tcp%%;
        location /certs/ { rust_shared_cert_api certs write=unix; }
        location /web/ { return 200 hi; }
        location /any/ { rust_shared_cert_api certs write=on; }
    }
}
EOF

my $script = "$FindBin::Bin/../scripts/nginx-cert-push";
my $d = $t->dir();
my @socket = ('--socket', "$d/api.sock");
my ($a, $b, $rsa) = ($t->pair('a.test'), $t->pair('b.test'), $t->pair('a.test', key => 'rsa'));
my $expired = $t->pair('a.test', not_after => '210101000000Z');
for ($a, $b) {
	make_path("$d/live/$_->{name}");
	spew("$d/live/$_->{name}/fullchain.pem", $_->{cert});
	spew("$d/live/$_->{name}/privkey.pem", $_->{key});
}
spew("$d/live/README", 'not a lineage');
spew("$d/expired.pem", $expired->{cert} . $expired->{key});
spew("$d/rsa.cert.pem", $rsa->{cert});
spew("$d/rsa.key.pem", $rsa->{key});

# NGINX is not there

my $got = push_it(@socket, '--wait', 0, 'a.test', "$d/expired.pem");
is($got->{status}, 1, 'no NGINX: refused');
like($got->{all}, qr/\Anginx-cert-push: a\.test: [^\n]+\n\z/, 'in one line');

my $pid = fork() // die;
if (!$pid) {
	select undef, undef, undef, 2;
	POSIX::_exit(0);
}
my $later = fork() // die;
if (!$later) {
	my $got = push_it(@socket, 'b.test', "$d/live/b.test/fullchain.pem", "$d/live/b.test/privkey.pem");
	POSIX::_exit($got->{status});
}
waitpid $pid, 0;
$t->start();
waitpid $later, 0;
is($? >> 8, 0, 'it waits until NGINX is there');
is($t->handshake('tls', 'b.test')->{serial}, $b->{serial}, 'and pushes');

# certbot's hook

$ENV{RENEWED_LINEAGE} = "$d/live/a.test";
$got = push_it(@socket);
is($got->{status}, 0, 'as a hook');
like($got->{all}, qr/\Anginx-cert-push: a\.test: pushed, generation \d+\n\z/, 'in one line');
is($t->handshake('tls', 'a.test')->{serial}, $a->{serial}, 'served');
delete $ENV{RENEWED_LINEAGE};

$got = push_it(@socket, '--all', "$d/live");
is($got->{status}, 0, 'all lineages');
is(() = $got->{all} =~ /: unchanged, generation \d+$/mg, 2, 'a line for each: nothing has changed');

# a rollback lasts

my $renewed = $t->pair('b.test');
spew("$d/live/b.test/fullchain.pem", $renewed->{cert});
spew("$d/live/b.test/privkey.pem", $renewed->{key});
like(push_it(@socket, '--all', "$d/live")->{all}, qr/b\.test: pushed/, 'what a hook missed is pushed');
$t->api('POST', 'sets/b.test/rollback');
$got = push_it(@socket, '--all', "$d/live");
is($got->{status}, 0, 'after a rollback');
like($got->{all}, qr/b\.test: the previous generation, left alone, generation \d+$/m, 'all but what was rolled back from');
is($t->handshake('tls', 'b.test')->{serial}, $b->{serial}, 'so it stays');
like(push_it(@socket, '--force', '--all', "$d/live")->{all}, qr/b\.test: pushed/, 'unless by force');
is($t->handshake('tls', 'b.test')->{serial}, $renewed->{serial}, 'which is served');

# another key type

$got = push_it(@socket, '--add', 'a.test', "$d/rsa.cert.pem", "$d/rsa.key.pem");
is($got->{status}, 0, '--add') or diag($got->{all});
is($t->handshake('tls', 'a.test', version => 'TLSv1_2', ciphers => 'aECDSA')->{serial}, $a->{serial},
	'both are served');
like(push_it(@socket, '--add', '--all', "$d/live")->{all}, qr/a\.test: unchanged/, 'all, with --add');
my @a = map { "$d/live/a.test/$_.pem" } 'fullchain', 'privkey';
like(push_it(@socket, 'a.test', @a)->{all}, qr/a\.test: pushed, generation \d+, without its RSA key: --add keeps it,/,
	'without it the loss is told');

# a leaf alone

$t->ca('intermediate', issuer => 'root');
my $whole = $t->pair('chain.test', issuer => 'intermediate');
spew("$d/$_.pem", $whole->{$_}) for qw/ cert leaf key /;
$got = push_it(@socket, 'chain.test', "$d/leaf.pem", "$d/key.pem");
like($got->{all}, qr/pushed, generation \d+, sent without an intermediate$/, 'a leaf alone is told');
unlike(push_it(@socket, 'chain.test', "$d/cert.pem", "$d/key.pem")->{all}, qr/without/, 'a whole chain is not');
$got = push_it(@socket, 'chain.test', "$d/leaf.pem", "$d/key.pem");
is($got->{status}, 1, 'in the place of it');
like($got->{all}, qr/refused, 422: .*without the intermediate/, 'a leaf is refused');

# refusals

$got = push_it(@socket, 'a.test', "$d/expired.pem");
is($got->{status}, 1, 'refused');
like($got->{all}, qr/\Anginx-cert-push: a\.test: refused, 422: .*expired\n\z/, 'with the reason');
$got = push_it('--tcp', '--url', 'http://127.0.0.1:' . $t->port('tcp') . '/certs/', 'a.test',
	"$d/expired.pem");
like($got->{all}, qr/refused, 403: .*unix socket/, 'over TCP');
$got = push_it('--tcp', '--url', 'http://127.0.0.1:' . $t->port('tcp') . '/any', '--force',
	'other.test', "$d/rsa.cert.pem", "$d/rsa.key.pem");
is($got->{status}, 0, 'over TCP where that may be, by force') or diag($got->{all});
unlink "$d/live/a.test/privkey.pem";
$got = push_it(@socket, '--all', "$d/live");
is($got->{status}, 1, 'one of all cannot be read');
like($got->{all}, qr/a\.test: cannot read .*privkey\.pem\n/, 'that is told');
like($got->{all}, qr/b\.test: (?:pushed|unchanged)/, 'and the others are pushed');

# arguments

my @b = map { "$d/live/b.test/$_.pem" } 'fullchain', 'privkey';
$got = push_it(@socket, 'b.test', @b, '--force');
is($got->{status}, 2, 'an option at the end');
like($got->{all}, qr/\Anginx-cert-push: options come before NAME: --force, see [^\n]+\n\z/, 'is told of in one line');
$got = push_it(@socket, 'internal_app', '/nowhere/cert.pem', '/nowhere/key.pem');
is($got->{status}, 1, 'a NAME like a handler of dehydrated, whose file is gone');
like($got->{all}, qr/internal_app: cannot read/, 'is none');
like(push_it('--socket', "$d/nobody.sock", '--wait', 0, 'b.test', @b)->{all}, qr!cannot connect to \Q$d\E/nobody\.sock: !,
	'the socket is told of');

# what is no certificate of the API's

for my $name ('a b', 'a.test?force=1', 'x/../a.test', 'a.test#b', '') {
	is(push_it(@socket, $name, "$d/expired.pem")->{status}, 1, "no NAME: $name");
}
my @tcp = ('--tcp', '--url', 'http://127.0.0.1:' . $t->port('tcp'));
$got = push_it(@tcp[0, 1], "$tcp[2]/web", 'a.test', "$d/expired.pem");
is($got->{status}, 1, 'an answer of something else');
like($got->{all}, qr!what answers at http://\S+ is not the API!, 'is none');

# nobody else gets the key

spew("$d/.curlrc", "trace-ascii = \"$d/trace\"\n");
{
	local @ENV{qw/ HOME http_proxy /} = ($d, 'http://127.0.0.1:1');
	$got = push_it(@tcp[0, 1], "$tcp[2]/any", '--force', 'other.test', "$d/rsa.cert.pem", "$d/rsa.key.pem");
}
is($got->{status}, 0, 'P7: no proxy') or diag($got->{all});
ok(!-e "$d/trace", 'P7: and no curlrc');

# files that end without a line feed, a lineage whose links lead nowhere, names that are lost

spew("$d/cut.cert.pem", $b->{cert} =~ s/\n\z//r);
spew("$d/cut.key.pem", $b->{key} =~ s/\n\z//r);
$got = push_it(@socket, 'b.test', "$d/cut.cert.pem", "$d/cut.key.pem");
is($got->{status}, 0, 'files without a line feed at the end') or diag($got->{all});
make_path("$d/live/gone.test");
symlink "$d/nowhere", "$d/live/gone.test/$_.pem" for 'fullchain', 'privkey';
$got = push_it(@socket, '--all', "$d/live");
like($got->{all}, qr/gone\.test: cannot read/, 'links that lead nowhere');
my ($more, $less) = ($t->pair('n.test', san => ['n.test', 'www.n.test', 'x.n.test']), $t->pair('n.test'));
for ($more, $less) {
	spew("$d/n.pem", $_->{cert} . $_->{key});
	$got = push_it(@socket, 'n.test', "$d/n.pem");
}
like($got->{all}, qr/: pushed, generation \d+, without www\.n\.test, x\.n\.test,/, 'names that are lost');
is(push_it('--help')->{status}, 0, 'help');

for ([], ['a.test'], ['--nonsense'], ['--all'], ['--wait', 'x', 'a', 'b'], ['--all', '/nowhere']) {
	$got = push_it(@socket, @$_);
	is($got->{status}, 2, "usage: @$_");
}

$t->done();

sub push_it { return run_command($script, @_) }
