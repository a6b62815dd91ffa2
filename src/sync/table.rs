//! One table during a sync: what all its objects share, and what is counted.

use super::footer::FooterGuess;
use crate::cloudquery::ipc::BatchEncoder;
use crate::decode::CastCounts;
use crate::tables::schema::TableSchema;
use crate::telemetry::otlp::TableTelemetry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A table whose migrate was sent.
#[derive(Debug)]
pub struct TableRun {
    /// The table's name.
    pub name: String,
    /// Its columns, as the decoder wants them.
    pub schema: Arc<TableSchema>,
    /// Encodes its batches; carries the announced schema.
    pub encoder: Arc<BatchEncoder>,
    /// What casting had to change.
    pub casts: Arc<CastCounts>,
    /// Experience with its footers.
    pub footers: Arc<FooterGuess>,
    /// What there is to send.
    pub planned: Planned,
    /// What was sent.
    pub stats: Stats,
    /// Tells the collector.
    pub telemetry: TableTelemetry,
}

impl TableRun {
    /// A message of so many rows and encoded bytes was sent.
    pub(super) fn sent(&self, rows: u64, bytes: u64) {
        self.stats.message(rows, bytes);
        self.telemetry.add_resources(rows);
    }

    /// Nothing more will be sent of an object of so many bytes, whatever became of it.
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
    pub(super) fn message(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn object(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads a counter.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
