//! The papers against the code: whatever README and CONTRIBUTING name must exist, and a command that they give must run.
//!
//! `just test-docs` also checks the recipes that they name, which needs `just`.

#![allow(clippy::expect_used, reason = "what fails here fails the test, helpers included")]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PLUGIN: &str = env!("CARGO_BIN_EXE_cq-source-s3");
const PAGES: [&str; 5] = ["README.md", ".github/CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/releasing.md"];
/// Set by `just test-docs` to the command that lists the recipes.
const JUST_VARIABLE: &str = "CQ_TEST_DOCS";
/// What the CloudQuery CLI has; its flags are its own business.
const CLOUDQUERY_COMMANDS: [&str; 5] = ["sync", "migrate", "tables", "validate-config", "test-connection"];
/// Commands that everyone has and that prove nothing about this project.
const FOREIGN_COMMANDS: [&str; 7] = ["git", "docker", "aws", "export", "cd", "sha256sum", "gh"];
/// A plugin answers within milliseconds; this is for a machine that does much else.
const START_TIMEOUT: Duration = Duration::from_secs(10);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// The command lines of all `sh` blocks: comments and empty lines left out, continued lines joined.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut in_block = false;
    let mut open = String::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            in_block = !in_block && language == "sh";
            continue;
        }
        let line = line.split(" #").next().unwrap_or_default().trim();
        if !in_block || line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(start) => open.push_str(start),
            None => commands.push(std::mem::take(&mut open) + line),
        }
    }
    commands
}

/// What stands between backticks, outside of blocks.
fn inline_code(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut spans = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    spans
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    for name in PAGES {
        let text = page(name);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = Path::new(name).parent().expect("a page has a folder");
            let target = if file.is_empty() { root().join(name) } else { root().join(folder).join(file) };
            assert!(target.exists(), "{name} links to {link}, which does not exist");
            if !heading.is_empty() {
                let target_text = fs::read_to_string(&target).expect("read the linked page");
                let anchors: BTreeSet<String> =
                    target_text.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
                assert!(anchors.contains(heading), "{name} links to {link}, but there is no such heading: {anchors:?}");
            }
        }
    }
}

/// The anchor that a Markdown heading gets.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn files_and_folders_in_backticks_exist() {
    for name in PAGES {
        let text = page(name);
        for span in inline_code(&text) {
            let folders = ["src/", "tests/", "docs/", "examples/", "proto/", ".ci/", ".github/"];
            let at_the_top = [".toml", ".lock", ".md", ".release", "justfile"];
            let ours = folders.iter().any(|folder| span.starts_with(folder))
                || (!span.contains('/') && at_the_top.iter().any(|ending| span.ends_with(ending)));
            if ours && !span.contains([' ', '*', '<', '{']) {
                assert!(root().join(span).exists(), "{name} names {span}, which does not exist");
            }
        }
    }
}

#[test]
fn commands_are_ones_that_exist_and_the_plugins_own_ones_run() {
    for name in PAGES {
        for command in commands(&page(name)) {
            let words: Vec<&str> = command.split_whitespace().collect();
            match words.as_slice() {
                ["cargo", "run", "--example", example, ..] => {
                    assert!(root().join(format!("examples/{example}.rs")).exists(), "{name}: {command}");
                }
                ["cargo", "build" | "test" | "install" | "doc", ..] => {}
                ["just", recipe, ..] => assert!(!recipe.starts_with('_'), "{name} names a private recipe: {command}"),
                ["cloudquery", subcommand, ..] => {
                    assert!(CLOUDQUERY_COMMANDS.contains(subcommand), "{name}: {command}");
                }
                ["cq-source-s3", "serve", flags @ ..] => assert_serves(name, &command, flags),
                ["cq-source-s3", arguments @ ..] => {
                    let status = Command::new(PLUGIN).args(arguments).stdout(Stdio::null()).status();
                    assert!(status.expect("start the plugin").success(), "{name}: {command} fails");
                }
                [first, ..] => assert!(FOREIGN_COMMANDS.contains(first), "{name}: nobody checks {command:?}"),
                [] => {}
            }
        }
    }
}

/// Runs a `serve` line of a page, on a port or socket of its own, and waits until it answers.
fn assert_serves(page: &str, command: &str, flags: &[&str]) {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("plugin.sock");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = port.expect("a free port").to_string();
    let unix = flags.windows(2).any(|pair| pair == ["--network", "unix"]);
    let mut arguments: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
    if let Some(at) = flags.iter().position(|&flag| flag == "--address") {
        arguments[at + 1] = if unix { socket.display().to_string() } else { port.clone() };
    } else {
        arguments.extend(["--address".to_owned(), port.clone()]);
    }
    let mut child = Command::new(PLUGIN)
        .arg("serve")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the plugin");
    let started = Instant::now();
    let answers = || if unix { socket.exists() } else { TcpStream::connect(&port).is_ok() };
    let mut served = answers();
    while !served && started.elapsed() < START_TIMEOUT && child.try_wait().expect("the process").is_none() {
        std::thread::sleep(Duration::from_millis(10));
        served = answers();
    }
    let _ = child.kill(); // it may have ended by itself
    let _ = child.wait();
    assert!(served, "{page}: {command} does not serve");
}

#[test]
fn flags_of_the_plugin_that_pages_name_exist() {
    let output = Command::new(PLUGIN).args(["serve", "--help"]).output().expect("start the plugin");
    let help = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let words: BTreeSet<&str> = help.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    for name in PAGES {
        let text = page(name);
        for flag in inline_code(&text).into_iter().filter(|span| span.starts_with("--")) {
            let flag = flag.split([' ', '=']).next().unwrap_or_default();
            let known = words.contains(flag) || matches!(flag, "--version" | "--help" | "--no-migrate");
            assert!(known, "{name} names {flag}, which `serve` does not have:\n{help}");
        }
    }
}

/// The variables that pages name are ones that something reads.
#[test]
fn variables_that_pages_name_exist() {
    let mut open: Vec<PathBuf> =
        [".ci", ".github/workflows", "benches", "build.rs", "justfile", "src", "tests/e2e", "tests/testkit"]
            .map(|name| root().join(name))
            .into();
    let mut code = String::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).expect("read a folder").map(|entry| entry.expect("an entry").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            code += &text;
        }
    }
    let variables = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
        words.filter(|word| word.starts_with("CQ_")).map(str::to_owned).collect()
    };
    let known = variables(&code);
    for name in PAGES {
        for variable in variables(&page(name)) {
            assert!(known.contains(&variable), "{name} names {variable}, which nothing reads");
        }
    }
}

/// The fields of the spec that pages show in a configuration are fields that the plugin takes.
#[test]
fn specs_in_pages_have_only_fields_of_the_schema() {
    let schema: serde_json::Value =
        serde_json::from_str(&cq_source_s3::spec::json_schema()).expect("the schema is JSON");
    let schema = schema.to_string();
    let text = page("README.md");
    let mut found = 0;
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    for document in blocks.flat_map(|block| block.split("---\n")).filter(|document| document.contains("kind: source")) {
        let inner = document.split_once("\n  spec:\n").expect("a source has a spec of its own").1;
        for line in inner.lines().take_while(|line| line.starts_with("    ")) {
            let field = line.trim_start().trim_start_matches("# ").split(':').next().unwrap_or_default();
            assert!(
                schema.contains(&format!("\"{field}\":")),
                "README shows the field {field}, which the schema lacks"
            );
            found += 1;
        }
    }
    assert!(found > 0, "README shows no spec");
}

/// Every `just …` that a page names, in a block or in a sentence, is a public recipe with documentation.
#[test]
fn recipes_that_pages_name_exist() {
    let Some(just) = std::env::var_os(JUST_VARIABLE) else {
        return; // `just test-docs` sets it: plain `cargo test` must not need just
    };
    let output =
        Command::new(just).args(["--dump", "--dump-format", "json"]).current_dir(root()).output().expect("start just");
    assert!(output.status.success(), "just: {}", String::from_utf8_lossy(&output.stderr));
    let dump: serde_json::Value = serde_json::from_slice(&output.stdout).expect("just prints JSON");
    let recipes = dump["recipes"].as_object().expect("recipes by name");
    for name in PAGES {
        let text = page(name);
        let lines = commands(&text);
        let named = inline_code(&text).into_iter().chain(lines.iter().map(String::as_str));
        for words in named.filter_map(|code| code.strip_prefix("just ")) {
            let recipe = words.split_whitespace().next().unwrap_or_default();
            let entry = recipes.get(recipe).unwrap_or_else(|| panic!("{name} names `just {recipe}`, no such recipe"));
            assert_eq!(entry["private"], false, "{name} names the private recipe {recipe}");
        }
    }
    for (recipe, entry) in recipes.iter().filter(|(_, entry)| entry["private"] == false) {
        assert!(entry["doc"].is_string(), "the recipe {recipe} has no documentation");
        assert!(entry["attributes"].to_string().contains("group"), "the recipe {recipe} is in no group");
    }
}
