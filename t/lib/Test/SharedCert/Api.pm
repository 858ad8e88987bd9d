package Test::SharedCert::Api;

# Calls of rust_shared_cert_api, over a unix socket or a port, as any user.

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP;
use POSIX ();

use Test::SharedCert::Util;

# api('PUT', 'sets/a.test?add=1', %opt): {status, headers, body, json}, or {error}. Options:
#   body, headers => { Name => value }, prefix ('/certs/'),
#   socket => a path ("DIR/api.sock"), port => a name or number, in place of the socket,
#   chunks => [...] in place of the body, uid => a number: who connects, raw => the whole request,
#   cut => how many bytes of the request are sent before the connection is closed.
sub api {
	my ($self, $method, $path, %opt) = @_;
	return _as($opt{uid}, sub { $self->_call($method, $path, %opt) }) if defined $opt{uid};
	return $self->_call($method, $path, %opt);
}

sub _call {
	my ($self, $method, $path, %opt) = @_;
	my $s = $self->api_connect(%opt) or return { error => "connect: $!" };
	my $request = $opt{raw} // $self->api_request($method, $path, %opt);
	$request = substr $request, 0, $opt{cut} if defined $opt{cut};
	print $s $request;
	$s->flush();
	if (defined $opt{cut}) {
		close $s;
		return {};
	}
	my $answer = join '', <$s>;
	close $s;
	return _answer($answer);
}

sub api_connect {
	my ($self, %opt) = @_;
	if (my $port = $opt{port}) {
		$port = $self->port($port) if $port !~ /^\d+$/;
		return IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 20);
	}
	return IO::Socket::UNIX->new(Peer => $opt{socket} // $self->dir() . '/api.sock', Timeout => 20);
}

# The text of a request, for what api_connect() gives.
sub api_request {
	my ($self, $method, $path, %opt) = @_;
	my $prefix = $opt{prefix} // '/certs/';
	my %headers = (Host => 'localhost', Connection => 'close', %{ $opt{headers} // {} });
	my $body = $opt{body} // '';
	if ($opt{chunks}) {
		$headers{'Transfer-Encoding'} = 'chunked';
		$body = join '', map { sprintf "%x\r\n%s\r\n", length, $_ } @{ $opt{chunks} }, '';
	} elsif (defined $opt{body} || $method =~ /^(?:PUT|POST)$/) {
		$headers{'Content-Length'} //= length $body;
	}
	return "$method $prefix$path HTTP/1.1\r\n"
		. join('', map { "$_: $headers{$_}\r\n" } sort keys %headers) . "\r\n$body";
}

sub _answer {
	my ($answer) = @_;
	my ($head, $body) = split /\r\n\r\n/, $answer, 2;
	my %got = (all => $answer, body => $body // '');
	($got{status}) = $answer =~ m!^HTTP/1\.\d (\d+)!;
	$got{headers} = { map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } split /\r\n/, $head // '' };
	$got{json} = eval { decode_json($got{body}) };
	return \%got;
}

# Runs it in a process of that user; its result has to be plain data.
sub _as {
	my ($uid, $do) = @_;
	pipe my $read, my $write or die "pipe: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0) {
		$( = $) = "$uid $uid";
		POSIX::setgid($uid);
		POSIX::setuid($uid);
		my $got = $> == $uid && $< == $uid ? eval { $do->() } // { error => $@ } : { error => 'setuid' };
		print $write encode_json($got);
		close $write;
		POSIX::_exit(0);
	}
	close $write;
	my $text = do { local $/; <$read> };
	waitpid $pid, 0;
	return decode_json($text);
}

# bundle(@pairs): the body of a push.
sub bundle {
	my ($self, @pairs) = @_;
	return join '', map { $_->{cert}, $_->{key} } @pairs;
}

# push_set($pair or [@pairs], as => NAME, query => 'add=1', ...): PUT, options as for api().
sub push_set {
	my ($self, $pairs, %opt) = @_;
	my @pairs = ref $pairs eq 'ARRAY' ? @$pairs : $pairs;
	my $name = $opt{as} // $pairs[0]{name};
	my $query = defined $opt{query} ? "?$opt{query}" : '';
	return $self->api('PUT', "sets/$name$query", body => $self->bundle(@pairs), %opt);
}

# metrics(%opt): the samples of GET metrics by what they are, without nginx_shared_cert_ and the label
# zone: { 'sets{source="lazy"}' => 1, evictions_total => 0 }. query => 'names=0'; options as for api().
sub metrics {
	my ($self, %opt) = @_;
	my $query = defined $opt{query} ? "?$opt{query}" : '';
	my $text = $self->api('GET', "metrics$query", %opt)->{body};
	my %samples;
	for my $line (grep { !/^#/ } split /\n/, $text) {
		my ($name, $labels, $value) = $line =~ /^nginx_shared_cert_(\w+)\{zone="\w+",?(.*)\} (\S+)$/
			or die "no sample: $line";
		$samples{ $labels eq '' ? $name : "$name\{$labels}" } = $value;
	}
	return \%samples;
}

1;
