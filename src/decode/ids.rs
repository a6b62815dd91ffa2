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

use super::DecodeError;
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

    /// The ids of `rows` rows from `first_row` on.
    ///
    /// # Errors
    /// When a row number doesn't fit into 48 bits.
    pub fn rows(&self, first_row: u64, rows: usize) -> Result<FixedSizeBinaryArray, DecodeError> {
        let end = first_row.checked_add(rows as u64).filter(|end| *end <= MAX_ROWS);
        let end =
            end.ok_or_else(|| DecodeError::Damaged { what: format!("more than {MAX_ROWS} rows in one object") })?;
        let mut bytes = Vec::with_capacity(rows * 16);
        for row in first_row..end {
            bytes.extend_from_slice(&self.row(row));
        }
        FixedSizeBinaryArray::try_new(super::types::UUID_BYTES, Buffer::from_vec(bytes), None)
            .map_err(|error| DecodeError::Internal { what: error.to_string() })
    }
}
