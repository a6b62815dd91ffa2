//! Which objects are read, and as what: by their names, by what the spec says, by their first bytes.

use super::{rows, synced};
use crate::lakes::{counts, skipped};
use arrow::array::{ArrayRef, Int64Array};
use serde_json::json;
use std::sync::Arc;
use testkit::parquet_files::{self as files, Layout};

const CSV: &[u8] = b"id\n1\n";

fn parquet() -> Vec<u8> {
    let ids = Arc::new(Int64Array::from(vec![7])) as ArrayRef;
    files::write_batch(&files::batch_of(vec![("id", true, ids)]), &Layout::default()).to_vec()
}

#[tokio::test]
async fn by_default_nothing_but_parquet_is_read() {
    let (sync, log) = synced(&[("t/a.csv", CSV), ("t/b.json", b"{}"), ("t/c.PARQUET", b"x")], json!({})).await;
    assert_eq!((sync.tables().len(), &skipped(&log)[..]), (0, "not_parquet: 3"));
}

#[tokio::test]
async fn auto_tells_formats_by_names() {
    let parquet = parquet();
    let objects: [(&str, &[u8]); 8] = [
        ("a/x.parquet", &parquet),
        ("b/x.CSV", CSV),
        ("c/x.ndjson", b"{\"id\":1}\n"),
        ("d/x.json", b"[{\"id\":1}]"),
        ("e/x.tsv", CSV),
        ("f/data", CSV),
        ("f/x.orc", b"ORC\x08"),
        ("f/x.zip", b"PK\x03\x04"),
    ];
    let (sync, log) = synced(&objects, json!({"filetype": "auto"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(counts(&sync).into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"].map(|t| (t.to_owned(), 1)));
    assert_eq!(skipped(&log), "unknown_format: 1, unsupported_format: 2");
    let warnings = log.of_level("warn");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("f/x.orc") && warnings[0].contains('2'), "{warnings:?}");
}

#[tokio::test]
async fn a_format_at_the_top_takes_only_its_own_names() {
    let parquet = parquet();
    let objects: [(&str, &[u8]); 3] = [("t/a.csv", CSV), ("t/b.json", b"{}"), ("t/c.parquet", &parquet)];
    let (sync, log) = synced(&objects, json!({"filetype": "csv"})).await;
    assert_eq!((sync.rows("t"), &skipped(&log)[..]), (1, "other_format: 2"));
}

#[tokio::test]
async fn a_format_in_a_mapping_takes_any_name() {
    let spec = json!({"mappings": [{"glob": "t/**", "table": "t", "filetype": "csv"}]});
    let (sync, _) = synced(&[("t/data", CSV), ("t/x.txt", CSV)], spec).await;
    assert_eq!(rows(&sync, "t"), ["1 -", "1 -"]);
}

#[tokio::test]
async fn what_an_object_is_counts_more_than_its_name_where_the_spec_lets_it() {
    let parquet = parquet();
    let (sync, log) = synced(&[("t/a.csv", &parquet)], json!({"filetype": "auto"})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(sync.rows("t"), 1);
    let warnings = log.of_level("warn");
    assert!(warnings.len() == 1 && warnings[0].contains("t/a.csv"), "{warnings:?}");
    let spec = json!({"mappings": [{"glob": "t/**", "table": "t", "filetype": "csv"}]});
    let (sync, _) = synced(&[("t/a.csv", &parquet)], spec).await;
    let text = sync.status.unwrap().message().to_owned();
    assert!(text.contains("it is a Parquet file"), "{text}");
    let (sync, _) = synced(&[("t/a.csv", b"PK\x03\x04xxxxxxxxx")], json!({"filetype": "csv"})).await;
    assert!(sync.status.unwrap().message().contains("zip"));
}

#[tokio::test]
async fn a_folder_with_two_formats_is_an_error_of_that_table() {
    let objects: [(&str, &[u8]); 3] = [("t/a.csv", CSV), ("t/schema.json", b"{}"), ("u/a.csv", CSV)];
    let (sync, _) = synced(&objects, json!({"filetype": "auto"})).await;
    let text = sync.status.clone().unwrap().message().to_owned();
    for part in ["t/a.csv", "t/schema.json", "exclude"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!((sync.rows("u"), sync.tables()), (1, vec!["u".to_owned()]));
}

#[tokio::test]
async fn a_mapping_joins_formats_in_one_table() {
    let parquet = parquet();
    let objects: [(&str, &[u8]); 3] =
        [("x/a.parquet", &parquet), ("y/b.csv", b"id\n8\n"), ("z/c.jsonl", b"{\"id\":9}\n")];
    let spec = json!({"filetype": "auto", "mappings": [{"glob": "**", "table": "t"}]});
    let (sync, _) = synced(&objects, spec).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(rows(&sync, "t"), ["7 -", "8 -", "9 -"]);
}

#[tokio::test]
async fn lines_of_text_are_rows() {
    let spec = json!({"mappings": [{"glob": "t/**", "table": "t", "filetype": "text"}]});
    let (sync, _) = synced(&[("t/a.log", "one\r\nzwei ü\n\nlast".as_bytes())], spec).await;
    assert_eq!(super::columns(&sync, "t")[0], "line Utf8");
    assert_eq!(rows(&sync, "t"), [" -", "last -", "one -", "zwei ü -"]);
}
