use super::*;
use crate::cast::restored_ids::ids;
use crate::cast::table_batch::TableBatch;
use crate::config::{NestedAs, OnMismatch, TypeWord, Unit};
use crate::schema::field::FileField;
use crate::schema::fit::{FileColumnAt, FittedColumn};
use crate::schema::text_forms::number::Number;
use crate::schema::text_forms::{TextForms, float64};
use crate::schema::text_types::TextTypes;
use crate::schema::types::arbitrary::{any_json, any_text};
use crate::times::TimeFormat;
use arrow::array::StringViewArray;
use arrow::array::types::{Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;

fn csv() -> TextReading {
    TextReading::Csv(Arc::new(TextForms::default()))
}

/// The same texts as both kinds of arrays that readers may give.
fn arrays(texts: &[Option<&str>]) -> [ArrayRef; 2] {
    [Arc::new(StringViewArray::from(texts.to_vec())), Arc::new(StringArray::from(texts.to_vec()))]
}

/// What was converted, as text; `lost` for what is lost and null, `…` behind what is lost in part.
fn shown(converted: &Converted) -> Vec<Option<String>> {
    let (array, zone): (ArrayRef, &str) = match converted.array.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => (Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)), "Z"),
        None => (Arc::clone(&converted.array), ""),
    };
    let lost = |row: usize| converted.lost.as_ref().is_some_and(|lost| lost.value(row));
    let text = |row: usize| format!("{}{zone}", array_value_to_string(&array, row).unwrap());
    let row = |row: usize| match (lost(row), array.is_null(row)) {
        (true, true) => Some("lost".to_owned()),
        (true, false) => Some(format!("{}…", text(row))),
        (false, true) => None,
        (false, false) => Some(text(row)),
    };
    (0..array.len()).map(row).collect()
}

/// Converts to the type that `target` names.
fn converted(reading: &TextReading, target: &str, texts: &[Option<&str>]) -> Vec<Option<String>> {
    let target = ColumnType::parse(target).unwrap();
    let [of_views, of_strings] = arrays(texts).map(|values| {
        let converted = convert(reading, &target, &values, &CastCounts::default()).unwrap();
        assert_eq!(converted.array.data_type(), &target.arrow_type());
        shown(&converted)
    });
    assert_eq!(of_views, of_strings);
    of_views
}

#[track_caller]
fn assert_converted(reading: &TextReading, target: &str, cases: &[(&str, &str)]) {
    let texts: Vec<_> = cases.iter().map(|(text, _)| Some(*text)).chain([None]).collect();
    let expected: Vec<_> = cases.iter().map(|(_, value)| Some((*value).to_owned())).chain([None]).collect();
    assert_eq!(converted(reading, target, &texts), expected, "{target}");
}

#[test]
fn texts_are_values_if_they_are_written_so() {
    let same = |texts: &[&'static str]| texts.iter().map(|text| (*text, *text)).collect::<Vec<_>>();
    let lost = |texts: &[&'static str]| texts.iter().map(|text| (*text, "lost")).collect::<Vec<_>>();
    for (target, kept, none) in [
        (
            "int64",
            vec!["0", "-5", "9223372036854775807"],
            vec!["007", "+1", " 1", "1.0", "9223372036854775808", "", "abc"],
        ),
        ("int8", vec!["127", "-128"], vec!["128", "007", "1e1"]),
        ("uint64", vec!["18446744073709551615"], vec!["-1", "18446744073709551616"]),
        ("float64", vec!["1.5", "NaN"], vec!["9007199254740993", "0.1234567890123456789", "1e400", "01.5", "x"]),
        ("float32", vec!["1.5", "0.1"], vec!["0.123456789", "16777217", "01", "1e39"]),
        (
            "decimal(38, 0)",
            vec!["99999999999999999999999999999999999999"],
            vec!["1.5", "100000000000000000000000000000000000000"],
        ),
        ("date", vec!["2024-01-31"], vec!["2024-02-30", "31.01.2024", "2024-01-31T00:00:00Z"]),
        ("time", vec!["10:20:30"], vec!["24:00:00", "10:20"]),
        ("bool", vec!["true", "false"], vec!["yes", "1", "tRUE"]),
        ("utf8", vec!["", "007", "null"], vec![]),
        ("inet", vec![], vec!["x"]),
        ("struct<\"a\": int64>", vec![], vec!["x", "[1]", "1"]),
    ] {
        assert_converted(&csv(), target, &[same(&kept), lost(&none)].concat());
    }
    assert_converted(
        &csv(),
        "decimal(10, 2)",
        &[("1.50", "1.50"), ("1.5", "1.50"), ("1.505", "lost"), ("01.5", "lost")],
    );
    assert_converted(&csv(), "decimal(10, 6)", &[("1e-06", "0.000001"), ("1e-07", "lost"), ("2", "2.000000")]);
    assert_converted(
        &csv(),
        "float64",
        &[("1.50", "1.5"), ("1e+06", "1000000.0"), ("+Inf", "inf"), ("-Infinity", "-inf")],
    );
    assert_converted(
        &csv(),
        "timestamp",
        &[
            ("2024-01-01T00:00:00+02:00", "2023-12-31T22:00:00Z"),
            ("2024-01-01 00:00:00", "2024-01-01T00:00:00Z"),
            ("2024-01-01T00:00:00", "2024-01-01T00:00:00Z"),
            ("2024-01-01", "2024-01-01T00:00:00Z"),
            ("2024-01-01T00:00:00.123456789Z", "lost"),
            ("x", "lost"),
        ],
    );
    let id = "00000000-0000-0000-0000-00000000000b";
    assert_converted(&csv(), "uuid", &[(id, &id.replace('-', "")), ("x", "lost")]);
    assert_converted(&csv(), "binary", &[("aGk=", "6869"), ("", ""), ("?", "lost")]);
    // As texts of other formats in a column of json.
    assert_converted(&csv(), "json", &[("5", "223522"), ("", "2222")]);
    assert_converted(&csv(), "list<int64>", &[("[1, null]", "[1, ]"), ("[1, \"2\"]", "[1, ]…"), ("1", "lost")]);
}

#[test]
fn words_and_commas_are_those_of_the_file() {
    let words = |word: &str| vec![word.to_owned()];
    let forms = TextForms { true_values: words("yes"), false_values: words("no"), decimal_comma: true };
    let reading = TextReading::Csv(Arc::new(forms));
    assert_converted(&reading, "bool", &[("yes", "true"), ("no", "false"), ("true", "lost")]);
    assert_converted(&reading, "float64", &[("1,5", "1.5"), ("1.5", "lost"), ("2", "2.0")]);
    assert_converted(&reading, "float32", &[("1,5", "1.5"), ("1.5", "lost")]);
    assert_converted(&reading, "decimal(4, 1)", &[("1,5", "1.5"), ("1.5", "lost")]);
    for (word, cases) in [
        ("float64", [("1,5", "1.5"), ("1.234", "lost")]),
        ("decimal(10, 3)", [("1,5", "1.500"), ("1.234", "lost")]),
        ("bool", [("yes", "true"), ("true", "lost")]),
        ("text", [("1,5", "1,5"), ("1.5", "1.5")]),
    ] {
        assert_told(&reading, word, &cases, |_| {});
    }
}

#[test]
fn values_of_json_keep_their_kinds() {
    assert_converted(
        &TextReading::Json,
        "int64",
        &[
            ("12", "12"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("\"12\"", "lost"),
            ("1.5", "lost"),
            ("true", "lost"),
            ("{}", "lost"),
            ("9223372036854775808", "lost"),
        ],
    );
    assert_converted(
        &TextReading::Json,
        "float64",
        &[
            ("1", "1.0"),
            ("\"NaN\"", "NaN"),
            ("\"+Inf\"", "inf"),
            ("1e400", "lost"),
            ("9007199254740993", "lost"),
            ("\"1.5\"", "lost"),
        ],
    );
    assert_converted(&TextReading::Json, "float32", &[("0.5", "0.5"), ("\"NaN\"", "NaN"), ("\"1\"", "lost")]);
    assert_converted(
        &TextReading::Json,
        "decimal(38, 0)",
        &[("12345678901234567890", "12345678901234567890"), ("1.0", "1"), ("1.5", "lost")],
    );
    assert_converted(&TextReading::Json, "bool", &[("true", "true"), ("\"true\"", "lost"), ("1", "lost")]);
    assert_converted(&TextReading::Json, "date", &[("\"2024-01-31\"", "2024-01-31"), ("20240131", "lost")]);
    assert_converted(&TextReading::Json, "timestamp", &[("\"2024-01-31\"", "2024-01-31T00:00:00Z"), ("0", "lost")]);
    assert_converted(
        &TextReading::Json,
        "utf8",
        &[("\"a\\n\\u00e9\\u0000\"", "a\né"), ("1.50", "1.50"), ("true", "true"), ("{}", "lost"), ("[\"a\"]", "lost")],
    );
    assert_converted(&TextReading::Json, "binary", &[("\"aGk=\"", "6869"), ("1", "lost")]);
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let raw = ["1", "\"x\"", "{\"b\": 1}", "[1]", "1e400", "\"\\u00e9\""];
    let cases: Vec<(&str, String)> = raw.iter().map(|raw| (*raw, hex(raw))).collect();
    let cases: Vec<(&str, &str)> = cases.iter().map(|(raw, hex)| (*raw, hex.as_str())).collect();
    assert_converted(&TextReading::Json, "json", &cases);
}

#[test]
fn json_that_consumers_refuse_is_made_such_as_they_take() {
    let raw = [Some("\"a\\u0000\\ud800\""), Some("1e999999"), None];
    for values in arrays(&raw) {
        let counts = CastCounts::default();
        let json = convert(&TextReading::Json, &ColumnType::Json, &values, &counts).unwrap();
        let json: Vec<_> = json.array.as_binary::<i32>().iter().collect();
        assert_eq!(json, [Some(&br#""a\ufffd""#[..]), Some(br#""1e999999""#), None]);
        assert!(counts.summary().unwrap().contains("JSON texts with more than"));
        let counts = CastCounts::default();
        let text = convert(&TextReading::Json, &ColumnType::Utf8, &values, &counts).unwrap();
        assert_eq!(text.array.as_string::<i32>().value(0), "a\u{fffd}");
        assert_eq!(counts.summary().unwrap(), "halves of surrogate pairs in JSON strings became U+FFFD: 1");
    }
}

#[test]
fn nested_values_are_converted_inside() {
    let reading = TextReading::Json;
    assert_converted(
        &reading,
        "list<float64>",
        &[("[1, 2.5, null]", "[1.0, 2.5, ]"), ("[]", "[]"), ("[1, \"x\"]", "[1.0, ]…"), ("{}", "lost"), ("1", "lost")],
    );
    assert_converted(
        &reading,
        "struct<\"a\": int64, \"b\": list<utf8>>",
        &[
            (r#"{"b": ["x"], "a": 1}"#, "{a: 1, b: [x]}"),
            (r#"{"a": 1, "c": null}"#, "{a: 1, b: }"),
            (r#"{"a": 1, "c": 2}"#, "{a: 1, b: }…"),
            (r#"{"a": "x"}"#, "{a: , b: }…"),
            ("[]", "lost"),
        ],
    );
    assert_converted(
        &reading,
        "map<int64, utf8>",
        &[
            (r#"{"1": "x", "2": null}"#, "{1: x, 2: }"),
            (r#"[{"key": 1, "value": "x"}]"#, "{1: x}"),
            (r#"[[1, "x"]]"#, "{1: x}"),
            (r#"{"a": "x"}"#, "lost"),
            (r#"[{"key": null, "value": "x"}]"#, "lost"),
            (r#"{"1": {}}"#, "{1: }…"),
            ("[]", "{}"),
        ],
    );
}

/// Converts as the spec says, to the type that it calls `word`.
#[track_caller]
fn assert_told(reading: &TextReading, word: &str, cases: &[(&str, &str)], change: impl Fn(&mut TypeChoice)) {
    let mut choice = TypeChoice::plain(TypeWord::parse(word).unwrap());
    change(&mut choice);
    let conversion = Conversion::new(choice);
    let texts: Vec<_> = cases.iter().map(|(text, _)| Some(*text)).chain([None]).collect();
    let expected: Vec<_> =
        cases.iter().map(|(_, value)| (*value != "null").then(|| (*value).to_owned())).chain([None]).collect();
    for values in arrays(&texts) {
        let converted = convert_told(reading, &conversion, &values, &CastCounts::default()).unwrap();
        assert_eq!(shown(&converted), expected, "{word}");
    }
}

#[test]
fn what_the_spec_says_of_a_column_counts_before_its_form() {
    assert_told(&csv(), "int64", &[("007", "7"), ("1.0", "1"), ("x", "lost")], |_| {});
    assert_told(&csv(), "date", &[("31.01.2024", "2024-01-31"), ("2024-01-31", "lost")], |choice| {
        choice.format = Some(TimeFormat::new("%d.%m.%Y", true).unwrap());
    });
    assert_told(
        &csv(),
        "timestamp",
        &[("1700000000", "2023-11-14T22:13:20Z"), ("2024-01-01", "2024-01-01T00:00:00Z")],
        |choice| {
            choice.unit = Some(Unit::Seconds);
        },
    );
    assert_told(&csv(), "timestamp", &[("2024-01-01 00:00:00", "2023-12-31T23:00:00Z")], |choice| {
        choice.offset_s = 3600
    });
    let null = |choice: &mut TypeChoice| choice.null_values = vec!["-".to_owned()];
    for (word, cases) in [
        ("int64", [("-", "null"), ("5", "5")]),
        ("bool", [("-", "null"), ("true", "true")]),
        ("text", [("-", "null"), ("x", "x")]),
        ("list<int64>", [("-", "null"), ("[5]", "[5]")]),
    ] {
        assert_told(&csv(), word, &cases, null);
    }
    let reading = TextReading::Json;
    assert_told(&reading, "int64", &[("\"12\"", "12"), ("12", "12"), ("{}", "lost")], |_| {});
    assert_told(&reading, "decimal(10, 6)", &[("\"1e-06\"", "0.000001")], |_| {});
    assert_told(&reading, "binary", &[("\"aGk=\"", "6869")], |_| {});
    assert_told(&reading, "text", &[("{\"a\":1}", "{\"a\":1}"), ("\"a\"", "a"), ("1", "1"), ("\"-\"", "null")], null);
    assert_told(&reading, "json", &[("\"a\"", "226122"), ("\"-\"", "null")], null);
    assert_told(&reading, "timestamp", &[("1700000000123", "2023-11-14T22:13:20.123Z")], |choice| {
        choice.unit = Some(Unit::Milliseconds);
    });
    assert_told(&reading, "list<date>", &[("[\"31.01.2024\"]", "[2024-01-31]")], |choice| {
        choice.format = Some(TimeFormat::new("%d.%m.%Y", true).unwrap());
    });
}

#[test]
fn plain_texts_are_those_of_strings_and_else_what_stands_there() {
    for values in arrays(&[Some("\"a\\\"b\""), Some("1.50"), Some("{\"a\": 1}"), None]) {
        let of_json = texts(&TextReading::Json, &values, &CastCounts::default()).unwrap();
        assert_eq!(of_json, StringArray::from(vec![Some("a\"b"), Some("1.50"), Some("{\"a\": 1}"), None]));
        let of_csv = texts(&csv(), &values, &CastCounts::default()).unwrap();
        assert_eq!(of_csv.value(0), "\"a\\\"b\"");
    }
}

fn fitted(name: &str, reading: TextReading, target: ColumnType) -> FittedColumn {
    let field = FileField::of_text(name.to_owned(), reading, None);
    let from = FileColumnAt { field, occurrence: 0, index: 0, second: None };
    FittedColumn { from, target, converts: true, told: None }
}

#[test]
fn the_rescue_column_has_what_was_lost_as_it_stands_in_the_file() {
    let [csv_values, _] = arrays(&[Some("1"), Some("007"), None, Some("a\"b"), Some("2")]);
    let [json_values, _] = arrays(&[Some("\"12\""), Some("1"), Some("{\"a\": [1]}"), Some("1e400"), Some("2")]);
    let others = StringArray::from(vec![
        Some(r#"{"_extra":["x"]}"#),
        Some(r#"{"k": 1e999999, "l": {"m": 1}}"#),
        None,
        None,
        None,
    ]);
    let cast = |on_mismatch, others: Option<&StringArray>| {
        let counts = CastCounts::default();
        let mut batch = TableBatch::new(5, &counts, (on_mismatch, true), 1 << 20);
        let array = batch.column(&fitted("c", csv(), ColumnType::Int64), &csv_values, None)?;
        assert_eq!(array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, None, None, Some(2)]);
        batch.column(&fitted("j", TextReading::Json, ColumnType::Int64), &json_values, None)?;
        batch.rescue(
            &fitted("n", TextReading::Json, ColumnType::Utf8).from,
            &arrays(&[None, None, Some("[1]"), None, None])[0],
            None,
        )?;
        let rescued = batch.rescue_column(others)?;
        let texts =
            rescued.as_binary::<i32>().iter().map(|text| text.map(|text| String::from_utf8_lossy(text).into_owned()));
        Ok::<_, CastError>((texts.collect::<Vec<Option<String>>>(), counts.summary()))
    };
    let (rescued, counted) = cast(OnMismatch::Rescue, Some(&others)).unwrap();
    let expected = [
        Some(r#"{"j":"12","_extra":["x"]}"#),
        Some(r#"{"c":"007","k":"1e999999","l":{"m": 1}}"#),
        Some(r#"{"j":{"a": [1]},"n":[1]}"#),
        Some(r#"{"c":"a\"b","j":1e400}"#),
        None,
    ];
    assert_eq!(rescued.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    let counted = counted.unwrap();
    for part in ["\"c\": 2", "\"j\": 3", "\"n\": 1", "\"(no column)\": 2"] {
        assert!(counted.contains(part), "{counted}");
    }
    let (rescued, _) = cast(OnMismatch::Null, Some(&others)).unwrap();
    assert_eq!(rescued[0].as_deref(), Some(r#"{"_extra":["x"]}"#));
    let (rescued, _) = cast(OnMismatch::Rescue, None).unwrap();
    assert_eq!(rescued[0].as_deref(), Some(r#"{"j":"12"}"#));
    assert_eq!(cast(OnMismatch::Fail, None), Err(CastError::Mismatch { row: 1, target: "int64".to_owned() }));
}

#[test]
fn ids_of_rows_are_read_from_texts() {
    let id = "00000000-0000-0000-0000-00000000000b";
    let quoted = format!("\"{id}\"");
    for (reading, text) in [(csv(), id), (TextReading::Json, &quoted)] {
        let field = FileField::of_text("_cq_id".to_owned(), reading, None);
        for values in arrays(&[Some(text), Some("x")]) {
            let (read, bad) = ids(&field, &values, true, &CastCounts::default()).unwrap();
            assert_eq!(read.as_fixed_size_binary().value(0)[15], 11);
            assert_eq!(bad.map(|bad| bad.row), Some(1));
        }
    }
}

/// Whether the value in the row is the number that the text is.
fn is_number(array: &ArrayRef, row: usize, text: &str) -> bool {
    let exact = |text: &str| Number::read(text.as_bytes(), b'.').and_then(|number| number.decimal(38, 19));
    match array.data_type() {
        DataType::Int64 => exact(text) == exact(&array.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float64 => {
            let (value, text) = (array.as_primitive::<Float64Type>().value(row), text.trim_matches('"'));
            float64(text, b'.').is_some_and(|float| float.to_bits() == value.to_bits() || float.is_nan())
        }
        DataType::Decimal128(..) => exact(text) == exact(&array.as_primitive::<Decimal128Type>().value_as_string(row)),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// What was inferred from texts, they are.
    #[test]
    fn inferred_types_hold_all_texts(kinds in prop::collection::vec(any_text(), 1..4), picks in prop::collection::vec(0..4_usize, 1..8)) {
        let texts: Vec<Option<&str>> = picks.iter().map(|pick| kinds.get(*pick).map(String::as_str)).collect();
        let mut types = TextTypes::default();
        texts.iter().flatten().for_each(|text| types.see_text(text, &TextForms::default()));
        let target = types.column_type().settled();
        for values in arrays(&texts) {
            let converted = convert(&csv(), &target, &values, &CastCounts::default()).unwrap();
            prop_assert!(converted.lost.is_none(), "{target} of {texts:?}");
            prop_assert_eq!(converted.array.data_type(), &target.arrow_type());
            for (row, text) in texts.iter().enumerate() {
                prop_assert_eq!(converted.array.is_null(row), text.is_none());
                prop_assert!(text.is_none_or(|text| is_number(&converted.array, row, text)), "{target} of {texts:?}");
            }
        }
    }

    #[test]
    fn inferred_types_hold_all_values_of_json(
        kinds in prop::collection::vec(any_json(), 1..4), picks in prop::collection::vec(0..4_usize, 1..8), native in any::<bool>(),
    ) {
        let nested = if native { NestedAs::Native } else { NestedAs::Json };
        let texts: Vec<Option<&str>> =
            picks.iter().map(|pick| kinds.get(*pick).map(String::as_str).filter(|raw| *raw != "null")).collect();
        let mut types = TextTypes::default();
        texts.iter().flatten().for_each(|raw| types.see_json(raw, nested));
        let target = types.column_type().settled();
        for values in arrays(&texts) {
            let converted = convert(&TextReading::Json, &target, &values, &CastCounts::default()).unwrap();
            prop_assert!(converted.lost.is_none(), "{target} of {texts:?}");
            for (row, text) in texts.iter().enumerate() {
                prop_assert_eq!(converted.array.is_null(row), text.is_none());
                prop_assert!(text.is_none_or(|text| is_number(&converted.array, row, text)), "{target} of {texts:?}");
            }
        }
    }

    /// Whatever the texts and the type: no panic, and a row is null only if it was, or is lost.
    #[test]
    fn no_text_is_lost_silently(
        texts in prop::collection::vec(prop_oneof![any_text(), any_json()], 1..6),
        target in crate::schema::types::arbitrary::any_type(),
        json in any::<bool>(),
    ) {
        let target = target.settled();
        let reading = if json { TextReading::Json } else { csv() };
        let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        for values in arrays(&texts) {
            let converted = convert(&reading, &target, &values, &CastCounts::default()).unwrap();
            prop_assert_eq!(converted.array.data_type(), &target.arrow_type());
            for row in 0..texts.len() {
                let lost = converted.lost.as_ref().is_some_and(|lost| lost.value(row));
                prop_assert!(lost || !converted.array.is_null(row), "{target} of {texts:?}");
            }
        }
    }
}
