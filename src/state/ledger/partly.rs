//! Versions of objects that failed behind a first part of their rows: how many rows of each were sent. The next sync reads
//! the object again, but sends none of these rows a second time, which a destination that appends would keep twice.
//!
//! One part of the ledger's set: `partly <hash>.<rows> <hash>.<rows> …`, hashes in hexadecimal, ascending.

use std::collections::BTreeMap;

/// Most versions that are remembered; of more the ones with the fewest rows are sent again from their start. One part holds
/// them, in 39 characters each at most, and a bucket with more broken objects has other troubles.
pub(super) const MAX_VERSIONS: usize = 1_000;

/// What a part of this kind begins with. Chunks begin with a digit.
const TAG: &str = "partly";

/// Rows by the hash of key and ETag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Partly(BTreeMap<u64, u64>);

impl Partly {
    /// Whether a part of the set is of this kind.
    pub fn is_part(text: &str) -> bool {
        text.starts_with(TAG)
    }

    /// `None`: the text is not such a part.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let pair = |word: &str| {
            let (hash, rows) = word.split_once('.')?;
            Some((u64::from_str_radix(hash, 16).ok()?, rows.parse().ok()?))
        };
        (words.next() == Some(TAG)).then(|| words.map(pair).collect::<Option<_>>().map(Self))?
    }

    /// The part of the set; `None` when there is nothing to remember.
    pub fn to_text(&self) -> Option<String> {
        let mut largest: Vec<(&u64, &u64)> = self.0.iter().collect();
        largest.sort_by_key(|(hash, rows)| (std::cmp::Reverse(**rows), **hash));
        largest.truncate(MAX_VERSIONS);
        largest.sort_unstable();
        let words: Vec<String> = largest.into_iter().map(|(hash, rows)| format!("{hash:016x}.{rows}")).collect();
        (!words.is_empty()).then(|| format!("{TAG} {}", words.join(" ")))
    }

    /// Rows of the version that were sent before it failed.
    pub fn rows(&self, hash: u64) -> u64 {
        self.0.get(&hash).copied().unwrap_or(0)
    }

    /// Takes what `other` has beside it, of the versions that `wanted` picks.
    pub fn keep(&mut self, other: &Self, wanted: impl Fn(u64) -> bool) {
        let more = other.0.iter().filter(|(hash, _)| wanted(**hash));
        more.for_each(|(hash, rows)| _ = self.0.entry(*hash).or_insert(*rows));
    }

    /// The rows of the version that were sent; 0: it is forgotten.
    pub fn set(&mut self, hash: u64, rows: u64) {
        if rows == 0 {
            self.0.remove(&hash);
        } else {
            self.0.insert(hash, rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::MAX_VALUE_CHARS;

    #[test]
    fn what_was_written_is_read() {
        let mut partly = Partly::default();
        assert_eq!(partly.to_text(), None);
        for (hash, rows) in [(u64::MAX, 7), (3, u64::MAX), (9, 1)] {
            partly.set(hash, rows);
        }
        partly.set(9, 0);
        let text = partly.to_text().unwrap();
        assert_eq!(text, "partly 0000000000000003.18446744073709551615 ffffffffffffffff.7");
        assert!(Partly::is_part(&text));
        assert_eq!(Partly::parse(&text), Some(partly));
        for text in ["", "partly", "partly x.1", "partly 1.x", "partly 1", "partly  1.1", "0.0 1 x"] {
            assert!(Partly::parse(text).is_none_or(|partly| partly == Partly::default()), "{text:?}");
        }
    }

    #[test]
    fn it_is_bounded_and_keeps_what_saves_most() {
        let mut partly = Partly::default();
        (0..3_000).for_each(|n| partly.set(u64::MAX - n, 1 + n));
        let text = partly.to_text().unwrap();
        let read = Partly::parse(&text).unwrap();
        assert_eq!((read.0.len(), read.rows(u64::MAX - 2_999), read.rows(u64::MAX)), (MAX_VERSIONS, 3_000, 0));
        (0..3_000).for_each(|n| partly.set(u64::MAX - n, u64::MAX));
        assert!(partly.to_text().unwrap().len() + 64 < MAX_VALUE_CHARS);
    }
}
