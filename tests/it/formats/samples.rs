//! What a table's columns are told by, where that is more or less than usual; and tables without a rescue column.

use super::{columns, rows, synced, table_of};
use crate::rig::Rig;
use serde_json::json;

#[tokio::test]
async fn a_first_record_longer_than_the_sample_is_read() {
    let long = "x".repeat(300 << 10);
    for (filetype, text, column) in [
        ("csv", format!("a,b\n{long},1\ny,2\n"), "a"),
        ("csv", format!("{}a,b\ny,2\n", "\n".repeat(300 << 10)), "a"),
        ("jsonl", format!("{{\"a\":\"{long}\",\"b\":1}}\n{{\"a\":\"y\",\"b\":2}}\n"), "a"),
        ("json", format!("[{{\"a\":\"{long}\",\"b\":1}},{{\"a\":\"y\",\"b\":2}}]"), "a"),
    ] {
        for name in ["t/a", "t/b"] {
            let key = format!("{name}.{filetype}");
            let (columns, rows) = table_of(&key, text.as_bytes(), json!({"filetype": filetype})).await;
            assert_eq!(columns[..2], [format!("{column} Utf8"), "b Int64".to_owned()], "{key}");
            assert!(rows.iter().any(|row| row == "y 2 -"), "{key}");
        }
    }
    let document = format!("{{\"pre\":\"{long}\",\"Records\":[{{\"a\":1}},{{\"a\":2}}]}}");
    let spec = json!({"filetype": "json", "json": {"records": "/Records"}});
    let (columns, rows) = table_of("t/a.json", document.as_bytes(), spec).await;
    assert_eq!((&columns[0][..], &rows[..]), ("a Int64", &["1 -".to_owned(), "2 -".to_owned()][..]));
}

/// Objects that are too large to be kept are looked at by their first bytes: as many as the spec says.
#[tokio::test]
async fn a_larger_sample_looks_further_into_a_large_object() {
    let half = format!("1.5{}\n", "0".repeat(200));
    let (whole, halves) = ("1\n".repeat(150 << 10), half.repeat(45_000));
    let text = format!("a\n{whole}{halves}");
    assert!(text.len() > 8 << 20);
    for (bytes, column) in [("256 KiB", "a Int64"), ("1 MiB", "a Float64")] {
        let spec = json!({"filetype": "csv", "schema": {"sample": {"bytes": bytes}}});
        let (sync, _) = synced(&[("t/a.csv", text.as_bytes())], spec).await;
        assert_eq!(columns(&sync, "t")[0], column, "{bytes}");
    }
}

/// A look at an object reads only its first bytes, however short it is.
#[tokio::test]
async fn tables_of_tiny_objects_are_shown() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.csv", "id,n\n1,x\n");
    rig.s3.put("u/a.csv", "id\n");
    rig.init(json!({"filetype": "csv"})).await;
    let tables = rig.client.tables(&["*"], &[]).await.unwrap();
    assert_eq!(tables.len(), 2);
}

#[tokio::test]
async fn without_a_rescue_column_nothing_is_lost_in_silence() {
    for (filetype, text) in [("csv", "a\n1\n2,3\n"), ("jsonl", "{\"a\":1}\n{\"a\":2,\"b\":3}\n")] {
        // What lies behind the sample has no column.
        let key = format!("t/a.{filetype}");
        let spec = |on_mismatch: &str, on: &str| {
            json!({
                "filetype": filetype,
                "schema": {"rescue_column": "none", "on_mismatch": on_mismatch, "sample": {"bytes": 4096}},
                "bad_rows": {"on": on},
            })
        };
        let filler = if filetype == "csv" { "1\n" } else { "{\"a\":1}\n" };
        let text = if filetype == "csv" {
            text.replacen("a\n", &format!("a\n{}", filler.repeat(5_000)), 1)
        } else {
            format!("{}{text}", filler.repeat(5_000))
        };
        let (sync, _) = synced(&[(&key, text.as_bytes())], spec("fail", "fail")).await;
        assert!(sync.status.is_some(), "{filetype}: fail");
        let (sync, _) = synced(&[(&key, text.as_bytes())], spec("bad", "skip")).await;
        assert_eq!((sync.status.is_none(), sync.rows("t")), (true, 5_001), "{filetype}: bad");
        let (sync, log) = synced(&[(&key, text.as_bytes())], spec("null", "fail")).await;
        assert_eq!((sync.status.is_none(), sync.rows("t")), (true, 5_002), "{filetype}: null");
        assert!(log.of_level("warn").iter().any(|line| line.contains("became null")), "{:?}", log.of_level("warn"));
        assert_eq!(columns(&sync, "t"), ["a Int64"]);
        assert_eq!(rows(&sync, "t").len(), 5_002);
    }
}

/// YAML 1.1 has `on` for true, and the CLI passes that on.
#[tokio::test]
async fn bad_rows_are_treated_as_set_where_yaml_has_its_own_mind() {
    let spec = json!({"filetype": "jsonl", "bad_rows": {"true": "skip"}});
    let (sync, _) = synced(&[("t/a.jsonl", b"{\"a\":1}\n{\n")], spec).await;
    assert_eq!((sync.status.is_none(), sync.rows("t")), (true, 1));
}

#[tokio::test]
async fn many_columns_of_short_records_take_little_memory_at_a_time() {
    let wide: Vec<String> = (0..1_500).map(|n| format!("\"k{n}\":{n}")).collect();
    let text = format!("{{{}}}\n{}", wide.join(","), "{}\n".repeat(20_000));
    let (sync, log) =
        synced(&[("t/a.jsonl", text.as_bytes())], json!({"filetype": "jsonl", "memory_limit": "64 MiB"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(sync.rows("t"), 20_001);
    let peak_bytes = log.summary()["peak_memory_bytes"].as_u64().unwrap();
    // 64 MiB, and 64 MB of the program; a build that is not optimised takes more of its own.
    assert!(peak_bytes < 200_000_000, "{peak_bytes}");
}
