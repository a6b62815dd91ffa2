//! Arrow's types made the few that casts read: views, large and dictionary-encoded arrays become plain ones, lists of all kinds
//! lists, intervals ISO 8601 texts, unions JSON. For formats whose readers give Arrow's types as the file has them.
//!
//! How much a batch takes once it is plain, which dictionaries and views hide, says [`size`]; [`slices`] cuts batches by it.

mod nested;
pub(super) mod size;
pub(super) mod slices;

use super::error::ReadError;
use crate::cast::calendar::write_duration;
use crate::cast::counts::CastCounts;
use crate::cast::error::CastError;
use crate::schema::field::{FieldKind, FileField, Reading};
use crate::schema::rules::ColumnRules;
use crate::schema::types::{EXTENSION_NAME, Extension, UUID_BYTES};
use arrow::array::types::{IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType};
use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, IntervalUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// A column of a file, or what is in it, and how it becomes plain.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: FileField,
    how: How,
}

/// How an array becomes what its [`FileField`] says.
#[derive(Debug, Clone)]
enum How {
    AsIs,
    /// By Arrow's own cast to this type, which loses nothing.
    Cast(DataType),
    /// Dictionaries and runs: the values one by one, by Arrow's own cast, and then as these.
    Values(DataType, Box<How>),
    /// Intervals as texts.
    Intervals,
    /// Texts of JSON that are stored as bytes.
    JsonBytes,
    /// Branches by their type ids, as JSON.
    Union(Vec<(i8, Column)>),
    List(Box<Column>),
    Struct(Vec<Column>),
    Map(Box<(Column, Column)>),
}

/// Arrow's canonical extension types, beside CloudQuery's of the same meaning.
const ARROW_UUID: &str = "arrow.uuid";
const ARROW_JSON: &str = "arrow.json";
/// Avro's name for what a type means, which its reader keeps.
const AVRO_LOGICAL_TYPE: &str = "logicalType";

impl Column {
    /// A column of this type; `path` is its name for messages, with those of what it is in.
    ///
    /// # Errors
    /// [`ReadError::Unsupported`] for types that have no values to send.
    pub(super) fn of(field: &Field, path: &str) -> Result<Self, ReadError> {
        let inside = |field: &Field| Self::of(field, &format!("{path}.{}", field.name()));
        let (kind, how) = match field.data_type() {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => {
                let item = inside(item)?;
                (FieldKind::List(Box::new(item.field.clone())), How::List(Box::new(item)))
            }
            DataType::Struct(fields) => {
                let fields = fields.iter().map(|field| inside(field)).collect::<Result<Vec<_>, _>>()?;
                (FieldKind::Struct(fields.iter().map(|column| column.field.clone()).collect()), How::Struct(fields))
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(pair) = entries.data_type() else { return Err(odd_map(path)) };
                let [key, value] = &pair[..] else { return Err(odd_map(path)) };
                let (key, value) = (inside(key)?, inside(value)?);
                let kind = FieldKind::Map { key: Box::new(key.field.clone()), value: Box::new(value.field.clone()) };
                (kind, How::Map(Box::new((key, value))))
            }
            DataType::Dictionary(_, values) => encoded(field, values, path)?,
            DataType::RunEndEncoded(_, values) => encoded(field, values.data_type(), path)?,
            DataType::Union(branches, _) => {
                let branches = branches.iter().map(|(id, branch)| Ok((id, inside(branch)?)));
                let branches = branches.collect::<Result<Vec<_>, ReadError>>()?;
                (leaf(DataType::Utf8, Reading::Json), How::Union(branches))
            }
            plain => leaf_of(field, plain),
        };
        let field = FileField { name: field.name().clone(), nullable: field.is_nullable(), kind, leaves: 0..0 };
        Ok(Self { field, how })
    }

    /// The array as the field says. What is lost on the way is counted.
    ///
    /// # Errors
    /// Values that are damaged, or together too large for an array.
    pub(super) fn array(&self, array: &ArrayRef, counts: &CastCounts) -> Result<ArrayRef, CastError> {
        self.how.array(array, counts)
    }
}

impl How {
    fn array(&self, array: &ArrayRef, counts: &CastCounts) -> Result<ArrayRef, CastError> {
        Ok(match self {
            Self::AsIs => Arc::clone(array),
            Self::Cast(to) => fitting(array, to)?,
            Self::Values(to, how) => how.array(&fitting(array, to)?, counts)?,
            Self::Intervals => Arc::new(intervals(array)?),
            Self::JsonBytes => Arc::new(json_texts(array)?),
            Self::Union(branches) => nested::union(branches, array, counts)?,
            Self::List(item) => nested::list(item, array, counts)?,
            Self::Struct(fields) => nested::structs(fields, array, counts)?,
            Self::Map(pair) => nested::map(&pair.0, &pair.1, array, counts)?,
        })
    }
}

/// The indexes of the columns that the rules read.
pub(super) fn read_columns(columns: &[Column], rules: &ColumnRules) -> Vec<usize> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut read = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let occurrence = seen.entry(&column.field.name).or_default();
        if rules.reads(&column.field.name, *occurrence) {
            read.push(index);
        }
        *occurrence += 1;
    }
    read
}

fn leaf(arrow: DataType, reading: Reading) -> FieldKind {
    FieldKind::Leaf { arrow, reading }
}

/// A field whose values stand elsewhere: the meaning is that of the field itself.
fn encoded(field: &Field, values: &DataType, path: &str) -> Result<(FieldKind, How), ReadError> {
    let column = Column::of(&field.clone().with_data_type(values.clone()), path)?;
    Ok((column.field.kind, How::Values(values.clone(), Box::new(column.how))))
}

fn leaf_of(field: &Field, arrow: &DataType) -> (FieldKind, How) {
    let by_cast = |to: DataType| (leaf(to.clone(), Reading::Plain), How::Cast(to));
    let meaning = field.metadata().get(EXTENSION_NAME).or_else(|| field.metadata().get(AVRO_LOGICAL_TYPE));
    let meaning = meaning.map(String::as_str);
    let is_uuid = meaning.is_some_and(|name| name == ARROW_UUID || name == Extension::Uuid.name());
    let is_json = meaning.is_some_and(|name| name == ARROW_JSON || name == Extension::Json.name());
    match arrow {
        DataType::FixedSizeBinary(UUID_BYTES) if is_uuid => (leaf(arrow.clone(), Reading::Uuid), How::AsIs),
        DataType::Utf8 if is_json => (leaf(DataType::Utf8, Reading::Json), How::AsIs),
        DataType::LargeUtf8 | DataType::Utf8View if is_json => {
            (leaf(DataType::Utf8, Reading::Json), How::Cast(DataType::Utf8))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView if is_json => {
            (leaf(DataType::Utf8, Reading::Json), How::JsonBytes)
        }
        DataType::LargeUtf8 | DataType::Utf8View => by_cast(DataType::Utf8),
        DataType::LargeBinary | DataType::BinaryView => by_cast(DataType::Binary),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            by_cast(DataType::Decimal128(*precision, *scale))
        }
        // A count in the unit of its type, as Parquet files of Arrow's own writers have it.
        DataType::Duration(_) => by_cast(DataType::Int64),
        DataType::Interval(_) => (leaf(DataType::Utf8, Reading::Plain), How::Intervals),
        plain => (leaf(plain.clone(), Reading::Plain), How::AsIs),
    }
}

fn odd_map(path: &str) -> ReadError {
    ReadError::Unsupported {
        column: path.to_owned(),
        what: "it is a map whose entries are not a key and a value".into(),
    }
}

/// Arrow's cast, which refuses what does not fit into 32-bit offsets only by its text.
fn fitting(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, CastError> {
    cast(array, to).map_err(|error| {
        let text = error.to_string();
        if text.contains("offset") || text.contains("overflow") { CastError::TooLarge } else { CastError::from(error) }
    })
}

fn json_texts(array: &ArrayRef) -> Result<StringArray, CastError> {
    let bytes = fitting(array, &DataType::Binary)?;
    let texts = StringArray::try_from_binary(bytes.as_binary::<i32>().clone());
    texts.map_err(|_| CastError::Value("its JSON is not valid UTF-8".to_owned()))
}

fn intervals(array: &ArrayRef) -> Result<StringArray, CastError> {
    let parts: Box<dyn Fn(usize) -> (i64, i64, i64) + '_> = match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = array.as_primitive::<IntervalYearMonthType>();
            Box::new(|row| (months.value(row).into(), 0, 0))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let values = array.as_primitive::<IntervalDayTimeType>();
            Box::new(|row| {
                let value = values.value(row);
                (0, value.days.into(), i64::from(value.milliseconds) * 1_000_000)
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            Box::new(|row| {
                let value = values.value(row);
                (value.months.into(), value.days.into(), value.nanoseconds)
            })
        }
        other => return Err(CastError::Type(other.to_string(), "interval".to_owned())),
    };
    let (mut builder, mut text) = (StringBuilder::with_capacity(array.len(), 0), String::new());
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        let (months, days, nanos) = parts(row);
        write_duration(months, days, nanos, &mut text);
        builder.append_value(&text);
    }
    Ok(builder.finish())
}
