//! Why an object could not be read.

use super::format::Format;
use crate::schema::fit::Misfit;

/// Why an object could not be read. The texts name the place in the file; the caller adds bucket and key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The object is something else: put it into `exclude`.
    #[error("not a {format} file: {what}")]
    OtherFormat {
        /// What it should be.
        format: Format,
        /// What was seen and expected.
        what: String,
        /// What it is, if that is read, too.
        found: Option<Format>,
    },
    /// A record could not be read, and the spec wants no more of the object then.
    #[error(
        "record {record} (from 0, at byte {offset} of the {format} text): {reason}. `bad_rows: {{on: skip}}` passes over such \
         records, `table` puts them into a table of their own"
    )]
    BadRecord {
        /// What the object is.
        format: Format,
        /// The record's number in the object, from 0.
        record: u64,
        /// Where it begins in the unpacked text, in bytes.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// More records could not be read than the spec allows.
    #[error(
        "{records} records could not be read, more than {most}, the first: record {record} (from 0) at byte {offset}; \
         `bad_rows.max` sets how many may be"
    )]
    BadRecords {
        /// How many, so far.
        records: u64,
        /// What is allowed.
        most: String,
        /// The number of the first, from 0.
        record: u64,
        /// Where it begins in the unpacked text, in bytes.
        offset: u64,
    },
    /// Nothing says which columns the object has.
    #[error("the columns of the {format} text have no names: {what}")]
    Unnamed {
        /// What the object is.
        format: Format,
        /// Why not, and what to do.
        what: String,
    },
    /// The file is encrypted, in the format's own way.
    #[error(
        "the {format} file is encrypted ({sign}): encrypted files can't be read; write it unencrypted, or exclude it"
    )]
    Encrypted {
        /// What it is.
        format: Format,
        /// How that is known.
        sign: &'static str,
    },
    /// The file contradicts itself or stops early: it was damaged, or the upload was not complete.
    #[error("damaged {format} file: {what}")]
    Damaged {
        /// What it is.
        format: Format,
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
    /// The file's columns are no longer those that the table was announced with.
    #[error("column {column:?}: {what}; the table was announced with other columns, sync again")]
    SchemaChanged {
        /// The column.
        column: String,
        /// What differs.
        what: String,
    },
    /// Reading failed somewhere in the file, or a value there could not be brought into the outgoing type.
    #[error("{place}: {what}")]
    At {
        /// Where, as far as it is known: `row group 3, column "x", data page 2`.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// A caller's mistake: a bug of ours.
    #[error("internal error in decoding: {what}")]
    Internal {
        /// What was wrong.
        what: String,
    },
}

/// How many of its first bytes tell what an object is: the magics of formats and compressions have no more.
pub(crate) const FIRST_BYTES: usize = 8;

impl ReadError {
    /// The same; if the object is of another format, with its first bytes, which tell of which.
    #[must_use]
    pub(crate) fn with_first_bytes(self, bytes: &[u8]) -> Self {
        match self {
            Self::OtherFormat { format, what, found } if !bytes.is_empty() => {
                let first = &bytes[..bytes.len().min(FIRST_BYTES)];
                let what = format!("{what}; it begins with \"{}\"", first.escape_ascii());
                Self::OtherFormat { format, what, found }
            }
            other => other,
        }
    }
}

/// A file that has columns of which the table's can never be made.
impl From<Misfit> for ReadError {
    fn from(Misfit { column, what }: Misfit) -> Self {
        Self::Unsupported { column, what }
    }
}
