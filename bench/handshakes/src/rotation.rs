//! One rotation under handshakes: when was the old certificate served last?

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};

use crate::client::Client;
use crate::load::Failures;

const IN_FLIGHT: usize = 2;
/// For so long there was nothing old, then there is no more to come.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) enum Trigger {
    Hup(String),
    Send(String, Vec<Vec<u8>>),
}

impl Trigger {
    pub(crate) fn parse(args: &[&str]) -> Result<Trigger, String> {
        match args {
            ["hup", pid] => Ok(Trigger::Hup((*pid).to_owned())),
            ["send", socket, files @ ..] => {
                let read = |path: &&str| fs::read(path).map_err(|e| format!("{path}: {e}"));
                let texts = files.iter().map(read).collect::<Result<_, _>>()?;
                Ok(Trigger::Send((*socket).to_owned(), texts))
            }
            _ => Err("a trigger is: hup PID | send SOCKET FILE...".to_owned()),
        }
    }

    /// What was answered, if there is somebody who answers.
    fn pull(&self) -> std::io::Result<String> {
        match self {
            Trigger::Hup(pid) => {
                Command::new("kill").args(["-HUP", pid]).status()?;
                Ok(String::new())
            }
            Trigger::Send(socket, texts) => {
                let mut answers = String::new();
                for text in texts {
                    let mut stream = UnixStream::connect(socket)?;
                    stream.write_all(text)?;
                    stream.read_to_string(&mut answers)?;
                }
                Ok(answers)
            }
        }
    }
}

pub(crate) struct Findings {
    answered: Duration,
    /// None where nothing old was served after the trigger.
    last_old: Option<Duration>,
    handshakes: usize,
    answer: String,
    pub(crate) failures: Failures,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "handshakes={} answered_us={} last_old_us={} answer={:?}",
            self.handshakes,
            self.answered.as_micros(),
            self.last_old.unwrap_or_default().as_micros(),
            self.answer.lines().next().unwrap_or_default()
        )
    }
}

#[derive(Default)]
struct Seen {
    old: Option<Instant>,
    new: Option<Instant>,
    handshakes: usize,
    failures: Failures,
}

pub(crate) fn run(
    client: &Client,
    name: &ServerName<'static>,
    old: &CertificateDer<'static>,
    prepare: &str,
    trigger: &Trigger,
) -> Result<Findings, String> {
    let (seen, end) = (Mutex::new(Seen::default()), AtomicBool::new(false));
    let handshakes = || {
        while !end.load(Ordering::Relaxed) {
            let outcome = client.handshake(name);
            let mut seen = seen.lock().expect("seen");
            seen.handshakes += 1;
            match outcome {
                Ok(handshake) if handshake.leaf == *old => seen.old = Some(Instant::now()),
                Ok(_) => seen.new = Some(Instant::now()),
                Err(kind) => *seen.failures.entry(kind).or_default() += 1,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(handshakes);
        }
        let findings = rotate(&seen, prepare, trigger);
        end.store(true, Ordering::Relaxed);
        findings
    })
}

fn rotate(seen: &Mutex<Seen>, prepare: &str, trigger: &Trigger) -> Result<Findings, String> {
    let is_old = || seen.lock().expect("seen").old.is_some();
    wait_until(PATIENCE / 20, "old", is_old)?;
    let status = Command::new("sh").args(["-c", prepare]).status();
    if !status.map_err(|e| format!("sh: {e}"))?.success() {
        return Err(format!("failed: {prepare}"));
    }
    let start = Instant::now();
    let answer = trigger.pull().map_err(|e| format!("trigger: {e}"))?;
    let answered = start.elapsed();
    wait_until(PATIENCE, "new", || {
        let seen = seen.lock().expect("seen");
        seen.new.is_some() && seen.old.is_none_or(|old| old.elapsed() > QUIET)
    })?;
    let seen = seen.lock().expect("seen");
    Ok(Findings {
        answered,
        last_old: seen.old.and_then(|old| old.checked_duration_since(start)),
        handshakes: seen.handshakes,
        answer,
        failures: seen.failures.clone(),
    })
}

fn wait_until(patience: Duration, what: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
    let since = Instant::now();
    while !is_so() {
        if since.elapsed() > patience {
            return Err(format!("the {what} certificate is not served"));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}
