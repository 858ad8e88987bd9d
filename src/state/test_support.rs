//! Directories and entries for the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use zeroize::Zeroizing;

use super::*;
use crate::record::{KeyType, MemberRecord, Source};

pub(super) fn server_name(text: &str) -> ServerName {
    ServerName::from_operator(text.as_bytes()).unwrap()
}

pub(super) fn record(fill: u8, members: usize) -> Record {
    let types = [KeyType::Rsa, KeyType::RsaPss, KeyType::Ec, KeyType::Ed25519, KeyType::Ed448];
    let member = |key_type: KeyType| MemberRecord {
        key_type,
        not_before: -5,
        not_after: 1_800_000_000,
        leaf: vec![fill; 20 + key_type as usize],
        key: Zeroizing::new(vec![fill ^ 0xff; 10 + key_type as usize]),
        chain: (0..key_type as usize - 1).map(|i| vec![fill; 5 + i]).collect(),
    };
    Record {
        source: Source::Pushed,
        digest: [fill; 16],
        not_before: -5,
        not_after: 1_800_000_000,
        members: types.into_iter().take(members).map(member).collect(),
    }
}

/// Generation `number` of a name, whose bytes say so too.
pub(super) fn entry(name: &str, number: u64) -> StateEntry {
    StateEntry {
        name: server_name(name),
        seen: 77,
        current: Generation { number, record: record(number as u8, 2) },
        previous: None,
    }
}

/// A state directory of this user.
pub(super) struct TestDirectory {
    pub(super) dir: tempfile::TempDir,
    pub(super) state: StateDirectory,
}

impl TestDirectory {
    pub(super) fn new() -> TestDirectory {
        let dir = tempfile::tempdir().unwrap();
        let state = open_state(dir.path());
        TestDirectory { dir, state }
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(super) fn lock(&self, name: &str) -> Shard {
        self.state.lock(&server_name(name)).unwrap().unwrap()
    }

    /// Written and settled.
    pub(super) fn write(&self, entry: &StateEntry) {
        let mut shard = self.lock(entry.name.as_str());
        assert_eq!(shard.write(entry, Flush::Now), Ok(Written::Done));
        shard.settle().unwrap();
    }

    /// The files that begin with this, in order.
    pub(super) fn files(&self, prefix: &str) -> Vec<String> {
        files(self.dir.path(), prefix)
    }
}

pub(super) fn open_state(path: &std::path::Path) -> StateDirectory {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    StateDirectory::open(path, None).unwrap()
}

pub(super) fn files(path: &std::path::Path, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

/// What `load()` says, without the directory: generations, and why a file is none.
pub(super) fn loaded(state: &StateDirectory, path: &std::path::Path) -> Vec<String> {
    let mut loaded = Vec::new();
    let prefix = format!("{}/", path.display());
    state
        .load(&mut |file| {
            loaded.push(match file {
                Loaded::Entry(entry) => format!("{} {}", entry.name, entry.current.number),
                Loaded::Skipped(error) => error.to_string().replace(&prefix, ""),
            });
        })
        .unwrap();
    loaded
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A small file system of its own; `None`, with a reason, where one cannot be made.
pub(super) struct TestMount {
    pub(super) dir: tempfile::TempDir,
}

impl TestMount {
    pub(super) fn new(size: &str) -> Option<TestMount> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=0700");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(TestMount { dir }),
            Ok(output) => {
                eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: mount: {error}");
                None
            }
        }
    }

    pub(super) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(self.dir.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for TestMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}
