//! Plain values: from the reader's arrays to the outgoing types.

use super::calendar::{
    END_DATE_DAYS, MICROS_PER_DAY, MIN_DATE_DAYS, MIN_TIMESTAMP_MICROS, date64_to_days, int96_micros, to_micros,
    to_time_micros, write_interval,
};
use super::counts::{CastCounts, count};
use super::error::{CastError, unexpected};
use crate::schema::field::Reading;
use crate::schema::types::{ColumnType, UTC};
use arrow::array::types::{
    Date32Type, Date64Type, Decimal128Type, Float32Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Decimal256Array, FixedSizeBinaryArray, PrimitiveArray,
    StringArray, StringBuilder, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, TimeUnit, i256};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Digits that any 128-bit integer can hold, and that Arrow's 128-bit decimals have at most.
const MAX_DECIMAL_DIGITS: u32 = 38;

/// Casts `array`, whose values are read as `reading`, to the plain type `target`; `second` as in [`super::cast`].
pub(super) fn cast(
    reading: Reading,
    target: &ColumnType,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<ArrayRef, CastError> {
    let missing = || CastError::Type("a column that was read once".into(), target.to_string());
    match reading {
        Reading::Enum => return Ok(Arc::new(checked_utf8(array.as_binary())?)),
        Reading::Interval => {
            let months = second.and_then(|s| s.as_primitive_opt()).ok_or_else(missing)?;
            return Ok(Arc::new(intervals(array, months)?));
        }
        Reading::Int96 => {
            let seconds = second.and_then(|s| s.as_primitive_opt()).ok_or_else(missing)?;
            return Ok(Arc::new(int96(array.as_primitive(), seconds, &counts.timestamps_out_of_range)));
        }
        // JSON is cast by its own module.
        Reading::Plain | Reading::Uuid | Reading::Json => {}
    }
    Ok(match (array.data_type(), target) {
        (DataType::Timestamp(unit, _), _) => Arc::new(cast_timestamps(array, *unit, &counts.timestamps_out_of_range)),
        (DataType::Date32, _) => Arc::new(null_unless(
            array.as_primitive::<Date32Type>(),
            |days| (MIN_DATE_DAYS..END_DATE_DAYS).contains(&days),
            &counts.dates_out_of_range,
        )),
        (DataType::Date64, _) => Arc::new(map_or_null::<Date64Type, Date32Type>(
            array.as_primitive(),
            date64_to_days,
            &counts.dates_out_of_range,
        )),
        (DataType::Time32(_) | DataType::Time64(_), _) => cast_times(array, &counts.times_out_of_range),
        (DataType::Float16, _) => {
            let halves = array.as_primitive::<arrow::array::types::Float16Type>();
            Arc::new(halves.unary::<_, Float32Type>(f32::from))
        }
        (DataType::Decimal256(..), ColumnType::Decimal128 { precision, scale }) => {
            let decimals = array.as_primitive::<arrow::array::types::Decimal256Type>();
            let limit = decimal_limit(*precision);
            let fit = |v: i256| v.to_i128().filter(|v| (-limit < *v) & (*v < limit));
            let narrow = map_or_null::<_, Decimal128Type>(decimals, fit, &counts.decimals_out_of_range);
            Arc::new(narrow.with_precision_and_scale(*precision, *scale)?)
        }
        // Parquet stores the digits as an integer or as bytes, which can hold more of them than were declared.
        (DataType::Decimal128(..), ColumnType::Decimal128 { precision, scale }) => {
            let limit = decimal_limit(*precision);
            let fits = |v| (-limit < v) & (v < limit);
            let decimals = null_unless(array.as_primitive::<Decimal128Type>(), fits, &counts.decimals_out_of_range);
            Arc::new(decimals.with_precision_and_scale(*precision, *scale)?)
        }
        (DataType::Decimal128(..), ColumnType::Utf8) => {
            let decimals = array.as_primitive::<Decimal128Type>();
            Arc::new(build_strings(array, |row, out| out.push_str(&decimals.value_as_string(row)))?)
        }
        (DataType::Decimal256(..), ColumnType::Utf8) => {
            let decimals: &Decimal256Array = array.as_primitive();
            Arc::new(build_strings(array, |row, out| out.push_str(&decimals.value_as_string(row)))?)
        }
        (DataType::FixedSizeBinary(_), ColumnType::Binary) => {
            Arc::new(fixed_to_variable_binary(array.as_fixed_size_binary())?)
        }
        (DataType::Null, _) => new_null_array(&target.arrow_type(), array.len()),
        _ if *array.data_type() == target.arrow_type() => Arc::clone(array),
        _ => return Err(unexpected(array, target)),
    })
}

/// The first integer with more than `precision` digits; at most the first with 39.
fn decimal_limit(precision: u8) -> i128 {
    10_i128.pow(u32::from(precision).min(MAX_DECIMAL_DIGITS))
}

/// Maps values; those that map to `None` become null and are counted.
fn map_or_null<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    map: impl Fn(A::Native) -> Option<B::Native>,
    lost: &AtomicU64,
) -> PrimitiveArray<B> {
    let mut all = true;
    let values: Vec<B::Native> = array
        .values()
        .iter()
        .map(|value| {
            let mapped = map(*value);
            all &= mapped.is_some();
            mapped.unwrap_or_default()
        })
        .collect();
    let nulls = if all {
        array.nulls().cloned()
    } else {
        null_where_not(array, |row| map(array.values()[row]).is_some(), lost)
    };
    PrimitiveArray::new(values.into(), nulls)
}

/// The same array where all values are good, else with the bad ones null and counted.
fn null_unless<A: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    good: impl Fn(A::Native) -> bool,
    lost: &AtomicU64,
) -> PrimitiveArray<A> {
    // Not `all`, which stops early and so can't be vectorised.
    if array.values().iter().fold(true, |all, value| all & good(*value)) {
        return array.clone();
    }
    let nulls = null_where_not(array, |row| good(array.values()[row]), lost);
    PrimitiveArray::new(array.values().clone(), nulls)
}

/// The array's nulls and those rows that are not `good`; what lies under a null is not counted.
fn null_where_not(array: &dyn Array, good: impl Fn(usize) -> bool, lost: &AtomicU64) -> Option<NullBuffer> {
    let valid = BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && good(row));
    let nulls = NullBuffer::new(valid);
    count(lost, (nulls.null_count() - array.null_count()) as u64);
    Some(nulls)
}

fn cast_timestamps(array: &ArrayRef, unit: TimeUnit, lost: &AtomicU64) -> PrimitiveArray<TimestampMicrosecondType> {
    let map = |value| to_micros(value, unit);
    match unit {
        TimeUnit::Second => map_or_null::<TimestampSecondType, _>(array.as_primitive(), map, lost),
        TimeUnit::Millisecond => map_or_null::<TimestampMillisecondType, _>(array.as_primitive(), map, lost),
        TimeUnit::Microsecond => null_unless(array.as_primitive(), |value| value >= MIN_TIMESTAMP_MICROS, lost),
        TimeUnit::Nanosecond => map_or_null::<TimestampNanosecondType, _>(array.as_primitive(), map, lost),
    }
    .with_timezone(UTC)
}

fn int96(
    micros: &PrimitiveArray<TimestampMicrosecondType>,
    seconds: &PrimitiveArray<TimestampSecondType>,
    lost: &AtomicU64,
) -> PrimitiveArray<TimestampMicrosecondType> {
    let good = |row: usize| int96_micros(micros.values()[row], seconds.values()[row]).is_some();
    let nulls = if (0..micros.len()).all(|row| micros.is_null(row) || good(row)) {
        micros.nulls().cloned()
    } else {
        null_where_not(micros, good, lost)
    };
    PrimitiveArray::new(micros.values().clone(), nulls).with_timezone(UTC)
}

fn cast_times(array: &ArrayRef, lost: &AtomicU64) -> ArrayRef {
    type Micros = Time64MicrosecondType;
    match array.data_type() {
        DataType::Time32(TimeUnit::Second) => Arc::new(map_or_null::<Time32SecondType, Micros>(
            array.as_primitive(),
            |value| to_time_micros(value.into(), TimeUnit::Second),
            lost,
        )),
        DataType::Time32(_) => Arc::new(map_or_null::<Time32MillisecondType, Micros>(
            array.as_primitive(),
            |value| to_time_micros(value.into(), TimeUnit::Millisecond),
            lost,
        )),
        DataType::Time64(TimeUnit::Nanosecond) => Arc::new(map_or_null::<Time64NanosecondType, Micros>(
            array.as_primitive(),
            |value| to_time_micros(value, TimeUnit::Nanosecond),
            lost,
        )),
        _ => Arc::new(null_unless(array.as_primitive::<Micros>(), |v| (0..=MICROS_PER_DAY).contains(&v), lost)),
    }
}

/// Checked text of bytes that the reader did not check.
pub(super) fn checked_utf8(array: &BinaryArray) -> Result<StringArray, CastError> {
    let checked = StringArray::try_from_binary(array.clone());
    checked.map_err(|_| CastError::Value("its text is not valid UTF-8".into()))
}

/// Builds text for each valid row.
fn build_strings(array: &ArrayRef, mut write: impl FnMut(usize, &mut String)) -> Result<StringArray, CastError> {
    let mut builder = StringBuilder::with_capacity(array.len(), 0);
    let mut value = String::new();
    let mut total: usize = 0;
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        value.clear();
        write(row, &mut value);
        total += value.len();
        if i32::try_from(total).is_err() {
            return Err(CastError::TooLarge);
        }
        builder.append_value(&value);
    }
    Ok(builder.finish())
}

/// Fixed-size values as variable ones, over the same bytes.
fn fixed_to_variable_binary(array: &FixedSizeBinaryArray) -> Result<BinaryArray, CastError> {
    let size = array.value_length();
    let rows = i32::try_from(array.len()).map_err(|_| CastError::TooLarge)?;
    let end = rows.checked_mul(size).ok_or(CastError::TooLarge)?;
    let step = usize::try_from(size).unwrap_or(0);
    let offsets: ScalarBuffer<i32> =
        if step == 0 { vec![0; array.len() + 1].into() } else { (0..=end).step_by(step).collect::<Vec<i32>>().into() };
    Ok(BinaryArray::try_new(OffsetBuffer::new(offsets), array.values().clone(), array.nulls().cloned())?)
}

fn intervals(
    array: &ArrayRef,
    months: &PrimitiveArray<arrow::array::types::IntervalYearMonthType>,
) -> Result<StringArray, CastError> {
    let days = array.as_primitive::<arrow::array::types::IntervalDayTimeType>();
    build_strings(array, |row, out| {
        let day_time = days.value(row);
        write_interval(months.value(row), day_time.days, day_time.milliseconds, out);
    })
}
