//! Columns that the spec sets by hand: left out, renamed, of other types; and what CloudQuery's own files lost on their way.

use crate::rig::{Rig, versioned};
use arrow::array::{Array as _, ArrayRef, AsArray as _, BinaryArray, Int64Array, ListArray, StringArray};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int8Type, Int64Type, TimestampMicrosecondType};
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::client::{Collected, assert_protocol};
use testkit::parquet_files::{self as files, Layout};

/// The columns of a table behind the two ids: name and type, an extension's name before its storage.
pub fn columns(sync: &Collected, table: &str) -> Vec<(String, String)> {
    let of_field = |field: &arrow::datatypes::FieldRef| {
        let extension = field.metadata().get("ARROW:extension:name").cloned();
        (field.name().clone(), extension.unwrap_or_else(|| field.data_type().to_string()))
    };
    sync.schema(table).fields().iter().skip(2).map(of_field).collect()
}

pub fn names(sync: &Collected, table: &str) -> Vec<String> {
    columns(sync, table).into_iter().map(|(name, _)| name).collect()
}

pub fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().collect::<StringArray>())
}

pub fn file(columns: Vec<(&str, ArrayRef)>) -> bytes::Bytes {
    let columns = columns.into_iter().map(|(name, array)| (name, true, array)).collect();
    files::write_batch(&files::batch_of(columns), &Layout::default())
}

/// The rows of the rescue column.
pub fn rescued(sync: &Collected, table: &str) -> Vec<Value> {
    let rows = sync.concatenated(table);
    let rescued = rows.column_by_name("_s3_rescued").expect("a rescue column").as_binary::<i32>().clone();
    rescued.iter().map(|json| json.map_or(Value::Null, |json| serde_json::from_slice(json).unwrap())).collect()
}

#[tokio::test]
async fn a_dropped_column_is_neither_announced_nor_fetched() {
    let mut rig = Rig::start().await;
    // 12 MiB of filler and 100 KiB of the rest, in 12 row groups; and a small object, which is fetched whole.
    let large = versioned("a", 12_000, 1_000, Some(1_000));
    let (large_bytes, small) = (large.len() as u64, versioned("b", 10, 1_000, None));
    let small_bytes = small.len() as u64;
    rig.s3.put("t/large.parquet", large);
    rig.s3.put("t/small.parquet", small);
    let all = rig.sync(json!({})).await;
    assert_eq!(names(&all, "t"), ["row", "origin", "filler"]);
    rig.s3.reset_counts();
    let sync = rig.sync(json!({"columns": {"filler": {"drop": true}}})).await;
    assert_protocol(&sync);
    assert_eq!((names(&sync, "t"), sync.rows("t")), (vec!["row".to_owned(), "origin".to_owned()], 12_010));
    let fetched: u64 = rig.s3.gets_of("t/large.parquet").iter().map(|get| get.bytes_sent).sum();
    assert!(large_bytes > 12_000_000 && fetched < 500_000, "{fetched} of {large_bytes} bytes");
    let fetched: u64 = rig.s3.gets_of("t/small.parquet").iter().map(|get| get.bytes_sent).sum();
    assert_eq!(fetched, small_bytes, "one GET of all is less than two of parts");
    // The other values are those of before, and so are the ids.
    let (all, left) = (all.concatenated("t"), sync.concatenated("t"));
    for name in ["_cq_id", "row", "origin"] {
        let (before, after) = (sorted(all.column_by_name(name).unwrap()), sorted(left.column_by_name(name).unwrap()));
        assert_eq!(before.to_data(), after.to_data(), "{name}");
    }
    rig.stop().assert_clean();
}

fn sorted(array: &ArrayRef) -> ArrayRef {
    arrow::compute::sort(array, None).unwrap()
}

/// What is dropped may be damaged, nested, or read twice: nobody looks.
#[tokio::test]
async fn what_is_dropped_does_not_matter() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/nested.parquet", files::nested(50, 1));
    let sync = rig.sync(json!({"columns": {"payload": {"drop": true}, "labels": {"drop": true}}})).await;
    assert_protocol(&sync);
    let left = names(&sync, "t");
    assert!(left.contains(&"items".to_owned()) && !left.iter().any(|name| name == "payload" || name == "labels"));
    assert_eq!(sync.rows("t"), 50);
    // Files that differ in nothing but a dropped column are one table.
    let a = file(vec![("id", Arc::new(Int64Array::from(vec![1]))), ("x", texts(&[Some("a")]))]);
    let b = file(vec![("x", Arc::new(Int64Array::from(vec![5]))), ("id", Arc::new(Int64Array::from(vec![2])))]);
    rig.s3.put("u/a.parquet", a);
    rig.s3.put("u/b.parquet", b);
    rig.s3.put("u/c.parquet", file(vec![("id", Arc::new(Int64Array::from(vec![3])))]));
    let sync = rig.sync(json!({"columns": {"x": {"drop": true}}, "include": ["u/*"]})).await;
    assert_protocol(&sync);
    assert_eq!((names(&sync, "u"), sync.rows("u")), (vec!["id".to_owned()], 3));
    // A table of ids alone.
    let sync = rig.sync(json!({"columns": {"x": {"drop": true}, "id": {"drop": true}}, "include": ["u/*"]})).await;
    assert_protocol(&sync);
    assert_eq!((names(&sync, "u"), sync.rows("u")), (Vec::<String>::new(), 3));
}

#[tokio::test]
async fn names_are_given_and_others_make_room() {
    let mut rig = Rig::start().await;
    let number = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n])) };
    rig.s3.put("t/a.parquet", file(vec![("Total", number(1)), ("x", number(2)), ("x", number(3)), ("y", number(4))]));
    let spec = json!({"columns": {"x": {"name": "total"}, "x#2": {"name": "größe"}, "y": {"drop": true}}});
    let sync = rig.sync(spec).await;
    assert_protocol(&sync);
    assert_eq!(names(&sync, "t"), ["Total_2", "total", "größe"]);
    let rows = sync.concatenated("t");
    let value = |name: &str| rows.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
    assert_eq!((value("Total_2"), value("total"), value("größe")), (1, 2, 3));
    rig.stop().assert_clean();
}

#[tokio::test]
async fn types_are_set_and_what_does_not_fit_is_rescued() {
    let mut rig = Rig::start().await;
    let list =
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), Some(vec![Some(300)]), None]);
    let text = |a, b, c| texts(&[a, b, c]);
    rig.s3.put(
        "t/a.parquet",
        file(vec![
            ("zip", text(Some("007"), Some("x7"), Some(""))),
            ("month", text(Some("01"), Some("x"), None)),
            ("amount", text(Some("1e-06"), Some("12345678901234.56789"), Some("-"))),
            ("since", text(Some("31.12.2025"), Some("2025-12-31"), Some("01.01.2026"))),
            ("at", text(Some("2026-01-01 00:30:00"), Some("2026-01-01T00:30:00Z"), Some("soon"))),
            ("ms", Arc::new(Int64Array::from(vec![Some(1_500), None, Some(i64::MAX)]))),
            ("flag", text(Some("true"), Some("FALSE"), Some("yes"))),
            ("big", Arc::new(Int64Array::from(vec![127, 128, -128]))),
            ("doc", text(Some("{\"a\": 1}"), Some("[]"), Some("{"))),
            ("id", text(Some("12345678-90AB-cdef-1234-567890abcdef"), Some("nope"), None)),
            ("ip", text(Some("10.0.0.1"), Some("2001:db8::/64"), Some("10.0.0.1/33"))),
            ("mac", text(Some("aa:bb:cc:dd:ee:ff"), Some("AA-BB-CC-DD-EE-01"), Some("aa:bb"))),
            ("blob", text(Some("AP8Q"), Some("!"), Some(""))),
            ("raw", Arc::new(BinaryArray::from(vec![b"text".as_slice(), b"\xff", b""]))),
            ("list", Arc::new(list)),
        ]),
    );
    let sync = rig
        .sync(json!({"columns": {
            "zip": {"type": "text", "null_values": [""]},
            "month": "int64",
            "amount": {"type": "decimal(12, 6)", "null_values": ["-"]},
            "since": {"type": "date", "format": "%d.%m.%Y"},
            "at": {"type": "timestamp", "timezone": "+01:00"},
            "ms": {"type": "timestamp", "unit": "ms"},
            "flag": "bool", "big": "int8", "doc": "json", "id": "uuid", "ip": "inet", "mac": "mac", "blob": "binary",
            "raw": "text", "list": "list<int8>", "new": "date",
        }}))
        .await;
    assert_protocol(&sync);
    let types = columns(&sync, "t");
    let types: Vec<(&str, &str)> = types.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(
        types,
        [
            ("zip", "Utf8"),
            ("month", "Int64"),
            ("amount", "Decimal128(12, 6)"),
            ("since", "Date32"),
            ("at", "Timestamp(µs, \"UTC\")"),
            ("ms", "Timestamp(µs, \"UTC\")"),
            ("flag", "Boolean"),
            ("big", "Int8"),
            ("doc", "json"),
            ("id", "uuid"),
            ("ip", "inet"),
            ("mac", "mac"),
            ("blob", "Binary"),
            ("raw", "Utf8"),
            ("list", "List(Int8)"),
            ("new", "Date32"),
            ("_s3_rescued", "json"),
        ]
    );
    let rows = sync.concatenated("t");
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    assert_eq!(column("zip").as_string::<i32>().iter().collect::<Vec<_>>(), [Some("007"), Some("x7"), None]);
    assert_eq!(column("month").as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, None]);
    assert_eq!(column("amount").as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [Some(1), None, None]);
    let days = |n: i32| Some(n);
    assert_eq!(
        column("since").as_primitive::<Date32Type>().iter().collect::<Vec<_>>(),
        [days(20_453), None, days(20_454)]
    );
    let at: Vec<_> = column("at").as_primitive::<TimestampMicrosecondType>().iter().collect();
    let midnight = 20_454 * 86_400_000_000_i64;
    assert_eq!(at, [Some(midnight - 1_800_000_000), Some(midnight + 1_800_000_000), None]);
    let ms: Vec<_> = column("ms").as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(ms, [Some(1_500_000), None, None]);
    assert_eq!(column("flag").as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false), None]);
    assert_eq!(column("big").as_primitive::<Int8Type>().iter().collect::<Vec<_>>(), [Some(127), None, Some(-128)]);
    let bytes = |name: &str| -> Vec<Option<Vec<u8>>> {
        column(name).as_binary::<i32>().iter().map(|value| value.map(<[u8]>::to_vec)).collect()
    };
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    assert_eq!(bytes("doc"), [some(b"{\"a\": 1}"), some(b"[]"), None]);
    assert_eq!(bytes("ip"), [some(b"10.0.0.1/32"), some(b"2001:db8::/64"), None]);
    assert_eq!(
        bytes("mac"),
        [some(&[0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]), some(&[0xaa, 0xbb, 0xcc, 0xdd, 0xee, 1]), None]
    );
    assert_eq!(bytes("blob"), [some(&[0, 255, 16]), None, some(b"")]);
    assert_eq!(column("raw").as_string::<i32>().iter().collect::<Vec<_>>(), [Some("text"), None, Some("")]);
    assert_eq!(column("new").null_count(), 3);
    let list = column("list");
    let list = list.as_list::<i32>();
    assert_eq!(list.value(0).as_primitive::<Int8Type>().iter().collect::<Vec<_>>(), [Some(1), None]);
    assert!(list.value(1).is_null(0) && list.is_null(2));

    assert_eq!(
        rescued(&sync, "t"),
        [
            Value::Null,
            json!({"month": "x", "amount": "12345678901234.56789", "since": "2025-12-31", "big": 128, "id": "nope",
                   "blob": "!", "raw": "/w==", "list": [300]}),
            json!({"at": "soon", "ms": i64::MAX, "flag": "yes", "doc": "{", "ip": "10.0.0.1/33", "mac": "aa:bb"}),
        ]
    );
    let log = rig.stop();
    let warnings = log.of_level("warn");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("amount") && warnings[0].contains("rescue column"), "{warnings:?}");
}

#[tokio::test]
async fn without_a_rescue_column_what_does_not_fit_is_null_and_counted() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", file(vec![("n", texts(&[Some("1"), Some("x"), None]))]));
    let spec = json!({"columns": {"n": "int"}, "schema": {"rescue_column": "none", "on_mismatch": "null"}});
    let sync = rig.sync(spec).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "t"), [("n".to_owned(), "Int64".to_owned())]);
    let rows = sync.concatenated("t");
    assert_eq!(rows.column(2).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None, None]);
    let warnings = rig.stop().of_level("warn");
    assert!(
        warnings.len() == 1 && warnings[0].contains("\\\"n\\\": 1") && warnings[0].contains("became null"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_type_that_a_column_can_never_have_is_that_objects_error() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/a.parquet", files::nested(5, 1));
    rig.s3.put("u/a.parquet", file(vec![("n", Arc::new(Int64Array::from(vec![1])))]));
    let sync = rig.sync(json!({"columns": {"payload": "int64", "n": "timestamp"}})).await;
    let errors: Vec<&str> = sync.errors().into_iter().map(|(_, text)| text).collect();
    assert!(
        errors.iter().any(|text| text.contains("t/a.parquet")
            && text.contains("column \"payload\": it is json in this file, which is never int64")),
        "{errors:?}"
    );
    assert!(
        errors.iter().any(|text| text.contains("column \"n\": it is int64 in this file: give `unit`")),
        "{errors:?}"
    );
    let nested = rig.sync(json!({"columns": {"payload": "text"}, "include": ["t/*"]})).await;
    assert_protocol(&nested);
    let rows = nested.concatenated("t");
    let payload = rows.column_by_name("payload").unwrap().as_string::<i32>().value(1).to_owned();
    assert!(serde_json::from_str::<Value>(&payload).unwrap().is_object(), "{payload}");
    assert_eq!(rows.column_by_name("payload").unwrap().data_type(), &DataType::Utf8);
}

#[tokio::test]
async fn a_mapping_has_columns_of_its_own_beside_those_of_all() {
    let mut rig = Rig::start().await;
    let object = || file(vec![("a", texts(&[Some("1")])), ("b", texts(&[Some("2")])), ("c", texts(&[Some("3")]))]);
    rig.s3.put("x/dt=2026-01-31/a.parquet", object());
    rig.s3.put("y/a.parquet", object());
    let spec = json!({
        "columns": {"a": "int64", "b": {"drop": true}},
        "mappings": [{"glob": "x/**", "table": "x", "partitions": "hive", "columns": {"b": {"name": "renamed"}, "c": "int8"}}],
        "unmapped": "folder",
    });
    let sync = rig.sync(spec).await;
    assert_protocol(&sync);
    let shown = |table: &str| -> Vec<String> {
        columns(&sync, table).into_iter().map(|(name, kind)| format!("{name} {kind}")).collect()
    };
    assert_eq!(shown("x"), ["dt Date32", "a Int64", "renamed Utf8", "c Int8", "_s3_rescued json"]);
    assert_eq!(shown("y"), ["a Int64", "c Utf8", "_s3_rescued json"]);
    rig.stop().assert_clean();
}
