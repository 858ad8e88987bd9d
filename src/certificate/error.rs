//! Why something is no good certificate set.

use std::fmt;

use openssl::error::ErrorStack;

use super::bundle::MAX_NAMES;
use crate::failure::Reason;

/// What is wrong. The text never has a byte of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetError {
    Empty,
    NotPem,
    Der,
    Truncated,
    Boundary,
    Encoding,
    NoCertificate,
    NoKey,
    EncryptedKey,
    WrongPassword,
    UnsupportedKey,
    KeyMismatch,
    WrongOrder,
    NotSigned,
    TwoKeysOfOneType,
    TwoCertificatesOfOneType,
    /// More than `MAX_NAMES`.
    TooManyNames,
    /// OpenSSL's reason.
    Certificate(&'static str),
    /// OpenSSL's reason.
    Key(&'static str),
}

impl SetError {
    /// Takes the place of what OpenSSL said of a certificate.
    pub(super) fn certificate(stack: ErrorStack) -> SetError {
        SetError::Certificate(reason(&stack))
    }

    /// The kind of failure.
    pub(crate) fn kind(self) -> Reason {
        match self {
            SetError::Empty | SetError::NotPem | SetError::Der | SetError::Encoding => {
                Reason::NotPem
            }
            SetError::Truncated | SetError::Boundary => Reason::Truncated,
            SetError::NoCertificate => Reason::NoCertificate,
            SetError::NoKey => Reason::NoKey,
            SetError::EncryptedKey | SetError::WrongPassword => Reason::EncryptedKey,
            SetError::UnsupportedKey => Reason::UnsupportedKey,
            SetError::KeyMismatch => Reason::Mismatch,
            SetError::WrongOrder | SetError::NotSigned => Reason::ChainOrder,
            SetError::Certificate(_) | SetError::Key(_) => Reason::Unparsable,
            SetError::TwoKeysOfOneType
            | SetError::TwoCertificatesOfOneType
            | SetError::TooManyNames => Reason::Other,
        }
    }

    /// Takes the place of what OpenSSL said of a key.
    pub(super) fn key(stack: ErrorStack) -> SetError {
        SetError::Key(reason(&stack))
    }
}

/// OpenSSL's word for the first error; its data, which may quote the input, is left out.
fn reason(stack: &ErrorStack) -> &'static str {
    stack.errors().iter().find_map(|e| e.reason()).unwrap_or("unknown error")
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            SetError::Empty => "PEM data is empty",
            SetError::NotPem => "data is not PEM",
            SetError::Der => "data is DER, not PEM",
            SetError::Truncated => "PEM data is truncated",
            SetError::Boundary => {
                "PEM data has a BEGIN or END line that is not alone or not paired"
            }
            SetError::Encoding => "PEM data is not valid base64",
            SetError::NoCertificate => "no certificate found",
            SetError::NoKey => "no private key found",
            SetError::EncryptedKey => "private key is encrypted",
            SetError::WrongPassword => {
                "private key is encrypted, with none of the passwords of \"password_file\""
            }
            SetError::UnsupportedKey => "private key is of an unsupported type",
            SetError::KeyMismatch => "key does not match the certificate",
            SetError::WrongOrder => "certificate chain is out of order",
            SetError::NotSigned => "a certificate is not signed by the next one of its chain",
            SetError::TwoKeysOfOneType => "two private keys of one type",
            SetError::TwoCertificatesOfOneType => "two certificates for keys of one type",
            SetError::TooManyNames => {
                return write!(f, "certificate has more than {MAX_NAMES} names");
            }
            SetError::Certificate(reason) => {
                return write!(f, "certificate cannot be parsed ({reason})");
            }
            SetError::Key(reason) => return write!(f, "private key cannot be parsed ({reason})"),
        };
        f.write_str(text)
    }
}

/// Leaves this thread's error queue of OpenSSL empty when it is dropped.
pub(super) struct EmptyErrorQueue;

impl Drop for EmptyErrorQueue {
    fn drop(&mut self) {
        drop(ErrorStack::get());
    }
}
