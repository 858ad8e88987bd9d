use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;
use crate::state::test_support::*;
use crate::state::{Instance, Ownership, owner};

const PLACES: [&str; 7] =
    [".owner", ".owner-new", ".claim", ".lock-2d", ".tmp-2d", ".instance-1-1", ".removed-a.test"];

type Make = fn(&Path);
const KINDS: [Make; 4] = [
    |path| symlink("precious", path).unwrap(),
    |path| symlink("nowhere", path).unwrap(),
    |path| fs::create_dir(path).unwrap(),
    |path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap(),
];

#[test]
fn what_is_no_file_makes_room_for_one() {
    for make in KINDS {
        let test = TestDirectory::new();
        fs::write(test.path("precious"), "precious").unwrap();
        fs::set_permissions(test.path("precious"), fs::Permissions::from_mode(0o600)).unwrap();
        PLACES.iter().for_each(|place| make(&test.path(place)));

        assert_eq!(test.state.misplaced().count, PLACES.len());
        assert_eq!(test.files(".").len(), PLACES.len());
        let removed = test.state.remove_misplaced();
        assert_eq!((removed.count, removed.failed), (PLACES.len(), None));
        let first = removed.first.unwrap().to_string();
        assert!(first.ends_with("/.claim\" is not a regular file"), "{first}");
        assert_eq!(test.files("."), [""; 0]);
        assert_eq!(test.state.remove_misplaced(), Misplaced::default());

        let mut instance = Instance::begin(&test.state).unwrap();
        instance.claim().unwrap();
        assert_eq!(owner(&test.state, instance.name()), Ok(Ownership::Mine));
        test.write(&entry("a.test", 1));
        assert_eq!(fs::read(test.path("precious")).unwrap(), b"precious");
    }
}

#[test]
fn what_is_somebodys_stays() {
    let test = TestDirectory::new();
    // No places of ours, whatever they are.
    let others =
        [".lock-", ".lock-40", ".lock-2d.old", ".tmp-x", ".owner.old", ".hidden", "a.test"];
    others.iter().for_each(|name| fs::create_dir(test.path(name)).unwrap());
    // Regular files, whether they could be ours or not.
    for (i, place) in PLACES.iter().enumerate() {
        fs::write(test.path(place), "text").unwrap();
        let mode = if i % 2 == 0 { 0o600 } else { 0o644 };
        fs::set_permissions(test.path(place), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(test.state.remove_misplaced(), Misplaced::default());
    assert_eq!(test.files("").len(), others.len() + PLACES.len());
    assert!(PLACES.iter().all(|place| fs::metadata(test.path(place)).unwrap().size() == 4));
}

#[test]
fn a_directory_with_something_in_it_stays() {
    let test = TestDirectory::new();
    fs::create_dir_all(test.path(".claim/something")).unwrap();
    symlink("nowhere", test.path(".owner")).unwrap();
    let removed = test.state.remove_misplaced();
    assert_eq!(removed.count, 1);
    let failed = removed.failed.unwrap();
    assert!(failed.is_not_writable());
    let text = failed.to_string();
    assert!(text.starts_with("rmdir() \"/"), "{text}");
    assert!(text.ends_with("/.claim\" failed (39: Directory not empty)"), "{text}");
    assert!(test.path(".claim/something").exists());
    // What a start says that was overtaken by who put it there.
    let mut instance = Instance::begin(&test.state).unwrap();
    assert!(instance.claim().unwrap_err().is_not_writable());
}

/// Nothing that is in the place of a lock file keeps a start from what is there.
#[test]
fn nobody_writes_by_a_lock_that_is_no_file() {
    let test = TestDirectory::new();
    test.write(&entry("a.test", 1));
    for make in KINDS {
        fs::remove_file(test.path(".lock-2d")).unwrap();
        make(&test.path(".lock-2d"));
        assert!(test.state.check_locks().unwrap_err().is_not_writable());
        assert_eq!(test.state.wait_for_writers(std::time::Instant::now()), Ok(true));
        test.state.remove_misplaced();
        assert_eq!(test.state.check_locks(), Ok(()));
        test.write(&entry("a.test", 1));
    }
    make_open(&test.path(".lock-2d"));
    assert!(test.state.check_locks().unwrap_err().is_not_writable());
}

/// A note that is none says nothing of what was removed, and the others are read.
#[test]
fn notes_that_are_no_files() {
    let test = TestDirectory::new();
    fs::create_dir(test.path(".removed-a.test")).unwrap();
    symlink("nowhere", test.path(".removed-b.test")).unwrap();
    fs::write(test.path(".removed-c.test"), "3").unwrap();
    fs::set_permissions(test.path(".removed-c.test"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(test.state.removed(), Ok(vec![(server_name("c.test"), 3)]));
}

fn make_open(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}
