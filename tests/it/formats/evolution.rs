//! Text formats from sync to sync, with a state.

use super::{columns, rows};
use crate::rig::Rig;
use serde_json::json;
use testkit::backend::{Backend, Mode};

#[tokio::test]
async fn done_objects_are_not_read_again_and_nothing_is_sampled() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    for n in 0..50 {
        rig.s3.put(&format!("t/{n:02}.jsonl"), format!("{{\"a\":{n}}}\n"));
    }
    let spec = json!({"filetype": "jsonl"});
    assert_eq!(rig.sync_with_state(spec.clone(), &backend).await.rows("t"), 50);
    rig.s3.reset_counts();
    let again = rig.sync_with_state(spec.clone(), &backend).await;
    assert!(again.status.is_none(), "{:?}", again.status);
    assert_eq!((again.rows("t"), rig.s3.counts().gets), (0, 0));
    rig.s3.put("t/99.jsonl", "{\"a\":99}\n");
    assert_eq!(rig.sync_with_state(spec, &backend).await.rows("t"), 1);
    assert_eq!(rig.s3.counts().gets, 1);
}

#[tokio::test]
async fn a_new_column_is_rescued_first_and_a_column_next() {
    for (filetype, first, second, third) in [
        ("csv", "id\n1\n", "more,id\nx,2\n", "id,more\n3,y\n"),
        ("jsonl", "{\"id\":1}\n", "{\"id\":2,\"more\":\"x\"}\n", "{\"more\":\"y\",\"id\":3}\n"),
    ] {
        let mut rig = Rig::start().await;
        let backend = Backend::start(Mode::Upsert).await;
        let spec = json!({"filetype": filetype});
        rig.s3.put(&format!("t/a.{filetype}"), first);
        rig.sync_with_state(spec.clone(), &backend).await;
        rig.s3.put(&format!("t/b.{filetype}"), second);
        let sync = rig.sync_with_state(spec.clone(), &backend).await;
        assert_eq!(columns(&sync, "t"), ["id Int64", "_s3_rescued Binary"], "{filetype}");
        assert_eq!(rows(&sync, "t"), ["2 {\"more\":\"x\"}"], "{filetype}");
        rig.s3.put(&format!("t/c.{filetype}"), third);
        let sync = rig.sync_with_state(spec.clone(), &backend).await;
        assert_eq!(columns(&sync, "t"), ["id Int64", "_s3_rescued Binary", "more Utf8"], "{filetype}");
        assert_eq!(rows(&sync, "t"), ["3 - y"], "{filetype}");
    }
}

#[tokio::test]
async fn a_type_that_changes_goes_the_way_that_is_set() {
    for (policy, column, row) in [("keep", "v Int64", "- {\"v\":\"x\"}"), ("widen", "v Utf8", "x -")] {
        let mut rig = Rig::start().await;
        let backend = Backend::start(Mode::Upsert).await;
        let spec = json!({"filetype": "csv", "schema": {"on_type_change": policy}});
        rig.s3.put("t/a.csv", "v\n1\n");
        rig.sync_with_state(spec.clone(), &backend).await;
        rig.s3.put("t/b.csv", "v\nx\n");
        let sync = rig.sync_with_state(spec.clone(), &backend).await;
        if policy == "keep" {
            assert_eq!((&columns(&sync, "t")[0][..], &rows(&sync, "t")[0][..]), (column, row));
        } else {
            // What was not looked at is known behind this sync, and announced by the next one.
            rig.s3.put("t/c.csv", "v\ny\n");
            let next = rig.sync_with_state(spec, &backend).await;
            assert_eq!(columns(&next, "t")[0], column);
            assert!(rows(&next, "t").contains(&row.to_owned()), "{:?}", rows(&next, "t"));
        }
    }
}

#[tokio::test]
async fn an_option_that_changes_values_starts_the_table_anew() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("t/a.csv", "v\nNULL\n");
    assert_eq!(rows(&rig.sync_with_state(json!({"filetype": "csv"}), &backend).await, "t"), ["NULL -"]);
    let spec = json!({"filetype": "csv", "csv": {"null_values": ["NULL"]}});
    assert_eq!(rows(&rig.sync_with_state(spec, &backend).await, "t"), ["- -"]);
}

#[tokio::test]
async fn rows_before_a_bad_one_are_not_sent_again() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    let spec = json!({"filetype": "jsonl", "file_columns": ["row"]});
    rig.s3.put("t/a.jsonl", "{\"a\":0}\n{\"a\":\n{\"a\":2}\n");
    let sync = rig.sync_with_state(spec.clone(), &backend).await;
    assert_eq!(rows(&sync, "t"), ["0 0 -"]);
    rig.s3.put("t/a.jsonl", "{\"a\":0}\n{\"a\":1}\n{\"a\":2}\n");
    let sync = rig.sync_with_state(spec, &backend).await;
    assert_eq!(rows(&sync, "t"), ["0 0 -", "1 1 -", "2 2 -"]);
}
