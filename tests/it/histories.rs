//! Random histories of a bucket and of syncs that go well or not, against a simple model: which objects each sync has to
//! send, and what a destination that overwrites by `_cq_id` holds in the end.
//!
//! The plugin runs in this process, behind its channel: S3 and the backend are real servers, the peer is a loop that
//! takes messages, and goes away when the history says so.

use crate::rig::{spec, versioned_batch};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::{Bytes, BytesMut};
use cq_source_s3::cloudquery::source::{
    Backend as BackendOptions, Message, Selection, Source as _, SyncRequest, sync_channel,
};
use cq_source_s3::plugin::S3Source;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use testkit::backend::{Backend, Mode};
use testkit::client::decode;
use testkit::parquet_files::{self as files, Layout};
use testkit::s3_server::{Bucket, ObjectAttributes, S3Server};
use tokio_util::sync::CancellationToken;

const HISTORIES: u32 = 1_000;
const KEYS: [&str; 6] = ["t/0.parquet", "t/1.parquet", "t/2.parquet", "t/3.parquet", "u/0.parquet", "u/1.parquet"];
/// Rows of a row group: of a file that is damaged in its second one, so many arrive.
const GROUP_ROWS: usize = 3;
const MAX_ROWS: usize = 7;
/// The destination writes a batch when it has so many rows, and what is left at the end of a stream; what it holds when the
/// sync is killed is lost.
const BATCH_ROWS: usize = 5;

fn table(key: &str) -> &str {
    &key[..1]
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// No Parquet at all.
    Garbage,
    /// The second row group cannot be read.
    Damaged,
}

#[derive(Debug, Clone)]
enum Step {
    /// A new version; it was modified so many seconds after (or before) a fixed time, whatever came before.
    Put {
        key: usize,
        rows: usize,
        time: u64,
        health: Health,
    },
    /// The same content once more, also after it was deleted.
    Again {
        key: usize,
        time: u64,
    },
    Delete {
        key: usize,
    },
    Sync(Sync),
}

#[derive(Debug, Clone)]
struct Sync {
    choice: Choice,
    end: End,
}

/// What a sync reads.
#[derive(Debug, Clone, Copy)]
enum Choice {
    All,
    SkipTable(&'static str),
    Exclude(usize),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    /// All are killed after so many messages: the plugin may have written its state by then.
    Crash(usize),
    /// The backend stores so many keys, and fails then.
    FlushFails(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS.len();
    // Few times: late ones and equal ones are the rule.
    let time = 0..4_u64;
    let health = prop_oneof![6 => Just(Health::Good), 1 => Just(Health::Garbage), 1 => Just(Health::Damaged)];
    let choice = prop_oneof![
        4 => Just(Choice::All),
        1 => prop_oneof![Just("t"), Just("u")].prop_map(Choice::SkipTable),
        1 => key.clone().prop_map(Choice::Exclude),
    ];
    let end = prop_oneof![
        4 => Just(End::Well),
        2 => (0..12_usize).prop_map(End::Crash),
        1 => (0..9_usize).prop_map(End::FlushFails),
    ];
    let step = prop_oneof![
        6 => (key.clone(), 0..=MAX_ROWS, time.clone(), health)
            .prop_map(|(key, rows, time, health)| Step::Put { key, rows, time, health }),
        1 => (key.clone(), time).prop_map(|(key, time)| Step::Again { key, time }),
        2 => key.prop_map(|key| Step::Delete { key }),
        5 => (choice, end).prop_map(|(choice, end)| Step::Sync(Sync { choice, end })),
    ];
    prop::collection::vec(step, 1..16)
}

/// A version of an object.
#[derive(Debug, Clone)]
struct Version {
    /// `<key>#<number>`; the file's rows have it as `origin`.
    origin: String,
    rows: usize,
    health: Health,
    bytes: Bytes,
}

impl Version {
    fn new(key: &str, number: usize, rows: usize, health: Health) -> Self {
        let origin = format!("{key}#{number}");
        // Damage needs a second row group.
        let rows = if health == Health::Damaged { rows.max(GROUP_ROWS + 1) } else { rows };
        let layout = Layout { row_group_rows: Some(GROUP_ROWS), dictionary: false, ..Layout::default() };
        let file = files::write_batch(&versioned_batch(&origin, rows, 8), &layout);
        let bytes = match health {
            Health::Good => file,
            Health::Garbage => Bytes::from(format!("no Parquet: {origin}")),
            Health::Damaged => damaged(&file),
        };
        Self { origin, rows, health, bytes }
    }

    /// Rows that a first sync brings of it.
    fn rows_sent(&self) -> usize {
        match self.health {
            Health::Good => self.rows,
            Health::Garbage => 0,
            Health::Damaged => GROUP_ROWS,
        }
    }
}

fn damaged(file: &Bytes) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let (start, length) = reader.metadata().row_group(1).column(0).byte_range();
    let mut bytes = BytesMut::from(&file[..]);
    bytes[start as usize..][..length as usize].fill(0xAA);
    bytes.freeze()
}

/// Rows of a destination: by `_cq_id`, the number and the origin.
type Rows = BTreeMap<Vec<u8>, (usize, String)>;
/// Versions by their origin, of one table.
type Done = BTreeSet<String>;

/// A bucket and what is true of it, of the destination and of the state.
struct World<'a> {
    bucket: Bucket,
    backend: &'a Backend,
    endpoint: String,
    state_table: String,
    versions: usize,
    /// In the bucket.
    objects: BTreeMap<usize, Version>,
    /// The last content of each key, also of deleted ones.
    last: BTreeMap<usize, Version>,
    destination: Rows,
    /// What the destination should hold: by key and row number, the origin.
    expected: BTreeMap<(String, usize), String>,
    /// What the state may say is done, by table. More than one after a flush of which nobody knows how far it came.
    done: BTreeMap<&'static str, Vec<Done>>,
    /// Tables of which a flush succeeded.
    known: BTreeSet<&'static str>,
    /// Tables of which a flush may have succeeded, for all that is known.
    maybe_known: BTreeSet<&'static str>,
    /// Tables of which a flush succeeded that had a done object: only then the ledger has a head.
    headed: BTreeSet<&'static str>,
    /// Tables whose first flush failed.
    torn: BTreeSet<&'static str>,
}

impl World<'_> {
    fn put(&mut self, key: usize, version: Version, time: u64) {
        let last_modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_000_000 + time));
        let attributes = ObjectAttributes { last_modified, ..ObjectAttributes::default() };
        self.bucket.put_with(KEYS[key], version.bytes.clone(), attributes);
        self.last.insert(key, version.clone());
        self.objects.insert(key, version);
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Put { key, rows, time, health } => {
                self.versions += 1;
                self.put(key, Version::new(KEYS[key], self.versions, rows, health), time);
            }
            Step::Again { key, time } => {
                if let Some(version) = self.last.get(&key).cloned() {
                    self.put(key, version, time);
                }
            }
            Step::Delete { key } => {
                self.bucket.delete(KEYS[key]);
                self.objects.remove(&key);
            }
            Step::Sync(Sync { choice, end }) => self.sync(choice, end).await?,
        }
        Ok(())
    }

    /// A first flush came half: the set has no head. Neither all nor nothing was done.
    fn people_decide(&mut self, error: &str) -> Result<(), TestCaseError> {
        let torn = ["t", "u"].into_iter().find(|name| error.contains(&format!("the state of table {name:?}")));
        let torn = torn.expect("the error names the table");
        prop_assert!(self.torn.remove(torn), "{}", error);
        self.backend.remove_rows(&self.state_table, |key| key.contains(&format!("/{torn}/")));
        self.done.insert(torn, vec![Done::new()]);
        self.known.remove(torn);
        self.headed.remove(torn);
        Ok(())
    }

    /// A sync, and whether it did what it should.
    async fn sync(&mut self, choice: Choice, end: End) -> Result<(), TestCaseError> {
        let read = |key: usize| match choice {
            Choice::All => true,
            Choice::SkipTable(skipped) => table(KEYS[key]) != skipped,
            Choice::Exclude(excluded) => key != excluded,
        };
        let selected: Vec<Version> =
            self.objects.iter().filter(|(key, _)| read(**key)).map(|(_, version)| version.clone()).collect();
        if selected.is_empty() {
            return Ok(()); // a selection of nothing is another test's business
        }
        if let End::FlushFails(keys) = end {
            self.backend.fail_writes_after(keys);
        }
        let Outcome { result, sent, stored, committed } = self.run(choice, end).await;
        self.backend.repair();

        let mut arrived: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (_, row, origin) in rows(&sent) {
            let new = arrived.entry(origin.clone()).or_default().insert(row);
            prop_assert!(new, "row {row} of {origin} came twice");
        }
        for (id, row, origin) in rows(&stored) {
            self.destination.insert(id, (row, origin.clone()));
            let (key, _) = origin.split_once('#').unwrap();
            self.expected.insert((key.to_owned(), row), origin.clone());
        }
        prop_assert_eq!(self.held(), self.expected.clone(), "an id per key and row");

        let tables: BTreeSet<&'static str> =
            ["t", "u"].into_iter().filter(|name| selected.iter().any(|v| table(&v.origin) == *name)).collect();
        let result = match result {
            Some(result) => result,
            // Killed, but the last row of all, the commit row, is stored, and with it all others.
            None if committed => Ok(()),
            // Killed: whatever came and whatever was written, nothing is done; what is gone may be forgotten.
            None => {
                for name in tables {
                    let done = self.done.entry(name).or_insert_with(|| vec![Done::new()]);
                    forget(done, &self.objects);
                    self.maybe_known.insert(name);
                }
                return Ok(());
            }
        };
        if let Err(error) = &result
            && error.contains("cannot be used")
        {
            prop_assert!(sent.is_empty());
            return self.people_decide(error);
        }
        for name in tables {
            let of_table = |version: &&Version| table(&version.origin) == name;
            let came: Done = arrived.keys().filter(|origin| table(origin) == name).cloned().collect();
            let before = self.done.entry(name).or_insert_with(|| vec![Done::new()]);
            // What must have come if the state was this; files without rows leave no trace.
            before.retain(|done| {
                let due = selected.iter().filter(of_table).filter(|v| !done.contains(&v.origin) && v.rows_sent() > 0);
                due.map(|version| version.origin.clone()).collect::<Done>() == came
            });
            prop_assert!(!before.is_empty(), "table {}: not what was due came: {:?}", name, came);
            for version in selected.iter().filter(of_table).filter(|version| came.contains(&version.origin)) {
                prop_assert_eq!(arrived[&version.origin].len(), version.rows_sent(), "{}", &version.origin);
            }
            let readable = selected.iter().filter(of_table).any(|version| version.health != Health::Garbage);
            if !readable && !self.known.contains(name) {
                if self.maybe_known.contains(name) {
                    forget(before, &self.objects);
                }
                continue; // the table was left out
            }
            let in_bucket: Done =
                self.objects.values().filter(of_table).map(|version| version.origin.clone()).collect();
            let now_done = |done: &Done| -> Done {
                // Of a damaged one nothing comes a second time either.
                let sent = selected.iter().filter(of_table).filter(|version| version.health != Health::Garbage);
                let sent = sent.map(|version| version.origin.clone());
                done.intersection(&in_bucket).cloned().chain(sent).collect()
            };
            let after: Vec<Done> = before.iter().map(now_done).collect();
            if result.is_ok() {
                *before = after;
                self.known.insert(name);
                if before.iter().all(|done| !done.is_empty()) {
                    self.headed.insert(name);
                }
            } else {
                if !self.known.contains(name) || !self.headed.contains(name) {
                    self.torn.insert(name);
                }
                // No commit row was sent, so nothing of it counts, however much was written.
                forget(before, &self.objects);
            }
        }
        // A table without any object is forgotten, if its state knows its name.
        let emptied = ["t", "u"].into_iter().filter(|name| {
            self.objects.keys().all(|key| table(KEYS[*key]) != *name)
                && !matches!(choice, Choice::SkipTable(skipped) if skipped == *name)
        });
        for name in emptied {
            let before = self.done.entry(name).or_insert_with(|| vec![Done::new()]);
            if self.known.contains(name) && result.is_ok() {
                before.clear();
            }
            before.push(Done::new());
        }
        if let Err(error) = result {
            let failed = matches!(end, End::FlushFails(_)) && error.contains("failed to write state");
            prop_assert!(failed, "{}", error);
        }
        Ok(())
    }

    /// What the destination holds, by key and row.
    fn held(&self) -> BTreeMap<(String, usize), String> {
        let by_key = |(row, origin): &(usize, String)| {
            let key = origin.split_once('#').map(|(key, _)| key.to_owned()).unwrap_or_default();
            ((key, *row), origin.clone())
        };
        self.destination.values().map(by_key).collect()
    }

    /// Runs a sync in this process.
    async fn run(&self, choice: Choice, end: End) -> Outcome {
        let exclude = match choice {
            Choice::Exclude(key) => vec![KEYS[key]],
            _ => vec![],
        };
        let skip_tables = match choice {
            Choice::SkipTable(name) => vec![name.to_owned()],
            _ => vec![],
        };
        let spec = spec(&self.endpoint, json!({"bucket": self.bucket.name(), "exclude": exclude}));
        let source = S3Source::new();
        let client = source.init(spec.to_string().as_bytes(), false).expect("a good spec");
        let (sink, mut receiver) = sync_channel(2);
        let request = SyncRequest {
            selection: Selection { tables: vec!["*".to_owned()], skip_tables },
            backend: Some(BackendOptions {
                table_name: self.state_table.clone(),
                connection: self.backend.connection(),
            }),
            shard: None,
            with_error_messages: true,
        };
        let cancel = CancellationToken::new();
        let patience = match end {
            End::Crash(messages) => messages,
            _ => usize::MAX,
        };
        let commit_table = format!("{}_commits", self.state_table);
        let (mut sent, mut stored, mut batch) = (Vec::new(), Vec::new(), Vec::new());
        let mut committed = false;
        let mut store = |batch: &mut Vec<(String, RecordBatch)>| {
            for (table, rows) in batch.drain(..) {
                if table == commit_table {
                    committed = true;
                    self.backend.store_in(&table, vec![rows]);
                } else {
                    stored.push(rows);
                }
            }
        };
        let peer = async {
            for _ in 0..patience {
                match receiver.recv().await {
                    Some(Message::Insert { record, .. }) => {
                        let (schema, batches) = decode(&record).unwrap();
                        let table = schema.metadata()["cq:table_name"].clone();
                        if table != commit_table {
                            sent.extend(batches.iter().cloned());
                        }
                        batch.extend(batches.into_iter().map(|rows| (table.clone(), rows)));
                        if batch.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>() >= BATCH_ROWS {
                            store(&mut batch);
                        }
                    }
                    Some(Message::Migrate(schema)) => {
                        let (schema, _) = decode(&schema).unwrap();
                        if schema.metadata()["cq:table_name"] == commit_table {
                            self.backend.store_in(&commit_table, vec![]);
                        }
                    }
                    Some(_) => {}
                    None => {
                        store(&mut batch);
                        return true;
                    }
                }
            }
            drop(receiver);
            false
        };
        let (ended, result) = tokio::join!(peer, source.sync(&client, request, sink, cancel));
        let result = ended.then(|| result.map_err(|error| error.to_string()));
        Outcome { result, sent, stored, committed }
    }
}

/// What became of a sync.
struct Outcome {
    /// `None`: it was killed.
    result: Option<Result<(), String>>,
    /// What the plugin sent.
    sent: Vec<RecordBatch>,
    /// What the destination stored of it.
    stored: Vec<RecordBatch>,
    /// It stored the commit row.
    committed: bool,
}

/// Id, number and origin of all rows.
fn rows(batches: &[RecordBatch]) -> Vec<(Vec<u8>, usize, String)> {
    let mut rows = Vec::new();
    for batch in batches {
        let ids = batch.column_by_name("_cq_id").unwrap().as_fixed_size_binary();
        let numbers = batch.column_by_name("row").unwrap().as_primitive::<Int64Type>();
        let origins = batch.column_by_name("origin").unwrap().as_string::<i32>();
        let row = |at| (ids.value(at).to_vec(), numbers.value(at) as usize, origins.value(at).to_owned());
        rows.extend((0..batch.num_rows()).map(row));
    }
    rows
}

/// What is gone from the bucket may have left the state, or not.
fn forget(done: &mut Vec<Done>, objects: &BTreeMap<usize, Version>) {
    let in_bucket: Done = objects.values().map(|version| version.origin.clone()).collect();
    let forgotten: Vec<Done> = done.iter().map(|done| done.intersection(&in_bucket).cloned().collect()).collect();
    done.extend(forgotten);
}

async fn history(s3: &S3Server, backend: &Backend, number: usize, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World {
        bucket: s3.bucket(&format!("history-{number}")),
        backend,
        endpoint: s3.endpoint(),
        state_table: format!("state_{number}"),
        versions: 0,
        objects: BTreeMap::new(),
        last: BTreeMap::new(),
        destination: Rows::new(),
        expected: BTreeMap::new(),
        done: BTreeMap::new(),
        known: BTreeSet::new(),
        maybe_known: BTreeSet::new(),
        headed: BTreeSet::new(),
        torn: BTreeSet::new(),
    };
    for step in steps {
        world.step(step).await?;
    }
    // All is well again: a sync brings whatever is missing, and another one nothing.
    while !world.torn.is_empty() {
        let torn = world.torn.len();
        world.sync(Choice::All, End::Well).await?;
        if world.torn.len() == torn {
            break; // it was not torn: all or nothing of it had come
        }
    }
    for (key, version) in world.objects.clone() {
        if version.health != Health::Good {
            world.versions += 1;
            world.put(key, Version::new(KEYS[key], world.versions, version.rows, Health::Good), 0);
        }
    }
    world.sync(Choice::All, End::Well).await?;
    for version in world.objects.values() {
        let (key, _) = version.origin.split_once('#').unwrap();
        for row in 0..version.rows {
            prop_assert_eq!(world.expected.get(&(key.to_owned(), row)), Some(&version.origin), "{} row {}", key, row);
        }
    }
    let rows = world.destination.clone();
    let mut outcome = world.run(Choice::All, End::Well).await;
    // Of a bucket without objects no sync has looked at the state since.
    while let Some(Err(error)) = outcome.result.as_ref().filter(|_| !world.torn.is_empty()) {
        world.people_decide(error)?;
        outcome = world.run(Choice::All, End::Well).await;
    }
    prop_assert!(matches!(outcome.result, Some(Ok(()))), "{:?}", outcome.result);
    prop_assert!(outcome.sent.is_empty(), "an unchanged bucket");
    prop_assert_eq!(world.destination, rows);
    Ok(())
}

fn histories(mode: Mode, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (s3, backend) = runtime.block_on(async { (S3Server::start().await, Backend::start(mode).await) });
    let number = AtomicUsize::new(0);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(history(&s3, &backend, number, &steps))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

// Four tests, so that they run side by side.

#[test]
fn histories_1_of_4_end_with_the_newest_rows_that_were_read() {
    histories(Mode::Upsert, HISTORIES / 4);
}

#[test]
fn histories_2_of_4_end_with_the_newest_rows_that_were_read() {
    histories(Mode::Upsert, HISTORIES / 4);
}

#[test]
fn histories_3_of_4_end_so_with_a_backend_that_only_appends() {
    histories(Mode::Append, HISTORIES / 4);
}

#[test]
fn histories_4_of_4_end_so_with_a_backend_that_only_appends() {
    histories(Mode::Append, HISTORIES / 4);
}

/// However much of the first state came: the schema of a table may be there without its ledger's head.
#[test]
fn a_first_state_that_came_by_half_of_a_table_that_is_emptied_then() {
    for keys in 0..9 {
        let end = End::FlushFails(keys);
        let steps = [
            Step::Put { key: 1, rows: 0, time: 0, health: Health::Good },
            Step::Sync(Sync { choice: Choice::All, end }),
            Step::Delete { key: 1 },
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (s3, backend) = (S3Server::start().await, Backend::start(Mode::Append).await);
            history(&s3, &backend, keys, &steps).await.unwrap_or_else(|error| panic!("{keys} keys: {error}"));
        });
    }
}
