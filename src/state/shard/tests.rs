use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::io::Errno;

use super::*;
use crate::state::Generation;
use crate::state::test_support::*;

/// A name that shares the lock of `a.test`.
fn neighbour() -> ServerName {
    let id = ShardId::of(&server_name("a.test"));
    let names = (0..).map(|i| server_name(&format!("{i}.test")));
    names.into_iter().find(|name| ShardId::of(name) == id).unwrap()
}

#[test]
fn names_share_the_locks_evenly() {
    assert_eq!(ShardId::of(&server_name("a.test")), ShardId(45));
    let mut counts = [0; 64];
    for i in 0..6_400 {
        counts[usize::from(ShardId::of(&server_name(&format!("www.{i}.test"))).0)] += 1;
    }
    assert!(counts.iter().all(|count| (50..150).contains(count)), "{counts:?}");
    for id in ShardId::all() {
        assert_eq!(ShardId::from_hex(id.hex().as_bytes()), Some(id));
    }
    for digits in ["", "0", "40", "3F", "+1", "000"] {
        assert_eq!(ShardId::from_hex(digits.as_bytes()), None);
    }
}

#[test]
fn written_read_and_removed() {
    let test = TestDirectory::new();
    let name = server_name("a.test");
    let mut shard = test.lock("a.test");
    assert_eq!(shard.read(&name), Ok(None));
    assert_eq!(shard.generation(&name), Ok(None));
    assert_eq!(shard.remove(&name, 1, Flush::Now), Ok(Removed::Absent));
    shard.settle().unwrap();

    for number in [1, 2, 5, 5] {
        let entry = entry("a.test", number);
        assert_eq!(shard.write(&entry, Flush::Now), Ok(Written::Done));
        shard.settle().unwrap();
        assert_eq!(shard.read(&name), Ok(Some(entry)));
        assert_eq!(shard.generation(&name), Ok(Some(number)));
        assert_eq!(test.files(".tmp-"), [""; 0]);
    }
    // Of a writer that was slower than another.
    assert_eq!(shard.write(&entry("a.test", 4), Flush::Now), Ok(Written::Older(5)));
    assert_eq!(shard.remove(&name, 4, Flush::Now), Ok(Removed::Older(5)));
    assert_eq!(shard.unsettled(), Ok(None));
    assert_eq!(shard.generation(&name), Ok(Some(5)));

    assert_eq!(shard.remove(&name, 5, Flush::Now), Ok(Removed::Done));
    assert_eq!(shard.read(&name), Ok(None));
    shard.settle().unwrap();
    assert_eq!(shard.write(&entry("a.test", 1), Flush::Now), Ok(Written::Done));
}

fn marked(name: &ServerName, removed: Option<u64>) -> Result<Option<Unsettled>, StateError> {
    Ok(Some(Unsettled { name: name.clone(), removed }))
}

#[test]
fn a_name_stays_until_it_is_settled() {
    let test = TestDirectory::new();
    let name = server_name("a.test");
    let id = ShardId::of(&name);
    assert_eq!(test.state.unsettled_shards(), []);
    let mut shard = test.lock("a.test");
    shard.write(&entry("a.test", 1), Flush::Now).unwrap();
    assert_eq!(test.state.unsettled_shards(), [id]);
    // The writer dies.
    drop(shard);
    assert_eq!(test.state.unsettled_shards(), [id]);

    let other = neighbour();
    let mut shard = test.state.lock(&other).unwrap().unwrap();
    assert_eq!(shard.unsettled(), marked(&name, None));
    // What would hide it is refused.
    let error = shard.write(&entry(other.as_str(), 1), Flush::Now).unwrap_err().to_string();
    assert!(error.ends_with("the last change was not settled"), "{error}");
    assert!(shard.remove(&other, 1, Flush::Now).is_err());
    assert_eq!(shard.unsettled(), marked(&name, None));
    assert_eq!(shard.read(&name).unwrap().unwrap().current.number, 1);
    shard.settle().unwrap();
    assert_eq!(shard.unsettled(), Ok(None));
    assert_eq!(test.state.unsettled_shards(), []);
    assert_eq!(shard.write(&entry(other.as_str(), 1), Flush::Now), Ok(Written::Done));
    shard.settle().unwrap();

    // A removal that nobody settled.
    assert_eq!(shard.remove(&name, 1, Flush::Now), Ok(Removed::Done));
    drop(shard);
    assert_eq!(test.lock("a.test").unsettled(), marked(&name, Some(1)));
}

/// Killed while the mark was written: nothing was changed yet.
#[test]
fn half_a_mark() {
    let test = TestDirectory::new();
    let mut shard = test.lock("a.test");
    shard.lock.write(b"a.").unwrap();
    shard.lock.write(&[b'a'; 70]).unwrap();
    assert_eq!(shard.unsettled(), Ok(None));
    assert_eq!(shard.write(&entry("a.test", 1), Flush::Now), Ok(Written::Done));
    assert_eq!(shard.unsettled(), marked(&server_name("a.test"), None));
}

#[test]
fn the_lock_of_another_name() {
    let test = TestDirectory::new();
    let mut shard = test.lock("a.test");
    let other = (0..).map(|i| server_name(&format!("{i}.test")));
    let other = other.into_iter().find(|name| ShardId::of(name) != shard.id).unwrap();
    let error = shard.write(&entry(other.as_str(), 1), Flush::Now).unwrap_err().to_string();
    assert!(error.ends_with("the lock is that of other names"), "{error}");
    assert!(shard.remove(&other, 1, Flush::Now).is_err());
    assert_eq!(test.files(other.as_str()), [""; 0]);
}

#[test]
fn one_has_the_lock() {
    let test = TestDirectory::new();
    let name = server_name("a.test");
    let shard = test.lock("a.test");
    assert!(test.state.lock(&name).unwrap().is_none());
    assert!(test.state.lock(&neighbour()).unwrap().is_none());
    let state = test.state.clone();
    let thread = std::thread::spawn(move || {
        assert!(state.lock(&server_name("a.test")).unwrap().is_none());
        drop(shard);
        state.lock(&server_name("a.test")).unwrap().unwrap()
    });
    let shard = thread.join().unwrap();
    assert!(test.state.lock(&name).unwrap().is_none());

    // A lock on a file that somebody removed is nobody's.
    fs::remove_file(test.path(&format!(".lock-{}", shard.id.hex()))).unwrap();
    assert!(test.state.lock(&name).unwrap().is_some());
}

/// The kernel frees what a process held that was killed.
#[test]
fn a_killed_process_holds_nothing() {
    let test = TestDirectory::new();
    let name = server_name("a.test");
    let id = ShardId::of(&name);
    drop(test.lock("a.test"));
    let script = format!("exec 9<>'.lock-{}'; flock -x 9; echo held; exec sleep 60", id.hex());
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(test.dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert!(test.state.lock(&name).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(test.state.lock(&name).unwrap().is_some());
}

#[test]
fn too_large_for_a_file() {
    let test = TestDirectory::new();
    let mut large = entry("a.test", 2);
    large.current.record.members[0].leaf = vec![0; MAX_SIZE];
    test.write(&entry("a.test", 1));
    let mut shard = test.lock("a.test");
    let error = shard.write(&large, Flush::Now).unwrap_err().to_string();
    assert!(error.ends_with("a.test\": entry is larger than 1024k"), "{error}");
    assert_eq!(shard.unsettled(), Ok(None));
    assert_eq!(shard.generation(&large.name), Ok(Some(1)));
}

#[test]
fn a_full_disk() {
    let Some(mount) = TestMount::new("256k") else { return };
    let path = mount.dir.path();
    let state = open_state(path);
    let name = server_name("a.test");
    let mut shard = state.lock(&name).unwrap().unwrap();
    shard.write(&entry("a.test", 1), Flush::Now).unwrap();
    shard.settle().unwrap();
    let mut large = entry("a.test", 2);
    let record = large.current.record.clone();
    large.current.record.members[0].leaf = vec![1; 20_000];
    large.previous = Some(Generation { number: 1, record });

    // From no room for the mark to a little too few for the entry.
    for free in 0..5 {
        let filler = path.join(".filler");
        let mut size = 64 * 4096;
        while fs::write(&filler, vec![0; size - free * 4096]).is_err() {
            size -= 4096;
        }
        let error = shard.write(&large, Flush::Now).unwrap_err();
        assert!(error.is_out_of_room(), "{free}: {error}");
        assert_eq!(shard.unsettled(), Ok(None), "{free}");
        assert!(state.unsettled_shards().is_empty());
        assert_eq!(files(path, ".tmp-"), [""; 0]);
        assert_eq!(shard.read(&name), Ok(Some(entry("a.test", 1))));
        fs::remove_file(&filler).unwrap();
    }
    assert_eq!(shard.write(&large, Flush::Now), Ok(Written::Done));
}

#[test]
fn a_read_only_disk() {
    let Some(mount) = TestMount::new("256k") else { return };
    let path = mount.dir.path();
    let state = open_state(path);
    let name = server_name("a.test");
    let mut shard = state.lock(&name).unwrap().unwrap();
    shard.write(&entry("a.test", 1), Flush::Now).unwrap();
    drop(shard);
    mount.remount("ro");
    let error = state.lock(&name).err().unwrap();
    assert_eq!(error.errno(), Some(Errno::ROFS));
    let error = error.to_string();
    assert!(error.starts_with("open() \"/") && error.contains("/.lock-"), "{error}");
    assert!(error.ends_with("\" failed (30: Read-only file system)"), "{error}");
    assert_eq!(loaded(&state, path), ["a.test 1"]);
}

/// What another instance has in memory, and may take over with the directory.
#[test]
fn what_was_removed_is_noted_for_other_instances() {
    use crate::state::{Instance, Listing};

    let test = TestDirectory::new();
    let name = server_name("a.test");
    let remove = |number| {
        test.write(&entry("a.test", number));
        let mut shard = test.state.lock(&name).unwrap().unwrap();
        shard.remove(&name, number, Flush::Now).unwrap();
        shard.settle().unwrap();
    };
    let _own = Instance::begin(&test.state).unwrap();
    remove(1);
    assert_eq!(test.state.removed(), Ok(vec![]));
    let _other = Instance::begin(&test.state).unwrap();
    remove(2);
    assert_eq!(test.state.removed(), Ok(vec![(name.clone(), 2)]));
    assert_eq!(test.state.list(), Ok(Listing { entries: vec![], has_removed: true }));
    remove(3);
    assert_eq!(test.state.removed(), Ok(vec![(name.clone(), 3)]));
    test.state.forget_removed().unwrap();
    assert_eq!(test.state.removed(), Ok(vec![]));
}
