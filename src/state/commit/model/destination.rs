//! The destinations of the model: what they hold back, and when they store it.

use crate::state::tail::Limits;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a destination holds back at most.
pub const BATCH: Limits = Limits { rows: 4, bytes: 40, age: Duration::from_secs(10) };

/// What a row holds: by the version that it is from, and by the option.
pub type Content = (u32, bool);

#[derive(Debug, Clone, Copy)]
pub enum Sent {
    Row { key: u16, row: u16, content: Content },
    Commit(u64),
}

#[derive(Debug, Clone, Default)]
struct Batch {
    sent: Vec<Sent>,
    bytes: u64,
    began: Duration,
}

#[derive(Debug, Clone, Default)]
pub struct Destination {
    pub rows: BTreeMap<(u16, u16), Content>,
    pub has_commit_table: bool,
    pub generation: Option<u64>,
    /// Like the `BatchWriter` of CloudQuery's SDK: each table has a batch of its own. Else all rows are in one, in their order.
    each_table: bool,
    /// The write of this batch takes long, once a commit row is there: time alone does not store what it holds. (Before there is
    /// one, what counts as stored is what had time for it.)
    hangs: Option<usize>,
    batches: [Batch; Self::BATCHES],
}

impl Destination {
    /// Of two tables, and of the table of commits.
    pub const BATCHES: usize = 3;

    pub fn new(each_table: bool, hangs: Option<usize>) -> Self {
        Self { each_table, hangs, ..Self::default() }
    }

    pub fn writes_each_table(&self) -> bool {
        self.each_table
    }

    /// Takes a row, whose table has the batch `at`, where each has one.
    pub fn take(&mut self, at: usize, sent: Sent, bytes: u64, now: Duration) {
        self.tick(now);
        let at = if self.each_table { at } else { 0 };
        let batch = &mut self.batches[at];
        if batch.sent.is_empty() {
            batch.began = now;
        }
        batch.sent.push(sent);
        batch.bytes += bytes;
        if batch.sent.len() as u64 >= BATCH.rows || batch.bytes >= BATCH.bytes {
            self.write(at);
        }
    }

    pub fn tick(&mut self, now: Duration) {
        let hangs = self.hangs.filter(|_| self.generation.is_some());
        for at in (0..Self::BATCHES).filter(|at| hangs != Some(*at)) {
            if now.saturating_sub(self.batches[at].began) >= BATCH.age {
                self.write(at);
            }
        }
    }

    /// Stores a batch.
    pub fn write(&mut self, at: usize) {
        for sent in std::mem::take(&mut self.batches[at]).sent {
            match sent {
                Sent::Row { key, row, content } => drop(self.rows.insert((key, row), content)),
                Sent::Commit(generation) => self.generation = Some(generation),
            }
        }
    }

    /// Forgets what it has not stored, and gives the rows.
    pub fn forget(&mut self) -> Vec<(u16, u16, Content)> {
        let batches = std::mem::take(&mut self.batches).into_iter();
        let row = |sent| match sent {
            Sent::Row { key, row, content } => Some((key, row, content)),
            Sent::Commit(_) => None,
        };
        batches.flat_map(|batch| batch.sent).filter_map(row).collect()
    }
}
