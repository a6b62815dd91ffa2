//! The texts that users read, seen whole: help, mistakes of a spec, tables, the log of a sync, errors and warnings.
//!
//! Other tests hold the parts of a text that matter to a program. These are for people: whoever changes a text sees in
//! the review what users will read. `UPDATE_EXPECT=1 cargo test --test it texts::` writes the texts anew.

use crate::rig::{self, Rig, small};
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampSecondArray};
use bytes::{Bytes, BytesMut};
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;
use testkit::backend::{Backend, Method, Mode, Trouble};
use testkit::client::Collected;
use testkit::parquet_files::{self as files, Layout};
use testkit::process::command;
use testkit::s3_server::{Action, DEFAULT_BUCKET, ObjectAttributes, Restore};

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
    let text = masked(&text, "rows (", number, "N");
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
        CloudQuery source plugin that streams the Parquet objects of an S3 bucket to any destination

        Usage: cq-source-s3 <COMMAND>

        Commands:
          serve        Serve the plugin over gRPC, as the CloudQuery CLI starts it
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
                  - unixpacket: A unix socket that keeps message boundaries: known, so that it can be
                    refused in clear words

                  [default: tcp]

              --log-level <LOG_LEVEL>
                  Least level of log lines

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
                  Accepted for the CloudQuery CLI; this plugin reports to nobody

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
        "bucket": "", "regoin": "eu-central-1", "path_prefix": 7, "filetype": "csv", "concurrency": 0, "rows_per_record": -1,
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
        filetype: must be `parquet`, found "csv"
        rows_per_record: must be at least 1, found -1
        concurrency: must not be 0;
        give the number of objects to read at a time, or -1 for no limit
        endpoint: must be a URL such as https://s3.example.org:9000, without query, found "ftp://x"
        credentials.secret_access_kye: unknown key;
        did you mean `secret_access_key`?
        credentials.secret_access_key: is required together with credentials.access_key_id
        credentials.access_key_id: must not be given together with credentials.anonymous: true
        include[0]: "a/[b" is no pattern: square brackets are not supported;
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
            messages: 3
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

#[tokio::test]
async fn objects_that_cannot_be_read() {
    let mut rig = Rig::start().await;
    let good = small("good");
    let mut encrypted = BytesMut::from(&good[..]);
    let end = encrypted.len();
    encrypted[end - 4..].copy_from_slice(b"PARE");
    let mut damaged = BytesMut::from(&files::with_row_groups(2_000, 1_000, 1)[..]);
    damaged[4..104].fill(0xAA);
    rig.s3.put("t/good.parquet", good.clone());
    rig.s3.put("t/denied.parquet", good.clone());
    rig.s3.put("t/encrypted.parquet", encrypted.freeze());
    rig.s3.put("t/text.parquet", "id,name\n1,Ada\n".repeat(100));
    rig.s3.put("t/tiny.parquet", "PAR1");
    rig.s3.put("t/truncated.parquet", good.slice(..good.len() / 2));
    rig.s3.put("u/damaged.parquet", damaged.freeze());
    rig.s3.on_get(|key, _| (key == "t/denied.parquet").then_some(Action::Status(403, "AccessDenied")));
    // One at a time: which is the first that fails is in the text.
    let sync = rig.sync(json!({"concurrency": 1})).await;
    check(
        &expect![[r#"
        t: GetObject of s3://test-bucket/t/denied.parquet failed: AccessDenied (HTTP 403): made by the test; allow s3:GetObject on arn:aws:s3:::test-bucket/t/denied.parquet

        t: s3://test-bucket/t/encrypted.parquet: the Parquet file is encrypted (its magic is PARE): encrypted files can't be read; write it unencrypted, or exclude it

        t: s3://test-bucket/t/text.parquet: not a Parquet file: it ends in Ada\n, expected "PAR1"; write it anew, or put it into `exclude`

        t: s3://test-bucket/t/tiny.parquet: not a Parquet file: it has 4 bytes, the smallest Parquet file has 12; write it anew, or put it into `exclude`

        t: s3://test-bucket/t/truncated.parquet: not a Parquet file: it ends in fi\x10\x00, expected "PAR1"; write it anew, or put it into `exclude`

        u: s3://test-bucket/u/damaged.parquet: row group 0, column "id", dictionary page: cannot parse past Set; write it anew, or put it into `exclude`

        => DataLoss: failed to sync records: failed to sync unmanaged client: 6 objects could not be read, the first: GetObject of s3://test-bucket/t/denied.parquet failed: AccessDenied (HTTP 403): made by the test; allow s3:GetObject on arn:aws:s3:::test-bucket/t/denied.parquet. An object that is bad for good belongs in `exclude`; `on_object_error: skip` lets a sync end well all the same; Everything else was sent
    "#]],
        &outcome(&sync),
    );

    let sync = rig.sync(json!({"on_object_error": "skip", "include": ["t/good.parquet", "t/tiny.parquet"]})).await;
    assert_eq!(sync.status.map(|status| status.to_string()), None);
    check(
        &expect![[r#"
        warn: objects could not be read and on_object_error is skip: with write_mode overwrite-delete-stale the destination removes the rows that earlier syncs brought of them
            count: 1
            first: s3://test-bucket/t/tiny.parquet: not a Parquet file: it has 4 bytes, the smallest Parquet file has 12; write it anew, or put it into `exclude`
    "#]],
        &log_text(&rig.lines("warn"), &["warn"]),
    );
}

#[tokio::test]
async fn objects_that_are_archived() {
    let mut rig = Rig::start().await;
    let archived = || ObjectAttributes {
        storage_class: Some("GLACIER".to_owned()),
        restore: Restore::None,
        ..ObjectAttributes::default()
    };
    for key in ["t/1.parquet", "t/2.parquet", "u/1.parquet"] {
        rig.s3.put_with(key, small(key), archived());
    }
    rig.s3.put("t/3.parquet", small("here"));
    let sync = rig.sync(json!({})).await;
    check(
        &expect![[r#"
        t: 2 objects are archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: s3://test-bucket/t/1.parquet. Restore or `exclude` them

        u: 1 objects are archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: s3://test-bucket/u/1.parquet. Restore or `exclude` them

        => DataLoss: failed to sync records: failed to sync unmanaged client: 3 objects are archived (GLACIER or DEEP_ARCHIVE) and cannot be read, the first: s3://test-bucket/t/1.parquet (table t). Restore or `exclude` them, or set `on_archived: skip`; Everything else was sent
    "#]],
        &outcome(&sync),
    );
    rig.sync(json!({"on_archived": "skip"})).await;
    check(
        &expect![[r#"
        warn: archived objects are skipped: with write_mode overwrite-delete-stale the destination removes the rows that earlier syncs brought of them
            table: t
            count: 2
            first: s3://test-bucket/t/1.parquet
        warn: archived objects are skipped: with write_mode overwrite-delete-stale the destination removes the rows that earlier syncs brought of them
            table: u
            count: 1
            first: s3://test-bucket/u/1.parquet
    "#]],
        &log_text(&rig.plugin.stop(), &["warn"]),
    );
}

#[tokio::test]
async fn files_that_do_not_agree() {
    let mut rig = Rig::start().await;
    rig.s3.put("sales/2025.parquet", number("amount"));
    rig.s3.put("sales/2026.parquet", text("amount"));
    rig.s3.put("visits/a.parquet", number("amount"));
    rig.s3.put("visits/b.parquet", number("who"));
    rig.s3.put("users/a.parquet", small("a"));
    let sync = rig.sync(json!({"concurrency": 1})).await;
    check(
        &expect![[r#"
        sales: table sales of bucket test-bucket: "sales/2025.parquet" and "sales/2026.parquet" do not agree: column "amount" is int64 in the first and string in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. Left out: 2 objects with 2 rows (N bytes)

        visits: table visits of bucket test-bucket: "visits/a.parquet" and "visits/b.parquet" do not agree: column "amount" is int64 in the first and missing in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. Left out: 2 objects with 2 rows (N bytes)

        => DataLoss: failed to sync records: failed to sync unmanaged client: 2 tables were left out, the first: table sales of bucket test-bucket: "sales/2025.parquet" and "sales/2026.parquet" do not agree: column "amount" is int64 in the first and string in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. Left out: 2 objects with 2 rows (N bytes); Everything else was sent
    "#]],
        &outcome(&sync),
    );
}

#[tokio::test]
async fn what_ends_a_sync_before_its_first_row() {
    let mut rig = Rig::start().await;
    for key in ["a-b/1.parquet", "a_b/1.parquet", "e/dt=2026-01-01/1.parquet", "e/dt=2026-01-02/1.parquet"] {
        rig.s3.put(key, small(key));
    }
    let mut texts = vec![outcome(&rig.sync(json!({})).await), outcome(&rig.sync(json!({"max_tables": 2})).await)];
    rig.init(json!({"path_prefix": "a_b/"})).await;
    texts.push(outcome(&rig.client.sync(&["orders"], &[]).await));
    texts.push(outcome(&rig.client.sync(&["*"], &["*"]).await));
    texts.push(outcome(&rig.sync(json!({"bucket": "no-such-bucket"})).await));
    rig.s3.on_list(|_| Some(Action::Status(403, "AccessDenied")));
    texts.push(outcome(&rig.sync(json!({})).await));
    rig.s3.clear_hooks();
    rig.s3.bucket(DEFAULT_BUCKET).set_region("eu-west-1");
    texts.push(outcome(&rig.sync(json!({})).await));
    rig.s3.require_credentials("AKIATEST", "other");
    texts.push(outcome(&rig.sync(json!({})).await));
    check(
        &expect![[r#"
        => InvalidArgument: failed to sync records: failed to sync unmanaged client: "a-b/" and "a_b/" would both become the table a_b; read one of them, for example with `exclude: ["a_b/*.parquet"]`, or sync them as two sources with different destinations

        => InvalidArgument: failed to sync records: failed to sync unmanaged client: at least 4 tables are selected, more than max_tables (2): 2 of them are `key=value` folders of partitioned tables, such as "e/dt=2026-01-01/", each of which is a table of its own; narrow `path_prefix`, `include` or `tables`, or raise `max_tables`

        => InvalidArgument: failed to sync records: failed to sync unmanaged client: tables include a pattern orders with no matches

        => InvalidArgument: failed to sync records: failed to sync unmanaged client: no tables specified for syncing, review `tables` and `skip_tables` in your config and specify at least one table to sync

        => NotFound: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://no-such-bucket failed: NoSuchBucket (HTTP 404): The specified bucket does not exist; check `bucket`, and `endpoint` if it is set

        => PermissionDenied: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://test-bucket failed: AccessDenied (HTTP 403): made by the test; allow s3:ListBucket on arn:aws:s3:::test-bucket

        => InvalidArgument: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://test-bucket failed: PermanentRedirect (HTTP 301): The bucket must be addressed using its own endpoint; set `region: eu-west-1` in the spec

        => Unauthenticated: failed to sync records: failed to sync unmanaged client: ListObjectsV2 of s3://test-bucket failed: SignatureDoesNotMatch (HTTP 403); check the credentials: the spec's `credentials` or `local_profile`, else the AWS environment, profile, container or instance role
    "#]],
        &texts.concat(),
    );
}

#[tokio::test]
async fn what_the_listing_warns_of() {
    let mut rig = Rig::start().await;
    for key in ["orders/1.parquet", "delta/1.parquet"] {
        rig.s3.put(key, small(key));
    }
    for key in ["orders/2.PARQUET", "old/1.csv", "old/2.csv", "athena/20260101_000000_x", "delta/_delta_log/0.json"] {
        rig.s3.put(key, "rows");
    }
    rig.init(json!({})).await;
    rig.client.sync(&["*"], &["users"]).await;
    rig.sync(json!({"path_prefix": "ordrs/"})).await;
    check(
        &expect![[r#"
        warn: s3://test-bucket/delta/ is a table in Delta format: all its Parquet files are read, also those that the table no longer refers to; exclude it, or expect old rows
        warn: s3://test-bucket/athena/: 1 skipped object could be data, such as "athena/20260101_000000_x"; a name without extension tells no format: have the names of Parquet files end in `.parquet`, or leave them out with `exclude`
        warn: s3://test-bucket/old/: 2 skipped objects could be data, such as "old/1.csv"; only Parquet is read: convert them, or leave them out with `exclude`
        warn: s3://test-bucket/orders/: 1 skipped object could be data, such as "orders/2.PARQUET"; only names that end in `.parquet`, in lower case, are read: rename such files, or leave them out with `exclude`
        warn: skip_tables include a pattern users with no matches
        warn: tables include the pattern *, but there is no table: no Parquet object passes path_prefix, include and exclude; 0 keys were listed under s3://test-bucket/ordrs/; the folders in s3://test-bucket/ are "orders/", "old/", "delta/" and 1 more
    "#]],
        &log_text(&rig.plugin.stop(), &["warn"]),
    );
}

#[tokio::test]
async fn what_a_sync_warns_of() {
    let mut rig = Rig::start().await;
    let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX / 1_000, i64::MIN / 1_000]));
    rig.s3.put("t/1.parquet", file(vec![("at", true, times)]));
    rig.s3.put("t/2.parquet", file(vec![("at", true, Arc::new(TimestampSecondArray::from(vec![1])) as ArrayRef)]));
    rig.s3.on_get(|key, _| (key == "t/2.parquet").then_some(Action::Status(404, "NoSuchKey")));
    let sync = rig.sync(json!({})).await;
    assert_eq!(outcome(&sync).trim(), "=> OK");
    check(
        &expect![[r#"
        warn: object was deleted after it was listed; it is left out
            table: t
            bucket: test-bucket
            key: t/2.parquet
        warn: values that do not fit were changed: 2 timestamps out of range became null
            table: t
    "#]],
        &log_text(&rig.plugin.stop(), &["warn", "error"]),
    );
}

#[tokio::test]
async fn what_incremental_syncs_warn_of() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    let old = || ObjectAttributes { last_modified: Some(SystemTime::UNIX_EPOCH), ..ObjectAttributes::default() };
    rig.s3.put_with("t/1.parquet", small("1"), old());
    rig.sync_with_state(json!({}), &backend).await;
    // The state is stored and the rows are not: the destination dies with its last batch.
    rig.s3.put("t/2.parquet", small("2"));
    rig.init(json!({})).await;
    rig.client.sync_with(rig::state_request(&backend, None), |_| {}).await;
    rig.sync_with_state(json!({}), &backend).await;
    rig.sync_with_state(json!({"ledger_limit": 1}), &backend).await;
    rig.sync_with_state(json!({"file_columns": true}), &backend).await;
    backend.trouble(Method::Read, Trouble::Refused, 1);
    rig.sync_with_state(json!({"file_columns": true}), &backend).await;
    check(
        &expect![[r#"
        warn: the last sync was interrupted before the destination had stored all of its rows: these objects are read again
            objects: 1
        warn: the table has more objects than ledger_limit: objects last modified by the low water count as done from now on, known or not
            table: t
            ledger_limit: 1
            low_water_s: 1
            objects: 1
            unseen: 0
        warn: the table's columns changed with an option or the release: all its objects are read again
            table: t
            objects_done: 1
        warn: the state backend failed; it is tried again
            state_table: cq_state
            error: read of the state table "cq_state": the backend is not ready
            tries: 1
            wait_ms: …
    "#]],
        &log_text(&rig.plugin.stop(), &["warn", "error"]),
    );
}

#[tokio::test]
async fn what_incremental_syncs_fail_with() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("t/1.parquet", small("1"));
    rig.sync_with_state(json!({}), &backend).await;
    rig.s3.put("t/2.parquet", number("other"));
    let mut texts = vec![outcome(&rig.sync_with_state(json!({}), &backend).await)];
    rig.s3.delete("t/2.parquet");
    rig.s3.put("t/3.parquet", small("3"));
    backend.set_versions(&[2]);
    texts.push(outcome(&rig.sync_with_state(json!({}), &backend).await));
    backend.set_versions(&[3]);
    backend.remove_rows(rig::STATE_TABLE, |key| key.ends_with("/ledger.0"));
    texts.push(outcome(&rig.sync_with_state(json!({}), &backend).await));
    check(
        &expect![[r#"
        t: table t of bucket test-bucket: "t/1.parquet" and "t/2.parquet" do not agree: column "row" is int64 in the first and missing in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it. The first one set the columns of the table in an earlier sync, and they are kept even if it is gone: when all files have the new columns, a new `state_id` reads everything anew. Left out: 1 objects with 1 rows (N bytes)

        => OK

        => Unavailable: failed to sync records: failed to sync unmanaged client: failed to create state client: please upgrade your state backend plugin. state supporting version 3 plugin has [2]

        => DataLoss: failed to sync records: failed to sync unmanaged client: the state of table "t" cannot be used: cq-source-s3/test-bucket/t/HASH/ledger.0 is missing, which cq-source-s3/test-bucket/t/HASH/ledger counts on; to read the whole table again, delete the rows whose key starts with "cq-source-s3/test-bucket/t/HASH/" from the backend's state table, or give the spec another state_id
    "#]],
        &texts.concat(),
    );
}
