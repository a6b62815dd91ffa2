//! The one text that each plain value has where a column of several types is text: numbers in full digits, timestamps as
//! RFC 3339 in UTC, dates `YYYY-MM-DD`, times `HH:MM:SS[.ffffff]`, `true` and `false`, UUIDs in lower case, bytes as base64.
//! Years outside 0 to 9999 have a sign and at least four digits, as ISO 8601 expands them.

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::schema::types::ColumnType;
use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, PrimitiveArray, StringArray,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// The values of a plain column in its outgoing type, each as its text. Made once a batch.
pub(super) enum Texts {
    Boolean(BooleanArray),
    Signed(PrimitiveArray<Int64Type>),
    Unsigned(PrimitiveArray<UInt64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal(Decimal128Array),
    Text(StringArray),
    Binary(BinaryArray),
    Uuid(FixedSizeBinaryArray),
    /// Days since 1970.
    Date(PrimitiveArray<Date32Type>),
    /// Microseconds since midnight.
    Time(PrimitiveArray<Time64MicrosecondType>),
    /// Microseconds since 1970.
    Timestamp(PrimitiveArray<TimestampMicrosecondType>),
}

impl Texts {
    /// The texts of `array`, a column of the type `own`; `None` for types that are not plain.
    pub(super) fn new(own: &ColumnType, array: &ArrayRef) -> Option<Self> {
        Some(match own {
            ColumnType::Boolean => Self::Boolean(array.as_boolean_opt()?.clone()),
            ColumnType::Int8 => Self::Signed(array.as_primitive_opt::<Int8Type>()?.unary(i64::from)),
            ColumnType::Int16 => Self::Signed(array.as_primitive_opt::<Int16Type>()?.unary(i64::from)),
            ColumnType::Int32 => Self::Signed(array.as_primitive_opt::<Int32Type>()?.unary(i64::from)),
            ColumnType::Int64 => Self::Signed(array.as_primitive_opt()?.clone()),
            ColumnType::UInt8 => Self::Unsigned(array.as_primitive_opt::<UInt8Type>()?.unary(u64::from)),
            ColumnType::UInt16 => Self::Unsigned(array.as_primitive_opt::<UInt16Type>()?.unary(u64::from)),
            ColumnType::UInt32 => Self::Unsigned(array.as_primitive_opt::<UInt32Type>()?.unary(u64::from)),
            ColumnType::UInt64 => Self::Unsigned(array.as_primitive_opt()?.clone()),
            ColumnType::Float32 => Self::Float32(array.as_primitive_opt()?.clone()),
            ColumnType::Float64 => Self::Float64(array.as_primitive_opt()?.clone()),
            ColumnType::Decimal128 { .. } => Self::Decimal(array.as_primitive_opt::<Decimal128Type>()?.clone()),
            ColumnType::Utf8 => Self::Text(array.as_string_opt()?.clone()),
            ColumnType::Binary | ColumnType::Mac => Self::Binary(array.as_binary_opt()?.clone()),
            ColumnType::Inet => Self::Text(StringArray::try_from_binary(array.as_binary_opt::<i32>()?.clone()).ok()?),
            ColumnType::Uuid => Self::Uuid(array.as_fixed_size_binary_opt()?.clone()),
            ColumnType::Date32 => Self::Date(array.as_primitive_opt()?.clone()),
            ColumnType::Time64 => Self::Time(array.as_primitive_opt()?.clone()),
            ColumnType::Timestamp => Self::Timestamp(array.as_primitive_opt()?.clone()),
            ColumnType::Json
            | ColumnType::Null
            | ColumnType::List(_)
            | ColumnType::Struct(_)
            | ColumnType::Map { .. } => return None,
        })
    }

    /// Appends the text of a value that is not null.
    pub(super) fn write(&self, row: usize, out: &mut String) {
        // Writing into a String cannot fail.
        let _ = match self {
            Self::Boolean(array) => write!(out, "{}", array.value(row)),
            Self::Signed(array) => write!(out, "{}", array.value(row)),
            Self::Unsigned(array) => write!(out, "{}", array.value(row)),
            Self::Float32(array) => write_float(array.value(row).into(), array.value(row), out),
            Self::Float64(array) => write_float(array.value(row), array.value(row), out),
            Self::Decimal(array) => {
                out.push_str(&array.value_as_string(row));
                Ok(())
            }
            Self::Text(array) => {
                out.push_str(array.value(row));
                Ok(())
            }
            Self::Binary(array) => {
                STANDARD.encode_string(array.value(row), out);
                Ok(())
            }
            Self::Uuid(array) => write_uuid(array.value(row), out),
            Self::Date(array) => write_date(array.value(row).into(), out),
            Self::Time(array) => write_time(array.value(row), out),
            Self::Timestamp(array) => write_timestamp(array.value(row), out),
        };
    }
}

/// `shown`, a number of any width with the value `value`; without an exponent. What is not finite has PostgreSQL's words.
pub(super) fn write_float(value: f64, shown: impl std::fmt::Display, out: &mut String) -> std::fmt::Result {
    if value.is_finite() {
        return write!(out, "{shown}");
    }
    out.push_str(not_finite(value));
    Ok(())
}

/// The word for a number that is not finite.
pub(super) fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn write_uuid(bytes: &[u8], out: &mut String) -> std::fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        write!(out, "{dash}{byte:02x}")?;
    }
    Ok(())
}

/// A date of the proleptic Gregorian calendar, in days since 1970.
pub(super) fn write_date(days: i64, out: &mut String) -> std::fmt::Result {
    let (year, month, day) = civil(days);
    match year {
        0..=9_999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
    }
}

fn write_time(micros_of_day: i64, out: &mut String) -> std::fmt::Result {
    let seconds = micros_of_day / MICROS_PER_SECOND;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
    match micros_of_day % MICROS_PER_SECOND {
        0 => Ok(()),
        fraction => write!(out, ".{fraction:06}"),
    }
}

/// A timestamp in microseconds since 1970.
pub(super) fn write_timestamp(micros: i64, out: &mut String) -> std::fmt::Result {
    write_date(micros.div_euclid(MICROS_PER_DAY), out)?;
    out.push('T');
    write_time(micros.rem_euclid(MICROS_PER_DAY), out)?;
    out.push('Z');
    Ok(())
}

/// Year, month and day of days since 1970: eras of 400 years from March on, so that leap days end a year.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut String) -> std::fmt::Result) -> String {
        let mut out = String::new();
        write(&mut out).unwrap();
        out
    }

    #[test]
    fn dates_and_times_of_all_centuries() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
            (-2_440_588, "-4713-11-24"),
            (2_145_042_905, "+5874897-12-31"),
        ] {
            assert_eq!(text(|out| write_date(days, out)), expected, "{days}");
        }
        assert_eq!(text(|out| write_timestamp(-1, out)), "1969-12-31T23:59:59.999999Z");
        assert_eq!(text(|out| write_timestamp(i64::MAX, out)), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(text(|out| write_time(86_400_000_000, out)), "24:00:00");
    }

    #[test]
    fn numbers_have_full_digits() {
        for (value, expected) in [
            (0.1, "0.1"),
            (-0.0, "-0"),
            (5.0, "5"),
            (1e23, "100000000000000000000000"),
            (1.5e-7, "0.00000015"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(|out| write_float(value, value, out)), expected);
        }
    }
}
