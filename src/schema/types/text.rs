//! Types as text, there and back: for messages, for fingerprints, and for schemas that are kept in the state.

use super::ColumnType;
use std::fmt;

/// How deep types are read. More than a file's columns can have ([`crate::schema::field::MAX_NATIVE_DEPTH`]); a damaged
/// state must not overflow the stack.
const MAX_DEPTH: usize = 64;

pub(super) const PLAIN: [ColumnType; 20] = [
    ColumnType::Boolean,
    ColumnType::Int8,
    ColumnType::Int16,
    ColumnType::Int32,
    ColumnType::Int64,
    ColumnType::UInt8,
    ColumnType::UInt16,
    ColumnType::UInt32,
    ColumnType::UInt64,
    ColumnType::Float32,
    ColumnType::Float64,
    ColumnType::Utf8,
    ColumnType::Binary,
    ColumnType::Date32,
    ColumnType::Time64,
    ColumnType::Timestamp,
    ColumnType::Uuid,
    ColumnType::Json,
    ColumnType::Inet,
    ColumnType::Mac,
];

/// Short names. They are also what fingerprints and stored schemas are made of: they must not change between releases.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("bool"),
            Self::Int8 => f.write_str("int8"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::UInt8 => f.write_str("uint8"),
            Self::UInt16 => f.write_str("uint16"),
            Self::UInt32 => f.write_str("uint32"),
            Self::UInt64 => f.write_str("uint64"),
            Self::Float32 => f.write_str("float32"),
            Self::Float64 => f.write_str("float64"),
            Self::Utf8 => f.write_str("utf8"),
            Self::Binary => f.write_str("binary"),
            Self::Date32 => f.write_str("date"),
            Self::Time64 => f.write_str("time"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Decimal128 { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Self::Uuid => f.write_str("uuid"),
            Self::Json => f.write_str("json"),
            Self::Inet => f.write_str("inet"),
            Self::Mac => f.write_str("mac"),
            // Never stored: in a table it is settled.
            Self::Null => f.write_str("null"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (index, (name, field)) in fields.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    // As a JSON string: names may hold any character.
                    write!(f, "{comma}{}: {field}", serde_json::Value::from(name.as_str()))?;
                }
                f.write_str(">")
            }
            Self::Map { key, value } => write!(f, "map<{key}, {value}>"),
        }
    }
}

impl ColumnType {
    /// The type that [`Self`]'s `Display` writes as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text };
        let parsed = parser.column_type(0)?;
        parser.rest.is_empty().then_some(parsed)
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.takes(text).then_some(())
    }

    fn column_type(&mut self, depth: usize) -> Option<ColumnType> {
        if depth > MAX_DEPTH {
            return None;
        }
        if self.takes("list<") {
            let item = self.column_type(depth + 1)?;
            self.expect(">")?;
            return item.item().is_none().then(|| ColumnType::List(Box::new(item)));
        }
        if self.takes("map<") {
            let key = Box::new(self.column_type(depth + 1)?);
            self.expect(", ")?;
            let value = Box::new(self.column_type(depth + 1)?);
            self.expect(">")?;
            return Some(ColumnType::Map { key, value });
        }
        if self.takes("struct<") {
            let mut fields = Vec::new();
            loop {
                let name = self.name()?;
                self.expect(": ")?;
                fields.push((name, self.column_type(depth + 1)?));
                if self.takes(">") {
                    return Some(ColumnType::Struct(fields));
                }
                self.expect(", ")?;
            }
        }
        if self.takes("decimal(") {
            let (digits, rest) = self.rest.split_once(')')?;
            let (precision, scale) = digits.split_once(", ")?;
            self.rest = rest;
            return Some(ColumnType::Decimal128 { precision: precision.parse().ok()?, scale: scale.parse().ok()? });
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        PLAIN.into_iter().find(|plain| plain.to_string() == word)
    }

    /// A JSON string.
    fn name(&mut self) -> Option<String> {
        let mut strings = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let name = strings.next()?.ok()?;
        self.rest = &self.rest[strings.byte_offset()..];
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(item: ColumnType) -> ColumnType {
        ColumnType::List(Box::new(item))
    }

    #[test]
    fn types_come_back_from_their_names() {
        let decimal = ColumnType::Decimal128 { precision: 38, scale: 2 };
        let map = ColumnType::Map { key: Box::new(ColumnType::Utf8), value: Box::new(list(decimal.clone())) };
        let odd = ["a", "", "a\": int8, \"b>", "größe\n\0"];
        let fields = odd.into_iter().zip([ColumnType::Json, map.clone(), decimal.clone(), list(ColumnType::Uuid)]);
        let nested = ColumnType::Struct(fields.map(|(name, field)| (name.to_owned(), field)).collect());
        for column_type in PLAIN.into_iter().chain([
            list(ColumnType::Uuid),
            list(decimal.clone()),
            list(nested.clone()),
            list(map.clone()),
            decimal,
            map,
            ColumnType::Map { key: Box::new(ColumnType::Int64), value: Box::new(nested.clone()) },
            nested,
        ]) {
            assert_eq!(ColumnType::parse(&column_type.to_string()), Some(column_type));
        }
    }

    /// Frozen: schemas in the state are made of it.
    #[test]
    fn golden_names() {
        let fields = vec![("x y".to_owned(), ColumnType::Int64), ("z".to_owned(), ColumnType::Timestamp)];
        let map = ColumnType::Map { key: Box::new(ColumnType::Utf8), value: Box::new(ColumnType::Struct(fields)) };
        assert_eq!(list(map).to_string(), r#"list<map<utf8, struct<"x y": int64, "z": timestamp>>>"#);
    }

    #[test]
    fn other_texts_are_no_types() {
        for text in [
            "",
            "int",
            "list<list<utf8>>",
            "list<utf8",
            "list<utf8>>",
            "utf8 ",
            "decimal(38)",
            "decimal(999, 0)",
            "struct<>",
            "struct<a: utf8>",
            "struct<\"a\": utf8, >",
            "map<utf8>",
            &"map<utf8, ".repeat(100_000),
        ] {
            assert_eq!(ColumnType::parse(text), None, "{}", &text[..text.len().min(30)]);
        }
    }
}
