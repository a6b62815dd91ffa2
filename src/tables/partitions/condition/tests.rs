use super::*;
use crate::tables::partitions::{FoundValue, infer::Misfits};
use proptest::prelude::*;

const TODAY: Today = Today { days: 20_484 }; // 2026-01-31

fn conditions(texts: &[&str]) -> Conditions {
    let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
    let mut mistakes = Vec::new();
    let conditions = Conditions::read(&texts, "partitions.where", &["NULL_HERE".to_owned()], &mut mistakes);
    assert_eq!(mistakes, []);
    conditions
}

fn mistake(text: &str) -> String {
    let mut mistakes = Vec::new();
    Conditions::read(&[text.to_owned()], "partitions.where", &["NULL_HERE".to_owned()], &mut mistakes);
    mistakes.first().unwrap_or_else(|| panic!("{text} is fine")).to_string()
}

fn column(ty: KeyType) -> Column {
    Column { name: "X".to_owned(), ident: "x".to_owned(), ty, stored: None, given: false, misfits: Misfits::default() }
}

fn holds(condition: &str, ty: KeyType, value: Option<&str>) -> bool {
    let bound = conditions(&[condition]).bind(&[column(ty)], &[], TODAY).unwrap();
    let value = value.map_or(FoundValue::Null, |text| FoundValue::Text(text.into()));
    bound.admits(&[Found { name: "x".into(), ident: "x".to_owned(), value, typed: None, at: 0 }])
}

#[test]
fn typed_comparisons() {
    use KeyType::*;
    for (condition, ty, value, expected) in [
        ("x >= 2026-01-01", Date, "2026-01-01", true),
        ("x > 2026-01-01", Date, "2026-01-01", false),
        ("x<2026-01-01", Date, "2025-12-31", true),
        ("x >= today-7d", Date, "2026-01-24", true),
        ("x >= today - 7d", Date, "2026-01-23", false),
        ("x = today", Date, "2026-01-31", true),
        ("x = today+1d", Text, "2026-02-01", true),
        ("x = 'today'", Text, "today", true),
        ("x = todays", Text, "todays", true),
        ("x >= today", Timestamp, "2026-01-31 00:00:00", true),
        ("x >= 2026-01-31T10:00:00+02:00", Timestamp, "2026-01-31T08:00:00Z", true),
        ("x >= 9", Int64, "10", true),
        ("x >= 9", Text, "10", false),
        ("x = 09", Int64, "9", true),
        ("x != 3", Int64, "4", true),
        ("x != 3", Int64, "3", false),
        ("x in [eu, us]", Text, "us", true),
        ("X IN ['e,u', \"us\"]", Text, "e,u", true),
        ("x in [1,2]", Int64, "3", false),
        ("x is null", Text, "a", false),
        ("x is not null", Text, "a", true),
        ("x = true", Bool, "TRUE", true),
        ("x > 1.5", Float64, "1.50001", true),
        ("x != 1", Float64, "nan", true),
        ("x >= 1", Float64, "nan", false),
        ("x = 1.5", Decimal { precision: 3, scale: 2 }, "1.50", true),
        ("`x` = a=b", Text, "a=b", true),
        ("x = a b", Text, "a b", true),
        ("x = 5", Int64, "not a number", false),
        ("x is null", Int64, "not a number", true),
    ] {
        assert_eq!(holds(condition, ty, Some(value)), expected, "{condition} of {value} as {ty}");
    }
}

#[test]
fn null_satisfies_is_null_alone() {
    for condition in ["x = 1", "x != 1", "x < 1", "x <= 1", "x > 1", "x >= 1", "x in [1]", "x is not null"] {
        assert!(!holds(condition, KeyType::Int64, None), "{condition}");
    }
    assert!(holds("x is null", KeyType::Int64, None));
    let bound = conditions(&["x is null"]).bind(&[column(KeyType::Text)], &[], TODAY).unwrap();
    assert!(bound.admits(&[]));
}

#[test]
fn mistakes_say_what_to_write() {
    for (text, expected) in [
        ("", "write `name = value`"),
        ("dt", "write `name = value`"),
        (">= 5", "write `name = value`"),
        ("dt == 5", "write `name = value`"),
        ("dt <> 5", "write `name = value`"),
        ("dt like 'x'", "write `name = value`"),
        ("dt not in [a]", "write `name = value`"),
        ("dt is 5", "write `name = value`"),
        ("dt >=", "the value is missing"),
        ("dt = null", "write `dt is null`"),
        ("dt = ''", "write `dt is null`"),
        ("dt = NULL_HERE", "write `dt is null`"),
        ("dt in a, b", "stand in brackets"),
        ("dt in []", "the value is missing"),
        ("dt in [a,]", "the value is missing"),
        ("dt = 'a", "a ' is not closed"),
        ("dt = 'a' b", "behind the closing quote"),
        ("dt >= today-7", "write today-7d"),
        ("dt >= today-1234567d", "write today-7d"),
    ] {
        let mistake = mistake(text);
        assert!(mistake.starts_with("partitions.where[0]: ") && mistake.contains(expected), "{mistake}");
    }
}

#[test]
fn what_does_not_fit_the_columns_is_told() {
    let bind = |text: &str, ty| {
        let mistakes = conditions(&[text]).bind(&[column(ty)], &[], TODAY).unwrap_err();
        mistakes[0].to_string()
    };
    let text = bind("x >= 2026-1-1", KeyType::Date);
    let expected = "partitions.where[0]: X is date, and \"2026-1-1\" is not; write YYYY-MM-DD, today or today-7d";
    assert_eq!(text, expected);
    assert!(bind("x = today-7d", KeyType::Int64).contains("X is int64, and today-7d is not"));
    assert!(bind("y = 1", KeyType::Int64).contains("no partition column \"y\"; there are X"));
    let unknown = conditions(&["regoin = eu", "x = 1"]).unknown_names(&["region", "x"]);
    assert_eq!(
        unknown[0].to_string(),
        "partitions.where[0]: there is no partition column \"regoin\"; did you mean region?"
    );
    assert_eq!(unknown.len(), 1);
}

#[test]
fn a_name_that_narrowed_the_listing_may_be_missing() {
    let bound = conditions(&["dt >= today"]).bind(&[], &["dt".to_owned()], TODAY).unwrap();
    assert!(!bound.admits(&[]));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "[a-d='\"`\\[\\], <>!é-]{0,10}(today|is|null|in)?[-+0-9d \\]']{0,5}") {
        let _ = read(&text, &[]);
    }
}
