//! Rotations under load, checked: no failure, nothing stale after the clear's answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::certificates::pair;

pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) clear: SocketAddr,
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
    pub(crate) rotations: u64,
    pub(crate) handshakes: u64,
    pub(crate) threads: u64,
}

/// Writes both files: in place or by rename, either first, with or without a gap.
fn write(plan: &Plan, rotation: u64) {
    let (certificate, key) = pair(&plan.name, rotation);
    let certificate = (plan.directory.join(format!("{}.cert.pem", plan.name)), certificate);
    let key = (plan.directory.join(format!("{}.key.pem", plan.name)), key);
    let (first, second) = if rotation % 2 == 0 { (certificate, key) } else { (key, certificate) };
    let by_rename = rotation % 4 < 2;
    put(&first.0, &first.1, by_rename);
    if rotation % 3 == 0 {
        std::thread::sleep(Duration::from_millis(rotation % 7));
    }
    put(&second.0, &second.1, by_rename);
}

fn put(path: &Path, text: &[u8], by_rename: bool) {
    if by_rename {
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, text).expect("write");
        std::fs::rename(&fresh, path).expect("rename");
    } else {
        std::fs::write(path, text).expect("write");
    }
}

/// `GET /clear`; true when the answer was 200 and had arrived to its last byte.
fn clear(addr: SocketAddr) -> bool {
    let Ok(mut tcp) = TcpStream::connect(addr) else { return false };
    let request = b"GET /clear HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let mut answer = Vec::new();
    tcp.write_all(request).is_ok()
        && tcp.read_to_end(&mut answer).is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

struct Counts {
    /// Handshakes that began after this rotation's clear was answered must see it or a later one.
    cleared: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    stale: AtomicU64,
    end: AtomicBool,
}

pub(crate) fn run(plan: &Plan) -> bool {
    let counts = Counts {
        cleared: AtomicU64::new(0),
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        end: AtomicBool::new(false),
    };
    let mut refused = 0;
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| load(plan, &counts));
        }
        for rotation in 1..=plan.rotations {
            write(plan, rotation);
            if !clear(plan.clear) {
                refused += 1;
                continue;
            }
            counts.cleared.store(rotation, Ordering::SeqCst);
            let until = counts.done.load(Ordering::SeqCst) + plan.handshakes;
            while counts.done.load(Ordering::SeqCst) < until {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        counts.end.store(true, Ordering::SeqCst);
    });
    let (done, failed, stale) = (
        counts.done.load(Ordering::SeqCst),
        counts.failed.load(Ordering::SeqCst),
        counts.stale.load(Ordering::SeqCst),
    );
    println!(
        "rotations={} handshakes={done} failed={failed} stale={stale} clears_refused={refused}",
        plan.rotations
    );
    failed == 0 && stale == 0 && refused == 0
}

fn load(plan: &Plan, counts: &Counts) {
    let context = crate::context(false);
    while !counts.end.load(Ordering::SeqCst) {
        let cleared = counts.cleared.load(Ordering::SeqCst);
        if cleared == 0 {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        match crate::handshake(&context, plan.addr, &plan.name) {
            Ok(serial) if serial < cleared => {
                counts.stale.fetch_add(1, Ordering::SeqCst);
            }
            Ok(_) => {}
            Err(kind) => {
                eprintln!("{kind}");
                counts.failed.fetch_add(1, Ordering::SeqCst);
            }
        }
        counts.done.fetch_add(1, Ordering::SeqCst);
    }
}
