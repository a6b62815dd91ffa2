//! Items 78 and 84–92, and what users do to buckets between two syncs: which objects are read again, what the
//! state then says, and that nothing is done that was not sent.

use crate::rig::{COMMIT_TABLE, Rig, STATE_TABLE, small, spec, state_request, versioned, versioned_batch};
use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bytes::{Bytes, BytesMut};
use cq_source_s3::cloudquery::source::{Backend as BackendOptions, Selection, Source as _, SyncRequest, sync_channel};
use cq_source_s3::plugin::S3Source;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use testkit::backend::{Backend, Call, Method, Mode, Trouble};
use testkit::client::{Client, Collected, Message, assert_protocol};
use testkit::parquet_files as files;
use testkit::process::Plugin;
use testkit::proxy::Proxy;
use testkit::s3_server::{Action, ObjectAttributes, Op, Restore, S3Server};
use tokio_util::sync::CancellationToken;
use tonic::Code;

mod commits;
mod failures;
mod flush;
mod limits;
mod schema;
mod shards;

/// A bucket, the plugin, and a backend.
struct Lake {
    rig: Rig,
    backend: Backend,
}

impl Lake {
    async fn start() -> Self {
        Self::with(Mode::Upsert).await
    }

    async fn with(mode: Mode) -> Self {
        Self { rig: Rig::start().await, backend: Backend::start(mode).await }
    }

    /// A sync that must end well.
    async fn sync(&mut self, spec: Value) -> Collected {
        let sync = self.any_sync(spec).await;
        assert_protocol(&sync);
        sync
    }

    async fn any_sync(&mut self, spec: Value) -> Collected {
        self.rig.s3.reset_counts();
        self.backend.forget_calls();
        self.rig.sync_with_state(spec, &self.backend).await
    }

    /// A sync that must end well, and the objects whose rows it brought.
    async fn origins(&mut self, spec: Value) -> BTreeSet<String> {
        origins(&self.sync(spec).await)
    }

    fn put(&self, key: &str) {
        self.rig.s3.put(key, small(key));
    }

    fn keys_read(&self) -> BTreeSet<String> {
        let requests = self.rig.s3.requests();
        requests.into_iter().filter(|request| request.op == Op::Get).map(|request| request.key).collect()
    }

    fn flushes(&self) -> usize {
        self.backend.calls().iter().filter(|call| matches!(call, Call::Insert(_))).count()
    }
}

/// The values of `origin` in all rows.
fn origins(sync: &Collected) -> BTreeSet<String> {
    let batches = sync.messages.iter().filter_map(|message| match message {
        Message::Insert { table, batches, .. } if table != COMMIT_TABLE => Some(batches),
        _ => None,
    });
    let texts = |batch: &RecordBatch| -> Vec<String> {
        let column = batch.column_by_name("origin").expect("origin").as_string::<i32>();
        column.iter().flatten().map(str::to_owned).collect()
    };
    batches.flatten().flat_map(texts).collect()
}

/// The announced tables that are of the bucket.
fn tables(sync: &Collected) -> Vec<String> {
    sync.tables().into_iter().filter(|table| table != COMMIT_TABLE).collect()
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn at(seconds: u64) -> ObjectAttributes {
    let last_modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    ObjectAttributes { last_modified, ..ObjectAttributes::default() }
}

/// A second and a minute of one day in 2026.
const NOON: u64 = 1_772_000_000;

fn is_incremental(sync: &Collected) -> Vec<bool> {
    let incremental = |schema: &arrow::datatypes::SchemaRef| {
        schema.metadata().get("cq:extension:incremental").map(String::as_str) == Some("true")
    };
    sync.migrates().into_iter().map(|(_, schema)| incremental(schema)).collect()
}

#[tokio::test]
async fn item_78_tables_are_incremental_with_a_backend_only() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.put("u/a.parquet");
    for _ in 0..2 {
        let sync = lake.rig.sync(json!({})).await;
        assert_protocol(&sync);
        assert_eq!(is_incremental(&sync), [false, false]);
        assert_eq!((sync.rows("t"), sync.rows("u")), (100, 100), "without a backend all is read");
    }
    assert_eq!(lake.backend.calls(), []);
    for rows in [100, 0] {
        let sync = lake.sync(json!({})).await;
        assert_eq!(is_incremental(&sync), vec![true; if rows > 0 { 3 } else { 2 }], "with rows the commits, too");
        assert_eq!((sync.rows("t"), sync.rows("u")), (rows, rows));
    }
    let sync = lake.rig.sync(json!({})).await;
    assert_eq!((is_incremental(&sync), sync.rows("t")), (vec![false, false], 100));
    lake.rig.stop().assert_clean();
}

#[tokio::test]
async fn item_87_the_second_sync_of_an_unchanged_bucket_lists_and_migrates_and_nothing_else() {
    for mode in [Mode::Upsert, Mode::Append] {
        let mut lake = Lake::with(mode).await;
        for n in 0..30 {
            lake.put(&format!("t/{n:02}.parquet"));
        }
        lake.rig.s3.put("u/large.parquet", versioned("large", 12_000, 1_024, Some(2_000)));
        lake.rig.s3.put("u/no_rows.parquet", versioned("none", 0, 1, None));
        lake.rig.s3.set_page_keys(10);
        let first = lake.sync(json!({})).await;
        assert_eq!((first.rows("t"), first.rows("u")), (3_000, 12_000));
        let state = lake.backend.rows(STATE_TABLE);
        for _ in 0..2 {
            let sync = lake.sync(json!({})).await;
            assert_eq!(sync.messages.len(), 2, "migrates");
            assert_eq!(sync.migrates(), first.migrates()[..2], "no table of commits");
            let counts = lake.rig.s3.counts();
            assert_eq!((counts.lists, counts.http_requests), (4, 4));
            let table = || STATE_TABLE.to_owned();
            let commits = Call::Read(COMMIT_TABLE.to_owned());
            let opened = [Call::GetVersions, Call::Migrate(table()), Call::WriteEnd(1), Call::Read(table()), commits];
            assert_eq!(lake.backend.calls(), opened, "nothing is written");
            assert_eq!(lake.backend.rows(STATE_TABLE), state);
        }
        lake.rig.stop().assert_clean();
    }
}

#[tokio::test]
async fn item_88_only_what_is_new_replaced_or_late_is_read_whatever_its_time() {
    let mut lake = Lake::start().await;
    let s3 = &lake.rig.s3;
    s3.put_with("t/a.parquet", small("a"), at(NOON));
    s3.put_with("t/b.parquet", small("b"), at(NOON));
    assert_eq!(lake.origins(json!({})).await, set(&["a", "b"]));

    lake.rig.s3.put_with("t/same_second.parquet", small("same second"), at(NOON));
    assert_eq!(lake.origins(json!({})).await, set(&["same second"]));
    assert_eq!(lake.keys_read(), set(&["t/same_second.parquet"]));

    lake.rig.s3.put_with("t/late.parquet", small("late"), at(NOON - 10 * 365 * 86_400));
    assert_eq!(lake.origins(json!({})).await, set(&["late"]), "a late arrival with an old time");

    lake.rig.s3.put_with("t/a.parquet", small("a again"), at(NOON));
    assert_eq!(lake.origins(json!({})).await, set(&["a again"]), "replaced in the same second");
    lake.rig.s3.put_with("t/b.parquet", small("b again"), at(NOON + 60));
    assert_eq!(lake.origins(json!({})).await, set(&["b again"]), "replaced later");
    assert_eq!(lake.keys_read(), set(&["t/b.parquet"]));

    lake.rig.s3.put_with("t/b.parquet", small("b again"), at(NOON + 90));
    assert_eq!(lake.origins(json!({})).await, set(&[]), "written anew with the same content: the same ETag");
    lake.rig.s3.put_with("t/b.parquet", small("b"), at(NOON + 120));
    assert_eq!(lake.origins(json!({})).await, set(&["b"]), "back to the first content: the destination has the second");
}

#[tokio::test]
async fn deleted_objects_are_forgotten() {
    let mut lake = Lake::start().await;
    for key in ["t/a.parquet", "t/b.parquet"] {
        lake.put(key);
    }
    lake.sync(json!({})).await;
    lake.rig.s3.delete("t/a.parquet");
    let sync = lake.sync(json!({})).await;
    assert_eq!((sync.messages.len(), lake.flushes()), (1, 1), "a migrate; the state forgets");
    lake.put("t/a.parquet");
    assert_eq!(lake.origins(json!({})).await, set(&["t/a.parquet"]));
}

#[tokio::test]
async fn archived_and_empty_objects_are_read_when_they_can_be() {
    let mut lake = Lake::start().await;
    let glacier = |restore| ObjectAttributes {
        storage_class: Some("GLACIER".to_owned()),
        restore,
        ..ObjectAttributes::default()
    };
    lake.rig.s3.put_with("t/archived.parquet", small("archived"), glacier(Restore::None));
    lake.rig.s3.put("t/empty.parquet", "");
    lake.put("t/good.parquet");
    let sync = lake.any_sync(json!({})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert_eq!(origins(&sync), set(&["t/good.parquet"]));
    let until = Restore::Until(SystemTime::now() + Duration::from_secs(86_400));
    lake.rig.s3.put_with("t/archived.parquet", small("archived"), glacier(until));
    assert_eq!(lake.origins(json!({})).await, set(&["archived"]));
    // The restored copy expires: nothing is forgotten, nothing fails, and nothing is read when it comes back.
    lake.rig.s3.put_with("t/archived.parquet", small("archived"), glacier(Restore::None));
    for spec in [json!({}), json!({"on_archived": "fail"})] {
        let sync = lake.sync(spec).await;
        assert_eq!((sync.errors(), origins(&sync)), (vec![], set(&[])));
    }
    // One that was never read does fail, and it alone is counted.
    lake.rig.s3.put_with("t/b.parquet", small("b"), glacier(Restore::None));
    let sync = lake.any_sync(json!({"on_archived": "fail"})).await;
    let status = sync.status.as_ref().expect("an archived object that was not read");
    assert!(status.message().contains("1 object is archived") && status.message().contains("t/b.parquet"), "{status}");
    lake.rig.s3.delete("t/b.parquet");
    lake.rig.s3.put_with("t/archived.parquet", small("archived"), glacier(until));
    lake.rig.s3.put("t/empty.parquet", small("filled"));
    assert_eq!(lake.origins(json!({})).await, set(&["filled"]));
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

#[tokio::test]
async fn what_is_filtered_out_or_not_selected_keeps_its_state() {
    let mut lake = Lake::start().await;
    for key in ["t/a.parquet", "t/b.parquet", "u/a.parquet"] {
        lake.put(key);
    }
    lake.sync(json!({})).await;
    // An object that is excluded, while another one of its table changes.
    lake.rig.s3.put("t/a.parquet", small("a again"));
    assert_eq!(lake.origins(json!({"exclude": ["t/b.parquet"]})).await, set(&["a again"]));
    assert_eq!(lake.origins(json!({})).await, set(&[]));
    // A whole table that is excluded.
    lake.put("u/b.parquet");
    assert_eq!(lake.origins(json!({"exclude": ["t/**"]})).await, set(&["u/b.parquet"]));
    assert_eq!(lake.origins(json!({})).await, set(&[]));
    // What was never selected is read once it is.
    lake.put("t/c.parquet");
    assert_eq!(lake.origins(json!({"exclude": ["t/c.parquet"]})).await, set(&[]));
    assert_eq!(lake.origins(json!({})).await, set(&["t/c.parquet"]));
    // A table that is not selected.
    lake.put("t/d.parquet");
    lake.put("u/d.parquet");
    let mut request = state_request(&lake.backend, None);
    request.skip_tables = vec!["t".to_owned()];
    let sync = lake.rig.client.sync_with(request, |message| lake.backend.store(message)).await;
    assert_protocol(&sync);
    assert_eq!(origins(&sync), set(&["u/d.parquet"]));
    assert_eq!(lake.origins(json!({})).await, set(&["t/d.parquet"]));
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

#[tokio::test]
async fn another_state_id_prefix_or_endpoint_reads_everything_and_disturbs_nobody() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    let all = set(&["t/a.parquet"]);
    assert_eq!(lake.origins(json!({})).await, all);
    for other in [json!({"state_id": "two"}), json!({"path_prefix": "t"})] {
        assert_eq!(lake.origins(other.clone()).await, all, "{other}");
        assert_eq!(lake.origins(other).await, set(&[]));
    }
    let said = lake.rig.lines("info").iter().filter(|line| line["message"].to_string().contains("state_id")).count();
    assert_eq!(said, 2, "that there is state which does not count");
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_is_done_as_it_was_read() {
    let mut lake = Lake::start().await;
    let old = versioned("old", 12_000, 1_024, Some(1_000));
    let new = versioned("new", 13_000, 1_024, Some(1_000));
    lake.rig.s3.put("t/a.parquet", old);
    let replacement = new.clone();
    lake.rig.s3.on_get(move |_, nth| (nth == 2).then(|| Action::ReplaceObjectFirst(replacement.clone())));
    let sync = lake.any_sync(json!({})).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    assert!(origins(&sync).contains("new"));
    lake.rig.s3.clear_hooks();
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

#[tokio::test]
async fn without_an_etag_in_the_listing_an_object_is_read_every_time() {
    let mut lake = Lake::start().await;
    let attributes = ObjectAttributes { no_etag_in_listing: true, ..ObjectAttributes::default() };
    lake.rig.s3.put_with("t/a.parquet", small("a"), attributes);
    for _ in 0..2 {
        assert_eq!(lake.origins(json!({})).await, set(&["a"]));
    }
}
