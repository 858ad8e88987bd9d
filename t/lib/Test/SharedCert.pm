package Test::SharedCert;

# An NGINX with the module in a directory of its own; certificates, TLS clients and a look into its
# memory are in the modules beside this one.
#
#   my $t = Test::SharedCert->new();
#   $t->conf(<<'EOF');          # %%GLOBALS%%, %%GLOBALS_HTTP%%, %%DIR%%, %%PORT_name%%
#   $t->install($t->pair('a.test'));
#   $t->start();
#   is($t->handshake('tls', 'a.test')->{cn}, 'a.test', 'served');
#   $t->done();                 # stops NGINX and reads its log: see end_checks()

use strict;
use warnings;

use Cwd;
use File::Basename qw/ dirname /;
use File::Path qw/ make_path remove_tree /;
use File::Temp qw/ tempdir /;
use IO::Socket::INET;
use POSIX qw/ WNOHANG /;
use Test::More;

use Test::SharedCert::Util;

use base qw/
	Test::SharedCert::Api Test::SharedCert::Certificates Test::SharedCert::Clients
	Test::SharedCert::Faults Test::SharedCert::Memory Exporter
/;

our @EXPORT = qw/ wait_for slurp spew run_command openssl hold_lock /;

# No test may hang for ever, whatever it waits for.
our $TIMEOUT = 240;

# Without these, what scripts/build leaves.
my $BUILD = Cwd::abs_path(dirname(__FILE__) . '/../../..') . '/build';
my $NAME = 'ngx_http_rust_shared_cert_module.so';
my $BINARY = $ENV{TEST_NGINX_BINARY} // "$BUILD/vendored/nginx";
my $MODULE = $ENV{TEST_NGINX_MODULE} // "$BUILD/vendored/$NAME";

$SIG{PIPE} = 'IGNORE';

###############################################################################

# new(root => 1): only root can do this test;
# new(fault => 1): with the build that has faults on request.
sub new {
	my ($class, %opt) = @_;

	BAIL_OUT("no $BINARY or no $MODULE: run scripts/build first")
		unless $BINARY && -x $BINARY && $MODULE && -r $MODULE;
	plan(skip_all => 'only root can do this') if $opt{root} && $> != 0;

	my $module = $MODULE;
	if ($opt{fault}) {
		plan(skip_all => 'the build with faults is for the vendored NGINX')
			unless $BINARY =~ m!/build/vendored/nginx$!;
		$module = "$BUILD/fault/$NAME";
	}

	my $dir = tempdir('shared-cert-XXXXXXXX', TMPDIR => 1);
	chmod 0755, $dir;
	make_path("$dir/certs", "$dir/made");

	$SIG{ALRM} = sub { die "the test took longer than $TIMEOUT s\n" };
	alarm $TIMEOUT;

	return bless {
		owner => $$, dir => $dir, module => $module, ports => {}, secrets => {},
		serial => 0x1000, allow_alerts => [], load_modules => [],
	}, $class;
}

sub dir { return $_[0]{dir} }

sub binary { return $BINARY }

# nginx -V, for what a test needs to have been built in.
sub nginx_version {
	my ($self) = @_;
	$self->{version} //= run_command($BINARY, '-V')->{all};
	return $self->{version};
}

sub has {
	my ($self, $regex, $what) = @_;
	plan(skip_all => "no $what in this NGINX") unless $self->nginx_version() =~ $regex;
	return $self;
}

# Modules of the distribution, for its own NGINX.
sub load_modules {
	my ($self, @files) = @_;
	for my $file (@files) {
		plan(skip_all => "no $file") unless -e $file;
	}
	plan(skip_all => 'the modules of the distribution are for its own NGINX')
		unless run_command($BINARY, '-V')->{all} =~ m!--modules-path=/usr/lib/nginx/modules!;
	$self->{load_modules} = \@files;
	return $self;
}

# A port by name; a UDP socket on the same port keeps other tests away from it.
sub port {
	my ($self, $name) = @_;
	return $self->{ports}{$name}{port} if $self->{ports}{$name};
	for (1 .. 200) {
		my $port = 20000 + int(rand(12000));
		my $lock = IO::Socket::INET->new(Proto => 'udp', LocalAddr => "127.0.0.1:$port") or next;
		my $free = IO::Socket::INET->new(
			Proto => 'tcp', LocalAddr => "127.0.0.1:$port", Listen => 1, Reuse => 1) or next;
		close $free;
		$self->{ports}{$name} = { port => $port, lock => $lock };
		return $port;
	}
	die "no free port";
}

###############################################################################
# Configuration

# conf($text): nginx.conf. Options: workers => 2, log => 'debug', user => 'www-data'.
sub conf {
	my ($self, $text, %opt) = @_;
	spew("$self->{dir}/nginx.conf", $self->expand($text, %opt));
	return $self;
}

sub expand {
	my ($self, $text, %opt) = @_;
	my $d = $self->{dir};
	my $workers = $opt{workers} // 2;
	my $log = $opt{log} // 'debug';
	my $user = $> == 0 ? 'user ' . ($opt{user} // 'www-data') . ';' : '';
	my $load = join "\n", map { "load_module $_;" } @{ $self->{load_modules} }, $self->{module};

	my $globals = <<"EOF";
$load
$user
worker_processes $workers;
worker_shutdown_timeout 30s;
pid $d/nginx.pid;
error_log $d/error.log $log;
EOF
	my $http = "access_log off;\n    root $d/html;\n    ssl_protocols TLSv1.2 TLSv1.3;\n" . join '',
		map { "    ${_}_temp_path $d/temp_$_;\n" } qw/ client_body proxy fastcgi uwsgi scgi /;

	$text =~ s/%%GLOBALS%%/$globals/;
	$text =~ s/%%GLOBALS_HTTP%%/$http/;
	$text =~ s/%%DIR%%/$d/g;
	$text =~ s/%%PORT_(\w+)%%/$self->port($1)/ge;
	return $text;
}

# conf_error($text): what `nginx -t` says about it; test_status is its exit status.
sub conf_error {
	my ($self, $text, %opt) = @_;
	my $file = "$self->{dir}/mistake.conf";
	spew($file, $self->expand($text, %opt));
	my $got = run_command($BINARY, '-t', '-p', "$self->{dir}/", '-e', "$self->{dir}/test.log",
		'-c', $file);
	$self->{test_status} = $got->{status};
	return join '', grep { /\[(?:warn|error|crit|alert|emerg)\]/ } $got->{all} =~ /(.+\n)/g;
}

sub test_status { return $_[0]{test_status} }

###############################################################################
# Running it

# start(daemon => 1): as a daemon, which is no child of the test; preload => a library.
sub start {
	my ($self, %opt) = @_;
	my $d = $self->{dir};
	my @foreground = $opt{daemon} ? () : ('-g', 'daemon off;');

	my $pid = fork() // die "fork: $!";
	if ($pid == 0) {
		open STDOUT, '>', '/dev/null';
		open STDERR, '>>', "$d/start.log";    # what it says is in error.log too
		local $ENV{LD_PRELOAD} = $opt{preload} if $opt{preload};
		exec($BINARY, '-p', "$d/", '-e', "$d/error.log", '-c', "$d/nginx.conf", @foreground)
			or POSIX::_exit(127);
	}
	$self->{master} = $pid;
	my $up = wait_for(20, sub {
		if (waitpid($pid, WNOHANG) == $pid) {
			delete $self->{master};
			return 1 if !$opt{daemon} || $?;
			($self->{master}) = slurp("$d/nginx.pid") =~ /(\d+)/;
		}
		return -s "$d/nginx.pid" && $self->workers_ready();
	});
	die "NGINX did not start:\n" . join('', $self->log_lines(qr/\[(?:emerg|alert)\]/))
		unless $up && $self->{master};
	return $self;
}

# slow_fsync(): for start(preload => ...), a library with an fsync() that takes 200 ms; undef where there
# is no compiler.
sub slow_fsync {
	my ($self) = @_;
	my $d = $self->{dir};
	spew("$d/slow.c", <<'EOF');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
int fsync(int fd) {
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    usleep(200000);
    return real(fd);
}
EOF
	my $built = run_command('gcc', '-shared', '-fPIC', '-o', "$d/slow.so", "$d/slow.c", '-ldl');
	return $built->{status} ? undef : "$d/slow.so";
}

sub master { return $_[0]{master} }

# The workers that take connections, by pid in order.
sub worker_pids {
	my ($self) = @_;
	my $master = $self->{master} or return;
	my @workers = grep { (eval { slurp("/proc/$_/cmdline") } // 'shutting down') !~ /shutting down/ }
		$self->workers_of($master);
	return @workers;
}

sub workers_ready {
	my ($self) = @_;
	my ($want) = slurp("$self->{dir}/nginx.conf") =~ /worker_processes (\d+)/;
	return $self->worker_pids() == $want;
}

# Sends HUP and waits for the new workers; false if the new configuration was refused.
sub reload {
	my ($self) = @_;
	my %old = map { $_ => 1 } $self->worker_pids();
	my $failures = qr/\[(?:emerg|alert)\]/;
	my $before = () = $self->log_lines($failures);
	kill 'HUP', $self->{master};
	my $ok;
	wait_for(20, sub {
		my @new = $self->worker_pids();
		$ok = $self->workers_ready() && !grep { $old{$_} } @new;
		return $ok || $before < $self->log_lines($failures);
	}) or die 'the reload took too long';
	return $ok;
}

# upgrade(): USR2 to the master of nginx.pid, and waits for the other one and its workers; its pid.
sub upgrade {
	my ($self) = @_;
	my $d = $self->{dir};
	my ($old) = slurp("$d/nginx.pid") =~ /(\d+)/;
	my ($want) = slurp("$d/nginx.conf") =~ /worker_processes (\d+)/;
	kill 'USR2', $old;
	my $new;
	wait_for(20, sub {
		($new) = (eval { slurp("$d/nginx.pid") } // '') =~ /(\d+)/;
		return -e "$d/nginx.pid.oldbin" && $new && $new != $old && $self->workers_of($new) == $want;
	}) or die 'no new master';
	return $new;
}

# The workers of a master, by pid in order, with those that are shutting down.
sub workers_of {
	my ($self, $master) = @_;
	my @children = split ' ', eval { slurp("/proc/$master/task/$master/children") } // '';
	my @workers = sort { $a <=> $b }
		grep { (eval { slurp("/proc/$_/cmdline") } // '') =~ /worker process/ } @children;
	return @workers;
}

sub stop {
	my ($self) = @_;
	my $pid = delete $self->{master} or return;
	for my $signal ('QUIT', 'TERM', 'KILL') {
		kill $signal, $pid;
		last if wait_for(5, sub { waitpid($pid, WNOHANG) > 0 || !-d "/proc/$pid" });
	}
	return;
}

###############################################################################
# The log, and what must not be in it

sub log { return slurp("$_[0]{dir}/error.log") }

sub log_lines {
	my ($self, $regex) = @_;
	my $log = eval { $self->log() } // '';
	return grep { $_ =~ $regex } $log =~ /.+/g;
}

# An [alert] that the test is about.
sub allow_alert {
	my ($self, $regex) = @_;
	push @{ $self->{allow_alerts} }, $regex;
	return;
}

# Stops NGINX, makes the checks that end every test, and the plan.
sub done {
	my ($self) = @_;
	$self->stop();
	$self->end_checks();
	done_testing();
	return;
}

sub end_checks {
	my ($self) = @_;
	my @lines = $self->log_lines(qr/\[alert\]|panicked|exited on signal/);
	for my $allowed (@{ $self->{allow_alerts} }) {
		@lines = grep { $_ !~ $allowed } @lines;
	}
	is(join("\n", @lines), '', 'no alert, no panic, no worker lost');

	my @found;
	for my $file (glob "$self->{dir}/*.log") {
		my $text = slurp($file);
		push @found, "a PEM key in $file" if $text =~ /PRIVATE KEY/;
		push @found, map { "the key of $_ in $file" } $self->secrets_in($text);
	}
	is(join("\n", @found), '', 'P7: no key in a log');
	return;
}

# secrets_in($text): whose keys are in there as DER, hexadecimal or PEM.
sub secrets_in {
	my ($self, $text) = @_;
	my $folded = lc $text;
	my @whose;
	for my $name (sort keys %{ $self->{secrets} }) {
		for my $key (@{ $self->{secrets}{$name} }) {
			my $hit = index($text, $key->{secret}) >= 0
				|| index($folded, unpack('H*', $key->{secret})) >= 0
				|| grep { index($text, $_) >= 0 } @{ $key->{lines} };
			push @whose, $name if $hit;
		}
	}
	return @whose;
}

sub DESTROY {
	my ($self) = @_;
	return if $self->{owner} != $$;
	local $?;
	$self->stop();
	if ($ENV{TEST_NGINX_LEAVE}) {
		diag("left in $self->{dir}");
	} else {
		remove_tree($self->{dir}, { error => \my $errors });
	}
	return;
}

1;
