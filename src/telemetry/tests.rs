//! Lines: their shape, their length, what is shown and what is not.

use super::*;
use proptest::prelude::*;
use serde_json::Map;

fn line(message: &str, fields: &[(&str, Value)]) -> Line {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Line { level: Level::WARN, message: message.to_owned(), invocation_id: Some(Arc::from("id-1")), fields }
}

fn parse(text: &str) -> Map<String, Value> {
    assert!(text.ends_with('\n') && text.trim_end().lines().count() == 1, "{text:?}");
    assert!(text.len() <= MAX_LINE_BYTES, "{} bytes", text.len());
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_line_has_level_message_module_invocation_and_fields() {
    let object = parse(&line("it \u{1b}[31m \"works\"\n", &[("rows", 7.into()), ("key", "a/b".into())]).json());
    assert_eq!(object["level"], "warn");
    assert_eq!(object["message"], "it \u{1b}[31m \"works\"\n");
    assert_eq!(object["module"], "s3-source");
    assert_eq!(object["invocation_id"], "id-1");
    assert_eq!((&object["rows"], &object["key"]), (&Value::from(7), &Value::from("a/b")));
    assert!(!line("\u{1b}[31m", &[]).json().contains('\u{1b}'));
}

#[test]
fn item_22_a_long_text_is_cut_and_everything_else_stays() {
    for text in ["x".repeat(100_000), "\u{1}".repeat(100_000), "\"€".repeat(50_000)] {
        let object = parse(&line("read failed", &[("error", text.into()), ("key", "a/b".into())]).json());
        let error = object["error"].as_str().unwrap();
        assert!(error.ends_with(CUT) && error.len() > 500, "{}", error.len());
        assert_eq!((&object["message"], &object["key"]), (&"read failed".into(), &"a/b".into()));
    }
    // Nothing is cut that fits exactly.
    let frame = line("", &[]).json().len();
    let exact = "x".repeat(MAX_LINE_BYTES - frame);
    assert_eq!(parse(&line(&exact, &[]).json())["message"], exact.as_str());
}

#[test]
fn several_long_values_and_too_many_fields_fit_too() {
    let long: Vec<_> = (0..9).map(|n| (format!("f{n}"), "y".repeat(9_000))).collect();
    let long: Vec<_> = long.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str()))).collect();
    assert_eq!(parse(&line(&"z".repeat(9_000), &long).json()).len(), 4 + 9);
    let many: Vec<_> = (0..900).map(|n| format!("field{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), Value::from(1))).collect();
    let object = parse(&line("many", &many).json());
    assert_eq!(object["message"], "many");
    assert!(object.len() > 100);
}

#[test]
fn text_lines_have_no_control_characters() {
    let text = line("two\nlines \u{1b}[31m", &[("key", "a b".into()), ("n", 1.into())]).text("now");
    assert_eq!(text, "now WARN  two\\nlines \\u{1b}[31m key=\"a b\" n=1\n");
}

#[test]
fn item_21_reserved_names_are_renamed() {
    let mut fields = Fields::default();
    for name in ["time", "level", "module", "invocation_id", "rows", "rows"] {
        fields.put(name, 1.into());
    }
    let names: Vec<_> = fields.others.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["field_time", "field_level", "field_module", "field_invocation_id", "rows"]);
}

#[test]
fn item_27_secrets_are_blanked_in_messages_and_fields() {
    let mut line = line("key hunter2hunter2 used", &[("error", "no hunter2hunter2!".into())]);
    line.redact(&["hunter2hunter2".to_owned()]);
    let text = line.json();
    assert!(!text.contains("hunter2") && text.contains("key [redacted] used") && text.contains("no [redacted]!"));
}

#[test]
fn targets_of_this_crate_are_told_from_others() {
    assert!(is_own("cq_source_s3") && is_own("cq_source_s3::sync"));
    assert!(!is_own("cq_source_s3x") && !is_own("aws_config") && !is_own(""));
}

#[test]
fn the_time_is_rfc_3339_with_milliseconds() {
    let now = now();
    assert!(now.len() >= 20 && now.ends_with('Z') && now.as_bytes()[10] == b'T', "{now}");
}

proptest! {
    #[test]
    fn any_line_is_one_json_object_of_bounded_length(
        message in ".{0,3000}", fields in proptest::collection::btree_map("[a-z]{1,20}", ".{0,3000}", 0..6),
    ) {
        let fields = fields.into_iter().map(|(name, text)| (name, Value::from(text))).collect();
        let text = Line { level: Level::INFO, message, invocation_id: None, fields }.json();
        prop_assert!(text.len() <= MAX_LINE_BYTES);
        let object: Map<String, Value> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&object["level"], "info");
    }
}

/// Runs this same test in a process of its own, where the panic hook and the subscriber are really installed.
#[test]
fn item_28_a_panic_is_one_error_line_and_events_are_lines() {
    const CHILD: &str = "CQ_SOURCE_S3_TEST_CHILD";
    if let Some(level) = std::env::var_os(CHILD) {
        println!(); // ends the line that the test harness began
        let level = if level == "trace" { LevelFilter::TRACE } else { LevelFilter::DEBUG };
        init(Format::Json, level, CancellationToken::new());
        set_invocation_id("run-1");
        tracing::info!(rows = 5, key = "a/b", "read an object");
        tracing::error!(target: "aws_config::provider", "retried");
        tracing::trace!(target: "aws_sigv4", "a whole request");
        tracing::trace!("too fine");
        let thread = std::thread::Builder::new().name("decoder".to_owned());
        let panics = || {
            let contained = std::panic::catch_unwind(|| with_contained_panics(|| panic!("reported by its caller")));
            contained.unwrap_err();
            panic!("two\nlines")
        };
        thread.spawn(panics).unwrap().join().unwrap_err();
        return;
    }
    let name = "telemetry::tests::item_28_a_panic_is_one_error_line_and_events_are_lines";
    let lines = |level: &str| -> Vec<Map<String, Value>> {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(CHILD, level)
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        assert!(child.status.success());
        let stdout = String::from_utf8(child.stdout).unwrap();
        assert!(!stdout.contains("backtrace"));
        stdout.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // A line of another crate, and the finest of our own, at trace only; the finest of others never.
    let debug = lines("debug");
    assert_eq!(debug.len(), 3, "{debug:#?}");
    assert!(debug.iter().all(|line| !line.contains_key("target")), "{debug:#?}");
    let mut lines = lines("trace");
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert_eq!(lines.remove(2)["message"], "too fine");
    assert_eq!(
        Value::from(lines[0].clone()),
        serde_json::json!({"level": "info", "message": "read an object", "module": "s3-source",
            "invocation_id": "run-1", "rows": 5, "key": "a/b"})
    );
    assert_eq!((&lines[1]["level"], &lines[1]["target"]), (&"debug".into(), &"aws_config::provider".into()));
    assert_eq!((&lines[2]["level"], &lines[2]["thread"]), (&"debug".into(), &"decoder".into()));
    assert_eq!((&lines[3]["level"], &lines[3]["message"]), (&"error".into(), &"panic: two\nlines".into()));
    assert_eq!(lines[3]["thread"], "decoder");
    assert!(lines[3]["location"].as_str().unwrap().contains("telemetry/tests.rs:"));
}
