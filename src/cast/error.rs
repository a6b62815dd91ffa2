//! Why a column could not be cast.

use crate::schema::types::ColumnType;
use arrow::array::{Array as _, ArrayRef};
use arrow::error::ArrowError;

/// Why a column could not be cast.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CastError {
    /// The result would not fit into 32-bit offsets: decode fewer rows at a time.
    #[error("a batch's values exceed 2 GiB")]
    TooLarge,
    /// The JSON of a batch exceeds its budget: decode at most so many rows at a time.
    #[error("a batch's JSON has room for {0} rows")]
    OverBudget(usize),
    /// A value that its column cannot hold, by its row in the batch, where such values are errors.
    #[error("a value does not fit the table's type {target}")]
    Mismatch {
        /// The row's number in the batch, from 0.
        row: usize,
        /// The column's type.
        target: String,
    },
    /// The values themselves are bad.
    #[error("{0}")]
    Value(String),
    /// The reader gave another type than was planned: a bug of ours.
    #[error("can't cast {0} to {1}")]
    Type(String, String),
    /// Ids can't number more rows than this.
    #[error("more than {0} rows in one object")]
    TooManyRows(u64),
}

impl From<ArrowError> for CastError {
    fn from(error: ArrowError) -> Self {
        Self::Value(error.to_string())
    }
}

/// `array` is not what can be cast to `target`.
pub(super) fn unexpected(array: &ArrayRef, target: &ColumnType) -> CastError {
    CastError::Type(array.data_type().to_string(), target.to_string())
}
