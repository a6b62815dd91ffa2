//! `schema: {mode: merge}`: tables of files that differ; [`from_sync_to_sync`] has how their columns change.

mod from_sync_to_sync;

use crate::rig::Rig;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use testkit::backend::{Backend, Mode};
use testkit::client::{Collected, Nested, assert_protocol, protocol_violations};
use testkit::parquet_files::{self as files, Layout};
use tonic::Code;

/// The least integer that float64 cannot hold.
const TOO_FINE: i64 = (1 << 53) + 1;

/// A file with these columns, whose readers find several row groups in it.
fn file(columns: Vec<(&str, ArrayRef)>) -> Bytes {
    let columns = columns.into_iter().map(|(name, array)| (name, true, array)).collect();
    files::write_batch(&files::batch_of(columns), &Layout { row_group_rows: Some(2), ..Layout::default() })
}

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Names and types of the columns behind the ids.
fn columns_of(schema: &SchemaRef) -> Vec<String> {
    let told = |field: &arrow::datatypes::FieldRef| {
        let extension = field.metadata().get("ARROW:extension:name").cloned();
        format!("{} {}", field.name(), extension.unwrap_or_else(|| field.data_type().to_string()))
    };
    schema.fields()[2..].iter().map(told).collect()
}

fn columns(sync: &Collected) -> Vec<String> {
    columns_of(sync.schema("t"))
}

/// The rows of table `t`, sorted: what is not null of their columns behind the ids.
fn rows(sync: &Collected) -> Vec<String> {
    let shown = |batch: &RecordBatch, row: usize| {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).skip(2).filter(|(_, array)| array.is_valid(row));
        let columns = columns.map(|(field, array)| {
            let text = match array.data_type() {
                DataType::Binary => String::from_utf8_lossy(array.as_binary::<i32>().value(row)).into_owned(),
                DataType::Timestamp(..) => {
                    let times = array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().clone();
                    let naive: ArrayRef = Arc::new(times.with_timezone_opt(None::<&str>));
                    array_value_to_string(&naive, row).unwrap()
                }
                _ => array_value_to_string(array, row).unwrap(),
            };
            format!("{}={text}", field.name())
        });
        columns.collect::<Vec<_>>().join(" ")
    };
    let batches = sync.batches("t");
    let mut rows: Vec<String> = batches
        .into_iter()
        .flat_map(|batch| (0..batch.num_rows()).map(|row| shown(batch, row)).collect::<Vec<_>>())
        .collect();
    rows.sort();
    rows
}

/// A spec with a merged schema and these other keys of `schema`.
fn merged(more: Value) -> Value {
    let mut schema = json!({"mode": "merge"});
    for (name, value) in more.as_object().expect("keys of schema") {
        schema[name] = value.clone();
    }
    json!({ "schema": schema })
}

async fn merge(files: &[(&str, Bytes)]) -> (Collected, crate::rig::Log) {
    let mut rig = Rig::start().await;
    for (key, file) in files {
        rig.s3.put(key, file.clone());
    }
    let sync = rig.sync(merged(json!({}))).await;
    assert_protocol(&sync);
    (sync, rig.stop())
}

#[tokio::test]
async fn a_strict_conflict_says_how_to_take_all_files() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/1.parquet", file(vec![("a", ints(&[1, 2, 3]))]));
    rig.s3.put("t/2.parquet", file(vec![("a", texts(&["x"]))]));
    let sync = rig.sync(json!({})).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    let status = sync.status.as_ref().expect("the stream ends with an error").message();
    for text in [error, status] {
        for part in [
            r#""t/1.parquet" and "t/2.parquet" do not agree: column "a" is int32 in the first and utf8 in the second"#,
            "Left out: 2 objects with 4 rows",
            r#"write `columns: {"a": "utf8"}` below spec"#,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Lines that can be pasted.
        assert!(text.ends_with("\nspec:\n  schema:\n    mode: merge"), "{text}");
    }
    // And they work.
    let sync = rig.sync(merged(json!({}))).await;
    assert_protocol(&sync);
    assert_eq!((columns(&sync), sync.rows("t")), (vec!["a Utf8".to_owned(), "_s3_rescued json".to_owned()], 4));
}

#[tokio::test]
async fn columns_are_united_with_joined_types_whatever_the_order_of_files() {
    let one = file(vec![("a", ints(&[1, 2, 3]))]);
    let two = file(vec![("b", texts(&["x"])), ("a", longs(&[i64::MAX]))]);
    let (sync, log) = merge(&[("t/1.parquet", one.clone()), ("t/2.parquet", two.clone())]).await;
    assert_eq!(columns(&sync), ["a Int64", "b Utf8", "_s3_rescued json"]);
    assert_eq!(rows(&sync), ["a=1", "a=2", "a=3", "a=9223372036854775807 b=x"]);
    log.assert_clean();
    let info = log.of_level("info").join("\n");
    assert!(info.contains("which are joined"), "{info}");
    // The first file by key says which column is first; the types are the same.
    let (sync, _) = merge(&[("t/2.parquet", one), ("t/1.parquet", two)]).await;
    assert_eq!(columns(&sync), ["b Utf8", "a Int64", "_s3_rescued json"]);
    assert_eq!(rows(&sync).len(), 4);
}

#[tokio::test]
async fn types_are_joined_and_what_does_not_fit_is_rescued() {
    let decimals = Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).unwrap();
    let first = file(vec![
        ("decimal", longs(&[7])),
        ("unsigned", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("time", Arc::new(Date32Array::from(vec![19_753]))),
        ("text", Arc::new(BooleanArray::from(vec![true]))),
        ("double", Arc::new(Float32Array::from(vec![0.5]))),
        ("float", longs(&[TOO_FINE])),
        ("bytes", Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"]))),
        ("dup", ints(&[1])),
    ]);
    let second = file(vec![
        ("decimal", Arc::new(decimals)),
        ("unsigned", Arc::new(Int8Array::from(vec![-5]))),
        ("time", Arc::new(TimestampMicrosecondArray::from(vec![1]))),
        ("text", ints(&[-3])),
        ("double", ints(&[i32::MAX])),
        ("float", Arc::new(Float64Array::from(vec![1e300]))),
        ("bytes", texts(&["plain"])),
        ("DUP", texts(&["x"])),
    ]);
    let (sync, log) = merge(&[("t/1.parquet", first), ("t/2.parquet", second)]).await;
    assert_eq!(
        columns(&sync),
        [
            "decimal Decimal128(21, 2)",
            "unsigned Decimal128(20, 0)",
            "time Timestamp(µs, \"UTC\")",
            "text Utf8",
            "double Float64",
            "float Float64",
            "bytes Utf8",
            "dup Utf8",
            "_s3_rescued json",
        ]
    );
    assert_eq!(
        rows(&sync),
        [
            "decimal=123.45 unsigned=-5 time=1970-01-01T00:00:00.000001 text=-3 double=2147483647.0 float=1e300 \
             bytes=plain dup=x",
            "decimal=7.00 unsigned=18446744073709551615 time=2024-01-31T00:00:00 text=true double=0.5 bytes=AP8= dup=1 \
             _s3_rescued={\"float\":9007199254740993}",
        ]
    );
    let warnings = log.of_level("warn");
    assert!(warnings.iter().any(|line| line.contains("base64")), "{warnings:?}");
    let counted = r#"1 value that its column cannot hold is in the rescue column (\"float\": 1)"#;
    assert!(warnings.iter().any(|line| line.contains(counted)), "{warnings:?}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[tokio::test]
async fn structs_are_united_field_by_field_or_are_json() {
    let place = |columns: Vec<(&str, ArrayRef)>| -> ArrayRef { Arc::new(files::struct_of(columns, None)) };
    let mut rig = Rig::start().await;
    rig.s3.put("t/1.parquet", file(vec![("s", place(vec![("x", ints(&[1]))])), ("n", ints(&[1]))]));
    rig.s3.put(
        "t/2.parquet",
        file(vec![("s", place(vec![("y", texts(&["q"])), ("x", longs(&[2]))])), ("n", place(vec![("z", ints(&[3]))]))]),
    );
    let sync = rig.sync(merged(json!({}))).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync), ["s json", "n json", "_s3_rescued json"]);
    assert_eq!(rows(&sync), [r#"s={"x":1} n=1"#, r#"s={"y":"q","x":2} n={"z":3}"#]);
    let mut native = merged(json!({}));
    native["nested_as"] = "native".into();
    let sync = rig.sync(native).await;
    assert_eq!(protocol_violations(&sync, Nested::Native), Vec::<String>::new());
    let DataType::Struct(fields) = sync.schema("t").field(2).data_type().clone() else { panic!("a struct") };
    let told: Vec<String> = fields.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(told, ["x Int64", "y Utf8"]);
    assert_eq!(rows(&sync), ["s={x: 1, y: } n=1", r#"s={x: 2, y: q} n={"z":3}"#]);
}

#[tokio::test]
async fn values_that_do_not_fit_by_choice() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/1.parquet", file(vec![("a", longs(&[1, 2, 3, TOO_FINE]))]));
    rig.s3.put("t/2.parquet", file(vec![("a", Arc::new(Float64Array::from(vec![0.5])))]));
    let sync = rig.sync(merged(json!({"on_mismatch": null, "rescue_column": "none"}))).await;
    assert_protocol(&sync);
    assert_eq!(
        (columns(&sync), rows(&sync)),
        (vec!["a Float64".to_owned()], ["", "a=0.5", "a=1.0", "a=2.0", "a=3.0"].map(str::to_owned).to_vec())
    );
    let sync = rig.sync(merged(json!({"on_mismatch": "fail"}))).await;
    assert_eq!(sync.status.as_ref().unwrap().code(), Code::DataLoss);
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    for part in ["t/1.parquet", "row group 1", r#"column "a""#, "row 3 of the object", "float64", "on_mismatch"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(rows(&sync), ["a=0.5", "a=1.0", "a=2.0"], "rows before it");
    let warned = rig.stop().of_level("warn").join("\n");
    assert!(warned.contains("1 value that its column cannot hold became null"), "{warned}");
}

#[tokio::test]
async fn what_a_sync_announces_get_tables_shows() {
    let mut rig = Rig::start().await;
    rig.s3.put("t/1.parquet", file(vec![("a", ints(&[1]))]));
    rig.s3.put("t/2.parquet", file(vec![("A", longs(&[1])), ("b", texts(&["x"]))]));
    rig.init(merged(json!({"rescue_column": "rest"}))).await;
    let tables = rig.client.tables(&["*"], &[]).await.unwrap();
    assert_eq!(columns_of(&tables[0]), ["a Int64", "b Utf8", "rest json"]);
    let sync = rig.client.sync(&["*"], &[]).await;
    assert_eq!((columns_of(&tables[0]), rows(&sync)), (columns(&sync), vec!["a=1".to_owned(), "a=1 b=x".to_owned()]));
}

#[tokio::test]
async fn more_columns_than_destinations_take_are_rescued() {
    let names: Vec<String> = (0..1_700).map(|n| format!("c{n:04}")).collect();
    let wide = file(names.iter().map(|name| (name.as_str(), ints(&[7]))).collect());
    let (sync, log) = merge(&[("t/1.parquet", wide)]).await;
    // Our two ids and the CLI's two columns count.
    assert_eq!(sync.schema("t").fields().len(), 1_600 - 2);
    let row = rows(&sync).remove(0);
    let rescued: Value = serde_json::from_str(row.split_once("_s3_rescued=").unwrap().1).unwrap();
    assert_eq!(rescued.as_object().unwrap().len(), 1_700 - 1_595);
    assert_eq!((&rescued["c1595"], &rescued["c1699"]), (&json!(7), &json!(7)));
    let warnings = log.of_level("warn");
    assert!(
        warnings[0].contains("1600 columns") && warnings[0].contains("105 columns are for the rescue column"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[tokio::test]
async fn rows_whose_values_are_large_are_rescued_in_batches_that_fit() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("t/1.parquet", file(vec![("a", ints(&[1]))]));
    rig.sync_with_state(merged(json!({})), &backend).await;
    // 40 MB of text in one row group, where the table has integers.
    let large = "x".repeat(100_000);
    let array: ArrayRef = Arc::new(StringArray::from_iter_values((0..400).map(|n| format!("{n} {large}"))));
    let batch = files::batch_of(vec![("a", true, array)]);
    rig.s3.put("t/2.parquet", files::write_batch(&batch, &Layout::default()));
    let sync = rig.sync_with_state(merged(json!({})), &backend).await;
    assert_protocol(&sync);
    assert_eq!((sync.rows("t"), sync.schema("t").field(2).data_type()), (400, &DataType::Int32));
    let row = rows(&sync).remove(0);
    assert!(row.starts_with("_s3_rescued={\"a\":\"0 xxx"), "{}", &row[..40]);
    let most = sync.batches("t").iter().map(|batch| batch.num_rows()).max().unwrap();
    assert!(most <= 84, "{most} rows of a message");
}

#[tokio::test]
async fn a_mapping_has_a_schema_of_its_own() {
    let mut rig = Rig::start().await;
    for table in ["t", "u"] {
        rig.s3.put(&format!("{table}/1.parquet"), file(vec![("a", ints(&[1]))]));
        rig.s3.put(&format!("{table}/2.parquet"), file(vec![("a", longs(&[1])), ("b", ints(&[2]))]));
    }
    let mappings = json!([
        {"glob": "t/**", "table": "t", "schema": {"mode": "merge"}},
        {"glob": "u/**", "table": "u"},
    ]);
    let sync = rig.sync(json!({"mappings": mappings, "schema": {"rescue_column": "rest"}})).await;
    assert_eq!((columns(&sync), sync.rows("t")), (["a Int64", "b Int32", "rest json"].map(str::to_owned).to_vec(), 2));
    let [("u", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains("do not agree"), "{error}");
}

/// The files that other writers made, by their paths below `tests/fixtures/writers`.
fn files_of_writers() -> Vec<(String, Bytes)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/writers")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                let name = path.to_str().unwrap().split("writers/").last().unwrap().replace('/', "-");
                found.push((name, Bytes::from(std::fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

/// How many values a table has in the columns of files, those in the rescue column included.
fn values(sync: &Collected, table: &str) -> usize {
    let mut values = 0;
    for batch in sync.batches(table) {
        let schema = batch.schema();
        for (field, array) in schema.fields().iter().zip(batch.columns()).skip(2) {
            if field.name() != "_s3_rescued" {
                values += array.len() - array.logical_nulls().map_or(0, |nulls| nulls.null_count());
                continue;
            }
            for text in array.as_binary::<i32>().iter().flatten() {
                values += serde_json::from_slice::<Value>(text).unwrap().as_object().unwrap().len();
            }
        }
    }
    values
}

/// Whatever writers made: as one table it has the rows and the values of all files.
#[tokio::test]
async fn files_of_all_writers_are_one_table_and_no_value_is_lost() {
    let mut rig = Rig::start().await;
    let files = files_of_writers();
    for (name, file) in &files {
        rig.s3.put(&format!("{}/x.parquet", name.replace('.', "-")), file.clone());
    }
    let apart = rig.sync(json!({})).await;
    assert!(apart.tables().len() > 20, "{:?}", apart.errors());
    let tables = apart.tables();
    let (rows, expected): (usize, usize) =
        tables.iter().fold((0, 0), |(rows, sum), table| (rows + apart.rows(table), sum + values(&apart, table)));
    for (name, file) in &files {
        rig.s3.delete(&format!("{}/x.parquet", name.replace('.', "-")));
        rig.s3.put(&format!("t/{name}"), file.clone());
    }
    let sync = rig.sync(merged(json!({}))).await;
    assert_eq!(sync.errors().len(), apart.errors().len(), "{:?}", sync.errors());
    assert_eq!(protocol_violations(&sync, Nested::AsJson), Vec::<String>::new());
    assert_eq!((sync.rows("t"), values(&sync, "t")), (rows, expected));
    assert!(sync.schema("t").fields().len() > 20 && expected > rows);
}
