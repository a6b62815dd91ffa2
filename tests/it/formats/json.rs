//! JSON: lines, values behind each other, arrays and documents.

use super::{synced, table_of};
use serde_json::{Value, json};

/// The columns and rows of one JSON object under these options.
async fn json_of(text: &str, json: Value) -> (Vec<String>, Vec<String>) {
    let (mut columns, rows) = table_of("t/a.json", text.as_bytes(), json!({"filetype": "json", "json": json})).await;
    assert_eq!(columns.pop().unwrap(), "_s3_rescued Binary");
    (columns, rows)
}

#[tokio::test]
async fn records_stand_on_lines_behind_each_other_in_arrays_or_alone() {
    for text in [
        "{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n",
        "{\"a\":1,\"b\":\"x\"}\r\n\r\n{\"a\":2,\"b\":\"y\"}",
        "{\"a\":1,\"b\":\"x\"}{\"a\":2,\"b\":\"y\"}",
        "\u{feff} [ {\"a\":1,\"b\":\"x\"} ,\n {\"b\":\"y\",\"a\":2} ] ",
        "{\n \"a\": 1,\n \"b\": \"x\"\n}\n{\n \"a\": 2,\n \"b\": \"y\"\n}\n",
    ] {
        let (columns, rows) = json_of(text, json!({})).await;
        assert_eq!(
            (&columns[..], &rows[..]),
            (&["a Int64".to_owned(), "b Utf8".to_owned()][..], &["1 x -".to_owned(), "2 y -".to_owned()][..]),
            "{text}"
        );
    }
    let (_, rows) = json_of("{\n  \"a\": 1,\n  \"b\": {\"c\": [1, 2]}\n}\n", json!({})).await;
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn records_of_a_document_are_where_the_pointer_says() {
    let text = "{\"Records\":[{\"a\":1},{\"a\":2}]}";
    assert_eq!(json_of(text, json!({"records": "/Records"})).await.1, ["1 -", "2 -"]);
    let text = "{\"configSnapshotId\":\"s1\",\"configurationItems\":[{\"a\":1},{\"a\":2}]}";
    let options = json!({"records": "/configurationItems", "keep": ["/configSnapshotId"]});
    let (columns, rows) = json_of(text, options.clone()).await;
    assert_eq!(columns.len(), 2);
    assert!(rows.iter().all(|row| row.contains("s1")), "{rows:?}");
    let text = "{\"configurationItems\":[{\"a\":1}],\"configSnapshotId\":\"s1\"}";
    let spec = json!({"filetype": "json", "json": options});
    let (sync, _) = synced(&[("t/a.json", text.as_bytes())], spec).await;
    let text = sync.status.unwrap().message().to_owned();
    assert!(text.contains("/configSnapshotId") && text.contains("t/a.json"), "{text}");
    let spec = json!({"filetype": "json", "json": {"records": "/Rows"}});
    let (sync, _) = synced(&[("t/a.json", b"{\"Records\":[]}")], spec).await;
    let text = sync.status.unwrap().message().to_owned();
    assert!(text.contains("/Rows"), "{text}");
}

#[tokio::test]
async fn a_column_of_many_kinds_is_json() {
    let text = "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":{\"b\":1}}\n{\"a\":[1]}\n{\"a\":null}\n{}\n";
    let (columns, rows) = json_of(text, json!({})).await;
    assert_eq!(columns, ["a Binary"]);
    assert_eq!(rows, ["\"x\" -", "- -", "- -", "1 -", "[1] -", "{\"b\":1} -"]);
}

#[tokio::test]
async fn numbers_are_exact() {
    let (columns, rows) = json_of("{\"n\":12345678901234567890}\n", json!({})).await;
    assert_eq!((&columns[0][..], &rows[0][..]), ("n Decimal128(38, 0)", "12345678901234567890 -"));
    let mut text = "{\"n\":1}\n".repeat(100_000);
    text.push_str("{\"n\":1.0}\n{\"n\":\"12\"}\n{\"n\":1e400}\n");
    let (columns, rows) = json_of(&text, json!({})).await;
    assert_eq!(columns, ["n Int64"]);
    assert_eq!(rows[..2], ["- {\"n\":\"12\"}", "- {\"n\":1e400}"]);
    assert_eq!((rows.len(), &rows[2][..]), (100_003, "1 -"));
    let (columns, rows) = json_of("{\"f\":1.5}\n{\"f\":\"NaN\"}\n", json!({})).await;
    assert_eq!((&columns[0][..], &rows[..]), ("f Float64", &["1.5 -".to_owned(), "NaN -".to_owned()][..]));
}

#[tokio::test]
async fn strings_stay_text_unless_all_of_them_are_times() {
    let (columns, rows) = json_of(
        "{\"d\":\"2024-01-31\",\"t\":\"2024-01-31T12:00:00Z\",\"n\":\"12\",\"s\":\"a\\n\\u00e9\\u0000\\ud800\"}\n",
        json!({}),
    )
    .await;
    assert_eq!(columns, ["d Date32", "t Timestamp(µs, \"UTC\")", "n Utf8", "s Utf8"]);
    assert_eq!(rows, ["2024-01-31 2024-01-31T12:00:00 12 a\né\u{fffd} -"]);
}

#[tokio::test]
async fn values_too_deep_are_bad_and_do_no_harm() {
    let deep = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let text = format!("{}\n{}\n{}\n{{\"a\":2}}\n", deep(64), deep(65), deep(100_000));
    let spec = json!({"filetype": "jsonl", "file_columns": ["row"], "bad_rows": {"on": "skip"}});
    let (sync, _) = synced(&[("t/a.jsonl", text.as_bytes())], spec).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    let rows = super::rows(&sync, "t");
    assert_eq!(rows.len(), 2);
    assert!(rows[0].starts_with("0 [[") && rows[1].starts_with("3 2"), "{rows:?}");
}

#[tokio::test]
async fn scalars_are_no_records_unless_the_document_is_the_value() {
    let spec = json!({"filetype": "jsonl", "bad_rows": {"on": "skip"}});
    let (sync, _) = synced(&[("t/a.jsonl", b"{\"a\":1}\n7\n\"x\"\n")], spec).await;
    assert_eq!(super::rows(&sync, "t"), ["1 -"]);
    let (columns, rows) =
        table_of("t/a.jsonl", b"7\n{\"a\": [1]}\n", json!({"filetype": "jsonl", "json": {"as": "document"}})).await;
    assert_eq!(columns[0], "data Binary");
    assert!(rows[0].starts_with('7') && rows[1].starts_with("{\"a\":"), "{rows:?}");
}

#[tokio::test]
async fn keys_and_duplicates_are_as_set() {
    assert_eq!(json_of("{\"a\":1,\"\\u0061\":2}\n", json!({})).await.1, ["2 -"]);
    let spec = json!({"filetype": "jsonl", "json": {"duplicate_keys": "bad"}, "bad_rows": {"on": "skip"}});
    let (sync, _) = synced(&[("t/a.jsonl", b"{\"a\":1}\n{\"a\":1,\"a\":2}\n")], spec).await;
    assert_eq!(super::rows(&sync, "t"), ["1 -"]);
}

#[tokio::test]
async fn nested_values_are_json_and_lists_of_scalars_lists_if_they_shall() {
    let text = "{\"l\":[1,2],\"o\":{\"x\":1}}\n{\"l\":[],\"o\":null}\n";
    assert_eq!(json_of(text, json!({})).await.0, ["l Binary", "o Binary"]);
    let (columns, rows) = json_of(text, json!({"nested": "native"})).await;
    assert!(columns[0].starts_with("l List"), "{columns:?}");
    assert!(rows.iter().any(|row| row.starts_with("[1, 2]")), "{rows:?}");
}

#[tokio::test]
async fn unknown_keys_behind_the_sample_are_rescued() {
    let mut text = "{\"a\":1}\n".repeat(100_000);
    text.push_str("{\"a\":2,\"b\":{\"c\":\"x\"}}\n");
    let (columns, rows) = json_of(&text, json!({})).await;
    assert_eq!(columns, ["a Int64"]);
    assert_eq!(rows.last().unwrap(), "2 {\"b\":{\"c\":\"x\"}}");
}

/// What nobody wants is not rescued either.
#[tokio::test]
async fn keys_that_are_dropped_or_in_the_path_are_left_out() {
    let text = "{\"dt\":\"2023-05-05\",\"a\":1,\"_cq_x\":2,\"b\":{\"c\":3}}\n";
    let spec =
        json!({"filetype": "auto", "partitions": "hive", "cq_columns": "drop", "columns": {"b": {"drop": true}}});
    let (sync, _) = synced(&[("t/dt=2024-01-31/a.jsonl", text.as_bytes())], spec).await;
    assert_eq!(super::rows(&sync, "t"), ["2024-01-31 1 -"]);
    let spec = json!({"filetype": "auto", "partitions": {"style": "hive", "conflict": "file"}});
    let (sync, _) = synced(&[("t/dt=2024-01-31/a.jsonl", b"{\"dt\":\"2023-05-05\",\"a\":1}\n")], spec).await;
    assert_eq!(super::rows(&sync, "t"), ["2023-05-05 1 -"]);
}
