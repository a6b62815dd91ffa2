//! How the files of a table become one schema: `schema` in the spec, of which each key may stand at the top level or in a
//! mapping.

use super::limits::MaxColumns;
use std::num::NonZeroUsize;

/// How the files of a table become one schema, validated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SchemaOptions {
    /// Whether files must agree.
    pub mode: SchemaMode,
    /// What becomes of a value that its column cannot hold.
    pub on_mismatch: OnMismatch,
    /// What becomes of columns that a table with a stored schema lacks.
    pub new_columns: NewColumns,
    /// Whether a file may lack columns of the table.
    pub missing_columns: MissingColumns,
    /// What becomes of a stored column in which new files have another type.
    pub on_type_change: OnTypeChange,
    /// The name of the column with the values that fit nowhere else; `None`: there is none.
    pub rescue_column: RescueColumn,
    /// What of text formats is looked at for names and types of columns.
    pub sample: Sample,
    /// `limits.max_columns`.
    pub max_columns: MaxColumns,
}

/// What of text formats is looked at for names and types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How many objects of a table.
    pub files: SampledFiles,
    /// The first bytes of each, unpacked.
    pub bytes: u64,
}

/// How many objects of a table are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampledFiles {
    /// This many at most.
    Some(NonZeroUsize),
    /// All of them.
    All,
}

/// Objects of a sample unless the spec says otherwise: some requests, whatever the size of the table.
pub(crate) const DEFAULT_SAMPLED_FILES: NonZeroUsize = NonZeroUsize::new(20).unwrap();
/// Bytes of a sampled object unless the spec says otherwise.
pub(crate) const DEFAULT_SAMPLE_BYTES: u64 = 256 << 10;

impl Default for Sample {
    fn default() -> Self {
        Self { files: SampledFiles::Some(DEFAULT_SAMPLED_FILES), bytes: DEFAULT_SAMPLE_BYTES }
    }
}

/// Whether the files of a table must agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SchemaMode {
    /// As is usual for the formats of the table's objects.
    #[default]
    ByFormat,
    /// All files have the same columns with the same types.
    Strict,
    /// The union of all columns by name, with joined types.
    Merge,
}

/// What becomes of a value that its column cannot hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// It is null there, and stands in the rescue column.
    #[default]
    Rescue,
    /// It becomes null and is counted.
    Null,
    /// Its record is bad; in files of Parquet, Avro and Arrow, which have no records by themselves, its object is in error.
    Bad,
    /// Its object is in error.
    Fail,
}

/// What becomes of columns that a table with a stored schema lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewColumns {
    /// They become columns at the end.
    #[default]
    Add,
    /// Their values go into the rescue column.
    Rescue,
    /// They are left out.
    Ignore,
    /// The table is in error.
    Fail,
}

/// Whether a file may lack columns of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingColumns {
    /// They are null in its rows.
    #[default]
    Null,
    /// The table is in error.
    Fail,
}

/// What becomes of a stored column in which new files have another type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnTypeChange {
    /// The stored type stays; values that it cannot hold go the way of [`OnMismatch`].
    #[default]
    Keep,
    /// The joined type is announced, and all objects are read again.
    Widen,
    /// The table is in error.
    Fail,
}

/// The column with the values that fit nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RescueColumn {
    /// It has this name.
    Named(String),
    /// There is none.
    None,
}

/// The name of the rescue column unless the spec gives one.
pub(crate) const DEFAULT_RESCUE_COLUMN: &str = "_s3_rescued";

impl Default for RescueColumn {
    fn default() -> Self {
        Self::Named(DEFAULT_RESCUE_COLUMN.to_owned())
    }
}

impl SchemaOptions {
    /// Whether the columns of all files are united.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.mode == SchemaMode::Merge
    }

    /// The name of the rescue column where the spec gives none.
    #[must_use]
    pub fn default_rescue_name() -> Option<&'static str> {
        Some(DEFAULT_RESCUE_COLUMN)
    }

    /// The name of the rescue column of a merged table.
    #[must_use]
    pub fn rescue_name(&self) -> Option<&str> {
        self.named_rescue_column().filter(|_| self.merges())
    }

    /// The name of the rescue column of a table that has one.
    #[must_use]
    pub fn named_rescue_column(&self) -> Option<&str> {
        match &self.rescue_column {
            RescueColumn::Named(name) => Some(name),
            RescueColumn::None => None,
        }
    }
}
