//! An answer, ready to be sent.

use serde_json::{Value, json};

/// Status, media type, headers and body of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// Of an error, what it says of this case: nothing secret, for the log.
    pub(crate) detail: Option<String>,
}

impl Reply {
    /// A JSON answer; a line feed at its end is for those who read it in a terminal.
    pub(crate) fn json(status: u16, body: &Value) -> Reply {
        Reply {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body: format!("{body}\n"),
            detail: None,
        }
    }

    /// An error as in RFC 9457. `title` names the kind, `detail` this case.
    pub(crate) fn problem(status: u16, title: &str, detail: &str) -> Reply {
        let body = json!({ "title": title, "status": status, "detail": detail });
        Reply {
            content_type: "application/problem+json",
            detail: Some(detail.to_owned()),
            ..Reply::json(status, &body)
        }
    }

    /// With another header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    /// With the generation of the set that it tells of (RFC 9110, section 8.8.3).
    pub(crate) fn with_etag(self, generation: u64) -> Reply {
        self.with("ETag", format!("\"{generation}\""))
    }

    /// An error that goes away by itself, after so many seconds.
    pub(crate) fn try_again(title: &str, detail: &str, seconds: u32) -> Reply {
        Reply::problem(503, title, detail).with("Retry-After", seconds.to_string())
    }
}
