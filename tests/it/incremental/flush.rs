//! When the state is written: after the last row was taken and before the end, and what a backend that fails costs.

use super::*;
use cq_source_s3::cloudquery::proto::plugin_v3::sync;
use tonic::Streaming;

/// The plugin in this process, so that the transport's place is the test's: what it took, and when it asked for more.
#[tokio::test]
async fn item_84_the_flush_comes_after_the_last_row_was_taken_and_before_the_end() {
    let (s3, backend) = (S3Server::start().await, Backend::start(Mode::Upsert).await);
    for n in 0..20 {
        // Too large to share messages.
        s3.put(&format!("t/{n}.parquet"), versioned("large", 100, 1_024, None));
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

/// Starts a sync of more than gRPC's windows and buffers hold: eight objects of 4,000 rows.
async fn sync_of_large_objects() -> (Lake, Streaming<sync::Response>) {
    let mut lake = Lake::start().await;
    for n in 0..8 {
        lake.rig.s3.put(&format!("t/{n}.parquet"), versioned("large", 4_000, 1_024, Some(1_000)));
    }
    lake.rig.init(json!({})).await;
    let request = state_request(&lake.backend, None);
    let stream = lake.rig.client.grpc.sync(request).await.unwrap().into_inner();
    (lake, stream)
}

#[tokio::test]
async fn item_84_no_flush_while_the_peer_does_not_take_the_rows() {
    let (lake, mut stream) = sync_of_large_objects().await;
    stream.message().await.unwrap().expect("a migrate");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lake.flushes(), 0);
    while let Some(_message) = stream.message().await.unwrap() {}
    assert_eq!(lake.flushes(), 1);
}

#[tokio::test]
async fn item_85_a_peer_that_goes_away_before_the_end_leaves_the_state_as_it_was() {
    let (mut lake, mut stream) = sync_of_large_objects().await;
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
    for what in ["failed to write state", STATE_TABLE, "the next sync reads the 1 object of this one again"] {
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
