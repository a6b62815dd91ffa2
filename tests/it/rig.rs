//! What most tests of a sync start with: the S3 server in memory, the plugin as a process, a client that talks to it.

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use cq_source_s3::cloudquery::proto::plugin_v3 as pb;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use testkit::backend::Backend;
use testkit::client::{self, Client, Collected};
use testkit::parquet_files::{self as files, Layout};
use testkit::process::Plugin;
use testkit::s3_server::{DEFAULT_BUCKET, S3Server};

/// An S3 server, the plugin and a client.
pub struct Rig {
    /// The bucket's server.
    pub s3: S3Server,
    /// The process.
    pub plugin: Plugin,
    /// Connected to it.
    pub client: Client,
}

impl Rig {
    /// Starts all three.
    pub async fn start() -> Self {
        Self::with_arguments(&[]).await
    }

    /// The same, with more arguments for `serve`.
    pub async fn with_arguments(arguments: &[&str]) -> Self {
        let s3 = S3Server::start().await;
        let (plugin, client) = connected(Plugin::start_with(arguments, &[])).await;
        Self { s3, plugin, client }
    }

    /// A spec for the server's bucket, with these fields besides or instead.
    pub fn spec(&self, more: Value) -> Value {
        spec(&self.s3.endpoint(), more)
    }

    /// Init and a sync of all tables.
    pub async fn sync(&mut self, more: Value) -> Collected {
        self.init(more).await;
        self.client.sync(&["*"], &[]).await
    }

    /// Init and a sync of all tables that keeps its state in `backend`, which is the destination, too.
    pub async fn sync_with_state(&mut self, more: Value, backend: &Backend) -> Collected {
        self.init(more).await;
        self.client.sync_with(state_request(backend, None), |message| backend.store(message)).await
    }

    /// Init alone.
    pub async fn init(&mut self, more: Value) {
        let spec = self.spec(more);
        self.client.init(&spec).await.expect("a good spec");
    }

    /// The lines of the log that have this level, of everything that the plugin did until now, while it runs on. (It has
    /// written them, but who reads them is a thread of the harness: it may be behind.)
    pub fn lines(&self, level: &str) -> Vec<Value> {
        const QUIET: Duration = Duration::from_millis(250);
        let mut lines = self.plugin.lines();
        loop {
            std::thread::sleep(QUIET);
            let now = self.plugin.lines();
            if now.len() == lines.len() {
                break;
            }
            lines = now;
        }
        lines.retain(|line| line["level"] == level);
        lines
    }

    /// TestConnection's code and text; `None`: success.
    pub async fn failure(&mut self, more: Value) -> Option<(String, String)> {
        let spec = self.spec(more);
        failure(&mut self.client, &spec).await
    }

    /// Stops the plugin: what it said.
    pub fn stop(self) -> Log {
        Log::of(self.plugin)
    }
}

/// The state table of [`state_request`].
pub const STATE_TABLE: &str = "cq_state";
/// The table of commits that goes with it.
pub const COMMIT_TABLE: &str = "cq_state_commits";

/// A request for all tables, with a state backend, of one shard (number, total) or of all.
pub fn state_request(backend: &Backend, shard: Option<(i32, i32)>) -> pb::sync::Request {
    pb::sync::Request {
        backend: Some(pb::sync::BackendOptions {
            table_name: STATE_TABLE.to_owned(),
            connection: backend.connection(),
        }),
        shard: shard.map(|(num, total)| pb::sync::request::Shard { num, total }),
        ..client::sync_request(&["*"], &[])
    }
}

/// The plugin and a client, for another server.
pub async fn plugin() -> (Plugin, Client) {
    connected(Plugin::start()).await
}

async fn connected(plugin: Plugin) -> (Plugin, Client) {
    let client = Client::connect(&format!("http://{}", plugin.address())).await;
    (plugin, client)
}

/// A spec for [`DEFAULT_BUCKET`] behind `endpoint`, with these fields besides or instead; `null` takes one away.
pub fn spec(endpoint: &str, more: Value) -> Value {
    let mut spec = json!({
        "bucket": DEFAULT_BUCKET,
        "region": "us-east-1",
        "endpoint": endpoint,
        "path_style": true,
        "credentials": { "access_key_id": "AKIATEST", "secret_access_key": "hush" },
    });
    for (name, value) in more.as_object().expect("fields of a spec") {
        spec[name] = value.clone();
    }
    let object = spec.as_object_mut().expect("a spec is an object");
    object.retain(|_, value| !value.is_null());
    spec
}

/// TestConnection's code and text; `None`: success.
pub async fn failure(client: &mut Client, spec: &Value) -> Option<(String, String)> {
    let response = client.test_connection(spec).await.expect("failures have the status OK");
    (!response.success).then_some((response.failure_code, response.failure_description))
}

/// Lines of a plugin's log.
pub struct Log(Vec<Value>);

impl Log {
    /// Stops the plugin: what it said.
    pub fn of(plugin: Plugin) -> Self {
        Self(plugin.stop())
    }

    /// Texts of this level's lines, all fields included.
    pub fn of_level(&self, level: &str) -> Vec<String> {
        self.0.iter().filter(|line| line["level"] == level).map(ToString::to_string).collect()
    }

    /// The last line of the last sync, with its counters.
    pub fn summary(&self) -> &Value {
        self.0.iter().rfind(|line| line["message"] == "sync finished").expect("a summary")
    }

    /// Fails if the CLI would count a warning or an error.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!((self.of_level("warn"), self.of_level("error")), (vec![], vec![]));
    }
}

/// Rows that tell which version of which file they are from: `row` (0, 1, 2, …), `origin` (the same text in all rows)
/// and `filler`, a text of
/// `filler_bytes`.
pub fn versioned_batch(origin: &str, rows: usize, filler_bytes: usize) -> RecordBatch {
    let filler = "filler ".repeat(filler_bytes.div_ceil(7));
    let filler: StringArray = std::iter::repeat_n(Some(&filler[..filler_bytes]), rows).collect();
    files::batch_of(vec![
        ("row", false, Arc::new(Int64Array::from_iter_values(0..rows as i64)) as ArrayRef),
        ("origin", false, Arc::new(StringArray::from(vec![origin; rows]))),
        ("filler", false, Arc::new(filler)),
    ])
}

/// [`versioned_batch`] in a file without compression, in row groups of `row_group_rows`.
pub fn versioned(origin: &str, rows: usize, filler_bytes: usize, row_group_rows: Option<usize>) -> Bytes {
    let layout = Layout {
        row_group_rows,
        dictionary: false,
        compression: parquet::basic::Compression::UNCOMPRESSED,
        ..Layout::default()
    };
    files::write_batch(&versioned_batch(origin, rows, filler_bytes), &layout)
}

/// A small file: 100 rows of a few KiB in all.
pub fn small(origin: &str) -> Bytes {
    versioned(origin, 100, 16, None)
}

/// What a destination that overwrites by `_cq_id` would hold: `row` and `origin`, sorted.
pub fn overwritten(collected: &Collected, table: &str) -> Vec<(i64, String)> {
    let mut rows: BTreeMap<Vec<u8>, (i64, String)> = BTreeMap::new();
    for batch in collected.batches(table) {
        let ids = batch.column_by_name("_cq_id").expect("_cq_id").as_fixed_size_binary();
        let numbers = batch.column_by_name("row").expect("row").as_primitive::<Int64Type>();
        let origins = batch.column_by_name("origin").expect("origin").as_string::<i32>();
        for at in 0..batch.num_rows() {
            rows.insert(ids.value(at).to_vec(), (numbers.value(at), origins.value(at).to_owned()));
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort();
    rows
}

/// A sync that keeps to the protocol, after which a destination that overwrites has these rows of [`versioned`] objects.
#[track_caller]
pub fn assert_rows(collected: &Collected, table: &str, rows: Vec<(i64, String)>) {
    client::assert_protocol(collected);
    assert_eq!(overwritten(collected, table), rows);
}

/// The rows of [`versioned`], as [`overwritten`] gives them.
pub fn expected(origin: &str, rows: usize) -> Vec<(i64, String)> {
    (0..rows as i64).map(|row| (row, origin.to_owned())).collect()
}
