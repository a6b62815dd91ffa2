//! Text formats: CSV, JSON and lines, compressed or not. Nothing in such an object says which columns it has, of which types, or
//! where a record begins, so it is read from its first byte to its last.
//!
//! ```text
//! windows of the object ─unpack─▶ pieces ─encoding─▶ UTF-8 ─splitter─▶ chunks of whole records ─▶ Part ─parser─▶ texts by column
//!                                                                       (one after the other)      (side by side)     │
//!                                                                                                  cast::text ◀───────┘
//! ```
//!
//! What runs one after the other only looks for the ends of records and counts them ([`reader`]); so the number of each row, and
//! with it its id, is known before anything of it is parsed, and depends neither on windows nor on cores. All else is done with a
//! [`Part`] by itself ([`part`]). The types of columns are inferred from the first bytes of some objects ([`sample`]).

mod carry;
pub(crate) mod chunk;
pub(crate) mod csv;
pub(crate) mod encoding;
pub(crate) mod json;
mod lines;
pub(crate) mod opening;
pub(crate) mod part;
pub(crate) mod reader;
mod sample;
pub(crate) mod splitter;
pub(crate) mod unpack;

use super::error::ReadError;
use super::fetched::FetchedRanges;
use super::format::Format;
use super::{Position, Step};
use crate::config::TableOptions;
use crate::schema::file::FileSchema;
use bytes::Bytes;
pub(crate) use part::Part;
use std::sync::Arc;

/// Bytes of an object by which its columns are told.
pub(crate) const SAMPLE_BYTES: u64 = 256 << 10;
/// Of an object whose first record is longer, as many are looked at: what is behind them is read without a look at it before.
const MAX_SAMPLE_BYTES: u64 = 4 << 20;
/// How much more than the bytes of a sample its unpacked text and its fields take, roughly.
pub(crate) const SAMPLE_FACTOR: u64 = 8;

/// Parts of an object that are in memory at a time: one that is sent, and two that are decoded meanwhile.
pub(crate) const PARTS_AT_A_TIME: usize = 3;

/// The first window of an object: small, so that its first rows are not late.
const FIRST_WINDOW_BYTES: u64 = 512 << 10;
/// By how much windows grow, until they have [`MAX_WINDOW_BYTES`].
const WINDOW_GROWTH: u64 = 4;
/// The largest window: what one GET brings before the time to its first byte stops counting.
pub(crate) const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// What a part takes while it is decoded: its text, where each field is, the arrays of the table, encoded rows.
const PART_BYTES: u64 = 6 << 20;
/// The state of a codec, as long as nothing says that it is larger.
const CODEC_BYTES: u64 = 512 << 10;
/// How much more than its bytes an object takes while it is decoded that is smaller than a part.
const SMALL_FACTOR: u64 = 24;

/// The size of the window that begins at this offset, where memory has room for it.
pub(crate) fn window_bytes(start: u64) -> u64 {
    start.saturating_mul(WINDOW_GROWTH - 1).clamp(FIRST_WINDOW_BYTES, MAX_WINDOW_BYTES)
}

/// An object of text.
#[derive(Debug, Clone)]
pub(crate) struct File {
    format: Format,
    options: Arc<TableOptions>,
    object_bytes: u64,
    /// Its columns, by its first bytes; `None`: they were not looked at.
    sampled: Option<Arc<FileSchema>>,
}

impl File {
    /// An object of which nothing was read yet.
    pub(super) fn new(format: Format, options: &Arc<TableOptions>, object_bytes: u64) -> Self {
        Self { format, options: Arc::clone(options), object_bytes, sampled: None }
    }

    /// The same with its columns, by its first bytes. The inner error is how many of them are needed.
    pub(super) fn sampled(self, head: &Bytes) -> Result<Result<Self, u64>, ReadError> {
        let is_whole = head.len() as u64 >= self.object_bytes;
        match sample::schema(self.format, &self.options, head, is_whole)? {
            Some(schema) => Ok(Ok(Self { sampled: Some(Arc::new(schema)), ..self })),
            None => {
                let needed = (head.len() as u64).saturating_mul(WINDOW_GROWTH).max(SAMPLE_BYTES);
                Ok(Err(needed.min(self.object_bytes)))
            }
        }
    }

    pub(super) fn schema(&self) -> Result<FileSchema, ReadError> {
        let sampled = self.sampled.as_ref();
        let sampled = sampled.ok_or_else(|| ReadError::Internal { what: "a text without a sample".into() })?;
        Ok(FileSchema::clone(sampled))
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.sampled.as_ref().map_or(0, |schema| schema.columns.len() as u64 * SAMPLE_FACTOR * 16)
    }

    /// The window from a position on.
    pub(super) fn step(&self, from: Position, most_bytes: u64) -> Option<Step> {
        let start = from.part;
        if start >= self.object_bytes {
            return None;
        }
        let window = match start {
            // All of it at once: it is in memory.
            0 if most_bytes == u64::MAX => self.object_bytes,
            start => window_bytes(start),
        };
        let end = start.saturating_add(window.min(most_bytes.max(1))).min(self.object_bytes);
        let next = Position { part: end, first_row: 0 };
        let ranges = std::iter::once(start..end).collect();
        Some(Step { from, next, ranges, decoding_bytes: self.decoding_bytes(CODEC_BYTES) })
    }

    /// Memory of the parts that are decoded, and of a codec that takes `codec_bytes`.
    fn decoding_bytes(&self, codec_bytes: u64) -> u64 {
        let small = self.object_bytes.saturating_mul(SMALL_FACTOR);
        let parts = (PARTS_AT_A_TIME as u64 * PART_BYTES).min(small);
        // A small object never fills what a codec may take, unless that is measured.
        let codec_bytes = if codec_bytes > CODEC_BYTES { codec_bytes } else { codec_bytes.min(small) };
        parts.saturating_add(codec_bytes)
    }

    /// Rows that a batch may have: a record has a byte at least, and its end.
    pub(super) fn most_batch_rows(&self) -> u64 {
        chunk::CHUNK_RECORDS.min(self.object_bytes)
    }

    /// What a codec takes is known when the object's first bytes are there.
    pub(super) fn measured_bytes(&self, step: &Step, bytes: &FetchedRanges) -> u64 {
        let first = bytes.rest_of_piece(0).filter(|_| step.from.part == 0);
        let codec_bytes = first.map_or(CODEC_BYTES, |first| opening::codec_bytes(&self.options, &first));
        self.decoding_bytes(codec_bytes.max(CODEC_BYTES))
    }
}
