//! A path with a server name in it.

use std::fmt;
use std::path::PathBuf;

use crate::server_name::ServerName;

/// Text before and after `$ssl_server_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathTemplate {
    before: String,
    after: String,
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    NotOnce,
    OtherVariable,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TemplateError::NotOnce => "must contain \"$ssl_server_name\" once",
            TemplateError::OtherVariable => "must contain no variable but \"$ssl_server_name\"",
        })
    }
}

const VARIABLE: &str = "ssl_server_name";

impl PathTemplate {
    /// A template from a directive: `$ssl_server_name` or `${ssl_server_name}`, once.
    pub(crate) fn parse(text: &str) -> Result<PathTemplate, TemplateError> {
        let (before, rest) = text.split_once('$').ok_or(TemplateError::NotOnce)?;
        let (name, after) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').ok_or(TemplateError::OtherVariable)?,
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()))
            }
        };
        if name != VARIABLE {
            return Err(TemplateError::OtherVariable);
        }
        if after.contains('$') {
            return Err(TemplateError::NotOnce);
        }
        Ok(PathTemplate { before: before.to_owned(), after: after.to_owned() })
    }

    /// The path for a name. A host name holds no `/` and is never `.` or `..`.
    pub(crate) fn path(&self, name: &ServerName) -> PathBuf {
        PathBuf::from(format!("{}{}{}", self.before, name.as_str(), self.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let name = ServerName::from_client(b"a.test").unwrap();
        let path = |text: &str| {
            PathTemplate::parse(text).map(|t| t.path(&name).to_str().unwrap().to_owned())
        };
        assert_eq!(path("/c/$ssl_server_name.pem").unwrap(), "/c/a.test.pem");
        assert_eq!(path("/c/${ssl_server_name}_x.pem").unwrap(), "/c/a.test_x.pem");
        assert_eq!(path("/live/$ssl_server_name/key.pem").unwrap(), "/live/a.test/key.pem");
        assert_eq!(path("/c/$ssl_server_name").unwrap(), "/c/a.test");
        assert_eq!(path("/c/x.pem"), Err(TemplateError::NotOnce));
        assert_eq!(path("/$ssl_server_name/$ssl_server_name"), Err(TemplateError::NotOnce));
        assert_eq!(path("/c/$host.pem"), Err(TemplateError::OtherVariable));
        assert_eq!(path("/c/$ssl_server_name_x"), Err(TemplateError::OtherVariable));
        assert_eq!(path("/c/${ssl_server_name"), Err(TemplateError::OtherVariable));
    }

    proptest::proptest! {
        #[test]
        fn never_leaves_the_directory(bytes: Vec<u8>) {
            if let Some(name) = ServerName::from_client(&bytes) {
                let path = PathTemplate::parse("/c/$ssl_server_name").unwrap().path(&name);
                assert_eq!(path.parent().unwrap().to_str(), Some("/c"));
                assert_eq!(path.components().count(), 3);
            }
        }
    }
}
