//! PEM text to blocks (RFC 7468, and the headers of RFC 1421), strictly: what a cut at any byte of
//! a block leaves is an error, so a file that is being written does not pass for a shorter one.

use zeroize::Zeroizing;

use super::error::SetError;

/// What a block is, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Certificate,
    Key,
    EncryptedKey,
    /// Parameters, requests, lists: left alone.
    Other,
}

/// One block, borrowed from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) kind: Kind,
    /// From the BEGIN line to the END line.
    pub(super) text: &'a [u8],
    /// Between those two.
    body: &'a [u8],
}

const DASHES: &[u8] = b"-----";

/// The blocks of a text in their order; at least one. What stands between blocks is left alone.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, SetError> {
    let mut blocks = Vec::new();
    // Label, start of the block, start of its body.
    let mut open: Option<(&[u8], usize, usize)> = None;
    let mut at = 0;

    for line in text.split_inclusive(|b| *b == b'\n') {
        let start = at;
        at += line.len();
        match (boundary(line)?, open) {
            (Boundary::None, _) => {}
            (Boundary::Begin(label), None) => open = Some((label, start, at)),
            (Boundary::End(label), Some((begun, block, body))) if begun == label => {
                let text_of = |from: usize, to| text.get(from..to).unwrap_or_default();
                let body = text_of(body, start);
                blocks.push(Block { kind: kind(label, body), text: text_of(block, at), body });
                open = None;
            }
            (Boundary::End(_), None) => return Err(SetError::Boundary),
            _ => return Err(SetError::Truncated),
        }
    }

    match (open, blocks.is_empty()) {
        (Some(_), _) => Err(SetError::Truncated),
        (None, true) => Err(what_instead(text)),
        (None, false) => Ok(blocks),
    }
}

enum Boundary<'a> {
    None,
    Begin(&'a [u8]),
    End(&'a [u8]),
}

fn boundary(line: &[u8]) -> Result<Boundary<'_>, SetError> {
    if !line.starts_with(DASHES) {
        let is_cut = line.starts_with(b"-") && !line.ends_with(b"\n");
        return if is_cut { Err(SetError::Truncated) } else { Ok(Boundary::None) };
    }
    // As OpenSSL, which ends a line at the last byte above a blank.
    let end = line.iter().rposition(|b| *b > b' ').map_or(0, |last| last + 1);
    let line = line.get(..end).unwrap_or_default();
    let label = |begin: &[u8]| line.strip_prefix(begin).and_then(|l| l.strip_suffix(DASHES));
    let has_dashes = |text: &[u8]| text.windows(DASHES.len()).any(|dashes| dashes == DASHES);
    match (label(b"-----BEGIN "), label(b"-----END ")) {
        // Two in one line.
        (Some(label), _) | (_, Some(label)) if has_dashes(label) => Err(SetError::Boundary),
        (Some(label), _) => Ok(Boundary::Begin(label)),
        (_, Some(label)) => Ok(Boundary::End(label)),
        // With no dashes behind its label it may be the beginning of one.
        (None, None) if has_dashes(line.strip_prefix(DASHES).unwrap_or_default()) => {
            Err(SetError::Boundary)
        }
        (None, None) => Err(SetError::Truncated),
    }
}

fn kind(label: &[u8], body: &[u8]) -> Kind {
    match label {
        b"CERTIFICATE" | b"X509 CERTIFICATE" | b"TRUSTED CERTIFICATE" => Kind::Certificate,
        b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => {
            if is_encrypted(body) {
                Kind::EncryptedKey
            } else {
                Kind::Key
            }
        }
        b"ENCRYPTED PRIVATE KEY" => Kind::EncryptedKey,
        _ => Kind::Other,
    }
}

/// `Proc-Type: 4,ENCRYPTED` (RFC 1421, section 4.6.1.1).
fn is_encrypted(body: &[u8]) -> bool {
    body.split(|b| *b == b'\n').any(|line| {
        line.starts_with(b"Proc-Type:") && line.windows(9).any(|word| word == b"ENCRYPTED")
    })
}

fn what_instead(text: &[u8]) -> SetError {
    match text {
        // A SEQUENCE with a long length (X.690, section 8.1.3).
        [0x30, 0x81..=0x84, ..] => SetError::Der,
        _ if text.iter().all(|b| b.is_ascii_whitespace() || *b == 0) => SetError::Empty,
        _ => SetError::NotPem,
    }
}

impl Block<'_> {
    /// The DER in the block. It may be a key: each copy is wiped.
    pub(super) fn der(&self) -> Result<Zeroizing<Vec<u8>>, SetError> {
        let mut base64 = Zeroizing::new(String::with_capacity(self.body.len()));
        for byte in without_headers(self.body) {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => {
                    base64.push(char::from(*byte));
                }
                b if b.is_ascii_whitespace() => {}
                _ => return Err(SetError::Encoding),
            }
        }
        let digits = base64.trim_end_matches('=');
        if digits.is_empty() || digits.contains('=') || base64.len() - digits.len() > 2 {
            return Err(SetError::Encoding);
        }
        openssl::base64::decode_block(&base64).map(Zeroizing::new).map_err(|_| SetError::Encoding)
    }
}

/// Headers (`Name: value`) end at an empty line.
fn without_headers(body: &[u8]) -> &[u8] {
    let mut lines = body.split_inclusive(|b| *b == b'\n');
    if !lines.next().is_some_and(|first| first.contains(&b':')) {
        return body;
    }
    let is_empty = |line: &[u8]| line.trim_ascii().is_empty();
    let mut at = 0;
    for line in body.split_inclusive(|b| *b == b'\n') {
        at += line.len();
        if is_empty(line) {
            break;
        }
    }
    body.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn kinds(text: &str) -> Result<Vec<Kind>, SetError> {
        blocks(text.as_bytes()).map(|blocks| blocks.iter().map(|b| b.kind).collect())
    }

    fn block(label: &str) -> String {
        format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
    }

    #[test]
    fn labels() {
        let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\n\
                         AAAA\n-----END RSA PRIVATE KEY-----\n";
        let cases: &[(&str, Kind)] = &[
            (A, Kind::Certificate),
            (&block("X509 CERTIFICATE"), Kind::Certificate),
            (&block("TRUSTED CERTIFICATE"), Kind::Certificate),
            (&block("PRIVATE KEY"), Kind::Key),
            (&block("RSA PRIVATE KEY"), Kind::Key),
            (&block("EC PRIVATE KEY"), Kind::Key),
            (&block("ENCRYPTED PRIVATE KEY"), Kind::EncryptedKey),
            (encrypted, Kind::EncryptedKey),
            (&block("EC PARAMETERS"), Kind::Other),
            (&block("X509 CRL"), Kind::Other),
            (&A.replace('\n', "\r\n"), Kind::Certificate),
            (&A.replace('\n', " \n"), Kind::Certificate),
            (A.trim_end(), Kind::Certificate),
            (&format!("Bag Attributes\n  x: -----BEGIN\n- y\n{A}trailing"), Kind::Certificate),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(text), Ok(vec![*expected]), "{text}");
        }
        assert_eq!(kinds(&format!("{A}\n\n{A}")), Ok(vec![Kind::Certificate; 2]));
    }

    #[test]
    fn refused() {
        let cases: &[(&str, SetError)] = &[
            ("", SetError::Empty),
            (" \r\n\t\n", SetError::Empty),
            ("\0\0\0\0", SetError::Empty),
            ("hello\n", SetError::NotPem),
            ("0\u{1}", SetError::NotPem),
            ("-", SetError::Truncated),
            ("text\n--", SetError::Truncated),
            ("-----\n", SetError::Truncated),
            ("-----BEGIN CERTIFICATE----\n", SetError::Truncated),
            ("-----END CERTIFICATE-----\n", SetError::Boundary),
            (
                "\u{feff}-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
                SetError::Boundary,
            ),
            (&A.replace("\n-----END", "\n-----END X----------BEGIN"), SetError::Boundary),
            (&A.replace("END CERT", "END X509 CERT"), SetError::Truncated),
            (&format!("{A}-----BEGIN CERTIFICATE-----\n"), SetError::Truncated),
            (&format!("-----BEGIN CERTIFICATE-----\nAAAA\n{A}"), SetError::Truncated),
            (&A.replace("CATE-----\n", "CATE-----x\n"), SetError::Boundary),
            (&format!("{A}-----BEG\0\0\0\0"), SetError::Truncated),
            (&format!("{A}-----END CERTIFICATE-----\n"), SetError::Boundary),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(text), Err(*expected), "{text}");
        }
        for der in [[0x30, 0x82, 1, 2], [0x30, 0x81, 1, 2]] {
            assert_eq!(blocks(&der), Err(SetError::Der));
        }
    }

    #[test]
    fn bodies() {
        let der = |body: &str| {
            let text = A.replace("AAAA\n", body);
            blocks(text.as_bytes()).unwrap()[0].der().map(|der| der.to_vec())
        };
        assert_eq!(der("AAAA\n"), Ok(vec![0, 0, 0]));
        assert_eq!(der("AA==\r\n"), Ok(vec![0]));
        assert_eq!(der("AA\nAA \n\n"), Ok(vec![0, 0, 0]));
        assert_eq!(der("X: y\n z\n\nAAAA\n"), Ok(vec![0, 0, 0]));
        for bad in ["", "\n", "AAA\n", "A=AA\n", "A===\n", "AA-A\n", "AA\0A\n", "X: y\nAAAA\n"] {
            assert_eq!(der(bad), Err(SetError::Encoding), "{bad:?}");
        }
        assert!(openssl::error::ErrorStack::get().errors().is_empty());
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(A.as_bytes().to_vec()),
            Just(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
            Just(b"-----END CERTIFICATE-----\n".to_vec()),
            Just(b"-----".to_vec()),
            Just(b"\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = blocks(&bytes).map(|b| b.iter().map(Block::der).count());
        }

        /// Blocks are whole, in order, and stand in the text as they were found.
        #[test]
        fn any_pieces(text in pieces()) {
            let mut at = 0;
            for block in blocks(&text).unwrap_or_default() {
                let start = block.text.as_ptr() as usize - text.as_ptr() as usize;
                prop_assert!(start >= at);
                prop_assert!(block.text.starts_with(b"-----BEGIN "));
                prop_assert_eq!(blocks(block.text).map(|b| b.len()), Ok(1));
                at = start + block.text.len();
                let _ = block.der();
            }
        }
    }
}
