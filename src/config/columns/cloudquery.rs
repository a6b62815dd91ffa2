//! `cq_columns` and `restore_types` as they are typed.

use super::{CqColumns, RestoreTypes};
use crate::config::field_types::{AnyText, inline_schema, word};
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, quote, type_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

inline_schema!(CqColumns; json_schema!({"type": "string", "enum": ["rename", "drop", "restore"]}));

impl FromJson for CqColumns {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let words = [("rename", Self::Rename), ("drop", Self::Drop), ("restore", Self::Restore)];
        word(value, &words, path, mistakes)
    }
}

/// `restore_types`.
#[derive(Debug, Clone)]
pub(in crate::config) struct RawRestoreTypes(pub(in crate::config) RestoreTypes);

inline_schema!(RawRestoreTypes; json_schema!({"anyOf": [
    {"enum": ["off", "cloudquery", false]},
    {
        "type": "object",
        "properties": {"tables_json": {"type": "string", "minLength": 1}},
        "required": ["tables_json"],
        "additionalProperties": false,
    },
]}));

impl FromJson for RawRestoreTypes {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        const EXPECTED: &str = "`off`, `cloudquery` or {tables_json: KEY}";
        let map = match value {
            Value::Object(map) => map,
            // What YAML 1.1 makes of `off`.
            Value::Bool(false) => return Some(Self(RestoreTypes::Off)),
            Value::String(text) if text == "off" => return Some(Self(RestoreTypes::Off)),
            Value::String(text) if text == "cloudquery" => return Some(Self(RestoreTypes::CloudQuery)),
            Value::String(text) => {
                mistakes.add(path, format!("must be {EXPECTED}, found {}", quote(text)));
                return None;
            }
            other => {
                mistakes.add(path, format!("expected {EXPECTED}, found {}", type_name(other)));
                return None;
            }
        };
        let mut object = ObjectReader::new(map, path);
        let key = object.required::<AnyText>("tables_json", mistakes);
        object.finish(&[], mistakes);
        let AnyText(key) = key?;
        if key.is_empty() {
            let text = "must be the key of an object: what `cloudquery tables --format json` wrote";
            mistakes.add(format!("{path}.tables_json"), text);
            return None;
        }
        Some(Self(RestoreTypes::TablesJson { key }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_types_come_from() {
        let of = |value| {
            let value: Value = value;
            RawRestoreTypes::from_json(&value, "restore_types", &mut Mistakes::default()).map(|raw| raw.0)
        };
        assert_eq!(of(json!("off")), Some(RestoreTypes::Off));
        assert_eq!(of(json!("cloudquery")), Some(RestoreTypes::CloudQuery));
        assert_eq!(of(json!({"tables_json": "a/b"})), Some(RestoreTypes::TablesJson { key: "a/b".into() }));
        for value in [json!("on"), json!({}), json!({"tables_json": ""}), json!({"tables_json": 1}), json!(true)] {
            assert!(of(value.clone()).is_none(), "{value}");
        }
    }
}
