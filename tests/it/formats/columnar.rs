//! Avro and Arrow: whole syncs of files of real writers.

use super::{columns, rows, synced};
use crate::columns::names;
use arrow::array::{Array as _, AsArray as _};
use serde_json::json;
use testkit::client::Collected;

fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/binary_formats/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

#[tokio::test]
async fn files_of_all_codecs_have_the_same_rows() {
    for (suffix, files) in [
        ("avro", &["fastavro_null", "fastavro_deflate", "fastavro_snappy", "fastavro_zstandard", "fastavro_bzip2"][..]),
        ("arrow", &["pyarrow_file_plain", "pyarrow_file_lz4", "pyarrow_file_zstd"][..]),
        ("arrows", &["pyarrow_stream_plain", "pyarrow_stream_lz4", "pyarrow_stream_zstd"][..]),
    ] {
        let objects: Vec<(String, Vec<u8>)> =
            files.iter().map(|file| (format!("{file}/x.{suffix}"), fixture(&format!("{file}.{suffix}")))).collect();
        let objects: Vec<(&str, &[u8])> = objects.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice())).collect();
        let (sync, log) = synced(&objects, json!({"filetype": "auto"})).await;
        assert!(sync.status.is_none() && sync.errors().is_empty(), "{:?} {:?}", sync.status, sync.errors());
        assert_eq!(sync.tables().len(), files.len());
        let first = (columns(&sync, files[0]), rows(&sync, files[0]));
        assert!(first.0.len() > 10 && first.1.len() == 30, "{} columns, {} rows", first.0.len(), first.1.len());
        for file in files {
            assert_eq!((columns(&sync, file), rows(&sync, file)), first, "{file}");
        }
        log.assert_clean();
    }
}

/// As the writers have named the columns: no default is invented, and no alias is a column's name.
#[tokio::test]
async fn avro_files_are_one_table_by_the_names_of_their_writers() {
    let (before, after) = (fixture("evolved_1.avro"), fixture("evolved_2.avro"));
    let objects: [(&str, &[u8]); 2] = [("t/1.avro", &before), ("t/2.avro", &after)];
    let (sync, _) = synced(&objects, json!({"filetype": "auto"})).await;
    assert!(sync.status.is_none() && sync.errors().is_empty(), "{:?} {:?}", sync.status, sync.errors());
    assert_eq!(
        columns(&sync, "t"),
        ["id Int64", "old_name Utf8", "must Int64", "new_name Utf8", "added Utf8", "_s3_rescued Binary"]
    );
    assert_eq!(rows(&sync, "t"), ["1 a 10 - - -", "1099511627776 - - c x -", "2 b 20 - - -"]);
    let (sync, _) = synced(&objects, json!({"filetype": "auto", "schema": {"mode": "strict"}})).await;
    assert!(sync.status.is_some(), "the files differ");
}

/// The ids in a column, by their last bytes.
fn ids(sync: &Collected, table: &str, name: &str) -> Vec<Option<u8>> {
    let rows = sync.concatenated(table);
    let ids = rows.column_by_name(name).unwrap().as_fixed_size_binary();
    (0..ids.len()).map(|row| ids.is_valid(row).then(|| ids.value(row)[15])).collect()
}

#[tokio::test]
async fn rows_have_the_ids_and_types_that_cloudquery_gave_them() {
    let (avro, arrow) = (fixture("ids.avro"), fixture("ids.arrow"));
    let objects: [(&str, &[u8]); 2] = [("a/x.avro", &avro), ("b/x.arrow", &arrow)];
    let spec = json!({"filetype": "auto", "cq_columns": "restore", "restore_types": "cloudquery"});
    let (sync, log) = synced(&objects, spec).await;
    assert!(sync.status.is_none() && sync.errors().is_empty(), "{:?} {:?}", sync.status, sync.errors());
    for table in ["a", "b"] {
        assert_eq!(ids(&sync, table, "_cq_id"), [Some(1), Some(2), Some(3)], "{table}");
        assert_eq!(ids(&sync, table, "_cq_parent_id"), [None, Some(1), Some(2)], "{table}");
        assert_eq!(ids(&sync, table, "other"), [Some(101), Some(102), Some(103)], "{table}");
        assert_eq!(names(&sync, table), ["name", "other", "_s3_rescued"], "{table}");
    }
    log.assert_clean();
}
