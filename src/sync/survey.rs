//! The footer pass: what columns does each table have, and what does each object need?
//!
//! A table's schema comes from the footers of all its objects, `concurrency` at a time, over all tables. Of each object
//! only its version and the memory that it will need are kept, and of each table at most two file schemas. A small
//! object is fetched whole and, while the reserve has room, kept for the insert phase: that is its only GET.

use super::incremental::TableState;
use super::inspect::{self, Found, HeadGuess, Inspector, Room};
use super::need::{SMALL_OBJECT_BYTES, recorded};
use super::report::{LeftOut, Report};
use super::sending::{Kept, facts, need_of_bytes};
use super::table::{Objects, Stats, TableRun};
use super::{Context, Error, cpu};
use crate::cloudquery::ipc::BatchEncoder;
use crate::cloudquery::schema;
use crate::cloudquery::source::{ErrorKind, SourceError};
use crate::error_chain::error_chain;
use crate::formats::File;
use crate::memory::Seat;
use crate::s3::{self, ByteRange, ETag, RetryBudget};
use crate::schema::file::FileSchema;
use crate::schema::names::FILE_COLUMNS;
use crate::schema::{merge::SchemaMerger, table::TableSchema};
use crate::tables::group::{Archived, ListedObject, Table};
use crate::tables::shard::Shard;
use crate::telemetry::otlp::TableTelemetry;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Objects of a table whose footers GetTables reads: the first and the newest. Enough to show its columns; a sync reads
/// all of them.
pub const SAMPLED_OBJECTS: usize = 10;

/// Follows a conflict with the schema that earlier syncs left: its first file may be gone, and the files may agree by now.
const SCHEMA_IS_KEPT: &str = ". The first one set the columns of the table in an earlier sync, and they are kept even if it \
    is gone: when all files have the new columns, a new `state_id` reads everything anew";

/// A table with its schema, and its objects ready to be sent.
#[derive(Debug)]
pub struct SurveyedTable {
    /// What its objects share.
    pub run: Arc<TableRun>,
    /// Objects that the footer pass kept in memory, by their index.
    pub kept: BTreeMap<usize, Kept>,
    /// The table's state, and the object that its schema is from; only in incremental syncs.
    pub state: Option<(TableState, String)>,
}

/// A table while its footers are read.
struct Survey {
    name: String,
    objects: Objects,
    /// Held for adding one file's schema.
    schema: Mutex<SchemaMerger>,
    /// Held for an insert.
    kept: Mutex<BTreeMap<usize, Kept>>,
    state: Option<TableState>,
    /// Rows of the objects that are ready to be sent, by their footers.
    rows: AtomicU64,
    telemetry: TableTelemetry,
}

/// Reads the footers of all objects of all tables; only those of `shard` are sent later, but all shards announce the same
/// tables. Tables without a readable object are left out, as are those whose files do not agree; both were reported.
///
/// # Errors
/// When nothing will work, or the peer has gone.
pub async fn survey(
    cx: &Context,
    tables: Vec<(Table, Option<TableState>)>,
    shard: Shard,
    report: &Arc<Report>,
) -> Result<Vec<SurveyedTable>, SourceError> {
    let mut surveys = Vec::with_capacity(tables.len());
    for (table, state) in tables {
        let archived = state.as_ref().map(|state| unsent_archived(&table, state, shard));
        let archived = archived.as_ref().unwrap_or(&table.archived);
        if let Some(first) = &archived.first_key {
            report.archived(&table.name, first, archived.count).await?;
        }
        let telemetry = report.telemetry().table(&table.name);
        surveys.push(Arc::new(Survey::new(table, state, telemetry)));
    }
    report.progress().footers_begin(surveys.iter().map(|survey| survey.objects.len() as u64).sum());
    let objects = surveys.iter().flat_map(|survey| (0..survey.objects.len()).map(move |index| (survey, index)));
    let looks = objects.map(|(survey, index)| {
        let (cx, survey, report) = (cx.clone(), Arc::clone(survey), Arc::clone(report));
        async move { survey.object(&cx, index, shard, &report).await }
    });
    super::run_each(cx.concurrency, looks).await?;
    let mut surveyed = Vec::with_capacity(surveys.len());
    for survey in surveys {
        // All tasks have ended, so nobody else holds it.
        let Some(survey) = Arc::into_inner(survey) else { continue };
        let Survey { name, objects, schema: merger, kept, mut state, rows, telemetry } = survey;
        let merger = merger.into_inner().unwrap_or_else(PoisonError::into_inner);
        let reference = merger.reference_key().unwrap_or_default().to_owned();
        match merger.finish() {
            Err(conflict) => {
                let kept = state.as_ref().is_some_and(|state| state.schema.stored().is_some());
                let hint = if kept { SCHEMA_IS_KEPT } else { "" };
                let out = LeftOut { planned: objects.planned(), rows: rows.into_inner() };
                report.table(&name, &format!("{conflict}{hint}"), out).await?;
            }
            // Each of its objects was reported.
            Ok(None) => {}
            Ok(Some(columns)) => {
                let mut kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
                if let Some(state) = state.as_mut().filter(|state| state.schema.is_outdated()) {
                    if state.schema.differs(&columns) {
                        state.start_anew(&name);
                        objects.forget_all_rows_sent();
                    } else {
                        objects.withdraw(|key, object| state.is_done(key, object));
                        kept.retain(|index, _| objects.is_ready(*index));
                    }
                }
                let mut announced = announced(&name, &columns, cx.rows.file_columns);
                if state.is_some() {
                    // Else the default write mode deletes every row that is not sent again.
                    announced = schema::incremental(&announced);
                }
                let run = Arc::new(run(name, columns, announced, objects, telemetry)?);
                surveyed.push(SurveyedTable { run, kept, state: state.map(|state| (state, reference)) });
            }
        }
    }
    Ok(surveyed)
}

/// A table of the state that has no object any more, with the columns that it had: it is announced, and nothing is sent.
/// `None`: they are not known by the rules of today.
///
/// # Errors
/// Our bugs.
pub fn emptied(
    cx: &Context,
    name: String,
    state: Option<TableState>,
    report: &Report,
) -> Result<Option<SurveyedTable>, SourceError> {
    let Some(state) = state else { return Ok(None) };
    let Some(stored) = state.schema.stored().cloned() else { return Ok(None) };
    tracing::info!(table = name, "the table has no object any more: it is announced without rows");
    let announced = schema::incremental(&announced(&name, &stored.schema, cx.rows.file_columns));
    let telemetry = report.telemetry().table(&name);
    let run = Arc::new(run(name, stored.schema, announced, Objects::none(), telemetry)?);
    Ok(Some(SurveyedTable { run, kept: BTreeMap::new(), state: Some((state, stored.key)) }))
}

/// The archived objects of a table that `shard` would send: those that an earlier sync sent are nobody's trouble.
fn unsent_archived(table: &Table, state: &TableState, shard: Shard) -> Archived {
    let mut archived = Archived::default();
    for object in table.unread.iter().filter(|object| object.archived) {
        let key = table.object_key(object);
        if shard.has(&key) && !state.is_done(&key, object) {
            archived.count += 1;
            archived.first_key.get_or_insert(key);
        }
    }
    archived
}

fn run(
    name: String,
    columns: TableSchema,
    announced: SchemaRef,
    objects: Objects,
    telemetry: TableTelemetry,
) -> Result<TableRun, SourceError> {
    let encoder = BatchEncoder::new(announced)
        .map_err(|error| SourceError::new(ErrorKind::Internal, format!("table {name}: {error}")))?;
    Ok(TableRun {
        name,
        schema: Arc::new(columns),
        encoder: Arc::new(encoder),
        casts: Arc::default(),
        planned: objects.planned(),
        objects,
        stats: Stats::default(),
        telemetry,
    })
}

/// The schema as the peer sees it: built from scratch, with CloudQuery's metadata and nothing else. With `file_columns`
/// the columns that say where a row is from stand behind the ids.
#[must_use]
pub fn announced(name: &str, table: &TableSchema, file_columns: bool) -> SchemaRef {
    let ids = [schema::cq_id_field(), schema::cq_parent_id_field()];
    let added = if file_columns { &FILE_COLUMNS[..] } else { &[] };
    let added = added.iter().map(|(name, added)| schema::field(*name, added, true));
    let columns = table.columns().iter().map(|column| schema::field(&column.name, &column.column_type, true));
    schema::table_schema(name, ids.into_iter().chain(added).chain(columns))
}

/// What a sample of a table's footers gave.
#[derive(Debug)]
pub struct Sample {
    /// Its columns; `None` when no object of the sample could be read, or its files do not agree.
    pub schema: Option<SchemaRef>,
    /// The sample had all of its objects.
    pub whole: bool,
    /// Why the first of the objects that could not be read could not be read.
    pub error: Option<String>,
}

/// The columns of `table` by a sample of its footers, `concurrency` at a time.
///
/// # Errors
/// When nothing will work.
pub async fn sample(cx: &Context, table: &Table) -> Result<Sample, SourceError> {
    let sampled = sampled(&table.objects);
    let whole = sampled.len() == table.objects.len();
    let guess = HeadGuess::default();
    let sampled: Vec<(String, ListedObject)> =
        sampled.into_iter().map(|object| (table.object_key(object), object.clone())).collect();
    let mut reads = futures::stream::iter(sampled)
        .map(|(key, object)| {
            let guess = &guess;
            async move {
                let schema = async {
                    // What is found goes with this block, and with it its room, which the others wait for.
                    let mut seat = cx.memory.seat();
                    let found = inspect_listed(cx, &mut seat, &key, &object, guess).await?;
                    file_schema(cx, &found.file).await
                };
                let schema: Result<FileSchema, Error> = schema.await;
                (key, schema)
            }
        })
        .buffer_unordered(cx.concurrency.clamp(1, SAMPLED_OBJECTS));
    let mut merger = SchemaMerger::new();
    let mut first_error = None;
    while let Some((key, read)) = reads.next().await {
        match read {
            Ok(schema) => merger.add(&key, schema),
            Err(Error::S3(error)) if error.is_fatal() => return Err(super::fatal(&error)),
            Err(error) => {
                let text = super::report::object_text(cx.store.bucket(), &key, &error);
                tracing::warn!(
                    table = table.name,
                    bucket = cx.store.bucket(),
                    key,
                    error = text,
                    "footer could not be read"
                );
                first_error.get_or_insert(text);
            }
        }
    }
    let schema = match merger.finish() {
        Ok(schema) => schema.map(|schema| announced(&table.name, &schema, cx.rows.file_columns)),
        Err(conflict) => {
            let error = conflict.to_string();
            tracing::warn!(table = table.name, error, "table is left out: a sync would refuse it");
            None
        }
    };
    Ok(Sample { schema, whole, error: first_error })
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

/// What the listed object says of itself, or the one that has replaced it since: nothing was read of the old version yet.
async fn inspect_listed(
    cx: &Context,
    seat: &mut Seat,
    key: &str,
    object: &ListedObject,
    guess: &HeadGuess,
) -> Result<Found, Error> {
    let budget = RetryBudget::default();
    let inspector = Inspector { store: &cx.store, guess, budget: &budget, format: object.format, key };
    match inspector.fetch(object.size_bytes, object.etag.as_ref(), Room::Asked(seat)).await {
        Err(Error::S3(error)) if error.kind == s3::ErrorKind::Changed => {
            inspector.fetch_current(object.size_bytes, seat).await
        }
        other => other,
    }
}

impl Survey {
    fn new(table: Table, state: Option<TableState>, telemetry: TableTelemetry) -> Self {
        let stored = state.as_ref().and_then(|state| state.schema.stored());
        let schema =
            stored.map_or_else(SchemaMerger::new, |stored| SchemaMerger::with_reference(&stored.key, &stored.schema));
        Self {
            name: table.name.clone(),
            objects: Objects::new(table),
            schema: Mutex::new(schema),
            kept: Mutex::default(),
            state,
            rows: AtomicU64::new(0),
            telemetry,
        }
    }

    /// Looks at one object. Only what ends the whole sync is an error.
    async fn object(&self, cx: &Context, index: usize, shard: Shard, report: &Report) -> Result<(), SourceError> {
        let Some((key, object)) = self.objects.get(index) else { return Ok(()) };
        let (mut ours, mut looked_at) = (shard.has(&key), true);
        if let Some(state) = &self.state {
            // Without a schema from earlier syncs all footers are needed, those of done objects and of other shards too.
            looked_at = state.schema.stored().is_none();
            // With an outdated one, whether done objects are sent again is known when all footers are.
            ours = ours && (state.schema.is_outdated() || !state.is_done(&key, &object));
        }
        if !ours && !looked_at {
            report.progress().footer_done();
            return Ok(());
        }
        self.telemetry.begun();
        let looked = self.look(cx, index, &object, &key, ours).await;
        report.progress().footer_done();
        match looked {
            Ok(schema) => {
                self.resume(index, &key, &object);
                self.schema.lock().unwrap_or_else(PoisonError::into_inner).add(&key, schema);
                Ok(())
            }
            Err(Error::S3(error)) if error.kind == s3::ErrorKind::Gone => report.gone(&self.name, &key, 0).await,
            // The shard that sends it reports it.
            Err(Error::S3(error)) if error.is_fatal() => Err(super::fatal(&error)),
            Err(error) if !ours => {
                tracing::debug!(table = self.name, key, error = error_chain(&error), "unreadable, of another shard");
                Ok(())
            }
            Err(error) => report.object(&self.name, &key, error).await,
        }
    }

    /// Rows of the object that an earlier sync sent before it failed are not sent again, if it still is the version that was
    /// listed.
    fn resume(&self, index: usize, key: &str, listed: &ListedObject) {
        let Some(state) = &self.state else { return };
        let rows = state.rows_sent(key, listed);
        if rows > 0 && self.objects.get(index).is_some_and(|(_, object)| object.etag == listed.etag) {
            tracing::info!(
                table = self.name,
                key,
                rows,
                "an earlier sync sent the first rows of the object before it failed: they are not sent again"
            );
            self.objects.sent_partly(index, listed.etag.clone(), rows);
        }
    }

    async fn look(
        &self,
        cx: &Context,
        index: usize,
        object: &ListedObject,
        key: &str,
        ours: bool,
    ) -> Result<FileSchema, Error> {
        let mut seat = cx.memory.seat();
        if ours
            && object.size_bytes <= SMALL_OBJECT_BYTES
            && let Some(share) = cx.memory.try_reserve(object.size_bytes).await
            && let Some((bytes, etag)) = whole(cx, key, object).await?
        {
            let (file, _room) = inspect::of_bytes(object.format, &bytes, Room::Asked(&mut seat)).await?;
            let schema = file_schema(cx, &file).await?;
            let held_bytes = need_of_bytes(cx, key, &file, &bytes).await?.held_bytes();
            let object_bytes = bytes.len() as u64;
            self.objects.ready(index, etag, object_bytes, held_bytes);
            self.rows.fetch_add(file.rows().unwrap_or(0), Ordering::Relaxed);
            // One that needs more than there is beside the reserve takes the way of the larger ones.
            let needed = recorded(held_bytes, object_bytes, cx.memory.limit_bytes()).total_bytes() - object_bytes;
            if needed <= cx.memory.beside_reserve_bytes() {
                self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(index, Kept { bytes, share });
            }
            return Ok(schema);
        }
        let found = inspect_listed(cx, &mut seat, key, object, &self.objects.heads).await?;
        let schema = file_schema(cx, &found.file).await?;
        if ours {
            let need = facts(cx, key, &found.file, found.object_bytes).of_object(&found.file)?;
            self.objects.ready(index, found.etag.clone(), found.object_bytes, need.held_bytes());
            self.rows.fetch_add(found.file.rows().unwrap_or(0), Ordering::Relaxed);
        }
        Ok(schema)
    }
}

async fn file_schema(cx: &Context, file: &File) -> Result<FileSchema, Error> {
    let (file, nested_as) = (file.clone(), cx.rows.nested_as);
    Ok(cpu::run(move || file.schema(nested_as)).await??)
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
    use crate::config::KeyFilter;
    use crate::tables::group::Grouper;

    /// The run of a table with `objects` objects of `object_bytes` bytes each and without columns, for tests that only
    /// need one.
    pub fn run(name: &str, objects: usize, object_bytes: u64) -> Arc<TableRun> {
        let filter = KeyFilter::default();
        let mut grouper = Grouper::new(&filter);
        for n in 0..objects {
            let key = format!("{name}/{n}.parquet");
            let (size_bytes, etag, last_modified_s, archived) = (object_bytes, None, 0, false);
            grouper.add(crate::s3::ObjectMeta { key, size_bytes, etag, last_modified_s, archived });
        }
        let objects_of_table = Objects::new(grouper.finish().tables.remove(0));
        (0..objects).for_each(|index| objects_of_table.ready(index, None, object_bytes, 1));
        let mut merger = SchemaMerger::new();
        merger.add("k", FileSchema { columns: Vec::new() });
        let columns = merger.finish().unwrap().unwrap();
        let announced = announced(name, &columns, false);
        let telemetry = TableTelemetry::default();
        Arc::new(super::run(name.to_owned(), columns, announced, objects_of_table, telemetry).unwrap())
    }

    #[test]
    fn the_sample_has_the_first_and_the_newest() {
        let filter = crate::config::KeyFilter::default();
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
