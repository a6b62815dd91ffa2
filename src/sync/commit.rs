//! What was sent last, and the commit row behind it: see [`crate::state::commit`] and [`crate::state::tail`].

use super::error::disconnected;
use super::table::TableRun;
use crate::cloudquery::commits::CommitTable;
use crate::cloudquery::ipc::EncodeError;
use crate::cloudquery::source::{ErrorKind, Grant, Message, SourceError, SyncSink};
use crate::state::tail::{Limits, Tail};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An object: its table, and its place in the table's objects.
pub type Sent = (Arc<TableRun>, usize);

/// Follows what an incremental sync sends. Shared by all its tasks.
#[derive(Debug)]
pub struct Delivery {
    began: Instant,
    /// Held for a push or a few additions only.
    stream: Mutex<Stream>,
}

#[derive(Debug)]
struct Stream {
    tail: Tail<Sent>,
    /// Objects that left the tail since the last checkpoint: 16 bytes each.
    stored: Vec<Sent>,
}

impl Delivery {
    /// A stream of which nothing was sent. `behind` has to lie behind an object so that it counts as stored.
    #[must_use]
    pub fn new(behind: Limits) -> Self {
        let stream = Stream { tail: Tail::new(behind), stored: Vec::new() };
        Self { began: Instant::now(), stream: Mutex::new(stream) }
    }

    /// Counts a sent message of `rows` rows and `bytes` encoded bytes.
    pub fn message(&self, rows: u64, bytes: u64) {
        self.lock().tail.message(rows, bytes);
    }

    /// An object was sent to its last row.
    pub fn object(&self, table: &Arc<TableRun>, index: usize) {
        let now = self.began.elapsed();
        let mut stream = self.lock();
        stream.tail.object((Arc::clone(table), index), now);
        stream.sort_out(now);
    }

    /// The objects that count as stored by now, of all tables, without those that were taken before.
    #[must_use]
    pub fn take_stored(&self) -> Vec<Sent> {
        let mut stream = self.lock();
        stream.sort_out(self.began.elapsed());
        std::mem::take(&mut stream.stored)
    }

    /// The objects of a table, by their places, that a destination may not have stored yet.
    #[must_use]
    pub fn last(&self, table: &Arc<TableRun>) -> HashSet<usize> {
        let mut stream = self.lock();
        stream.sort_out(self.began.elapsed());
        stream.tail.objects().filter(|(run, _)| Arc::ptr_eq(run, table)).map(|(_, index)| *index).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// The tail keeps only what may not be stored at `now`.
    fn sort_out(&mut self, now: Duration) {
        let stored = self.tail.stored(now);
        self.stored.extend(stored);
    }
}

/// Announces the table of commits.
///
/// # Errors
/// When the peer has gone.
pub async fn announce(table: &CommitTable, sink: &SyncSink) -> Result<(), SourceError> {
    let schema = table.migrate().map_err(|error| internal(table, &error))?;
    sink.send(Message::Migrate(schema)).await.map_err(|_| disconnected())
}

/// Sends the commit row: all rows of the sync were sent, and the state that names this generation is written.
///
/// # Errors
/// When the peer has gone.
pub async fn send(table: &CommitTable, source: &str, generation: u64, sink: &SyncSink) -> Result<(), SourceError> {
    let record = table.row(source, generation).map_err(|error| internal(table, &error))?;
    sink.send(Message::Insert { record, grant: Grant::default() }).await.map_err(|_| disconnected())
}

fn internal(table: &CommitTable, error: &EncodeError) -> SourceError {
    SourceError::new(ErrorKind::Internal, format!("table {}: {error}", table.name()))
}
