//! All names that there are files for.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;

use super::error::{PathError, Reason, printable};
use super::{Files, directories};
use crate::server_name::ServerName;

/// What the directories that all names have in common hold.
#[derive(Default)]
pub(crate) struct Scan {
    /// In order, each once.
    pub(crate) names: Vec<ServerName>,
    /// How many files match but for their names, which are no server names in their normal form.
    pub(crate) skipped: usize,
    /// The first of those.
    pub(crate) first_skipped: Option<PathBuf>,
    /// Directories that could not be read: names may be missing.
    pub(crate) errors: Vec<PathError>,
}

impl Scan {
    /// The first file that was skipped, for the log.
    pub(crate) fn first_skipped_text(&self) -> Option<String> {
        self.first_skipped.as_deref().map(printable)
    }

    /// Whether a name that is not among these may be taken for one without files.
    pub(crate) fn is_complete(&self) -> bool {
        self.errors.is_empty() && !self.names.is_empty()
    }
}

impl Files {
    /// Lists the directories.
    pub(crate) fn scan(&self) -> Scan {
        let mut scan = Scan::default();
        for directory in self.fixed_directories() {
            if let Err(errno) = self.scan_directory(directory, &mut scan) {
                scan.errors.push(PathError::new(directory, Reason::Call("opendir", errno)));
            }
        }
        scan.names.sort_unstable();
        scan.names.dedup();
        scan
    }

    fn scan_directory(&self, directory: &Path, scan: &mut Scan) -> Result<(), Errno> {
        let templates = self.templates().filter(|t| t.fixed_directory() == directory);
        let templates: Vec<_> = templates.collect();
        for entry in directories::entries(directory)? {
            let entry = entry?;
            // Kubernetes' `..data` and the like; nobody's certificate is hidden.
            if entry.starts_with(b".") {
                continue;
            }
            for template in &templates {
                let Some(part) = template.variable_part(&entry) else { continue };
                match ServerName::from_operator(part) {
                    Some(name) if name.as_str().as_bytes() == part => scan.names.push(name),
                    _ => scan.skip(template.path_with(part)),
                }
            }
        }
        Ok(())
    }
}

impl Scan {
    /// Counts a path if there is a file: certbot's `live/README` is none of a name.
    fn skip(&mut self, path: PathBuf) {
        if statat(CWD, &path, AtFlags::empty()).is_ok() {
            self.skipped += 1;
            let is_first =
                |first: &PathBuf| path.as_os_str().as_bytes() < first.as_os_str().as_bytes();
            if self.first_skipped.as_ref().is_none_or(is_first) {
                self.first_skipped = Some(path);
            }
        }
    }
}
