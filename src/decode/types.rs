//! The outgoing types: what destinations really take, and nothing else. A list holds primitives; everything deeper
//! travels as CloudQuery `json`.

use arrow::datatypes::{DataType, Field, TimeUnit};
use std::fmt;
use std::sync::Arc;

/// The time zone of all outgoing timestamps.
pub const UTC: &str = "UTC";

/// Name of the item field of outgoing lists: the one that Arrow implementations use by default.
pub const LIST_ITEM: &str = "item";

/// Bytes of a UUID.
pub const UUID_BYTES: i32 = 16;

/// The type of an outgoing column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// 8-bit signed integer.
    Int8,
    /// 16-bit signed integer.
    Int16,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// 8-bit unsigned integer.
    UInt8,
    /// 16-bit unsigned integer.
    UInt16,
    /// 32-bit unsigned integer.
    UInt32,
    /// 64-bit unsigned integer.
    UInt64,
    /// 32-bit float.
    Float32,
    /// 64-bit float.
    Float64,
    /// Text.
    Utf8,
    /// Bytes.
    Binary,
    /// Days since 1970-01-01.
    Date32,
    /// Microseconds since midnight.
    Time64,
    /// Microseconds since 1970-01-01 00:00 UTC.
    Timestamp,
    /// Decimal of at most 38 digits.
    Decimal128 {
        /// Digits.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// CloudQuery's `uuid` extension: 16 bytes.
    Uuid,
    /// CloudQuery's `json` extension: the text of a JSON value.
    Json,
    /// A list of one of the others, except [`ColumnType::Json`] and lists.
    List(Box<ColumnType>),
}

/// CloudQuery's extension types, as they stand in field metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// 16 raw bytes.
    Uuid,
    /// UTF-8 text of a JSON value.
    Json,
}

impl Extension {
    /// The value of `ARROW:extension:name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Json => "json",
        }
    }

    /// The value of `ARROW:extension:metadata`, which readers compare exactly.
    pub fn metadata(self) -> &'static str {
        match self {
            Self::Uuid => "uuid-serialized",
            Self::Json => "json-serialized",
        }
    }
}

impl ColumnType {
    /// The Arrow type, without any field metadata.
    pub fn arrow_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Utf8 => DataType::Utf8,
            Self::Binary | Self::Json => DataType::Binary,
            Self::Date32 => DataType::Date32,
            Self::Time64 => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Decimal128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
            Self::List(item) => DataType::List(Arc::new(Field::new(LIST_ITEM, item.arrow_type(), true))),
        }
    }

    /// The extension of the column itself. A list of UUIDs has it on its item field: see [`Self::item`].
    pub fn extension(&self) -> Option<Extension> {
        match self {
            Self::Uuid => Some(Extension::Uuid),
            Self::Json => Some(Extension::Json),
            _ => None,
        }
    }

    /// The type of a list's items, `None` for anything but a list.
    pub fn item(&self) -> Option<&ColumnType> {
        match self {
            Self::List(item) => Some(item),
            _ => None,
        }
    }

    /// The type that [`Self`]'s `Display` writes as `text`.
    pub fn parse(text: &str) -> Option<Self> {
        const PLAIN: [ColumnType; 18] = [
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
        ];
        if let Some(item) = text.strip_prefix("list<").and_then(|text| text.strip_suffix('>')) {
            // A list's item is never a list: this ends.
            return Self::parse(item).filter(|item| item.item().is_none()).map(|item| Self::List(Box::new(item)));
        }
        if let Some(digits) = text.strip_prefix("decimal(").and_then(|text| text.strip_suffix(')')) {
            let (precision, scale) = digits.split_once(", ")?;
            return Some(Self::Decimal128 { precision: precision.parse().ok()?, scale: scale.parse().ok()? });
        }
        PLAIN.into_iter().find(|plain| plain.to_string() == text)
    }
}

/// Short names for messages. They are also what fingerprints are made of: they must not change between releases.
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
            Self::List(item) => write!(f, "list<{item}>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_back_from_their_names() {
        let decimal = ColumnType::Decimal128 { precision: 38, scale: 2 };
        for column_type in [
            ColumnType::Boolean,
            ColumnType::UInt64,
            ColumnType::Float32,
            ColumnType::Timestamp,
            ColumnType::Date32,
            ColumnType::Json,
            ColumnType::List(Box::new(ColumnType::Uuid)),
            ColumnType::List(Box::new(decimal.clone())),
            decimal,
        ] {
            assert_eq!(ColumnType::parse(&column_type.to_string()), Some(column_type));
        }
        for text in ["", "int", "list<list<utf8>>", "list<utf8", "decimal(38)", "decimal(999, 0)"] {
            assert_eq!(ColumnType::parse(text), None, "{text}");
        }
    }
}
