//! Many handshakes, several at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::SmallRng;
use rustls::pki_types::ServerName;

use crate::client::Client;

/// Which name is next.
pub(crate) enum Pick {
    First,
    InTurn,
    Weighted(WeightedIndex<f64>),
}

impl Pick {
    pub(crate) fn parse(text: &str, names: usize) -> Result<Pick, String> {
        let weighted = |weight: fn(usize) -> f64| {
            WeightedIndex::new((1..=names).map(weight)).map(Pick::Weighted)
        };
        match text {
            "one" => Ok(Pick::First),
            "each" => Ok(Pick::InTurn),
            "uniform" => weighted(|_| 1.0).map_err(|e| e.to_string()),
            "zipf" => weighted(|rank| 1.0 / rank as f64).map_err(|e| e.to_string()),
            _ => Err(format!("\"{text}\" is no order of names")),
        }
    }

    fn of(&self, nth: usize, names: usize, random: &mut SmallRng) -> usize {
        match self {
            Pick::First => 0,
            Pick::InTurn => nth % names,
            Pick::Weighted(weights) => weights.sample(random),
        }
    }
}

/// How often each kind of failure was.
pub(crate) type Failures = BTreeMap<String, usize>;

#[derive(Default)]
pub(crate) struct Findings {
    /// In order.
    times: Vec<Duration>,
    took: Duration,
    pub(crate) failures: Failures,
}

impl Findings {
    fn micros(&self, quantile: f64) -> u128 {
        let at = (self.times.len() as f64 * quantile) as usize;
        self.times.get(at).map_or(0, Duration::as_micros)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "handshakes={} failed={} seconds={:.3} p50_us={} p99_us={}",
            self.times.len(),
            self.failures.values().sum::<usize>(),
            self.took.as_secs_f64(),
            self.micros(0.5),
            self.micros(0.99)
        )
    }
}

pub(crate) fn run(
    client: &Client,
    names: &[ServerName<'static>],
    pick: &Pick,
    count: usize,
    in_flight: usize,
) -> Findings {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    let mut all = Findings::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..in_flight)
            .map(|_| {
                scope.spawn(|| {
                    let mut random = SmallRng::from_os_rng();
                    let mut findings = Findings::default();
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= count {
                            return findings;
                        }
                        let name = &names[pick.of(nth, names.len(), &mut random)];
                        match client.handshake(name) {
                            Ok(handshake) => findings.times.push(handshake.took),
                            Err(kind) => *findings.failures.entry(kind).or_default() += 1,
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            let findings = thread.join().expect("thread");
            all.times.extend(findings.times);
            for (kind, count) in findings.failures {
                *all.failures.entry(kind).or_default() += count;
            }
        }
    });
    all.took = begin.elapsed();
    all.times.sort();
    all
}
