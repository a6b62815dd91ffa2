//! A table's outgoing columns.

use super::file::{FileColumn, FileSchema};
use super::names::{CQ_ID, CQ_PARENT_ID, fold, free_name, output_names, output_names_beside, renamed};
use super::types::{ColumnType, UUID_BYTES};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::HashSet;
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
    /// What fits into no other column, as JSON.
    Rescue,
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

impl TableColumn {
    /// The column of what fits into no other.
    pub(super) fn rescue(name: &str) -> Self {
        Self { source: ColumnSource::Rescue, name: name.to_owned(), column_type: ColumnType::Json }
    }
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

    /// The same table beside columns of these names: those of its columns that are called so, ignoring case, get another name.
    #[must_use]
    pub(crate) fn beside<'a>(self, names: impl Iterator<Item = &'a str>) -> Self {
        let ours: HashSet<String> = names.map(fold).collect();
        if !self.columns.iter().any(|column| ours.contains(&fold(&column.name))) {
            return self;
        }
        let mut taken: HashSet<String> = self.columns.iter().map(|column| fold(&column.name)).collect();
        taken.extend(ours.iter().cloned());
        let column = |column: TableColumn| {
            if !ours.contains(&fold(&column.name)) {
                return column;
            }
            TableColumn { name: free_name(&renamed(&column.name), &mut taken), ..column }
        };
        Self::from_columns(self.columns.into_iter().map(column).collect())
    }

    /// The same table with columns that the key has, each called as there: in front of the others, under names that none of
    /// them has. Columns that `stored` has stay where and what they are called there; what is new comes behind.
    #[must_use]
    pub(crate) fn with_keys(self, keys: &[TableColumn], stored: Option<&Self>) -> Self {
        let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
        let keys = output_names(&names).into_iter().zip(keys).map(|(name, key)| TableColumn { name, ..key.clone() });
        let mut left: Vec<TableColumn> = keys.chain(self.columns).collect();
        let mut columns = Vec::with_capacity(left.len());
        for stored in stored.into_iter().flat_map(Self::columns) {
            if let Some(index) = left.iter().position(|column| column.source == stored.source) {
                columns.push(TableColumn { name: stored.name.clone(), ..left.remove(index) });
            }
        }
        let mut taken = columns.iter().map(|column: &TableColumn| fold(&column.name)).collect();
        columns
            .extend(left.into_iter().map(|column| TableColumn { name: free_name(&column.name, &mut taken), ..column }));
        Self::from_columns(columns)
    }

    /// Those of the columns that come from files, as the columns of a file. What types they had there is not known any more.
    pub(super) fn to_file(&self) -> FileSchema {
        let column = |column: &TableColumn| match &column.source {
            ColumnSource::File { name, .. } => Some(FileColumn {
                name: name.clone(),
                target: column.column_type.clone(),
                inferred: None,
                source: column.column_type.to_string(),
            }),
            ColumnSource::Key { .. } | ColumnSource::Rescue => None,
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

/// Gives the column at `index` a name that the spec has. Others that have it, ignoring case, get another one.
pub(super) fn give_name(columns: &mut [TableColumn], index: usize, name: &str) {
    let folded = fold(name);
    let others = |columns: &[TableColumn], this: usize| -> Vec<String> {
        columns.iter().enumerate().filter(|(at, _)| *at != this).map(|(_, column)| column.name.clone()).collect()
    };
    columns[index].name = name.to_owned();
    for other in (0..columns.len()).filter(|other| *other != index) {
        if fold(&columns[other].name) == folded {
            let taken = others(columns, other);
            let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
            let renamed = output_names_beside(&taken, &[&columns[other].name]);
            columns[other].name = renamed.into_iter().next().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_files(names: &[&str]) -> TableSchema {
        let column = |name: &&str| FileColumn {
            name: (*name).to_owned(),
            target: ColumnType::Utf8,
            inferred: None,
            source: "string".to_owned(),
        };
        TableSchema::from_file(&FileSchema { columns: names.iter().map(column).collect() })
    }

    fn of_key(name: &str, column_type: ColumnType) -> TableColumn {
        TableColumn { source: ColumnSource::Key { name: name.to_owned() }, name: name.to_owned(), column_type }
    }

    fn shown(schema: &TableSchema) -> Vec<String> {
        let column = |column: &TableColumn| match &column.source {
            ColumnSource::Key { name } => format!("{}={name}", column.name),
            _ => column.name.clone(),
        };
        schema.columns().iter().map(column).collect()
    }

    #[test]
    fn columns_of_the_key_stand_in_front_and_keep_their_names() {
        let keys = [of_key("dt", ColumnType::Date32), of_key("_cq_x", ColumnType::Int64)];
        let joined = of_files(&["id", "DT", "src_cq_x", "dt_2"]).with_keys(&keys, None);
        assert_eq!(shown(&joined), ["dt=dt", "src_cq_x=_cq_x", "id", "DT_2", "src_cq_x_2", "dt_2_2"]);
        assert_eq!(joined.columns()[0].column_type, ColumnType::Date32);
        assert_eq!(of_files(&["a"]).with_keys(&[], None), of_files(&["a"]));
    }

    #[test]
    fn columns_that_have_our_names_get_others() {
        let table = of_files(&["_S3_size", "src_s3_size", "a"]).beside(["_s3_size", "_s3_etag"].into_iter());
        assert_eq!(shown(&table), ["src_S3_size_2", "src_s3_size", "a"]);
        assert_eq!(of_files(&["a"]).beside(["_s3_size"].into_iter()), of_files(&["a"]));
    }

    #[test]
    fn what_is_stored_stays_where_it_is_and_new_columns_come_behind() {
        let stored = of_files(&["id", "region"]).with_keys(&[of_key("dt", ColumnType::Date32)], None);
        let keys = [of_key("hour", ColumnType::Int64), of_key("dt", ColumnType::Date32)];
        let joined = of_files(&["hour", "region", "id"]).with_keys(&keys, Some(&stored));
        assert_eq!(shown(&joined), ["dt=dt", "id", "region", "hour=hour", "hour_2"]);
    }
}
