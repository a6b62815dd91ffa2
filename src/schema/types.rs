//! The outgoing types: what destinations really take, and nothing else. A list holds primitives; everything deeper
//! travels as CloudQuery `json`, unless the spec asks for `nested_as: native`.

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

mod text;

#[cfg(test)]
pub(crate) mod arbitrary;

/// The time zone of all outgoing timestamps.
pub const UTC: &str = "UTC";

/// Name of the item field of outgoing lists: the one that Arrow implementations use by default.
pub const LIST_ITEM: &str = "item";

/// Names of a map's entries and of the two fields in them: those of Arrow's specification.
const MAP_NAMES: [&str; 3] = ["entries", "key", "value"];

/// Field metadata: Arrow's key for the name of an extension type.
pub const EXTENSION_NAME: &str = "ARROW:extension:name";
/// Field metadata: Arrow's key for the parameters of an extension type.
pub const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

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
    /// CloudQuery's `inet` extension: the text of an address with the length of its prefix, `10.0.0.1/32`.
    Inet,
    /// CloudQuery's `mac` extension: 6 bytes.
    Mac,
    /// A list of one of the others, except lists; of [`ColumnType::Json`] and nested types only where nested values
    /// travel natively.
    List(Box<ColumnType>),
    /// No type: a file's column that is null by its type, and has no value that could be of one. Only in the schemas of
    /// files; in a table such a column is what other files say ([`Self::join`]), or else text ([`Self::settled`]).
    Null,
    /// Named fields, at least one; only where nested values travel natively.
    Struct(Vec<(String, ColumnType)>),
    /// Keys, never null, with their values; only where nested values travel natively.
    Map {
        /// A plain type whose casts make no nulls.
        key: Box<ColumnType>,
        /// Any type.
        value: Box<ColumnType>,
    },
}

/// CloudQuery's extension types, as they stand in field metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// 16 raw bytes.
    Uuid,
    /// UTF-8 text of a JSON value.
    Json,
    /// UTF-8 text of an address and its prefix.
    Inet,
    /// 6 raw bytes.
    Mac,
}

impl Extension {
    /// The value of `ARROW:extension:name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Json => "json",
            Self::Inet => "inet",
            Self::Mac => "mac",
        }
    }

    /// The value of `ARROW:extension:metadata`, which readers compare exactly.
    pub fn metadata(self) -> &'static str {
        match self {
            Self::Uuid => "uuid-serialized",
            Self::Json => "json-serialized",
            Self::Inet => "inet-serialized",
            Self::Mac => "mac-serialized",
        }
    }
}

impl ColumnType {
    /// The Arrow type. Fields inside of it may be null (but a map's keys) and have no metadata but that of CloudQuery's
    /// extension types.
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
            Self::Utf8 | Self::Null => DataType::Utf8,
            Self::Binary | Self::Json | Self::Inet | Self::Mac => DataType::Binary,
            Self::Date32 => DataType::Date32,
            Self::Time64 => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Decimal128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
            Self::List(item) => DataType::List(item.inner_field(LIST_ITEM, true)),
            Self::Struct(fields) => {
                DataType::Struct(fields.iter().map(|(name, field)| field.inner_field(name, true)).collect())
            }
            Self::Map { key, value } => {
                let [entries, key_name, value_name] = MAP_NAMES;
                let pair = vec![key.inner_field(key_name, false), value.inner_field(value_name, true)];
                DataType::Map(Arc::new(Field::new(entries, DataType::Struct(pair.into()), false)), false)
            }
        }
    }

    /// A field of this type inside of another.
    fn inner_field(&self, name: &str, nullable: bool) -> FieldRef {
        Arc::new(Field::new(name, self.arrow_type(), nullable).with_metadata(self.extension_metadata()))
    }

    /// Name and parameters of the extension type as field metadata; empty for a plain type.
    #[must_use]
    pub fn extension_metadata(&self) -> HashMap<String, String> {
        let Some(extension) = self.extension() else { return HashMap::new() };
        let pairs = [(EXTENSION_NAME, extension.name()), (EXTENSION_METADATA, extension.metadata())];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    /// The extension of the column itself. Nested types have those of what is in them on the fields inside.
    pub fn extension(&self) -> Option<Extension> {
        match self {
            Self::Uuid => Some(Extension::Uuid),
            Self::Json => Some(Extension::Json),
            Self::Inet => Some(Extension::Inet),
            Self::Mac => Some(Extension::Mac),
            _ => None,
        }
    }

    /// The type of which both are: `Null`, on any level, is of every type, and a list without items may also travel as
    /// JSON. `None` when there is no such type. The order of types, and in which pairs they are joined, do not matter.
    pub fn join(&self, other: &Self) -> Option<Self> {
        let boxed = |a: &Self, b: &Self| a.join(b).map(Box::new);
        Some(match (self, other) {
            (a, b) if a == b => a.clone(),
            (Self::Null, known) | (known, Self::Null) => known.clone(),
            (Self::List(a), Self::List(b)) => Self::List(boxed(a, b)?),
            (Self::List(item), Self::Json) | (Self::Json, Self::List(item)) if **item == Self::Null => Self::Json,
            (Self::Struct(a), Self::Struct(b)) if a.len() == b.len() => {
                let field = |((name, a), (other, b)): (&(String, Self), &(String, Self))| {
                    if name == other { Some((name.clone(), a.join(b)?)) } else { None }
                };
                Self::Struct(a.iter().zip(b).map(field).collect::<Option<_>>()?)
            }
            (Self::Map { key, value }, Self::Map { key: other, value: b }) if key == other => {
                Self::Map { key: key.clone(), value: boxed(value, b)? }
            }
            _ => return None,
        })
    }

    /// Whether values of this type can be made values of `table`, a type that was joined of this one and others.
    pub fn fits(&self, table: &Self) -> bool {
        self.join(table).is_some_and(|joined| joined.settled() == *table)
    }

    /// The same with text for `Null`, on all levels.
    pub fn settled(&self) -> Self {
        match self {
            Self::Null => Self::Utf8,
            Self::List(item) => Self::List(Box::new(item.settled())),
            Self::Struct(fields) => {
                Self::Struct(fields.iter().map(|(name, field)| (name.clone(), field.settled())).collect())
            }
            Self::Map { key, value } => Self::Map { key: key.clone(), value: Box::new(value.settled()) },
            known => known.clone(),
        }
    }

    /// The type of a list's items, `None` for anything but a list.
    pub fn item(&self) -> Option<&ColumnType> {
        match self {
            Self::List(item) => Some(item),
            _ => None,
        }
    }
}
