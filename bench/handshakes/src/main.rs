//! Full TLS handshakes on loopback, each checked: the leaf has to be the one of the name, and the
//! signature has to be of its key.
//!
//! ```text
//! handshakes ADDR LIST PICK COUNT IN_FLIGHT tls12|tls13
//! ```
//! LIST has a name and the path of its certificate on each line. PICK is the order of names: `one`,
//! the first only; `each`, in turn; `uniform`; `zipf`, the first most often, with exponent 1. Prints
//! one line, and on stderr each kind of failure with its count; then the exit status is 1.

mod client;
mod list;
mod load;

use std::process::ExitCode;

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number"))
}

fn run(args: &[&str]) -> Result<bool, String> {
    let &[addr, list, pick, count, in_flight, protocol] = args else {
        return Err("usage: handshakes ADDR LIST PICK COUNT IN_FLIGHT tls12|tls13".to_owned());
    };
    let addr = addr.parse().map_err(|_| format!("\"{addr}\" is no address"))?;
    let names = list::read(list.as_ref())?;
    let client = client::Client::new(addr, protocol, &names)?;
    let pick = load::Pick::parse(pick, names.len())?;
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    let findings = load::run(&client, &names, &pick, number(count)?, number(in_flight)?);
    println!("{findings}");
    for (kind, count) in &findings.failures {
        eprintln!("{count} failed: {kind}");
    }
    Ok(findings.failures.is_empty())
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
