//! Names to files: all pairs of a name, read as they were at one moment.
//!
//! Reading and checking are two steps, so that files that hold what is served already need not be
//! parsed: `read()`, compare the digest, `SetFiles::check()`.

mod directories;
mod error;
mod password_file;
mod read;
mod scan;
mod stat;
pub(crate) mod tag;
mod template;

use std::cell::RefCell;
use std::path::Path;

use openssl::sha::Sha256;

use crate::certificate::{CertificateSet, Input, Member, MemberInput, Parser, Passwords};
use crate::server_name::ServerName;

pub(crate) use directories::SeenDirectories;
use error::Reason;
pub(crate) use error::{PathError, failed_call, printable};
use read::{PairContent, PairLook, PairPaths};
pub(crate) use scan::Scan;
pub(crate) use stat::SetStat;
pub(crate) use template::PathTemplate;

/// Where the certificate and the key of one key type are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) cert: PathTemplate,
    pub(crate) key: PathTemplate,
}

impl Pair {
    fn paths_for(&self, name: &ServerName) -> PairPaths {
        PairPaths { cert: self.cert.path_for(name), key: self.key.path_for(name) }
    }

    fn templates(&self) -> [&PathTemplate; 2] {
        [&self.cert, &self.key]
    }
}

/// Where the files of all names are, and what opens the keys among them.
#[derive(Default)]
pub(crate) struct Files {
    pairs: Vec<Pair>,
    passwords: RefCell<Passwords>,
}

/// What a look at the files of a name found.
pub(crate) enum Look {
    /// There is no file. Whether that means anything is up to `Files::can_tell()`.
    Absent,
    /// There are files; good or bad.
    Present(SetFiles),
}

/// The files of a name, as they were at one look. Key bytes are wiped when it is dropped.
pub(crate) struct SetFiles {
    /// Pairs that are there.
    pairs: Vec<(PairPaths, Result<PairContent, PathError>)>,
    digest: [u8; 16],
    stat: SetStat,
}

/// Files of which at least one is bad.
pub(crate) struct BadFiles {
    /// The first that is bad.
    pub(crate) error: PathError,
    /// The members from the pairs that are good.
    pub(crate) good_part: Option<CertificateSet>,
}

impl Files {
    pub(crate) fn new(pairs: Vec<Pair>, passwords: Passwords) -> Files {
        Files { pairs, passwords: RefCell::new(passwords) }
    }

    /// Wipes the passwords: no key is read any more.
    pub(crate) fn forget_passwords(&self) {
        drop(self.passwords.take());
    }

    /// Reads all files of a name.
    pub(crate) fn read(&self, name: &ServerName) -> Look {
        let mut digest = Digest::new();
        let mut present = Vec::new();
        let mut stats = Vec::with_capacity(self.pairs.len());
        for pair in &self.pairs {
            let paths = pair.paths_for(name);
            if let Some(stat) = read::stat_absent_pair(&paths) {
                digest.add(&PairLook::Absent);
                stats.push(stat);
                continue;
            }
            // Before the read: what changes after that must look changed at the next look.
            let before = read::stat_pair(&paths);
            let look = directories::blame(read::read_pair(&paths), pair);
            digest.add(&look);
            stats.push(match &look {
                PairLook::Read(content) => content.stat,
                PairLook::Absent | PairLook::Bad(_) => before,
            });
            match look {
                PairLook::Read(content) => present.push((paths, Ok(content))),
                PairLook::Bad(error) => present.push((paths, Err(error))),
                PairLook::Absent => {}
            }
        }

        if present.is_empty() {
            return Look::Absent;
        }
        let may_pass = present.iter().any(|(_, read)| matches!(read, Err(e) if e.may_pass()));
        let stat = SetStat { pairs: stats.into_boxed_slice(), may_pass };
        Look::Present(SetFiles { pairs: present, digest: digest.finish(), stat })
    }

    /// The stat of all files of a name, without reading them.
    pub(crate) fn stat(&self, name: &ServerName) -> SetStat {
        let stats = self.pairs.iter().map(|pair| read::stat_pair(&pair.paths_for(name)));
        SetStat { pairs: stats.collect(), may_pass: false }
    }

    /// Parses and checks what was read. Leaves OpenSSL's error queue empty.
    pub(crate) fn check(
        &self,
        files: &SetFiles,
        parser: &mut Parser,
    ) -> Result<CertificateSet, BadFiles> {
        let mut members = Vec::with_capacity(files.pairs.len());
        let mut first_error = None;
        for (paths, read) in &files.pairs {
            let checked = match read {
                Ok(content) => check_pair(paths, content, &self.passwords.borrow(), parser),
                Err(error) => Err(PathError::new(&error.path, error.reason)),
            };
            match checked {
                Ok(member) => members.push(member),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }

        match (CertificateSet::new(members), first_error) {
            (good_part, Some(error)) => Err(BadFiles { error, good_part }),
            (Some(set), None) => Ok(set),
            (None, None) => Err(BadFiles { error: nothing_read(), good_part: None }),
        }
    }

    fn templates(&self) -> impl Iterator<Item = &PathTemplate> {
        self.pairs.iter().flat_map(Pair::templates)
    }
}

impl SetFiles {
    /// The first 16 bytes of the SHA-256 over all contents. That of files that could not be read
    /// is never that of files that could.
    pub(crate) fn digest(&self) -> [u8; 16] {
        self.digest
    }

    pub(crate) fn stat(&self) -> &SetStat {
        &self.stat
    }

    /// Whether there is another pair of the name, whose files are both absent.
    pub(crate) fn is_one_absent(&self) -> bool {
        self.pairs.len() < self.stat.pairs.len()
    }

    /// The first certificate file: the path for what is wrong with the set as a whole.
    pub(crate) fn certificate_path(&self) -> &Path {
        self.pairs.first().map_or(Path::new(""), |(paths, _)| &paths.cert)
    }
}

fn check_pair(
    paths: &PairPaths,
    content: &PairContent,
    passwords: &Passwords,
    parser: &mut Parser,
) -> Result<Member, PathError> {
    let input = MemberInput { certificate_pem: &content.cert, key_pem: content.key(), passwords };
    Member::check(&input, parser).map_err(|bad| {
        let path = match bad.input {
            Input::Certificate => &paths.cert,
            Input::Key => &paths.key,
        };
        PathError::new(path, Reason::Content(bad.error))
    })
}

/// For `SetFiles` without pairs, which `read()` does not make.
fn nothing_read() -> PathError {
    PathError::new(Path::new(""), Reason::Content(crate::certificate::SetError::NoCertificate))
}

/// SHA-256 over what the pairs held, each part with its length before it.
struct Digest(Sha256);

impl Digest {
    fn new() -> Digest {
        Digest(Sha256::new())
    }

    fn add(&mut self, look: &PairLook) {
        match look {
            PairLook::Absent => self.0.update(b"absent"),
            PairLook::Bad(_) => self.0.update(b"bad"),
            PairLook::Read(content) => {
                self.0.update(b"read");
                for bytes in [&**content.cert, content.key()] {
                    self.0.update(&(bytes.len() as u64).to_be_bytes());
                    self.0.update(bytes);
                }
            }
        }
    }

    fn finish(self) -> [u8; 16] {
        let mut digest = [0; 16];
        digest.iter_mut().zip(self.0.finish()).for_each(|(to, from)| *to = from);
        digest
    }
}

#[cfg(test)]
mod tests;
