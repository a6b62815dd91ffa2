//! Counts and sizes.

use super::{inline_schema, line_feed};
use crate::config::object_reader::{FromJson, Mistakes, quote, wrong_type};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// Largest count: what fits the 32-bit integers that other plugins use for these fields. Far above any useful value.
pub(in crate::config) const MAX_COUNT: i64 = i32::MAX as i64;
/// Smallest `concurrency`, for the same reason; all negative numbers mean the same.
pub(in crate::config) const MIN_CONCURRENCY: i64 = i32::MIN as i64;
/// Smallest `memory_limit`, in bytes: one 16 MiB range in flight, its decoded batches and some queued messages.
pub(in crate::config) const MIN_MEMORY_BYTES: u64 = 32 << 20;
/// Largest `memory_limit`, in bytes: up to here a number survives the CLI, which handles all numbers as 64-bit floats.
pub(in crate::config) const MAX_MEMORY_BYTES: u64 = 1 << 53;

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
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Count(pub(in crate::config) i64);

inline_schema!(Count; json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_COUNT}));

impl FromJson for Count {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        integer_within(value, 1, MAX_COUNT, path, mistakes).map(Self)
    }
}

/// How much at a time: positive, or negative for no limit.
#[derive(Debug)]
pub(in crate::config) struct RawConcurrency(pub(in crate::config) i64);

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

/// A number from 0 on.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Number(pub(in crate::config) u64);

inline_schema!(Number; json_schema!({"type": "integer", "minimum": 0, "maximum": MAX_COUNT}));

impl FromJson for Number {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        u64::try_from(integer_within(value, 0, MAX_COUNT, path, mistakes)?).ok().map(Self)
    }
}

/// A number within limits.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct NumberWithin<const MIN: i64, const MAX: i64>(pub(in crate::config) i64);

impl<const MIN: i64, const MAX: i64> JsonSchema for NumberWithin<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Number{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": MIN, "maximum": MAX})
    }
}

impl<const MIN: i64, const MAX: i64> FromJson for NumberWithin<MIN, MAX> {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        integer_within(value, MIN, MAX, path, mistakes).map(Self)
    }
}

/// Bytes, as a number or as text with a binary unit. (The JSON Schema does not know the most that a text may mean.)
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct ByteCount<const MIN: u64, const MAX: u64>(pub(in crate::config) u64);

/// `memory_limit`.
pub(in crate::config) type MemoryLimit = ByteCount<MIN_MEMORY_BYTES, MAX_MEMORY_BYTES>;

/// The units of such texts: name, bytes, most digits (so that nothing exceeds [`MAX_MEMORY_BYTES`]).
const UNITS: [(&str, u64, usize); 3] = [("KiB", 1 << 10, 12), ("MiB", 1 << 20, 9), ("GiB", 1 << 30, 6)];

impl<const MIN: u64, const MAX: u64> JsonSchema for ByteCount<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Bytes{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [
            {"type": "integer", "minimum": MIN, "maximum": MAX},
            {"type": "string", "pattern": bytes_pattern(MIN), "not": line_feed()},
        ]})
    }
}

/// A pattern of exactly the texts that mean `min_bytes` or more.
fn bytes_pattern(min_bytes: u64) -> String {
    let with_unit = |(unit, bytes, digits): (&str, u64, usize)| {
        format!("(?:{}) ?{unit}", at_least(min_bytes.div_ceil(bytes), digits))
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

impl<const MIN: u64, const MAX: u64> FromJson for ByteCount<MIN, MAX> {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            if !value.is_number() {
                mistakes.add(path, wrong_type("bytes as a whole number, or text such as \"512 MiB\"", value));
                return None;
            }
            let limit = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            let number = integer_within(value, limit(MIN), limit(MAX), path, mistakes)?;
            return u64::try_from(number).ok().map(Self);
        };
        let text = match unit_bytes(text) {
            Some(bytes) if (MIN..=MAX).contains(&bytes) => return Some(Self(bytes)),
            Some(bytes) if bytes < MIN => {
                format!("must be at least {} ({MIN} bytes), found {}", in_units(MIN), quote(text))
            }
            Some(_) => format!("must be at most {} ({MAX} bytes), found {}", in_units(MAX), quote(text)),
            None => {
                let expected = "must be bytes as a number, or a whole number with KiB, MiB or GiB such as \"512 MiB\"";
                format!("{expected}, found {}", quote(text))
            }
        };
        mistakes.add(path, text);
        None
    }
}

/// Bytes in the largest unit of which they are a multiple.
pub(in crate::config) fn in_units(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, unit_bytes, _)| bytes > 0 && bytes.is_multiple_of(*unit_bytes));
    unit.map_or_else(|| format!("{bytes} bytes"), |(unit, unit_bytes, _)| format!("{} {unit}", bytes / unit_bytes))
}

/// The bytes that `text` means; `None` if its unit is unknown or it is too large.
fn unit_bytes(text: &str) -> Option<u64> {
    UNITS.iter().find_map(|(unit, bytes, max_digits)| {
        let digits = text.strip_suffix(unit)?;
        let digits = digits.strip_suffix(' ').unwrap_or(digits);
        let plain =
            !digits.starts_with('0') && digits.len() <= *max_digits && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse::<u64>().ok()?.checked_mul(*bytes) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::field_types::tests::read;
    use regex_automata::meta::Regex;
    use serde_json::json;

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
        let pattern = Regex::new(&bytes_pattern(MIN_MEMORY_BYTES)).unwrap();
        let numbers = (0..40_000_u64).chain([99_999, 100_000, 999_999, 1_000_000, 10_000_000_000, 999_999_999_999]);
        for number in numbers {
            for unit in ["KiB", " MiB", " GiB", "GB", ""] {
                let text = format!("{number}{unit}");
                let accepted = read::<MemoryLimit>(json!(text)).is_ok();
                assert_eq!(pattern.is_match(&text), accepted, "{text}");
            }
        }
    }
}
