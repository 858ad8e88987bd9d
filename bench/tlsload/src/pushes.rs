//! Pushes over the API from many clients while handshakes go on: no update may be lost, and what is
//! served is what was pushed last.

mod history;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::Random;
use crate::certificates::issue;
use crate::http::{Answer, Client};
use history::{Change, Condition, Effect, Findings, History, Seen, Span, What};

/// Sets of each name that are pushed in turn.
const PREPARED: usize = 16;
/// And those that it has before and after the run, so that the zone is as full.
const AT_REST: usize = 2;
const ISSUERS: usize = 4;
/// Names that a quarter of the calls and half of the handshakes go to.
const HOT: usize = 8;

pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) pushes: u64,
    pub(crate) names: usize,
    pub(crate) clients: usize,
    pub(crate) handshakers: usize,
}

fn name_of(name: usize) -> String {
    format!("n{name}.test")
}

fn path_of(name: usize) -> String {
    format!("/certs/sets/{}", name_of(name))
}

/// All sets that are pushed.
struct Bundles {
    /// Of each name: PEM.
    bundles: Vec<Vec<Vec<u8>>>,
    serials: HashMap<String, u64>,
}

fn serial_of(name: usize, set: usize) -> u64 {
    ((name as u64 + 1) << 32) | set as u64
}

impl Bundles {
    fn prepare(names: usize) -> Bundles {
        let issuers: Vec<_> =
            (0..ISSUERS).map(|i| issue(&format!("issuer {i}"), &[], i as u64, None)).collect();
        let (mut bundles, mut serials) = (Vec::new(), HashMap::new());
        let halves = [0..names / 2, names / 2..names];
        std::thread::scope(|scope| {
            let issuers = &issuers;
            let threads = halves.map(|half| {
                scope.spawn(move || half.map(|name| bundles_of(name, issuers)).collect::<Vec<_>>())
            });
            for (sets, fingerprints) in threads.into_iter().flat_map(|t| t.join().expect("thread"))
            {
                bundles.push(sets);
                serials.extend(fingerprints);
            }
        });
        Bundles { bundles, serials }
    }

    fn of(&self, name: usize, set: usize) -> &[u8] {
        &self.bundles[name][set]
    }
}

type Issuer = (X509, PKey<Private>);

fn bundles_of(name: usize, issuers: &[Issuer]) -> (Vec<Vec<u8>>, Vec<(String, u64)>) {
    let (own, www) = (name_of(name), format!("www.{}", name_of(name)));
    let sets = (0..PREPARED + AT_REST).map(|set| {
        let issuer = &issuers[set % issuers.len()];
        let (leaf, key) = issue(&own, &[&own, &www], serial_of(name, set), Some(issuer));
        let mut bundle = leaf.to_pem().expect("PEM");
        bundle.extend(issuer.0.to_pem().expect("PEM"));
        bundle.extend(key.private_key_to_pem_pkcs8().expect("PEM"));
        let digest = hash(MessageDigest::sha256(), &leaf.to_der().expect("DER")).expect("digest");
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        (bundle, (digest, serial_of(name, set)))
    });
    sets.unzip()
}

struct Shared<'a> {
    plan: &'a Plan,
    bundles: Bundles,
    begin: Instant,
    /// Pushes that are not begun.
    left: AtomicI64,
    /// Of each name: how often it was pushed, so that sets take turns.
    turns: Vec<AtomicU64>,
    end: AtomicBool,
}

impl Shared<'_> {
    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    fn is_end(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= 0
    }

    fn pick(&self, random: &mut Random, hot_percent: usize) -> usize {
        let names = self.plan.names;
        let is_hot = random.below(100) < hot_percent;
        random.below(if is_hot { HOT.min(names) } else { names })
    }
}

/// What a thread did and saw; by name.
#[derive(Default)]
struct Record {
    names: HashMap<usize, History>,
    /// Pushes by their status.
    pushes: BTreeMap<u16, u64>,
    others: BTreeMap<u16, u64>,
    unchanged: u64,
    handshakes: u64,
    refused: u64,
    wrong: u64,
    errors: Vec<String>,
}

impl Record {
    fn add(&mut self, other: Record) {
        for (name, history) in other.names {
            let all = self.names.entry(name).or_default();
            all.changes.extend(history.changes);
            all.seen.extend(history.seen);
        }
        for (all, counts) in [(&mut self.pushes, other.pushes), (&mut self.others, other.others)] {
            for (status, count) in counts {
                *all.entry(status).or_default() += count;
            }
        }
        self.unchanged += other.unchanged;
        self.handshakes += other.handshakes;
        self.refused += other.refused;
        self.wrong += other.wrong;
        self.errors.extend(other.errors);
    }

    fn history(&mut self, name: usize) -> &mut History {
        self.names.entry(name).or_default()
    }

    fn saw(&mut self, name: usize, span: Span, what: What) {
        self.history(name).seen.push(Seen { span, what, is_answer: true });
    }
}

/// A client of the API.
struct Pusher<'a> {
    shared: &'a Shared<'a>,
    client: Client,
    random: Random,
    record: Record,
    /// The generation that it knows of each name.
    known: HashMap<usize, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put(usize),
    Delete,
    Rollback,
}

impl<'a> Pusher<'a> {
    fn new(shared: &'a Shared<'a>, worker: &str, seed: u64) -> Pusher<'a> {
        Pusher {
            shared,
            client: Client::new(&shared.plan.socket, worker),
            random: Random(seed),
            record: Record::default(),
            known: HashMap::new(),
        }
    }

    fn run(mut self) -> Record {
        while !self.shared.is_end() {
            let name = self.shared.pick(&mut self.random, 25);
            match self.random.below(100) {
                0..46 => {
                    self.push(name, Condition::None);
                }
                46..92 => self.update(name),
                92..95 => {
                    self.change(name, Kind::Rollback, Condition::None);
                }
                95..97 => {
                    if let Some(generation) = self.generation(name) {
                        self.change(name, Kind::Rollback, Condition::Matches(generation));
                    }
                }
                _ => self.replace(name),
            }
        }
        self.record
    }

    /// A push of the name's next set; its status.
    fn push(&mut self, name: usize, condition: Condition) -> Option<u16> {
        self.shared.left.fetch_sub(1, Ordering::Relaxed);
        let turn = self.shared.turns[name].fetch_add(1, Ordering::Relaxed) as usize;
        self.change(name, Kind::Put(turn % PREPARED), condition)
    }

    /// Read, modify, write, until it is written.
    fn update(&mut self, name: usize) {
        // Mostly what the last answer told, which is old when another client was there.
        if self.random.below(100) < 30 {
            self.known.remove(&name);
        }
        loop {
            let generation = self.known.get(&name).copied().or_else(|| self.generation(name));
            let Some(generation) = generation else { return };
            match self.push(name, Condition::Matches(generation)) {
                Some(412) if !self.shared.is_end() => self.known.remove(&name),
                _ => return,
            };
        }
    }

    /// DELETE and PUT.
    fn replace(&mut self, name: usize) {
        let condition = match self.random.below(4) {
            0 => Condition::None,
            _ => match self.generation(name) {
                Some(generation) => Condition::Matches(generation),
                None => return,
            },
        };
        if self.change(name, Kind::Delete, condition) != Some(200) {
            return;
        }
        let condition = if self.random.below(2) == 0 { Condition::None } else { Condition::Absent };
        while self.push(name, condition) == Some(503) {}
    }

    /// GET.
    fn generation(&mut self, name: usize) -> Option<u64> {
        let (span, answer) = self.call("GET", &path_of(name), &[], &[])?;
        let what = match (answer.status, answer.generation) {
            (200, Some(generation)) => What::Generation(generation, self.serial(&answer)),
            (404, None) => What::Nothing,
            (status, _) => {
                self.record.errors.push(format!("GET: {status} {}", answer.body));
                return None;
            }
        };
        self.record.saw(name, span, what);
        let generation = answer.generation?;
        self.known.insert(name, generation);
        Some(generation)
    }

    fn serial(&self, answer: &Answer) -> Option<u64> {
        self.shared.bundles.serials.get(answer.fingerprint()?).copied()
    }

    fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Option<(Span, Answer)> {
        let from = self.shared.now();
        match self.client.call(method, path, headers, body) {
            Ok(answer) => Some((Span { from, to: self.shared.now() }, answer)),
            Err(error) => {
                self.record.errors.push(error);
                None
            }
        }
    }

    /// A change; its status.
    fn change(&mut self, name: usize, kind: Kind, condition: Condition) -> Option<u16> {
        let headers: Vec<(&str, String)> = match condition {
            Condition::None => Vec::new(),
            Condition::Matches(generation) => vec![("If-Match", format!("\"{generation}\""))],
            Condition::Absent => vec![("If-None-Match", "*".to_owned())],
        };
        let path = path_of(name);
        let shared = self.shared;
        let (span, answer) = match kind {
            Kind::Put(set) => self.call("PUT", &path, &headers, shared.bundles.of(name, set)),
            Kind::Delete => self.call("DELETE", &path, &headers, &[]),
            Kind::Rollback => self.call("POST", &format!("{path}/rollback"), &headers, &[]),
        }?;
        let is_push = matches!(kind, Kind::Put(_));
        let counts = if is_push { &mut self.record.pushes } else { &mut self.record.others };
        *counts.entry(answer.status).or_default() += 1;
        match answer.status {
            200 | 201 => self.changed(name, kind, condition, span, &answer),
            412 => {
                let what = answer.generation.map_or(What::Nothing, |g| What::Generation(g, None));
                self.record.saw(name, span, what);
            }
            404 if !is_push => self.record.saw(name, span, What::Nothing),
            // No previous one to roll back to; or tried for too long.
            409 if kind == Kind::Rollback => {}
            503 => {}
            status => self.record.errors.push(format!("{path}: {status} {}", answer.body)),
        }
        Some(answer.status)
    }

    fn changed(
        &mut self,
        name: usize,
        kind: Kind,
        condition: Condition,
        span: Span,
        answer: &Answer,
    ) {
        let told = self.serial(answer);
        let effect = match (kind, answer.generation) {
            (Kind::Delete, _) => {
                self.known.remove(&name);
                Effect::Removed
            }
            (_, None) => {
                self.record.errors.push(format!("no ETag: {}", answer.body));
                return;
            }
            (Kind::Put(_), Some(generation)) if answer.is_unchanged() => {
                self.record.unchanged += 1;
                self.known.insert(name, generation);
                self.record.saw(name, span, What::Generation(generation, told));
                return;
            }
            (Kind::Put(set), Some(generation)) => {
                self.known.insert(name, generation);
                let serial = serial_of(name, set);
                // An answer that tells of no set tells that it was replaced since.
                if told.is_none_or(|told| told == serial) {
                    Effect::Set { serial, generation }
                } else {
                    Effect::Untold { serial: Some(serial), other: generation }
                }
            }
            (Kind::Rollback, Some(generation)) => {
                self.known.insert(name, generation);
                match told {
                    Some(serial) => Effect::Set { serial, generation },
                    None => Effect::Untold { serial: None, other: generation },
                }
            }
        };
        self.record.history(name).changes.push(Change { span, condition, effect });
    }

    fn bytes_used(&mut self) -> u64 {
        let answer = self.call("GET", "/certs/", &[], &[]);
        answer.and_then(|(_, answer)| answer.number("bytes_used")).unwrap_or(u64::MAX)
    }

    fn empty(&mut self) {
        for name in 0..self.shared.plan.names {
            self.change(name, Kind::Delete, Condition::None);
        }
    }

    /// Gives each name the sets that it has at rest.
    fn rest(&mut self) {
        for name in 0..self.shared.plan.names {
            for set in PREPARED..PREPARED + AT_REST {
                let status = self.change(name, Kind::Put(set), Condition::None);
                if !matches!(status, Some(200 | 201)) {
                    self.record.errors.push(format!("{}: {status:?}", name_of(name)));
                }
            }
        }
    }
}

/// How full the zone is: before the run, with each name's sets at rest; after it, with the same ones;
/// then emptied; and filled again.
#[derive(Default)]
struct Bytes {
    empty: u64,
    before: u64,
    after: u64,
    emptied: u64,
    again: u64,
}

impl Bytes {
    /// Of a name with its sets at rest: itself, its sets, and the other name that they serve.
    const BLOCKS: usize = 2 + AT_REST;
    /// A block may be larger than what is in it by less than the smallest block, until all is free
    /// once.
    const SLACK: usize = 16;
    /// What is kept aside for replacements is of the size of the largest set so far.
    const RESERVE: u64 = 256;

    fn are_right(&self, names: usize) -> bool {
        let slack = Self::SLACK * (names * Self::BLOCKS + ISSUERS);
        (self.before..=self.before + slack as u64).contains(&self.after)
            && self.emptied == self.empty
            && (self.again..=self.again + Self::RESERVE).contains(&self.before)
            && self.before > self.empty
    }
}

fn handshakes(shared: &Shared<'_>, seed: u64) -> Record {
    let context = crate::context(false);
    let (mut random, mut record) = (Random(seed), Record::default());
    while !shared.end.load(Ordering::Relaxed) {
        let name = shared.pick(&mut random, 50);
        let server_name = match random.below(4) {
            0 => format!("www.{}", name_of(name)),
            _ => name_of(name),
        };
        let tcp = match crate::connect(shared.plan.addr) {
            Ok(tcp) => tcp,
            Err(error) => {
                record.errors.push(error);
                continue;
            }
        };
        let from = shared.now();
        let outcome = crate::handshake_on(tcp, &context, &server_name);
        let span = Span { from, to: shared.now() };
        let what = match outcome {
            Ok(serial) if serial >> 32 != name as u64 + 1 => {
                record.wrong += 1;
                continue;
            }
            Ok(serial) => What::Serial(serial),
            Err(kind) if kind.contains("unrecognized name") => {
                record.refused += 1;
                What::Nothing
            }
            Err(kind) => {
                record.errors.push(kind);
                continue;
            }
        };
        record.handshakes += 1;
        record.history(name).seen.push(Seen { span, what, is_answer: false });
    }
    record
}

pub(crate) fn run(plan: &Plan) -> bool {
    let workers = Client::workers(&plan.socket);
    let [first, ..] = workers.as_slice() else {
        eprintln!("no worker answers");
        return false;
    };
    let shared = Shared {
        plan,
        bundles: Bundles::prepare(plan.names),
        begin: Instant::now(),
        left: AtomicI64::new(plan.pushes as i64),
        turns: (0..plan.names).map(|_| AtomicU64::new(0)).collect(),
        end: AtomicBool::new(false),
    };
    let mut main = Pusher::new(&shared, first, 1);
    // Of what an earlier run has left.
    main.empty();
    main.record = Record::default();
    let mut bytes = Bytes { empty: main.bytes_used(), ..Bytes::default() };
    main.rest();
    bytes.before = main.bytes_used();
    main.record.pushes.clear();

    let begin = Instant::now();
    let (mut record, mut seconds) = (Record::default(), 0.0);
    std::thread::scope(|scope| {
        let shared = &shared;
        let seeds = |count: usize, base: u64| (0..count).map(move |i| base + 2 * i as u64);
        let pushers: Vec<_> = seeds(plan.clients, 101)
            .zip(workers.iter().cycle())
            .map(|(seed, worker)| scope.spawn(move || Pusher::new(shared, worker, seed).run()))
            .collect();
        let handshakers: Vec<_> = seeds(plan.handshakers, 1001)
            .map(|seed| scope.spawn(move || handshakes(shared, seed)))
            .collect();
        for pusher in pushers {
            record.add(pusher.join().expect("client"));
        }
        seconds = begin.elapsed().as_secs_f64();
        shared.end.store(true, Ordering::Relaxed);
        for handshaker in handshakers {
            record.add(handshaker.join().expect("client"));
        }
    });

    let pushes = std::mem::take(&mut record.pushes);
    let ends: Vec<Option<u64>> = (0..plan.names).map(|name| main.generation(name)).collect();
    record.add(std::mem::take(&mut main.record));
    let mut findings = Findings::default();
    let mut ended_otherwise = 0;
    for (name, end) in ends.iter().enumerate() {
        let history = record.history(name);
        history.check(&mut findings);
        if !history.ends_with(*end) {
            ended_otherwise += 1;
            eprintln!("{} ends with {end:?}", name_of(name));
        }
    }
    main.rest();
    bytes.after = main.bytes_used();
    main.empty();
    bytes.emptied = main.bytes_used();
    main.rest();
    bytes.again = main.bytes_used();
    record.errors.append(&mut main.record.errors);

    let status = |of: fn(u16) -> bool| -> u64 {
        pushes.iter().filter(|(status, _)| of(**status)).map(|(_, count)| count).sum()
    };
    let all = status(|_| true);
    println!(
        "pushes={all} 2xx={} 412={} 503={} other={} unchanged={} rollbacks_deletes={:?} \
         handshakes={} refused={} lost_updates={} wrong={} stale={} stale_answers={} \
         untold_answers={} below_removed={} ended_otherwise={ended_otherwise} errors={} \
         bytes_before={} bytes_after={} bytes_emptied={} bytes_again={} workers={} seconds={seconds:.1} pushes_per_second={:.0}",
        status(|s| s / 100 == 2),
        status(|s| s == 412),
        status(|s| s == 503),
        status(|s| s / 100 != 2 && s != 412 && s != 503),
        record.unchanged,
        record.others,
        record.handshakes,
        record.refused,
        findings.lost.len(),
        record.wrong,
        findings.stale.len(),
        findings.stale_answers.len(),
        findings.untold.len(),
        findings.below_removed,
        record.errors.len(),
        bytes.before,
        bytes.after,
        bytes.emptied,
        bytes.again,
        workers.len(),
        all as f64 / seconds,
    );
    let Findings { lost, untold, stale, stale_answers, .. } = &findings;
    let lists = [
        ("lost", lost),
        ("untold", untold),
        ("stale", stale),
        ("stale answer", stale_answers),
        ("error", &record.errors),
    ];
    for (what, list) in lists {
        for line in list.iter().take(5) {
            eprintln!("{what}: {line}");
        }
    }
    lists.iter().all(|(_, list)| list.is_empty())
        && record.wrong == 0
        && ended_otherwise == 0
        && bytes.are_right(plan.names)
}
