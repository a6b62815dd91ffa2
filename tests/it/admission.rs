//! Many objects of many shapes on one small budget: nothing waits for ever, whatever holds what.

use crate::rig::Rig;
use arrow::array::{ArrayRef, Int64Array};
use bytes::Bytes;
use cq_source_s3::cloudquery::proto::plugin_v3::sync::response::Message;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use testkit::client::sync_request;
use testkit::parquet_files as files;

const MIB: u64 = 1 << 20;
/// A sync that takes longer hangs.
const DEADLOCK: Duration = Duration::from_secs(100);

/// A file of `columns` × `row_groups` column chunks of `rows` values each that no codec makes smaller: its footer takes
/// some 100 bytes for each of them, and several hundred when it is parsed.
fn wide(columns: usize, row_groups: usize, rows: usize) -> Bytes {
    let mut numbers = files::Numbers::new(1);
    let names: Vec<String> = (0..columns).map(|n| format!("c{n:04}")).collect();
    let column = || Arc::new((0..rows * row_groups).map(|_| numbers.next_u64() as i64).collect::<Int64Array>());
    let mut column = column;
    let columns = names.iter().map(|name| (name.as_str(), false, column() as ArrayRef)).collect();
    let layout = files::Layout { row_group_rows: Some(rows), dictionary: false, ..files::Layout::default() };
    files::write_batch(&files::batch_of(columns), &layout)
}

/// Syncs everything on a budget of `limit_bytes`; the rows of each table that ends in `small` and of the others.
async fn rows(rig: &mut Rig, limit_bytes: u64) -> (u64, u64) {
    rig.init(json!({"memory_limit": limit_bytes, "concurrency": 50})).await;
    let reading = async {
        let (mut small, mut others) = (0, 0);
        let mut stream = rig.client.grpc.sync(sync_request(&["*"], &[])).await.unwrap().into_inner();
        while let Some(response) = stream.message().await.unwrap() {
            let Some(Message::Insert(insert)) = response.message else { continue };
            let reader = arrow::ipc::reader::StreamReader::try_new(&insert.record[..], None).unwrap();
            let table = reader.schema().metadata()["cq:table_name"].clone();
            let rows: u64 = reader.map(|batch| batch.unwrap().num_rows() as u64).sum();
            *if table.ends_with("small") { &mut small } else { &mut others } += rows;
        }
        (small, others)
    };
    tokio::time::timeout(DEADLOCK, reading).await.expect("a sync that does not hang")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_with_a_wide_footer_beside_many_small_ones_is_read() {
    let mut rig = Rig::start().await;
    let (columns, row_groups, chunk_rows) = (1_500, 60, 8);
    let file = wide(columns, row_groups, chunk_rows);
    assert!(file.len() as u64 > 8 * MIB, "{}: it would be read whole", file.len());
    rig.s3.put("wide/a.parquet", file);
    let small = files::incompressible(2, None, 1);
    for n in 0..100 {
        rig.s3.put(&format!("small/{n:03}.parquet"), small.clone());
    }
    let (small, wide) = rows(&mut rig, 160 * MIB).await;
    assert_eq!((small, wide), (100 * (2 * MIB).div_ceil(1_000), (row_groups * chunk_rows) as u64));
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_objects_with_large_footers_beside_many_small_ones_are_read() {
    let mut rig = Rig::start().await;
    let (columns, row_groups, chunk_rows) = (200, 16, 340);
    let file = wide(columns, row_groups, chunk_rows);
    assert!(file.len() as u64 > 8 * MIB, "{}: it would be read whole", file.len());
    for n in 0..40 {
        rig.s3.put(&format!("wide/{n:03}.parquet"), file.clone());
    }
    let small = files::incompressible(4, None, 1);
    for n in 0..60 {
        rig.s3.put(&format!("small/{n:03}.parquet"), small.clone());
    }
    let (small, wide) = rows(&mut rig, 128 * MIB).await;
    assert_eq!((small, wide), (60 * (4 * MIB).div_ceil(1_000), (40 * row_groups * chunk_rows) as u64));
    rig.stop().assert_clean();
}

/// Asserts that with each of these budgets the object's row groups are fetched in steps, each of them once.
async fn assert_every_step_is_fetched_once(file: Bytes, limits_mib: impl IntoIterator<Item = u64>) {
    let mut rig = Rig::start().await;
    let tail: [u8; 4] = file[file.len() - 8..file.len() - 4].try_into().unwrap();
    let footer_start = file.len() as u64 - 8 - u64::from(u32::from_le_bytes(tail));
    assert!(file.len() as u64 > 8 * MIB, "{}: it would be read whole", file.len());
    rig.s3.put("t/a.parquet", file);
    for limit_mib in limits_mib {
        let before = rig.s3.gets_of("t/a.parquet").len();
        rows(&mut rig, limit_mib * MIB).await;
        let mut starts: Vec<u64> = rig.s3.gets_of("t/a.parquet")[before..]
            .iter()
            .filter_map(|get| get.range.as_deref()?.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok())
            .filter(|start| *start < footer_start)
            .collect();
        starts.sort_unstable();
        let gets = starts.len();
        starts.dedup();
        assert!(gets >= 3, "{limit_mib} MiB: {starts:?}");
        assert_eq!(gets, starts.len(), "{limit_mib} MiB: {starts:?}");
    }
    rig.stop().assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_beside_a_wide_footer_are_fetched_once_whatever_memory_is_left() {
    assert_every_step_is_fetched_once(wide(600, 32, 130), [32, 35, 38]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_take_more_than_their_footer_says_are_fetched_once_whatever_memory_is_left() {
    let layout =
        files::Layout { row_group_rows: Some(12 << 10), dictionary: false, one_page: true, ..files::Layout::default() };
    let file = files::write_batch(&files::incompressible_batch(36, 1), &layout);
    let file = files::with_footer(&file, |chunk| chunk.clear_page_encoding_stats());
    assert_every_step_is_fetched_once(file, [78, 81, 84, 90]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_footer_larger_than_memory_is_that_objects_error_with_the_number() {
    let mut rig = Rig::start().await;
    let numbers = files::batch_of(vec![("n", false, Arc::new(Int64Array::from_iter_values(0..100)) as ArrayRef)]);
    let metadata = vec![("notes".to_owned(), "x".repeat(10 << 20))];
    rig.s3.put("wide/a.parquet", files::write_batch(&numbers, &files::Layout { metadata, ..files::Layout::default() }));
    rig.s3.put("small/a.parquet", files::write_batch(&numbers, &files::Layout::default()));
    let sync = rig.sync(json!({"memory_limit": 32 * MIB, "on_object_error": "skip"})).await;
    assert_eq!((sync.tables(), sync.rows("small")), (vec!["small".to_owned()], 100));
    // With more memory it takes its share of the budget.
    let sync = rig.sync(json!({"memory_limit": 64 * MIB})).await;
    assert_eq!((sync.rows("wide"), sync.rows("small")), (100, 100));
    let errors = rig.stop().of_level("error");
    let [error] = &errors[..] else { panic!("{errors:#?}") };
    assert!(error.contains("wide/a.parquet") && error.contains("its footer takes about 4194"), "{error}");
    assert!(error.contains("more than the 33554432 that `memory_limit` leaves for one"), "{error}");
}
