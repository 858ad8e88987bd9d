//! The API's client: HTTP/1.1 over a unix socket, on a connection that is kept.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tries to get a connection to a worker: the workers accept as it comes.
const CONNECTS: usize = 200;

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The generation in `ETag`.
    pub(crate) generation: Option<u64>,
    pub(crate) body: String,
    closes: bool,
}

impl Answer {
    /// The fingerprint of the first certificate of the set that the answer tells of.
    pub(crate) fn fingerprint(&self) -> Option<&str> {
        self.member("\"fingerprint\":\"").map(|rest| rest.split('"').next().unwrap_or_default())
    }

    pub(crate) fn is_unchanged(&self) -> bool {
        self.body.contains("\"changed\":false")
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        let digits = self.member(&format!("\"{name}\":"))?;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    fn member(&self, key: &str) -> Option<&str> {
        self.body.split_once(key).map(|(_, rest)| rest)
    }
}

pub(crate) struct Client {
    socket: PathBuf,
    /// The worker that it is to be connected to.
    worker: String,
    stream: Option<UnixStream>,
}

impl Client {
    pub(crate) fn new(socket: &Path, worker: &str) -> Client {
        Client { socket: socket.to_owned(), worker: worker.to_owned(), stream: None }
    }

    /// The processes that answer, as far as they are met.
    pub(crate) fn workers(socket: &Path) -> Vec<String> {
        let mut pids: Vec<String> = (0..CONNECTS)
            .filter_map(|_| {
                let mut stream = open(socket).ok()?;
                let answer = exchange(&mut stream, "GET", "/pid", &[], &[]).ok()?;
                (answer.status == 200).then_some(answer.body)
            })
            .collect();
        pids.sort();
        pids.dedup();
        pids
    }

    /// The answer to a call. An error is none: the call may have come to pass.
    pub(crate) fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> Result<Answer, String> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().map_err(|e| format!("connect: {e}"))?,
        };
        let answer = exchange(&mut stream, method, path, headers, body)
            .map_err(|e| format!("{method} {path}: {e}"))?;
        if !answer.closes {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        for _ in 0..CONNECTS {
            let mut stream = open(&self.socket)?;
            let answer = exchange(&mut stream, "GET", "/pid", &[], &[])?;
            if answer.body == self.worker {
                return Ok(stream);
            }
        }
        open(&self.socket)
    }
}

fn open(socket: &Path) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

fn exchange(
    stream: &mut UnixStream,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    read_answer(stream)
}

fn read_answer(stream: &mut UnixStream) -> std::io::Result<Answer> {
    let bad = |what: &str| std::io::Error::other(what.to_owned());
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 * 1024]);
    let mut more = |bytes: &mut Vec<u8>| match stream.read(&mut piece)? {
        0 => Err(bad("the connection was closed")),
        read => {
            bytes.extend_from_slice(&piece[..read]);
            Ok(())
        }
    };
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        more(&mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let header = |name: &str| {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value.trim()).next()
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let length = length.ok_or_else(|| bad("no length"))?;
    while bytes.len() < end + 4 + length {
        more(&mut bytes)?;
    }
    Ok(Answer {
        status: status.ok_or_else(|| bad("no status"))?,
        generation: header("etag").and_then(|tag| tag.trim_matches('"').parse().ok()),
        body: String::from_utf8_lossy(&bytes[end + 4..end + 4 + length]).into_owned(),
        closes: header("connection") == Some("close"),
    })
}
