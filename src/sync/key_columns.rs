//! The columns that a table has from its objects' keys: which, of what types, and what the key of an object says in them.
//!
//! Names and types come from all listed keys ([`crate::tables::partitions`]). A type that an earlier sync announced stays, unless
//! the spec says otherwise; values are read as that type, and what does not fit goes where values of files go that do not. A
//! column that files have, too, is one column: for each object its value is the key's or the file's, as the spec says. What is
//! wrong with values is said once a table.

use crate::cast::key_values::{KeyValue, KeyValues};
use crate::config::layout::Conflict;
use crate::config::{FileColumns, OnTypeChange, TableOptions};
use crate::schema::file::FileSchema;
use crate::schema::names::{file_columns, fold};
use crate::schema::rules::ColumnRules;
use crate::schema::shared::SharedColumn;
use crate::schema::table::{ColumnSource, TableColumn, TableSchema};
use crate::schema::types::{ColumnType, UTC};
use crate::tables::mapping::{Mappings, Match};
use crate::tables::partitions::{Cell, Column, Found, Inference, KeyType, StoredColumn, TooManyColumns, Value};
use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The columns of the key of one table.
#[derive(Debug, Clone, Default)]
pub struct KeyColumns {
    mappings: Arc<Mappings>,
    columns: Vec<KeyColumn>,
    conflict: Conflict,
    /// It was said that columns of files are left out.
    hidden: Arc<AtomicBool>,
    /// Columns of files that are called as one of these, by folded name. Held for adding one file's.
    in_files: Arc<Mutex<BTreeMap<String, SharedColumn>>>,
    /// Columns have wider types than an earlier sync announced.
    widened: bool,
    /// Why there can be no table.
    refusal: Option<String>,
}

/// One of them.
#[derive(Debug, Clone)]
struct KeyColumn {
    /// As the key spells it.
    name: String,
    /// The same for comparison.
    ident: String,
    /// What its texts are read as.
    key_type: KeyType,
    /// The type that is announced.
    target: ColumnType,
    /// The column of the files that an earlier sync announced under this name.
    of_files: Option<TableColumn>,
    /// An earlier sync announced it, from keys.
    is_stored: bool,
}

/// The keys of the objects that are read, one by one.
pub type EachKey<'a> = &'a dyn Fn(&mut dyn FnMut(&str));

impl KeyColumns {
    /// The columns of a table's keys, of which `keys` has learned and `each_key` tells; `stored` is the schema that earlier
    /// syncs left. What users should know of its values is logged.
    ///
    /// # Errors
    /// [`TooManyColumns`].
    pub fn new(
        table: &str,
        mappings: &Arc<Mappings>,
        keys: &Inference,
        options: &TableOptions,
        stored: Option<&TableSchema>,
        each_key: EachKey<'_>,
    ) -> Result<Self, TooManyColumns> {
        let stored = stored.map(TableSchema::columns).unwrap_or_default();
        let known: Vec<StoredColumn> = stored.iter().filter_map(stored_column).collect();
        let columns = keys.columns(&known)?;
        let mut this = Self { mappings: Arc::clone(mappings), conflict: options.conflict, ..Self::default() };
        let on_type_change = options.schema.on_type_change;
        for column in columns {
            warn_of_misfits(table, &column);
            let of_files = stored.iter().find(|known| file_name(known).is_some_and(|name| fold(name) == column.ident));
            let of_files = of_files.filter(|_| column.stored.is_none() && this.shares());
            let mut key_type = column.ty;
            if let Some(stored) = column.stored.filter(|stored| *stored != column.ty) {
                key_type = this.changed_type(table, &column, stored, on_type_change, each_key);
            }
            if let (Some(_), Conflict::Path) = (of_files, this.conflict)
                && !this.hidden.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    table,
                    column = column.name,
                    "the column is from the files since an earlier sync, and is in the keys now: the value of the key is \
                     taken; set `partitions.conflict` to file or both for the files'"
                );
            }
            let target = of_files.map_or_else(|| column_type(key_type), |column| column.column_type.clone());
            this.columns.push(KeyColumn {
                name: column.name,
                ident: column.ident,
                key_type: self::key_type(&target).unwrap_or(key_type),
                target,
                of_files: of_files.cloned(),
                is_stored: column.stored.is_some(),
            });
        }
        Ok(this)
    }

    /// The type that a column has from now on, of which an earlier sync announced another than its values need.
    fn changed_type(
        &mut self,
        table: &str,
        column: &Column,
        stored: KeyType,
        on_type_change: OnTypeChange,
        each_key: EachKey<'_>,
    ) -> KeyType {
        let (mut objects, mut first_key) = (0_u64, None);
        each_key(&mut |key| {
            let found = self.found(key);
            let found = found.iter().find(|found| found.ident == column.ident);
            if found.is_some_and(|found| matches!(Cell::of(found, stored), Cell::Misfit(_))) {
                objects += 1;
                first_key.get_or_insert_with(|| key.to_owned());
            }
        });
        let (Column { name, ty, .. }, Some(first_key)) = (column, first_key) else { return stored };
        match on_type_change {
            OnTypeChange::Keep => tracing::warn!(
                table,
                column = name,
                objects,
                first_key,
                "the column is {stored} since an earlier sync, and the values of all keys together are {ty}: those that \
                 are not {stored} are null, and go into the rescue column where the table has one"
            ),
            OnTypeChange::Widen => {
                tracing::warn!(
                    table,
                    column = name,
                    objects,
                    first_key,
                    "the column was {stored} and is {ty} from now on: the destination must take the new type \
                     (`migrate_mode: forced`)"
                );
                self.widened = true;
                return *ty;
            }
            OnTypeChange::Fail => {
                self.refusal.get_or_insert_with(|| {
                    format!(
                        "the column {name:?} of the keys is {stored} since an earlier sync, and {first_key:?} has a value \
                         that is not: all keys together are {ty}, and schema.on_type_change is fail; `keep` makes such \
                         values null, `widen` announces {ty}"
                    )
                });
            }
        }
        stored
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether columns have wider types than an earlier sync announced: all rows must be sent again.
    #[must_use]
    pub fn widened(&self) -> bool {
        self.widened
    }

    /// Whether a column of the key and one of files are one column of the table.
    fn shares(&self) -> bool {
        matches!(self.conflict, Conflict::Path | Conflict::File)
    }

    /// Learns which of these columns a file has; which columns of files are left out is said once. `key` is the object's.
    pub fn see_file(&self, table: &str, key: &str, file: &FileSchema) {
        if !self.shares() {
            return;
        }
        for column in &file.columns {
            let ident = fold(&column.name);
            let Some(ours) = self.columns.iter().find(|ours| ours.ident == ident) else { continue };
            if self.conflict == Conflict::File {
                let mut in_files = self.in_files.lock().unwrap_or_else(PoisonError::into_inner);
                match in_files.get_mut(&ident) {
                    Some(shared) => shared.see(key, column),
                    None => _ = in_files.insert(ident, SharedColumn::of(key, column)),
                }
            } else if self.found(key).iter().any(|found| found.ident == ident)
                && !self.hidden.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    table,
                    column = ours.name,
                    "files have a column that is in their keys, too: the value of the key is taken; set `partitions.conflict` to \
                     file or both for the files'"
                );
            }
        }
    }

    /// What is no column of files by itself: columns that the key has, too, and that are one column with it.
    #[must_use]
    pub fn hide(&self, rules: ColumnRules) -> ColumnRules {
        if !self.shares() {
            return rules;
        }
        self.columns.iter().fold(rules, |rules, column| rules.hiding(&column.name))
    }

    /// The rules for the object with this key: where the file's value counts, its column stands in for the key.
    #[must_use]
    pub fn rules_of(&self, key: &str, rules: &Arc<ColumnRules>) -> Arc<ColumnRules> {
        if self.columns.is_empty() || !self.shares() {
            return Arc::clone(rules);
        }
        let found = self.found(key);
        let is_files = |column: &&KeyColumn| {
            self.conflict == Conflict::File || !found.iter().any(|found| found.ident == column.ident)
        };
        let stand_ins: BTreeSet<String> = self.columns.iter().filter(is_files).map(|c| c.ident.clone()).collect();
        if stand_ins.is_empty() {
            return Arc::clone(rules);
        }
        Arc::new(ColumnRules::clone(rules).with_stand_ins(stand_ins))
    }

    /// The columns of `stored` that files are held against: those of the key are not among them.
    #[must_use]
    pub fn without_shared(&self, stored: &TableSchema) -> TableSchema {
        let is_ours = |column: &TableColumn| self.columns.iter().any(|ours| ours.of_files.as_ref() == Some(column));
        TableSchema::from_columns(stored.columns().iter().filter(|column| !is_ours(column)).cloned().collect())
    }

    /// The table's columns: those of its files, and these, beside the columns `added` that say where a row is from. `stored` is the
    /// schema that earlier syncs left: its columns stay where they are.
    ///
    /// # Errors
    /// In words, when a file has a column of the name and that is not to be, or a type changed that may not.
    pub fn join(
        &mut self,
        files: TableSchema,
        stored: Option<&TableSchema>,
        added: FileColumns,
    ) -> Result<TableSchema, String> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        let files = files.beside(file_columns(added).map(|(_, name, _)| name));
        if self.columns.is_empty() {
            return Ok(files);
        }
        if self.conflict == Conflict::Error {
            let in_files: HashSet<String> = files.columns().iter().filter_map(file_name).map(fold).collect();
            if let Some(column) = self.columns.iter().find(|column| in_files.contains(&column.ident)) {
                return Err(format!(
                    "the column {:?} is in the keys and in the files; set `partitions.conflict` to path, file or both, or \
                     another style",
                    column.name
                ));
            }
        }
        let keys: Vec<TableColumn> = self.columns.iter().map(|column| self.table_column(column)).collect();
        for (ours, column) in self.columns.iter_mut().zip(&keys) {
            ours.target = column.column_type.clone();
            ours.key_type = key_type(&ours.target).unwrap_or(ours.key_type);
        }
        let joined = files.with_keys(&keys, stored);
        Ok(joined.beside(file_columns(added).map(|(_, name, _)| name)))
    }

    /// The column of the table that one of these is.
    fn table_column(&self, column: &KeyColumn) -> TableColumn {
        if let Some(of_files) = &column.of_files {
            return of_files.clone();
        }
        let in_files = self.in_files.lock().unwrap_or_else(PoisonError::into_inner);
        match in_files.get(&column.ident).filter(|_| !column.is_stored) {
            Some(shared) => shared.column(),
            None => TableColumn {
                source: ColumnSource::Key { name: column.name.clone() },
                name: column.name.clone(),
                column_type: column.target.clone(),
            },
        }
    }

    /// The values of an object's key.
    #[must_use]
    pub fn values(&self, key: &str) -> KeyValues {
        if self.columns.is_empty() {
            return KeyValues::default();
        }
        let found = self.found(key);
        let value = |column: &KeyColumn| {
            let found = found.iter().find(|found| found.ident == column.ident)?;
            let value = match Cell::of(found, column.key_type) {
                Cell::Null => return None,
                Cell::Misfit(text) => KeyValue::Misfit(text),
                Cell::Value(value) => {
                    let text = value.to_string();
                    let array = as_type(array(value, column.key_type), &column.target);
                    array.map_or(KeyValue::Misfit(text), KeyValue::Fits)
                }
            };
            Some((column.ident.clone(), value))
        };
        KeyValues::new(self.columns.iter().filter_map(value).collect())
    }

    fn found<'a>(&'a self, key: &'a str) -> Vec<Found<'a>> {
        // That it has a size is all that counts here.
        let Match::Table(mapped) = self.mappings.of(key, 1) else { return Vec::new() };
        self.mappings.values_of(&mapped, key)
    }
}

/// A value in the type of a column, which is perhaps the files'; `None` if that cannot hold it.
fn as_type(value: ArrayRef, target: &ColumnType) -> Option<ArrayRef> {
    let data_type = target.arrow_type();
    if *value.data_type() == data_type {
        return Some(value);
    }
    if matches!(target, ColumnType::Json | ColumnType::Binary) {
        // The text would be of the same Arrow type, and no JSON.
        return None;
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(&value, &data_type, &options).ok().filter(|array| array.is_valid(0))
}

/// The name of a column in its files, if it is from there.
fn file_name(column: &TableColumn) -> Option<&str> {
    match &column.source {
        ColumnSource::File { name, .. } => Some(name),
        ColumnSource::Key { .. } | ColumnSource::Rescue => None,
    }
}

/// The columns of keys that earlier syncs announced.
pub fn stored_columns(stored: &TableSchema) -> Vec<StoredColumn> {
    stored.columns().iter().filter_map(stored_column).collect()
}

fn stored_column(column: &TableColumn) -> Option<StoredColumn> {
    let ColumnSource::Key { name } = &column.source else { return None };
    Some(StoredColumn { name: name.clone(), ty: key_type(&column.column_type)? })
}

fn warn_of_misfits(table: &str, Column { name, misfits, .. }: &Column) {
    if let Some(first_key) = &misfits.first_key {
        tracing::warn!(
            table,
            column = name,
            objects = misfits.count,
            first_key,
            "keys have values that are not of the column's type: they are null"
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
