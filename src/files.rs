//! Server names to files: what a worker reads when the zone has nothing current.

mod read;
mod template;

use std::fmt;
use std::path::PathBuf;

use openssl::sha::Sha256;
use zeroize::Zeroizing;

use crate::certificate::{CertificateSet, SetError};
use crate::server_name::ServerName;
use read::{PairLook, PairPaths, ReadError, Seen};
pub(crate) use template::PathTemplate;

/// A `cert=` and its `key=`.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathTemplate,
    pub(crate) key: PathTemplate,
}

impl Pair {
    fn paths(&self, name: &ServerName) -> PairPaths {
        PairPaths::new(self.cert.path(name), self.key.path(name))
    }
}

/// The state of all files of a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetStat(Vec<[Seen; 2]>);

impl SetStat {
    /// Whether a later change would show in the state; `now` in seconds since the epoch.
    pub(crate) fn is_settled(&self, now: i64) -> bool {
        self.0.iter().flatten().flatten().all(|seen| seen.is_settled(now))
    }
}

/// A path and what is wrong with its file.
#[derive(Debug)]
pub(crate) struct PathError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Read(ReadError),
    Set(SetError),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" ", self.path.display())?;
        match &self.reason {
            Reason::Read(error) => write!(f, "{error}"),
            Reason::Set(error) => write!(f, "{error}"),
        }
    }
}

/// Files that are no good set.
pub(crate) struct BadFiles {
    /// The first that was found; there is one unless there were no files.
    pub(crate) error: Option<PathError>,
    /// The pairs that are good.
    pub(crate) good_part: Option<CertificateSet>,
}

/// The pair of one template.
enum PairFiles {
    Read { paths: (PathBuf, PathBuf), certificates: Zeroizing<Vec<u8>>, key: Zeroizing<Vec<u8>> },
    Bad(PathBuf, ReadError),
}

/// What the files of a name held. Keys in it are wiped when it is dropped.
pub(crate) struct SetFiles {
    pairs: Vec<PairFiles>,
    stat: SetStat,
}

/// A look at the files of a name.
pub(crate) enum Look {
    /// None of them is there. `is_certain`: their directories are, so that it means something.
    Absent {
        is_certain: bool,
    },
    Present(SetFiles),
}

/// Reads all files of a name. Pairs of which neither file is there do not count.
pub(crate) fn read(pairs: &[Pair], name: &ServerName) -> Look {
    let mut files = SetFiles { pairs: Vec::new(), stat: SetStat(Vec::new()) };
    let mut is_certain = true;
    for pair in pairs {
        let (look, seen) = pair.paths(name).read();
        files.stat.0.push(seen);
        match look {
            PairLook::Read { certificates, key } => {
                let paths = (pair.cert.path(name), pair.key.path(name));
                files.pairs.push(PairFiles::Read { paths, certificates, key });
            }
            PairLook::Absent { is_certain: certain } => is_certain &= certain,
            PairLook::Bad { path, error } => files.pairs.push(PairFiles::Bad(path, error)),
        }
    }
    if files.pairs.is_empty() { Look::Absent { is_certain } } else { Look::Present(files) }
}

/// The state of all files of a name, without reading them.
pub(crate) fn stat(pairs: &[Pair], name: &ServerName) -> SetStat {
    SetStat(pairs.iter().map(|pair| pair.paths(name).seen()).collect())
}

impl SetFiles {
    pub(crate) fn stat(&self) -> &SetStat {
        &self.stat
    }

    /// The first 16 bytes of the SHA-256 over all that was read. Files that could not be read make
    /// it differ from any that could.
    pub(crate) fn digest(&self) -> [u8; 16] {
        let mut hasher = Sha256::new();
        for pair in &self.pairs {
            match pair {
                PairFiles::Read { certificates, key, .. } => {
                    for text in [certificates, key] {
                        hasher.update(&(text.len() as u64).to_be_bytes());
                        hasher.update(text);
                    }
                }
                PairFiles::Bad(..) => hasher.update(&u64::MAX.to_be_bytes()),
            }
        }
        let mut digest = [0; 16];
        digest.iter_mut().zip(hasher.finish()).for_each(|(to, from)| *to = from);
        digest
    }

    /// Checks each pair. One that is bad makes the set bad: it is one unit.
    pub(crate) fn check(self) -> Result<CertificateSet, BadFiles> {
        let mut good = Vec::new();
        let mut first_error = None;
        for pair in self.pairs {
            match pair.check() {
                Ok(part) => good.push(part),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        let set = CertificateSet::join(good);
        match (first_error, set) {
            (None, Some(set)) => Ok(set),
            (error, good_part) => Err(BadFiles { error, good_part }),
        }
    }
}

impl PairFiles {
    fn check(self) -> Result<CertificateSet, PathError> {
        let (paths, certificates, key) = match self {
            PairFiles::Bad(path, error) => {
                return Err(PathError { path, reason: Reason::Read(error) });
            }
            PairFiles::Read { paths, certificates, key } => (paths, certificates, key),
        };
        CertificateSet::from_pem(&certificates, &key).map_err(|error| {
            let path = if error.is_about_key() { paths.1 } else { paths.0 };
            PathError { path, reason: Reason::Set(error) }
        })
    }
}
