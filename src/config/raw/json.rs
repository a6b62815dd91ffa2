//! `json`.

use crate::config::NestedAs;
use crate::config::field_types::{Text, TextRule, inline_schema, word, words};
use crate::config::json::{DuplicateKeys, JsonAs, JsonOptions, JsonPointer, JsonRecords, JsonTypes};
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, quote, type_name, wrong_type};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// How JSON is read.
#[derive(JsonSchema, Clone, Default)]
#[schemars(rename = "Json", deny_unknown_fields)]
pub(in crate::config) struct RawJson {
    /// Where the records of an object are: a JSON pointer to a list, such as `/Records`. `auto`: they are lines, values behind each
    /// other, the items of a list, or the document itself, as the first bytes say.
    #[schemars(default, with = "Text<RecordsRule>", extend("default" = "auto"))]
    records: Option<RawRecords>,

    /// What a record becomes: a column for each key (`columns`), or one JSON column `data` with all of it (`document`).
    #[schemars(rename = "as", default, with = "JsonAs", extend("default" = "columns"))]
    read_as: Option<JsonAs>,

    /// JSON pointers to values beside the list of `records` that each row repeats: `/configSnapshotId` becomes the column
    /// `configSnapshotId`. They have to stand before the list.
    #[schemars(default, with = "RawKeep", extend("default" = []))]
    keep: Option<RawKeep>,

    /// How objects and lists travel, written as in `nested_as`, whose value it has where it is left out.
    #[schemars(default, with = "NestedAs")]
    nested: Option<NestedAs>,

    /// How columns get their types: `infer` from the values of a sample, or `text` for all scalars.
    #[schemars(default, with = "JsonTypes", extend("default" = "infer"))]
    types: Option<JsonTypes>,

    /// What becomes of records that have a key twice. `last`: its last value counts. `bad`: the record is bad, see `bad_rows`.
    #[schemars(default, with = "DuplicateKeys", extend("default" = "last"))]
    duplicate_keys: Option<DuplicateKeys>,
}

impl FromJson for RawJson {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            mistakes.add(path, format!("expected an object with keys such as records, found {}", type_name(value)));
            return None;
        };
        let mut object = ObjectReader::new(map, path);
        let json = Self {
            records: object.optional("records", mistakes),
            read_as: object.optional("as", mistakes),
            keep: object.optional("keep", mistakes),
            nested: object.optional("nested", mistakes),
            types: object.optional("types", mistakes),
            duplicate_keys: object.optional("duplicate_keys", mistakes),
        };
        object.finish(&[], mistakes);
        Some(json)
    }
}

impl RawJson {
    /// The options, key by key those of a mapping, or else those of the top level.
    pub(in crate::config) fn over(own: Option<&Self>, top: Option<&Self>) -> JsonOptions {
        fn first<T: Clone>(own: Option<&Option<T>>, top: Option<&Option<T>>) -> Option<T> {
            own.and_then(Option::as_ref).or(top.and_then(Option::as_ref)).cloned()
        }
        JsonOptions {
            records: first(own.map(|o| &o.records), top.map(|o| &o.records)).map(|raw| raw.0).unwrap_or_default(),
            read_as: first(own.map(|o| &o.read_as), top.map(|o| &o.read_as)).unwrap_or_default(),
            keep: first(own.map(|o| &o.keep), top.map(|o| &o.keep)).map(|raw| raw.0).unwrap_or_default(),
            nested: first(own.map(|o| &o.nested), top.map(|o| &o.nested)),
            types: first(own.map(|o| &o.types), top.map(|o| &o.types)).unwrap_or_default(),
            duplicate_keys: first(own.map(|o| &o.duplicate_keys), top.map(|o| &o.duplicate_keys)).unwrap_or_default(),
        }
    }
}

/// The rules between the keys; `path` is that of `json`.
pub(in crate::config) fn check(json: &JsonOptions, path: &str, mistakes: &mut Mistakes) {
    if let Err(error) = json.check_keep() {
        let text = error.to_string();
        mistakes.add(format!("{path}.keep"), text.strip_prefix("json.keep ").unwrap_or(&text));
    }
}

/// `records`.
#[derive(Clone)]
struct RawRecords(JsonRecords);

struct RecordsRule;

impl TextRule for RecordsRule {
    const PATTERN: &'static str = "^(?:auto|(?:/(?:[^~/]|~[01])*)+)$";
    const EXPECTED: &'static str = "a JSON pointer such as /Records, or `auto`";

    fn hint(text: &str) -> Option<String> {
        let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then(|| format!("must be {}, found {}; did you mean `/{text}`?", Self::EXPECTED, quote(text)))
    }
}

impl FromJson for RawRecords {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let text = Text::<RecordsRule>::from_json(value, path, mistakes)?.0;
        if text == "auto" {
            return Some(Self(JsonRecords::Auto));
        }
        text.parse().ok().map(|pointer| Self(JsonRecords::At(pointer)))
    }
}

/// `keep`.
#[derive(Clone)]
struct RawKeep(Vec<JsonPointer>);

struct PointerRule;

impl TextRule for PointerRule {
    const PATTERN: &'static str = "^(?:/(?:[^~/]|~[01])*)+$";
    const EXPECTED: &'static str = "a JSON pointer such as /accountId";
}

inline_schema!(RawKeep; json_schema!({
    "type": "array", "items": Text::<PointerRule>::json_schema(&mut SchemaGenerator::default())
}));

impl FromJson for RawKeep {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(items) = value.as_array() else {
            mistakes.add(path, wrong_type("a list of JSON pointers", value));
            return None;
        };
        let pointer = |(index, item): (usize, &Value)| {
            let text = Text::<PointerRule>::from_json(item, &format!("{path}[{index}]"), mistakes)?;
            text.0.parse().ok()
        };
        Some(Self(items.iter().enumerate().filter_map(pointer).collect()))
    }
}

words!(JsonAs; "columns" => Self::Columns, "document" => Self::Document);
words!(JsonTypes; "infer" => Self::Infer, "text" => Self::Text);
words!(DuplicateKeys; "last" => Self::Last, "bad" => Self::Bad);
