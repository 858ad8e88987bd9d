#!/usr/bin/env perl

# P8: a key that was replaced, evicted or is gone is in no worker's memory any more: not in the zone,
# and ten seconds later not in what the workers had parsed. Each absence has its positive control.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert;

my $ZONE = 1112 * 1024;    # no other mapping has these sizes
my $SMALL = 116 * 1024;

my $t = Test::SharedCert->new(root => 1);

$t->conf(<<'EOF', log => 'info');
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1112k;
    rust_shared_cert_zone zone=small:116k worker_cache=1
        cert=small/$ssl_server_name.cert.pem key=small/$ssl_server_name.key.pem;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl reuseport;
        rust_shared_cert certs;

        location = /pid { return 200 $pid; }
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

mkdir $t->dir() . '/small';
my $old = $t->install($t->pair('a.test'));
my $new = $t->pair('a.test');
my $rsa = $t->install($t->pair('rsa.test', key => 'rsa'));
my $gone = $t->install($t->pair('gone.test'));
my $cleared = $t->install($t->pair('cleared.test', key => 'ed25519'));

$t->start();
my @pids = $t->worker_pids();
for my $name ('a.test', 'rsa.test', 'gone.test', 'cleared.test') {
	my $seen = $t->seen_by_all('tls', $name);
	is(scalar keys %$seen, 2, "$name is served by both workers");
}

# the controls: what is current can be found

for my $pair ($old, $rsa, $gone, $cleared) {
	ok(in_zone($pair), "$pair->{name}: the key is in the zone");
}
is_deeply([in_workers($old)], \@pids, 'a.test: the parsed key is in both workers');

my ($flags) = slurp("/proc/$pids[0]/smaps") =~ zone_flags();
like($flags // '', qr/\bdd\b/, 'P8: the zone is left out of core dumps');

# replaced

$t->install($new);
is($t->clear()->{status}, 200, 'clear');
is($t->handshake('tls', 'a.test')->{serial}, $new->{serial}, 'replaced');
ok(in_zone($new), 'the new key is in the zone');
ok(!in_zone($old), 'P8: the replaced key is not');

$old = $new;
$new = $t->install($t->pair('a.test'));
is($t->clear('?name=a.test')->{status}, 200, 'replaced by a clear of the name');
ok(in_zone($new), 'the new key is in the zone');
ok(!in_zone($old), 'P8: the replaced key is not');

# cleared, and read again from the same files: one copy, which serves

is($t->handshake('tls', 'cleared.test')->{serial}, $cleared->{serial}, 'cleared and read again');
is(copies($cleared), 1, 'P8: one copy of its key');

# gone

$t->remove('gone.test');
$t->clear();
is($t->handshake('tls', 'gone.test')->{serial}, $gone->{serial}, 'without files, the last good');
wait_for(8, sub {
	select undef, undef, undef, 0.6;
	return $t->handshake('tls', 'gone.test')->{error};
});
is($t->handshake('tls', 'gone.test')->{alert}, 112, 'then the name is gone');
ok(!in_zone($gone), 'P8: and its key');

# evicted

my @many = map { $t->install($t->pair("$_.test", key => 'rsa'), dir => 'small') } 1 .. 6;
for my $n (7 .. 80) {
	push @many, $t->install($t->pair("$n.test", key => 'rsa', reuse => $many[$n % 6]), dir => 'small');
}
my $first = $t->install($t->pair('first.test'), dir => 'small');
is($t->handshake('small', 'first.test')->{serial}, $first->{serial}, 'in a small zone');
ok(in_zone($first, $SMALL), 'the key is in the small zone');

my $wrong = grep { ($t->handshake('small', $_->{name})->{serial} // '') ne $_->{serial} } @many;
is($wrong, 0, 'more names than the zone holds are served');
ok(!in_zone($first, $SMALL), 'P8: the key of the evicted set is not in the zone');

# what the workers had parsed; they are idle from here on

is($t->handshake('tls', 'a.test')->{serial}, $new->{serial}, 'the current one is served');
select undef, undef, undef, 11;
for my $pid (@pids) {
	my $memory = $t->private_memory($pid);
	is(join(' ', map { $_->{name} } grep { has_key($memory, $_) } $old, $gone), '',
		"P8: idle worker $pid has dropped what is not current");
}
ok((grep { has_key($t->private_memory($_), $new) } @pids) > 0, 'and has the current key');

$t->done();

###############################################################################

sub in_zone { return copies(@_) > 0 }

sub copies {
	my ($pair, $size) = @_;
	my $bytes = $t->zone_bytes($pids[0], $size // $ZONE);
	my $copies = () = $bytes =~ /\Q$pair->{secret}\E/g;
	return $copies;
}

sub in_workers {
	my ($pair) = @_;
	return grep { has_key($t->private_memory($_), $pair) } @pids;
}

# As the file has it, as DER has it, or as OpenSSL's numbers have it: the least word first.
sub has_key {
	my ($memory, $pair) = @_;
	my ($line) = $pair->{key} =~ /-----\n(.+?)\n/;
	return grep { index($memory, $_) >= 0 }
		$pair->{secret}, scalar(reverse $pair->{secret}), substr($line, 36);
}

# VmFlags of the mapping of the zone's size.
sub zone_flags {
	my ($from) = $t->zone_range($pids[0], $ZONE);
	my $start = sprintf '%x', $from;
	return qr/^$start-.*?^VmFlags:([^\n]*)/ms;
}
