//! The announced schema over several syncs, and which changes have a table start anew.

use super::*;

fn with_column(name: &str) -> Bytes {
    let batch = files::batch_of(vec![(name, true, Arc::new(StringArray::from(vec!["7"])) as ArrayRef)]);
    files::write_batch(&batch, &files::Layout::default())
}

#[tokio::test]
async fn new_objects_are_compared_with_the_stored_schema() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.put("u/a.parquet");
    lake.sync(json!({})).await;
    lake.rig.s3.put("t/b.parquet", with_column("other"));
    lake.put("u/b.parquet");
    let sync = lake.any_sync(json!({})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!((tables(&sync), origins(&sync)), (vec!["u".to_owned()], set(&["u/b.parquet"])));
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("t/a.parquet") && error.contains("t/b.parquet"), "{error}");
    assert!(error.contains("Left out: 1 object with 1 row"), "{error}");
    assert_eq!(lake.keys_read(), set(&["t/b.parquet", "u/b.parquet"]), "no footer of a done object");
    // The object that set the schema may be gone: it still holds.
    lake.rig.s3.delete("t/a.parquet");
    // Good ones stay out, too, and each sync says how many.
    lake.put("t/c.parquet");
    lake.put("t/d.parquet");
    let sync = lake.any_sync(json!({})).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("state_id"), "says how to start anew: {error}");
    assert!(error.contains("Left out: 3 objects with 201 rows ("), "{error}");
    for key in ["t/c.parquet", "t/d.parquet"] {
        lake.rig.s3.delete(key);
    }
    let sync = lake.any_sync(json!({"state_id": "2"})).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("t"), 1);
}

#[tokio::test]
async fn the_announced_schema_stays_when_the_object_that_set_it_goes() {
    let mut lake = Lake::start().await;
    let narrow = versioned_batch("a", 10, 4);
    let nullable = files::batch_of(
        ["row", "origin", "filler"].map(|name| (name, true, narrow.column_by_name(name).unwrap().clone())).to_vec(),
    );
    lake.rig.s3.put("t/a.parquet", files::write_batch(&nullable, &files::Layout::default()));
    lake.rig.s3.put("t/b.parquet", small("b"));
    let first = lake.sync(json!({})).await;
    assert!(first.schema("t").field_with_name("row").unwrap().is_nullable());
    lake.rig.s3.delete("t/a.parquet");
    lake.put("t/c.parquet");
    let second = lake.sync(json!({})).await;
    assert_eq!(second.migrates(), first.migrates());
}

#[tokio::test]
async fn a_table_that_lost_all_its_objects_is_announced_as_it_was_and_without_rows() {
    let mut lake = Lake::start().await;
    for key in ["t/a.parquet", "u/a.parquet", "v/a.parquet"] {
        lake.put(key);
    }
    let first = lake.sync(json!({})).await;
    lake.rig.s3.delete("t/a.parquet");
    // Once its state forgets the objects; then there is nothing to write.
    for flushes in [1, 0] {
        let sync = lake.sync(json!({})).await;
        assert_eq!((sync.migrates(), sync.messages.len()), (first.migrates()[..3].to_vec(), 3));
        assert_eq!(lake.flushes(), flushes);
    }
    // It can be selected by its name, and left out.
    let mut request = state_request(&lake.backend, None);
    request.tables = vec!["t".to_owned()];
    assert_eq!(lake.rig.client.sync_with(request.clone(), |message| lake.backend.store(message)).await.tables(), ["t"]);
    (request.tables, request.skip_tables) = (vec!["*".to_owned()], vec!["t".to_owned()]);
    assert_eq!(lake.rig.client.sync_with(request, |message| lake.backend.store(message)).await.tables(), ["u", "v"]);
    // Filtered out is not gone.
    assert_eq!(lake.sync(json!({"exclude": ["v/**"]})).await.tables(), ["t", "u"]);
    assert_eq!(lake.sync(json!({"include": ["u/**"]})).await.tables(), ["t", "u"]);
    // Of another source nothing is known.
    assert_eq!(tables(&lake.sync(json!({"state_id": "2"})).await), ["u", "v"]);
    assert_eq!(tables(&lake.sync(json!({"path_prefix": "u/"})).await), ["u"]);
    // What comes back is read.
    lake.put("t/a.parquet");
    let sync = lake.sync(json!({})).await;
    assert_eq!((sync.migrates(), origins(&sync)), (first.migrates(), set(&["t/a.parquet"])));
    for key in ["t/a.parquet", "u/a.parquet", "v/a.parquet"] {
        lake.rig.s3.delete(key);
    }
    assert_eq!(lake.sync(json!({})).await.migrates(), first.migrates()[..3], "an empty bucket");
    let log = lake.rig.stop();
    assert_eq!((log.of_level("error"), log.of_level("warn").len()), (vec![], 1), "{:?}", log.of_level("warn"));
    assert!(log.of_level("warn")[0].contains("0 keys were listed"), "{:?}", log.of_level("warn"));
}

/// A file with a struct, besides what [`small`] has.
fn nested(origin: &str) -> Bytes {
    nested_of(versioned_batch(origin, 100, 16), None)
}

/// `batch` with a nested column, without compression.
fn nested_of(batch: RecordBatch, row_group_rows: Option<usize>) -> Bytes {
    let cities = StringArray::from(vec!["Rome"; batch.num_rows()]);
    let place = files::struct_of(vec![("city", Arc::new(cities))], None);
    let mut columns: Vec<(&str, bool, ArrayRef)> =
        ["row", "origin", "filler"].map(|name| (name, true, batch.column_by_name(name).unwrap().clone())).to_vec();
    columns.push(("place", true, Arc::new(place)));
    let layout = files::Layout {
        row_group_rows,
        dictionary: false,
        compression: parquet::basic::Compression::UNCOMPRESSED,
        ..files::Layout::default()
    };
    files::write_batch(&files::batch_of(columns), &layout)
}

#[tokio::test]
async fn an_object_that_failed_is_sent_whole_where_its_table_starts_anew() {
    let mut lake = Lake::start().await;
    lake.rig.s3.put("t/a.parquet", nested_of(versioned_batch("a", 40_000, 1_024), Some(1_000)));
    lake.rig.s3.on_get(|_, nth| (nth > 3).then_some(Action::Status(403, "AccessDenied")));
    let sync = lake.any_sync(json!({})).await;
    assert!(sync.errors().len() == 1 && (1..40_000).contains(&sync.rows("t")), "{} rows", sync.rows("t"));
    lake.rig.s3.clear_hooks();
    // The rows that were sent have another type, and with a forced migration they are gone.
    assert_eq!(lake.any_sync(json!({"nested_as": "native"})).await.rows("t"), 40_000);
}

#[tokio::test]
async fn an_option_that_changes_columns_has_those_tables_read_again() {
    let mut lake = Lake::start().await;
    for n in 0..3 {
        lake.rig.s3.put(&format!("t/{n}.parquet"), nested(&format!("t{n}")));
        lake.put(&format!("u/{n}.parquet"));
    }
    lake.rig.s3.put("u/large.parquet", versioned("large", 12_000, 1_024, Some(2_000)));
    let all = set(&["t0", "t1", "t2"]);
    lake.sync(json!({})).await;
    // The protocol check knows no native types.
    let native = json!({"nested_as": "native"});
    let sync = lake.any_sync(native.clone()).await;
    assert_eq!((sync.status.is_none(), origins(&sync)), (true, all.clone()), "u has no nested column");
    let warnings = lake.rig.lines("warn");
    let [warning] = &warnings[..] else { panic!("one warning: {warnings:#?}") };
    assert!(warning["table"] == "t" && warning["message"].to_string().contains("are read again"), "{warning}");
    assert_eq!(origins(&lake.any_sync(native).await), set(&[]));
    assert_eq!(lake.origins(json!({})).await, all, "and back");
    assert_eq!(lake.origins(json!({})).await, set(&[]));

    // Only a sync that ends well has the new columns stored.
    let columns = json!({"file_columns": true});
    lake.backend.fail_writes_after(0);
    assert!(lake.any_sync(columns.clone()).await.status.is_some());
    lake.backend.repair();
    let sync = lake.sync(columns.clone()).await;
    assert_eq!((sync.rows("t"), sync.rows("u")), (300, 12_300), "each table has more columns");
    let warnings = lake.rig.lines("warn");
    assert_eq!(warnings.len(), 1 + 1 + 2 + 2, "one a table and sync: {warnings:#?}");
    assert_eq!(lake.origins(columns).await, set(&[]));
    // Together with another option, and an object that fails.
    lake.rig.s3.put("t/garbage.parquet", "no Parquet at all");
    let sync = lake.any_sync(json!({"nested_as": "native"})).await;
    assert_eq!((sync.status.is_none(), sync.errors().len()), (true, 1));
    assert_eq!((sync.rows("t"), sync.rows("u")), (300, 12_300));
}
