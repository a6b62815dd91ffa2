//! `_cq_id`: a UUID of version 8 made of a hash of (bucket, key) and the row's number in the object.
//!
//! ```text
//! bits  0..48   hash                 bits 64..66   variant 0b10
//! bits 48..52   version 8            bits 66..80   hash
//! bits 52..64   hash                 bits 80..128  row number, big endian
//! ```
//!
//! The 74 hash bits are the first ones of SHA-256 over bucket, a zero byte, key. Inside an object the ids are unique by
//! construction and ascending; between objects they collide when 74 bits do (a billion objects: once in 20,000 tries).
//! The object's version is not part of it: a replaced object overwrites its rows by position. The layout is frozen: an
//! id of one release must be the id of all later ones, or every row would be written twice.

use super::error::CastError;
use super::row_numbers::RowNumbers;
use crate::schema::types::UUID_BYTES;
use arrow::array::FixedSizeBinaryArray;
use arrow::buffer::Buffer;
use sha2::{Digest, Sha256};

/// Bits of the row number.
const ROW_BITS: u32 = 48;

/// The first row number that doesn't fit.
pub const MAX_ROWS: u64 = 1 << ROW_BITS;

/// The part of all ids of an object that is the same for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectId {
    /// Version, variant and hash, with a zero row number.
    base: u128,
}

impl ObjectId {
    /// The id of the object `key` in `bucket`.
    pub fn new(bucket: &str, key: &str) -> Self {
        let digest = Sha256::new().chain_update(bucket).chain_update([0]).chain_update(key).finalize();
        let mut uuid = [0; 16];
        uuid[..10].copy_from_slice(&digest[..10]);
        uuid[6] = (uuid[6] & 0x0f) | 0x80;
        uuid[8] = (uuid[8] & 0x3f) | 0x80;
        Self { base: u128::from_be_bytes(uuid) }
    }

    /// The id of one row; `row` counts from 0 over the whole object and must be below [`MAX_ROWS`].
    pub fn row(&self, row: u64) -> [u8; 16] {
        (self.base | u128::from(row & (MAX_ROWS - 1))).to_be_bytes()
    }

    /// The ids of these rows.
    ///
    /// # Errors
    /// When a row number doesn't fit into 48 bits.
    pub fn rows(&self, numbers: &RowNumbers) -> Result<FixedSizeBinaryArray, CastError> {
        let too_many = CastError::TooManyRows(MAX_ROWS);
        // As integers of 16 bytes in the memory order of the bytes: one swap and one store a row.
        let id = |row: u64| i128::from_ne_bytes(self.row(row));
        let ids: Vec<i128> = match numbers {
            RowNumbers::From { first, rows } => {
                let end = first.checked_add(*rows as u64).filter(|end| *end <= MAX_ROWS).ok_or(too_many)?;
                (*first..end).map(id).collect()
            }
            RowNumbers::Each(numbers) if numbers.last().is_some_and(|last| *last >= MAX_ROWS) => return Err(too_many),
            RowNumbers::Each(numbers) => numbers.iter().copied().map(id).collect(),
        };
        Ok(FixedSizeBinaryArray::try_new(UUID_BYTES, Buffer::from_vec(ids), None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array as _;
    use std::collections::HashSet;

    fn text(id: [u8; 16]) -> String {
        id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Frozen for all releases. Computed by another implementation of the layout above.
    #[test]
    fn golden_ids() {
        let digest = Sha256::digest(b"bucket\0key");
        let id = ObjectId::new("bucket", "key");
        assert_eq!(id.row(0)[..6], digest[..6]);
        assert_eq!(text(id.row(0)), GOLDEN[0]);
        assert_eq!(text(id.row(MAX_ROWS - 1)), GOLDEN[1]);
        assert_eq!(text(ObjectId::new("b", "ä/x.parquet").row(0x0102_0304_0506)), GOLDEN[2]);
    }

    const GOLDEN: [&str; 3] =
        ["c716800ea46c89ba9f82000000000000", "c716800ea46c89ba9f82ffffffffffff", "375a810b69c78ac3ad20010203040506"];

    #[test]
    fn version_and_variant_are_those_of_uuid_8() {
        for key in 0..100 {
            let id = ObjectId::new("bucket", &key.to_string()).row(u64::MAX);
            assert_eq!((id[6] >> 4, id[8] >> 6), (8, 0b10));
        }
    }

    #[test]
    fn objects_differ_also_where_bucket_and_key_join_alike() {
        let ids: HashSet<_> = [("ab", "c"), ("a", "bc"), ("abc", "")].map(|(b, k)| ObjectId::new(b, k).row(0)).into();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn rows_ascend_and_are_those_of_row() {
        let id = ObjectId::new("bucket", "key");
        let from = |first, rows| id.rows(&RowNumbers::From { first, rows });
        let each = |numbers: &[u64]| id.rows(&RowNumbers::Each(numbers.into()));
        let all = |rows: FixedSizeBinaryArray| -> Vec<[u8; 16]> {
            (0..rows.len()).map(|row| rows.value(row).try_into().unwrap()).collect()
        };
        let rows = all(from(254, 4).unwrap());
        assert_eq!(rows, (254..258).map(|row| id.row(row)).collect::<Vec<_>>());
        assert!(rows.is_sorted());
        assert_eq!(all(each(&[3, 7]).unwrap()), [id.row(3), id.row(7)]);
        assert!(from(MAX_ROWS - 1, 1).is_ok() && each(&[0, MAX_ROWS - 1]).is_ok() && each(&[]).is_ok());
        assert!(from(MAX_ROWS - 1, 2).is_err());
        assert!(from(u64::MAX, 1).is_err() && each(&[0, MAX_ROWS]).is_err());
    }
}
