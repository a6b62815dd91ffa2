//! Columns whose types are told: texts as what the spec says they are, numbers as times, all else as where files differ
//! ([`super::convert`]). A value is converted only as it is; what is not of the type is lost for the column.

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, MIN_TIMESTAMP_MICROS};
use super::convert::numbers::Numbers;
use super::convert::scalar::{self, collect};
use super::convert::{Converted, of_spans, some_set};
use super::counts::CastCounts;
use super::error::{CastError, unexpected};
use crate::config::{TypeChoice, Unit};
use crate::schema::by_hand::Conversion;
use crate::schema::field::{FieldKind, FileField};
use crate::schema::types::{ColumnType, UTC};
use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryBuilder, BooleanArray, FixedSizeBinaryBuilder,
    ListArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use std::sync::Arc;

pub(super) mod text;

/// Converts `array`, which was read from `field`; `second` as in [`super::cast()`].
///
/// # Errors
/// As [`super::cast()`].
pub(super) fn convert(
    field: &FileField,
    conversion: &Conversion,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<Converted, CastError> {
    if let FieldKind::Text { reading, .. } = &field.kind {
        return super::text::convert_told(reading, conversion, array, counts);
    }
    let own = Conversion::from(field);
    let array = super::cast(field, &own, array, second, counts)?;
    values(&own, &conversion.target, &conversion.choice, &array)
}

/// Converts values of the outgoing type `own`.
fn values(
    own: &ColumnType,
    target: &ColumnType,
    choice: &TypeChoice,
    array: &ArrayRef,
) -> Result<Converted, CastError> {
    let mismatch = || unexpected(array, target);
    match (own, target) {
        (ColumnType::Utf8, _) => texts(array.as_string_opt().ok_or_else(mismatch)?, target, choice),
        (ColumnType::Binary, ColumnType::Uuid) => uuids(array.as_binary_opt().ok_or_else(mismatch)?),
        (ColumnType::Binary | ColumnType::Json, ColumnType::Utf8) | (ColumnType::Binary, _) if own != target => {
            let (read, not_text) = utf8(array.as_binary_opt().ok_or_else(mismatch)?)?;
            let Converted { array, lost } = texts(&read, target, choice)?;
            Ok(Converted { array, lost: super::convert::either(lost, not_text) })
        }
        (ColumnType::Uuid, ColumnType::Binary) => {
            let bytes = array.as_fixed_size_binary_opt().ok_or_else(mismatch)?;
            Ok(Converted::whole(Arc::new(bytes.iter().collect::<BinaryArray>())))
        }
        (ColumnType::List(own), ColumnType::List(item)) => {
            let list: &ListArray = array.as_list_opt().ok_or_else(mismatch)?;
            let items = values(own, item, choice, list.values())?;
            let DataType::List(field) = target.arrow_type() else { return Err(mismatch()) };
            let lost = of_spans(items.lost.as_ref(), list.offsets(), list.nulls());
            let list = ListArray::try_new(field, list.offsets().clone(), items.array, list.nulls().cloned())?;
            Ok(Converted { array: Arc::new(list), lost })
        }
        _ => match (choice.unit, Numbers::new(own, array)) {
            (Some(unit), Some(numbers)) => times(&numbers, array, target, unit, choice.offset_s),
            _ => scalar::convert(own, target, array),
        },
    }
}

/// Texts as values of the type.
pub(super) fn texts(array: &StringArray, target: &ColumnType, choice: &TypeChoice) -> Result<Converted, CastError> {
    let nulls = without(array, &choice.null_values);
    let (rows, nulls) = (array.len(), nulls.as_ref());
    let text = |row: usize| array.value(row);
    let moment = |row: usize| if choice.nanoseconds { text::in_micros(text(row)) } else { text(row).into() };
    Ok(match target {
        ColumnType::Utf8 => {
            let (offsets, values) = (array.offsets().clone(), array.values().clone());
            Converted::whole(Arc::new(StringArray::try_new(offsets, values, nulls.cloned())?))
        }
        ColumnType::Boolean => booleans(rows, nulls, |row| text::boolean(text(row))),
        ColumnType::Int8 => integers::<Int8Type>(rows, nulls, text),
        ColumnType::Int16 => integers::<Int16Type>(rows, nulls, text),
        ColumnType::Int32 => integers::<Int32Type>(rows, nulls, text),
        ColumnType::Int64 => integers::<Int64Type>(rows, nulls, text),
        ColumnType::UInt8 => integers::<UInt8Type>(rows, nulls, text),
        ColumnType::UInt16 => integers::<UInt16Type>(rows, nulls, text),
        ColumnType::UInt32 => integers::<UInt32Type>(rows, nulls, text),
        ColumnType::UInt64 => integers::<UInt64Type>(rows, nulls, text),
        ColumnType::Float32 => collect::<Float32Type>(rows, nulls, |row| text::float32(text(row))),
        ColumnType::Float64 => collect::<Float64Type>(rows, nulls, |row| text::float64(text(row))),
        ColumnType::Decimal128 { precision, scale } => {
            let value = |row| text::decimal(text(row), *precision, scale.unsigned_abs());
            let Converted { array, lost } = collect::<Decimal128Type>(rows, nulls, value);
            let decimals = array.as_primitive::<Decimal128Type>().clone();
            Converted { array: Arc::new(decimals.with_precision_and_scale(*precision, *scale)?), lost }
        }
        ColumnType::Date32 => collect::<Date32Type>(rows, nulls, |row| match counted_us(text(row), choice) {
            Some(micros) => days_of(micros),
            None => text::date(text(row), choice),
        }),
        ColumnType::Time64 => {
            collect::<Time64MicrosecondType>(rows, nulls, |row| match counted_us(text(row), choice) {
                Some(micros) => time_of_day(micros),
                None => text::time_us(&moment(row)),
            })
        }
        ColumnType::Timestamp => {
            utc(&collect::<TimestampMicrosecondType>(rows, nulls, |row| match counted_us(text(row), choice) {
                Some(micros) => timestamp_of(micros, choice.offset_s),
                None => text::timestamp_us(&moment(row), choice),
            }))
        }
        ColumnType::Uuid => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(rows, crate::schema::types::UUID_BYTES);
            let mut append = |value: Option<[u8; 16]>| match value {
                Some(bytes) => builder.append_value(bytes).map_err(CastError::from),
                None => {
                    builder.append_null();
                    Ok(())
                }
            };
            let lost = each(rows, nulls, |row| text::uuid(text(row)), &mut append)?;
            Converted { array: Arc::new(builder.finish()), lost }
        }
        ColumnType::Json => bytes(rows, nulls, |row| text::json(text(row)))?,
        ColumnType::Inet => bytes(rows, nulls, |row| text::inet(text(row)).map(String::into_bytes))?,
        ColumnType::Mac => bytes(rows, nulls, |row| text::mac(text(row)).map(Vec::from))?,
        ColumnType::Binary => bytes(rows, nulls, |row| text::base64(text(row)))?,
        _ => Converted::nothing(target, &(Arc::new(array.clone()) as ArrayRef)),
    })
}

/// The nulls of `array`, and those of its texts that mean null.
fn without(array: &StringArray, null_values: &[String]) -> Option<NullBuffer> {
    if null_values.is_empty() {
        return array.nulls().cloned();
    }
    let is_null = |row: usize| array.is_null(row) || null_values.iter().any(|null| null == array.value(row));
    Some(NullBuffer::new(BooleanBuffer::collect_bool(array.len(), |row| !is_null(row))))
}

/// Calls `append` with each row's value; gives the rows that are not null and have none.
fn each<T>(
    rows: usize,
    nulls: Option<&NullBuffer>,
    value: impl Fn(usize) -> Option<T>,
    append: &mut impl FnMut(Option<T>) -> Result<(), CastError>,
) -> Result<Option<BooleanBuffer>, CastError> {
    let mut lost = vec![false; rows];
    for (row, lost) in lost.iter_mut().enumerate() {
        let valid = nulls.is_none_or(|nulls| nulls.is_valid(row));
        let value = if valid { value(row) } else { None };
        *lost = valid && value.is_none();
        append(value)?;
    }
    Ok(some_set(BooleanBuffer::from(lost)))
}

fn bytes(
    rows: usize,
    nulls: Option<&NullBuffer>,
    value: impl Fn(usize) -> Option<Vec<u8>>,
) -> Result<Converted, CastError> {
    let mut builder = BinaryBuilder::with_capacity(rows, 0);
    let mut total = 0_usize;
    let mut append = |value: Option<Vec<u8>>| {
        total += value.as_ref().map_or(0, Vec::len);
        if i32::try_from(total).is_err() {
            return Err(CastError::TooLarge);
        }
        builder.append_option(value);
        Ok(())
    };
    let lost = each(rows, nulls, value, &mut append)?;
    Ok(Converted { array: Arc::new(builder.finish()), lost })
}

fn booleans(rows: usize, nulls: Option<&NullBuffer>, value: impl Fn(usize) -> Option<bool>) -> Converted {
    let is_valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
    let values: Vec<Option<bool>> = (0..rows).map(|row| if is_valid(row) { value(row) } else { None }).collect();
    let lost = BooleanBuffer::collect_bool(rows, |row| is_valid(row) && values[row].is_none());
    Converted { array: Arc::new(BooleanArray::from(values)), lost: some_set(lost) }
}

fn integers<'a, T: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<&NullBuffer>,
    text: impl Fn(usize) -> &'a str,
) -> Converted
where
    T::Native: TryFrom<i128>,
{
    collect::<T>(rows, nulls, |row| T::Native::try_from(text::integer(text(row))?).ok())
}

fn utc(timestamps: &Converted) -> Converted {
    let array = timestamps.array.as_primitive::<TimestampMicrosecondType>().clone();
    Converted { array: Arc::new(array.with_timezone(UTC)), lost: timestamps.lost.clone() }
}

/// Bytes as the text that they are; those that are none are null, and which rows have them.
fn utf8(array: &BinaryArray) -> Result<(StringArray, Option<BooleanBuffer>), CastError> {
    if let Ok(texts) = StringArray::try_from_binary(array.clone()) {
        return Ok((texts, None));
    }
    let text = |row: usize| if array.is_valid(row) { std::str::from_utf8(array.value(row)).ok() } else { None };
    let texts: StringArray = (0..array.len()).map(text).collect();
    let lost = BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && texts.is_null(row));
    Ok((texts, some_set(lost)))
}

/// UUIDs of 16 bytes, or in text.
fn uuids(array: &BinaryArray) -> Result<Converted, CastError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(array.len(), crate::schema::types::UUID_BYTES);
    let value = |row: usize| {
        let bytes = array.value(row);
        <[u8; 16]>::try_from(bytes).ok().or_else(|| text::uuid(std::str::from_utf8(bytes).ok()?))
    };
    let mut append = |value: Option<[u8; 16]>| match value {
        Some(bytes) => builder.append_value(bytes).map_err(CastError::from),
        None => {
            builder.append_null();
            Ok(())
        }
    };
    let lost = each(array.len(), array.nulls(), value, &mut append)?;
    Ok(Converted { array: Arc::new(builder.finish()), lost })
}

/// Numbers that count `unit`s: since 1970, or since midnight.
fn times(
    numbers: &Numbers,
    array: &ArrayRef,
    target: &ColumnType,
    unit: Unit,
    offset_s: i32,
) -> Result<Converted, CastError> {
    let (rows, nulls) = (numbers.len(), array.nulls());
    let micros = |row: usize| micros_of(numbers.integer(row)?, unit);
    Ok(match target {
        ColumnType::Timestamp => {
            utc(&collect::<TimestampMicrosecondType>(rows, nulls, |row| timestamp_of(micros(row)?, offset_s)))
        }
        ColumnType::Date32 => collect::<Date32Type>(rows, nulls, |row| days_of(micros(row)?)),
        ColumnType::Time64 => collect::<Time64MicrosecondType>(rows, nulls, |row| time_of_day(micros(row)?)),
        target => Converted::nothing(target, array),
    })
}

/// Microseconds of a text that is a number of units; `None`: it is none, or numbers count nothing.
fn counted_us(text: &str, choice: &TypeChoice) -> Option<i64> {
    let unit = choice.unit?;
    micros_of(text::integer(text)?, unit)
}

fn micros_of(number: i128, unit: Unit) -> Option<i64> {
    let micros = match unit {
        Unit::Seconds => number.checked_mul(MICROS_PER_SECOND.into())?,
        Unit::Milliseconds => number.checked_mul(1_000)?,
        Unit::Microseconds => number,
        Unit::Nanoseconds => (number % 1_000 == 0).then_some(number / 1_000)?,
    };
    i64::try_from(micros).ok()
}

fn timestamp_of(micros: i64, offset_s: i32) -> Option<i64> {
    let utc = micros.checked_sub(i64::from(offset_s) * MICROS_PER_SECOND)?;
    (utc >= MIN_TIMESTAMP_MICROS).then_some(utc)
}

fn days_of(micros: i64) -> Option<i32> {
    let days = i32::try_from(micros / MICROS_PER_DAY).ok()?;
    (micros % MICROS_PER_DAY == 0).then_some(days)
}

fn time_of_day(micros: i64) -> Option<i64> {
    (0..=MICROS_PER_DAY).contains(&micros).then_some(micros)
}

#[cfg(test)]
mod tests;
