//! S3 asks for fewer requests: the sync slows down for a moment, loses nothing and is as fast as before soon after.

use crate::rig::{self, Rig, spec, versioned};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::client::{Collected, assert_protocol};
use testkit::faults::{FaultServer, Reply};
use testkit::s3_server::Action;

/// Rows of each object.
const ROWS: usize = 2;

/// So many objects, all with the same few bytes.
fn put_objects(rig: &Rig, objects: usize) {
    let file = versioned("x", ROWS, 1, None);
    for number in 0..objects {
        rig.s3.put(&format!("t/{number:05}.parquet"), file.clone());
    }
}

/// One sync and how long it took; every row must be there, once.
async fn timed(rig: &mut Rig, objects: usize) -> Duration {
    timed_with(rig, objects, json!({})).await
}

/// The same, with these fields in the spec.
async fn timed_with(rig: &mut Rig, objects: usize, more: Value) -> Duration {
    let started = Instant::now();
    let sync = rig.sync(more).await;
    let took = started.elapsed();
    assert_protocol(&sync);
    assert_eq!((sync.rows("t"), ids(&sync)), (objects * ROWS, objects * ROWS));
    took
}

/// Different `_cq_id`s.
fn ids(sync: &Collected) -> usize {
    use arrow::array::AsArray as _;
    let mut ids = std::collections::HashSet::new();
    for batch in sync.batches("t") {
        let column = batch.column_by_name("_cq_id").unwrap().as_fixed_size_binary();
        ids.extend(column.iter().flatten().map(<[u8]>::to_vec));
    }
    ids.len()
}

/// Retries of each sync so far, as their last lines say.
fn retries(rig: &Rig) -> Vec<u64> {
    let lines = rig.lines("info");
    let summaries = lines.iter().filter(|line| line["message"] == "sync finished");
    summaries.map(|line| line["retries"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_refusals_costs_seconds_and_no_row() {
    const OBJECTS: usize = 3_000;
    const REFUSALS: u64 = 100;
    let mut rig = Rig::start().await;
    put_objects(&rig, OBJECTS);
    let undisturbed = timed(&mut rig, OBJECTS).await;

    let refused = AtomicU64::new(0);
    rig.s3.on_get(move |_, _| {
        (refused.fetch_add(1, Ordering::SeqCst) < REFUSALS).then_some(Action::Status(503, "SlowDown"))
    });
    let disturbed = timed(&mut rig, OBJECTS).await;
    let after = timed(&mut rig, OBJECTS).await;
    eprintln!("{OBJECTS} objects: {undisturbed:.2?}, with {REFUSALS} refusals {disturbed:.2?}, after them {after:.2?}");

    assert_eq!(retries(&rig), [0, REFUSALS, 0]);
    // What is promised, and some seconds for a machine that is busy with other tests.
    let bound = 3 * undisturbed + Duration::from_secs(5);
    assert!(disturbed < bound && after < bound, "{undisturbed:?}, {disturbed:?}, {after:?}");
    let log = rig.stop();
    let said = log.of_level("info").iter().filter(|line| line.contains("S3 asks for fewer requests")).count();
    assert_eq!(said, 1, "once a sync that was throttled");
    log.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_full_pace_is_back_seconds_after_a_burst() {
    const OBJECTS: usize = 1_000;
    let mut rig = Rig::with_arguments(&["--log-level", "debug"]).await;
    put_objects(&rig, OBJECTS);
    // 16 are looked at at a time: at least six seconds, of which the burst takes one or two.
    rig.s3.set_get_latency(Duration::from_millis(100));
    let refused = AtomicU64::new(0);
    rig.s3.on_get(move |_, _| (refused.fetch_add(1, Ordering::SeqCst) < 40).then_some(Action::Status(503, "SlowDown")));
    timed_with(&mut rig, OBJECTS, json!({"concurrency": 4})).await;
    let lines = [rig.lines("info"), rig.lines("debug")].concat();
    let limits = |text: &str| -> Vec<u64> {
        let said = lines.iter().filter(|line| line["message"].as_str().is_some_and(|message| message.contains(text)));
        said.map(|line| line["requests_at_a_time"].as_u64().unwrap()).collect()
    };
    let (fewer, full) = (limits("S3 asks for fewer requests"), limits("S3 takes requests at full pace again"));
    assert!((1..=8).contains(&fewer[0]), "half of what was in flight, at most: {fewer:?}");
    assert_eq!((fewer.len() <= 6, full), (true, vec![200]), "{fewer:?}");
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_every_third_request_lose_nothing() {
    const OBJECTS: usize = 1_000;
    let mut rig = Rig::start().await;
    rig.s3.set_page_keys(100);
    put_objects(&rig, OBJECTS);
    let refuse = || (fastrand::f64() < 0.3).then_some(Action::Status(503, "SlowDown"));
    rig.s3.on_list(move |_| refuse());
    rig.s3.on_get(move |_, _| refuse());
    let took = timed(&mut rig, OBJECTS).await;
    let [retries] = retries(&rig)[..] else { panic!("one sync") };
    eprintln!("{OBJECTS} objects with 30 % of refusals: {took:.2?}, {retries} retries");
    assert!(retries > OBJECTS as u64 / 5, "{retries}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    rig.stop().assert_clean();
}

#[tokio::test]
async fn a_server_that_asks_for_time_is_given_it() {
    let file = versioned("x", ROWS, 1, None);
    let size = file.len();
    let refused_at = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let times = std::sync::Arc::clone(&refused_at);
    let s3 = FaultServer::start(move |request, _| {
        if request.is_list() {
            return Reply::listing("test-bucket", &[("t/a.parquet", "v", size)]);
        }
        let mut times = times.lock().unwrap();
        times.push(Instant::now());
        if times.len() > 1 {
            return Reply::object(request, "v", &file);
        }
        match Reply::s3_error(429, "TooManyRequests", "later") {
            Reply::Full { status, mut headers, body } => {
                headers.push(("retry-after".into(), "2".into()));
                Reply::Full { status, headers, body }
            }
            other => other,
        }
    })
    .await;
    let (plugin, mut client) = rig::plugin().await;
    client.init(&spec(&s3.endpoint(), json!({}))).await.unwrap();
    let sync = client.sync(&["*"], &[]).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("t"), ROWS);
    let times = refused_at.lock().unwrap().clone();
    assert!(times[1] - times[0] >= Duration::from_secs(2), "{times:?}");
    rig::Log::of(plugin).assert_clean();
}
