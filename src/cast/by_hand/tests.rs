//! What texts are as values of a type, and what they are not.

use super::*;
use crate::config::TypeWord;
use crate::schema::by_hand::column_type;
use crate::schema::field::{FieldKind, Reading};
use crate::times::TimeFormat;
use arrow::array::{Float64Array, Int64Array};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

/// The values of `array` as the type `word`, as text; `lost` for what is lost.
fn told(array: ArrayRef, word: &str, change: impl Fn(&mut TypeChoice)) -> Vec<Option<String>> {
    let kind = FieldKind::Leaf { arrow: array.data_type().clone(), reading: Reading::Plain };
    let field = FileField { name: "x".into(), nullable: true, kind, leaves: 0..1 };
    let mut choice = TypeChoice::plain(TypeWord::parse(word).unwrap());
    change(&mut choice);
    let conversion = Conversion::new(choice);
    let converted = convert(&field, &conversion, &array, None, &CastCounts::default()).unwrap();
    assert_eq!(converted.array.data_type(), &column_type(&TypeWord::parse(word).unwrap()).arrow_type());
    // Zones by name are not known to what writes them.
    let (shown, zone): (ArrayRef, &str) = match converted.array.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => (Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)), "Z"),
        None => (Arc::clone(&converted.array), ""),
    };
    let lost = |row: usize| converted.lost.as_ref().is_some_and(|lost| lost.value(row));
    (0..array.len())
        .map(|row| match (lost(row), converted.array.is_null(row)) {
            (true, is_null) => {
                assert!(is_null, "what is lost is null");
                Some("lost".to_owned())
            }
            (false, true) => None,
            (false, false) => Some(format!("{}{zone}", array_value_to_string(&shown, row).unwrap())),
        })
        .collect()
}

#[track_caller]
fn assert_told(word: &str, cases: &[(&str, &str)], change: impl Fn(&mut TypeChoice)) {
    let texts: StringArray = cases.iter().map(|(text, _)| Some(*text)).collect();
    let read = told(Arc::new(texts), word, change);
    for ((text, expected), read) in cases.iter().zip(read) {
        assert_eq!(read.as_deref(), Some(*expected), "{text:?} as {word}");
    }
}

#[test]
fn numbers_are_exact_or_lost() {
    let as_is = |_: &mut TypeChoice| {};
    assert_told(
        "int64",
        &[
            ("007", "7"),
            ("+5", "5"),
            ("-0", "0"),
            ("1e3", "1000"),
            ("1.0", "1"),
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "lost"),
            ("1.5", "lost"),
            ("1e-1", "lost"),
            ("1_0", "lost"),
            (" 1", "lost"),
            ("", "lost"),
            (".", "lost"),
            ("0x1", "lost"),
            ("--1", "lost"),
            ("1e", "lost"),
            ("1e999999999999", "lost"),
            ("1e10001", "lost"),
        ],
        as_is,
    );
    assert_told("uint8", &[("255", "255"), ("256", "lost"), ("-1", "lost")], as_is);
    let zeros = format!("{}1", "0".repeat(100));
    assert_told(
        "decimal(10, 6)",
        &[
            ("1e-06", "0.000001"),
            ("0.0000010", "0.000001"),
            ("-1234.5", "-1234.500000"),
            ("1e-7", "lost"),
            ("10000", "lost"),
            ("9999.999999", "9999.999999"),
            (&zeros, "1.000000"),
            ("0e999", "0.000000"),
            ("NaN", "lost"),
        ],
        as_is,
    );
    let digits = "12345678901234567890123456789012345678";
    assert_told("decimal(38, 0)", &[(digits, digits), (&format!("{digits}9"), "lost")], as_is);
    assert_told(
        "float64",
        &[
            ("1e+06", "1000000.0"),
            ("0.1", "0.1"),
            ("0.10", "0.1"),
            ("-0", "-0.0"),
            ("9007199254740993", "lost"),
            ("0.1234567890123456789", "lost"),
            ("+Inf", "inf"),
            ("-Infinity", "-inf"),
            ("NaN", "NaN"),
            ("infinitely", "lost"),
            ("1e400", "lost"),
        ],
        as_is,
    );
    assert_told(
        "float32",
        &[("0.1", "0.1"), ("16777217", "lost"), ("1.5", "1.5"), ("nan", "NaN"), ("1e39", "lost")],
        as_is,
    );
    assert_told("bool", &[("true", "true"), ("FALSE", "false"), ("1", "lost"), ("yes", "lost")], as_is);
}

#[test]
fn days_and_times_in_the_iso_forms_and_in_others() {
    let as_is = |_: &mut TypeChoice| {};
    assert_told("date", &[("2024-02-29", "2024-02-29"), ("2023-02-29", "lost"), ("31.01.2024", "lost")], as_is);
    let format = |text: &str, of_dates: bool| TimeFormat::new(text, of_dates).ok();
    let german = |choice: &mut TypeChoice| choice.format = format("%d.%m.%Y", true);
    assert_told("date", &[("31.01.2024", "2024-01-31"), ("2024-01-31", "lost"), ("31.02.2024", "lost")], german);
    let one_ahead = |choice: &mut TypeChoice| choice.offset_s = 3_600;
    assert_told(
        "timestamp",
        &[
            ("2024-01-01T00:30:00Z", "2024-01-01T00:30:00Z"),
            ("2024-01-01T00:30:00+02:00", "2023-12-31T22:30:00Z"),
            ("2024-01-01 00:30:00-05:00", "2024-01-01T05:30:00Z"),
            ("2024-01-01 00:30:00", "2023-12-31T23:30:00Z"),
            ("2024-01-01T00:30:00.000001", "2023-12-31T23:30:00.000001Z"),
            ("2024-01-01", "2023-12-31T23:00:00Z"),
            ("2024-01-01T00:30:00.0000001Z", "lost"),
            ("2024-01-01T24:00:00Z", "lost"),
            ("2024-01-01T", "lost"),
            ("größe, größe", "lost"),
            ("", "lost"),
        ],
        one_ahead,
    );
    let zoned = |choice: &mut TypeChoice| {
        (choice.format, choice.offset_s) = (format("%d/%b/%Y:%H:%M:%S %z", false), 3_600);
    };
    assert_told("timestamp", &[("31/Dec/2023:23:00:00 -0100", "2024-01-01T00:00:00Z")], zoned);
    assert_told(
        "time",
        &[
            ("15:04:05", "15:04:05"),
            ("15:04:05.25", "15:04:05.250"),
            ("24:00:00", "lost"),
            ("15:04", "lost"),
            ("15:04:05Z", "lost"),
            ("15:04:05+01:00", "lost"),
        ],
        as_is,
    );
}

#[test]
fn what_cloudquery_writes_as_text() {
    let as_is = |_: &mut TypeChoice| {};
    let plain = "1234567890abcdef1234567890abcdef";
    assert_told(
        "uuid",
        &[
            ("12345678-90ab-cdef-1234-567890abcdef", plain),
            ("1234567890ABCDEF1234567890abcdef", plain),
            ("12345678-90ab-cdef-1234567890abcdef-", "lost"),
            ("12345678-90ab-cdef-1234-567890abcdeg", "lost"),
            ("größe", "lost"),
        ],
        as_is,
    );
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_told(
        "inet",
        &[
            ("10.0.0.1", &hex("10.0.0.1/32")),
            ("::1", &hex("::1/128")),
            ("2001:db8::/64", &hex("2001:db8::/64")),
            ("10.0.0.1/0", &hex("10.0.0.1/0")),
            ("10.0.0.1/33", "lost"),
            ("10.0.0.1/08", "lost"),
            ("10.0.0.1/", "lost"),
            ("10.0.0.1/+8", "lost"),
            ("010.0.0.1/8", "lost"),
            ("host/8", "lost"),
        ],
        as_is,
    );
    assert_told(
        "mac",
        &[
            ("aa:bb:cc:dd:ee:ff", "aabbccddeeff"),
            ("AA-BB-CC-DD-EE-FF", "aabbccddeeff"),
            ("aa:bb-cc:dd:ee:ff", "lost"),
            ("aa:bb:cc:dd:ee:f", "lost"),
            ("aa:bb:cc:dd:ee:ff:00", "lost"),
            ("a", "lost"),
        ],
        as_is,
    );
    assert_told("binary", &[("AP8Q", "00ff10"), ("", ""), ("AP8", "lost"), ("!", "lost")], as_is);
    assert_told("json", &[("[1]", &hex("[1]")), ("1", &hex("1")), ("{", "lost"), ("", "lost")], as_is);
}

#[test]
fn texts_that_mean_null_are_null_and_not_lost() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(""), Some("-"), Some("5"), None, Some("x")]));
    let nulls = |choice: &mut TypeChoice| choice.null_values = vec![String::new(), "-".to_owned()];
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(told(Arc::clone(&texts), "int64", nulls), [None, None, text("5"), None, text("lost")]);
    assert_eq!(told(texts, "text", nulls), [None, None, text("5"), None, text("x")]);
}

#[test]
fn numbers_that_count_time() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1_500), Some(86_400_000), None, Some(i64::MAX)]));
    let of = |unit| move |choice: &mut TypeChoice| choice.unit = Some(unit);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        told(Arc::clone(&numbers), "timestamp", of(Unit::Milliseconds)),
        [text("1970-01-01T00:00:01.500Z"), text("1970-01-02T00:00:00Z"), None, text("lost")]
    );
    assert_eq!(
        told(Arc::clone(&numbers), "date", of(Unit::Milliseconds)),
        [text("lost"), text("1970-01-02"), None, text("lost")]
    );
    assert_eq!(told(Arc::clone(&numbers), "time", of(Unit::Milliseconds))[0], text("00:00:01.500"));
    assert_eq!(told(Arc::clone(&numbers), "time", of(Unit::Seconds))[1], text("lost"));
    assert_eq!(told(numbers, "timestamp", of(Unit::Nanoseconds))[0], text("lost"), "nothing is rounded");
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 1.5]));
    assert_eq!(told(floats, "timestamp", of(Unit::Seconds)), [text("1970-01-01T00:00:01Z"), text("lost")]);
}

proptest! {
    /// Any text as any type: never a panic, and what is there is what was written.
    #[test]
    fn any_text_is_a_value_or_lost(text in "[-+0-9.eE:/a-fTZ \\[\\]{}\"]{0,40}|.{0,12}") {
        for word in ["int8", "uint64", "float32", "float64", "decimal(38, 10)", "date", "time", "timestamp", "uuid", "inet",
                     "mac", "json", "binary", "bool"] {
            told(Arc::new(StringArray::from(vec![text.as_str()])), word, |_| {});
        }
    }

    #[test]
    fn numbers_come_back(number in any::<i64>(), float in any::<f64>(), scale in 0_u8..=18) {
        prop_assert_eq!(text::integer(&number.to_string()), Some(number.into()));
        let unit = 10_i64.pow(scale.into());
        let (whole, fraction) = (number / unit, (number % unit).unsigned_abs());
        let sign = if number < 0 && whole == 0 { "-" } else { "" };
        let width = usize::from(scale);
        let written = if scale == 0 { whole.to_string() } else { format!("{sign}{whole}.{fraction:0width$}") };
        prop_assert_eq!(text::decimal(&written, 38, scale), Some(number.into()));
        for written in [format!("{float}"), format!("{float:e}")] {
            let read = text::float64(&written);
            prop_assert!(read.is_some_and(|read| read.to_bits() == float.to_bits() || float.is_nan()), "{} {:?}", written, read);
        }
    }
}

/// Elsewhere such a text is no time: nothing of it is left out silently.
#[test]
fn digits_beyond_microseconds_are_left_out_of_types_that_come_back() {
    let moments = [
        ("2024-01-31T23:59:58.123456789Z", "2024-01-31T23:59:58.123456Z"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
        ("2024-01-31T23:59:58.1234567+02:00", "2024-01-31T21:59:58.123456Z"),
        ("2024-01-31T23:59:58.1234567890Z", "lost"),
        ("2024-01-31T23:59:58.12345678x", "lost"),
    ];
    assert_told("timestamp", &moments, |choice| choice.nanoseconds = true);
    assert_told("time", &[("23:59:59.999999999", "23:59:59.999999")], |choice| choice.nanoseconds = true);
    assert_told("timestamp", &[("2024-01-31T23:59:58.123456789Z", "lost")], |_| {});
}
