//! The survey: what columns does each table have, and what does each object need?
//!
//! A table's schema comes from what all its objects say of themselves, over all tables: small reads, many at a time
//! ([`heads_at_a_time`](super::context::heads_at_a_time)). Text says nothing of itself: of its objects a few are looked at
//! ([`super::sample`]). Of each object its version and the memory that it will need are kept,
//! and of each table at most two file schemas; and while the reserve has room, what saves the insert phase a GET: a small
//! object is fetched whole and kept, which is its only GET, and of a large one the parsed head is kept.

use super::announce::announced;
use super::bad_rows;
use super::context::Context;
use super::cpu;
use super::error::Error;
use super::incremental::{TableState, start_anew};
use super::inspect::{self, Found, Kind, Room, file_schema, inspect_listed};
use super::need::{SMALL_OBJECT_BYTES, recorded};
use super::report::{LeftOut, Report};
use super::restore::{self, Told};
use super::sending::{Kept, facts, need_of_bytes};
use super::table::{Objects, TableRun};
use crate::cloudquery::schema;
use crate::cloudquery::source::SourceError;
use crate::config::FileColumn as AddedColumn;
use crate::config::OnTypeChange;
use crate::error_chain::error_chain;
use crate::formats::File;
use crate::formats::error::ReadError;
use crate::formats::format::Format;
use crate::memory::need::Need;
use crate::memory::spare::Spare;
use crate::s3::{self, ByteRange, Fetched, RetryBudget};
use crate::schema::file::{FileColumn, FileSchema};
use crate::schema::merge::{Conflict, Merged, Note, SchemaMerger};
use crate::schema::rules::ColumnRules;
use crate::schema::table::ColumnSource;
use crate::schema::types::ColumnType;
use crate::state::schema::{PendingColumn, StoredSchema};
use crate::tables::group::{Archived, ListedObject, Table};
use crate::tables::shard::Shard;
use crate::telemetry::otlp::TableTelemetry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Follows a conflict with the schema that earlier syncs left: its first file may be gone, and the files may agree by now.
const SCHEMA_IS_KEPT: &str = ". The first one set the columns of the table in an earlier sync, and they are kept even if it \
    is gone: when all files have the new columns, a new `state_id` reads everything again";

/// A table with its schema, and its objects ready to be sent.
#[derive(Debug)]
pub struct SurveyedTable {
    /// What its objects share.
    pub run: Arc<TableRun>,
    /// Objects that the survey kept in memory, by their index.
    pub kept: BTreeMap<usize, Kept>,
    /// Heads of large objects that it kept, by the objects' index.
    pub heads: Heads,
    /// The table's state, and the object that its schema is from; only in incremental syncs.
    pub state: Option<(TableState, String)>,
}

impl SurveyedTable {
    /// A table that no object of the bucket belongs to.
    pub(super) fn without_objects(run: Arc<TableRun>) -> Self {
        Self { run, kept: BTreeMap::new(), heads: Heads::new(), state: None }
    }
}

/// Parsed heads of objects, by the objects' index.
type Heads = BTreeMap<usize, Spare<File>>;

/// A table while its objects are inspected.
struct Survey {
    name: String,
    objects: Objects,
    /// Which columns of its files count, and what they become.
    rules: Arc<ColumnRules>,
    /// The objects that are looked at, of formats of which only some are.
    sample: BTreeSet<usize>,
    /// Held for adding one file's schema.
    schema: Mutex<SchemaMerger>,
    /// Held for an insert.
    kept: Mutex<BTreeMap<usize, Kept>>,
    /// Held for an insert.
    heads: Mutex<Heads>,
    state: Option<TableState>,
    /// Rows of the objects that are ready to be sent, as far as their files say.
    rows: AtomicU64,
    telemetry: TableTelemetry,
}

/// Inspects all objects of all tables; only those of `shard` are sent later, but all shards announce the same
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
            report.objects_archived(&table.name, first, archived.count).await?;
        }
        let telemetry = report.telemetry().table(&table.name);
        let name = table.name.clone();
        surveys.push(Arc::new(Survey::new(cx, name, Objects::new(table), state, telemetry)));
    }
    report.progress().survey_begins(surveys.iter().map(|survey| survey.objects.len() as u64).sum());
    let mut surveyed = Vec::with_capacity(surveys.len());
    while !surveys.is_empty() {
        let objects = surveys.iter().flat_map(|survey| (0..survey.objects.len()).map(move |index| (survey, index)));
        let looks = objects.map(|(survey, index)| {
            let (cx, survey, report) = (cx.clone(), Arc::clone(survey), Arc::clone(report));
            async move { survey.inspect_object(&cx, index, shard, &report).await }
        });
        super::tasks::run_each(cx.heads_at_a_time, looks).await?;
        let mut again = Vec::new();
        for survey in surveys {
            // All tasks have ended, so nothing else holds it.
            let Some(survey) = Arc::into_inner(survey) else { continue };
            match survey.conclude(cx, report).await? {
                Concluded::Surveyed(table) => surveyed.push(*table),
                Concluded::LeftOut => {}
                Concluded::Widened(survey) => again.push(Arc::new(*survey)),
            }
        }
        // Those that start anew: it happens once, since then all their objects were looked at.
        report.progress().survey_goes_on(again.iter().map(|survey: &Arc<Survey>| survey.objects.len() as u64).sum());
        surveys = again;
    }
    bad_rows::add_tables(&mut surveyed, report)?;
    Ok(surveyed)
}

/// What became of a table whose objects were looked at.
enum Concluded {
    /// It is ready to be announced.
    Surveyed(Box<SurveyedTable>),
    /// It has no columns, which was reported.
    LeftOut,
    /// Columns have wider types than before: all its objects are to be sent, and must be looked at first.
    Widened(Box<Survey>),
}

/// A table of the state that has no object any more, with the columns that it had: it is announced, and nothing is sent.
/// `None`: they are not known by the rules of today.
///
/// # Errors
/// Our bugs.
pub fn emptied(name: String, state: Option<TableState>, report: &Report) -> Result<Option<SurveyedTable>, SourceError> {
    let Some(state) = state else { return Ok(None) };
    let Some(stored) = state.schema.stored().cloned() else { return Ok(None) };
    tracing::info!(table = name, "the table has no object any more: it is announced without rows");
    let announced = schema::incremental(&announced(
        &name,
        &stored.schema,
        state.schema.file_columns().iter().map(String::as_str).collect(),
    ));
    let telemetry = report.telemetry().table(&name);
    let rules = ColumnRules::default();
    let run = Arc::new(TableRun::new(name, stored.schema, rules, announced, Objects::none(), telemetry)?);
    Ok(Some(SurveyedTable { run, kept: BTreeMap::new(), heads: Heads::new(), state: Some((state, stored.key)) }))
}

/// The archived objects of a table that `shard` would send: those that an earlier sync sent do not matter.
fn unsent_archived(table: &Table, state: &TableState, shard: Shard) -> Archived {
    let mut archived = Archived::default();
    for object in table.unread.iter().filter(|object| object.is_archived()) {
        let key = table.object_key(object);
        if shard.has(&key) && !state.is_done(&key, object) {
            archived.count += 1;
            archived.first_key.get_or_insert(key);
        }
    }
    archived
}

impl Survey {
    fn new(
        cx: &Context,
        name: String,
        mut objects: Objects,
        state: Option<TableState>,
        telemetry: TableTelemetry,
    ) -> Self {
        let stored = state.as_ref().and_then(|state| state.schema.stored());
        objects.options = restore::named(cx, &name, &objects.options);
        objects.see_keys(&name, &cx.mappings, stored.map(|stored| &stored.schema));
        let pending = stored.and_then(with_pending);
        let stored = stored.map(|stored| (stored.key.as_str(), &stored.schema));
        let added_columns = objects.options.file_columns.len() + objects.keys.len();
        let of_files = stored.map(|(key, schema)| (key, objects.keys.without_shared(schema)));
        let of_files = of_files.as_ref().map(|(key, schema)| (*key, schema));
        let mut schema = SchemaMerger::with(&objects.options.schema, added_columns, of_files);
        let rules = restore::rules(cx, &name, &objects.options, stored.map(|(_, schema)| schema));
        let rules = objects.keys.hide(rules);
        if let Some((key, columns)) = pending
            && let Ok(columns) = rules.apply(columns)
        {
            schema.add(&key, columns);
        }
        let sample = objects.sample();
        Self {
            name,
            objects,
            sample,
            rules: Arc::new(rules),
            schema: Mutex::new(schema),
            kept: Mutex::default(),
            heads: Mutex::default(),
            state,
            rows: AtomicU64::new(0),
            telemetry,
        }
    }

    /// The table, when all of its objects were looked at.
    async fn conclude(self, cx: &Context, report: &Report) -> Result<Concluded, SourceError> {
        let Self { name, mut objects, rules, schema: merger, kept, heads, mut state, rows, telemetry, .. } = self;
        let merger = merger.into_inner().unwrap_or_else(PoisonError::into_inner);
        let reference = merger.reference_key().unwrap_or_default().to_owned();
        let Merged { schema: columns, notes, widened } = match merger.finish() {
            Ok(Some(merged)) => merged,
            // Each of its objects was reported.
            Ok(None) => return Ok(Concluded::LeftOut),
            Err(conflict) => {
                let kept = state.as_ref().is_some_and(|state| state.schema.stored().is_some());
                let hint = if kept && matches!(conflict, Conflict::Disagree(_)) { SCHEMA_IS_KEPT } else { "" };
                let out = LeftOut { planned: objects.planned(), rows: rows.into_inner(), cure: conflict.cure() };
                report.table_failed(&name, &format!("{conflict}{hint}"), out).await?;
                return Ok(Concluded::LeftOut);
            }
        };
        if let Some(mut state) = state.take_if(|state| (widened || objects.keys.widened()) && !state.is_anew()) {
            if widened {
                // The note of the second look says so, with what the columns are then.
                let _done = state.start_anew();
            } else {
                start_anew(&name, &mut state);
            }
            objects.forget_all_rows_sent();
            return Ok(Concluded::Widened(Box::new(Self::new(cx, name, objects, Some(state), telemetry))));
        }
        say(&name, &notes);
        let stored = state.as_ref().and_then(|state| state.schema.stored()).map(|stored| &stored.schema);
        let mut told = Told { columns, rules: Arc::unwrap_or_clone(rules) };
        if stored.is_none() {
            let sample = restore::sampled(objects.len()).into_iter().filter_map(|index| objects.get(index)).collect();
            told = restore::told(cx, &objects.options, told.columns, told.rules, sample).await?;
        }
        let Told { columns, rules } = told;
        let columns = match objects.keys.join(columns, stored, objects.options.file_columns) {
            Ok(columns) => {
                let options = &objects.options;
                let added = options.file_columns.len();
                let (columns, note) = SchemaMerger::keep_to_limit(&options.schema, columns, added, stored);
                say(&name, note.as_slice());
                rules.complete(columns)
            }
            Err(conflict) => {
                let out = LeftOut { planned: objects.planned(), rows: rows.into_inner(), cure: None };
                report.table_failed(&name, &conflict, out).await?;
                return Ok(Concluded::LeftOut);
            }
        };
        let mut kept = kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut heads = heads.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = state.as_mut().filter(|state| state.schema.is_outdated()) {
            if state.schema.differs(&columns) {
                start_anew(&name, state);
                objects.forget_all_rows_sent();
            } else {
                objects.withdraw(|key, object| state.is_done(key, object));
                kept.retain(|index, _| objects.is_ready(*index));
                heads.retain(|index, _| objects.is_ready(*index));
            }
        }
        let mut announced = announced(&name, &columns, objects.options.file_columns);
        if state.is_some() {
            // Else the default write mode deletes every row that is not sent again.
            announced = schema::incremental(&announced);
        }
        let run = Arc::new(TableRun::new(name, columns, rules, announced, objects, telemetry)?);
        let state = state.map(|state| (state, reference));
        Ok(Concluded::Surveyed(Box::new(SurveyedTable { run, kept, heads, state })))
    }

    /// Looks at one object. Only what ends the whole sync is an error.
    async fn inspect_object(
        &self,
        cx: &Context,
        index: usize,
        shard: Shard,
        report: &Report,
    ) -> Result<(), SourceError> {
        let Some((key, object)) = self.objects.get(index) else { return Ok(()) };
        let (mut ours, mut looked_at) = (shard.has(&key), true);
        if let Some(state) = &self.state {
            // Without a schema from earlier syncs all objects are inspected, those that are done and of other shards too.
            looked_at = state.schema.stored().is_none() || self.widens_with(shard);
            // With an outdated one, whether done objects are sent again is known when all objects are inspected.
            ours = ours && (state.schema.is_outdated() || !state.is_done(&key, &object));
        }
        if object.format.is_sampled() && !(looked_at && self.sample.contains(&index)) {
            // What its columns are, others say, or an earlier sync: it is read when it is sent.
            looked_at = false;
            if ours && let Some(file) = object.format.unread(&self.objects.options, object.size_bytes) {
                let need = facts(cx, &self.objects.options, &key, &file, object.size_bytes).of_object(&file);
                match need {
                    Ok(need) => self.ready_unread(index, &key, &object, need),
                    Err(error) => report.object_failed(&self.name, &key, error.into()).await?,
                }
            }
            ours = false;
        }
        if !ours && !looked_at {
            report.progress().object_inspected();
            return Ok(());
        }
        self.telemetry.begun();
        let mut looked = self.fetch_and_inspect(cx, index, &object, &key, ours).await;
        if let Err(Error::Decode(error)) = &looked
            && let Some(format) = self.other_format(&key, error)
        {
            self.objects.set_format(index, format);
            let mut object = object.clone();
            object.format = format;
            looked = self.fetch_and_inspect(cx, index, &object, &key, ours).await;
        }
        report.progress().object_inspected();
        match looked {
            Ok(schema) => {
                self.resume(index, &key, &object);
                self.schema.lock().unwrap_or_else(PoisonError::into_inner).add(&key, schema);
                Ok(())
            }
            Err(Error::S3(error)) if error.kind == s3::ErrorKind::Gone => {
                report.object_vanished(&self.name, &key, 0).await
            }
            // The shard that sends it reports it.
            Err(Error::S3(error)) if error.is_fatal() => Err(super::error::fatal(&error)),
            Err(error) if !ours => {
                tracing::debug!(table = self.name, key, error = error_chain(&error), "unreadable, of another shard");
                Ok(())
            }
            Err(error) => report.object_failed(&self.name, &key, error).await,
        }
    }

    /// What an object is read as whose content is another format than its name says, if the spec lets that count.
    fn other_format(&self, key: &str, error: &ReadError) -> Option<Format> {
        let ReadError::OtherFormat { format, found: Some(found), .. } = error else { return None };
        if !self.objects.by_content {
            return None;
        }
        self.objects.say_other_format(&self.name, key, *format, *found);
        Some(*found)
    }

    /// The object is ready to be sent, without a look at it.
    fn ready_unread(&self, index: usize, key: &str, object: &ListedObject, need: Need) {
        self.telemetry.begun();
        self.objects.mark_ready(index, object.etag.clone(), object.size_bytes, need.held_bytes());
        self.resume(index, key, object);
    }

    /// Whether other shards' objects count though there is a schema: all shards widen the same columns.
    fn widens_with(&self, shard: Shard) -> bool {
        let schema = &self.objects.options.schema;
        schema.merges() && schema.on_type_change == OnTypeChange::Widen && shard != Shard::WHOLE
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

    async fn fetch_and_inspect(
        &self,
        cx: &Context,
        index: usize,
        object: &ListedObject,
        key: &str,
        ours: bool,
    ) -> Result<FileSchema, Error> {
        let mut seat = cx.memory.seat();
        let rules = self.objects.keys.rules_of(key, &self.rules);
        if ours
            && object.size_bytes <= SMALL_OBJECT_BYTES
            && let Some(share) = cx.memory.try_reserve(object.size_bytes).await
            && let Some(Fetched { bytes, etag, version, .. }) = whole(cx, key, object).await?
        {
            let options = &self.objects.options;
            let (nested_as, need_of) = (options.nested_as, need_of_bytes(cx, options, key, &bytes));
            let look = move |file: &File| Ok((file.schema(nested_as)?, need_of(file)?));
            let kind = Kind { format: object.format, options, rules: &rules };
            let (file, _room, (schema, need)) = inspect::of_bytes(kind, &bytes, Room::Asked(&mut seat), look).await?;
            let (held_bytes, object_bytes) = (need.held_bytes(), bytes.len() as u64);
            let schema = self.columns_of(key, schema)?;
            self.objects.mark_ready(index, etag, object_bytes, held_bytes);
            self.rows.fetch_add(file.rows().unwrap_or(0), Ordering::Relaxed);
            // One that needs more than there is beside the reserve takes the way of the larger ones.
            let needed = recorded(held_bytes, object_bytes, cx.memory.limit_bytes()).total_bytes() - object_bytes;
            if needed <= cx.memory.unreserved_bytes() {
                self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(index, Kept { bytes, version, share });
            }
            return Ok(schema);
        }
        let options = &self.objects.options;
        let found = inspect_listed(cx, &mut seat, key, object, &self.objects.heads, (options, &rules)).await?;
        if !ours {
            return self.columns_of(key, file_schema(options, &found.file).await?);
        }
        let (facts, file, nested_as) =
            (facts(cx, options, key, &found.file, found.object_bytes), found.file.clone(), options.nested_as);
        let look = move || Ok::<_, ReadError>((file.schema(nested_as)?, facts.of_object(&file)?));
        let (schema, need) = cpu::run(look).await??;
        let schema = self.columns_of(key, schema)?;
        self.objects.mark_ready(index, found.etag.clone(), found.object_bytes, need.held_bytes());
        self.rows.fetch_add(found.file.rows().unwrap_or(0), Ordering::Relaxed);
        self.keep_head(cx, index, found);
        Ok(schema)
    }

    /// What the table makes of a file's columns.
    fn columns_of(&self, key: &str, schema: FileSchema) -> Result<FileSchema, Error> {
        self.objects.keys.see_file(&self.name, key, &schema);
        Ok(self.rules.apply(schema).map_err(ReadError::from)?)
    }

    /// Keeps the head of a large object, while the reserve has room: its rows can then be read without another look. Where
    /// objects have no ETag, nothing would tell that another version has taken its place by then; where rows tell the version's id,
    /// only the answer to a request has it.
    fn keep_head(&self, cx: &Context, index: usize, found: Found) {
        let tells_version = self.objects.options.file_columns.has(AddedColumn::Version);
        let is_sampled = found.file.is_sampled();
        if found.object_bytes <= SMALL_OBJECT_BYTES || found.etag.is_none() || tells_version || is_sampled {
            return;
        }
        let head_bytes = found.file.held_bytes();
        if let Some(head) = cx.memory.try_spare(found.file, head_bytes) {
            self.heads.lock().unwrap_or_else(PoisonError::into_inner).insert(index, head);
        }
    }
}

/// What an earlier sync found of columns when it read objects, as the columns of a file: those of the table, and new ones.
fn with_pending(stored: &StoredSchema) -> Option<(String, FileSchema)> {
    let first = stored.pending.first()?;
    let column = |name: &str, column_type: &ColumnType| FileColumn {
        name: name.to_owned(),
        target: column_type.clone(),
        source: column_type.to_string(),
        inferred: None,
    };
    let mut columns: Vec<FileColumn> = Vec::new();
    for known in stored.schema.columns() {
        if let ColumnSource::File { name, .. } = &known.source {
            columns.push(column(name, &known.column_type));
        }
    }
    for PendingColumn { name, column_type, .. } in &stored.pending {
        match columns.iter_mut().find(|known| known.name == *name) {
            Some(known) => *known = column(name, column_type),
            None => columns.push(column(name, column_type)),
        }
    }
    Some((first.key.clone(), FileSchema { columns }))
}

/// Says what a user should hear of a table's schema.
pub(super) fn say(table: &str, notes: &[Note]) {
    for note in notes {
        match note {
            Note::Info(text) => tracing::info!(table, "columns of the table: {text}"),
            Note::Warning(text) => tracing::warn!(table, "columns of the table: {text}"),
        }
    }
}

/// The whole object as listed, in one GET. `None` when it was replaced since.
async fn whole(cx: &Context, key: &str, object: &ListedObject) -> Result<Option<Fetched>, Error> {
    let range = ByteRange::Whole { most: object.size_bytes };
    match cx.store.get(key, range, object.etag.as_ref(), &RetryBudget::default()).await {
        Ok(fetched) => Ok(Some(fetched)),
        Err(error) if error.kind == s3::ErrorKind::Changed => Ok(None),
        Err(error) => Err(error.into()),
    }
}
