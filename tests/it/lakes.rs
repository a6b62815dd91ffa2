//! Layouts: which object belongs to which table, what its folders say in columns, and what is not even listed.

mod evolution;
mod layouts;
mod options;
mod partitions;
mod pruning;
mod recipes;

use crate::rig::Log;
use arrow::array::{ArrayRef, AsArray as _, Int64Array};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::client::Collected;
use testkit::parquet_files::{self as files, Layout};

/// A file with the column `id`.
fn file(ids: &[i64]) -> Bytes {
    file_of(vec![("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef)])
}

/// A file with these columns.
fn file_of(columns: Vec<(&str, ArrayRef)>) -> Bytes {
    let columns = columns.into_iter().map(|(name, array)| (name, true, array)).collect();
    files::write_batch(&files::batch_of(columns), &Layout::default())
}

/// The columns of a table behind the ids, each with its type as users say it.
pub fn columns(sync: &Collected, table: &str) -> Vec<String> {
    let fields = sync.schema(table).fields().iter().skip(2);
    fields.map(|field| format!("{} {}", field.name(), field.data_type())).collect()
}

/// The rows of a table behind the ids, as text, sorted; `-` for null.
pub fn rows(sync: &Collected, table: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in sync.batches(table) {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().skip(2).map(|column| match column.is_null(row) {
                true => "-".to_owned(),
                // Timestamps are UTC: the name of the zone would be looked up.
                false => match column.as_primitive_opt::<TimestampMicrosecondType>() {
                    Some(times) => array_value_to_string(&times.clone().with_timezone_opt(None::<&str>), row).unwrap(),
                    None => match column.as_binary_opt::<i32>() {
                        Some(json) => String::from_utf8_lossy(json.value(row)).into_owned(),
                        None => array_value_to_string(column, row).unwrap(),
                    },
                },
            });
            rows.push(values.collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort();
    rows
}

/// How many rows each table has.
pub fn counts(sync: &Collected) -> BTreeMap<String, usize> {
    sync.tables().into_iter().map(|table| (table.clone(), sync.rows(&table))).collect()
}

/// What the last sync skipped, by reason.
pub fn skipped(log: &Log) -> String {
    log.summary()["skipped"].as_str().unwrap().to_owned()
}
