#!/usr/bin/perl
# Full TLS 1.3 handshakes, one after the other: for what counts instructions, and need not be built.
#
#   bench/handshakes.pl ADDR NAME COUNT
use strict;
use warnings;

use IO::Select;
use IO::Socket::SSL;
use Time::HiRes qw/ sleep /;

# So many connections are closed together, when the server has done with all of them and waits: would
# one be closed meanwhile, what the server does were a matter of time.
use constant TOGETHER => 50;

my ($addr, $name, $count) = @ARGV;
my $context = IO::Socket::SSL::SSL_Context->new(
    SSL_version     => 'TLSv1_3',
    SSL_verify_mode => SSL_VERIFY_NONE,
) or die "no context: $SSL_ERROR\n";

while ($count > 0) {
    my @sockets = map { handshake() } 1 .. ($count < TOGETHER ? $count : TOGETHER);
    sleep(0.5);
    $_->close() for @sockets;
    $count -= @sockets;
}

sub handshake {
    my $socket = IO::Socket::SSL->new(
        PeerAddr      => $addr,
        SSL_hostname  => $name,
        SSL_reuse_ctx => $context,
    ) or die "handshake: $SSL_ERROR\n";

    # The server's last word is a ticket.
    IO::Select->new($socket)->can_read(10) or die "no ticket\n";
    return $socket;
}
