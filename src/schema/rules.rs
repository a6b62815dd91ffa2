//! What a table makes of the columns of its files before they are compared: which of them are left out; and whether files may
//! differ from the table.

use super::file::FileSchema;
use super::names::fold;
use crate::config::{NewColumns, OnMismatch, SchemaOptions};
use std::collections::BTreeSet;

/// Which of the files' columns belong to the table; by default all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ColumnRules {
    /// Names that columns of the key have, folded: columns of files that are called so are left out.
    hidden: BTreeSet<String>,
    /// How files may differ from the table; `None`: not at all.
    pub(crate) merges: Option<Merges>,
}

/// How files of a merged table may differ from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merges {
    /// What becomes of values that their columns cannot hold.
    pub(crate) on_mismatch: OnMismatch,
    /// What becomes of columns that have no place in the table.
    pub(crate) others: Others,
}

/// What becomes of a file's columns that have no place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// Their values go into the rescue column.
    Rescued,
    /// They are not looked at.
    LeftOut,
}

impl Merges {
    /// By the spec's choices; `None`: all files must agree.
    pub(crate) fn of(options: &SchemaOptions) -> Option<Self> {
        if !options.merges() {
            return None;
        }
        let rescued = options.rescue_name().is_some() && options.new_columns != NewColumns::Ignore;
        let others = if rescued { Others::Rescued } else { Others::LeftOut };
        Some(Self { on_mismatch: options.on_mismatch, others })
    }
}

impl ColumnRules {
    /// Leaves out columns of this name, whatever its case.
    #[must_use]
    pub(crate) fn hiding(mut self, name: &str) -> Self {
        self.hidden.insert(fold(name));
        self
    }

    /// Lets files differ from the table.
    #[must_use]
    pub(crate) fn merging(mut self, options: &SchemaOptions) -> Self {
        self.merges = Merges::of(options);
        self
    }

    /// Whether a column of a file belongs to the table: its name there, and its index among those of exactly that name.
    pub(crate) fn keeps(&self, name: &str, _occurrence: usize) -> bool {
        self.hidden.is_empty() || !self.hidden.contains(&fold(name))
    }

    /// The columns that belong to the table.
    #[must_use]
    pub(crate) fn apply(&self, schema: FileSchema) -> FileSchema {
        if self.hidden.is_empty() {
            return schema;
        }
        let keeps: Vec<bool> = schema.identities().into_iter().map(|(name, index)| self.keeps(name, index)).collect();
        let columns = schema.columns.into_iter().zip(keeps).filter(|(_, keeps)| *keeps).map(|(column, _)| column);
        FileSchema { columns: columns.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::file::FileColumn;
    use crate::schema::types::ColumnType;

    #[test]
    fn columns_of_hidden_names_are_left_out_whatever_their_case() {
        let column = |name: &str| FileColumn { name: name.into(), target: ColumnType::Utf8, source: "string".into() };
        let schema = FileSchema { columns: ["id", "DT", "dt", "date"].map(column).into() };
        assert_eq!(ColumnRules::default().apply(schema.clone()), schema);
        let left = ColumnRules::default().hiding("Dt").apply(schema);
        let names: Vec<&str> = left.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "date"]);
    }
}
