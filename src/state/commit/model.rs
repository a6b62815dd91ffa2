//! A model of a sync, of a destination that writes in batches, and of what is killed when: no row is ever lost.
//!
//! Only the state is real. A stream is a row after the other into the destination, which holds them back until a batch is
//! full or old, and loses what it holds when all are killed. The state is written a key at a time, so a kill can tear that,
//! too; now and then a sync writes a checkpoint between two rows. Each random history is a bucket that changes, an option that
//! changes all columns, and syncs that end well or are killed; in the middle of it one sync is killed at each of its steps in
//! turn, and a good one follows. What a checkpoint had is never sent again.

use super::*;
use crate::schema::table::TableSchema;
use crate::state::checkpoint::Checkpoint;
use crate::state::ledger::{Ledger, Limits as LedgerLimits, Object};
use crate::state::schema::{ColumnOptions, SchemaState, StoredSchema};
use crate::state::tail::{Limits, Tail};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

const HISTORIES: u64 = 10_000;
/// What the destination holds back at most; [`TAIL`] leaves some room above it.
const BATCH: Limits = Limits { rows: 4, bytes: 40, age: Duration::from_secs(10) };
const TAIL: Limits = Limits { rows: 5, bytes: 50, age: Duration::from_secs(12) };
const TABLES: [&str; 2] = ["t", "u"];
const KEYS: u16 = 8;

/// A version of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    etag: u32,
    rows: u16,
}

#[derive(Debug, Clone, Copy)]
enum Sent {
    Row { key: u16, row: u16, content: Content },
    Commit(u64),
}

/// What a row holds: by the version that it is from, and by the option.
type Content = (u32, bool);

/// What is known of a table.
struct Table {
    name: &'static str,
    ledger: Ledger,
    schema: SchemaState,
    checkpoint: Checkpoint,
}

/// The destination.
#[derive(Debug, Clone, Default)]
struct Destination {
    rows: BTreeMap<(u16, u16), Content>,
    has_commit_table: bool,
    generation: Option<u64>,
    batch: Vec<Sent>,
    batch_bytes: u64,
    batch_began: Duration,
}

impl Destination {
    fn take(&mut self, sent: Sent, bytes: u64, now: Duration) {
        self.tick(now);
        if self.batch.is_empty() {
            self.batch_began = now;
        }
        self.batch.push(sent);
        self.batch_bytes += bytes;
        if self.batch.len() as u64 >= BATCH.rows || self.batch_bytes >= BATCH.bytes {
            self.write();
        }
    }

    fn tick(&mut self, now: Duration) {
        if now.saturating_sub(self.batch_began) >= BATCH.age {
            self.write();
        }
    }

    fn write(&mut self) {
        for sent in self.batch.drain(..) {
            match sent {
                Sent::Row { key, row, content } => drop(self.rows.insert((key, row), content)),
                Sent::Commit(generation) => self.generation = Some(generation),
            }
        }
        self.batch_bytes = 0;
    }
}

/// All were killed.
#[derive(Debug)]
struct Killed;

#[derive(Debug, Clone)]
struct World {
    /// Of the history.
    number: u64,
    /// The destination is the backend, too.
    is_backend: bool,
    state: BTreeMap<String, String>,
    bucket: BTreeMap<u16, Version>,
    destination: Destination,
    /// A sync was killed while it wrote at its end.
    may_be_torn: bool,
    /// What all columns depend on.
    option: bool,
    /// Versions that a checkpoint had, as long as they are in the bucket and the option stays.
    proven: BTreeSet<(u16, u32)>,
    etags: u32,
    now: Duration,
    random: Rng,
    /// Steps until all are killed.
    steps_left: Option<usize>,
    rows_sent: usize,
}

fn identity(table: &str) -> Identity<'_> {
    Identity { endpoint: "", bucket: "b", prefix: "", table, shard: None, state_id: "" }
}

fn columns() -> StoredSchema {
    StoredSchema { key: "k".to_owned(), schema: TableSchema::from_columns(Vec::new()) }
}

fn table_of(key: u16) -> &'static str {
    TABLES[usize::from(key >= KEYS / 2)]
}

fn with_object<T>(key: u16, version: Version, use_it: impl FnOnce(&Object<'_>) -> T) -> T {
    let (key, etag) = (format!("{}/{key}", table_of(key)), version.etag.to_string());
    use_it(&Object { key: &key, etag: Some(&etag), last_modified_s: 1_700_000_000 + i64::from(version.etag) })
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        Self {
            number: seed,
            is_backend: random.u8(..3) > 0,
            state: BTreeMap::new(),
            bucket: BTreeMap::new(),
            destination: Destination::default(),
            may_be_torn: false,
            option: false,
            proven: BTreeSet::new(),
            etags: 0,
            now: Duration::ZERO,
            random,
            steps_left: None,
            rows_sent: 0,
        }
    }

    fn step(&mut self) -> Result<(), Killed> {
        self.now += Duration::from_secs(self.random.u64(..3));
        self.destination.tick(self.now);
        match &mut self.steps_left {
            Some(0) => return Err(Killed),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    fn change_bucket(&mut self) {
        if self.random.u8(..10) == 0 {
            self.option = !self.option;
            self.proven.clear();
        }
        for _ in 0..self.random.usize(..5) {
            let key = self.random.u16(..KEYS);
            if self.random.u8(..5) == 0 {
                self.bucket.remove(&key);
            } else {
                self.etags += 1;
                self.bucket.insert(key, Version { etag: self.etags, rows: self.random.u16(..5) });
            }
        }
    }

    fn evidence(&self) -> Evidence {
        match self.destination.generation {
            Some(generation) if self.is_backend => Evidence::Stored(generation),
            None if self.is_backend && self.destination.has_commit_table => Evidence::NoRow,
            _ => Evidence::None,
        }
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.state.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The state of a table. What a sync wrote first at its end, and that by half, is an error, and a person removes it.
    fn load(&mut self, name: &'static str, commits: &Commits) -> Table {
        let identity = identity(name);
        let options = ColumnOptions { rules: format!("{}", self.option), file_columns: false };
        let is_torn = Ledger::load(&identity, self.entries(), commits).is_err()
            || SchemaState::load(&identity, self.entries(), &options).is_err();
        if is_torn {
            assert!(self.may_be_torn, "a checkpoint leaves nothing that cannot be used");
            let prefix = identity.state_prefix();
            self.state.retain(|key, _| !key.starts_with(&prefix));
            self.proven.retain(|(key, _)| table_of(*key) != name);
        }
        let entries: Vec<(&str, &str)> = self.entries().collect();
        let mut ledger = Ledger::load(&identity, entries.iter().copied(), commits).expect("nothing is there");
        let schema = SchemaState::load(&identity, entries.iter().copied(), &options).expect("a good schema");
        let checkpoint = Checkpoint::load(&identity, entries.iter().copied(), &mut ledger, &schema);
        assert_eq!(checkpoint.damage(), None);
        let mut table = Table { name, ledger, schema, checkpoint };
        if table.schema.is_outdated() {
            table.ledger.start_anew();
            table.checkpoint.start_anew();
        }
        table
    }

    fn write(&mut self, entries: impl IntoIterator<Item = (String, String)>) -> Result<(), Killed> {
        for (key, value) in entries {
            self.step()?;
            self.state.insert(key, value);
        }
        Ok(())
    }

    fn checkpoint(&mut self, tables: &mut [Table], stored: &[(u16, Version)]) -> Result<(), Killed> {
        for Table { name, ledger, schema, checkpoint } in tables {
            let of_table = stored.iter().filter(|(key, _)| table_of(*key) == *name);
            let hashes: Vec<u64> =
                of_table.map(|(key, version)| with_object(*key, *version, |o| o.hash()).expect("an ETag")).collect();
            if hashes.is_empty() {
                continue;
            }
            self.write(schema.found())?;
            self.write(schema.update(&columns()))?;
            self.write(checkpoint.add(hashes, ledger, schema, u64::MAX))?;
        }
        self.proven.extend(stored.iter().map(|(key, version)| (*key, version.etag)));
        Ok(())
    }

    /// A sync of these tables. Those of `bad` cannot be read.
    fn sync(&mut self, tables: &[&'static str], bad: &BTreeSet<u16>) -> Result<(), Killed> {
        let result = self.run(tables, bad);
        if result.is_ok() {
            self.destination.write();
        }
        (self.destination.batch, self.destination.batch_bytes, self.steps_left) = (Vec::new(), 0, None);
        result
    }

    fn run(&mut self, tables: &[&'static str], bad: &BTreeSet<u16>) -> Result<(), Killed> {
        let key = Commits::key(&identity(""));
        let value = self.state.get(&key).cloned();
        let commits = Commits::load(key, value.as_deref(), self.evidence()).expect("a good value");
        let mut tables: Vec<Table> = tables.iter().map(|name| self.load(name, &commits)).collect();
        self.step()?;
        let mut due = Vec::new();
        for Table { name, ledger, .. } in &tables {
            let of_table = self.bucket.iter().filter(|(key, _)| table_of(**key) == *name && !bad.contains(key));
            due.extend(of_table.filter(|(key, version)| !with_object(**key, **version, |o| ledger.is_done(o))));
        }
        let due: Vec<(u16, Version)> = due.into_iter().map(|(key, version)| (*key, *version)).collect();
        for (key, version) in &due {
            assert!(
                !self.proven.contains(&(*key, version.etag)),
                "history {}: object {key} is sent again behind a checkpoint",
                self.number
            );
        }
        if !due.is_empty() {
            self.destination.has_commit_table = true;
        }
        for Table { ledger, checkpoint, .. } in &mut tables {
            self.write(ledger.renounce().into_iter().chain(checkpoint.renounce()))?;
        }
        let mut tail = Tail::new(TAIL);
        for (key, version) in &due {
            for row in 0..version.rows {
                self.step()?;
                let bytes = self.random.u64(5..20);
                tail.message(1, bytes);
                let content = (version.etag, self.option);
                self.destination.take(Sent::Row { key: *key, row, content }, bytes, self.now);
                self.rows_sent += 1;
                if self.random.u8(..8) == 0 {
                    let stored = tail.stored(self.now);
                    self.checkpoint(&mut tables, &stored)?;
                }
            }
            tail.object((*key, *version), self.now);
        }
        self.step()?;
        drop(tail.stored(self.now));
        let last: HashSet<u16> = tail.objects().map(|(key, _)| *key).collect();
        let mut changes = Vec::new();
        for Table { name, ledger, mut schema, checkpoint } in tables {
            let adds_to_ledger = checkpoint.adds_to(&ledger);
            let mut update = ledger.update();
            for (key, version) in self.bucket.iter().filter(|(key, _)| table_of(**key) == name) {
                with_object(*key, *version, |object| match due.iter().any(|(sent, _)| sent == key) {
                    true if last.contains(key) => update.sent_last(object),
                    true => update.sent(object),
                    false => update.seen(object),
                });
            }
            let limits = LedgerLimits { ledger_limit: u64::MAX, newest_low_water_s: 0 };
            let ledger = update.finish(&limits);
            let needed = ledger.is_empty() || (ledger.revocable && adds_to_ledger);
            let emptied = if needed { Vec::new() } else { checkpoint.clear() };
            changes.push((ledger, schema.update(&columns()), emptied));
        }
        let generation = commits.next(7);
        let revocable = changes.iter().any(|(ledger, ..)| ledger.revocable);
        self.may_be_torn = true;
        self.write(revocable.then(|| commits.update(generation)))?;
        for (ledger, schema, emptied) in changes {
            self.write([schema, ledger.entries(generation), emptied].into_iter().flatten())?;
        }
        self.step()?;
        if revocable {
            self.destination.take(Sent::Commit(generation), 8, self.now);
        }
        self.step()?;
        self.step()
    }

    fn assert_nothing_is_lost(&self, history: u64, when: &str) {
        for (key, version) in &self.bucket {
            for row in 0..version.rows {
                let stored = self.destination.rows.get(&(*key, row));
                assert_eq!(
                    stored,
                    Some(&(version.etag, self.option)),
                    "history {history}, {when}: row {row} of object {key}"
                );
            }
        }
    }
}

fn history(number: u64) {
    let mut world = World::new(number);
    let syncs = world.random.usize(1..6);
    // How many in a row may be killed: without commit rows what was sent once more counts; with them, see MAX_MISSES.
    let (mut killed, most) = (0, if world.is_backend { MAX_MISSES as usize } else { 1 });
    let explored = world.random.usize(..syncs);
    for sync in 0..syncs {
        world.change_bucket();
        let choice = world.random.usize(..5);
        let tables: &[&'static str] = if choice < 2 { &TABLES[choice..=choice] } else { &TABLES };
        let bad: BTreeSet<u16> = (0..KEYS).filter(|_| world.random.u8(..12) == 0).collect();
        if sync == explored && killed < most {
            for steps in 0.. {
                let mut other = world.clone();
                other.steps_left = Some(steps);
                let was_killed = other.sync(tables, &bad).is_err();
                other.sync(&TABLES, &BTreeSet::new()).expect("not killed");
                other.assert_nothing_is_lost(number, &format!("sync {sync} killed at step {steps}"));
                if !was_killed {
                    break;
                }
            }
        }
        if killed < most && world.random.u8(..3) > 0 {
            world.steps_left = Some(world.random.usize(..40));
        }
        let whole = tables.len() == TABLES.len() && bad.is_empty();
        match world.sync(tables, &bad) {
            Err(Killed) => killed += 1,
            // Only what was sent once more is sure.
            Ok(()) if whole || world.is_backend => killed = 0,
            Ok(()) => {}
        }
    }
    world.sync(&TABLES, &BTreeSet::new()).expect("not killed");
    world.assert_nothing_is_lost(number, "at the end");
    // And it comes to rest: what is not sure is sent once more, then there is nothing to do.
    world.sync(&TABLES, &BTreeSet::new()).expect("not killed");
    let (sent, state) = (world.rows_sent, world.state.clone());
    world.sync(&TABLES, &BTreeSet::new()).expect("not killed");
    assert_eq!((world.rows_sent, &world.state), (sent, &state), "history {number}: an unchanged bucket");
}

// Four tests, so that they run side by side.

#[test]
fn no_row_is_lost_whenever_all_are_killed_1_of_4() {
    (0..HISTORIES).step_by(4).for_each(history);
}

#[test]
fn no_row_is_lost_whenever_all_are_killed_2_of_4() {
    (1..HISTORIES).step_by(4).for_each(history);
}

#[test]
fn no_row_is_lost_whenever_all_are_killed_3_of_4() {
    (2..HISTORIES).step_by(4).for_each(history);
}

#[test]
fn no_row_is_lost_whenever_all_are_killed_4_of_4() {
    (3..HISTORIES).step_by(4).for_each(history);
}
