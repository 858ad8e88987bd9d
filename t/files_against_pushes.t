#!/usr/bin/env perl

# A name that was pushed and has files too, in a lazy zone: the files take its place when they hold
# something else than when it was pushed, and good; at their own time, not at the push's cost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw/ sleep /;
use Test::SharedCert;

my $t = Test::SharedCert->new();

$t->conf(<<'EOF', log => 'notice');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m valid=1s;

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

my @names = ('a.test', 'www.a.test');
my $file = $t->install($t->pair('a.test', san => \@names));
my $lazy = $t->install($t->pair('www.a.test'));
my $other = $t->install($t->pair('other.test'));
$t->start();
my @pids = $t->worker_pids();
is(served('a.test'), $file->{serial}, 'files serve at first');
is(served('www.a.test'), $lazy->{serial}, 'each name by its own');

# a push over files that did not change

my $pushed = $t->pair('a.test', san => [@names, 'new.a.test']);
is($t->push_set($pushed)->{status}, 200, 'pushed');
serves($pushed, @names, 'new.a.test');
ok(!changes('a.test', $pushed), 'files that did not change do not come back');
is($t->api('POST', 'clear')->{status}, 200, 'a clear');
ok(!changes('a.test', $pushed), 'nor after a clear');
is($t->api('POST', 'clear?name=www.a.test')->{json}{changed}, JSON::PP::false, 'nor by a clear of a name');
is(show()->{source}, 'pushed', 'it is the pushed one');

# the same content in the files

$t->install($pushed);
ok(!changes('a.test', $pushed), 'files that hold what was pushed');
is(show()->{source}, 'pushed', 'do not take its place');
is(notices(), 0, 'and nothing is told');

# files that are bad

spew($t->dir() . '/certs/a.test.key.pem', $other->{key});
ok(!changes('a.test', $pushed), 'files that are bad');
my $error;
ok(wait_for(3, sub { served('a.test'); $error = show()->{last_error} }), 'are shown');
is($error->{reason}, 'mismatch', 'with the reason');
like($error->{detail}, qr/key does not match/, 'in words too');
ok(abs($error->{since} - time) < 20, 'and since when');
is(scalar $t->log_lines(qr/\[warn\].*"a.test".*key does not match.*what was pushed is served/), 1,
	'one line says so');
is(status('a.test'), 'hit', 'what was pushed is no last good');
sleep 1.5;
served('a.test');
is(show()->{last_error}{since}, $error->{since}, 'which stays as it is');
is($t->api('POST', 'clear?name=a.test')->{status}, 422, 'a clear of the name says so');

# files of another: good in themselves

$t->install({ %$other, name => 'a.test' });
ok(!changes('a.test', $pushed), "files with another's certificate");
ok(wait_for(3, sub { served('a.test'); (show()->{last_error} // {})->{reason} eq 'not_covered' }), 'are shown');
is(served('www.a.test'), $pushed->{serial}, 'and end no name');
is(served('other.test'), $other->{serial}, 'nor take one');

# as they were before: good, and no change

$t->install($pushed);
ok(wait_for(4, sub { served('a.test'); !defined show()->{last_error} }), 'good again');
is(show()->{source}, 'pushed', 'as they were: no change');

# renewed

my $renewed = $t->install($t->pair('a.test', san => [@names, 'more.a.test']));
ok(wait_for(4, sub { served('a.test') eq $renewed->{serial} }), 'renewed files serve');
serves($renewed, @names, 'more.a.test');
is(served('new.a.test'), 'alert 112', 'and not the names that they do not have');
is(show()->{source}, 'startup', 'for all their names');
is(notices(), 1, 'one line says so');
is(status('a.test'), 'hit', 'it is served as any other');

# and again, without a push

$renewed = $t->install($t->pair('a.test', san => \@names));
ok(wait_for(4, sub { served('www.a.test') eq $renewed->{serial} }), 'renewed again, by another of its names');
is(notices(), 1, 'no line: nothing was pushed meanwhile');

# rolled back: the bad certificate is still in the files

my $good = $t->pair('a.test', san => \@names);
$t->push_set($good);
my $bad = $t->pair('a.test', san => \@names);
$t->push_set($bad);
$t->install($bad);
is($t->api('POST', 'sets/a.test/rollback')->{status}, 200, 'rolled back');
ok(!changes('a.test', $good), 'the files with what was rolled back from');
$t->api('POST', 'clear');
ok(!changes('a.test', $good), 'nor after a clear');
ok($t->reload(), 'reload');
@pids = $t->worker_pids();
ok(!changes('a.test', $good), 'nor after a reload');
$renewed = $t->install($t->pair('a.test', san => \@names));
is($t->api('POST', 'clear?name=a.test')->{json}{changed}, JSON::PP::true, 'renewed: by a clear of the name');
serves($renewed, @names);
is(notices(), 2, 'another line');

# files that workers cannot read, when it is pushed and after

my $closed = $t->install($t->pair('closed.test'));
chmod 0, $t->dir() . '/certs/closed.test.key.pem' or die $!;
my $set = $t->pair('closed.test');
is($t->push_set($set)->{status}, 201, 'pushed over files that cannot be read');
ok(!changes('closed.test', $set), 'it serves');
ok(wait_for(3, sub { served('closed.test'); show('closed.test')->{last_error} }), 'the files are shown');
is(show('closed.test')->{last_error}{reason}, 'unreadable', 'as what they are');
chmod 0644, $t->dir() . '/certs/closed.test.key.pem' or die $!;
ok(wait_for(4, sub { served('closed.test'); !defined show('closed.test')->{last_error} }),
	'until they can be read');
ok(!changes('closed.test', $set), 'what they held then is not known: no change');
my $new = $t->install($t->pair('closed.test'));
ok(wait_for(4, sub { served('closed.test') eq $new->{serial} }), 'a renewal is one');

# no files at all, and then some

my $alone = $t->pair('alone.test');
$t->push_set($alone);
ok(!changes('alone.test', $alone), 'a push without files does not end');
$alone = $t->install($t->pair('alone.test'));
ok(wait_for(4, sub { served('alone.test') eq $alone->{serial} }), 'files that come serve');

# removed from the zone: the files again

my $last = $t->pair('a.test', san => [@names, 'new.a.test']);
$t->push_set($last);
serves($last, @names, 'new.a.test');
is($t->api('DELETE', 'sets/a.test')->{status}, 200, 'removed');
serves($renewed, 'a.test');
serves($lazy, 'www.a.test');
is(show()->{source}, 'lazy', 'by handshakes');
is(served('new.a.test'), 'alert 112', 'what no file has is gone');

# a refused push is shown, and one that is taken mends it

is($t->api('PUT', 'sets/a.test', body => $last->{cert} . $other->{key})->{status}, 422, 'refused');
is(show()->{last_error}{reason}, 'refused_push', 'and shown');
is($t->push_set($last)->{status}, 200, 'one that is taken');
is(show()->{last_error}, undef, 'mends it');
$t->api('PUT', 'sets/a.test?dry_run=1', body => $last->{cert} . $other->{key});
is(show()->{last_error}, undef, 'a dry run changes nothing');

is_deeply([$t->worker_pids()], \@pids, 'the same workers');
$t->done();

###############################################################################

sub served {
	my $got = $t->handshake('tls', @_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}

sub status { return $t->handshake('tls', $_[0], get => '/status')->{body} }

sub show { return $t->api('GET', 'sets/' . ($_[0] // 'a.test'))->{json} }

sub notices {
	return scalar(() = $t->log_lines(qr/\[notice\].*"a.test": its files changed and take the place/));
}

# Whether anything else is served within the time for a look and some.
sub changes {
	my ($name, $pair) = @_;
	return wait_for(2.5, sub { served($name) ne $pair->{serial} });
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
