//! Records that could not be read, by the spec's choice about them: counted and named, and in a table of their own.
//!
//! `fail` never comes here: the object is in error at the first one, behind the rows before it. What the log has is where a
//! record is and why it is none; what it says stays out of it, and goes nowhere but into the table that the spec asks for.

use super::context::Context;
use super::error::Error;
use super::report::Report;
use super::survey::SurveyedTable;
use super::table::{Objects, TableRun};
use crate::cast::row_id::ObjectId;
use crate::cloudquery::schema;
use crate::cloudquery::source::{ErrorKind, Grant, Message, SourceError};
use crate::config::{BadRows as Policy, MostBadRows, OnBadRow};
use crate::formats::error::ReadError;
use crate::formats::text::chunk::{BadRecord, RAW_BYTES};
use crate::memory::MessagePool;
use crate::schema::rules::ColumnRules;
use crate::schema::table::TableSchema;
use crate::schema::types::{ColumnType, UUID_BYTES};
use crate::tables::name::TableKey;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bad records of a table that the log names one by one; the others it counts.
const MAX_LOGGED: u64 = 10;
/// Bad records of an object at most, unless the spec says otherwise: as many or
/// [`DEFAULT_MOST_PERCENT`] of all, whichever is more.
const DEFAULT_MOST: u64 = 1_000;
const DEFAULT_MOST_PERCENT: f64 = 1.0;
/// Sets ids of bad records apart from those of the object's rows.
const ID_SPACE: &str = "\0bad";

/// The columns behind the ids.
const COLUMNS: [(&str, ColumnType); 5] = [
    ("_s3_key", ColumnType::Utf8),
    ("_s3_row", ColumnType::Int64),
    ("_s3_offset", ColumnType::Int64),
    ("reason", ColumnType::Utf8),
    ("raw", ColumnType::Utf8),
];

/// The schema of a table of bad records.
#[must_use]
pub fn announced(name: &str) -> SchemaRef {
    let ids = [schema::cq_id_field(), schema::cq_parent_id_field()];
    let columns = COLUMNS.iter().map(|(name, column_type)| schema::field(*name, column_type, true));
    schema::table_schema(name, ids.into_iter().chain(columns))
}

/// Adds the tables of bad records that the spec wants, and tells the tables whose records go there. They are always announced,
/// so that a sync without bad records empties them.
///
/// # Errors
/// When such a table has the name of another table.
pub(super) fn add_tables(surveyed: &mut Vec<SurveyedTable>, report: &Report) -> Result<(), SourceError> {
    let mut added: BTreeMap<String, Arc<TableRun>> = BTreeMap::new();
    let names: BTreeSet<String> = surveyed.iter().map(|table| table.run.name.clone()).collect();
    for table in surveyed.iter_mut() {
        let policy = &table.run.objects.options.bad_rows;
        if policy.on != OnBadRow::Table || !table.run.objects.has_texts() {
            continue;
        }
        let name = TableKey::named("", policy.table.replace("{{TABLE}}", &table.run.name)).table_name();
        if names.contains(&name) {
            let text = format!("bad_rows.table: {name} is a table of the bucket already; choose another name");
            return Err(SourceError::new(ErrorKind::InvalidSpec, text));
        }
        let run = match added.get(&name) {
            Some(run) => Arc::clone(run),
            None => {
                let run = Arc::new(run(&name, table.state.is_some(), report)?);
                added.insert(name, Arc::clone(&run));
                run
            }
        };
        if let Some(table) = Arc::get_mut(&mut table.run) {
            table.bad_rows = Some(run);
        }
    }
    surveyed.extend(added.into_values().map(SurveyedTable::without_objects));
    Ok(())
}

fn run(name: &str, is_incremental: bool, report: &Report) -> Result<TableRun, SourceError> {
    let announced = announced(name);
    let announced = if is_incremental { schema::incremental(&announced) } else { announced };
    let telemetry = report.telemetry().table(name);
    let columns = TableSchema::from_columns(Vec::new());
    TableRun::new(name.to_owned(), columns, ColumnRules::default(), announced, Objects::none(), telemetry)
}

/// What is counted of a table.
#[derive(Debug, Default)]
pub struct Counted {
    records: AtomicU64,
}

impl Counted {
    /// Bad records of all objects.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// The bad records of one object so far.
#[derive(Debug, Default)]
pub(super) struct BadRows {
    records: u64,
    first: Option<(u64, u64)>,
}

impl BadRows {
    /// Takes in what one part of the object of `key` has.
    ///
    /// # Errors
    /// When they are too many; [`Error::Disconnected`].
    pub(super) async fn take(
        &mut self,
        cx: &Context,
        table: &TableRun,
        key: &str,
        bad: Vec<BadRecord>,
        pool: &MessagePool,
    ) -> Result<(), Error> {
        let Some(first) = bad.first() else { return Ok(()) };
        self.first.get_or_insert((first.number, first.offset));
        self.records += bad.len() as u64;
        for record in &bad {
            if table.bad.records.fetch_add(1, Ordering::Relaxed) < MAX_LOGGED {
                let BadRecord { number, offset, reason, .. } = record;
                tracing::warn!(
                    table = table.name,
                    bucket = cx.store.bucket(),
                    key,
                    record = number,
                    byte_offset = offset,
                    reason = reason.to_string(),
                    "a record could not be read"
                );
            }
        }
        if let Some(to) = &table.bad_rows {
            let rows = bad.len() as u64;
            let batch = batch(to.encoder.schema(), cx.store.bucket(), key, &bad)?;
            let record = to.encoder.encode(&batch)?;
            let message_bytes = record.len() as u64;
            let grant = Grant::holding(pool.room(message_bytes).await);
            cx.sink.send(Message::Insert { record, grant }).await.map_err(|_| Error::Disconnected)?;
            cx.sent(to, rows, message_bytes);
        }
        match table.objects.options.bad_rows.max {
            Some(MostBadRows::Records(most)) if self.records > most => Err(self.too_many(format!("{most}")).into()),
            _ => Ok(()),
        }
    }

    /// At the end of an object of `records` records.
    ///
    /// # Errors
    /// When the bad ones are too many of them.
    pub(super) fn check_share(&self, policy: &Policy, records: u64) -> Result<(), ReadError> {
        let percent = match policy.max {
            Some(MostBadRows::Records(_)) => return Ok(()),
            Some(MostBadRows::Percent(percent)) => percent,
            None if self.records <= DEFAULT_MOST => return Ok(()),
            None => DEFAULT_MOST_PERCENT,
        };
        if self.records as f64 * 100.0 > percent * records as f64 {
            return Err(self.too_many(format!("{percent}% of {records}")));
        }
        Ok(())
    }

    fn too_many(&self, most: String) -> ReadError {
        let (record, offset) = self.first.unwrap_or_default();
        ReadError::BadRecords { records: self.records, most, record, offset }
    }
}

fn batch(schema: &SchemaRef, bucket: &str, key: &str, bad: &[BadRecord]) -> Result<RecordBatch, ReadError> {
    let internal = |error: arrow::error::ArrowError| ReadError::Internal { what: error.to_string() };
    let object = ObjectId::new(bucket, &format!("{key}{ID_SPACE}"));
    let mut ids = FixedSizeBinaryBuilder::with_capacity(bad.len(), UUID_BYTES);
    for record in bad {
        ids.append_value(object.row(record.number)).map_err(internal)?;
    }
    let numbers = |of: fn(&BadRecord) -> u64| -> ArrayRef {
        Arc::new(bad.iter().map(|record| i64::try_from(of(record)).ok()).collect::<Int64Array>())
    };
    let raw = |record: &BadRecord| {
        let bytes = &record.raw[..record.raw.len().min(RAW_BYTES)];
        // PostgreSQL takes no U+0000.
        String::from_utf8_lossy(bytes).replace('\0', "")
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids.finish()),
        Arc::new(FixedSizeBinaryArray::new_null(UUID_BYTES, bad.len())),
        Arc::new(StringArray::new_repeated(key, bad.len())),
        numbers(|record| record.number),
        numbers(|record| record.offset),
        Arc::new(bad.iter().map(|record| Some(record.reason.to_string())).collect::<StringArray>()),
        Arc::new(bad.iter().map(|record| Some(raw(record))).collect::<StringArray>()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(internal)
}
