//! The real CloudQuery CLI with the built plugin: all registries that need no image, all write modes, all commands.
//! What the destination holds in the end is compared value by value with what was written to the bucket.

use arrow::array::AsArray as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

use crate::cloudquery::{Cli, destination, source};
use crate::data::{self, Table};
use crate::destination::MemDestination;
use crate::localstack::{ACCESS_KEY_ID, LocalStack, REGION, SECRET_ACCESS_KEY};
use crate::plugin_path;
use crate::server::{Address, Server};

mod lakes;
mod postgresql;

const BUCKET: &str = "lake";

/// A filled bucket, a CLI and a destination.
struct Setup {
    dir: TempDir,
    s3: LocalStack,
    tables: Vec<Table>,
    cli: Cli,
    mem: MemDestination,
}

impl Setup {
    async fn new() -> Self {
        let dir = short_dir();
        let s3 = LocalStack::start().await;
        let tables = data::tables();
        s3.create_filled_bucket(BUCKET, &tables).await;
        Self { cli: Cli::new(dir.path()), mem: MemDestination::start(dir.path()), dir, s3, tables }
    }

    fn source(&self, registry: &str, path: &str) -> Value {
        source(registry, path, "mem", &self.s3.spec(BUCKET))
    }

    fn mem(&self, write_mode: &str) -> Value {
        destination("mem", "grpc", &self.mem.target(), write_mode, &json!({}))
    }

    fn row_count(&self) -> usize {
        self.tables.iter().map(Table::row_count).sum()
    }

    /// The destination has every row of the bucket `copies` times, and nothing else in these tables.
    async fn assert_contents(&self, copies: usize) {
        for table in &self.tables {
            let expected: Vec<String> = table.expected_rows().into_iter().flat_map(|row| vec![row; copies]).collect();
            let batches = self.mem.read(table.name).await;
            assert_eq!(data::received_rows(&batches), expected, "rows of {}", table.name);
            for column in ["_cq_id", "_cq_parent_id", "_cq_sync_time", "_cq_source_name"] {
                let missing = batches.iter().filter(|batch| batch.column_by_name(column).is_none()).count();
                assert_eq!(missing, 0, "rows of {} without {column}", table.name);
            }
        }
    }
}

/// A temporary folder with a short path: a unix socket's path has at most 107 bytes.
fn short_dir() -> TempDir {
    tempfile::Builder::new().prefix("cq").tempdir_in("/tmp").expect("a folder in /tmp")
}

fn plugin_over_unix(dir: &Path) -> Server {
    Server::plugin(Address::Unix(dir.join("plugin.sock")), dir, &[])
}

#[tokio::test]
async fn registry_local_overwrites_and_deletes_what_is_stale() {
    let mut setup = Setup::new().await;
    let config = [setup.source("local", &plugin_path()), setup.mem("overwrite-delete-stale")];

    assert_eq!(setup.cli.sync(&[], &config), setup.row_count());
    setup.assert_contents(1).await;
    // One table was once written by CloudQuery and carries old _cq_ columns: nothing of it may look stale.
    assert_eq!(setup.cli.sync(&[], &config), setup.row_count());
    setup.assert_contents(1).await;

    let orders = setup.tables.iter_mut().find(|table| table.name == "orders").expect("a table of the data set");
    let removed = orders.objects.remove(1);
    setup.s3.delete(BUCKET, &removed.key).await;
    assert_eq!(setup.cli.sync(&[], &config), setup.row_count());
    setup.assert_contents(1).await;
}

#[tokio::test]
async fn registry_grpc_over_tcp_appends() {
    let setup = Setup::new().await;
    let plugin = Server::plugin(Address::free_tcp(), setup.dir.path(), &[]);
    let config = [setup.source("grpc", &plugin.address.target()), setup.mem("append")];

    for copies in 1..=2 {
        assert_eq!(setup.cli.sync(&[], &config), setup.row_count());
        setup.assert_contents(copies).await;
    }
}

#[tokio::test]
async fn registry_grpc_over_a_unix_socket_overwrites() {
    let setup = Setup::new().await;
    let plugin = plugin_over_unix(setup.dir.path());
    let config = [setup.source("grpc", &plugin.address.target()), setup.mem("overwrite")];

    for _ in 0..2 {
        assert_eq!(setup.cli.sync(&[], &config), setup.row_count());
        setup.assert_contents(1).await;
    }
}

/// The CLI builds the address of the release's zip by itself, downloads it, and runs the file that it expects inside.
#[tokio::test]
async fn registry_github_runs_the_zip_of_the_release() {
    let setup = Setup::new().await;
    let dir = setup.dir.path().join("github");
    std::fs::create_dir(&dir).expect("make a folder");
    let script = testkit::repository().join("tests/cloudquery/github_registry.py");
    let mut github = Command::new("python3");
    github.arg(script).arg(&dir).args([&plugin_path(), "v1.2.3"]);
    let mut github = github.stdout(Stdio::piped()).spawn().expect("start python3");
    let mut port = String::new();
    let output = github.stdout.take().expect("a piped output");
    BufReader::new(output).read_line(&mut port).expect("the proxy's port");
    let cli = Cli::new(&dir).with_env([
        ("HTTPS_PROXY", format!("http://127.0.0.1:{}", port.trim())),
        ("SSL_CERT_FILE", dir.join("ca.pem").display().to_string()),
    ]);
    let mut from_github = setup.source("github", "acme/s3");
    from_github["spec"]["version"] = json!("v1.2.3");

    let rows = cli.sync(&[], &[from_github, setup.mem("append")]);

    let _ = github.kill(); // it serves until then
    let _ = github.wait();
    assert_eq!(rows, setup.row_count());
    setup.assert_contents(1).await;
    let requests = std::fs::read_to_string(dir.join("requests.txt")).expect("the requests");
    assert!(requests.contains("GET https://github.com/acme/cq-source-s3/releases/download/v1.2.3/"), "{requests}");
}

/// Requests at S3 so far: listing pages and GETs.
async fn requests(s3: &LocalStack) -> [usize; 2] {
    let log = s3.log().await;
    ["s3.ListObjectsV2 =>", "s3.GetObject =>"].map(|operation| log.matches(operation).count())
}

/// The row of the table of commits, which an incremental sync sends after all others.
const COMMIT_ROW: usize = 1;

/// Lets a source keep its state in this destination.
fn keep_state_in(destination: &str, source: &mut Value) {
    let connection = format!("@@plugins.{destination}.connection");
    source["spec"]["backend_options"] = json!({"table_name": "cq_state_s3", "connection": connection});
}

/// With state kept in the destination, each object's rows are sent once, whatever the write mode.
async fn syncs_only_what_is_new(write_mode: &str) {
    let mut setup = Setup::new().await;
    let mut config = [setup.source("local", &plugin_path()), setup.mem(write_mode)];
    keep_state_in("mem", &mut config[0]);

    assert_eq!(setup.cli.sync(&[], &config), setup.row_count() + COMMIT_ROW);
    setup.assert_contents(1).await;
    for _ in 0..2 {
        let [lists, gets] = requests(&setup.s3).await;
        assert!(lists > 0 && gets > 0, "the log of the S3 server names its operations");
        assert_eq!(setup.cli.sync(&[], &config), 0);
        // Delete-stale must leave the rows of earlier syncs alone.
        setup.assert_contents(1).await;
        assert_eq!(requests(&setup.s3).await, [lists + 1, gets], "one listing and nothing else");
    }

    let counter = setup.tables.iter_mut().find(|table| table.name == "orders").expect("a table of the data set");
    let mut added = counter.objects[0].clone();
    added.key = "orders/2031-01.parquet".to_owned();
    let rows = added.row_count();
    setup.s3.put(BUCKET, &added.key, added.parquet()).await;
    counter.objects.push(added);
    assert_eq!(setup.cli.sync(&[], &config), rows + COMMIT_ROW);
    setup.assert_contents(1).await;
    assert_eq!(setup.cli.sync(&[], &config), 0);

    setup.s3.delete(BUCKET, "orders/2031-01.parquet").await;
    assert_eq!(setup.cli.sync(&[], &config), 0);
    setup.assert_contents(1).await;
}

#[tokio::test]
async fn incremental_syncs_overwrite() {
    syncs_only_what_is_new("overwrite").await;
}

#[tokio::test]
async fn incremental_syncs_leave_what_is_stale_elsewhere() {
    syncs_only_what_is_new("overwrite-delete-stale").await;
}

#[tokio::test]
async fn incremental_syncs_append() {
    syncs_only_what_is_new("append").await;
}

/// Two shards of one bucket, one after the other: the CLI's own option.
#[tokio::test]
async fn shards_are_complete_without_doubles() {
    let setup = Setup::new().await;
    let mut config = [setup.source("local", &plugin_path()), setup.mem("append")];
    keep_state_in("mem", &mut config[0]);
    let rows: Vec<usize> = ["1/2", "2/2"].iter().map(|shard| setup.cli.sync(&["--shard", shard], &config)).collect();
    assert_eq!(rows.iter().sum::<usize>(), setup.row_count() + 2 * COMMIT_ROW);
    assert!(rows.iter().all(|rows| *rows > COMMIT_ROW), "{rows:?}");
    setup.assert_contents(1).await;
    for shard in ["1/2", "2/2"] {
        assert_eq!(setup.cli.sync(&["--shard", shard], &config), 0);
    }
}

#[tokio::test]
async fn a_good_sync_logs_no_warning_and_a_bad_object_ends_it() {
    let setup = Setup::new().await;
    let config = [setup.source("local", &plugin_path()), setup.mem("overwrite-delete-stale")];
    let good = setup.cli.run(&["sync"], &config);
    good.assert_success();
    for level in ["WRN", "ERR"] {
        let lines: Vec<&str> =
            good.log_lines(level).into_iter().filter(|line| line.contains("module=s3-source")).collect();
        assert!(lines.is_empty(), "the plugin logged: {lines:#?}");
    }

    // Without the object's rows delete-stale would remove the good ones of the sync before: the sync must fail.
    setup.s3.put(BUCKET, "orders/2024-03.parquet", "no longer Parquet").await;
    setup.cli.run(&["sync"], &config).assert_failure_with(&["orders/2024-03.parquet", BUCKET]);
    setup.assert_contents(1).await;
}

/// Item 98: what the CLI collects goes to a file and, with `send_sync_summary: true`, to the destination.
#[tokio::test]
async fn the_summary_has_rows_and_time_of_each_table() {
    let setup = Setup::new().await;
    let mut config = [setup.source("local", &plugin_path()), setup.mem("overwrite")];
    config[1]["spec"]["send_sync_summary"] = json!(true);
    let (summary, metrics) = (setup.dir.path().join("summary.jsonl"), setup.dir.path().join("metrics.txt"));
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();

    let arguments = ["--summary-location", &path(&summary), "--tables-metrics-location", &path(&metrics)];
    assert_eq!(setup.cli.sync(&arguments, &config), setup.row_count());

    let text = std::fs::read_to_string(&summary).expect("the CLI's summary");
    let summary: Value = serde_json::from_str(text.trim()).expect("one line of JSON");
    let metrics = std::fs::read_to_string(&metrics).expect("the CLI's metrics");
    for table in &setup.tables {
        assert_eq!(summary["resources_per_table"][table.name], table.row_count(), "{summary}");
        assert!(summary["durations_per_table_ms"][table.name].as_u64().is_some_and(|ms| ms > 0), "{summary}");
        // | orders | 12ms | rows | errors | panics |
        let line = metrics.lines().find(|line| line.split('|').nth(1).is_some_and(|name| name.trim() == table.name));
        let cells: Vec<&str> = line.unwrap_or_else(|| panic!("{} in\n{metrics}", table.name)).split('|').collect();
        let cells: Vec<&str> = cells.iter().skip(3).take(3).map(|cell| cell.trim()).collect();
        assert_eq!(cells, [table.row_count().to_string().as_str(), "0", "0"], "{metrics}");
    }

    let sent = setup.mem.read("cloudquery_sync_summaries").await;
    let [row] = &sent[..] else { panic!("one summary of one sync: {sent:?}") };
    let json_column = |name: &str| -> Value {
        let column = row.column_by_name(name).unwrap_or_else(|| panic!("{name} in {:?}", row.schema()));
        serde_json::from_slice(column.as_binary::<i32>().value(0)).expect("JSON travels as binary")
    };
    for name in ["resources_per_table", "durations_per_table_ms", "errors_per_table"] {
        assert_eq!(json_column(name), summary[name], "{name}");
    }
}

#[tokio::test]
async fn tables_lists_every_table_with_its_columns() {
    let setup = Setup::new().await;
    let config = [setup.source("local", &plugin_path()), setup.mem("append")];

    setup.cli.run(&["tables"], &config).assert_success();

    let text = std::fs::read(setup.cli.dir().join("cq-docs/s3/__tables.json")).expect("the list of tables");
    let listed: Vec<Value> = serde_json::from_slice(&text).expect("a list of tables");
    let mut names: Vec<&str> = listed.iter().filter_map(|table| table["name"].as_str()).collect();
    names.sort_unstable();
    let mut expected: Vec<&str> = setup.tables.iter().map(|table| table.name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for table in &setup.tables {
        let entry = listed.iter().find(|entry| entry["name"] == table.name).expect("compared above");
        let columns = entry["columns"].as_array().expect("columns");
        let names: Vec<&str> = columns.iter().filter_map(|column| column["name"].as_str()).collect();
        let own = names.iter().copied().filter(|name| !name.starts_with("_cq_")).collect::<Vec<_>>();
        assert_eq!(own, table.column_names(), "columns of {}", table.name);
        let key: Vec<&Value> = columns.iter().filter(|column| column["is_primary_key"] == true).collect();
        assert_eq!(key.len(), 1, "{} has one primary key column", table.name);
        assert_eq!(key[0]["name"], "_cq_id");
    }
}

#[tokio::test]
async fn migrate_makes_the_tables_that_a_sync_without_migration_fills() {
    let setup = Setup::new().await;
    let config = [setup.source("local", &plugin_path()), setup.mem("overwrite")];

    let early = setup.cli.run(&["sync", "--no-migrate"], &config);
    assert!(!early.success, "the destination must refuse rows of a table that it doesn't know:\n{early}");

    setup.cli.run(&["migrate"], &config).assert_success();
    assert_eq!(setup.cli.sync(&["--no-migrate"], &config), setup.row_count());
    setup.assert_contents(1).await;
}

#[tokio::test]
async fn validate_config_finds_what_is_wrong_with_a_spec() {
    let setup = Setup::new().await;
    let mut config = [setup.source("local", &plugin_path()), setup.mem("append")];
    setup.cli.run(&["validate-config"], &config).assert_success();

    config[0]["spec"]["spec"] = json!({"buckt": "lake", "rows_per_record": 0});
    let run = setup.cli.run(&["validate-config"], &config);
    run.assert_failure_with(&["buckt", "bucket", "rows_per_record"]);
    // `sync` asks nobody to validate: Init must say the same.
    let run = setup.cli.run(&["sync"], &config);
    run.assert_failure_with(&["buckt", "bucket", "rows_per_record"]);
}

#[tokio::test]
async fn test_connection_says_which_bucket_is_missing() {
    let setup = Setup::new().await;
    let mut config = [setup.source("local", &plugin_path())];
    setup.cli.run(&["test-connection"], &config).assert_success();

    config[0]["spec"]["spec"]["bucket"] = json!("no-such-bucket");
    let run = setup.cli.run(&["test-connection"], &config);
    run.assert_failure_with(&["BUCKET_NOT_FOUND", "no-such-bucket"]);
}

/// The source that the README shows, but for the names of what everybody has another one of.
#[tokio::test]
async fn the_readmes_configuration_works() {
    let setup = Setup::new().await;
    let exported =
        Table { name: "exports_orders", objects: vec![data::counter_object("exports/orders/1.parquet", 0..9)] };
    setup.s3.put(BUCKET, &exported.objects[0].key, exported.objects[0].parquet()).await;
    let readme = include_str!("../../../README.md");
    let shown = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("---").next()).expect("a configuration");
    let bucket = format!(
        "{BUCKET}\n    endpoint: {}\n    path_style: true\n    credentials: {{access_key_id: {ACCESS_KEY_ID}, \
         secret_access_key: {SECRET_ACCESS_KEY}}}",
        setup.s3.endpoint
    );
    let mut source = shown.to_owned();
    for (from, to) in [
        ("./target/release/cq-source-s3", plugin_path().as_str()),
        ("[postgresql]", "[mem]"),
        ("my-bucket", &bucket),
        ("eu-central-1", REGION),
    ] {
        assert!(source.contains(from), "the README's configuration no longer has {from}");
        source = source.replace(from, to);
    }

    let run = setup.cli.run_text(&["sync"], &format!("{source}---\n{}", setup.mem("overwrite-delete-stale")));

    run.assert_success();
    assert_eq!(data::received_rows(&setup.mem.read(exported.name).await), exported.expected_rows());
    assert!(setup.mem.read("orders").await.is_empty(), "path_prefix keeps other tables out");
}
