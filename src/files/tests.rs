mod changing;
mod directories;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use openssl::error::ErrorStack;
use openssl::pkey::{PKeyRef, Private};
use rustix::fs::{FileType, Mode};

use super::*;
use crate::certificate::test_support::{Leaf, now, p256, pair, rsa};
use crate::record::KeyType;

/// A directory with `cert` and `key` of `a.test` in it.
struct TestFiles {
    dir: tempfile::TempDir,
    pairs: Vec<Pair>,
    name: ServerName,
}

impl TestFiles {
    fn new() -> TestFiles {
        TestFiles::in_layout("$ssl_server_name.cert", "$ssl_server_name.key")
    }

    fn in_layout(cert: &str, key: &str) -> TestFiles {
        let dir = tempfile::tempdir().unwrap();
        let template =
            |file| PathTemplate::parse(&format!("{}/{file}", dir.path().display())).unwrap();
        let pairs = vec![Pair { cert: template(cert), key: template(key) }];
        TestFiles { dir, pairs, name: ServerName::from_client(b"a.test").unwrap() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn cert(&self) -> PathBuf {
        self.pairs[0].cert.path_for(&self.name)
    }

    fn key(&self) -> PathBuf {
        self.pairs[0].key.path_for(&self.name)
    }

    /// Writes a good pair.
    fn write(&self, key: &PKeyRef<Private>) {
        let (cert, key) = pair(key, &Leaf::default());
        fs::write(self.cert(), cert).unwrap();
        fs::write(self.key(), key).unwrap();
    }

    fn files(&self) -> Files {
        Files::new(self.pairs.clone(), Passwords::default())
    }

    fn look(&self) -> Look {
        self.files().read(&self.name)
    }

    fn stat(&self) -> SetStat {
        self.files().stat(&self.name)
    }

    fn present(&self) -> SetFiles {
        match self.look() {
            Look::Present(files) => files,
            Look::Absent => panic!("absent"),
        }
    }

    fn check(&self) -> Result<CertificateSet, BadFiles> {
        let result = self.files().check(&self.present(), &mut Parser::new());
        assert!(ErrorStack::get().errors().is_empty());
        result
    }

    /// What is wrong, with the directory left out.
    fn error(&self) -> String {
        let text = self.check().err().unwrap().error.to_string();
        text.replace(&format!("{}/", self.dir.path().display()), "")
    }

    fn absent(&self) -> Option<bool> {
        match self.look() {
            Look::Absent => Some(self.files().missing_directories().is_empty()),
            Look::Present(_) => None,
        }
    }
}

#[test]
fn good_files() {
    let files = TestFiles::new();
    files.write(&p256());
    let read = files.present();
    assert!(
        files.files().check(&read, &mut Parser::new()).is_ok_and(|set| set.covers(&files.name))
    );
    assert_eq!(files.present().digest(), read.digest());
    assert_eq!(files.stat(), *read.stat());

    let long_ago = now() - 100;
    assert!(!read.stat().is_settled(now()));
    assert!(!read.stat().is_settled(long_ago));
    assert!(read.stat().is_settled(now() + 3));

    files.write(&p256());
    assert_ne!(files.present().digest(), read.digest());
    assert_ne!(files.stat(), *read.stat());
}

#[test]
fn layouts() {
    for (cert, key) in [
        ("$ssl_server_name/fullchain.pem", "$ssl_server_name/privkey.pem"),
        ("certs/$ssl_server_name.pem", "private/$ssl_server_name.pem"),
        ("$ssl_server_name", "$ssl_server_name"),
    ] {
        let files = TestFiles::in_layout(cert, key);
        assert_eq!(files.absent(), Some(!cert.starts_with("certs")), "{cert}");
        for path in [files.cert(), files.key()] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        assert_eq!(files.absent(), Some(true), "{cert}");
        if cert == key {
            let (cert, key) = pair(&p256(), &Leaf::default());
            fs::write(files.cert(), [key, cert].concat()).unwrap();
        } else {
            files.write(&p256());
        }
        assert!(files.check().is_ok(), "{cert}");
    }
}

#[test]
fn absent_files() {
    let files = TestFiles::new();
    assert_eq!(files.absent(), Some(true));
    fs::remove_dir(files.dir.path()).unwrap();
    assert_eq!(files.absent(), Some(false));
    fs::write(files.dir.path(), "a file").unwrap();
    assert_eq!(files.absent(), Some(false));
    fs::remove_file(files.dir.path()).unwrap();
    fs::create_dir(files.dir.path()).unwrap();

    // Longer than a file name may be.
    let labels = [[b'a'; 60]; 4].join(&b'.');
    let long = ServerName::from_client(&labels).unwrap();
    let template = format!("{}/{}$ssl_server_name", files.dir.path().display(), "x".repeat(40));
    let template = PathTemplate::parse(&template).unwrap();
    let pairs = [Pair { cert: template.clone(), key: template }];
    assert!(matches!(Files::new(pairs.into(), Passwords::default()).read(&long), Look::Absent));

    // What a link leads to may be on a file system that is not mounted.
    symlink("nowhere", files.cert()).unwrap();
    symlink("nowhere", files.key()).unwrap();
    assert_eq!(files.absent(), None);
    assert_eq!(files.error(), "open() \"a.test.cert\" failed (2: No such file or directory)");
    let live = TestFiles::in_layout("$ssl_server_name/cert", "$ssl_server_name/key");
    assert_eq!(live.absent(), Some(true));
    symlink("nowhere", live.path("a.test")).unwrap();
    assert_eq!(live.absent(), None);
    fs::write(live.path("nowhere"), "a file").unwrap();
    assert_eq!(live.absent(), None);
}

#[test]
fn bad_files() {
    type Spoil = fn(&TestFiles);
    let fifo: Spoil = |f| {
        fs::remove_file(f.key()).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, f.key(), FileType::Fifo, mode, 0).unwrap();
    };
    let cases: &[(Spoil, &str)] = &[
        (
            |f| fs::remove_file(f.key()).unwrap(),
            "open() \"a.test.key\" failed (2: No such file or directory)",
        ),
        (
            |f| fs::remove_file(f.cert()).unwrap(),
            "open() \"a.test.cert\" failed (2: No such file or directory)",
        ),
        (fifo, "\"a.test.key\" is not a regular file"),
        (
            |f| {
                fs::remove_file(f.cert()).unwrap();
                fs::create_dir(f.cert()).unwrap();
            },
            "\"a.test.cert\" is not a regular file",
        ),
        (
            |f| {
                fs::remove_file(f.key()).unwrap();
                symlink("/dev/zero", f.key()).unwrap();
            },
            "\"a.test.key\" is not a regular file",
        ),
        (
            |f| fs::write(f.cert(), vec![0; 10_000_000]).unwrap(),
            "\"a.test.cert\" is larger than 256k",
        ),
        (
            |f| fs::write(f.cert(), vec![0; 256 * 1024]).unwrap(),
            "\"a.test.cert\": PEM data is empty",
        ),
        (
            |f| {
                fs::remove_file(f.key()).unwrap();
                symlink("a.test.key", f.key()).unwrap();
            },
            "open() \"a.test.key\" failed (40: Too many levels of symbolic links)",
        ),
        (
            |f| {
                fs::remove_file(f.key()).unwrap();
                symlink("nowhere", f.key()).unwrap();
            },
            "open() \"a.test.key\" failed (2: No such file or directory)",
        ),
        (|f| fs::write(f.key(), "").unwrap(), "\"a.test.key\": PEM data is empty"),
        (|f| fs::write(f.key(), "-----BEGIN PR").unwrap(), "\"a.test.key\": PEM data is truncated"),
        (
            |f| fs::write(f.key(), p256().private_key_to_pem_pkcs8().unwrap()).unwrap(),
            "\"a.test.key\": key does not match the certificate",
        ),
    ];
    for (spoil, expected) in cases {
        let files = TestFiles::new();
        files.write(&p256());
        let good = files.present();
        spoil(&files);
        assert_eq!(files.error(), *expected);
        let bad = files.present();
        assert_ne!(bad.digest(), good.digest(), "{expected}");
        assert_eq!(files.stat(), *bad.stat(), "{expected}");
        assert!(bad.stat().is_settled(now() + 3), "{expected}");

        // Repaired, it looks changed and is good.
        let _ = fs::remove_file(files.cert()).or_else(|_| fs::remove_dir(files.cert()));
        let _ = fs::remove_file(files.key());
        files.write(&p256());
        assert_ne!(files.stat(), *bad.stat(), "{expected}");
        assert!(files.check().is_ok(), "{expected}");
    }
}

#[test]
fn files_without_permission() {
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        return;
    }
    let files = TestFiles::new();
    files.write(&p256());
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(files.error(), "open() \"a.test.key\" failed (13: Permission denied)");
    fs::set_permissions(files.key(), fs::Permissions::from_mode(0o600)).unwrap();

    // Names can be looked up in a directory that cannot be listed.
    fs::set_permissions(files.dir.path(), fs::Permissions::from_mode(0o100)).unwrap();
    assert!(files.check().is_ok());
    fs::set_permissions(files.dir.path(), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(files.error(), "open() \"a.test.cert\" failed (13: Permission denied)");
    fs::set_permissions(files.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn two_pairs() {
    let mut files = TestFiles::new();
    files.write(&p256());
    let dir = files.dir.path().display();
    let template = |end| PathTemplate::parse(&format!("{dir}/$ssl_server_name.rsa.{end}")).unwrap();
    files.pairs.push(Pair { cert: template("cert"), key: template("key") });
    let single = files.present();
    assert_eq!(
        files.files().check(&single, &mut Parser::new()).map_err(|_| ()).unwrap().members().len(),
        1
    );

    let (cert, key) = pair(&rsa(), &Leaf::default());
    fs::write(files.path("a.test.rsa.cert"), cert).unwrap();
    assert_ne!(files.stat(), *single.stat());
    let bad = files.check().err().unwrap();
    assert!(bad.error.to_string().contains("a.test.rsa.key"));
    assert_eq!(bad.good_part.unwrap().members()[0].key_type(), KeyType::Ec);

    fs::write(files.path("a.test.rsa.key"), key).unwrap();
    assert_eq!(files.check().map_err(|_| ()).unwrap().members().len(), 2);
    assert_ne!(files.present().digest(), single.digest());
}

/// What a scan finds, without the directory.
fn scanned(files: &TestFiles) -> (Vec<String>, usize) {
    let scan = files.files().scan();
    (scan.names.iter().map(ToString::to_string).collect(), scan.skipped)
}

#[test]
fn scans() {
    let files = TestFiles::new();
    assert_eq!(scanned(&files), (vec![], 0));
    assert!(!files.files().scan().is_complete(), "an empty directory");
    for name in ["b.test.cert", "b.test.key", "a.test.key", "_.a.test.cert", ".hidden.cert"] {
        fs::write(files.path(name), "").unwrap();
    }
    for name in ["A.test.cert", "*.a.test.cert", "x..cert", "text", "-.key.old"] {
        fs::write(files.path(name), "").unwrap();
    }
    let names = ["_.a.test", "a.test", "b.test"].map(str::to_owned).to_vec();
    assert_eq!(scanned(&files), (names, 3));
    let scan = files.files().scan();
    assert!(scan.is_complete());
    assert_eq!(scan.first_skipped, Some(files.path("*.a.test.cert")));

    let live = TestFiles::in_layout("live/$ssl_server_name/c", "live/$ssl_server_name/k");
    assert_eq!(live.files().scan().errors.len(), 1, "no directory");
    for name in ["a.test", "A.test", "empty.test"] {
        fs::create_dir_all(live.path("live").join(name)).unwrap();
    }
    fs::write(live.path("live/README"), "").unwrap();
    fs::write(live.path("live/A.test/c"), "").unwrap();
    assert_eq!(scanned(&live), (vec!["a.test".to_owned(), "empty.test".to_owned()], 1));
}

#[test]
fn password_files() {
    let files = TestFiles::new();
    let path = files.path("passwords");
    let read = |path: &Path| Passwords::read(path).map(|_| ()).map_err(|e| e.to_string());
    assert!(read(&path).unwrap_err().starts_with("open() \""));
    fs::write(&path, "one\ntwo\n").unwrap();
    assert_eq!(read(&path), Ok(()));
    fs::write(&path, "x".repeat(2_000)).unwrap();
    assert!(read(&path).unwrap_err().starts_with("too long line in \""));
    fs::write(&path, "x\n".repeat(40_000)).unwrap();
    assert!(read(&path).unwrap_err().ends_with("is larger than 64k"));
    assert!(read(files.dir.path()).unwrap_err().starts_with("read() \""));
}

/// The number of a state of the files that startup compares.
#[test]
fn marks() {
    let files = TestFiles::new();
    files.write(&p256());
    let stat = files.stat();
    assert_eq!(stat.mark(now(), 1), 0, "written a moment ago");
    let later = now() + 10;
    assert_ne!(stat.mark(later, 1), 0);
    assert_eq!(stat.mark(later, 1), files.stat().mark(later, 1));
    assert_ne!(stat.mark(later, 1), stat.mark(later, 2), "accepted by something else");
    files.write(&p256());
    assert_ne!(stat.mark(later, 1), files.stat().mark(later, 1));
}
