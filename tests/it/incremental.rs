//! Checklist items 78 and 84–92, and what users do to buckets between two syncs: which objects are read again, what the
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

/// The plugin in this process, so that the transport's place is the test's: what it took, and when it asked for more.
#[tokio::test]
async fn item_84_the_flush_comes_after_the_last_row_was_taken_and_before_the_end() {
    let (s3, backend) = (S3Server::start().await, Backend::start(Mode::Upsert).await);
    for n in 0..20 {
        s3.put(&format!("t/{n}.parquet"), small("small"));
    }
    let source = S3Source::new();
    let spec = spec(&s3.endpoint(), json!({}));
    let client = source.init(spec.to_string().as_bytes(), false).unwrap();
    let request = SyncRequest {
        selection: Selection { tables: vec!["*".to_owned()], skip_tables: vec![] },
        backend: Some(BackendOptions { table_name: STATE_TABLE.to_owned(), connection: backend.connection() }),
        ..SyncRequest::default()
    };
    let (sink, mut receiver) = sync_channel(4);
    let transport = async {
        for message in 1.. {
            backend.note(&format!("ask for {message}"));
            if receiver.recv().await.is_none() {
                backend.note("end");
                return message - 1;
            }
            // Time for a flush that does not wait.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        0
    };
    let (messages, result) = tokio::join!(transport, source.sync(&client, request, sink, CancellationToken::new()));
    result.unwrap();
    assert_eq!(messages, 23, "a migrate, an insert for each object, and the table of commits with its row");
    let calls = backend.calls();
    let place = |wanted: &dyn Fn(&Call) -> bool| calls.iter().position(wanted).expect("a call");
    let asked = place(&|call| *call == Call::Note("ask for 23".to_owned()));
    let flush = place(&|call| matches!(call, Call::Insert(_)));
    let commit = place(&|call| *call == Call::Note("ask for 24".to_owned()));
    assert!(asked < flush && flush < commit, "{calls:?}");
    let read = place(&|call| matches!(call, Call::Read(_)));
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Insert(_))).count(), 1);
    assert!(
        read < place(&|call| *call == Call::Note("ask for 2".to_owned())),
        "loaded before anything is sent: {calls:?}"
    );
}

#[tokio::test]
async fn item_84_no_flush_while_the_peer_does_not_take_the_rows() {
    let mut lake = Lake::start().await;
    for n in 0..8 {
        // More than gRPC's windows and buffers hold.
        lake.rig.s3.put(&format!("t/{n}.parquet"), versioned("large", 4_000, 1_024, Some(1_000)));
    }
    lake.rig.init(json!({})).await;
    let request = state_request(&lake.backend, None);
    let mut stream = lake.rig.client.grpc.sync(request).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("a migrate");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lake.flushes(), 0);
    while let Some(_message) = stream.message().await.unwrap() {}
    assert_eq!(lake.flushes(), 1);
}

#[tokio::test]
async fn item_85_a_peer_that_goes_away_before_the_end_leaves_the_state_as_it_was() {
    let mut lake = Lake::start().await;
    for n in 0..8 {
        lake.rig.s3.put(&format!("t/{n}.parquet"), versioned("large", 4_000, 1_024, Some(1_000)));
    }
    lake.rig.init(json!({})).await;
    let request = state_request(&lake.backend, None);
    let mut stream = lake.rig.client.grpc.sync(request).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap().expect("a message");
    }
    drop(stream);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((lake.flushes(), lake.backend.rows(STATE_TABLE)), (0, vec![]));
    assert_eq!(lake.sync(json!({})).await.rows("t"), 8 * 4_000, "all of it once more");
}

#[tokio::test]
async fn item_86_a_failed_flush_fails_the_sync() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.backend.fail_writes_after(0);
    let sync = lake.any_sync(json!({})).await;
    let status = sync.status.as_ref().expect("an error");
    assert_eq!((status.code(), sync.rows("t")), (Code::Unavailable, 100));
    for what in ["failed to write state", STATE_TABLE, "the next sync reads the 1 objects of this one again"] {
        assert!(status.message().contains(what), "{what}: {status}");
    }
    lake.backend.repair();
    assert_eq!(lake.origins(json!({})).await, set(&["t/a.parquet"]));
    assert_eq!(lake.origins(json!({})).await, set(&[]));
}

#[tokio::test]
async fn a_backend_that_is_away_for_a_while_costs_a_warning_and_nothing_else() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    let mut proxy = Proxy::start(&lake.backend.connection()).await;
    let mut request = state_request(&lake.backend, None);
    request.backend.as_mut().expect("of the request").connection = proxy.address();
    // While the state is read, and while it is written.
    lake.backend.trouble(Method::Read, Trouble::Refused, 2);
    lake.backend.trouble(Method::Insert, Trouble::AnswerLost, 1);
    lake.backend.trouble(Method::Insert, Trouble::Refused, 2);
    lake.rig.init(json!({})).await;
    let sync = lake.rig.client.sync_with(request.clone(), |message| lake.backend.store(message)).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("t"), 100);
    let warnings = lake.rig.lines("warn");
    assert_eq!(warnings.len(), 5, "one each time: {warnings:#?}");
    assert!(warnings.iter().all(|line| line["message"] == "the state backend failed; it is tried again"));

    // The connection is cut while the sync runs, and the backend is away for five seconds.
    lake.put("t/b.parquet");
    let sync = lake.rig.client.grpc.sync(request).await.unwrap();
    let mut stream = sync.into_inner();
    stream.message().await.unwrap().expect("a migrate");
    proxy.outage(Duration::from_secs(5)).await;
    while let Some(message) = stream.message().await.unwrap() {
        lake.backend.store(&Message::decode(message));
    }
    assert_eq!(lake.origins(json!({})).await, set(&[]), "both objects are done");
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
    let file = versioned("large", 12_000, 1_024, Some(1_000));
    lake.rig.s3.put("t/large.parquet", file.clone());
    lake.put("t/small.parquet");
    // The footer, one range, and then no more.
    lake.rig.s3.on_get(|key, nth| (key == "t/large.parquet" && nth > 2).then_some(Action::Status(403, "AccessDenied")));
    let sync = lake.any_sync(json!({})).await;
    assert!(sync.status.is_none() && sync.errors().len() == 1, "{:?} {:?}", sync.status, sync.errors());
    let sent = sync.rows("t") - 100;
    lake.rig.s3.clear_hooks();
    let rest = lake.sync(json!({})).await;
    assert_eq!((sent + rest.rows("t"), origins(&rest)), (12_000, set(&["large"])), "no row twice");
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
    for gets in [3, 3] {
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
    lake.rig.s3.put("t/b.parquet", versioned("b", 12_000, 1_024, Some(1_000)));
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
    assert!(
        status.message().contains("1 objects are archived") && status.message().contains("t/b.parquet"),
        "{status}"
    );
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
    assert!(error.contains("Left out: 1 objects with 1 rows"), "{error}");
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

#[tokio::test]
async fn each_shard_announces_a_table_that_lost_all_its_objects() {
    let lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.put("u/a.parquet");
    let mut shards = shards(2).await;
    sync_shards(&lake, &mut shards).await;
    lake.rig.s3.delete("t/a.parquet");
    for sync in sync_shards(&lake, &mut shards).await {
        assert_eq!((sync.tables(), sync.messages.len()), (vec!["t".to_owned(), "u".to_owned()], 2));
    }
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

#[tokio::test]
async fn torn_state_is_an_error_that_says_how_to_start_anew() {
    for part in ["/ledger.0", "/ledger", "/schema.0", "/schema"] {
        let mut lake = Lake::start().await;
        lake.put("t/a.parquet");
        lake.sync(json!({})).await;
        lake.backend.remove_rows(STATE_TABLE, |key| key.ends_with(part));
        let sync = lake.any_sync(json!({})).await;
        let Some(status) = &sync.status else { panic!("{part} is missing and nobody said so") };
        assert_eq!((sync.messages.len(), lake.flushes()), (0, 0));
        let text = status.message();
        for what in ["\"t\"", "cq-source-s3/test-bucket/t/", "state_id", "read the whole table again"] {
            assert!(text.contains(what), "{what}: {text}");
        }
        assert_eq!(lake.origins(json!({"state_id": "anew"})).await, set(&["t/a.parquet"]));
    }
}

#[tokio::test]
async fn a_torn_flush_fails_the_sync_and_loses_nothing() {
    let mut lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.put("u/a.parquet");
    lake.sync(json!({})).await;
    for rows in 1..8 {
        let key = format!("t/{rows}.parquet");
        lake.put(&key);
        lake.put(&format!("u/{rows}.parquet"));
        lake.backend.fail_writes_after(rows % 4);
        let sync = lake.any_sync(json!({})).await;
        assert!(sync.status.is_some(), "a flush of {} rows", rows % 4);
        lake.backend.repair();
        let read = lake.origins(json!({})).await;
        assert!(read.len() <= 2 && (rows % 4 > 0 || read.len() == 2), "{read:?}");
        assert_eq!(lake.origins(json!({})).await, set(&[]));
    }
}

#[tokio::test]
async fn above_the_limit_old_objects_collapse_into_a_time_with_a_warning() {
    let mut lake = Lake::start().await;
    let spec = json!({"ledger_limit": 10, "late_arrival_window": "1h"});
    for n in 0..30 {
        lake.rig.s3.put_with(&format!("t/{n:02}.parquet"), small(&format!("{n:02}")), at(NOON + n));
    }
    assert_eq!(lake.origins(spec.clone()).await.len(), 30);
    assert_eq!(lake.rig.lines("warn").len(), 0, "not as long as the rows may have to be sent again");
    assert_eq!(lake.origins(spec.clone()).await, set(&[]));
    let warnings = lake.rig.lines("warn");
    let [warning] = &warnings[..] else { panic!("one warning: {warnings:#?}") };
    assert!(warning["message"].as_str().unwrap().contains("ledger_limit") && warning["table"] == "t", "{warning}");
    assert_eq!(lake.origins(spec.clone()).await, set(&[]));
    lake.rig.s3.put_with("t/new.parquet", small("new"), at(NOON + 100));
    lake.rig.s3.put_with("t/late.parquet", small("late"), at(NOON));
    assert_eq!(lake.origins(spec.clone()).await, set(&["new"]), "what is below the low water is not seen");
    // What is forgotten stays forgotten: a higher limit brings nothing back.
    assert_eq!(lake.origins(json!({"ledger_limit": 1_000})).await, set(&[]));
    assert_eq!(lake.rig.lines("warn").len(), 2, "one whenever it collapses: two syncs, of the six");
}

#[tokio::test]
async fn each_shard_counts_its_own_objects_against_the_limit() {
    let lake = Lake::start().await;
    for n in 0..30 {
        lake.rig.s3.put_with(&format!("t/{n:02}.parquet"), small(&format!("{n:02}")), at(NOON + n));
    }
    let spec = lake.rig.spec(json!({"ledger_limit": 5, "late_arrival_window": "1h"}));
    for (plugin, mut client, shard) in shards(2).await {
        let mut sent = 0;
        // The second one: what was sent by the one before is sure to be stored.
        for _ in 0..2 {
            client.init(&spec).await.unwrap();
            let request = state_request(&lake.backend, Some(shard));
            let sync = client.sync_with(request, |message| lake.backend.store(message)).await;
            assert_protocol(&sync);
            sent += origins(&sync).len() as u64;
        }
        let log = plugin.stop();
        let warnings: Vec<_> = log.iter().filter(|line| line["level"] == "warn").collect();
        let [warning] = &warnings[..] else { panic!("one warning: {warnings:#?}") };
        assert_eq!(warning["unseen"], 0, "the other shard sends the others: {warning}");
        assert!(warning["objects"].as_u64().unwrap() <= sent, "{warning}");
    }
}

#[tokio::test]
async fn within_the_late_arrival_window_nothing_collapses() {
    let mut lake = Lake::start().await;
    let spec = json!({"ledger_limit": 5, "late_arrival_window": "24h"});
    for n in 0..12 {
        lake.put(&format!("t/{n}.parquet"));
    }
    assert_eq!(lake.origins(spec.clone()).await.len(), 12);
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    let late = ObjectAttributes { last_modified: Some(hour_ago), ..ObjectAttributes::default() };
    lake.rig.s3.put_with("t/late.parquet", small("late"), late);
    assert_eq!(lake.origins(spec.clone()).await, set(&["late"]));
    assert_eq!(lake.origins(spec).await, set(&[]));
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
async fn a_killed_plugin_changes_no_state() {
    let Lake { rig, backend } = Lake::start().await;
    let mut rig = rig;
    for n in 0..8 {
        rig.s3.put(&format!("t/{n}.parquet"), versioned(&format!("{n}"), 4_000, 1_024, Some(1_000)));
    }
    rig.init(json!({})).await;
    let mut stream = rig.client.grpc.sync(state_request(&backend, None)).await.unwrap().into_inner();
    for _ in 0..4 {
        stream.message().await.unwrap().expect("a message");
    }
    rig.plugin.signal("KILL");
    rig.plugin.wait();
    while let Ok(Some(_)) = stream.message().await {}
    assert_eq!(backend.rows(STATE_TABLE), []);
    rig.plugin = Plugin::start();
    rig.client = Client::connect(&format!("http://{}", rig.plugin.address())).await;
    let sync = rig.sync_with_state(json!({}), &backend).await;
    assert_protocol(&sync);
    assert_eq!((sync.rows("t"), origins(&sync).len()), (8 * 4_000, 8));
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_is_done_as_it_was_read() {
    let mut lake = Lake::start().await;
    let old = versioned("old", 12_000, 1_024, Some(1_000));
    let new = versioned("new", 13_000, 1_024, Some(1_000));
    lake.rig.s3.put("t/a.parquet", old);
    let replacement = new.clone();
    lake.rig.s3.on_get(move |_, nth| (nth == 3).then(|| Action::ReplaceObjectFirst(replacement.clone())));
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

/// A plugin and a client for each shard.
async fn shards(total: i32) -> Vec<(Plugin, Client, (i32, i32))> {
    let mut shards = Vec::new();
    for number in 1..=total {
        let (plugin, client) = crate::rig::plugin().await;
        shards.push((plugin, client, (number, total)));
    }
    shards
}

/// Syncs all shards at once: what each brought.
async fn sync_shards(lake: &Lake, shards: &mut [(Plugin, Client, (i32, i32))]) -> Vec<Collected> {
    let spec = lake.rig.spec(json!({}));
    let syncs = shards.iter_mut().map(|(_, client, shard)| {
        let (spec, request) = (spec.clone(), state_request(&lake.backend, Some(*shard)));
        async move {
            client.init(&spec).await.unwrap();
            client.sync_with(request, |message| lake.backend.store(message)).await
        }
    });
    let syncs = futures::future::join_all(syncs).await;
    for sync in &syncs {
        assert_protocol(sync);
        assert_eq!(tables(sync), tables(&syncs[0]), "migrates in all shards");
    }
    syncs
}

#[tokio::test]
async fn items_91_and_92_four_shards_at_once_against_one_backend_are_complete_without_doubles() {
    let lake = Lake::start().await;
    let mut keys = BTreeSet::new();
    for n in 0..60 {
        keys.insert(format!("t/{n}.parquet"));
        keys.insert(format!("u/{n}.parquet"));
    }
    keys.insert("single/a.parquet".to_owned());
    for key in &keys {
        lake.put(key);
    }
    let mut shards = shards(4).await;
    let mut of_key: BTreeMap<String, usize> = BTreeMap::new();
    for (shard, sync) in sync_shards(&lake, &mut shards).await.iter().enumerate() {
        let origins = origins(sync);
        assert_eq!(sync.rows("t") + sync.rows("u") + sync.rows("single"), 100 * origins.len(), "no doubles");
        assert!((15..50).contains(&origins.len()), "shard {shard} has {}", origins.len());
        for origin in origins {
            assert_eq!(of_key.insert(origin.clone(), shard), None, "{origin} in two shards");
        }
    }
    assert_eq!(of_key.keys().cloned().collect::<BTreeSet<_>>(), keys);

    lake.rig.s3.reset_counts();
    for sync in sync_shards(&lake, &mut shards).await {
        assert_eq!(sync.messages.len(), 3, "migrates only: nobody overwrote another's state");
    }
    assert_eq!(lake.rig.s3.counts().gets, 0);
    lake.rig.s3.put("t/7.parquet", small("again"));
    let syncs = sync_shards(&lake, &mut shards).await;
    assert_eq!(syncs.iter().filter(|sync| origins(sync) == set(&["again"])).count(), 1);
    assert_eq!(syncs.iter().filter(|sync| origins(sync).is_empty()).count(), 3);

    // Another total: a re-read, which the log says.
    let (plugin, mut client) = crate::rig::plugin().await;
    client.init(&lake.rig.spec(json!({}))).await.unwrap();
    let sync = client.sync_with(state_request(&lake.backend, None), |message| lake.backend.store(message)).await;
    assert_protocol(&sync);
    assert_eq!(origins(&sync).len(), keys.len());
    plugin.wait_for_line("why it reads all", |line| line["message"].to_string().contains("number of shards"));
}

#[tokio::test]
async fn item_91_a_shard_without_objects_sends_migrates() {
    let lake = Lake::start().await;
    lake.put("t/a.parquet");
    let mut shards = shards(3).await;
    let syncs = sync_shards(&lake, &mut shards).await;
    let mut rows: Vec<usize> = syncs.iter().map(|sync| sync.rows("t")).collect();
    rows.sort_unstable();
    assert_eq!(rows, [0, 0, 100]);
}

#[tokio::test]
async fn a_damaged_object_is_reported_by_the_shard_that_has_it() {
    let lake = Lake::start().await;
    lake.put("t/a.parquet");
    lake.rig.s3.put("t/garbage.parquet", "no Parquet at all");
    let spec = lake.rig.spec(json!({}));
    let mut errors = 0;
    for (_plugin, mut client, shard) in shards(2).await {
        client.init(&spec).await.unwrap();
        let sync =
            client.sync_with(state_request(&lake.backend, Some(shard)), |message| lake.backend.store(message)).await;
        assert!(sync.status.is_none(), "{:?}", sync.status);
        errors += sync.errors().len();
    }
    assert_eq!(errors, 1);
}

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
async fn two_syncs_at_a_time_leave_state_that_fits_and_the_later_one_is_warned() {
    let mut lake = Lake::start().await;
    for n in 0..8 {
        // More than gRPC's windows and buffers hold.
        lake.rig.s3.put(&format!("t/{n}.parquet"), versioned(&format!("{n}"), 4_000, 1_024, Some(1_000)));
    }
    lake.put("u/a.parquet");
    lake.rig.init(json!({})).await;
    let mut slow = lake.rig.client.grpc.sync(state_request(&lake.backend, None)).await.unwrap().into_inner();
    slow.message().await.unwrap().expect("a migrate");
    // Another process does all of it, and a second sync writes over what the first one left.
    let (plugin, mut client) = crate::rig::plugin().await;
    for extra in ["t/x.parquet", "t/y.parquet"] {
        lake.put(extra);
        client.init(&lake.rig.spec(json!({}))).await.unwrap();
        let sync = client.sync_with(state_request(&lake.backend, None), |message| lake.backend.store(message)).await;
        assert_protocol(&sync);
    }
    while let Some(message) = slow.message().await.unwrap() {
        lake.backend.store(&Message::decode(message));
    }
    let warnings = lake.rig.lines("warn");
    let [warning] = &warnings[..] else { panic!("one warning: {warnings:#?}") };
    assert!(warning["message"].to_string().contains("at the same time") && warning["tables"] == 2, "{warning}");
    assert_eq!(lake.origins(json!({})).await, set(&[]), "what the others did holds");
    lake.put("t/z.parquet");
    assert_eq!(lake.origins(json!({})).await, set(&["t/z.parquet"]));
    drop(plugin);
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
