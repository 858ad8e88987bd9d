//! `If-Match` and `If-None-Match` (RFC 9110, section 13.1), on generations.

use super::reply::Reply;
use crate::store::Expects;

/// What the headers of a request ask of the set that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Precondition {
    matches: Option<Matches>,
    is_none: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Matches {
    Any,
    Generations(Vec<u64>),
}

impl Precondition {
    /// The values of both headers. Of `If-None-Match` only `*` is known.
    pub(crate) fn parse(
        if_match: Option<&[u8]>,
        if_none_match: Option<&[u8]>,
    ) -> Result<Precondition, Reply> {
        let is_none = match if_none_match.map(<[u8]>::trim_ascii) {
            None => false,
            Some(b"*") => true,
            Some(_) => return Err(bad("\"If-None-Match\" can be \"*\" only")),
        };
        let matches = match if_match.map(<[u8]>::trim_ascii) {
            None => None,
            Some(b"*") => Some(Matches::Any),
            Some(list) => Some(Matches::Generations(generations(list)?)),
        };
        Ok(Precondition { matches, is_none })
    }

    /// Whether there are any.
    pub(crate) fn is_any(&self) -> bool {
        self.is_none || self.matches.is_some()
    }

    /// What must still be so when the write comes to pass, where `present` is the generation that is
    /// there; the answer when it is not so now.
    pub(crate) fn check(&self, present: Option<u64>) -> Result<Expects, Reply> {
        if self.is_none && present.is_some() {
            return Err(failed(present));
        }
        let holds = match (&self.matches, present) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Matches::Any), Some(_)) => true,
            (Some(Matches::Generations(list)), Some(present)) => list.contains(&present),
        };
        match (holds, present) {
            (false, _) => Err(failed(present)),
            (true, _) if !self.is_any() => Ok(Expects::Any),
            (true, None) => Ok(Expects::Absent),
            (true, Some(generation)) => Ok(Expects::Generation(generation)),
        }
    }
}

/// The answer to a precondition that does not hold.
pub(crate) fn failed(present: Option<u64>) -> Reply {
    match present {
        Some(generation) => {
            let detail = format!("the set is at generation {generation}");
            Reply::problem(412, "precondition failed", &detail).with_etag(generation)
        }
        None => Reply::problem(412, "precondition failed", "there is no such set"),
    }
}

fn bad(detail: &str) -> Reply {
    Reply::problem(400, "invalid precondition", detail)
}

/// Strong entity tags; a weak one, or one that we never gave, matches nothing.
fn generations(list: &[u8]) -> Result<Vec<u64>, Reply> {
    let text = std::str::from_utf8(list).map_err(|_| bad("\"If-Match\" is no list of ETags"))?;
    let mut generations = Vec::new();
    for tag in text.split(',').map(str::trim) {
        let is_weak = tag.starts_with("W/");
        let opaque = tag.strip_prefix("W/").unwrap_or(tag);
        let opaque = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let opaque = opaque
            .ok_or_else(|| bad("\"If-Match\" is no list of ETags: they stand in double quotes"))?;
        if !is_weak {
            generations.extend(opaque.parse::<u64>());
        }
    }
    Ok(generations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        if_match: Option<&str>,
        if_none: Option<&str>,
        present: Option<u64>,
    ) -> Result<Expects, u16> {
        let parsed = Precondition::parse(if_match.map(str::as_bytes), if_none.map(str::as_bytes));
        parsed.and_then(|p| p.check(present)).map_err(|reply| reply.status)
    }

    #[test]
    fn all() {
        let at = |n| Ok(Expects::Generation(n));
        assert_eq!(check(None, None, None), Ok(Expects::Any));
        assert_eq!(check(None, None, Some(7)), Ok(Expects::Any));
        assert_eq!(check(Some("\"7\""), None, Some(7)), at(7));
        assert_eq!(check(Some(" \"6\" , \"7\""), None, Some(7)), at(7));
        assert_eq!(check(Some("*"), None, Some(7)), at(7));
        assert_eq!(check(Some("*"), None, None), Err(412));
        assert_eq!(check(Some("\"7\""), None, None), Err(412));
        assert_eq!(check(Some("\"7\""), None, Some(8)), Err(412));
        assert_eq!(check(Some("W/\"7\""), None, Some(7)), Err(412));
        assert_eq!(check(Some("\"x\""), None, Some(7)), Err(412));
        assert_eq!(check(Some("7"), None, Some(7)), Err(400));
        assert_eq!(check(Some("\"7"), None, Some(7)), Err(400));
        assert_eq!(check(None, Some("*"), None), Ok(Expects::Absent));
        assert_eq!(check(None, Some("*"), Some(7)), Err(412));
        assert_eq!(check(None, Some("\"7\""), Some(7)), Err(400));
    }
}
