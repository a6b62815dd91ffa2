//! What the listing leads to: which folders count, which are said to be something else, and when it stops.

use crate::rig::{Rig, small};
use serde_json::json;
use testkit::client::assert_protocol;
use tonic::Code;

/// Objects on a page of the listing.
const PAGE: usize = 1_000;

#[tokio::test]
async fn too_many_tables_end_the_listing_as_soon_as_they_are_seen() {
    let mut rig = Rig::start().await;
    for folder in 0..3 * PAGE {
        rig.s3.put(&format!("raw/events/2026/{folder:04}/1.parquet"), "not read");
    }
    rig.s3.put("users/1.parquet", small("u"));
    let sync = rig.sync(json!({"max_tables": 100})).await;
    let status = sync.status.as_ref().expect("too many tables");
    let (code, text) = (status.code(), status.message());
    assert_eq!((code, sync.messages.len()), (Code::InvalidArgument, 0), "{text}");
    let expected = "at least 1000 tables are selected, more than max_tables (100): 1000 of them are folders below \
                    \"raw/events/2026/\", such as \"raw/events/2026/0000/\"";
    assert!(text.contains(expected), "{text}");
    assert_eq!(rig.s3.counts().lists, 1, "the first page tells");

    // What is not selected does not count.
    rig.init(json!({"max_tables": 1})).await;
    assert_protocol(&rig.client.sync(&["users"], &[]).await);
    assert_protocol(&rig.client.sync(&["*"], &["raw_*"]).await);
    assert_eq!(rig.stop().of_level("warn"), Vec::<String>::new());
}

#[tokio::test]
async fn skipped_objects_that_could_be_data_are_warned_about_by_prefix() {
    let mut rig = Rig::start().await;
    rig.s3.put("orders/1.parquet", small("o"));
    for key in ["orders/2.PARQUET", "orders/3.parquet.gz", "athena/20260101_000000_x", "old/1.csv", "old/2.csv"] {
        rig.s3.put(key, "rows");
    }
    // Beside data, hidden, empty, or left out on purpose.
    for key in ["orders/_SUCCESS", "orders/1.parquet.crc", "orders/_metadata", "orders/manifest", "README.md"] {
        rig.s3.put(key, "no rows");
    }
    for key in ["cur/report-Manifest.json", "rds/export_info_1.json", "orders/part_manifest"] {
        rig.s3.put(key, "no rows");
    }
    rig.s3.put("orders/empty.csv", "");
    rig.s3.put("tmp/1.csv", "rows");
    let spec = json!({"exclude": ["tmp/**"]});
    assert_protocol(&rig.sync(spec.clone()).await);
    // Nobody asks for the others.
    assert_protocol(&rig.client.sync(&["orders"], &[]).await);
    assert_protocol(&rig.sync(json!({"include": ["**/*.parquet"]})).await);
    let warnings = rig.stop().of_level("warn");
    assert_eq!(warnings.len(), 4, "three folders, then the one that is selected, then none: {warnings:#?}");
    for (warning, folder, count, key, cure) in [
        (&warnings[0], "athena/: ", "1 skipped object", "athena/20260101_000000_x", "without extension"),
        (&warnings[1], "old/: ", "2 skipped objects", "old/1.csv", "only Parquet is read"),
        (&warnings[2], "orders/: ", "2 skipped objects", "orders/2.PARQUET", "rename"),
        (&warnings[3], "orders/: ", "2 skipped objects", "orders/2.PARQUET", "`exclude`"),
    ] {
        let count = format!("{count} could be data");
        for part in ["s3://test-bucket/", folder, &count, key, cure] {
            assert!(warning.contains(part), "{part} in {warning}");
        }
    }
}

#[tokio::test]
async fn tables_of_formats_with_dead_files_are_warned_about_and_their_staging_is_no_table() {
    let mut rig = Rig::start().await;
    let ducklake = "duck/t/ducklake-01997f3c-2b1a-7d4e-9f6a-9b8c7d6e5f4a.parquet";
    for key in [
        "delta/1.parquet",
        "delta/_change_data/cdc-1.parquet",
        "delta/_delta_log/00000000000000000000.json",
        ducklake,
        "hudi/.hoodie/hoodie.properties",
        "hudi/1.parquet",
        "ice/data/1.parquet",
        "ice/metadata/00001-a.metadata.json.gz",
        "ice/metadata/snap-1.avro",
        "paimon/bucket-0/1.parquet",
        "paimon/manifest/manifest-a-0",
        "paimon/schema/schema-0",
        "paimon/snapshot/snapshot-1",
        "stream/1.parquet",
        "stream/_spark_metadata/0",
        "plain/.spark-staging-4f6a/1.parquet",
        "plain/1.parquet",
    ] {
        rig.s3.put(key, if key.ends_with(".parquet") { small(key) } else { "log".into() });
    }
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    let tables = ["delta", "duck_t", "hudi", "ice_data", "paimon_bucket_0", "plain", "stream"];
    assert_eq!(sync.tables(), tables);
    let warnings = rig.stop().of_level("warn");
    assert_eq!(warnings.len(), 6, "{warnings:#?}");
    for (prefix, format) in [
        ("delta/", "Delta"),
        ("duck/t/", "DuckLake"),
        ("hudi/", "Hudi"),
        ("ice/", "Iceberg"),
        ("paimon/", "Paimon"),
        ("stream/", "Spark streaming"),
    ] {
        let text = format!("s3://test-bucket/{prefix} is a table in {format} format");
        assert!(warnings.iter().any(|warning| warning.contains(&text)), "{text} in {warnings:#?}");
    }
}
