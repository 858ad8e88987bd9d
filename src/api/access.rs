//! Who may write (P10).

use super::reply::Reply;
use crate::peer::Peer;

/// `write=` of `rust_shared_cert_api`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Off,
    /// Peers on a unix socket with one of these uids; root and the master's own are among them.
    Unix(Vec<u32>),
    /// NGINX's own access rules decide.
    On,
}

impl Write {
    /// The answer to a peer that may not write.
    pub(crate) fn check(&self, peer: Peer) -> Result<(), Reply> {
        let detail = match (self, peer) {
            (Write::On, _) => return Ok(()),
            (Write::Unix(uids), Peer::Unix(uid)) if uids.contains(&uid) => return Ok(()),
            (Write::Off, _) => "this location takes no writes (write=off)".to_owned(),
            (Write::Unix(_), Peer::Other) => {
                "this location takes writes on a unix socket only (write=unix)".to_owned()
            }
            (Write::Unix(_), Peer::Unix(uid)) => {
                format!("uid {uid} may not write here (write=unix)")
            }
        };
        Err(Reply::problem(403, "writing is not allowed", &detail))
    }
}

/// The answer to a browser that shows a page of another site than this one: such a page can have it send a
/// POST, with its own origin in `Origin` (RFC 6454, section 7).
pub(crate) fn check_origin(origin: Option<&[u8]>, host: Option<&[u8]>) -> Result<(), Reply> {
    let Some(origin) = origin else { return Ok(()) };
    let scheme = origin.windows(3).position(|part| part == b"://");
    let site = scheme.and_then(|at| origin.get(at + 3..));
    if site.zip(host).is_some_and(|(site, host)| site.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    let detail = "the request was made by a page of another site (Origin)";
    Err(Reply::problem(403, "writing is not allowed", detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites() {
        let check = |origin: &str, host: &str| {
            check_origin(Some(origin.as_bytes()), Some(host.as_bytes())).is_ok()
        };
        assert!(check_origin(None, Some(b"a.test")).is_ok());
        assert!(check_origin(None, None).is_ok());
        assert!(check("http://a.test:8080", "A.test:8080"));
        assert!(!check("http://a.test", "a.test:8080"));
        assert!(!check("https://evil.test", "localhost"));
        assert!(!check("null", "null"));
        assert!(!check("", "a.test"));
        assert!(check_origin(Some(b"http://a.test"), None).is_err());
    }

    #[test]
    fn only_whom_the_rule_names() {
        let unix = Write::Unix(vec![0, 33, 1001]);
        for (write, peer, may) in [
            (&Write::Off, Peer::Unix(0), false),
            (&Write::Off, Peer::Other, false),
            (&Write::On, Peer::Other, true),
            (&Write::On, Peer::Unix(5), true),
            (&unix, Peer::Unix(0), true),
            (&unix, Peer::Unix(1001), true),
            (&unix, Peer::Unix(1002), false),
            (&unix, Peer::Other, false),
        ] {
            assert_eq!(write.check(peer).is_ok(), may, "{write:?} {peer:?}");
        }
    }
}
