//! An answer, ready to be sent.

use serde_json::{Value, json};

/// Status, media type and body of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Reply {
    /// A JSON answer; a line feed at its end is for those who read it in a terminal.
    pub(crate) fn json(status: u16, body: &Value) -> Reply {
        Reply { status, content_type: "application/json", body: format!("{body}\n") }
    }

    /// An error as in RFC 9457. `title` names the kind, `detail` this case.
    pub(crate) fn problem(status: u16, title: &str, detail: &str) -> Reply {
        let body = json!({ "title": title, "status": status, "detail": detail });
        Reply { content_type: "application/problem+json", ..Reply::json(status, &body) }
    }
}
