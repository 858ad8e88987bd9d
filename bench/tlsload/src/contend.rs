//! Two loads on two workers of a server: pushes at a rate, and handshakes at a low rate whose times
//! tell whether the pushes disturb them. Each runs in a process of its own, so that it can be bound to
//! a CPU.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use openssl::ssl::{Ssl, SslContext};

use crate::certificates::{Issuer, Kind};
use crate::http::Client;
use crate::{Random, connect, context};

/// Generations of a name that are pushed in turn.
const GENERATIONS: u64 = 2;
/// Connections that push, and threads that make handshakes.
const CLIENTS: u64 = 2;

/// Connections until one is to the worker that is wanted.
const TRIES: usize = 200;

/// Names that are pushed again and again, and names that are only served: no two have a parent in
/// common, which both would look for.
pub(crate) fn moving(i: u64) -> String {
    format!("m{i}.o{i}.test")
}

pub(crate) fn resting(i: u64) -> String {
    format!("n{i}.r{i}.test")
}

/// Pushes the names that are only served.
pub(crate) fn prepare(socket: PathBuf, names: u64) -> bool {
    let issuer = Issuer::new(Kind::P256);
    let mut client = Client::new(&socket, "any");
    let mut push = |i: u64| {
        let body = issuer.issue(&resting(i), i).bundle();
        let path = format!("/certs/sets/{}", resting(i));
        client.call("PUT", &path, &[], &body).is_ok_and(|answer| answer.status / 100 == 2)
    };
    (0..names).all(&mut push)
}

pub(crate) struct Pushes {
    pub(crate) socket: PathBuf,
    /// The process that gets them.
    pub(crate) worker: String,
    /// They are checked only, and change nothing.
    pub(crate) is_dry: bool,
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    pub(crate) names: u64,
}

/// Moments that lie apart by the same time; one that was missed is not made up for.
struct Pace {
    next: Instant,
    step: Duration,
}

impl Pace {
    fn new(rate: u64) -> Pace {
        Pace { next: Instant::now(), step: Duration::from_secs(1) / rate.max(1) as u32 }
    }

    fn wait(&mut self) {
        let now = Instant::now();
        if let Some(left) = self.next.checked_duration_since(now) {
            std::thread::sleep(left);
        }
        self.next = self.next.max(now) + self.step;
    }
}

/// Prints how many a second there were.
pub(crate) fn pushes(plan: &Pushes) -> bool {
    let issuer = Issuer::new(Kind::P256);
    let bundles: Vec<(String, Vec<u8>)> = (0..GENERATIONS * plan.names)
        .map(|i| {
            let name = moving(i % plan.names);
            let bundle = issuer.issue(&name, i).bundle();
            (format!("/certs/sets/{name}{}", if plan.is_dry { "?dry_run=1" } else { "" }), bundle)
        })
        .collect();
    let begin = Instant::now();
    let end = begin + Duration::from_secs(plan.seconds);
    let (mut done, mut failed) = (0, 0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| {
                let bundles = &bundles;
                scope.spawn(move || {
                    let mut client = Client::new(&plan.socket, &plan.worker);
                    let mut pace = Pace::new(plan.rate.div_ceil(CLIENTS));
                    let (mut done, mut failed) = (0, 0);
                    for (path, body) in
                        bundles.iter().cycle().skip(first as usize).step_by(CLIENTS as usize)
                    {
                        pace.wait();
                        if Instant::now() >= end {
                            break;
                        }
                        match client.call("PUT", path, &[], body) {
                            Ok(answer) if answer.status / 100 == 2 && !answer.is_unchanged() => {
                                done += 1
                            }
                            _ => failed += 1,
                        }
                    }
                    (done, failed)
                })
            })
            .collect();
        for client in clients {
            let (d, f) = client.join().expect("client");
            done += d;
            failed += f;
        }
    });
    println!("{:.0}", f64::from(done) / begin.elapsed().as_secs_f64());
    failed == 0 && done > 0
}

pub(crate) struct Handshakes {
    pub(crate) addr: SocketAddr,
    /// The process whose times are wanted; others answer, too.
    pub(crate) worker: String,
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    pub(crate) names: u64,
}

/// What a connection came to.
struct Seen {
    time: Duration,
    is_hit: bool,
}

/// Prints the handshakes of that worker, their median and 99th percentile in us, and the part of hits.
pub(crate) fn handshakes(plan: &Handshakes) -> bool {
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let (mut seen, mut errors) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                scope.spawn(move || {
                    let tls = context(false);
                    let mut random = Random(2 * seed + 1);
                    let mut pace = Pace::new(plan.rate.div_ceil(CLIENTS));
                    let (mut seen, mut errors) = (Vec::new(), Vec::new());
                    while Instant::now() < end {
                        pace.wait();
                        let name = resting(random.below(plan.names as usize) as u64);
                        match one(&tls, plan, &name) {
                            Ok(one) => seen.extend(one),
                            Err(error) => errors.push(error),
                        }
                    }
                    (seen, errors)
                })
            })
            .collect();
        for client in clients {
            let (s, e) = client.join().expect("client");
            seen.extend(s);
            errors.extend(e);
        }
    });
    seen.sort_by_key(|one| one.time);
    let at =
        |q: f64| seen.get((seen.len() as f64 * q) as usize).map_or(0, |one| one.time.as_micros());
    let hits = seen.iter().filter(|one| one.is_hit).count() as f64 / seen.len().max(1) as f64;
    println!("{} {} {} {hits:.4}", seen.len(), at(0.5), at(0.99));
    for error in errors.iter().take(5) {
        eprintln!("{error}");
    }
    errors.is_empty() && !seen.is_empty()
}

/// Handshakes for all names until that worker has served each from its cache.
pub(crate) fn warm(plan: &Handshakes) -> bool {
    let tls = context(false);
    let is_warm = |name: &str| {
        (0..TRIES).any(|_| {
            let seen = one(&tls, plan, name);
            matches!(seen, Ok(Some(Seen { is_hit: true, .. })))
        })
    };
    (0..plan.names).all(|i| is_warm(&resting(i)))
}

/// A handshake, and then the question who served it, and how; `None` when it was another worker.
fn one(tls: &SslContext, plan: &Handshakes, name: &str) -> Result<Option<Seen>, String> {
    let tcp = connect(plan.addr)?;
    let mut ssl = Ssl::new(tls).map_err(|e| e.to_string())?;
    ssl.set_hostname(name).map_err(|e| e.to_string())?;
    let begin = Instant::now();
    let mut stream = ssl.connect(tcp).map_err(|e| format!("handshake: {e}"))?;
    let time = begin.elapsed();
    let mut answer = Vec::new();
    let request = b"GET /pid HTTP/1.0\r\n\r\n";
    stream.write_all(request).map_err(|e| e.to_string())?;
    stream.read_to_end(&mut answer).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).ok_or("no answer")?;
    let (pid, status) = body.split_once(' ').ok_or("no status")?;
    Ok((pid == plan.worker).then_some(Seen { time, is_hit: status == "hit" }))
}
