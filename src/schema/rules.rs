//! What a table makes of the columns of its files before they are compared: which of them are left out.

use super::file::FileSchema;
use super::names::fold;
use std::collections::BTreeSet;

/// Which of the files' columns belong to the table; by default all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ColumnRules {
    /// Names that columns of the key have, folded: columns of files that are called so are left out.
    hidden: BTreeSet<String>,
}

impl ColumnRules {
    /// Leaves out columns of this name, whatever its case.
    #[must_use]
    pub(crate) fn hiding(mut self, name: &str) -> Self {
        self.hidden.insert(fold(name));
        self
    }

    /// Whether a column of a file belongs to the table: its name there, and its index among those of exactly that name.
    pub(crate) fn keeps(&self, name: &str, _occurrence: usize) -> bool {
        self.hidden.is_empty() || !self.hidden.contains(&fold(name))
    }

    /// The columns that belong to the table.
    #[must_use]
    pub(crate) fn apply(&self, schema: FileSchema) -> FileSchema {
        if *self == Self::default() {
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
