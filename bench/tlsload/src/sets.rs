//! Many certificates of one intermediate, as files that each kind of server can read.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use openssl::pkey::{PKey, Private};

use crate::certificates::{Kind, certify, issue};

/// RSA keys take a third of a second each. A server parses what it reads, so it makes no difference
/// to it that names share one.
const RSA_KEYS: u64 = 32;

/// Runs `work` for each number below `count`, on all CPUs.
fn for_each(count: u64, work: impl Fn(u64) -> io::Result<()> + Sync) -> io::Result<()> {
    let next = AtomicU64::new(0);
    let thread = || -> io::Result<()> {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                i if i < count => work(i)?,
                _ => return Ok(()),
            }
        }
    };
    let threads = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("thread"))
    })
}

fn keys(kind: Kind, count: u64) -> io::Result<Vec<PKey<Private>>> {
    let keys = Mutex::new(Vec::new());
    for_each(count, |_| {
        let key = kind.key();
        keys.lock().expect("keys").push(key);
        Ok(())
    })?;
    Ok(keys.into_inner().expect("keys"))
}

/// `n0.test` and on, with serial numbers from `serial` on, and `list`: each name with the path of its
/// certificate.
pub(crate) fn write(directory: &Path, count: u64, serial: u64, kind: Kind) -> io::Result<()> {
    fs::create_dir_all(directory.join("bundles"))?;
    let mut keys = match kind {
        Kind::P256 => Vec::new(),
        Kind::Rsa2048 | Kind::Rsa4096 => keys(kind, RSA_KEYS + 1)?,
    };
    let pair = |key: Option<PKey<Private>>, subject: &str, names: &[&str], serial, by| match key {
        Some(key) => (certify(&key, subject, names, serial, by), key),
        None => issue(subject, names, serial, by),
    };
    let intermediate = pair(keys.pop(), "intermediate", &[], serial, None);
    let issuer = intermediate.0.to_pem()?;
    for_each(count, |i| {
        let name = format!("n{i}.test");
        let key = keys.get((i % RSA_KEYS) as usize).cloned();
        let (leaf, key) = pair(key, &name, &[&name], serial + i, Some(&intermediate));
        let chain = [leaf.to_pem()?, issuer.clone()].concat();
        let key = key.private_key_to_pem_pkcs8()?;
        fs::write(directory.join("bundles").join(format!("{name}.pem")), [&*chain, &key].concat())?;
        fs::write(directory.join(format!("{name}.cert.pem")), chain)?;
        fs::write(directory.join(format!("{name}.key.pem")), key)
    })?;
    let path = |i| directory.join(format!("n{i}.test.cert.pem"));
    let list: String = (0..count).map(|i| format!("n{i}.test {}\n", path(i).display())).collect();
    fs::write(directory.join("list"), list)
}
