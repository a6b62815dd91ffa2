//! What earlier syncs did, and what is left to do: which objects of a table are done, and the schema that was announced.
//! All of it is kept as text under a few keys of the state backend. Everything here is pure: values in, values out; the
//! client of the backend is [`crate::cloudquery::state_client`].
//!
//! An object is *done* when exactly this content (key and ETag) was sent to its last row, in a sync that ended well or long
//! enough before a [`checkpoint`] of one that did not. The [`ledger`] holds a hash of each done object of a table that is
//! still in the bucket. No clock decides anything, except above a limit: see [`ledger::Limits`].
//!
//! Per table, below [`Identity::state_prefix`]:
//!
//! ```text
//! cq-source-s3/<bucket>/<table>/<hash>/ledger.0, ledger.1, …   done objects, in chunks by last modification
//!                                     /ledger                  which parts count, and their checksum
//!                                     /ledger.prev             the same of the ledger before, where it may be needed
//!                                     /schema.0, …             the table's columns
//!                                     /schema                  which parts count, and their checksum
//!                                     /checkpoint.0, …         objects done since, in a sync that was interrupted
//!                                     /checkpoint              which parts count, to what, and their checksum
//! ```
//!
//! The three belong together, and are read and written as one [`table::TableState`].
//!
//! Beside them one value of the whole source says what is known of earlier syncs: [`commit`].
//!
//! How parts and heads make one whole that is never half old and half new is told in `parts`; how hashes become text, in
//! `hash_text`. Both are frozen by golden files: state written by one release is read by the next.

pub mod checkpoint;
pub mod commit;
mod hash_text;
pub mod ledger;
mod parts;
pub mod schema;
pub mod table;
pub mod tail;

use crate::hash::{hex, update_framed};
use sha2::{Digest as _, Sha256};

/// Longest state key, in ASCII characters: what MySQL can index in a `text` column.
pub const MAX_KEY_CHARS: usize = 190;
/// Longest state value, in ASCII characters: MySQL's `text` holds 64 KiB, and this leaves room.
pub const MAX_VALUE_CHARS: usize = 48 << 10;
/// Most characters of the bucket's and of the table's name that a key shows. The hash behind them tells them apart.
const MAX_SHOWN_CHARS: usize = 48;

// The longest key that is made.
const _: () = assert!(
    "cq-source-s3/".len()
        + 2 * (MAX_SHOWN_CHARS + 1)
        + "4294967295of4294967295/".len()
        + 33
        + "ledger.4294967295".len()
        <= MAX_KEY_CHARS
);

/// What state belongs to: a table of a source. Two that differ in anything here have nothing in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// URL of the S3 server; empty for Amazon's.
    pub endpoint: &'a str,
    /// The bucket, as in the spec.
    pub bucket: &'a str,
    /// `path_prefix` of the spec.
    pub prefix: &'a str,
    /// The table's name.
    pub table: &'a str,
    /// Number and total, when sharded. A total of 1 is the same as none.
    pub shard: Option<(u32, u32)>,
    /// `state_id` of the spec.
    pub state_id: &'a str,
}

impl Identity<'_> {
    /// What all state keys of the table start with; ends in `/`. ASCII, unique, at most [`MAX_KEY_CHARS`] with all that
    /// is put behind it. Upper and lower case make no difference, since some databases see none.
    #[must_use]
    pub fn state_prefix(&self) -> String {
        let mut prefix = self.relatives_prefix();
        let shard = self.shard.filter(|&(_, total)| total > 1);
        if let Some((number, total)) = shard {
            prefix.push_str(&format!("{number}of{total}/"));
        }
        let mut hash = Sha256::new();
        let (number, total) = shard.unwrap_or((1, 1));
        let shard = format!("{number}/{total}");
        for part in [self.endpoint, self.bucket, self.prefix, self.table, &shard, self.state_id] {
            update_framed(&mut hash, part);
        }
        prefix.push_str(&hex(&hash.finalize()[..16]));
        prefix.push('/');
        prefix
    }

    /// What the state keys of this table start with, whatever else the source is.
    #[must_use]
    pub fn relatives_prefix(&self) -> String {
        format!("{}{}/", self.bucket_prefix(), shown(self.table))
    }

    /// What the state keys of all tables of this bucket start with, and maybe those of others whose names look alike.
    #[must_use]
    pub fn bucket_prefix(&self) -> String {
        format!("cq-source-s3/{}/", shown(self.bucket))
    }

    fn bad_state(&self, what: String) -> BadState {
        BadState { table: self.table.to_owned(), prefix: self.state_prefix(), what }
    }
}

/// The part of a name that goes into keys: for people, who look for a table's rows.
fn shown(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.chars().take(MAX_SHOWN_CHARS).map(plain).collect()
}

/// State that cannot be used. It never passes for "everything is done" or "nothing is".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state of table {table:?} cannot be used: {what}; to read the whole table again, delete the rows whose key \
     starts with {prefix:?} from the backend's state table, or give the spec another state_id"
)]
pub struct BadState {
    /// The table.
    pub table: String,
    /// What the keys start with.
    pub prefix: String,
    /// What is wrong.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const IDENTITY: Identity<'_> =
        Identity { endpoint: "", bucket: "my-bucket", prefix: "raw/", table: "orders", shard: None, state_id: "" };

    #[test]
    fn every_part_of_an_identity_tells_keys_apart() {
        let all = [
            IDENTITY,
            Identity { endpoint: "http://localhost:9000", ..IDENTITY },
            Identity { bucket: "my-bucket2", ..IDENTITY },
            Identity { prefix: "raw", ..IDENTITY },
            Identity { table: "order", ..IDENTITY },
            Identity { shard: Some((1, 2)), ..IDENTITY },
            Identity { shard: Some((2, 2)), ..IDENTITY },
            Identity { shard: Some((1, 3)), ..IDENTITY },
            Identity { state_id: "b", ..IDENTITY },
            Identity { bucket: "my-bucketr", prefix: "aw/", ..IDENTITY },
        ];
        let prefixes: HashSet<String> = all.iter().map(|identity| identity.state_prefix().to_lowercase()).collect();
        assert_eq!(prefixes.len(), all.len());
        assert_eq!(Identity { shard: Some((1, 1)), ..IDENTITY }.state_prefix(), IDENTITY.state_prefix());
    }

    /// Frozen: with another key the state of the last release would not be found.
    #[test]
    fn golden_keys() {
        assert_eq!(IDENTITY.state_prefix(), "cq-source-s3/my-bucket/orders/e5e7337e42daca8078a9e5d4c9c3818e/");
        let sharded = Identity { shard: Some((2, 4)), ..IDENTITY };
        assert!(sharded.state_prefix().starts_with("cq-source-s3/my-bucket/orders/2of4/"));
    }

    #[test]
    fn keys_are_short_ascii_whatever_the_names() {
        let long = "ü/".repeat(600);
        let identity = Identity {
            endpoint: &long,
            bucket: &long,
            prefix: &long,
            table: &long,
            shard: Some((u32::MAX, u32::MAX)),
            state_id: &long,
        };
        let key = format!("{}ledger.{}", identity.state_prefix(), u32::MAX);
        assert!(key.is_ascii() && key.len() <= MAX_KEY_CHARS, "{} {key}", key.len());
    }
}
