//! Plain values in one outgoing type as values of another.

use super::numbers::Numbers;
use super::{Converted, some_set};
use crate::cast::calendar::MICROS_PER_DAY;
use crate::cast::canonical::Texts;
use crate::cast::error::{CastError, unexpected};
use crate::schema::types::{ColumnType, UTC};
use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use std::sync::Arc;

/// Converts a column of the outgoing type `own`.
pub(in crate::cast) fn convert(
    own: &ColumnType,
    target: &ColumnType,
    array: &ArrayRef,
) -> Result<Converted, CastError> {
    if own == target {
        return Ok(Converted::whole(Arc::clone(array)));
    }
    if is_wider(own, target) {
        // Never fails: each value has its like.
        let options = CastOptions { safe: false, ..CastOptions::default() };
        return Ok(Converted::whole(cast_with_options(array, &target.arrow_type(), &options)?));
    }
    match (own, target) {
        (_, ColumnType::Utf8) => texts(own, array),
        (ColumnType::Date32, ColumnType::Timestamp) => {
            let midnight = |days: i32| i64::from(days).checked_mul(MICROS_PER_DAY);
            let dates = array.as_primitive_opt::<Date32Type>().ok_or_else(|| unexpected(array, target))?;
            let (times, lost) = map::<_, TimestampMicrosecondType>(dates, midnight);
            Ok(Converted { array: Arc::new(times.with_timezone(UTC)), lost })
        }
        (ColumnType::Timestamp, ColumnType::Date32) => {
            let day = |micros: i64| {
                let days = (micros % MICROS_PER_DAY == 0).then_some(micros / MICROS_PER_DAY)?;
                i32::try_from(days).ok()
            };
            let times = array.as_primitive_opt::<TimestampMicrosecondType>();
            let (dates, lost) = map::<_, Date32Type>(times.ok_or_else(|| unexpected(array, target))?, day);
            Ok(Converted { array: Arc::new(dates), lost })
        }
        _ => match Numbers::new(own, array) {
            Some(numbers) => of_numbers(&numbers, target, array),
            None => Ok(Converted::nothing(target, array)),
        },
    }
}

/// Whether a kernel of Arrow makes each number of type `own` the same number of type `target`.
fn is_wider(own: &ColumnType, target: &ColumnType) -> bool {
    use ColumnType::{Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    match target {
        Int16 => matches!(own, Int8 | UInt8),
        Int32 => matches!(own, Int8 | Int16 | UInt8 | UInt16),
        Int64 => matches!(own, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32),
        UInt16 => matches!(own, UInt8),
        UInt32 => matches!(own, UInt8 | UInt16),
        UInt64 => matches!(own, UInt8 | UInt16 | UInt32),
        Float64 => matches!(own, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | Float32),
        _ => false,
    }
}

fn of_numbers(numbers: &Numbers, target: &ColumnType, array: &ArrayRef) -> Result<Converted, CastError> {
    let nulls = array.nulls();
    Ok(match target {
        ColumnType::Int8 => integers::<Int8Type>(numbers, nulls),
        ColumnType::Int16 => integers::<Int16Type>(numbers, nulls),
        ColumnType::Int32 => integers::<Int32Type>(numbers, nulls),
        ColumnType::Int64 => integers::<Int64Type>(numbers, nulls),
        ColumnType::UInt8 => integers::<UInt8Type>(numbers, nulls),
        ColumnType::UInt16 => integers::<UInt16Type>(numbers, nulls),
        ColumnType::UInt32 => integers::<UInt32Type>(numbers, nulls),
        ColumnType::UInt64 => integers::<UInt64Type>(numbers, nulls),
        ColumnType::Float64 => collect::<Float64Type>(numbers.len(), nulls, |row| numbers.float64(row)),
        ColumnType::Float32 => collect::<Float32Type>(numbers.len(), nulls, |row| numbers.float32(row)),
        ColumnType::Decimal128 { precision, scale } => {
            let value = |row| numbers.decimal(row, *precision, scale.unsigned_abs());
            let Converted { array, lost } = collect::<Decimal128Type>(numbers.len(), nulls, value);
            let decimals = array.as_primitive::<Decimal128Type>().clone();
            Converted { array: Arc::new(decimals.with_precision_and_scale(*precision, *scale)?), lost }
        }
        _ => Converted::nothing(target, array),
    })
}

fn integers<T: ArrowPrimitiveType>(numbers: &Numbers, nulls: Option<&NullBuffer>) -> Converted
where
    T::Native: TryFrom<i128>,
{
    collect::<T>(numbers.len(), nulls, |row| T::Native::try_from(numbers.integer(row)?).ok())
}

/// The column of these values; what is `None` and not null is lost.
pub(in crate::cast) fn collect<T: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<&NullBuffer>,
    value: impl Fn(usize) -> Option<T::Native>,
) -> Converted {
    let is_valid = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row));
    let values: Vec<Option<T::Native>> = (0..rows).map(|row| if is_valid(row) { value(row) } else { None }).collect();
    let lost = BooleanBuffer::collect_bool(rows, |row| is_valid(row) && values[row].is_none());
    let array: PrimitiveArray<T> = values.into_iter().collect();
    Converted { array: Arc::new(array), lost: some_set(lost) }
}

fn map<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    value: impl Fn(A::Native) -> Option<B::Native>,
) -> (PrimitiveArray<B>, Option<BooleanBuffer>) {
    let mapped: PrimitiveArray<B> = array.unary_opt(value);
    let lost = BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && mapped.is_null(row));
    (mapped, some_set(lost))
}

/// Text holds every plain value.
fn texts(own: &ColumnType, array: &ArrayRef) -> Result<Converted, CastError> {
    let Some(texts) = Texts::new(own, array) else { return Ok(Converted::nothing(&ColumnType::Utf8, array)) };
    let mut builder = StringBuilder::with_capacity(array.len(), 0);
    let (mut text, mut total) = (String::new(), 0_usize);
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        texts.write(row, &mut text);
        total += text.len();
        if i32::try_from(total).is_err() {
            return Err(CastError::TooLarge);
        }
        builder.append_value(&text);
    }
    Ok(Converted::whole(Arc::new(builder.finish())))
}
