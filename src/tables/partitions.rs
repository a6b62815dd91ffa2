//! Columns from keys: folders `name=value`, and what a mapping's pattern captured.
//!
//! What a key says is a pure function of it, so no value is stored per object: it is read again when rows need it.
//! Which columns a table has, and of which types, is found out from all its keys ([`Inference`]); a name that the spec
//! gives a type keeps that. Conditions ([`condition`]) prune keys before anything of them is read, and may spare the
//! listing whole ranges of keys ([`mod@narrow`]).

mod columns;
mod condition;
mod infer;
mod narrow;
mod ranges;
mod value;

use crate::times::{self, TimeFormat};
pub(super) use columns::Columns;
pub use columns::{Found, FoundValue};
pub use condition::{Bound, Conditions, Today};
pub use infer::{Cell, Column, Inference, StoredColumn, TooManyColumns};
pub use narrow::{Assumed, Narrowing, narrow};
pub use ranges::KeyRange;
pub use value::{KeyType, Typed, Value};

use crate::config::Mistake;
use crate::config::layout::{PartitionSpec, TypeSpec};
use crate::schema::names::fold;
use std::borrow::Cow;
use std::collections::HashMap;

/// The moment that a text is: RFC 3339, `YYYY-MM-DD HH:MM:SS` or a date, in microseconds since 1970.
pub(super) fn moment_us(text: &str) -> Option<i64> {
    times::iso_timestamp_us(text).or_else(|| Some(i64::from(times::iso_date(text)?) * times::DAY_US))
}

/// What Hive and Spark write for null.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Below this similarity (0 to 1) a suggestion would rather confuse.
const SIMILAR_ENOUGH: f64 = 0.6;

/// What makes columns of keys, in words that are equal if it is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRules {
    /// What values depend on: another choice changes them, also where the columns stay.
    pub values: String,
    /// The types of columns, which columns show.
    pub types: String,
}

/// `partitions`, checked.
#[derive(Debug)]
pub struct Partitions {
    /// Folders `name=value` are columns.
    pub hive: bool,
    /// What must hold for an object to be read.
    pub conditions: Conditions,
    /// Types that the spec gives, by folded name.
    typed: HashMap<String, Typed>,
    null_values: Vec<String>,
    decode: bool,
    path_time: Option<String>,
}

impl Partitions {
    /// Checks what can be checked without the mapping.
    pub(super) fn new(spec: &PartitionSpec, mistakes: &mut Vec<Mistake>) -> Self {
        let mut note = |path: String, text: String| mistakes.push(Mistake { path, text });
        let mut typed = HashMap::new();
        for (name, ty) in &spec.columns {
            let path = format!("{}.{name}", spec.field("columns"));
            match typed_of(ty) {
                Ok(ty) => {
                    if typed.insert(fold(name), ty).is_some() {
                        note(path, "is there twice, ignoring case; keep one".to_owned());
                    }
                }
                Err((field, mistake)) => note(format!("{path}{field}"), mistake),
            }
        }
        if spec.path_time.as_deref() == Some("") {
            note(spec.field("path_time"), "must not be empty".to_owned());
        }
        let null_values = spec.null_values.clone().unwrap_or_else(|| vec![HIVE_NULL.to_owned()]);
        let (decode, path_time) = (spec.decode.unwrap_or(true), spec.path_time.clone());
        let conditions = Conditions::read(&spec.conditions, &spec.field("where"), &null_values, mistakes);
        Self { hive: spec.hive, conditions, typed, null_values, decode, path_time }
    }

    /// What they say about columns and values, in words that are equal if it is the same.
    fn rules(&self) -> KeyRules {
        let Self { hive, typed, null_values, decode, path_time, .. } = self;
        let typed: std::collections::BTreeMap<_, _> = typed.iter().collect();
        let formats: Vec<_> = typed.iter().filter(|(_, typed)| typed.format.is_some()).collect();
        let types: Vec<_> = typed.iter().map(|(name, typed)| (name, typed.ty)).collect();
        KeyRules {
            values: format!("{hive} {formats:?} {null_values:?} {decode} {path_time:?}"),
            types: format!("{types:?}"),
        }
    }

    /// The text of a value, unless it is null.
    fn text<'a>(&self, raw: &'a str) -> FoundValue<'a> {
        let text = self.decoded(raw);
        if text.is_empty() || self.null_values.iter().any(|null| *null == text) {
            return FoundValue::Null;
        }
        FoundValue::Text(text)
    }

    fn decoded<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        if self.decode { percent_decoded(raw) } else { raw.into() }
    }

    /// The type that the spec gives a name.
    pub(super) fn typed(&self, ident: &str) -> Option<&Typed> {
        self.typed.get(ident)
    }

    pub(super) fn decodes(&self) -> bool {
        self.decode
    }

    pub(super) fn path_time(&self) -> Option<&str> {
        self.path_time.as_deref()
    }
}

/// The type, or which of its fields is wrong and how.
fn typed_of(spec: &TypeSpec) -> Result<Typed, (&'static str, String)> {
    let ty = KeyType::from_word(&spec.word).map_err(|mistake| ("", mistake))?;
    let Some(format) = &spec.format else { return Ok(Typed::plain(ty)) };
    if !matches!(ty, KeyType::Date | KeyType::Timestamp) {
        return Err((".format", format!("only for date and timestamp, the type is {ty}")));
    }
    let format = TimeFormat::new(format, ty == KeyType::Date).map_err(|mistake| (".format", mistake))?;
    Ok(Typed { ty, format: Some(format) })
}

/// `text` with each `%XX` as the byte that it stands for; as it is if that is not UTF-8, or a `%` stands alone.
fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => return text.into(),
            },
            (b'%', _) => return text.into(),
            (byte, behind) => (*byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8(bytes).map_or(text.into(), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// That there is no such column, with the one that was meant, or else with what to do.
fn unknown_column(name: &str, known: &[&str], otherwise: &str) -> String {
    let quoted = crate::config::quote(name);
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("there is no partition column {quoted}; did you mean {meant}?"),
        None if known.is_empty() => format!("there is no partition column {quoted}; {otherwise}"),
        None => format!("there is no partition column {quoted}; there are {}", known.join(", ")),
    }
}

/// The candidate that is most like `word`, if one is like it.
pub(super) fn nearest<'n>(word: &str, candidates: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    candidates
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= SIMILAR_ENOUGH)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, candidate)| candidate)
}
