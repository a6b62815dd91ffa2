//! An explanation as text for people and as JSON for programs. Pure.

use super::explain::{Explanation, Outcome, Seen};
use super::render::Tone;
use super::terminal::{Layout, printable};
use crate::words::count;
use arrow::temporal_conversions::timestamp_s_to_datetime;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The text.
pub(crate) fn text(explanation: &Explanation, layout: &Layout) -> String {
    let Explanation { bucket, key, seen, steps, outcome, table, is_done } = explanation;
    let mut text = String::new();
    let place = layout.paint(Tone::Strong, &printable(&format!("s3://{bucket}/{key}")));
    let _ = writeln!(text, "{place}\n{}\n", object(seen));
    let rules = steps.iter().map(|step| step.label().len()).max().unwrap_or(0);
    for step in steps {
        let (mark, tone) = if step.passes { ("✓", Tone::Good) } else { ("✗", Tone::Error) };
        let _ = writeln!(text, "  {} {:<rules$}  {}", layout.paint(tone, mark), step.label(), printable(&step.text));
    }
    let table = printable(table.as_deref().unwrap_or_default());
    let (tone, end) = match outcome {
        Outcome::Read if *is_done == Some(true) => {
            (Tone::Good, format!("part of table {table}; an earlier sync sent it, so it is not read again"))
        }
        Outcome::Read if *is_done == Some(false) => {
            (Tone::Good, format!("part of table {table}; the next sync reads it"))
        }
        Outcome::Read => (Tone::Good, format!("part of table {table}")),
        Outcome::Archived => (Tone::Warning, format!("part of table {table}, but archived: `on_archived` decides")),
        Outcome::NotSelected => (Tone::Warning, format!("part of table {table}, which is not selected")),
        Outcome::NotListed => (Tone::Warning, "not listed".to_owned()),
        Outcome::Nameless => (Tone::Error, "an error that ends a sync: nothing names its table".to_owned()),
        Outcome::Refused => (Tone::Error, format!("part of table {table}, which a sync would leave out with an error")),
        Outcome::Skipped(reason) => (Tone::Warning, format!("skipped: {}", reason.name())),
    };
    let _ = writeln!(text, "\n{}", layout.paint(tone, &end));
    text
}

fn object(seen: &Seen) -> String {
    match seen {
        Seen::Listed(object) => {
            let modified =
                timestamp_s_to_datetime(object.last_modified_s).map(|time| format!(", last modified {time} UTC"));
            let archived = if object.archived { ", archived" } else { "" };
            format!("{}{}{archived}", count(object.size_bytes, "byte"), modified.unwrap_or_default())
        }
        Seen::Assumed { size_bytes } => format!("{}, as --size says; S3 was not asked", count(*size_bytes, "byte")),
        Seen::Missing => "there is no such object; if there were one:".to_owned(),
    }
}

/// The JSON.
pub(crate) fn value(explanation: &Explanation) -> Value {
    let Explanation { bucket, key, seen, steps, outcome, table, is_done } = explanation;
    let (status, size_bytes, last_modified_s) = match seen {
        Seen::Listed(object) => ("listed", Some(object.size_bytes), Some(object.last_modified_s)),
        Seen::Assumed { size_bytes } => ("assumed", Some(*size_bytes), None),
        Seen::Missing => ("missing", None, None),
    };
    let last_modified = last_modified_s.and_then(timestamp_s_to_datetime);
    let (outcome, reason) = match outcome {
        Outcome::Read => ("read", None),
        Outcome::Archived => ("archived", None),
        Outcome::NotSelected => ("not_selected", None),
        Outcome::NotListed => ("not_listed", None),
        Outcome::Nameless => ("nameless", None),
        Outcome::Refused => ("refused", None),
        Outcome::Skipped(reason) => ("skipped", Some(reason.name())),
    };
    let steps = steps.iter().map(|step| json!({"rule": step.rule, "passes": step.passes, "text": step.text}));
    json!({
        "format_version": super::json::FORMAT_VERSION,
        "bucket": bucket,
        "key": key,
        "object": status,
        "size_bytes": size_bytes,
        "last_modified": last_modified.map(|time| time.to_string().replace(' ', "T") + "Z"),
        "steps": steps.collect::<Vec<_>>(),
        "outcome": outcome,
        "skip_reason": reason,
        "table": table,
        "done": is_done,
    })
}
