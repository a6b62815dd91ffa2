//! The fields of a column in `columns`: each says once what it accepts.

use super::types::{EXPECTED, hint_of_type, pattern};
use super::{TypeWord, Unit};
use crate::config::field_types::{AnyText, line_feed, word};
use crate::config::object_reader::{FromJson, Mistakes, quote, wrong_type};
use crate::times::TimeFormat;
use serde_json::{Value, json};

/// Longest outgoing name, in characters; what PostgreSQL keeps, in bytes.
const MAX_NAME_CHARS: usize = 63;
/// Names that belong to CloudQuery and to this plugin.
const RESERVED: &str = "^_(?:[cC][qQ]|[sS]3)_";
/// Longest format, in characters.
const MAX_FORMAT_CHARS: usize = 200;
/// Neither quotes nor control characters.
const NAME_PATTERN: &str = "^[^\"\\x00-\\x1f\\x7f-\\x9f]+$";
/// What a format may be made of.
const FORMAT_PATTERN: &str = "^(?:[^%]|%[YymbdjHIpMSfz%])+$";
/// Offsets from UTC.
const OFFSET_PATTERN: &str = "^(?:Z|UTC|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$";
const UNITS: [Unit; 4] = [Unit::Seconds, Unit::Milliseconds, Unit::Microseconds, Unit::Nanoseconds];

/// A type's schema.
pub(super) fn type_schema() -> Value {
    json!({"type": "string", "pattern": pattern(), "not": line_feed()})
}

/// The fields of a column.
pub(super) fn properties() -> Value {
    let mut type_property = type_schema();
    type_property["description"] =
        "The outgoing type. What cannot be brought into it exactly becomes null, and is counted.".into();
    json!({
        "type": type_property,
        "name": {
            "description": "The outgoing name; left out it is made of the name in the files.",
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME_CHARS,
            "pattern": NAME_PATTERN,
            "not": line_feed(),
            "allOf": [{"not": {"pattern": RESERVED}}],
        },
        "format": {
            "description": "How texts are dates or timestamps: `%Y %y %m %b %d %j %H %I %p %M %S %f %z %%`. Left out they are \
                read in the ISO forms, such as `2026-01-31T10:00:00Z`.",
            "type": "string",
            "maxLength": MAX_FORMAT_CHARS,
            "pattern": FORMAT_PATTERN,
            "not": line_feed(),
        },
        "timezone": {
            "description": "The offset from UTC of timestamps that do not say theirs, such as `+02:00`; left out, UTC.",
            "type": "string",
            "pattern": OFFSET_PATTERN,
            "not": line_feed(),
        },
        "unit": {
            "description": "What numbers count that are timestamps (since 1970), dates (since 1970) or times (since midnight).",
            "type": "string",
            "enum": UNITS.map(Unit::word),
        },
        "null_values": {
            "description": "Texts that mean null.", "type": "array", "items": {"type": "string"},
        },
        "drop": {
            "description": "`true`: the column is left out, and is not fetched from larger objects. Nothing else is given then.",
            "type": "boolean",
        },
    })
}

/// A type.
pub(super) struct RawType(pub(super) TypeWord);

impl FromJson for RawType {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(text) = value.as_str() else {
            mistakes.add(path, wrong_type("text, a type such as int64", value));
            return None;
        };
        let word = TypeWord::parse(text);
        if word.is_none() {
            mistakes.add(path, format!("must be {EXPECTED}, found {}{}", quote(text), hint_of_type(text)));
        }
        word.map(Self)
    }
}

/// An outgoing name.
pub(super) struct RawName(pub(super) String);

impl FromJson for RawName {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let AnyText(text) = AnyText::from_json(value, path, mistakes)?;
        let chars = text.chars().count();
        let folded = text.to_ascii_lowercase();
        let mistake = if text.is_empty() {
            "must not be empty".to_owned()
        } else if chars > MAX_NAME_CHARS {
            format!("must have at most {MAX_NAME_CHARS} characters, which is what PostgreSQL keeps, found {chars}")
        } else if text.contains('"') || text.contains(char::is_control) {
            format!("must have no quotes and no control characters, found {}", quote(&text))
        } else if folded.starts_with("_cq_") || folded.starts_with("_s3_") {
            format!("must not start with _cq_ or _s3_, which are reserved, found {}", quote(&text))
        } else {
            return Some(Self(text));
        };
        mistakes.add(path, mistake);
        None
    }
}

/// A format of dates or timestamps.
pub(super) struct RawFormat(String);

impl FromJson for RawFormat {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let AnyText(text) = AnyText::from_json(value, path, mistakes)?;
        let mistake = if text.is_empty() {
            "must not be empty; leave the key out to read the ISO forms".to_owned()
        } else if text.chars().count() > MAX_FORMAT_CHARS {
            format!("must have at most {MAX_FORMAT_CHARS} characters")
        } else if text.contains('\n') {
            "must have no line break".to_owned()
        } else {
            return Some(Self(text));
        };
        mistakes.add(path, mistake);
        None
    }
}

impl RawFormat {
    /// The format, of a column of this type.
    pub(super) fn compile(self, word: &TypeWord, path: &str, mistakes: &mut Mistakes) -> Option<TimeFormat> {
        let format = TimeFormat::new(&self.0, *word == TypeWord::Date);
        format.map_err(|mistake| mistakes.add(format!("{path}.format"), format!("{}: {mistake}", quote(&self.0)))).ok()
    }
}

/// An offset from UTC, in seconds.
pub(super) struct RawOffset(pub(super) i32);

impl FromJson for RawOffset {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let AnyText(text) = AnyText::from_json(value, path, mistakes)?;
        let offset = offset_s(&text);
        if offset.is_none() {
            let expected = "must be a fixed offset from UTC such as \"+02:00\", or \"UTC\"";
            mistakes.add(path, format!("{expected}, found {}; zones with summer time are not known", quote(&text)));
        }
        offset.map(Self)
    }
}

fn offset_s(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "UTC") {
        return Some(0);
    }
    let [sign @ (b'+' | b'-'), hours @ .., b':', tens, ones] = text.as_bytes() else { return None };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    let [hour_tens, hour_ones] = hours else { return None };
    let hours = digit(hour_tens)? * 10 + digit(hour_ones)?;
    let minutes = digit(tens)? * 10 + digit(ones)?;
    let seconds = (hours * 60 + minutes) * 60;
    (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
}

impl FromJson for Unit {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        word(value, &UNITS.map(|unit| (unit.word(), unit)), path, mistakes)
    }
}

/// Texts.
pub(super) struct RawTexts(pub(super) Vec<String>);

impl FromJson for RawTexts {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let Some(items) = value.as_array() else {
            mistakes.add(path, wrong_type("a list of texts", value));
            return None;
        };
        let item = |(index, item): (usize, &Value)| AnyText::from_json(item, &format!("{path}[{index}]"), mistakes);
        let texts: Vec<Option<AnyText>> = items.iter().enumerate().map(item).collect();
        texts.into_iter().map(|text| text.map(|text| text.0)).collect::<Option<Vec<_>>>().map(Self)
    }
}
