//! `cq-source-s3 plan`, seen as users see it: the real binary, its texts whole, its requests counted.
//!
//! `UPDATE_EXPECT=1 cargo test --test it plan::` writes the texts anew.

mod ends;
mod explain;
mod lakes;
mod state;
mod texts;

use crate::rig::{self, small};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Output, Stdio};
use testkit::process::command;
use testkit::s3_server::{ObjectAttributes, S3Server};

// Files whose bytes never change, so that sizes can stand in a text.
const EVENTS: &[u8] = include_bytes!("../fixtures/writers/go/arrow_go.parquet");
const USERS: &[u8] = include_bytes!("../fixtures/writers/go/nulls.parquet");
const OTHER: &[u8] = include_bytes!("../fixtures/writers/javascript/one_row.parquet");

/// How a plan ended.
struct Shown {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Shown {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.stderr, "", "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs `plan --spec -` with this config as its input, and these arguments and variables.
async fn run(config: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Shown {
    let mut all = vec!["plan", "--spec", "-"];
    all.extend(arguments);
    let mut command = command(&all);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let config = config.to_owned();
    // The S3 server runs on this thread.
    let output = tokio::task::spawn_blocking(move || -> Output {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Shown { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A plan of the server's bucket by a spec with these fields.
async fn plan(s3: &S3Server, more: Value, arguments: &[&str]) -> Shown {
    run(&rig::spec(&s3.endpoint(), more).to_string(), arguments, &[("COLUMNS", "80")]).await
}

/// A config with a source around the spec, and what stands in the source besides.
fn config(s3: &S3Server, source: Value, more: Value) -> String {
    let mut outer = json!({
        "name": "lake",
        "registry": "local",
        "path": "./cq-source-s3",
        "tables": ["*"],
        "destinations": ["mem"],
        "spec": rig::spec(&s3.endpoint(), more),
    });
    for (name, value) in source.as_object().unwrap() {
        outer[name] = value.clone();
    }
    json!({"kind": "source", "spec": outer}).to_string()
}

/// An object in an archive class.
fn put_archived(s3: &S3Server, key: &str) {
    let attributes = ObjectAttributes { storage_class: Some("GLACIER".into()), ..ObjectAttributes::default() };
    s3.put_with(key, EVENTS, attributes);
}

/// A bucket with most of what there is.
async fn lake() -> S3Server {
    let s3 = S3Server::start().await;
    s3.put("raw/events/2026-01.parquet", EVENTS);
    s3.put("raw/events/2026-02.parquet", EVENTS);
    put_archived(&s3, "raw/events/2025-12.parquet");
    s3.put("raw/users_of_a_team_with_a_long_name/1.parquet", USERS);
    s3.put("raw/mixed/1.parquet", USERS);
    s3.put("raw/mixed/2.parquet", OTHER);
    s3.put("raw/events/_SUCCESS", "");
    s3.put("raw/events/notes.csv", "a,b");
    s3.put("raw/events/", "");
    s3.put("raw/tmp/1.parquet", EVENTS);
    s3.put("elsewhere/1.parquet", EVENTS);
    s3
}

#[tokio::test]
async fn a_plan_costs_a_listing_and_ten_heads_a_table() {
    let s3 = S3Server::start().await;
    (0..25).for_each(|n| drop(s3.put(&format!("a/{n:02}.parquet"), EVENTS)));
    s3.put("b/1.parquet", USERS);
    s3.set_page_keys(10);
    let shown = plan(&s3, json!({}), &["--json"]).await.json();
    // Heads are fetched with a guess: some need a second request.
    let counts = s3.counts();
    assert_eq!(counts.lists, 3);
    let heads = shown["requests"]["plan"]["get"].as_u64().unwrap();
    assert!((11..=22).contains(&heads), "{heads}");
    assert_eq!((counts.gets, &shown["requests"]["plan"]["list"]), (heads, &json!(3)));
    assert_eq!(shown["requests"]["sync"]["list"], 3);
    assert_eq!(shown["requests"]["sync"]["get"], 26);
    assert_eq!(shown["tables"][0]["sampled_objects"], 10);
    assert_eq!(shown["tables"][0]["all_objects_sampled"], false);
    assert_eq!(shown["tables"][1]["all_objects_sampled"], true);

    s3.reset_counts();
    let shown = plan(&s3, json!({}), &["--json", "--no-columns"]).await.json();
    assert_eq!((s3.counts().lists, s3.counts().gets), (3, 0));
    assert_eq!(shown["tables"][0]["columns"], Value::Null);
    assert_eq!(shown["tables"][0]["objects"], 25);
}

/// The numbers of a plan against those of the sync that follows it.
#[tokio::test]
async fn a_sync_makes_the_requests_that_the_plan_says() {
    let mut rig = rig::Rig::start().await;
    (0..40).for_each(|n| drop(rig.s3.put(&format!("small/{n:02}.parquet"), EVENTS)));
    rig.s3.put("large/1.parquet", testkit::parquet_files::incompressible(40, Some(2 << 20), 1));
    let shown = plan(&rig.s3, json!({}), &["--json", "--no-columns"]).await.json();
    let (lists, gets) = (&shown["requests"]["sync"]["list"], shown["requests"]["sync"]["get"].as_u64().unwrap());
    rig.s3.reset_counts();
    rig.sync(json!({})).await;
    let counts = rig.s3.counts();
    assert_eq!(*lists, counts.lists);
    // How row groups are cut is not known before their heads are read.
    assert!(counts.gets.abs_diff(gets) <= counts.gets / 20, "the sync made {} GETs, the plan said {gets}", counts.gets);
}

#[tokio::test]
async fn tables_that_are_not_selected_are_left_out_and_counted() {
    let s3 = lake().await;
    let config = config(&s3, json!({"tables": ["raw_*"], "skip_tables": ["raw_mixed", "raw_tmp"]}), json!({}));
    let shown = run(&config, &["--json"], &[]).await;
    assert_eq!(shown.status, Some(3), "one is archived");
    let shown = shown.json();
    let names: Vec<&str> =
        shown["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["raw_events", "raw_users_of_a_team_with_a_long_name"]);
    assert_eq!(shown["source"], "lake");
    assert_eq!(shown["not_selected"]["objects"], 4);
    assert_eq!(shown["not_selected"]["first_key"], "elsewhere/1.parquet");
}

#[tokio::test]
async fn variables_are_those_of_the_environment_and_of_files() {
    let s3 = lake().await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "very-secret\n").unwrap();
    let config = format!(
        "kind: source\nspec:\n  name: lake\n  path: x/s3\n  tables: ${{TABLES}}\n  spec:\n    bucket: test-bucket # ${{NOT_SET}}\n    \
         region: us-east-1\n    endpoint: {}\n    path_style: true\n    path_prefix: \"${{PREFIX}}\"\n    credentials:\n      \
         access_key_id: AKIATEST\n      secret_access_key: ${{file:{}}}\n---\nkind: destination\nspec:\n  name: pg\n  \
         spec: {{connection_string: \"${{PG}}\"}}\n",
        s3.endpoint(),
        secret.display()
    );
    s3.require_credentials("AKIATEST", "very-secret");
    let variables = [("TABLES", "[raw_events]"), ("PREFIX", "raw/")];
    let shown = run(&config, &["--json"], &variables).await;
    assert_eq!(shown.json()["tables"][0]["name"], "raw_events");
    assert_eq!(shown.json()["prefix"], "raw/");
    assert!(!shown.stdout.contains("very-secret"));

    let shown = run(&config, &["--json"], &[("TABLES", "[raw_events]")]).await;
    assert_eq!(shown.status, Some(1));
    assert_eq!(shown.stderr, "Error: line 11: the environment variable PREFIX is not set; export it\n");
    let shown = run(&config.replace("/secret}", "/nothing}"), &[], &variables).await;
    assert!(
        shown.stderr.contains("line 14: ${file:") && shown.stderr.contains("cannot be read: No such file"),
        "{}",
        shown.stderr
    );
}

#[tokio::test]
async fn what_hinders_a_plan_is_said_on_stderr_with_status_1() {
    let s3 = lake().await;
    let shown = plan(&s3, json!({"regoin": "x", "max_tables": 0}), &[]).await;
    assert_eq!((shown.status, shown.stdout.as_str()), (Some(1), ""));
    let expected = "Error: max_tables: must be at least 1, found 0\nregoin: unknown key; did you mean `region`?\n";
    assert_eq!(shown.stderr, expected);
    let shown = plan(&s3, json!({"bucket": "no-such-bucket"}), &[]).await;
    assert_eq!(shown.status, Some(1));
    assert!(shown.stderr.contains("NoSuchBucket"), "{}", shown.stderr);
    let shown = plan(&s3, json!({"max_tables": 1}), &[]).await;
    assert!(shown.stderr.contains("more than max_tables (1)"), "{}", shown.stderr);
    let shown = plan(&s3, json!({}), &["--backend", "127.0.0.1:1"]).await;
    assert!(shown.stderr.contains("--backend-table is needed, too"), "{}", shown.stderr);
    let shown = run("a: [", &[], &[]).await;
    assert!(shown.stderr.starts_with("Error: line 2: this is not YAML"), "{}", shown.stderr);
    let output = command(&["plan", "--spec", "/nowhere/config.yml"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("Error: cannot read --spec /nowhere/config.yml: "), "{stderr}");
    let output = command(&["plan", "--spec", "-", "--size", "5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "wrong flags");
}

#[tokio::test]
async fn an_empty_prefix_is_a_plan_with_a_warning() {
    let s3 = lake().await;
    let shown = plan(&s3, json!({"path_prefix": "raw/event/"}), &["--json"]).await;
    assert_eq!(shown.status, Some(4));
    let shown = shown.json();
    assert_eq!(shown["tables"], json!([]));
    let warning = shown["warnings"][0].as_str().unwrap();
    assert!(warning.contains("the folders in s3://test-bucket/raw/ are \"raw/events/\""), "{warning}");
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_an_error_of_its_table() {
    let s3 = S3Server::start().await;
    s3.put("t/1.parquet", small("a"));
    s3.put("t/2.parquet", Bytes::from_static(b"this is no parquet file at all"));
    let shown = plan(&s3, json!({}), &["--json"]).await;
    assert_eq!(shown.status, Some(3));
    let table = &shown.json()["tables"][0];
    assert_eq!(table["unreadable"][0]["key"], "t/2.parquet");
    assert!(table["unreadable"][0]["error"].as_str().unwrap().contains("s3://test-bucket/t/2.parquet: "), "{table}");
    assert_eq!(table["error"], Value::Null);
    assert!(table["columns"].as_array().unwrap().len() > 2, "{table}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_reader_that_has_read_enough_is_no_error() {
    let s3 = lake().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.json");
    std::fs::write(&path, rig::spec(&s3.endpoint(), json!({})).to_string()).unwrap();
    let mut command = command(&["plan", "--spec", path.to_str().unwrap()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // The reader goes before there is anything to read.
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(3), "as if it was read: a table of this bucket has an error");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_it_at_once() {
    use std::os::unix::process::ExitStatusExt as _;
    let s3 = lake().await;
    s3.set_page_keys(2);
    let forever = testkit::s3_server::Action::Delay(std::time::Duration::from_secs(600));
    s3.on_list(move |page| (page > 1).then(|| forever.clone()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.json");
    std::fs::write(&path, rig::spec(&s3.endpoint(), json!({})).to_string()).unwrap();
    let mut child = command(&["plan", "--spec", path.to_str().unwrap()]).stdout(Stdio::piped()).spawn().unwrap();
    while s3.counts().lists == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert_eq!(child.try_wait().unwrap(), None);
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let (status, took) = testkit::process::wait(&mut child);
    assert_eq!(status.signal(), Some(2));
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}
