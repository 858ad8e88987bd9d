//! Paths with a server name in them.

use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::server_name::ServerName;

/// An absolute path in which `$ssl_server_name` stands once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathTemplate {
    before: Box<str>,
    after: Box<str>,
}

/// Phrased to follow the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TemplateError {
    NotAbsolute,
    NoVariable,
    Repeated,
    OtherVariable,
}

const VARIABLE: &str = "ssl_server_name";

impl PathTemplate {
    pub(crate) fn parse(text: &str) -> Result<PathTemplate, TemplateError> {
        if !text.starts_with('/') {
            return Err(TemplateError::NotAbsolute);
        }
        let (before, rest) = text.split_once('$').ok_or(TemplateError::NoVariable)?;
        let after = after_variable(rest).ok_or(TemplateError::OtherVariable)?;
        if let Some((_, rest)) = after.split_once('$') {
            let is_ours = after_variable(rest).is_some();
            let error =
                if is_ours { TemplateError::Repeated } else { TemplateError::OtherVariable };
            return Err(error);
        }
        Ok(PathTemplate { before: before.into(), after: after.into() })
    }

    /// The path for a name. A name has no `/` and no empty label, so it stays one component (P11).
    pub(crate) fn path_for(&self, name: &ServerName) -> PathBuf {
        let parts = [&*self.before, name.as_str(), &*self.after];
        parts.concat().into()
    }

    /// The directory that all names have in common.
    pub(super) fn fixed_directory(&self) -> &Path {
        Path::new(self.split_before().0)
    }

    /// The part of an entry of the fixed directory that is in the place of the variable; `None`
    /// when the entry does not match. It need not be a server name.
    pub(super) fn variable_part<'a>(&self, entry: &'a [u8]) -> Option<&'a [u8]> {
        let suffix = self.after.split('/').next().unwrap_or_default();
        let part = entry.strip_prefix(self.split_before().1.as_bytes())?;
        part.strip_suffix(suffix.as_bytes()).filter(|part| !part.is_empty())
    }

    /// The path with any bytes in the place of the variable.
    pub(super) fn path_with(&self, part: &[u8]) -> PathBuf {
        let bytes = [self.before.as_bytes(), part, self.after.as_bytes()].concat();
        std::ffi::OsString::from_vec(bytes).into()
    }

    /// What is before the variable, cut behind the last slash.
    fn split_before(&self) -> (&str, &str) {
        let end = self.before.rfind('/').map_or(0, |slash| slash + 1);
        self.before.split_at_checked(end).unwrap_or_default()
    }
}

/// What follows the name of our variable; `None` when another variable stands there.
fn after_variable(text: &str) -> Option<&str> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.strip_prefix(VARIABLE)?.strip_prefix('}');
    }
    let after = text.strip_prefix(VARIABLE)?;
    let goes_on = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    (!goes_on).then_some(after)
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TemplateError::NotAbsolute => "is not an absolute path",
            TemplateError::NoVariable => "must contain \"$ssl_server_name\"",
            TemplateError::Repeated => "contains \"$ssl_server_name\" more than once",
            TemplateError::OtherVariable => "contains a variable other than \"$ssl_server_name\"",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn templates() {
        let cases: &[(&str, Result<&str, TemplateError>)] = &[
            ("/c/$ssl_server_name.pem", Ok("/c/a.test.pem")),
            ("/c/${ssl_server_name}.pem", Ok("/c/a.test.pem")),
            ("/c/${ssl_server_name}x", Ok("/c/a.testx")),
            ("/c/$ssl_server_name", Ok("/c/a.test")),
            ("/l/$ssl_server_name/fullchain.pem", Ok("/l/a.test/fullchain.pem")),
            ("/l/x-$ssl_server_name-y/z", Ok("/l/x-a.test-y/z")),
            ("c/$ssl_server_name", Err(TemplateError::NotAbsolute)),
            ("", Err(TemplateError::NotAbsolute)),
            ("/c/a.pem", Err(TemplateError::NoVariable)),
            ("/c/$ssl_server_name/$ssl_server_name", Err(TemplateError::Repeated)),
            ("/c/$ssl_server_name/$host", Err(TemplateError::OtherVariable)),
            ("/c/$host", Err(TemplateError::OtherVariable)),
            ("/c/$ssl_server_names", Err(TemplateError::OtherVariable)),
            ("/c/${ssl_server_name", Err(TemplateError::OtherVariable)),
            ("/c/$", Err(TemplateError::OtherVariable)),
        ];
        let name = ServerName::from_client(b"a.test").unwrap();
        for (text, expected) in cases {
            let path = PathTemplate::parse(text).map(|t| t.path_for(&name));
            assert_eq!(path, expected.map(PathBuf::from), "{text}");
        }
        let wildcard = ServerName::from_operator(b"*.a.test").unwrap();
        let template = PathTemplate::parse("/c/$ssl_server_name.pem").unwrap();
        assert_eq!(template.path_for(&wildcard), Path::new("/c/_.a.test.pem"));
    }

    #[test]
    fn fixed_directories() {
        for (text, expected) in [
            ("/c/$ssl_server_name.pem", "/c/"),
            ("/$ssl_server_name.pem", "/"),
            ("/c/d/x$ssl_server_name/e", "/c/d/"),
        ] {
            let template = PathTemplate::parse(text).unwrap();
            assert_eq!(template.fixed_directory(), Path::new(expected));
        }
    }

    #[test]
    fn variable_parts() {
        for (text, entry, expected) in [
            ("/c/$ssl_server_name.cert.pem", "a.test.cert.pem", Some("a.test")),
            ("/c/$ssl_server_name.cert.pem", ".cert.pem", None),
            ("/c/$ssl_server_name.cert.pem", "a.test.key.pem", None),
            ("/c/$ssl_server_name/fullchain.pem", "a.test", Some("a.test")),
            ("/c/x-$ssl_server_name-y/z", "x-a.test-y", Some("a.test")),
            ("/c/x-$ssl_server_name-y/z", "x-y", None),
            ("/c/$ssl_server_name", "README", Some("README")),
        ] {
            let template = PathTemplate::parse(text).unwrap();
            let part = template.variable_part(entry.as_bytes());
            assert_eq!(part, expected.map(str::as_bytes), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_name_stays_in_its_directory(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                "[-a-z_./*A-Z]{0,40}".prop_map(String::into_bytes),
                "([a-z_-]{1,5}[.]){0,4}[.]{0,2}/?".prop_map(String::into_bytes),
            ],
            operator in any::<bool>(),
            before in "[.a-z]{0,3}",
        ) {
            let parse =
                if operator { ServerName::from_operator } else { ServerName::from_client };
            if let Some(name) = parse(&bytes) {
                for after in ["", ".pem", "/fullchain.pem"] {
                    let text = format!("/certs/{before}$ssl_server_name{after}");
                    let path = PathTemplate::parse(&text).unwrap().path_for(&name);
                    let depth = 3 + usize::from(after.starts_with('/'));
                    prop_assert!(path.starts_with("/certs"));
                    prop_assert_eq!(path.components().count(), depth);
                    let normal =
                        |c| !matches!(c, std::path::Component::ParentDir);
                    prop_assert!(path.components().all(normal));
                    prop_assert!(!path.as_os_str().as_encoded_bytes().contains(&0));
                }
            }
        }
    }
}
