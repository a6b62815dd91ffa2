//! Items 29–34: how the process ends, and what a peer that goes away leaves.

use crate::rig::{Rig, spec};
use serde_json::json;
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};
use testkit::client::{Client, assert_protocol, sync_request};
use testkit::parquet_files as files;
use testkit::process::{PATIENCE, Plugin, command, wait};
use testkit::s3_server::S3Server;

/// What users call at once.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn item_29_and_31_signals_end_an_idle_plugin_with_status_0_in_a_second() {
    for signal in ["INT", "TERM"] {
        let mut plugin = Plugin::start();
        // A client that stays connected must not hold it up.
        let _client = plugin.client().await;
        plugin.signal(signal);
        let (status, took) = plugin.wait();
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(took < SOON, "{signal}: {took:?}");
    }
}

#[test]
fn a_second_signal_changes_nothing() {
    let mut plugin = Plugin::start();
    for signal in ["INT", "INT", "TERM"] {
        // The process may be gone already.
        let _ = std::process::Command::new("kill").args([format!("-{signal}"), plugin.id().to_string()]).status();
    }
    assert_eq!(plugin.wait().0.code(), Some(0));
}

/// A plugin whose output is in the test's hands: with the reader of its log, and the address of the first line.
fn serve_piped() -> (Child, BufReader<ChildStdout>, String) {
    let mut command = command(&["serve", "--log-format", "json", "--address", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    (child, stdout, line["address"].as_str().unwrap().to_owned())
}

#[test]
fn item_33_a_closed_stdout_ends_an_idle_plugin_without_a_panic() {
    let (mut child, stdout, _) = serve_piped();
    assert!(child.try_wait().unwrap().is_none());
    drop(stdout);
    let (status, _) = wait(&mut child);
    assert_eq!(status.code(), Some(0));
    assert_eq!(std::io::read_to_string(child.stderr.take().unwrap()).unwrap(), "");
}

#[test]
fn item_33_stdout_that_is_closed_from_the_start_is_no_panic_either() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command(&["serve", "--log-format", "json", "--log-level", "trace", "--address", "127.0.0.1:0"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(wait(&mut child).0.code(), Some(0));
    assert_eq!(std::io::read_to_string(child.stderr.take().unwrap()).unwrap(), "");
}

#[test]
fn a_file_as_stdout_is_fine() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut child = command(&["serve", "--log-format", "json", "--address", "127.0.0.1:0"])
        .stdout(file.reopen().unwrap())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "it still runs");
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(wait(&mut child).0.code(), Some(0));
    assert!(std::fs::read_to_string(file.path()).unwrap().contains("Plugin server listening"));
}

#[tokio::test]
async fn item_34_sigkill_leaves_nothing_that_breaks_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sock");
    for _ in 0..3 {
        let mut plugin = Plugin::start_unix(&path);
        plugin.client().await;
        plugin.signal("KILL");
        assert!(!plugin.wait().0.success());
    }
    Plugin::start_unix(&path).stop();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Waits until the server was asked for an object, which comes after one page of the listing. (Requests themselves are
/// recorded when they are answered.)
async fn first_get(server: &S3Server) {
    let started = Instant::now();
    while server.counts().http_requests < 2 {
        assert!(started.elapsed() < PATIENCE, "no GET came: {:?}", server.requests());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A sync that S3 keeps waiting: in the listing, before the first byte of an object, or in the middle of its body.
async fn blocked(stage: &str) -> Rig {
    use testkit::s3_server::Action;
    let mut rig = Rig::start().await;
    rig.s3.put("orders/a.parquet", files::flat(100, 1));
    let long = Duration::from_secs(60);
    let asked = std::sync::Arc::new(tokio::sync::Notify::new());
    let tell = std::sync::Arc::clone(&asked);
    if stage == "list" {
        rig.s3.on_list(move |_| {
            tell.notify_one();
            Some(Action::Delay(long))
        });
    } else {
        let action = if stage == "get" { Action::Delay(long) } else { Action::StallBodyAfter(100, long) };
        rig.s3.on_get(move |_, _| {
            tell.notify_one();
            Some(action.clone())
        });
    }
    rig.init(json!({})).await;
    let mut client = rig.client.clone();
    tokio::spawn(async move { client.sync(&["*"], &[]).await });
    tokio::time::timeout(PATIENCE, asked.notified()).await.expect("S3 is asked");
    tokio::time::sleep(Duration::from_millis(100)).await;
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_30_and_31_signals_end_a_sync_that_is_blocked_on_s3_within_a_second() {
    for signal in ["INT", "TERM"] {
        for stage in ["list", "get", "body"] {
            let mut rig = blocked(stage).await;
            rig.plugin.signal(signal);
            let (status, took) = rig.plugin.wait();
            assert_eq!(status.code(), Some(0), "{signal} in {stage}");
            assert!(took < SOON, "{signal} in {stage}: {took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_32_a_client_that_goes_away_stops_the_reading_and_the_next_one_is_served() {
    const OBJECTS: usize = 200;
    let mut rig = Rig::start().await;
    for n in 0..OBJECTS {
        rig.s3.put(&format!("orders/{n:03}.parquet"), files::flat(200, n as u64));
    }
    rig.s3.set_get_latency(Duration::from_millis(100));
    let spec = rig.spec(json!({"concurrency": 2}));
    {
        let mut leaving = Client::connect(&format!("http://{}", rig.plugin.address())).await;
        leaving.init(&spec).await.unwrap();
        let stream = leaving.grpc.sync(sync_request(&["*"], &[])).await.unwrap();
        first_get(&rig.s3).await;
        drop(stream);
    }
    // What was under way may still be answered.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let gets = rig.s3.counts().gets;
    assert!(gets < OBJECTS as u64 / 2, "{gets} GETs");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.s3.counts().gets, gets, "reading went on");

    rig.s3.set_get_latency(Duration::ZERO);
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("orders"), 200 * OBJECTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_33_a_closed_stdout_ends_a_sync_without_a_panic() {
    let server = S3Server::start().await;
    server.put("orders/a.parquet", files::flat(100, 1));
    server.set_get_latency(Duration::from_secs(60));
    let (mut child, stdout, address) = serve_piped();
    let mut client = Client::connect(&format!("http://{address}")).await;
    client.init(&spec(&server.endpoint(), json!({}))).await.unwrap();
    let sync = tokio::spawn(async move { client.sync(&["*"], &[]).await });
    first_get(&server).await;
    drop(stdout);
    let (status, _) = wait(&mut child);
    assert_eq!(status.code(), Some(0));
    assert_eq!(std::io::read_to_string(child.stderr.take().unwrap()).unwrap(), "");
    assert!(sync.await.unwrap().status.is_some(), "an interrupted sync does not end well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_34_sigkill_in_a_sync_leaves_nothing_that_breaks_the_next_one() {
    let server = S3Server::start().await;
    server.put("orders/a.parquet", files::flat(100, 1));
    server.set_get_latency(Duration::from_secs(60));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.sock");
    let target = format!("unix://{}", path.display());
    {
        let mut plugin = Plugin::start_unix(&path);
        let mut client = Client::connect(&target).await;
        client.init(&spec(&server.endpoint(), json!({}))).await.unwrap();
        tokio::spawn(async move { client.sync(&["*"], &[]).await });
        first_get(&server).await;
        plugin.signal("KILL");
        assert!(!plugin.wait().0.success());
    }
    server.set_get_latency(Duration::ZERO);
    let plugin = Plugin::start_unix(&path);
    let mut client = Client::connect(&target).await;
    client.init(&spec(&server.endpoint(), json!({}))).await.unwrap();
    let sync = client.sync(&["*"], &[]).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("orders"), 100);
    plugin.stop();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "not even the socket is left");
}
