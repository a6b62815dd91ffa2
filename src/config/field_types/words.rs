//! Yes or no, and one of a few words.

use super::inline_schema;
use crate::config::layout::{FileType, Unmapped};
use crate::config::object_reader::{FromJson, Mistakes, quote, wrong_type};
use crate::config::{Compression, Format, NestedAs, OnError};
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

/// The word, also where YAML made nothing of `null`.
pub(in crate::config) fn word_or_null<T>(
    value: &Value,
    words: &[(&str, T)],
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<T>
where
    T: Copy,
{
    let null = Value::from("null");
    word(if value.is_null() { &null } else { value }, words, path, mistakes)
}

/// Implements `JsonSchema` and [`FromJson`] for a type of a few words.
macro_rules! words {
    ($type:ty; $($word:literal => $meaning:expr),+) => {
        inline_schema!($type; json_schema!({"type": "string", "enum": [$($word),+]}));

        impl FromJson for $type {
            fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
                word(value, &[$(($word, $meaning)),+], path, mistakes)
            }
        }
    };
}

pub(in crate::config) use words;

inline_schema!(FileType; {
    let words: Vec<&str> = file_type_words().iter().map(|(word, _)| *word).collect();
    json_schema!({"type": "string", "enum": words})
});

impl FromJson for FileType {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("orc")) {
            let words: Vec<String> = file_type_words().iter().map(|(word, _)| format!("`{word}`")).collect();
            let text = format!(
                "ORC is not supported: write the files as Parquet, which has the same types; must be {}",
                words.join(" or ")
            );
            mistakes.add(path, text);
            return None;
        }
        word(value, &file_type_words(), path, mistakes)
    }
}

/// The words of `filetype`, the default first.
fn file_type_words() -> Vec<(&'static str, FileType)> {
    let mut words: Vec<_> = Format::WORDS.iter().map(|(word, format)| (*word, FileType::Of(*format))).collect();
    words.insert(1, ("auto", FileType::Auto));
    words
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

/// `compression`; `None`: by the object's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct RawCompression(pub(in crate::config) Option<Compression>);

/// The word for [`RawCompression`] by the first bytes.
const BY_CONTENT: &str = "auto";

inline_schema!(RawCompression; {
    let words = std::iter::once(BY_CONTENT).chain(Compression::ALL.iter().map(|compression| compression.word()));
    json_schema!({"type": "string", "enum": words.collect::<Vec<_>>()})
});

impl FromJson for RawCompression {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let codecs = Compression::ALL.iter().map(|compression| (compression.word(), Self(Some(*compression))));
        let words: Vec<_> = std::iter::once((BY_CONTENT, Self(None))).chain(codecs).collect();
        word(value, &words, path, mistakes)
    }
}
