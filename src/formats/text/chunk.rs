//! What goes from the splitter of a text format to its parser, and what comes out of it.
//!
//! A splitter cuts the text of an object into [`Chunk`]s of whole records and counts them, one after the other; a parser turns
//! a chunk into [`Parsed`] columns, many chunks at a time, since a chunk says which numbers its records have.

pub(crate) use crate::cast::row_numbers::RowNumbers;
use arrow::array::{ArrayRef, StringArray};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Bytes of records that a chunk aims at: small enough that the first rows are not late and that the columns of a chunk stay in
/// the caches, large enough that the cost of a chunk doesn't count. Only a record that is longer makes a longer chunk.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Records of a chunk at most: the rows of a batch.
pub(crate) const CHUNK_RECORDS: u64 = 8_192;

/// Fields of a chunk at most, so that a table of many columns and short rows takes no more memory than others.
pub(crate) const CHUNK_FIELDS: u64 = 256 << 10;

/// Bytes of a bad record that are kept to be shown: what a row of the table of bad records holds.
pub(crate) const RAW_BYTES: usize = 64 << 10;

/// Whole records of one object.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// Their text. Between and around them there may be blank lines and comments.
    pub(crate) bytes: Bytes,
    /// The number of the first of them in the object, from 0.
    pub(crate) first_record: u64,
    /// How many they are, at most [`CHUNK_RECORDS`].
    pub(crate) records: u64,
    /// Where `bytes` begins in the unpacked text of the object, in bytes.
    pub(crate) offset: u64,
    /// What every record of a JSON document gets beside its own values; `None` elsewhere.
    pub(crate) kept: Option<Arc<Kept>>,
}

/// The values of a JSON document that stand outside of its records: one for each pointer that asks for it, in the order of
/// the option, as raw JSON; `None` where the document has no value there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kept(pub(crate) Vec<Option<Bytes>>);

/// What a splitter finds next.
#[derive(Debug, Clone)]
pub(crate) enum Cut {
    /// Records to be parsed.
    Chunk(Chunk),
    /// One record that can't be parsed. It has a number as every other one.
    Bad(BadRecord),
}

/// The columns of a chunk.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    /// The numbers of the records that became rows.
    pub(crate) numbers: RowNumbers,
    /// The texts of each column, in the order of the parser's fields, all with one value a row.
    pub(crate) columns: Vec<ArrayRef>,
    /// What belongs to no column, a JSON object a row; null where there is nothing. `None`: nothing in any row.
    pub(crate) others: Option<StringArray>,
    /// The records that became no rows, in their order.
    pub(crate) bad: Vec<BadRecord>,
    /// Characters that were not valid and are U+FFFD now.
    pub(crate) replaced: u64,
    /// Rows of CSV whose missing fields became null.
    pub(crate) short_rows: u64,
}

/// A record that can't become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRecord {
    /// Its number in the object, from 0.
    pub(crate) number: u64,
    /// Where it begins in the unpacked text of the object, in bytes.
    pub(crate) offset: u64,
    /// What is wrong with it.
    pub(crate) reason: BadReason,
    /// Its first bytes, [`RAW_BYTES`] at most, without the line end behind it.
    pub(crate) raw: Bytes,
}

impl BadRecord {
    /// A record of which a value is not what its column needs, in a part that begins at `offset`. What it says is not at hand any
    /// more.
    pub(crate) fn of_value(number: u64, offset: u64, what: String) -> Self {
        Self { number, offset, reason: BadReason::Value(what.into()), raw: Bytes::new() }
    }

    /// `raw` may be longer than what is kept of it. It is copied: a few bad records must not keep all text in memory.
    pub(crate) fn new(number: u64, offset: u64, reason: BadReason, raw: &[u8]) -> Self {
        Self { number, offset, reason, raw: Bytes::copy_from_slice(raw.get(..RAW_BYTES).unwrap_or(raw)) }
    }
}

/// Why a record can't become a row. The text of it has nothing of the record's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BadReason {
    /// It has bytes that are no text in UTF-8, at this offset in the record.
    NotUtf8 {
        /// From the record's first byte.
        at: u64,
    },
    /// It is longer than a record may be.
    TooLong {
        /// What a record may have, in bytes.
        most_bytes: u64,
    },
    /// A quoted field of it never ends.
    UnclosedQuote,
    /// It has fewer fields than the header.
    ShortRow {
        /// Fields it has.
        fields: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// It has more fields than the header.
    LongRow {
        /// Fields it has.
        fields: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// It is no JSON, from this byte on.
    NotJson {
        /// From the record's first byte.
        at: u64,
    },
    /// The object ends in the middle of it.
    Truncated,
    /// It is nested deeper than records may be.
    TooDeep {
        /// Levels it may have.
        most_levels: usize,
    },
    /// It is a JSON value, but not an object.
    NotAnObject,
    /// It has a key twice.
    DuplicateKey,
    /// A value is not what its column needs.
    Value(Arc<str>),
}

impl fmt::Display for BadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { at } => write!(f, "it is not valid UTF-8 at its byte {at}"),
            Self::TooLong { most_bytes } => {
                write!(f, "it is longer than {most_bytes} bytes (limits.max_row_bytes)")
            }
            Self::UnclosedQuote => f.write_str("a quoted field of it never ends"),
            Self::ShortRow { fields, expected } => write!(f, "it has {fields} fields instead of {expected}"),
            Self::LongRow { fields, expected } => write!(f, "it has {fields} fields instead of {expected}"),
            Self::NotJson { at } => write!(f, "it is not valid JSON at its byte {at}"),
            Self::Truncated => f.write_str("the object ends in the middle of it"),
            Self::TooDeep { most_levels } => {
                write!(f, "it is nested deeper than {most_levels} levels (limits.max_depth)")
            }
            Self::NotAnObject => f.write_str("it is not a JSON object"),
            Self::Value(what) => f.write_str(what),
            Self::DuplicateKey => f.write_str("it has a key twice (json.duplicate_keys)"),
        }
    }
}

/// Why an object can't be split any further. All records before it were given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SplitError {
    /// The end of a record isn't found within reach.
    #[error(
        "the record {number} at byte {offset} does not end within {looked_at_bytes} bytes; limits.max_row_bytes is {most_bytes}"
    )]
    TooLong {
        /// Its number in the object, from 0.
        number: u64,
        /// Where it begins in the unpacked text of the object, in bytes.
        offset: u64,
        /// What a record may have, in bytes.
        most_bytes: u64,
        /// Where the search ended, in bytes from its beginning.
        looked_at_bytes: u64,
    },
    /// There is no place to go on behind a quote that is never closed.
    #[error("a quoted field of the record {number} at byte {offset} never ends: is csv.quote right?")]
    UnclosedQuote {
        /// Its number in the object, from 0.
        number: u64,
        /// Where it begins in the unpacked text of the object, in bytes.
        offset: u64,
    },
    /// What only this format's splitter can say, as a sentence.
    #[error("{0}")]
    Other(String),
}
