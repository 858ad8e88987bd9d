#!/usr/bin/env perl

# Two masters on one state directory, while one binary takes over from another: only one of them
# acknowledges writes, and what it acknowledged is there in whichever lives on.

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

    rust_shared_cert_zone zone=certs:1m load=off state=%%DIR%%/state;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
        location = /pid { return 200 $pid; }
    }

    server {
        listen 127.0.0.1:%%PORT_api%%;
        add_header X-Pid $pid always;
        location /certs/ { rust_shared_cert_api certs write=on; }
    }
}
EOF

my $d = $t->dir();
my @pairs = map { $t->pair('a.test') } 0 .. 5;
my $n = 0;
$t->start(daemon => 1);    # a master in the foreground takes no USR2
my $old = $t->master();
is(pushed(1)->{status}, 201, 'pushed');

# a lock that another process has: the new one does not begin, and the old one goes on

my $holder = hold_lock("$d/state/.claim", scalar getpwnam 'www-data');
kill 'USR2', $old;
ok(wait_for(20, sub { $t->log_lines(qr!\[emerg\].*/state/\.claim" is locked by another process!) }), 'no second master');
ok(wait_for(10, sub { -e "$d/nginx.pid" }), 'the pid file is back');
served('the old one serves', $old);
is(pushed(2)->{status}, 200, 'and takes writes');
kill 'KILL', $holder;
waitpid $holder, 0;

# with both, only the new one writes

my $new = $t->upgrade();
served('the new one has what was pushed', $new);
my %status;
for (1 .. 100) {
	my $got = $t->push_set($pairs[5], port => 'api');
	$status{ master_of($got) }{ $got->{status} }++;
	is($got->{headers}{'retry-after'}, 2, 'the other says when to try again') if $got->{status} == 503
		&& $status{ master_of($got) }{503} == 1;
	last if keys %status == 2;
}
$n = 5;
is(join(' ', keys %{ $status{$old} // { none => 1 } }), 503, 'the old master\'s workers take no writes');
ok(!grep({ $_ != 200 } keys %{ $status{$new} // { none => 1 } }), 'the new one\'s do');
served('and serve them', $new);

# back: the new one ends, and the old one has what that was told

kill 'QUIT', $new;
ok(wait_for(20, sub { !-d "/proc/$new" }), 'the new master ends');
ok(wait_for(10, sub { served_serial($old) eq $pairs[5]{serial} }), 'the old one serves what it was told');
is(pushed(2)->{status}, 200, 'and takes writes again');
served('which are served', $old);

# up, for good: WINCH and QUIT to the old one

ok(wait_for(10, sub { -e "$d/nginx.pid" }), 'the pid file is back');
$new = $t->upgrade();
served('the next one has it', $new);
kill 'QUIT', $old;
ok(wait_for(20, sub { !-d "/proc/$old" }), 'the old master ends');
$t->{master} = $new;
is(pushed(3)->{status}, 200, 'writes go on');
served('and are served', $new);

# killed: nothing of it stands in the way of the next

kill 'KILL', $new, $t->workers_of($new);
wait_for(10, sub { !-d "/proc/$new" });
delete $t->{master};
$t->start(daemon => 1);
served('after a kill', $t->master());
is(pushed(4)->{status}, 200, 'writes go on after a kill');
ok(!$t->log_lines(qr/another NGINX/), 'no master is taken for one of another NGINX');
is(scalar(my @files = glob "$d/state/.instance-*"), 1, 'one instance is left');
$t->allow_alert(qr/exited on signal 9/);
$t->done();

sub pushed {
	($n) = @_;
	return $t->push_set($pairs[$n], port => 'api');
}


sub master_of {
	my ($got) = @_;
	my $pid = $got->{headers}{'x-pid'} // return 'none';
	my ($parent) = (eval { slurp("/proc/$pid/status") } // '') =~ /^PPid:\s+(\d+)/m;
	return $parent // 'gone';
}

sub served_serial {
	my ($master) = @_;
	for (1 .. 200) {
		my $got = $t->handshake('tls', 'a.test', get => '/pid');
		my ($parent) = (eval { slurp("/proc/$got->{body}/status") } // '') =~ /^PPid:\s+(\d+)/m;
		return $got->{serial} if ($parent // 0) == $master;
	}
	return 'none';
}

sub served {
	my ($what, $master) = @_;
	is(served_serial($master), $pairs[$n]{serial}, $what);
	return;
}
