//! The columns that a table has from its objects' keys: which, of what types, and what the key of an object says in them.
//!
//! Names and types come from all listed keys ([`crate::tables::partitions`]); a type that an earlier sync announced stays, and what
//! does not fit it is null. What is wrong with values is said once a table.

use crate::cast::key_values::KeyValues;
use crate::config::FileColumns;
use crate::config::layout::Conflict;
use crate::schema::file::FileSchema;
use crate::schema::names::{file_columns, fold};
use crate::schema::rules::ColumnRules;
use crate::schema::table::{ColumnSource, TableColumn, TableSchema};
use crate::schema::types::{ColumnType, UTC};
use crate::tables::mapping::{Mappings, Match};
use crate::tables::partitions::{Cell, Column, Inference, KeyType, StoredColumn, TooManyColumns, Value};
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::DataType;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The columns of the key of one table.
#[derive(Debug, Clone, Default)]
pub struct KeyColumns {
    mappings: Arc<Mappings>,
    columns: Vec<KeyColumn>,
    conflict: Conflict,
    /// It was said that columns of files are left out.
    hidden: Arc<AtomicBool>,
}

/// One of them.
#[derive(Debug, Clone)]
struct KeyColumn {
    /// As the key spells it.
    name: String,
    /// The same for comparison.
    ident: String,
    /// The type that is announced.
    key_type: KeyType,
}

impl KeyColumns {
    /// The columns of a table's keys; `stored` is the schema that earlier syncs left. What users should know of its values is
    /// logged.
    ///
    /// # Errors
    /// [`TooManyColumns`].
    pub fn new(
        table: &str,
        mappings: &Arc<Mappings>,
        keys: &Inference,
        conflict: Conflict,
        stored: Option<&TableSchema>,
    ) -> Result<Self, TooManyColumns> {
        let known: Vec<StoredColumn> =
            stored.into_iter().flat_map(TableSchema::columns).filter_map(stored_column).collect();
        let mut columns = keys.columns(&known)?;
        // A name that a column of the files had before stays theirs.
        let of_files = |name: &str| {
            let columns = stored.into_iter().flat_map(TableSchema::columns);
            let mut files = columns.filter(|column| matches!(column.source, ColumnSource::File { .. }));
            files.any(|column| fold(&column.name) == fold(name))
        };
        columns.retain(|column| column.stored.is_some() || !of_files(&column.name));
        columns.iter().for_each(|column| warn_of_values(table, column));
        let column = |column: Column| KeyColumn {
            key_type: column.stored.unwrap_or(column.ty),
            name: column.name,
            ident: column.ident,
        };
        Ok(Self {
            mappings: Arc::clone(mappings),
            columns: columns.into_iter().map(column).collect(),
            conflict,
            hidden: Arc::default(),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Says which columns of files are left out, once; `file` is what one of them has.
    pub fn warn_of_hidden(&self, table: &str, file: &FileSchema) {
        if self.conflict != Conflict::Path {
            return;
        }
        for key in &self.columns {
            if file.columns.iter().any(|column| fold(&column.name) == key.ident)
                && !self.hidden.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    table,
                    column = key.name,
                    "files have a column that is in their keys, too: the value of the key is taken; set `partitions.conflict` to \
                     file or both for the files'"
                );
            }
        }
    }

    /// What files may not have: columns of the names of the key's, where the key's values are taken.
    #[must_use]
    pub fn hide(&self, rules: ColumnRules) -> ColumnRules {
        match self.conflict {
            Conflict::Path => self.columns.iter().fold(rules, |rules, column| rules.hiding(&column.name)),
            Conflict::File | Conflict::Both | Conflict::Error => rules,
        }
    }

    /// The table's columns: those of its files, and these, beside the columns `added` that say where a row is from. `stored` is the
    /// schema that earlier syncs left: its columns stay where they are.
    ///
    /// # Errors
    /// In words, when a file has a column of the name and that is not to be.
    pub fn join(
        &mut self,
        files: TableSchema,
        stored: Option<&TableSchema>,
        added: FileColumns,
    ) -> Result<TableSchema, String> {
        let files = files.beside(file_columns(added).map(|(_, name, _)| name));
        if self.columns.is_empty() {
            return Ok(files);
        }
        let in_files: HashSet<String> = files.columns().iter().filter_map(file_name).map(fold).collect();
        match self.conflict {
            Conflict::Error => {
                if let Some(column) = self.columns.iter().find(|column| in_files.contains(&column.ident)) {
                    return Err(format!(
                        "the column {:?} is in the keys and in the files; set `partitions.conflict` to path, file or both, or \
                         another style",
                        column.name
                    ));
                }
            }
            Conflict::File => self.columns.retain(|column| !in_files.contains(&column.ident)),
            Conflict::Path | Conflict::Both => {}
        }
        let keys = self.columns.iter().map(|column| (column.name.as_str(), column_type(column.key_type)));
        let joined = files.with_keys(&keys.collect::<Vec<_>>(), stored);
        Ok(joined.beside(file_columns(added).map(|(_, name, _)| name)))
    }

    /// The values of an object's key.
    #[must_use]
    pub fn values(&self, key: &str) -> KeyValues {
        if self.columns.is_empty() {
            return KeyValues::default();
        }
        // That it has a size is all that counts here.
        let Match::Table(mapped) = self.mappings.of(key, 1) else { return KeyValues::default() };
        let found = self.mappings.values_of(&mapped, key);
        let value = |column: &KeyColumn| {
            let found = found.iter().find(|found| found.ident == column.ident)?;
            let Cell::Value(value) = Cell::of(found, column.key_type) else { return None };
            Some((column.name.clone(), array(value, column.key_type)))
        };
        KeyValues::new(self.columns.iter().filter_map(value).collect())
    }
}

/// The name of a column in its files, if it is from there.
fn file_name(column: &TableColumn) -> Option<&str> {
    match &column.source {
        ColumnSource::File { name, .. } => Some(name),
        ColumnSource::Key { .. } | ColumnSource::Rescue => None,
    }
}

fn stored_column(column: &TableColumn) -> Option<StoredColumn> {
    let ColumnSource::Key { name } = &column.source else { return None };
    Some(StoredColumn { name: name.clone(), ty: key_type(&column.column_type)? })
}

fn warn_of_values(table: &str, column: &Column) {
    let Column { name, ty, stored, misfits, .. } = column;
    if let Some(first_key) = &misfits.first_key {
        tracing::warn!(
            table,
            column = name,
            objects = misfits.count,
            first_key,
            "keys have values that are not of the column's type: they are null"
        );
    }
    if let Some(stored) = stored.filter(|stored| stored != ty) {
        tracing::warn!(
            table,
            column = name,
            "the column is {stored} since an earlier sync, and the values of all keys together are {ty}: those that \
             are not {stored} are null"
        );
    }
}

/// The outgoing type of a key's column.
fn column_type(key_type: KeyType) -> ColumnType {
    match key_type {
        KeyType::Text => ColumnType::Utf8,
        KeyType::Int64 => ColumnType::Int64,
        KeyType::Date => ColumnType::Date32,
        KeyType::Timestamp => ColumnType::Timestamp,
        KeyType::Bool => ColumnType::Boolean,
        KeyType::Float64 => ColumnType::Float64,
        // Both fit: a decimal has at most 38 digits.
        KeyType::Decimal { precision, scale } => {
            ColumnType::Decimal128 { precision, scale: i8::try_from(scale).unwrap_or(i8::MAX) }
        }
    }
}

/// The same the other way round; `None` for types that keys do not have.
fn key_type(column_type: &ColumnType) -> Option<KeyType> {
    Some(match column_type {
        ColumnType::Utf8 => KeyType::Text,
        ColumnType::Int64 => KeyType::Int64,
        ColumnType::Date32 => KeyType::Date,
        ColumnType::Timestamp => KeyType::Timestamp,
        ColumnType::Boolean => KeyType::Bool,
        ColumnType::Float64 => KeyType::Float64,
        ColumnType::Decimal128 { precision, scale } => {
            KeyType::Decimal { precision: *precision, scale: u8::try_from(*scale).ok()? }
        }
        _ => return None,
    })
}

/// A value as an array of length one.
fn array(value: Value, key_type: KeyType) -> ArrayRef {
    match value {
        Value::Text(text) => Arc::new(StringArray::from(vec![text])),
        Value::Int64(number) => Arc::new(Int64Array::from(vec![number])),
        Value::Date(days) => Arc::new(Date32Array::from(vec![days])),
        Value::Timestamp(us) => Arc::new(TimestampMicrosecondArray::from(vec![us]).with_timezone(UTC)),
        Value::Bool(truth) => Arc::new(BooleanArray::from(vec![truth])),
        Value::Float64(number) => Arc::new(Float64Array::from(vec![number])),
        Value::Decimal { unscaled, .. } => {
            let data_type = column_type(key_type).arrow_type();
            let DataType::Decimal128(precision, scale) = data_type else { return new_null_array(&data_type, 1) };
            let array = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(precision, scale);
            array.map_or_else(|_| new_null_array(&data_type, 1), |array| Arc::new(array) as ArrayRef)
        }
    }
}
