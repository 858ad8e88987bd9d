//! Text in PEM (RFC 7468) to blocks. Strict where a half-written file would show.

use std::fmt;

/// One block, BEGIN and END line included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) label: &'a [u8],
    pub(crate) text: &'a [u8],
}

/// Why a text is no PEM file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PemError {
    Empty,
    /// A block or a line of dashes is not complete: most likely the file is being written.
    Truncated,
    Der,
    NotPem,
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PemError::Empty => "is empty",
            PemError::Truncated => "is truncated",
            PemError::Der => "is DER, not PEM",
            PemError::NotPem => "is not PEM",
        })
    }
}

/// All blocks of a text, in order. What stands between them is passed over.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, PemError> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &[u8])> = None;
    let mut start = 0;

    for line in text.split_inclusive(|b| *b == b'\n') {
        let end = start + line.len();
        let is_whole = line.ends_with(b"\n");
        let content = line.trim_ascii_end();
        if content.starts_with(b"-----") {
            match (boundary(content), open) {
                (Some(Boundary::Begin(label)), None) => open = Some((start, label)),
                (Some(Boundary::End(label)), Some((begin, opened))) if label == opened => {
                    let text = text.get(begin..end).unwrap_or_default();
                    blocks.push(Block { label, text });
                    open = None;
                }
                _ => return Err(PemError::Truncated),
            }
        } else if content.starts_with(b"-") && !is_whole {
            return Err(PemError::Truncated);
        }
        start = end;
    }

    if open.is_some() {
        Err(PemError::Truncated)
    } else if !blocks.is_empty() {
        Ok(blocks)
    } else if text.iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
        Err(PemError::Empty)
    } else if text.first() == Some(&0x30) && text.get(1).is_some_and(|len| *len >= 0x80) {
        Err(PemError::Der)
    } else {
        Err(PemError::NotPem)
    }
}

enum Boundary<'a> {
    Begin(&'a [u8]),
    End(&'a [u8]),
}

fn boundary(line: &[u8]) -> Option<Boundary<'_>> {
    let inner = line.strip_prefix(b"-----")?.strip_suffix(b"-----")?;
    if let Some(label) = inner.strip_prefix(b"BEGIN ") {
        Some(Boundary::Begin(label))
    } else {
        inner.strip_prefix(b"END ").map(Boundary::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"Bag\n-----BEGIN A-----\nQQ==\n-----END A-----\r\n\n\
                         -----BEGIN B-----\r\nQg==\r\n-----END B-----\n";

    #[test]
    fn labels_and_texts() {
        let blocks = blocks(TWO).unwrap();
        let labels: Vec<&[u8]> = blocks.iter().map(|b| b.label).collect();
        assert_eq!(labels, [b"A", b"B"]);
        assert!(blocks[0].text.starts_with(b"-----BEGIN A"));
        assert!(blocks[1].text.ends_with(b"END B-----\n"));
    }

    #[test]
    fn cut_anywhere() {
        let first_end = TWO.windows(3).position(|w| w == b"\r\n\n").unwrap();
        let second = TWO.windows(7).position(|w| w == b"BEGIN B").unwrap() - 5;
        for cut in 0..TWO.len() - 1 {
            let is_between = (first_end..=second).contains(&cut);
            assert_eq!(blocks(&TWO[..cut]).is_ok(), is_between, "cut at {cut}");
        }
    }

    #[test]
    fn no_blocks() {
        assert_eq!(blocks(b""), Err(PemError::Empty));
        assert_eq!(blocks(&[0; 64]), Err(PemError::Empty));
        assert_eq!(blocks(b"hello\n"), Err(PemError::NotPem));
        assert_eq!(blocks(&[0x30, 0x82, 1, 2]), Err(PemError::Der));
        assert_eq!(blocks(b"-----END A-----\n"), Err(PemError::Truncated));
        assert_eq!(blocks(b"-----BEGIN A-----\n-----END B-----\n"), Err(PemError::Truncated));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes(text: Vec<u8>) {
            let _ = blocks(&text);
        }
    }
}
