//! `docs/spec.md`, the reference of the spec, made from the JSON Schema: what is documented is what is checked.

use super::schema::{json_schema, schema_value};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

const INTRO: &str = "\
# Spec reference

What goes under `spec:` of the source. Names and defaults are those of earlier S3 source plugins where these have
the field. Unknown keys are refused. Mistakes are reported all at once, each with the path of its field.
`cloudquery validate-config` checks the same rules without reading anything. Secrets are never printed.

<!-- Generated from the JSON Schema (docs/spec-schema.json): UPDATE_DOCS=1 cargo test --lib config::reference_test -->
";

/// The reference as Markdown.
fn reference() -> String {
    let schema = schema_value();
    let mut text = INTRO.to_owned();
    table(&mut text, &schema["$defs"]["Spec"]);
    text.push_str("\n## `credentials`\n\n");
    text.push_str(
        "Left out, the AWS chain decides: variables, profiles, SSO, web identity, container and instance roles.\n",
    );
    table(&mut text, &schema["$defs"]["Credentials"]);
    for (title, object, before) in OBJECTS {
        let _ = write!(text, "\n## {title}\n\n{before}\n");
        table(&mut text, &schema["$defs"][object]);
    }
    text
}

/// The objects in fields of the spec: title, name in the schema, what stands above its table.
const OBJECTS: [(&str, &str, &str); 10] = [
    (
        "A mapping in `mappings`",
        "Mapping",
        "Exactly one of `path`, `glob` and `regex`. From `filetype` on, the fields are those of the top level, \
         from which a mapping takes what it leaves out; `partitions`, `schema` and `columns` are completed key by key. [docs/layouts.md](layouts.md) has a mapping for each usual layout.",
    ),
    (
        "`partitions`",
        "Partitions",
        "`hive` alone is short for `{style: hive}`. How types are found out, what happens to values of other types, and when \
         conditions spare requests, [docs/layouts.md](layouts.md) says.",
    ),
    ("`modified`", "Modified", "At least one of them."),
    (
        "`csv`",
        "Csv",
        "For CSV, and with other defaults for TSV, which is the text format of PostgreSQL and Hive: tabs, no quotes, `\\N` for null, and \
         `\\t`, `\\n` and `\\\\` in fields. Tab-separated CSV is `filetype: csv` with `delimiter: \"\\t\"`.",
    ),
    ("`json`", "Json", "For `json` and `jsonl`."),
    (
        "`bad_rows`",
        "BadRows",
        "What becomes of records of text that cannot be read. Such a record keeps its number, so that the ids of other rows stay the same.",
    ),
    ("`limits`", "Limits", "They hold for all tables."),
    (
        "`schema`",
        "Schema",
        "[docs/schemas.md](schemas.md) says how types are joined, what is rescued, and how a table changes from sync to sync.",
    ),
    ("`schema.sample`", "Sample", "Of Parquet, Avro and Arrow files, what they say of themselves is always read."),
    (
        "A column in `columns`",
        "Column",
        "A type alone is short for `{type: …}`. Types are those that messages print: `bool`, `int8` to `int64`, `uint8` to \
         `uint64`, `float32`, `float64`, `utf8`, `binary`, `date`, `time`, `timestamp`, `decimal(12, 2)`, `uuid`, `json`, \
         `inet`, `mac` and lists such as `list<int64>`; `int` and `bigint` (`int64`), `double` (`float64`), `text` and \
         `string` (`utf8`) are known, too. What becomes of which values, [docs/schemas.md](schemas.md) says.",
    ),
];

/// One table, a row for each property.
fn table(text: &mut String, object: &Value) {
    text.push_str("\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n");
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in object["properties"].as_object().into_iter().flatten() {
        let default = match &property["default"] {
            _ if required.contains(&name.as_str()) => "**required**".to_owned(),
            Value::Null => "–".to_owned(),
            Value::String(empty) if empty.is_empty() => "empty".to_owned(),
            Value::String(default) => format!("`{default}`"),
            other => format!("`{other}`"),
        };
        let meaning = property["description"].as_str().unwrap_or_default().replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {} | {default} | {meaning} |", type_of(property));
    }
}

/// A property's type and limits in a few words.
fn type_of(property: &Value) -> String {
    if let Some(words) = property["enum"].as_array() {
        let text = |word: &Value| word.as_str().map_or_else(|| word.to_string(), str::to_owned);
        let mut words: Vec<String> = words.iter().map(|word| format!("`{}`", text(word))).collect();
        // Where YAML makes nothing of the word null, both stand for it.
        words.dedup();
        return words.join(" or ");
    }
    if let Some(word) = property["const"].as_str() {
        return format!("`{word}`");
    }
    if property["oneOf"].is_array() {
        return "integer (bytes) or text".to_owned();
    }
    // Beside a type, alternatives are limits of it.
    if let Some(types) = property["anyOf"].as_array().filter(|_| property["type"].is_null()) {
        return types.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    match property["type"].as_str() {
        Some("integer") if !property["not"].is_null() => "integer, not 0".to_owned(),
        Some("integer") if property["maximum"].as_i64().is_some_and(|most| most < i64::from(i32::MAX)) => {
            format!("integer, {} to {}", property["minimum"], property["maximum"])
        }
        Some("integer") => format!("integer, at least {}", property["minimum"]),
        Some("string") => "text".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        // Texts with a rule of their own also refuse line ends.
        Some("array") if property["items"]["pattern"].is_string() && property["items"]["not"].is_null() => {
            "list of patterns".to_owned()
        }
        Some("array") if property["items"]["$ref"].is_string() => "list of objects".to_owned(),
        Some("array") => "list of texts".to_owned(),
        _ => "object".to_owned(),
    }
}

/// Compares a committed file with what it is made from, or rewrites it.
fn check(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{file} differs from what the code says; rewrite it with: UPDATE_DOCS=1 cargo test --lib config::reference_test"
    );
}

#[test]
fn committed_schema_is_current() {
    check("docs/spec-schema.json", &json_schema());
}

#[test]
fn committed_reference_is_current() {
    check("docs/spec.md", &reference());
}

#[test]
fn every_field_is_described() {
    let schema = schema_value();
    for object in [
        "Spec",
        "Credentials",
        "Mapping",
        "Partitions",
        "Modified",
        "Csv",
        "Json",
        "BadRows",
        "Limits",
        "Schema",
        "Sample",
        "Column",
    ] {
        for (name, property) in schema["$defs"][object]["properties"].as_object().unwrap() {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{object}.{name}");
        }
    }
}
