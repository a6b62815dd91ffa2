//! Spans of time.

use super::{inline_schema, line_feed, matches};
use crate::config::object_reader::{FromJson, Mistakes, quote, wrong_type};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;

/// A time span as text: a whole number with one unit.
#[derive(Debug)]
pub(in crate::config) struct RawDuration(pub(in crate::config) Duration);

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
        let span = span(text);
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

/// A moment as text: a time, a date or a span. Whether there is such a day is checked elsewhere.
#[derive(Debug)]
pub(in crate::config) struct RawMoment(pub(in crate::config) String);

/// RFC 3339, its date alone, or [`DURATION_PATTERN`].
const MOMENT_PATTERN: &str = "^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.][0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2}))?|(?:0|[1-9][0-9]{0,5})[smhd])$";

inline_schema!(RawMoment; json_schema!({"type": "string", "pattern": MOMENT_PATTERN, "not": line_feed()}));

impl FromJson for RawMoment {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            mistakes.add(path, wrong_type("text such as \"30d\" or \"2024-01-31T00:00:00Z\"", value));
            return None;
        };
        if !matches(MOMENT_PATTERN, text) {
            let expected =
                "must be a time such as 2024-01-31T00:00:00Z, a date such as 2024-01-31, or a span such as 30d";
            mistakes.add(path, format!("{expected}, found {}", quote(text)));
            return None;
        }
        Some(Self(text.to_owned()))
    }
}

/// The span that a text means, if it is one.
pub(crate) fn span(text: &str) -> Option<Duration> {
    duration(text).filter(|_| matches(DURATION_PATTERN, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::field_types::tests::read;
    use serde_json::json;

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
}
