//! Files that change while they are read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;

/// Calls `look` for a while, and until it has seen enough, with a thread that keeps calling `change`
/// with the next number.
fn while_changing(change: impl Fn(usize) + Sync, mut look: impl FnMut() -> bool) {
    /// Ends the thread when `look` fails, too.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| (1..).take_while(|_| !is_done.load(Ordering::Relaxed)).for_each(&change));
        let _done = Done(&is_done);
        let start = Instant::now();
        // A loaded machine may run the thread whenever it does not run this one.
        while !look() || start.elapsed() < Duration::from_millis(300) {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing good was ever seen");
        }
    });
}

/// A certificate file and a key file, of two generations.
type Generations = [(Vec<u8>, Vec<u8>); 2];

fn generations() -> Generations {
    [(), ()].map(|()| pair(&p256(), &Leaf::default()))
}

/// With so many swaps, each at the worst moment, all looks the same before and after: of two generations
/// the certificate is then no match for the key.
const UNSEEN_SWAPS: usize = 3;

/// Looks at files that are swapped as a whole: what is read is of one generation, or nothing.
fn assert_read_whole(files: &TestFiles, generations: &Generations, swap: impl Fn(usize) + Sync) {
    let mut good = 0;
    let swaps = AtomicUsize::new(0);
    let counted = |generation| {
        swaps.fetch_add(1, Ordering::SeqCst);
        swap(generation);
    };
    while_changing(counted, || {
        let before = swaps.load(Ordering::SeqCst);
        let look = files.present();
        // One that had begun before may be among those that were seen.
        let seen = swaps.load(Ordering::SeqCst) - before + 1;
        match &look.pairs[0].1 {
            Ok(content) => {
                let is_read = |(cert, key): &(Vec<u8>, Vec<u8>)| {
                    *cert == **content.cert && *key == content.key()
                };
                let is_whole = generations.iter().any(is_read);
                assert!(is_whole || seen >= UNSEEN_SWAPS, "mixed");
                good += usize::from(is_whole);
            }
            Err(error) => assert_eq!(error.reason, Reason::ChangedWhileRead),
        }
        good > 0
    });
}

/// A set that was found good has a key that is its certificate's.
fn assert_not_mixed(files: &TestFiles) {
    if let Ok(set) = files.check() {
        let member = &set.members()[0];
        assert!(member.key().public_eq(&member.leaf().unwrap().public_key().unwrap()));
    }
}

#[test]
fn a_kubernetes_volume_is_read_whole() {
    let files = TestFiles::in_layout("$ssl_server_name/tls.crt", "$ssl_server_name/tls.key");
    let volume = files.path("a.test");
    fs::create_dir(&volume).unwrap();
    let generations = generations();
    for (number, (cert, key)) in generations.iter().enumerate() {
        let directory = volume.join(format!("..{number}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("tls.crt"), cert).unwrap();
        fs::write(directory.join("tls.key"), key).unwrap();
    }
    symlink("..0", volume.join("..data")).unwrap();
    symlink("..data/tls.crt", volume.join("tls.crt")).unwrap();
    symlink("..data/tls.key", volume.join("tls.key")).unwrap();

    assert_read_whole(&files, &generations, |generation| {
        symlink(format!("..{}", generation % 2), volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    });
}

#[test]
fn a_directory_that_is_swapped_is_read_whole() {
    let files = TestFiles::in_layout("$ssl_server_name/cert.pem", "$ssl_server_name/key.pem");
    let generations = generations();
    for (number, (cert, key)) in generations.iter().enumerate() {
        let directory = files.path(&number.to_string());
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("cert.pem"), cert).unwrap();
        fs::write(directory.join("key.pem"), key).unwrap();
    }
    symlink("0", files.path("a.test")).unwrap();

    assert_read_whole(&files, &generations, |generation| {
        symlink((generation % 2).to_string(), files.path("tmp")).unwrap();
        fs::rename(files.path("tmp"), files.path("a.test")).unwrap();
    });
}

/// Two renames cannot be seen as one; a pair of two generations is refused by the check.
#[test]
fn files_that_are_replaced_one_by_one_are_never_mixed() {
    let files = TestFiles::new();
    files.write(&p256());
    let generations = generations();
    let replace = |generation: usize| {
        let (cert, key) = &generations[generation % 2];
        for (path, content) in [(files.cert(), cert), (files.key(), key)] {
            fs::write(files.path("tmp"), content).unwrap();
            fs::rename(files.path("tmp"), path).unwrap();
        }
    };
    while_changing(replace, || {
        assert_not_mixed(&files);
        true
    });
}

/// In place, without a rename: what is read is one of the two texts or is refused.
#[test]
fn files_that_are_written_in_place_are_read_whole_or_refused() {
    let files = TestFiles::new();
    files.write(&p256());
    let generations = generations();
    let write = |generation: usize| {
        let (cert, key) = &generations[generation % 2];
        fs::write(files.cert(), cert).unwrap();
        fs::write(files.key(), key).unwrap();
    };
    while_changing(write, || {
        assert_not_mixed(&files);
        true
    });
}
