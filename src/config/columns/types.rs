//! The words for types.

use std::fmt;

/// A type that a column may be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeWord {
    /// `bool`.
    Bool,
    /// `int8`.
    Int8,
    /// `int16`.
    Int16,
    /// `int32`.
    Int32,
    /// `int64`, `int`, `bigint`.
    Int64,
    /// `uint8`.
    UInt8,
    /// `uint16`.
    UInt16,
    /// `uint32`.
    UInt32,
    /// `uint64`.
    UInt64,
    /// `float32`.
    Float32,
    /// `float64`, `double`.
    Float64,
    /// `utf8`, `text`, `string`.
    Text,
    /// `binary`.
    Binary,
    /// `date`.
    Date,
    /// `time`.
    Time,
    /// `timestamp`.
    Timestamp,
    /// `decimal(12, 2)`.
    Decimal {
        /// Digits, 1 to 38.
        precision: u8,
        /// Of these behind the point.
        scale: u8,
    },
    /// `uuid`.
    Uuid,
    /// `json`.
    Json,
    /// `inet`.
    Inet,
    /// `mac`.
    Mac,
    /// `list<int64>`: of anything but lists.
    List(Box<TypeWord>),
}

/// Words of one type each; the first one of a type is the one that messages print.
const WORDS: [(&str, TypeWord); 25] = [
    ("bool", TypeWord::Bool),
    ("int8", TypeWord::Int8),
    ("int16", TypeWord::Int16),
    ("int32", TypeWord::Int32),
    ("int64", TypeWord::Int64),
    ("int", TypeWord::Int64),
    ("bigint", TypeWord::Int64),
    ("uint8", TypeWord::UInt8),
    ("uint16", TypeWord::UInt16),
    ("uint32", TypeWord::UInt32),
    ("uint64", TypeWord::UInt64),
    ("float32", TypeWord::Float32),
    ("float64", TypeWord::Float64),
    ("double", TypeWord::Float64),
    ("utf8", TypeWord::Text),
    ("text", TypeWord::Text),
    ("string", TypeWord::Text),
    ("binary", TypeWord::Binary),
    ("date", TypeWord::Date),
    ("time", TypeWord::Time),
    ("timestamp", TypeWord::Timestamp),
    ("uuid", TypeWord::Uuid),
    ("json", TypeWord::Json),
    ("inet", TypeWord::Inet),
    ("mac", TypeWord::Mac),
];

/// Digits of a decimal at most: what PostgreSQL, Arrow's 128 bits and most destinations share.
const MAX_PRECISION: u8 = 38;

/// What a type is, as in "must be …".
pub(super) const EXPECTED: &str = "a type: bool, int8 to int64, uint8 to uint64, float32, float64, utf8, binary, date, time, \
    timestamp, decimal(12, 2), uuid, json, inet, mac, or a list such as list<int64>";

/// Words that others have for types, and ours.
const FOREIGN: [(&str, &str); 28] = [
    ("integer", "int64"),
    ("long", "int64"),
    ("int4", "int32"),
    ("int2", "int16"),
    ("smallint", "int16"),
    ("tinyint", "int8"),
    ("unsigned", "uint64"),
    ("varchar", "utf8"),
    ("nvarchar", "utf8"),
    ("char", "utf8"),
    ("character", "utf8"),
    ("str", "utf8"),
    ("large_utf8", "utf8"),
    ("clob", "utf8"),
    ("number", "decimal(12, 2)"),
    ("numeric", "decimal(12, 2)"),
    ("decimal", "decimal(12, 2)"),
    ("real", "float32"),
    ("float", "float64"),
    ("boolean", "bool"),
    ("datetime", "timestamp"),
    ("timestamptz", "timestamp"),
    ("date32", "date"),
    ("jsonb", "json"),
    ("object", "json"),
    ("bytes", "binary"),
    ("bytea", "binary"),
    ("blob", "binary"),
];

/// What to say of a word that is no type, behind the sentence that it is none: the one that may be meant, or how to write it so
/// that YAML leaves it whole. Empty if nothing is known of it.
#[must_use]
pub(crate) fn hint_of_type(word: &str) -> String {
    if let Some(start) = ["decimal(", "list<"].into_iter().find(|start| word.starts_with(start))
        && !word.ends_with([')', '>'])
    {
        let example = if start == "list<" { "list<decimal(12, 2)>" } else { "decimal(12, 2)" };
        return format!("; within {{}} YAML ends a text at a comma, so quote it, as in \"{example}\"");
    }
    let word = word.trim().to_ascii_lowercase();
    let word = word.split(['(', ' ', '[']).next().unwrap_or_default();
    let own = WORDS.iter().map(|(name, _)| (*name, *name));
    let meant = FOREIGN.into_iter().chain(own).find(|(foreign, _)| *foreign == word);
    meant.map(|(_, ours)| format!("; did you mean {ours}?")).unwrap_or_default()
}

impl TypeWord {
    /// The type that is written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("list<") {
            Some(item) => Some(Self::List(Box::new(Self::parse_item(item.strip_suffix('>')?)?))),
            None => Self::parse_item(text),
        }
    }

    fn parse_item(text: &str) -> Option<Self> {
        if let Some((_, word)) = WORDS.iter().find(|(name, _)| *name == text) {
            return Some(word.clone());
        }
        let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
        let scale = scale.strip_prefix(' ').unwrap_or(scale);
        let (precision, scale) = (number(precision)?, number(scale)?);
        let good = (1..=MAX_PRECISION).contains(&precision) && scale <= precision;
        good.then_some(Self::Decimal { precision, scale })
    }
}

/// A number of one or two digits without a zero in front.
fn number(text: &str) -> Option<u8> {
    let plain = matches!(text.as_bytes(), [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9']);
    if plain { text.parse().ok() } else { None }
}

/// A pattern of the texts that are types, short enough to be read. That a decimal has no more digits behind the point than in
/// all, only [`TypeWord::parse`] says.
pub(super) fn pattern() -> String {
    let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
    let decimal = r"decimal\((?:[1-9]|[12][0-9]|3[0-8]), ?(?:[0-9]|[12][0-9]|3[0-8])\)";
    let item = format!("(?:{}|{decimal})", words.join("|"));
    format!("^(?:{item}|list<{item}>)$")
}

impl fmt::Display for TypeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Self::List(item) => write!(f, "list<{item}>"),
            plain => f.write_str(WORDS.iter().find(|(_, word)| word == plain).map_or("", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_automata::meta::Regex;

    fn decimals_of(text: &str) -> Option<(u8, u8)> {
        let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
        Some((precision.parse().ok()?, scale.trim().parse().ok()?))
    }

    #[test]
    fn the_pattern_means_the_same_as_the_parser() {
        let pattern = Regex::new(&pattern()).unwrap();
        let decimals = (0..=40)
            .flat_map(|p| (0..=40).flat_map(move |s| [format!("decimal({p}, {s})"), format!("decimal({p},{s})")]));
        let odd = [
            "",
            "Int64",
            "int64 ",
            "decimal",
            "decimal(5)",
            "decimal(05, 2)",
            "decimal(5, 02)",
            "decimal(5,  2)",
            "list<>",
            "list<list<text>>",
            "list<text",
            "list<decimal(5, 2)>",
            "list<mac>",
            "numeric",
            "null",
            "struct<>",
        ];
        let words = WORDS.iter().map(|(word, _)| (*word).to_owned());
        let mut accepted = 0;
        for text in words.chain(decimals).chain(odd.map(str::to_owned)) {
            let parsed = TypeWord::parse(&text);
            let scale_is_larger = decimals_of(&text).is_some_and(|(precision, scale)| scale > precision);
            assert_eq!(pattern.is_match(&text) && !scale_is_larger, parsed.is_some(), "{text}");
            if let Some(parsed) = parsed {
                accepted += 1;
                assert_eq!(TypeWord::parse(&parsed.to_string()), Some(parsed), "{text}");
            }
        }
        assert!(accepted > 2 * 38 * 19, "{accepted}");
    }

    #[test]
    fn more_digits_behind_the_point_than_in_all_are_no_type() {
        for text in ["decimal(5, 6)", "decimal(1,38)", "list<decimal(5, 6)>"] {
            assert_eq!(TypeWord::parse(text), None, "{text}");
        }
    }

    #[test]
    fn short_words() {
        for (text, printed) in [("int", "int64"), ("bigint", "int64"), ("double", "float64"), ("string", "utf8")] {
            assert_eq!(TypeWord::parse(text).unwrap().to_string(), printed);
        }
        assert_eq!(TypeWord::parse("list<string>").unwrap().to_string(), "list<utf8>");
    }
}
