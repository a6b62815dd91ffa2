//! The texts that users read, seen whole: help, mistakes of a spec, tables, the log of a sync, errors and warnings.
//!
//! Other tests hold the parts of a text that matter to a program. These are for people: whoever changes a text sees in
//! the review what users will read. `UPDATE_EXPECT=1 cargo test --test it texts::` writes the texts anew.

mod syncs;

use crate::rig::{self, Rig, small};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;
use testkit::client::Collected;
use testkit::parquet_files::{self as files, Layout};
use testkit::process::command;
use testkit::s3_server::DEFAULT_BUCKET;

/// Fields whose values differ from run to run.
const CHANGING_FIELDS: [&str; 7] =
    ["address", "bytes", "get_bytes", "message_bytes", "peak_memory_bytes", "seconds", "wait_ms"];

/// A text in which what is between each `start` and what first is not `part` of it becomes `mask`.
fn masked(text: &str, start: &str, part: fn(char) -> bool, mask: &str) -> String {
    let mut pieces = text.split(start);
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |masked, piece| {
        let rest = piece.trim_start_matches(part);
        masked + start + if rest.len() < piece.len() { mask } else { "" } + rest
    })
}

/// Compares a text with what is expected, but for what differs from run to run, with a release or with a version of the
/// system or of the crates that write files: ports, durations, hashes, sizes.
#[track_caller]
fn check(expected: &Expect, text: &str) {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let text = masked(text, "127.0.0.1:", number, "PORT");
    let text = masked(&text, "times in ", number, "N");
    let text = masked(&text, "(os error ", number, "N");
    let size = |c: char| c.is_ascii_digit() || c == ',';
    let text = masked(&masked(&text, "rows (", size, "N"), "row (", size, "N");
    let text = masked(&text, "cq-source-s3/test-bucket/t/", |c| c.is_ascii_hexdigit(), "HASH");
    let text = text.replace(concat!("s3@v", env!("CARGO_PKG_VERSION")), "s3@vVERSION");
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

/// Lines of the log from this level on, without what all lines have: the message, then its fields.
fn log_text(lines: &[Value], levels: &[&str]) -> String {
    let mut text = String::new();
    for line in lines.iter().filter(|line| levels.contains(&line["level"].as_str().unwrap())) {
        let _ = writeln!(text, "{}: {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap());
        for (field, value) in line.as_object().unwrap() {
            if !["level", "message", "module", "invocation_id"].contains(&field.as_str()) {
                let value = if CHANGING_FIELDS.contains(&field.as_str()) { &json!("…") } else { value };
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let _ = writeln!(text, "    {field}: {value}");
            }
        }
    }
    text
}

/// How a sync ended for the CLI: the errors of its tables, then the status.
fn outcome(sync: &Collected) -> String {
    let mut errors: Vec<String> = sync.errors().into_iter().map(|(table, text)| format!("{table}: {text}")).collect();
    errors.sort();
    let status =
        sync.status.as_ref().map_or("OK".to_owned(), |status| format!("{:?}: {}", status.code(), status.message()));
    errors.push(format!("=> {status}\n\n"));
    errors.join("\n\n")
}

fn file(columns: Vec<(&str, bool, ArrayRef)>) -> Bytes {
    files::write_batch(&files::batch_of(columns), &Layout::default())
}

fn number(name: &str) -> Bytes {
    file(vec![(name, true, Arc::new(Int64Array::from(vec![7])))])
}

fn text(name: &str) -> Bytes {
    file(vec![(name, true, Arc::new(StringArray::from(vec!["7"])))])
}

fn help(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn help_of_all_commands() {
    check(
        &expect![[r#"
        CloudQuery source plugin that streams the objects of an S3 bucket to any destination

        Usage: cq-source-s3 <COMMAND>

        Commands:
          serve        Serve the plugin over gRPC, as the CloudQuery CLI starts it
          plan         Show what a sync would do, without reading data
          spec-schema  Print the JSON Schema of the plugin's `spec`
          info         Print the plugin's name and version
          help         Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help
          -V, --version  Print version
    "#]],
        &help(&["--help"]),
    );
    check(
        &expect![[r#"
        Serve the plugin over gRPC, as the CloudQuery CLI starts it

        Usage: cq-source-s3 serve [OPTIONS]

        Options:
              --address <ADDRESS>
                  Where to listen: `host:port`, or a path with `--network unix`

                  [default: localhost:7777]

              --network <NETWORK>
                  Kind of the address

                  Possible values:
                  - tcp:        TCP over IPv4 or IPv6
                  - tcp4:       TCP over IPv4
                  - tcp6:       TCP over IPv6
                  - unix:       A unix socket
                  - unixpacket: A unix socket that keeps message boundaries: not supported

                  [default: tcp]

              --log-level <LOG_LEVEL>
                  Lowest level that is logged

                  [default: info]
                  [possible values: trace, debug, info, warn, error]

              --log-format <LOG_FORMAT>
                  `json` for the CloudQuery CLI, `text` for people

                  [default: text]
                  [possible values: text, json]

              --otel-endpoint <HOST:PORT>
                  Host and port of an OTLP/HTTP collector for metrics, traces and logs

                  [default: ""]

              --otel-endpoint-insecure[=<BOOL>]
                  Speak plain HTTP to the collector

                  [default: false]

              --no-sentry[=<BOOL>]
                  Accepted for the CloudQuery CLI; this plugin sends no crash reports

                  [default: false]

              --license <PATH>
                  Accepted for the CloudQuery CLI; this plugin needs no licence

                  [default: ""]

          -h, --help
                  Print help (see a summary with '-h')
    "#]],
        &help(&["serve", "--help"]),
    );
    check(
        &expect![[r#"
        Print the JSON Schema of the plugin's `spec`

        Usage: cq-source-s3 spec-schema

        Options:
          -h, --help  Print help

        Print the plugin's name and version

        Usage: cq-source-s3 info

        Options:
          -h, --help  Print help
    "#]],
        &(help(&["spec-schema", "--help"]) + "\n" + &help(&["info", "--help"])),
    );
}

#[test]
fn mistakes_in_the_arguments() {
    check(
        &expect![[r#"
        error: unexpected argument '--adress' found

          tip: a similar argument exists: '--address'

        Usage: cq-source-s3 serve --address <ADDRESS>

        For more information, try '--help'.
    "#]],
        &help(&["serve", "--adress", "localhost:7777"]),
    );
    check(
        &expect![[r#"
        Error: --network unixpacket is not supported; use tcp, tcp4, tcp6 or unix
    "#]],
        &help(&["serve", "--network", "unixpacket", "--address", "/tmp/x.sock"]),
    );
}

#[tokio::test]
async fn all_mistakes_of_a_spec_at_once() {
    let (_plugin, mut client) = rig::plugin().await;
    let mistakes = json!({
        "bucket": "", "regoin": "eu-central-1", "path_prefix": 7, "filetype": "cvs", "concurrency": 0, "rows_per_record": -1,
        "endpoint": "ftp://x", "include": ["a/[b"], "memory_limit": "1 MiB", "max_tables": 0, "on_archived": "ignore",
        "state_id": "x\ny", "late_arrival_window": "a day", "local_profile": "me",
        "credentials": {"access_key_id": "AKIA", "anonymous": true, "secret_access_kye": "hush"},
    });
    let error = client.init(&mistakes).await.unwrap_err();
    check(
        &expect![[r#"
            failed to init plugin: failed to initialize client: bucket: must not be empty;
            it must be a bucket's name (3 to 255 letters, digits, dots, hyphens, underscores), an access point's alias or ARN
            path_prefix: expected text, found a number;
            put it in quotes
            filetype: must be `parquet` or `auto` or `csv` or `tsv` or `jsonl` or `json` or `avro` or `arrow` or `text`, found "cvs"
            rows_per_record: must be at least 1, found -1
            concurrency: must not be 0;
            give the number of objects to read at a time, or -1 for no limit
            endpoint: must be a URL such as https://s3.example.org:9000, without query, found "ftp://x"
            credentials.secret_access_kye: unknown key;
            did you mean `secret_access_key`?
            credentials.secret_access_key: is required together with credentials.access_key_id
            credentials.access_key_id: must not be given together with credentials.anonymous: true
            include[0]: "a/[b" is not a valid pattern: square brackets are not supported;
            write `\[` or `\]` for the character, or `?` for any one character
            memory_limit: must be at least 32 MiB (33554432 bytes), found "1 MiB"
            max_tables: must be at least 1, found 0
            on_archived: must be `skip` or `fail`, found "ignore"
            late_arrival_window: must be a whole number of up to six digits with s, m, h or d, such as "24h", found "a day"
            regoin: unknown key;
            did you mean `region`?
            credentials.access_key_id: must not be given together with local_profile;
            keep one of them
            credentials.anonymous: must not be true together with local_profile;
            keep one of them
        "#]],
        &error.message().replace("; ", ";\n"),
    );
}

#[tokio::test]
async fn what_test_connection_says() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/1.parquet", small("a"));
    rig.s3.require_credentials("AKIATEST", "hush");
    // A port where nothing listens: it was just free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut text = String::new();
    for more in [
        json!({"bucket": null}),
        json!({"credentials": {"access_key_id": "AKIATEST", "secret_access_key": "wrong"}}),
        json!({"credentials": {"anonymous": true}}),
        json!({"bucket": "no-such-bucket"}),
        json!({"endpoint": format!("http://{free}")}),
    ] {
        let (code, description) = rig.failure(more).await.expect("a failure");
        let _ = writeln!(text, "{code}: {description}");
    }
    rig.s3.bucket(DEFAULT_BUCKET).set_region("eu-west-1");
    let (code, description) = rig.failure(json!({})).await.expect("a failure");
    let _ = writeln!(text, "{code}: {description}");
    check(
        &expect![[r#"
        INVALID_SPEC: bucket: is required
        UNAUTHORIZED: ListObjectsV2 of s3://test-bucket failed: SignatureDoesNotMatch (HTTP 403); check the credentials: the spec's `credentials` or `local_profile`, else the AWS environment, profile, container or instance role
        ACCESS_DENIED: ListObjectsV2 of s3://test-bucket failed: AccessDenied (HTTP 403): Access Denied; allow s3:ListBucket on arn:aws:s3:::test-bucket
        BUCKET_NOT_FOUND: ListObjectsV2 of s3://no-such-bucket failed: NoSuchBucket (HTTP 404): The specified bucket does not exist; check `bucket`, and `endpoint` if it is set
        UNREACHABLE: ListObjectsV2 of s3://test-bucket failed: ConnectionFailed: io error: client error (Connect): tcp connect error: Connection refused (os error N); tried 3 times in N s; check `endpoint`, `region`, the network and HTTPS_PROXY/NO_PROXY
        WRONG_REGION: ListObjectsV2 of s3://test-bucket failed: PermanentRedirect (HTTP 301): The bucket must be addressed using its own endpoint; set `region: eu-west-1` in the spec
    "#]],
        &text,
    );
}

#[tokio::test]
async fn tables_with_their_columns() {
    let mut rig = Rig::start().await;
    rig.s3.put("raw/orders/1.parquet", files::flat(3, 1));
    rig.s3.put(
        "raw/aws_ec2_instances.parquet.8f3c2b1a-6d0e-4d3c-9a43-1f1d5c0b7e55",
        files::cloudquery_written("x", 3, 1),
    );
    rig.init(json!({"file_columns": true})).await;
    let mut text = String::new();
    for schema in rig.client.tables(&["*"], &[]).await.unwrap() {
        let _ = writeln!(text, "{}", schema.metadata()["cq:table_name"]);
        for field in schema.fields() {
            let key = if field.metadata().contains_key("cq:extension:primary_key") { ", primary key" } else { "" };
            let extension = field.metadata().get("ARROW:extension:name").map(|name| format!(" ({name})"));
            let null = if field.is_nullable() { "" } else { ", not null" };
            let (name, data_type) = (field.name(), field.data_type());
            let _ = writeln!(text, "    {name}: {data_type}{}{key}{null}", extension.unwrap_or_default());
        }
    }
    check(
        &expect![[r#"
        raw_aws_ec2_instances
            _cq_id: FixedSizeBinary(16) (uuid), primary key, not null
            _cq_parent_id: FixedSizeBinary(16) (uuid)
            _s3_key: Utf8
            _s3_last_modified: Timestamp(µs, "UTC")
            _s3_row: Int64
            src_cq_sync_time: Timestamp(µs, "UTC")
            src_cq_source_name: Utf8
            src_cq_id: Utf8
            src_cq_parent_id: Utf8
            account_id: Utf8
            region: Utf8
            instance_id: Utf8
            arn: Utf8
            launch_time: Timestamp(µs, "UTC")
            private_ip_address: Utf8
            tags: Utf8
        raw_orders
            _cq_id: FixedSizeBinary(16) (uuid), primary key, not null
            _cq_parent_id: FixedSizeBinary(16) (uuid)
            _s3_key: Utf8
            _s3_last_modified: Timestamp(µs, "UTC")
            _s3_row: Int64
            id: Int64
            small: Int16
            count: Int32
            big: UInt64
            ratio: Float64
            score: Float32
            name: Utf8
            active: Boolean
            created_at: Timestamp(µs, "UTC")
            day: Date32
            price: Decimal128(12, 2)
            raw: Binary
    "#]],
        &text,
    );
}

// Elsewhere the summary has no peak of memory.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_log_of_a_good_sync() {
    let mut rig = Rig::start().await;
    for key in ["raw/orders/1.parquet", "raw/orders/2.parquet", "raw/users/1.parquet", "raw/orders/_SUCCESS"] {
        rig.s3.put(key, files::flat(10, 1));
    }
    let sync = rig.sync(json!({"path_prefix": "raw/", "exclude": ["raw/tmp/**"]})).await;
    assert_eq!(outcome(&sync).trim(), "=> OK");
    check(
        &expect![[r#"
            info: Plugin server listening
                address: …
                plugin: source/s3@vVERSION
            info: sync started
                endpoint: http://127.0.0.1:PORT
                bucket: test-bucket
                prefix: raw/
            info: sync finished
                tables: 2
                objects: 3
                rows: 30
                messages: 2
                message_bytes: …
                skipped: hidden: 1
                failed: 0
                conflicting_tables: 0
                archived: 0
                gone: 0
                lists: 1
                gets: 3
                get_bytes: …
                retries: 0
                seconds: …
                peak_memory_bytes: …
            info: Plugin server stopped
        "#]],
        &log_text(&rig.plugin.stop(), &["info", "warn", "error"]),
    );
}
