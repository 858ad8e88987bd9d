package Test::SharedCert::Memory;

# What a worker has in its memory.

use strict;
use warnings;
no warnings 'portable';    # addresses have more than 32 bits

use Test::SharedCert::Util;

# zone_range($pid, $bytes): first and last address of the shared mapping of that size.
sub zone_range {
	my ($self, $pid, $bytes) = @_;
	for (split /\n/, slurp("/proc/$pid/maps")) {
		my ($from, $to, $rights) = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/ or next;
		next unless $rights =~ /s$/ && hex($to) - hex($from) == $bytes;
		return (hex $from, hex $to);
	}
	die "no shared mapping of $bytes bytes";
}

sub zone_bytes {
	my ($self, $pid, $bytes) = @_;
	return read_memory($pid, $self->zone_range($pid, $bytes));
}

# private_memory($pid): what the process can write to and shares with nobody, as one string.
sub private_memory {
	my ($self, $pid) = @_;
	my @parts;
	for (split /\n/, slurp("/proc/$pid/maps")) {
		my ($from, $to, $rights, $rest) = /^([0-9a-f]+)-([0-9a-f]+) (\S+) (.*)/ or next;
		next unless $rights =~ /^rw.p/ && $rest !~ /\[vvar|\[vdso/;
		push @parts, read_memory($pid, hex $from, hex $to);
	}
	return join "\0" x 8, @parts;
}

sub read_memory {
	my ($pid, $from, $to) = @_;
	open my $fh, '<:raw', "/proc/$pid/mem" or die "/proc/$pid/mem: $!";
	my $bytes = '';
	sysseek $fh, $from, 0 or die "seek: $!";
	while (length $bytes < $to - $from) {
		my $read = sysread $fh, $bytes, $to - $from - length $bytes, length $bytes;
		last unless $read;    # a page that is not there
	}
	return $bytes;
}

# rss($pid): KiB of anonymous memory, without what is mapped from files or shared.
sub rss {
	my ($self, $pid) = @_;
	my ($kib) = slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;
	return $kib;
}

1;
