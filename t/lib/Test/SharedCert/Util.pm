package Test::SharedCert::Util;

# Small things that every part of Test::SharedCert uses.

use strict;
use warnings;

use Digest::SHA qw/ sha256_hex /;
use IPC::Open3;
use MIME::Base64;
use Symbol qw/ gensym /;
use Time::HiRes qw/ sleep time /;

use base qw/ Exporter /;

our @EXPORT = qw/ wait_for slurp spew run_command openssl fingerprint /;

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

sub openssl {
	my (@args) = @_;
	my $got = run_command('openssl', @args);
	die "openssl @args:\n$got->{all}" if $got->{status};
	return $got->{all};
}

1;
