#!/usr/bin/env perl

# What an operator is told: one line after each clear for what is bad, `stale` from the moment that a
# clear of the name failed; and one line for a directory, whatever names clients ask for.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m valid=off;
    rust_shared_cert_zone zone=closed:1m
        cert=closed/$ssl_server_name/cert.pem key=closed/$ssl_server_name/key.pem;
    rust_shared_cert_zone zone=small:32k;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
        location = /status { return 200 $rust_shared_cert_status; }
    }
    server {
        listen 127.0.0.1:%%PORT_closed%% ssl;
        rust_shared_cert closed;
    }
    server {
        listen 127.0.0.1:%%PORT_small%% ssl;
        rust_shared_cert small;
    }
    server {
        listen 127.0.0.1:%%PORT_control%%;
        location = /clear { rust_shared_cert_clear certs; }
    }
}
EOF

my $d = $t->dir();
my $pair = $t->install($t->pair('a.test'));
mkdir "$d/closed";
mkdir "$d/closed/there.test";
chmod 0700, "$d/closed";
$t->start();

# a clear of the name that fails

status('a.test') for 1 .. 6;
is(status('a.test'), 'hit', 'in use');
spew("$d/certs/a.test.key.pem", 'bad');
is($t->clear('?name=a.test')->{status}, 422, 'its clear fails');
is(lines('a.test'), 1, 'with a line in the log');
my %seen = map { status('a.test') => 1 } 1 .. 20;
is_deeply([sort keys %seen], ['stale'], 'and it is stale in every worker');

# again after each clear, not in between

for my $round (2, 3) {
	is($t->clear()->{status}, 200, 'a clear');
	status('a.test') for 1 .. 20;
	is(lines('a.test'), $round, "a line after clear $round");
}
$t->install($pair, only => 'key');
ok(wait_for(4, sub { status('a.test') =~ /^(?:hit|zone|file)$/ }), 'good again');

# a directory that workers may not enter: one line, and no more for any name

for my $n (1 .. 100) {
	my $got = $t->handshake('closed', "random-$n.x$n.test");
	$seen{ $got->{alert} // 'none' }++;
}
$t->handshake('closed', 'there.test') for 1 .. 10;
is($seen{112}, 100, 'unknown names are refused');
my @lines = $t->log_lines(qr/\[warn\].*zone "closed"/);
is(scalar @lines, 1, 'P15: one line for all of them') or diag(join "\n", @lines[0 .. 3]);
like($lines[0], qr!cannot be read: open\(\) "$d/closed/" failed \(13: Permission denied\)!, 'it says why');

# a zone that is too small

my @many = map { $t->install($t->pair("n$_.test")) } 1 .. 40;
is($t->handshake('small', $_->{name})->{serial}, $_->{serial}, $_->{name}) for @many;
is(scalar(() = $t->log_lines(qr/\[warn\].*no room for all certificates.*zone "small"/)), 1,
	'one line when a zone is full');

$t->done();

###############################################################################

sub status {
	my $got = $t->handshake('tls', $_[0], get => '/status');
	return $got->{body} // 'alert ' . ($got->{alert} // $got->{error});
}

sub lines { return scalar(() = $t->log_lines(qr/\[warn\].*certificate "$_[0]"/)) }
