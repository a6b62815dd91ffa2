//! `partitions`.

use crate::config::field_types::{FilledText, Flag, TextList, inline_schema, word};
use crate::config::layout::{Conflict, PartitionOrigin, PartitionSpec, TypeSpec};
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, quote, type_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The words for `partitions`. Some readers of YAML make `false` of `off`.
const WORDS: [&str; 2] = ["off", "hive"];

/// `partitions` as a word or an object.
#[derive(Clone)]
pub(in crate::config) enum RawPartitions {
    Off,
    Object(Box<PartitionObject>),
}

impl JsonSchema for RawPartitions {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PartitionsField".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let object = generator.subschema_for::<PartitionObject>();
        json_schema!({"anyOf": [{"enum": [WORDS[0], WORDS[1], false]}, object]})
    }
}

/// How keys become columns.
#[derive(JsonSchema, Clone, Default)]
#[schemars(rename = "Partitions", deny_unknown_fields)]
pub(in crate::config) struct PartitionObject {
    /// `hive`: folders `name=value` become columns and are no longer part of the table's name. `none`: only what `path` or
    /// `regex` of a mapping captures.
    #[schemars(default, with = "Style", extend("default" = "none"))]
    pub(in crate::config) style: Option<Style>,

    /// Types of columns by name: `utf8` (also `text`, `string`), `int64`, `date`, `timestamp`, `bool`, `float64`,
    /// `decimal(12, 2)` (in quotes within `{}`), or an object with `type` and, for dates and timestamps, a `format` such as
    /// `%Y%m%d`. Others are found out from all listed keys.
    #[schemars(default, with = "ColumnTypes", extend("default" = {}))]
    pub(in crate::config) columns: Option<ColumnTypes>,

    /// Values that mean null, besides the empty one.
    #[schemars(default, with = "TextList", extend("default" = ["__HIVE_DEFAULT_PARTITION__"]))]
    pub(in crate::config) null_values: Option<TextList>,

    /// Whether `%XX` in names and values is decoded, as Hive, Spark and DuckDB write it.
    #[schemars(default, with = "Flag", extend("default" = true))]
    pub(in crate::config) decode: Option<Flag>,

    /// What happens if a file has a column of that name, too: the value of the `path` is taken, with one warning a table;
    /// that of the `file`; `both`, the file's under another name; or `error`: the table is left out.
    #[schemars(default, with = "Conflict", extend("default" = "path"))]
    pub(in crate::config) conflict: Option<Conflict>,

    /// Name of a timestamp column that the date variables of `path` make together.
    #[schemars(default, with = "FilledText")]
    pub(in crate::config) path_time: Option<FilledText>,

    /// Only objects for which all of these conditions hold are read, such as `dt >= 2024-01-01`, `dt >= today-7d`,
    /// `"region in [eu, us]"` (in quotes within `[]`), `x != 3`, `x is null`. In large buckets, keys that cannot match are
    /// not even listed.
    #[schemars(rename = "where", default, with = "TextList", extend("default" = []))]
    pub(in crate::config) conditions: Option<TextList>,
}

/// The keys, in their order, for what must name them.
const KEYS: [&str; 7] = ["style", "columns", "null_values", "decode", "conflict", "path_time", "where"];

impl FromJson for RawPartitions {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let map = match value {
            Value::Object(map) => map,
            Value::Bool(false) => return Some(Self::Off),
            Value::String(text) if text == WORDS[0] => return Some(Self::Off),
            Value::String(text) if text == WORDS[1] => {
                let hive = PartitionObject { style: Some(Style::Hive), ..PartitionObject::default() };
                return Some(Self::Object(Box::new(hive)));
            }
            Value::String(text) => {
                mistakes.add(path, format!("must be `off`, `hive` or an object, found {}", quote(text)));
                return None;
            }
            other => {
                mistakes.add(path, format!("expected `off`, `hive` or an object, found {}", type_name(other)));
                return None;
            }
        };
        let mut object = ObjectReader::new(map, path);
        let [style, columns, null_values, decode, conflict, path_time, conditions] = KEYS;
        let partitions = PartitionObject {
            style: object.optional(style, mistakes),
            columns: object.optional(columns, mistakes),
            null_values: object.optional(null_values, mistakes),
            decode: object.optional(decode, mistakes),
            conflict: object.optional(conflict, mistakes),
            path_time: object.optional(path_time, mistakes),
            conditions: object.optional(conditions, mistakes),
        };
        object.finish(&[], mistakes);
        Some(Self::Object(Box::new(partitions)))
    }
}

impl RawPartitions {
    /// `conflict`, if it is given.
    pub(in crate::config) fn conflict(&self) -> Option<Conflict> {
        match self {
            Self::Off => None,
            Self::Object(object) => object.conflict,
        }
    }

    /// Of the top level, where they are used.
    pub(in crate::config) fn at_top(top: Option<&Self>) -> PartitionSpec {
        match top {
            Some(Self::Object(object)) => object.spec(PartitionOrigin::Top),
            Some(Self::Off) | None => PartitionSpec::default(),
        }
    }

    /// Of the mapping `field`, with those of the top level: key by key.
    pub(in crate::config) fn in_mapping(field: &str, given: Option<&Self>, top: Option<&Self>) -> PartitionSpec {
        let none = PartitionObject::default();
        let top = match top {
            Some(Self::Object(top)) => top,
            Some(Self::Off) | None => &none,
        };
        match given {
            None => top.spec(PartitionOrigin::Inherited),
            Some(Self::Off) => PartitionSpec::default(),
            Some(Self::Object(given)) => {
                let own = given.keys();
                given.over(top).spec(PartitionOrigin::Mapping { field: field.to_owned(), own })
            }
        }
    }
}

impl PartitionObject {
    /// The keys that are given.
    fn keys(&self) -> BTreeSet<&'static str> {
        let given = [
            self.style.is_some(),
            self.columns.is_some(),
            self.null_values.is_some(),
            self.decode.is_some(),
            self.conflict.is_some(),
            self.path_time.is_some(),
            self.conditions.is_some(),
        ];
        KEYS.into_iter().zip(given).filter_map(|(key, given)| given.then_some(key)).collect()
    }

    fn over(&self, top: &Self) -> Self {
        Self {
            style: self.style.or(top.style),
            columns: self.columns.as_ref().or(top.columns.as_ref()).cloned(),
            null_values: self.null_values.as_ref().or(top.null_values.as_ref()).cloned(),
            decode: self.decode.or(top.decode),
            conflict: self.conflict.or(top.conflict),
            path_time: self.path_time.as_ref().or(top.path_time.as_ref()).cloned(),
            conditions: self.conditions.as_ref().or(top.conditions.as_ref()).cloned(),
        }
    }

    fn spec(&self, origin: PartitionOrigin) -> PartitionSpec {
        PartitionSpec {
            origin,
            hive: self.style == Some(Style::Hive),
            columns: self.columns.as_ref().map(|columns| columns.0.clone()).unwrap_or_default(),
            null_values: self.null_values.as_ref().map(|list| list.0.clone()),
            decode: self.decode.map(|flag| flag.0),
            path_time: self.path_time.as_ref().map(|name| name.0.clone()),
            conditions: self.conditions.as_ref().map(|list| list.0.clone()).unwrap_or_default(),
        }
    }
}

/// `style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Style {
    Hive,
    None,
}

inline_schema!(Style; json_schema!({"type": "string", "enum": ["hive", "none"]}));

impl FromJson for Style {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &[("hive", Self::Hive), ("none", Self::None)], path, mistakes)
    }
}

const CONFLICTS: [(&str, Conflict); 4] =
    [("path", Conflict::Path), ("file", Conflict::File), ("both", Conflict::Both), ("error", Conflict::Error)];

inline_schema!(Conflict; json_schema!({"type": "string", "enum": CONFLICTS.map(|(word, _)| word)}));

impl FromJson for Conflict {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &CONFLICTS, path, mistakes)
    }
}

/// Types by the names of columns. Whether a word is a type is checked with the keys' rules.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct ColumnTypes(Vec<(String, TypeSpec)>);

inline_schema!(ColumnTypes; json_schema!({"type": "object", "additionalProperties": {"anyOf": [
    {"type": "string", "minLength": 1},
    {
        "type": "object",
        "properties": {"type": {"type": "string", "minLength": 1}, "format": {"type": "string", "minLength": 1}},
        "required": ["type"],
        "additionalProperties": false,
    },
]}}));

impl FromJson for ColumnTypes {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            let expected = "an object with names of columns and their types, such as {month: int64}";
            mistakes.add(path, format!("expected {expected}, found {}", type_name(value)));
            return None;
        };
        Some(Self(map.iter().filter_map(|(name, value)| column_type(name, value, path, mistakes)).collect()))
    }
}

fn column_type(name: &str, value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<(String, TypeSpec)> {
    let path = format!("{path}.{}", name.escape_debug());
    let spec = match value {
        Value::Object(map) => type_object(map, &path, mistakes)?,
        Value::String(_) => {
            let FilledText(word) = FilledText::from_json(value, &path, mistakes)?;
            TypeSpec { word, format: None }
        }
        other => {
            let expected = "a type such as int64, or an object with type and format";
            mistakes.add(path, format!("expected {expected}, found {}", type_name(other)));
            return None;
        }
    };
    Some((name.to_owned(), spec))
}

fn type_object(map: &Map<String, Value>, path: &str, mistakes: &mut Mistakes) -> Option<TypeSpec> {
    let mut object = ObjectReader::new(map, path);
    let word = object.required::<FilledText>("type", mistakes);
    let format = object.optional::<FilledText>("format", mistakes);
    object.finish(&[], mistakes);
    Some(TypeSpec { word: word?.0, format: format.map(|format| format.0) })
}
