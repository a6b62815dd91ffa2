//! Syncs that remember, against S3 in a container: what happens to a bucket between two of them, and that each object's
//! rows come exactly once, however late or damaged it was.

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use cq_source_s3::cloudquery::proto::plugin_v3 as pb;
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Duration;
use tempfile::TempDir;

use crate::data::counter_object;
use crate::localstack::LocalStack;
use crate::server::{Address, Server};
use testkit::backend::{Backend, Mode};
use testkit::client::{Client, Collected, assert_protocol, sync_request};

const BUCKET: &str = "lake";
const TABLE: &str = "counters";
const STATE_TABLE: &str = "cq_state_s3";
/// Tries to write two objects within one second of the server's clock, or in two.
const CLOCK_TRIES: usize = 20;
/// What a sync brings that finds nothing new.
const NOTHING: [i64; 0] = [];

/// A bucket of counters, the plugin, and a state backend.
struct Lake {
    s3: LocalStack,
    backend: Backend,
    plugin: Server,
    client: Client,
    dir: TempDir,
}

impl Lake {
    async fn start() -> Self {
        let s3 = LocalStack::start().await;
        s3.create_bucket(BUCKET).await;
        let dir = tempfile::tempdir().expect("a folder");
        let backend = Backend::start(Mode::Upsert).await;
        let (plugin, client) = plugin(&dir).await;
        Self { s3, backend, plugin, client, dir }
    }

    /// Writes an object of the table: these values.
    async fn put(&self, name: &str, values: Range<i64>) {
        let object = counter_object(&key(name), values);
        self.s3.put(BUCKET, &object.key, object.parquet()).await;
    }

    fn request(&self, shard: Option<(i32, i32)>) -> pb::sync::Request {
        let backend =
            pb::sync::BackendOptions { table_name: STATE_TABLE.to_owned(), connection: self.backend.connection() };
        let shard = shard.map(|(num, total)| pb::sync::request::Shard { num, total });
        pb::sync::Request { backend: Some(backend), shard, ..sync_request(&["*"], &[]) }
    }

    /// A sync with the bucket's spec, which must end well.
    async fn sync(&mut self) -> Collected {
        self.client.init(&self.s3.spec(BUCKET)).await.expect("init");
        let request = self.request(None);
        let collected = self.client.sync_with(request, |message| self.backend.store(message)).await;
        assert_protocol(&collected);
        collected
    }

    /// A sync without errors: the values that it brought, sorted.
    async fn values(&mut self) -> Vec<i64> {
        let collected = self.sync().await;
        assert_eq!(collected.errors(), []);
        values(&collected)
    }
}

async fn plugin(dir: &TempDir) -> (Server, Client) {
    let address = Address::free_tcp();
    let target = format!("http://{}", address.target());
    let server = Server::plugin(address, dir.path(), &[]);
    let client = Client::connect(&target).await;
    (server, client)
}

fn key(name: &str) -> String {
    format!("{TABLE}/{name}.parquet")
}

/// All values that a sync brought, sorted; doubles stay.
fn values(collected: &Collected) -> Vec<i64> {
    if collected.rows(TABLE) == 0 {
        return Vec::new();
    }
    let all = collected.concatenated(TABLE);
    let column = all.column_by_name("value").expect("the column").as_primitive::<Int64Type>();
    let mut values = column.values().to_vec();
    values.sort_unstable();
    values
}

#[tokio::test]
async fn a_late_arrival_is_read_whatever_its_last_modified() {
    let mut lake = Lake::start().await;
    lake.s3.keep_versions(BUCKET).await;
    lake.put("late", 0..10).await;
    let late = lake.s3.last_modified_seconds(BUCKET, &key("late")).await;
    let marker = lake.s3.hide(BUCKET, &key("late")).await;
    for tried in 1.. {
        lake.put("newer", 10..20).await;
        if lake.s3.last_modified_seconds(BUCKET, &key("newer")).await > late {
            break;
        }
        assert!(tried < CLOCK_TRIES, "the server's clock stands still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(lake.values().await, (10..20).collect::<Vec<_>>());

    lake.s3.reveal(BUCKET, &key("late"), &marker).await;
    assert_eq!(lake.s3.last_modified_seconds(BUCKET, &key("late")).await, late, "older than what is done");

    assert_eq!(lake.values().await, (0..10).collect::<Vec<_>>());
    assert_eq!(lake.values().await, NOTHING);
}

#[tokio::test]
async fn objects_of_one_second_are_told_apart() {
    let mut lake = Lake::start().await;
    lake.s3.keep_versions(BUCKET).await;
    for tried in 1.. {
        lake.put("first", 0..10).await;
        lake.put("second", 10..20).await;
        let of = async |name: &str| lake.s3.last_modified_seconds(BUCKET, &key(name)).await;
        if of("first").await == of("second").await {
            break;
        }
        assert!(tried < CLOCK_TRIES, "two writes never fall into one second");
    }
    let marker = lake.s3.hide(BUCKET, &key("second")).await;
    assert_eq!(lake.values().await, (0..10).collect::<Vec<_>>());

    lake.s3.reveal(BUCKET, &key("second"), &marker).await;

    assert_eq!(lake.values().await, (10..20).collect::<Vec<_>>());
    assert_eq!(lake.values().await, NOTHING);
}

#[tokio::test]
async fn a_replaced_object_is_read_again_and_the_others_are_not() {
    let mut lake = Lake::start().await;
    lake.put("kept", 0..10).await;
    lake.put("replaced", 10..20).await;
    assert_eq!(lake.values().await, (0..20).collect::<Vec<_>>());

    lake.put("replaced", 110..125).await;

    assert_eq!(lake.values().await, (110..125).collect::<Vec<_>>());
    assert_eq!(lake.values().await, NOTHING);
}

#[tokio::test]
async fn a_damaged_object_is_tried_again_until_it_is_repaired() {
    let mut lake = Lake::start().await;
    lake.put("good", 0..10).await;
    lake.s3.put(BUCKET, &key("damaged"), "not Parquet").await;
    let first = lake.sync().await;
    assert_eq!(values(&first), (0..10).collect::<Vec<_>>());
    for again in [first, lake.sync().await] {
        let [(TABLE, error)] = again.errors()[..] else { panic!("one error of the table: {:?}", again.errors()) };
        assert!(error.contains("s3://lake/counters/damaged.parquet"), "{error}");
    }

    lake.put("damaged", 10..20).await;

    assert_eq!(lake.values().await, (10..20).collect::<Vec<_>>());
    assert_eq!(lake.values().await, NOTHING);
}

#[tokio::test]
async fn two_shards_at_once_are_complete_without_doubles() {
    let lake = Lake::start().await;
    let all: Vec<i64> = (0..400).collect();
    let objects = (0..40).map(|n| counter_object(&key(&n.to_string()), n * 10..n * 10 + 10));
    lake.s3.put_all(BUCKET, objects.map(|object| (object.key.clone(), object.parquet())).collect()).await;
    let dirs = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let mut plugins = [plugin(&dirs[0]).await, plugin(&dirs[1]).await];
    let spec = lake.s3.spec(BUCKET);
    let mut sync_both = async || {
        let syncs = plugins.iter_mut().zip(1..).map(|((_, client), number)| {
            let (lake, spec, request) = (&lake, &spec, lake.request(Some((number, 2))));
            async move {
                client.init(spec).await.expect("init");
                client.sync_with(request, |message| lake.backend.store(message)).await
            }
        });
        let syncs = futures::future::join_all(syncs).await;
        syncs.iter().for_each(assert_protocol);
        syncs.iter().map(values).collect::<Vec<_>>()
    };

    let first = sync_both().await;
    assert!(first.iter().all(|values| !values.is_empty()), "both have objects");
    let mut together = first.concat();
    together.sort_unstable();
    assert_eq!(together, all);

    assert_eq!(sync_both().await, [NOTHING, NOTHING], "neither overwrote the other's state");
}

#[tokio::test]
async fn a_killed_sync_marks_nothing_done() {
    let mut lake = Lake::start().await;
    // More than the plugin and the connection hold of rows that nobody takes.
    let rows: i64 = 20_000;
    for n in 0..20 {
        lake.put(&n.to_string(), n * rows..(n + 1) * rows).await;
    }
    let mut spec: Value = lake.s3.spec(BUCKET);
    spec["memory_limit"] = json!("32MiB");
    lake.client.init(&spec).await.expect("init");
    let mut stream = lake.client.grpc.sync(lake.request(None)).await.expect("a sync").into_inner();
    let mut last = None;
    for _ in 0..4 {
        last = stream.message().await.expect("no error").expect("a message").message;
    }
    assert!(matches!(last, Some(pb::sync::response::Message::Insert(_))), "rows were sent: {last:?}");
    drop(lake.plugin); // with SIGKILL
    while let Ok(Some(_)) = stream.message().await {}
    assert_eq!(lake.backend.rows(STATE_TABLE), []);

    lake.dir = tempfile::tempdir().expect("a folder");
    (lake.plugin, lake.client) = plugin(&lake.dir).await;
    assert_eq!(lake.values().await, (0..20 * rows).collect::<Vec<_>>());
    assert_eq!(lake.values().await, NOTHING);
    assert_ne!(lake.backend.rows(STATE_TABLE), []);
}
