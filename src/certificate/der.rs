//! DER of the plain kind, read without OpenSSL: enough to find something in what it has accepted.

/// Of the universal class (X.690).
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Elements with one byte for the tag and a definite length. All that is read is `None` when it is
/// not of that form.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Tag and content of the next; the inner `None` at the end.
    pub(super) fn element(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        let Some((tag, rest)) = self.0.split_first() else { return Some(None) };
        const MANY_BYTES: u8 = 0x1f;
        if tag & MANY_BYTES == MANY_BYTES {
            return None;
        }
        let (length, rest) = match rest {
            [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
            [0x81, length, rest @ ..] => (usize::from(*length), rest),
            [0x82, a, b, rest @ ..] => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some((*tag, content)))
    }

    pub(super) fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element()?.and_then(|(is, content)| (is == tag).then_some(content))
    }

    /// The content of one that may be left out; the inner `None` when it is.
    pub(super) fn next_if(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&tag) { self.next(tag).map(Some) } else { Some(None) }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next, after which there is nothing.
    pub(super) fn only(&mut self, tag: u8) -> Option<&'a [u8]> {
        let content = self.next(tag)?;
        self.0.is_empty().then_some(content)
    }
}
