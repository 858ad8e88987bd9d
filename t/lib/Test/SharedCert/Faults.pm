package Test::SharedCert::Faults;

# Faults of the build for tests: a process that is killed or stopped at one of the stores that it does to a
# zone while it holds the zone's lock. See src/ffi/fault.rs.

use strict;
use warnings;

use Test::SharedCert::Util;

use constant NEVER => ~0;

# Before start().
sub with_faults {
	my ($self) = @_;
	my $path = "$self->{dir}/faults";
	spew($path, pack 'Q5', NEVER, 9, 0, 0, NEVER);
	chmod 0666, $path;
	open $self->{faults}, '+<:raw', $path or die "$path: $!";
	$ENV{TEST_SHARED_CERT_FAULTS} = $path;
	return $self;
}

# arm($stores, 'KILL' or 'STOP', $next): after so many stores; then another process after so many of its.
sub arm {
	my ($self, $stores, $signal, $next) = @_;
	_set($self, 2, 0, 0, $next // NEVER);
	_set($self, 0, $stores, ($signal // 'KILL') eq 'KILL' ? 9 : 19);
	return;
}

# The pid of the process that had the fault last, 0 when there was none; no other will have it.
sub disarm {
	my ($self) = @_;
	_set($self, 4, NEVER);
	_set($self, 0, NEVER);
	return (_get($self))[3];
}

# struck(): the pid, once it is dead or stopped; 0 when nothing has happened.
sub struck {
	my ($self) = @_;
	my $pid = (_get($self))[3] or return 0;
	my $state = sub { ((eval { slurp("/proc/$pid/stat") } // ') gone') =~ /.*\) (\S+)/)[0] };
	wait_for(10, sub { $state->() =~ /^(?:T|Z|X|gone)$/ }) or die "$pid goes on";
	return $pid;
}

# stores_of(sub): how many stores it makes NGINX do, all workers together.
sub stores_of {
	my ($self, $do) = @_;
	_set($self, 2, 0);
	$do->();
	return (_get($self))[2];
}

sub _set {
	my ($self, $word, @values) = @_;
	sysseek $self->{faults}, 8 * $word, 0;
	syswrite $self->{faults}, pack('Q*', @values) or die "faults: $!";
	return;
}

sub _get {
	my ($self) = @_;
	sysseek $self->{faults}, 0, 0;
	sysread $self->{faults}, my $words, 40 or die "faults: $!";
	return unpack 'Q5', $words;
}

1;
