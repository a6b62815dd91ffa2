//! From the reader's arrays to the outgoing types. Columns that already have the outgoing type are passed on without a
//! copy; a cast never panics and never wraps: what doesn't fit becomes null and is counted.

use super::json::{self, Encoder};
use super::nested;
use super::{CastCounts, count};
use crate::schema::field::{FieldKind, FileField, Reading};
use crate::schema::types::{ColumnType, UTC};
use arrow::array::types::{
    Date32Type, Date64Type, Decimal128Type, Float32Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Decimal256Array, FixedSizeBinaryArray, PrimitiveArray,
    StringArray, StringBuilder, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, TimeUnit, i256};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Microseconds since 1970 of Julian day 0, 4714-11-24 BC (proleptic Gregorian), PostgreSQL's first timestamp. Its last
/// one, in 294276 AD, is later than the last that 64 bits of microseconds since 1970 can say.
pub(crate) const MIN_TIMESTAMP_MICROS: i64 = -JULIAN_DAY_OF_EPOCH * MICROS_PER_DAY;

/// Julian day of 1970-01-01.
const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// PostgreSQL's first date, in days since 1970.
const MIN_DATE_DAYS: i32 = -2_440_588;

/// The day after PostgreSQL's last date, 5874897-12-31 (Julian day 2,147,483,494), in days since 1970.
const END_DATE_DAYS: i32 = 2_145_042_906;

/// Digits that any 128-bit integer can hold, and that Arrow's 128-bit decimals have at most.
const MAX_DECIMAL_DIGITS: u32 = 38;

/// Why a column could not be cast.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CastError {
    /// The result would not fit into 32-bit offsets: decode fewer rows at a time.
    #[error("a batch's values exceed 2 GiB")]
    TooLarge,
    /// The values themselves are bad.
    #[error("{0}")]
    Value(String),
    /// The reader gave another type than was planned: a bug of ours.
    #[error("can't cast {0} to {1}")]
    Type(String, String),
}

impl From<arrow::error::ArrowError> for CastError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Value(error.to_string())
    }
}

/// Casts `array`, which was read from `field`, to `target`: what [`FileField::target_as`] gives, whatever the spec's
/// choice. `second` is the same column as the second reader read it; it must be there when `field.read_twice()`.
pub(crate) fn cast(
    field: &FileField,
    target: &ColumnType,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<ArrayRef, CastError> {
    match (&field.kind, target) {
        (FieldKind::Leaf { arrow, reading }, _) => cast_leaf(arrow, *reading, target, array, second, counts),
        (_, ColumnType::Json) => {
            let encoder = Encoder::new(field, array, second)?;
            Ok(Arc::new(json::encode(&encoder, array.len(), array.nulls(), counts)?))
        }
        _ => nested::cast(field, target, array, second, counts),
    }
}

pub(crate) fn unexpected(array: &ArrayRef, target: &ColumnType) -> CastError {
    CastError::Type(array.data_type().to_string(), target.to_string())
}

fn cast_leaf(
    arrow: &DataType,
    reading: Reading,
    target: &ColumnType,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<ArrayRef, CastError> {
    if array.data_type() != arrow {
        return Err(CastError::Type(array.data_type().to_string(), target.to_string()));
    }
    let missing = || CastError::Type("a column that was read once".into(), target.to_string());
    match reading {
        Reading::Json => return Ok(Arc::new(json::check_texts(array.as_string(), counts)?)),
        Reading::Enum => return Ok(Arc::new(text(array.as_binary())?)),
        Reading::Interval => {
            let months = second.and_then(|s| s.as_primitive_opt()).ok_or_else(missing)?;
            return Ok(Arc::new(intervals(array, months)?));
        }
        Reading::Int96 => {
            let seconds = second.and_then(|s| s.as_primitive_opt()).ok_or_else(missing)?;
            return Ok(Arc::new(int96(array.as_primitive(), seconds, &counts.timestamps_out_of_range)));
        }
        Reading::Plain | Reading::Uuid => {}
    }
    Ok(match (arrow, target) {
        (DataType::Timestamp(unit, _), _) => Arc::new(timestamps(array, *unit, &counts.timestamps_out_of_range)),
        (DataType::Date32, _) => Arc::new(in_range(
            array.as_primitive::<Date32Type>(),
            |days| (MIN_DATE_DAYS..END_DATE_DAYS).contains(&days),
            &counts.dates_out_of_range,
        )),
        (DataType::Date64, _) => Arc::new(convert::<Date64Type, Date32Type>(
            array.as_primitive(),
            date64_to_days,
            &counts.dates_out_of_range,
        )),
        (DataType::Time32(_) | DataType::Time64(_), _) => times(array, &counts.times_out_of_range),
        (DataType::Float16, _) => {
            let halves = array.as_primitive::<arrow::array::types::Float16Type>();
            Arc::new(halves.unary::<_, Float32Type>(f32::from))
        }
        (DataType::Decimal256(..), ColumnType::Decimal128 { precision, scale }) => {
            let decimals = array.as_primitive::<arrow::array::types::Decimal256Type>();
            let limit = decimal_limit(*precision);
            let fit = |v: i256| v.to_i128().filter(|v| (-limit < *v) & (*v < limit));
            let narrow = convert::<_, Decimal128Type>(decimals, fit, &counts.decimals_out_of_range);
            Arc::new(narrow.with_precision_and_scale(*precision, *scale)?)
        }
        // Parquet stores the digits as an integer or as bytes, which can hold more of them than were declared.
        (DataType::Decimal128(..), ColumnType::Decimal128 { precision, scale }) => {
            let limit = decimal_limit(*precision);
            let fits = |v| (-limit < v) & (v < limit);
            let decimals = in_range(array.as_primitive::<Decimal128Type>(), fits, &counts.decimals_out_of_range);
            Arc::new(decimals.with_precision_and_scale(*precision, *scale)?)
        }
        (DataType::Decimal128(..), ColumnType::Utf8) => {
            let decimals = array.as_primitive::<Decimal128Type>();
            Arc::new(strings(array, |row, out| out.push_str(&decimals.value_as_string(row)))?)
        }
        (DataType::Decimal256(..), ColumnType::Utf8) => {
            let decimals: &Decimal256Array = array.as_primitive();
            Arc::new(strings(array, |row, out| out.push_str(&decimals.value_as_string(row)))?)
        }
        (DataType::FixedSizeBinary(_), ColumnType::Binary) => Arc::new(variable(array.as_fixed_size_binary())?),
        (DataType::Null, _) => new_null_array(&target.arrow_type(), array.len()),
        _ if *array.data_type() == target.arrow_type() => Arc::clone(array),
        _ => return Err(unexpected(array, target)),
    })
}

/// The first integer with more than `precision` digits; at most the first with 39.
fn decimal_limit(precision: u8) -> i128 {
    10_i128.pow(u32::from(precision).min(MAX_DECIMAL_DIGITS))
}

/// Days since 1970 of a 64-bit date, `None` when out of range.
pub(crate) fn date64_to_days(millis: i64) -> Option<i32> {
    let days = i32::try_from(millis.div_euclid(MILLIS_PER_DAY)).ok()?;
    (MIN_DATE_DAYS..END_DATE_DAYS).contains(&days).then_some(days)
}

/// Microseconds since 1970, `None` when out of range. Nanoseconds are cut towards the past.
#[inline]
pub(crate) fn to_micros(value: i64, unit: TimeUnit) -> Option<i64> {
    let micros = match unit {
        TimeUnit::Second => value.checked_mul(MICROS_PER_SECOND)?,
        TimeUnit::Millisecond => value.checked_mul(1_000)?,
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1_000),
    };
    (micros >= MIN_TIMESTAMP_MICROS).then_some(micros)
}

/// Microseconds since midnight, `None` outside 00:00 to 24:00.
#[inline]
pub(crate) fn to_time_micros(value: i64, unit: TimeUnit) -> Option<i64> {
    to_micros(value, unit).filter(|micros| (0..=MICROS_PER_DAY).contains(micros))
}

/// An INT96 timestamp by its two readings: the microseconds are right where the seconds are in range, elsewhere they may
/// have wrapped.
#[inline]
pub(crate) fn int96_micros(micros: i64, seconds: i64) -> Option<i64> {
    // The seconds can't wrap: 32 bits of days. A second of slack is left at both ends for what the seconds cut off.
    let fits = (MIN_TIMESTAMP_MICROS / MICROS_PER_SECOND..i64::MAX / MICROS_PER_SECOND).contains(&seconds);
    (fits && micros >= MIN_TIMESTAMP_MICROS).then_some(micros)
}

/// Maps values; those that map to `None` become null and are counted.
fn convert<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
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
    let nulls =
        if all { array.nulls().cloned() } else { without(array, |row| map(array.values()[row]).is_some(), lost) };
    PrimitiveArray::new(values.into(), nulls)
}

/// The same array where all values are good, else with the bad ones null and counted.
fn in_range<A: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    good: impl Fn(A::Native) -> bool,
    lost: &AtomicU64,
) -> PrimitiveArray<A> {
    // Not `all`, which stops early and so can't be vectorised.
    if array.values().iter().fold(true, |all, value| all & good(*value)) {
        return array.clone();
    }
    let nulls = without(array, |row| good(array.values()[row]), lost);
    PrimitiveArray::new(array.values().clone(), nulls)
}

/// The array's nulls and those rows that are not `good`; what lies under a null is not counted.
fn without(array: &dyn Array, good: impl Fn(usize) -> bool, lost: &AtomicU64) -> Option<NullBuffer> {
    let valid = BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && good(row));
    let nulls = NullBuffer::new(valid);
    count(lost, (nulls.null_count() - array.null_count()) as u64);
    Some(nulls)
}

fn timestamps(array: &ArrayRef, unit: TimeUnit, lost: &AtomicU64) -> PrimitiveArray<TimestampMicrosecondType> {
    let map = |value| to_micros(value, unit);
    match unit {
        TimeUnit::Second => convert::<TimestampSecondType, _>(array.as_primitive(), map, lost),
        TimeUnit::Millisecond => convert::<TimestampMillisecondType, _>(array.as_primitive(), map, lost),
        TimeUnit::Microsecond => in_range(array.as_primitive(), |value| value >= MIN_TIMESTAMP_MICROS, lost),
        TimeUnit::Nanosecond => convert::<TimestampNanosecondType, _>(array.as_primitive(), map, lost),
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
        without(micros, good, lost)
    };
    PrimitiveArray::new(micros.values().clone(), nulls).with_timezone(UTC)
}

fn times(array: &ArrayRef, lost: &AtomicU64) -> ArrayRef {
    type Micros = Time64MicrosecondType;
    match array.data_type() {
        DataType::Time32(TimeUnit::Second) => Arc::new(convert::<Time32SecondType, Micros>(
            array.as_primitive(),
            |value| to_time_micros(value.into(), TimeUnit::Second),
            lost,
        )),
        DataType::Time32(_) => Arc::new(convert::<Time32MillisecondType, Micros>(
            array.as_primitive(),
            |value| to_time_micros(value.into(), TimeUnit::Millisecond),
            lost,
        )),
        DataType::Time64(TimeUnit::Nanosecond) => Arc::new(convert::<Time64NanosecondType, Micros>(
            array.as_primitive(),
            |value| to_time_micros(value, TimeUnit::Nanosecond),
            lost,
        )),
        _ => Arc::new(in_range(array.as_primitive::<Micros>(), |v| (0..=MICROS_PER_DAY).contains(&v), lost)),
    }
}

/// Checked text of bytes that the reader did not check.
pub(crate) fn text(array: &BinaryArray) -> Result<StringArray, CastError> {
    let checked = StringArray::try_from_binary(array.clone());
    checked.map_err(|_| CastError::Value("its text is not valid UTF-8".into()))
}

/// Builds text for each valid row.
fn strings(array: &ArrayRef, mut write: impl FnMut(usize, &mut String)) -> Result<StringArray, CastError> {
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
fn variable(array: &FixedSizeBinaryArray) -> Result<BinaryArray, CastError> {
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
    strings(array, |row, out| {
        let day_time = days.value(row);
        write_interval(months.value(row), day_time.days, day_time.milliseconds, out);
    })
}

/// An ISO 8601 duration. Parquet's three parts are unsigned; they are not carried over into one another, because a month
/// is no fixed number of days.
pub(crate) fn write_interval(months: i32, days: i32, millis: i32, out: &mut String) {
    let (months, days, millis) = (months.cast_unsigned(), days.cast_unsigned(), millis.cast_unsigned());
    let start = out.len();
    out.push('P');
    let mut part = |amount: u32, unit: char| {
        if amount > 0 {
            // Writing to a String can't fail.
            let _ = write!(out, "{amount}{unit}");
        }
    };
    part(months / 12, 'Y');
    part(months % 12, 'M');
    part(days, 'D');
    if millis > 0 || out.len() == start + 1 {
        out.push('T');
        let (seconds, fraction) = (millis / 1_000, millis % 1_000);
        let _ = match fraction {
            0 => write!(out, "{seconds}S"),
            _ => write!(out, "{seconds}.{fraction:03}S"),
        };
    }
}

/// Integers of the two physical widths as 64 bits: what the JSON writer takes times and dates from.
pub(crate) fn widened(array: &ArrayRef) -> Option<PrimitiveArray<Int64Type>> {
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
