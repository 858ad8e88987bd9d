#!/usr/bin/env perl

# state=DIR: what was pushed is there after a restart, a reload, a change of the zone and of the
# directory; what does not belong there is skipped; a master of another instance writes alone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $t = Test::SharedCert->new(root => 1);

my $conf = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off state=%%DIR%%/state;
    rust_shared_cert_zone zone=small:32k load=off state=%%DIR%%/small;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;
        location = /pid { return 200 $pid; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
        location /small/ { rust_shared_cert_api small write=unix; }
    }
}
EOF
$t->conf($conf);
my $dir = $t->dir() . '/state';
my $uid = getpwnam('www-data');

# it is made, closed to others

$t->start();
is_deeply([(stat $dir)[4], (stat $dir)[2] & 07777], [$uid, 0700], 'the directory is made');

my @made = map { $t->pair('a.test') } 0 .. 2;
my $other = $t->pair('b.test', key => 'rsa');
is($t->push_set($_)->{status}, $_ == $made[0] ? 201 : 200, 'pushed') for @made[0, 1];
is($t->push_set($other)->{status}, 201, 'another one');
my @stat = stat "$dir/a.test";
is_deeply([$stat[4], $stat[2] & 07777, $stat[3]], [$uid, 0600, 1], 'P7: an entry is for the workers alone');
my $shown = $t->api('GET', 'sets/a.test')->{json};

# restart

restart();
is($t->handshake('tls', 'a.test')->{serial}, $made[1]{serial}, 'a.test is there after a restart');
is($t->handshake('tls', 'b.test')->{serial}, $other->{serial}, 'b.test too');
my $again = $t->api('GET', 'sets/a.test')->{json};
is($again->{generation}, $shown->{generation}, 'its generation is the same');
is_deeply($again->{previous}, $shown->{previous}, 'the previous one is there too');

my $got;
my $back = $t->api('POST', 'sets/a.test/rollback');
is($back->{status}, 200, 'rolled back');
ok($back->{json}{generation} > $again->{generation}, 'to a later generation');
restart();
is($t->handshake('tls', 'a.test')->{serial}, $made[0]{serial}, 'what was rolled back to is there');
is($t->api('DELETE', 'sets/b.test')->{status}, 200, 'removed');
ok(!-e "$dir/b.test", 'from the disk as well');
is($t->api('DELETE', 'sets/a.test/previous')->{status}, 200, 'the previous one dropped');
is_deeply([$t->secrets_in(slurp("$dir/a.test"))], ['a.test'], 'the control: the key is on the disk');
is(index(slurp("$dir/a.test"), $made[1]{secret}), -1, 'P8: the dropped one is not');
restart();
is($t->handshake('tls', 'b.test')->{alert}, 112, 'what was removed stays so');
is($t->api('GET', 'sets/a.test')->{json}{previous}, undef, 'as does the previous one');

# reload, and a zone of another size

my $master = $t->master();
ok($t->reload(), 'reload');
is($t->handshake('tls', 'a.test')->{serial}, $made[0]{serial}, 'still there');
$t->conf($conf =~ s/certs:1m/certs:2m/r);
ok($t->reload(), 'another size');
is($t->handshake('tls', 'a.test')->{serial}, $made[0]{serial}, 'still there');
is($t->push_set($made[2])->{status}, 200, 'and pushed again');
is($t->handshake('tls', 'a.test')->{serial}, $made[2]{serial}, 'which is served');

# another directory, which gets it all

$t->conf($conf =~ s!%%DIR%%/state!%%DIR%%/moved!r);
ok($t->reload(), 'another directory');
is($t->handshake('tls', 'a.test')->{serial}, $made[2]{serial}, 'still there');
$dir = $t->dir() . '/moved';
ok(-e "$dir/a.test", 'and in the new directory');
restart();
is($t->handshake('tls', 'a.test')->{serial}, $made[2]{serial}, 'from which it comes');

# what does not belong there

$t->stop();
my $good = slurp("$dir/a.test");
entry('torn.test', substr $good, 0, length($good) - 7);
entry('foreign.test', "hello\n");
entry('renamed.test', $good);
entry('open.test', $good, 0644);
entry('Not A Name', $good);
symlink '/etc/passwd', "$dir/link.test";
entry('root.test', $good, 0600, 0);
mkdir "$dir/directory.test";
entry('.tmp-00', 'left over');
$t->start();
is($t->handshake('tls', 'a.test')->{serial}, $made[2]{serial}, 'a good entry among bad ones');
for (['torn.test', qr/incomplete or damaged/], ['foreign.test', qr/not an entry/],
	['renamed.test', qr/that of another name/], ['open.test', qr/open to group or others/],
	['Not A Name', qr/no server name/], ['link.test', qr/Too many levels|symbolic/],
	['root.test', qr/belongs to user 0/], ['directory.test', qr/not a regular file/]) {
	my ($name, $reason) = @$_;
	# the log's level is often error: a certificate must not be missing without a line
	my $level = $name eq 'Not A Name' ? 'warn' : 'error';
	my @lines = $t->log_lines(qr!\[$level\].*/\Q$name\E".*is skipped!);
	is(scalar @lines, 1, "$name is skipped");
	like("@lines", $reason, "$name: the reason");
}
ok(!-e "$dir/.tmp-00", 'what a writer left is removed');
# a writer that died before its entry was whole: nothing that can be read stands in the way of the next
entry(sprintf('.lock-%02x', $_), 'torn.test') for 0 .. 63;
is($t->push_set($t->pair('torn.test'))->{status}, 201, 'a push takes the place of a torn one');
restart();
is($t->handshake('tls', 'torn.test')->{cn}, 'torn.test', 'for good');

# a previous set that had to make room in the zone is on disk still

my %small = (prefix => '/small/');
my ($rsa, $newer) = map { $t->pair('r.test', key => 'rsa') } 1, 2;
$t->push_set($_, %small) for $rsa, $newer;
for my $n (1 .. 40) {
	last if !$t->api('GET', '', %small)->{json}{sets}{previous};
	$t->push_set($newer, as => "n$n.test", %small);
}
# renewals make it go: one of the same size where less than that is free, else a larger one
my $second = $t->pair('r.test');
$t->push_set($_, as => 'n1.test', query => 'force=1&previous=drop', %small) for $rsa, [$newer, $second];
is($t->api('GET', 'sets/r.test', %small)->{json}{previous}, undef, 'no previous set in the zone');
$t->api('DELETE', "sets/n$_.test", %small) for 1, 2;    # a set is replaced while it serves
$got = $t->api('POST', 'sets/r.test/rollback', %small);
is($got->{status}, 200, 'rolled back from disk') or diag($got->{all});
is($got->{json}{certificates}[0]{fingerprint}, $rsa->{fingerprint}, 'to the one before');
is($t->api('DELETE', 'sets/r.test/previous', %small)->{status}, 200, 'what is on disk can be dropped');
is(index(slurp($t->dir() . '/small/r.test'), $newer->{secret}), -1, 'P8: and is gone there');
is($t->api('DELETE', 'sets/r.test/previous', %small)->{status}, 404, 'once');

# mistakes

my $two = $conf =~ s/(rust_shared_cert_zone zone=certs.*)/$1 rust_shared_cert_zone zone=two:1m load=off state=%%DIR%%\/state\/;/r;
like($t->conf_error($two), qr/state directory is that of zone "certs" already/, 'two zones on one');
like($t->conf_error($conf =~ s!state=\S+!state=;!r), qr/invalid parameter "state="/, 'no directory');
like($t->conf_error($conf =~ s!state=\S+!state=%%DIR%%/nginx.conf;!r), qr/cannot use its state directory/,
	'a file');
mkdir $t->dir() . '/wide';
chmod 0755, $t->dir() . '/wide';
chown $uid, 0, $t->dir() . '/wide';
like($t->conf_error($conf =~ s!state=\S+!state=%%DIR%%/wide;!r), qr/open to group or others/, 'an open one');
like($t->conf_error($conf =~ s!state=\S+!state=/etc;!r), qr/belongs to user 0/, 'one of root');
is((stat '/etc')[4], 0, 'which stays root\'s');
symlink "$dir", $t->dir() . '/link';
like($t->conf_error($conf =~ s!state=\S+!state=%%DIR%%/link;!r), qr/link" is a symbolic link/, 'a link');
like($t->conf_error($conf =~ s!state=\S+!state=%%DIR%%/no/ne;!r),
	qr/mkdir\(\) ".*" failed \(2: No such file or directory\)/, 'one that cannot be made');
is($t->conf_error($conf =~ s!state=\S+!state=off;!r), '', 'off');
$t->conf_error($conf =~ s!state=\S+!state=%%DIR%%/none;!r);
is($t->test_status(), 0, 'one that is not there yet');
ok(!-e $t->dir() . '/none', 'a test makes none');

$t->done();

sub restart {
	$t->stop();
	$t->start();
	return;
}

sub entry {
	my ($name, $bytes, $mode, $owner) = @_;
	spew("$dir/$name", $bytes);
	chmod $mode // 0600, "$dir/$name";
	chown $owner // $uid, 0, "$dir/$name";
	return;
}
