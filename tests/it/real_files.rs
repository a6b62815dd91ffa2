//! Files that other writers made, and what other readers read out of them. Each folder of fixtures has Parquet files and
//! an `expected.json` beside them: for each file its rows as JSON, by column name. Texts of JSON columns stand there as
//! the values they say; of other columns dates are days since 1970, times microseconds since midnight, timestamps
//! microseconds since 1970, decimals text, bytes base64, UUIDs text.

use crate::rig::Rig;
use arrow::array::{
    Array, ArrayRef, AsArray as _, Int32Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use arrow::util::display::array_value_to_string;
use base64::Engine as _;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::backend::{Backend, Mode};
use testkit::client::{Nested, protocol_violations};
use testkit::parquet_files as files;

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
}

/// File name → what `expected.json` says of it.
fn expectations(folder: &Path) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// One value of a column as JSON.
fn value(array: &ArrayRef, field: &Field, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let extension = field.metadata().get("ARROW:extension:name").map(String::as_str);
    match (array.data_type(), extension) {
        (DataType::Boolean, _) => array.as_boolean().value(row).into(),
        (DataType::Int8, _) => array.as_primitive::<Int8Type>().value(row).into(),
        (DataType::Int16, _) => array.as_primitive::<Int16Type>().value(row).into(),
        (DataType::Int32, _) => array.as_primitive::<Int32Type>().value(row).into(),
        (DataType::Int64, _) => array.as_primitive::<Int64Type>().value(row).into(),
        (DataType::UInt8, _) => array.as_primitive::<UInt8Type>().value(row).into(),
        (DataType::UInt16, _) => array.as_primitive::<UInt16Type>().value(row).into(),
        (DataType::UInt32, _) => array.as_primitive::<UInt32Type>().value(row).into(),
        (DataType::UInt64, _) => array.as_primitive::<UInt64Type>().value(row).into(),
        (DataType::Float32, _) => float(array.as_primitive::<Float32Type>().value(row).into()),
        (DataType::Float64, _) => float(array.as_primitive::<Float64Type>().value(row)),
        (DataType::Utf8, _) => array.as_string::<i32>().value(row).into(),
        (DataType::Date32, _) => array.as_primitive::<Date32Type>().value(row).into(),
        (DataType::Time64(_), _) => array.as_primitive::<Time64MicrosecondType>().value(row).into(),
        (DataType::Timestamp(..), _) => array.as_primitive::<TimestampMicrosecondType>().value(row).into(),
        (DataType::Decimal128(..), _) => array_value_to_string(array, row).unwrap().into(),
        (DataType::Binary, Some("json")) => serde_json::from_slice(array.as_binary::<i32>().value(row)).unwrap(),
        (DataType::Binary, _) => {
            base64::engine::general_purpose::STANDARD.encode(array.as_binary::<i32>().value(row)).into()
        }
        (DataType::FixedSizeBinary(16), _) => {
            let hex: String =
                array.as_fixed_size_binary().value(row).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]).into()
        }
        (DataType::List(item), _) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|row| value(&items, item, row)).collect()
        }
        (DataType::Struct(fields), _) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            Value::Object(columns.map(|(field, array)| (field.name().clone(), value(array, field, row))).collect())
        }
        (DataType::Map(..), _) => map(&array.as_map().value(row)),
        (other, _) => panic!("a column of the type {other}"),
    }
}

/// A map's pairs: an object when its keys are text, as in JSON columns.
fn map(pairs: &StructArray) -> Value {
    let (keys, values) = (pairs.column(0), pairs.column(1));
    let pair = |row| (value(keys, &pairs.fields()[0], row), value(values, &pairs.fields()[1], row));
    let pairs = (0..pairs.len()).map(pair);
    if *keys.data_type() == DataType::Utf8 {
        Value::Object(pairs.map(|(key, value)| (key.as_str().unwrap().to_owned(), value)).collect())
    } else {
        pairs.map(|(key, value)| json!([key, value])).collect()
    }
}

/// A number, or its text where JSON has no such number.
fn float(value: f64) -> Value {
    if value.is_finite() { value.into() } else { value.to_string().into() }
}

/// Rows by column name, without the columns that every table has.
fn rows(batch: &RecordBatch) -> Vec<Value> {
    let schema = batch.schema();
    let columns = || schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !field.name().starts_with("_cq_"));
    let row = |row| columns().map(|(field, array)| (field.name().clone(), value(array, field, row))).collect();
    (0..batch.num_rows()).map(|index| Value::Object(row(index))).collect()
}

/// A table as it arrived, without the columns that every table has.
struct Read {
    columns: Vec<String>,
    rows: Vec<Value>,
}

/// What one sync says of files, each of which is a table of its own.
struct Synced {
    /// By file name: the table, or the error's text.
    outcomes: BTreeMap<String, Result<Read, String>>,
    warnings: Vec<Value>,
}

/// Syncs the files of `folder` that `expected.json` names.
async fn sync(folder: &Path, names: impl Iterator<Item = &String>, nested: Nested) -> Synced {
    let mut rig = Rig::start().await;
    let mut tables = BTreeMap::new();
    for (number, name) in names.enumerate() {
        let table = format!("file_{number:05}");
        rig.s3.put(&format!("{table}/x.parquet"), std::fs::read(folder.join(name)).unwrap());
        tables.insert(name.clone(), table);
    }
    let nested_as = if nested == Nested::Native { "native" } else { "json" };
    let sync = rig.sync(json!({ "max_tables": 100_000, "nested_as": nested_as })).await;
    assert_eq!(protocol_violations(&sync, nested), Vec::<String>::new());
    let errors: BTreeMap<&str, &str> = sync.errors().into_iter().collect();
    let announced = sync.tables();
    let outcome = |table: &String| match errors.get(table.as_str()) {
        Some(error) => Err((*error).to_owned()),
        None if announced.contains(table) => {
            let columns = sync.schema(table).fields().iter().map(|field| field.name().clone());
            let columns = columns.filter(|name| !name.starts_with("_cq_")).collect();
            Ok(Read { columns, rows: rows(&sync.concatenated(table)) })
        }
        None => Err("neither announced nor an error".to_owned()),
    };
    let outcomes = tables.iter().map(|(name, table)| (name.clone(), outcome(table))).collect();
    Synced { outcomes, warnings: rig.lines("warn") }
}

/// Forms of lists and maps from before the format settled on three levels, as parquet-mr, Hive, parquet-avro and others
/// wrote them. `LEGACY_NESTED` names another folder, made by `make.py` with more files: then all are counted.
#[tokio::test]
async fn nested_columns_in_legacy_forms_are_read_as_other_readers_read_them() {
    legacy(Nested::AsJson).await;
}

#[tokio::test]
async fn nested_columns_in_legacy_forms_are_the_same_as_arrow_types() {
    legacy(Nested::Native).await;
}

async fn legacy(nested: Nested) {
    let many = std::env::var_os("LEGACY_NESTED").map(PathBuf::from);
    let folder = many.clone().unwrap_or_else(|| fixtures("legacy_nested"));
    let expected = expectations(&folder);
    let synced = sync(&folder, expected.keys(), nested).await;
    let (mut right, mut wrong, mut refused, mut more) = (0, Vec::new(), Vec::new(), 0);
    for (name, expected) in &expected {
        let schema = expected["schema"].as_str().unwrap();
        match &synced.outcomes[name] {
            Ok(_) if expected["rows"].is_null() => more += 1,
            Ok(read) if expected["rows"] == json!(read.rows) => right += 1,
            Ok(Read { rows, .. }) => {
                wrong.push(format!("{name}\n{schema}expected {}\nread     {}\n", expected["rows"], json!(rows)))
            }
            Err(_) if expected["rows"].is_null() => {}
            Err(error) => refused.push(format!("{name}\n{schema}{error}\n")),
        }
    }
    if many.is_some() {
        eprintln!("{right} right, {} wrong, {} refused, {more} that pyarrow refuses", wrong.len(), refused.len());
    }
    assert!(wrong.is_empty() && refused.is_empty(), "WRONG\n{}\nREFUSED\n{}", wrong.join("\n"), refused.join("\n"));
    assert_eq!(synced.warnings, Vec::<Value>::new());
    assert!(right >= 60, "{right} files");
}

/// Files by the writers that people use: empty, with one row, with nulls only, with every type that the writer has, and what
/// else it does in its own way.
#[tokio::test]
async fn files_of_real_writers_are_read_as_other_readers_read_them() {
    let writers = fixtures("writers");
    let mut wrong = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(&writers).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("expected.json").exists() {
            continue;
        }
        let expected = expectations(&folder);
        let synced = sync(&folder, expected.keys(), Nested::AsJson).await;
        for (name, expected) in &expected {
            files += 1;
            let path = folder.strip_prefix(&writers).unwrap().join(name);
            let outcome = &synced.outcomes[name];
            match outcome {
                Err(error) => wrong.push(format!("{path:?}: {error}")),
                Ok(read) if expected["columns"] != json!(read.columns) => {
                    wrong.push(format!("{path:?}: columns {}, read {:?}", expected["columns"], read.columns));
                }
                Ok(read) => wrong.extend(differences(&read.rows, &expected["rows"]).map(|d| format!("{path:?}: {d}"))),
            }
        }
        let on_disk = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let on_disk = on_disk.filter(|name| name.to_string_lossy().ends_with(".parquet")).count();
        assert_eq!(on_disk, expected.len(), "{folder:?}: files that nothing is expected of");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files >= 50, "{files} files");
}

/// What differs between rows, value by value.
fn differences(read: &[Value], expected: &Value) -> impl Iterator<Item = String> {
    let expected = expected.as_array().unwrap();
    let mut found = Vec::new();
    if read.len() != expected.len() {
        found.push(format!("{} rows, expected {}", read.len(), expected.len()));
    }
    for (row, (read, expected)) in read.iter().zip(expected).enumerate() {
        for (column, expected) in expected.as_object().unwrap() {
            if read[column] != *expected {
                found.push(format!("row {row}, {column}: {}, expected {expected}", read[column]));
            }
        }
    }
    found.into_iter()
}

/// A file with the columns `id` and `x`.
fn file_of(x: ArrayRef) -> bytes::Bytes {
    let ids = Int64Array::from_iter_values(0..i64::try_from(x.len()).unwrap());
    let batch = files::batch_of(vec![("id", false, Arc::new(ids) as ArrayRef), ("x", true, x)]);
    files::write_batch(&batch, &files::Layout::default())
}

/// What pandas and polars make of a column without a value has no type: it is of the type that other files say, whichever
/// file comes first.
#[tokio::test]
async fn columns_without_a_type_agree_with_any_type() {
    let empty_lists = || {
        let item = Arc::new(Field::new("item", DataType::Null, true));
        Arc::new(ListArray::new_null(item, 2)) as ArrayRef
    };
    let text = || Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef;
    let structs = || {
        let fields = Fields::from(vec![Field::new("a", DataType::Int32, true)]);
        let array = StructArray::new(fields, vec![Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef], None);
        Arc::new(array) as ArrayRef
    };
    let lists = || {
        Arc::new(ListArray::new(
            Arc::new(Field::new("item", structs().data_type().clone(), true)),
            OffsetBuffer::from_lengths([2, 0]),
            structs(),
            None,
        )) as ArrayRef
    };
    let nulls = || Arc::new(NullArray::new(2)) as ArrayRef;
    let mut rig = Rig::start().await;
    let tables: [(&str, ArrayRef, ArrayRef); 5] = [
        ("null_first", nulls(), text()),
        ("null_last", text(), nulls()),
        ("structs", nulls(), structs()),
        ("lists", empty_lists(), lists()),
        ("all_null", nulls(), nulls()),
    ];
    for (table, first, second) in tables {
        rig.s3.put(&format!("{table}/a.parquet"), file_of(first));
        rig.s3.put(&format!("{table}/b.parquet"), file_of(second));
    }
    for nested in [Nested::AsJson, Nested::Native] {
        let nested_as = if nested == Nested::Native { "native" } else { "json" };
        let sync = rig.sync(json!({ "nested_as": nested_as, "concurrency": 1 })).await;
        assert_eq!(protocol_violations(&sync, nested), Vec::<String>::new());
        assert_eq!(sync.errors(), []);
        let x = |table: &str| {
            let mut values: Vec<Value> = rows(&sync.concatenated(table)).iter().map(|row| row["x"].clone()).collect();
            values.sort_by_key(ToString::to_string);
            Value::from(values)
        };
        for table in ["null_first", "null_last"] {
            assert_eq!(sync.schema(table).field_with_name("x").unwrap().data_type(), &DataType::Utf8);
            assert_eq!(x(table), json!(["a", null, null, null]), "{table}");
        }
        assert_eq!(x("structs"), json!([null, null, {"a": 1}, {"a": 2}]));
        assert_eq!(x("lists"), json!([[], [{"a": 1}, {"a": 2}], null, null]));
        assert_eq!(sync.schema("all_null").field_with_name("x").unwrap().data_type(), &DataType::Utf8, "as before");
    }

    // And with a schema that an earlier sync has stored.
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("later/b.parquet", file_of(structs()));
    let first = rig.sync_with_state(json!({}), &backend).await;
    assert_eq!(first.rows("later"), 2);
    rig.s3.put("later/a.parquet", file_of(nulls()));
    rig.s3.put("null_last/c.parquet", file_of(nulls()));
    let second = rig.sync_with_state(json!({}), &backend).await;
    assert_eq!(second.errors(), []);
    assert_eq!((second.rows("later"), second.rows("null_last")), (2, 2));
    assert_eq!(second.schema("later"), first.schema("later"));
}

/// One value that PostgreSQL's `jsonb` refuses would end the sync of all tables there: it is a text, and counted.
#[tokio::test]
async fn json_that_destinations_refuse_arrives_as_text_with_a_warning() {
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    let texts = [Some(r#"{"a": 1}"#), Some(r#"{"a": 1e200000}"#), Some(&deep), None];
    let mut rig = Rig::start().await;
    rig.s3.put("t/x.parquet", files::uuid_and_json(&texts));
    let sync = rig.sync(json!({})).await;
    assert_eq!(protocol_violations(&sync, Nested::AsJson), Vec::<String>::new());
    let column = sync
        .schema("t")
        .fields()
        .iter()
        .find(|field| field.metadata().get("ARROW:extension:name").map(String::as_str) == Some("json"));
    let name = column.unwrap().name().clone();
    let values: Vec<Value> = rows(&sync.concatenated("t")).iter().map(|row| row[&name].clone()).collect();
    assert_eq!(values, [json!({"a": 1}), json!(texts[1]), json!(deep), Value::Null]);
    let warnings = rig.lines("warn");
    assert!(
        warnings.len() == 1 && warnings[0].to_string().contains("too large numbers became JSON strings: 2"),
        "{warnings:?}"
    );
}

/// An error of a damaged page says which one, once.
#[tokio::test]
async fn errors_of_damaged_pages_name_column_row_group_and_page() {
    let batch = files::batch_of(vec![
        ("id", false, Arc::new(Int64Array::from_iter_values(0..100)) as ArrayRef),
        ("x", false, Arc::new(StringArray::from_iter_values((0..100).map(|row| format!("text {row}"))))),
    ]);
    let layout =
        files::Layout { row_group_rows: Some(50), page_rows: Some(10), dictionary: false, ..files::Layout::default() };
    let file = files::write_batch(&batch, &layout).to_vec();
    let reader = SerializedFileReader::new(bytes::Bytes::from(file.clone())).unwrap();
    let (start, length) = reader.metadata().row_group(1).column(1).byte_range();
    // The last page is Snappy's of ten texts: its length in front does not fit any more.
    let mut damaged = file.clone();
    let last = usize::try_from(start + length).unwrap();
    for byte in &mut damaged[last - 60..last] {
        *byte = 0xff;
    }
    let mut rig = Rig::start().await;
    rig.s3.put("t/x.parquet", damaged);
    let sync = rig.sync(json!({})).await;
    let errors = sync.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let text = errors[0].1;
    assert!(text.contains(r#"row group 1, column "x", data page 4: "#), "{text}");
    assert!(!text.contains("External") && !text.contains("Parquet error:"), "{text}");
}
