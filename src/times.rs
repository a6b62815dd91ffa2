//! Days and moments from text: the ISO forms that paths and files have, and formats that a user writes.
//!
//! A moment is microseconds since 1970 in UTC, a day is days since 1970. Nothing is rounded: a text with a part of a
//! microsecond does not fit.

use std::fmt;

/// Microseconds of a day.
pub(crate) const DAY_US: i64 = 86_400 * SECOND_US;
const SECOND_US: i64 = 1_000_000;
/// Years with four digits; destinations take no others.
const YEARS: std::ops::RangeInclusive<i64> = 1..=9999;
/// Two digits of a year: those below are of this century, as POSIX has it.
const FIRST_YEAR_OF_LAST_CENTURY: i64 = 69;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The days since 1970 of a date; `None` if there is no such day.
pub(crate) fn days(year: i64, month: i64, day: i64) -> Option<i32> {
    if !YEARS.contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    // Years that begin in March, so that the leap day is their last; eras of 400 years, which are all alike.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * m + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    i32::try_from(days).ok()
}

/// Year, month and day of the days since 1970.
pub(crate) fn civil(days: i32) -> (i64, i64, i64) {
    let days = i64::from(days) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * of_year + 2) / 153;
    let month = if m < 10 { m + 3 } else { m - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, of_year - (153 * m + 2) / 5 + 1)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The moment of a day and a time of day; `None` if there is no such time. Leap seconds are refused.
pub(crate) fn moment_us(days: i32, (hour, minute, second): (i64, i64, i64), micros: i64) -> Option<i64> {
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    is_time.then(|| i64::from(days) * DAY_US + ((hour * 60 + minute) * 60 + second) * SECOND_US + micros)
}

/// The date that `text` is: `YYYY-MM-DD`, nothing else.
pub(crate) fn iso_date(text: &str) -> Option<i32> {
    let mut cursor = Cursor(text);
    let date = cursor.date()?;
    cursor.0.is_empty().then_some(date)
}

/// The moment that `text` is: RFC 3339, or `YYYY-MM-DD HH:MM:SS` with or without a fraction, which is UTC.
pub(crate) fn iso_timestamp_us(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text);
    let date = cursor.date()?;
    cursor.moment_us(date, false)
}

/// The moment that `text` is, as files of text write it: as [`iso_timestamp_us`], or without an offset behind a `T`, too, which
/// is UTC, or a date alone, which is its midnight.
pub(crate) fn iso_moment_us(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text);
    let date = cursor.date()?;
    if cursor.0.is_empty() {
        return Some(i64::from(date) * DAY_US);
    }
    cursor.moment_us(date, true)
}

/// The microseconds since midnight of `HH:MM:SS` with or without a fraction.
pub(crate) fn iso_clock_us(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text);
    let (clock, micros) = cursor.clock()?;
    if cursor.0.is_empty() { moment_us(0, clock, micros) } else { None }
}

/// What is left of a text that is read from the left.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    /// Takes one of two characters, if it is next. (`None` never; so that `?` reads on.)
    #[expect(clippy::unnecessary_wraps, reason = "reads well beside the others")]
    fn take(&mut self, chars: [char; 2]) -> Option<Option<()>> {
        Some(self.0.strip_prefix(chars).map(|rest| self.0 = rest))
    }

    fn expect(&mut self, c: char) -> Option<()> {
        self.0 = self.0.strip_prefix(c)?;
        Some(())
    }

    /// A number of `min` to `max` digits, as many as there are.
    fn digits(&mut self, min: usize, max: usize) -> Option<i64> {
        let count = self.0.bytes().take(max).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at_checked(count).filter(|_| count >= min)?;
        self.0 = rest;
        digits.parse().ok()
    }

    fn date(&mut self) -> Option<i32> {
        let year = self.digits(4, 4)?;
        self.expect('-')?;
        let month = self.digits(2, 2)?;
        self.expect('-')?;
        days(year, month, self.digits(2, 2)?)
    }

    /// Hour, minute and second, and microseconds beside them.
    fn clock(&mut self) -> Option<((i64, i64, i64), i64)> {
        let hour = self.digits(2, 2)?;
        self.expect(':')?;
        let minute = self.digits(2, 2)?;
        self.expect(':')?;
        let second = self.digits(2, 2)?;
        let micros = if self.take(['.', '.'])?.is_some() { self.fraction_us()? } else { 0 };
        Some(((hour, minute, second), micros))
    }

    /// The moment of a date whose time of day is all that is left. It is in UTC without an offset, which must be there behind a
    /// `T` unless `naive`.
    fn moment_us(&mut self, date: i32, naive: bool) -> Option<i64> {
        let zoned = self.take(['T', 't'])?.is_some();
        if !zoned {
            self.expect(' ')?;
        }
        let (clock, micros) = self.clock()?;
        let local = moment_us(date, clock, micros)?;
        let offset_us = if self.0.is_empty() && (naive || !zoned) { 0 } else { self.offset_us(true)? };
        self.0.is_empty().then_some(local - offset_us)
    }

    /// Up to nine digits behind the point, of which only the first six may say something.
    fn fraction_us(&mut self) -> Option<i64> {
        let before = self.0.len();
        let number = self.digits(1, 9)?;
        let digits = u32::try_from(before - self.0.len()).ok()?;
        let nanos = number * 10_i64.pow(9 - digits);
        (nanos % 1000 == 0).then_some(nanos / 1000)
    }

    /// `Z` or an offset from UTC; without `strict` also `+0200` and `+02`.
    fn offset_us(&mut self, strict: bool) -> Option<i64> {
        if self.take(['Z', 'z'])?.is_some() {
            return Some(0);
        }
        let sign = if self.take(['+', '+'])?.is_some() {
            1
        } else {
            self.expect('-')?;
            -1
        };
        let hours = self.digits(2, 2)?;
        let colon = self.take([':', ':'])?.is_some();
        let minutes = match self.digits(2, 2) {
            Some(minutes) if colon || !strict => minutes,
            None if !colon && !strict => 0,
            _ => return None,
        };
        (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * SECOND_US)
    }
}

/// A format that a user wrote, of `strftime`'s `%Y %y %m %b %d %j %H %I %p %M %S %f %z %%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimeFormat(Vec<Item>);

/// As it was written.
impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|item| match item {
            Item::Text('%') => f.write_str("%%"),
            Item::Text(c) => write!(f, "{c}"),
            Item::Part(part) => write!(f, "%{part}"),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Text(char),
    Part(char),
}

/// What stands behind `%`, in the order of our documentation.
const PARTS: &str = "YymbdjHIpMSfz";
/// Those that a date has not.
const PARTS_OF_TIMES: &str = "HIpMSfz";

impl TimeFormat {
    /// Reads a format, of dates or of timestamps.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow the name of the field.
    pub(crate) fn new(text: &str, of_dates: bool) -> Result<Self, String> {
        let mut items = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                items.push(Item::Text(c));
                continue;
            }
            match chars.next() {
                Some('%') => items.push(Item::Text('%')),
                Some(part) if of_dates && PARTS_OF_TIMES.contains(part) => {
                    return Err(format!("a date has no %{part}; make the column a timestamp, or leave it out"));
                }
                Some(part) if PARTS.contains(part) => items.push(Item::Part(part)),
                Some(part) => {
                    return Err(format!(
                        "%{part} is not supported; there are %Y %y %m %b %d %j %H %I %p %M %S %f %z and %%"
                    ));
                }
                None => return Err("ends in a lone %; write %% for the character".to_owned()),
            }
        }
        let has = |parts: &str| items.iter().any(|item| matches!(item, Item::Part(part) if parts.contains(*part)));
        if !has("Yy") {
            return Err("needs a year, %Y or %y".to_owned());
        }
        if has("I") != has("p") {
            return Err("needs %I and %p together, or %H".to_owned());
        }
        Ok(Self(items))
    }

    /// Whether the texts have an offset from UTC.
    pub(crate) fn has_offset(&self) -> bool {
        self.0.contains(&Item::Part('z'))
    }

    /// The moment that `text` is, if it is written so; the parts that the format lacks are the first of their kind.
    pub(crate) fn read_us(&self, text: &str) -> Option<i64> {
        let mut cursor = Cursor(text);
        let (mut year, mut month, mut day, mut day_of_year) = (1970, 1, 1, None);
        let (mut hour, mut minute, mut second, mut micros, mut offset_us) = (0, 0, 0, 0, 0);
        let (mut hour_of_half, mut afternoon) = (None, false);
        for item in &self.0 {
            match *item {
                Item::Text(c) => cursor.expect(c)?,
                Item::Part('Y') => year = cursor.digits(4, 4)?,
                Item::Part('y') => {
                    let short = cursor.digits(2, 2)?;
                    year = short + if short < FIRST_YEAR_OF_LAST_CENTURY { 2000 } else { 1900 };
                }
                Item::Part('m') => month = cursor.digits(1, 2)?,
                Item::Part('b') => month = cursor.month()?,
                Item::Part('d') => day = cursor.digits(1, 2)?,
                Item::Part('j') => day_of_year = Some(cursor.digits(1, 3)?),
                Item::Part('H') => hour = cursor.digits(1, 2)?,
                Item::Part('I') => hour_of_half = Some(cursor.digits(1, 2)?),
                Item::Part('p') => {
                    afternoon = cursor.take(['P', 'p'])?.is_some();
                    if !afternoon {
                        cursor.take(['A', 'a'])??;
                    }
                    cursor.take(['M', 'm'])??;
                }
                Item::Part('M') => minute = cursor.digits(1, 2)?,
                Item::Part('S') => second = cursor.digits(1, 2)?,
                Item::Part('f') => micros = cursor.fraction_us()?,
                Item::Part(_) => offset_us = cursor.offset_us(false)?,
            }
        }
        if let Some(half) = hour_of_half {
            hour = (1..=12).contains(&half).then_some(half % 12 + if afternoon { 12 } else { 0 })?;
        }
        let date = match day_of_year {
            Some(n) if n >= 1 && n <= 365 + i64::from(is_leap(year)) => {
                days(year, 1, 1)?.checked_add(i32::try_from(n - 1).ok()?)?
            }
            Some(_) => return None,
            None => days(year, month, day)?,
        };
        let local = moment_us(date, (hour, minute, second), micros)?;
        cursor.0.is_empty().then_some(local - offset_us)
    }
}

impl Cursor<'_> {
    fn month(&mut self) -> Option<i64> {
        let (name, rest) = self.0.split_at_checked(3)?;
        let index = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
        self.0 = rest;
        i64::try_from(index + 1).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn us(text: &str) -> i64 {
        iso_timestamp_us(text).unwrap()
    }

    #[test]
    fn dates_are_exactly_iso() {
        assert_eq!(iso_date("1970-01-01"), Some(0));
        assert_eq!(iso_date("2024-02-29"), Some(19_782));
        assert_eq!(iso_date("0001-01-01"), Some(-719_162));
        for text in ["2023-02-29", "2024-13-01", "2024-1-1", "2024-01-01 ", "+2024-01-01", "20240101", "0000-01-01", ""]
        {
            assert_eq!(iso_date(text), None, "{text}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(us("1970-01-01T00:00:00Z"), 0);
        assert_eq!(us("2026-01-31 10:20:30"), us("2026-01-31T10:20:30Z"));
        assert_eq!(us("2026-01-31 10:20:30.5"), us("2026-01-31T10:20:30.500000000Z"));
        assert_eq!(us("2026-01-31T10:20:30.123456+02:00"), us("2026-01-31T08:20:30.123456z"));
        assert_eq!(us("2026-01-01t00:00:00-05:30"), us("2026-01-01T05:30:00Z"));
        for text in [
            "2026-01-31T10:20:30",
            "2026-01-31",
            "2026-01-31 10:20",
            "2026-01-31 24:00:00",
            "2026-01-31 10:20:60",
            "2026-02-31 10:20:30",
            "2026-01-31T10:20:30.Z",
            "2026-01-31T10:20:30.1234567Z",
            "2026-01-31T10:20:30+0200",
            "2026-01-31T10:20:30+24:00",
            "2026-01-31T10:20:30Z ",
            "2026-01-31é10:20:30Z",
        ] {
            assert_eq!(iso_timestamp_us(text), None, "{text}");
        }
    }

    #[test]
    fn moments_and_times_of_files() {
        for text in ["2026-01-31T10:20:30Z", "2026-01-31 10:20:30", "2026-01-31T11:20:30.000+01:00"] {
            assert_eq!(iso_moment_us(text), Some(us(text)), "{text}");
        }
        assert_eq!(iso_moment_us("2026-01-31T10:20:30"), Some(us("2026-01-31T10:20:30Z")));
        assert_eq!(iso_moment_us("2026-01-31 10:20:30+02:00"), Some(us("2026-01-31T08:20:30Z")));
        assert_eq!(iso_moment_us("2026-01-31"), Some(us("2026-01-31T00:00:00Z")));
        for text in ["2026-01-31T", "2026-01-31T10:20", "2026-02-30", "2026-01-31T10:20:30 Z", "10:20:30", ""] {
            assert_eq!(iso_moment_us(text), None, "{text}");
        }
        assert_eq!(iso_clock_us("10:20:30.5"), Some(37_230_500_000));
        for text in ["10:20", "24:00:00", "10:20:60", "1:20:30", "10:20:30Z", "10:20:30.1234567", ""] {
            assert_eq!(iso_clock_us(text), None, "{text}");
        }
    }

    #[test]
    fn formats_of_users() {
        for (format, text, expected) in [
            ("%Y%m%d", "20260131", Some("2026-01-31T00:00:00Z")),
            ("%Y-%m", "2026-02", Some("2026-02-01T00:00:00Z")),
            ("%Y-%m-%d", "2026-1-5", Some("2026-01-05T00:00:00Z")),
            ("%d.%m.%y", "31.12.68", Some("2068-12-31T00:00:00Z")),
            ("%d.%m.%y", "31.12.69", Some("1969-12-31T00:00:00Z")),
            ("%d-%b-%Y", "05-nov-2026", Some("2026-11-05T00:00:00Z")),
            ("%Y.%j", "2024.366", Some("2024-12-31T00:00:00Z")),
            ("%Y.%j", "2023.366", None),
            ("%Y-%m-%d-%H", "2026-01-31-23", Some("2026-01-31T23:00:00Z")),
            ("%Y-%m-%d %I%p", "2026-01-31 12am", Some("2026-01-31T00:00:00Z")),
            ("%Y-%m-%d %I %p", "2026-01-31 01 PM", Some("2026-01-31T13:00:00Z")),
            ("%Y-%m-%d %I%p", "2026-01-31 13am", None),
            ("%Y-%m-%dT%H%M%S.%f%z", "2026-01-31T102030.25+0230", Some("2026-01-31T07:50:30.25Z")),
            ("%Y-%m-%d %z", "2026-01-31 -05", Some("2026-01-31T05:00:00Z")),
            ("%Y%%", "2026%", Some("2026-01-01T00:00:00Z")),
            ("%Y%m%d", "20260231", None),
            ("%Y%m%d", "2026013", Some("2026-01-03T00:00:00Z")),
            ("%Y%m%d", "202601311", None),
            ("%Y", "x026", None),
        ] {
            let read = TimeFormat::new(format, false).unwrap().read_us(text);
            assert_eq!(read, expected.map(us), "{format} on {text}");
        }
    }

    #[test]
    fn mistakes_in_formats() {
        for (format, of_dates, expected) in [
            ("%Q", false, "%Q is not supported"),
            ("%Y%", false, "lone %"),
            ("%m-%d", true, "needs a year"),
            ("%Y %H", true, "a date has no %H"),
            ("%Y %I", false, "%I and %p together"),
        ] {
            let mistake = TimeFormat::new(format, of_dates).unwrap_err();
            assert!(mistake.contains(expected), "{format}: {mistake}");
        }
    }

    proptest! {
        #[test]
        fn days_and_dates_are_inverse(day in -719_162..=2_932_896_i32) {
            let (year, month, of_month) = civil(day);
            prop_assert_eq!(days(year, month, of_month), Some(day));
            prop_assert_eq!(iso_date(&format!("{year:04}-{month:02}-{of_month:02}")), Some(day));
        }

        #[test]
        fn any_text_is_read_without_panic(format in "(%[YymbdjHIpMSfz%]|[-é :])*", text in "[-0-9é :aApPmMjan]{0,20}") {
            if let Ok(read) = TimeFormat::new(&format, false) {
                prop_assert_eq!(read.to_string(), &*format);
                let format = read;
                let _ = format.read_us(&text);
            }
            let _ = (iso_date(&text), iso_timestamp_us(&text));
        }
    }
}
