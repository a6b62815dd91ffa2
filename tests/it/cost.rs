//! What a sync costs: requests and bytes, by the size of the objects.

use crate::rig::{Rig, versioned};
use bytes::Bytes;
use serde_json::json;
use testkit::client::{Collected, assert_protocol};
use testkit::parquet_files as files;
use testkit::s3_server::{Op, S3Server};

const MIB: u64 = 1 << 20;

/// A file of about this size, in row groups of at most `group_kib`.
fn file(seed: usize, kib: usize, group_kib: usize) -> Bytes {
    versioned(&format!("{seed:03}"), kib, 1_000, Some(group_kib))
}

fn put(s3: &S3Server, objects: usize, kib: usize) -> u64 {
    let mut bytes = 0;
    for n in 0..objects {
        let file = file(n, kib, 1 << 20);
        bytes += file.len() as u64;
        s3.put(&format!("t/{n:04}.parquet"), file);
    }
    bytes
}

#[track_caller]
fn assert_complete(sync: &Collected, rows: usize) {
    assert_protocol(sync);
    assert_eq!(sync.rows("t"), rows);
}

#[tokio::test]
async fn small_objects_within_the_reserve_cost_one_get_each() {
    let mut rig = Rig::start().await;
    let stored = put(&rig.s3, 40, 100) + {
        let largest = file(99, 7_900, 1 << 20);
        let bytes = largest.len() as u64;
        assert!(bytes <= 8 * MIB);
        rig.s3.put("t/largest.parquet", largest);
        bytes
    };
    let sync = rig.sync(json!({})).await;
    assert_complete(&sync, 40 * 100 + 7_900);
    let counts = rig.s3.counts();
    assert_eq!((counts.lists, counts.gets, counts.heads, counts.bytes), (1, 41, 0, stored));
    let log = rig.stop();
    log.assert_clean();
    let summary = log.summary();
    assert_eq!((&summary["gets"], &summary["get_bytes"]), (&41.into(), &stored.into()));
}

#[tokio::test]
async fn small_objects_beyond_the_reserve_cost_two_gets_and_little_more_than_their_bytes() {
    // (objects, KiB each, most bytes for a byte stored)
    for (objects, kib, factor) in [(8, 4_000, 1.1), (30, 1_100, 1.1), (60, 400, 1.5), (300, 40, 1.5)] {
        let mut rig = Rig::start().await;
        let stored = put(&rig.s3, objects, kib);
        assert!(stored > 8 * MIB, "more than the reserve");
        let sync = rig.sync(json!({"memory_limit": "32MiB"})).await;
        assert_complete(&sync, objects * kib);
        let counts = rig.s3.counts();
        let cost = counts.bytes as f64 / stored as f64;
        assert!(cost <= factor, "{objects} objects of {kib} KiB: {cost:.3} bytes read for each");
        assert!(counts.gets <= 2 * objects as u64, "{objects} objects of {kib} KiB: {} GETs", counts.gets);
        let once = (0..objects).filter(|n| rig.s3.gets_of(&format!("t/{n:04}.parquet")).len() == 1).count();
        assert!(once > 0, "the reserve holds some");
        rig.stop().assert_clean();
    }
}

#[tokio::test]
async fn a_large_object_costs_its_footer_and_coalesced_ranges() {
    let mut rig = Rig::start().await;
    // Row groups of 5 MiB, and one that is larger than a GET may be.
    let grouped = file(1, 20 << 10, 5 << 10);
    let whole = file(2, 40 << 10, 1 << 20);
    let stored = (grouped.len() + whole.len()) as u64;
    rig.s3.put("t/grouped.parquet", grouped);
    rig.s3.put("t/whole.parquet", whole);
    let sync = rig.sync(json!({})).await;
    assert_complete(&sync, 60 << 10);
    let lengths = |key: &str| -> Vec<u64> { rig.s3.gets_of(key).iter().map(|get| get.bytes_sent).collect() };
    let (grouped, whole) = (lengths("t/grouped.parquet"), lengths("t/whole.parquet"));
    // The footer, then three row groups in one GET and the fourth in another.
    assert_eq!(grouped.len(), 1 + 2, "{grouped:?}");
    // The filler's chunk in three parts, and the two columns before it.
    assert!((1 + 3..=1 + 4).contains(&whole.len()), "{whole:?}");
    assert!(whole.iter().chain(&grouped).all(|len| *len <= 16 * MIB), "{whole:?} {grouped:?}");
    let cost = rig.s3.counts().bytes as f64 / stored as f64;
    assert!(cost <= 1.02, "{cost:.4}");
    rig.stop().assert_clean();
}

#[tokio::test]
async fn an_object_just_above_8_mib_costs_little_more_than_its_bytes() {
    let mut rig = Rig::start().await;
    let file = file(1, 8_300, 1_000);
    let stored = file.len() as u64;
    assert!((8 * MIB..9 * MIB).contains(&stored));
    rig.s3.put("t/a.parquet", file);
    assert_complete(&rig.sync(json!({})).await, 8_300);
    let cost = rig.s3.counts().bytes as f64 / stored as f64;
    assert!(cost <= 1.02, "{cost:.4}");
}

#[tokio::test]
async fn a_footer_larger_than_guessed_costs_one_more_get() {
    let mut rig = Rig::start().await;
    // 1,200 row groups make a footer of more than the first guess.
    let file = versioned("a", 12_000, 1_000, Some(10));
    assert!(file.len() as u64 > 8 * MIB);
    rig.s3.put("t/a.parquet", file);
    assert_complete(&rig.sync(json!({})).await, 12_000);
    assert_eq!(suffixes(&rig.s3, "t/a.parquet"), 1);
    // What was missing of the footer, and all row groups in one GET.
    assert_eq!(rig.s3.gets_of("t/a.parquet").len(), 1 + 1 + 1);
}

/// How often the last bytes of an object were read.
fn suffixes(s3: &S3Server, key: &str) -> usize {
    let gets = s3.gets_of(key);
    gets.iter().filter(|get| get.range.as_deref().is_some_and(|range| range.starts_with("bytes=-"))).count()
}

#[tokio::test]
async fn the_footer_of_each_large_object_is_fetched_once() {
    let mut rig = Rig::start().await;
    put(&rig.s3, 8, 9_000);
    assert_complete(&rig.sync(json!({})).await, 8 * 9_000);
    for n in 0..8 {
        assert_eq!(suffixes(&rig.s3, &format!("t/{n:04}.parquet")), 1);
    }
    assert_eq!(rig.s3.counts().gets, 8 + 8, "one range each");
    rig.stop().assert_clean();
}

#[tokio::test]
async fn footers_that_the_reserve_has_no_room_for_are_fetched_again() {
    const OBJECTS: usize = 12;
    let mut rig = Rig::start().await;
    // Parsed, a footer of 1,200 row groups takes more than a MB.
    let file = versioned("a", 12_000, 1_000, Some(10));
    for n in 0..OBJECTS {
        rig.s3.put(&format!("t/{n:04}.parquet"), file.clone());
    }
    assert_complete(&rig.sync(json!({"memory_limit": "32 MiB"})).await, OBJECTS * 12_000);
    let kept = (0..OBJECTS).filter(|n| suffixes(&rig.s3, &format!("t/{n:04}.parquet")) == 1).count();
    assert!((1..OBJECTS).contains(&kept), "{kept} of {OBJECTS} footers were kept");
    rig.stop().assert_clean();
}

#[tokio::test]
async fn get_tables_reads_at_most_ten_footers_of_a_table() {
    let mut rig = Rig::start().await;
    for n in 0..30 {
        rig.s3.put(&format!("many/{n:02}.parquet"), files::flat(2_000, n));
    }
    for n in 0..3 {
        rig.s3.put(&format!("few/{n:02}.parquet"), files::flat(2_000, n));
    }
    let spec = rig.spec(json!({}));
    rig.client.init(&spec).await.unwrap();
    assert_eq!(rig.s3.counts().http_requests, 0, "Init touches nothing");
    assert_eq!(rig.client.tables(&["*"], &[]).await.unwrap().len(), 2);
    let gets: Vec<_> = rig.s3.requests().into_iter().filter(|request| request.op == Op::Get).collect();
    assert_eq!(gets.len(), 13, "{gets:#?}");
    assert!(gets.iter().all(|get| get.range.as_deref().is_some_and(|range| range.starts_with("bytes=-"))), "{gets:#?}");
    let read: u64 = gets.iter().map(|get| get.bytes_sent).sum();
    assert!(read <= 13 * (64 << 10), "{read}");
    let log = rig.stop();
    log.assert_clean();
    assert!(log.of_level("info").iter().any(|line| line.contains("sample")), "it says that it sampled");
}
