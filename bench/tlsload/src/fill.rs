//! A zone filled by numbered names over the API, with what each tenth of them took: that must not
//! grow with what is there already.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::certificates::{Issuer, Kind};
use crate::http::Client;

/// How a set comes into the zone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is pushed, with an intermediate that all have.
    Push,
    /// As that, without one.
    Alone,
    /// A worker reads its files.
    Read,
}

impl Way {
    pub(crate) fn parse(text: &str) -> Option<Way> {
        match text {
            "push" => Some(Way::Push),
            "alone" => Some(Way::Alone),
            "read" => Some(Way::Read),
            _ => None,
        }
    }
}

pub(crate) struct Plan {
    pub(crate) way: Way,
    pub(crate) kind: Kind,
    pub(crate) socket: PathBuf,
    pub(crate) count: u64,
    pub(crate) clients: u64,
}

/// Nanoseconds on a CPU of processes, so far.
pub(crate) fn cpu(pids: &[String]) -> u64 {
    let of = |pid: &String| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
        line.split(' ').next().and_then(|text| text.parse::<u64>().ok()).expect("nanoseconds")
    };
    pids.iter().map(of).sum()
}

/// The moment when a tenth was done.
struct Mark {
    at: Instant,
    cpu: u64,
}

pub(crate) fn run(plan: &Plan) -> bool {
    let workers = Client::workers(&plan.socket);
    let mark = || Mark { at: Instant::now(), cpu: cpu(&workers) };
    let issuer = Issuer::new(plan.kind);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let marks = Mutex::new(vec![mark()]);
    let tenth = plan.count.div_ceil(10);
    let mut errors = Vec::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..plan.clients)
            .zip(workers.iter().cycle())
            .map(|(_, worker)| {
                let (issuer, next, done, marks, mark) = (&issuer, &next, &done, &marks, &mark);
                scope.spawn(move || {
                    let mut client = Client::new(&plan.socket, worker);
                    let mut errors = Vec::new();
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= plan.count {
                            return errors;
                        }
                        errors.extend(add(plan.way, i, issuer, &mut client).err());
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        if done % tenth == 0 || done == plan.count {
                            marks.lock().expect("marks").push(mark());
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            errors.extend(client.join().expect("client"));
        }
    });
    report(plan.count, &marks.into_inner().expect("marks"), workers.len());
    for error in errors.iter().take(5) {
        eprintln!("{error}");
    }
    errors.is_empty()
}

fn add(way: Way, i: u64, issuer: &Issuer, client: &mut Client) -> Result<(), String> {
    let name = format!("n{i}.test");
    let answer = match way {
        Way::Push | Way::Alone => {
            let pair = issuer.issue(&name, i);
            let body = if way == Way::Push { pair.bundle() } else { pair.bundle_alone() };
            client.call("PUT", &format!("/certs/sets/{name}"), &[], &body)?
        }
        Way::Read => client.call("POST", &format!("/certs/clear?name={name}"), &[], &[])?,
    };
    match answer.status {
        200 | 201 => Ok(()),
        status => Err(format!("{name}: {status} {}", answer.body)),
    }
}

fn report(count: u64, marks: &[Mark], workers: usize) {
    let tenth = count.div_ceil(10);
    let rates: Vec<(f64, f64)> = marks
        .windows(2)
        .enumerate()
        .map(|(i, pair)| {
            let sets = tenth.min(count - i as u64 * tenth) as f64;
            let seconds = (pair[1].at - pair[0].at).as_secs_f64();
            (sets / seconds, (pair[1].cpu - pair[0].cpu) as f64 / 1000.0 / sets)
        })
        .collect();
    println!(
        "| tenth of {count} | a second | CPU of {workers} workers for one, us |\n|---|---|---|"
    );
    for (i, (rate, cpu)) in rates.iter().enumerate() {
        println!("| {} | {rate:.0} | {cpu:.0} |", i + 1);
    }
    if let (Some(first), Some(last)) = (rates.first(), rates.last()) {
        let (rate, cpu) = (last.0 / first.0, last.1 / first.1);
        println!("last to first: rate {rate:.2}, CPU {cpu:.2}");
    }
}
