//! Records that cannot be read: the object is in error, or they are passed over, or they go into a table of their own.

use super::{rows, synced};
use crate::rig::Rig;
use serde_json::{Value, json};
use testkit::client::Collected;

const LINES: &str = "{\"a\":0}\n{\"a\":1}\n{\"a\":2,\n{\"a\":3}\n{\"a\":4}\n";

fn spec(bad_rows: Value) -> Value {
    json!({"filetype": "jsonl", "file_columns": ["row"], "bad_rows": bad_rows})
}

async fn lines(bad_rows: Value) -> Collected {
    synced(&[("t/a.jsonl", LINES.as_bytes())], spec(bad_rows)).await.0
}

#[tokio::test]
async fn the_first_one_is_an_error_behind_the_rows_before_it() {
    let sync = lines(json!({})).await;
    let text = sync.status.clone().unwrap().message().to_owned();
    assert!(text.contains("t/a.jsonl") && text.contains("record 2") && text.contains("byte 16"), "{text}");
    assert_eq!(rows(&sync, "t"), ["0 0 -", "1 1 -"]);
}

#[tokio::test]
async fn they_are_passed_over_and_the_others_keep_their_numbers() {
    let (sync, log) = synced(&[("t/a.jsonl", LINES.as_bytes())], spec(json!({"on": "skip"}))).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(rows(&sync, "t"), ["0 0 -", "1 1 -", "3 3 -", "4 4 -"]);
    let warning = log.of_level("warn").into_iter().find(|line| line.contains("a record could not be read")).unwrap();
    for part in ["\"record\":2", "\"byte_offset\":16", "t/a.jsonl"] {
        assert!(warning.contains(part), "{warning}");
    }
    assert!(!warning.contains("{\\\"a"), "what the record says stays out of the log: {warning}");
}

#[tokio::test]
async fn they_have_a_table_of_their_own() {
    let sync = lines(json!({"on": "table"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(sync.rows("t"), 4);
    let bad = rows(&sync, "t_bad_rows");
    assert_eq!(bad.len(), 1);
    assert!(bad[0].starts_with("t/a.jsonl 2 16 ") && bad[0].ends_with("{\"a\":2,"), "{bad:?}");
    // It is there even if there are none: so that a destination empties it.
    let (sync, _) = synced(&[("t/a.jsonl", b"{\"a\":0}\n")], spec(json!({"on": "table"}))).await;
    assert_eq!((sync.tables().contains(&"t_bad_rows".to_owned()), sync.rows("t_bad_rows")), (true, 0));
    let (sync, _) = synced(
        &[("t/a.jsonl", LINES.as_bytes()), ("u/a.jsonl", LINES.as_bytes())],
        spec(json!({"on": "table", "table": "bad"})),
    )
    .await;
    assert_eq!(sync.rows("bad"), 2);
}

#[tokio::test]
async fn too_many_of_them_are_an_error_after_all() {
    let text: String =
        (0..1_000).map(|n| if n % 50 == 7 { "{\n".to_owned() } else { format!("{{\"a\":{n}}}\n") }).collect();
    for (max, is_error) in [(json!("1%"), true), (json!("3%"), false), (json!(19), true), (json!(20), false)] {
        let (sync, _) = synced(&[("t/a.jsonl", text.as_bytes())], spec(json!({"on": "skip", "max": max}))).await;
        assert_eq!(sync.status.is_some(), is_error, "{max}: {:?}", sync.status);
        if let Some(status) = sync.status {
            let text = status.message();
            assert!(
                text.contains("20 records") && text.contains("record 7") && text.contains("bad_rows.max"),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_may_make_a_record_bad() {
    let mut text = "a,b\n".to_owned();
    text.push_str(&"1,x\n".repeat(100_000));
    text.push_str("no,y\n2,z\n");
    let spec = json!({
        "filetype": "csv",
        "schema": {"on_mismatch": "bad"},
        "bad_rows": {"on": "skip"},
    });
    let (sync, _) = synced(&[("t/a.csv", text.as_bytes())], spec).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(sync.rows("t"), 100_001);
    assert_eq!(rows(&sync, "t").last().unwrap(), "2 z -");
}

#[tokio::test]
async fn a_record_that_is_too_long_is_bad_and_takes_no_memory() {
    let mut rig = Rig::start().await;
    let mut text = "{\"a\":1}\n{\"a\":\"".to_owned();
    text.push_str(&"x".repeat(3 << 20));
    text.push_str("\"}\n{\"a\":3}\n");
    rig.s3.put("t/a.jsonl", text);
    let mut spec = spec(json!({"on": "skip"}));
    spec["limits"] = json!({"max_row_bytes": "1 MiB"});
    let sync = rig.sync(spec).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(rows(&sync, "t"), ["0 1 -", "2 3 -"]);
    let log = rig.stop();
    let warning = log.of_level("warn").into_iter().find(|line| line.contains("a record could not be read")).unwrap();
    assert!(warning.contains("limits.max_row_bytes"), "{warning}");
}
