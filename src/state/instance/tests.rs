use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use super::*;
use crate::state::test_support::{TestDirectory, files, is_root};

impl Instance {
    /// As a worker has it after a fork: another descriptor of the same opening.
    fn inherited(&self) -> std::os::fd::OwnedFd {
        self.file.fd().try_clone().unwrap()
    }
}

/// What the kernel does for a process that ends; at once, though other tests may be forking just now
/// and so have copies of the descriptor.
fn die(mut instance: Instance) {
    instance.stay();
    instance.file.unlock();
}

#[test]
fn a_thread_may_have_it() {
    fn assert_send<T: Send>() {}
    assert_send::<Instance>();
}

/// A master that is root claims for the workers' user.
#[test]
fn its_files_belong_to_the_owner_of_the_directory() {
    if !is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    chown(path, Some(12_345), None).unwrap();
    let state = StateDirectory::open(path, Some(12_345)).unwrap();
    Instance::begin(&state).unwrap().claim().unwrap();
    let files = files(path, "");
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        assert_eq!(fs::metadata(path.join(&file)).unwrap().uid(), 12_345, "{file}");
    }
}

#[test]
fn who_claimed_is_the_owner() {
    let test = TestDirectory::new();
    let mut old = Instance::begin(&test.state).unwrap();
    let mut new = Instance::begin(&test.state).unwrap();
    assert_ne!(old.name(), new.name());
    assert_eq!(owner(&test.state, old.name()), Ok(Ownership::Nobody));
    old.claim().unwrap();
    assert_eq!(owner(&test.state, old.name()), Ok(Ownership::Mine));
    assert_eq!(owner(&test.state, new.name()), Ok(Ownership::Other));
    assert_eq!(take_over_if_dead(&test.state, new.name(), || Ok(true)), Ok(false));

    // An upgrade: the new binary claims, and both live.
    new.claim().unwrap();
    assert_eq!(owner(&test.state, old.name()), Ok(Ownership::Other));
    assert_eq!(owner(&test.state, new.name()), Ok(Ownership::Mine));
    assert_eq!(test.files(".instance-").len(), 2);

    // It is given up: the old one is there still.
    let (old_name, new_name) = (old.name().to_owned(), new.name().to_owned());
    die(new);
    assert_eq!(owner(&test.state, &old_name), Ok(Ownership::Dead));
    assert_eq!(take_over_if_dead(&test.state, &old_name, || Ok(true)), Ok(true));
    assert_eq!(take_over_if_dead(&test.state, &old_name, || Ok(true)), Ok(true));
    assert_eq!(owner(&test.state, &old_name), Ok(Ownership::Mine));
    assert_eq!(owner(&test.state, &new_name), Ok(Ownership::Other));
    assert_eq!(test.files(".instance-"), [old_name]);
    assert_eq!(test.files(".owner"), [".owner"]);
}

#[test]
fn who_does_not_stay_gives_it_back() {
    let test = TestDirectory::new();
    let mut old = Instance::begin(&test.state).unwrap();
    old.claim().unwrap();
    old.stay();
    let mut new = Instance::begin(&test.state).unwrap();
    new.claim().unwrap();
    drop(new);
    assert_eq!(owner(&test.state, old.name()), Ok(Ownership::Mine));
    assert_eq!(test.files(".instance-"), [old.name()]);

    // Not if another has claimed since.
    let mut new = Instance::begin(&test.state).unwrap();
    new.claim().unwrap();
    let mut third = Instance::begin(&test.state).unwrap();
    third.claim().unwrap();
    drop(new);
    assert_eq!(owner(&test.state, third.name()), Ok(Ownership::Mine));

    // Nor to one that is gone.
    let old_name = old.name().to_owned();
    die(old);
    drop(third);
    assert_ne!(owner(&test.state, &old_name), Ok(Ownership::Mine));
}

#[test]
fn a_worker_does_not_keep_its_master_alive() {
    let test = TestDirectory::new();
    let mut master = Instance::begin(&test.state).unwrap();
    master.claim().unwrap();
    let other = Instance::begin(&test.state).unwrap();

    // A worker that closes what it inherited leaves the master's lock.
    drop(master.inherited());
    assert_eq!(owner(&test.state, other.name()), Ok(Ownership::Other));
    // One that does not, keeps it.
    let inherited = master.inherited();
    master.close_inherited();
    assert_eq!(owner(&test.state, other.name()), Ok(Ownership::Other));
    drop(inherited);
    while owner(&test.state, other.name()) != Ok(Ownership::Dead) {
        std::thread::yield_now();
    }
}

#[test]
fn one_of_two_takes_over() {
    let test = TestDirectory::new();
    let mut first = Instance::begin(&test.state).unwrap();
    // Where there was no owner, nobody has died.
    assert_eq!(take_over_if_dead(&test.state, first.name(), || Ok(true)), Ok(false));
    first.claim().unwrap();
    die(first);
    for _ in 0..20 {
        let instances: Vec<_> = (0..4).map(|_| Instance::begin(&test.state).unwrap()).collect();
        let done = std::thread::scope(|scope| {
            let threads: Vec<_> = instances
                .iter()
                .map(|instance| {
                    scope.spawn(|| take_over_if_dead(&test.state, instance.name(), || Ok(true)))
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap().unwrap()).collect::<Vec<bool>>()
        });
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "{done:?}");
        let mine = done.iter().position(|done| *done).unwrap();
        for (i, instance) in instances.iter().enumerate() {
            let expected = if i == mine { Ownership::Mine } else { Ownership::Other };
            assert_eq!(owner(&test.state, instance.name()), Ok(expected));
        }
        assert_eq!(test.files(".instance-").len(), 4);
        instances.into_iter().for_each(die);
    }
}

#[test]
fn while_another_claims() {
    let test = TestDirectory::new();
    let mut instance = Instance::begin(&test.state).unwrap();
    let claim = Claim::take(&test.state).unwrap().unwrap();
    assert_eq!(take_over_if_dead(&test.state, instance.name(), || Ok(true)), Ok(false));
    let error = instance.claim().unwrap_err().to_string();
    assert!(error.ends_with("/.claim\" is locked by another process"), "{error}");
    drop(claim);
    instance.claim().unwrap();
}

/// A claim must not remove the file of an instance that is just beginning.
#[test]
fn begun_during_claims() {
    let test = TestDirectory::new();
    let mut claimer = Instance::begin(&test.state).unwrap();
    std::thread::scope(|scope| {
        let claims = scope.spawn(|| (0..200).for_each(|_| claimer.claim().unwrap()));
        for _ in 0..200 {
            let instance = Instance::begin(&test.state).unwrap();
            assert!(instance.file().is_linked().unwrap());
            assert_eq!(is_free(&test.state, instance.name().as_bytes()), Ok(false));
        }
        claims.join().unwrap();
    });
}

#[test]
fn an_owner_that_makes_no_sense_is_none() {
    let test = TestDirectory::new();
    let instance = Instance::begin(&test.state).unwrap();
    let mut other = Instance::begin(&test.state).unwrap();
    other.claim().unwrap();
    let too_long = format!("{INSTANCE}{}", "1".repeat(100));
    for text in ["", "x", "a.test", ".instance-../x", ".instance-1-1", ".instance-", &too_long] {
        fs::write(test.path(".owner"), text).unwrap();
        let found = owner(&test.state, instance.name()).unwrap();
        assert!(matches!(found, Ownership::Dead | Ownership::Nobody), "{text}");
    }
    assert_eq!(take_over_if_dead(&test.state, instance.name(), || Ok(true)), Ok(true));
    assert_eq!(owner(&test.state, other.name()), Ok(Ownership::Other));
}

/// By the owner's list, and without one by the directory.
#[test]
fn others_that_live_are_known() {
    let test = TestDirectory::new();
    let others = || test.state.has_other_instance().unwrap();
    let mut old = Instance::begin(&test.state).unwrap();
    old.claim().unwrap();
    assert_eq!(test.state.listed_others(), Ok(Some(vec![])));
    assert!(!others());

    let mut new = Instance::begin(&test.state).unwrap();
    new.claim().unwrap();
    let old_name = old.name().as_bytes().to_vec();
    assert_eq!(test.state.listed_others(), Ok(Some(vec![old_name])));
    assert!(others());
    let new_path = test.path(new.name());
    let list = fs::read(&new_path).unwrap();
    for odd in [&b""[..], &list[..list.len() - 1], b"../x\n."] {
        fs::write(&new_path, odd).unwrap();
        assert_eq!(test.state.listed_others(), Ok(None));
        assert!(others());
    }
    fs::write(&new_path, &list).unwrap();
    die(old);
    assert!(!others());

    // One that takes over looks anew.
    let third = Instance::begin(&test.state).unwrap();
    die(new);
    assert_eq!(take_over_if_dead(&test.state, third.name(), || Ok(true)), Ok(true));
    assert_eq!(test.state.listed_others(), Ok(Some(vec![])));
    assert_eq!(test.files(".instance-"), [third.name()]);
    assert!(!others());
}

fn relatives(pids: &[i32], is_upgrade: bool) -> Relatives {
    Relatives { pids: pids.to_vec(), is_upgrade }
}

#[test]
fn strangers_are_who_has_the_file_open() {
    let test = TestDirectory::new();
    let me = getpid().as_raw_nonzero().get();
    let mut first = Instance::begin(&test.state).unwrap();
    first.claim().unwrap();
    assert_eq!(first.strangers(&relatives(&[], false)), []);

    let mut second = Instance::begin(&test.state).unwrap();
    second.claim().unwrap();
    assert_eq!(second.strangers(&relatives(&[], false)), [Some(me)]);
    // Once.
    assert_eq!(second.strangers(&relatives(&[], false)), []);
    second.claim().unwrap();
    assert_eq!(second.strangers(&relatives(&[me], false)), []);
    // Known by the file, not by what its name says.
    second.claim().unwrap();
    assert_eq!(second.strangers(&relatives(&[1], true)), [Some(me)]);

    // One that is gone meanwhile.
    second.claim().unwrap();
    die(first);
    assert_eq!(second.strangers(&relatives(&[], false)), []);
}

/// The lock of a process that is not in this one's /proc, or that does not let it look.
#[test]
fn a_stranger_that_cannot_be_seen() {
    let test = TestDirectory::new();
    let hidden = format!("{INSTANCE}1-1");
    // Open by a name that is no more.
    let lock = OwnFile::create(&test.state, b".hidden").unwrap();
    assert_eq!(lock.try_lock(FlockOperation::NonBlockingLockExclusive), Ok(true));
    fs::hard_link(test.path(".hidden"), test.path(&hidden)).unwrap();
    fs::remove_file(test.path(".hidden")).unwrap();

    let mut instance = Instance::begin(&test.state).unwrap();
    instance.claim().unwrap();
    assert_eq!(instance.strangers(&relatives(&[], false)), [None]);
    instance.claim().unwrap();
    assert_eq!(instance.strangers(&relatives(&[], true)), []);
}
