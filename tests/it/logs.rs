//! Checklist items 20–28: what the log looks like. (Long lines, reserved keys and panics: unit tests of `telemetry`.)

use crate::support::process::{Plugin, command};
use cq_source_s3::cloudquery::proto::plugin_v3 as pb;
use serde_json::Value;

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
/// Longest line that the CLI reads, newline included.
const MAX_LINE_BYTES: usize = 4_095;
const SPEC: &str = r#"{"bucket":"a-bucket","region":"us-east-1","credentials":{"access_key_id":"AKIAIOSFODNN7EXAMPLE",
    "secret_access_key":"wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"}}"#;
const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
const INVOCATION_ID: &str = "11111111-2222-3333-4444-555555555555";

/// Runs a few calls at this level; gives the lines before Init and all lines.
async fn session(level: &str) -> (usize, Vec<Value>, Vec<String>) {
    let plugin = Plugin::start_with(&["--log-level", level], &[]);
    let mut client = plugin.client().await;
    client.get_name(pb::get_name::Request {}).await.unwrap();
    let before_init = plugin.raw_lines().len();
    // Whether the spec is good enough is not the point here.
    let _ = plugin.init(SPEC, INVOCATION_ID).await;
    let _ = plugin.init(r#"{"bucket":5}"#, INVOCATION_ID).await;
    client.get_version(pb::get_version::Request {}).await.unwrap();
    let raw = plugin.raw_lines();
    (before_init, plugin.stop(), raw)
}

#[tokio::test]
async fn item_20_to_24_and_27_every_line_is_well_formed_at_every_level() {
    for level in ["info", "debug", "trace"] {
        let (_, lines, raw) = session(level).await;
        assert!(!lines.is_empty());
        for line in &lines {
            let name = line["level"].as_str().unwrap();
            assert!(LEVELS.contains(&name), "{line}");
            assert!(line["message"].is_string(), "{line}");
            assert_eq!(line["module"], "s3-source", "{line}");
            assert!(line.get("time").is_none(), "{line}");
        }
        for line in &raw {
            assert!(line.len() < MAX_LINE_BYTES, "{} bytes", line.len());
            assert!(!line.contains('\u{1b}') && !line.contains("\\u001b"), "{line}");
            assert!(!line.contains(SECRET), "{line}");
        }
        let least = LEVELS.iter().position(|name| *name == level).unwrap();
        for line in &lines {
            let at = LEVELS.iter().position(|name| line["level"] == *name).unwrap();
            assert!(at >= least, "{line}");
        }
    }
}

#[tokio::test]
async fn item_23_invocation_id_is_on_every_line_after_init() {
    let (before_init, lines, _) = session("debug").await;
    assert!(lines[..before_init].iter().all(|line| line.get("invocation_id").is_none()));
    let last = lines.iter().rposition(|line| line["message"] == "Plugin server stopped").expect("the last word");
    // Lines of other threads may be written while Init begins; all of them have it soon after.
    let first = lines.iter().position(|line| line["invocation_id"] == INVOCATION_ID).expect("a line with the id");
    assert!(
        lines[first.max(before_init) + 1..].iter().filter(|line| line["invocation_id"] != INVOCATION_ID).count() <= 1
    );
    assert_eq!(lines[last]["invocation_id"], INVOCATION_ID);
}

#[tokio::test]
async fn item_25_and_26_no_warnings_and_dependencies_only_for_debugging() {
    let (_, lines, _) = session("info").await;
    for line in &lines {
        assert!(line["level"] == "info" && line.get("target").is_none(), "{line}");
    }
    let (_, lines, _) = session("trace").await;
    let foreign: Vec<_> = lines.iter().filter(|line| line.get("target").is_some()).collect();
    assert!(!foreign.is_empty(), "h2 says something at debug");
    assert!(foreign.iter().all(|line| line["level"] == "debug"), "{foreign:#?}");
}

#[test]
fn text_is_for_people_and_without_colours() {
    let mut child =
        command(&["serve", "--address", "127.0.0.1:0"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains(" INFO ") && line.contains("Plugin server listening address=127.0.0.1:"), "{line}");
    assert!(!line.contains('\u{1b}') && line.contains("Z "), "{line}");
}
