//! Full TLS handshakes on loopback, each checked: the leaf has to be the one of the name, and the
//! signature has to be of its key.
//!
//! ```text
//! handshakes load ADDR LIST PICK COUNT IN_FLIGHT tls12|tls13
//! handshakes rotation ADDR NAME OLD NEW PREPARE hup PID
//! handshakes rotation ADDR NAME OLD NEW PREPARE send SOCKET FILE...
//! ```
//! LIST has a name and the path of its certificate on each line. PICK is the order of names: `one`,
//! the first only; `each`, in turn; `uniform`; `zipf`, the first most often, with exponent 1. `rotation`
//! makes handshakes for NAME, which is served the certificate in OLD, runs PREPARE by the shell, then,
//! from when on time counts, sends a signal, or each FILE to SOCKET, and goes on until there is only
//! the one in NEW. Both print one line, and on stderr each
//! kind of failure with its count; then the exit status is 1.

mod client;
mod list;
mod load;
mod rotation;

use std::process::ExitCode;

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number"))
}

fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no address"))
}

fn load(args: &[&str; 6]) -> Result<load::Failures, String> {
    let [addr, list, pick, count, in_flight, protocol] = args;
    let names = list::read(list.as_ref())?;
    let client = client::Client::new(address(addr)?, protocol, &names)?;
    let pick = load::Pick::parse(pick, names.len())?;
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    let findings = load::run(&client, &names, &pick, number(count)?, number(in_flight)?);
    println!("{findings}");
    Ok(findings.failures)
}

fn rotation(args: &[&str; 5], trigger: &[&str]) -> Result<load::Failures, String> {
    let [addr, name, old, new, prepare] = args;
    let name = list::server_name(name)?;
    let (old, new) = (list::leaf(old.as_ref())?, list::leaf(new.as_ref())?);
    let names = [(name.clone(), old.clone()), (name.clone(), new)];
    let client = client::Client::new(address(addr)?, "tls13", &names)?;
    let trigger = rotation::Trigger::parse(trigger)?;
    let findings = rotation::run(&client, &name, &old, prepare, &trigger)?;
    println!("{findings}");
    Ok(findings.failures)
}

fn run(args: &[&str]) -> Result<bool, String> {
    let failures = match args {
        ["load", addr, list, pick, count, in_flight, protocol] => {
            load(&[addr, list, pick, count, in_flight, protocol])?
        }
        ["rotation", addr, name, old, new, prepare, trigger @ ..] => {
            rotation(&[addr, name, old, new, prepare], trigger)?
        }
        _ => return Err("usage: handshakes load | rotation ...: see src/main.rs".to_owned()),
    };
    for (kind, count) in &failures {
        eprintln!("{count} failed: {kind}");
    }
    Ok(failures.is_empty())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("handshakes: {error}");
            ExitCode::FAILURE
        }
    }
}
