package Test::SharedCert::Certificates;

# The CAs, certificates and keys of a test, all by the openssl command.

use strict;
use warnings;

use MIME::Base64;

use Test::SharedCert::Util;

my %KEY = (
	'p256' => ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
	'p384' => ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
	'ed25519' => ['-algorithm', 'ED25519'],
	'rsa' => ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
	'rsa1024' => ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'],
);

# A CA by name, made when first asked for. issuer => another CA's name makes an intermediate.
sub ca {
	my ($self, $name, %opt) = @_;
	return $self->{cas}{$name} if $self->{cas}{$name};
	my $made = $self->issue(
		%opt, cn => "CA $name", key => $opt{key} // 'p256', serial => ++$self->{serial},
		extensions => "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
		self_signed => !$opt{issuer}, days => 100,
	);
	$made->{file} = "$made->{path}.pem";
	$made->{parents} = $opt{issuer} ? [$made->{pem}, @{ $self->ca($opt{issuer})->{parents} }] : [];
	return $self->{cas}{$name} = $made;
}

# pair($name, %opt): a checked certificate and key.
#   key (p256), san ([$name]; [] for none), cn, serial, days (30), issuer ('root'), reuse => $pair
#   for the key of another one, not_before/not_after as YYMMDDHHMMSSZ.
# Returns {name, cert (chain as served), key, leaf, serial, fingerprint, secret}.
sub pair {
	my ($self, $name, %opt) = @_;
	my $san = $opt{san} // [$name];
	my $extensions = "basicConstraints=CA:FALSE\n";
	$extensions .= 'subjectAltName=' . join(',', map { "DNS:$_" } @$san) . "\n" if @$san;
	my $issuer = $self->ca($opt{issuer} // 'root');
	my $made = $self->issue(
		cn => $opt{cn} // $name, key => $opt{key} // 'p256', reuse => $opt{reuse},
		serial => $opt{serial} // ++$self->{serial}, days => $opt{days} // 30, name => $name,
		issuer => $opt{issuer} // 'root', extensions => $extensions,
		not_before => $opt{not_before}, not_after => $opt{not_after},
	);
	return {
		name => $name, cert => join('', $made->{pem}, @{ $issuer->{parents} }),
		key => $made->{key}, leaf => $made->{pem}, serial => $made->{serial},
		fingerprint => fingerprint($made->{pem}), secret => $made->{secret}, path => $made->{path},
	};
}

sub issue {
	my ($self, %opt) = @_;
	my $path = "$self->{dir}/made/" . sprintf '%x', $opt{serial};
	my $name = $opt{name} // $opt{cn};

	if ($opt{reuse}) {
		spew("$path.key", $opt{reuse}{key});
	} else {
		openssl('genpkey', @{ $KEY{ $opt{key} } }, '-out', "$path.key");
	}
	my $secret = $self->remember_key($name, slurp("$path.key"));
	spew("$path.ext", $opt{extensions});

	# a name longer than a CN may be is in the SAN only
	my $cn = length $opt{cn} > 64 ? 'long' : $opt{cn};
	openssl('req', '-new', '-key', "$path.key", '-subj', "/CN=$cn", '-out', "$path.csr");
	if ($opt{not_after}) {
		$self->issue_dated($path, %opt);
	} else {
		my @signer = $opt{self_signed} ? ('-signkey', "$path.key")
			: do { my $ca = $self->ca($opt{issuer}); ('-CA', $ca->{file}, '-CAkey', "$ca->{path}.key") };
		openssl('x509', '-req', '-in', "$path.csr", @signer, '-days', $opt{days},
			'-set_serial', $opt{serial}, '-extfile', "$path.ext", '-out', "$path.pem");
	}
	return {
		path => $path, pem => slurp("$path.pem"), key => slurp("$path.key"), secret => $secret,
		serial => uc sprintf('%x', $opt{serial}),
	};
}

# Only `openssl ca` sets both dates.
sub issue_dated {
	my ($self, $path, %opt) = @_;
	my $ca = $self->ca($opt{issuer});
	spew("$path.index", '');
	spew("$path.serial", sprintf("%06x\n", $opt{serial}));
	spew("$path.cnf", <<"EOF");
[ca]
default_ca = this
[this]
database = $path.index
serial = $path.serial
new_certs_dir = $self->{dir}/made
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
EOF
	openssl('ca', '-batch', '-config', "$path.cnf", '-cert', $ca->{file}, '-keyfile',
		"$ca->{path}.key", '-in', "$path.csr", '-out', "$path.pem", '-extfile', "$path.ext",
		'-notext', '-startdate', $opt{not_before} // '200101000000Z', '-enddate', $opt{not_after});
	return;
}

# Keeps what must never be seen of a key: its DER's secret part, and the lines of its PEM.
sub remember_key {
	my ($self, $name, $pem) = @_;
	my @lines = grep { !/-----/ } split /\n/, $pem;
	my $der = decode_base64(join '', @lines);
	my $secret;
	if ($der =~ /\x02\x01\x01\x04(?:\x20(.{32})|\x30(.{48}))/s || $der =~ /\x04\x22\x04\x20(.{32})/s) {
		$secret = $1 // $2;
	} else {
		$secret = substr $der, int(length($der) * 0.55), 32;    # within d or p of an RSA key
	}
	# the first line of an EC or Ed25519 key is mostly the algorithm, but not all of it
	push @{ $self->{secrets}{$name} }, { secret => $secret, lines => \@lines };
	return $secret;
}

# install($pair, as => NAME, only => 'cert'|'key', dir => 'certs', infix => ''): where the zone
# reads it, each file by rename.
sub install {
	my ($self, $pair, %opt) = @_;
	my $as = $opt{as} // $pair->{name};
	my $base = "$self->{dir}/" . ($opt{dir} // 'certs') . "/$as" . ($opt{infix} // '');
	for my $half ('cert', 'key') {
		next if $opt{only} && $opt{only} ne $half;
		replace("$base.$half.pem", $pair->{$half});
	}
	return $pair;
}

sub remove {
	my ($self, $name, %opt) = @_;
	my $base = "$self->{dir}/" . ($opt{dir} // 'certs') . "/$name";
	unlink "$base.cert.pem", "$base.key.pem";
	return;
}

sub replace {
	my ($file, $bytes) = @_;
	spew("$file.new.$$", $bytes);
	rename "$file.new.$$", $file or die "rename $file: $!";
	return;
}

1;
