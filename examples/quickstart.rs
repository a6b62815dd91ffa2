//! `cargo run --example quickstart`: a sync from end to end on a machine that has nothing but Rust.
//!
//! It starts an S3 server in memory, fills a bucket as a small web shop would, starts the plugin as a process of its
//! own (this very program, run again as `serve`), syncs over gRPC as the CloudQuery CLI does, and shows what arrived.
//! Then it adds, replaces and removes a file and syncs again, with the state of the first sync: only these moved.
//! It fails when a row is missing or too many.

#![allow(clippy::expect_used, reason = "a failure ends the example, with the reason")]

use arrow::array::{
    Array, ArrayRef, AsArray as _, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use cq_source_s3::cloudquery::proto::plugin_v3 as pb;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;
use testkit::backend::{Backend, Mode};
use testkit::client::{self, Client, Collected, Message};
use testkit::parquet_files::{self as files, Layout, Numbers};
use testkit::process::Plugin;
use testkit::s3_server::{Bucket, S3Server};

/// Prints a line. A reader that has gone away, such as `head`, is no reason to stop.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

const BUCKET: &str = "web-shop";

/// 2026-10-01T00:00:00Z.
const OCTOBER_MICROS: i64 = 1_790_812_800_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return cq_source_s3::run::main_with_args(std::env::args_os());
    }
    tokio::runtime::Runtime::new().expect("a tokio runtime").block_on(quickstart())
}

async fn quickstart() -> ExitCode {
    let started = Instant::now();
    let server = S3Server::start().await;
    let written = write_data_set(&server.bucket(BUCKET));
    say!("An S3 server in memory at {}, bucket {BUCKET}:\n", server.endpoint());
    for (key, note) in &written.objects {
        say!("  {key:<66} {note}");
    }

    let plugin = start_plugin();
    say!("\nThe plugin is process {}; syncing every table over gRPC …", plugin.id());
    let mut client = Client::connect(&format!("http://{}", plugin.address())).await;
    let spec = serde_json::json!({
        "bucket": BUCKET,
        "region": "us-east-1",
        "endpoint": server.endpoint(),
        "path_style": true,
        "credentials": { "anonymous": true },
    });
    if let Err(status) = client.init(&spec).await {
        say!("The plugin refused the spec: {}", status.message());
        return ExitCode::FAILURE;
    }
    let bar = ProgressBar::new(written.rows.values().sum::<usize>() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows, {msg}").expect("a valid template"),
    );
    let backend = Backend::start(Mode::Upsert).await;
    let request = || sync_request(&backend);
    let collected = client
        .sync_with(request(), |message| {
            // The backend is the destination, too: it has the commit row that the next sync asks for.
            backend.store(message);
            if let Message::Insert { table, batches, .. } = message {
                bar.inc(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64);
                bar.set_message(table.clone());
            }
        })
        .await;
    bar.finish_and_clear();

    print_totals(&collected, &server);
    for table in collected.tables().into_iter().filter(|table| table != COMMIT_TABLE) {
        print_first_rows(&table, &collected);
    }
    say!("\nThe plugin's own table, by which the next sync knows that these rows were stored:");
    print_first_rows(COMMIT_TABLE, &collected);
    say!("\nNot read:\n");
    for (key, reason) in &written.skipped {
        say!("  {key:<66} {reason}");
    }
    let mut failures = failures(&collected, &written);

    say!("\nNow the shop goes on:\n");
    let changed = change_data_set(&server.bucket(BUCKET));
    server.reset_counts();
    say!("\nSyncing again, with what the state backend remembers …");
    let second = client.sync_with(request(), |message| backend.store(message)).await;
    print_totals(&second, &server);
    failures.extend(second_failures(&second, &changed));
    server.reset_counts();
    say!("\nAnd once more, with nothing changed:");
    let third = client.sync_with(request(), |message| backend.store(message)).await;
    print_totals(&third, &server);
    failures.extend(second_failures(&third, &BTreeMap::new()));
    if server.counts().gets > 0 {
        failures.push(format!("an unchanged bucket took {} GETs", server.counts().gets));
    }
    let _ = client.close().await;
    let log: Vec<String> = plugin.kill().iter().filter_map(worth_showing).collect();
    if !log.is_empty() {
        say!("\nWhat the plugin had to say about it:\n\n  {}", log.join("\n  "));
    }

    if failures.is_empty() {
        say!(
            "\nEvery row arrived, and later syncs sent only what was new or replaced. {:.1} s in all.\n{NEXT}",
            started.elapsed().as_secs_f64()
        );
        return ExitCode::SUCCESS;
    }
    say!("\nThis went wrong:\n\n  {}", failures.join("\n  "));
    ExitCode::FAILURE
}

/// What to do with a bucket of one's own.
const NEXT: &str = r#"
Next: your own bucket. Build with `cargo build --release`, write this to s3.yml, add a destination of your choice
(https://hub.cloudquery.io/plugins/destination) and run `cloudquery sync s3.yml`:

  kind: source
  spec:
    name: s3
    registry: local
    path: ./target/release/cq-source-s3
    tables: ["*"]
    destinations: ["NAME OF YOUR DESTINATION"]
    spec:
      bucket: my-bucket
      region: eu-central-1
"#;

/// What was put into the bucket, and what must come out.
struct Written {
    /// Key and what it is.
    objects: Vec<(String, String)>,
    /// Key and why it is not read.
    skipped: Vec<(&'static str, &'static str)>,
    /// Rows by table.
    rows: BTreeMap<&'static str, usize>,
}

/// Three months of orders, two files of customers, a month of events, what CloudQuery's own S3 destination wrote, and
/// the clutter that real buckets have.
fn write_data_set(bucket: &Bucket) -> Written {
    let mut written = Written { objects: Vec::new(), skipped: Vec::new(), rows: BTreeMap::new() };
    let mut put = |table: &'static str, key: &str, batch: RecordBatch| {
        let file = files::write_batch(&batch, &Layout { row_group_rows: Some(2_000), ..Layout::default() });
        let note = format!("{} rows, {}", HumanCount(batch.num_rows() as u64), HumanBytes(file.len() as u64));
        bucket.put(key, file);
        written.objects.push((key.to_owned(), note));
        *written.rows.entry(table).or_default() += batch.num_rows();
    };
    for (month, rows) in [(0, 4_000), (1, 6_500), (2, 9_000)] {
        put("orders", &format!("orders/2026-{}.parquet", 10 + month), orders(month, rows));
    }
    for part in 0..2 {
        put("customers", &format!("customers/part-{part:05}.snappy.parquet"), customers(part, 1_200));
    }
    for day in 1..=4 {
        put("events_2026_11", &format!("events/2026/11/day-{day:02}.parquet"), files::nested_batch(2_500, day));
    }

    // The S3 destination's default layout: all tables in one directory, the UUID after the extension.
    const INSTANCES: usize = 300;
    let exported = "exports/aws_ec2_instances.parquet.8f3c1a52-6f0e-4c57-9d0b-1b7f3f7e9a10";
    let file = files::cloudquery_written("aws_ec2_instances", INSTANCES, 7);
    written.objects.push((exported.to_owned(), format!("{INSTANCES} rows, {}", HumanBytes(file.len() as u64))));
    written.rows.insert("exports_aws_ec2_instances", INSTANCES);
    bucket.put(exported, file);

    let clutter: [(&str, &'static [u8], &str); 5] = [
        ("orders/_SUCCESS", b"", "hidden: its name starts with _"),
        ("orders/.2026-10.parquet.crc", b"crc", "hidden: its name starts with ."),
        ("customers/", b"", "a directory marker"),
        ("exports/TEST_TABLE.parquet.TEST_UUID", b"", "the S3 destination's test object"),
        ("README.txt", b"Ask data@shop.example", "not a Parquet file"),
    ];
    for (key, content, reason) in clutter {
        bucket.put(key, content);
        written.skipped.push((key, reason));
    }
    written
}

/// A file more, a file replaced, a file less: the rows that the next sync must bring, by table.
fn change_data_set(bucket: &Bucket) -> BTreeMap<&'static str, usize> {
    let put = |what: &str, key: &str, batch: &RecordBatch| {
        bucket.put(key, files::write_batch(batch, &Layout { row_group_rows: Some(2_000), ..Layout::default() }));
        say!("  {what:<9} {key:<56} {} rows", HumanCount(batch.num_rows() as u64));
        batch.num_rows()
    };
    let added = put("added", "orders/2027-01.parquet", &orders(3, 1_500));
    let replaced = put("replaced", "customers/part-00001.snappy.parquet", &customers(1, 1_300));
    bucket.delete("events/2026/11/day-01.parquet");
    say!("  removed   events/2026/11/day-01.parquet");
    BTreeMap::from([("orders", added), ("customers", replaced)])
}

/// The state table.
const STATE_TABLE: &str = "cq_state_s3";
/// The table by which the next sync knows that the rows of the last one were stored.
const COMMIT_TABLE: &str = "cq_state_s3_commits";

/// A sync of all tables as the CLI asks for it, with a state backend.
fn sync_request(backend: &Backend) -> pb::sync::Request {
    let table_name = STATE_TABLE.to_owned();
    pb::sync::Request {
        backend: Some(pb::sync::BackendOptions { table_name, connection: backend.connection() }),
        ..client::sync_request(&["*"], &[])
    }
}

fn orders(month: i32, rows: usize) -> RecordBatch {
    let mut numbers = Numbers::new(month as u64 + 1);
    let start = OCTOBER_MICROS + i64::from(month) * 30 * DAY_MICROS;
    let first_id = i64::from(month) * 100_000 + 1;
    let customer: Int64Array = (0..rows).map(|_| Some(numbers.below(2_400) as i64 + 1)).collect();
    let placed: TimestampMicrosecondArray =
        (0..rows).map(|_| Some(start + numbers.below(30 * DAY_MICROS as u64) as i64)).collect();
    let total: Decimal128Array = (0..rows).map(|_| Some(i128::from(numbers.below(50_000)) + 199)).collect();
    let status: StringArray =
        (0..rows).map(|_| Some(numbers.pick(&["paid", "shipped", "delivered", "returned"]))).collect();
    let coupon: StringArray = (0..rows).map(|_| (numbers.below(5) == 0).then_some("AUTUMN26")).collect();
    let lengths: Vec<usize> = (0..rows).map(|_| numbers.below(3) as usize + 1).collect();
    let lines = lengths.iter().sum::<usize>();
    let sku: StringArray = (0..lines).map(|_| Some(format!("SKU-{:04}", numbers.below(800)))).collect();
    let quantity: Int32Array = (0..lines).map(|_| Some(numbers.below(4) as i32 + 1)).collect();
    let line_items = files::struct_of(vec![("sku", Arc::new(sku) as ArrayRef), ("quantity", Arc::new(quantity))], None);
    files::batch_of(vec![
        ("order_id", false, Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| first_id + row)))),
        ("customer_id", false, Arc::new(customer)),
        ("placed_at", true, Arc::new(placed.with_timezone("UTC"))),
        ("total", true, Arc::new(total.with_precision_and_scale(12, 2).expect("12 digits hold a total"))),
        ("status", true, Arc::new(status)),
        ("coupon", true, Arc::new(coupon)),
        ("line_items", true, Arc::new(files::list_of(Arc::new(line_items), lengths, None))),
    ])
}

fn customers(part: i64, rows: usize) -> RecordBatch {
    let mut numbers = Numbers::new(part as u64 + 40);
    let first_id = part * rows as i64 + 1;
    let name: StringArray = (0..rows)
        .map(|_| Some(numbers.pick(&["Ada Lovelace", "Zoë Müller", "李雷", "O'Brien", "Nguyễn An"])))
        .collect();
    let country: StringArray = (0..rows).map(|_| Some(numbers.pick(&["DE", "FR", "IN", "BR", "US"]))).collect();
    let born: Date32Array = (0..rows).map(|_| (numbers.below(9) > 0).then(|| numbers.below(16_000) as i32)).collect();
    let newsletter: arrow::array::BooleanArray = (0..rows).map(|_| Some(numbers.below(2) == 0)).collect();
    let lengths: Vec<usize> = (0..rows).map(|_| numbers.below(3) as usize).collect();
    let interests: StringArray = (0..lengths.iter().sum::<usize>())
        .map(|_| Some(numbers.pick(&["books", "garden", "music", "running"])))
        .collect();
    files::batch_of(vec![
        ("customer_id", false, Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| first_id + row)))),
        ("name", true, Arc::new(name)),
        ("country", true, Arc::new(country)),
        ("born", true, Arc::new(born)),
        ("newsletter", true, Arc::new(newsletter)),
        ("interests", true, Arc::new(files::list_of(Arc::new(interests), lengths, None))),
    ])
}

/// Runs this program again as `serve`, with the arguments that the CloudQuery CLI gives.
fn start_plugin() -> Plugin {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    let address = ["--network", "tcp", "--address", "127.0.0.1:0"];
    command.args(["serve", "--log-level", "info", "--log-format", "json"]).args(address).stdin(Stdio::null());
    Plugin::spawn(&mut command, false)
}

/// Warnings, errors, and the summary of the sync, with their fields in the order of their names.
fn worth_showing(entry: &serde_json::Value) -> Option<String> {
    let (level, message) = (entry["level"].as_str()?, entry["message"].as_str()?);
    if !matches!(level, "warn" | "error") && entry.get("skipped").is_none() {
        return None;
    }
    let mut shown = format!("{level}: {message}");
    for (name, value) in entry.as_object()? {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if !matches!(name.as_str(), "level" | "message" | "module" | "invocation_id") && text != "0" {
            shown.push_str(&format!("\n    {name:<14} {text}"));
        }
    }
    Some(shown)
}

fn print_totals(collected: &Collected, server: &S3Server) {
    say!("\n  {:<28} {:>8} {:>8} {:>12}", "table", "rows", "batches", "bytes");
    let totals = collected.totals();
    let (commits, others): (Vec<_>, Vec<_>) = totals.iter().partition(|(table, _)| *table == COMMIT_TABLE);
    for (table, total) in others.into_iter().chain(commits) {
        let bytes = HumanBytes(total.encoded_bytes as u64).to_string();
        say!("  {table:<28} {:>8} {:>8} {bytes:>12}", HumanCount(total.rows as u64).to_string(), total.inserts);
    }
    let rows: usize = totals.values().map(|total| total.rows).sum();
    let inserts: usize = totals.values().map(|total| total.inserts).sum();
    let bytes: usize = totals.values().map(|total| total.encoded_bytes).sum();
    let bytes = HumanBytes(bytes as u64).to_string();
    say!("  {:<28} {:>8} {inserts:>8} {bytes:>12}", "", HumanCount(rows as u64).to_string());
    let counts = server.counts();
    say!(
        "\n  {:.2} s; the S3 server answered {} listing page(s) and {} GETs with {}",
        collected.elapsed.as_secs_f64(),
        counts.lists,
        counts.gets,
        HumanBytes(counts.bytes)
    );
}

/// Columns down, the first rows across: that fits tables of any width.
fn print_first_rows(table: &str, collected: &Collected) {
    const ROWS: usize = 3;
    const CELL_CHARS: usize = 26;
    let Some(batch) = collected.batches(table).first().map(|batch| batch.slice(0, batch.num_rows().min(ROWS))) else {
        return;
    };
    say!("\n{table}:\n");
    for (field, values) in batch.schema().fields().iter().zip(batch.columns()) {
        let cells = (0..batch.num_rows()).map(|row| {
            let text = cell(field, values, row);
            let cut = text.chars().count() > CELL_CHARS;
            let kept: String = text.chars().take(if cut { CELL_CHARS - 1 } else { CELL_CHARS }).collect();
            format!("{:<CELL_CHARS$}", if cut { format!("{kept}…") } else { kept })
        });
        say!("  {:<20} {:<12} {}", field.name(), type_name(field), cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A value as a person would write it.
fn cell(field: &Field, values: &ArrayRef, row: usize) -> String {
    if values.is_null(row) {
        return "null".to_owned();
    }
    match field.metadata().get("ARROW:extension:name").map(String::as_str) {
        Some("json") => String::from_utf8_lossy(values.as_binary::<i32>().value(row)).into_owned(),
        Some("uuid") => {
            let hex: String =
                values.as_fixed_size_binary().value(row).iter().map(|byte| format!("{byte:02x}")).collect();
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        }
        _ => {
            let values = without_zone(values);
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(values.as_ref(), &options);
            formatter.map_or_else(|error| error.to_string(), |formatter| formatter.value(row).to_string())
        }
    }
}

/// Timestamps are UTC, but Arrow shows a zone's name only with a database of zones, which is not linked.
fn without_zone(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            arrow::compute::cast(values, &DataType::Timestamp(*unit, None)).unwrap_or_else(|_| Arc::clone(values))
        }
        _ => Arc::clone(values),
    }
}

/// The type, short enough for a column.
fn type_name(field: &Field) -> String {
    if let Some(name) = field.metadata().get("ARROW:extension:name") {
        return name.clone();
    }
    match field.data_type() {
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("dec({precision},{scale})"),
        DataType::List(element) => format!("{}[]", type_name(element)),
        other => other.to_string().to_lowercase(),
    }
}

/// Why a sync after the first was not what it should have been: it must bring `rows`, by table, and nothing else.
fn second_failures(collected: &Collected, rows: &BTreeMap<&'static str, usize>) -> Vec<String> {
    let mut failures = client::protocol_violations(collected, client::Nested::AsJson);
    if let Some(status) = &collected.status {
        failures.push(format!("a sync ended with {}: {}", status.code(), status.message()));
    }
    for table in collected.tables() {
        if collected.rows(&table) > 0 && table != COMMIT_TABLE && !rows.contains_key(table.as_str()) {
            failures.push(format!("{table} got {} rows, none was new", collected.rows(&table)));
        }
    }
    for (table, &wanted) in rows {
        if collected.rows(table) != wanted {
            failures.push(format!("{table} got {} rows, {wanted} were new", collected.rows(table)));
        }
    }
    failures
}

/// Why the sync was not what it should have been.
fn failures(collected: &Collected, written: &Written) -> Vec<String> {
    let mut failures = client::protocol_violations(collected, client::Nested::AsJson);
    if let Some(status) = &collected.status {
        failures.push(format!("the sync ended with {}: {}", status.code(), status.message()));
    }
    failures.extend(collected.errors().into_iter().map(|(table, error)| format!("{table}: {error}")));
    for (table, &rows) in &written.rows {
        if collected.rows(table) != rows {
            failures.push(format!("{table} has {} rows, {rows} were written", collected.rows(table)));
        }
    }
    for table in collected.tables() {
        if table != COMMIT_TABLE && !written.rows.contains_key(table.as_str()) {
            failures.push(format!("{table} was not written"));
        }
    }
    failures
}
