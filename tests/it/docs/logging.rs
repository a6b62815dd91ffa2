//! docs/logging.md against the code: each line from level info on with its fields, and each field with its unit.

use super::{files_below, inline_code, page, rows};
use crate::rig::Rig;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use testkit::parquet_files as files;

/// Fields that every line may have; `telemetry` writes them.
const OWN_FIELDS: [&str; 7] = ["invocation_id", "level", "location", "message", "module", "target", "thread"];

/// A line that the code logs.
#[derive(Debug)]
struct Line {
    place: String,
    level: String,
    /// The text with its placeholders.
    message: String,
    fields: BTreeSet<String>,
}

/// A text of Rust code, with what continues a literal on the next line joined.
pub fn without_line_breaks(code: &str) -> String {
    let mut parts = code.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |joined, part| joined + part.trim_start())
}

/// The arguments of a macro's call, given the text behind its opening bracket.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut in_literal, mut escaped, mut start) = (0, false, false, 0);
    let mut arguments = Vec::new();
    for (at, c) in text.char_indices() {
        if in_literal {
            in_literal = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => in_literal = true,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                arguments.push(text[start..at].trim());
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    arguments
}

/// Every line that the code logs, outside of its unit tests.
fn lines_of_the_code() -> Vec<Line> {
    let mut lines = Vec::new();
    let sources = files_below("src").into_iter().filter(|name| name.ends_with(".rs") && !name.contains("tests"));
    for file in sources {
        let text = without_line_breaks(&page(&file));
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for call in code.split("tracing::").skip(1) {
            let Some((level, rest)) = call.split_once("!(") else { continue };
            if !["trace", "debug", "info", "warn", "error"].contains(&level) {
                continue;
            }
            let mut line =
                Line { place: file.clone(), level: level.to_owned(), message: String::new(), fields: BTreeSet::new() };
            for argument in arguments(rest) {
                if let Some(message) = argument.strip_prefix('"') {
                    line.message = message.trim_end_matches('"').to_owned();
                    break; // what follows are the message's arguments
                }
                let name = argument.split('=').next().unwrap_or_default().trim().trim_start_matches(['%', '?']);
                line.fields.insert(name.to_owned());
            }
            lines.push(line);
        }
    }
    lines
}

/// Whether a message of the page (an end of … stands for the rest) is this text of the code, whose placeholders stand for
/// anything.
fn is_message(of_the_page: &str, of_the_code: &str) -> bool {
    let fixed = of_the_code.split('{').next().unwrap_or_default();
    match of_the_page.strip_suffix('…') {
        Some(start) => {
            fixed.starts_with(start.trim_end()) || (fixed.len() < of_the_code.len() && start.starts_with(fixed))
        }
        None => of_the_page == of_the_code || (fixed.len() < of_the_code.len() && of_the_page.starts_with(fixed)),
    }
}

#[test]
fn each_line_of_the_page_is_logged_and_each_that_is_logged_is_on_the_page() {
    let text = page("docs/logging.md");
    let documented: Vec<(&str, &str, BTreeSet<String>)> = rows(&text, "## Lines")
        .into_iter()
        .map(|row| {
            let [level, message, fields, _] = row[..] else { panic!("a line has four cells: {row:?}") };
            (level, message.trim_matches('`'), inline_code(fields).into_iter().map(str::to_owned).collect())
        })
        .collect();
    let logged: Vec<Line> = lines_of_the_code().into_iter().filter(|line| line.level != "debug").collect();
    assert!(logged.len() > 20, "the lines of the code were not found");
    for (level, message, fields) in &documented {
        let is_logged =
            |line: &Line| line.level == *level && is_message(message, &line.message) && line.fields == *fields;
        assert!(logged.iter().any(is_logged), "no such line: {level} {message:?} {fields:?}");
    }
    for line in &logged {
        if line.message.starts_with('{') {
            continue; // made of parts elsewhere: the page describes them in a sentence
        }
        let on_the_page = documented.iter().any(|(level, message, fields)| {
            line.level == *level && is_message(message, &line.message) && line.fields == *fields
        });
        assert!(on_the_page, "docs/logging.md lacks a line of {}: {line:?}", line.place);
    }
}

/// Each field's unit, by the page.
fn units(text: &str) -> BTreeMap<&str, &str> {
    rows(text, "## Fields").into_iter().map(|row| (row[0].trim_matches('`'), row[1])).collect()
}

#[test]
fn each_field_of_the_code_has_a_unit_and_no_other_is_on_the_page() {
    let text = page("docs/logging.md");
    let units = units(&text);
    let mut logged: BTreeSet<String> = lines_of_the_code().into_iter().flat_map(|line| line.fields).collect();
    logged.extend(OWN_FIELDS.map(str::to_owned));
    let documented: BTreeSet<String> = units.keys().map(|&name| name.to_owned()).collect();
    let (lacking, surplus) = (logged.difference(&documented), documented.difference(&logged));
    assert_eq!((lacking.collect::<Vec<_>>(), surplus.collect::<Vec<_>>()), (vec![], vec![]), "lacking, surplus");
    for (field, unit) in units {
        for (ending, expected) in [("bytes", "bytes"), ("_ms", "ms"), ("seconds", "s"), ("_s", "s")] {
            assert!(!field.ends_with(ending) || unit.starts_with(expected), "{field} is in {unit}");
        }
    }
}

/// What the scan of the code might miss: the fields of real lines, and those of the summary, exactly.
#[tokio::test]
async fn fields_of_a_real_sync_are_on_the_page() {
    let text = page("docs/logging.md");
    let units = units(&text);
    let mut rig = Rig::with_arguments(&["--log-level", "debug"]).await;
    rig.s3.put("orders/1.parquet", files::flat(10, 1));
    rig.s3.put("orders/broken.parquet", vec![b'x'; 1_000]);
    let sync = rig.sync(json!({"on_object_error": "skip"})).await;
    assert_eq!(sync.status.map(|status| status.to_string()), None);
    let lines = rig.plugin.stop();
    for line in &lines {
        for field in line.as_object().expect("an object").keys() {
            assert!(units.contains_key(field.as_str()), "docs/logging.md lacks {field} of {line}");
        }
    }
    let summary = lines.iter().find(|line| line["message"] == "sync finished").expect("a summary");
    let fields: BTreeSet<&str> = summary.as_object().expect("an object").keys().map(String::as_str).collect();
    let row = rows(&text, "## Lines").into_iter().find(|row| row[1] == "`sync finished`").expect("a row");
    let mut documented: BTreeSet<&str> = inline_code(row[2]).into_iter().collect();
    documented.extend(["invocation_id", "level", "message", "module"]);
    if cfg!(not(target_os = "linux")) {
        documented.remove("peak_memory_bytes");
    }
    assert_eq!(fields, documented);
}
