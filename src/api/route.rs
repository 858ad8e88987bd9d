//! Which call a request is: from its method, its path below the location's, and its arguments.

use super::reply::Reply;
use crate::server_name::ServerName;

/// How many sets a page of a list has, unless told otherwise.
const DEFAULT_LIMIT: usize = 100;
/// How many it can have: a page is made in one turn of the event loop.
const MAX_LIMIT: usize = 1_000;

/// The methods that there are calls with; HEAD is a GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
    Post,
    Delete,
    Other,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET, HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
            Method::Other => "",
        }
    }
}

/// One call of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Zone,
    Metrics {
        names: bool,
    },
    List {
        limit: usize,
        after: Option<ServerName>,
    },
    Show {
        name: ServerName,
    },
    Put {
        name: ServerName,
        options: PutOptions,
    },
    Delete {
        name: ServerName,
    },
    Rollback {
        name: ServerName,
        force: bool,
    },
    DropPrevious {
        name: ServerName,
    },
    /// The server name as it came.
    Clear {
        name: Option<String>,
    },
}

impl Call {
    /// Whether it changes what is served, so that `write=` decides over it. A clear does not.
    pub(crate) fn is_write(&self) -> bool {
        matches!(
            self,
            Call::Put { .. }
                | Call::Delete { .. }
                | Call::Rollback { .. }
                | Call::DropPrevious { .. }
        )
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutOptions {
    /// The key types that the body does not have stay.
    pub(crate) add: bool,
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
    /// No previous generation is kept.
    pub(crate) drops_previous: bool,
    /// Nothing is done where the body is the previous generation: it was rolled back from, or is older.
    pub(crate) unless_previous: bool,
}

/// The call of a request, or the answer to one that is none. `path` is decoded and below the
/// location's; `query` is as it came.
pub(crate) fn route(method: Method, path: &[u8], query: &[u8]) -> Result<Call, Reply> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    let mut arguments = Arguments::of(query);
    let call = match *parts.as_slice() {
        [b""] => {
            only(method, &[Method::Get])?;
            Call::Zone
        }
        [b"metrics"] => {
            only(method, &[Method::Get])?;
            Call::Metrics { names: !arguments.is_set_to("names", "0", "1")? }
        }
        [b"clear"] => {
            only(method, &[Method::Post])?;
            Call::Clear { name: arguments.take("name")? }
        }
        [b"sets"] | [b"sets", b""] => {
            only(method, &[Method::Get])?;
            list(&mut arguments)?
        }
        [b"sets", name] => match method {
            Method::Get => Call::Show { name: set_name(name)? },
            Method::Put => put(set_name(name)?, &mut arguments)?,
            Method::Delete => Call::Delete { name: set_name(name)? },
            Method::Post | Method::Other => {
                return Err(not_allowed(&[Method::Get, Method::Put, Method::Delete]));
            }
        },
        [b"sets", name, b"rollback"] => {
            only(method, &[Method::Post])?;
            let name = set_name(name)?;
            Call::Rollback { name, force: arguments.is_set_to("force", "1", "0")? }
        }
        [b"sets", name, b"previous"] => {
            only(method, &[Method::Delete])?;
            Call::DropPrevious { name: set_name(name)? }
        }
        _ => {
            let detail = "there are: the prefix itself, sets/, sets/NAME, sets/NAME/rollback, \
                          sets/NAME/previous, clear, metrics";
            return Err(Reply::problem(404, "no such path", detail));
        }
    };
    arguments.end()?;
    Ok(call)
}

fn only(method: Method, allowed: &[Method]) -> Result<(), Reply> {
    if allowed.contains(&method) { Ok(()) } else { Err(not_allowed(allowed)) }
}

/// RFC 9110, section 15.5.6.
fn not_allowed(allowed: &[Method]) -> Reply {
    let methods: Vec<&str> = allowed.iter().map(|method| method.as_str()).collect();
    let methods = methods.join(", ");
    Reply::problem(405, "method not allowed", &format!("here there are: {methods}"))
        .with("Allow", methods)
}

fn list(arguments: &mut Arguments) -> Result<Call, Reply> {
    let limit = match arguments.take("limit")? {
        None => DEFAULT_LIMIT,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            limit.ok_or_else(|| {
                bad_argument(&format!("\"limit\" must be a number from 1 to {MAX_LIMIT}"))
            })?
        }
    };
    let after = match arguments.take("after")? {
        None => None,
        Some(text) => Some(set_name(text.as_bytes())?),
    };
    Ok(Call::List { limit, after })
}

fn put(name: ServerName, arguments: &mut Arguments) -> Result<Call, Reply> {
    let options = PutOptions {
        add: arguments.is_set_to("add", "1", "0")?,
        dry_run: arguments.is_set_to("dry_run", "1", "0")?,
        force: arguments.is_set_to("force", "1", "0")?,
        drops_previous: arguments.is_set_to("previous", "drop", "keep")?,
        unless_previous: arguments.is_set_to("unless", "previous", "")?,
    };
    Ok(Call::Put { name, options })
}

/// NAME of a set: a host name, or `*.x` for a wildcard's.
pub(crate) fn set_name(bytes: &[u8]) -> Result<ServerName, Reply> {
    const TITLE: &str = "invalid NAME";
    if let Some(name) = ServerName::from_operator(bytes) {
        return Ok(name);
    }
    let hint = std::str::from_utf8(bytes).ok().filter(|text| !text.is_ascii());
    let hint = hint.and_then(|text| idna::domain_to_ascii(text).ok());
    let hint = hint.filter(|name| ServerName::from_operator(name.as_bytes()).is_some());
    let detail = match hint {
        Some(name) => format!("write it as a host name in ASCII: {name}"),
        None => "NAME must be a host name: 1 to 253 bytes, labels of 1 to 63 letters, digits, \
                 \"-\" and \"_\""
            .to_owned(),
    };
    Err(Reply::problem(400, TITLE, &detail))
}

fn bad_argument(detail: &str) -> Reply {
    Reply::problem(400, "invalid argument", detail)
}

/// The arguments of a query string, each of which is taken once: what is left is unknown, and a
/// misspelt one must not be taken for none.
struct Arguments(Vec<(String, String)>);

impl Arguments {
    fn of(query: &[u8]) -> Arguments {
        let pairs = form_urlencoded::parse(query);
        Arguments(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    fn take(&mut self, name: &str) -> Result<Option<String>, Reply> {
        let Some(at) = self.0.iter().position(|(found, _)| found == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(at);
        if self.0.iter().any(|(found, _)| found == name) {
            return Err(bad_argument(&format!("\"{name}\" is there twice")));
        }
        Ok(Some(value))
    }

    /// A switch that is `on` or, as when it is absent, `off`.
    fn is_set_to(&mut self, name: &str, on: &str, off: &str) -> Result<bool, Reply> {
        match self.take(name)? {
            Some(value) if value == on => Ok(true),
            Some(value) if value == off => Ok(false),
            None => Ok(false),
            Some(_) => Err(bad_argument(&format!("\"{name}\" can be \"{on}\" or \"{off}\""))),
        }
    }

    fn end(self) -> Result<(), Reply> {
        match self.0.first() {
            Some((name, _)) => {
                let name = name.escape_debug();
                Err(bad_argument(&format!("this call has no argument \"{name}\"")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServerName {
        ServerName::from_operator(text.as_bytes()).unwrap()
    }

    fn status(method: Method, path: &str, query: &str) -> u16 {
        route(method, path.as_bytes(), query.as_bytes()).unwrap_err().status
    }

    #[test]
    fn calls() {
        let a = || name("a.test");
        let options = PutOptions::default();
        let cases: Vec<(Method, &str, &str, Call)> = vec![
            (Method::Get, "", "", Call::Zone),
            (Method::Get, "/", "", Call::Zone),
            (Method::Get, "metrics", "", Call::Metrics { names: true }),
            (Method::Get, "metrics", "names=0", Call::Metrics { names: false }),
            (Method::Get, "sets", "", Call::List { limit: 100, after: None }),
            (Method::Get, "sets/", "limit=2&after=A.test", {
                Call::List { limit: 2, after: Some(a()) }
            }),
            (Method::Get, "sets/A.test.", "", Call::Show { name: a() }),
            (Method::Get, "sets/*.a.test", "", Call::Show { name: name("_.a.test") }),
            (Method::Put, "sets/a.test", "", Call::Put { name: a(), options }),
            (Method::Put, "sets/a.test", "add=1&dry_run=0&previous=drop", {
                let options = PutOptions { add: true, drops_previous: true, ..options };
                Call::Put { name: a(), options }
            }),
            (Method::Put, "sets/a.test", "unless=previous", {
                Call::Put { name: a(), options: PutOptions { unless_previous: true, ..options } }
            }),
            (Method::Delete, "sets/a.test", "", Call::Delete { name: a() }),
            (Method::Post, "sets/a.test/rollback", "force=1", {
                Call::Rollback { name: a(), force: true }
            }),
            (Method::Delete, "sets/a.test/previous", "", Call::DropPrevious { name: a() }),
            (Method::Post, "clear", "name=a%2Etest", Call::Clear { name: Some("a.test".into()) }),
        ];
        for (method, path, query, call) in cases {
            assert_eq!(
                route(method, path.as_bytes(), query.as_bytes()),
                Ok(call),
                "{path}?{query}"
            );
        }
    }

    #[test]
    fn no_calls() {
        for path in
            ["x", "sets/a.test/", "sets/a.test/x", "sets/a/b/rollback", "sets//", "metrics/"]
        {
            assert_eq!(status(Method::Get, path, ""), 404, "{path}");
        }
        for path in ["", "metrics", "sets", "sets/a.test"] {
            assert_eq!(status(Method::Post, path, ""), 405, "{path}");
        }
        assert_eq!(status(Method::Other, "sets/a.test", ""), 405);
        assert_eq!(status(Method::Get, "clear", ""), 405);
        let reply = route(Method::Other, b"sets/a.test", b"").unwrap_err();
        assert_eq!(reply.headers, [("Allow", "GET, HEAD, PUT, DELETE".to_owned())]);

        for bad in ["..", "a..b", "a b", "a\0b", "\u{1}", "", "*", "a_.\u{ff}"] {
            let path = format!("sets/{bad}/rollback");
            assert_eq!(status(Method::Post, &path, ""), 400, "{bad:?}");
        }
        let reply = set_name("Bücher.test".as_bytes()).unwrap_err();
        assert!(reply.body.contains("xn--bcher-kva.test"), "{}", reply.body);
        assert_eq!(set_name(b"b\xfccher.test").unwrap_err().status, 400);

        for query in
            ["x=1", "force=2", "force=1&force=1", "force", "dry_run=yes", "previous=1", "unless=1"]
        {
            assert_eq!(status(Method::Put, "sets/a.test", query), 400, "{query}");
        }
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "after=a/b"] {
            assert_eq!(status(Method::Get, "sets/", query), 400, "{query}");
        }
    }
}
