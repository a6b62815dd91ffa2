//! Checkpoints: now and then, while rows are sent, what counts as stored by then is written as done. A sync that is killed
//! after days goes on where it was at the last one.
//!
//! What a checkpoint holds, and when it counts, is told in [`crate::state::checkpoint`]. It is written beside the objects that
//! are sent, and by one connection at a time. A backend that fails then is worth a warning: what could not be written stays
//! set in the client, and comes first the next time.

use super::{State, Table};
use crate::cloudquery::source::SyncSink;
use crate::cloudquery::state_client::StateError;
use crate::state::table::with_object;
use crate::state::tail::LIMITS;
use crate::sync::commit::{self, Delivery, Sent};
use crate::sync::cpu;
use futures::future::{Either, select};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

pub use crate::state::tail::Limits as Behind;

/// Time between two checkpoints: this much is read again at most, and what is not known to be stored. Short against a sync
/// that is worth it, long against a write to a warehouse that takes half a minute.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Up to this size of all keys and values the state is read once more before each checkpoint; beyond it only where a table is
/// new. It is that of a million objects, and held twice while it is read.
const MAX_REREAD_BYTES: usize = 8 << 20;

/// The generation of a row that is to show that rows are stored, and nothing else: below that of every sync.
const NO_GENERATION: u64 = 0;

/// Whether the backend is a destination of this sync, and one that stores rows before the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing is known.
    Missing,
    /// This sync has sent a row that would show it.
    AskedFor,
    /// The backend has shown a commit row of this source.
    Shown,
}

/// Objects of a table in the checkpoints of this sync.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    /// They are written.
    written: u64,
    /// They are being written, or could not be written so far.
    on_their_way: u64,
}

/// When checkpoints are written, and what may be in them.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time between the end of one and the start of the next.
    pub interval: Duration,
    /// What has to be sent behind an object so that its rows count as stored.
    pub behind: Behind,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: INTERVAL, behind: LIMITS }
    }
}

impl State {
    /// Runs `work`, which sends the objects of `tables`, and writes checkpoints beside it. Once it has ended, a checkpoint
    /// that is being written is waited for. Safe to cancel: what is written by then counts as far as it goes.
    pub async fn with_checkpoints<T>(
        &mut self,
        pace: Pace,
        tables: &mut [Table],
        delivery: &Delivery,
        sink: &SyncSink,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(pace.interval, work.as_mut()).await {
                return done;
            }
            let checkpoint = pin!(self.checkpoint_if_proven(tables, delivery, sink));
            if let Either::Left((done, checkpoint)) = select(work.as_mut(), checkpoint).await {
                checkpoint.await;
                return done;
            }
        }
    }

    /// A checkpoint, once the backend has shown a commit row of this source: then it is a destination, too, and one that
    /// stores rows before the end of the stream. One that makes a single file of a whole sync is not: what it was sent days
    /// ago is lost with it. Where no earlier sync has left such a row, one that says nothing of any generation is sent.
    async fn checkpoint_if_proven(&mut self, tables: &mut [Table], delivery: &Delivery, sink: &SyncSink) {
        if self.proof != Proof::Shown {
            let Some(table) = self.commit_table.clone() else { return };
            let source = self.source();
            match self.client.generation(&table, &source).await {
                Ok(Ok(Some(_))) => self.proof = Proof::Shown,
                Ok(shown) => {
                    tracing::debug!(evidence = ?shown, "no checkpoint: the backend has no commit row of this source");
                    if std::mem::replace(&mut self.proof, Proof::AskedFor) == Proof::Missing {
                        // The peer has gone: the sync ends by itself.
                        let _ = commit::send(&table, &source, NO_GENERATION, sink).await;
                    }
                    return;
                }
                Err(error) => return not_written(&error),
            }
        }
        self.checkpoint(tables, delivery).await;
    }

    /// Writes what counts as stored since the last checkpoint.
    async fn checkpoint(&mut self, tables: &mut [Table], delivery: &Delivery) {
        // What could not be written so far comes first.
        if self.client.has_changes() && !self.write_checkpoint().await {
            return;
        }
        let sent = delivery.take_stored();
        // It fails only when the process ends.
        let Ok(stored) = cpu::run(move || hashes(sent)).await else { return };
        stored.into_iter().for_each(|(table, mut hashes)| self.stored.entry(table).or_default().append(&mut hashes));
        if !self.prepare(tables).await {
            return;
        }
        for (run, state) in tables {
            let Some((state, reference)) = state else { continue };
            let Some(hashes) = self.stored.remove(&run.name) else { continue };
            if self.is_foreign(&run.name) {
                continue;
            }
            let stored = run.stored_schema(reference.clone());
            let (entries, objects) = state.checkpoint(hashes, &stored, self.ledger_limit);
            self.in_checkpoints.entry(run.name.clone()).or_default().on_their_way += objects;
            for (key, value) in entries {
                self.client.set(&key, value);
            }
        }
        if self.client.has_changes() {
            self.write_checkpoint().await;
        }
    }

    /// Reads the state once more, unless that takes long: a table that another sync wrote meanwhile has no checkpoint, and what
    /// the backend lost is written again. Then comes what the backend must have before the first checkpoint of a new table: an
    /// empty schema, so that half of a first one is not taken for damage. Whether the backend took it.
    async fn prepare(&mut self, tables: &mut [Table]) -> bool {
        let is_new = |(run, state): &Table| {
            self.stored.contains_key(&run.name) && state.as_ref().is_some_and(|(state, _)| state.schema.is_new())
        };
        // A schema must not take the place of one that another sync wrote meanwhile. Nothing else of a checkpoint can harm
        // another sync.
        let any_is_new = tables.iter().any(is_new);
        if !any_is_new && self.client.bytes() > MAX_REREAD_BYTES {
            return true;
        }
        match self.client.refresh().await {
            Ok(foreign) => self.foreign.extend(foreign),
            Err(error) => {
                not_written(&error);
                return false;
            }
        }
        for (run, state) in tables {
            let Some((state, _)) = state.as_mut().filter(|_| self.stored.contains_key(&run.name)) else { continue };
            if self.is_foreign(&run.name) {
                continue;
            }
            for (key, value) in state.schema.found() {
                self.client.set(&key, value);
            }
        }
        !self.client.has_changes() || self.write_checkpoint().await
    }

    /// Of the objects that this sync sent, those that checkpoints have; without those of tables that another sync wrote, whose
    /// checkpoints do not count any more.
    pub(super) fn objects_in_checkpoints(&self) -> u64 {
        let ours = self.in_checkpoints.iter().filter(|(table, _)| !self.is_foreign(table));
        ours.map(|(_, counted)| counted.written).sum()
    }

    /// Whether the backend took it.
    async fn write_checkpoint(&mut self) -> bool {
        match self.client.flush().await {
            Ok(_) => {
                let before = self.objects_in_checkpoints();
                for counted in self.in_checkpoints.values_mut() {
                    counted.written += std::mem::take(&mut counted.on_their_way);
                }
                let objects = self.objects_in_checkpoints() - before;
                if objects > 0 {
                    tracing::info!(objects, "checkpoint: these objects are not read again, however this sync ends");
                }
                true
            }
            Err(error) => {
                not_written(&error);
                false
            }
        }
    }
}

fn not_written(error: &StateError) {
    tracing::warn!(
        error = crate::error_chain::error_chain(error),
        "a checkpoint could not be written; the sync goes on, and tries again with the next one"
    );
}

/// The objects' hashes, by the names of their tables.
fn hashes(sent: Vec<Sent>) -> BTreeMap<String, Vec<u64>> {
    let mut by_table: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (run, index) in sent {
        let Some((key, object)) = run.objects.get(index) else { continue };
        if let Some(hash) = with_object(&key, &object, |object| object.hash()) {
            by_table.entry(run.name.clone()).or_default().push(hash);
        }
    }
    by_table
}
