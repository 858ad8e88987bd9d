#!/usr/bin/env perl

# P6: another size keeps what the zone holds, or fails the reload, and the old configuration goes on.

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

    rust_shared_cert_zone zone=lazy:%%LAZY%%;
    rust_shared_cert_zone zone=startup:%%STARTUP%% load=startup
        cert=%%DIR%%/root/$ssl_server_name.cert.pem key=%%DIR%%/root/$ssl_server_name.key.pem;

    server {
        listen 127.0.0.1:%%PORT_lazy%% ssl reuseport;
        rust_shared_cert lazy;

        location = /status { return 200 $rust_shared_cert_status; }
    }
    server {
        listen 127.0.0.1:%%PORT_startup%% ssl reuseport;
        rust_shared_cert startup;
    }
    server {
        listen 127.0.0.1:%%PORT_control%% %%MORE%%;
        location = /clear { rust_shared_cert_clear lazy; }
    }
}
EOF

my $d = $t->dir();
mkdir "$d/root", 0700;
my %lazy = map { $_ => $t->install($t->pair($_)) } map { "lazy$_.test" } 1 .. 3;
my %startup = map { $_ => $t->install($t->pair($_), dir => 'root') } map { "s$_.test" } 1 .. 24;
sized('256k', '256k');
$t->start();
serve_all('at first');

# what has no files any more is in the zone only: that is what tells copied from read again

$t->remove($_) for sort keys %lazy;
$t->remove($_, dir => 'root') for sort keys %startup;
rename "$d/certs", "$d/certs.away" or die $!;
rename "$d/root", "$d/root.away" or die $!;

for (['1m', '2m', 'larger'], ['128k', '64k', 'smaller'], ['256k', '64k', 'one of two'], ['256k', '256k', 'back']) {
	my ($lazy, $startup, $what) = @$_;
	sized($lazy, $startup);
	ok($t->reload(), "reload: $what");
	serve_all($what);
}

# too small for what is to stay: the reload fails, and everything goes on

my @workers = $t->worker_pids();
sized('32k', '32k');
ok(!$t->reload(), 'a reload with too small a zone is refused');
like(($t->log_lines(qr/\[emerg\]/))[-1],
	qr/zone "startup" is too small for its certificates, \d+k are needed/, 'with the size needed');
is_deeply([$t->worker_pids()], \@workers, 'the same workers');
serve_all('after a reload that was refused');

# lazy sets are no content that must stay

sized('32k', '256k');
ok($t->reload(), 'a lazy zone may be too small');
is(served('startup', 's1.test'), $startup{'s1.test'}{serial}, 'the other zone is as it was');

# a failed reload, for a reason of its own, after the zones were copied: the old zone is written to again

rename "$d/certs.away", "$d/certs" or die $!;
rename "$d/root.away", "$d/root" or die $!;
%lazy = map { $_ => $t->install($t->pair($_)) } sort keys %lazy;
is($t->clear()->{status}, 200, 'a clear');
is(served('lazy', $_), $lazy{$_}{serial}, "$_ from new files") for sort keys %lazy;
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die $!;
sized('1m', '2m', 'default; listen 127.0.0.1:' . $taken->sockport());
ok(!$t->reload(), 'a reload that fails for a port that is in use');
ok(wait_for(10, sub { $t->log_lines(qr/still could not bind/) }), 'for that');
serve_all('after it');
my $new = $t->install($t->pair('lazy1.test'));
is($t->clear()->{status}, 200, 'P6: the old zone takes a clear');
is(served('lazy', 'lazy1.test'), $new->{serial}, 'and what is new');
like(status('lazy1.test'), qr/^(?:hit|zone)$/, 'and keeps it');
close $taken;

# old workers of a zone that was replaced

$lazy{'lazy1.test'} = $new;
my @sockets = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port('lazy')) or die $! } 1 .. 4;
my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $t->port('control')) or die $!;
print $s "GET /clear HTTP/1.1\r\nHost: x\r\n";
select undef, undef, undef, 0.3;
sized('512k', '256k');
ok($t->reload(), 'reload while a request is under way');
print $s "Connection: close\r\n\r\n";
my $answer = join '', <$s>;
like($answer, qr!^HTTP/1.1 503 !, 'a clear in an old worker is refused with 503')
	or diag($answer);
serve_all('after it');
for my $round (1, 2) {
	$lazy{'lazy1.test'} = $new = $t->install($t->pair('lazy1.test'));
	is($t->clear()->{status}, 200, 'a clear, in the new zone');
	for (1, 2) {
		my $got = $t->handshake(0, 'lazy1.test', socket => shift @sockets);
		is($got->{serial}, $new->{serial}, "P2, P5: an old worker after clear $round");
	}
}

$t->allow_alert(qr/worker process .* exited/);
$t->done();

###############################################################################

sub sized {
	my ($lazy, $startup, $more) = @_;
	my $text = $conf =~ s/%%LAZY%%/$lazy/r =~ s/%%STARTUP%%/$startup/r;
	$more //= '';
	$t->conf($text =~ s/ ?%%MORE%%/ $more/r, log => 'notice');
	return;
}

sub serve_all {
	my ($when) = @_;
	my %got = (
		(map { $_ => served('lazy', $_) } keys %lazy),
		(map { $_ => served('startup', $_) } keys %startup),
	);
	my %want = map { $_->{name} => $_->{serial} } values %lazy, values %startup;
	is_deeply(\%got, \%want, "P6: $when: all serve what they served");
	return;
}

sub status { return $t->handshake('lazy', $_[0], get => '/status')->{body} }

sub served {
	my $got = $t->handshake(@_);
	return $got->{serial} // 'alert ' . ($got->{alert} // $got->{error});
}
