//! What identities are made of: SHA-256 over parts that can't be mistaken for one another.

use sha2::{Digest as _, Sha256};

/// Adds a part behind its length in bytes, so that no two lists of parts give the same bytes.
pub fn update_framed(hash: &mut Sha256, part: impl AsRef<[u8]>) {
    let part = part.as_ref();
    hash.update((part.len() as u64).to_be_bytes());
    hash.update(part);
}

/// The first 64 bits of a digest, big endian; 0 if it has fewer.
#[must_use]
pub fn first_u64(digest: &[u8]) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_join_alike_differ() {
        let of = |parts: &[&str]| {
            let mut hash = Sha256::new();
            parts.iter().for_each(|part| update_framed(&mut hash, part));
            first_u64(&hash.finalize())
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }

    #[test]
    fn texts_and_numbers_are_those_of_the_bytes() {
        assert_eq!(hex(&[0x0a, 0xff]), "0aff");
        assert_eq!(first_u64(&[0, 0, 0, 0, 0, 0, 1, 2, 9]), 0x102);
        assert_eq!(first_u64(&[1]), 0);
    }
}
