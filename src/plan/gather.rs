//! Finds out what a sync would do: lists as a sync does, and reads the heads that GetTables reads.

use super::bar::Watch;
use super::config_file::BackendConfig;
use super::cost::{Gets, Requests};
use super::explain::{Asked, Explanation, Others, Seen, explain};
use super::report::{
    Amount, Columns, Partitions, Plan, PlannedRequests, PlannedTable, Policy, StateSeen, planned_columns,
};
use crate::cloudquery::source::{Selection, SourceError};
use crate::cloudquery::state_client::Patience;
use crate::config::{FileColumns, Spec};
use crate::s3::{self, ObjectMeta, Store};
use crate::state::schema::StoredSchema;
use crate::state::table::TableState;
use crate::sync::context::Context;
use crate::sync::incremental::{State, column_options};
use crate::sync::listing::{self, Selected};
use crate::sync::sample::{Sample, samples};
use crate::tables::group::{Grouper, ListedObject, Table};
use crate::tables::mapping::{Mappings, Match};
use crate::tables::prune::{Announced, Refused};
use crate::tables::select::Selector;
use futures::StreamExt as _;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How long a backend is waited for: a user is waiting, too.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(60),
    tries: Duration::from_secs(5),
    first_wait: Duration::from_millis(500),
};

/// Pages of keys that are listed to tell the types of the columns of one key, below each of two prefixes: enough for most
/// buckets, and not more than a person waits for.
const MAX_PAGES_OF_OTHERS: usize = 5;

/// What is looked at, and how closely.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The spec.
    pub(crate) spec: &'a Spec,
    /// Which object belongs to which table.
    pub(crate) mappings: &'a Arc<Mappings>,
    /// Which tables.
    pub(crate) selection: &'a Selection,
    /// Read heads of objects, for the columns.
    pub(crate) with_columns: bool,
}

/// The state of earlier syncs, if it can be read, and what is known of it. Nothing is made or changed in the backend.
///
/// # Errors
/// When there is a backend that does not answer, or whose table is no state.
pub(crate) async fn state(config: BackendConfig, spec: &Spec) -> Result<(StateSeen, Option<State>), SourceError> {
    let backend = match config {
        BackendConfig::None => return Ok((StateSeen::None, None)),
        BackendConfig::OfTheCli { table_name, connection } => {
            return Ok((StateSeen::OfTheCli(table_name, connection), None));
        }
        BackendConfig::Known(backend) => backend,
    };
    Ok(match State::look(&backend, spec, PATIENCE).await? {
        Ok(state) => (StateSeen::Read(backend), Some(state)),
        Err(answer) => (StateSeen::NoTable(backend, answer), None),
    })
}

/// The plan of a sync. Its warnings are those of the log, which the caller has.
///
/// # Errors
/// What would end the sync before its first message.
pub(crate) async fn plan(
    question: &Question<'_>,
    store: &Store,
    (seen, state): (StateSeen, Option<State>),
    watch: &Watch,
) -> Result<Plan, SourceError> {
    let Question { spec, mappings, selection, with_columns } = *question;
    let announced = |table: &Table| state.as_ref().map(|state| state.key_columns(mappings, table)).unwrap_or_default();
    let known = state.is_some().then_some(&announced as Announced<'_>);
    let listed = listing::list(spec, mappings, store, selection, known, &watch.listing).await?;
    let emptied = state.as_ref().map(|state| state.others(&listed.listing.names())).unwrap_or_default();
    let selected = listing::select(listed, mappings, emptied)?;
    if !seen.is_incremental() {
        selected.warn_of_delete_stale();
    }
    let Selected { store, tables, emptied, skipped, refused, hint, .. } = selected;
    let cx = Context::to_look(spec, mappings, store).await?;
    let (usage, used) = (cx.store.usage(), |counter: &AtomicU64| counter.load(Ordering::Relaxed));
    // A sync lists as this plan did.
    let gets = || Gets::new(cx.memory.reserve_bytes(), used(&usage.lists));
    let mut planning = Planning { mappings, stored: BTreeMap::new(), sync: gets(), full_sync: gets() };
    let mut planned = Vec::with_capacity(tables.len() + emptied.len());
    for table in &tables {
        let options = column_options(mappings, table);
        let table_state = state.as_ref().map(|state| state.table(&table.name, Some(&options))).transpose()?;
        planned.push(planning.table(table, &seen, table_state));
    }
    if with_columns {
        watch.tables.store(tables.len() as u64, Ordering::Relaxed);
        let stored = |table: &Table| planning.stored.get(&table.name).cloned();
        let mut samples = pin!(samples(&cx, &tables, stored));
        for (planned, table) in planned.iter_mut().zip(&tables) {
            let Some(sample) = samples.next().await else { break };
            take_sample(planned, sample?, table.options.file_columns);
            watch.tables_done.fetch_add(1, Ordering::Relaxed);
        }
    }
    for name in emptied {
        let table_state = state.as_ref().map(|state| state.table(&name, None)).transpose()?;
        planned.extend(emptied_table(name, table_state));
    }
    planned.extend(refused.into_iter().map(refused_table));
    planned.sort_by(|a, b| a.name.cmp(&b.name));
    let policy = Policy::of(spec, seen.is_incremental());
    let made = Requests { lists: used(&usage.lists), gets: used(&usage.gets), bytes: used(&usage.bytes) };
    let (sync, full_sync) = (planning.sync.requests(), planning.full_sync.requests());
    Ok(Plan {
        source: None,
        bucket: spec.bucket.clone(),
        prefix: spec.path_prefix.clone(),
        state: seen,
        tables: planned,
        skipped,
        listed_keys: used(&watch.listing.keys),
        requests: PlannedRequests { made, sync, full_sync },
        policy,
        hints: hint.into_iter().collect(),
        warnings: Vec::new(),
    })
}

/// Counts the GETs of an object that is sent.
fn send(gets: &mut Gets, object: &ListedObject) {
    if object.format.is_sampled() { gets.send_text(object.size_bytes) } else { gets.send(object.size_bytes) }
}

/// Why the object with this key is in its table, or is skipped. With `size_bytes` nothing is asked of S3 or a backend.
///
/// # Errors
/// When S3 or the backend does not answer.
pub(crate) async fn explanation(
    question: &Question<'_>,
    backend: BackendConfig,
    key: &str,
    size_bytes: Option<u64>,
) -> Result<Explanation, SourceError> {
    let Question { spec, mappings, selection, .. } = *question;
    let selector = Selector::new(&selection.tables, &selection.skip_tables);
    // As consoles show it.
    let key = key.strip_prefix(&format!("s3://{}/", spec.bucket)).unwrap_or(key);
    let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let here_s = i64::try_from(here).unwrap_or(i64::MAX);
    let (mut others, mut known) = (Others::default(), None);
    let (seen, now_s) = match size_bytes {
        Some(size_bytes) => (Seen::Assumed { size_bytes }, here_s),
        None => {
            let (store, object, date_s) = object(spec, key).await?;
            if let Match::Table(mapped) = mappings.of(key, object.as_ref().map_or(1, |object| object.size_bytes)) {
                (_, known) = state(backend, spec).await?;
                if mappings.has_conditions(&mapped.table) {
                    others = other_keys(&store, &spec.path_prefix, &mappings.common_folder(&mapped.table)).await?;
                }
            }
            (object.map_or(Seen::Missing, Seen::Listed), date_s.unwrap_or(here_s))
        }
    };
    let announced = |table: &Table| known.as_ref().map(|state| state.key_columns(mappings, table)).unwrap_or_default();
    let announced: Announced<'_> = &announced;
    let asked = Asked { key, seen, spec, mappings, selector: &selector, now_s, others, announced };
    let mut explanation = explain(asked);
    if let (Seen::Listed(object), Some(name), Some(state)) = (&explanation.seen, &explanation.table, &known) {
        let mut grouper = Grouper::new(&spec.keys).mapped_by(mappings);
        grouper.add(object.clone());
        let listing = grouper.finish();
        if let Some(table) = listing.tables.first() {
            let table_state = state.table(name, Some(&column_options(mappings, table)))?;
            explanation.is_done = table.objects.first().map(|object| table_state.is_done(key, object));
        }
    }
    Ok(explanation)
}

/// The object with this key, as a listing has it: with what S3 says only there, whether it is archived. And S3's clock, in
/// seconds since 1970.
async fn object(spec: &Spec, key: &str) -> Result<(Store, Option<ObjectMeta>, Option<i64>), SourceError> {
    let mut store = crate::plugin::connect(spec).await?;
    let mut pages = store.list(key);
    let page = match pages.next().await {
        // As in a sync: where the spec names no region, S3's advice is followed.
        Err(s3::Error { kind: s3::ErrorKind::WrongRegion(Some(region)), .. }) if spec.region.is_none() => {
            store = store.moved_to(&region);
            pages = store.list(key);
            pages.next().await
        }
        other => other,
    };
    let page = page.map_err(|error| crate::sync::error::fatal(&error))?.unwrap_or_default();
    Ok((store, page.into_iter().find(|object| object.key == key), pages.date_s()))
}

/// The keys of which the types of a table's columns are made: all below `path_prefix` if they are not too many, else some of the
/// folder in which those of the table lie.
async fn other_keys(store: &Store, path_prefix: &str, folder: &str) -> Result<Others, SourceError> {
    let mut others = Others::default();
    let narrower = (folder.len() > path_prefix.len() && folder.starts_with(path_prefix)).then_some(folder);
    for prefix in std::iter::once(path_prefix).chain(narrower) {
        (others.objects, others.are_all) = (Vec::new(), false);
        let mut pages = store.list(prefix);
        for _ in 0..MAX_PAGES_OF_OTHERS {
            let page = pages.next().await.map_err(|error| crate::sync::error::fatal(&error))?;
            others.objects.extend(page.unwrap_or_default());
            others.are_all = pages.is_last();
            if others.are_all {
                return Ok(others);
            }
        }
    }
    Ok(others)
}

/// What is known of all tables so far.
struct Planning<'a> {
    mappings: &'a Mappings,
    /// The columns that earlier syncs left, by the names of their tables.
    stored: BTreeMap<String, StoredSchema>,
    sync: Gets,
    full_sync: Gets,
}

impl Planning<'_> {
    /// What the listing and the state say of a table.
    fn table(&mut self, table: &Table, seen: &StateSeen, state: Option<TableState>) -> PlannedTable {
        let (mut readable, mut new) = (Amount::default(), Amount::default());
        let mut partitions = Counting::new(self.mappings, table);
        // Without columns from earlier syncs all objects are looked at, those that are done, too.
        let looks_at_all = state.as_ref().is_none_or(|state| state.schema.stored().is_none());
        for object in &table.objects {
            let key = table.object_key(object);
            readable.add(object.size_bytes);
            partitions.see(&key, object.size_bytes);
            send(&mut self.full_sync, object);
            if state.as_ref().is_none_or(|state| !state.is_done(&key, object)) {
                new.add(object.size_bytes);
                send(&mut self.sync, object);
            } else if looks_at_all && !object.format.is_sampled() {
                self.sync.look();
            }
        }
        if let Some(stored) = state.as_ref().and_then(|state| state.schema.stored()) {
            self.stored.insert(table.name.clone(), stored.clone());
        }
        PlannedTable {
            name: table.name.clone(),
            prefix: match table.key.mapping() {
                None => table.key.to_string(),
                Some(_) => self.mappings.common_folder(&table.key),
            },
            mappings: self.mappings.fields(&table.key).into_iter().map(str::to_owned).collect(),
            partitions: partitions.finish(),
            readable,
            new: seen.tells_what_is_new().then_some(new),
            archived: table.archived.clone(),
            ..PlannedTable::default()
        }
    }
}

/// A table that is left out for what its keys say.
fn refused_table(Refused { name, text, left_out }: Refused) -> PlannedTable {
    let prefix = left_out.first_key.as_deref().and_then(|key| key.rsplit_once('/'));
    let prefix = prefix.map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    let readable = Amount { objects: left_out.objects, bytes: left_out.bytes };
    PlannedTable { name, prefix, readable, error: Some(text), ..PlannedTable::default() }
}

/// A table of the state that has no object any more; `None`: it has no columns that are known, and is not announced.
fn emptied_table(name: String, state: Option<TableState>) -> Option<PlannedTable> {
    let state = state?;
    let added = state.schema.file_columns().iter().map(String::as_str).collect();
    let list = planned_columns(&state.schema.stored()?.schema, added);
    let columns = Some(Columns { list, sampled_objects: 0, whole: true });
    Some(PlannedTable { name, new: Some(Amount::default()), columns, ..PlannedTable::default() })
}

/// Counts the partitions of a table.
struct Counting<'a> {
    mappings: &'a Mappings,
    columns: Vec<(String, String)>,
    /// Hashes of what keys say in these columns.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl<'a> Counting<'a> {
    fn new(mappings: &'a Mappings, table: &Table) -> Self {
        // Too many are an error that was reported.
        let columns = table.key_columns.columns(&[]).unwrap_or_default();
        let columns = columns.into_iter().map(|column| (column.name, column.ty.to_string())).collect();
        Self { mappings, columns, seen: HashSet::new(), hasher: RandomState::new() }
    }

    fn see(&mut self, key: &str, size_bytes: u64) {
        if !self.columns.is_empty()
            && let Match::Table(mapped) = self.mappings.of(key, size_bytes)
        {
            let values = self.mappings.values_of(&mapped, key);
            let values: Vec<(String, String)> =
                values.into_iter().map(|found| (found.ident, format!("{:?}", found.value))).collect();
            self.seen.insert(self.hasher.hash_one(values));
        }
    }

    fn finish(self) -> Option<Partitions> {
        (!self.columns.is_empty()).then_some(Partitions { count: self.seen.len() as u64, columns: self.columns })
    }
}

fn take_sample(table: &mut PlannedTable, sample: Sample, file_columns: FileColumns) {
    table.columns = sample.columns.map(|columns| Columns {
        list: planned_columns(&columns, file_columns),
        sampled_objects: sample.objects as u64,
        whole: sample.whole,
    });
    table.error = sample.conflict;
    table.unreadable = sample.unreadable;
}
