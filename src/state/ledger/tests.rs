//! The ledger against a model: random histories, torn writes, limits; and its size.

use super::chunks::{CHUNK_SIZES, ChunkSizes};
use super::update::LowWaterRise;
use super::*;
use crate::state::commit::Evidence;
use crate::state::{MAX_KEY_CHARS, MAX_VALUE_CHARS};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Rows = BTreeMap<String, String>;

/// So small that a few objects make many chunks.
const TINY: ChunkSizes = ChunkSizes { max: 8, full: 6, merged: 2 };
const NO_LIMIT: Limits = Limits { ledger_limit: u64::MAX, newest_low_water_s: 0 };
const IDENTITY: Identity<'_> =
    Identity { endpoint: "", bucket: "b", prefix: "", table: "t", shard: None, state_id: "" };

fn load(rows: &Rows) -> Result<Ledger, BadState> {
    load_with(rows, &commits("written=1 misses=0 dead= unproven=", Evidence::Stored(2)))
}

fn load_with(rows: &Rows, commits: &Commits) -> Result<Ledger, BadState> {
    Ledger::load(&IDENTITY, rows.iter().map(|(key, value)| (key.as_str(), value.as_str())), commits)
}

/// What a sync writes, and what it says of it.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    entries: Vec<(String, String)>,
    objects: u64,
    added: u64,
    forgotten: u64,
    collapse: Option<LowWaterRise>,
}

impl Written {
    fn of(changes: StateWrites, generation: u64) -> Self {
        let StateWrites { objects, added, forgotten, collapse, .. } = changes;
        Self { entries: changes.entries(generation), objects, added, forgotten, collapse }
    }
}

/// An object of the model: key number, ETag number, last modification.
type Put = (u16, u16, i64);

fn with_object<T>(&(key, etag, last_modified_s): &Put, use_it: impl FnOnce(&Object<'_>) -> T) -> T {
    let (key, etag) = (format!("raw/{key:05}.parquet"), format!("\"{etag}\""));
    use_it(&Object { key: &key, etag: Some(&etag), last_modified_s })
}

/// A sync that sends what is not done and not in `held_back`; all are in the bucket.
fn sync(rows: &Rows, bucket: &[Put], held_back: &BTreeSet<u16>, limits: &Limits, sizes: ChunkSizes) -> Written {
    let ledger = load(rows).unwrap();
    let sent: Vec<bool> = bucket
        .iter()
        .map(|put| !held_back.contains(&put.0) && !with_object(put, |object| ledger.is_done(object)))
        .collect();
    let mut update = ledger.update();
    for (put, sent) in bucket.iter().zip(sent) {
        with_object(put, |object| if sent { update.sent(object) } else { update.seen(object) });
    }
    let changes = Written::of(update.finish_with(limits, sizes), 1);
    for (key, value) in &changes.entries {
        assert!(key.is_ascii() && key.len() <= MAX_KEY_CHARS && key.starts_with(&IDENTITY.state_prefix()), "{key}");
        assert!(value.is_ascii() && value.len() <= MAX_VALUE_CHARS, "{key}: {}", value.len());
    }
    changes
}

/// `count` objects, 50 in a second.
fn many(count: u16) -> Vec<Put> {
    (0..count).map(|key| (key, 0, 1_700_000_000 + i64::from(key / 50))).collect()
}

fn is_done(rows: &Rows, put: &Put) -> bool {
    let ledger = load(rows).unwrap();
    with_object(put, |object| ledger.is_done(object))
}

#[test]
fn done_is_this_key_with_this_etag() {
    let mut rows = Rows::new();
    assert!(!is_done(&rows, &(1, 1, 10)));
    let changes = sync(&rows, &[(1, 1, 10), (2, 1, 10)], &BTreeSet::from([2]), &NO_LIMIT, CHUNK_SIZES);
    assert_eq!((changes.objects, changes.added, changes.forgotten), (1, 1, 0));
    rows.extend(changes.entries);
    assert!(is_done(&rows, &(1, 1, 10)));
    assert!(is_done(&rows, &(1, 1, 99)), "the time does not matter");
    assert!(!is_done(&rows, &(1, 2, 10)), "replaced");
    assert!(!is_done(&rows, &(2, 1, 10)), "failed");
    let without_etag = Object { key: "raw/00001.parquet", etag: None, last_modified_s: 10 };
    assert!(!load(&rows).unwrap().is_done(&without_etag));
}

#[test]
fn what_a_partial_listing_does_not_name_stays_done_and_costs_no_write() {
    let (all, nobody) = (many(12_000), BTreeSet::new());
    let mut rows = Rows::new();
    rows.extend(sync(&rows, &all, &nobody, &NO_LIMIT, CHUNK_SIZES).entries);
    let listed_partly = |rows: &Rows, listed: &[Put], sent: &[Put], limits: &Limits| {
        let mut update = load(rows).unwrap().update();
        listed.iter().for_each(|put| with_object(put, |object| update.seen(object)));
        sent.iter().for_each(|put| with_object(put, |object| update.sent(object)));
        update.keep_unseen();
        Written::of(update.finish(limits), 1)
    };
    let few = Limits { ledger_limit: 100, newest_low_water_s: i64::MAX };
    for listed in [&all[..0], &all[..100], &all[11_900..]] {
        let changes = listed_partly(&rows, listed, &[], &few);
        assert_eq!((changes.objects, changes.forgotten, changes.collapse), (12_000, 0, None));
        assert_eq!(changes.entries, []);
    }
    // One object more: the newest chunk is written, and the others are where they were.
    let new = (12_000, 0, 1_700_000_999);
    let changes = listed_partly(&rows, &all[11_900..], &[new], &NO_LIMIT);
    assert!(changes.entries.len() <= 3, "{}", changes.entries.len());
    rows.extend(changes.entries);
    assert!(is_done(&rows, &all[0]) && is_done(&rows, &all[6_000]) && is_done(&rows, &new));
    let whole = [all.as_slice(), &[new]].concat();
    assert_eq!(sync(&rows, &whole, &nobody, &NO_LIMIT, CHUNK_SIZES).entries, []);
    // A whole listing forgets what is gone.
    let changes = sync(&rows, &whole[100..], &nobody, &NO_LIMIT, CHUNK_SIZES);
    assert_eq!((changes.objects, changes.forgotten), (11_901, 100));
}

#[test]
fn rows_of_versions_that_failed_stay_behind_a_partial_listing() {
    let mut rows = Rows::new();
    let (a, b) = ((1, 1, 10), (2, 1, 10));
    let mut update = load(&rows).unwrap().update();
    for put in [a, b] {
        with_object(&put, |object| update.seen(object));
        with_object(&put, |object| update.sent_partly(object, 7));
    }
    rows.extend(update.finish(&NO_LIMIT).entries(1));
    let mut update = load(&rows).unwrap().update();
    with_object(&a, |object| update.sent(object));
    update.keep_unseen();
    rows.extend(update.finish(&NO_LIMIT).entries(1));
    let rows_sent = |put: &Put| with_object(put, |object| load(&rows).unwrap().rows_sent(object));
    assert_eq!((rows_sent(&a), rows_sent(&b)), (0, 7));
}

#[test]
fn rows_of_a_version_that_failed_are_remembered_until_it_is_another_one() {
    let mut rows = Rows::new();
    let sync = |rows: &Rows, bucket: &[Put], partly: &[(Put, u64)]| {
        let mut update = load(rows).unwrap().update();
        for put in bucket {
            with_object(put, |object| update.seen(object));
        }
        for (put, sent) in partly {
            with_object(put, |object| update.sent_partly(object, *sent));
        }
        update.finish(&NO_LIMIT).entries(1)
    };
    let rows_sent = |rows: &Rows, put: &Put| with_object(put, |object| load(rows).unwrap().rows_sent(object));
    let (a, b) = ((1, 1, 10), (2, 1, 10));
    rows.extend(sync(&rows, &[a, b], &[(a, 1_000)]));
    assert_eq!((rows_sent(&rows, &a), rows_sent(&rows, &b), rows_sent(&rows, &(1, 2, 10))), (1_000, 0, 0));
    assert!(!is_done(&rows, &a) && !load(&rows).unwrap().is_empty());
    assert_eq!(sync(&rows, &[a, b], &[]), [], "not tried, or failed at once: as before");
    rows.extend(sync(&rows, &[a, b], &[(a, 2_000), (b, 5)]));
    assert_eq!((rows_sent(&rows, &a), rows_sent(&rows, &b)), (2_000, 5));
    rows.extend(sync(&rows, &[(1, 2, 10), b], &[]));
    assert_eq!((rows_sent(&rows, &a), rows_sent(&rows, &b)), (0, 5), "replaced");
    let done = {
        let mut update = load(&rows).unwrap().update();
        with_object(&b, |object| update.sent(object));
        update.finish(&NO_LIMIT).entries(1)
    };
    rows.extend(done);
    assert_eq!((rows_sent(&rows, &b), is_done(&rows, &b)), (0, true));
    let mut ledger = load(&rows).unwrap();
    ledger.start_anew();
    assert!(ledger.is_empty());
}

#[test]
fn an_empty_table_writes_nothing() {
    assert_eq!(sync(&Rows::new(), &[], &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES).entries, []);
}

#[test]
fn new_objects_change_the_newest_chunk_and_late_ones_theirs() {
    let prefix = IDENTITY.state_prefix();
    let keys = |changes: &Written| -> Vec<String> {
        changes.entries.iter().map(|(key, _)| key.strip_prefix(&prefix).unwrap().to_owned()).collect()
    };
    let mut rows = Rows::new();
    let mut bucket = many(12_000);
    let changes = sync(&rows, &bucket, &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES);
    assert_eq!(keys(&changes), ["ledger.0", "ledger.1", "ledger.2", "ledger"]);
    rows.extend(changes.entries);
    assert_eq!(sync(&rows, &bucket, &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES).entries, [], "nothing new");

    bucket.push((12_001, 0, 1_700_001_000));
    let newest = sync(&rows, &bucket, &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES);
    assert_eq!(keys(&newest), ["ledger.3", "ledger.prev", "ledger"]);
    rows.extend(newest.entries);
    bucket.push((12_002, 0, 1_600_000_000));
    let late = sync(&rows, &bucket, &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES);
    assert_eq!(keys(&late), ["ledger.4", "ledger.prev", "ledger"], "one part, in a place that neither needs");
    assert!(late.entries[0].1.starts_with("v1 0.0000000000000000 5001 "), "{}", &late.entries[0].1[..40]);
    rows.extend(late.entries);
    bucket.retain(|put| put.0 != 6_000);
    let gone = sync(&rows, &bucket, &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES);
    assert_eq!((gone.forgotten, gone.objects), (1, 12_001));
    assert_eq!(keys(&gone)[..3], ["ledger.2", "ledger", "ledger.prev"], "no rows are at stake: none is kept");
}

#[test]
fn a_second_with_too_many_objects_is_cut_too() {
    let bucket: Vec<Put> = (0..12_000).map(|key| (key, 0, 5)).collect();
    let mut rows = Rows::new();
    rows.extend(sync(&rows, &bucket, &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES).entries);
    assert_eq!(load(&rows).unwrap().starts.len(), 3);
    assert_eq!(sync(&rows, &bucket, &BTreeSet::new(), &NO_LIMIT, CHUNK_SIZES).entries, []);
}

#[test]
fn above_the_limit_the_oldest_become_a_time() {
    let mut rows = Rows::new();
    let held_back = BTreeSet::from([3, 999]);
    let limits = Limits { ledger_limit: 600, newest_low_water_s: i64::MAX };
    let changes = sync(&rows, &many(1_000), &held_back, &limits, TINY);
    // 998 are done, 398 too many; the time of the last of them is that of objects 350 to 399.
    let collapse = LowWaterRise { low_water_s: 1_700_000_007, objects: 399, unseen: 1 };
    assert_eq!(changes.collapse, Some(collapse));
    assert_eq!(changes.objects, 599);
    rows.extend(changes.entries);
    assert!(is_done(&rows, &(3, 0, 1_700_000_000)), "below the low water");
    assert!(is_done(&rows, &(7_777, 1, 1_700_000_007)), "an old object that arrives later is not seen");
    assert!(!is_done(&rows, &(7_777, 1, 1_700_000_008)));
    assert!(!is_done(&rows, &(999, 0, 1_700_000_019)));
    let again = sync(&rows, &many(1_000), &held_back, &limits, TINY);
    assert_eq!((again.entries, again.collapse), (Vec::new(), None));
}

#[test]
fn the_low_water_never_passes_its_newest_time() {
    let mut rows = Rows::new();
    let limits = Limits { ledger_limit: 10, newest_low_water_s: 1_700_000_004 };
    let changes = sync(&rows, &many(1_000), &BTreeSet::new(), &limits, TINY);
    assert_eq!(changes.collapse.unwrap().low_water_s, 1_700_000_004);
    assert_eq!(changes.objects, 750, "above the limit, but too young");
    rows.extend(changes.entries);
    assert!(!is_done(&rows, &(7_777, 1, 1_700_000_005)));
    // A clock that goes back changes nothing.
    let back = Limits { newest_low_water_s: -5, ..limits };
    let changes = sync(&rows, &many(1_000), &BTreeSet::new(), &back, TINY);
    assert_eq!((changes.entries, changes.collapse), (Vec::new(), None));
    // Time goes by: some more.
    let later = Limits { newest_low_water_s: 1_700_000_005, ..limits };
    let changes = sync(&rows, &many(1_000), &BTreeSet::new(), &later, TINY);
    assert_eq!(changes.collapse.unwrap(), LowWaterRise { low_water_s: 1_700_000_005, objects: 50, unseen: 0 });
}

#[test]
fn a_bad_state_says_how_to_reset_it() {
    let mut rows = Rows::new();
    rows.extend(sync(&rows, &many(10), &BTreeSet::new(), &NO_LIMIT, TINY).entries);
    let prefix = IDENTITY.state_prefix();
    rows.remove(&format!("{prefix}ledger.1"));
    assert_eq!(
        load(&rows).unwrap_err().to_string(),
        format!(
            "the state of table \"t\" cannot be used: {prefix}ledger.1 is missing, which {prefix}ledger counts on; to \
             read the whole table again, delete the rows whose key starts with \"{prefix}\" from the backend's state \
             table, or give the spec another state_id"
        )
    );
}

const GOLDEN_LIMITS: Limits = Limits { ledger_limit: 250, newest_low_water_s: i64::MAX };
const GOLDEN_SIZES: ChunkSizes = ChunkSizes { max: 120, full: 100, merged: 40 };

fn assert_golden(golden: &Rows, commits: &Commits) {
    let ledger = load_with(golden, commits).unwrap();
    assert_eq!((ledger.objects(), ledger.low_water), (249, 1_700_000_000));
    for put in many(300) {
        assert_eq!(with_object(&put, |object| ledger.is_done(object)), put.0 != 290, "{put:?}");
    }
}

/// Frozen: what 0.1.0 wrote is read, whatever is known of commits.
#[test]
fn golden_ledger() {
    let golden: Rows = serde_json::from_str(include_str!("../../../tests/fixtures/state/ledger_v1.json")).unwrap();
    assert_golden(&golden, &commits("written=9 misses=0 dead=1-8 unproven=", Evidence::Stored(1)));
    let written: Rows = sync(&Rows::new(), &many(300), &BTreeSet::from([290]), &GOLDEN_LIMITS, GOLDEN_SIZES)
        .entries
        .into_iter()
        .collect();
    let parts = |rows: &Rows| {
        rows.iter().filter(|(key, _)| !key.ends_with("/ledger")).map(|(k, v)| (k.clone(), v.clone())).collect::<Rows>()
    };
    assert_eq!(parts(&written), parts(&golden), "chunks are what they were");
}

/// Frozen: the next release reads it. (Rewritten never; a change of the format gets a new version and a new file.)
#[test]
fn golden_ledger_with_a_generation() {
    let golden: Rows =
        serde_json::from_str(include_str!("../../../tests/fixtures/state/ledger_commit_v1.json")).unwrap();
    let mut written = Rows::new();
    let first = sync(&written, &many(300), &BTreeSet::from([290]), &GOLDEN_LIMITS, GOLDEN_SIZES);
    written.extend(first.entries);
    // A second sync, of which three objects were sent last.
    let mut bucket = many(300);
    bucket.extend((300..310).map(|key| (key, 0, 1_700_000_006)));
    let held_back = BTreeSet::from([290]);
    let changes = sync_last(&load(&written).unwrap(), &bucket, &held_back, &BTreeSet::from([307, 308, 309]));
    written.extend(Written::of(changes, 2).entries);
    assert_eq!(written, golden);

    let value = "written=2 misses=0 dead= unproven=";
    assert_golden(&golden, &commits(value, Evidence::Stored(1)));
    let done = |evidence| {
        let ledger = load_with(&golden, &commits(value, evidence)).unwrap();
        let done = (300..310).filter(|key| with_object(&(*key, 0, 1_700_000_006), |object| ledger.is_done(object)));
        (done.count(), ledger.lost(), ledger.again())
    };
    assert_eq!(done(Evidence::Stored(2)), (10, 0, 0));
    assert_eq!(done(Evidence::Stored(1)), (0, 10, 0), "the rows of the second sync are not stored");
    assert_eq!(done(Evidence::NoRow), (7, 0, 3), "nothing is known of the last ones");
}

fn commits(value: &str, evidence: Evidence) -> Commits {
    Commits::load("k".to_owned(), Some(&format!("v1 {value}")), evidence).unwrap()
}

/// As [`sync`], with objects that were sent last.
fn sync_last(ledger: &Ledger, bucket: &[Put], held_back: &BTreeSet<u16>, last: &BTreeSet<u16>) -> StateWrites {
    let done: Vec<bool> = bucket.iter().map(|put| with_object(put, |object| ledger.is_done(object))).collect();
    let mut update = ledger.clone().update();
    for (put, done) in bucket.iter().zip(done) {
        with_object(put, |object| match (done || held_back.contains(&put.0), last.contains(&put.0)) {
            (true, _) => update.seen(object),
            (false, true) => update.sent_last(object),
            (false, false) => update.sent(object),
        });
    }
    update.finish_with(&NO_LIMIT, GOLDEN_SIZES)
}

/// A state after two syncs: objects 0 to 99 in generation 1, 100 to 109 in generation 2, the last three of them last.
fn two_syncs() -> Rows {
    let mut rows = Rows::new();
    for (generation, count) in [(1, 100), (2, 110)] {
        let last = BTreeSet::from([count - 3, count - 2, count - 1]);
        let commits = commits(&format!("written={} misses=0 dead= unproven=", generation - 1), Evidence::Stored(1));
        let changes = sync_last(&load_with(&rows, &commits).unwrap(), &many(count), &BTreeSet::new(), &last);
        rows.extend(Written::of(changes, generation).entries);
    }
    rows
}

#[test]
fn what_was_never_stored_is_taken_back_even_if_nothing_comes_in_its_place() {
    let rows = two_syncs();
    let dead = commits("written=2 misses=0 dead= unproven=", Evidence::Stored(1));
    let ledger = load_with(&rows, &dead).unwrap();
    assert_eq!((ledger.objects(), ledger.lost()), (100, 10));
    // Nothing could be sent this time: the state must say so, or a later generation would make it count.
    let all: BTreeSet<u16> = (100..110).collect();
    let changes = sync_last(&ledger, &many(110), &all, &BTreeSet::new());
    assert!(!changes.revocable);
    let mut after = rows.clone();
    after.extend(changes.entries(3));
    let later = commits("written=9 misses=0 dead= unproven=", Evidence::Stored(9));
    assert_eq!(load_with(&after, &later).unwrap().objects(), 100);
    // They are sent again, and that is interrupted again: still the ledger of the first sync.
    let changes = sync_last(&ledger, &many(110), &BTreeSet::new(), &all);
    let mut after = rows.clone();
    after.extend(changes.entries(3));
    let dead = commits("written=3 misses=1 dead=2 unproven=", Evidence::Stored(1));
    assert_eq!(load_with(&after, &dead).unwrap().objects(), 100);
    let stored = commits("written=3 misses=1 dead=2 unproven=", Evidence::Stored(3));
    assert_eq!(load_with(&after, &stored).unwrap().objects(), 110);
}

#[test]
fn what_was_sent_last_is_sent_once_more_where_nothing_is_known() {
    let rows = two_syncs();
    let last = BTreeSet::from([107, 108, 109]);
    for (evidence, again) in [(Evidence::None, 0), (Evidence::NoRow, 3)] {
        let ledger = load_with(&rows, &commits("written=2 misses=0 dead= unproven=1", evidence)).unwrap();
        assert_eq!((ledger.objects(), ledger.again()), (107, 3));
        let changes = sync_last(&ledger, &many(110), &BTreeSet::new(), &last);
        assert!(changes.revocable);
        let mut after = rows.clone();
        after.extend(changes.entries(3));
        let ledger = load_with(&after, &commits("written=3 misses=1 dead= unproven=1-2", evidence)).unwrap();
        assert_eq!(ledger.again(), again, "{evidence:?}: once, if there is no table of commits");
    }
    // What is gone meanwhile is no object to send, and no longer in the state.
    let ledger = load_with(&rows, &commits("written=2 misses=0 dead= unproven=1", Evidence::None)).unwrap();
    let changes = sync_last(&ledger, &many(107), &BTreeSet::new(), &BTreeSet::new());
    assert!(!changes.revocable && !changes.is_empty());
}

#[test]
fn the_low_water_stays_below_what_may_be_sent_once_more() {
    let ledger = load(&Rows::new()).unwrap();
    let mut update = ledger.update();
    for put in many(1_000) {
        with_object(&put, |object| if put.0 == 500 { update.sent_last(object) } else { update.sent(object) });
    }
    let limits = Limits { ledger_limit: 10, newest_low_water_s: i64::MAX };
    let changes = update.finish_with(&limits, CHUNK_SIZES);
    assert_eq!(
        changes.collapse.map(|collapse| collapse.low_water_s),
        Some(1_700_000_009),
        "object 500 is of the next second"
    );
}

/// Bytes an object at a million objects, and that the walk over them does what it does for a few.
#[test]
fn a_million_objects_take_nine_bytes_each() {
    const COUNT: u32 = 1_000_000;
    let object = |number: u32, use_it: &mut dyn FnMut(&Object<'_>)| {
        let key = format!("raw/orders/2024/{number:08}.parquet");
        use_it(&Object { key: &key, etag: Some("\"0123\""), last_modified_s: 1_700_000_000 + i64::from(number / 7) });
    };
    let mut update = load(&Rows::new()).unwrap().update();
    (0..COUNT).for_each(|number| object(number, &mut |object| update.sent(object)));
    let started = std::time::Instant::now();
    let changes = Written::of(update.finish(&NO_LIMIT), 1);
    let flush = started.elapsed();
    let chars: usize = changes.entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(changes.entries.iter().all(|(_, value)| value.len() <= MAX_VALUE_CHARS));
    assert!(chars <= 9 * COUNT as usize, "{chars}");
    let rows: Rows = changes.entries.into_iter().collect();
    let started = std::time::Instant::now();
    let ledger = load(&rows).unwrap();
    println!(
        "{} keys, {:.3} characters an object (keys included), flush built in {flush:?}, loaded in {:?}",
        rows.len(),
        chars as f64 / f64::from(COUNT),
        started.elapsed()
    );
    assert_eq!(ledger.objects(), u64::from(COUNT));
    assert_eq!(size_of::<Entry>(), 12);
    let mut update = ledger.update();
    (0..COUNT).for_each(|number| object(number, &mut |object| update.seen(object)));
    assert!(update.finish(&NO_LIMIT).is_empty());
}

/// What happens to a bucket and its state between two syncs.
#[derive(Debug, Clone)]
struct Step {
    puts: Vec<Put>,
    deletes: Vec<u16>,
    held_back: BTreeSet<u16>,
    write: Write,
}

/// How much of what a sync changed reaches the backend.
#[derive(Debug, Clone)]
enum Write {
    All,
    /// Of this percentage of the keys, from the first.
    UpTo(usize),
    /// All but this one (modulo their number).
    Without(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..60_u16, 0..3_u16, 1..30_i64);
    let write = prop_oneof![
        6 => Just(Write::All),
        2 => (0..100_usize).prop_map(Write::UpTo),
        1 => any::<usize>().prop_map(Write::Without),
    ];
    (
        prop::collection::vec(put, 0..40),
        prop::collection::vec(0..60_u16, 0..10),
        prop::collection::btree_set(0..60_u16, 0..10),
        write,
    )
        .prop_map(|(puts, deletes, held_back, write)| Step { puts, deletes, held_back, write })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_histories_agree_with_a_set(steps in prop::collection::vec(step(), 1..12)) {
        let mut rows = Rows::new();
        let mut bucket: BTreeMap<u16, (u16, i64)> = BTreeMap::new();
        let mut done: BTreeSet<(u16, u16)> = BTreeSet::new();
        for step in steps {
            bucket.extend(step.puts.iter().map(|&(key, etag, time)| (key, (etag, time))));
            step.deletes.iter().for_each(|key| { bucket.remove(key); });
            let listing: Vec<Put> = bucket.iter().map(|(&key, &(etag, time))| (key, etag, time)).collect();
            let ledger = load(&rows).unwrap();
            for put in &listing {
                let known = with_object(put, |object| ledger.is_done(object));
                prop_assert_eq!(known, done.contains(&(put.0, put.1)), "{:?}", put);
            }
            let changes = sync(&rows, &listing, &step.held_back, &NO_LIMIT, TINY);
            let after: BTreeSet<(u16, u16)> = listing
                .iter()
                .filter(|put| done.contains(&(put.0, put.1)) || !step.held_back.contains(&put.0))
                .map(|put| (put.0, put.1))
                .collect();
            prop_assert_eq!(changes.objects, after.len() as u64);
            prop_assert_eq!(changes.forgotten, done.difference(&after).count() as u64);
            prop_assert_eq!(changes.added, after.difference(&done).count() as u64);
            if after == done {
                // Times may have moved objects to other chunks; that they are in the ledger did not change.
                prop_assert_eq!((changes.added, changes.forgotten), (0, 0));
            }
            let mut entries = changes.entries;
            let all = entries.len();
            match step.write {
                Write::All => {}
                Write::UpTo(share) => entries.truncate(all * share / 100),
                Write::Without(index) if all > 0 => { entries.remove(index % all); }
                Write::Without(_) => {}
            }
            let whole = entries.len() == all;
            let mut written = rows.clone();
            written.extend(entries);
            match load(&written) {
                // The old one or the new one, never a mixture, and never nothing in place of something.
                Ok(ledger) => {
                    let is = |set: &BTreeSet<(u16, u16)>| {
                        ledger.objects() == set.len() as u64
                            && set.iter().all(|&(key, etag)| with_object(&(key, etag, 1), |o| ledger.is_done(o)))
                    };
                    if whole || (is(&after) && !is(&done)) {
                        prop_assert!(is(&after));
                        done = after;
                    } else {
                        prop_assert!(is(&done));
                    }
                    rows = written;
                    if whole {
                        let again = sync(&rows, &listing, &step.held_back, &NO_LIMIT, TINY);
                        prop_assert_eq!(again.entries, vec![], "nothing changed");
                    }
                }
                // The user was told. Go on as if it had not been written.
                Err(error) => {
                    prop_assert!(!whole, "{}", error);
                    prop_assert!(error.to_string().contains("state_id"));
                }
            }
        }
    }

    #[test]
    fn with_a_limit_only_the_low_water_adds_to_what_is_done(
        steps in prop::collection::vec((step(), 1..40_u64, 0..35_i64), 1..10),
    ) {
        let mut rows = Rows::new();
        let mut bucket: BTreeMap<u16, (u16, i64)> = BTreeMap::new();
        let mut sent: BTreeSet<(u16, u16)> = BTreeSet::new();
        let mut low_water = 0;
        for (step, ledger_limit, newest_low_water_s) in steps {
            bucket.extend(step.puts.iter().map(|&(key, etag, time)| (key, (etag, time))));
            step.deletes.iter().for_each(|key| { bucket.remove(key); });
            let listing: Vec<Put> = bucket.iter().map(|(&key, &(etag, time))| (key, etag, time)).collect();
            let ledger = load(&rows).unwrap();
            for put in &listing {
                if with_object(put, |object| ledger.is_done(object)) {
                    prop_assert!(sent.contains(&(put.0, put.1)) || put.2 <= low_water, "{:?}", put);
                } else if !step.held_back.contains(&put.0) {
                    sent.insert((put.0, put.1));
                }
            }
            let limits = Limits { ledger_limit, newest_low_water_s };
            let changes = sync(&rows, &listing, &step.held_back, &limits, TINY);
            if let Some(collapse) = changes.collapse {
                prop_assert!(collapse.low_water_s > low_water && collapse.low_water_s <= newest_low_water_s);
                low_water = collapse.low_water_s;
            }
            let young = listing.iter().filter(|put| put.2 > newest_low_water_s.max(low_water)).count() as u64;
            prop_assert!(changes.objects <= ledger_limit.max(young), "{} {}", changes.objects, young);
            rows.extend(changes.entries);
            let again = sync(&rows, &listing, &step.held_back, &limits, TINY);
            prop_assert_eq!(again.entries, vec![]);
        }
    }
}
