//! The footer pass: what columns does each table have, and what does each object need?
//!
//! A table's schema comes from the footers of all its objects, `concurrency` at a time, over all tables. Of each object
//! only its version and the memory that it will need are kept, and of each table at most two file schemas. A small
//! object is fetched whole and, while the reserve has room, kept for the insert phase: that is its only GET.

use super::footer::{self, FooterGuess, SMALL_OBJECT_BYTES};
use super::memory::{RESERVE_DIVISOR, Share};
use super::object::{Kept, Task, largest_working_set};
use super::report::Report;
use super::table::{Planned, Stats, TableRun};
use super::{Context, Error, cpu};
use crate::cloudquery::ipc::BatchEncoder;
use crate::cloudquery::schema;
use crate::cloudquery::source::{ErrorKind, SourceError};
use crate::decode::file::FileSchema;
use crate::decode::types::ColumnType;
use crate::plan::shard::Shard;
use crate::s3::{self, ByteRange, ETag, RetryBudget};
use crate::tables::group::{ListedObject, Table};
use crate::tables::schema::{SchemaMerger, TableSchema};
use crate::telemetry::otlp::TableTelemetry;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Objects of a table whose footers GetTables reads: the first and the newest. Enough to show its columns; a sync reads
/// all of them.
const SAMPLED_OBJECTS: usize = 10;

/// A table with its schema, and its objects ready to be sent.
#[derive(Debug)]
pub struct SurveyedTable {
    /// What its objects share.
    pub run: Arc<TableRun>,
    /// Its objects, without those that failed or are gone.
    pub tasks: Vec<Task>,
}

/// A table while its footers are read.
struct Survey {
    table: Table,
    /// Objects whose footer was not looked at yet.
    guess: Arc<FooterGuess>,
    schema: Mutex<SchemaMerger>,
    tasks: Mutex<Vec<Task>>,
    telemetry: TableTelemetry,
}

/// Reads the footers of all objects of all tables; only those of `shard` are sent later, but all shards announce the same
/// tables. Tables without a readable object are left out, as are those whose
/// files do not agree; both were reported.
///
/// # Errors
/// When nothing will work, or the peer has gone.
pub async fn survey(
    cx: &Context,
    tables: Vec<Table>,
    shard: Shard,
    report: &Arc<Report>,
) -> Result<Vec<SurveyedTable>, SourceError> {
    for table in &tables {
        if let Some(first) = &table.archived.first_key {
            report.archived_objects(&table.name, first, table.archived.count);
        }
    }
    report.progress().footers_begin(tables.iter().map(|table| table.objects.len() as u64).sum());
    let surveys: Vec<Arc<Survey>> = tables
        .into_iter()
        .map(|table| {
            let telemetry = report.telemetry().table(&table.name);
            Arc::new(Survey::new(table, telemetry))
        })
        .collect();
    let kept_bytes = Arc::new(AtomicU64::new(0));
    let mut objects =
        surveys.iter().flat_map(|survey| (0..survey.table.objects.len()).map(|index| (Arc::clone(survey), index)));
    let mut tasks: JoinSet<Result<(), SourceError>> = JoinSet::new();
    loop {
        while tasks.len() < cx.concurrency {
            let Some((survey, index)) = objects.next() else { break };
            let (cx, report, kept_bytes) = (cx.clone(), Arc::clone(report), Arc::clone(&kept_bytes));
            tasks.spawn(async move { survey.object(&cx, index, shard, &kept_bytes, &report).await });
        }
        match tasks.join_next().await {
            None => break,
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(fatal))) => return Err(fatal),
            Some(Err(error)) if error.is_cancelled() => {
                return Err(SourceError::new(ErrorKind::Cancelled, "cancelled"));
            }
            Some(Err(_)) => return Err(SourceError::new(ErrorKind::Internal, "a task of the footer pass panicked")),
        }
    }
    drop(objects);
    let mut surveyed = Vec::with_capacity(surveys.len());
    for survey in surveys {
        // All tasks have ended, so nobody else holds it.
        let Some(survey) = Arc::into_inner(survey) else { continue };
        let name = survey.table.name;
        match survey.schema.into_inner().unwrap_or_else(PoisonError::into_inner).finish() {
            Err(conflict) => report.table(&name, conflict.to_string()).await?,
            // Each of its objects was reported.
            Ok(None) => {}
            Ok(Some(schema)) => {
                let mut tasks = survey.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
                tasks.sort_by(|a, b| a.key.cmp(&b.key));
                let planned =
                    Planned { objects: tasks.len() as u64, bytes: tasks.iter().map(|task| task.object_bytes).sum() };
                let run = Arc::new(run(name, schema, survey.guess, planned, survey.telemetry)?);
                surveyed.push(SurveyedTable { run, tasks });
            }
        }
    }
    Ok(surveyed)
}

fn run(
    name: String,
    schema: TableSchema,
    footers: Arc<FooterGuess>,
    planned: Planned,
    telemetry: TableTelemetry,
) -> Result<TableRun, SourceError> {
    let announced = announced(&name, &schema);
    let encoder = BatchEncoder::new(announced)
        .map_err(|error| SourceError::new(ErrorKind::Internal, format!("table {name}: {error}")))?;
    Ok(TableRun {
        name,
        schema: Arc::new(schema),
        encoder: Arc::new(encoder),
        casts: Arc::default(),
        footers,
        planned,
        stats: Stats::default(),
        telemetry,
    })
}

/// The schema as the peer sees it: built from scratch, with CloudQuery's metadata and nothing else.
#[must_use]
pub fn announced(name: &str, table: &TableSchema) -> SchemaRef {
    let ids = [schema::cq_id_field(), schema::cq_parent_id_field()];
    let columns = table
        .columns()
        .iter()
        .map(|column| schema::field(&column.name, &outgoing(&column.column_type), column.nullable));
    schema::table_schema(name, ids.into_iter().chain(columns))
}

/// A column's type in CloudQuery's terms.
fn outgoing(column: &ColumnType) -> schema::ColumnType {
    match column {
        ColumnType::Uuid => schema::ColumnType::Uuid,
        ColumnType::Json => schema::ColumnType::Json,
        ColumnType::List(item) if **item == ColumnType::Uuid => schema::list_of_uuids(),
        other => schema::ColumnType::Arrow(other.arrow_type()),
    }
}

/// The columns of `table` by a sample of its footers, and whether that was all of them. `None` when no object of the
/// sample could be read.
///
/// # Errors
/// When nothing will work.
pub async fn sample(cx: &Context, table: &Table) -> Result<(Option<SchemaRef>, bool), SourceError> {
    let sampled = sampled(&table.objects);
    let whole = sampled.len() == table.objects.len();
    let guess = FooterGuess::default();
    let reads = sampled.into_iter().map(|object| {
        let guess = &guess;
        async move {
            let key = table.object_key(object);
            let read = read_footer(cx, &key, object.size_bytes, object.etag.as_ref(), guess).await;
            (key, read)
        }
    });
    let mut merger = SchemaMerger::new();
    for (key, read) in futures::future::join_all(reads).await {
        match read {
            Ok((_, schema)) => merger.add(&key, schema),
            Err(Error::S3(error)) if error.is_fatal() => return Err(super::fatal(&error)),
            Err(error) => {
                tracing::warn!(
                    table = table.name,
                    bucket = cx.store.bucket(),
                    key,
                    error = s3::error_chain(&error),
                    "footer could not be read"
                );
            }
        }
    }
    match merger.finish() {
        Ok(schema) => Ok((schema.map(|schema| announced(&table.name, &schema)), whole)),
        Err(conflict) => {
            tracing::warn!(
                table = table.name,
                error = conflict.to_string(),
                "table is left out: a sync would refuse it"
            );
            Ok((None, whole))
        }
    }
}

/// The first half by key, the newest for the rest.
fn sampled(objects: &[ListedObject]) -> Vec<&ListedObject> {
    if objects.len() <= SAMPLED_OBJECTS {
        return objects.iter().collect();
    }
    let (first, others) = objects.split_at(SAMPLED_OBJECTS / 2);
    let mut others: Vec<&ListedObject> = others.iter().collect();
    others.sort_by_key(|object| std::cmp::Reverse(object.last_modified_s));
    first.iter().chain(others.into_iter().take(SAMPLED_OBJECTS - first.len())).collect()
}

async fn read_footer(
    cx: &Context,
    key: &str,
    object_bytes: u64,
    etag: Option<&ETag>,
    guess: &FooterGuess,
) -> Result<(footer::Footer, FileSchema), Error> {
    let budget = RetryBudget::default();
    let footer = match footer::fetch(&cx.store, key, object_bytes, etag, guess, &budget, &cx.memory).await {
        // Replaced since the listing: nothing was read of the old version yet.
        Err(Error::S3(error)) if error.kind == s3::ErrorKind::Changed => {
            footer::fetch(&cx.store, key, object_bytes, None, guess, &budget, &cx.memory).await?
        }
        other => other?,
    };
    let metadata = Arc::clone(&footer.metadata);
    let schema = cpu::run(move || FileSchema::from_metadata(&metadata)).await??;
    Ok((footer, schema))
}

impl Survey {
    fn new(table: Table, telemetry: TableTelemetry) -> Self {
        Self { table, guess: Arc::default(), schema: Mutex::default(), tasks: Mutex::default(), telemetry }
    }

    /// Looks at one object. Only what ends the whole sync is an error.
    async fn object(
        &self,
        cx: &Context,
        index: usize,
        shard: Shard,
        kept_bytes: &AtomicU64,
        report: &Report,
    ) -> Result<(), SourceError> {
        let object = &self.table.objects[index];
        let key = self.table.object_key(object);
        let ours = shard.has(&key);
        self.telemetry.begun();
        let looked = self.look(cx, object, &key, ours, kept_bytes).await;
        report.progress().footer_done();
        match looked {
            Ok((task, schema)) => {
                self.schema.lock().unwrap_or_else(PoisonError::into_inner).add(&key, schema);
                if ours {
                    self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
                }
                Ok(())
            }
            Err(Error::S3(error)) if error.kind == s3::ErrorKind::Gone => {
                report.gone(&self.table.name, &key);
                Ok(())
            }
            Err(error) => report.object(&self.table.name, &key, error).await,
        }
    }

    async fn look(
        &self,
        cx: &Context,
        object: &ListedObject,
        key: &str,
        keep: bool,
        kept_bytes: &AtomicU64,
    ) -> Result<(Task, FileSchema), Error> {
        let share = if keep { reserve(cx, object.size_bytes, kept_bytes) } else { None };
        if let Some(share) = share
            && let Some((bytes, etag)) = whole(cx, key, object).await?
        {
            let metadata = footer::of_bytes(&bytes).await?;
            let working_bytes = largest_working_set(&metadata);
            let schema = cpu::run(move || FileSchema::from_metadata(&metadata)).await??;
            let object_bytes = bytes.len() as u64;
            let kept = Some(Kept { bytes, share });
            return Ok((Task { key: key.to_owned(), object_bytes, etag, working_bytes, kept }, schema));
        }
        let (footer, schema) = read_footer(cx, key, object.size_bytes, object.etag.as_ref(), &self.guess).await?;
        let task = Task {
            key: key.to_owned(),
            object_bytes: footer.object_bytes,
            etag: footer.etag,
            working_bytes: largest_working_set(&footer.metadata),
            kept: None,
        };
        Ok((task, schema))
    }
}

/// A share of the reserve for a small object, while there is room.
fn reserve(cx: &Context, object_bytes: u64, kept_bytes: &AtomicU64) -> Option<Share> {
    if object_bytes > SMALL_OBJECT_BYTES {
        return None;
    }
    let most = cx.memory.limit_bytes() / RESERVE_DIVISOR;
    let room = |held: u64| (held + object_bytes <= most).then_some(held + object_bytes);
    let held = kept_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
    cx.memory.try_reserve(object_bytes, held)
}

/// The whole object as listed, in one GET. `None` when it was replaced since.
async fn whole(cx: &Context, key: &str, object: &ListedObject) -> Result<Option<(Bytes, Option<ETag>)>, Error> {
    let range = ByteRange::Whole { most: object.size_bytes };
    match cx.store.get(key, range, object.etag.as_ref(), &RetryBudget::default()).await {
        Ok(fetched) => Ok(Some((fetched.bytes, fetched.etag))),
        Err(error) if error.kind == s3::ErrorKind::Changed => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tables::group::Grouper;

    /// A table run without columns from files, for tests that only need one.
    pub fn run(name: &str) -> Arc<TableRun> {
        let mut merger = SchemaMerger::new();
        merger.add("k", FileSchema { columns: Vec::new() });
        let schema = merger.finish().unwrap().unwrap();
        let run = super::run(name.to_owned(), schema, Arc::default(), Planned::default(), TableTelemetry::default());
        Arc::new(run.unwrap())
    }

    #[test]
    fn the_sample_has_the_first_and_the_newest() {
        let filter = crate::spec::KeyFilter::default();
        let mut grouper = Grouper::new(&filter);
        for n in 0..30 {
            grouper.add(crate::s3::ObjectMeta {
                key: format!("t/{n:02}.parquet"),
                size_bytes: 1,
                etag: None,
                last_modified_s: i64::from((n * 7) % 30),
                archived: false,
            });
        }
        let listing = grouper.finish();
        let table = &listing.tables[0];
        let keys: Vec<String> = sampled(&table.objects).into_iter().map(|object| table.object_key(object)).collect();
        assert_eq!(keys.len(), SAMPLED_OBJECTS);
        assert_eq!(keys[..2], ["t/00.parquet", "t/01.parquet"]);
        // 7 n ≡ 29 (mod 30) for n = 17.
        assert_eq!(keys[5], "t/17.parquet");
    }
}
