//! Small objects share messages.

use super::synced;
use crate::rig::{Rig, small};
use serde_json::json;
use testkit::client::assert_protocol;

#[tokio::test]
async fn rows_of_small_objects_share_messages() {
    let objects: Vec<(String, String)> = (0..2_000)
        .map(|n| (format!("t/{n:04}.jsonl"), (0..3).map(|row| format!("{{\"n\":{n},\"row\":{row}}}\n")).collect()))
        .collect();
    let borrowed: Vec<(&str, &[u8])> = objects.iter().map(|(key, text)| (&key[..], text.as_bytes())).collect();
    for (rows_per_record, at_most) in [(10_000, 120), (100, 140)] {
        let spec = json!({"filetype": "jsonl", "rows_per_record": rows_per_record});
        let (sync, log) = synced(&borrowed, spec).await;
        assert!(sync.status.is_none(), "{:?}", sync.status);
        assert_eq!(sync.rows("t"), 6_000);
        let batches = sync.batches("t");
        assert!(batches.len() <= at_most, "{} messages", batches.len());
        assert!(batches.iter().all(|batch| batch.num_rows() <= rows_per_record));
        let summary = log.summary();
        assert_eq!((summary["objects"].as_u64(), summary["rows"].as_u64()), (Some(2_000), Some(6_000)));
    }
}

#[tokio::test]
async fn parquet_too_and_what_is_bad_is_named() {
    let mut rig = Rig::start().await;
    for n in 0..200 {
        rig.s3.put(&format!("t/{n:03}.parquet"), small("x"));
    }
    let whole = small("x");
    let mut damaged = whole.to_vec();
    damaged[whole.len() / 3] ^= 0xff;
    rig.s3.put("t/050a.parquet", damaged);
    let sync = rig.sync(json!({"on_object_error": "skip", "rows_per_record": 10_000})).await;
    assert_protocol(&sync);
    assert!(sync.rows("t") >= 20_000);
    assert!(sync.batches("t").len() < 40, "{} messages", sync.batches("t").len());
    let log = rig.stop();
    let errors = log.of_level("error");
    assert!(errors.is_empty() || errors.iter().all(|line| line.contains("050a")), "{errors:?}");
}
