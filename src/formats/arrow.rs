//! Arrow IPC: files (Feather 2) and streams, as messages behind one another.
//!
//! ```text
//! first message ──file──▶ Schema ──▶ columns (plain) ──▶ FileSchema
//! further bytes ──message──▶ dictionaries, record batches ──reader──▶ plain, slices ──▶ RecordBatch
//! ```
//!
//! A file is a stream behind its magic, with a footer behind its end: both are read forward from their first bytes. Messages are
//! checked before Arrow's reader sees them: lengths against what is there, what is packed against what it may become. Arrays are
//! validated. Arrow's reader may still panic on some kinds of damage: see [`super::contained`].

pub(super) mod file;
mod message;
pub(super) mod reader;

use super::error::ReadError;
use super::format::Format;

#[cfg(test)]
mod tests;

/// What a file begins with; two bytes of padding follow. It ends with the magic alone.
const MAGIC: &[u8; 6] = b"ARROW1";
/// The magic with its padding.
const MAGIC_BYTES: u64 = 8;
/// What a message begins with, but in files of before 2019.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The file contradicts itself.
fn damaged(what: impl Into<String>) -> ReadError {
    ReadError::Damaged { format: Format::Arrow, what: what.into() }
}
