//! Objects of many windows: rows, numbers and ids are those of a reading from the first byte to the last.

use super::{rows, synced};
use crate::rig::Rig;
use arrow::array::AsArray as _;
use serde_json::json;
use std::time::Duration;
use testkit::client::Collected;

/// Records with quoted line ends, of all lengths; what they say tells their number.
fn csv(records: usize) -> String {
    let mut text = String::from("n,t\n");
    for n in 0..records {
        let filler = "ab\r\n\"\"c,".repeat(n * 31 % 90);
        text.push_str(&format!("{n},\"{filler}\"\n"));
    }
    text
}

fn assert_in_order(sync: &Collected, records: usize) {
    let all = sync.concatenated("t");
    assert_eq!(all.num_rows(), records);
    let numbers = all.column_by_name("n").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
    let ids = all.column_by_name("_cq_id").unwrap().as_fixed_size_binary();
    let texts = all.column_by_name("t").unwrap().as_string::<i32>();
    for row in 0..records {
        assert_eq!(numbers.value(row), row as i64);
        assert_eq!(u64::from_be_bytes(ids.value(row)[8..].try_into().unwrap()) & 0xffff_ffff_ffff, row as u64);
        assert_eq!(texts.value(row).len(), "ab\r\n\"c,".len() * (row * 31 % 90));
    }
}

#[tokio::test]
async fn rows_and_ids_do_not_depend_on_windows() {
    const RECORDS: usize = 60_000;
    let text = csv(RECORDS);
    assert!(text.len() > 16 << 20);
    for limit in ["64 MiB", "512 MiB"] {
        let spec = json!({"filetype": "csv", "memory_limit": limit});
        let (sync, log) = synced(&[("t/a.csv", text.as_bytes())], spec).await;
        assert!(sync.status.is_none(), "{:?}", sync.status);
        assert_in_order(&sync, RECORDS);
        let gets = log.summary()["gets"].as_u64().unwrap();
        // The sample, and windows.
        assert!((4..30).contains(&gets), "{limit}: {gets} GETs");
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_is_begun_again() {
    let mut rig = Rig::start().await;
    let (old, new) = (csv(60_000), csv(61_000));
    rig.s3.put("t/a.csv", old);
    let bucket = rig.s3.bucket(testkit::s3_server::DEFAULT_BUCKET);
    rig.s3.on_get(move |_, number| {
        if number == 3 {
            bucket.replace("t/a.csv", new.clone());
        }
        None
    });
    let sync = rig.sync(json!({"filetype": "csv"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    let last = sync
        .batches("t")
        .last()
        .unwrap()
        .column_by_name("n")
        .unwrap()
        .as_primitive::<arrow::datatypes::Int64Type>()
        .clone();
    assert_eq!(last.value(last.len() - 1), 60_999);
}

#[tokio::test]
async fn the_first_rows_do_not_wait_for_the_last_bytes() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.csv", csv(60_000));
    // The whole object takes several seconds at this rate.
    rig.s3.set_get_bytes_per_second(Some(4 << 20));
    rig.init(json!({"filetype": "csv"})).await;
    let began = std::time::Instant::now();
    let mut first = None;
    let sync = rig
        .client
        .sync_with(testkit::client::sync_request(&["*"], &[]), |message| {
            if matches!(message, testkit::client::Message::Insert { .. }) {
                first.get_or_insert(began.elapsed());
            }
        })
        .await;
    assert_in_order(&sync, 60_000);
    let first = first.unwrap();
    assert!(first * 3 < sync.elapsed, "the first after {first:?} of {:?}", sync.elapsed);
    assert!(sync.elapsed > Duration::from_secs(1));
}

#[tokio::test]
async fn objects_are_sent_whole_in_little_memory() {
    const RECORDS: usize = 60_000;
    let mut rig = Rig::start().await;
    for n in 0..4 {
        rig.s3.put(&format!("t{n}/a.csv"), csv(RECORDS));
    }
    let sync = rig.sync(json!({"filetype": "csv", "memory_limit": "32 MiB"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    for n in 0..4 {
        assert_eq!(sync.rows(&format!("t{n}")), RECORDS);
    }
}

#[tokio::test]
async fn lines_of_many_windows_are_read_with_their_numbers() {
    let text: String = (0..400_000).map(|n| format!("{{\"n\":{n},\"t\":\"{}\"}}\n", "x".repeat(n % 50))).collect();
    let (sync, _) =
        synced(&[("t/a.jsonl", text.as_bytes())], json!({"filetype": "jsonl", "file_columns": ["row"]})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    let all = sync.concatenated("t");
    let column =
        |name: &str| all.column_by_name(name).unwrap().as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
    assert_eq!(column("n"), (0..400_000).collect::<Vec<i64>>());
    assert_eq!(column("n"), column("_s3_row"));
    let document = format!("{{\"Records\":[{}]}}", text.trim_end().replace('\n', ","));
    let spec = json!({"filetype": "json", "json": {"records": "/Records"}});
    let (sync, _) = synced(&[("t/a.json", document.as_bytes())], spec).await;
    assert_eq!(sync.rows("t"), 400_000);
    assert_eq!(rows(&sync, "t").len(), 400_000);
}
