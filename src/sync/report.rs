//! What went wrong and what was done: said at once, counted, summed up, and weighed at the end.

use super::error::{Error, disconnected, fatal};
use super::progress::Progress;
use super::table::{Planned, Stats, TableRun};
use crate::cloudquery::source::{ErrorKind, Message, SourceError, SyncSink};
use crate::config::{OnError, Spec};
use crate::error_chain::error_chain;
use crate::formats::error::ReadError;
use crate::s3::{self, Store};
use crate::tables::group::Skipped;
use crate::telemetry::otlp::SyncTelemetry;
use crate::words::{count, count_as};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What an error at the end means for everything else: the CLI stops the destination then, whatever that has still to write.
const NOT_KEPT: &str = "All else was sent, but a sync that ends with an error makes the CLI stop the destination, and rows that it \
    had not written yet are lost: only a sync that ends well is complete";

/// The errors of a sync. Shared by all its tasks.
#[derive(Debug)]
pub struct Report {
    bucket: String,
    sink: SyncSink,
    with_error_messages: bool,
    /// The sync is incremental: tables are not emptied by delete-stale, and what failed is tried again.
    incremental: bool,
    /// Objects that failed, with the text of the first one, for the stream's end. Held for a push only.
    failed: Mutex<Failures>,
    /// Tables whose files do not agree, likewise.
    conflicts: Mutex<Failures>,
    /// What an archived object does, by the spec.
    on_archived: Option<OnError>,
    /// Archived objects by their selected table: its name, and the first one's address. Held for an insert only.
    archived: Mutex<BTreeMap<String, Failures>>,
    gone: AtomicU64,
    progress: Progress,
    telemetry: SyncTelemetry,
}

/// What of a table stays out of a sync, though its objects could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The objects that would have been sent.
    pub planned: Planned,
    /// Their rows, as far as their files say.
    pub rows: u64,
    /// What would take them all the same: a sentence, and lines of the spec.
    pub cure: Option<String>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    first: Option<String>,
    /// What would take what failed, by the first that says so.
    cure: Option<String>,
}

impl Failures {
    fn add(&mut self, count: u64, text: impl FnOnce() -> String) {
        self.count += count;
        if self.first.is_none() {
            self.first = Some(text());
        }
    }
}

impl Failures {
    fn add_curable(&mut self, cure: Option<String>, text: String) {
        self.add(1, || text);
        self.cure = self.cure.take().or(cure);
    }
}

impl Report {
    /// A report without errors. The collector's span of the sync begins.
    #[must_use]
    pub fn new(
        bucket: &str,
        sink: SyncSink,
        with_error_messages: bool,
        incremental: bool,
        on_archived: Option<OnError>,
    ) -> Self {
        Self {
            bucket: bucket.to_owned(),
            sink,
            with_error_messages,
            incremental,
            failed: Mutex::default(),
            conflicts: Mutex::default(),
            on_archived,
            archived: Mutex::default(),
            gone: AtomicU64::new(0),
            progress: Progress::default(),
            telemetry: crate::telemetry::otlp::sync_started(),
        }
    }

    /// How far the sync is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What the collector is told.
    pub fn telemetry(&self) -> &SyncTelemetry {
        &self.telemetry
    }

    /// An object failed. The sync goes on.
    ///
    /// # Errors
    /// When the failure means that nothing else will work either, or the peer has gone.
    pub async fn object_failed(&self, table: &str, key: &str, error: Error) -> Result<(), SourceError> {
        match &error {
            Error::Disconnected => return Err(disconnected()),
            Error::Cancelled => return Err(SourceError::new(ErrorKind::Cancelled, error.to_string())),
            Error::S3(error) if error.is_fatal() => return Err(fatal(error)),
            Error::S3(error) if error.kind == s3::ErrorKind::Archived => {
                return self.objects_archived(table, key, 1).await;
            }
            _ => {}
        }
        let telemetry = self.telemetry.table(table);
        if matches!(error, Error::Panic(_)) {
            telemetry.add_panic();
        } else {
            telemetry.add_error();
        }
        let text = object_text(&self.bucket, key, &error);
        tracing::error!(table, bucket = self.bucket, key, error = text, "object could not be read");
        lock(&self.failed).add(1, || text.clone());
        self.send_error(table, text).await
    }

    /// A whole table failed, and `out` is not sent. The sync goes on.
    ///
    /// # Errors
    /// When the peer has gone.
    pub async fn table_failed(&self, table: &str, text: &str, out: LeftOut) -> Result<(), SourceError> {
        self.telemetry.table(table).add_error();
        let LeftOut { planned, rows, cure } = out;
        let text = format!(
            "table {table} of bucket {}: {text}. Left out: {} with {} ({})",
            self.bucket,
            count(planned.objects, "object"),
            count(rows, "row"),
            count(planned.bytes, "byte")
        );
        let with_cure = cure.as_ref().map_or_else(|| text.clone(), |cure| format!("{text}. {cure}"));
        tracing::error!(
            table,
            bucket = self.bucket,
            objects = planned.objects,
            rows,
            bytes = planned.bytes,
            error = with_cure,
            "table is left out"
        );
        lock(&self.conflicts).add_curable(cure, text);
        self.send_error(table, with_cure).await
    }

    async fn send_error(&self, table: &str, text: String) -> Result<(), SourceError> {
        if !self.with_error_messages {
            return Ok(());
        }
        let message = Message::Error { table: table.to_owned(), error: text };
        self.sink.send(message).await.map_err(|_| disconnected())
    }

    /// So many objects of a table are archived, `key` the first of them. By the spec that is an error of the table, or
    /// nothing but a warning. The log has its lines at the end: one for all tables, or a warning a table.
    ///
    /// # Errors
    /// When the peer has gone.
    pub async fn objects_archived(&self, table: &str, key: &str, objects: u64) -> Result<(), SourceError> {
        let first = format!("s3://{}/{key}", self.bucket);
        lock(&self.archived).entry(table.to_owned()).or_default().add(objects, || first.clone());
        if !self.is_failure(self.on_archived) {
            return Ok(());
        }
        let text = format!(
            "{} archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: {first}. Restore or `exclude` what is archived",
            count_as(objects, "object is", "objects are")
        );
        self.send_error(table, text).await
    }

    /// An object was deleted since the listing, after some of its rows were sent: a warning, since no other try can read
    /// more. With rows of it at the destination the table's errors say so, too.
    ///
    /// # Errors
    /// When the peer has gone.
    pub async fn object_vanished(&self, table: &str, key: &str, rows_sent: u64) -> Result<(), SourceError> {
        self.gone.fetch_add(1, Ordering::Relaxed);
        if rows_sent == 0 {
            tracing::warn!(table, bucket = self.bucket, key, "object was deleted after it was listed; it is left out");
            return Ok(());
        }
        tracing::warn!(
            table,
            bucket = self.bucket,
            key,
            rows_sent,
            "object was deleted while it was read; the rest of its rows is left out"
        );
        let text = format!(
            "s3://{}/{key} was deleted while it was read, after {rows_sent} of its rows were sent; the rest is left out",
            self.bucket
        );
        self.send_error(table, text).await
    }

    /// `fail` is the default of a full sync: a stream that ends well lets delete-stale remove the rows of what was not
    /// read. In an incremental one nothing is removed and what failed is tried again, so `skip` is.
    fn is_failure(&self, policy: Option<OnError>) -> bool {
        let default = if self.incremental { OnError::Skip } else { OnError::Fail };
        policy.unwrap_or(default) == OnError::Fail
    }

    /// The last lines of a sync: one warning for each table whose values had to be changed, then what was done.
    pub fn summary(
        &self,
        store: &Store,
        tables: &[Arc<TableRun>],
        skipped: &Skipped,
        elapsed: Duration,
        ended_well: bool,
    ) {
        let mut total = [0_u64; 4];
        for table in tables {
            if let Some(changes) = table.casts.summary() {
                tracing::warn!(table = table.name, "values that do not fit were changed: {changes}");
            }
            let bad = table.bad.records();
            if bad > 0 {
                tracing::warn!(table = table.name, records = bad, "records could not be read and were passed over");
            }
            let stats = &table.stats;
            let counts = [&stats.objects, &stats.rows, &stats.messages, &stats.bytes].map(Stats::get);
            tracing::debug!(
                table = table.name,
                objects = counts[0],
                rows = counts[1],
                messages = counts[2],
                bytes = counts[3],
                "table done"
            );
            for (sum, count) in total.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        let usage = store.usage();
        tracing::info!(
            tables = tables.len(),
            objects = total[0],
            rows = total[1],
            messages = total[2],
            message_bytes = total[3],
            skipped = skipped.to_string(),
            failed = lock(&self.failed).count,
            conflicting_tables = lock(&self.conflicts).count,
            archived = lock(&self.archived).values().map(|archived| archived.count).sum::<u64>(),
            gone = self.gone.load(Ordering::Relaxed),
            lists = Stats::get(&usage.lists),
            gets = Stats::get(&usage.gets),
            get_bytes = Stats::get(&usage.bytes),
            retries = Stats::get(&usage.retries),
            seconds = elapsed.as_secs_f64(),
            peak_memory_bytes = crate::memory::resident::peak_bytes(),
            "sync {}",
            if ended_well { "finished" } else { "ended early" }
        );
    }

    /// How the stream ends, given what failed and what the spec says about it.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`], for failures that the spec does not skip.
    pub fn verdict(&self, spec: &Spec) -> Result<(), SourceError> {
        let failed = lock(&self.failed);
        let conflicts = lock(&self.conflicts);
        let mut texts = Vec::new();
        if let Some(first) = &failed.first {
            let objects = failed.count;
            if self.is_failure(spec.on_object_error) {
                texts.push(format!(
                    "{} could not be read, the first: {first}. An object that is bad for good belongs in `exclude`; \
                     `on_object_error: skip` lets a sync end well all the same",
                    count(objects, "object")
                ));
            } else if !self.incremental {
                tracing::warn!(
                    count = objects,
                    first,
                    "objects could not be read and on_object_error is skip: with write_mode overwrite-delete-stale the \
                     destination removes the rows that earlier syncs brought of them"
                );
            }
        }
        if let Some(first) = &conflicts.first
            && self.is_failure(spec.on_object_error)
        {
            let tables = count_as(conflicts.count, "table was", "tables were");
            texts.push(format!(
                "{tables} left out, the first: {first}. `on_object_error: skip` lets a sync end well without them"
            ));
        }
        texts.extend(self.archived_verdict());
        if texts.is_empty() {
            return Ok(());
        }
        texts.push(NOT_KEPT.to_owned());
        let cure = conflicts.cure.as_ref().map(|cure| format!(". {cure}")).unwrap_or_default();
        Err(SourceError::new(ErrorKind::Incomplete, format!("{}{cure}", texts.join("; "))))
    }

    /// The log's lines about archived objects; a text if they let the sync fail.
    fn archived_verdict(&self) -> Option<String> {
        let tables = lock(&self.archived);
        let (table, first) = tables.iter().find_map(|(table, archived)| Some((table, archived.first.as_ref()?)))?;
        if self.is_failure(self.on_archived) {
            let objects: u64 = tables.values().map(|archived| archived.count).sum();
            let text = format!(
                "{} archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: {first} (table {table}). Restore or \
                 `exclude` what is archived, or set `on_archived: skip`",
                count_as(objects, "object is", "objects are")
            );
            tracing::error!(bucket = self.bucket, error = text, "archived objects could not be read");
            return Some(text);
        }
        let consequence = if self.incremental {
            "they are read when they are restored"
        } else {
            "with write_mode overwrite-delete-stale the destination removes the rows that earlier syncs brought of them"
        };
        for (table, Failures { count, first, .. }) in tables.iter() {
            tracing::warn!(table, count, first, "archived objects are skipped: {consequence}");
        }
        None
    }
}

fn lock<T>(failures: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    failures.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One object's failure: where, what, what was tried, what to do.
#[must_use]
pub fn object_text(bucket: &str, key: &str, error: &Error) -> String {
    match error {
        // S3's errors name the object themselves, and mostly what to do.
        Error::S3(error) if error.hint().is_some() => error.to_string(),
        Error::S3(error) => format!("{error}; sync again, or put it into `exclude`"),
        // These say what to do themselves.
        Error::NeverRests { .. }
        | Error::ReplacedByFewerRows { .. }
        | Error::Decode(
            ReadError::Encrypted { .. } | ReadError::Unsupported { .. } | ReadError::SchemaChanged { .. },
        ) => {
            format!("s3://{bucket}/{key}: {error}")
        }
        error => {
            let text = error_chain(error);
            format!("s3://{bucket}/{key}: {text}; write it again, or put it into `exclude`")
        }
    }
}
