//! Items 69–77: what becomes of the rows, names and types of real files.

use crate::rig::Rig;
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int8Type, TimeUnit, i256};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::client::{Collected, Nested, assert_protocol, protocol_violations};
use testkit::parquet_files as files;
use testkit::s3_server::{Action, DEFAULT_BUCKET};
use tonic::Code;

/// The names of a table's columns.
fn columns(sync: &Collected, table: &str) -> Vec<String> {
    sync.schema(table).fields().iter().map(|field| field.name().clone()).collect()
}

#[tokio::test]
async fn item_69_the_key_names_the_table_not_the_file() {
    let mut rig = Rig::start().await;
    rig.s3.put("mine/x.parquet", files::cloudquery_written("other", 20, 1));
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!(sync.tables(), ["mine"]);
    assert_eq!(sync.rows("mine"), 20);
}

#[tokio::test]
async fn item_70_and_71_files_that_cloudquery_wrote_keep_their_lineage_and_their_rows() {
    let mut rig = Rig::start().await;
    rig.s3.put("aws/x.parquet", files::cloudquery_written("aws_ec2_instances", 30, 1));
    rig.s3.put("aws/y.parquet", files::cloudquery_written("aws_ec2_instances", 12, 2));
    // What a destination in overwrite-delete-stale mode does: rows replace those of their id, and what the last sync
    // did not bring goes.
    let mut kept: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for run in 0..2 {
        let sync = rig.sync(json!({})).await;
        assert_protocol(&sync);
        let rows = sync.concatenated("aws");
        let ids = rows.column_by_name("_cq_id").unwrap().as_fixed_size_binary();
        kept.extend(ids.iter().flatten().map(|id| (id.to_vec(), run)));
        kept.retain(|_, last| *last == run);
        assert_eq!(kept.len(), 42);

        assert_eq!(
            columns(&sync, "aws")[..6],
            ["_cq_id", "_cq_parent_id", "src_cq_sync_time", "src_cq_source_name", "src_cq_id", "src_cq_parent_id"]
        );
        let schema = sync.schema("aws");
        assert_eq!(schema.field_with_name("src_cq_id").unwrap().data_type(), &DataType::Utf8, "as in the file");
        assert_eq!(schema.field_with_name("src_cq_id").unwrap().metadata().get("cq:extension:primary_key"), None);
        let written = files::cloudquery_batch(30, 1);
        let written = written.column_by_name("_cq_id").unwrap().as_string::<i32>().value(0).to_owned();
        let source_ids = rows.column_by_name("src_cq_id").unwrap().as_string::<i32>();
        assert!(source_ids.iter().flatten().any(|id| id == written));
        assert_eq!(rows.column_by_name("_cq_parent_id").unwrap().null_count(), 42);
    }
}

#[tokio::test]
async fn item_72_empty_objects_are_skipped_without_a_word_of_warning() {
    let mut rig = Rig::start().await;
    rig.s3.put("orders/a.parquet", files::flat(10, 1));
    rig.s3.put("orders/empty.parquet", "");
    rig.s3.put("orders/no_rows.parquet", files::zero_rows());
    rig.s3.put("nothing/empty.parquet", "");
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!((sync.tables(), sync.rows("orders")), (vec!["orders".to_owned()], 10));
    assert!(rig.lines("warn").is_empty() && rig.lines("error").is_empty());
    assert!(rig.s3.gets_of("orders/empty.parquet").is_empty());
    let finished = rig.plugin.wait_for_line("that it finished", |line| line["message"] == "sync finished");
    assert!(finished["skipped"].to_string().contains("zero"), "{finished}");
}

#[tokio::test]
async fn item_73_types_arrive_cast_with_their_values() {
    let mut rig = Rig::start().await;
    let dictionary: DictionaryArray<Int8Type> = [Some("x"), None, Some("x")].into_iter().collect();
    let fixed_list = {
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        FixedSizeListArray::new(item, 2, Arc::new(Int32Array::from_iter_values(0..6)), None)
    };
    let large_list = {
        let item = Arc::new(Field::new("item", DataType::LargeUtf8, true));
        let words = LargeStringArray::from(vec!["p", "q"]);
        LargeListArray::new(item, OffsetBuffer::from_lengths([2, 0, 0]), Arc::new(words), None)
    };
    let wide = Decimal256Array::from(vec![Some(i256::from_i128(12_345)), None, Some(i256::from_i128(-1))]);
    let fits = Decimal256Array::from(vec![Some(i256::from_i128(12_345)), None, Some(i256::from_i128(-1))]);
    let nanos = TimestampNanosecondArray::from(vec![Some(1_700_000_000_123_456_789), None, Some(-1)]);
    let seconds = TimestampMillisecondArray::from(vec![Some(1_700_000_000_123), None, Some(-1)]);
    let batch = files::batch_of(vec![
        ("dictionary", true, Arc::new(dictionary) as ArrayRef),
        ("large_text", true, Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("ü")]))),
        ("text_view", true, Arc::new(StringViewArray::from(vec![Some("a"), None, Some("longer than twelve bytes")]))),
        ("binary_view", true, Arc::new(BinaryViewArray::from(vec![Some(&b"a"[..]), None, Some(b"\xff")]))),
        ("large_binary", true, Arc::new(LargeBinaryArray::from(vec![Some(&b"a"[..]), None, Some(b"\xff")]))),
        ("fixed_list", true, Arc::new(fixed_list)),
        ("large_list", true, Arc::new(large_list)),
        ("wide_decimal", true, Arc::new(wide.with_precision_and_scale(60, 3).unwrap())),
        ("decimal", true, Arc::new(fits.with_precision_and_scale(38, 3).unwrap())),
        ("nanos", true, Arc::new(nanos)),
        ("zoned", true, Arc::new(seconds.with_timezone("+02:00"))),
    ]);
    rig.s3.put("types/a.parquet", files::write_batch(&batch, &files::Layout::default()));
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    let rows = sync.concatenated("types");
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    let texts = |name: &str| -> Vec<Option<String>> {
        column(name).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(texts("dictionary"), [some("x"), None, some("x")]);
    assert_eq!(texts("large_text"), [some("a"), None, some("ü")]);
    assert_eq!(texts("text_view"), [some("a"), None, some("longer than twelve bytes")]);
    assert_eq!(texts("wide_decimal"), [some("12.345"), None, some("-0.001")]);
    for name in ["binary_view", "large_binary"] {
        let values: Vec<_> = column(name).as_binary::<i32>().iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect();
        assert_eq!(values, [Some(b"a".to_vec()), None, Some(vec![0xff])]);
    }
    assert_eq!(column("decimal").data_type(), &DataType::Decimal128(38, 3));
    let decimals: Vec<_> = column("decimal").as_primitive::<arrow::datatypes::Decimal128Type>().iter().collect();
    assert_eq!(decimals, [Some(12_345), None, Some(-1)]);
    for (name, expected) in [
        ("nanos", [Some(1_700_000_000_123_456), None, Some(-1)]),
        ("zoned", [Some(1_700_000_000_123_000), None, Some(-1_000)]),
    ] {
        assert_eq!(column(name).data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        let micros: Vec<_> = column(name).as_primitive::<arrow::datatypes::TimestampMicrosecondType>().iter().collect();
        assert_eq!(micros, expected, "{name}");
    }
    let list = column("fixed_list");
    let second = list.as_list::<i32>().value(1);
    assert_eq!(second.as_primitive::<arrow::datatypes::Int32Type>().values(), &[2, 3]);
    let list = column("large_list");
    let first = list.as_list::<i32>().value(0);
    assert_eq!(first.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["p", "q"]);
    assert_eq!(list.as_list::<i32>().value_length(1), 0);
}

#[tokio::test]
async fn item_74_odd_keys_give_legal_and_stable_names() {
    const LONG: &str = "warehouse/production/analytics/customer_lifetime_value/by_segment/x.parquet";
    let mut rig = Rig::start().await;
    for (key, _) in [
        ("Sales/EU-West/x y.parquet", ""),
        ("data.v2/my files/x.parquet", ""),
        ("events/dt=2024-01-31/x.parquet", ""),
        ("2024/01/x.parquet", ""),
        ("日本/ü.parquet", ""),
        ("a+b&c%20d/x.parquet", ""),
        (LONG, ""),
    ] {
        rig.s3.put(key, files::flat(3, 1));
    }
    let expected = [
        "_2024_01",
        "_99e3c23b",
        "a_b_c_20d",
        "data_v2_my_files",
        "events_dt_2024_01_31",
        "sales_eu_west",
        "warehouse_production_analytics_customer_lifetime_value_203f7814",
    ];
    for _ in 0..2 {
        let sync = rig.sync(json!({})).await;
        assert_protocol(&sync);
        assert_eq!(sync.tables(), expected);
        assert!(expected.iter().all(|table| sync.rows(table) == 3));
    }

    rig.s3.put("sales/eu west/x.parquet", files::flat(3, 1));
    rig.s3.reset_counts();
    let sync = rig.sync(json!({})).await;
    let status = sync.status.unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);
    for text in ["Sales/EU-West/", "sales/eu west/", "sales_eu_west", "exclude"] {
        assert!(status.message().contains(text), "{}", status.message());
    }
    assert!(sync.messages.is_empty() && rig.s3.counts().gets == 0, "before anything is read or sent");
    let sync = rig.sync(json!({"exclude": ["sales/**"]})).await;
    assert_eq!(sync.tables(), expected);
}

#[tokio::test]
async fn item_75_a_table_whose_files_do_not_agree_is_left_out_with_an_error_that_says_why() {
    let mut rig = Rig::start().await;
    let with = |values: ArrayRef| {
        files::write_batch(&files::batch_of(vec![("amount", true, values)]), &files::Layout::default())
    };
    rig.s3.put("mixed/a.parquet", with(Arc::new(Int64Array::from(vec![1]))));
    rig.s3.put("mixed/b.parquet", with(Arc::new(StringArray::from(vec!["1"]))));
    rig.s3.put("orders/a.parquet", files::flat(10, 1));
    // The same columns in another order, and one of them optional here: that is no conflict.
    let batch = files::flat_batch(5, 2);
    let reversed: Vec<usize> = (0..batch.num_columns()).rev().collect();
    let reversed = batch.project(&reversed).unwrap();
    rig.s3.put("orders/b.parquet", files::write_batch(&reversed, &files::Layout::default()));
    for (policy, code) in [("fail", Some(Code::DataLoss)), ("skip", None)] {
        let before = rig.lines("error").len();
        let sync = rig.sync(json!({"on_object_error": policy})).await;
        assert_eq!(protocol_violations(&sync, Nested::AsJson), Vec::<String>::new());
        assert_eq!(sync.tables(), ["orders"], "no migrate: the old rows of `mixed` stay");
        assert_eq!(sync.rows("orders"), 15);
        let [(table, text)] = sync.errors()[..] else { panic!("{:?}", sync.errors()) };
        assert_eq!(table, "mixed");
        for part in ["mixed/a.parquet", "mixed/b.parquet", "amount", "int64", "utf8"] {
            assert!(text.to_lowercase().contains(part), "{part}: {text}");
        }
        assert_eq!(sync.status.as_ref().map(tonic::Status::code), code);
        assert_eq!(rig.lines("error").len(), before + 1);
    }
}

#[tokio::test]
async fn item_76_columns_that_differ_in_case_are_made_unique() {
    let mut rig = Rig::start().await;
    let numbers = |n: i64| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
    let batch = files::batch_of(vec![("id", true, numbers(1)), ("ID", true, numbers(2)), ("Id", true, numbers(3))]);
    rig.s3.put("t/a.parquet", files::write_batch(&batch, &files::Layout::default()));
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!(columns(&sync, "t")[2..], ["id", "ID_2", "Id_3"]);
    let rows = sync.concatenated("t");
    for (name, value) in [("id", 1), ("ID_2", 2), ("Id_3", 3)] {
        let values = rows.column_by_name(name).unwrap().as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(values.value(0), value, "{name}");
    }
}

#[tokio::test]
async fn item_77_objects_deleted_after_they_were_listed_are_left_out_with_a_warning() {
    let mut rig = Rig::start().await;
    rig.s3.put("orders/a.parquet", files::flat(10, 1));
    rig.s3.put("orders/gone.parquet", files::flat(10, 2));
    // Larger than what the footer pass keeps: this one is deleted between its footer and its rows.
    rig.s3.put("noise/gone.parquet", files::incompressible(10, Some(2_000), 1));
    rig.s3.put("noise/z.parquet", files::incompressible(1, None, 2));
    rig.s3.on_get(|key, nth| match (key, nth) {
        ("orders/gone.parquet", 1) | ("noise/gone.parquet", 2) => Some(Action::DeleteFirst),
        _ => None,
    });
    let sync = rig.sync(json!({})).await;
    assert_protocol(&sync);
    assert_eq!(sync.rows("orders"), 10);
    assert_eq!(sync.rows("noise"), (1_usize << 20).div_ceil(1_000));
    let warnings = rig.lines("warn");
    let keys: Vec<_> = warnings.iter().map(|line| line["key"].as_str().unwrap_or_default()).collect();
    assert_eq!(keys, ["orders/gone.parquet", "noise/gone.parquet"], "{warnings:#?}");
    assert!(warnings.iter().all(|line| line["bucket"] == DEFAULT_BUCKET));
    assert!(rig.lines("error").is_empty());
}
