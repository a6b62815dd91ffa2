//! One table during a sync: what all its objects share, which ones are left to do, and what is counted.

use super::bad_rows;
use super::head_guess::HeadGuess;
use super::key_columns::KeyColumns;
use super::together;
use super::unknown_columns::UnknownColumns;
use crate::cast::counts::CastCounts;
use crate::cloudquery::ipc::BatchEncoder;
use crate::config::TableOptions;
use crate::formats::format::Format;
use crate::s3::ETag;
use crate::schema::rules::ColumnRules;
use crate::schema::table::TableSchema;
use crate::state::schema::StoredSchema;
use crate::tables::folders::Folders;
use crate::tables::group::{ListedObject, Table};
use crate::tables::mapping::Mappings;
use crate::tables::partitions::Inference;
use crate::telemetry::otlp::TableTelemetry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A table whose migrate was sent.
#[derive(Debug)]
pub struct TableRun {
    /// The table's name.
    pub name: String,
    /// Its columns, as the decoder wants them.
    pub schema: Arc<TableSchema>,
    /// Which columns of its files count, and how they may differ.
    pub(crate) rules: Arc<ColumnRules>,
    /// Encodes its batches; carries the announced schema.
    pub encoder: Arc<BatchEncoder>,
    /// What casting had to change.
    pub casts: Arc<CastCounts>,
    /// Its objects.
    pub objects: Objects,
    /// What there is to send of them.
    pub planned: Planned,
    /// Records of them that could not be read.
    pub bad: bad_rows::Counted,
    /// Where those go, if the spec wants them in a table.
    pub bad_rows: Option<Arc<TableRun>>,
    /// Columns that records have beside those of the table.
    pub unknown: UnknownColumns,
    /// What was sent.
    pub stats: Stats,
    /// Tells the collector.
    pub telemetry: TableTelemetry,
}

impl TableRun {
    /// What the state remembers of its columns; `reference` is the object that they are from.
    pub(super) fn stored_schema(&self, reference: String) -> StoredSchema {
        StoredSchema { key: reference, schema: TableSchema::clone(&self.schema), pending: self.unknown.pending() }
    }

    /// Counts a sent message of `rows` rows and `bytes` encoded bytes.
    pub(super) fn sent(&self, rows: u64, bytes: u64) {
        self.stats.count_message(rows, bytes);
        self.telemetry.add_resources(rows);
    }

    /// Nothing more will be sent of an object of `object_bytes`, whatever became of it.
    pub(super) fn handled(&self, object_bytes: u64) {
        self.stats.handled_bytes.fetch_add(object_bytes, Ordering::Relaxed);
        if self.stats.handled.fetch_add(1, Ordering::Relaxed) + 1 >= self.planned.objects {
            self.telemetry.finished();
        }
    }
}

/// What a table's objects amount to before the first of them is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planned {
    /// How many.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// The objects of a table, in the order of their keys, with what the survey learned of them. There may be millions,
/// so each exists once and is updated in place.
#[derive(Debug)]
pub struct Objects {
    /// The folders of their keys.
    folders: Folders,
    /// Held for reading or writing one record only.
    list: Mutex<Vec<ListedObject>>,
    /// Objects that are in the bucket and not read this time.
    unread: Vec<ListedObject>,
    /// There may be more that were not listed.
    partly_listed: bool,
    /// What all listed keys say about the table's columns.
    inference: Inference,
    /// What their keys say in which columns.
    pub keys: KeyColumns,
    /// What the spec says about the table.
    pub options: Arc<TableOptions>,
    /// What an object is counts more than what its name says.
    pub by_content: bool,
    /// Rows that were sent of objects that failed, in this sync or before, by the objects' indexes: the first ones of the
    /// version that the list has. Held for reading or writing one number.
    rows_sent: Mutex<BTreeMap<usize, u64>>,
    /// Experience with the lengths of their heads.
    pub heads: HeadGuess,
    /// It was said that an object is not what its name says.
    other_format_said: AtomicBool,
}

impl Objects {
    /// The objects of a table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self {
            folders: table.folders,
            list: Mutex::new(table.objects),
            unread: table.unread,
            partly_listed: table.partly_listed,
            inference: table.key_columns,
            keys: KeyColumns::default(),
            options: table.options,
            by_content: table.by_content,
            rows_sent: Mutex::default(),
            heads: HeadGuess::default(),
            other_format_said: AtomicBool::new(false),
        }
    }

    /// None, of a table that has no object any more.
    #[must_use]
    pub fn none() -> Self {
        Self {
            folders: Folders::new(""),
            list: Mutex::default(),
            unread: Vec::new(),
            partly_listed: false,
            inference: Inference::default(),
            keys: KeyColumns::default(),
            options: Arc::default(),
            by_content: false,
            rows_sent: Mutex::default(),
            heads: HeadGuess::default(),
            other_format_said: AtomicBool::new(false),
        }
    }

    /// Finds out which columns the keys make, and of which types. `stored` is the schema that earlier syncs left.
    pub fn see_keys(&mut self, table: &str, mappings: &Arc<Mappings>, stored: Option<&TableSchema>) {
        let keys = KeyColumns::new(table, mappings, &self.inference, &self.options, stored, &|each| {
            self.lock().iter().for_each(|object| each(&object.key(&self.folders)));
        });
        // Tables with too many were refused when they were selected.
        self.keys = keys.unwrap_or_default();
    }

    /// Whether there may be more that were not listed.
    #[must_use]
    pub fn partly_listed(&self) -> bool {
        self.partly_listed
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// The objects by which the columns are told of formats of which only some are looked at: the first, the last, the newest,
    /// and between them as many as are evenly spread by their keys.
    #[must_use]
    pub fn sample(&self) -> BTreeSet<usize> {
        let list = self.lock();
        let sampled: Vec<(usize, i64)> = list
            .iter()
            .enumerate()
            .filter(|(_, object)| object.format.is_sampled() && !object.is_archived())
            .map(|(index, object)| (index, object.last_modified_s))
            .collect();
        super::sample::of_texts(&sampled, self.options.schema.sample.files)
    }

    /// How many are to be sent and small.
    #[must_use]
    pub fn count_small(&self) -> usize {
        self.lock().iter().filter(|object| object.held_bytes().is_some() && together::is_small(object)).count()
    }

    /// Whether one of them is a text.
    #[must_use]
    pub fn has_texts(&self) -> bool {
        self.lock().iter().any(|object| object.format.is_sampled())
    }

    /// Says once a table that an object is read as `found`, though its name says `format`.
    pub fn say_other_format(&self, table: &str, key: &str, format: Format, found: Format) {
        if !self.other_format_said.swap(true, Ordering::Relaxed) {
            let (named, found) = (format.to_string(), found.to_string());
            tracing::warn!(table, key, named, found, "an object is not what its name says: what it is counts");
        }
    }

    /// The object is read as another format than its name says.
    pub fn set_format(&self, index: usize, format: Format) {
        if let Some(object) = self.lock().get_mut(index) {
            object.format = format;
        }
    }

    /// Those that are ready to be sent.
    #[must_use]
    pub fn planned(&self) -> Planned {
        let list = self.lock();
        let mut planned = Planned::default();
        for object in list.iter().filter(|object| object.held_bytes().is_some()) {
            planned.objects += 1;
            planned.bytes += object.size_bytes;
        }
        planned
    }

    /// One object, with its whole key.
    pub fn get(&self, index: usize) -> Option<(String, ListedObject)> {
        let object = self.lock().get(index)?.clone();
        Some((object.key(&self.folders), object))
    }

    /// The object is ready to be sent: its version, size and the memory that it takes at a time, without messages, are known.
    pub fn mark_ready(&self, index: usize, etag: Option<ETag>, size_bytes: u64, held_bytes: u64) {
        if let Some(object) = self.lock().get_mut(index) {
            object.etag = etag;
            object.size_bytes = size_bytes;
            object.set_held_bytes(held_bytes);
        }
    }

    /// Objects that `done` picks are not to be sent after all.
    pub fn withdraw(&self, done: impl Fn(&str, &ListedObject) -> bool) {
        for object in self.lock().iter_mut().filter(|object| object.held_bytes().is_some()) {
            if done(&object.key(&self.folders), object) {
                object.unset_held_bytes();
            }
        }
    }

    /// Whether the object is to be sent.
    pub fn is_ready(&self, index: usize) -> bool {
        self.lock().get(index).is_some_and(|object| object.held_bytes().is_some())
    }

    /// The object was sent to its last row, in this version.
    pub fn sent(&self, index: usize, etag: Option<ETag>) {
        if let Some(object) = self.lock().get_mut(index) {
            object.etag = etag;
            object.sent = true;
        }
    }

    /// The first `rows` rows of this version of an object were sent, and it was not sent to its last row.
    pub fn sent_partly(&self, index: usize, etag: Option<ETag>, rows: u64) {
        if rows == 0 {
            return;
        }
        if let Some(object) = self.lock().get_mut(index) {
            object.etag = etag;
        }
        self.lock_rows_sent().insert(index, rows);
    }

    /// The object was replaced: nothing was sent of the new version.
    pub fn forget_rows_sent(&self, index: usize) {
        self.lock_rows_sent().remove(&index);
    }

    /// The table starts over: nothing that was sent of any object counts.
    pub fn forget_all_rows_sent(&self) {
        self.lock_rows_sent().clear();
    }

    /// Rows of an object that were sent before it failed, from the first one on: they are not to be sent again.
    pub fn rows_sent(&self, index: usize) -> u64 {
        self.lock_rows_sent().get(&index).copied().unwrap_or(0)
    }

    /// Every object that was sent in part: key, what is known of it, and how many rows.
    pub fn for_each_sent_partly(&self, mut each: impl FnMut(&str, &ListedObject, u64)) {
        let rows_sent = self.lock_rows_sent().clone();
        let list = self.lock();
        for (index, rows) in rows_sent {
            if let Some(object) = list.get(index).filter(|object| !object.sent) {
                each(&object.key(&self.folders), object, rows);
            }
        }
    }

    /// Every object that is in the bucket, those that are not read included: the key and what is known of it.
    pub fn for_each(&self, mut each: impl FnMut(&str, &ListedObject)) {
        for object in self.lock().iter().chain(&self.unread) {
            each(&object.key(&self.folders), object);
        }
    }

    fn lock_rows_sent(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, u64>> {
        self.rows_sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ListedObject>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counters of one table.
#[derive(Debug, Default)]
pub struct Stats {
    /// Objects that were sent to their last row.
    pub objects: AtomicU64,
    /// Objects that were handled, those that failed or are gone included.
    pub handled: AtomicU64,
    /// Their size in bytes.
    pub handled_bytes: AtomicU64,
    /// Rows sent, those of objects that failed later included.
    pub rows: AtomicU64,
    /// Insert messages.
    pub messages: AtomicU64,
    /// Their encoded bytes.
    pub bytes: AtomicU64,
}

impl Stats {
    pub(super) fn count_message(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_object(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads a counter.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
