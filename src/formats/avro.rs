//! Avro's object container files: a header with the schema, then blocks of records.
//!
//! ```text
//! first bytes ──header, schema──▶ columns (plain) ──▶ FileSchema
//! further bytes ──blocks──▶ codec ──rows──▶ arrow-avro ──▶ plain, slices ──▶ RecordBatch
//! ```
//!
//! Framing and codecs are ours, so that every length is checked before anything is made of it; records are decoded by
//! `arrow-avro` with the schema that they were written with. What its types become Arrow says ([`super::plain`]): enums are
//! texts, unions of several types JSON.

mod block;
mod codec;
pub(super) mod file;
mod header;
pub(super) mod reader;
mod rows;
mod schema;

use super::error::ReadError;
use super::format::Format;

#[cfg(test)]
mod tests;

/// What a file begins with.
const MAGIC: &[u8; 4] = b"Obj\x01";
/// Bytes of the marker that ends the header and each block.
const SYNC_BYTES: usize = 16;

/// The file contradicts itself.
fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged { format: Format::Avro, what: what.into() }
}

/// Avro's variable-length number at the beginning of `bytes`, and how many bytes it has. `Ok(None)`: it is not all there;
/// `Err`: it has more than 64 bits.
fn number(bytes: &[u8]) -> Result<Option<(i64, usize)>, ReadError> {
    const MAX_BYTES: usize = 10;
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(MAX_BYTES).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0);
        if byte & 0x80 == 0 {
            // Zigzag: the sign is the lowest bit.
            let value = (value >> 1).cast_signed() ^ -((value & 1).cast_signed());
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() >= MAX_BYTES { Err(damaged("a number has more than 64 bits")) } else { Ok(None) }
}
