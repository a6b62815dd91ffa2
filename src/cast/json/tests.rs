use super::text::check;
use super::write::civil;
use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::atomic::Ordering;

fn string(text: &str) -> String {
    let mut out = Vec::new();
    write_string(text, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn strings_are_escaped_and_lose_nul() {
    assert_eq!(string("a\"\\\n\r\t\u{1}\u{1f}\0é😀"), r#""a\"\\\n\r\t\u0001\u001fé😀""#);
}

#[test]
fn integers_in_full() {
    for value in [0, -1, 10, i64::MAX, i64::MIN] {
        let mut out = Vec::new();
        write_signed(value, &mut out);
        assert_eq!(out, value.to_string().into_bytes());
    }
    let mut out = Vec::new();
    write_unsigned(u64::MAX, &mut out);
    assert_eq!(out, b"18446744073709551615");
}

#[test]
fn dates_times_and_timestamps() {
    let date = |days| {
        let mut out = Vec::new();
        write_date(days, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(date(0).as_deref(), Some("\"1970-01-01\""));
    assert_eq!(date(-1).as_deref(), Some("\"1969-12-31\""));
    assert_eq!(date(11_016).as_deref(), Some("\"2000-02-29\""));
    assert_eq!(date(-719_528).as_deref(), Some("\"0000-01-01\""));
    assert_eq!(date(-719_529), None);
    assert_eq!(date(2_932_896).as_deref(), Some("\"9999-12-31\""));
    assert_eq!(date(2_932_897), None);
    let timestamp = |micros| {
        let mut out = Vec::new();
        write_timestamp(micros, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(timestamp(-1).as_deref(), Some("\"1969-12-31T23:59:59.999999Z\""));
    assert_eq!(timestamp(1_700_000_000_000_000).as_deref(), Some("\"2023-11-14T22:13:20Z\""));
    assert_eq!(timestamp(i64::MAX), None);
    assert_eq!(timestamp(i64::MIN), None);
    let mut out = Vec::new();
    write_time(86_399_000_001, &mut out);
    assert_eq!(out, b"\"23:59:59.000001\"");
}

#[test]
fn bytes_and_uuids() {
    let mut out = Vec::new();
    for bytes in [&b""[..], b"a", b"ab", b"abc"] {
        write_base64(bytes, &mut out);
    }
    assert_eq!(out, br#""""YQ==""YWI=""YWJj""#);
    out.clear();
    write_uuid(&(0..16).collect::<Vec<u8>>(), &mut out);
    assert_eq!(out, b"\"00010203-0405-0607-0809-0a0b0c0d0e0f\"");
}

fn checked(text: &[u8]) -> (String, bool) {
    let mut out = Vec::new();
    let valid = write_checked(text, &mut out).is_ok();
    (String::from_utf8(out).unwrap(), valid)
}

#[test]
fn json_texts_are_checked() {
    let valid = |text: &str, expected: &str| assert_eq!(checked(text.as_bytes()), (expected.to_owned(), true));
    valid(" [1.0 , 1e3]", " [1.0 , 1e3]");
    valid("null", "null");
    valid(r#""a\u0000b""#, r#""ab""#);
    valid(r#"{"\u0000":"\\u0000\\\u0000"}"#, r#"{"":"\\u0000\\"}"#);
    valid(r#""\ud83d\ude00 \u00e9""#, r#""\ud83d\ude00 \u00e9""#);
    valid(r#""\ud83d""#, r#""\ufffd""#);
    valid(r#""\ude00\ud83dx""#, r#""\ufffd\ufffdx""#);
    let invalid = |text: &[u8], expected: &str| assert_eq!(checked(text), (expected.to_owned(), false));
    invalid(b"", r#""""#);
    invalid(b"{a:1}", r#""{a:1}""#);
    invalid(b"\xff\0", "\"\u{fffd}\"");
    invalid(b"1 2", r#""1 2""#);
    invalid(b"NaN", r#""NaN""#);
}

/// What PostgreSQL's `jsonb` refuses, with 22003 or 54001, is a string.
#[test]
fn json_that_destinations_refuse_becomes_a_string() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let fraction = |digits: usize| format!("0.{}", "1".repeat(digits));
    let taken = [
        nested(1_000),
        objects(1_000),
        format!("[{},{}]", nested(999), nested(999)),
        "1e99999".into(),
        "[-1.5E+99999]".into(),
        "1e-16383".into(),
        "9".repeat(100_000),
        fraction(16_383),
        format!(r#"{{"1e999999": "1e999999 \" {}"}}"#, "[".repeat(2_000)),
        format!("{}e-100", "9".repeat(100_100)),
    ];
    for text in taken {
        assert_eq!(check(text.as_bytes()), Ok(()), "{text:.40}");
        assert_eq!(checked(text.as_bytes()), (text, true));
    }
    let refused = [
        nested(1_001),
        objects(60_000),
        r#"{"a": 1e200000}"#.into(),
        "1e100000".into(),
        "-1E+99999999999999999999".into(),
        "1e-16384".into(),
        "0e-200000".into(),
        "9".repeat(100_001),
        fraction(16_384),
        format!(r#"["\\", {}]"#, nested(1_000)),
    ];
    for text in refused {
        assert_eq!(check(text.as_bytes()), Err(Flaw::BeyondLimits), "{text:.40}");
        let (written, _) = checked(text.as_bytes());
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }
    let counts = CastCounts::default();
    let array = StringArray::from(vec![Some("1e200000"), None, Some("[]"), Some("x")]);
    check_texts(&array, &counts).unwrap();
    let text = counts.summary().unwrap();
    assert!(
        text.contains("invalid JSON texts became JSON strings: 1")
            && text.contains("1,000 levels or too large numbers became JSON strings: 1"),
        "{text}"
    );
}

#[test]
fn valid_json_columns_are_not_copied() {
    let array = StringArray::from(vec![Some("{}"), None, Some("[1]")]);
    let counts = CastCounts::default();
    let checked = check_texts(&array, &counts).unwrap();
    assert_eq!(checked.values().as_ptr(), array.values().as_ptr());
    assert_eq!(checked.null_count(), 1);
    let array = StringArray::from(vec![Some("{}"), None, Some("x")]);
    let checked = check_texts(&array, &counts).unwrap();
    assert_eq!(checked.value(2), b"\"x\"");
    assert!(checked.is_null(1));
    assert_eq!(counts.json_invalid.load(Ordering::Relaxed), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The calendar agrees with counting day by day.
    #[test]
    fn calendar_is_consistent(days in -719_528i64..2_932_896) {
        let (today, tomorrow) = (civil(days).unwrap(), civil(days + 1).unwrap());
        let leap = today.0 % 4 == 0 && (today.0 % 100 != 0 || today.0 % 400 == 0);
        let length = match today.1 { 2 if leap => 29, 2 => 28, 4 | 6 | 9 | 11 => 30, _ => 31 };
        let expected = match today {
            (year, 12, 31) => (year + 1, 1, 1),
            (year, month, day) if day == length => (year, month + 1, 1),
            (year, month, day) => (year, month, day + 1),
        };
        prop_assert_eq!(tomorrow, expected);
    }

    #[test]
    fn any_bytes_become_valid_json(bytes in prop::collection::vec(prop::sample::select(b"\\u0d8e{}[]\":,1a\0\xff".to_vec()), 0..24)) {
        let (text, _) = checked(&bytes);
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        prop_assert!(!text.contains('\0'));
    }
}
