//! What went wrong and what was done: said at once, counted, summed up, and weighed at the end.

use super::progress::Progress;
use super::table::{Stats, TableRun};
use super::{Error, fatal};
use crate::cloudquery::source::{ErrorKind, Message, SourceError, SyncSink};
use crate::s3::{self, Store};
use crate::spec::{OnError, Spec};
use crate::tables::group::Skipped;
use crate::telemetry::otlp::SyncTelemetry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The errors of a sync. Shared by all its tasks.
#[derive(Debug)]
pub struct Report {
    bucket: String,
    sink: SyncSink,
    with_error_messages: bool,
    /// Objects and tables that failed, with the text of the first one, for the stream's end. Held for a push only.
    failed: Mutex<Failures>,
    /// Archived objects of selected tables, likewise.
    archived: Mutex<Failures>,
    gone: AtomicU64,
    progress: Progress,
    telemetry: SyncTelemetry,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    first: Option<String>,
}

impl Failures {
    fn add(&mut self, count: u64, text: impl FnOnce() -> String) {
        self.count += count;
        if self.first.is_none() {
            self.first = Some(text());
        }
    }
}

impl Report {
    /// A report without errors.
    #[must_use]
    pub fn new(bucket: &str, sink: SyncSink, with_error_messages: bool, telemetry: SyncTelemetry) -> Self {
        Self {
            bucket: bucket.to_owned(),
            sink,
            with_error_messages,
            failed: Mutex::default(),
            archived: Mutex::default(),
            gone: AtomicU64::new(0),
            progress: Progress::default(),
            telemetry,
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
    pub async fn object(&self, table: &str, key: &str, error: Error) -> Result<(), SourceError> {
        match &error {
            Error::Disconnected => return Err(super::disconnected()),
            Error::Cancelled => return Err(SourceError::new(ErrorKind::Cancelled, error.to_string())),
            Error::S3(error) if error.is_fatal() => return Err(fatal(error)),
            Error::S3(error) if error.kind == s3::ErrorKind::Archived => {
                self.archived_objects(table, key, 1);
                return Ok(());
            }
            _ => {}
        }
        // S3's errors name the object themselves.
        let text = match &error {
            Error::S3(error) => error.to_string(),
            error => format!("s3://{}/{key}: {}", self.bucket, s3::error_chain(error)),
        };
        let telemetry = self.telemetry.table(table);
        if matches!(error, Error::Panic(_)) {
            telemetry.add_panic()
        } else {
            telemetry.add_error()
        }
        tracing::error!(table, bucket = self.bucket, key, error = text, "object could not be read");
        self.fail(table, text).await
    }

    /// A whole table failed. The sync goes on.
    ///
    /// # Errors
    /// When the peer has gone.
    pub async fn table(&self, table: &str, text: String) -> Result<(), SourceError> {
        self.telemetry.table(table).add_error();
        tracing::error!(table, bucket = self.bucket, error = text, "table could not be read");
        self.fail(table, format!("table {table}: {text}")).await
    }

    async fn fail(&self, table: &str, text: String) -> Result<(), SourceError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).add(1, || text.clone());
        if !self.with_error_messages {
            return Ok(());
        }
        let message = Message::Error { table: table.to_owned(), error: text };
        self.sink.send(message).await.map_err(|_| super::disconnected())
    }

    /// `count` objects of a table are archived, `key` the first of them.
    pub fn archived_objects(&self, table: &str, key: &str, count: u64) {
        let text = || format!("s3://{}/{key} (table {table})", self.bucket);
        self.archived.lock().unwrap_or_else(PoisonError::into_inner).add(count, text);
    }

    /// An object was deleted since the listing: nothing of it was sent, as if the listing had come later.
    pub fn gone(&self, table: &str, key: &str) {
        self.gone.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(table, bucket = self.bucket, key, "object was deleted after it was listed; it is left out");
    }

    /// The last lines of a sync: one warning for each table whose values had to be changed, then what was done.
    pub fn summary(&self, store: &Store, tables: &[Arc<TableRun>], skipped: &Skipped, elapsed: Duration) {
        let mut total = [0_u64; 4];
        for table in tables {
            if let Some(changes) = table.casts.summary() {
                tracing::warn!(table = table.name, "values that do not fit were changed: {changes}");
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
            failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).count,
            archived = self.archived.lock().unwrap_or_else(PoisonError::into_inner).count,
            gone = self.gone.load(Ordering::Relaxed),
            lists = Stats::get(&usage.lists),
            gets = Stats::get(&usage.gets),
            get_bytes = Stats::get(&usage.bytes),
            retries = Stats::get(&usage.retries),
            seconds = elapsed.as_secs_f64(),
            peak_memory_bytes = peak_memory_bytes(),
            "sync finished"
        );
    }

    /// How the stream ends, given what failed and what the spec says about it.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`], for failures that the spec does not skip.
    pub fn verdict(&self, spec: &Spec) -> Result<(), SourceError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let archived = self.archived.lock().unwrap_or_else(PoisonError::into_inner);
        let mut texts = Vec::new();
        if let Some(first) = &failed.first {
            let count = failed.count;
            if fails(spec.on_object_error) {
                texts.push(format!(
                    "{count} objects or tables could not be read, the first: {first}. Repair or `exclude` them, or set \
                     `on_object_error: skip`"
                ));
            } else {
                tracing::warn!(
                    count,
                    "objects could not be read and on_object_error is skip: with write_mode overwrite-delete-stale the \
                     destination removes the rows that earlier syncs brought of them"
                );
            }
        }
        if let Some(first) = &archived.first {
            let count = archived.count;
            if fails(spec.on_archived) {
                let text = format!(
                    "{count} objects are archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: {first}. \
                     Restore or `exclude` them, or set `on_archived: skip`"
                );
                tracing::error!(bucket = self.bucket, error = text, "archived objects could not be read");
                texts.push(text);
            } else {
                tracing::warn!(
                    count,
                    first,
                    "archived objects are skipped: with write_mode overwrite-delete-stale the destination removes the \
                     rows that earlier syncs brought of them"
                );
            }
        }
        if texts.is_empty() {
            return Ok(());
        }
        texts.push("Everything else was sent".to_owned());
        Err(SourceError::new(ErrorKind::Incomplete, texts.join("; ")))
    }
}

/// The most memory that the process has had resident, where the system says it.
#[cfg(target_os = "linux")]
fn peak_memory_bytes() -> Option<u64> {
    high_water_mark(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// The most memory that the process has had resident, where the system says it.
#[cfg(not(target_os = "linux"))]
fn peak_memory_bytes() -> Option<u64> {
    None
}

/// The line `VmHWM:   123 kB` of a process's status; its kilobytes have 1,024 bytes.
#[cfg(any(target_os = "linux", test))]
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1_024)
}

/// `fail` is the default: a stream that ends well lets delete-stale remove the rows of what was not read.
fn fails(policy: Option<OnError>) -> bool {
    policy.unwrap_or(OnError::Fail) == OnError::Fail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_in_the_status_of_a_process() {
        assert_eq!(high_water_mark("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n"), Some(2_097_152));
        assert_eq!(high_water_mark("Name:\tx\n"), None);
        if cfg!(target_os = "linux") {
            assert!(peak_memory_bytes().is_some_and(|bytes| bytes > 1_000_000));
        }
    }
}
