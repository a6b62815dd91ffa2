//! `schema: {mode: merge}`: tables of files that differ, and how their columns change from sync to sync.

use crate::rig::{COMMIT_TABLE, Rig, state_request};
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
use testkit::backend::{Backend, Method, Mode, Trouble};
use testkit::client::{Collected, Nested, assert_protocol, protocol_violations};
use testkit::parquet_files::{self as files, Layout};
use testkit::s3_server::Op;
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
            r#""t/1.parquet" and "t/2.parquet" do not agree: column "a" is int32 in the first and string in the second"#,
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
    let counted = r#"1 values that their columns cannot hold are in the rescue column (\"float\": 1)"#;
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
    assert!(warned.contains("values that their columns cannot hold became null"), "{warned}");
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
    assert!(warnings[0].contains("1600 columns") && warnings[0].contains("105 columns go into"), "{warnings:?}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

#[tokio::test]
async fn columns_of_the_key_count_once_among_those_that_destinations_take() {
    let mut lake = Lake::start().await;
    let wide = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("c{n:04}")).collect();
        file(names.iter().map(|name| (name.as_str(), ints(&[7]))).collect())
    };
    let mut spec = merged(json!({}));
    spec["partitions"] = "hive".into();
    lake.rig.s3.put("t/dt=1/1.parquet", wide(10));
    let first = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_eq!(first.schema("t").fields().len(), 2 + 1 + 10 + 1);
    // The key's column is one that the table has.
    lake.rig.s3.put("t/dt=2/1.parquet", wide(1_700));
    let full = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_eq!(full.schema("t").fields().len(), 1_600 - 2, "all that the CLI's two leave");
    // Another one finds no room.
    lake.rig.s3.put("t/dt=3/region=eu/1.parquet", wide(10));
    let later = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_protocol(&later);
    assert_eq!((later.schema("t").clone(), later.rows("t")), (full.schema("t").clone(), 1));
    let log = lake.rig.stop();
    let warned = log.of_level("warn").join("\n");
    assert!(
        warned.contains(r#"more than 1600 columns, which destinations do not take: the key's \"region\""#),
        "{warned}"
    );
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

/// A bucket with a backend.
struct Lake {
    rig: Rig,
    backend: Backend,
}

impl Lake {
    async fn start() -> Self {
        Self { rig: Rig::start().await, backend: Backend::start(Mode::Upsert).await }
    }

    fn put(&self, key: &str, columns: Vec<(&str, ArrayRef)>) {
        self.rig.s3.put(key, file(columns));
    }

    /// A sync that must end well.
    async fn sync(&mut self, schema: Value) -> Collected {
        let sync = self.any_sync(schema).await;
        assert_protocol(&sync);
        sync
    }

    /// How many objects were looked at by the last sync.
    fn gets(&self) -> usize {
        self.rig.s3.requests().iter().filter(|request| request.op == Op::Get).count()
    }

    async fn any_sync(&mut self, schema: Value) -> Collected {
        self.rig.s3.reset_counts();
        self.rig.sync_with_state(merged(schema), &self.backend).await
    }
}

#[tokio::test]
async fn columns_come_at_the_end_and_old_ones_keep_their_names_and_places() {
    let mut lake = Lake::start().await;
    lake.put("t/5.parquet", vec![("a", ints(&[1])), ("id", texts(&["i"]))]);
    assert_eq!(columns(&lake.sync(json!({})).await), ["a Int32", "id Utf8", "_s3_rescued json"]);
    // Its key is the first one now, and it changes nothing of what there is.
    lake.put("t/1.parquet", vec![("b", texts(&["x"])), ("ID", texts(&["j"])), ("a", ints(&[2]))]);
    let second = lake.sync(json!({})).await;
    assert_eq!(columns(&second), ["a Int32", "id Utf8", "_s3_rescued json", "b Utf8"]);
    assert_eq!(rows(&second), ["a=2 id=j b=x"], "what was sent is not sent again");
    lake.put("t/0.parquet", vec![("c", ints(&[9])), ("b", ints(&[5]))]);
    let third = lake.sync(json!({})).await;
    assert_eq!(columns(&third), ["a Int32", "id Utf8", "_s3_rescued json", "b Utf8", "c Int32"]);
    assert_eq!(rows(&third), ["b=5 c=9"]);
    let fourth = lake.sync(json!({})).await;
    assert_eq!((columns(&fourth), lake.gets()), (columns(&third), 0));
    lake.rig.stop().assert_clean();
}

/// Columns that a table has keep their names and meanings: two names that were one stay what they were, and are told apart from
/// the first file on that has both.
#[tokio::test]
async fn names_that_differ_in_case_become_two_columns_once_and_stay_two() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("id", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("ID", ints(&[2]))]);
    assert_eq!(rows(&lake.sync(json!({})).await), ["id=2"]);
    lake.put("t/3.parquet", vec![("id", ints(&[3])), ("ID", ints(&[30]))]);
    let parted = lake.sync(json!({})).await;
    assert_eq!(columns(&parted), ["id Int32", "_s3_rescued json", "ID_2 Int32"]);
    assert_eq!(rows(&parted), ["id=3 ID_2=30"]);
    for (key, name, row) in [("t/4.parquet", "ID", "ID_2=4"), ("t/5.parquet", "id", "id=4")] {
        lake.put(key, vec![(name, ints(&[4]))]);
        let sync = lake.sync(json!({})).await;
        assert_eq!((columns(&sync), rows(&sync)), (columns(&parted), vec![row.to_owned()]));
    }
    let warned = lake.rig.stop().of_level("warn");
    assert!(warned.len() == 1 && warned[0].contains(r#"\"ID\" beside \"id\" since \"t/3.parquet\""#), "{warned:?}");
}

#[tokio::test]
async fn new_columns_by_choice() {
    for (choice, columns_then, row) in [
        ("rescue", vec!["a Int32", "_s3_rescued json"], r#"a=2 _s3_rescued={"b":"x"}"#),
        ("ignore", vec!["a Int32", "_s3_rescued json"], "a=2"),
    ] {
        let mut lake = Lake::start().await;
        lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
        lake.sync(json!({})).await;
        lake.put("t/2.parquet", vec![("a", ints(&[2])), ("b", texts(&["x"]))]);
        let sync = lake.sync(json!({"new_columns": choice})).await;
        assert_eq!(
            (columns(&sync), rows(&sync)),
            (columns_then.iter().map(ToString::to_string).collect(), vec![row.to_owned()])
        );
    }
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", ints(&[2])), ("b", texts(&["x"]))]);
    let sync = lake.any_sync(json!({"new_columns": "fail"})).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    assert!(error.contains(r#""t/2.parquet" has the column "b""#) && error.contains("new_columns"), "{error}");
    assert!(!sync.tables().contains(&"t".to_owned()));
}

#[tokio::test]
async fn a_choice_that_loses_less_reads_all_objects_again() {
    // What was null comes into the rescue column.
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", longs(&[TOO_FINE]))]);
    lake.put("t/2.parquet", vec![("a", Arc::new(Float64Array::from(vec![0.5])))]);
    assert_eq!(rows(&lake.sync(json!({"on_mismatch": null})).await), ["", "a=0.5"]);
    let rescued = [r#"_s3_rescued={"a":9007199254740993}"#, "a=0.5"];
    assert_eq!(rows(&lake.sync(json!({})).await), rescued);
    assert_eq!(
        (lake.sync(json!({"on_mismatch": "fail"})).await.rows("t"), lake.gets()),
        (0, 0),
        "no row is another one"
    );
    // What was rescued or left out becomes a column, but not the other way round.
    lake.put("t/3.parquet", vec![("a", longs(&[1])), ("b", texts(&["x"]))]);
    assert_eq!(rows(&lake.sync(json!({"new_columns": "rescue"})).await), [r#"a=1.0 _s3_rescued={"b":"x"}"#]);
    lake.put("t/4.parquet", vec![("a", longs(&[2])), ("c", texts(&["y"]))]);
    assert_eq!(rows(&lake.sync(json!({"new_columns": "ignore"})).await), ["a=2.0"]);
    let added = lake.sync(json!({})).await;
    assert_eq!(columns(&added), ["a Float64", "b Utf8", "c Utf8", "_s3_rescued json"]);
    assert_eq!(rows(&added), [rescued[0], rescued[1], "a=1.0 b=x", "a=2.0 c=y"]);
    assert_eq!((lake.sync(json!({})).await.rows("t"), lake.gets()), (0, 0));
    let log = lake.rig.stop();
    let anew = |line: &&String| line.contains("columns changed with an option");
    assert_eq!(log.of_level("warn").iter().filter(anew).count(), 2, "{:?}", log.of_level("warn"));
}

#[tokio::test]
async fn a_type_that_changes_is_kept_widened_or_refused() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1, 2, 3]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", texts(&["x", "7"]))]);
    let sync = lake.any_sync(json!({"on_type_change": "fail"})).await;
    let [("t", error)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
    for part in ["\"a\"", "string in \"t/2.parquet\"", "on_type_change", "Left out: 1 objects with 2 rows"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!sync.tables().contains(&"t".to_owned()) && sync.rows("t") == 0, "nothing is sent");
    let kept = lake.sync(json!({})).await;
    assert_eq!(columns(&kept), ["a Int32", "_s3_rescued json"]);
    assert_eq!(rows(&kept), [r#"_s3_rescued={"a":"7"}"#, r#"_s3_rescued={"a":"x"}"#]);
    // Of integers those that fit.
    lake.put("t/3.parquet", vec![("a", longs(&[4, i64::MAX]))]);
    assert_eq!(rows(&lake.sync(json!({})).await), [r#"_s3_rescued={"a":9223372036854775807}"#, "a=4"]);
    // Only what is new says that types changed: what was rescued stays so until then.
    lake.put("t/4.parquet", vec![("a", texts(&["y"]))]);
    let widened = lake.sync(json!({"on_type_change": "widen"})).await;
    assert_eq!(columns(&widened), ["a Utf8", "_s3_rescued json"]);
    let all = ["a=1", "a=2", "a=3", "a=4", "a=7", "a=9223372036854775807", "a=x", "a=y"];
    assert_eq!(rows(&widened), all, "all objects are read again");
    let sync = lake.sync(json!({"on_type_change": "widen"})).await;
    assert_eq!((columns(&sync), sync.rows("t"), lake.gets()), (columns(&widened), 0, 0));
    let warned = lake.rig.stop().of_level("warn");
    let line = warned.iter().find(|line| line.contains("migrate_mode: forced")).expect("a line about wider types");
    assert!(line.contains(r#"int32 → utf8"#) && line.contains("t/2.parquet"), "{line}");
    assert!(!warned.iter().any(|line| line.contains("changed with an option")), "{warned:?}");
}

/// The destination has the state, too, and refuses the migrate that was sent before: another try would change nothing.
#[tokio::test]
async fn a_destination_that_refuses_wider_types_ends_the_sync_at_once() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", texts(&["x"]))]);
    lake.backend.trouble(Method::Insert, Trouble::MigrationRefused, usize::from(u8::MAX));
    let started = std::time::Instant::now();
    let sync = lake.any_sync(json!({"on_type_change": "widen"})).await;
    let status = sync.status.as_ref().expect("it fails").message();
    for part in ["require migration", r#"it needs `migrate_mode: forced`: "t""#] {
        assert!(status.contains(part), "{part}: {status}");
    }
    assert!(started.elapsed().as_secs() < 20, "tried again for {:?}", started.elapsed());
    let warned = lake.rig.stop().of_level("warn").join("\n");
    assert!(!warned.contains("it is tried again"), "{warned}");
}

#[tokio::test]
async fn another_mode_makes_the_columns_anew_and_says_so() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    let strict = lake.rig.sync_with_state(json!({}), &lake.backend).await;
    assert_eq!(columns(&strict), ["a Int32"]);
    let sync = lake.sync(json!({})).await;
    assert_eq!(
        (columns(&sync), rows(&sync)),
        (vec!["a Int32".to_owned(), "_s3_rescued json".to_owned()], vec!["a=1".to_owned()])
    );
    let again = lake.sync(json!({})).await;
    assert_eq!((again.rows("t"), lake.gets()), (0, 0));
    // An option that changes no column changes nothing.
    assert_eq!(lake.sync(json!({"new_columns": "fail"})).await.rows("t"), 0);
    let renamed = lake.sync(json!({"rescue_column": "rest"})).await;
    assert_eq!((columns(&renamed), renamed.rows("t")), (vec!["a Int32".to_owned(), "rest json".to_owned()], 1));
    let warned = lake.rig.stop().of_level("warn");
    assert!(
        warned.iter().all(|line| line.contains("columns changed with an option")) && warned.len() == 2,
        "{warned:?}"
    );
}

#[tokio::test]
async fn what_an_object_had_sent_before_it_failed_is_not_sent_again() {
    let mut lake = Lake::start().await;
    lake.put("t/1.parquet", vec![("a", ints(&[1]))]);
    lake.sync(json!({})).await;
    lake.put("t/2.parquet", vec![("a", longs(&[1, 2, 3, i64::MAX]))]);
    let failing = json!({"on_mismatch": "fail"});
    let sync = lake.any_sync(failing).await;
    assert_eq!((rows(&sync), sync.errors().len()), (vec!["a=1".to_owned(), "a=2".to_owned()], 1));
    let rest = lake.sync(json!({})).await;
    assert_eq!(rows(&rest), [r#"_s3_rescued={"a":9223372036854775807}"#, "a=3"]);
}

#[tokio::test]
async fn shards_share_the_columns_of_all_objects() {
    let mut lake = Lake::start().await;
    for n in 0..8 {
        let array = if n == 3 { longs(&[i64::MAX]) } else { ints(&[n]) };
        lake.put(&format!("t/{n}.parquet"), vec![("a", array)]);
    }
    lake.rig.init(merged(json!({}))).await;
    let mut rows = 0;
    for shard in [(1, 2), (2, 2)] {
        let request = state_request(&lake.backend, Some(shard));
        let sync = lake.rig.client.sync_with(request, |message| lake.backend.store(message)).await;
        assert_protocol(&sync);
        assert_eq!(columns(&sync), ["a Int64", "_s3_rescued json"]);
        rows += sync.rows("t");
    }
    assert_eq!(rows, 8);
    assert!(lake.backend.rows(COMMIT_TABLE).len() <= 2);
}

#[tokio::test]
async fn partitions_and_columns_come_later() {
    let mut lake = Lake::start().await;
    let mut spec = merged(json!({}));
    spec["partitions"] = "hive".into();
    spec["file_columns"] = json!(["row"]);
    lake.put("t/dt=2024-01-01/1.parquet", vec![("a", ints(&[1]))]);
    let sync = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync), ["_s3_row Int64", "dt Date32", "a Int32", "_s3_rescued json"]);
    lake.put("t/dt=2024-01-02/region=eu/1.parquet", vec![("a", texts(&["x"])), ("b", ints(&[2])), ("DT", ints(&[9]))]);
    let sync = lake.rig.sync_with_state(spec.clone(), &lake.backend).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync), ["_s3_row Int64", "dt Date32", "a Int32", "_s3_rescued json", "region Utf8", "b Int32"]);
    assert_eq!(rows(&sync), [r#"_s3_row=0 dt=2024-01-02 _s3_rescued={"a":"x"} region=eu b=2"#]);
    spec["schema"]["on_type_change"] = "widen".into();
    lake.put("t/dt=2024-01-03/region=us/1.parquet", vec![("a", longs(&[i64::MAX]))]);
    let sync = lake.rig.sync_with_state(spec, &lake.backend).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync)[2], "a Utf8");
    assert_eq!(
        rows(&sync),
        [
            "_s3_row=0 dt=2024-01-01 a=1",
            "_s3_row=0 dt=2024-01-02 a=x region=eu b=2",
            "_s3_row=0 dt=2024-01-03 a=9223372036854775807 region=us",
        ]
    );
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
