use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use rustix::fs::{CWD, mkfifoat};

use super::*;
use crate::state::test_support::*;
use crate::state::{Flush, Shard};

fn assert_send<T: Send>() {}

#[test]
fn all_of_it_goes_into_a_thread() {
    assert_send::<StateDirectory>();
    assert_send::<Shard>();
    assert_send::<StateEntry>();
    assert_send::<StateError>();
}

#[test]
fn a_directory_of_ones_own_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let mode = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let error = |path: &Path, owner| {
        let error = StateDirectory::open(path, owner).err().unwrap().to_string();
        error.replace(&dir.path().display().to_string(), "DIR")
    };
    let me = rustix::process::geteuid().as_raw();
    mode(0o700);
    assert_eq!(StateDirectory::open(path, Some(me)).unwrap().owner(), me);
    assert_eq!(
        error(path, Some(me + 1)),
        format!("\"DIR\" belongs to user {me}, it has to belong to user {}", me + 1)
    );
    for bits in [0o750, 0o705, 0o710, 0o1701] {
        mode(bits);
        let text = format!("\"DIR\" is open to group or others (mode {bits:04o})");
        assert_eq!(error(path, None), text);
    }
    mode(0o700);

    let missing = path.join("missing");
    assert_eq!(
        error(&missing, None),
        "open() \"DIR/missing\" failed (2: No such file or directory)"
    );
    let file = path.join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(error(&file, None), "open() \"DIR/file\" failed (20: Not a directory)");
    let link = path.join("link");
    symlink(path, &link).unwrap();
    assert!(StateDirectory::open(&link, None).is_err());
    assert!(StateDirectory::open(&path.join("link/"), None).is_err());
}

#[test]
fn entries_in_order() {
    let test = TestDirectory::new();
    for (name, number) in [("c.test", 3), ("_.a.test", 1), ("b.test", 2)] {
        test.write(&entry(name, number));
    }
    test.write(&entry("b.test", 9));
    assert_eq!(loaded(&test.state, test.dir.path()), ["_.a.test 1", "b.test 9", "c.test 3"]);
    let metadata = fs::metadata(test.path("b.test")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn what_is_not_ours_is_skipped() {
    let test = TestDirectory::new();
    for name in ["good.test", "linked.test", "open.test", "cut.test", "moved.test", "grown.test"] {
        test.write(&entry(name, 1));
    }
    let path = |file: &str| test.path(file);
    fs::hard_link(path("linked.test"), path(".second")).unwrap();
    fs::set_permissions(path("open.test"), fs::Permissions::from_mode(0o640)).unwrap();
    let bytes = fs::read(path("cut.test")).unwrap();
    fs::write(path("cut.test"), &bytes[..bytes.len() - 1]).unwrap();
    fs::rename(path("moved.test"), path("other.test")).unwrap();
    fs::write(path("grown.test"), vec![0; MAX_SIZE + 1]).unwrap();
    symlink(path("good.test"), path("link.test")).unwrap();
    symlink(path("nowhere"), path("nowhere.test")).unwrap();
    fs::create_dir(path("dir.test")).unwrap();
    mkfifoat(CWD, path("fifo.test"), Mode::RUSR | Mode::WUSR).unwrap();
    let text = |name: &str, text: &str| {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    text("text.test", "hello");
    text("empty.test", "");
    text("Upper.test", "");
    text("*.star.test", "");
    text("_", "");
    text(".hidden", "");

    let expected = [
        "\"*.star.test\" has no server name for its name",
        "\"Upper.test\" has no server name for its name",
        "\"_\" has no server name for its name",
        "\"cut.test\": entry is incomplete or damaged",
        "\"dir.test\" is not a regular file",
        "\"empty.test\": entry is incomplete or damaged",
        "\"fifo.test\" is not a regular file",
        "good.test 1",
        "\"grown.test\": entry is larger than 1024k",
        "open() \"link.test\" failed (40: Too many levels of symbolic links)",
        "\"linked.test\" has 2 links",
        "open() \"nowhere.test\" failed (40: Too many levels of symbolic links)",
        "\"open.test\" is open to group or others (mode 0640)",
        "\"other.test\": entry is that of another name",
        "\"text.test\": not an entry of a state directory",
    ];
    assert_eq!(loaded(&test.state, test.dir.path()), expected);

    // None of them has a generation that a push would have to beat, and a push mends most.
    for name in ["link.test", "open.test", "fifo.test", "text.test", "empty.test", "linked.test"] {
        assert_eq!(test.state.generation(&server_name(name)), Ok(None), "{name}");
        test.write(&entry(name, 1));
        assert_eq!(test.state.generation(&server_name(name)), Ok(Some(1)), "{name}");
    }
    let mut shard = test.lock("dir.test");
    let error = shard.write(&entry("dir.test", 1), Flush::Now).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ISDIR));
    assert_eq!(shard.unsettled(), Ok(None));
    assert_eq!(test.files(".tmp-"), [""; 0]);
}

/// A master that is root works for the workers' user.
#[test]
fn files_belong_to_the_owner_of_the_directory() {
    if !is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let user = 12_345;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    chown(dir.path(), Some(user), None).unwrap();
    let state = StateDirectory::open(dir.path(), Some(user)).unwrap();
    let name = server_name("a.test");
    let mut shard = state.lock(&name).unwrap().unwrap();
    shard.write(&entry("a.test", 1), Flush::Now).unwrap();
    let files = files(dir.path(), "");
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert_eq!(fs::metadata(dir.path().join(&file)).unwrap().uid(), user, "{file}");
    }
    assert_eq!(loaded(&state, dir.path()), ["a.test 1"]);

    chown(dir.path().join("a.test"), Some(0), None).unwrap();
    let expected = "\"a.test\" belongs to user 0, it has to belong to user 12345";
    assert_eq!(loaded(&state, dir.path()), [expected]);
    // Nothing of root's is changed, whatever name it is given.
    fs::write(dir.path().join("precious"), "precious").unwrap();
    let lock = ShardId::of(&server_name("b.test"));
    let lock_file = dir.path().join(format!(".lock-{}", hex(lock)));
    let _ = fs::remove_file(&lock_file);
    fs::rename(dir.path().join("precious"), &lock_file).unwrap();
    let error = state.lock_shard(lock).err().unwrap();
    assert!(error.to_string().contains("belongs to user 0"), "{error}");
    assert_eq!(fs::read(&lock_file).unwrap(), b"precious");
}

fn hex(id: ShardId) -> String {
    (0..64_u8)
        .map(|i| format!("{i:02x}"))
        .find(|hex| ShardId::from_hex(hex.as_bytes()) == Some(id))
        .unwrap()
}

#[test]
fn what_dead_writers_left_is_removed() {
    let test = TestDirectory::new();
    let held = test.lock("a.test");
    let held_file = format!(".tmp-{}", hex(ShardId::of(&server_name("a.test"))));
    let free = ShardId::all().find(|id| *id != ShardId::of(&server_name("a.test"))).unwrap();
    let free_file = format!(".tmp-{}", hex(free));
    for file in [&*held_file, &free_file, ".tmp-zz", ".tmp-", ".other"] {
        fs::write(test.path(file), "key").unwrap();
    }
    assert_eq!(loaded(&test.state, test.dir.path()), [""; 0]);
    // Its writer lives.
    assert_eq!(test.files(".tmp-"), [held_file]);
    drop(held);
    assert_eq!(loaded(&test.state, test.dir.path()), [""; 0]);
    assert_eq!(test.files(".tmp-"), [""; 0]);
    assert_eq!(test.files(".other"), [".other"]);
}

#[test]
fn a_directory_that_was_removed() {
    let test = TestDirectory::new();
    fs::remove_dir(test.dir.path()).unwrap();
    assert_eq!(loaded(&test.state, test.dir.path()), [""; 0]);
    let error = test.state.lock(&server_name("a.test")).err().unwrap();
    assert_eq!(error.errno(), Some(Errno::NOENT));
    fs::create_dir(test.dir.path()).unwrap();
}
