//! Which instants, dates and times of day destinations can hold (PostgreSQL's limits), in one unit each.

use arrow::datatypes::TimeUnit;
use std::fmt::Write as _;

/// Microseconds since 1970 of Julian day 0, 4714-11-24 BC (proleptic Gregorian), PostgreSQL's first timestamp. Its last
/// one, in 294276 AD, is later than the last that 64 bits of microseconds since 1970 can say.
pub(crate) const MIN_TIMESTAMP_MICROS: i64 = -JULIAN_DAY_OF_EPOCH * MICROS_PER_DAY;

/// Julian day of 1970-01-01.
const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// PostgreSQL's first date, in days since 1970.
pub(crate) const MIN_DATE_DAYS: i32 = -2_440_588;

/// The day after PostgreSQL's last date, 5874897-12-31 (Julian day 2,147,483,494), in days since 1970.
pub(crate) const END_DATE_DAYS: i32 = 2_145_042_906;

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

/// An ISO 8601 duration. Parquet's three parts are unsigned; they are not carried over into one another, because a month
/// is not a fixed number of days.
pub(crate) fn write_interval(months: i32, days: i32, millis: i32, out: &mut String) {
    let [months, days, millis] = [months, days, millis].map(|part| i64::from(part.cast_unsigned()));
    write_duration(months, days, millis * NANOS_PER_MILLI, out);
}

/// The same of signed parts; each has its own sign.
pub(crate) fn write_duration(months: i64, days: i64, nanos: i64, out: &mut String) {
    let start = out.len();
    out.push('P');
    let mut part = |amount: i64, unit: char| {
        if amount != 0 {
            // Writing to a String can't fail.
            let _ = write!(out, "{amount}{unit}");
        }
    };
    part(months / 12, 'Y');
    part(months % 12, 'M');
    part(days, 'D');
    if nanos != 0 || out.len() == start + 1 {
        let sign = if nanos < 0 { "-" } else { "" };
        let (seconds, fraction) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
        let _ = match fraction {
            0 => write!(out, "T{sign}{seconds}S"),
            _ if fraction % 1_000_000 == 0 => write!(out, "T{sign}{seconds}.{:03}S", fraction / 1_000_000),
            _ if fraction % 1_000 == 0 => write!(out, "T{sign}{seconds}.{:06}S", fraction / 1_000),
            _ => write!(out, "T{sign}{seconds}.{fraction:09}S"),
        };
    }
}

/// Nanoseconds of a millisecond.
const NANOS_PER_MILLI: i64 = 1_000_000;
