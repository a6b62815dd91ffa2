//! The table of commits: one row for each source that keeps state, with the generation of its last sync whose rows the
//! destination has.
//!
//! It is an ordinary table to the destination, announced with the others and filled by the last insert of a stream. Where the
//! destination is the state backend, too, the plugin reads it back, by the names of its columns: the CLI adds columns of its
//! own, and their order is the destination's choice. It is never migrated through the state client, since the CLI changes
//! the keys of tables by write mode.

use super::ipc::{BatchEncoder, EncodeError, encode_schema};
use super::schema::{cq_id_field, cq_parent_id_field, field, incremental, table_schema};
use crate::hash::hex;
use crate::schema::types::ColumnType;
use arrow::array::new_null_array;
use arrow::array::{Array as _, ArrayRef, AsArray as _, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// What is put behind the name of the state table.
const SUFFIX: &str = "_commits";
/// Longest name of a table in bytes: PostgreSQL's limit, the smallest among the usual destinations.
const MAX_NAME_BYTES: usize = 63;
/// Hex digits of a hash that tells shortened names apart.
const HASH_DIGITS: usize = 8;
/// The column with the source.
const SOURCE: &str = "source";
/// The column with the generation.
const GENERATION: &str = "generation";

/// The table of commits that goes with a state table.
#[derive(Debug, Clone)]
pub struct CommitTable {
    name: String,
    schema: SchemaRef,
}

impl CommitTable {
    /// The table for the state table of this name.
    #[must_use]
    pub fn of_state_table(state_table: &str) -> Self {
        let name = name(state_table);
        let text = ColumnType::Utf8;
        let number = ColumnType::Int64;
        let fields =
            [cq_id_field(), cq_parent_id_field(), field(SOURCE, &text, true), field(GENERATION, &number, true)];
        Self { schema: incremental(&table_schema(&name, fields)), name }
    }

    /// Its name: legal wherever names of tables are.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What announces it: an IPC stream without batches.
    ///
    /// # Errors
    /// Our bug.
    pub fn migrate(&self) -> Result<Bytes, EncodeError> {
        encode_schema(&self.schema)
    }

    /// The row of `source`, as an IPC stream of one batch. Its `_cq_id` is the same each time, so that it is overwritten.
    ///
    /// # Errors
    /// Our bug.
    pub fn row(&self, source: &str, generation: u64) -> Result<Bytes, EncodeError> {
        let id = FixedSizeBinaryArray::try_from_iter(std::iter::once(row_id(source)))?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(id),
            new_null_array(self.schema.field(1).data_type(), 1),
            Arc::new(StringArray::from(vec![source])),
            // Seconds since 1970 and a number of syncs: far below the limit.
            Arc::new(Int64Array::from(vec![i64::try_from(generation).unwrap_or(i64::MAX)])),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        BatchEncoder::new(Arc::clone(&self.schema))?.encode(&batch)
    }

    /// What a Read of the table asks for: the two columns that count, as an IPC stream without batches.
    ///
    /// # Errors
    /// Our bug.
    pub fn read_request(&self) -> Result<Bytes, EncodeError> {
        let fields = [SOURCE, GENERATION].map(|name| self.schema.field_with_name(name).cloned());
        let fields = fields.into_iter().collect::<Result<Vec<_>, _>>()?;
        encode_schema(&table_schema(&self.name, fields))
    }

    /// The highest generation that a record of the Read stream has for `source`: appending destinations keep them all.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub fn generation(source: &str, record: &Bytes) -> Result<Option<u64>, String> {
        let unreadable = |error: arrow::error::ArrowError| format!("it is not an Arrow record: {error}");
        let mut highest = None;
        for batch in StreamReader::try_new(&record[..], None).map_err(unreadable)? {
            let batch = batch.map_err(unreadable)?;
            let column = |name: &str, as_type: &DataType| {
                let column = batch.column_by_name(name).ok_or_else(|| format!("it has no column {name}"))?;
                cast(column, as_type).map_err(unreadable)
            };
            let (sources, generations) = (column(SOURCE, &DataType::Utf8)?, column(GENERATION, &DataType::Int64)?);
            let (sources, generations) = (sources.as_string::<i32>(), generations.as_primitive::<Int64Type>());
            for row in (0..batch.num_rows()).filter(|&row| sources.is_valid(row) && generations.is_valid(row)) {
                if sources.value(row) == source {
                    highest = highest.max(u64::try_from(generations.value(row)).ok());
                }
            }
        }
        Ok(highest)
    }
}

/// The state table's name with [`SUFFIX`], made legal: `^[a-z_][a-z0-9_]*$`, at most [`MAX_NAME_BYTES`].
fn name(state_table: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let mut name: String = state_table.chars().map(legal).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if name.len() + SUFFIX.len() > MAX_NAME_BYTES {
        // All ASCII: any cut is a character boundary.
        name.truncate(MAX_NAME_BYTES - SUFFIX.len() - 1 - HASH_DIGITS);
        let hash = Sha256::digest(state_table);
        name = format!("{name}_{}", hex(&hash[..HASH_DIGITS / 2]));
    }
    format!("{name}{SUFFIX}")
}

/// A UUID of version 8 made of a hash of the source.
fn row_id(source: &str) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&Sha256::new().chain_update("commit of ").chain_update(source).finalize()[..16]);
    uuid[6] = (uuid[6] & 0x0f) | 0x80;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudquery::schema::{PRIMARY_KEY, TABLE_INCREMENTAL, table_name};

    #[test]
    fn names_are_legal_short_and_distinct() {
        assert_eq!(name("cq_state_s3"), "cq_state_s3_commits");
        assert_eq!(name("Public.State-1"), "public_state_1_commits");
        assert_eq!(name("9lives"), "_9lives_commits");
        let long = "state_".repeat(20);
        let names = [name(&long), name(&format!("{long}2")), name(&"s".repeat(55))];
        assert!(names.iter().all(|name| name.len() <= MAX_NAME_BYTES && name.ends_with(SUFFIX)), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert_eq!(names[2], format!("{}{SUFFIX}", "s".repeat(55)));
    }

    #[test]
    fn it_is_incremental_and_keyed_by_the_source() {
        let table = CommitTable::of_state_table("state");
        assert_eq!((table_name(&table.schema), table.name()), (Some("state_commits"), "state_commits"));
        assert_eq!(table.schema.metadata()[TABLE_INCREMENTAL], "true");
        assert_eq!(table.schema.field(0).metadata()[PRIMARY_KEY], "true");
        assert_eq!(row_id("a"), row_id("a"));
        assert_ne!(row_id("a"), row_id("b"));
    }

    #[test]
    fn the_highest_generation_of_the_source_is_found_by_the_names_of_columns() {
        let table = CommitTable::of_state_table("state");
        let row = table.row("a", 7).unwrap();
        assert_eq!(CommitTable::generation("a", &row), Ok(Some(7)));
        assert_eq!(CommitTable::generation("b", &row), Ok(None));
        let fields = [
            field("_cq_source_name", &ColumnType::Utf8, true),
            arrow::datatypes::Field::new(GENERATION, DataType::Int32, true),
            arrow::datatypes::Field::new(SOURCE, DataType::LargeUtf8, true),
        ];
        let schema = table_schema("state_commits", fields);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["s3"; 4])),
            Arc::new(arrow::array::Int32Array::from(vec![Some(5), Some(9), None, Some(-1)])),
            Arc::new(arrow::array::LargeStringArray::from(vec![Some("a"), Some("a"), Some("a"), Some("a")])),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let record = BatchEncoder::new(schema).unwrap().encode(&batch).unwrap();
        assert_eq!(CommitTable::generation("a", &record), Ok(Some(9)));
        let other = crate::cloudquery::ipc::encode_schema(&table.schema).unwrap();
        assert_eq!(CommitTable::generation("a", &other), Ok(None));
        assert!(
            CommitTable::generation("a", &Bytes::from_static(b"nonsense")).unwrap_err().contains("not an Arrow record")
        );
    }
}
