//! How JSON is read: `json` in the spec, of which each key may stand at the top level or in a mapping.

use super::NestedAs;
use std::fmt;

mod pointer;

pub use pointer::{JsonPointer, PointerError};

/// How JSON is read, validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonOptions {
    /// Where the records are.
    pub records: JsonRecords,
    /// What a record becomes.
    pub read_as: JsonAs,
    /// Values beside the records that are repeated in each row.
    pub keep: Vec<JsonPointer>,
    /// What objects and arrays become; `None`: what `nested_as` says.
    pub nested: Option<NestedAs>,
    /// How columns get their types.
    pub types: JsonTypes,
    /// What becomes of a record that has a key twice.
    pub duplicate_keys: DuplicateKeys,
}

impl JsonOptions {
    /// What is wrong with `keep`, if something is.
    ///
    /// # Errors
    /// [`KeepError`]: the first thing that is wrong.
    pub fn check_keep(&self) -> Result<(), KeepError> {
        let Some(first) = self.keep.first() else { return Ok(()) };
        let JsonRecords::At(records) = &self.records else { return Err(KeepError::NoRecords { keep: first.clone() }) };
        for (index, keep) in self.keep.iter().enumerate() {
            if keep.name().is_none() {
                return Err(KeepError::Root);
            }
            if keep.contains(records) || records.contains(keep) {
                return Err(KeepError::HoldsRecords { keep: keep.clone(), records: records.clone() });
            }
            for other in self.keep.iter().take(index) {
                if keep.contains(other) || other.contains(keep) {
                    return Err(KeepError::Overlap { keep: keep.clone(), other: other.clone() });
                }
                if keep.name() == other.name() {
                    return Err(KeepError::SameName { keep: keep.clone(), other: other.clone() });
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with `json.keep`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// There is nothing beside the records.
    #[error("json.keep has {keep}, but json.records is no pointer: there are no values beside the records")]
    NoRecords {
        /// The pointer of `keep`.
        keep: JsonPointer,
    },
    /// It is the whole document.
    #[error("json.keep has the pointer of the whole document: name a value in it, such as /id")]
    Root,
    /// The kept value and the records are one in the other.
    #[error("json.keep has {keep}, which is not beside json.records ({records}): keep values next to the records")]
    HoldsRecords {
        /// The pointer of `keep`.
        keep: JsonPointer,
        /// The pointer of the records.
        records: JsonPointer,
    },
    /// One kept value is in another one.
    #[error("json.keep has {keep} and {other}, of which one is in the other: name one of them")]
    Overlap {
        /// The pointer of `keep`.
        keep: JsonPointer,
        /// The other one.
        other: JsonPointer,
    },
    /// Two kept values would be one column.
    #[error("json.keep has {keep} and {other}, which have the same column name: name one of them")]
    SameName {
        /// The pointer of `keep`.
        keep: JsonPointer,
        /// The other one.
        other: JsonPointer,
    },
}

/// Where the records are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum JsonRecords {
    /// They are lines, the items of an array, or the document itself: the first bytes tell.
    #[default]
    Auto,
    /// They are the items of the array at this place in the document.
    At(JsonPointer),
}

impl fmt::Display for JsonRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::At(pointer) => pointer.fmt(f),
        }
    }
}

/// What a record becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JsonAs {
    /// A column a key.
    #[default]
    Columns,
    /// One column [`DOCUMENT_COLUMN`] with the whole value.
    Document,
}

/// The column of [`JsonAs::Document`].
pub const DOCUMENT_COLUMN: &str = "data";

/// How columns of JSON get their types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JsonTypes {
    /// From the values.
    #[default]
    Infer,
    /// All scalars are text.
    Text,
}

/// What becomes of a record that has a key twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// The last value counts.
    #[default]
    Last,
    /// The record is bad.
    Bad,
}
