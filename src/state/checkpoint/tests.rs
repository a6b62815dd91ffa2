//! Checkpoints by themselves: what is written, what it costs, and when it counts. That no row is lost with them is shown by
//! the model of syncs and destinations in `state::commit`.

use super::*;
use crate::schema::table::TableSchema;
use crate::state::MAX_VALUE_CHARS;
use crate::state::commit::{Commits, Evidence};
use crate::state::ledger::{Limits, Object};
use crate::state::schema::{ColumnOptions, StoredSchema};
use crate::state::table::TableState;

type Rows = std::collections::BTreeMap<String, String>;

const IDENTITY: Identity<'_> =
    Identity { endpoint: "", bucket: "b", prefix: "", table: "t", shard: None, state_id: "" };

struct Table {
    ledger: Ledger,
    schema: SchemaState,
    checkpoint: Checkpoint,
}

fn entries(rows: &Rows) -> impl Iterator<Item = (&str, &str)> + Clone {
    rows.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

fn options() -> ColumnOptions {
    ColumnOptions { rules: "1".to_owned(), file_columns: Vec::new() }
}

fn load(rows: &Rows) -> Table {
    let mut ledger = Ledger::load(&IDENTITY, entries(rows), &Commits::default()).unwrap();
    let schema = SchemaState::load(&IDENTITY, entries(rows), Some(&options())).unwrap();
    let checkpoint = Checkpoint::load(&IDENTITY, entries(rows), &mut ledger, &schema);
    Table { ledger, schema, checkpoint }
}

fn with_object<T>(number: u32, use_it: impl FnOnce(&Object<'_>) -> T) -> T {
    let key = format!("t/{number}.parquet");
    use_it(&Object { key: &key, etag: Some("\"1\""), last_modified_s: 1_700_000_000 })
}

impl Table {
    /// A checkpoint with these objects besides: what is written.
    fn add(&mut self, numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
        let columns =
            StoredSchema { key: "k".to_owned(), schema: TableSchema::from_columns(Vec::new()), pending: Vec::new() };
        let mut written = self.schema.update(&columns);
        let hashes = numbers.filter_map(|number| with_object(number, |object| object.hash())).collect();
        written.extend(self.checkpoint.add(hashes, &self.ledger, &self.schema, 20_000));
        written
    }

    fn done(&self, numbers: std::ops::Range<u32>) -> usize {
        numbers.filter(|number| with_object(*number, |object| self.ledger.is_done(object))).count()
    }
}

fn ledger_of(rows: &Rows, numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
    let mut update = load(rows).ledger.update();
    numbers.for_each(|number| with_object(number, |object| update.sent(object)));
    update.finish(&Limits { ledger_limit: u64::MAX, newest_low_water_s: 0 }).entries(1)
}

#[test]
fn a_checkpoint_writes_what_is_new_and_one_part_at_most() {
    let mut rows = Rows::new();
    let mut table = load(&rows);
    let (mut chars, mut largest) = (0, 0);
    for begin in (0..12_000).step_by(500) {
        let written = table.add(begin..begin + 500);
        let now: usize = written.iter().map(|(key, value)| key.len() + value.len()).sum();
        // The part that grows, one that it may fill, the head, and the number that is free again.
        assert!(written.len() <= 4 || begin == 0, "{}", written.len());
        assert!(written.iter().all(|(_, value)| value.is_ascii() && value.len() <= MAX_VALUE_CHARS));
        (chars, largest) = (chars + now, largest.max(now));
        rows.extend(written);
        assert_eq!(load(&rows).done(0..12_000), begin as usize + 500, "each is read as it was written");
    }
    let held: usize = entries(&rows).map(|(key, value)| key.len() + value.len()).sum();
    println!("12,000 objects: {held} characters in the state, {chars} written in 24 times, at most {largest} at once");
    assert!(held < 9 * 12_000 && largest < MAX_VALUE_CHARS + 9 * 500, "{held} {largest}");
    // The next sync goes on with it, up to the limit.
    let mut table = load(&rows);
    assert_eq!((table.checkpoint.joined(), table.checkpoint.objects()), (12_000, 12_000));
    rows.extend(table.add(12_000..30_000));
    assert_eq!(load(&rows).done(0..30_000), 20_000, "what lies above the limit is read again");
}

#[test]
fn it_counts_for_the_ledger_and_the_schema_that_it_names() {
    let mut rows = Rows::new();
    rows.extend(load(&rows).add(0..5));
    let first = rows.clone();
    assert_eq!(load(&rows).checkpoint.joined(), 5);
    rows.extend(ledger_of(&rows, 5..7));
    let table = load(&rows);
    assert_eq!((table.checkpoint.joined(), table.ledger.objects()), (0, 2), "another ledger was written since");
    assert_eq!(table.checkpoint.damage(), None);
    rows.extend(table.checkpoint.clear());
    assert!(entries(&rows).all(|(key, value)| !key.contains("checkpoint") || value.is_empty()));

    let mut rows = first;
    rows.retain(|key, _| !key.contains("schema"));
    let table = load(&rows);
    assert_eq!((table.checkpoint.joined(), table.checkpoint.damage()), (0, None), "its columns are not known");
}

/// At the limit no object is added, but the head has to name what the schema has become.
#[test]
fn it_follows_the_columns_where_nothing_is_added() {
    let of = |key: &str| StoredSchema {
        key: key.to_owned(),
        schema: TableSchema::from_columns(Vec::new()),
        pending: Vec::new(),
    };
    let mut rows = Rows::new();
    rows.extend(load(&rows).add(0..5));
    let mut table = load(&rows);
    let schema = table.schema.update(&of("another"));
    assert!(!schema.is_empty());
    let hashes = vec![with_object(5, |object| object.hash()).unwrap()];
    let written = table.checkpoint.add(hashes, &table.ledger, &table.schema, 5);
    assert_eq!(written.len(), 1, "the head alone: {written:?}");
    assert_eq!(table.checkpoint.add(vec![], &table.ledger, &table.schema, 5), []);
    rows.extend(schema);
    assert_eq!(load(&rows).done(0..9), 0, "other columns");
    rows.extend(written);
    assert_eq!((load(&rows).done(0..9), load(&rows).checkpoint.damage()), (5, None));

    // So at the end of a sync: the ledger before may come back, and with it the checkpoint.
    let state = TableState::load(&IDENTITY, entries(&rows), Some(&options()), &Commits::default()).unwrap();
    let mut update = state.update();
    with_object(7, |object| update.walk.sent_last(object));
    let limits = Limits { ledger_limit: u64::MAX, newest_low_water_s: 0 };
    rows.extend(update.finish(&IDENTITY, &limits, &of("a third")).entries(7));
    let commits = Commits::load("k".to_owned(), Some("v1 written=7 misses=0 dead= unproven="), Evidence::Stored(6));
    let again = TableState::load(&IDENTITY, entries(&rows), Some(&options()), &commits.unwrap()).unwrap();
    assert_eq!(again.done_by_checkpoint(), 5);
    // Where no rows are at stake it is empty, and stays so.
    let nothing = Checkpoint::default().add(vec![], &load(&Rows::new()).ledger, &load(&rows).schema, 5);
    assert_eq!(nothing, []);
}

#[test]
fn one_that_is_damaged_is_left_out_and_replaced() {
    let mut rows = Rows::new();
    rows.extend(load(&rows).add(0..5));
    let key = format!("{}checkpoint", IDENTITY.state_prefix());
    for damage in ["", "v1 nonsense", "v1 objects 5 00000"] {
        let mut damaged = rows.clone();
        damaged.insert(format!("{key}.0"), damage.to_owned());
        let mut table = load(&damaged);
        assert_eq!((table.ledger.objects(), table.checkpoint.joined()), (0, 0));
        assert!(table.checkpoint.damage().is_some_and(|what| what.contains(&key)), "{damage:?}");
        damaged.extend(table.add(3..6));
        assert_eq!((load(&damaged).done(0..9), load(&damaged).checkpoint.damage()), (3, None));
    }
    // Of one that was interrupted when it was written first, there is no head.
    rows.remove(&key);
    assert_eq!((load(&rows).ledger.objects(), load(&rows).checkpoint.damage()), (0, None));
}

#[test]
fn what_started_anew_leaves_nothing() {
    let mut rows = Rows::new();
    rows.extend(load(&rows).add(0..5));
    let mut table = load(&rows);
    table.ledger.start_anew();
    table.checkpoint.start_anew();
    assert!(table.checkpoint.is_anew() && !table.ledger.is_anew(), "there was no ledger");
    rows.extend(table.checkpoint.renounce());
    assert_eq!((table.checkpoint.renounce(), load(&rows).done(0..5)), (vec![], 0));
    rows.extend(table.add(7..9));
    assert_eq!(load(&rows).done(0..9), 2);
}

/// Frozen: the next release reads it.
#[test]
fn golden_checkpoint() {
    let mut table = load(&Rows::new());
    let written = table.add(0..3);
    let golden: Vec<(String, String)> =
        serde_json::from_str(include_str!("../../../tests/fixtures/state/checkpoint_v1.json")).unwrap();
    assert_eq!(written, golden);
    assert_eq!(load(&golden.into_iter().collect()).done(0..9), 3);
}
