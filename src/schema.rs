//! What columns are, whatever the format of the files: the ground floor that tables, casts, formats and state stand on.
//!
//! ```text
//! field (a file's column as it is read) ─▶ file (its outgoing type) ─▶ merge (of all files) ─▶ table (outgoing columns)
//!                 └──────────────────── fit (which of a file's columns is which of the table's) ◀──────────────┘
//! ```
//!
//! [`types`] are the outgoing types, which [`join`] joins where files have several and [`text_types`] tells from the values of
//! files of text, written in [`text_forms`]; [`names`] are the rules for outgoing names,
//! [`rules`] say which of the files' columns count and how files may differ, [`by_hand`] what the spec says of single ones.
//! Everything here is pure.

use crate::config::{
    CqColumns, MaxColumns, NestedAs, NewColumns, OnMismatch, RestoreTypes, SchemaOptions, TableOptions,
};
use crate::hash::{first_u64, hex, update_framed};
use sha2::{Digest, Sha256};

pub(crate) mod by_hand;
pub(crate) mod field;
pub(crate) mod file;
pub(crate) mod fit;
pub(crate) mod join;
pub mod merge;
pub(crate) mod names;
mod rank;
pub(crate) mod rules;
pub(crate) mod shared;
pub(crate) mod source_tables;
pub(crate) mod table;
pub(crate) mod text_forms;
pub(crate) mod text_types;
pub(crate) mod types;

/// Names the rules by which columns of files become columns of a table: outgoing types, nullability, and [`names`]. It is
/// kept with a table's schema in the state backend. Change it whenever the same file would give other columns than in the
/// last release: then the schemas of all files are read again.
pub const COLUMN_RULES: &str = "1";

/// [`COLUMN_RULES`] with the spec's choices that change columns of files: what a table's schema is kept under. `keys` are the
/// choices about columns of keys: those about values and those about types. The [`names::file_columns`] do not count: they are no columns of files, and
/// the state knows them by themselves.
#[must_use]
pub fn column_rules(options: &TableOptions, keys: Option<(&str, &str)>) -> String {
    let nested_as = match options.nested_as {
        NestedAs::Json => "json",
        // 2: lists of two levels that hold lists or maps have other types than in 0.1.0, which for JSON are all the same.
        NestedAs::Native => "native2",
    };
    let mut rules = format!("{COLUMN_RULES};nested_as={nested_as}");
    if let Some((values, types)) = keys {
        let hash = |text: &str| hex(&Sha256::digest(text)[..8]);
        rules.push_str(&format!(
            ";keys={};key_types={}",
            hash(&format!("{values}{:?}", options.conflict)),
            hash(types)
        ));
    }
    if options.schema.merges() {
        rules.push_str(";schema=merge");
        match options.schema.new_columns {
            // A table that would refuse a column has none to refuse, and its rows are those of `add`.
            NewColumns::Add | NewColumns::Fail => {}
            NewColumns::Rescue => rules.push_str(NEW_RESCUED),
            NewColumns::Ignore => rules.push_str(NEW_IGNORED),
        }
    }
    let chosen = options_that_change_columns(options);
    if !chosen.is_empty() {
        let mut hash = Sha256::new();
        chosen.iter().for_each(|text| update_framed(&mut hash, text));
        rules.push_str(&format!(";options={:016x}", first_u64(&hash.finalize())));
    }
    rules
}

/// What [`column_rules`] says of new columns that do not become columns.
const NEW_RESCUED: &str = ";new_columns=rescue";
/// The same of those that are left out.
const NEW_IGNORED: &str = ";new_columns=ignore";

/// Whether a schema that is kept under `stored`, and the rows that were sent with it, are as good under the rules of `today`:
/// they are the same, or new columns lose more than before, which says nothing of the columns and rows that are there.
#[must_use]
pub fn are_kept(stored: &str, today: &str) -> bool {
    fn parted(rules: &str) -> (String, u8) {
        let loss = if rules.contains(NEW_IGNORED) { 2 } else { u8::from(rules.contains(NEW_RESCUED)) };
        (rules.replace(NEW_IGNORED, "").replace(NEW_RESCUED, ""), loss)
    }
    let ((stored, loss_before), (today, loss)) = (parted(stored), parted(today));
    stored == today && loss_before <= loss
}

/// The other options of a table that change columns of files or their values, each as text; none where all are as by default.
/// Those that only decide whether a file is an error are none of them: what was sent stays right.
fn options_that_change_columns(options: &TableOptions) -> Vec<String> {
    let schema = &options.schema;
    let mut chosen = Vec::new();
    let may_rescue = schema.merges() || !options.columns.is_empty() || options.restore_types != RestoreTypes::Off;
    if may_rescue && schema.named_rescue_column() != SchemaOptions::default_rescue_name() {
        chosen.push(format!("schema.rescue_column={:?}", schema.named_rescue_column()));
    }
    match schema.on_mismatch {
        OnMismatch::Null if may_rescue => chosen.push("schema.on_mismatch=null".to_owned()),
        OnMismatch::Bad if may_rescue => chosen.push("schema.on_mismatch=bad".to_owned()),
        _ => {}
    }
    if schema.merges() && schema.max_columns != MaxColumns::default() {
        chosen.push(format!("limits.max_columns={}", schema.max_columns.0));
    }
    if !options.columns.is_empty() {
        let mut columns = options.columns.clone();
        columns.sort_by(|a, b| a.column.cmp(&b.column));
        chosen.extend(columns.iter().map(|column| format!("columns={}", column.fingerprint())));
    }
    chosen.extend(options.text_choices());
    match options.cq_columns {
        CqColumns::Rename => {}
        CqColumns::Drop => chosen.push("cq_columns=drop".to_owned()),
        CqColumns::Restore => chosen.push("cq_columns=restore".to_owned()),
    }
    match &options.restore_types {
        RestoreTypes::Off => {}
        RestoreTypes::CloudQuery => chosen.push("restore_types=cloudquery".to_owned()),
        RestoreTypes::TablesJson { key } => chosen.push(format!("restore_types.tables_json={key}")),
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Spec;
    use serde_json::{Value, json};

    fn rules(fields: Value) -> String {
        let mut spec = json!({"bucket": "my-bucket"});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        column_rules(&Spec::parse(spec.to_string().as_bytes()).unwrap().layout.options, None)
    }

    /// Frozen: under other rules all objects are read again.
    #[test]
    fn golden_rules() {
        let date = json!({"type": "date", "format": "%d.%m.%Y", "null_values": ["-"]});
        for (fields, expected) in [
            (json!({}), "1;nested_as=json"),
            (json!({"nested_as": "native"}), "1;nested_as=native2"),
            (json!({"columns": {}, "cq_columns": "rename", "restore_types": "off"}), "1;nested_as=json"),
            (json!({"schema": {"mode": "merge"}}), "1;nested_as=json;schema=merge"),
            (json!({"cq_columns": "drop"}), "1;nested_as=json;options=6efd0d6ce7c32cd8"),
            (json!({"columns": {"b": "int", "a": date}}), "1;nested_as=json;options=6af68ea7c52eff11"),
            (json!({"restore_types": {"tables_json": "k"}}), "1;nested_as=json;options=dc0a3f34c8bc7dc1"),
        ] {
            assert_eq!(rules(fields.clone()), expected, "{fields}");
        }
    }

    #[test]
    fn each_choice_about_columns_has_rules_of_its_own() {
        let choices = [
            json!({}),
            json!({"cq_columns": "drop"}),
            json!({"cq_columns": "restore"}),
            json!({"restore_types": "cloudquery"}),
            json!({"restore_types": {"tables_json": "k"}}),
            json!({"restore_types": {"tables_json": "l"}}),
            json!({"columns": {"a": "int64"}}),
            json!({"columns": {"a": "int32"}}),
            json!({"columns": {"b": "int64"}}),
            json!({"columns": {"a": {"drop": true}}}),
            json!({"columns": {"a": {"name": "b"}}}),
            json!({"columns": {"a": {"type": "int64", "null_values": [""]}}}),
            json!({"columns": {"a": {"type": "date"}}}),
            json!({"columns": {"a": {"type": "date", "format": "%Y%m%d"}}}),
            json!({"columns": {"a": {"type": "date", "unit": "s"}}}),
            json!({"columns": {"a": {"type": "timestamp", "timezone": "+01:00"}}}),
            json!({"columns": {"a": "int64"}, "schema": {"rescue_column": "rest"}}),
            json!({"columns": {"a": "int64"}, "schema": {"on_mismatch": null}}),
            json!({"schema": {"mode": "merge"}}),
            json!({"schema": {"mode": "merge", "on_mismatch": null}}),
            json!({"schema": {"mode": "merge", "new_columns": "rescue"}}),
            json!({"schema": {"mode": "merge", "new_columns": "ignore"}}),
        ];
        let all: std::collections::BTreeSet<String> = choices.iter().cloned().map(rules).collect();
        assert_eq!(all.len(), choices.len());
        assert_eq!(rules(json!({"columns": {"a": "int"}})), rules(json!({"columns": {"a": {"type": "int64"}}})));
    }

    #[test]
    fn choices_that_only_decide_about_errors_change_no_rules() {
        let merged = rules(json!({"schema": {"mode": "merge"}}));
        for choice in [
            json!({"on_mismatch": "fail"}),
            json!({"new_columns": "fail"}),
            json!({"missing_columns": "fail"}),
            json!({"on_type_change": "fail"}),
            json!({"on_type_change": "widen"}),
        ] {
            let mut schema = choice.clone();
            schema["mode"] = "merge".into();
            assert_eq!(rules(json!({"schema": schema})), merged, "{choice}");
        }
        assert_eq!(rules(json!({"schema": {"on_mismatch": null}})), rules(json!({})), "nothing is there to fit");
    }

    #[test]
    fn what_was_sent_stays_where_new_columns_lose_more() {
        let with =
            |choice: &str| rules(json!({"columns": {"a": "int"}, "schema": {"mode": "merge", "new_columns": choice}}));
        let (add, rescue, ignore) = (with("add"), with("rescue"), with("ignore"));
        for (stored, today) in [(&add, &rescue), (&add, &ignore), (&rescue, &ignore), (&rescue, &rescue)] {
            assert!(are_kept(stored, today), "{stored} {today}");
        }
        for (stored, today) in [(&rescue, &add), (&ignore, &add), (&ignore, &rescue)] {
            assert!(!are_kept(stored, today), "{stored} {today}");
        }
        assert!(!are_kept(&rules(json!({})), &rescue));
    }
}
