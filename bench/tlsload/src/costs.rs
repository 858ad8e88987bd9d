//! What calls cost a server, by the number of names in its zone: two servers in turns, round by round,
//! with the median of the rounds' ratios and their quartiles.

use std::net::SocketAddr;
use std::path::PathBuf;

use openssl::ssl::SslContext;

use crate::certificates::{Issuer, Kind};
use crate::fill::cpu;
use crate::http::{Answer, Client};
use crate::{Random, context, handshake};

/// Calls in a round.
const CALLS: usize = 16;
/// Handshakes in a round, for names that the worker has.
const HANDSHAKES: usize = 400;
/// Generations of a name that are pushed in turn.
const GENERATIONS: usize = 2;

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) socket: PathBuf,
    /// `n0.test` and so on are in its zone; in that of a lazy one that is full, some of them.
    pub(crate) names: usize,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// The first handshake for a name: its set is read from the zone.
    FirstHandshake,
    /// One for any of the names, after each had one.
    Handshake,
    Push,
    Rollback,
    Delete,
    /// A page of 20 sets.
    List,
    Metrics,
    Zone,
    Clear,
    /// The files of a name that has to make room for itself.
    Evict,
}

impl Call {
    fn label(self) -> &'static str {
        match self {
            Call::FirstHandshake => "first handshake of a name",
            Call::Handshake => "handshake, all names warm",
            Call::Push => "push over an existing name",
            Call::Rollback => "rollback",
            Call::Delete => "delete",
            Call::List => "sets/?limit=20",
            Call::Metrics => "metrics?names=0",
            Call::Zone => "the prefix",
            Call::Clear => "clear",
            Call::Evict => "read a name, evict another",
        }
    }
}

fn name_of(i: usize) -> String {
    format!("n{i}.test")
}

struct Side {
    server: Server,
    client: Client,
    tls: SslContext,
    pid: [String; 1],
    /// What is pushed: the name and its generations.
    bundles: Vec<(String, [Vec<u8>; GENERATIONS])>,
    turn: usize,
    random: Random,
    /// Counts the names that had their first handshake, or were read.
    next: usize,
}

impl Side {
    fn new(server: Server, is_pushed: bool) -> Result<Side, String> {
        let [pid] = Client::workers(&server.socket)
            .try_into()
            .map_err(|pids: Vec<_>| format!("{} processes answer, not one", pids.len()))?;
        let client = Client::new(&server.socket, &pid);
        let issuer = Issuer::new(Kind::P256);
        let bundles = (0..if is_pushed { CALLS } else { 0 }).map(|i| {
            let name = name_of(i * (server.names / CALLS));
            let bundle =
                |generation: usize| issuer.issue(&name, (generation * CALLS + i) as u64).bundle();
            let bundles = std::array::from_fn(bundle);
            (name, bundles)
        });
        let bundles = bundles.collect();
        let tls = context(false);
        Ok(Side { server, client, tls, pid: [pid], bundles, turn: 0, random: Random(1), next: 0 })
    }

    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Answer, String> {
        self.client.call(method, &format!("/certs/{path}"), &[], body)
    }

    fn expect(&mut self, method: &str, path: &str, body: &[u8], status: u16) -> Result<(), String> {
        let answer = self.call(method, path, body)?;
        if answer.status == status {
            return Ok(());
        }
        Err(format!("{method} {path}: {} {}", answer.status, answer.body))
    }

    /// A name that did not come before; names that come one after another lie apart.
    fn next_name(&mut self) -> Result<String, String> {
        const STEP: usize = 7919;
        if self.next == self.server.names {
            return Err("no name is left for a first handshake: fewer rounds".to_owned());
        }
        let name = name_of(self.next * STEP % self.server.names);
        self.next += 1;
        Ok(name)
    }

    fn push(&mut self) -> Result<(), String> {
        self.turn = (self.turn + 1) % GENERATIONS;
        for i in 0..self.bundles.len() {
            let (name, bundles) = &self.bundles[i];
            let (path, body) = (format!("/certs/sets/{name}"), &bundles[self.turn]);
            let answer = self.client.call("PUT", &path, &[], body)?;
            if answer.status / 100 != 2 || answer.is_unchanged() {
                return Err(format!("PUT {path}: {} {}", answer.status, answer.body));
            }
        }
        Ok(())
    }

    /// One handshake for each name, by two threads.
    fn warm(&self) -> Result<(), String> {
        let half = |first: usize| {
            let context = context(false);
            (first..self.server.names)
                .step_by(2)
                .try_for_each(|i| handshake(&context, self.server.addr, &name_of(i)).map(drop))
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(move || half(1));
            half(0).and(other.join().expect("thread"))
        })
    }

    /// Nanoseconds of the server's CPU for one call.
    fn round(&mut self, call: Call) -> Result<f64, String> {
        let names: Vec<String> = match call {
            Call::FirstHandshake => {
                (0..CALLS).map(|_| self.next_name()).collect::<Result<_, _>>()?
            }
            Call::Handshake => {
                (0..HANDSHAKES).map(|_| name_of(self.random.below(self.server.names))).collect()
            }
            Call::Evict => self.absent_names()?,
            Call::Rollback | Call::Delete => self.bundles.iter().map(|(n, _)| n.clone()).collect(),
            Call::List => (0..CALLS).map(|i| self.page_after(i)).collect(),
            _ => vec![String::new(); CALLS],
        };
        let before = cpu(&self.pid);
        match call {
            Call::Push => self.push()?,
            _ => names.iter().try_for_each(|name| self.make(call, name))?,
        }
        let spent = cpu(&self.pid) - before;
        if call == Call::Delete {
            self.push()?;
        }
        Ok(spent as f64 / names.len() as f64)
    }

    fn make(&mut self, call: Call, name: &str) -> Result<(), String> {
        match call {
            Call::FirstHandshake | Call::Handshake => {
                handshake(&self.tls, self.server.addr, name).map(drop)
            }
            Call::Push => unreachable!("all at once"),
            Call::Rollback => self.expect("POST", &format!("sets/{name}/rollback"), &[], 200),
            Call::Delete => self.expect("DELETE", &format!("sets/{name}"), &[], 200),
            Call::List => self.expect("GET", &format!("sets/?limit=20&after={name}"), &[], 200),
            Call::Metrics => self.expect("GET", "metrics?names=0", &[], 200),
            Call::Zone => self.expect("GET", "", &[], 200),
            // The zone has no files: it says so.
            Call::Clear => self.expect("POST", "clear", &[], 409),
            Call::Evict => self.expect("POST", &format!("clear?name={name}"), &[], 200),
        }
    }

    fn page_after(&self, i: usize) -> String {
        name_of(i * (self.server.names / CALLS))
    }

    /// The next names that are not in the zone.
    fn absent_names(&mut self) -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for _ in 0..self.server.names {
            if names.len() == CALLS {
                break;
            }
            let name = name_of(self.next % self.server.names);
            self.next += 1;
            if self.call("GET", &format!("sets/{name}"), &[])?.status == 404 {
                names.push(name);
            }
        }
        if names.len() == CALLS { Ok(names) } else { Err("the zone holds all names".to_owned()) }
    }
}

/// `calls` is `pushed` for all that zones of pushed sets are asked, `warm` for handshakes with each name
/// in the worker's cache, `full` for lazy zones that do not hold all names.
pub(crate) fn run(rounds: usize, calls: &str, servers: [Server; 2]) -> bool {
    let calls: &[Call] = match calls {
        "pushed" => &[
            Call::FirstHandshake,
            Call::Push,
            Call::Rollback,
            Call::Delete,
            Call::List,
            Call::Metrics,
            Call::Zone,
            Call::Clear,
        ],
        "warm" => &[Call::Handshake],
        "full" => &[Call::Evict, Call::Metrics, Call::List],
        _ => &[],
    };
    match measure(rounds, calls, servers) {
        Ok(()) => !calls.is_empty(),
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

fn measure(rounds: usize, calls: &[Call], servers: [Server; 2]) -> Result<(), String> {
    let is_pushed = calls.contains(&Call::Push);
    let [few, many] = servers.map(|server| Side::new(server, is_pushed));
    let (mut few, mut many) = (few?, many?);
    println!(
        "| CPU of the server, us | {} names | {} names | ratio | quartiles |\n|---|---|---|---|---|",
        few.server.names, many.server.names
    );
    if calls.contains(&Call::Handshake) {
        few.warm()?;
        many.warm()?;
    }
    for call in calls {
        let mut times = Vec::new();
        // Before a round counts, its code and its data were used.
        for round in 0..=rounds {
            let (few, many) = (few.round(*call)?, many.round(*call)?);
            if round > 0 {
                times.push((few, many));
            }
        }
        let at = |mut values: Vec<f64>, q: f64| {
            values.sort_by(f64::total_cmp);
            values[((values.len() - 1) as f64 * q).round() as usize]
        };
        let ratios: Vec<f64> = times.iter().map(|(few, many)| many / few).collect();
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.2} to {:.2} |",
            call.label(),
            at(times.iter().map(|t| t.0).collect(), 0.5) / 1000.0,
            at(times.iter().map(|t| t.1).collect(), 0.5) / 1000.0,
            at(ratios.clone(), 0.5),
            at(ratios.clone(), 0.25),
            at(ratios, 0.75)
        );
    }
    Ok(())
}
