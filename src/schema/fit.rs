//! Which of a file's columns is which of the table's. A file must have exactly the table's columns, but for those that the
//! rules leave out, of types that can become the table's; missing columns that become null would go here.

use super::field::FileField;
use super::rules::ColumnRules;
use super::table::{ColumnSource, TableSchema};
use super::types::ColumnType;
use crate::config::NestedAs;
use std::collections::HashMap;

/// One of the table's columns, and where its values come from for one file.
#[derive(Debug)]
pub(crate) enum Fitted {
    /// A column of the file.
    File(FittedColumn),
    /// The object's key, which has a value of this name, or else null.
    Key {
        /// As [`ColumnSource::Key`] has it.
        name: String,
        /// The outgoing type.
        target: ColumnType,
    },
}

impl Fitted {
    /// The column of the file, if it is one.
    pub(crate) fn file(&self) -> Option<&FittedColumn> {
        match self {
            Self::File(column) => Some(column),
            Self::Key { .. } => None,
        }
    }
}

/// A column of a file that is one of the table's.
#[derive(Debug)]
pub(crate) struct FittedColumn {
    pub(crate) field: FileField,
    /// The outgoing type.
    pub(crate) target: ColumnType,
    /// Its index among the file's columns.
    pub(crate) index: usize,
    /// Its index among those columns of the file that are read twice, if it is one.
    pub(crate) second: Option<usize>,
}

/// A file's columns are not the table's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The column's name in the file.
    pub(crate) column: String,
    /// What differs.
    pub(crate) what: String,
}

/// Finds each of the table's columns in the file, in the table's order, and makes sure that the file has no others but those
/// that `rules` leave out.
pub(crate) fn fit(table: &TableSchema, fields: &[FileField], rules: &ColumnRules) -> Result<Vec<Fitted>, Misfit> {
    let mut by_identity = HashMap::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut in_second = 0;
    for (index, field) in fields.iter().enumerate() {
        let occurrence = seen.entry(&field.name).or_default();
        let second = field.read_twice().then(|| {
            in_second += 1;
            in_second - 1
        });
        if rules.keeps(&field.name, *occurrence) {
            by_identity.insert((field.name.as_str(), *occurrence), (field, index, second));
        }
        *occurrence += 1;
    }
    let misfit = |column: &str, what: String| Misfit { column: column.to_owned(), what };
    let mut columns = Vec::with_capacity(table.columns().len());
    for column in table.columns() {
        let (name, occurrence) = match &column.source {
            ColumnSource::File { name, occurrence } => (name, *occurrence),
            ColumnSource::Key { name } => {
                columns.push(Fitted::Key { name: name.clone(), target: column.column_type.clone() });
                continue;
            }
        };
        let (field, index, second) = by_identity
            .remove(&(name.as_str(), occurrence))
            .ok_or_else(|| misfit(name, "it is missing in this file".into()))?;
        // The table's type tells how its nested values travel: what can become that type may.
        let target = field.target_as(NestedAs::Native);
        if !target.fits(&column.column_type) && !field.target_as(NestedAs::Json).fits(&column.column_type) {
            return Err(misfit(name, format!("it is {} in this file, {} in the table", target, column.column_type)));
        }
        let (field, target) = (field.clone(), column.column_type.clone());
        columns.push(Fitted::File(FittedColumn { field, target, index, second }));
    }
    if let Some(((name, _), _)) = by_identity.into_iter().min_by_key(|(identity, _)| *identity) {
        return Err(misfit(name, "the table does not have it".into()));
    }
    Ok(columns)
}
