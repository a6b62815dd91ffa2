//! What CloudQuery's own S3 destination wrote, and what of it is as the source sent it. The files are fixtures, with the values
//! that were sent beside them.

mod text;

use crate::columns::{columns, file, names, rescued, texts};
use crate::rig::{Log, Rig};
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::*;
use arrow::util::display::array_value_to_string;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use testkit::backend::{Backend, Mode};
use testkit::client::{Collected, Nested, assert_protocol, protocol_violations};
use testkit::s3_server::S3Server;

const ALL_TYPES: &str = "raw_aws_all_types";
const CHILDREN: &str = "raw_aws_all_types_children";
const TABLES_JSON: &str = "raw/__tables.json";

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cloudquery")
}

/// Puts every object of the fixtures under its key.
fn put_all(s3: &S3Server) {
    fn walk(s3: &S3Server, root: &Path, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(s3, root, &path);
            } else {
                let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                s3.put(&key, std::fs::read(&path).unwrap());
            }
        }
    }
    walk(s3, &folder(), &folder().join("raw"));
}

/// What was sent: table → column → its values.
fn sent(table: &str) -> BTreeMap<String, Vec<Value>> {
    let text = std::fs::read_to_string(folder().join("sent.json")).unwrap();
    let tables: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_str(&text).unwrap();
    let values = |column: &Value| column["values"].as_array().unwrap().clone();
    tables[table].iter().map(|(name, column)| (name.clone(), values(column))).collect()
}

fn hex(bytes: &[u8]) -> Value {
    json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
}

/// A value as the fixtures have it.
fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Decimal128(..) | DataType::Date32 => array_value_to_string(array, row).unwrap().into(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).into(),
        DataType::Time64(_) => array_value_to_string(array, row).unwrap().into(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => hex(array.as_fixed_size_binary().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|row| value(&items, row)).collect()
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            columns.map(|(field, array)| (field.name().clone(), value(array, row))).collect()
        }
        DataType::Map(..) => {
            let pairs = array.as_map().value(row);
            (0..pairs.len()).map(|row| json!([value(pairs.column(0), row), value(pairs.column(1), row)])).collect()
        }
        other => panic!("a column of the type {other}"),
    }
}

/// As Python writes it.
fn float(value: f64) -> Value {
    let text = match value {
        value if value.is_nan() => "nan".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "inf" } else { "-inf" }.to_owned(),
        value if value != 0.0 && value.abs() < 1e-4 => format!("{value:e}").replace("e-7", "e-07"),
        value => format!("{value:?}"),
    };
    text.into()
}

/// A sent value in what is left of it by design: microseconds, durations as text.
fn expected(column: &str, value: &Value) -> Value {
    let micros = |text: &str| -> Value {
        let time: arrow::array::timezone::Tz = "+00:00".parse().unwrap();
        arrow::compute::kernels::cast_utils::string_to_datetime(&time, text).unwrap().timestamp_micros().into()
    };
    match (column, value) {
        (_, Value::Null) => Value::Null,
        ("c_ts_us" | "c_ts_s", Value::String(text)) => micros(text),
        ("c_ts_ns", nanos) => nanos.as_i64().unwrap().div_euclid(1_000).into(),
        ("c_duration", micros) => format!("{micros}us").into(),
        (_, value) => value.clone(),
    }
}

/// Fails unless the columns have the values that were sent.
#[track_caller]
fn assert_sent(rows: &RecordBatch, table: &str, rename: impl Fn(&str) -> String) {
    for (name, values) in sent(table) {
        let array = rows.column_by_name(&rename(&name)).unwrap_or_else(|| panic!("no {name}"));
        let read: Vec<Value> = (0..rows.num_rows()).map(|row| value(array, row)).collect();
        let expected: Vec<Value> = values.iter().map(|value| expected(&name, value)).collect();
        assert_eq!(read, expected, "{name}");
    }
}

fn renamed(name: &str) -> String {
    if name.starts_with("_cq_") { format!("src{name}") } else { name.to_owned() }
}

/// The types of the columns that are text in the files.
fn restored_types(sync: &Collected) -> BTreeMap<String, String> {
    let lost = ["c_uuid", "c_json", "c_inet", "c_mac", "src_cq_id", "c_string", "c_leading_zeros", "c_duration"];
    columns(sync, ALL_TYPES).into_iter().filter(|(name, _)| lost.contains(&name.as_str())).collect()
}

fn types(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
}

const RESTORED: [(&str, &str); 8] = [
    ("c_uuid", "uuid"),
    ("c_json", "json"),
    ("c_inet", "inet"),
    ("c_mac", "mac"),
    ("src_cq_id", "uuid"),
    ("c_string", "Utf8"),
    ("c_leading_zeros", "Utf8"),
    ("c_duration", "Utf8"),
];

#[tokio::test]
async fn types_come_back_from_the_description_of_the_source_with_all_values() {
    let mut rig = Rig::start().await;
    put_all(&rig.s3);
    let spec = json!({"restore_types": {"tables_json": TABLES_JSON}, "nested_as": "native"});
    let sync = rig.sync(spec).await;
    assert_eq!(protocol_violations(&sync, Nested::Native), Vec::<String>::new());
    assert!(sync.status.is_none() && sync.errors().is_empty());
    assert_eq!(restored_types(&sync), types(&RESTORED));
    assert_sent(&sync.concatenated(ALL_TYPES), "aws_all_types", renamed);
    assert_sent(&sync.concatenated(CHILDREN), "aws_all_types_children", renamed);
    assert_eq!(
        names(&sync, CHILDREN),
        ["src_cq_sync_time", "src_cq_source_name", "src_cq_id", "src_cq_parent_id", "name", "_s3_rescued",]
    );
    let of_empty = columns(&sync, "raw_aws_empty");
    assert!(of_empty.contains(&("src_cq_parent_id".to_owned(), "uuid".to_owned())), "{of_empty:?}");
    assert_eq!(rig.s3.gets_of(TABLES_JSON).len(), 1);
    rig.stop().assert_clean();
}

#[tokio::test]
async fn types_come_back_from_the_values() {
    let mut rig = Rig::start().await;
    put_all(&rig.s3);
    let sync = rig.sync(json!({"restore_types": "cloudquery", "nested_as": "native"})).await;
    assert_eq!(protocol_violations(&sync, Nested::Native), Vec::<String>::new());
    assert_eq!(restored_types(&sync), types(&RESTORED));
    assert_sent(&sync.concatenated(ALL_TYPES), "aws_all_types", renamed);
    // What is null in all rows stays text, as does what is in no row.
    assert!(columns(&sync, ALL_TYPES).contains(&("src_cq_parent_id".to_owned(), "Utf8".to_owned())));
    assert!(columns(&sync, "raw_aws_empty").contains(&("src_cq_id".to_owned(), "Utf8".to_owned())));
    // What `tables` shows is what a sync sends.
    let listed = rig.client.tables(&["*"], &[]).await.unwrap();
    let shown = listed.iter().find(|schema| schema.metadata()["cq:table_name"] == ALL_TYPES).unwrap();
    assert_eq!(shown.fields(), sync.schema(ALL_TYPES).fields());
    let plain = rig.sync(json!({})).await;
    assert!(columns(&plain, ALL_TYPES).iter().all(|(_, kind)| !["uuid", "inet", "mac"].contains(&kind.as_str())));
    rig.stop().assert_clean();
}

#[tokio::test]
async fn rows_keep_their_ids_and_their_parents() {
    let mut rig = Rig::start().await;
    put_all(&rig.s3);
    let sync = rig.sync(json!({"cq_columns": "restore", "include": ["raw/*/*.parquet"]})).await;
    assert_protocol(&sync);
    let id = |number: u8| -> Vec<u8> { [0; 15].into_iter().chain([number]).collect() };
    let bytes = |table: &str, name: &str| -> Vec<Option<Vec<u8>>> {
        let rows = sync.concatenated(table);
        let ids = rows.column_by_name(name).unwrap().as_fixed_size_binary().clone();
        ids.iter().map(|id| id.map(<[u8]>::to_vec)).collect()
    };
    assert_eq!(bytes(ALL_TYPES, "_cq_id"), [Some(id(1)), Some(id(2)), Some(id(3))]);
    assert_eq!(bytes(ALL_TYPES, "_cq_parent_id"), [None, None, None]);
    assert_eq!(bytes(CHILDREN, "_cq_id"), [Some(id(11)), Some(id(12))]);
    assert_eq!(bytes(CHILDREN, "_cq_parent_id"), [Some(id(1)), Some(id(3))]);
    assert_eq!(names(&sync, CHILDREN), ["src_cq_sync_time", "src_cq_source_name", "name"]);
    let dropped = rig.sync(json!({"cq_columns": "drop", "include": ["raw/*/*.parquet"]})).await;
    assert_protocol(&dropped);
    assert_eq!(names(&dropped, CHILDREN), ["name"]);
    rig.stop().assert_clean();
}

#[tokio::test]
async fn a_row_without_an_id_is_an_error_behind_the_rows_before_it() {
    let mut rig = Rig::start().await;
    let id = |number: usize| format!("00000000-0000-0000-0000-{number:012}");
    let ids: Vec<Option<String>> = (0..3_000).map(|n| (n != 2_500).then(|| id(n))).collect();
    let ids: Vec<Option<&str>> = ids.iter().map(Option::as_deref).collect();
    rig.s3.put("t/null.parquet", file(vec![("_cq_id", texts(&ids))]));
    rig.s3.put("t/other.parquet", file(vec![("_cq_id", texts(&[Some(&id(7_000)), Some("x")]))]));
    rig.s3.put("u/none.parquet", file(vec![("id", texts(&[Some("a")]))]));
    let number: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1]));
    rig.s3.put("v/number.parquet", file(vec![("_cq_id", number)]));
    let sync = rig.sync(json!({"cq_columns": "restore"})).await;
    let errors: Vec<&str> = sync.errors().into_iter().map(|(_, text)| text).collect();
    let has = |parts: &[&str]| errors.iter().any(|text| parts.iter().all(|part| text.contains(part)));
    assert!(has(&["t/null.parquet", "column \"_cq_id\"", "row 2500 of the object is null"]), "{errors:?}");
    assert!(has(&["t/other.parquet", "column \"_cq_id\"", "row 1 of the object is no uuid"]), "{errors:?}");
    assert!(has(&["u/none.parquet", "column \"_cq_id\": the file has none"]), "{errors:?}");
    assert!(has(&["v/number.parquet", "column \"_cq_id\": it is int64 in this file"]), "{errors:?}");
    assert_eq!(sync.rows("t"), 2_501);
    assert!(!sync.tables().contains(&"u".to_owned()));
}

#[tokio::test]
async fn restored_types_stay_and_later_values_are_rescued() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    let spec = json!({"restore_types": "cloudquery"});
    let uuid = "00000000-0000-0000-0000-00000000000b";
    rig.s3.put("t/a.parquet", file(vec![("x", texts(&[Some(uuid)])), ("y", texts(&[Some("text")]))]));
    let first = rig.sync_with_state(spec.clone(), &backend).await;
    assert_protocol(&first);
    let expected = [("x", "uuid"), ("y", "Utf8"), ("_s3_rescued", "json")];
    let expected: Vec<_> = expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into();
    assert_eq!(columns(&first, "t"), expected);
    rig.s3.put("t/b.parquet", file(vec![("x", texts(&[Some("no uuid")])), ("y", texts(&[Some(uuid)]))]));
    rig.s3.reset_counts();
    let second = rig.sync_with_state(spec.clone(), &backend).await;
    assert_protocol(&second);
    assert_eq!((columns(&second, "t"), second.rows("t")), (expected, 1));
    assert_eq!(rescued(&second, "t"), [json!({"x": "no uuid"})]);
    assert!(rig.s3.gets_of("t/a.parquet").is_empty(), "what was sent is not looked at");
    // Other options: the columns are made anew, and all objects are sent again.
    let third = rig.sync_with_state(json!({}), &backend).await;
    assert_protocol(&third);
    assert_eq!((names(&third, "t"), third.rows("t")), (vec!["x".to_owned(), "y".to_owned()], 2));
    let log = Log::of(rig.plugin);
    assert!(
        log.of_level("warn").iter().any(|line| line.contains("changed with an option")),
        "{:?}",
        log.of_level("warn")
    );
}

#[tokio::test]
async fn a_description_that_cannot_be_used_is_an_error_that_names_the_field() {
    let mut rig = Rig::start().await;
    put_all(&rig.s3);
    rig.s3.put("_bad.json", "{}");
    for (key, expected) in
        [("nowhere.json", "nowhere.json"), ("_bad.json", "it is not what `cloudquery tables --format json` writes")]
    {
        let sync = rig.sync(json!({"restore_types": {"tables_json": key}})).await;
        let status = sync.status.expect("an error").message().to_owned();
        assert!(status.contains("restore_types.tables_json") && status.contains(expected), "{status}");
    }
    rig.s3.put("_other.json", "[]");
    let sync = rig.sync(json!({"restore_types": {"tables_json": "_other.json"}, "include": ["raw/aws_empty/*"]})).await;
    assert_protocol(&sync);
    let warnings = rig.stop().of_level("warn");
    assert!(warnings.len() == 1 && warnings[0].contains("describes no table of this name"), "{warnings:?}");
}
