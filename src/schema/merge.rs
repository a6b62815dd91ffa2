//! The one place that decides a table's schema from the schemas of its files: [`strict`], where all files must agree, or
//! [`union`], which takes the columns of all of them.
//!
//! Both take files in any order, decide as if they had come in the order of their keys, and hold little however many files
//! there are.

mod strict;
mod union;

use super::file::FileSchema;
use super::table::{ColumnSource, TableColumn, TableSchema};
use crate::config::SchemaOptions;
pub use strict::SchemaConflict;
use strict::Strict;
use union::Union;

/// Columns beside those of a [`TableSchema`]: our two ids, and the two that the CLI adds.
const OTHER_COLUMNS: usize = 4;

/// A table's schema, and what a user should hear of how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The columns.
    pub schema: TableSchema,
    /// In the order in which they are to be said.
    pub notes: Vec<Note>,
    /// Columns that were announced before have other types now: the rows that were sent before must be sent again.
    pub widened: bool,
}

/// Something that a user should hear of a table's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Worth knowing.
    Info(String),
    /// Worth a change of the spec or of the files.
    Warning(String),
}

/// Why files give no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// They must agree, and don't.
    #[error(transparent)]
    Disagree(#[from] SchemaConflict),
    /// The spec refuses how they differ.
    #[error("{0}")]
    Refused(String),
}

impl Conflict {
    /// What would take the files all the same, as a sentence and lines of the spec to be pasted; `None`: the message says it.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        let Self::Disagree(conflict) = self else { return None };
        Some(match &conflict.joined_type {
            Some(joined) => {
                // As a JSON string: YAML takes it, whatever the name.
                let name = serde_json::Value::from(conflict.column.as_str());
                format!(
                    "To give the column one type, write `columns: {{{name}: \"{joined}\"}}` below spec. {MERGE_LINES}"
                )
            }
            None => MERGE_LINES.to_owned(),
        })
    }
}

impl Conflict {
    /// The message, and what would take the files all the same.
    #[must_use]
    pub fn with_cure(&self) -> String {
        self.cure().map_or_else(|| self.to_string(), |cure| format!("{self}. {cure}"))
    }
}

/// See [`Conflict::cure`].
const MERGE_LINES: &str = "To take all files, with null where one lacks a column and with joined types where they differ, add \
    these lines to the source:\nspec:\n  schema:\n    mode: merge";

/// Takes the schemas of a table's files.
#[derive(Debug)]
pub struct SchemaMerger(Kind);

#[derive(Debug)]
enum Kind {
    Strict(Strict),
    Union(Box<Union>),
}

impl Default for SchemaMerger {
    fn default() -> Self {
        Self::new()
    }
}

impl SchemaMerger {
    /// A merger without files, which must agree.
    #[must_use]
    pub fn new() -> Self {
        Self(Kind::Strict(Strict::new()))
    }

    /// A merger by the spec's choices; `added_columns` columns come with the rows beside those of files. With `stored`, the
    /// schema that the table has already and the key of the file that set it, new files are held against it.
    #[must_use]
    pub fn with(options: &SchemaOptions, added_columns: usize, stored: Option<(&str, &TableSchema)>) -> Self {
        if options.merges() {
            let most_columns = options.max_columns.0.get().saturating_sub(OTHER_COLUMNS.saturating_add(added_columns));
            return Self(Kind::Union(Box::new(Union::new(options.clone(), most_columns, stored))));
        }
        Self(Kind::Strict(stored.map_or_else(Strict::new, |(key, schema)| Strict::with_reference(key, schema))))
    }

    /// Leaves out columns of the key that come to a merged table which has as many columns as it may: `added` are those that come
    /// with the rows beside it, `stored` those that it had before. With the table its note, if any are left out.
    #[must_use]
    pub fn keep_to_limit(
        options: &SchemaOptions,
        table: TableSchema,
        added: usize,
        stored: Option<&TableSchema>,
    ) -> (TableSchema, Option<Note>) {
        let max_columns = options.max_columns.0.get();
        let most = max_columns.saturating_sub(OTHER_COLUMNS.saturating_add(added));
        let surplus = table.columns().len().saturating_sub(most);
        if surplus == 0 || !options.merges() {
            return (table, None);
        }
        let is_known = |column: &TableColumn| {
            stored.into_iter().flat_map(TableSchema::columns).any(|known| known.source == column.source)
        };
        let of_key = |column: &&TableColumn| matches!(column.source, ColumnSource::Key { .. }) && !is_known(column);
        let left_out: Vec<String> =
            table.columns().iter().rev().filter(of_key).take(surplus).map(|column| column.name.clone()).collect();
        if left_out.is_empty() {
            return (table, None);
        }
        let columns = table.columns().iter().filter(|column| !left_out.contains(&column.name)).cloned().collect();
        let names: Vec<String> = left_out.iter().rev().map(|name| format!("{name:?}")).collect();
        let note = format!(
            "the table would have more than {max_columns} columns, which is limits.max_columns: the key's {} are left out",
            names.join(", ")
        );
        (TableSchema::from_columns(columns), Some(Note::Warning(note)))
    }

    /// The key of the file that decides about names and order. `None` when no file was added.
    #[must_use]
    pub fn reference_key(&self) -> Option<&str> {
        match &self.0 {
            Kind::Strict(strict) => strict.reference_key(),
            Kind::Union(union) => union.reference_key(),
        }
    }

    /// Adds the file `key`.
    pub fn add(&mut self, key: &str, schema: FileSchema) {
        match &mut self.0 {
            Kind::Strict(strict) => strict.add(key, schema),
            Kind::Union(union) => union.add(key, &schema),
        }
    }

    /// The table's schema; `None` when no file was added.
    ///
    /// # Errors
    /// [`Conflict`], when the files don't agree and must.
    pub fn finish(self) -> Result<Option<Merged>, Conflict> {
        match self.0 {
            Kind::Strict(strict) => {
                let schema = strict.finish()?;
                Ok(schema.map(|schema| Merged { schema, notes: Vec::new(), widened: false }))
            }
            Kind::Union(union) => union.finish().map_err(Conflict::Refused),
        }
    }
}
