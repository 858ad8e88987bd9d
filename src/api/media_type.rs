//! Which bodies are taken for PEM.

use super::reply::Reply;

/// What clients call PEM: its own names, and what they send when they do not know. The last is what
/// `curl --data-binary` says.
const TYPES: &[&str] = &[
    "application/x-pem-file",
    "application/pem-certificate-chain",
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
];

/// The answer to a body of another type, or one that is compressed; none is a type too.
pub(crate) fn check(content_type: Option<&[u8]>, encoding: Option<&[u8]>) -> Result<(), Reply> {
    if encoding.is_some_and(|encoding| !encoding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported("the body must not be compressed"));
    }
    let Some(content_type) = content_type else { return Ok(()) };
    let essence = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if essence.is_empty() || TYPES.iter().any(|t| essence.eq_ignore_ascii_case(t.as_bytes())) {
        return Ok(());
    }
    Err(unsupported(&format!("a set is PEM, of one of these types: {}", TYPES.join(", "))))
}

/// RFC 9110, section 15.5.16.
fn unsupported(detail: &str) -> Reply {
    Reply::problem(415, "unsupported media type", detail)
        .with("Accept", "application/x-pem-file, application/pem-certificate-chain, text/plain")
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn types() {
        for good in ["text/plain", "Text/Plain; charset=utf-8", "application/x-pem-file", ""] {
            assert!(check(Some(good.as_bytes()), None).is_ok(), "{good}");
        }
        assert!(check(None, None).is_ok());
        assert!(check(None, Some(b"Identity")).is_ok());
        for bad in ["application/json", "multipart/form-data; boundary=x", "x"] {
            assert_eq!(check(Some(bad.as_bytes()), None).unwrap_err().status, 415, "{bad}");
        }
        assert_eq!(check(None, Some(b"gzip")).unwrap_err().status, 415);
    }
}
