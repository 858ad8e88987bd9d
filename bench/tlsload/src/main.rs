//! Full TLS handshakes against a server on loopback.
//!
//! ```text
//! tlsload handshakes ADDR NAMES COUNT THREADS [tls12]   NAMES: one name, or a file with one a line
//! tlsload rotate ADDR CLEAR_ADDR DIRECTORY NAME ROTATIONS HANDSHAKES THREADS
//! tlsload swap ADDR DIRECTORY NAME WAY SWAPS SETTLE_EVERY BOUND_SECONDS
//! tlsload pushes ADDR API_SOCKET PUSHES NAMES CLIENTS HANDSHAKERS
//! tlsload refused ADDR FIRST|same COUNT THREADS         unknown names: from uFIRST on, or one
//! tlsload pairs DIRECTORY COUNT                         n0.test to nCOUNT.test
//! tlsload fill WAY API_SOCKET COUNT CLIENTS [KIND]      the same names: WAY is push, alone, or read
//! tlsload fit WAY KIND API_SOCKET DIRECTORY             WAY is push, twice, or read; KIND a key type
//! tlsload each ADDR FIRST END [unsigned]                n{FIRST}.test and so on, a handshake each
//! tlsload costs ROUNDS CALLS ADDR API_SOCKET COUNT ADDR API_SOCKET COUNT
//! tlsload resting API_SOCKET NAMES                      pushes names that the next two leave alone
//! tlsload pushes-at API_SOCKET PID push|dry RATE SECONDS NAMES
//! tlsload warm-at ADDR PID NAMES                        one for each of those at rest, until it is a hit
//! tlsload handshakes-at ADDR PID NAMES RATE SECONDS     for those at rest
//! tlsload sets DIRECTORY COUNT SERIAL p256|rsa          the same with an intermediate, and a list
//! ```
//! `rotate` writes a new pair for NAME, clears, and then makes HANDSHAKES handshakes, each of which
//! must be served the new certificate; handshakes go on while the files are being written, and none
//! may fail. `pushes` pushes over the API, and checks each answer and handshake against all that was
//! pushed. `fill` has a zone hold COUNT sets, and prints what each tenth took. `costs` compares what calls
//! cost two servers whose zones were filled with COUNT names each. `fit` has a zone take sets until it is
//! full. `each` may end before the server signs. `sets` writes NAME.cert.pem, NAME.key.pem and both in
//! bundles/NAME.pem. The others print one line; the exit status is 1 when anything was not as it should
//! be.

mod certificates;
mod contend;
mod costs;
mod fill;
mod fit;
mod http;
mod pushes;
mod refused;
mod rotate;
mod sets;
mod swap;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openssl::ssl::{Ssl, SslContext, SslMethod, SslSessionCacheMode, SslVerifyMode, SslVersion};

/// What a handshake came to: the serial number of the leaf, or the kind of failure.
pub(crate) type Outcome = Result<u64, String>;

/// A client that resumes nothing and verifies nothing but the signature.
pub(crate) fn context(tls12: bool) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_client()).expect("SSL context");
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    if tls12 {
        builder.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("protocol version");
    }
    builder.build()
}

/// One full handshake; the connection is reset, so that no port is left waiting.
pub(crate) fn handshake(context: &SslContext, addr: SocketAddr, name: &str) -> Outcome {
    handshake_on(connect(addr)?, context, name)
}

pub(crate) fn connect(addr: SocketAddr) -> Result<TcpStream, String> {
    let tcp = TcpStream::connect_timeout(&addr, Duration::from_secs(10))
        .map_err(|e| format!("connect: {e}"))?;
    tcp.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| e.to_string())?;
    tcp.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(tcp)
}

/// As `handshake()`, on a connection that is there.
pub(crate) fn handshake_on(tcp: TcpStream, context: &SslContext, name: &str) -> Outcome {
    let mut ssl = Ssl::new(context).map_err(|e| e.to_string())?;
    ssl.set_hostname(name).map_err(|e| e.to_string())?;
    let stream = ssl.connect(tcp).map_err(|e| format!("handshake: {e}"))?;
    let leaf = stream.ssl().peer_certificate().ok_or("no certificate")?;
    let serial = leaf.serial_number().to_bn().map_err(|e| e.to_string())?;
    let bytes = serial.to_vec();
    Ok(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// Numbers that are random enough: a linear congruential generator (Knuth's MMIX).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// `names` by uniform choice, `count` handshakes by `threads` threads.
fn handshakes(addr: SocketAddr, names: &[String], count: u64, threads: u64, tls12: bool) -> bool {
    let left = AtomicU64::new(count);
    let begin = Instant::now();
    let (mut times, mut failures) = (Vec::new(), BTreeMap::<String, u64>::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|seed| {
                let left = &left;
                scope.spawn(move || {
                    let context = context(tls12);
                    let mut random = Random(seed * 2 + 1);
                    let (mut times, mut failures) = (Vec::new(), Vec::new());
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        let name = &names[random.below(names.len())];
                        let start = Instant::now();
                        match handshake(&context, addr, name) {
                            Ok(_) => times.push(start.elapsed()),
                            Err(kind) => failures.push(kind),
                        }
                    }
                    (times, failures)
                })
            })
            .collect();
        for worker in workers {
            let (t, f) = worker.join().expect("worker");
            times.extend(t);
            for kind in f {
                *failures.entry(kind).or_default() += 1;
            }
        }
    });
    times.sort();
    let at = |q: f64| times.get((times.len() as f64 * q) as usize).copied().unwrap_or_default();
    println!(
        "handshakes={} failed={} seconds={:.2} p50={:?} p99={:?} {failures:?}",
        times.len(),
        failures.values().sum::<u64>(),
        begin.elapsed().as_secs_f64(),
        at(0.5),
        at(0.99)
    );
    failures.is_empty()
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ok = match words.as_slice() {
        ["handshakes", addr, names, count, threads, rest @ ..] => {
            let names = match std::fs::read_to_string(names) {
                Ok(text) => text.lines().map(str::to_owned).collect(),
                Err(_) => vec![(*names).to_owned()],
            };
            let (addr, tls12) = (address(addr), rest.contains(&"tls12"));
            handshakes(addr, &names, number(count), number(threads), tls12)
        }
        ["refused", addr, first, count, threads] => {
            refused::run(address(addr), first.parse().ok(), number(count), number(threads))
        }
        ["pairs", directory, count] => {
            for i in 0..number(count) {
                let (certificate, key) = certificates::pair(&format!("n{i}.test"), i);
                fit::write(std::path::Path::new(directory), i, &certificate, &key);
            }
            true
        }
        ["fit", way, kind, socket, directory] => fit::run(&fit::Plan {
            way: fit::Way::parse(way).expect("way"),
            kind: certificates::Kind::parse(kind).expect("kind"),
            socket: socket.into(),
            directory: directory.into(),
        }),
        ["each", addr, first, end, rest @ ..] => {
            fit::each(address(addr), number(first)..number(end), rest == ["unsigned"])
        }
        ["sets", directory, count, serial, key_type] => {
            let kind = certificates::Kind::parse(key_type).expect("key type");
            sets::write(directory.as_ref(), number(count), number(serial), kind).expect("write");
            true
        }
        ["swap", addr, directory, name, way, swaps, settle_every, bound] => {
            swap::run(&swap::Plan {
                addr: address(addr),
                directory: directory.into(),
                name: (*name).to_owned(),
                way: swap::Way::parse(way).expect("way"),
                swaps: number(swaps),
                settle_every: number(settle_every),
                bound: Duration::from_secs(number(bound)),
            })
        }
        ["rotate", addr, clear, directory, name, rotations, handshakes, threads] => {
            rotate::run(&rotate::Plan {
                addr: address(addr),
                clear: address(clear),
                directory: directory.into(),
                name: (*name).to_owned(),
                rotations: number(rotations),
                handshakes: number(handshakes),
                threads: number(threads),
            })
        }
        ["pushes", addr, socket, pushes, names, clients, handshakers] => {
            pushes::run(&pushes::Plan {
                addr: address(addr),
                socket: socket.into(),
                pushes: number(pushes),
                names: number(names) as usize,
                clients: number(clients) as usize,
                handshakers: number(handshakers) as usize,
            })
        }
        ["fill", way, socket, count, clients, rest @ ..] => fill::run(&fill::Plan {
            way: fill::Way::parse(way).expect("way"),
            kind: certificates::Kind::parse(rest.first().unwrap_or(&"p256")).expect("kind"),
            socket: socket.into(),
            count: number(count),
            clients: number(clients),
        }),
        ["resting", socket, names] => contend::prepare(socket.into(), number(names)),
        ["pushes-at", socket, worker, way, rate, seconds, names] => {
            contend::pushes(&contend::Pushes {
                socket: socket.into(),
                worker: (*worker).to_owned(),
                is_dry: *way == "dry",
                rate: number(rate),
                seconds: number(seconds),
                names: number(names),
            })
        }
        [what @ ("warm-at" | "handshakes-at"), addr, worker, names, rest @ ..] => {
            let at = |i: usize| rest.get(i).map_or(0, |text| number(text));
            let plan = contend::Handshakes {
                addr: address(addr),
                worker: (*worker).to_owned(),
                names: number(names),
                rate: at(0),
                seconds: at(1),
            };
            if *what == "warm-at" { contend::warm(&plan) } else { contend::handshakes(&plan) }
        }
        ["costs", rounds, calls, few @ .., addr, socket, count] if few.len() == 3 => {
            let side = |addr: &str, socket: &str, count: &str| costs::Server {
                addr: address(addr),
                socket: socket.into(),
                names: number(count) as usize,
            };
            let servers = [side(few[0], few[1], few[2]), side(addr, socket, count)];
            costs::run(number(rounds) as usize, calls, servers)
        }
        _ => {
            eprintln!(
                "usage: tlsload handshakes | rotate | swap | pushes | refused | ...: see src/main.rs"
            );
            false
        }
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
