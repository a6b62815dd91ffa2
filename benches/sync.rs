//! `cargo bench --bench sync`: how fast a whole sync is, and how much of the time the plugin itself costs.
//!
//! The plugin runs as the built binary, in a process of its own, against the S3 server in memory; a gRPC client takes
//! the messages and throws them away. The baseline reads the same objects from the same server in one process: a GET
//! of each whole object, decoded by Parquet's own Arrow reader, nothing else. Its rate divided by the plugin's is the
//! price of casting, encoding and sending. Numbers mean something only from the `bench` profile and an idle machine.
//! `cargo bench --bench sync -- nested` runs the cases with that in their name.
//! `CQ_BENCH_PLUGIN=PATH` measures another binary, for example the one that is shipped; `just bench`
//! takes that one by itself where it has been built. Of several, `CQ_BENCH_PLUGIN=one,other`, each syncs in turn, so that
//! what else the machine does meets all of them. Then compare the column "CPU s": processor time of the plugin alone, which
//! a busy machine changes little (Linux only).

#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::expect_used, reason = "a failure ends the bench, with the reason")]

#[path = "support/data.rs"]
mod data;
use arrow::array::RecordBatch;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use bytes::Bytes;
use cq_source_s3::cloudquery::proto::plugin_v3::sync::response::Message;
use futures::{StreamExt as _, stream};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::client::{Client, sync_request};
use testkit::parquet_files as files;
use testkit::s3_server::{Counts, DEFAULT_BUCKET, S3Server};

/// Both sides read so many objects at a time: the plugin's default.
const CONCURRENCY: usize = 50;

/// Rows in a batch: large enough that a message is not all header. The plugin's default is for small rows.
const ROWS_PER_RECORD: usize = 10_000;

/// Each side runs so often; the best time counts, because noise only ever adds.
const RUNS: usize = 3;

fn main() {
    // `cargo test --benches` runs every bench once to see that it works; small data is enough for that.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let scale = if quick { 100 } else { 1 };
    let runtime = tokio::runtime::Runtime::new().expect("a tokio runtime");
    let plugins = plugins();
    for (index, plugin) in plugins.iter().enumerate() {
        println!("plugin {}: {}, {}", index + 1, plugin.display(), version_of(plugin));
    }
    println!(
        "{:<28} {:>6} {:>8} {:>9} {:>9} {:>9} {:>12} {:>12} {:>7} {:>9} {:>9}",
        "case", "plugin", "objects", "MB", "sync s", "CPU s", "MB/s", "rows/s", "ratio", "GETs/obj", "MB read"
    );
    let cases: [Case; 8] = [
        ("one large, plain types", |scale| {
            let plain = files::flat_batch(2_000_000 / scale, 1);
            let groups = files::Layout { row_group_rows: Some(200_000), ..files::Layout::default() };
            Objects { rows: plain.num_rows(), objects: vec![files::write_batch(&plain, &groups)] }
        }),
        ("one large, narrow ints", |scale| Objects::one(&data::narrow_ints(4_000_000 / scale))),
        ("one large, texts", |scale| Objects::one(&data::texts(1_500_000 / scale))),
        ("one large, dictionary texts", |scale| Objects::one(&data::dictionary_texts(3_000_000 / scale))),
        ("one large, taxi trips", |scale| Objects::one(&data::trips(2_000_000 / scale))),
        ("one large, nested to JSON", |scale| {
            let nested = files::nested_batch(300_000 / scale, 1);
            Objects { rows: nested.num_rows(), objects: vec![files::write_batch(&nested, &files::Layout::default())] }
        }),
        ("one large, incompressible", |scale| {
            let noise = files::incompressible(400 / scale, Some(50_000), 1);
            Objects { rows: rows_in(&noise), objects: vec![noise] }
        }),
        ("many tiny", |scale| {
            let objects: Vec<Bytes> = (0..2_000 / scale as u64).map(|seed| files::flat(50, seed)).collect();
            Objects { rows: objects.len() * 50, objects }
        }),
    ];
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    runtime.block_on(async {
        for (name, objects) in cases {
            if asked.iter().all(|part| name.contains(part)) {
                case(name, objects(scale), &plugins).await;
            }
        }
    });
}

/// A name, and what makes the objects of it, for data that is so many times smaller.
type Case = (&'static str, fn(usize) -> Objects);

/// What a case reads.
struct Objects {
    /// Of all objects together, which make one table.
    rows: usize,
    objects: Vec<Bytes>,
}

impl Objects {
    fn one(batch: &RecordBatch) -> Self {
        Self { rows: batch.num_rows(), objects: vec![data::object(batch)] }
    }
}

/// The binaries to measure: `CQ_BENCH_PLUGIN`, else the one of this build.
fn plugins() -> Vec<PathBuf> {
    match std::env::var("CQ_BENCH_PLUGIN") {
        Ok(paths) if !paths.is_empty() => paths.split(',').map(PathBuf::from).collect(),
        _ => vec![PathBuf::from(env!("CARGO_BIN_EXE_cq-source-s3"))],
    }
}

fn version_of(plugin: &Path) -> String {
    let output = Command::new(plugin).arg("--version").output().expect("the built plugin can be run");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Measures one set of objects and prints a line for each plugin.
async fn case(name: &str, Objects { rows, objects }: Objects, plugins: &[PathBuf]) {
    let server = S3Server::start().await;
    let keys: Vec<String> = (0..objects.len()).map(|index| format!("data/{index:06}.parquet")).collect();
    let object_bytes: usize = objects.iter().map(Bytes::len).sum();
    for (key, object) in keys.iter().zip(objects) {
        server.put(key, object);
    }
    let baseline = best_of(async || baseline(&server, &keys, rows).await).await;
    let mut measured = Vec::new();
    for path in plugins {
        let plugin = Plugin::start(path);
        let mut client = Client::connect(&plugin.target).await;
        let spec = serde_json::json!({
            "bucket": DEFAULT_BUCKET,
            "region": "us-east-1",
            "endpoint": server.endpoint(),
            "path_style": true,
            "credentials": { "anonymous": true },
            "rows_per_record": ROWS_PER_RECORD,
            "concurrency": CONCURRENCY,
        });
        client.init(&spec).await.expect("the plugin accepts the spec");
        measured.push(Measured { plugin, client, best: Duration::MAX, cpu: None, counts: Counts::default() });
    }
    for _ in 0..RUNS {
        for measured in &mut measured {
            measured.run(&server).await;
        }
    }
    let megabytes = object_bytes as f64 / 1e6;
    for (index, mut measured) in measured.into_iter().enumerate() {
        let sent = measured.client.sync(&["*"], &[]).await.rows("data");
        assert_eq!(sent, rows, "{name}: a sync that loses rows is not worth measuring");
        let Measured { best, cpu, counts, .. } = measured;
        println!(
            "{name:<28} {:>6} {:>8} {megabytes:>9.1} {:>9.3} {:>9} {:>12.1} {:>12.0} {:>7.2} {:>9.2} {:>9.1}",
            index + 1,
            keys.len(),
            best.as_secs_f64(),
            cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{:.2}", cpu.as_secs_f64())),
            megabytes / best.as_secs_f64(),
            rows as f64 / best.as_secs_f64(),
            best.as_secs_f64() / baseline.as_secs_f64(),
            counts.gets as f64 / keys.len() as f64,
            counts.bytes as f64 / 1e6,
        );
    }
}

/// A plugin, and the best of its syncs so far.
struct Measured {
    plugin: Plugin,
    client: Client,
    best: Duration,
    cpu: Option<Duration>,
    counts: Counts,
}

impl Measured {
    async fn run(&mut self, server: &S3Server) {
        server.reset_counts();
        let before = self.plugin.cpu();
        self.best = self.best.min(sync(&mut self.client).await);
        let cpu = self.plugin.cpu().zip(before).map(|(after, before)| after.saturating_sub(before));
        self.cpu = [self.cpu, cpu].into_iter().flatten().min();
        self.counts = server.counts();
    }
}

async fn best_of(run: impl AsyncFn() -> Duration) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        best = best.min(run().await);
    }
    best
}

/// A sync whose messages are received and dropped: decoding them is the destination's work, not ours.
async fn sync(client: &mut Client) -> Duration {
    let started = Instant::now();
    let mut stream = client.grpc.sync(sync_request(&["*"], &[])).await.expect("a sync").into_inner();
    while let Some(response) = stream.message().await.expect("a sync without errors") {
        if let Some(Message::Error(error)) = response.message {
            panic!("{}: {}", error.table_name, error.error);
        }
    }
    started.elapsed()
}

/// The least that any reader must do: GET each object and decode it, on as many threads as the runtime has.
async fn baseline(server: &S3Server, keys: &[String], rows: usize) -> Duration {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(server.endpoint())
        .force_path_style(true)
        .allow_no_auth()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let started = Instant::now();
    let read: usize = stream::iter(keys.to_vec())
        .map(|key| {
            let client = client.clone();
            tokio::spawn(async move {
                let got = client.get_object().bucket(DEFAULT_BUCKET).key(key).send().await.expect("an object");
                let bytes = got.body.collect().await.expect("its body").into_bytes();
                tokio::task::spawn_blocking(move || decode(bytes)).await.expect("a decoder that does not panic")
            })
        })
        .buffer_unordered(CONCURRENCY)
        .map(|read| read.expect("a task that does not panic"))
        .fold(0, |sum, read| async move { sum + read })
        .await;
    let elapsed = started.elapsed();
    assert_eq!(read, rows, "the baseline reads everything");
    elapsed
}

fn decode(file: Bytes) -> usize {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
    let reader = builder.with_batch_size(ROWS_PER_RECORD).build().expect("a readable Parquet file");
    reader.map(|batch| batch.expect("a readable batch").num_rows()).sum()
}

fn rows_in(file: &Bytes) -> usize {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).expect("a Parquet file");
    usize::try_from(builder.metadata().file_metadata().num_rows()).expect("a count of rows")
}

/// The built binary, serving; ended when this is dropped.
struct Plugin {
    process: Child,
    target: String,
}

impl Plugin {
    fn start(path: &Path) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
        let address = free.local_addr().expect("a bound socket has an address").to_string();
        drop(free);
        let process = Command::new(path)
            .args(["serve", "--log-level", "warn", "--log-format", "json", "--network", "tcp", "--address", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::inherit())
            .spawn()
            .expect("the built plugin can be run");
        Self { process, target: format!("http://{address}") }
    }

    /// Processor time that the process has used so far, its own and the kernel's for it; `None` where there is no `/proc`.
    fn cpu(&self) -> Option<Duration> {
        /// Hundredths of a second on every architecture of Linux.
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        // The second field is the program's name in parentheses, the 14th and 15th are user and system time.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        ticks.sum::<Result<u32, _>>().ok().map(|ticks| TICK * ticks)
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
