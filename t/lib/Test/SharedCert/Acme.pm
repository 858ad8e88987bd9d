package Test::SharedCert::Acme;

# Pebble, an ACME server for tests, on loopback: it validates by http-01 over the port http01 of the
# test's NGINX, or by dns-01 with a DNS server of its own. And the ACME clients that Debian has.
#
#   my $acme = Test::SharedCert::Acme->new($t);     # skips where there is no Pebble or no client
#   $acme->start();

use strict;
use warnings;

use File::Path qw/ make_path /;
use IO::Socket::INET;
use POSIX ();
use Test::More;

use Test::SharedCert::Util;

# new($t, CLIENT...): the programs are certbot, lego, dehydrated or acme.sh.
sub new {
	my ($class, $t, @clients) = @_;
	for my $program ('pebble', 'pebble-challtestsrv', 'curl', @clients) {
		plan(skip_all => "no $program") unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
	}
	my $self = bless {
		t => $t, owner => $$, pids => [], dir => $t->dir() . '/acme', webroot => $t->dir() . '/webroot',
	}, $class;
	make_path($self->{dir}, "$self->{webroot}/.well-known/acme-challenge");
	$self->write_push();
	return $self;
}

sub dir { return $_[0]{dir} }

sub webroot { return $_[0]{webroot} }

# The directory of the ACME server, and the file with the CA of its own certificate.
sub url { my ($self) = @_; return 'https://localhost:' . $self->{t}->port('acme') . '/dir' }

sub ca_file { my ($self) = @_; return $self->{t}->ca('root')->{file} }

# The NGINX that gets the certificates and answers the challenges.
my $CONF = <<'EOF';
%%GLOBALS%%
events {
}

http {
    %%GLOBALS_HTTP%%

    rust_shared_cert_zone zone=certs:1m load=off;

    server {
        listen 127.0.0.1:%%PORT_tls%% ssl;
        rust_shared_cert certs;
        location = /pid { return 200 $pid; }
    }

    server {
        listen 127.0.0.1:%%PORT_http01%%;
        location /.well-known/acme-challenge/ { root %%DIR%%/webroot; }
    }

    server {
        listen unix:%%DIR%%/api.sock;
        location /certs/ { rust_shared_cert_api certs write=unix; }
    }
}
EOF

# start(): NGINX, and the ACME server until it answers. What it signs is then verified by `handshake(verify => 'pebble')`.
sub start {
	my ($self) = @_;
	my ($t, $d) = @$self{qw/ t dir /};
	$t->conf($CONF);
	$t->start();
	my $https = $t->pair('localhost', key => 'rsa');
	spew("$d/https.pem", $https->{cert});
	spew("$d/https.key", $https->{key});
	my ($acme, $management, $http01, $dns, $dns_management)
		= map { $t->port($_) } qw/ acme management http01 dns dns_management /;
	spew("$d/pebble.json", <<"EOF");
{"pebble": {
    "listenAddress": "127.0.0.1:$acme", "managementListenAddress": "127.0.0.1:$management",
    "certificate": "$d/https.pem", "privateKey": "$d/https.key",
    "httpPort": $http01, "tlsPort": 1, "ocspResponderURL": "", "externalAccountBindingRequired": false
}}
EOF
	# it takes the UDP port, too
	close delete $t->{ports}{dns}{lock};
	# later versions have other options
	my $help = run_command('pebble-challtestsrv', '-help')->{all};
	my @listen = ($help =~ /-dnsserver/ ? '-dnsserver' : '-dns01', "127.0.0.1:$dns");
	push @listen, '-doh', '' if $help =~ /-doh/;
	$self->run_server('dns', 'pebble-challtestsrv', @listen, '-management',
		"127.0.0.1:$dns_management", '-http01', '', '-https01', '', '-tlsalpn01', '',
		'-defaultIPv4', '127.0.0.1', '-defaultIPv6', '');
	# dehydrated ends where the ACME server refuses a nonce, as Pebble does now and then
	local @ENV{qw/ PEBBLE_VA_NOSLEEP PEBBLE_WFE_NONCEREJECT /} = (1, 0);
	$self->run_server('pebble', 'pebble', '-config', "$d/pebble.json", '-dnsserver', "127.0.0.1:$dns");
	for my $port ($acme, $management, $dns_management) {
		wait_for(20, sub { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") })
			or die "no ACME server:\n" . slurp("$d/pebble.out") . slurp("$d/dns.out");
	}
	my $got = run_command('curl', '-sS', '--cacert', $self->ca_file(), '-o', "$d/root.pem",
		"https://localhost:$management/roots/0");
	die $got->{all} if $got->{status};
	$t->{cas}{pebble} = { file => "$d/root.pem" };
	return $self;
}

sub run_server {
	my ($self, $name, @command) = @_;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$self->{dir}/$name.out";
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	push @{ $self->{pids} }, $pid;
	return;
}

# write_push(OPTION...): makes `push` the hook, which is nginx-cert-push with these options. Clients
# take the name of a program, and some of them no arguments.
sub write_push {
	my ($self, @options) = @_;
	my $d = $self->{t}->dir();
	my $script = __FILE__ =~ s![^/]+$!../../../../scripts/nginx-cert-push!r;
	spew("$self->{dir}/push", <<"EOF");
#!/bin/sh
NGINX_CERT_SOCKET=\${NGINX_CERT_SOCKET-$d/api.sock} exec '$script' --wait 2 @options "\$@" >>$self->{dir}/pushed 2>&1
EOF
	chmod 0755, "$self->{dir}/push";
	return;
}

sub push_hook { return "$_[0]{dir}/push" }

# pushed(): what the hook said since it was asked last.
sub pushed {
	my ($self) = @_;
	my $said = eval { slurp("$self->{dir}/pushed") } // '';
	unlink "$self->{dir}/pushed";
	return $said;
}

# dns_hooks(): programs that set and remove the TXT record of certbot's variables.
sub dns_hooks {
	my ($self) = @_;
	my $at = '127.0.0.1:' . $self->{t}->port('dns_management');
	my @files;
	for my $call ('set-txt', 'clear-txt') {
		spew("$self->{dir}/$call", <<"EOF");
#!/bin/sh
exec curl -fsS -d '{"host":"_acme-challenge.'"\$CERTBOT_DOMAIN"'.","value":"'"\$CERTBOT_VALIDATION"'"}' http://$at/$call
EOF
		chmod 0755, "$self->{dir}/$call";
		push @files, "$self->{dir}/$call";
	}
	return @files;
}

###############################################################################
# The clients. Each returns what run_command() does.

sub certbot {
	my ($self, $command, @args) = @_;
	local $ENV{REQUESTS_CA_BUNDLE} = $self->ca_file();
	return run_command('certbot', $command, '--non-interactive', '--server', $self->url(),
		(map { ("--$_-dir", "$self->{dir}/certbot/$_") } qw/ config work logs /), @args);
}

# certbot_issue(ARGUMENT...): as the README has it, by http-01.
sub certbot_issue {
	my ($self, @args) = @_;
	return $self->certbot('certonly', '--agree-tos', '--register-unsafely-without-email', '--webroot',
		'--webroot-path', $self->{webroot}, '--deploy-hook', $self->push_hook(), @args);
}

sub certbot_renew {
	my ($self, @args) = @_;
	return $self->certbot('renew', '--force-renewal', '--no-random-sleep-on-renew', @args);
}

sub live { my ($self) = @_; return "$self->{dir}/certbot/config/live" }

sub lego {
	my ($self, @args) = @_;
	local $ENV{LEGO_CA_CERTIFICATES} = $self->ca_file();
	return run_command('lego', '--server', $self->url(), '--path', "$self->{dir}/lego", '--email',
		'ops@example.com', '--accept-tos', '--http', '--http.webroot', $self->{webroot}, @args);
}

sub acme_sh {
	my ($self, @args) = @_;
	return run_command('acme.sh', '--home', "$self->{dir}/acme.sh", '--server', $self->url(),
		'--ca-bundle', $self->ca_file(), '--no-cron', @args);
}

sub dehydrated {
	my ($self, @args) = @_;
	my $d = "$self->{dir}/dehydrated";
	if (!-d $d) {
		make_path($d);
		spew("$d/config", join '', map { "$_\n" } 'CA=' . $self->url(), "BASEDIR=$d", 'IP_VERSION=4',
			"WELLKNOWN=$self->{webroot}/.well-known/acme-challenge", 'HOOK=' . $self->push_hook(),
			"CURL_OPTS='--cacert " . $self->ca_file() . "'");
		my $got = run_command('dehydrated', '--config', "$d/config", '--register', '--accept-terms');
		die $got->{all} if $got->{status};
	}
	return run_command('dehydrated', '--config', "$d/config", @args);
}

###############################################################################

# rotates(NAME, ISSUE, RENEW): the tool's first certificate is served, and after a renewal the new one, in
# each worker, which all live on; no handshake fails meanwhile.
sub rotates {
	my ($self, $name, $issue, $renew) = @_;
	my $t = $self->{t};
	my @pids = $t->worker_pids();
	my $got = $issue->();
	is($got->{status}, 0, "$name is issued") or diag($got->{all});
	like($self->pushed(), qr/\Anginx-cert-push: \Q$name\E: pushed, generation \d+\n\z/, 'and pushed');
	my $first = $t->handshake('tls', $name, verify => 'pebble');
	ok($first->{ok}, 'it is served, and valid') or diag(explain($first));

	my $once = sub {
		my $got = $t->handshake('tls', $name, verify => 'pebble', get => '/pid');
		return $got->{ok} && $got->{body} ? undef : $got->{error} // 'no answer';
	};
	$t->start_load($once) for 1 .. 2;
	$got = $renew->();
	is($got->{status}, 0, 'it is renewed') or diag($got->{all});
	like($self->pushed(), qr/\Anginx-cert-push: \Q$name\E: pushed, generation \d+\n\z/, 'and pushed');
	my $seen = $t->seen_by_all('tls', $name, verify => 'pebble');
	my %serials = map { ($_->{serial} // $_->{error}) => 1 } map { @$_ } values %$seen;
	is(keys %serials, 1, 'one certificate is served in all workers') or diag(explain(\%serials));
	ok(!$serials{ $first->{serial} }, 'it is the new one');
	my $load = $t->stop_load();
	is(join("\n", @{ $load->{wrong} }), '', "no handshake of $load->{count} failed");
	ok($load->{count}, 'there were some');
	is(join(' ', $t->worker_pids()), "@pids", 'no worker was replaced');
	return;
}

sub stop {
	my ($self) = @_;
	for my $pid (splice @{ $self->{pids} }) {
		kill 'TERM', $pid;
		waitpid $pid, 0;
	}
	return;
}

sub DESTROY {
	my ($self) = @_;
	return if $self->{owner} != $$;
	local $?;
	$self->stop();
	return;
}

1;
