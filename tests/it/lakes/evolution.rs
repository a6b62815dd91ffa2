//! Columns of keys from one sync to the next, and columns that files have, too.

use super::{columns, file, file_of, rows};
use crate::rig::{Rig, state_request};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::backend::{Backend, Mode};
use testkit::client::{Collected, assert_protocol};

/// A lake whose state a backend keeps.
pub(super) struct Lake {
    pub(super) rig: Rig,
    backend: Backend,
}

impl Lake {
    pub(super) async fn start() -> Self {
        Self { rig: Rig::start().await, backend: Backend::start(Mode::Upsert).await }
    }

    pub(super) async fn sync(&mut self, spec: Value) -> Collected {
        self.rig.init(spec).await;
        let backend = &self.backend;
        self.rig.client.sync_with(state_request(backend, None), |message| backend.store(message)).await
    }
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A file with the columns `dt` and `id`.
fn with_dt(dt: &str, id: i64) -> Bytes {
    file_of(vec![("dt", texts(&[dt])), ("id", Arc::new(Int64Array::from(vec![id])))])
}

fn merged(conflict: &str) -> Value {
    json!({"partitions": {"style": "hive", "conflict": conflict}, "schema": {"mode": "merge"}})
}

#[tokio::test]
async fn values_are_read_as_the_type_that_was_announced() {
    let mut lake = Lake::start().await;
    let spec = || json!({"partitions": "hive", "schema": {"mode": "merge"}});
    lake.rig.s3.put("t/month=10/at=2026-01-31T05:00:00Z/a.parquet", file(&[1]));
    assert_eq!(rows(&lake.sync(spec()).await, "t"), ["10 2026-01-31T05:00:00 1 -"]);
    lake.rig.s3.put("t/month=01/at=2026-02-01/b.parquet", file(&[2]));
    let sync = lake.sync(spec()).await;
    assert_eq!(columns(&sync, "t")[..2], ["month Int64", "at Timestamp(µs, \"UTC\")"]);
    assert_eq!(rows(&sync, "t"), ["1 2026-02-01T00:00:00 2 -"]);
    lake.rig.s3.put("t/month=May/at=2026-02-01/c.parquet", file(&[3]));
    let sync = lake.sync(spec()).await;
    assert_protocol(&sync);
    assert_eq!(rows(&sync, "t"), ["- 2026-02-01T00:00:00 3 {\"month\":\"May\"}"], "what does not fit is rescued");
    let warnings = lake.rig.stop().of_level("warn");
    assert!(warnings[0].contains("t/month=May/at=2026-02-01/c.parquet"), "{warnings:?}");
    assert!(warnings[0].contains("the column is int64 since an earlier sync"), "{warnings:?}");
}

#[tokio::test]
async fn a_type_of_keys_that_changes_is_kept_widened_or_refused() {
    let mut lake = Lake::start().await;
    let spec = |on_type_change: &str| json!({"partitions": "hive", "schema": {"on_type_change": on_type_change}});
    lake.rig.s3.put("t/month=10/a.parquet", file(&[1]));
    lake.sync(spec("keep")).await;
    lake.rig.s3.put("t/month=May/b.parquet", file(&[2]));
    let sync = lake.sync(spec("fail")).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("the column \"month\" of the keys is int64 since an earlier sync"), "{error}");
    assert!(error.contains("\"t/month=May/b.parquet\"") && error.contains("all keys together are utf8"), "{error}");
    assert_eq!(rows(&lake.sync(spec("keep")).await, "t"), ["- 2"]);
    let sync = lake.sync(spec("widen")).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "t"), ["month Utf8", "id Int64"]);
    assert_eq!(rows(&sync, "t"), ["10 1", "May 2"], "all is sent again");
    assert_eq!(lake.sync(spec("widen")).await.rows("t"), 0, "and only once");
}

#[tokio::test]
async fn a_file_without_the_column_has_what_its_key_says() {
    for mode in ["strict", "merge"] {
        let mut lake = Lake::start().await;
        let spec = || json!({"partitions": {"style": "hive", "conflict": "file"}, "schema": {"mode": mode, "rescue_column": "r"}});
        lake.rig.s3.put("t/dt=2026-01-01/a.parquet", with_dt("the file's", 1));
        lake.rig.s3.put("t/dt=2026-01-02/b.parquet", file(&[2]));
        let sync = lake.sync(spec()).await;
        assert_protocol(&sync);
        assert_eq!(columns(&sync, "t")[..2], ["dt Utf8", "id Int64"], "{mode}");
        let shown = rows(&sync, "t");
        assert!(shown[0].starts_with("2026-01-02 2") && shown[1].starts_with("the file's 1"), "{mode} {shown:?}");
        lake.rig.s3.put("t/dt=2026-01-03/c.parquet", file(&[3]));
        lake.rig.s3.put("t/dt=2026-01-04/d.parquet", with_dt("another", 4));
        let shown = rows(&lake.sync(spec()).await, "t");
        assert!(shown[0].starts_with("2026-01-03 3") && shown[1].starts_with("another 4"), "{mode} {shown:?}");
        lake.rig.stop().assert_clean();
    }
}

#[tokio::test]
async fn a_column_of_keys_stays_when_files_have_it_later() {
    let mut lake = Lake::start().await;
    lake.rig.s3.put("t/dt=2026-01-01/a.parquet", file(&[1]));
    assert_eq!(rows(&lake.sync(merged("file")).await, "t"), ["2026-01-01 1 -"]);
    lake.rig.s3.put("t/dt=2026-01-02/b.parquet", with_dt("1999-12-31", 2));
    lake.rig.s3.put("t/dt=2026-01-03/c.parquet", with_dt("someday", 3));
    let sync = lake.sync(merged("file")).await;
    assert_eq!(columns(&sync, "t")[..2], ["dt Date32", "id Int64"]);
    assert_eq!(rows(&sync, "t"), ["- 3 {\"dt\":\"someday\"}", "1999-12-31 2 -"]);
}

#[tokio::test]
async fn a_column_of_files_that_moves_into_the_keys_stays_one_column() {
    for mode in ["strict", "merge"] {
        let mut lake = Lake::start().await;
        let spec = || json!({"partitions": "hive", "schema": {"mode": mode}});
        lake.rig.s3.put("t/a.parquet", with_dt("2026-01-01", 1));
        assert!(rows(&lake.sync(spec()).await, "t")[0].starts_with("2026-01-01 1"));
        lake.rig.s3.put("t/dt=2026-01-02/b.parquet", file(&[2]));
        lake.rig.s3.put("t/dt=2026-01-03/c.parquet", with_dt("the file's", 3));
        lake.rig.s3.put("t/d.parquet", with_dt("no folder", 4));
        let sync = lake.sync(spec()).await;
        assert_protocol(&sync);
        assert_eq!(columns(&sync, "t")[..2], ["dt Utf8", "id Int64"], "{mode}");
        let shown: Vec<String> = rows(&sync, "t").iter().map(|row| row.trim_end_matches(" -").to_owned()).collect();
        assert_eq!(shown, ["2026-01-02 2", "2026-01-03 3", "no folder 4"], "{mode}");
        let warnings = lake.rig.stop().of_level("warn");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("the value of the key is taken") && warnings[0].contains("\"dt\""),
            "{warnings:?}"
        );
    }
}

#[tokio::test]
async fn an_object_whose_key_lacks_the_folder_has_its_own_value() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", with_dt("2026-01-01", 1));
    rig.s3.put("t/b.parquet", with_dt("someday", 2));
    rig.s3.put("t/dt=2026-01-03/c.parquet", file(&[3]));
    rig.s3.put("t/dt=2026-01-04/d.parquet", with_dt("the file's", 4));
    rig.s3.put("t/dt=__HIVE_DEFAULT_PARTITION__/e.parquet", with_dt("the file's", 5));
    let sync = rig.sync(merged("path")).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "t")[..2], ["dt Date32", "id Int64"]);
    let expected = ["- 2 {\"dt\":\"someday\"}", "- 5 -", "2026-01-01 1 -", "2026-01-03 3 -", "2026-01-04 4 -"];
    assert_eq!(rows(&sync, "t"), expected);
}

#[tokio::test]
async fn an_option_that_changes_values_starts_the_table_anew() {
    let mut lake = Lake::start().await;
    lake.rig.s3.put("t/k=a%20b/a.parquet", with_dt("x", 1));
    lake.rig.s3.put("t/k=NULL/b.parquet", with_dt("y", 2));
    let with = |partitions: Value| json!({"partitions": partitions});
    let hive = json!({"style": "hive"});
    assert_eq!(rows(&lake.sync(with(hive.clone())).await, "t"), ["NULL y 2", "a b x 1"]);
    assert_eq!(lake.sync(with(json!("hive"))).await.rows("t"), 0, "the same in other words");
    let sync = lake.sync(with(json!({"style": "hive", "decode": false}))).await;
    assert_eq!(rows(&sync, "t"), ["NULL y 2", "a%20b x 1"]);
    let sync = lake.sync(with(json!({"style": "hive", "null_values": ["NULL"]}))).await;
    assert_eq!(rows(&sync, "t"), ["- y 2", "a b x 1"]);
    assert_eq!(
        lake.sync(with(json!({"style": "hive", "null_values": ["NULL"], "conflict": "file"}))).await.rows("t"),
        2
    );
    let warnings = lake.rig.stop().of_level("warn");
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains("all its objects are read again")), "{warnings:?}");
}
