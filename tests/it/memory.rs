//! Bounded memory: the plugin's peak, as the kernel counts it, against the bound that `sync::memory` states. Each test
//! has a plugin of its own, since the peak is the process's.

use crate::rig::{Rig, versioned};
use arrow::array::{ArrayRef, StringArray};
use bytes::Bytes;
use cq_source_s3::cloudquery::proto::plugin_v3::sync::response::Message;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use testkit::client::sync_request;
use testkit::parquet_files as files;
use testkit::s3_server::Op;

const MIB: u64 = 1 << 20;
/// The smallest `memory_limit`.
const LIMIT_BYTES: u64 = 32 * MIB;
/// The program itself, and what the budget does not count.
const FIXED_BYTES: u64 = 64_000_000;
/// What the code of the shipped binary takes of them, at most. A test build's code is several times as large, which the bound
/// does not speak of.
const SHIPPED_CODE_BYTES: u64 = 16_000_000;
/// For each listed key.
const KEY_BYTES: u64 = 120;
/// A sync that takes longer hangs.
const DEADLOCK: Duration = Duration::from_secs(120);

/// A figure of the process in bytes, from the kernel: `VmHWM` (peak), `VmRSS` (now) or `RssFile` (code and other files, now).
fn kernel_figure(rig: &Rig, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.plugin.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
    line.trim_start_matches(':').trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// The most memory that the process has had, with no more code than the shipped binary has.
fn peak_bytes(rig: &Rig) -> u64 {
    let code_bytes = kernel_figure(rig, "RssFile");
    kernel_figure(rig, "VmHWM") - code_bytes.saturating_sub(SHIPPED_CODE_BYTES)
}

/// Of syncs with the smallest limit.
#[track_caller]
fn assert_bounded(rig: &Rig, largest_row_group_bytes: u64, listed_keys: u64) {
    assert_bounded_by(rig, LIMIT_BYTES, largest_row_group_bytes, listed_keys);
}

#[track_caller]
pub fn assert_bounded_by(rig: &Rig, limit_bytes: u64, largest_row_group_bytes: u64, listed_keys: u64) {
    let peak = peak_bytes(rig);
    let bound = limit_bytes.max(largest_row_group_bytes) + FIXED_BYTES + KEY_BYTES * listed_keys;
    eprintln!("peak {:.1} MB of {:.1} MB", peak as f64 / 1e6, bound as f64 / 1e6);
    assert!(peak <= bound, "{peak} bytes at the peak, {} more than the bound {bound}", peak - bound);
}

/// A sync with the smallest memory limit whose messages are read with a pause after each, and dropped. Gives the rows,
/// which the test's process then need not hold.
async fn sync(rig: &mut Rig, more: Value, pause: Duration) -> u64 {
    let mut spec = rig.spec(json!({"memory_limit": LIMIT_BYTES}));
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    rig.client.init(&spec).await.unwrap();
    let reading = async {
        let mut rows = 0;
        let mut stream = rig.client.grpc.sync(sync_request(&["*"], &[])).await.unwrap().into_inner();
        while let Some(response) = stream.message().await.unwrap() {
            match response.message {
                Some(Message::Insert(insert)) => rows += rows_of(&insert.record),
                Some(Message::MigrateTable(_)) => {}
                other => panic!("{other:?}"),
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        rows
    };
    tokio::time::timeout(DEADLOCK, reading).await.expect("a sync that does not hang")
}

fn rows_of(record: &Bytes) -> u64 {
    let reader = arrow::ipc::reader::StreamReader::try_new(&record[..], None).unwrap();
    reader.map(|batch| batch.unwrap().num_rows() as u64).sum()
}

/// Incompressible rows of 1,000 bytes in one row group of so many MiB.
fn noise(mebibytes: usize, seed: u64) -> Bytes {
    files::incompressible(mebibytes, None, seed)
}

fn noise_rows(mebibytes: u64) -> u64 {
    (mebibytes * MIB).div_ceil(1_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_megabytes_for_a_slow_client_stay_within_the_limit() {
    let mut rig = Rig::start().await;
    for n in 0..22 {
        rig.s3.put(&format!("t/{n:02}.parquet"), noise(9, n));
    }
    let rows = sync(&mut rig, json!({"concurrency": 50}), Duration::from_millis(3)).await;
    assert_eq!(rows, 22 * noise_rows(9));
    assert_bounded(&rig, 0, 22);
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_group_larger_than_the_limit_is_read_alone_with_one_warning() {
    let mut rig = Rig::start().await;
    let huge = noise(100, 1);
    let huge_bytes = huge.len() as u64;
    rig.s3.put("t/huge.parquet", huge);
    for n in 0..8 {
        rig.s3.put(&format!("u/{n}.parquet"), noise(3, n));
    }
    let rows = sync(&mut rig, json!({"concurrency": 50}), Duration::ZERO).await;
    assert_eq!(rows, noise_rows(100) + 8 * noise_rows(3));
    assert_bounded(&rig, huge_bytes, 9);
    let log = rig.stop();
    let warnings = log.of_level("warn");
    let [warning] = &warnings[..] else { panic!("{warnings:#?}") };
    let warning: Value = serde_json::from_str(warning).unwrap();
    assert_eq!((&warning["bucket"], &warning["key"]), (&"test-bucket".into(), &"t/huge.parquet".into()));
    assert!(
        warning["bytes"].as_u64().unwrap() >= huge_bytes && warning["memory_limit_bytes"] == LIMIT_BYTES,
        "{warning}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_lets_the_allocator_keep_memory_is_kept_all_the_same() {
    let mut rig = Rig::start().await;
    let file = noise(60, 1);
    for n in 0..16 {
        rig.s3.put(&format!("t/{n:02}.parquet"), file.clone());
    }
    let limit = 256 * MIB;
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        let rows = sync(&mut rig, json!({"memory_limit": limit}), pause).await;
        assert_eq!(rows, 16 * noise_rows(60));
    }
    assert_bounded_by(&rig, limit, 0, 16);
    // A server that waits for the next sync has given most of it back. (What a thread freed of another one's waits for it.)
    // It does so on a thread of its own, soon after the sync.
    let most = FIXED_BYTES + limit / 4;
    for _ in 0..50 {
        if kernel_figure(&rig, "VmRSS") <= most {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let idle = kernel_figure(&rig, "VmRSS");
    assert!(idle <= most, "{idle} bytes at rest");
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_row_groups_count_until_their_last_row_was_taken() {
    let mut rig = Rig::start().await;
    let file = noise(35, 1);
    for n in 0..14 {
        rig.s3.put(&format!("t/{n:02}.parquet"), file.clone());
    }
    let limit = 160 * MIB;
    let rows = sync(&mut rig, json!({"memory_limit": limit}), Duration::from_millis(1)).await;
    assert_eq!(rows, 14 * noise_rows(35));
    // What is held too long shows in the budget's part, so the other part gets no chance to hide it.
    let peak = peak_bytes(&rig);
    assert!(peak <= limit + FIXED_BYTES / 2, "{peak} bytes at the peak");
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_a_dictionary_made_small_are_not_unfolded_at_once() {
    let mut rig = Rig::start().await;
    const ROWS: usize = 30_000;
    // 10 KB a value, 50 values: 300 MB in a file of some KB.
    let values: Vec<String> = (0..50).map(|n| format!("{n:05}").repeat(2_000)).collect();
    let texts: StringArray = (0..ROWS).map(|row| Some(values[row % values.len()].as_str())).collect();
    let batch = files::batch_of(vec![("text", false, Arc::new(texts) as ArrayRef)]);
    let file = files::write_batch(&batch, &files::Layout::default());
    drop(batch);
    assert!(file.len() < 1 << 20, "{}", file.len());
    for n in 0..4 {
        rig.s3.put(&format!("t/{n}.parquet"), file.clone());
    }
    let rows = sync(&mut rig, json!({}), Duration::from_millis(1)).await;
    assert_eq!(rows, 4 * ROWS as u64);
    assert_bounded(&rig, 0, 4);
    // And where the allocator may keep what was unfolded.
    let limit = 256 * MIB;
    let rows = sync(&mut rig, json!({"memory_limit": limit}), Duration::ZERO).await;
    assert_eq!(rows, 4 * ROWS as u64);
    assert_bounded_by(&rig, limit, 0, 4);
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_cost_120_bytes_each() {
    many_keys(json!({}), |n| format!("t/part-{n:05}-c000.snappy.parquet")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_of_mappings_with_columns_cost_120_bytes_each() {
    let mut mappings: Vec<Value> = (0..49).map(|n| json!({"glob": format!("other-{n}/**")})).collect();
    mappings.push(json!({"path": "t/dt={{day}}/hour={{hour:int64}}/{{*}}", "table": "t", "file_columns": true}));
    let key = |n| format!("t/dt=2026-01-{:02}/hour={}/part-{n:05}-c000.snappy.parquet", n % 28 + 1, n % 24);
    many_keys(json!({"mappings": mappings}), key).await;
}

/// A sync of many objects, and of many more keys that are none.
async fn many_keys(spec: Value, key: impl Fn(u64) -> String) {
    let mut rig = Rig::start().await;
    const OBJECTS: u64 = 10_000;
    let tiny = versioned("a", 1, 16, None);
    for n in 0..OBJECTS {
        rig.s3.put(&key(n), tiny.clone());
    }
    for n in 0..90_000 {
        rig.s3.put(&format!("logs/{n:06}.log"), "x");
    }
    let rows = sync(&mut rig, spec, Duration::ZERO).await;
    assert_eq!(rows, OBJECTS);
    assert_bounded(&rig, 0, OBJECTS + 90_000);
    let log = rig.stop();
    log.assert_clean();
    assert_eq!((&log.summary()["objects"], &log.summary()["lists"]), (&OBJECTS.into(), &100.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unlimited_concurrency_is_limited_by_memory() {
    let mut rig = Rig::start().await;
    for n in 0..1_000 {
        rig.s3.put(&format!("t/{n:04}.parquet"), versioned(&format!("{n:04}"), 100, 1_000, None));
    }
    rig.s3.set_get_latency(Duration::from_millis(20));
    let rows = sync(&mut rig, json!({"concurrency": -1}), Duration::ZERO).await;
    assert_eq!(rows, 1_000 * 100);
    assert_bounded(&rig, 0, 1_000);
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_objects_and_oversized_row_groups_do_not_wait_for_one_another() {
    let mut rig = Rig::start().await;
    for n in 0..6 {
        // Kept ones, ones beyond the reserve, and row groups above the limit.
        rig.s3.put(&format!("a/{n}.parquet"), noise(1, n));
        rig.s3.put(&format!("b/{n}.parquet"), noise(7, n));
    }
    for n in 0..3 {
        rig.s3.put(&format!("c/{n}.parquet"), noise(34, n));
    }
    let all = 6 * (noise_rows(1) + noise_rows(7)) + 3 * noise_rows(34);
    for concurrency in [1, 50] {
        assert_eq!(sync(&mut rig, json!({"concurrency": concurrency}), Duration::ZERO).await, all);
    }
    assert_bounded(&rig, 40 * MIB, 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_up_the_gets() {
    let mut rig = Rig::start().await;
    for n in 0..12 {
        rig.s3.put(&format!("t/{n:02}.parquet"), noise(10, n));
    }
    let spec = rig.spec(json!({"memory_limit": LIMIT_BYTES}));
    rig.client.init(&spec).await.unwrap();
    let mut stream = rig.client.grpc.sync(sync_request(&["*"], &[])).await.unwrap().into_inner();
    let mut rows = 0;
    while rows == 0 {
        if let Some(Message::Insert(insert)) = stream.message().await.unwrap().unwrap().message {
            rows += rows_of(&insert.record);
        }
    }
    // Long enough for all of it, were it not for the client.
    let mut before = u64::MAX;
    while before != rig.s3.counts().bytes {
        before = rig.s3.counts().bytes;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    // What was read ahead: the limit, the footers, and what went into messages that are on their way.
    assert!(before <= LIMIT_BYTES + 10 * MIB, "{before} bytes were read for a client that does not read");
    while let Some(response) = stream.message().await.unwrap() {
        if let Some(Message::Insert(insert)) = response.message {
            rows += rows_of(&insert.record);
        }
    }
    assert_eq!(rows, 12 * noise_rows(10));
    assert!(rig.s3.requests().iter().filter(|request| request.op == Op::Get).count() >= 36);
    assert_bounded(&rig, 0, 12);
}
