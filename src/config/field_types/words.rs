//! Yes or no, and one of a few words.

use super::inline_schema;
use crate::config::layout::{FileType, Unmapped};
use crate::config::object_reader::{FromJson, Mistakes, quote, wrong_type};
use crate::config::{NestedAs, OnError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

inline_schema!(Flag; json_schema!({"type": "boolean"}));

/// Yes or no.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Flag(pub(in crate::config) bool);

impl FromJson for Flag {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if value.as_bool().is_none() {
            mistakes.add(path, wrong_type("true or false", value));
        }
        value.as_bool().map(Self)
    }
}

/// One of a few words.
pub(in crate::config) fn word<T>(value: &Value, words: &[(&str, T)], path: &str, mistakes: &mut Mistakes) -> Option<T>
where
    T: Copy,
{
    let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let Some(text) = value.as_str() else {
        mistakes.add(path, wrong_type(&format!("text, {list}"), value));
        return None;
    };
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
    if found.is_none() {
        mistakes.add(path, format!("must be {list}, found {}", quote(text)));
    }
    found
}

inline_schema!(FileType; json_schema!({"type": "string", "enum": ["parquet"]}));

impl FromJson for FileType {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &[("parquet", Self::Parquet)], path, mistakes)
    }
}

inline_schema!(OnError; json_schema!({"type": "string", "enum": ["skip", "fail"]}));

impl FromJson for OnError {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &[("skip", Self::Skip), ("fail", Self::Fail)], path, mistakes)
    }
}

inline_schema!(NestedAs; json_schema!({"type": "string", "enum": ["json", "native"]}));

impl FromJson for NestedAs {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &[("json", Self::Json), ("native", Self::Native)], path, mistakes)
    }
}

inline_schema!(Unmapped; json_schema!({"type": "string", "enum": ["folder", "skip"]}));

impl FromJson for Unmapped {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &[("folder", Self::Folder), ("skip", Self::Skip)], path, mistakes)
    }
}
