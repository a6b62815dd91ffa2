//! What was sent and may not be stored yet, of the whole stream and of each table, and the commit row behind it all: see
//! [`crate::state::tail`] and [`crate::state::commit`].

use super::error::disconnected;
use super::table::TableRun;
use crate::cloudquery::commits::CommitTable;
use crate::cloudquery::ipc::EncodeError;
use crate::cloudquery::source::{ErrorKind, Grant, Message, SourceError, SyncSink};
use crate::state::tail::{Limits, Tail};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

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
    limits: Limits,
    /// Of all tables together: what is read once more where no commit row can be had.
    tail: Tail<Sent>,
    /// Of each table, by its name: what a checkpoint may not hold yet. Destinations write each table on its own, and one whose
    /// write takes long does not stop the others: only what follows an object in its own table pushes it out.
    tables: HashMap<String, Tail<Sent>>,
    /// Objects that left the tail of their table since the last checkpoint: 16 bytes each.
    stored: Vec<Sent>,
}

/// A table has no checkpoint if its objects have less than 1/MIN_TABLE_PART of the bytes that must follow an object: it is read
/// again in seconds, and nothing of it is held in memory meanwhile.
const MIN_TABLE_PART: u64 = 8;

impl Delivery {
    /// A stream of which nothing was sent. `behind` has to lie behind an object so that it counts as stored.
    #[must_use]
    pub fn new(behind: Limits) -> Self {
        let stream = Stream { limits: behind, tail: Tail::new(behind), tables: HashMap::new(), stored: Vec::new() };
        Self { began: Instant::now(), stream: Mutex::new(stream) }
    }

    /// Counts a sent message of a table, of `rows` rows and `bytes` encoded bytes.
    pub fn message(&self, table: &TableRun, rows: u64, bytes: u64) {
        let mut stream = self.lock();
        stream.tail.message(rows, bytes);
        if let Some(tail) = stream.of_table(table) {
            tail.message(rows, bytes);
        }
    }

    /// An object was sent to its last row.
    pub fn object(&self, table: &Arc<TableRun>, index: usize) {
        let now = self.began.elapsed();
        let mut stream = self.lock();
        stream.tail.object((Arc::clone(table), index), now);
        drop(stream.tail.stored(now));
        if let Some(tail) = stream.of_table(table) {
            tail.object((Arc::clone(table), index), now);
            let mut stored = tail.stored(now);
            stream.stored.append(&mut stored);
        }
    }

    /// The objects that count as stored by now, by what lies behind them in their own tables, without those that were taken
    /// before.
    #[must_use]
    pub fn take_stored(&self) -> Vec<Sent> {
        let now = self.began.elapsed();
        let mut stream = self.lock();
        let Stream { tables, stored, .. } = &mut *stream;
        tables.values_mut().for_each(|tail| stored.append(&mut tail.stored(now)));
        std::mem::take(stored)
    }

    /// The objects of a table, by their places, that a destination may not have stored yet.
    #[must_use]
    pub fn last(&self, table: &Arc<TableRun>) -> HashSet<usize> {
        let mut stream = self.lock();
        drop(stream.tail.stored(self.began.elapsed()));
        stream.tail.objects().filter(|(run, _)| Arc::ptr_eq(run, table)).map(|(_, index)| *index).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// The tail of a table that is worth a checkpoint.
    fn of_table(&mut self, table: &TableRun) -> Option<&mut Tail<Sent>> {
        if table.planned.bytes <= self.limits.bytes / MIN_TABLE_PART {
            return None;
        }
        if !self.tables.contains_key(&table.name) {
            self.tables.insert(table.name.clone(), Tail::new(self.limits));
        }
        self.tables.get_mut(&table.name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::announce::tests::run;
    use std::time::Duration;

    /// Destinations write each table on its own: one whose write hangs holds its rows however much goes to the others.
    #[test]
    fn only_what_follows_in_its_own_table_pushes_an_object_out() {
        let limits = Limits { rows: 10, bytes: 800, age: Duration::ZERO };
        let (hangs, busy, small) = (run("hangs", 3, 1_000), run("busy", 3, 1_000), run("small", 1, 100));
        let delivery = Delivery::new(limits);
        let send = |table: &Arc<TableRun>, index: usize| {
            delivery.message(table, 11, 801);
            delivery.object(table, index);
        };
        send(&hangs, 0);
        send(&small, 0);
        (0..3).for_each(|index| send(&busy, index));
        let stored = |delivery: &Delivery| -> Vec<(String, usize)> {
            let mut stored: Vec<_> =
                delivery.take_stored().into_iter().map(|(table, index)| (table.name.clone(), index)).collect();
            stored.sort_unstable();
            stored
        };
        let busy_ones = [("busy".to_owned(), 0), ("busy".to_owned(), 1)];
        assert_eq!(stored(&delivery), busy_ones, "those of the others may still be held");
        send(&hangs, 1);
        assert_eq!(stored(&delivery), [("hangs".to_owned(), 0)]);
        send(&small, 0);
        assert_eq!(stored(&delivery), [], "a small table is read again as a whole");
        // Where no commit row can be had, the end of the whole stream counts.
        assert_eq!(delivery.last(&small), HashSet::from([0]));
        assert_eq!(delivery.last(&hangs), HashSet::new());
    }
}
