//! The table of commits, and what a sync makes of rows that the destination never stored.

use super::*;

/// The rows of the table of commits: source and generation.
fn commits(sync: &Collected) -> Vec<(String, i64)> {
    let row = |batch: &RecordBatch| {
        let source = batch.column_by_name("source").unwrap().as_string::<i32>().value(0).to_owned();
        (source, batch.column_by_name("generation").unwrap().as_primitive::<Int64Type>().value(0))
    };
    sync.batches(COMMIT_TABLE).into_iter().map(row).collect()
}

#[tokio::test]
async fn the_commit_row_is_the_last_insert_of_a_sync_that_sends_rows_and_of_no_other() {
    let mut lake = Lake::start().await;
    for key in ["t/a.parquet", "t/b.parquet", "u/a.parquet"] {
        lake.put(key);
    }
    let first = lake.sync(json!({})).await;
    let [(source, generation)] = &commits(&first)[..] else { panic!("one row: {:?}", commits(&first)) };
    assert!(matches!(first.messages.last(), Some(Message::Insert { table, .. }) if table == COMMIT_TABLE));
    assert!(source.starts_with("cq-source-s3/test-bucket/"), "{source}");

    let unchanged = lake.sync(json!({})).await;
    assert_eq!((unchanged.tables(), commits(&unchanged)), (vec!["t".to_owned(), "u".to_owned()], vec![]));
    // The state changes, and no row is at stake.
    lake.rig.s3.delete("t/b.parquet");
    let smaller = lake.sync(json!({})).await;
    assert_eq!((lake.flushes(), smaller.tables().len(), commits(&smaller)), (1, 2, vec![]));

    lake.put("u/b.parquet");
    let second = lake.sync(json!({})).await;
    assert_eq!(commits(&second), [(source.clone(), generation + 1)]);
    lake.rig.stop().assert_clean();
}

/// As [`Lake::sync`], with a destination that loses all that it was sent.
async fn sync_into_nothing(lake: &mut Lake, spec: Value) -> Collected {
    lake.rig.init(spec).await;
    let sync = lake.rig.client.sync_with(state_request(&lake.backend, None), |_| {}).await;
    assert_protocol(&sync);
    sync
}

#[tokio::test]
async fn rows_that_were_never_stored_are_sent_again_with_one_warning() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.put("u/a.parquet");
    lake.sync(json!({})).await;
    for key in ["t/b.parquet", "t/c.parquet", "u/b.parquet"] {
        lake.put(key);
    }
    let lost = sync_into_nothing(&mut lake, json!({})).await;
    assert_eq!((origins(&lost).len(), commits(&lost).len()), (3, 1));
    assert_eq!(lake.rig.lines("warn"), [] as [Value; 0]);
    assert_eq!(lake.origins(json!({})).await, set(&["t/b.parquet", "t/c.parquet", "u/b.parquet"]));
    let warnings = lake.rig.lines("warn");
    let [warning] = &warnings[..] else { panic!("one warning: {warnings:#?}") };
    assert!(warning["message"].to_string().contains("interrupted") && warning["objects"] == 3, "{warning}");
    assert_eq!(lake.origins(json!({})).await, set(&[]));
    assert_eq!(lake.rig.lines("warn").len(), 1);
}

#[tokio::test]
async fn a_table_that_was_not_selected_in_between_is_sent_again_too() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.put("u/a.parquet");
    lake.sync(json!({})).await;
    lake.put("t/b.parquet");
    lake.put("u/b.parquet");
    sync_into_nothing(&mut lake, json!({})).await;
    // Only one table, and this time all is stored: a higher generation must not vouch for the other table.
    let mut request = state_request(&lake.backend, None);
    request.skip_tables = vec!["t".to_owned()];
    let sync = lake.rig.client.sync_with(request, |message| lake.backend.store(message)).await;
    assert_eq!(origins(&sync), set(&["u/b.parquet"]));
    assert_eq!(lake.origins(json!({})).await, set(&["t/b.parquet"]));
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

#[tokio::test]
async fn where_the_backend_is_no_destination_the_last_objects_are_sent_once_more() {
    for spec in [json!({}), json!({"commit_table": false})] {
        let mut lake = Lake::start().await;
        let off = spec["commit_table"] == false;
        lake.put("t/a.parquet");
        for expected in [set(&["t/a.parquet"]), set(&["t/a.parquet"]), set(&[]), set(&[])] {
            let sync = sync_into_nothing(&mut lake, spec.clone()).await;
            assert_eq!(origins(&sync), expected);
            assert_eq!(sync.tables().contains(&COMMIT_TABLE.to_owned()), !off && !expected.is_empty());
        }
        lake.put("t/b.parquet");
        for expected in [set(&["t/b.parquet"]), set(&["t/b.parquet"]), set(&[])] {
            assert_eq!(origins(&sync_into_nothing(&mut lake, spec.clone()).await), expected);
        }
        lake.rig.stop().assert_clean();
    }
}

#[tokio::test]
async fn a_table_of_the_bucket_that_has_the_name_of_the_table_of_commits_keeps_it() {
    let mut lake = Lake::start().await;
    lake.put("cq_state_commits/a.parquet");
    for rows in [100, 100, 0] {
        let sync = lake.sync(json!({})).await;
        assert_eq!((sync.tables(), sync.rows(COMMIT_TABLE)), (vec![COMMIT_TABLE.to_owned()], rows));
    }
    let warnings = lake.rig.lines("warn");
    assert!(!warnings.is_empty() && warnings.iter().all(|line| line["message"].to_string().contains("table_name")));
}
