//! The types that fields of the spec have. Each says once what it accepts: the same constants make its JSON Schema and
//! decide in [`FromJson`].

use super::glob::{self, GLOB_PATTERN};
use super::object_reader::{FromJson, Mistakes, quote, wrong_type};
use super::secret::Secret;
use super::{NestedAs, OnError};
use regex_automata::meta::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Duration;

/// Largest count: what fits the 32-bit integers that other plugins use for these fields. Far above any useful value.
pub(super) const MAX_COUNT: i64 = i32::MAX as i64;
/// Smallest `concurrency`, for the same reason; all negative numbers mean the same.
pub(super) const MIN_CONCURRENCY: i64 = i32::MIN as i64;
/// Smallest `memory_limit`, in bytes: one 16 MiB range in flight, its decoded batches and some queued messages.
pub(super) const MIN_MEMORY_BYTES: u64 = 32 << 20;
/// Largest `memory_limit`, in bytes: up to here a number survives the CLI, which handles all numbers as 64-bit floats.
pub(super) const MAX_MEMORY_BYTES: u64 = 1 << 53;

/// Most characters of a text without a limit of its own: session tokens, the longest, have some 2,000.
const MAX_TEXT_CHARS: usize = 65_536;

/// Implements `JsonSchema` for a type whose schema is written inside the field, not under `$defs`.
macro_rules! inline_schema {
    ($type:ty $(, $param:ident: $bound:ident)?; $schema:expr) => {
        impl$(<$param: $bound>)? JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// Reads an integer however it was written: 50, 50.0, 5e1. `None` if it has a fraction or is not a number.
fn integer(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    // A cast from float saturates, so 1e300 is just a very large number here.
    value.as_f64().filter(|number| number.fract() == 0.0).map(|number| number as i128)
}

/// The integer in `value` if it is within `min..=max`.
fn integer_within(value: &Value, min: i64, max: i64, path: &str, mistakes: &mut Mistakes) -> Option<i64> {
    match (integer(value), value) {
        (Some(number), _) if number < min.into() => {
            mistakes.add(path, format!("must be at least {min}, found {value}"))
        }
        (Some(number), _) if number > max.into() => mistakes.add(path, format!("must be at most {max}, found {value}")),
        (Some(number), _) => return i64::try_from(number).ok(),
        (None, Value::Number(_)) => mistakes.add(path, format!("expected a whole number, found {value}")),
        (None, _) => mistakes.add(path, wrong_type("a whole number", value)),
    }
    None
}

/// A count, at least 1.
#[derive(Debug)]
pub(super) struct Count(pub(super) i64);

inline_schema!(Count; json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_COUNT}));

impl FromJson for Count {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        integer_within(value, 1, MAX_COUNT, path, mistakes).map(Self)
    }
}

/// How much at a time: positive, or negative for no limit.
#[derive(Debug)]
pub(super) struct RawConcurrency(pub(super) i64);

inline_schema!(RawConcurrency; json_schema!({
    "type": "integer", "minimum": MIN_CONCURRENCY, "maximum": MAX_COUNT, "not": {"const": 0}
}));

impl FromJson for RawConcurrency {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let number = integer_within(value, MIN_CONCURRENCY, MAX_COUNT, path, mistakes)?;
        if number == 0 {
            mistakes.add(path, "must not be 0; give the number of objects to read at a time, or -1 for no limit");
            return None;
        }
        Some(Self(number))
    }
}

inline_schema!(Flag; json_schema!({"type": "boolean"}));

/// Yes or no.
#[derive(Debug)]
pub(super) struct Flag(pub(super) bool);

impl FromJson for Flag {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if value.as_bool().is_none() {
            mistakes.add(path, wrong_type("true or false", value));
        }
        value.as_bool().map(Self)
    }
}

/// One of a few words.
fn word<T>(value: &Value, words: &[(&str, T)], path: &str, mistakes: &mut Mistakes) -> Option<T>
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

/// Which files are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum FileType {
    /// Parquet files.
    #[default]
    Parquet,
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

/// Any text, also the empty one.
#[derive(Debug)]
pub(super) struct AnyText(pub(super) String);

inline_schema!(AnyText; json_schema!({"type": "string"}));

impl FromJson for AnyText {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        if !value.is_string() {
            mistakes.add(path, wrong_type("text", value));
        }
        value.as_str().map(|text| Self(text.to_owned()))
    }
}

/// What a text must look like.
pub(super) trait TextRule {
    /// A regular expression that ECMA 262, RE2 and Rust read alike, anchored at both ends. RE2 counts no repetition above
    /// 1,000: longer limits go into [`TextRule::LENGTH`].
    const PATTERN: &'static str;
    /// Least and most characters.
    const LENGTH: (usize, usize) = (1, MAX_TEXT_CHARS);
    /// The same in words, as in "must be …".
    const EXPECTED: &'static str;
    /// The text may hold a secret: mistakes must not quote it.
    const SECRET: bool = false;

    /// What to do about `text`, where it looks like a known misunderstanding. May quote it (see [`quote`]), but not
    /// what can be a password.
    fn hint(_text: &str) -> Option<String> {
        None
    }
}

/// A text that follows the rule `R`.
pub(super) struct Text<R>(pub(super) String, PhantomData<R>);

inline_schema!(Text<R>, R: TextRule; json_schema!({
    "type": "string",
    "minLength": R::LENGTH.0,
    "maxLength": R::LENGTH.1,
    "pattern": R::PATTERN,
    "not": line_feed()
}));

/// What no text may have whose pattern ends in `$`: for some engines (Python's, Perl's) that is also where a line feed at
/// the very end begins, and no other spelling of "the end" is understood by all of them.
fn line_feed() -> Value {
    json!({"pattern": "\\n"})
}

impl<R: TextRule> FromJson for Text<R> {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            mistakes.add(path, wrong_type("text", value));
            return None;
        };
        let (min, max) = R::LENGTH;
        if (min..=max).contains(&text.chars().count()) && matches(R::PATTERN, text) {
            return Some(Self(text.to_owned(), PhantomData));
        }
        // What stands before an @ may be a password, wherever someone pasted it.
        let quotable = !R::SECRET && !text.contains('@');
        let mistake = match R::hint(text) {
            _ if text.is_empty() => format!("must not be empty; it must be {}", R::EXPECTED),
            Some(hint) => hint,
            None if quotable => format!("must be {}, found {}", R::EXPECTED, quote(text)),
            None => format!("must be {}", R::EXPECTED),
        };
        mistakes.add(path, mistake);
        None
    }
}

/// The same, or an empty text, which counts as left out: other S3 plugins write such defaults out.
pub(super) struct OptionalText<R>(pub(super) Option<String>, PhantomData<R>);

inline_schema!(OptionalText<R>, R: TextRule; json_schema!({
    "type": "string", "maxLength": R::LENGTH.1, "pattern": format!("^$|{}", R::PATTERN), "not": line_feed()
}));

impl<R: TextRule> FromJson for OptionalText<R> {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        // An empty text would pass the schema whatever least length the rule has.
        const { assert!(R::LENGTH.0 == 1) };
        if value.as_str() == Some("") {
            return Some(Self(None, PhantomData));
        }
        Text::<R>::from_json(value, path, mistakes).map(|text| Self(Some(text.0), PhantomData))
    }
}

/// Whether `pattern`, one of our constants, accepts `text`. (A test compiles all of them.)
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

/// A secret that goes into request headers: no spaces, no line breaks.
pub(super) struct RawSecret(pub(super) Secret);

inline_schema!(RawSecret; Text::<SecretRule>::json_schema(&mut SchemaGenerator::default()));

impl FromJson for RawSecret {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        Text::<SecretRule>::from_json(value, path, mistakes).map(|text| Self(Secret::new(text.0)))
    }
}

struct SecretRule;

impl TextRule for SecretRule {
    const PATTERN: &'static str = "^[!-~]+$";
    const EXPECTED: &'static str = "one word of printable ASCII, without spaces and line breaks";
    const SECRET: bool = true;
}

/// Globs over keys; only their syntax is checked here.
#[derive(Debug)]
pub(super) struct GlobList(pub(super) Vec<String>);

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
            match glob::to_regex(&text) {
                Ok(_) => globs.push(text),
                Err(error) => mistakes.add(path, format!("{} is not a valid pattern: {error}", quote(&text))),
            }
        }
        Some(Self(globs))
    }
}

/// Bytes, as a number or as text with a binary unit.
#[derive(Debug)]
pub(super) struct MemoryLimit(pub(super) u64);

/// The units of `memory_limit` texts: name, bytes, most digits (so that nothing exceeds [`MAX_MEMORY_BYTES`]).
const UNITS: [(&str, u64, usize); 3] = [("KiB", 1 << 10, 12), ("MiB", 1 << 20, 9), ("GiB", 1 << 30, 6)];

inline_schema!(MemoryLimit; json_schema!({"oneOf": [
    {"type": "integer", "minimum": MIN_MEMORY_BYTES, "maximum": MAX_MEMORY_BYTES},
    {"type": "string", "pattern": memory_pattern(), "not": line_feed()},
]}));

/// A pattern of exactly the texts that are large enough.
fn memory_pattern() -> String {
    let with_unit = |(unit, bytes, digits): (&str, u64, usize)| {
        format!("(?:{}) ?{unit}", at_least(MIN_MEMORY_BYTES.div_ceil(bytes), digits))
    };
    format!("^(?:{})$", UNITS.map(with_unit).join("|"))
}

/// A pattern of the decimal numbers from `min` (at least 1) with at most `max_digits` digits and no leading zero.
fn at_least(min: u64, max_digits: usize) -> String {
    let digits = min.to_string().into_bytes();
    let run = |count: usize| match count {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        count => format!("[0-9]{{{count}}}"),
    };
    let mut alternatives = vec![min.to_string()];
    // Equal up to a digit, larger in that one, anything behind it.
    for (index, digit) in digits.iter().enumerate().rev().filter(|(_, digit)| **digit < b'9') {
        let head = String::from_utf8_lossy(&digits[..index]);
        alternatives.push(format!("{head}[{}-9]{}", char::from(digit + 1), run(digits.len() - index - 1)));
    }
    if digits.len() < max_digits {
        alternatives.push(format!("[1-9][0-9]{{{},{}}}", digits.len(), max_digits - 1));
    }
    alternatives.join("|")
}

impl FromJson for MemoryLimit {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            if !value.is_number() {
                mistakes.add(path, wrong_type("bytes as a whole number, or text such as \"512 MiB\"", value));
                return None;
            }
            // Both limits are below 2^53.
            let number = integer_within(value, MIN_MEMORY_BYTES as i64, MAX_MEMORY_BYTES as i64, path, mistakes)?;
            return u64::try_from(number).ok().map(Self);
        };
        let bytes = memory_bytes(text);
        match bytes {
            Some(bytes) if bytes < MIN_MEMORY_BYTES => {
                mistakes
                    .add(path, format!("must be at least 32 MiB ({MIN_MEMORY_BYTES} bytes), found {}", quote(text)));
                None
            }
            Some(bytes) => Some(Self(bytes)),
            None => {
                let expected = "must be bytes as a number, or a whole number with KiB, MiB or GiB such as \"512 MiB\"";
                mistakes.add(path, format!("{expected}, found {}", quote(text)));
                None
            }
        }
    }
}

/// The bytes that `text` means; `None` if its unit is unknown or it is too large.
fn memory_bytes(text: &str) -> Option<u64> {
    UNITS.iter().find_map(|(unit, unit_bytes, max_digits)| {
        let digits = text.strip_suffix(unit)?;
        let digits = digits.strip_suffix(' ').unwrap_or(digits);
        let plain =
            !digits.starts_with('0') && digits.len() <= *max_digits && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse::<u64>().ok()?.checked_mul(*unit_bytes) } else { None }
    })
}

/// A time span as text: a whole number with one unit.
#[derive(Debug)]
pub(super) struct RawDuration(pub(super) Duration);

/// Six digits: in days some 2,700 years, so nothing overflows.
const DURATION_PATTERN: &str = "^(?:0|[1-9][0-9]{0,5})[smhd]$";
/// The units of spans, in seconds.
const DURATION_UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

inline_schema!(RawDuration; json_schema!({"type": "string", "pattern": DURATION_PATTERN, "not": line_feed()}));

impl FromJson for RawDuration {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            mistakes.add(path, wrong_type("text such as \"24h\"", value));
            return None;
        };
        let span = duration(text).filter(|_| matches(DURATION_PATTERN, text));
        if span.is_none() {
            let expected = "must be a whole number of up to six digits with s, m, h or d, such as \"24h\"";
            mistakes.add(path, format!("{expected}, found {}", quote(text)));
        }
        span.map(Self)
    }
}

/// The span that a text of [`DURATION_PATTERN`] means.
fn duration(text: &str) -> Option<Duration> {
    DURATION_UNITS.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        Some(Duration::from_secs(number.checked_mul(*seconds)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromJson>(value: Value) -> Result<T, String> {
        let mut mistakes = Mistakes::default();
        T::from_json(&value, "field", &mut mistakes).ok_or_else(|| mistakes.0[0].text.clone())
    }

    #[test]
    fn integers_in_every_spelling() {
        for value in [json!(50), json!(50.0), serde_json::from_str("5e1").unwrap()] {
            assert_eq!(read::<Count>(value).unwrap().0, 50);
        }
        for (value, expected) in [
            (json!(0), "must be at least 1, found 0"),
            (json!(-3), "must be at least 1, found -3"),
            (json!(1e300), "must be at most 2147483647, found 1e+300"),
            (json!(u64::MAX), "must be at most 2147483647, found 18446744073709551615"),
            (json!(1.5), "expected a whole number, found 1.5"),
            (json!("500"), "expected a whole number, found text; write it without quotes"),
            (json!(null), "expected a whole number, found nothing (null); leave the key out to get the default"),
        ] {
            assert_eq!(read::<Count>(value).unwrap_err(), expected);
        }
    }

    #[test]
    fn memory_in_bytes_and_text() {
        for (value, bytes) in [
            (json!(33554432), 32 << 20),
            (json!(536870912.0), 512 << 20),
            (json!("512 MiB"), 512 << 20),
            (json!("1GiB"), 1 << 30),
            (json!("32768 KiB"), 32 << 20),
        ] {
            assert_eq!(read::<MemoryLimit>(value).unwrap().0, bytes);
        }
        for value in [
            json!(33554431),
            json!("31 MiB"),
            json!("32767 KiB"),
            json!("0 GiB"),
            json!("01 GiB"),
            json!("1.5 GiB"),
            json!("512 MB"),
            json!("512mib"),
            json!("1  GiB"),
            json!("1000000 GiB"),
            json!("GiB"),
            json!("+1 GiB"),
            json!(true),
            json!(9007199254740993u64),
        ] {
            assert!(read::<MemoryLimit>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn memory_pattern_means_the_same_as_the_parser() {
        let pattern = Regex::new(&memory_pattern()).unwrap();
        let numbers = (0..40_000_u64).chain([99_999, 100_000, 999_999, 1_000_000, 10_000_000_000, 999_999_999_999]);
        for number in numbers {
            for unit in ["KiB", " MiB", " GiB", "GB", ""] {
                let text = format!("{number}{unit}");
                let accepted = read::<MemoryLimit>(json!(text)).is_ok();
                assert_eq!(pattern.is_match(&text), accepted, "{text}");
            }
        }
    }

    #[test]
    fn spans_with_one_unit() {
        for (text, seconds) in
            [("24h", 86_400), ("0s", 0), ("90m", 5_400), ("7d", 604_800), ("999999d", 86_399_913_600)]
        {
            assert_eq!(read::<RawDuration>(json!(text)).unwrap().0.as_secs(), seconds, "{text}");
        }
        for value in [
            json!(""),
            json!("24"),
            json!("h"),
            json!("1h30m"),
            json!("-1h"),
            json!("+1h"),
            json!("1.5h"),
            json!("01h"),
            json!("1 h"),
            json!("1H"),
            json!("1000000s"),
            json!("1w"),
            json!(24),
        ] {
            assert!(read::<RawDuration>(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn a_secret_of_the_wrong_type_or_form_is_not_quoted() {
        for value in [json!(8_675_309), json!("86753 09"), json!(["8675309"]), json!({"8675309": 1})] {
            let mistake = read::<RawSecret>(value).map(|_| ()).unwrap_err();
            assert!(!mistake.contains("8675"), "{mistake}");
        }
    }
}
