use super::*;
use crate::schema::types::arbitrary::any_text_types;
use proptest::prelude::*;

fn of_csv(texts: &[&str]) -> ColumnType {
    of_csv_in(texts, &TextForms::default())
}

fn of_csv_in(texts: &[&str], forms: &TextForms) -> ColumnType {
    let mut types = TextTypes::default();
    texts.iter().for_each(|text| types.see_text(text, forms));
    types.column_type()
}

fn of_json(values: &[&str], nested: NestedAs) -> ColumnType {
    let mut types = TextTypes::default();
    values.iter().for_each(|raw| types.see_json(raw, nested));
    types.column_type()
}

fn decimal(precision: u8, scale: i8) -> ColumnType {
    ColumnType::Decimal128 { precision, scale }
}

#[test]
fn texts_are_of_the_first_type_of_which_all_are() {
    use ColumnType::{Boolean, Date32, Float64, Int64, Null, Time64, Timestamp, Utf8};
    let (many, too_many) = ("9".repeat(38), "9".repeat(50));
    for (texts, expected) in [
        (vec![], Null),
        (vec!["true", "FALSE", "True"], Boolean),
        (vec!["yes", "no"], Utf8),
        (vec!["true", "1"], Utf8),
        (vec!["0", "1"], Int64),
        (vec!["0", "-5", "9223372036854775807"], Int64),
        (vec!["9223372036854775808"], decimal(38, 0)),
        (vec!["1", &many], decimal(38, 0)),
        (vec![&too_many], Utf8),
        (vec!["1.1", "1e5", "NaN", "+Inf", "-Inf", "7"], Float64),
        (vec!["1.1", "1e5", "0.1234567890123456789"], decimal(25, 19)),
        (vec!["NaN", "0.1234567890123456789"], Utf8),
        (vec!["1.5", "9007199254740993"], decimal(17, 1)),
        (vec!["12345678901234567.10", "0.5"], decimal(19, 2)),
        (vec!["1.5", &many], Utf8),
        (vec!["1e400"], Utf8),
        (vec!["2024-01-31"], Date32),
        (vec!["2024-02-30"], Utf8),
        (vec!["31.01.2024"], Utf8),
        (vec!["2024-01-31", "2024"], Utf8),
        (vec!["2024-01-01T00:00:00+02:00", "2024-01-01 00:00:00", "2024-01-01T00:00:00"], Timestamp),
        (vec!["2024-01-01", "2024-01-01 00:00:00"], Timestamp),
        (vec!["2024-01-01T00:00:00.123456789Z"], Utf8),
        (vec!["10:20:30", "10:20:30.5"], Time64),
        (vec!["10:20:30", "2024-01-01"], Utf8),
        (vec![""], Utf8),
    ] {
        assert_eq!(of_csv(&texts), expected, "{texts:?}");
    }
}

#[test]
fn what_is_not_written_as_a_number_makes_text() {
    for text in ["007", "+1", "+49123", "1_0", "0x1f", " 1", "1 ", "1,5", "1,234", ".5", "5.", "-", "1e"] {
        assert_eq!(of_csv(&[text]), ColumnType::Utf8, "{text}");
        assert_eq!(of_csv(&["1", text]), ColumnType::Utf8, "{text}");
        assert_eq!(of_csv(&[text, "1.5"]), ColumnType::Utf8, "{text}");
    }
}

#[test]
fn words_and_commas_are_those_of_the_file() {
    let words = |words: [&str; 1]| words.map(str::to_owned).to_vec();
    let forms = TextForms { true_values: words(["1"]), false_values: words(["0"]), decimal_comma: true };
    assert_eq!(of_csv_in(&["1", "0"], &forms), ColumnType::Boolean);
    assert_eq!(of_csv_in(&["1", "0", "2"], &forms), ColumnType::Int64);
    assert_eq!(of_csv_in(&["1,5", "2"], &forms), ColumnType::Float64);
    assert_eq!(of_csv_in(&["1.5"], &forms), ColumnType::Utf8);
    assert_eq!(of_csv_in(&["true"], &forms), ColumnType::Utf8);
}

#[test]
fn values_of_json_are_of_their_kinds() {
    use ColumnType::{Boolean, Date32, Float64, Int64, Json, Null, Timestamp, Utf8};
    let digits = "1".repeat(39);
    for (values, expected) in [
        (vec![], Null),
        (vec!["null"], Null),
        (vec!["true", "false", "null"], Boolean),
        (vec!["1", "-2"], Int64),
        (vec!["1", "12345678901234567890"], decimal(38, 0)),
        (vec![&*digits], Utf8),
        (vec!["1", "1.0"], Float64),
        (vec!["1", "\"NaN\"", "\"-Inf\""], Float64),
        (vec!["9007199254740993", "\"NaN\""], Json),
        (vec!["\"NaN\""], Utf8),
        (vec!["\"12\""], Utf8),
        (vec!["\"12\"", "\"NaN\""], Utf8),
        (vec!["\"2024-01-31\""], Date32),
        (vec!["\"2024-01-31\"", "\"2024-01-31T00:00:00Z\""], Timestamp),
        (vec!["\"2024-01-31\"", "\"x\""], Utf8),
        (vec!["\"2024-01-31\"", "\"NaN\""], Utf8),
        (vec!["\"10:20:30\""], Utf8),
        (vec!["\"\\u0032024-01-31\""], Utf8),
        (vec!["1", "\"x\""], Json),
        (vec!["1", "\"2024-01-31\""], Json),
        (vec!["1", "true"], Json),
        (vec!["1", "\"x\"", "{\"b\":1}", "[1]"], Json),
        (vec!["{}"], Json),
        (vec!["[1]"], Json),
    ] {
        assert_eq!(of_json(&values, NestedAs::Json), expected, "{values:?}");
    }
}

#[test]
fn arrays_of_one_kind_are_lists_where_they_travel_natively() {
    use ColumnType::{Float64, Int64, Json, Null, Utf8};
    let list = |item| ColumnType::List(Box::new(item));
    for (values, expected) in [
        (vec!["[1, null]", "[]"], list(Int64)),
        (vec!["[1]", "[1.5]"], list(Float64)),
        (vec!["[\"a\"]"], list(Utf8)),
        (vec!["[]"], list(Null)),
        (vec!["[1]", "[\"a\"]"], Json),
        (vec!["[[1]]"], Json),
        (vec!["[{}]"], Json),
        (vec!["[1]", "1"], Json),
        (vec!["[1]", "{}"], Json),
        (vec!["[1"], Json),
    ] {
        assert_eq!(of_json(&values, NestedAs::Native), expected, "{values:?}");
    }
}

#[test]
fn a_column_of_both_formats_is_joined() {
    let mut types = TextTypes::default();
    types.see_text("1", &TextForms::default());
    types.see_json("1.5", NestedAs::Json);
    assert_eq!(types.column_type(), ColumnType::Float64);
    types.see_json("{}", NestedAs::Json);
    assert_eq!(types.column_type(), ColumnType::Json);
    let mut types = TextTypes::default();
    types.see_only_text();
    assert_eq!(types.column_type(), ColumnType::Utf8);
}

fn united(a: &TextTypes, b: &TextTypes) -> TextTypes {
    let mut both = a.clone();
    both.unite(b);
    both
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_was_seen_is_united_in_any_order_and_grouping(
        a in any_text_types(), b in any_text_types(), c in any_text_types(),
    ) {
        prop_assert_eq!(united(&a, &b), united(&b, &a));
        prop_assert_eq!(united(&united(&a, &b), &c), united(&a, &united(&b, &c)));
        let both = united(&a, &b);
        prop_assert_eq!(united(&both, &b), both.clone());
        prop_assert_eq!(united(&a, &TextTypes::default()), a);
    }

    /// Values of several files give the type that they give in one.
    #[test]
    fn values_may_be_cut_into_files_anywhere(
        texts in prop::collection::vec(crate::schema::types::arbitrary::any_text(), 0..12), cut in 0..12_usize,
    ) {
        let of = |texts: &[String]| {
            let mut types = TextTypes::default();
            texts.iter().for_each(|text| types.see_text(text, &TextForms::default()));
            types
        };
        let (first, second) = texts.split_at(cut.min(texts.len()));
        prop_assert_eq!(united(&of(second), &of(first)), of(&texts));
    }
}
