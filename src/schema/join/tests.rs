use super::*;
use crate::config::NestedAs;
use crate::schema::text_forms::TextForms;
use crate::schema::types::arbitrary::{any_text_types, any_type, plain};
use proptest::prelude::*;

fn rank(key: usize) -> Rank {
    Rank::Key(key.to_string().into())
}

fn set(types: &[&ColumnType]) -> TypeSet {
    let mut set = TypeSet::default();
    for (index, column_type) in types.iter().enumerate() {
        set.unite(TypeSet::of(column_type, &rank(index)));
    }
    set
}

fn decimal(precision: u8, scale: i8) -> ColumnType {
    ColumnType::Decimal128 { precision, scale }
}

/// `a` and `b` united, without changing either.
fn united(a: &TypeSet, b: &TypeSet) -> TypeSet {
    let mut both = a.clone();
    both.unite(b.clone());
    both
}

#[test]
fn numbers_are_joined_as_a_set() {
    use ColumnType::{Boolean, Float32, Float64, Int8, Int32, Int64, UInt8, UInt32, UInt64, Utf8};
    for (types, expected) in [
        (vec![Int8, Int32], Int32),
        (vec![UInt8, Int8], ColumnType::Int16),
        (vec![UInt32, Int32], Int64),
        (vec![UInt32, Int64], Int64),
        (vec![UInt64, UInt8], UInt64),
        (vec![UInt64, Int8], decimal(20, 0)),
        (vec![UInt64, Int8, decimal(10, 2)], decimal(22, 2)),
        (vec![Int64, decimal(10, 2)], decimal(21, 2)),
        (vec![decimal(10, 2), decimal(5, 5)], decimal(13, 5)),
        (vec![decimal(38, 0), decimal(5, 5)], Utf8),
        // A float decides however many digits there are.
        (vec![decimal(38, 0), decimal(5, 5), Float64], Float64),
        (vec![Float32, Float32], Float32),
        (vec![Float32, Int8], Float64),
        (vec![Float32, UInt64], Float64),
        (vec![Float32, Float64], Float64),
        (vec![Boolean, Int8], Utf8),
        (vec![Boolean, Float64], Utf8),
    ] {
        assert_eq!(set(&types.iter().collect::<Vec<_>>()).joined(), expected, "{types:?}");
    }
}

#[test]
fn nested_types_are_joined_inside_or_become_json() {
    use ColumnType::{Int32, Int64, Json, Null, Utf8};
    let list = |item| ColumnType::List(Box::new(item));
    let map = |key, value| ColumnType::Map { key: Box::new(key), value: Box::new(value) };
    let fields = |fields: &[(&str, ColumnType)]| {
        ColumnType::Struct(fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect())
    };
    for (a, b, expected) in [
        (list(Int32), list(Int64), list(Int64)),
        (list(Int32), list(Utf8), list(Utf8)),
        (list(Null), list(Utf8), list(Utf8)),
        (list(Null), Json, Json),
        (list(Int32), Int32, Json),
        (map(Utf8, Int32), map(Utf8, Int64), map(Utf8, Int64)),
        (map(Utf8, Int32), map(Int32, Int32), Json),
        (map(Utf8, Int32), fields(&[("a", Int32)]), Json),
        (
            fields(&[("b", Int32), ("a", Int32)]),
            fields(&[("c", Utf8), ("a", Int64)]),
            fields(&[("b", Int32), ("a", Int64), ("c", Utf8)]),
        ),
        (fields(&[("a", list(Int32))]), fields(&[("a", Int32)]), fields(&[("a", Json)])),
        (Json, Int32, Json),
        (Json, fields(&[("a", Int32)]), Json),
    ] {
        assert_eq!(join(&a, &b), expected, "{a} and {b}");
    }
}

#[test]
fn structs_whose_fields_are_data_are_json() {
    let mut types = TypeSet::default();
    for file in 0..=MAX_FIELDS {
        let fields = vec![(format!("f{file}"), ColumnType::Int8)];
        types.unite(TypeSet::of(&ColumnType::Struct(fields), &rank(file)));
    }
    assert_eq!(types, TypeSet::of(&ColumnType::Json, &rank(0)));
}

#[test]
fn a_type_by_itself_stays_what_it_is() {
    for column_type in plain() {
        assert_eq!(set(&[&column_type]).joined(), column_type);
        assert_eq!(join(&column_type, &ColumnType::Null), column_type);
    }
    assert_eq!(TypeSet::default().joined(), ColumnType::Null);
}

/// The table of the page on schemas: two types a row, and what they are joined to.
#[test]
fn the_documentation_is_right() {
    let text = include_str!("../../../docs/schemas.md");
    let section = text.split("## The join of types").nth(1).expect("a section about the join");
    let section = section.split("\n## ").next().unwrap_or_default();
    let types = |cell: &str| -> Vec<ColumnType> {
        let words = cell.split('`').skip(1).step_by(2);
        words.map(|word| ColumnType::parse(word).unwrap_or_else(|| panic!("{word} is no type"))).collect()
    };
    let mut rows = 0;
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').collect();
        let (given, expected) = (types(cells[1]), types(cells[2]));
        assert_eq!(set(&given.iter().collect::<Vec<_>>()).joined(), expected[0], "{line}");
        rows += 1;
    }
    assert!(rows >= 15, "{rows} rows of the table were found");
}

/// A column of any file: of one that says its type, or of text.
fn any_column() -> impl Strategy<Value = FileColumn> {
    let typed = any_type().prop_map(|target| (target, None));
    let of_text = any_text_types().prop_map(|types| (types.column_type(), Some(types)));
    prop_oneof![typed, of_text].prop_map(|(target, inferred)| {
        let source = target.to_string();
        FileColumn { name: "x".into(), target, inferred, source }
    })
}

fn of_texts(texts: &[&str]) -> TypeSet {
    let mut types = TextTypes::default();
    texts.iter().for_each(|text| types.see_text(text, &TextForms::default()));
    TypeSet::of_text(&types)
}

#[test]
fn files_of_text_are_joined_by_all_their_values() {
    let (short, long) = (of_texts(&["1.5"]), of_texts(&["0.1234567890123456789"]));
    assert_eq!(short.joined(), ColumnType::Float64);
    assert_eq!(united(&short, &long).joined(), decimal(20, 19));
    assert_eq!(united(&of_texts(&["1"]), &of_texts(&["2024-01-31"])).joined(), ColumnType::Utf8);
    assert_eq!(united(&of_texts(&[]), &of_texts(&["1"])).joined(), ColumnType::Int64);
}

#[test]
fn files_of_text_are_joined_with_others_by_their_type() {
    use ColumnType::{Date32, Float64, Int8, Int64, Json, List, Timestamp, Utf8};
    for (texts, other, expected) in [
        (vec!["1"], Int8, Int64),
        (vec!["1"], Float64, Float64),
        (vec!["1.5"], Int8, Float64),
        (vec!["1"], decimal(10, 2), decimal(21, 2)),
        (vec!["2024-01-31"], Timestamp, Timestamp),
        (vec!["x"], Date32, Utf8),
        (vec!["x"], ColumnType::Uuid, Utf8),
        (vec!["x"], Json, Json),
        (vec!["1"], List(Box::new(Int8)), Json),
        (vec![], Int8, Int8),
    ] {
        let typed = set(&[&other]);
        assert_eq!(united(&of_texts(&texts), &typed).joined(), expected, "{texts:?} and {other}");
    }
    let mut types = TextTypes::default();
    types.see_json("[1]", NestedAs::Native);
    let list = List(Box::new(Float64));
    assert_eq!(united(&TypeSet::of_text(&types), &set(&[&list])).joined(), list);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn sets_are_united_in_any_order_and_grouping(
        a in any_column(), b in any_column(), c in any_column(),
    ) {
        let [a, b, c] = [(0, a), (1, b), (2, c)].map(|(index, column)| TypeSet::of_column(&column, &rank(index)));
        prop_assert_eq!(united(&a, &b), united(&b, &a));
        prop_assert_eq!(united(&united(&a, &b), &c), united(&a, &united(&b, &c)));
        let both = united(&a, &b);
        prop_assert_eq!(united(&a, &a), a);
        prop_assert_eq!(united(&both, &both), both.clone());
        prop_assert_eq!(united(&both, &b).joined(), both.joined());
    }

    /// Once joined, more of the same change nothing.
    #[test]
    fn what_is_joined_takes_its_parts(a in any_type(), b in any_type()) {
        let joined = join(&a, &b);
        for part in [&a, &b] {
            prop_assert_eq!(set(&[&a, &b, part]).joined(), joined.clone());
        }
        prop_assert_eq!(ColumnType::parse(&joined.settled().to_string()), Some(joined.settled()));
    }
}
