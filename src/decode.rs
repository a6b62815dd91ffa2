//! From the bytes of a Parquet object to record batches in the table's outgoing types.
//!
//! ```text
//! last bytes ──footer──▶ ParquetMetaData ─columns─▶ FileSchema ──▶ schema::merge (all files agree) ──▶ TableSchema
//!                              │                                                                          │
//! fetched ranges ──ranges──▶ RangeBytes ──reader (ObjectPlan, RowGroupDecoder)──▶ cast, json, ids ──▶ RecordBatch
//! ```
//!
//! Everything here is CPU work on bytes in memory: no network, no clock, no async. Nothing of a file's own metadata
//! (key/value pairs, embedded Arrow schema, field ids) reaches a batch: the outgoing schema is made from scratch.
//!
//! Damaged files give a [`DecodeError`]. The `parquet` crate may panic on some kinds of damage; the caller runs these
//! functions under `catch_unwind`, so that a panic stays in its object.

use parquet::errors::ParquetError;
use std::sync::atomic::{AtomicU64, Ordering};

mod cast;
pub mod columns;
mod damage;
pub mod footer;
pub mod ids;
mod json;
mod nested;
pub mod origin;
pub mod pages;
pub mod ranges;
pub mod reader;

/// Why an object could not be decoded. The texts name column and row group; the caller adds bucket and key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The object is something else: put it into `exclude`.
    #[error("not a Parquet file: {what}")]
    NotParquet {
        /// What was seen and expected.
        what: String,
    },
    /// Parquet modular encryption.
    #[error(
        "the Parquet file is encrypted (its magic is PARE): encrypted files can't be read; write it unencrypted, or exclude it"
    )]
    Encrypted,
    /// The file contradicts itself or stops early: it was damaged, or the upload was not complete.
    #[error("damaged Parquet file: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// The file is probably fine but uses something that isn't supported.
    #[error("column {column:?}: {what}")]
    Unsupported {
        /// The column's path in the file.
        column: String,
        /// What isn't supported, and what to do.
        what: String,
    },
    /// The footer could not be read.
    #[error("read the footer: {}", damage::cause(.0))]
    Footer(ParquetError),
    /// The file's columns are no longer those that the table was announced with.
    #[error("column {column:?}: {what}; the table was announced with other columns, sync again")]
    SchemaChanged {
        /// The column.
        column: String,
        /// What differs.
        what: String,
    },
    /// Decoding a row group failed.
    #[error("row group {row_group}, {place}: {}", damage::cause(error))]
    RowGroup {
        /// Index of the row group, from 0.
        row_group: usize,
        /// Column and page as far as they are known, else from which row of the group on it failed.
        place: String,
        /// What the decoder says. It is in the text already, so it is not the error's source.
        error: ParquetError,
    },
    /// A value of a column could not be brought into the outgoing type.
    #[error("row group {row_group}, column {column:?}: {what}")]
    Column {
        /// Index of the row group, from 0.
        row_group: usize,
        /// The column's name in the file.
        column: String,
        /// What is wrong with it.
        what: String,
    },
    /// The pages hold fewer or more rows than the footer says.
    #[error("damaged Parquet file: row group {row_group} should have {expected} rows, its pages hold {got}")]
    RowCount {
        /// Index of the row group, from 0.
        row_group: usize,
        /// Rows by the footer.
        expected: u64,
        /// Rows decoded.
        got: u64,
    },
    /// A caller's mistake: a bug of ours.
    #[error("internal error in decoding: {what}")]
    Internal {
        /// What was wrong.
        what: String,
    },
}

impl DecodeError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// What casting had to change, counted over all objects of a table: one warning a table is made of it.
#[derive(Debug, Default)]
pub struct CastCounts {
    /// Timestamps that became null: outside 4713 BC to 294276 AD, or inside JSON outside the years 0 to 9999.
    pub timestamps_out_of_range: AtomicU64,
    /// Dates that became null: outside 4713 BC to 5874897 AD, or inside JSON outside the years 0 to 9999.
    pub dates_out_of_range: AtomicU64,
    /// Times of day that became null: negative or after 24:00.
    pub times_out_of_range: AtomicU64,
    /// Decimals that became null: more digits than the column declares (`|unscaled value| ≥ 10^precision`).
    pub decimals_out_of_range: AtomicU64,
    /// NaN and ±∞ inside JSON that became null.
    pub floats_not_finite: AtomicU64,
    /// Values of Parquet's JSON type that are not JSON and became JSON strings.
    pub json_invalid: AtomicU64,
    /// Values of Parquet's JSON type that became JSON strings because destinations refuse them.
    pub json_beyond_limits: AtomicU64,
}

impl CastCounts {
    fn named(&self) -> [(&'static str, &AtomicU64); 7] {
        [
            ("timestamps out of range became null", &self.timestamps_out_of_range),
            ("dates out of range became null", &self.dates_out_of_range),
            ("times of day out of range became null", &self.times_out_of_range),
            ("decimals with more digits than declared became null", &self.decimals_out_of_range),
            ("NaN or infinite numbers inside JSON became null", &self.floats_not_finite),
            ("invalid JSON texts became JSON strings", &self.json_invalid),
            (
                "JSON texts with more than 1,000 levels or too large numbers became JSON strings",
                &self.json_beyond_limits,
            ),
        ]
    }

    /// One line that says what was changed and how often, or `None` when nothing was.
    pub fn summary(&self) -> Option<String> {
        let parts: Vec<String> = self
            .named()
            .into_iter()
            .filter_map(|(what, count)| {
                let count = count.load(Ordering::Relaxed);
                (count > 0).then(|| format!("{count} {what}"))
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Adds what `other` counted. Batches count in a value of their own, which is added when the batch is complete:
    /// a batch that is decoded a second time with fewer rows must not count twice.
    pub(crate) fn add(&self, other: &Self) {
        for ((_, mine), (_, theirs)) in self.named().into_iter().zip(other.named()) {
            let count = theirs.load(Ordering::Relaxed);
            if count > 0 {
                mine.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// Adds to a counter; statistics need no ordering.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
