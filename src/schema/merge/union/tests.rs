use super::*;
use crate::config::{RescueColumn, SchemaMode};
use crate::schema::file::FileColumn;
use crate::schema::text_forms::TextForms;
use crate::schema::text_types::TextTypes;
use crate::schema::types::arbitrary::{any_text_types, any_type};
use proptest::prelude::*;

/// More columns than any test has.
const MANY: usize = 1_000;

fn options() -> SchemaOptions {
    SchemaOptions { mode: SchemaMode::Merge, ..SchemaOptions::default() }
}

fn file(columns: &[(&str, ColumnType)]) -> FileSchema {
    let column = |(name, target): &(&str, ColumnType)| FileColumn {
        name: (*name).to_owned(),
        target: target.clone(),
        inferred: None,
        source: format!("source {target}"),
    };
    FileSchema { columns: columns.iter().map(column).collect() }
}

fn merge_with(
    options: &SchemaOptions,
    stored: Option<&TableSchema>,
    files: &[(&str, FileSchema)],
) -> Result<Merged, String> {
    let mut union = Union::new(options.clone(), MANY, stored.map(|schema| ("k0", schema)));
    files.iter().for_each(|(key, schema)| union.add(key, schema));
    Ok(union.finish()?.expect("there are files"))
}

fn merge(files: &[(&str, FileSchema)]) -> Merged {
    merge_with(&options(), None, files).unwrap()
}

/// Names and types of the columns.
fn told(merged: &Merged) -> Vec<String> {
    let columns = merged.schema.columns().iter();
    columns.map(|column| format!("{} {}", column.name, column.column_type)).collect()
}

fn notes(merged: &Merged) -> String {
    let texts: Vec<String> = merged.notes.iter().map(|note| format!("{note:?}")).collect();
    texts.join("\n")
}

use ColumnType::{Binary, Boolean, Date32, Float64, Int32, Int64, Json, Null, Utf8};

#[test]
fn columns_are_united_in_the_order_of_the_first_file_that_has_them() {
    let files = [
        ("k3", file(&[("z", Utf8), ("a", Int64), ("b", Utf8)])),
        ("k1", file(&[("b", Utf8), ("a", Int32)])),
        ("k2", file(&[("c", Null), ("a", Null)])),
    ];
    let expected = ["b utf8", "a int64", "c utf8", "z utf8", "_s3_rescued json"];
    for turn in 0..3 {
        let mut files = files.clone();
        files.rotate_left(turn);
        assert_eq!(told(&merge(&files)), expected);
    }
    let text = notes(&merge(&files));
    assert!(text.contains(r#"\"a\": source int32 in \"k1\", source int64 in \"k3\" → int64"#), "{text}");
}

#[test]
fn names_in_another_case_are_one_column_unless_a_file_has_both() {
    let one = [("k1", file(&[("id", Int32)])), ("k2", file(&[("ID", Int64), ("x", Utf8)]))];
    assert_eq!(told(&merge(&one)), ["id int64", "x utf8", "_s3_rescued json"]);
    let both = ("k3", file(&[("ID", Int64), ("id", Int32)]));
    let all = [one[0].clone(), one[1].clone(), both];
    assert_eq!(told(&merge(&all)), ["id int32", "ID_2 int64", "x utf8", "_s3_rescued json"]);
}

#[test]
fn columns_of_one_name_are_told_apart() {
    let twice = file(&[("x", Int32), ("x", Utf8)]);
    let merged = merge(&[("k1", file(&[("X", Int64)])), ("k2", twice)]);
    assert_eq!(told(&merged), ["X int64", "x_2 utf8", "_s3_rescued json"]);
    let second = ColumnSource::File { name: "x".to_owned(), occurrence: 1 };
    assert_eq!(merged.schema.columns()[1].source, second);
}

#[test]
fn the_rescue_column_keeps_its_name() {
    let files = [("k1", file(&[("_S3_rescued", Int32), ("rest", Utf8)]))];
    assert_eq!(told(&merge(&files)), ["src_S3_rescued int32", "rest utf8", "_s3_rescued json"]);
    let named = SchemaOptions { rescue_column: RescueColumn::Named("rest".to_owned()), ..options() };
    let merged = merge_with(&named, None, &files).unwrap();
    assert_eq!(told(&merged), ["_S3_rescued int32", "rest_2 utf8", "rest json"]);
    let none = SchemaOptions { rescue_column: RescueColumn::None, ..options() };
    assert_eq!(told(&merge_with(&none, None, &files).unwrap()), ["_S3_rescued int32", "rest utf8"]);
}

#[test]
fn stored_columns_stay_and_new_ones_follow() {
    let first = merge(&[("k1", file(&[("a", Int32), ("id", Utf8)]))]);
    let later =
        [("k2", file(&[("b", Date32), ("A_", Utf8), ("ID", Utf8), ("a", Int32)])), ("k0", file(&[("c", Utf8)]))];
    let second = merge_with(&options(), Some(&first.schema), &later).unwrap();
    assert_eq!(
        told(&second),
        ["a int32", "id utf8", "_s3_rescued json", "c utf8", "b date", "A_ utf8"],
        "{}",
        notes(&second)
    );
    assert!(!second.widened && notes(&second).contains("new columns are added"), "{}", notes(&second));
    let third = merge_with(&options(), Some(&second.schema), &[]).unwrap();
    assert_eq!((told(&third), third.notes), (told(&second), Vec::new()));
}

#[test]
fn columns_of_the_key_are_left_to_others_but_their_names_are_taken() {
    let first = merge(&[("k1", file(&[("a", Int32)]))]);
    let key =
        TableColumn { source: ColumnSource::Key { name: "dt".to_owned() }, name: "dt".to_owned(), column_type: Date32 };
    let columns = std::iter::once(key).chain(first.schema.columns().iter().cloned()).collect();
    let stored = TableSchema::from_columns(columns);
    let merged = merge_with(&options(), Some(&stored), &[("k2", file(&[("DT", Utf8), ("a", Null)]))]).unwrap();
    assert_eq!(told(&merged), ["a int32", "_s3_rescued json", "DT_2 utf8"]);
}

#[test]
fn new_columns_by_choice() {
    let first = merge(&[("k1", file(&[("a", Int32)]))]).schema;
    let later = [("k2", file(&[("a", Int32), ("b", Int32)]))];
    let with = |new_columns| merge_with(&SchemaOptions { new_columns, ..options() }, Some(&first), &later);
    assert_eq!(told(&with(NewColumns::Add).unwrap()).last().unwrap(), "b int32");
    for choice in [NewColumns::Rescue, NewColumns::Ignore] {
        assert_eq!(with(choice).unwrap().schema, first);
    }
    let error = with(NewColumns::Fail).unwrap_err();
    assert!(error.contains(r#""k2" has the column "b""#) && error.contains("new_columns"), "{error}");
    // Without a schema from before no column is new.
    let options = SchemaOptions { new_columns: NewColumns::Fail, ..options() };
    assert_eq!(told(&merge_with(&options, None, &later).unwrap()), ["a int32", "b int32", "_s3_rescued json"]);
}

#[test]
fn changed_types_by_choice() {
    let first = merge(&[("k1", file(&[("a", Int32), ("b", Utf8)]))]).schema;
    let later = [("k2", file(&[("a", Int64), ("b", Null)])), ("k3", file(&[("a", Boolean)]))];
    let with = |on_type_change| merge_with(&SchemaOptions { on_type_change, ..options() }, Some(&first), &later);
    let kept = with(OnTypeChange::Keep).unwrap();
    assert_eq!((&kept.schema, kept.widened), (&first, false));
    assert!(notes(&kept).contains("the columns keep theirs"), "{}", notes(&kept));
    let widened = with(OnTypeChange::Widen).unwrap();
    assert_eq!((told(&widened)[0].as_str(), widened.widened), ("a utf8", true));
    assert!(notes(&widened).contains("migrate_mode: forced"), "{}", notes(&widened));
    let error = with(OnTypeChange::Fail).unwrap_err();
    assert!(error.contains(r#"source int64 in "k2""#) && error.contains("on_type_change"), "{error}");
    // What fits is no change.
    let same = [("k2", file(&[("b", Utf8)]))];
    let options = SchemaOptions { on_type_change: OnTypeChange::Fail, ..options() };
    assert_eq!(merge_with(&options, Some(&first), &same).unwrap().schema, first);
}

#[test]
fn missing_columns_by_choice() {
    let options = SchemaOptions { missing_columns: MissingColumns::Fail, ..options() };
    let files =
        [("k1", file(&[("a", Int32), ("b", Utf8)])), ("k2", file(&[("A", Int64)])), ("k3", file(&[("b", Utf8)]))];
    let error = merge_with(&options, None, &files).unwrap_err();
    assert!(error.contains(r#""k2" lacks the column "b""#) && error.contains("missing_columns"), "{error}");
    assert!(merge_with(&options, None, &files[..1]).is_ok());
    let first = merge(&files[..1]).schema;
    let more = [("k2", file(&[("a", Int32), ("b", Utf8), ("c", Utf8)]))];
    assert!(merge_with(&options, Some(&first), &more).is_ok(), "what the table lacks is new");
    let error = merge_with(&options, Some(&first), &files[1..2]).unwrap_err();
    assert!(error.contains(r#""k2" lacks the column "b""#), "{error}");
}

#[test]
fn too_many_columns_go_into_the_rescue_column() {
    let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let columns: Vec<(&str, ColumnType)> = names.iter().map(|name| (name.as_str(), Int32)).collect();
    let mut union = Union::new(options(), 8, None);
    union.add("k", &file(&columns));
    let merged = union.finish().unwrap().unwrap();
    assert_eq!(merged.schema.columns().len(), 8);
    assert_eq!(told(&merged)[6..], ["c6 int32", "_s3_rescued json"]);
    let text = notes(&merged);
    assert!(text.starts_with("Warning") && text.contains("3 columns are for the rescue column"), "{text}");
}

#[test]
fn names_that_are_data_are_refused_whatever_the_order() {
    let files: Vec<FileSchema> = (0..=20)
        .map(|file| {
            let names: Vec<String> = (0..1_000).map(|n| format!("{file}-{n}")).collect();
            let columns: Vec<(&str, ColumnType)> = names.iter().map(|name| (name.as_str(), Int32)).collect();
            self::file(&columns)
        })
        .collect();
    let finish = |files: &[FileSchema]| {
        let mut union = Union::new(options(), MANY, None);
        files.iter().enumerate().for_each(|(index, file)| union.add(&index.to_string(), file));
        union.finish()
    };
    assert!(finish(&files).unwrap_err().contains("more than 20000 different columns"));
    assert_eq!(finish(&files[1..]).unwrap().unwrap().schema.columns().len(), MANY);
}

#[test]
fn bytes_as_text_are_a_warning() {
    let merged = merge(&[("k1", file(&[("a", Binary)])), ("k2", file(&[("a", Utf8)]))]);
    assert_eq!(told(&merged)[0], "a utf8");
    assert!(notes(&merged).contains("base64"), "{}", notes(&merged));
    let merged = merge(&[("k1", file(&[("a", Binary)])), ("k2", file(&[("a", Json)]))]);
    assert!(!notes(&merged).contains("base64"), "{}", notes(&merged));
}

#[test]
fn nothing_added_is_no_schema() {
    assert_eq!(Union::new(options(), MANY, None).finish(), Ok(None));
}

fn any_file() -> impl Strategy<Value = FileSchema> {
    let column = ("[abAB]|c[0-9]", prop_oneof![any_type(), Just(Int64), Just(Float64)]);
    prop::collection::vec(column, 0..6).prop_map(|columns| {
        let columns: Vec<(&str, ColumnType)> =
            columns.iter().map(|(name, kind)| (name.as_str(), kind.clone())).collect();
        file(&columns)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Associative and commutative, whatever the files; idempotent, since each is added twice.
    #[test]
    fn the_order_of_files_is_nothing(
        files in prop::collection::vec(any_file(), 1..5),
        order in Just((0..10_usize).collect::<Vec<_>>()).prop_shuffle(),
        with_stored in any::<bool>(),
    ) {
        let keys: Vec<String> = (0..files.len()).map(|index| format!("k{index}")).collect();
        let named: Vec<(&str, FileSchema)> = keys.iter().map(String::as_str).zip(files).collect();
        let stored = with_stored.then(|| merge(&named[..1]).schema);
        let sorted = merge_with(&options(), stored.as_ref(), &named).unwrap();
        let shuffled: Vec<(&str, FileSchema)> = order.iter().map(|index| named[index % named.len()].clone()).collect();
        let merged = merge_with(&options(), stored.as_ref(), &shuffled).unwrap();
        let missing = named.iter().any(|(key, _)| !shuffled.iter().any(|(shuffled, _)| shuffled == key));
        if !missing {
            prop_assert_eq!(&merged, &sorted);
        }
        let names: BTreeSet<String> = sorted.schema.columns().iter().map(|column| fold(&column.name)).collect();
        prop_assert_eq!(names.len(), sorted.schema.columns().len(), "names are unique ignoring case");
        if let Some(stored) = stored {
            prop_assert_eq!(&sorted.schema.columns()[..stored.columns().len()], stored.columns());
        }
    }
}

/// A file of text with one column of these values.
fn text_file(types: TextTypes) -> FileSchema {
    let (target, source) = (types.column_type(), "text".to_owned());
    FileSchema { columns: vec![FileColumn { name: "a".to_owned(), target, inferred: Some(types), source }] }
}

fn of_texts(texts: &[&str]) -> FileSchema {
    let mut types = TextTypes::default();
    texts.iter().for_each(|text| types.see_text(text, &TextForms::default()));
    text_file(types)
}

#[test]
fn files_of_text_are_joined_by_their_values_whatever_types_they_have_alone() {
    // Two floats, of which only one is a decimal, too.
    let files = [("k1", of_texts(&["1.5"])), ("k2", of_texts(&["NaN"])), ("k3", of_texts(&["0.1234567890123456789"]))];
    assert_eq!(told(&merge(&files[..2])), ["a float64", "_s3_rescued json"]);
    assert_eq!(told(&merge(&[files[0].clone(), files[2].clone()])), ["a decimal(20, 19)", "_s3_rescued json"]);
    assert_eq!(told(&merge(&files)), ["a utf8", "_s3_rescued json"]);
    let stored = merge(&[("k1", file(&[("a", Int64)]))]).schema;
    let merged = merge_with(&options(), Some(&stored), &[("k2", of_texts(&["1.5"]))]).unwrap();
    assert_eq!(told(&merged), ["a int64", "_s3_rescued json"]);
    assert!(notes(&merged).contains("int64 → float64"), "{}", notes(&merged));
}

proptest! {
    #[test]
    fn files_of_text_give_one_type_in_any_order(
        files in prop::collection::vec(any_text_types(), 1..6).prop_shuffle(), turn in 0..6_usize,
    ) {
        let keys = ["k1", "k2", "k3", "k4", "k5"];
        let mut files: Vec<(&str, FileSchema)> = keys.into_iter().zip(files.into_iter().map(text_file)).collect();
        let merged = told(&merge(&files));
        let turn = turn % files.len();
        files.rotate_left(turn);
        prop_assert_eq!(told(&merge(&files)), merged);
    }
}
