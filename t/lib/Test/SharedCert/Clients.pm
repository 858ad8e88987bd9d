package Test::SharedCert::Session;

# What IO::Socket::SSL asks of a session cache.

sub add_session { $_[0]{session} = $_[2]; return }
sub get_session { return $_[0]{session} }
sub del_session { return }

package Test::SharedCert::Clients;

# TLS clients: IO::Socket::SSL, openssl s_client and curl; and plain HTTP for the clear handler.

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::SSL;
use JSON::PP;
use Net::SSLeay;
use POSIX ();

use Test::SharedCert::Util;

# handshake($port, $sni, %opt): one new connection by IO::Socket::SSL. $port is a name or a number,
# $sni may be undef. Options: version ('TLSv1_2'), ciphers, get => '/path' (a request after the
# handshake, its body in {body}), verify => CA name, session => new_session(), kept from call to call,
# socket => a TCP connection, cert/key => PEM files of a client, context => SSL_CTX options.
# Returns {ok, serial, cn, fingerprint, version, cipher, chain, resumed, body} or {error, alert}.
sub handshake {
	my ($self, $port, $sni, %opt) = @_;
	$port = $self->port($port) if $port !~ /^\d+$/;
	my %ssl = (
		SSL_verify_mode => SSL_VERIFY_NONE, SSL_hostname => $sni // '', Timeout => 20,
		SSL_verifycn_scheme => 'none',
	);
	$ssl{SSL_version} = $opt{version} if $opt{version};
	$ssl{SSL_cipher_list} = $opt{ciphers} if $opt{ciphers};
	if (my $ca = $opt{verify}) {
		$ssl{SSL_verify_mode} = SSL_VERIFY_PEER;
		$ssl{SSL_ca_file} = $self->ca($ca)->{file};
		@ssl{qw/ SSL_verifycn_scheme SSL_verifycn_name /} = ('http', $sni) if defined $sni;
	}
	if ($opt{cert}) {
		@ssl{qw/ SSL_cert_file SSL_key_file /} = @opt{qw/ cert key /};
	}

	# a context costs more than a handshake
	my $key = join ' ', map { "$_=$ssl{$_}" } grep { !/hostname|verifycn/ } sort keys %ssl;
	my $keep = $opt{session} // $self;    # OpenSSL ends the sessions of a context with the context
	@ssl{qw/ SSL_session_cache SSL_session_key /} = ($opt{session}, 'session') if $opt{session};
	$ssl{SSL_reuse_ctx} = $keep->{contexts}{$key} //= IO::Socket::SSL::SSL_Context->new(%ssl);

	my $tcp = $opt{socket} // IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 20)
		or return { error => "connect: $!" };
	my $s = IO::Socket::SSL->start_SSL($tcp, %ssl) or return _refused($tcp);
	my $got = _peer($s);
	if (defined $opt{get}) {
		my $host = $opt{host} // $sni // 'localhost';
		print $s "GET $opt{get} HTTP/1.0\r\nHost: $host\r\n\r\n";
		my $answer = join '', <$s>;
		($got->{status}) = $answer =~ m!^HTTP/1\.\d (\d+)!;
		(undef, $got->{body}) = split /\r\n\r\n/, $answer, 2;
	}
	$opt{keep} ? ($got->{socket} = $s) : close $s;
	return $got;
}

# For handshake(session => ...): the last session, whatever became of its connection.
sub new_session { return bless {}, 'Test::SharedCert::Session' }

sub _refused {
	my ($tcp) = @_;
	my $error = $SSL_ERROR;
	# an alert is the reason code 1000 + its number
	my ($code) = $error =~ /error:([0-9A-Fa-f]{8})/;
	my $reason = defined $code ? hex($code) & 0xfff : 0;
	close $tcp;
	return { error => "$error", alert => $reason > 1000 ? $reason - 1000 : undef };
}

sub _peer {
	my ($s) = @_;
	my $ssl = $s->_get_ssl_object();
	my $cert = Net::SSLeay::get_peer_certificate($ssl);
	my %got = (
		ok => 1, version => $s->get_sslversion(), cipher => $s->get_cipher(),
		resumed => Net::SSLeay::session_reused($ssl) ? 1 : 0,
	);
	if ($cert) {
		$got{serial} = uc Net::SSLeay::P_ASN1_INTEGER_get_hex(
			Net::SSLeay::X509_get_serialNumber($cert));
		$got{serial} =~ s/^0+//;
		$got{cn} = $s->peer_certificate('commonName');
		$got{fingerprint} = fingerprint(Net::SSLeay::PEM_get_string_X509($cert));
		my @chain = Net::SSLeay::get_peer_cert_chain($ssl);
		$got{chain} = scalar @chain;
		Net::SSLeay::X509_free($cert);
	}
	return \%got;
}

# s_client($port, $sni, @args): the openssl client. Returns what it prints as {all}, and of that
# {serial, fingerprint, cn, version, resumed, chain, hello_retry, alert}.
sub s_client {
	my ($self, $port, $sni, @args) = @_;
	$port = $self->port($port) if $port !~ /^\d+$/;
	my @sni = defined $sni ? ('-servername', $sni) : ('-noservername');
	my $got = run_command('openssl', 's_client', '-connect', "127.0.0.1:$port", @sni, '-msg',
		'-showcerts', @args);
	my @pem = $got->{all} =~ /(-----BEGIN CERTIFICATE-----\n.+?-----END CERTIFICATE-----\n)/sg;
	my %seen = (all => $got->{all}, chain => scalar @pem, ok => $got->{status} == 0);
	if (@pem) {
		$seen{fingerprint} = fingerprint($pem[0]);
		($seen{cn}) = $got->{all} =~ /^ 0 s:.*?CN = ([^\n,]+)/m;
	}
	($seen{version}) = $got->{all} =~ /^(?:New|Reused), (TLSv[\d.]+)/m;
	$seen{resumed} = $got->{all} =~ /^Reused, /m ? 1 : 0;
	$seen{hello_retry} = (() = $got->{all} =~ /<<< TLS 1\.\d, Handshake \[.*ServerHello/g) - 1;
	($seen{alert}) = $got->{all} =~ /SSL alert number (\d+)/;
	($seen{signature}) = $got->{all} =~ /^Peer signature type: (\S+)/m;
	return \%seen;
}

# curl($port, $sni, $path, @args): {status, body, all, fingerprint}.
sub curl {
	my ($self, $port, $sni, $path, @args) = @_;
	$port = $self->port($port) if $port !~ /^\d+$/;
	my $got = run_command('curl', '-sS', '--max-time', 20, '--resolve', "$sni:$port:127.0.0.1",
		'--cacert', $self->ca('root')->{file}, '-w', "\n%{http_code} %{http_version}\n%{certs}",
		@args, "https://$sni:$port$path");
	my %seen = (all => $got->{all}, exit => $got->{status});
	(@seen{qw/ body status http /}) = $got->{all} =~ /\A(.*)\n(\d+) (\S+)\n/s;
	if ($got->{all} =~ /(-----BEGIN CERTIFICATE-----\n.*?\n-----END)/s) {
		$seen{fingerprint} = fingerprint($1);
	}
	return \%seen;
}

# http($port, 'GET /path', %opt): a plain request; {status, headers, body, json}. The answer has
# been read to its last byte when this returns.
sub http {
	my ($self, $port, $what, %opt) = @_;
	$port = $self->port($port) if $port !~ /^\d+$/;
	my $body = $opt{body};
	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 20)
		or return { error => "connect: $!" };
	my $request = "$what HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
	$request .= 'Content-Length: ' . length($body) . "\r\n" if defined $body;
	print $s $request . "\r\n" . ($body // '');
	my $answer = join '', <$s>;
	close $s;
	my ($head, $rest) = split /\r\n\r\n/, $answer, 2;
	my %got = (body => $rest // '', all => $answer);
	($got{status}) = $answer =~ m!^HTTP/1\.\d (\d+)!;
	$got{headers} = { map { /^([^:]+):\s*(.*)$/ ? (lc $1, $2) : () } split /\r\n/, $head // '' };
	$got{json} = eval { decode_json($got{body}) };
	return \%got;
}

# clear('?name=a.test'): the clear handler, on the port named control.
sub clear {
	my ($self, $query) = @_;
	return $self->http('control', 'POST /clear' . ($query // ''), body => '');
}

# start_load(sub): a process that calls it again and again; it returns nothing when all was well,
# or what was wrong. stop_load() ends all of them: {count, wrong => [...]}.
sub start_load {
	my ($self, $once) = @_;
	my $n = @{ $self->{load} //= [] };
	my $file = $self->dir() . "/load$n";
	unlink $file, "$file.stop";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0) {
		my ($count, @wrong) = (0);
		while (!-e "$file.stop" && getppid() == $self->{owner}) {
			my $wrong = eval { $once->() } // $@;
			$count++;
			push @wrong, $wrong if $wrong && @wrong < 20;
		}
		spew($file, encode_json({ count => $count, wrong => \@wrong }));
		POSIX::_exit(0);
	}
	push @{ $self->{load} }, { pid => $pid, file => $file };
	return;
}

sub stop_load {
	my ($self) = @_;
	my %all = (count => 0, wrong => []);
	my @load = @{ delete $self->{load} };
	spew("$_->{file}.stop", '') for @load;
	for my $load (@load) {
		waitpid $load->{pid}, 0;
		my $got = decode_json(slurp($load->{file}));
		$all{count} += $got->{count};
		push @{ $all{wrong} }, @{ $got->{wrong} };
	}
	return \%all;
}

# seen_by_all($port, $sni, %opt): fresh connections until every worker has answered; their results
# by pid. The server has to answer `return 200 $pid` at /pid.
sub seen_by_all {
	my ($self, $port, $sni, %opt) = @_;
	my $want = $self->worker_pids();
	my %seen;
	for (1 .. 400) {
		my $got = $self->handshake($port, $sni, get => '/pid', %opt);
		my $pid = $got->{body} // 'none';
		push @{ $seen{$pid} }, $got;
		last if keys %seen >= $want || $pid eq 'none';
	}
	return \%seen;
}

1;
