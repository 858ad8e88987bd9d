//! Two processes with one mapping: one does thousands of random operations and is killed by a signal at
//! some store, while the other one reads; which then goes on with what is left (P12).

use std::env;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};

use super::*;

/// Says to a process that it is the one to be killed: the directory, a seed, and the store.
const CHILD: &str = "TEST_STORE_CHILD";

/// Half of them are lazy.
const NAMES: usize = 16;
const ZONE: usize = 64 * 1024;
const NOTES: usize = 4096;

/// How many times a process is killed; `TEST_STORE_KILLS` for more.
const KILLS: u64 = 20;
/// Stores before it is: those of thousands of operations.
const STORES: u64 = 320_000;

fn is_lazy(name: usize) -> bool {
    name < NAMES / 2
}

fn name_of(name: usize) -> String {
    format!("n{name}.test")
}

/// What the process that writes notes beside the zone, in words: who holds the lock, how many
/// operations there were, and of each name which operation on it was begun, and which was done.
#[derive(Clone, Copy)]
struct Notes(Region);

impl Notes {
    const LOCK: usize = 0;
    const COUNT: usize = 1;

    fn begun(self, name: usize) -> u64 {
        self.0.load(2 + name, Ordering::SeqCst)
    }

    fn done(self, name: usize) -> u64 {
        self.0.load(2 + NAMES + name, Ordering::SeqCst)
    }

    fn begin(self, name: usize, operation: u64) {
        self.0.store(2 + name, operation, Ordering::SeqCst);
    }

    fn finish(self, name: usize, operation: u64) {
        self.0.store(2 + NAMES + name, operation, Ordering::SeqCst);
    }

    fn next(self) -> u64 {
        self.0.fetch_add(Self::COUNT, 1, Ordering::SeqCst) + 1
    }
}

/// An operation's number, and whether its name has a set after it, as one number.
fn noted(operation: u64, is_present: bool) -> u64 {
    operation << 1 | u64::from(is_present)
}

/// As NGINX's: its word is the pid of who holds it, and whoever waited for that process frees it.
impl ZoneLock for Notes {
    fn try_lock(&self) -> bool {
        self.0.compare_exchange(Self::LOCK, 0, std::process::id().into()).is_ok()
    }

    fn unlock(&self) {
        self.0.compare_exchange(Self::LOCK, std::process::id().into(), 0).unwrap();
    }
}

/// The notes and the zone, which are a file each.
fn map(directory: &Path) -> (Notes, Region) {
    let open = |name: &str, len| {
        let path = directory.join(name);
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len(len as u64).unwrap();
        Region::of_file(&file, len)
    };
    (Notes(open("notes", NOTES)), open("zone", ZONE))
}

/// The set that an operation publishes; of no size, and with no chain, that is like the one before.
fn set_of(operation: u64, name: usize) -> Record {
    let generation = u32::try_from(operation).unwrap();
    let chain: Vec<u32> = (0..generation % 4).map(|i| generation % 5 + i).collect();
    let leaf = 40 + (operation * 7_919 % 900) as usize;
    let record = sized(generation, leaf, 30 + (operation * 31 % 170) as usize, &chain);
    if is_lazy(name) { record } else { pushed(record) }
}

fn operation_of(record: &Record) -> u64 {
    let [a, b, c, d, ..] = record.digest;
    u32::from_be_bytes([a, b, c, d]).into()
}

struct Random(u64);

impl Random {
    /// Below `limit`, which is not large (xorshift).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Writes until the zone's region kills the process.
fn write_until_killed(notes: Notes, store: &Store, seed: u64) {
    let mut random = Random(seed);
    loop {
        let name = random.below(NAMES as u64) as usize;
        let Some(mut writer) = store.write(&notes) else { panic!("nobody else writes") };
        write(notes, store, &mut writer, name, random.below(10));
    }
}

fn write(notes: Notes, store: &Store, writer: &mut Writer<'_>, name: usize, what: u64) {
    let own = name_of(name);
    let operation = notes.next();
    match what {
        0 | 1 => {
            notes.begin(name, noted(operation, false));
            writer.remove(&own);
            notes.finish(name, noted(operation, false));
        }
        2 => {
            if let Lookup::Found(entry) = store.find(&own) {
                writer.set_last_good(&own, operation % 2 == 0);
                writer.note_stat(&own, entry.id, operation, operation);
                writer.set_failure(&own, operation % 3);
            }
        }
        3 => {
            writer.drop_previous(&own);
        }
        _ => {
            let record = set_of(operation, name);
            let served = [format!("s{}.test", operation % 7), format!("s{}.test", name % 3)];
            let served: Vec<&str> = served.iter().map(String::as_str).collect();
            let before = notes.begun(name);
            notes.begin(name, noted(operation, true));
            let publication = Publication {
                served: if is_lazy(name) { &[] } else { &served },
                previous: if what > 6 { Previous::Keep } else { Previous::Drop },
                ..publication(&own, &record, &[], operation)
            };
            match writer.publish(&publication) {
                Ok(_) => notes.finish(name, noted(operation, true)),
                Err(PublishError::Full { .. }) => notes.begin(name, before),
                Err(error) => panic!("{own}: {error:?}"),
            }
        }
    }
}

/// What is there of a name is whole, no older than what was done before it was read, and nothing that
/// was not begun by then.
fn assert_possible(notes: Notes, store: &Store, name: usize) {
    let done = notes.done(name);
    let read = store.read(&name_of(name));
    let begun = notes.begun(name);
    match read {
        Lookup::Found((_, record)) => {
            let operation = operation_of(&record);
            assert_eq!(record, set_of(operation, name), "{name}: a mix");
            assert!(operation >= done >> 1, "{name}: an older set");
            // A set that had no room was begun, and is not.
            assert!(operation <= begun >> 1 || begun == done, "{name}: a set of the future");
        }
        Lookup::Absent => {
            let may_be = done & 1 == 0 || begun != done || is_lazy(name);
            assert!(may_be || notes.begun(name) != done, "{name}: lost");
        }
        Lookup::Contended => {}
    }
}

/// After the writer's end: the set before what it had begun, or the one after.
fn assert_old_or_new(notes: Notes, store: &Store, name: usize) {
    let (done, begun) = (notes.done(name), notes.begun(name));
    match store.test_read(&name_of(name)) {
        Some(record) => {
            let operation = operation_of(&record);
            assert_eq!(record, set_of(operation, name));
            assert!([done, begun].contains(&noted(operation, true)), "{name}: {operation}");
        }
        None => assert!(is_lazy(name) || done & 1 == 0 || begun & 1 == 0, "{name}: lost"),
    }
}

fn spawn(path: &Path, seed: u64, stores: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "store::tests::processes::killed_by_a_signal", "--nocapture"])
        .env(CHILD, format!("{} {seed} {stores}", path.display()))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_by_a_signal() {
    if let Ok(told) = env::var(CHILD) {
        let [path, seed, stores] = told.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{told}")
        };
        let (notes, region) = map(Path::new(path));
        region.kill_process_after(stores.parse().unwrap());
        write_until_killed(notes, &Store::attach(region).unwrap(), seed.parse().unwrap());
        return;
    }

    let kills = env::var("TEST_STORE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (notes, region) = map(directory.path());
    let store = Store::format(region).unwrap();
    let empty = store.stats().free_bytes;

    let mut reads = 0;
    for kill in 1..=kills {
        // Some processes die in the repair of what the one before left: their first stores are that.
        let stores = if kill % 5 == 0 { kill * 7 } else { STORES + kill * 1_009 % 4_001 };
        let mut child = spawn(directory.path(), kill, stores);
        let status = loop {
            (0..NAMES).for_each(|name| assert_possible(notes, &store, name));
            reads += NAMES;
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert_eq!(status.signal(), Some(9), "{status}");
        let _ = notes.0.compare_exchange(Notes::LOCK, child.id().into(), 0);
        (0..NAMES).for_each(|name| assert_old_or_new(notes, &store, name));

        if kill % 5 != 4 {
            drop(store.write(&notes).unwrap());
            check(&store);
            (0..NAMES).for_each(|name| assert_old_or_new(notes, &store, name));
        }
        // What was begun is what there is, or not, from now on.
        for name in 0..NAMES {
            let read = store.test_read(&name_of(name));
            let now = read.map_or(noted(notes.next(), false), |r| noted(operation_of(&r), true));
            notes.finish(name, now);
            notes.begin(name, now);
        }
    }
    println!("{} operations, {reads} reads", notes.next());

    let mut writer = store.write(&notes).unwrap();
    let full = pushed(record(1, &[1]));
    writer.test_serve("last.test", &full, &["s1.test"], u64::MAX >> 20, 9).unwrap();
    writer.remove("last.test");
    (0..NAMES).for_each(|name| {
        assert!(writer.remove(&name_of(name)) || store.find(&name_of(name)) == Lookup::Absent)
    });
    drop(writer);
    check(&store);
    assert_eq!((store.stats().free_bytes, store.stats().resets), (empty, 0));
}
