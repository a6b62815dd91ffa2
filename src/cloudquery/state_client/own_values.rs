//! The values that a client found in the backend or wrote there, of the keys that it wrote: what tells its own from those of
//! another client.

use crate::hash::first_u64;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};

/// Values that are remembered of a key, eight bytes each; the oldest is forgotten first. A key that a sync of days writes every
/// five minutes has hundreds of values, but a backend that loses this many writes of a key in a row has no state to speak of.
const MAX_VALUES: usize = 64;

/// At most [`MAX_VALUES`] digests for each key that was written; a key that is only read costs nothing.
#[derive(Debug, Default)]
pub(super) struct OwnValues(HashMap<String, VecDeque<u64>>);

impl OwnValues {
    /// The backend may have this value from now on. An empty one is as good as none.
    pub fn remember(&mut self, key: &str, value: &str) {
        let digest = digest(value);
        let values = self.0.entry(key.to_owned()).or_default();
        values.retain(|known| *known != digest);
        if values.len() == MAX_VALUES {
            values.pop_front();
        }
        values.push_back(digest);
    }

    /// Whether the backend may have this value by what this client did.
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|values| values.contains(&digest(value)))
    }
}

/// That a foreign value has the digest of an own one has a chance of one in 2^58.
fn digest(value: &str) -> u64 {
    first_u64(&Sha256::digest(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_values_are_remembered_by_key() {
        let mut own = OwnValues::default();
        assert!(!own.has("a", ""), "nothing was written");
        for number in 0..=MAX_VALUES {
            own.remember("a", &number.to_string());
            own.remember("a", &number.to_string());
        }
        assert!(!own.has("a", "0") && (1..=MAX_VALUES).all(|number| own.has("a", &number.to_string())));
        assert!(!own.has("b", "1"));
    }
}
