//! Why an object could not be read.

/// Why an object could not be decoded. The texts name column and row group; the caller adds bucket and key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
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
    #[error("read the footer: {0}")]
    Footer(String),
    /// The file's columns are no longer those that the table was announced with.
    #[error("column {column:?}: {what}; the table was announced with other columns, sync again")]
    SchemaChanged {
        /// The column.
        column: String,
        /// What differs.
        what: String,
    },
    /// Decoding a row group failed.
    #[error("row group {row_group}, {place}: {what}")]
    RowGroup {
        /// Index of the row group, from 0.
        row_group: usize,
        /// Column and page as far as they are known, else from which row of the group on it failed.
        place: String,
        /// What the decoder says.
        what: String,
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

impl ReadError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}
