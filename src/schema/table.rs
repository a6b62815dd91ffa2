//! A table's outgoing columns.

use super::file::{FileColumn, FileSchema};
use super::names::{CQ_ID, CQ_PARENT_ID, output_names};
use super::types::{ColumnType, UUID_BYTES};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Where the values of a column come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// A column of the files.
    File {
        /// The name in the files.
        name: String,
        /// Its index among the file's columns of exactly that name, from 0.
        occurrence: usize,
    },
    /// The object's key: the same value in all rows of an object.
    Key {
        /// The name by which the key's values are found.
        name: String,
    },
}

/// One of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Where its values come from.
    pub source: ColumnSource,
    /// The outgoing name.
    pub name: String,
    /// The outgoing type.
    pub column_type: ColumnType,
}

/// A table's outgoing columns: [`CQ_ID`], [`CQ_PARENT_ID`], then those of the key and of the files, these in the order of the
/// first file.
///
/// All but [`CQ_ID`] may be null, whatever the files say: destinations refuse to migrate a column that becomes NOT NULL,
/// or stops being so, and that would follow from each file that comes or goes. Casts may make nulls, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSchema {
    columns: Vec<TableColumn>,
    arrow: SchemaRef,
}

impl TableSchema {
    /// The columns that come from the key and from the files. Column `i` is field `i + 2` of [`Self::arrow`].
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// All outgoing fields, without metadata: the caller makes the announced schema of it, with CloudQuery's keys.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The table that has these columns.
    pub fn from_columns(columns: Vec<TableColumn>) -> Self {
        let uuid = DataType::FixedSizeBinary(UUID_BYTES);
        let mut fields = vec![Field::new(CQ_ID, uuid.clone(), false), Field::new(CQ_PARENT_ID, uuid, true)];
        fields.extend(columns.iter().map(|c| Field::new(&c.name, c.column_type.arrow_type(), true)));
        Self { columns, arrow: Arc::new(Schema::new(fields)) }
    }

    /// Those of the columns that come from files, as the columns of a file. What types they had there is not known any more.
    pub(super) fn to_file(&self) -> FileSchema {
        let column = |column: &TableColumn| match &column.source {
            ColumnSource::File { name, .. } => Some(FileColumn {
                name: name.clone(),
                target: column.column_type.clone(),
                source: column.column_type.to_string(),
            }),
            ColumnSource::Key { .. } => None,
        };
        FileSchema { columns: self.columns.iter().filter_map(column).collect() }
    }

    /// The columns of the file that decides about names and order.
    pub(super) fn from_file(schema: &FileSchema) -> Self {
        let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        let columns: Vec<TableColumn> = output_names(&names)
            .into_iter()
            .zip(schema.identities())
            .zip(&schema.columns)
            .map(|((name, (source_name, occurrence)), column)| TableColumn {
                source: ColumnSource::File { name: source_name.to_owned(), occurrence },
                name,
                column_type: column.target.clone(),
            })
            .collect();
        Self::from_columns(columns)
    }
}
