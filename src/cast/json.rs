//! Nested values as JSON text, and the check of Parquet's JSON type.
//!
//! Keys stand in schema order and nulls are explicit. Integers and decimals are numbers in full digits, NaN and ±∞ null,
//! bytes base64, dates `YYYY-MM-DD`, times `HH:MM:SS[.ffffff]`, timestamps RFC 3339 in UTC, UUIDs their text, intervals
//! ISO 8601 durations. Maps with text keys are objects, others arrays of pairs. U+0000 is left out of strings: PostgreSQL's
//! `jsonb` can't hold it.

use super::calendar;
use super::counts::{CastCounts, count};
use super::error::CastError;
use super::leaf::checked_utf8;
use crate::schema::field::{FieldKind, FileField, Reading};
use arrow::array::types::{
    Date32Type, Date64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalDayTimeType, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, TimeUnit};

mod picked;
mod text;
mod write;

use text::{Flaw, has_unicode_escape, write_checked};
use write::{
    append, write_base64, write_date, write_number, write_signed, write_string, write_time, write_timestamp,
    write_unsigned, write_uuid,
};

/// Writes the JSON of one column's values; made once a batch, so that no type is looked at per value.
pub(crate) enum Encoder {
    Null,
    Boolean(BooleanArray),
    /// All signed integers.
    Signed(PrimitiveArray<Int64Type>),
    Unsigned(PrimitiveArray<UInt64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal128(PrimitiveArray<Decimal128Type>),
    Decimal256(PrimitiveArray<Decimal256Type>),
    /// Checked text.
    Text(StringArray),
    /// Texts of Parquet's JSON type, unchecked.
    Json(StringArray),
    Binary(BinaryArray),
    FixedBinary(FixedSizeBinaryArray),
    Uuid(FixedSizeBinaryArray),
    Date(PrimitiveArray<Int64Type>),
    Date64(PrimitiveArray<Int64Type>),
    Time(PrimitiveArray<Int64Type>, TimeUnit),
    Timestamp(PrimitiveArray<Int64Type>, TimeUnit),
    /// Microseconds, seconds.
    Int96(PrimitiveArray<Int64Type>, PrimitiveArray<Int64Type>),
    Interval(PrimitiveArray<IntervalDayTimeType>, PrimitiveArray<IntervalYearMonthType>),
    /// Each field with its key, quoted and with a colon.
    Struct(Option<NullBuffer>, Vec<(Vec<u8>, Encoder)>),
    List(Option<NullBuffer>, OffsetBuffer<i32>, Box<Encoder>),
    Map {
        nulls: Option<NullBuffer>,
        offsets: OffsetBuffer<i32>,
        key: Box<Encoder>,
        value: Box<Encoder>,
    },
    /// Values of several kinds: for each row which of `children` has it, and in which row.
    Union {
        children: Vec<Encoder>,
        at: Vec<(usize, usize)>,
    },
    /// A plain value by itself: see [`Encoder::by_itself`].
    ByItself(Box<Encoder>),
    /// An object of some values: see [`Encoder::picking`].
    Picked(Vec<Picked>, Option<StringArray>),
}

/// A column of which some values are written.
pub(crate) struct Picked {
    /// Quoted and with a colon.
    key: Vec<u8>,
    rows: BooleanBuffer,
    encoder: Encoder,
}

/// What one batch counts; added to the shared counters once at its end.
#[derive(Default)]
struct Lost {
    floats: u64,
    timestamps: u64,
    dates: u64,
    times: u64,
    json: u64,
    json_beyond_limits: u64,
}

impl Lost {
    /// Counts a text of JSON that became a string.
    fn count(&mut self, checked: Result<(), Flaw>) {
        match checked {
            Ok(()) => {}
            Err(Flaw::Invalid) => self.json += 1,
            Err(Flaw::BeyondLimits) => self.json_beyond_limits += 1,
        }
    }
}

impl Encoder {
    /// An encoder of `array`, which was read from `field`; `second` as in [`super::cast`].
    pub(crate) fn new(field: &FileField, array: &ArrayRef, second: Option<&ArrayRef>) -> Result<Self, CastError> {
        let mismatch = || CastError::Type(array.data_type().to_string(), field.describe());
        Ok(match &field.kind {
            FieldKind::Leaf { arrow, reading } => {
                if array.data_type() != arrow {
                    return Err(mismatch());
                }
                Self::leaf(*reading, array, second).ok_or_else(mismatch)??
            }
            FieldKind::Struct(fields) => {
                let columns = array.as_struct_opt().ok_or_else(mismatch)?;
                let seconds = second.and_then(|second| second.as_struct_opt());
                let mut encoders = Vec::with_capacity(fields.len());
                for (index, child) in fields.iter().enumerate() {
                    let column = columns.columns().get(index).ok_or_else(mismatch)?;
                    let second = seconds.and_then(|seconds| seconds.columns().get(index));
                    let mut key = Vec::new();
                    write_string(&child.name, &mut key);
                    key.push(b':');
                    encoders.push((key, Self::new(child, column, second)?));
                }
                Self::Struct(array.nulls().cloned(), encoders)
            }
            FieldKind::List(item) => {
                let list = array.as_list_opt::<i32>().ok_or_else(mismatch)?;
                let second = second.and_then(|s| s.as_list_opt::<i32>()).map(|s| s.values());
                let item = Self::new(item, list.values(), second)?;
                Self::List(array.nulls().cloned(), list.offsets().clone(), Box::new(item))
            }
            FieldKind::Map { key, value } => {
                let map = array.as_map_opt().ok_or_else(mismatch)?;
                let second = second.and_then(|s| s.as_map_opt());
                Self::Map {
                    nulls: array.nulls().cloned(),
                    offsets: map.offsets().clone(),
                    key: Box::new(Self::new(key, map.keys(), second.map(|s| s.keys()))?),
                    value: Box::new(Self::new(value, map.values(), second.map(|s| s.values()))?),
                }
            }
            FieldKind::Text { reading, .. } => super::text::encoder(reading, array, None)?,
        })
    }

    fn leaf(reading: Reading, array: &ArrayRef, second: Option<&ArrayRef>) -> Option<Result<Self, CastError>> {
        Some(Ok(match reading {
            Reading::Json => Self::Json(array.as_string_opt()?.clone()),
            Reading::Uuid => Self::Uuid(array.as_fixed_size_binary_opt()?.clone()),
            Reading::Enum => return Some(checked_utf8(array.as_binary_opt()?).map(Self::Text)),
            Reading::Int96 => Self::Int96(widened(array)?, widened(second?)?),
            Reading::Interval => Self::Interval(array.as_primitive_opt()?.clone(), second?.as_primitive_opt()?.clone()),
            Reading::Plain => match array.data_type() {
                DataType::Null => Self::Null,
                DataType::Boolean => Self::Boolean(array.as_boolean_opt()?.clone()),
                DataType::Int8 => Self::Signed(array.as_primitive_opt::<Int8Type>()?.unary(i64::from)),
                DataType::Int16 => Self::Signed(array.as_primitive_opt::<Int16Type>()?.unary(i64::from)),
                DataType::Int32 => Self::Signed(array.as_primitive_opt::<Int32Type>()?.unary(i64::from)),
                DataType::Int64 => Self::Signed(array.as_primitive_opt()?.clone()),
                DataType::UInt8 => Self::Unsigned(array.as_primitive_opt::<UInt8Type>()?.unary(u64::from)),
                DataType::UInt16 => Self::Unsigned(array.as_primitive_opt::<UInt16Type>()?.unary(u64::from)),
                DataType::UInt32 => Self::Unsigned(array.as_primitive_opt::<UInt32Type>()?.unary(u64::from)),
                DataType::UInt64 => Self::Unsigned(array.as_primitive_opt()?.clone()),
                DataType::Float16 => Self::Float32(array.as_primitive_opt::<Float16Type>()?.unary(f32::from)),
                DataType::Float32 => Self::Float32(array.as_primitive_opt()?.clone()),
                DataType::Float64 => Self::Float64(array.as_primitive_opt()?.clone()),
                DataType::Decimal128(..) => Self::Decimal128(array.as_primitive_opt()?.clone()),
                DataType::Decimal256(..) => Self::Decimal256(array.as_primitive_opt()?.clone()),
                DataType::Utf8 => Self::Text(array.as_string_opt()?.clone()),
                DataType::Binary => Self::Binary(array.as_binary_opt()?.clone()),
                DataType::FixedSizeBinary(_) => Self::FixedBinary(array.as_fixed_size_binary_opt()?.clone()),
                DataType::Date32 => Self::Date(widened(array)?),
                DataType::Date64 => Self::Date64(widened(array)?),
                DataType::Time32(unit) | DataType::Time64(unit) => Self::Time(widened(array)?, *unit),
                DataType::Timestamp(unit, _) => Self::Timestamp(widened(array)?, *unit),
                _ => return None,
            },
        }))
    }

    fn is_null(&self, row: usize) -> bool {
        let null = |nulls: &Option<NullBuffer>| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        match self {
            Self::Null => true,
            Self::Boolean(array) => array.is_null(row),
            Self::Signed(array) | Self::Date(array) | Self::Date64(array) => array.is_null(row),
            Self::Time(array, _) | Self::Timestamp(array, _) | Self::Int96(array, _) => array.is_null(row),
            Self::Unsigned(array) => array.is_null(row),
            Self::Float32(array) => array.is_null(row),
            Self::Float64(array) => array.is_null(row),
            Self::Decimal128(array) => array.is_null(row),
            Self::Decimal256(array) => array.is_null(row),
            Self::Text(array) | Self::Json(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::FixedBinary(array) | Self::Uuid(array) => array.is_null(row),
            Self::Interval(array, _) => array.is_null(row),
            Self::Struct(nulls, _) | Self::List(nulls, ..) | Self::Map { nulls, .. } => null(nulls),
            Self::Union { children, at } => {
                let (child, row) = at[row];
                children[child].is_null(row)
            }
            Self::ByItself(encoder) => encoder.is_null(row),
            Self::Picked(columns, others) => {
                !columns.iter().any(|column| column.rows.value(row))
                    && others.as_ref().is_none_or(|others| others.is_null(row))
            }
        }
    }

    /// Whether a map with these keys is a JSON object.
    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn write(&self, row: usize, out: &mut Vec<u8>, lost: &mut Lost) {
        if self.is_null(row) {
            return null(out);
        }
        match self {
            Self::Null => null(out),
            Self::Boolean(array) => out.extend_from_slice(if array.value(row) { b"true" } else { b"false" }),
            Self::Signed(array) => write_signed(array.value(row), out),
            Self::Unsigned(array) => write_unsigned(array.value(row), out),
            Self::Float32(array) => {
                let value = array.value(row);
                if value.is_finite() { write_number(&value, out) } else { lose(&mut lost.floats, out) }
            }
            Self::Float64(array) => {
                let value = array.value(row);
                if value.is_finite() { write_number(&value, out) } else { lose(&mut lost.floats, out) }
            }
            Self::Decimal128(array) => append(array.value_as_string(row).as_bytes(), out),
            Self::Decimal256(array) => append(array.value_as_string(row).as_bytes(), out),
            Self::Text(array) => write_string(array.value(row), out),
            Self::Json(array) => lost.count(write_checked(raw_value(array, row), out)),
            Self::Binary(array) => write_base64(array.value(row), out),
            Self::FixedBinary(array) => write_base64(array.value(row), out),
            Self::Uuid(array) => write_uuid(array.value(row), out),
            Self::Date(array) => written(write_date(array.value(row), out), &mut lost.dates, out),
            Self::Date64(array) => {
                let days = calendar::date64_to_days(array.value(row));
                written(days.and_then(|days| write_date(days.into(), out)), &mut lost.dates, out);
            }
            Self::Time(array, unit) => {
                let micros = calendar::to_time_micros(array.value(row), *unit);
                written(micros.map(|micros| write_time(micros, out)), &mut lost.times, out);
            }
            Self::Timestamp(array, unit) => {
                let micros = calendar::to_micros(array.value(row), *unit);
                written(micros.and_then(|micros| write_timestamp(micros, out)), &mut lost.timestamps, out);
            }
            Self::Int96(micros, seconds) => {
                let micros = calendar::int96_micros(micros.value(row), seconds.value(row));
                written(micros.and_then(|micros| write_timestamp(micros, out)), &mut lost.timestamps, out);
            }
            Self::Interval(day_time, months) => {
                let (day_time, mut text) = (day_time.value(row), String::new());
                calendar::write_interval(months.value(row), day_time.days, day_time.milliseconds, &mut text);
                write_string(&text, out);
            }
            Self::Struct(_, fields) => {
                out.push(b'{');
                for (index, (key, field)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    append(key, out);
                    field.write(row, out, lost);
                }
                out.push(b'}');
            }
            Self::List(_, offsets, item) => {
                out.push(b'[');
                for (index, row) in span(offsets, row).enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(row, out, lost);
                }
                out.push(b']');
            }
            Self::Map { offsets, key, value, .. } => write_map(span(offsets, row), key, value, out, lost),
            Self::Union { children, at } => {
                let (child, row) = at[row];
                children[child].write(row, out, lost);
            }
            Self::ByItself(encoder) => encoder.write_by_itself(row, out, lost),
            Self::Picked(columns, others) => picked::write(columns, others.as_ref(), row, out, lost),
        }
    }
}

fn write_map(rows: std::ops::Range<usize>, key: &Encoder, value: &Encoder, out: &mut Vec<u8>, lost: &mut Lost) {
    let object = key.is_text();
    out.push(if object { b'{' } else { b'[' });
    for (index, row) in rows.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if object {
            // The format forbids null keys; some writers leave them optional all the same.
            if key.is_null(row) {
                out.extend_from_slice(b"\"\"")
            } else {
                key.write(row, out, lost)
            }
            out.push(b':');
            value.write(row, out, lost);
        } else {
            out.push(b'[');
            key.write(row, out, lost);
            out.push(b',');
            value.write(row, out, lost);
            out.push(b']');
        }
    }
    out.push(if object { b'}' } else { b']' });
}

#[expect(clippy::cast_sign_loss, reason = "offsets of a list array are checked to be ascending from 0 on")]
fn span(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The JSON of `rows` values as a column; what is null in `nulls` is null, not JSON's `null`.
pub(crate) fn encode(
    encoder: &Encoder,
    rows: usize,
    nulls: Option<&NullBuffer>,
    counts: &CastCounts,
) -> Result<BinaryArray, CastError> {
    match encode_within(encoder, rows, nulls, counts, u64::MAX)? {
        Encoded::Whole(array) => Ok(array),
        Encoded::Part { .. } => Err(CastError::TooLarge),
    }
}

/// How far JSON text came.
pub(crate) enum Encoded {
    /// All rows.
    Whole(BinaryArray),
    /// The first `rows` of them took `bytes`, more than were allowed; nothing was counted.
    Part { rows: usize, bytes: u64 },
}

/// As [`encode`], but stops after the row that makes it more than `most_bytes`, unless that is the last.
pub(crate) fn encode_within(
    encoder: &Encoder,
    rows: usize,
    nulls: Option<&NullBuffer>,
    counts: &CastCounts,
    most_bytes: u64,
) -> Result<Encoded, CastError> {
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    let mut lost = Lost::default();
    for row in 0..rows {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            encoder.write(row, &mut bytes, &mut lost);
        }
        offsets.push(i32::try_from(bytes.len()).map_err(|_| CastError::TooLarge)?);
        if bytes.len() as u64 > most_bytes && row + 1 < rows {
            return Ok(Encoded::Part { rows: row + 1, bytes: bytes.len() as u64 });
        }
    }
    count(&counts.floats_not_finite, lost.floats);
    count(&counts.timestamps_out_of_range, lost.timestamps);
    count(&counts.dates_out_of_range, lost.dates);
    count(&counts.times_out_of_range, lost.times);
    count(&counts.json_invalid, lost.json);
    count(&counts.json_beyond_limits, lost.json_beyond_limits);
    let array = BinaryArray::try_new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), nulls.cloned())?;
    Ok(Encoded::Whole(array))
}

/// Values of several kinds as JSON texts: for each row `at` says which of `children` has its value, and in which row there.
///
/// # Errors
/// Texts that are not UTF-8, or too large for one array; a place that is not there.
pub(crate) fn union_texts(
    children: Vec<(FileField, ArrayRef)>,
    at: Vec<(usize, usize)>,
    counts: &CastCounts,
) -> Result<StringArray, CastError> {
    let inside = |(child, row): &(usize, usize)| children.get(*child).is_some_and(|(_, array)| *row < array.len());
    if !at.iter().all(inside) {
        return Err(CastError::Value("a value of a union is in none of its branches".to_owned()));
    }
    let rows = at.len();
    let encoders = children.iter().map(|(field, array)| Encoder::new(field, array, None)).collect::<Result<_, _>>()?;
    let encoder = Encoder::Union { children: encoders, at };
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| !encoder.is_null(row)));
    checked_utf8(&encode(&encoder, rows, Some(&nulls), counts)?)
}

/// `text` as JSON that consumers take; `None`: it is none.
pub(super) fn clean(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    text::write_checked(text, &mut out).ok().map(|()| out)
}

/// Checks a column of Parquet's JSON type: values that consumers take pass byte for byte (without copying when all do),
/// others become JSON strings and are counted.
pub(crate) fn check_texts(array: &StringArray, counts: &CastCounts) -> Result<BinaryArray, CastError> {
    let pass = (0..array.len()).all(|row| {
        array.is_null(row) || {
            let text = raw_value(array, row);
            text::check(text).is_ok() && !has_unicode_escape(text)
        }
    });
    if pass {
        let (offsets, values, nulls) = (array.offsets().clone(), array.values().clone(), array.nulls().cloned());
        return Ok(BinaryArray::try_new(offsets, values, nulls)?);
    }
    encode(&Encoder::Json(array.clone()), array.len(), array.nulls(), counts)
}

/// A value's bytes. The reader doesn't check the UTF-8 of JSON columns, so their values must not be taken as `str`.
fn raw_value(array: &StringArray, row: usize) -> &[u8] {
    &array.value_data()[span(array.offsets(), row)]
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn lose(counter: &mut u64, out: &mut Vec<u8>) {
    *counter += 1;
    null(out);
}

/// Null, counted, when nothing was written.
fn written(done: Option<()>, counter: &mut u64, out: &mut Vec<u8>) {
    if done.is_none() {
        lose(counter, out);
    }
}

/// Integers of the two physical widths as 64 bits: what times and dates are written from.
fn widened(array: &ArrayRef) -> Option<PrimitiveArray<Int64Type>> {
    Some(match array.data_type() {
        DataType::Date32 | DataType::Time32(TimeUnit::Second) | DataType::Time32(_) => {
            let narrow: PrimitiveArray<Int32Type> = match array.data_type() {
                DataType::Date32 => array.as_primitive::<Date32Type>().reinterpret_cast(),
                DataType::Time32(TimeUnit::Second) => array.as_primitive::<Time32SecondType>().reinterpret_cast(),
                _ => array.as_primitive::<Time32MillisecondType>().reinterpret_cast(),
            };
            narrow.unary(i64::from)
        }
        DataType::Date64 => array.as_primitive::<Date64Type>().reinterpret_cast(),
        DataType::Time64(TimeUnit::Nanosecond) => array.as_primitive::<Time64NanosecondType>().reinterpret_cast(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().reinterpret_cast(),
        DataType::Timestamp(TimeUnit::Second, _) => array.as_primitive::<TimestampSecondType>().reinterpret_cast(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive::<TimestampMillisecondType>().reinterpret_cast()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive::<TimestampNanosecondType>().reinterpret_cast()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
