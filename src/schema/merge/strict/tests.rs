use super::*;
use crate::schema::table::{ColumnSource, TableColumn};
use arrow::datatypes::DataType;
use proptest::prelude::*;

fn of_file(name: &str) -> ColumnSource {
    ColumnSource::File { name: name.to_owned(), occurrence: 0 }
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

fn merge(files: &[(&str, FileSchema)]) -> Result<Option<TableSchema>, SchemaConflict> {
    let mut merger = Strict::new();
    for (key, schema) in files {
        merger.add(key, schema.clone());
    }
    merger.finish()
}

#[test]
fn order_of_the_first_key_and_all_nullable() {
    let a = file(&[("x", ColumnType::Int64), ("y", ColumnType::Utf8), ("X", ColumnType::Json)]);
    let b = file(&[("y", ColumnType::Utf8), ("X", ColumnType::Json), ("x", ColumnType::Int64)]);
    let schema = merge(&[("k2", b), ("k1", a)]).unwrap().unwrap();
    let fields: Vec<_> = schema.arrow().fields().iter().map(|f| (f.name().as_str(), f.is_nullable())).collect();
    let expected = [("_cq_id", false), ("_cq_parent_id", true), ("x", true), ("y", true), ("X_2", true)];
    assert_eq!(fields, expected);
    assert_eq!(schema.columns()[2].source, ColumnSource::File { name: "X".to_owned(), occurrence: 0 });
    assert_eq!(schema.arrow().field(4).data_type(), &DataType::Binary);
}

#[test]
fn conflicts_name_both_files_column_and_types() {
    let a = file(&[("x", ColumnType::Int64)]);
    let b = file(&[("x", ColumnType::Utf8)]);
    let c = file(&[("x", ColumnType::Int64), ("z", ColumnType::Date32)]);
    let conflict = merge(&[("k3", c.clone()), ("k2", b), ("k1", a.clone())]).unwrap_err();
    assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k1", "k2"));
    assert_eq!(
        (conflict.column.as_str(), conflict.reference_type.as_str(), conflict.other_type.as_str()),
        ("x", "source int64", "source utf8")
    );
    let conflict = merge(&[("k1", a.clone()), ("k2", c.clone())]).unwrap_err();
    assert_eq!((conflict.column.as_str(), conflict.reference_type.as_str()), ("z", "missing"));
    let conflict = merge(&[("k1", c), ("k2", a)]).unwrap_err();
    assert_eq!((conflict.column.as_str(), conflict.other_type.as_str()), ("z", "missing"));
    assert!(conflict.to_string().contains("\"k1\" and \"k2\""), "{conflict}");
}

/// Columns that are null by type take the type of the others, in whatever order the files come.
#[test]
fn null_types_agree_with_every_type() {
    let list = |item| ColumnType::List(Box::new(item));
    let of = |x: ColumnType, y: ColumnType| file(&[("x", x), ("y", y)]);
    let files = [
        ("k1", of(ColumnType::Null, list(ColumnType::Null))),
        ("k2", of(ColumnType::Int64, list(ColumnType::Null))),
        ("k3", of(ColumnType::Null, ColumnType::Json)),
        ("k4", of(ColumnType::Int64, ColumnType::Null)),
    ];
    let expected = Ok(Some(TableSchema::from_columns(vec![
        TableColumn { source: of_file("x"), name: "x".into(), column_type: ColumnType::Int64 },
        TableColumn { source: of_file("y"), name: "y".into(), column_type: ColumnType::Json },
    ])));
    for turn in 0..4 {
        let mut files = files.clone();
        files.rotate_left(turn);
        assert_eq!(merge(&files), expected);
        files.reverse();
        assert_eq!(merge(&files), expected);
    }
    // Two that say other types don't agree, and are the ones that are named.
    let conflict = merge(&[files.as_slice(), &[("k0", of(ColumnType::Null, list(ColumnType::Utf8)))]].concat());
    let conflict = conflict.unwrap_err();
    assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k0", "k3"));
    assert_eq!((conflict.reference_type.as_str(), conflict.other_type.as_str()), ("source list<utf8>", "source json"));
    // No sample has a type: text.
    let schema = merge(&files[..1]).unwrap().unwrap();
    let types: Vec<String> = schema.columns().iter().map(|column| column.column_type.to_string()).collect();
    assert_eq!(types, ["utf8", "list<utf8>"]);
}

#[test]
fn null_types_agree_with_a_given_schema() {
    let schema = merge(&[("k5", file(&[("x", ColumnType::Int64)]))]).unwrap().unwrap();
    let with = |x: ColumnType| {
        let mut merger = Strict::with_reference("k5", &schema);
        merger.add("k1", file(&[("x", ColumnType::Null)]));
        merger.add("k2", file(&[("x", x)]));
        merger.finish()
    };
    assert_eq!(with(ColumnType::Null), Ok(Some(schema.clone())));
    assert_eq!(with(ColumnType::Int64), Ok(Some(schema.clone())));
    let conflict = with(ColumnType::Utf8).unwrap_err();
    assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k5", "k2"));
}

#[test]
fn nothing_added_is_no_schema() {
    assert!(Strict::new().is_empty());
    assert_eq!(Strict::new().finish(), Ok(None));
}

#[test]
fn a_given_schema_decides_against_smaller_keys() {
    let old = file(&[("x", ColumnType::Int64), ("X", ColumnType::Utf8)]);
    let schema = merge(&[("k5", old.clone())]).unwrap().unwrap();
    let with = |files: &[(&str, FileSchema)]| {
        let mut merger = Strict::with_reference("k5", &schema);
        files.iter().for_each(|(key, schema)| merger.add(key, schema.clone()));
        assert_eq!(merger.reference_key(), Some("k5"));
        merger.finish()
    };
    assert_eq!(with(&[]).unwrap().unwrap(), schema);
    let swapped = file(&[("X", ColumnType::Utf8), ("x", ColumnType::Int64)]);
    let merged = with(&[("k1", swapped.clone())]).unwrap().unwrap();
    assert_eq!(merged, schema, "the order stays");
    // Without a given schema the first file decides about order and names.
    let merged = merge(&[("k1", swapped)]).unwrap().unwrap();
    let names: Vec<&str> = merged.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["X", "x_2"]);
    let other = |column_type| file(&[("x", column_type), ("X", ColumnType::Utf8)]);
    let conflict = with(&[("k3", other(ColumnType::Date32)), ("k2", other(ColumnType::Json)), ("k1", old)]);
    let conflict = conflict.unwrap_err();
    assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k5", "k2"));
    assert_eq!((conflict.reference_type.as_str(), conflict.other_type.as_str()), ("int64", "source json"));
}

#[test]
fn columns_of_one_name_are_told_apart() {
    let twice = file(&[("x", ColumnType::Int64), ("x", ColumnType::Utf8)]);
    let schema = merge(&[("k", twice.clone())]).unwrap().unwrap();
    assert_eq!(schema.columns()[1].name, "x_2");
    assert_eq!(schema.columns()[1].source, ColumnSource::File { name: "x".to_owned(), occurrence: 1 });
    let swapped = file(&[("x", ColumnType::Utf8), ("x", ColumnType::Int64)]);
    assert!(merge(&[("k", twice), ("l", swapped)]).is_err());
}

/// Frozen: a hash of one release is compared with that of another.
#[test]
fn golden_shape() {
    let a = file(&[("x", ColumnType::List(Box::new(ColumnType::Uuid))), ("y", ColumnType::Utf8)]);
    let b = file(&[("y", ColumnType::Utf8), ("x", ColumnType::List(Box::new(ColumnType::Uuid)))]);
    assert_eq!(a.shape(), b.shape());
    let other = file(&[("x", ColumnType::List(Box::new(ColumnType::Utf8))), ("y", ColumnType::Utf8)]);
    assert_ne!(a.shape(), other.shape());
    assert_eq!(format!("{:016x}", a.shape()), GOLDEN_SHAPE);
}

const GOLDEN_SHAPE: &str = "e075b06cdbd1b9a6";

proptest! {
    #[test]
    fn arrival_order_does_not_matter(
        picks in prop::collection::vec((0usize..9, 0u8..8), 1..8),
        seed in any::<u64>(),
    ) {
        let shapes = [
            file(&[("x", ColumnType::Int64), ("y", ColumnType::Utf8)]),
            file(&[("y", ColumnType::Utf8), ("x", ColumnType::Int64)]),
            file(&[("x", ColumnType::Int64)]),
            file(&[("x", ColumnType::Boolean), ("y", ColumnType::Utf8)]),
            file(&[("x", ColumnType::Null), ("y", ColumnType::Utf8)]),
            file(&[("x", ColumnType::Int64), ("y", ColumnType::Null)]),
            file(&[("x", ColumnType::List(Box::new(ColumnType::Null))), ("y", ColumnType::Null)]),
            file(&[("x", ColumnType::List(Box::new(ColumnType::Int8))), ("y", ColumnType::Utf8)]),
            file(&[("x", ColumnType::Json), ("y", ColumnType::Int8)]),
        ];
        let mut files: Vec<(String, FileSchema)> =
            picks.iter().enumerate().map(|(i, (shape, k))| (format!("{k}-{i}"), shapes[*shape].clone())).collect();
        let merge = |files: &[(String, FileSchema)]| {
            let mut merger = Strict::new();
            files.iter().for_each(|(key, schema)| merger.add(key, schema.clone()));
            merger.finish()
        };
        files.sort_by(|a, b| a.0.cmp(&b.0));
        let sorted = merge(&files);
        let turn = usize::try_from(seed % 8).unwrap() % files.len();
        files.rotate_left(turn);
        if seed % 2 == 0 { files.reverse(); }
        prop_assert_eq!(merge(&files), sorted);
    }
}
