//! Items 54–68: the messages of a sync, their order, sizes and schemas, and how the stream ends.

use crate::rig::Rig;
use arrow::array::{ArrayRef, AsArray as _, BinaryArray, Int64Array};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use testkit::client::{Collected, Message, Nested, assert_protocol, protocol_violations, sync_request};
use testkit::parquet_files as files;
use tonic::Code;

const MIB: usize = 1 << 20;

/// Three tables: many small files, nested columns in row groups, what CloudQuery wrote.
fn fill(rig: &Rig) {
    for n in 0..10 {
        rig.s3.put(&format!("orders/{n}.parquet"), files::flat(50 + n, n as u64));
    }
    let layout = files::Layout { row_group_rows: Some(100), ..files::Layout::default() };
    rig.s3.put("raw/events/a.parquet", files::write_batch(&files::nested_batch(450, 1), &layout));
    rig.s3.put("export/x.parquet", files::cloudquery_written("aws_ec2_instances", 40, 2));
}

/// All `_cq_id`s of a table, in order of arrival.
fn ids(sync: &testkit::client::Collected, table: &str) -> Vec<Vec<u8>> {
    let rows = sync.concatenated(table);
    let column = rows.column_by_name("_cq_id").unwrap().as_fixed_size_binary();
    column.iter().map(|id| id.expect("never null").to_vec()).collect()
}

#[tokio::test]
async fn item_54_to_59_and_61_a_sync_keeps_the_rules() {
    let mut rig = Rig::start().await;
    fill(&rig);
    let sync = rig.sync(json!({"rows_per_record": 100})).await;
    assert_protocol(&sync);
    assert_eq!(sync.tables(), ["export", "orders", "raw_events"]);
    assert_eq!(sync.migrates().len(), 3, "one migrate a table");
    let totals = sync.totals();
    assert_eq!(totals["orders"].rows, (0..10).map(|n| 50 + n).sum::<usize>());
    assert_eq!((totals["raw_events"].rows, totals["export"].rows), (450, 40));
    assert_eq!(totals["raw_events"].inserts, 5, "450 rows, at most 100 in a message");
    let schema = sync.schema("orders");
    assert!(schema.field_with_name("id").unwrap().is_nullable(), "also a column that the files require");
    assert!(!schema.field_with_name("_cq_id").unwrap().is_nullable());
}

#[tokio::test]
async fn item_60_messages_keep_the_byte_target() {
    const TARGET_BYTES: usize = 4 * MIB;
    const ROW_BYTES: usize = 1_100;
    let mut rig = Rig::start().await;
    rig.s3.put("noise/a.parquet", files::incompressible(14, Some(6_000), 1));
    let sync = rig.sync(json!({"rows_per_record": 1_000_000})).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("noise"), (14 * MIB).div_ceil(1_000));
    let sizes = insert_bytes(&sync);
    assert!(sizes.iter().all(|bytes| *bytes <= TARGET_BYTES + ROW_BYTES), "{sizes:?}");
    assert!(sizes.len() <= 10, "nor are they needlessly small: {sizes:?}");
}

/// The schema of a wide table is repeated in each message: it must neither be most of the bytes nor leave room for a row
/// only.
#[tokio::test]
async fn item_60_wide_tables_are_sent_in_few_messages() {
    const COLUMNS: usize = 6_000;
    const ROWS: usize = 200;
    const VALUE_BYTES: usize = 8;
    let names: Vec<String> = (0..COLUMNS).map(|column| format!("measurement_{column}")).collect();
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
    let batch = files::batch_of(names.iter().map(|name| (name.as_str(), true, Arc::clone(&values))).collect());
    let mut rig = Rig::start().await;
    rig.s3.put("wide/a.parquet", files::write_batch(&batch, &files::Layout::default()));
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("wide"), ROWS);
    let sizes = insert_bytes(&sync);
    let sent: usize = sizes.iter().sum();
    assert!(sent <= 2 * COLUMNS * ROWS * VALUE_BYTES, "{sent} bytes in {} messages: {sizes:?}", sizes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_60_a_row_above_100_mib_is_an_error_that_names_it() {
    let mut rig = Rig::start().await;
    let small = vec![1_u8; 10];
    let huge = vec![0_u8; 101 * MIB];
    let values: BinaryArray = [small.as_slice(), &huge, &small].into_iter().map(Some).collect();
    let batch = files::batch_of(vec![
        ("id", false, Arc::new(Int64Array::from(vec![0, 1, 2])) as ArrayRef),
        ("value", true, Arc::new(values)),
    ]);
    let layout = files::Layout { dictionary: false, ..files::Layout::default() };
    rig.s3.put("blobs/huge.parquet", files::write_batch(&batch, &layout));
    rig.s3.put("orders/a.parquet", files::flat(10, 1));
    let sync = rig.sync(json!({"memory_limit": "1 GiB"})).await;
    assert_eq!(protocol_violations(&sync, Nested::AsJson), Vec::<String>::new());
    let [(table, text)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert_eq!(table, "blobs");
    assert!(text.contains("s3://test-bucket/blobs/huge.parquet") && text.contains("row 1 takes"), "{text}");
    let status = sync.status.as_ref().unwrap();
    assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    assert!(status.message().contains("row 1 takes"), "{}", status.message());
    assert_eq!(sync.rows("orders"), 10, "the others arrive");
}

#[tokio::test]
async fn item_62_ids_are_unique_and_the_same_in_every_sync() {
    let mut rig = Rig::start().await;
    fill(&rig);
    let first = rig.sync(json!({})).await;
    let second = rig.sync(json!({"rows_per_record": 7, "concurrency": 1})).await;
    assert_protocol(&first);
    assert_protocol(&second);
    for table in ["orders", "raw_events", "export"] {
        let (once, again) = (ids(&first, table), ids(&second, table));
        let (once_set, again_set): (BTreeSet<_>, BTreeSet<_>) = (once.iter().collect(), again.iter().collect());
        assert_eq!(once_set.len(), once.len(), "{table}");
        assert_eq!(once_set, again_set, "{table}");
    }
}

#[tokio::test]
async fn item_63_and_64_an_unreadable_object_and_the_two_kinds_of_peers() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.s3.put("orders/broken.parquet", vec![b'x'; 5_000]);
    for with_error_messages in [false, true] {
        for (policy, code) in [(None, Some(Code::DataLoss)), (Some("skip"), None)] {
            rig.init(policy.map_or(json!({}), |policy| json!({"on_object_error": policy}))).await;
            let before = rig.lines("error").len();
            let mut request = sync_request(&["*"], &[]);
            request.with_error_messages = with_error_messages;
            let sync = rig.client.sync_with(request, |_| {}).await;

            assert_eq!(sync.status.as_ref().map(tonic::Status::code), code, "{policy:?}: {:?}", sync.status);
            if let Some(status) = &sync.status {
                let text = status.message();
                assert!(text.contains("s3://test-bucket/orders/broken.parquet"), "{text}");
                assert!(text.contains("on_object_error") && text.len() <= 8_000, "{text}");
            }
            let tables: Vec<&str> = sync.errors().iter().map(|(table, _)| *table).collect();
            assert_eq!(tables, if with_error_messages { vec!["orders"] } else { vec![] });
            assert_eq!(sync.rows("orders"), 545, "the other objects of the table arrive");
            assert_eq!(protocol_violations(&sync, Nested::AsJson), Vec::<String>::new());

            let errors = rig.lines("error").split_off(before);
            assert_eq!(errors.len(), 1, "{errors:#?}");
            assert_eq!((&errors[0]["table"], &errors[0]["key"]), (&json!("orders"), &json!("orders/broken.parquet")));
        }
    }
}

#[tokio::test]
async fn item_65_fatal_errors_name_bucket_and_cause() {
    let mut rig = Rig::start().await;
    let sync = rig.sync(json!({"bucket": "no-such-bucket"})).await;
    let status = sync.status.unwrap();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("s3://no-such-bucket"), "{}", status.message());
    assert!(status.message().contains("NoSuchBucket"), "{}", status.message());
    assert!(sync.messages.is_empty());

    rig.s3.require_credentials("AKIAEXAMPLE", "right");
    let sync = rig.sync(json!({})).await;
    let status = sync.status.unwrap();
    assert!(matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated), "{status:?}");
    assert!(status.message().contains("s3://test-bucket") && status.message().len() <= 8_000, "{}", status.message());
}

#[tokio::test]
async fn item_66_nothing_to_sync() {
    let mut rig = Rig::start().await;
    let empty = rig.sync(json!({})).await;
    assert!(empty.status.is_none() && empty.messages.is_empty(), "an empty bucket is no error: {:?}", empty.status);
    assert!(rig.lines("warn").iter().any(|line| line.to_string().contains("there is no table")));

    fill(&rig);
    let nothing = "no tables specified for syncing, review `tables` and `skip_tables` in your config and specify at \
                   least one table to sync";
    for (tables, skip_tables, expected) in [
        (&["*"][..], &["*"][..], nothing),
        (&[], &[], nothing),
        (&["orders", "no_such*"], &[], "tables include a pattern no_such* with no matches"),
    ] {
        let sync = rig.client.sync(tables, skip_tables).await;
        let status = sync.status.unwrap();
        let expected = format!("failed to sync records: failed to sync unmanaged client: {expected}");
        assert_eq!(status.message(), expected);
        assert!(sync.messages.is_empty());
    }
    let counts = rig.s3.counts();
    assert_eq!(counts.gets, 0, "only listed");
}

#[tokio::test]
async fn item_67_syncs_follow_each_other_on_one_process() {
    let mut rig = Rig::start().await;
    fill(&rig);
    rig.init(json!({})).await;
    for _ in 0..3 {
        let sync = rig.client.sync(&["orders"], &[]).await;
        assert_protocol(&sync);
        assert_eq!((sync.tables(), sync.rows("orders")), (vec!["orders".to_owned()], 545));
    }
    rig.client.close().await.unwrap();
    assert_protocol(&rig.sync(json!({})).await);
}

/// Kibibytes of a line of `/proc/<pid>/status`.
#[cfg(target_os = "linux")]
fn status_kib(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_68_a_slow_consumer_holds_up_the_gets_and_loses_nothing() {
    const OBJECTS: usize = 12;
    const OBJECT_MIB: usize = 10;
    let mut rig = Rig::start().await;
    for n in 0..OBJECTS {
        rig.s3.put(&format!("noise/{n}.parquet"), files::incompressible(OBJECT_MIB, Some(2_000), n as u64));
    }
    rig.init(json!({"memory_limit": "32 MiB", "rows_per_record": 2_000})).await;
    let pid = rig.plugin.id();
    let before_kib = status_kib(pid, "RssAnon:");
    let (mut inserts, mut asked_bytes, mut peak_kib) = (0, 0, 0);
    let server = &rig.s3;
    let sync = rig
        .client
        .sync_with(sync_request(&["*"], &[]), |message| {
            if matches!(message, Message::Insert { .. }) {
                inserts += 1;
                if inserts == 3 {
                    std::thread::sleep(Duration::from_secs(2));
                    asked_bytes = server.counts().bytes;
                }
                peak_kib = peak_kib.max(status_kib(pid, "RssAnon:"));
            }
        })
        .await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("noise"), OBJECTS * (OBJECT_MIB * MIB).div_ceil(1_000));
    // The budget, the footers, what the connection's windows hold: far from the 120 MiB that are there.
    assert!(asked_bytes < 64 << 20, "{asked_bytes} bytes were asked for while nobody took rows");
    // The budget and what comes on top of it, plus what the allocator has not given back yet, which is much on a busy
    // machine. Without back-pressure it would be three times the data: fetched, decoded, encoded.
    let grown_kib = peak_kib.saturating_sub(before_kib);
    assert!(grown_kib < (32 + 64 + 64) << 10, "memory grew by {grown_kib} KiB");
}

/// The encoded bytes of each insert message.
fn insert_bytes(sync: &Collected) -> Vec<usize> {
    let bytes = sync.messages.iter().filter_map(|message| match message {
        Message::Insert { encoded_bytes, .. } => Some(*encoded_bytes),
        _ => None,
    });
    bytes.collect()
}
