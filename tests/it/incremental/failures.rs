//! Objects that cannot be read, or not to their end: what is done of them, and what the next sync sends.

use super::*;

#[tokio::test]
async fn a_failed_object_stays_undone_while_the_others_are_done() {
    let mut lake = Lake::start().await;
    lake.put("t/good.parquet");
    lake.put("u/good.parquet");
    lake.rig.s3.put("t/garbage.parquet", "no Parquet at all");
    let cut = small("cut");
    lake.rig.s3.put("t/cut.parquet", cut.slice(..cut.len() - 30));
    for origins_now in [set(&["t/good.parquet", "u/good.parquet"]), set(&[])] {
        let sync = lake.any_sync(json!({})).await;
        assert!(sync.status.is_none(), "skip is the default with a backend: {:?}", sync.status);
        assert_eq!(origins(&sync), origins_now);
        let errors = sync.errors();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors.iter().all(|(table, _)| *table == "t"), "{errors:?}");
        assert!(lake.keys_read().contains("t/garbage.parquet"));
    }
    assert_eq!(lake.keys_read(), set(&["t/garbage.parquet", "t/cut.parquet"]));
    assert_eq!(lake.flushes(), 0, "nothing changed");
    assert_eq!(lake.rig.lines("error").len(), 4);
    lake.rig.s3.put("t/garbage.parquet", small("repaired"));
    lake.rig.s3.delete("t/cut.parquet");
    assert_eq!(lake.origins(json!({})).await, set(&["repaired"]));
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

#[tokio::test]
async fn an_object_that_fails_in_the_middle_of_its_rows_is_not_done() {
    let mut lake = Lake::start().await;
    let file = versioned("large", 20_000, 1_024, Some(1_000));
    lake.rig.s3.put("t/large.parquet", file.clone());
    lake.put("t/small.parquet");
    // The footer, one range, and then no more.
    lake.rig.s3.on_get(|key, nth| (key == "t/large.parquet" && nth > 2).then_some(Action::Status(403, "AccessDenied")));
    let sync = lake.any_sync(json!({})).await;
    assert!(sync.status.is_none() && sync.errors().len() == 1, "{:?} {:?}", sync.status, sync.errors());
    let sent = sync.rows("t") - 100;
    assert!(sent > 0);
    lake.rig.s3.clear_hooks();
    let rest = lake.sync(json!({})).await;
    assert_eq!((sent + rest.rows("t"), origins(&rest)), (20_000, set(&["large"])), "no row twice");
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

/// `file`, a [`versioned`] one, of which row group `group` cannot be read.
fn damaged_in(file: &Bytes, group: usize) -> Bytes {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let (start, length) = reader.metadata().row_group(group).column(0).byte_range();
    let mut bytes = BytesMut::from(&file[..]);
    bytes[start as usize..][..length as usize].fill(0xAA);
    bytes.freeze()
}

/// What a destination holds that appends: the numbers of the rows of an origin, as they came.
fn numbers(syncs: &[&Collected], origin: &str) -> Vec<i64> {
    let batches = syncs.iter().flat_map(|sync| sync.batches("t"));
    let of_batch = |batch: &RecordBatch| -> Vec<i64> {
        let numbers = batch.column_by_name("row").unwrap().as_primitive::<Int64Type>();
        let origins = batch.column_by_name("origin").unwrap().as_string::<i32>();
        (0..batch.num_rows()).filter(|&at| origins.value(at) == origin).map(|at| numbers.value(at)).collect()
    };
    batches.flat_map(of_batch).collect()
}

#[tokio::test]
async fn rows_before_the_damage_of_an_object_are_sent_once() {
    // Small, and so large that it is read in ranges.
    for (rows, filler_bytes) in [(3_000, 16), (12_000, 1_024)] {
        let mut lake = Lake::start().await;
        let good = versioned("a", rows, filler_bytes, Some(1_000));
        lake.rig.s3.put("t/a.parquet", damaged_in(&good, 1));
        lake.put("t/b.parquet");
        let mut syncs = Vec::new();
        for sync in 0..3 {
            let spec = json!({"rows_per_record": 300});
            let sync = (sync, lake.any_sync(spec).await);
            assert!(sync.1.status.is_none() && sync.1.errors().len() == 1, "an error each time: {:?}", sync.1.status);
            assert_eq!(lake.flushes(), usize::from(sync.0 == 0), "remembered once");
            syncs.push(sync.1);
        }
        assert_eq!(numbers(&syncs.iter().collect::<Vec<_>>(), "a"), (0..1_000).collect::<Vec<_>>(), "{rows}");
        assert_eq!(
            lake.rig.lines("info").iter().filter(|line| line["rows"] == 1_000 && line["key"] != json!(null)).count(),
            2
        );
        // Another version is another object.
        lake.rig.s3.put("t/a.parquet", good);
        let repaired = lake.sync(json!({})).await;
        let mut all = numbers(&[&repaired], "a");
        all.sort_unstable();
        assert_eq!(all, (0..rows as i64).collect::<Vec<_>>());
        assert_eq!(lake.origins(json!({})).await, set(&[]));
    }
}

#[tokio::test]
async fn an_object_that_failed_for_a_while_goes_on_where_it_was() {
    let mut lake = Lake::start().await;
    lake.rig.s3.put("t/a.parquet", versioned("a", 40_000, 1_024, Some(1_000)));
    let mut syncs = Vec::new();
    for gets in [2, 2] {
        // The footer and some ranges, and then no more.
        lake.rig.s3.on_get(move |_, nth| (nth > gets).then_some(Action::Status(403, "AccessDenied")));
        let sync = lake.any_sync(json!({"rows_per_record": 700, "file_columns": true})).await;
        assert_eq!(sync.errors().len(), 1);
        syncs.push(sync);
    }
    lake.rig.s3.clear_hooks();
    syncs.push(lake.sync(json!({"rows_per_record": 650, "file_columns": true})).await);
    let mut numbers = numbers(&syncs.iter().collect::<Vec<_>>(), "a");
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40_000).collect::<Vec<_>>(), "each row once");
    assert!(
        syncs.iter().all(|sync| sync.rows("t") > 0),
        "{:?}",
        syncs.iter().map(|sync| sync.rows("t")).collect::<Vec<_>>()
    );
    for batch in syncs.iter().flat_map(|sync| sync.batches("t")) {
        let rows = batch.column_by_name("_s3_row").unwrap().as_primitive::<Int64Type>();
        assert_eq!(rows, batch.column_by_name("row").unwrap().as_primitive::<Int64Type>(), "numbers of the file");
    }
    let ids: BTreeSet<Vec<u8>> = syncs
        .iter()
        .flat_map(|sync| sync.batches("t"))
        .flat_map(|batch| {
            let ids = batch.column_by_name("_cq_id").unwrap().as_fixed_size_binary();
            ids.iter().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(ids.len(), 40_000);
    // A version that failed and was replaced is read from its start.
    lake.rig.s3.put("t/b.parquet", versioned("b", 20_000, 1_024, Some(1_000)));
    lake.rig.s3.on_get(|_, nth| (nth > 2).then_some(Action::Status(403, "AccessDenied")));
    assert_eq!(lake.any_sync(json!({"file_columns": true})).await.errors().len(), 1);
    lake.rig.s3.clear_hooks();
    lake.rig.s3.put("t/b.parquet", versioned("b2", 12_000, 1_024, Some(1_000)));
    assert_eq!(lake.sync(json!({"file_columns": true})).await.rows("t"), 12_000);
}

#[tokio::test]
async fn with_fail_one_bad_object_keeps_the_state_as_it_was() {
    let mut lake = Lake::start().await;
    lake.put("t/good.parquet");
    lake.rig.s3.put("t/garbage.parquet", "no Parquet at all");
    let spec = json!({"on_object_error": "fail"});
    for _ in 0..2 {
        let sync = lake.any_sync(spec.clone()).await;
        assert_eq!(sync.status.as_ref().map(tonic::Status::code), Some(Code::DataLoss));
        assert_eq!(origins(&sync), set(&["t/good.parquet"]));
        assert_eq!(lake.flushes(), 0);
    }
    lake.rig.s3.delete("t/garbage.parquet");
    assert_eq!(lake.origins(spec.clone()).await, set(&["t/good.parquet"]));
    assert_eq!(lake.origins(spec).await, set(&[]));
}
