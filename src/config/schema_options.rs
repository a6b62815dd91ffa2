//! How the files of a table become one schema: `schema` in the spec, of which each key may stand at the top level or in a
//! mapping.

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
}

/// Whether the files of a table must agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SchemaMode {
    /// All files have the same columns with the same types.
    #[default]
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
