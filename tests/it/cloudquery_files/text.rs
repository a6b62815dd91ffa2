//! The destination's CSV and JSON: each of its configurations, read with its own `path`.

use super::{RESTORED, expected, folder, renamed, sent, value};
use crate::columns::{columns, names, rescued};
use crate::rig::{Log, Rig};
use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::DataType;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::backend::{Backend, Mode};
use testkit::client::{Collected, Nested, assert_protocol, protocol_violations};

const SOURCE_TABLE: &str = "aws_all_types";
const SOURCE_CHILDREN: &str = "aws_all_types_children";
const TABLES_JSON: &str = "described/__tables.json";
const WITHOUT_HEADER: &str = "csv-tabs-no-header";

/// The destination's configurations that write text: their names, and what the destination's spec has.
fn configurations() -> BTreeMap<String, Value> {
    let written = std::fs::read(folder().join("objects.json")).unwrap();
    let written: BTreeMap<String, Value> = serde_json::from_slice(&written).unwrap();
    written.into_iter().filter(|(_, written)| written["spec"]["format"] != "parquet").collect()
}

/// Puts the objects of each configuration into a bucket of its name, with the description of the source.
fn put_all(rig: &Rig) {
    for (configuration, written) in configurations() {
        rig.s3.bucket(&configuration);
        let bucket = rig.s3.bucket(&configuration);
        for object in written["objects"].as_array().unwrap() {
            let key = object["key"].as_str().unwrap();
            let content = match object["bytes"].as_u64().unwrap() {
                0 => Vec::new(),
                _ => std::fs::read(folder().join("text").join(&configuration).join(key)).unwrap(),
            };
            assert_eq!(content.len() as u64, object["bytes"], "{configuration}: {key}");
            bucket.put(key, content);
        }
        bucket.put(TABLES_JSON, std::fs::read(folder().join("raw/__tables.json")).unwrap());
    }
}

/// The spec that reads a configuration's objects, with more fields.
fn spec(configuration: &str, more: Value) -> Value {
    let written = &configurations()[configuration];
    let mut spec =
        json!({"bucket": configuration, "path": written["spec"]["path"], "filetype": "auto", "partitions": "hive"});
    if configuration == WITHOUT_HEADER {
        spec["csv"] = json!({"delimiter": "\t", "header": false});
    }
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// The sync of a configuration's objects, which has all tables.
async fn synced(rig: &mut Rig, configuration: &str, more: Value) -> Collected {
    let sync = rig.sync(spec(configuration, more)).await;
    assert!(
        sync.status.is_none() && sync.errors().is_empty(),
        "{configuration}: {:?} {:?}",
        sync.status,
        sync.errors()
    );
    assert_eq!(protocol_violations(&sync, Nested::Native), Vec::<String>::new(), "{configuration}");
    assert_eq!(sync.tables(), [SOURCE_TABLE, SOURCE_CHILDREN], "{configuration}");
    assert_eq!((sync.rows(SOURCE_TABLE), sync.rows(SOURCE_CHILDREN)), (3, 2), "{configuration}");
    for table in [SOURCE_TABLE, SOURCE_CHILDREN] {
        let rows = sync.concatenated(table);
        if let Some(rescued) = rows.column_by_name("_s3_rescued") {
            assert_eq!(rescued.null_count(), rescued.len(), "{configuration}: {rescued:?}");
        }
    }
    sync
}

fn is_csv(configuration: &str) -> bool {
    configuration.starts_with("csv")
}

/// A value as it is read back from text, which says nested ones as JSON; CSV does not tell nothing from null.
fn read_back(array: &ArrayRef, row: usize, column: &str) -> Value {
    let nested = ["c_list_int", "c_list_string", "c_struct", "c_map"].contains(&column);
    if nested && array.is_valid(row) && array.data_type() == &DataType::Binary {
        return serde_json::from_slice(array.as_binary::<i32>().value(row)).unwrap();
    }
    value(array, row)
}

fn expected_of(column: &str, value: &Value, configuration: &str) -> Value {
    let nothing = [json!(""), json!({"hex": ""})];
    match (column, value) {
        (_, value) if is_csv(configuration) && nothing.contains(value) => Value::Null,
        ("c_map", Value::Array(pairs)) => pairs.iter().map(|pair| json!({"key": pair[0], "value": pair[1]})).collect(),
        (column, value) => expected(column, value),
    }
}

/// Fails unless the columns have the values that were sent.
#[track_caller]
fn assert_read_back(sync: &Collected, table: &str, configuration: &str, rename: impl Fn(&str) -> String) {
    let rows = sync.concatenated(table);
    for (name, values) in sent(table) {
        let array = rows.column_by_name(&rename(&name)).unwrap_or_else(|| panic!("{configuration}: no {name}"));
        let read: Vec<Value> = (0..rows.num_rows()).map(|row| read_back(array, row, &name)).collect();
        let expected: Vec<Value> = values.iter().map(|value| expected_of(&name, value, configuration)).collect();
        assert_eq!(read, expected, "{configuration}: {name}");
    }
}

/// The types of the source, where nested values travel as JSON.
fn types_of_the_source(list_of_int: &str, list_of_text: &str) -> Vec<(String, String)> {
    let time = "Timestamp(µs, \"UTC\")";
    let columns = [
        ("src_cq_id", "uuid"),
        ("src_cq_parent_id", "uuid"),
        ("c_bool", "Boolean"),
        ("c_int8", "Int8"),
        ("c_int64", "Int64"),
        ("c_uint64", "UInt64"),
        ("c_float32", "Float32"),
        ("c_float64", "Float64"),
        ("c_inf", "Float64"),
        ("c_decimal", "Decimal128(20, 6)"),
        ("c_string", "Utf8"),
        ("c_leading_zeros", "Utf8"),
        ("c_binary", "Binary"),
        ("c_uuid", "uuid"),
        ("c_json", "json"),
        ("c_inet", "inet"),
        ("c_mac", "mac"),
        ("c_ts_us", time),
        ("c_ts_s", time),
        ("c_ts_ns", time),
        ("c_date", "Date32"),
        ("c_time", "Time64(µs)"),
        ("c_duration", "Utf8"),
        ("c_list_int", list_of_int),
        ("c_list_string", list_of_text),
        ("c_struct", "json"),
        ("c_map", "json"),
        ("camelCase", "Int64"),
        ("_s3_rescued", "json"),
    ];
    columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into()
}

/// The columns of the source: without those of the key and of the CLI, which stand in front of them.
fn of_source(sync: &Collected, table: &str, configuration: &str) -> Vec<(String, String)> {
    let mut columns = columns(sync, table);
    let mut in_front: Vec<String> = Vec::new();
    if configuration.ends_with("-dated") {
        assert_eq!(columns.remove(0), ("dt".to_owned(), "Date32".to_owned()), "{configuration}");
    }
    in_front.extend(columns.drain(..2).map(|(name, kind)| format!("{name} {kind}")));
    in_front.sort();
    let times = "src_cq_sync_time Timestamp(µs, \"UTC\")".to_owned();
    assert_eq!(in_front, ["src_cq_source_name Utf8".to_owned(), times], "{configuration}");
    columns
}

#[tokio::test]
async fn each_configuration_gives_the_tables_types_and_values_of_the_source() {
    let mut rig = Rig::start().await;
    put_all(&rig);
    let mut tried = 0;
    for configuration in configurations().keys() {
        let sync = synced(&mut rig, configuration, json!({"restore_types": {"tables_json": TABLES_JSON}})).await;
        let columns = of_source(&sync, SOURCE_TABLE, configuration);
        assert_eq!(columns, types_of_the_source("json", "json"), "{configuration}");
        let of_children: Vec<String> =
            of_source(&sync, SOURCE_CHILDREN, configuration).into_iter().map(|(name, _)| name).collect();
        assert_eq!(of_children, ["src_cq_id", "src_cq_parent_id", "name", "_s3_rescued"], "{configuration}");
        for table in [SOURCE_TABLE, SOURCE_CHILDREN] {
            assert_read_back(&sync, table, configuration, renamed);
        }
        tried += 1;
    }
    assert_eq!(tried, 17);
    rig.stop().assert_clean();
}

#[tokio::test]
async fn lists_of_scalars_are_lists_again_where_nested_values_travel_natively() {
    let mut rig = Rig::start().await;
    put_all(&rig);
    for configuration in ["csv-documented", "json-documented"] {
        let spec = json!({"restore_types": {"tables_json": TABLES_JSON}, "nested_as": "native"});
        let sync = synced(&mut rig, configuration, spec).await;
        let columns = of_source(&sync, SOURCE_TABLE, configuration);
        assert_eq!(columns, types_of_the_source("List(Int64)", "List(Utf8)"), "{configuration}");
        assert_read_back(&sync, SOURCE_TABLE, configuration, renamed);
    }
    rig.stop().assert_clean();
}

#[tokio::test]
async fn types_come_back_from_the_values_of_text() {
    let mut rig = Rig::start().await;
    put_all(&rig);
    for configuration in ["csv-documented", "csv-gzip-no-table", "json-documented", "json-gzip-default-rotated"] {
        let sync = synced(&mut rig, configuration, json!({"restore_types": "cloudquery"})).await;
        let types: BTreeMap<String, String> = columns(&sync, SOURCE_TABLE).into_iter().collect();
        for (name, kind) in
            RESTORED.into_iter().chain([("c_list_int", "json"), ("c_struct", "json"), ("c_map", "json")])
        {
            assert_eq!(types[name], kind, "{configuration}: {name}");
        }
        // Null in all rows; base64, which might be any text.
        assert_eq!([&types["src_cq_parent_id"], &types["c_binary"]], ["Utf8", "Utf8"], "{configuration}");
        let rows = sync.concatenated(SOURCE_TABLE);
        for name in ["_cq_id", "c_uuid", "c_json", "c_inet", "c_mac", "c_list_string", "c_map", "c_float64", "c_inf"] {
            let array = rows.column_by_name(&renamed(name)).unwrap();
            let read: Vec<Value> = (0..3).map(|row| read_back(array, row, name)).collect();
            let sent: Vec<Value> =
                sent(SOURCE_TABLE)[name].iter().map(|value| expected_of(name, value, configuration)).collect();
            assert_eq!(read, sent, "{configuration}: {name}");
        }
        // What `tables` shows is what a sync sends.
        let listed = rig.client.tables(&["*"], &[]).await.unwrap();
        let shown = listed.iter().find(|schema| schema.metadata()["cq:table_name"] == SOURCE_TABLE).unwrap();
        assert_eq!(shown.fields(), sync.schema(SOURCE_TABLE).fields(), "{configuration}");
    }
    rig.stop().assert_clean();
}

#[tokio::test]
async fn rows_of_text_keep_their_ids_and_their_parents() {
    let mut rig = Rig::start().await;
    put_all(&rig);
    let own = |name: &str| name.to_owned();
    for configuration in ["csv-documented", WITHOUT_HEADER, "json-no-table"] {
        let spec = json!({"cq_columns": "restore", "restore_types": {"tables_json": TABLES_JSON}});
        let sync = synced(&mut rig, configuration, spec).await;
        for table in [SOURCE_TABLE, SOURCE_CHILDREN] {
            assert_read_back(&sync, table, configuration, own);
        }
        let children: Vec<String> =
            of_source(&sync, SOURCE_CHILDREN, configuration).into_iter().map(|(name, _)| name).collect();
        assert_eq!(children[0], "name", "{configuration}");
    }
    let sync = synced(&mut rig, "json-documented", json!({"cq_columns": "restore"})).await;
    assert_eq!(names(&sync, SOURCE_CHILDREN), ["src_cq_source_name", "src_cq_sync_time", "name", "_s3_rescued"]);
    let sync = synced(&mut rig, "json-documented", json!({"cq_columns": "drop"})).await;
    assert_eq!(names(&sync, SOURCE_CHILDREN), ["name", "_s3_rescued"]);
    rig.stop().assert_clean();
}

/// Without a header, names are told by hand or by the description, unless that says another number of columns.
#[tokio::test]
async fn columns_of_files_without_a_header_have_names_that_are_told() {
    let mut rig = Rig::start().await;
    put_all(&rig);
    let written = ["_cq_sync_time", "_cq_source_name", "_cq_id", "_cq_parent_id", "name"];
    let spec_of_names = spec(WITHOUT_HEADER, json!({"include": ["raw/*_children/*"]}));
    let mut with_names = spec_of_names.clone();
    with_names["csv"]["names"] = json!(written);
    let by_hand = rig.sync(with_names).await;
    let mut described = spec_of_names.clone();
    described["restore_types"] = json!({"tables_json": TABLES_JSON});
    let by_description = rig.sync(described.clone()).await;
    let plain = rig.sync(spec_of_names).await;
    assert_eq!(names(&by_hand, SOURCE_CHILDREN), names(&by_description, SOURCE_CHILDREN));
    assert_eq!(names(&plain, SOURCE_CHILDREN)[..2], ["column_1", "column_2"]);
    assert_eq!(names(&by_hand, SOURCE_CHILDREN)[..2], ["src_cq_sync_time", "src_cq_source_name"]);
    // Names in the wrong places would be worse than none.
    rig.s3.bucket(WITHOUT_HEADER).put("raw/aws_all_types_children/other.csv", "a\tb\n");
    described["path"] = json!("raw/{{TABLE}}/{{*}}.{{FORMAT}}");
    let sync = rig.sync(described).await;
    let errors: Vec<&str> = sync.errors().into_iter().map(|(_, text)| text).collect();
    assert!(
        errors.iter().any(|text| {
            ["children/other.csv", "has 2 fields", "3 columns", "csv.names"].iter().all(|part| text.contains(part))
        }),
        "{errors:?}"
    );
    let log: Log = rig.stop();
    assert!(log.of_level("error").iter().any(|line| line.contains("other.csv")), "{:?}", log.of_level("error"));
}

/// What was restored from values stays, and other values than those are read as before.
#[tokio::test]
async fn restored_types_of_text_stay_and_later_values_are_rescued() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    let spec = json!({"filetype": "auto", "restore_types": "cloudquery"});
    let uuid = "00000000-0000-0000-0000-00000000000b";
    rig.s3.put("t/a.csv", format!("x,y,n\n{uuid},text,1\n"));
    let first = rig.sync_with_state(spec.clone(), &backend).await;
    assert_protocol(&first);
    let expected = [("x", "uuid"), ("y", "Utf8"), ("n", "Int64"), ("_s3_rescued", "json")];
    let expected: Vec<_> = expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into();
    assert_eq!(columns(&first, "t"), expected);
    rig.s3.put("t/b.csv", format!("x,y,n\nno uuid,{uuid},007\n"));
    let second = rig.sync_with_state(spec, &backend).await;
    assert_protocol(&second);
    assert_eq!((columns(&second, "t"), second.rows("t")), (expected, 1));
    assert_eq!(rescued(&second, "t"), [json!({"x": "no uuid", "n": "007"})]);
    let warnings = rig.stop().of_level("warn");
    assert!(warnings.len() == 1 && warnings[0].contains("2 values that their columns cannot hold"), "{warnings:?}");
}
