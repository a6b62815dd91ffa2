//! Which objects a shard of a sync sends.

use crate::hash::first_u64;
use sha2::{Digest as _, Sha256};
use std::num::NonZeroU32;

/// One of `total` parts of a bucket. Each object is in exactly one, by a hash of its key alone: whatever else is listed,
/// and on whatever machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    index: u32,
    total: NonZeroU32,
}

impl Shard {
    /// All objects.
    pub const WHOLE: Self = Self { index: 0, total: NonZeroU32::MIN };

    /// The shard that was asked for, as its number (from 1) and the total; all objects if none was, or one that can't be.
    #[must_use]
    pub fn new(number_and_total: Option<(u32, u32)>) -> Self {
        let shard = number_and_total.and_then(|(number, total)| {
            let total = NonZeroU32::new(total)?;
            let index = number.checked_sub(1)?;
            (index < total.get()).then_some(Self { index, total })
        });
        shard.unwrap_or(Self::WHOLE)
    }

    /// Whether the object with this key is in the shard.
    #[must_use]
    pub fn has(self, key: &str) -> bool {
        if self.total == NonZeroU32::MIN {
            return true;
        }
        first_u64(&Sha256::digest(key)) % u64::from(self.total.get()) == u64::from(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u32, total: u32) -> Shard {
        Shard::new(Some((number, total)))
    }

    #[test]
    fn each_key_is_in_exactly_one_shard() {
        for total in 1..6 {
            for n in 0..500 {
                let key = format!("a/{n}.parquet");
                assert_eq!((1..=total).filter(|number| shard(*number, total).has(&key)).count(), 1);
            }
        }
    }

    #[test]
    fn shards_are_of_similar_size() {
        let sizes: Vec<usize> = (1..=4)
            .map(|number| (0..4_000).filter(|n| shard(number, 4).has(&format!("a/{n}.parquet"))).count())
            .collect();
        assert!(sizes.iter().all(|size| (850..1_150).contains(size)), "{sizes:?}");
    }

    #[test]
    fn a_key_stays_in_its_shard_for_all_releases() {
        let of = |key| (1..=7).find(|number| shard(*number, 7).has(key));
        assert_eq!(["orders/2026-10.parquet", "a.parquet", ""].map(of), [Some(1), Some(3), Some(2)]);
    }
}
