//! How many sets a zone takes until it is full, and handshakes for each of them.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use openssl::ssl::{SslContext, SslMethod};

use crate::certificates::{Issuer, Kind};
use crate::http::Client;
use crate::{context, handshake};

/// How sets come into the zone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// They are pushed.
    Push,
    /// They are pushed twice, so that each has a previous generation.
    Twice,
    /// A worker reads their files.
    Read,
}

impl Way {
    pub(crate) fn parse(text: &str) -> Option<Way> {
        match text {
            "push" => Some(Way::Push),
            "twice" => Some(Way::Twice),
            "read" => Some(Way::Read),
            _ => None,
        }
    }
}

pub(crate) struct Plan {
    pub(crate) way: Way,
    pub(crate) kind: Kind,
    pub(crate) socket: PathBuf,
    /// For files, as the zone's `cert=` and `key=` say.
    pub(crate) directory: PathBuf,
}

/// What a zone has.
struct Zone {
    used: u64,
    sets: u64,
    previous: u64,
}

/// Prints how many sets fit, the bytes of leaf and key of each, and what each takes of the zone.
pub(crate) fn run(plan: &Plan) -> bool {
    match fill(plan) {
        Ok((sets, der, bytes)) => {
            println!("{sets} {der:.0} {bytes:.0}");
            true
        }
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

/// The sets that fit; of one, the bytes of leaf and key, and those of the zone: the slope behind the
/// first set, with which its intermediate and what is kept aside come.
fn fill(plan: &Plan) -> Result<(u64, f64, f64), String> {
    let issuer = Issuer::new(plan.kind);
    let worker = Client::workers(&plan.socket);
    let mut client = Client::new(&plan.socket, worker.first().ok_or("no worker answers")?);
    let (mut first, mut last, mut der) = (None, 0, 0);
    for i in 0.. {
        let pair = issuer.issue(&format!("n{i}.test"), i);
        let is_added = match plan.way {
            Way::Push => push(&mut client, i, &pair.bundle())?,
            Way::Twice => {
                let again = issuer.issue(&format!("n{i}.test"), i + (1 << 32));
                push(&mut client, i, &pair.bundle())? && push(&mut client, i, &again.bundle())?
            }
            Way::Read => {
                write(&plan.directory, i, &pair.chain(), &pair.key_pem());
                read(&mut client, i)?
            }
        };
        let zone = look(&mut client)?;
        let is_whole = zone.sets == i + 1 && (plan.way != Way::Twice || zone.previous == i + 1);
        if !is_added || !is_whole {
            let first = first.ok_or("not one set fits")?;
            let slope = (last - first) as f64 / (i - 1) as f64;
            return Ok((i, der as f64 / i as f64, slope));
        }
        first = first.or(Some(zone.used));
        last = zone.used;
        der += pair.der_len();
    }
    unreachable!()
}

fn push(client: &mut Client, i: u64, body: &[u8]) -> Result<bool, String> {
    let answer = client.call("PUT", &format!("/certs/sets/n{i}.test"), &[], body)?;
    match answer.status {
        200 | 201 => Ok(true),
        507 => Ok(false),
        status => Err(format!("n{i}.test: {status} {}", answer.body)),
    }
}

fn read(client: &mut Client, i: u64) -> Result<bool, String> {
    let answer = client.call("POST", &format!("/certs/clear?name=n{i}.test"), &[], &[])?;
    match answer.status {
        200 => Ok(true),
        status => Err(format!("n{i}.test: {status} {}", answer.body)),
    }
}

fn look(client: &mut Client) -> Result<Zone, String> {
    let answer = client.call("GET", "/certs/", &[], &[])?;
    let number = |name| answer.number(name).ok_or(format!("no {name} in {}", answer.body));
    let sets = number("pushed")? + number("startup")? + number("lazy")?;
    Ok(Zone { used: number("bytes_used")?, sets, previous: number("previous")? })
}

/// Writes the files of a pair.
pub(crate) fn write(directory: &Path, i: u64, certificate: &[u8], key: &[u8]) {
    let base = directory.join(format!("n{i}.test"));
    std::fs::write(base.with_extension("test.cert.pem"), certificate).expect("write");
    std::fs::write(base.with_extension("test.key.pem"), key).expect("write");
}

/// A handshake for each name. With `is_unsigned` the client takes no signature that the server can
/// make: it gets as far as to its certificate, and no further.
pub(crate) fn each(addr: SocketAddr, names: Range<u64>, is_unsigned: bool) -> bool {
    let tls = if is_unsigned { unsigned() } else { context(false) };
    let mut odd =
        names.map(|i| handshake(&tls, addr, &format!("n{i}.test"))).filter_map(|outcome| {
            match outcome {
                Ok(_) if is_unsigned => Some("it was signed".to_owned()),
                Err(error) if !is_unsigned => Some(error),
                _ => None,
            }
        });
    match odd.next() {
        Some(error) => {
            eprintln!("{error}");
            false
        }
        None => true,
    }
}

/// A client that takes signatures by a key that no set has.
fn unsigned() -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_client()).expect("SSL context");
    builder.set_sigalgs_list("ed25519").expect("signature algorithms");
    builder.build()
}
