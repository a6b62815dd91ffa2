//! `columns` as it is typed: from names to types or objects.

use super::fields::{RawFormat, RawName, RawOffset, RawTexts, RawType, properties, type_schema};
use super::{ColumnChoice, TypeChoice, TypeWord, Unit};
use crate::config::field_types::Flag;
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, quote, type_name, wrong_type};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::HashMap;

/// Most columns that are set by hand: more than destinations take.
const MAX_COLUMNS: usize = 10_000;
/// What makes no sense without a type.
const OF_TYPES: [&str; 4] = ["format", "timezone", "unit", "null_values"];

/// `columns`.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct RawColumns(pub(in crate::config) Vec<ColumnChoice>);

impl JsonSchema for RawColumns {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (plain, object) = (type_schema(), generator.subschema_for::<ColumnObject>());
        json_schema!({
            "type": "object", "maxProperties": MAX_COLUMNS, "additionalProperties": {"anyOf": [plain, object]},
        })
    }
}

/// A column as an object.
struct ColumnObject;

impl JsonSchema for ColumnObject {
    fn schema_name() -> Cow<'static, str> {
        "Column".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let alone: Map<String, Value> =
            ["type", "name"].iter().chain(&OF_TYPES).map(|name| ((*name).to_owned(), json!(false))).collect();
        let needs: Map<String, Value> = OF_TYPES.iter().map(|name| ((*name).to_owned(), json!(["type"]))).collect();
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties(),
            "dependentRequired": needs,
            "anyOf": [
                {"required": ["type"]},
                {"required": ["name"]},
                {"required": ["drop"], "properties": {"drop": {"const": true}}},
            ],
            "if": {"required": ["drop"], "properties": {"drop": {"const": true}}},
            "then": {"properties": alone},
        })
    }
}

impl RawColumns {
    /// The choices of a mapping, with those of the top level for other columns.
    pub(in crate::config) fn over(given: Option<&Self>, top: Option<&Self>) -> Vec<ColumnChoice> {
        let given: &[ColumnChoice] = given.map_or(&[], |given| &given.0);
        let top = top.iter().flat_map(|top| &top.0);
        let others = top.filter(|choice| given.iter().all(|own| own.column != choice.column));
        given.iter().chain(others).cloned().collect()
    }
}

impl FromJson for RawColumns {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(path, wrong_type("an object from columns to types", value));
            return None;
        };
        if map.len() > MAX_COLUMNS {
            mistakes.add(path, format!("has {} columns; at most {MAX_COLUMNS} are taken", map.len()));
            return None;
        }
        let mut choices = Vec::with_capacity(map.len());
        let mut names: HashMap<String, String> = HashMap::new();
        for (column, value) in map {
            let path = format!("{path}.{}", shown(column));
            let Some(choice) = choice(column, value, &path, mistakes) else { continue };
            if let Some(name) = &choice.name
                && let Some(other) = names.insert(name.to_lowercase(), column.clone())
            {
                mistakes.add(format!("{path}.name"), format!("is the name of column {} already", quote(&other)));
            }
            choices.push(choice);
        }
        Some(Self(choices))
    }
}

/// A column's name, fit for the path of a mistake.
fn shown(column: &str) -> String {
    let text = quote(column);
    let inner = &text[1..text.len() - 1];
    if column.chars().all(|c| c.is_alphanumeric() || "_-#".contains(c)) { inner.to_owned() } else { text }
}

fn choice(column: &str, value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<ColumnChoice> {
    let plain = |typed| ColumnChoice { column: column.to_owned(), drop: false, name: None, typed };
    match value {
        Value::String(_) => {
            let RawType(word) = RawType::from_json(value, path, mistakes)?;
            Some(plain(Some(TypeChoice::plain(word))))
        }
        Value::Object(map) => {
            let before = mistakes.0.len();
            let choice = read_choice(map, path, mistakes);
            (mistakes.0.len() == before).then_some(ColumnChoice { column: column.to_owned(), ..choice })
        }
        other => {
            mistakes.add(path, format!("expected a type such as int64, or an object, found {}", type_name(other)));
            None
        }
    }
}

fn read_choice(map: &Map<String, Value>, path: &str, mistakes: &mut Mistakes) -> ColumnChoice {
    let mut object = ObjectReader::new(map, path);
    let word = object.optional::<RawType>("type", mistakes);
    let name = object.optional::<RawName>("name", mistakes);
    let format = object.optional::<RawFormat>("format", mistakes);
    let timezone = object.optional::<RawOffset>("timezone", mistakes);
    let unit = object.optional::<Unit>("unit", mistakes);
    let null_values = object.optional::<RawTexts>("null_values", mistakes);
    let drop = object.optional::<Flag>("drop", mistakes).is_some_and(|flag| flag.0);
    object.finish(&[], mistakes);
    let given = |name: &str| map.contains_key(name);
    if drop {
        for name in ["type", "name"].iter().chain(&OF_TYPES).filter(|name| given(name)) {
            mistakes.add(format!("{path}.{name}"), "must not be given together with drop: true; keep one of them");
        }
    } else if !given("type") {
        for name in OF_TYPES.iter().filter(|name| given(name)) {
            mistakes.add(format!("{path}.{name}"), "says how a type is read; give `type`, too");
        }
        if !given("name") && !OF_TYPES.iter().any(|name| given(name)) {
            mistakes.add(path, "says nothing; give `type`, `name` or `drop: true`");
        }
    }
    let typed = word.map(|RawType(word)| {
        check_options(&word, map, path, mistakes);
        TypeChoice {
            format: format.and_then(|text| text.compile(&word, path, mistakes)),
            unit,
            offset_s: timezone.map_or(0, |offset| offset.0),
            nanoseconds: false,
            null_values: null_values.map(|texts| texts.0).unwrap_or_default(),
            word,
        }
    });
    ColumnChoice { column: String::new(), drop, name: name.map(|name| name.0), typed }
}

/// Options that the type has no use for.
fn check_options(word: &TypeWord, map: &Map<String, Value>, path: &str, mistakes: &mut Mistakes) {
    let uses: [(&str, &[TypeWord]); 3] = [
        ("format", &[TypeWord::Date, TypeWord::Timestamp]),
        ("timezone", &[TypeWord::Timestamp]),
        ("unit", &[TypeWord::Date, TypeWord::Time, TypeWord::Timestamp]),
    ];
    for (name, of) in uses.iter().filter(|(name, of)| map.contains_key(*name) && !of.contains(word)) {
        let of: Vec<String> = of.iter().map(ToString::to_string).collect();
        mistakes.add(format!("{path}.{name}"), format!("is only for {}, the type is {word}", of.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromJson>(value: Value) -> Result<T, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let read = T::from_json(&value, "columns", &mut mistakes);
        let texts: Vec<String> = mistakes.0.iter().map(ToString::to_string).collect();
        match read {
            Some(read) if texts.is_empty() => Ok(read),
            _ => Err(texts),
        }
    }

    #[test]
    fn types_names_and_what_is_left_out() {
        let RawColumns(choices) = read(json!({
            "zip": "text",
            "amount": "decimal(12, 2)",
            "since": {"type": "date", "format": "%d.%m.%Y", "null_values": ["", "-"]},
            "at": {"type": "timestamp", "unit": "ms", "timezone": "-05:30", "name": "seen at"},
            "x#2": {"drop": true},
            "odd": {"drop": false, "name": "größe"},
        }))
        .unwrap();
        let by_name: HashMap<&str, &ColumnChoice> = choices.iter().map(|c| (c.column.as_str(), c)).collect();
        assert_eq!(by_name["zip"].typed, Some(TypeChoice::plain(TypeWord::Text)));
        assert_eq!(by_name["amount"].typed.as_ref().unwrap().word, TypeWord::Decimal { precision: 12, scale: 2 });
        let since = by_name["since"].typed.as_ref().unwrap();
        assert!(since.format.is_some() && since.null_values == ["", "-"]);
        let at = by_name["at"].typed.as_ref().unwrap();
        assert_eq!((at.unit, at.offset_s), (Some(Unit::Milliseconds), -19_800));
        assert_eq!(by_name["at"].name.as_deref(), Some("seen at"));
        assert!(by_name["x#2"].drop && by_name["x#2"].typed.is_none());
        assert!(!by_name["odd"].drop && by_name["odd"].name.as_deref() == Some("größe"));
    }

    #[test]
    fn mistakes_name_the_field() {
        for (value, expected) in [
            (json!(["a"]), "columns: expected an object from columns to types, found a list"),
            (json!({"a": 5}), "columns.a: expected a type such as int64, or an object, found a number"),
            (json!({"a b": "txt"}), "columns.\"a b\": must be a type: bool, "),
            (json!({"a": {}}), "columns.a: says nothing; give `type`, `name` or `drop: true`"),
            (json!({"a": {"drop": false}}), "columns.a: says nothing"),
            (json!({"a": {"type": "int", "drop": true}}), "columns.a.type: must not be given together with drop"),
            (json!({"a": {"format": "%Y"}}), "columns.a.format: says how a type is read; give `type`, too"),
            (json!({"a": {"type": "int64", "format": "%Y"}}), "columns.a.format: is only for date, timestamp"),
            (json!({"a": {"type": "date", "timezone": "Z"}}), "columns.a.timezone: is only for timestamp"),
            (json!({"a": {"type": "date", "format": "%Q"}}), "columns.a.format: \"%Q\": %Q is not supported"),
            (json!({"a": {"type": "date", "format": "%Y %H"}}), "columns.a.format: \"%Y %H\": a date has no %H"),
            (
                json!({"a": {"type": "timestamp", "timezone": "Europe/Berlin"}}),
                "columns.a.timezone: must be a fixed offset",
            ),
            (json!({"a": {"type": "timestamp", "unit": "h"}}), "columns.a.unit: must be `s` or `ms`"),
            (json!({"a": {"name": "_CQ_id"}}), "columns.a.name: must not start with _cq_ or _s3_"),
            (json!({"a": {"name": "x\"y"}}), "columns.a.name: must have no quotes"),
            (json!({"a": {"nme": "x"}}), "columns.a.nme: unknown key; did you mean `name`?"),
            (json!({"a": {"type": "text", "null_values": ["", 0]}}), "columns.a.null_values[1]: expected text"),
            (json!({"a": {"name": "X"}, "b": {"name": "x"}}), "columns.b.name: is the name of column \"a\" already"),
        ] {
            let mistakes = read::<RawColumns>(value.clone()).map(|_| ()).unwrap_err();
            assert!(mistakes[0].starts_with(expected), "{value}: {mistakes:?}");
        }
    }
}
