//! Handshakes that are to be refused: for names that nobody has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{context, handshake};

/// `count` of them by `threads` threads: for another name each, from `first` on, or all for one. Whether
/// each was refused by the alert for that.
pub(crate) fn run(addr: SocketAddr, first: Option<u64>, count: u64, threads: u64) -> bool {
    let next = AtomicU64::new(0);
    let mut outcomes = BTreeMap::<String, u64>::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let context = context(false);
                    let mut outcomes = BTreeMap::<String, u64>::new();
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= count {
                            return outcomes;
                        }
                        let name = match first {
                            Some(first) => format!("u{}.unknown.test", first + i),
                            None => "unknown.test".to_owned(),
                        };
                        let outcome = match handshake(&context, addr, &name) {
                            Ok(_) => "served".to_owned(),
                            Err(kind) if kind.contains("unrecognized name") => "refused".to_owned(),
                            Err(kind) => kind,
                        };
                        *outcomes.entry(outcome).or_default() += 1;
                    }
                })
            })
            .collect();
        for worker in workers {
            for (outcome, n) in worker.join().expect("worker") {
                *outcomes.entry(outcome).or_default() += n;
            }
        }
    });
    println!("{outcomes:?}");
    outcomes.len() == 1 && outcomes.contains_key("refused")
}
