//! `bad_rows`.

use crate::config::bad_rows::{BadRows, DEFAULT_BAD_ROWS_TABLE, MostBadRows, OnBadRow};
use crate::config::field_types::{Number, Text, TextRule, inline_schema, word, words};
use crate::config::object_reader::{FromJson, Mistakes, ObjectReader, quote, type_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// What becomes of records of text formats that cannot be read.
#[derive(JsonSchema, Clone, Default)]
#[schemars(rename = "BadRows", deny_unknown_fields)]
pub(in crate::config) struct RawBadRows {
    /// `fail`: the object is in error behind the rows before the record. `skip`: the record is counted, and left out. `table`: as
    /// `skip`, and it goes to a table of its own.
    #[schemars(default, with = "OnBadRow", extend("default" = "fail"))]
    on: Option<OnBadRow>,

    /// With `skip` or `table`: an object with more such records is in error. A number, or a part of its records such as `1%`. Left
    /// out it is 1,000 or 1%, whichever is more.
    #[schemars(default, with = "RawMost")]
    max: Option<RawMost>,

    /// With `table`: the name of that table, in which `{{TABLE}}` is the table of the rows.
    #[schemars(default, with = "Text<TableRule>", extend("default" = DEFAULT_BAD_ROWS_TABLE))]
    table: Option<RawTable>,
}

impl FromJson for RawBadRows {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(map) = value.as_object() else {
            let hint = if value.is_string() { "; write {on: skip}" } else { "" };
            mistakes.add(path, format!("expected an object with keys such as on, found {}{hint}", type_name(value)));
            return None;
        };
        // YAML 1.1, which the CLI reads, takes the key `on` for the word true.
        let with_on = map.get("true").filter(|_| !map.contains_key("on")).map(|on| {
            let mut map = map.clone();
            map.remove("true");
            map.insert("on".to_owned(), on.clone());
            map
        });
        let mut object = ObjectReader::new(with_on.as_ref().unwrap_or(map), path);
        let bad_rows = Self {
            on: object.optional("on", mistakes),
            max: object.optional("max", mistakes),
            table: object.optional("table", mistakes),
        };
        object.finish(&[], mistakes);
        Some(bad_rows)
    }
}

impl RawBadRows {
    /// The options, key by key those of a mapping, or else those of the top level.
    pub(in crate::config) fn over(own: Option<&Self>, top: Option<&Self>) -> BadRows {
        let given = || own.into_iter().chain(top);
        let on = given().find_map(|raw| raw.on).unwrap_or_default();
        BadRows {
            on,
            max: given().find_map(|raw| raw.max).map(|max| max.0).filter(|_| on != OnBadRow::Fail),
            table: given()
                .find_map(|raw| raw.table.as_ref())
                .map_or_else(|| DEFAULT_BAD_ROWS_TABLE.to_owned(), |table| table.0.clone()),
        }
    }

    /// Whether it says what a bad record does.
    pub(in crate::config) fn says_on(&self) -> bool {
        self.on.is_some()
    }

    /// The rules between keys, given that records are treated like `on`; `path` is that of `bad_rows`.
    pub(in crate::config) fn check(&self, on: OnBadRow, path: &str, mistakes: &mut Mistakes) {
        if self.max.is_some() && on == OnBadRow::Fail {
            mistakes
                .add(format!("{path}.max"), "is only for `on: skip` and `on: table`; with fail there is no bad record");
        }
        if self.table.is_some() && on != OnBadRow::Table {
            mistakes.add(format!("{path}.table"), "is only for `on: table`");
        }
    }
}

/// `max`.
#[derive(Clone, Copy)]
struct RawMost(MostBadRows);

struct PercentRule;

impl TextRule for PercentRule {
    const PATTERN: &'static str = "^(?:100|[0-9]{1,2}(?:[.][0-9]{1,4})?)%$";
    const EXPECTED: &'static str = "a number of records, or from 0% to 100% of them such as \"1%\"";

    fn hint(text: &str) -> Option<String> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| format!("must be {}, found {}; write a number without quotes", Self::EXPECTED, quote(text)))
    }
}

inline_schema!(RawMost; json_schema!({"anyOf": [
    Number::json_schema(&mut SchemaGenerator::default()),
    Text::<PercentRule>::json_schema(&mut SchemaGenerator::default()),
]}));

impl FromJson for RawMost {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if value.is_number() {
            return Number::from_json(value, path, mistakes).map(|number| Self(MostBadRows::Records(number.0)));
        }
        if !value.is_string() {
            mistakes.add(path, format!("expected {}, found {}", PercentRule::EXPECTED, type_name(value)));
            return None;
        }
        let text = Text::<PercentRule>::from_json(value, path, mistakes)?.0;
        text.strip_suffix('%')?.parse().ok().map(|percent| Self(MostBadRows::Percent(percent)))
    }
}

/// `table`.
#[derive(Clone)]
struct RawTable(String);

struct TableRule;

impl TextRule for TableRule {
    const PATTERN: &'static str = "^(?:[^{}]|\\{\\{TABLE\\}\\})+$";
    // More than destinations take: what is longer is cut with a hash.
    const LENGTH: (usize, usize) = (1, 200);
    const EXPECTED: &'static str = "the name of a table of at most 200 characters, in which only {{TABLE}} is known";
}

impl FromJson for RawTable {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let text = Text::<TableRule>::from_json(value, path, mistakes)?.0;
        if text == "{{TABLE}}" {
            mistakes.add(path, "would be the table of the rows; write some text beside {{TABLE}}");
            return None;
        }
        Some(Self(text))
    }
}

words!(OnBadRow; "fail" => Self::Fail, "skip" => Self::Skip, "table" => Self::Table);
