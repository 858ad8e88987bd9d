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

#[cfg(test)]
mod tests {
    use super::*;

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
