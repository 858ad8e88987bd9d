#!/usr/bin/env perl

# The alert rules on the metrics, as Prometheus reads them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::SharedCert::Util;

plan(skip_all => 'no promtool') if !grep { -x "$_/promtool" } split /:/, $ENV{PATH};

my $docs = "$FindBin::Bin/../docs";
for (['check', 'alerts.yml'], ['test', 'alerts_test.yml']) {
	my ($do, $file) = @$_;
	my $got = run_command('promtool', $do, 'rules', "$docs/$file");
	is($got->{status}, 0, "promtool $do rules $file") or diag($got->{all});
}

done_testing();
