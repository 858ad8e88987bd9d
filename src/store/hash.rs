//! The hash of a server name: which bucket and which stripe it has, in every build alike.

/// FNV-1a over the bytes, then MurmurHash3's finalizer, so that every bit can pick a bucket.
pub(super) fn of_name(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }

    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    /// Another build of the module finds what this one published.
    #[test]
    fn stable() {
        assert_eq!(super::of_name(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(super::of_name(b"a.test"), super::of_name(b"a.test"));
        assert_ne!(super::of_name(b"a.test"), super::of_name(b"b.test"));
    }
}
