//! From JSON text to field values: every mistake is collected with the path of its field, none ends the reading.
//!
//! serde's own derive stops at the first mistake, cannot tell where a nested one is, and likes to quote the value it
//! did not expect, which may be a secret. So the fields are read one by one from a generic JSON value; texts of
//! mistakes name types and limits, and quote only values that cannot be secret.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// One mistake of the user: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The field, as `credentials.role_arn` or `include[2]`; `spec` for the whole.
    pub path: String,
    /// What is wrong, what was expected.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// All mistakes found so far, in the order of the fields.
#[derive(Debug, Default)]
pub(super) struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    /// Notes one mistake.
    pub(super) fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.push(Mistake { path: path.into(), text: text.into() });
    }
}

/// A type that a field of the spec can have.
pub(super) trait FromJson: Sized {
    /// Reads `value`; on a mistake notes it under `path` and gives `None`.
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self>;
}

/// Longest value quoted in a mistake, in characters: enough to recognise it, too short to flood a log line.
const QUOTE_CHARS: usize = 80;

/// A user's text, fit for one line of an error.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTE_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().count() > QUOTE_CHARS {
        quoted.push('…');
    }
    format!("\"{quoted}\"")
}

/// The name of a JSON value's type, as YAML users say it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing (null)",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The text of a wrong type; never shows the value.
pub(super) fn wrong_type(expected: &str, value: &Value) -> String {
    let hint = match value {
        Value::Null => "; leave the key out to get the default",
        Value::Number(_) | Value::Bool(_) if expected.starts_with("text") => "; put it in quotes",
        Value::String(_) if expected.contains("number") || expected.starts_with("true") => "; write it without quotes",
        Value::String(_) if expected.starts_with("a list") => "; write [\"…\"] even for a single one",
        _ => "",
    };
    format!("expected {expected}, found {}{hint}", type_name(value))
}

/// Reads the fields of one JSON object and then knows which keys are left over.
pub(super) struct ObjectReader<'a> {
    map: &'a Map<String, Value>,
    /// With a trailing dot; empty for the spec itself.
    path: String,
    known: Vec<&'static str>,
}

impl<'a> ObjectReader<'a> {
    /// Starts reading `map`, whose place in the spec is `path` (empty for the spec itself).
    pub(super) fn new(map: &'a Map<String, Value>, path: &str) -> Self {
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Self { map, path, known: Vec::new() }
    }

    /// A field that may be left out.
    pub(super) fn optional<T: FromJson>(&mut self, name: &'static str, mistakes: &mut Mistakes) -> Option<T> {
        self.known.push(name);
        let value = self.map.get(name)?;
        T::from_json(value, &format!("{}{name}", self.path), mistakes)
    }

    /// A field that must be there.
    pub(super) fn required<T: FromJson>(&mut self, name: &'static str, mistakes: &mut Mistakes) -> Option<T> {
        if !self.map.contains_key(name) {
            mistakes.add(format!("{}{name}", self.path), "is required");
        }
        self.optional(name, mistakes)
    }

    /// Notes every key that no field asked for, with the likely meant one. `elsewhere` are fields of other objects.
    pub(super) fn finish(self, elsewhere: &[&str], mistakes: &mut Mistakes) {
        for key in self.map.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let text = match suggest(key, &self.known, elsewhere) {
                Some(meant) => format!("unknown key; did you mean `{meant}`?"),
                None => format!("unknown key; known are {}", self.known.join(", ")),
            };
            let shown: String = key.chars().take(QUOTE_CHARS).flat_map(char::escape_debug).collect();
            mistakes.add(format!("{}{shown}", self.path), text);
        }
    }
}

/// Names that other S3 plugins and tools use for a field of ours.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("aws_access_key_id", "access_key_id"),
    ("aws_secret_access_key", "secret_access_key"),
    ("aws_session_token", "session_token"),
    ("file_type", "filetype"),
    ("force_path_style", "path_style"),
    ("format", "filetype"),
    ("no_sign_request", "anonymous"),
    ("prefix", "path_prefix"),
    ("profile", "local_profile"),
    ("requester_pays", "request_payer"),
    ("secret_key", "secret_access_key"),
    ("use_path_style", "path_style"),
];

/// Below this similarity (0 to 1) a suggestion would rather confuse.
const SIMILAR_ENOUGH: f64 = 0.6;

/// The field that `key` probably meant: one of `known`, else a full path of `elsewhere`.
fn suggest<'n>(key: &str, known: &[&'n str], elsewhere: &[&'n str]) -> Option<&'n str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let key = OTHER_NAMES.iter().find(|(other, _)| *other == key).map_or(key.as_str(), |(_, ours)| ours);
    let leaf = |path: &'n str| path.rsplit('.').next().unwrap_or(path);
    let likeness = |path: &'n str| strsim::normalized_damerau_levenshtein(key, leaf(path));
    // An equal name elsewhere beats a similar one here: `role_arn` beside `credentials` means `credentials.role_arn`.
    let candidates = known.iter().chain(elsewhere).copied();
    candidates
        .map(|path| (likeness(path), path))
        .filter(|(likeness, _)| *likeness >= SIMILAR_ENOUGH)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, path)| path)
}

/// Parses JSON text; also gives the keys that occur twice in one object (of which JSON says nothing and parsers keep
/// any).
pub(super) fn parse_json(text: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let Checked { value, twice } = serde_json::from_slice(text)?;
    Ok((value, twice))
}

/// A JSON value and the keys that were given twice in it.
struct Checked {
    value: Value,
    twice: Vec<String>,
}

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CheckedVisitor)
    }
}

struct CheckedVisitor;

impl From<Value> for Checked {
    fn from(value: Value) -> Self {
        Self { value, twice: Vec::new() }
    }
}

impl<'de> Visitor<'de> for CheckedVisitor {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Checked, E> {
        Ok(Value::from(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Checked, E> {
        Ok(Value::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Checked, E> {
        Ok(Value::from(value).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Checked, E> {
        Ok(Value::from(value).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Checked, E> {
        Ok(Value::from(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Checked, A::Error> {
        let mut twice = Vec::new();
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Checked>()? {
            twice.extend(item.twice);
            list.push(item.value);
        }
        Ok(Checked { value: Value::Array(list), twice })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checked, A::Error> {
        let mut twice = Vec::new();
        let mut map = Map::new();
        while let Some((key, item)) = entries.next_entry::<String, Checked>()? {
            twice.extend(item.twice.into_iter().map(|inner| format!("{key}.{inner}")));
            if map.contains_key(&key) {
                twice.push(key.clone());
            }
            map.insert(key, item.value);
        }
        Ok(Checked { value: Value::Object(map), twice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_likely_field() {
        let known = ["bucket", "region", "path_prefix", "path_style", "filetype"];
        let elsewhere = ["credentials.role_arn", "credentials.access_key_id"];
        let meant = |key| suggest(key, &known, &elsewhere);
        assert_eq!(meant("buckt"), Some("bucket"));
        assert_eq!(meant("Bucket"), Some("bucket"));
        assert_eq!(meant("prefix"), Some("path_prefix"));
        assert_eq!(meant("use_path_style"), Some("path_style"));
        assert_eq!(meant("role_arn"), Some("credentials.role_arn"));
        assert_eq!(meant("aws_access_key_id"), Some("credentials.access_key_id"));
        assert_eq!(meant("frobnicate"), None);
    }

    #[test]
    fn finds_keys_given_twice_at_any_depth() -> Result<(), serde_json::Error> {
        let (value, twice) = parse_json(br#"{"a": 1, "b": {"c": [{"d": 1, "d": 2}]}, "a": 3}"#)?;
        assert_eq!(twice, ["b.c.d", "a"]);
        assert_eq!(value["a"], 3);
        Ok(())
    }

    #[test]
    fn quotes_fit_one_line() {
        assert_eq!(quote("a\n\"b"), r#""a\n\"b""#);
        assert_eq!(quote(&"x".repeat(81)), format!("\"{}…\"", "x".repeat(80)));
    }
}
