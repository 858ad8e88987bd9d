package Test::SharedCert::Util;

# Small things that every part of Test::SharedCert uses.

use strict;
use warnings;

use Digest::SHA qw/ sha256_hex /;
use Fcntl qw/ LOCK_EX /;
use IPC::Open3;
use MIME::Base64;
use POSIX ();
use Symbol qw/ gensym /;
use Time::HiRes qw/ sleep time /;

use base qw/ Exporter /;

our @EXPORT = qw/ wait_for slurp spew run_command openssl fingerprint hold_lock /;

sub wait_for {
	my ($seconds, $condition) = @_;
	my $end = time() + $seconds;
	while (1) {
		my $got = $condition->();
		return $got if $got;
		return 0 if time() > $end;
		sleep 0.05;
	}
}

sub slurp {
	my ($file) = @_;
	open my $fh, '<:raw', $file or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

sub spew {
	my ($file, $bytes) = @_;
	open my $fh, '>:raw', $file or die "$file: $!";
	print $fh $bytes;
	close $fh or die "$file: $!";
	return;
}

# SHA-256 of a PEM certificate's DER.
sub fingerprint {
	my ($pem) = @_;
	return sha256_hex(decode_base64(join '', grep { !/-----/ } split /\n/, $pem));
}

# run_command(@argv): {status, all}, both outputs together and nothing on the input.
sub run_command {
	my (@command) = @_;
	open my $null, '<', '/dev/null' or die $!;
	my $out = gensym;
	my $pid = open3('<&' . fileno($null), $out, undef, @command);
	my $all = do { local $/; <$out> } // '';
	waitpid $pid, 0;
	return { status => $? >> 8, signal => $? & 127, all => $all };
}

# hold_lock(PATH, UID): a process of that user that has the lock of the file (flock), until it is killed.
sub hold_lock {
	my ($path, $uid) = @_;
	pipe my $from, my $to or die;
	my $pid = fork() // die;
	if (!$pid) {
		POSIX::setuid($uid);
		open my $file, '+<', $path or POSIX::_exit(1);
		flock $file, LOCK_EX or POSIX::_exit(1);
		syswrite $to, '1';
		sleep 60;
		POSIX::_exit(0);
	}
	close $to;
	sysread($from, my $byte, 1) or die "no lock of $path";
	return $pid;
}

sub openssl {
	my (@args) = @_;
	my $got = run_command('openssl', @args);
	die "openssl @args:\n$got->{all}" if $got->{status};
	return $got->{all};
}

1;
