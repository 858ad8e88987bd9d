//! Files that are swapped without any clear, in the ways of renewal tools, while handshakes go on:
//! none may fail, and what is new must be served within a bound.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::certificates::pair;

pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
    pub(crate) way: Way,
    pub(crate) swaps: u64,
    /// After so many swaps each, the files are left alone until the new certificate is served.
    pub(crate) settle_every: u64,
    pub(crate) bound: Duration,
}

/// How the two files of a pair, `NAME/cert` and `NAME/key`, are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Each by rename.
    Rename,
    /// In place, the certificate first, the key after this.
    CertFirst(Duration),
    /// In place, the key first (acme.sh).
    KeyFirst(Duration),
    /// Two links, each removed and made again (certbot).
    Links,
    /// A link to a directory, replaced by rename (a Secret volume of Kubernetes).
    Data,
}

impl Way {
    pub(crate) fn parse(text: &str) -> Option<Way> {
        let (way, gap) = text.split_once(':').unwrap_or((text, "0"));
        let gap = Duration::from_millis(gap.parse().ok()?);
        Some(match way {
            "rename" => Way::Rename,
            "cert-first" => Way::CertFirst(gap),
            "key-first" => Way::KeyFirst(gap),
            "links" => Way::Links,
            "data" => Way::Data,
            _ => return None,
        })
    }
}

fn relink(target: &str, link: &Path) {
    let _ = fs::remove_file(link);
    symlink(target, link).expect("symlink");
}

fn write(plan: &Plan, serial: u64) {
    let (certificate, key) = pair(&plan.name, serial);
    let live = plan.directory.join(&plan.name);
    let put = |file: &str, text: &[u8]| fs::write(live.join(file), text).expect("write");
    match plan.way {
        Way::Rename => {
            for (file, text) in [("cert", &certificate), ("key", &key)] {
                put("new", text);
                fs::rename(live.join("new"), live.join(file)).expect("rename");
            }
        }
        Way::CertFirst(gap) => {
            put("cert", &certificate);
            std::thread::sleep(gap);
            put("key", &key);
        }
        Way::KeyFirst(gap) => {
            put("key", &key);
            std::thread::sleep(gap);
            put("cert", &certificate);
        }
        Way::Links => {
            for (file, text) in [("cert", &certificate), ("key", &key)] {
                put(&format!("{file}{serial}"), text);
            }
            for file in ["key", "cert"] {
                relink(&format!("{file}{serial}"), &live.join(file));
                let _ = fs::remove_file(live.join(format!("{file}{}", serial - 1)));
            }
        }
        Way::Data => {
            let version = format!("..{serial}");
            fs::create_dir(live.join(&version)).expect("directory");
            put(&format!("{version}/cert"), &certificate);
            put(&format!("{version}/key"), &key);
            symlink(&version, live.join("..new")).expect("symlink");
            fs::rename(live.join("..new"), live.join("..data")).expect("rename");
            let _ = fs::remove_dir_all(live.join(format!("..{}", serial - 1)));
        }
    }
}

fn begin(plan: &Plan) {
    let live = plan.directory.join(&plan.name);
    fs::create_dir_all(&live).expect("directory");
    if plan.way == Way::Data {
        for file in ["cert", "key"] {
            relink(&format!("..data/{file}"), &live.join(file));
        }
    }
    write(plan, 1);
}

pub(crate) fn run(plan: &Plan) -> bool {
    begin(plan);
    // Without a first certificate there is no last good one.
    let _ = crate::handshake(&crate::context(false), plan.addr, &plan.name);
    let (seen, done, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let end = AtomicBool::new(false);
    let mut delays = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let context = crate::context(false);
                while !end.load(Ordering::SeqCst) {
                    match crate::handshake(&context, plan.addr, &plan.name) {
                        Ok(serial) => seen.store(serial, Ordering::SeqCst),
                        Err(kind) => {
                            eprintln!("{kind}");
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for serial in 2..=plan.swaps + 1 {
            write(plan, serial);
            if (serial - 1) % plan.settle_every == 0 {
                let begin = Instant::now();
                while seen.load(Ordering::SeqCst) != serial && begin.elapsed() < 3 * plan.bound {
                    std::thread::sleep(Duration::from_millis(2));
                }
                delays.push(begin.elapsed());
            } else {
                std::thread::sleep(Duration::from_millis(serial % 13));
            }
        }
        end.store(true, Ordering::SeqCst);
    });
    delays.sort();
    let late = delays.iter().filter(|delay| **delay > plan.bound).count();
    let failed = failed.load(Ordering::SeqCst);
    println!(
        "swaps={} handshakes={} failed={failed} settled={} late={late} median_delay_ms={} \
         longest_delay_ms={}",
        plan.swaps,
        done.load(Ordering::SeqCst),
        delays.len(),
        delays.get(delays.len() / 2).map_or(0, Duration::as_millis),
        delays.last().map_or(0, Duration::as_millis),
    );
    failed == 0 && late == 0
}
