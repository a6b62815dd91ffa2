//! Items 12–19: flags, and starting in poor surroundings.

use std::process::{Output, Stdio};
use testkit::process::{Plugin, command, wait};

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

#[cfg(unix)]
#[test]
fn item_12_exactly_what_the_cli_passes_with_all_optional_flags() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cq-abcdefghijklmnop.sock");
    let arguments = [
        "serve",
        "--log-level",
        "info",
        "--log-format",
        "json",
        "--network",
        "unix",
        "--address",
        path.to_str().unwrap(),
        "--no-sentry",
        "--license",
        "/nowhere/license",
        "--otel-endpoint",
        "localhost:1",
        "--otel-endpoint-insecure",
    ];
    Plugin::spawn(&mut command(&arguments), true).stop();
}

#[test]
fn item_13_five_levels_are_accepted_and_warning_is_refused() {
    for level in ["trace", "debug", "info"] {
        Plugin::start_with(&["--log-level", level], &[]).stop();
    }
    for level in ["warn", "error"] {
        let arguments = ["serve", "--log-format", "json", "--log-level", level, "--address", "nowhere"];
        let output = run(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("--address `nowhere`"), "the level was accepted, the address was not: {stderr}");
    }
    let output = run(&["serve", "--log-level", "warning"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("warning"));
}

#[test]
fn item_14_flags_without_value_work() {
    Plugin::start_with(&["--otel-endpoint-insecure", "--no-sentry"], &[]).stop();
    Plugin::start_with(&["--otel-endpoint-insecure=false", "--no-sentry=true"], &[]).stop();
}

#[test]
fn item_15_usage_errors_go_to_stderr_with_a_status() {
    for arguments in [
        &[][..],
        &["serve", "--no-such-flag"],
        &["serve", "--log-format", "json", "--no-such-flag"],
        &["serve", "stray"],
        &["unknown"],
        &["serve", "--network", "unixpacket", "--address", "/tmp/x.sock"],
    ] {
        let output = run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    let usage = run(&["serve", "--no-such-flag"]).stderr;
    assert!(String::from_utf8(usage).unwrap().contains("Usage: cq-source-s3 serve"));
}

#[test]
fn item_16_version_prints_name_and_version() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = format!("cq-source-s3 version v{} (", env!("CARGO_PKG_VERSION"));
    assert!(text.starts_with(&expected) && text.ends_with(")\n") && !text.ends_with("()\n"), "{text:?}");
}

#[test]
fn other_commands_print_what_they_say() {
    let schema = run(&["spec-schema"]);
    assert!(schema.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["$ref"], "#/$defs/Spec");
    assert_eq!(schema["$defs"]["Spec"]["type"], "object");
    let info = String::from_utf8(run(&["info"]).stdout).unwrap();
    assert!(info.contains(concat!("source/s3@v", env!("CARGO_PKG_VERSION"))), "{info}");
}

#[tokio::test]
async fn item_17_and_18_dead_collectors_and_licences_do_not_matter() {
    for extra in [
        &["--otel-endpoint", "127.0.0.1:1", "--otel-endpoint-insecure"][..],
        &["--otel-endpoint", "no.such.host.invalid:4318"],
        &["--license", "/nowhere/license"],
    ] {
        let plugin = Plugin::start_with(extra, &[]);
        let request = cq_source_s3::cloudquery::proto::plugin_v3::get_name::Request {};
        assert_eq!(plugin.client().await.get_name(request).await.unwrap().into_inner().name, "s3");
        let lines = plugin.stop();
        let bad = lines.iter().filter(|line| line["level"] == "warn" || line["level"] == "error").count();
        assert_eq!(bad, 0, "{lines:#?}");
    }
}

#[tokio::test]
async fn item_19_no_stdin_no_home_no_tmpdir() {
    // The harness passes no environment at all and /dev/null as stdin; here stdin is closed for good.
    let mut command = command(&["serve", "--log-format", "json", "--address", "127.0.0.1:0"]);
    command.stdin(Stdio::piped());
    let plugin = Plugin::spawn(&mut command, false);
    plugin.client().await;
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut child = command(&["serve", "--address", &address]).stderr(Stdio::piped()).spawn().unwrap();
    assert!(!wait(&mut child).0.success());
    let text = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(text.contains(&address), "{text}");
}
