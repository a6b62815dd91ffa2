//! The service behind a real server on loopback, over a source whose spec says how it behaves.

use super::*;
use crate::cloudquery::network::Network;
use crate::cloudquery::{
    proto::plugin_v3::plugin_client::PluginClient,
    schema,
    server::{self, MAX_MESSAGE_BYTES},
    source::{SyncSink, TestFailure},
};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tonic::transport::Channel;

const SPEC_SCHEMA: &str = r#"{"type":"object"}"#;
const BIG_BYTES: usize = 100 * 1024 * 1024;

/// What the tests watch from outside.
#[derive(Debug, Default)]
struct Seen {
    sent: AtomicUsize,
    grants: AtomicUsize,
    cancelled: AtomicBool,
    drained: AtomicBool,
    request: StdMutex<SyncRequest>,
}

/// A grant that counts itself.
struct Counted(Arc<Seen>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.grants.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Behaves as the text of its spec says.
struct Scripted(Arc<Seen>);

fn insert(seen: &Arc<Seen>, bytes: usize) -> Message {
    seen.grants.fetch_add(1, Ordering::SeqCst);
    let grant = Grant(Some(Box::new(Counted(Arc::clone(seen)))));
    Message::Insert { record: Bytes::from(vec![7; bytes]), grant }
}

impl Source for Scripted {
    type Client = String;

    fn spec_schema(&self) -> String {
        SPEC_SCHEMA.to_owned()
    }

    fn init(&self, spec: &[u8], _: bool) -> Result<String, SourceError> {
        match std::str::from_utf8(spec).unwrap() {
            "invalid" => Err(SourceError::new(ErrorKind::InvalidSpec, "bucket: required")),
            "panic in init" => panic!("in init"),
            spec => Ok(spec.to_owned()),
        }
    }

    async fn tables(&self, client: &String, selection: Selection) -> Result<Vec<SchemaRef>, SourceError> {
        match client.as_str() {
            "fail" => Err(SourceError::new(ErrorKind::NotFound, "bucket `b` does not exist")),
            "panic" => panic!("in tables"),
            _ => Ok(selection.tables.iter().map(|name| schema::table_schema(name, [schema::cq_id_field()])).collect()),
        }
    }

    async fn sync(
        &self,
        client: &String,
        request: SyncRequest,
        sink: SyncSink,
        cancel: CancellationToken,
    ) -> Result<(), SourceError> {
        let seen = &self.0;
        *seen.request.lock().unwrap() = request;
        sink.send(Message::Migrate(Bytes::from_static(b"schema"))).await.unwrap();
        match client.as_str() {
            "ok" => {
                sink.send(insert(seen, 10)).await.unwrap();
                let error = Message::Error { table: "t".to_owned(), error: "e".repeat(50_000) };
                sink.send(error).await.unwrap();
                sink.drained().await.unwrap();
                seen.drained.store(true, Ordering::SeqCst);
                Ok(())
            }
            "big" => {
                sink.send(insert(seen, BIG_BYTES)).await.unwrap();
                Ok(())
            }
            "fail" => {
                Err(SourceError::new(ErrorKind::AccessDenied, format!("bucket `b`: denied {}", "x".repeat(100_000))))
            }
            "panic" => panic!("in sync"),
            "wait" => {
                cancel.cancelled().await;
                seen.cancelled.store(true, Ordering::SeqCst);
                Err(SourceError::new(ErrorKind::Cancelled, "cancelled"))
            }
            "flood" => {
                while sink.send(insert(seen, 100_000)).await.is_ok() {
                    seen.sent.fetch_add(1, Ordering::SeqCst);
                }
                seen.cancelled.store(cancel.is_cancelled(), Ordering::SeqCst);
                Err(SourceError::new(ErrorKind::Cancelled, "the peer went away"))
            }
            "leave a sink behind" => {
                tokio::spawn(async move {
                    let _sink = sink;
                    std::future::pending::<()>().await
                });
                Ok(())
            }
            other => panic!("unknown script {other}"),
        }
    }

    async fn test_connection(&self, spec: &[u8]) -> Result<(), TestFailure> {
        match spec {
            b"panic" => panic!("in test"),
            b"fail" => Err(TestFailure { code: "ACCESS_DENIED", description: "d".repeat(9_000) }),
            b"no code" => Err(TestFailure { code: "", description: "why".to_owned() }),
            _ => Ok(()),
        }
    }
}

struct Peer {
    client: PluginClient<Channel>,
    seen: Arc<Seen>,
    shutdown: CancellationToken,
}

impl Peer {
    async fn start() -> Self {
        let (seen, shutdown) = (Arc::<Seen>::default(), CancellationToken::new());
        let listener = server::bind(Network::Tcp, "127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.address());
        tokio::spawn(listener.serve(Scripted(Arc::clone(&seen)), shutdown.clone()));
        let client = PluginClient::connect(address).await.unwrap().max_decoding_message_size(MAX_MESSAGE_BYTES);
        Self { client, seen, shutdown }
    }

    async fn init(&self, spec: &'static str) -> Result<(), Status> {
        let request = pb::init::Request { spec: Bytes::from_static(spec.as_bytes()), ..Default::default() };
        self.client.clone().init(request).await.map(|_| ())
    }

    async fn start_sync(&self) -> Result<Streaming<pb::sync::Response>, Status> {
        let request =
            pb::sync::Request { tables: vec!["*".to_owned()], with_error_messages: true, ..Default::default() };
        self.client.clone().sync(request).await.map(Response::into_inner)
    }

    /// Starts a sync and reads its first message.
    async fn first_message(&self) -> Streaming<pb::sync::Response> {
        let mut stream = self.start_sync().await.unwrap();
        stream.message().await.unwrap().unwrap();
        stream
    }

    async fn sync(&self) -> Result<Vec<pb::sync::response::Message>, Status> {
        drain(self.start_sync().await?).await
    }

    async fn tables(&self, tables: &[&str]) -> Result<Vec<Bytes>, Status> {
        let tables = tables.iter().map(|&name| name.to_owned()).collect();
        let request = pb::get_tables::Request { tables, ..Default::default() };
        self.client.clone().get_tables(request).await.map(|response| response.into_inner().tables)
    }

    async fn close(&self) -> Result<(), Status> {
        self.client.clone().close(pb::close::Request {}).await.map(|_| ())
    }
}

async fn drain(mut stream: Streaming<pb::sync::Response>) -> Result<Vec<pb::sync::response::Message>, Status> {
    let mut messages = Vec::new();
    while let Some(response) = stream.message().await? {
        messages.push(response.message.unwrap());
    }
    Ok(messages)
}

fn check(status: &Status, code: Code, text: &str) {
    assert_eq!((status.code(), status.message()), (code, text));
}

/// Waits, within bounds, for something that happens on another task.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}

#[tokio::test]
async fn item_36_name_version_and_schema_work_before_init() {
    let mut client = Peer::start().await.client;
    assert_eq!(client.get_name(pb::get_name::Request {}).await.unwrap().into_inner().name, "s3");
    let version = client.get_version(pb::get_version::Request {}).await.unwrap().into_inner().version;
    assert!(version.starts_with('v') && version.contains('.'), "{version}");
    let schema = client.get_spec_schema(pb::get_spec_schema::Request {}).await.unwrap().into_inner();
    assert_eq!(schema.json_schema.as_deref(), Some(SPEC_SCHEMA));
}

#[tokio::test]
async fn item_41_init_errors_are_internal_and_begin_alike() {
    let peer = Peer::start().await;
    let status = peer.init("invalid").await.unwrap_err();
    check(&status, Code::Internal, "failed to init plugin: failed to initialize client: bucket: required");
    let status = peer.init("panic in init").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().starts_with("failed to init plugin: "), "{}", status.message());
    peer.init("ok").await.unwrap();
}

#[tokio::test]
async fn item_42_the_last_good_init_counts() {
    let peer = Peer::start().await;
    peer.init("fail").await.unwrap();
    peer.init("ok").await.unwrap();
    peer.init("invalid").await.unwrap_err();
    assert_eq!(peer.sync().await.unwrap().len(), 3);
}

#[tokio::test]
async fn item_43_one_lock_for_init_sync_and_close() {
    let peer = Peer::start().await;
    peer.init("wait").await.unwrap();
    let stream = peer.first_message().await;
    check(&peer.init("ok").await.unwrap_err(), Code::Internal, "failed to init plugin: plugin already in use");
    let status = peer.start_sync().await.unwrap_err();
    check(&status, Code::FailedPrecondition, "failed to sync records: plugin already in use");
    check(&peer.close().await.unwrap_err(), Code::FailedPrecondition, "plugin already in use");
    assert_eq!(peer.tables(&["a"]).await.unwrap().len(), 1, "GetTables does not take the lock");
    assert!(!peer.seen.cancelled.load(Ordering::SeqCst), "the sync goes on undisturbed");
    drop(stream);
}

#[tokio::test]
async fn item_32_a_dropped_stream_cancels_the_sync_and_frees_the_plugin() {
    let peer = Peer::start().await;
    peer.init("wait").await.unwrap();
    drop(peer.first_message().await);
    eventually("the sync is cancelled", || peer.seen.cancelled.load(Ordering::SeqCst)).await;
    peer.init("ok").await.unwrap();
    assert_eq!(peer.sync().await.unwrap().len(), 3);
}

#[tokio::test]
async fn item_49_and_53_calls_before_init_and_after_close() {
    let peer = Peer::start().await;
    for round in ["before Init", "after Close"] {
        let status = peer.tables(&["*"]).await.unwrap_err();
        check(&status, Code::Internal, "failed to get tables: plugin not initialized");
        let status = peer.start_sync().await.unwrap_err();
        let text = "failed to sync records: plugin not initialized. call Init() first";
        check(&status, Code::FailedPrecondition, text);
        peer.close().await.expect(round);
        peer.init("ok").await.expect("a refused Sync does not keep the lock");
        peer.close().await.expect(round);
    }
}

#[tokio::test]
async fn tables_come_as_schemas_and_fail_with_the_sdk_text() {
    let peer = Peer::start().await;
    peer.init("ok").await.unwrap();
    let tables = peer.tables(&["a", "b"]).await.unwrap();
    let reader = arrow::ipc::reader::StreamReader::try_new(&tables[1][..], None).unwrap();
    assert_eq!(schema::table_name(&reader.schema()), Some("b"));
    assert_eq!((tables.len(), reader.count()), (2, 0));
    peer.init("fail").await.unwrap();
    let status = peer.tables(&["a"]).await.unwrap_err();
    check(&status, Code::NotFound, "failed to get tables: failed to get tables: bucket `b` does not exist");
    peer.init("panic").await.unwrap();
    assert_eq!(peer.tables(&["a"]).await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn item_67_syncs_follow_each_other_at_once() {
    let peer = Peer::start().await;
    peer.init("ok").await.unwrap();
    for _ in 0..100 {
        let messages = peer.sync().await.unwrap();
        assert!(matches!(&messages[..], [
            pb::sync::response::Message::MigrateTable(_),
            pb::sync::response::Message::Insert(insert),
            pb::sync::response::Message::Error(error),
        ] if insert.record[..] == [7; 10] && error.table_name == "t" && error.error.len() <= 8_000));
    }
    assert!(peer.seen.drained.load(Ordering::SeqCst));
    assert_eq!(peer.seen.grants.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn item_63_no_error_messages_for_a_peer_that_does_not_know_them() {
    let peer = Peer::start().await;
    peer.init("ok").await.unwrap();
    let stream = peer.client.clone().sync(pb::sync::Request::default()).await.unwrap().into_inner();
    let messages = drain(stream).await.unwrap();
    assert_eq!(messages.len(), 2);
    assert!(!messages.iter().any(|message| matches!(message, pb::sync::response::Message::Error(_))));
}

#[tokio::test]
async fn item_65_errors_end_the_stream_after_what_was_sent_and_are_bounded() {
    let peer = Peer::start().await;
    peer.init("fail").await.unwrap();
    let mut stream = peer.first_message().await;
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let text = status.message();
    assert!(text.starts_with("failed to sync records: failed to sync unmanaged client: bucket `b`: denied"), "{text}");
    assert!(text.len() <= 8_000 && text.len() > 7_900, "{}", text.len());
}

#[tokio::test]
async fn a_panic_in_a_sync_is_an_error_status_and_frees_the_plugin() {
    let peer = Peer::start().await;
    peer.init("panic").await.unwrap();
    let status = peer.sync().await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("panicked"), "{}", status.message());
    peer.init("ok").await.unwrap();
}

#[tokio::test]
async fn a_sink_that_is_left_behind_does_not_keep_the_stream_open() {
    let peer = Peer::start().await;
    peer.init("leave a sink behind").await.unwrap();
    let messages = tokio::time::timeout(Duration::from_secs(10), peer.sync()).await.unwrap().unwrap();
    assert_eq!(messages.len(), 1);
}

#[tokio::test]
async fn item_10_and_11_a_message_of_100_mib_arrives_uncompressed() {
    let peer = Peer::start().await;
    peer.init("big").await.unwrap();
    let request = pb::sync::Request::default();
    let response = peer.client.clone().sync(request).await.unwrap();
    assert_eq!(response.metadata().get("grpc-encoding"), None);
    let messages = drain(response.into_inner()).await.unwrap();
    let pb::sync::response::Message::Insert(insert) = &messages[1] else { panic!() };
    assert_eq!(insert.record.len(), BIG_BYTES);
}

#[tokio::test]
async fn item_68_a_slow_peer_holds_up_the_sync() {
    let peer = Peer::start().await;
    peer.init("flood").await.unwrap();
    let stream = peer.first_message().await;
    let mut before = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let sent = peer.seen.sent.load(Ordering::SeqCst);
        if sent == before {
            break;
        }
        before = sent;
    }
    assert!(before < 100, "{before} messages of 100 kB were sent to a peer that reads none");
    let grants = peer.seen.grants.load(Ordering::SeqCst);
    assert!(grants <= SYNC_CHANNEL_MESSAGES + 2, "{grants} messages hold memory");
    drop(stream);
    eventually("the sync ends", || peer.seen.cancelled.load(Ordering::SeqCst)).await;
    eventually("the memory is free", || peer.seen.grants.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn the_backend_needs_both_strings_and_a_shard_must_make_sense() {
    let peer = Peer::start().await;
    peer.init("ok").await.unwrap();
    let backend = |table_name: &str, connection: &str| pb::sync::Request {
        backend: Some(pb::sync::BackendOptions {
            table_name: table_name.to_owned(),
            connection: connection.to_owned(),
        }),
        ..Default::default()
    };
    for (request, empty) in [(backend("state", ""), "connection"), (backend("", "x:1"), "table_name")] {
        let status = peer.client.clone().sync(request).await.unwrap_err();
        let text = format!(
            "failed to sync records: failed to sync unmanaged client: backend_options must contain both connection and \
             table_name: {empty} is empty"
        );
        check(&status, Code::InvalidArgument, &text);
    }
    for (request, expected) in [
        (backend("", ""), None),
        (backend("state", "x:1"), Some(Backend { table_name: "state".to_owned(), connection: "x:1".to_owned() })),
    ] {
        drain(peer.client.clone().sync(request).await.unwrap().into_inner()).await.unwrap();
        assert_eq!(peer.seen.request.lock().unwrap().backend, expected);
    }
    let shard =
        |num, total| pb::sync::Request { shard: Some(pb::sync::request::Shard { num, total }), ..Default::default() };
    for (num, total) in [(0, 1), (3, 2), (-1, 2), (1, 0)] {
        let status = peer.client.clone().sync(shard(num, total)).await.unwrap_err();
        assert!(status.message().contains(&format!("shard {num}/{total}")), "{}", status.message());
    }
    drain(peer.client.clone().sync(shard(2, 2)).await.unwrap().into_inner()).await.unwrap();
    assert_eq!(peer.seen.request.lock().unwrap().shard, Some((2, 2)));
}

#[tokio::test]
async fn test_connection_reports_failures_with_status_ok() {
    let peer = Peer::start().await;
    let test = |spec: &'static str| {
        let mut client = peer.client.clone();
        let request = pb::test_connection::Request { spec: Bytes::from_static(spec.as_bytes()) };
        async move { client.test_connection(request).await.map(Response::into_inner) }
    };
    let good = test("{}").await.unwrap();
    assert!(good.success && good.failure_code.is_empty());
    let bad = test("fail").await.unwrap();
    assert!(!bad.success && bad.failure_code == "ACCESS_DENIED" && bad.failure_description.len() <= 8_000);
    assert_eq!(test("no code").await.unwrap().failure_code, "UNKNOWN");
    assert_eq!(test("panic").await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn what_is_not_for_sources_is_unimplemented() {
    let mut client = Peer::start().await.client;
    let read = client.read(pb::read::Request::default()).await.unwrap_err();
    let write = client.write(futures::stream::empty()).await.unwrap_err();
    let transform = client.transform(futures::stream::empty()).await.unwrap_err();
    let schema = client.transform_schema(pb::transform_schema::Request::default()).await.unwrap_err();
    for status in [read, write, transform, schema] {
        assert_eq!(status.code(), Code::Unimplemented, "{}", status.message());
    }
}

#[tokio::test]
async fn a_stop_cancels_the_sync_and_the_server_ends() {
    let peer = Peer::start().await;
    peer.init("wait").await.unwrap();
    let mut stream = peer.first_message().await;
    peer.shutdown.cancel();
    eventually("the sync is cancelled", || peer.seen.cancelled.load(Ordering::SeqCst)).await;
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Cancelled);
}
