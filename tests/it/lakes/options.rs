//! Options of tables: at the top level for all, in a mapping for its own.

use super::{columns, file, file_of, rows};
use crate::rig::Rig;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use testkit::client::assert_protocol;
use testkit::parquet_files as files;
use testkit::s3_server::ObjectAttributes;

#[tokio::test]
async fn file_columns_in_their_fixed_order() {
    let mut rig = Rig::start().await;
    let content = file(&[5, 6]);
    let bytes = content.len();
    let last_modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400));
    let etag = Some("abc".to_owned());
    rig.s3.put_with("t/x/a.b.parquet", content, ObjectAttributes { last_modified, etag, ..Default::default() });
    let all = json!(["bucket", "file", "version", "etag", "size", "row", "last_modified", "key"]);
    let sync = rig.sync(json!({"file_columns": all})).await;
    assert_protocol(&sync);
    let expected = [
        "_s3_key Utf8",
        "_s3_last_modified Timestamp(µs, \"UTC\")",
        "_s3_row Int64",
        "_s3_size Int64",
        "_s3_etag Utf8",
        "_s3_version Utf8",
        "_s3_file Utf8",
        "_s3_bucket Utf8",
        "id Int64",
    ];
    assert_eq!(columns(&sync, "t_x"), expected);
    let row = |row: u64, id: i64| {
        format!("t/x/a.b.parquet 1970-01-02T00:00:00 {row} {bytes} abc - a.b.parquet test-bucket {id}")
    };
    assert_eq!(rows(&sync, "t_x"), [row(0, 5), row(1, 6)]);
    let sync = rig.sync(json!({"file_columns": ["file", "row"]})).await;
    assert_eq!(rows(&sync, "t_x"), ["0 a.b.parquet 5", "1 a.b.parquet 6"]);
    assert_eq!(columns(&rig.sync(json!({"file_columns": []})).await, "t_x"), ["id Int64"]);
}

#[tokio::test]
async fn a_files_own_column_of_our_name_is_renamed_only_where_ours_is_asked_for() {
    let mut rig = Rig::start().await;
    let sizes: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["k"]));
    rig.s3.put("t/a.parquet", file_of(vec![("_s3_size", sizes), ("_s3_key", keys)]));
    assert_eq!(columns(&rig.sync(json!({})).await, "t"), ["_s3_size Int64", "src_s3_key Utf8"]);
    let sync = rig.sync(json!({"file_columns": ["size"]})).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "t"), ["_s3_size Int64", "src_s3_size Int64", "src_s3_key Utf8"]);
}

#[tokio::test]
async fn a_mapping_overrides_the_options_of_the_top_level() {
    let mut rig = Rig::start().await;
    for table in ["a", "b"] {
        rig.s3.put(&format!("{table}/x.parquet"), files::nested(10, 1));
    }
    let sync = rig
        .sync(json!({
            "file_columns": ["row"],
            "unmapped": "folder",
            "mappings": [{"glob": "a/*", "nested_as": "native", "file_columns": ["file"]}],
        }))
        .await;
    let (a, b) = (columns(&sync, "a"), columns(&sync, "b"));
    assert_eq!((a[0].as_str(), b[0].as_str()), ("_s3_file Utf8", "_s3_row Int64"));
    let is_native = |columns: &[String]| columns.iter().any(|column| column.contains("Struct"));
    assert!(is_native(&a) && !is_native(&b), "{a:?} {b:?}");
}

#[tokio::test]
async fn mappings_of_one_table_have_the_same_options() {
    let mut rig = Rig::start().await;
    let spec = rig.spec(json!({"mappings": [
        {"glob": "a/*", "table": "t"},
        {"glob": "b/*", "table": "t", "file_columns": true},
    ]}));
    let error = rig.client.init(&spec).await.unwrap_err();
    let expected = "mappings[1]: its objects go to the table of mappings[0], with other options";
    assert!(error.message().contains(expected), "{}", error.message());
}

#[tokio::test]
async fn a_mapping_may_merge_and_keys_count_as_columns_of_all_files() {
    let mut rig = Rig::start().await;
    let names: ArrayRef = Arc::new(StringArray::from(vec!["Ada"]));
    rig.s3.put("a/dt=2026-01-01/x.parquet", file(&[1]));
    rig.s3.put("a/dt=2026-01-02/x.parquet", file_of(vec![("name", names.clone())]));
    rig.s3.put("b/x.parquet", file(&[1]));
    rig.s3.put("b/y.parquet", file_of(vec![("name", names)]));
    let merged = json!({"glob": "a/**", "table": "a", "partitions": "hive", "schema": {"mode": "merge"}});
    let sync = rig.sync(json!({"on_object_error": "skip", "mappings": [merged, {"glob": "b/*"}]})).await;
    let columns = columns(&sync, "a");
    assert_eq!(columns[..3], ["dt Date32", "id Int64", "name Utf8"], "{columns:?}");
    let rows: Vec<String> = rows(&sync, "a");
    assert!(rows[0].starts_with("2026-01-01 1 -") && rows[1].starts_with("2026-01-02 - Ada"), "{rows:?}");
    assert!(sync.errors().iter().any(|(table, error)| *table == "b" && error.contains("do not agree")));
}

#[tokio::test]
async fn types_of_columns_of_keys_stand_in_partitions() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/dt=2026-01-31/a.parquet", file(&[1]));
    let spec =
        |conflict: &str| json!({"partitions": {"style": "hive", "conflict": conflict}, "columns": {"DT": "timestamp"}});
    for conflict in ["path", "error"] {
        rig.s3.reset_counts();
        let error = rig.sync(spec(conflict)).await.status.unwrap();
        let expected = "columns.DT: is made of keys in table t; give its type in `partitions.columns`";
        assert!(error.message().contains(expected), "{error}");
        assert_eq!(rig.s3.counts().gets, 0);
    }
    // The choice can be one for the files' column, of this table or of another one.
    assert_eq!(rig.sync(spec("both")).await.rows("t"), 1);
    rig.s3.put("u/a.parquet", file(&[2]));
    let sync = rig.sync(spec("path")).await;
    assert_eq!((sync.rows("t"), sync.rows("u")), (1, 1));
    rig.stop();
}
