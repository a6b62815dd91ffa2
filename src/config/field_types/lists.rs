//! Lists of texts.

use super::{AnyText, inline_schema};
use crate::config::glob::{self, GLOB_PATTERN};
use crate::config::object_reader::{FromJson, Mistakes, quote, wrong_type};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// Globs over keys; only their syntax is checked here.
#[derive(Debug)]
pub(in crate::config) struct GlobList(pub(in crate::config) Vec<String>);

inline_schema!(GlobList; json_schema!({
    "type": "array", "items": {"type": "string", "minLength": 1, "pattern": GLOB_PATTERN}
}));

impl FromJson for GlobList {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(items) = value.as_array() else {
            mistakes.add(path, wrong_type("a list of texts", value));
            return None;
        };
        let mut globs = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(AnyText(text)) = AnyText::from_json(item, &path, mistakes) else { continue };
            globs.extend(glob(&text, path, mistakes));
        }
        Some(Self(globs))
    }
}

/// A text that is a glob.
fn glob(text: &str, path: String, mistakes: &mut Mistakes) -> Option<String> {
    match glob::to_regex(text) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            mistakes.add(path, format!("{} is not a valid pattern: {error}", quote(text)));
            None
        }
    }
}

/// Any texts.
#[derive(Debug, Clone)]
pub(in crate::config) struct TextList(pub(in crate::config) Vec<String>);

inline_schema!(TextList; json_schema!({"type": "array", "items": {"type": "string"}}));

impl FromJson for TextList {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(items) = value.as_array() else {
            mistakes.add(path, wrong_type("a list of texts", value));
            return None;
        };
        let texts = items.iter().enumerate();
        let texts = texts.filter_map(|(index, item)| AnyText::from_json(item, &format!("{path}[{index}]"), mistakes));
        Some(Self(texts.map(|text| text.0).collect()))
    }
}

/// A glob, or a list of at least one.
#[derive(Debug)]
pub(in crate::config) struct GlobOrGlobs(pub(in crate::config) Vec<String>);

inline_schema!(GlobOrGlobs; json_schema!({"anyOf": [
    {"type": "string", "minLength": 1, "pattern": GLOB_PATTERN},
    {"type": "array", "items": {"type": "string", "minLength": 1, "pattern": GLOB_PATTERN}, "minItems": 1},
]}));

impl FromJson for GlobOrGlobs {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self(vec![glob(text, path.to_owned(), mistakes)?])),
            Value::Array(items) if items.is_empty() => {
                mistakes.add(path, "must have at least one pattern");
                None
            }
            Value::Array(_) => {
                GlobList::from_json(value, path, mistakes).filter(|list| !list.0.is_empty()).map(|l| Self(l.0))
            }
            other => {
                mistakes.add(path, wrong_type("text or a list of texts", other));
                None
            }
        }
    }
}
