//! The pages against the code: what a page names must exist, what it links to must be there, and a command that it gives
//! must run.
//!
//! `just test-docs` also checks the recipes that pages name, which needs `just`, and runs the container commands.

#![allow(clippy::expect_used, reason = "what fails here fails the test, helpers included")]

mod configs;
mod conformance;
mod logging;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PLUGIN: &str = env!("CARGO_BIN_EXE_cq-source-s3");
/// Pages that are not below `docs`.
const OTHER_PAGES: [&str; 4] = ["README.md", ".github/CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
/// The page whose `docker run` lines `readme::` of tests/e2e runs: it reads no other.
const CONTAINER_PAGE: &str = "docs/container.md";
/// A README that is longer is no longer read.
const MAX_README_LINES: usize = 180;
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

/// All files below a folder of the repository, by their paths from the root, in order.
fn files_below(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).expect("read a folder").map(|entry| entry.expect("an entry").path()));
        } else {
            let path = path.strip_prefix(root()).expect("a path below the root");
            files.push(path.to_str().expect("a path in UTF-8").replace('\\', "/"));
        }
    }
    files.sort();
    files
}

/// All pages, by their paths from the root.
fn pages() -> Vec<String> {
    let docs = files_below("docs").into_iter().filter(|name| name.ends_with(".md"));
    OTHER_PAGES.into_iter().map(str::to_owned).chain(docs).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("read {name}: {error}"))
}

/// The blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}\n");
    text.split(start.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// The command lines of all `sh` blocks: comments and empty lines left out, continued lines joined.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut open = String::new();
    for line in blocks(text, "sh").iter().flat_map(|block| block.lines()) {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(start) => open.push_str(start),
            None => commands.push(std::mem::take(&mut open) + line),
        }
    }
    commands
}

/// The lines outside of blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    })
}

/// What is between backticks, outside of blocks.
fn inline_code(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The cells of the tables below a heading, row by row, without the tables' own headings.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let lines = section.lines().take_while(|line| !line.starts_with("## "));
    let cells = lines.filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    cells.skip_while(|line| !line.starts_with("---")).skip(1).map(|line| line.split(" | ").collect()).collect()
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://"))
}

/// The file that a link of a page leads to, and the heading in it; empty for the file as a whole.
fn target<'a>(page: &str, link: &'a str) -> (PathBuf, &'a str) {
    let (file, heading) = link.split_once('#').unwrap_or((link, ""));
    let folder = root().join(page).parent().expect("a page has a folder").to_owned();
    (if file.is_empty() { root().join(page) } else { folder.join(file) }, heading)
}

/// The anchor that a Markdown heading gets.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    for name in pages() {
        let text = page(&name);
        for link in links(&text) {
            let (file, heading) = target(&name, link);
            assert!(file.exists(), "{name} links to {link}, which does not exist");
            if !heading.is_empty() {
                let text = fs::read_to_string(&file).expect("read the linked page");
                let anchors: Vec<String> = prose(&text).filter(|line| line.starts_with('#')).map(anchor).collect();
                let count = anchors.iter().filter(|anchor| *anchor == heading).count();
                assert_eq!(count, 1, "{name} links to {link}; headings: {anchors:?}");
            }
        }
    }
}

/// A reader who starts at the README finds every page.
#[test]
fn each_page_is_linked_from_the_readme() {
    let mut seen = BTreeSet::new();
    let mut open = vec!["README.md".to_owned()];
    while let Some(name) = open.pop() {
        // A page of an index, or one of the README itself: deeper links are for readers of that page.
        if seen.insert(name.clone()) && name.ends_with("README.md") {
            let text = page(&name);
            for link in links(&text) {
                let file = target(&name, link).0.canonicalize().expect("a linked file");
                let root = root().canonicalize().expect("the root");
                open.push(file.strip_prefix(root).expect("a file of ours").to_str().expect("UTF-8").replace('\\', "/"));
            }
        }
    }
    let lost: Vec<String> = pages().into_iter().filter(|page| !seen.contains(page)).collect();
    assert_eq!(lost, Vec::<String>::new(), "neither the README nor an index links to these");
}

#[test]
fn the_readme_is_short_and_no_line_leaves_code_open() {
    assert!(page("README.md").lines().count() <= MAX_README_LINES);
    for name in pages() {
        for line in prose(&page(&name)) {
            // Code over two lines would hide from these tests.
            assert!(line.matches('`').count() % 2 == 0, "{name}: {line}");
        }
    }
}

#[test]
fn files_and_folders_in_backticks_exist() {
    for name in pages() {
        let text = page(&name);
        for span in inline_code(&text) {
            let folders = ["src/", "tests/", "benches/", "docs/", "examples/", "proto/", ".ci/", ".github/"];
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
    for name in pages() {
        for command in commands(&page(&name)) {
            let words: Vec<&str> = command.split_whitespace().collect();
            match words.as_slice() {
                ["cargo", "run", "--example", example, ..] => {
                    assert!(root().join(format!("examples/{example}.rs")).exists(), "{name}: {command}");
                }
                ["cargo", "build" | "test" | "install" | "doc", ..] => {}
                ["UPDATE_EXPECT=1" | "UPDATE_DOCS=1", "cargo", "test", ..] => {}
                ["just", recipe, ..] => assert!(!recipe.starts_with('_'), "{name} names a private recipe: {command}"),
                ["cloudquery", subcommand, ..] => {
                    assert!(CLOUDQUERY_COMMANDS.contains(subcommand), "{name}: {command}");
                }
                ["cq-source-s3", "serve", flags @ ..] => assert_serves(&name, &command, flags),
                ["cq-source-s3", "plan", "--spec", "config.yml", flags @ ..] => assert_plans(&name, &command, flags),
                ["cq-source-s3", arguments @ ..] => {
                    let status = Command::new(PLUGIN).args(arguments).stdout(Stdio::null()).status();
                    assert!(status.expect("start the plugin").success(), "{name}: {command} fails");
                }
                ["docker", "run", ..] => assert_eq!(name, CONTAINER_PAGE, "nobody runs {command:?}"),
                [first, ..] => assert!(FOREIGN_COMMANDS.contains(first), "{name}: nobody checks {command:?}"),
                [] => {}
            }
        }
    }
}

/// Runs a `plan` line of a page with an example for a config. An explanation of a key whose size is given needs no bucket.
fn assert_plans(page: &str, command: &str, flags: &[&str]) {
    let config = root().join("examples/sync.yml").display().to_string();
    let arguments = ["plan", "--spec", &config, "--explain", "exports/t/1.parquet", "--size", "1"];
    let status = Command::new(PLUGIN).args(arguments).args(flags).stdout(Stdio::null()).status();
    assert!(status.expect("start the plugin").success(), "{page}: {command} fails");
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
    let help_of = |command: &str| {
        let output = Command::new(PLUGIN).args([command, "--help"]).output().expect("start the plugin");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let help = help_of("serve") + &help_of("plan");
    let words: BTreeSet<&str> = help.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
    for name in pages() {
        let text = page(&name);
        for flag in inline_code(&text).into_iter().filter(|span| span.starts_with("--")) {
            let flag = flag.split([' ', '=']).next().unwrap_or_default();
            let known = words.contains(flag) || matches!(flag, "--version" | "--help" | "--no-migrate");
            assert!(known, "{name} names {flag}, which neither `serve` nor `plan` has:\n{help}");
        }
    }
}

/// The variables that pages name are ones that something reads.
#[test]
fn variables_that_pages_name_exist() {
    let folders = [".ci", ".github/workflows", "benches", "src", "tests"].into_iter().flat_map(files_below);
    let files = folders.chain(["build.rs".to_owned(), "justfile".to_owned()]);
    // What cannot be read as text is a fixture.
    let code: String = files.filter_map(|name| fs::read_to_string(root().join(name)).ok()).collect();
    let variables = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
        words.filter(|word| word.starts_with("CQ_")).map(str::to_owned).collect()
    };
    let known = variables(&code);
    for name in pages() {
        for variable in variables(&page(&name)) {
            assert!(known.contains(&variable), "{name} names {variable}, which nothing reads");
        }
    }
}

/// The messages that readers look up are ones that the plugin or the CLI says.
#[test]
fn messages_of_the_troubleshooting_page_exist() {
    let sources = files_below("src").into_iter().filter(|name| name.ends_with(".rs"));
    let code: String = sources.map(|name| logging::without_line_breaks(&page(&name))).collect();
    let text = page("docs/troubleshooting.md");
    let rows = rows(&text, "## Messages");
    assert!(!rows.is_empty());
    for row in rows {
        for message in inline_code(row[0]) {
            let of_the_cli = message == "jsonschema validation failed";
            assert!(of_the_cli || message.split('…').all(|part| code.contains(part.trim())), "nobody says {message:?}");
        }
    }
}

/// The names in the code of reasons are those that the log counts by.
#[test]
fn reasons_to_skip_an_object_are_on_the_page() {
    let sources = files_below("src").into_iter().filter(|name| name.ends_with(".rs")).map(|name| page(&name));
    let code = sources.filter_map(|text| Some(text.split_once("impl SkipReason {")?.1.to_owned())).next();
    let code = code.expect("the reasons are somewhere");
    let names = code.split("\n}\n").next().unwrap_or_default().split('"').skip(1).step_by(2);
    let text = page("docs/guarantees.md");
    let documented: BTreeSet<&str> =
        rows(&text, "## What is skipped").into_iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), documented);
}

/// The tests that a page names as those which fail exist, and the functions and types that it sends readers to.
#[test]
fn names_of_code_on_the_development_page_exist() {
    let code: String = ["src", "tests"]
        .into_iter()
        .flat_map(files_below)
        .filter_map(|name| name.ends_with(".rs").then(|| page(&name)))
        .collect();
    let words: BTreeSet<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    for name in ["docs/development.md", ".github/CONTRIBUTING.md"] {
        let text = page(name);
        let is_name = |span: &str| span.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
        for span in inline_code(&text).into_iter().filter(|span| is_name(span) && span.contains('_')) {
            let known = span.split("::").all(|word| words.contains(word));
            assert!(known || span.starts_with(|c: char| c.is_ascii_uppercase()), "{name} names {span}, no such code");
        }
    }
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
    for name in pages() {
        let text = page(&name);
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
