//! What was sent last, and the commit row behind it: see [`crate::plan::commit`] and [`crate::plan::tail`].

use super::table::TableRun;
use crate::cloudquery::commits::CommitTable;
use crate::cloudquery::ipc::EncodeError;
use crate::cloudquery::source::{ErrorKind, Grant, Message, SourceError, SyncSink};
use crate::plan::tail::{LIMITS, Tail};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// An object: its table, and its place in the table's objects.
type Sent = (Arc<TableRun>, usize);

/// Follows what an incremental sync sends. Shared by all its tasks.
#[derive(Debug)]
pub struct Delivery {
    began: Instant,
    /// Held for a push or a few additions only.
    tail: Mutex<Tail<Sent>>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { began: Instant::now(), tail: Mutex::new(Tail::new(LIMITS)) }
    }
}

impl Delivery {
    /// A message of so many rows and encoded bytes was sent.
    pub fn message(&self, rows: u64, bytes: u64) {
        self.tail().message(rows, bytes);
    }

    /// An object was sent to its last row.
    pub fn object(&self, table: &Arc<TableRun>, index: usize) {
        let now = self.began.elapsed();
        let mut tail = self.tail();
        tail.object((Arc::clone(table), index), now);
        drop(tail.stored(now));
    }

    /// The objects of a table, by their places, that a destination may not have stored yet.
    #[must_use]
    pub fn last(&self, table: &Arc<TableRun>) -> HashSet<usize> {
        let mut tail = self.tail();
        drop(tail.stored(self.began.elapsed()));
        tail.objects().filter(|(run, _)| Arc::ptr_eq(run, table)).map(|(_, index)| *index).collect()
    }

    fn tail(&self) -> std::sync::MutexGuard<'_, Tail<Sent>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Announces the table of commits.
///
/// # Errors
/// When the peer has gone.
pub async fn announce(table: &CommitTable, sink: &SyncSink) -> Result<(), SourceError> {
    let schema = table.migrate().map_err(|error| internal(table, &error))?;
    sink.send(Message::Migrate(schema)).await.map_err(|_| super::disconnected())
}

/// Sends the commit row: all rows of the sync were sent, and the state that names this generation is written.
///
/// # Errors
/// When the peer has gone.
pub async fn send(table: &CommitTable, source: &str, generation: u64, sink: &SyncSink) -> Result<(), SourceError> {
    let record = table.row(source, generation).map_err(|error| internal(table, &error))?;
    sink.send(Message::Insert { record, grant: Grant::default() }).await.map_err(|_| super::disconnected())
}

fn internal(table: &CommitTable, error: &EncodeError) -> SourceError {
    SourceError::new(ErrorKind::Internal, format!("table {}: {error}", table.name()))
}
