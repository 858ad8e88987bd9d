//! Whether a set that was read may take the place of what serves now (P3).

use std::path::Path;

use crate::certificate::CertificateSet;
use crate::failure::Reason;
use crate::files::BadFiles;
use crate::host::Host;
use crate::record::KeyType;
use crate::server_name::ServerName;

/// A certificate that becomes valid this soon is taken for valid, s.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// A set that must not take the place of what serves.
pub(crate) struct BadSet {
    /// Path and reason.
    pub(crate) text: String,
    /// The kind of failure.
    pub(crate) kind: Reason,
    /// The reason may go away without a change to the files.
    pub(crate) may_pass: bool,
    pub(crate) is_not_covered: bool,
    /// It is the same for all names.
    pub(crate) is_common: bool,
    /// A pair of the name is absent that was there: to be looked at twice before it is gone.
    pub(crate) is_one_absent: bool,
    /// The key types whose files are good.
    pub(crate) good_part: Option<CertificateSet>,
}

impl BadSet {
    pub(crate) fn new(kind: Reason, text: impl Into<String>) -> BadSet {
        BadSet {
            text: text.into(),
            kind,
            may_pass: false,
            is_not_covered: false,
            is_common: false,
            is_one_absent: false,
            good_part: None,
        }
    }

    /// Files that `Files::check()` refused.
    pub(crate) fn of_files(bad: BadFiles) -> BadSet {
        BadSet {
            is_common: bad.error.is_common(),
            good_part: bad.good_part,
            ..BadSet::new(bad.error.kind(), bad.error.to_string())
        }
    }

    /// A key type less than what serves.
    pub(crate) fn without(key_type: KeyType) -> BadSet {
        let text = format!("no files for its {} key", key_type.as_str());
        BadSet { is_one_absent: true, ..BadSet::that_may_pass(Reason::Absent, &text) }
    }

    pub(crate) fn not_covering(what: impl std::fmt::Display) -> BadSet {
        let text = format!("the certificate does not cover {what}");
        BadSet { is_not_covered: true, ..BadSet::new(Reason::NotCovered, text) }
    }

    /// With the path of what is bad.
    pub(crate) fn at(self, path: &Path) -> BadSet {
        BadSet { text: format!("\"{}\": {}", path.display(), self.text), ..self }
    }

    fn that_may_pass(kind: Reason, text: &str) -> BadSet {
        BadSet { may_pass: true, ..BadSet::new(kind, text) }
    }
}

/// A key type of what serves that a set does not have.
pub(crate) fn lost_key_type(
    set: &CertificateSet,
    serving: Option<&CertificateSet>,
) -> Option<KeyType> {
    KeyType::lost(serving?.key_types(), set.key_types()).next()
}

/// As `judge()`, a set that is to serve all names of its certificate.
pub(crate) fn judge_fixed(
    set: &CertificateSet,
    serving: Option<&CertificateSet>,
    is_settled: bool,
    host: &dyn Host,
) -> Result<(), BadSet> {
    if set.names().next().is_none() {
        return Err(BadSet::not_covering("any server name"));
    }
    judge(set, serving, is_settled, host)
}

/// As `judge_fixed()`, a set of files in the place of one that was pushed, or came in such a place: not
/// with another's certificate, by which all its names would end and another's have two.
pub(crate) fn judge_beside(
    set: &CertificateSet,
    serving: Option<&CertificateSet>,
    is_settled: bool,
    host: &dyn Host,
) -> Result<(), BadSet> {
    judge_fixed(set, serving, is_settled, host)?;
    if covers_none(&names_of(serving), set) {
        return Err(BadSet::not_covering("any name of the set that is served"));
    }
    Ok(())
}

/// Whether a set is good for none of the names that there are: one of another's, most likely.
pub(crate) fn covers_none(present: &[ServerName], set: &CertificateSet) -> bool {
    !present.is_empty() && set.uncovered(present).len() == present.len()
}

/// The names that a set serves.
pub(crate) fn names_of(set: Option<&CertificateSet>) -> Vec<ServerName> {
    let names = set.into_iter().flat_map(CertificateSet::names);
    names.filter_map(|name| ServerName::from_operator(name.as_bytes())).collect()
}

/// Judges a set that is good in itself. `serving` is what serves now. `is_settled`: the files were
/// not written within the last moments.
pub(crate) fn judge(
    set: &CertificateSet,
    serving: Option<&CertificateSet>,
    is_settled: bool,
    host: &dyn Host,
) -> Result<(), BadSet> {
    let now = host.unix_seconds();
    if serving.is_some_and(|s| !s.expired_at(now)) {
        if set.expired_at(now) {
            return Err(BadSet::that_may_pass(Reason::Expired, "the certificate has expired"));
        }
        if set.not_yet_valid_at(now + CLOCK_SKEW_SECONDS) {
            let text = "the certificate is not yet valid";
            return Err(BadSet::that_may_pass(Reason::NotYetValid, text));
        }
    }
    host.accepts(set).map_err(|text| BadSet::new(Reason::SecurityLevel, text))?;
    if !is_settled && serving.is_some_and(|s| set.seems_cut_short(s)) {
        let text = "the chain is cut short, and the file may still be being written";
        return Err(BadSet::that_may_pass(Reason::Truncated, text));
    }
    Ok(())
}
