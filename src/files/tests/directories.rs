//! What directories that are missing, or new, tell of the files in them.

use super::*;

/// What a zone would know.
#[derive(Default)]
struct Seen(std::cell::RefCell<[u64; 4]>);

impl SeenDirectories for Seen {
    fn seen(&self, index: usize) -> u64 {
        self.0.borrow()[index]
    }

    fn note(&self, index: usize, identity: u64) {
        self.0.borrow_mut()[index] = identity;
    }
}

#[test]
fn directories_that_can_tell() {
    let files = TestFiles::in_layout("c/$ssl_server_name", "c/$ssl_server_name");
    let seen = Seen::default();
    let (tells, notes) =
        (|| files.files().can_tell(&seen), || files.files().note_directories(&seen));
    assert!(!tells(), "missing");
    fs::create_dir(files.path("c")).unwrap();
    notes();
    assert!(!tells(), "empty, and nobody ever saw a file there");
    fs::write(files.path("c/a"), "").unwrap();
    notes();
    fs::remove_file(files.path("c/a")).unwrap();
    assert!(tells(), "empty, and the one that it was");

    fs::rename(files.path("c"), files.path("d")).unwrap();
    assert!(!tells(), "missing");
    fs::create_dir(files.path("c")).unwrap();
    notes();
    assert!(!tells(), "another one, and empty");
    fs::write(files.path("c/other"), "").unwrap();
    assert!(tells(), "another one, with something in it");
}

/// A directory that has no file of its own has no say, one that had has.
#[test]
fn one_of_two_directories() {
    let mut files = TestFiles::in_layout("a/$ssl_server_name", "a/$ssl_server_name");
    let second =
        PathTemplate::parse(&files.path("b/$ssl_server_name").display().to_string()).unwrap();
    files.pairs.push(Pair { cert: second.clone(), key: second });
    let seen = Seen::default();
    let (tells, notes) =
        (|| files.files().can_tell(&seen), || files.files().note_directories(&seen));
    for directory in ["a", "b"] {
        fs::create_dir(files.path(directory)).unwrap();
    }
    fs::write(files.path("a/x"), "").unwrap();
    notes();
    assert!(tells(), "b was always empty");

    fs::write(files.path("b/x"), "").unwrap();
    notes();
    fs::rename(files.path("b"), files.path("c")).unwrap();
    fs::create_dir(files.path("b")).unwrap();
    notes();
    assert!(!tells(), "b had files, and is another one now");
}

/// A zone that knows of directories.
#[derive(Default)]
struct Zone(std::cell::Cell<u64>);

impl SeenDirectories for Zone {
    fn seen(&self, _index: usize) -> u64 {
        self.0.get()
    }

    fn note(&self, _index: usize, identity: u64) {
        self.0.set(identity);
    }
}

#[test]
fn tags() {
    let test = TestFiles::new();
    let zone = Zone::default();
    let tag = || test.files().tag(&test.look(), &zone);
    assert_eq!(tag(), tag::NONE);

    test.write(&p256());
    let first = tag();
    assert!(first > tag::NONE);
    assert_eq!(tag(), first);
    test.write(&p256());
    assert_ne!(tag(), first);
    fs::write(test.key(), "nothing").unwrap();
    assert!(tag() > tag::NONE, "bad contents are told apart too");
    fs::remove_file(test.key()).unwrap();
    assert_eq!(tag(), tag::UNKNOWN, "half a pair");

    test.files().note_directories(&zone);
    fs::remove_file(test.cert()).unwrap();
    assert_eq!(tag(), tag::NONE);
    zone.0.set(1);
    assert_eq!(tag(), tag::UNKNOWN, "another directory, which is empty");
}
