//! Checklist items 29, 31, 33, 34: how the process ends. (Stops in mid-sync that wait for S3 are tested with the sync.)

use crate::support::process::{Plugin, command, wait};
use std::{io::BufRead as _, process::Stdio, time::Duration};

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

#[test]
fn item_33_a_closed_stdout_ends_an_idle_plugin_without_a_panic() {
    let mut child = command(&["serve", "--log-format", "json", "--address", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
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
