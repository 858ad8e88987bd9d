//! Why the last change of a set failed: as the zone keeps it, as metrics label it, and for people.

/// What kind of failure it was. The numbers are in zones that outlive this module: none is given
/// another meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    Other = 0,
    NotPem = 1,
    Truncated = 2,
    NoCertificate = 3,
    NoKey = 4,
    Mismatch = 5,
    ChainOrder = 6,
    EncryptedKey = 7,
    UnsupportedKey = 8,
    Unparsable = 9,
    Expired = 10,
    NotYetValid = 11,
    NotCovered = 12,
    SecurityLevel = 13,
    Unreadable = 14,
    Absent = 15,
    NoRoom = 16,
    RefusedPush = 17,
}

impl Reason {
    /// By number: what is counted is in the order of these.
    pub(crate) const ALL: [Reason; 18] = [
        Reason::Other,
        Reason::NotPem,
        Reason::Truncated,
        Reason::NoCertificate,
        Reason::NoKey,
        Reason::Mismatch,
        Reason::ChainOrder,
        Reason::EncryptedKey,
        Reason::UnsupportedKey,
        Reason::Unparsable,
        Reason::Expired,
        Reason::NotYetValid,
        Reason::NotCovered,
        Reason::SecurityLevel,
        Reason::Unreadable,
        Reason::Absent,
        Reason::NoRoom,
        Reason::RefusedPush,
    ];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u8) -> Reason {
        Reason::ALL.get(usize::from(number)).copied().unwrap_or(Reason::Other)
    }

    /// As in metrics and answers; dashboards know it by this.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Reason::Other => "other",
            Reason::NotPem => "not_pem",
            Reason::Truncated => "truncated",
            Reason::NoCertificate => "no_certificate",
            Reason::NoKey => "no_key",
            Reason::Mismatch => "mismatch",
            Reason::ChainOrder => "chain_order",
            Reason::EncryptedKey => "encrypted_key",
            Reason::UnsupportedKey => "unsupported_key",
            Reason::Unparsable => "unparsable",
            Reason::Expired => "expired",
            Reason::NotYetValid => "not_yet_valid",
            Reason::NotCovered => "not_covered",
            Reason::SecurityLevel => "security_level",
            Reason::Unreadable => "unreadable",
            Reason::Absent => "absent",
            Reason::NoRoom => "no_room",
            Reason::RefusedPush => "refused_push",
        }
    }

    /// For people; the log has the path.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Reason::Other => "the files hold no set that can be used; the error log says why",
            Reason::NotPem => "a file is not PEM",
            Reason::Truncated => "a file ends early: it may still be being written",
            Reason::NoCertificate => "the certificate file holds no certificate",
            Reason::NoKey => "the key file holds no private key",
            Reason::Mismatch => "the key does not match the certificate",
            Reason::ChainOrder => "the certificate chain is out of order",
            Reason::EncryptedKey => "the private key is encrypted, and no password opens it",
            Reason::UnsupportedKey => "the private key is of an unsupported type",
            Reason::Unparsable => "a certificate or key cannot be parsed",
            Reason::Expired => {
                "the certificate in the files has expired, the one that serves has not"
            }
            Reason::NotYetValid => "the certificate in the files is not yet valid",
            Reason::NotCovered => "the certificate in the files does not cover the name",
            Reason::SecurityLevel => "OpenSSL refuses the certificate for a server of the zone",
            Reason::Unreadable => "a file cannot be read",
            Reason::Absent => "a file is not there",
            Reason::NoRoom => "the zone has no room for the set",
            Reason::RefusedPush => "a push was refused: its certificate cannot be used",
        }
    }

    /// Whether good files mend it.
    fn is_of_files(self) -> bool {
        !matches!(self, Reason::NoRoom | Reason::RefusedPush)
    }
}

/// Why the last change of a set failed, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// Seconds since the epoch.
    pub(crate) since: i64,
}

impl Failure {
    /// What the zone keeps where nothing failed.
    pub(crate) const NONE: u64 = 0;

    /// From a word of the zone; `None` for `Failure::NONE`.
    pub(crate) fn from_word(word: u64) -> Option<Failure> {
        let [number, since @ ..] = word.to_be_bytes();
        let [a, b, c, d, e, f, g] = since;
        let reason = Reason::from_number(number.checked_sub(1)?);
        Some(Failure { reason, since: i64::from_be_bytes([0, a, b, c, d, e, f, g]) })
    }

    /// For a word of the zone. Never `Failure::NONE`.
    pub(crate) fn to_word(self) -> u64 {
        let [_, a, b, c, d, e, f, g] = self.since.max(0).to_be_bytes();
        u64::from_be_bytes([self.reason.number() + 1, a, b, c, d, e, f, g])
    }

    /// The word after a failure now, where `word` is there: one for the same reason began earlier.
    pub(crate) fn noted(word: u64, reason: Reason, now: i64) -> u64 {
        match Failure::from_word(word) {
            Some(before) if before.reason == reason => word,
            _ => Failure { reason, since: now }.to_word(),
        }
    }

    /// The word once the files are good, where `word` is there: what a push met is not mended by that.
    pub(crate) fn without_files(word: u64) -> u64 {
        if Failure::is_of_files(word) { Failure::NONE } else { word }
    }

    /// The word once a push was taken, where `word` is there.
    pub(crate) fn without_push(word: u64) -> u64 {
        if Failure::is_of_files(word) { word } else { Failure::NONE }
    }

    /// Whether the word tells of files.
    pub(crate) fn is_of_files(word: u64) -> bool {
        Failure::from_word(word).is_some_and(|failure| failure.reason.is_of_files())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FAILURE_COUNTERS;

    #[test]
    fn words() {
        assert_eq!(Failure::from_word(Failure::NONE), None);
        for reason in Reason::ALL {
            for since in [0, 1, 1_800_000_000, (1 << 56) - 1] {
                let failure = Failure { reason, since };
                assert_ne!(failure.to_word(), Failure::NONE);
                assert_eq!(Failure::from_word(failure.to_word()), Some(failure));
            }
        }
        let early = Failure { reason: Reason::Absent, since: -1 };
        assert_eq!(Failure::from_word(early.to_word()), Some(Failure { since: 0, ..early }));
        // Of a later version.
        let later = Failure::from_word(u64::MAX).map(|failure| failure.reason);
        assert_eq!(later, Some(Reason::Other));
    }

    #[test]
    fn numbers_and_labels() {
        assert!(Reason::ALL.len() < usize::from(FAILURE_COUNTERS));
        let mut labels: Vec<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Reason::ALL.len());
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(reason.number()), number);
            assert!(!reason.label().contains(|c: char| c != '_' && !c.is_ascii_lowercase()));
            assert!(!reason.sentence().is_empty());
        }
    }

    #[test]
    fn one_reason_keeps_its_beginning() {
        let first = Failure::noted(Failure::NONE, Reason::Mismatch, 10);
        assert_eq!(Failure::noted(first, Reason::Mismatch, 20), first);
        let second = Failure::noted(first, Reason::NotPem, 20);
        assert_eq!(Failure::from_word(second), Some(Failure { reason: Reason::NotPem, since: 20 }));
        assert_eq!(Failure::without_files(second), Failure::NONE);
        let push = Failure::noted(second, Reason::RefusedPush, 30);
        assert_eq!(Failure::without_files(push), push);
        assert_eq!(Failure::without_push(push), Failure::NONE);
        assert_eq!(Failure::without_push(second), second);
    }
}
