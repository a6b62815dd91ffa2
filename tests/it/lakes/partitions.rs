//! Columns that keys make.

use super::evolution::Lake;
use super::{columns, file, file_of, rows};
use crate::rig::Rig;
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::client::assert_protocol;

#[tokio::test]
async fn folders_of_dates_are_one_table_with_a_date() {
    let mut rig = Rig::start().await;
    rig.s3.put("raw/events/dt=2024-01-31/a.parquet", file(&[1]));
    rig.s3.put("raw/events/dt=2024-02-01/region=eu%2Fwest/a.parquet", file(&[2]));
    rig.s3.put("raw/events/dt=__HIVE_DEFAULT_PARTITION__/a.parquet", file(&[3]));
    rig.s3.put("raw/users/a.parquet", file(&[4]));
    let sync = rig.sync(json!({"partitions": "hive", "file_columns": ["row"]})).await;
    assert_protocol(&sync);
    assert_eq!(sync.tables(), ["raw_events", "raw_users"]);
    assert_eq!(columns(&sync, "raw_events"), ["_s3_row Int64", "dt Date32", "region Utf8", "id Int64"]);
    assert_eq!(rows(&sync, "raw_events"), ["0 - - 3", "0 2024-01-31 - 1", "0 2024-02-01 eu/west 2"]);
    assert_eq!(columns(&sync, "raw_users"), ["_s3_row Int64", "id Int64"]);
    rig.stop().assert_clean();
}

#[tokio::test]
async fn types_are_found_out_from_all_keys_unless_the_spec_gives_them() {
    let mut rig = Rig::start().await;
    for (table, values) in [("pad", ["01", "12"]), ("mixed", ["1", "x"]), ("number", ["1", "-5"])] {
        for value in values {
            rig.s3.put(&format!("{table}/month={value}/a.parquet"), file(&[1]));
        }
    }
    let sync = rig.sync(json!({"partitions": "hive"})).await;
    assert_eq!(rows(&sync, "pad"), ["01 1", "12 1"]);
    assert_eq!(columns(&sync, "mixed"), ["month Utf8", "id Int64"]);
    assert_eq!(columns(&sync, "number"), ["month Int64", "id Int64"]);
    let partitions = json!({"style": "hive", "columns": {"month": "int64"}});
    let sync = rig.sync(json!({"partitions": partitions})).await;
    assert_eq!(rows(&sync, "pad"), ["1 1", "12 1"]);
    assert_eq!(rows(&sync, "mixed"), ["- 1", "1 1"]);
    let warnings = rig.stop().of_level("warn");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("mixed/month=x/a.parquet") && warnings[0].contains("they are null"), "{warnings:?}");
}

#[tokio::test]
async fn parts_of_a_path_are_columns_and_its_date_is_one_moment() {
    let mut rig = Rig::start().await;
    rig.s3.put("logs/123/eu/2026/01/31/05/a.parquet", file(&[1]));
    rig.s3.put("logs/007/us/2026/02/30/00/a.parquet", file(&[2]));
    let sync = rig
        .sync(json!({"mappings": [{
            "path": "logs/{{account}}/{{region}}/{{YEAR}}/{{MONTH}}/{{DAY}}/{{HOUR}}/{{*}}",
            "table": "logs_{{region}}",
            "partitions": {"path_time": "at", "columns": {"account": "text"}},
        }]}))
        .await;
    assert_eq!(sync.tables(), ["logs_eu", "logs_us"]);
    let expected = ["account Utf8", "at Timestamp(µs, \"UTC\")", "id Int64"];
    assert_eq!(columns(&sync, "logs_eu"), expected);
    assert_eq!(rows(&sync, "logs_eu"), ["123 2026-01-31T05:00:00 1"]);
    assert_eq!(rows(&sync, "logs_us"), ["007 - 2"]);
    let warnings = rig.stop().of_level("warn");
    assert_eq!(warnings.len(), 1, "an impossible date: {warnings:?}");
}

#[tokio::test]
async fn each_type_of_a_key_arrives() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a=TRUE/b=1.5/c=12.50/d=2026-01-31 10%3A00%3A00/e=x y/a.parquet", file(&[1]));
    let columns_given = json!({
        "a": "bool", "b": "double", "c": "decimal(5, 2)", "f": {"type": "date", "format": "%Y%m%d"},
    });
    rig.s3.put("t/f=20260131/a.parquet", file(&[2]));
    let sync = rig.sync(json!({"partitions": {"style": "hive", "columns": columns_given}})).await;
    assert_protocol(&sync);
    let expected =
        ["a Boolean", "b Float64", "c Decimal128(5, 2)", "d Timestamp(µs, \"UTC\")", "e Utf8", "f Date32", "id Int64"];
    assert_eq!(columns(&sync, "t"), expected);
    assert_eq!(rows(&sync, "t"), ["- - - - - 2026-01-31 2", "true 1.5 12.50 2026-01-31T10:00:00 x y - 1"]);
}

#[tokio::test]
async fn a_column_of_the_file_and_of_the_key() {
    let mut rig = Rig::start().await;
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    rig.s3.put("t/dt=2026-01-31/a.parquet", file_of(vec![("DT", times), ("id", Arc::new(Int64Array::from(vec![7])))]));
    let with = |conflict: &str| json!({"partitions": {"style": "hive", "conflict": conflict}});
    let sync = rig.sync(with("path")).await;
    assert_eq!(
        (columns(&sync, "t"), rows(&sync, "t")),
        (vec!["dt Date32".into(), "id Int64".into()], vec!["2026-01-31 7".into()])
    );
    let sync = rig.sync(with("file")).await;
    assert_eq!(columns(&sync, "t"), ["DT Timestamp(µs, \"UTC\")", "id Int64"]);
    assert_eq!(rows(&sync, "t"), ["1970-01-01T00:00:00 7"]);
    let sync = rig.sync(with("both")).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "t"), ["dt Date32", "DT_2 Timestamp(µs, \"UTC\")", "id Int64"]);
    assert_eq!(rows(&sync, "t"), ["2026-01-31 1970-01-01T00:00:00 7"]);
    let sync = rig.sync(with("error")).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("the column \"dt\" is in the keys and in the files; set `partitions.conflict`"), "{error}");
    let log = rig.stop();
    let warnings = log.of_level("warn");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the value of the key is taken") && warnings[0].contains("\"dt\""), "{warnings:?}");
}

#[tokio::test]
async fn a_new_partition_column_comes_behind_and_the_type_that_was_announced_stays() {
    let mut lake = Lake::start().await;
    let spec = || json!({"partitions": "hive"});
    lake.rig.s3.put("t/dt=2026-01-31/a.parquet", file(&[1]));
    let sync = lake.sync(spec()).await;
    assert_eq!(columns(&sync, "t"), ["dt Date32", "id Int64"]);
    lake.rig.s3.put("t/dt=2026-02-01/hour=5/b.parquet", file(&[2]));
    let sync = lake.sync(spec()).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "t"), ["dt Date32", "id Int64", "hour Int64"]);
    assert_eq!(rows(&sync, "t"), ["2026-02-01 2 5"], "what is done is not sent again");
    lake.rig.s3.put("t/dt=later/c.parquet", file(&[3]));
    let sync = lake.sync(spec()).await;
    assert_eq!(columns(&sync, "t"), ["dt Date32", "id Int64", "hour Int64"]);
    assert_eq!(rows(&sync, "t"), ["- 3 -"]);
    assert_eq!(sync_again_reads_nothing(&mut lake, spec()).await, 0);
    let warnings = lake.rig.stop().of_level("warn");
    assert!(warnings.iter().all(|warning| warning.contains("date since an earlier sync")), "{warnings:?}");
    assert!(!warnings.is_empty());
}

async fn sync_again_reads_nothing(lake: &mut Lake, spec: Value) -> u64 {
    lake.rig.s3.reset_counts();
    let sync = lake.sync(spec).await;
    assert_eq!(sync.rows("t"), 0);
    lake.rig.s3.counts().gets
}

#[tokio::test]
async fn an_option_that_makes_other_columns_starts_the_table_anew() {
    let mut lake = Lake::start().await;
    lake.rig.s3.put("t/month=01/a.parquet", file(&[1]));
    let with = |columns: Value| json!({"partitions": {"style": "hive", "columns": columns}});
    assert_eq!(rows(&lake.sync(with(json!({}))).await, "t"), ["01 1"]);
    let sync = lake.sync(with(json!({"month": "int64"}))).await;
    assert_eq!(rows(&sync, "t"), ["1 1"], "all its objects are read again");
    // A type for what is no column changes nothing.
    let sync = lake.sync(with(json!({"month": "int64", "day": "int64"}))).await;
    assert_eq!(rows(&sync, "t"), [""; 0]);
    assert_eq!(sync_again_reads_nothing(&mut lake, with(json!({"month": "int64", "day": "int64"}))).await, 0);
    let warnings = lake.rig.stop().of_level("warn");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("all its objects are read again"), "{warnings:?}");
}

#[tokio::test]
async fn get_tables_shows_columns_of_keys() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/dt=2026-01-31/a.parquet", file(&[1]));
    rig.init(json!({"partitions": "hive"})).await;
    let tables = rig.client.tables(&["*"], &[]).await.unwrap();
    let names: Vec<&str> = tables[0].fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["_cq_id", "_cq_parent_id", "dt", "id"]);
}

#[tokio::test]
async fn folders_that_explode_are_told_to_be_partitions() {
    let mut rig = Rig::start().await;
    for day in 1..=5 {
        rig.s3.put(&format!("raw/events/dt=2026-01-0{day}/a.parquet"), file(&[day]));
    }
    let sync = rig.sync(json!({"max_tables": 3})).await;
    let error = sync.status.unwrap().message().to_owned();
    assert!(error.contains("`partitions: hive` makes columns of them, and one table of \"raw/events/\""), "{error}");
    assert_eq!(rig.sync(json!({"max_tables": 3, "partitions": "hive"})).await.rows("raw_events"), 5);
    // At the root nothing is left to name the table.
    rig.s3.put("dt=2026-01-01/a.parquet", file(&[1]));
    let error = rig.sync(json!({"partitions": "hive"})).await.status.unwrap().message().to_owned();
    assert!(error.contains("`mappings: [{glob: \"**\", table: events}]`"), "{error}");
    let sync = rig.sync(json!({"mappings": [{"glob": "dt=*/**", "table": "events", "partitions": "hive"}]})).await;
    assert_eq!(rows(&sync, "events"), ["2026-01-01 1"]);
}

#[tokio::test]
async fn long_values_of_keys_keep_to_the_size_of_messages() {
    let mut rig = Rig::start().await;
    let long = "x".repeat(800);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["y"; 20_000]));
    rig.s3.put(&format!("t/k={long}/a.parquet"), file_of(vec![("s", texts)]));
    let sync = rig.sync(json!({"partitions": "hive", "memory_limit": "32MiB", "rows_per_record": 100_000})).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("t"), 20_000);
    assert!(sync.batches("t").len() >= 4, "16 MB of keys in {} messages", sync.batches("t").len());
    rig.stop().assert_clean();
}
