#!/usr/bin/env perl

# A name that was pushed and has files too, which the master reads: at a reload they take its place when
# they hold something else than when it was pushed, and good. What was read so stays in a lazy zone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw/ sleep time /;
use Test::SharedCert;

my $t = Test::SharedCert->new();
configure('load=startup');

my @names = ('a.test', 'www.a.test');
my $file = $t->install($t->pair('a.test', san => \@names));
$t->install($t->pair('other.test'));
sleep 3;    # files that were written within the last tick of a clock are read again
$t->start();
is(served('a.test'), $file->{serial}, 'files serve at first');

# over files that did not change

my $pushed = $t->pair('a.test', san => [@names, 'new.a.test']);
is($t->push_set($pushed)->{status}, 200, 'pushed');
reload('files that did not change');
serves($pushed, @names, 'new.a.test');
like(last_count(), qr/2 certificates looked at, 2 of them unchanged/, 'they are not read');
$t->install($file);
reload('files that were written anew');
serves($pushed, @names);

# the same content

$t->install($pushed);
reload('files that hold what was pushed');
is(show()->{source}, 'pushed', 'do not take its place');
is(notices(), 0, 'and nothing is told');

# bad

spew($t->dir() . '/certs/a.test.key.pem', 'nothing');
sleep 3;    # else the master waits for the rest
reload('bad files');
serves($pushed, @names);
is(status('a.test'), 'hit', 'what was pushed is no last good');
my $error = show()->{last_error};
is($error->{reason}, 'not_pem', 'they are shown');
is(scalar $t->log_lines(qr/\[warn\].*"a.test".*not PEM.*what was pushed is served/), 1, 'one line');
sleep 1.1;
reload('bad still');
is(show()->{last_error}{since}, $error->{since}, 'since the first time');
$t->install($pushed);
reload('good again');
is(show()->{last_error}, undef, 'nothing is wrong');
is(show()->{source}, 'pushed', 'and nothing changed');

# renewed

my $renewed = $t->install($t->pair('a.test', san => [@names, 'more.a.test']));
reload('renewed files');
serves($renewed, @names, 'more.a.test');
is(served('new.a.test'), 'alert 112', 'and not the names that they do not have');
is(show()->{source}, 'startup', 'as read at a start');
is(notices(), 1, 'one line says so');
reload('once more');
is(notices(), 1, 'once');

# rolled back: the bad certificate is still in the files

my $good = $t->pair('a.test', san => \@names);
$t->push_set($good);
my $bad = $t->install($t->pair('a.test', san => \@names));
reload('other files again');
is(served('a.test'), $bad->{serial}, 'serve');
$t->push_set($good);
is($t->api('POST', 'sets/a.test/rollback')->{status}, 200, 'forth');
is($t->api('POST', 'sets/a.test/rollback')->{status}, 200, 'and rolled back');
reload('the files are those that were rolled back from');
serves($good, @names);
$t->install($bad);
reload('written anew');
serves($good, @names);
$renewed = $t->install($t->pair('a.test', san => \@names));
reload('renewed');
serves($renewed, @names);
is(notices(), 3, 'a line for each time');

# without files: neither removed nor waited for

my $alone = $t->pair('alone.test');
$t->push_set($alone);
$t->push_set($t->pair('a.test', san => \@names)) and $t->remove('a.test');
my $begin = time();
reload('no files');
cmp_ok(time() - $begin, '<', 1, 'the reload does not wait');
is(show()->{source}, 'pushed', 'what was pushed stays');
serves($alone, 'alone.test');
my $back = $t->install($t->pair('a.test', san => \@names));
$alone = $t->install($t->pair('alone.test'));
reload('files that come');
serves($back, @names);
serves($alone, 'alone.test');

# to a lazy zone: all stays, with all names, until its files change or end

my $kept = $t->pair('a.test', san => [@names, 'kept.a.test']);
$t->push_set($kept);
configure('valid=1s');
reload('to load=lazy');
serves($kept, @names, 'kept.a.test');
serves($alone, 'alone.test');
is(show('alone.test')->{source}, 'startup', 'as it was read');
ok(!wait_for(2.5, sub { served('alone.test') ne $alone->{serial} || served('a.test') ne $kept->{serial} }),
	'files that did not change');
$alone = $t->install($t->pair('alone.test', san => ['alone.test', 'www.alone.test']));
ok(wait_for(4, sub { served('alone.test') eq $alone->{serial} }), 'renewed files serve');
serves($alone, 'www.alone.test');
is(scalar $t->log_lines(qr/"alone.test": its files changed/), 1, 'no line but that for the push');
$t->remove('alone.test');
ok(wait_for(6, sub { served('alone.test') eq 'alert 112' }), 'files that are removed end it');
is(served('www.alone.test'), 'alert 112', 'with all its names');
serves($kept, @names, 'kept.a.test');

# and to one without files

$t->install($t->pair('a.test', san => \@names));
configure('load=off');
reload('to load=off');
ok(!wait_for(2.5, sub { served('a.test') ne $kept->{serial} }), 'no files are looked at');

$t->done();

###############################################################################

sub configure {
	my ($parameters) = @_;
	$t->conf(<<'EOF' =~ s/%%PARAMETERS%%/$parameters/r, log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m %%PARAMETERS%%;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
        location = /status { return 200 $rust_shared_cert_status; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF
	return;
}

sub reload {
	my ($what) = @_;
	ok($t->reload(), "reload: $what");
	return;
}

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}

# In a worker that has it in its cache.
sub status {
	served($_[0]) for 1 .. 8;
	return $t->handshake('tls', $_[0], get => '/status')->{body};
}

sub show { return $t->api('GET', 'sets/' . ($_[0] // 'a.test'))->{json} }

sub last_count { return ($t->log_lines(qr/\[notice\].*looked at/))[-1] }

sub notices {
	return scalar(() = $t->log_lines(qr/\[notice\].*"a.test": its files changed and take the place/));
}

sub serves {
	my ($pair, @of) = @_;
	for my $name (@of) {
		my $seen = $t->seen_by_all('tls', $name);
		my @wrong = grep { ($_->[-1]{serial} // '') ne $pair->{serial} } values %$seen;
		ok(keys %$seen == 2 && !@wrong, "$name is served by all workers");
	}
	return;
}
