//! What the master looks at, without reading it into the zone, where workers read the files.

use std::time::{Duration, Instant};

use super::Startup;
use crate::files::{Look, Scan};
use crate::replacement::{BadSet, judge_fixed};
use crate::server_name::ServerName;

/// How long a test of the configuration looks at files that only workers read.
const LAZY_CHECK: Duration = Duration::from_secs(5);

impl Startup<'_> {
    /// Tells of directories that are not there: nothing can be read from them.
    pub(crate) fn check_directories(&self) {
        for error in self.files.missing_directories() {
            self.host.warn(format_args!("{error}"));
        }
    }

    /// For a test of the configuration: tells of the bad pairs that workers would meet later, as far
    /// as they can be looked at in a few seconds.
    pub(crate) fn check_lazy(&mut self) {
        self.check_directories();
        let scan = self.files.scan();
        self.report_skipped(&scan);
        let end = Instant::now() + LAZY_CHECK;
        for (count, name) in scan.names.iter().enumerate() {
            if Instant::now() > end {
                self.host.notice(format_args!(
                    "{count} of {} certificates looked at, no time for the others",
                    scan.names.len()
                ));
                return;
            }
            self.check_lazy_name(name);
        }
    }

    fn check_lazy_name(&mut self, name: &ServerName) {
        let Look::Present(files) = self.files.read(name) else { return };
        let checked = self.check(&files, None, true, judge_fixed).and_then(|set| {
            if set.covers(name) {
                Ok(())
            } else {
                Err(BadSet::not_covering(format_args!("\"{name}\"")))
            }
        });
        if let Err(bad) = checked {
            self.host.warn(format_args!("certificate \"{name}\": {}", bad.text));
        }
    }

    pub(super) fn report_skipped(&self, scan: &Scan) {
        if let Some(first) = scan.first_skipped_text() {
            self.host.warn(format_args!(
                "{} files are skipped, for their names are no server names in lower case: \"{}\"{}",
                scan.skipped,
                first,
                if scan.skipped > 1 { " and others" } else { "" }
            ));
        }
    }
}
