//! A file's column as it is read: the Arrow type of every leaf plus what Arrow can't say (that 16 bytes are a UUID, that a
//! text is JSON), and the outgoing type that follows. Columns of files of text have none by themselves: it is told from values.

use super::text_forms::TextReading;
use super::text_types::TextTypes;
use super::types::ColumnType;
use crate::config::NestedAs;
use arrow::datatypes::{DataType, TimeUnit};
use std::ops::Range;
use std::sync::Arc;

/// The largest precision that PostgreSQL, Arrow's 128-bit decimals and most destinations share.
const MAX_DECIMAL128_PRECISION: u8 = 38;

/// How many levels of structs, maps and lists travel natively; what is deeper is JSON. Readers bound how deep a schema
/// goes: flatbuffers verifiers stop at 64 tables, and a level takes up to three.
pub(crate) const MAX_NATIVE_DEPTH: usize = 16;

/// What a leaf is beyond its Arrow type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The Arrow type says it all.
    Plain,
    /// Logical type UUID.
    Uuid,
    /// Logical type JSON: the reader does not check its UTF-8.
    Json,
    /// Logical type ENUM: text by the format, but the reader hands out unchecked bytes.
    Enum,
    /// Physical type INT96, read as microseconds (which wrap) and again as seconds (which don't).
    Int96,
    /// Logical type INTERVAL, read as days and milliseconds and again as months.
    Interval,
}

impl Reading {
    /// Whether the leaf is read a second time with another hint, because no single Arrow type holds all of it.
    pub(crate) fn read_twice(self) -> bool {
        matches!(self, Self::Int96 | Self::Interval)
    }
}

/// One field of a file, on any level.
#[derive(Debug, Clone)]
pub(crate) struct FileField {
    pub(crate) name: String,
    /// Whether the file allows nulls here: a map's key that may be null has no place in a native map.
    pub(crate) nullable: bool,
    pub(crate) kind: FieldKind,
    /// The Parquet leaves below it; none in files of text.
    pub(crate) leaves: Range<usize>,
}

/// What a field is made of.
#[derive(Debug, Clone)]
pub(crate) enum FieldKind {
    Leaf {
        arrow: DataType,
        reading: Reading,
    },
    List(Box<FileField>),
    Struct(Vec<FileField>),
    Map {
        key: Box<FileField>,
        value: Box<FileField>,
    },
    /// Texts of a file that does not say what they are. `types` is what was seen of the column's values, in all files that were
    /// looked at; `None`: nothing, or it does not count.
    Text {
        reading: TextReading,
        types: Option<Arc<TextTypes>>,
    },
}

impl FileField {
    /// Whether a leaf below is read twice.
    pub(crate) fn read_twice(&self) -> bool {
        match &self.kind {
            FieldKind::Leaf { reading, .. } => reading.read_twice(),
            FieldKind::List(item) => item.read_twice(),
            FieldKind::Struct(fields) => fields.iter().any(Self::read_twice),
            FieldKind::Map { key, value } => key.read_twice() || value.read_twice(),
            FieldKind::Text { .. } => false,
        }
    }

    /// A column of a file of text.
    pub(crate) fn of_text(name: String, reading: TextReading, types: Option<Arc<TextTypes>>) -> Self {
        Self { name, nullable: true, kind: FieldKind::Text { reading, types }, leaves: 0..0 }
    }

    /// Whether it is texts of a file that does not say what they are.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.kind, FieldKind::Text { .. })
    }

    /// What was seen of the values by which its type is told.
    pub(crate) fn inferred(&self) -> Option<&TextTypes> {
        match &self.kind {
            FieldKind::Text { types, .. } => types.as_deref(),
            _ => None,
        }
    }

    /// The type by those values.
    fn inferred_target(&self) -> ColumnType {
        self.inferred().map_or(ColumnType::Null, TextTypes::column_type)
    }

    /// The outgoing type, by the spec's choice.
    pub(crate) fn target_as(&self, nested_as: NestedAs) -> ColumnType {
        match nested_as {
            NestedAs::Json => self.target(),
            NestedAs::Native => self.native_target(0),
        }
    }

    /// The outgoing type where nested values travel natively. What Arrow's types can't hold, or destinations can't take
    /// even so, is JSON: lists of lists (PostgreSQL refuses the whole sync), and maps whose keys may be null after a cast.
    fn native_target(&self, depth: usize) -> ColumnType {
        if depth == MAX_NATIVE_DEPTH && !matches!(self.kind, FieldKind::Leaf { .. } | FieldKind::Text { .. }) {
            return ColumnType::Json;
        }
        match &self.kind {
            FieldKind::Leaf { arrow, reading } => leaf_target(arrow, *reading),
            FieldKind::List(item) if matches!(item.kind, FieldKind::List(_)) => ColumnType::Json,
            FieldKind::List(item) => ColumnType::List(Box::new(item.native_target(depth + 1))),
            FieldKind::Struct(fields) if fields.is_empty() => ColumnType::Json,
            FieldKind::Struct(fields) => {
                let field = |field: &Self| (field.name.clone(), field.native_target(depth + 1));
                ColumnType::Struct(fields.iter().map(field).collect())
            }
            FieldKind::Map { key, value } => match key.native_key() {
                Some(key) => ColumnType::Map { key: Box::new(key), value: Box::new(value.native_target(depth + 1)) },
                None => ColumnType::Json,
            },
            FieldKind::Text { .. } => self.inferred_target(),
        }
    }

    /// The type of a map's keys, `None` when they are nested, or null in the file or after the cast.
    fn native_key(&self) -> Option<ColumnType> {
        let FieldKind::Leaf { arrow, reading } = &self.kind else { return None };
        let target = leaf_target(arrow, *reading);
        let plain = !matches!(
            target,
            ColumnType::Timestamp
                | ColumnType::Date32
                | ColumnType::Time64
                | ColumnType::Decimal128 { .. }
                | ColumnType::Json
        );
        (plain && !self.nullable && *arrow != DataType::Null).then_some(target)
    }

    /// The outgoing type where nested values travel as JSON.
    pub(crate) fn target(&self) -> ColumnType {
        match &self.kind {
            FieldKind::Leaf { arrow, reading } => leaf_target(arrow, *reading),
            FieldKind::List(item) => match &item.kind {
                FieldKind::Leaf { arrow, reading } => match leaf_target(arrow, *reading) {
                    ColumnType::Json => ColumnType::Json,
                    target => ColumnType::List(Box::new(target)),
                },
                _ => ColumnType::Json,
            },
            FieldKind::Struct(_) | FieldKind::Map { .. } => ColumnType::Json,
            FieldKind::Text { .. } => self.inferred_target(),
        }
    }

    /// Bytes of JSON that a value takes on top of its leaves: keys, quotes, commas, and `null` for each leaf. `times` says how
    /// often a leaf occurs in a row; the field itself occurs `occurrences` times.
    pub(crate) fn json_overhead_bytes(&self, occurrences: u64, times: &impl Fn(usize) -> u64) -> u64 {
        const BRACKETS: u64 = 2;
        /// `null` and a comma, or the quotes around a text.
        const LEAF: u64 = 5;
        /// The quotes of a key and its colon.
        const KEY: u64 = 3;
        let inside = || occurrences.max(times(self.leaves.start));
        let each = match &self.kind {
            FieldKind::Leaf { .. } | FieldKind::Text { .. } => return occurrences.saturating_mul(LEAF),
            FieldKind::Struct(fields) => {
                let keys: u64 = fields.iter().map(|field| field.name.len() as u64 + KEY).sum();
                let fields = fields.iter().map(|field| field.json_overhead_bytes(occurrences, times));
                return fields.fold(occurrences.saturating_mul(BRACKETS + keys), u64::saturating_add);
            }
            FieldKind::List(item) => item.json_overhead_bytes(inside(), times),
            FieldKind::Map { key, value } => {
                let (key, value) =
                    (key.json_overhead_bytes(inside(), times), value.json_overhead_bytes(inside(), times));
                key.saturating_add(value)
            }
        };
        each.saturating_add(occurrences.saturating_mul(BRACKETS))
    }

    /// The type as a person would say it.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            FieldKind::Leaf { arrow, reading } => describe_leaf(arrow, *reading),
            FieldKind::List(item) => format!("list<{}>", item.describe()),
            FieldKind::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|f| format!("{}: {}", f.name, f.describe())).collect();
                format!("struct<{}>", fields.join(", "))
            }
            FieldKind::Map { key, value } => format!("map<{}, {}>", key.describe(), value.describe()),
            FieldKind::Text { .. } => match self.inferred_target() {
                ColumnType::Null | ColumnType::Utf8 => "text".to_owned(),
                inferred => format!("{inferred} by its values"),
            },
        }
    }
}

fn describe_leaf(arrow: &DataType, reading: Reading) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    match (reading, arrow) {
        (Reading::Uuid, _) => "uuid".into(),
        (Reading::Json, _) => "json".into(),
        (Reading::Enum, _) => "enum".into(),
        (Reading::Int96, _) => "int96 timestamp".into(),
        (Reading::Interval, _) => "interval".into(),
        (_, DataType::Boolean) => "bool".into(),
        (_, DataType::Utf8) => "utf8".into(),
        (_, DataType::Date32 | DataType::Date64) => "date".into(),
        (_, DataType::Time32(u) | DataType::Time64(u)) => format!("time({})", unit(u)),
        (_, DataType::Timestamp(u, None)) => format!("timestamp({})", unit(u)),
        (_, DataType::Timestamp(u, Some(zone))) => format!("timestamp({}, {zone})", unit(u)),
        (_, DataType::Decimal128(p, s) | DataType::Decimal256(p, s)) => format!("decimal({p}, {s})"),
        (_, DataType::FixedSizeBinary(n)) => format!("fixed binary({n})"),
        (_, other) => other.to_string().to_lowercase(),
    }
}

fn leaf_target(arrow: &DataType, reading: Reading) -> ColumnType {
    match reading {
        Reading::Uuid => return ColumnType::Uuid,
        Reading::Json => return ColumnType::Json,
        Reading::Enum | Reading::Interval => return ColumnType::Utf8,
        Reading::Int96 => return ColumnType::Timestamp,
        Reading::Plain => {}
    }
    match arrow {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 => ColumnType::Int8,
        DataType::Int16 => ColumnType::Int16,
        DataType::Int32 => ColumnType::Int32,
        DataType::Int64 => ColumnType::Int64,
        DataType::UInt8 => ColumnType::UInt8,
        DataType::UInt16 => ColumnType::UInt16,
        DataType::UInt32 => ColumnType::UInt32,
        DataType::UInt64 => ColumnType::UInt64,
        DataType::Float16 | DataType::Float32 => ColumnType::Float32,
        DataType::Float64 => ColumnType::Float64,
        DataType::Date32 | DataType::Date64 => ColumnType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => ColumnType::Time64,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            decimal_target(*precision, *scale)
        }
        DataType::Binary | DataType::FixedSizeBinary(_) => ColumnType::Binary,
        DataType::Null => ColumnType::Null,
        // Utf8, and what no reader makes of a Parquet leaf.
        _ => ColumnType::Utf8,
    }
}

/// More digits than 38, or a scale that SQL's `numeric(p, s)` doesn't take, travel as exact text.
fn decimal_target(precision: u8, scale: i8) -> ColumnType {
    let plain = (1..=MAX_DECIMAL128_PRECISION).contains(&precision) && scale >= 0 && scale.unsigned_abs() <= precision;
    if plain { ColumnType::Decimal128 { precision, scale } } else { ColumnType::Utf8 }
}
