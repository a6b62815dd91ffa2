//! The options that change what rows look like: `file_columns` (where a row is from) and `nested_as`.

use crate::rig::Rig;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use cq_source_s3::cloudquery::proto::plugin_v3::sync::BackendOptions;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use testkit::backend::{Backend, Mode};
use testkit::client::{Collected, Nested, assert_protocol, protocol_violations, sync_request};
use testkit::parquet_files as files;
use testkit::s3_server::ObjectAttributes;

/// Seconds since 1970.
const MODIFIED_S: u64 = 1_700_000_000;

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn modified_at(seconds: u64) -> ObjectAttributes {
    let last_modified = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    ObjectAttributes { last_modified, ..ObjectAttributes::default() }
}

#[tokio::test]
async fn file_columns_say_of_each_row_where_it_is_from() {
    let mut rig = Rig::start().await;
    rig.s3.put_with("orders/a.parquet", files::with_row_groups(2_500, 1_000, 1), modified_at(MODIFIED_S));
    rig.s3.put_with("orders/größe b.parquet", files::flat(7, 2), modified_at(MODIFIED_S + 60));
    // Larger than what is read in one piece.
    rig.s3.put_with("noise/x.parquet", files::incompressible(10, Some(2_000), 1), modified_at(MODIFIED_S + 1));
    let plain = rig.sync(json!({})).await;
    let sync = rig.sync(json!({"file_columns": true})).await;
    assert_protocol(&sync);
    assert_eq!((sync.rows("orders"), sync.rows("noise")), (2_507, plain.rows("noise")));

    let schema = sync.schema("orders");
    let added = ["_s3_key", "_s3_last_modified", "_s3_row"];
    for (name, data_type) in added.into_iter().zip([DataType::Utf8, utc(), DataType::Int64]) {
        let field = schema.field_with_name(name).unwrap();
        assert_eq!((field.data_type(), field.is_nullable()), (&data_type, true), "{name}");
        assert_eq!(field.metadata().get("cq:extension:primary_key"), None);
    }
    let names = |schema: &arrow::datatypes::Schema| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let (with, without) = (names(schema), names(plain.schema("orders")));
    assert_eq!(with[..5], ["_cq_id", "_cq_parent_id", "_s3_key", "_s3_last_modified", "_s3_row"]);
    assert_eq!(with[5..], without[2..]);

    for (table, objects) in [
        ("orders", vec![("orders/a.parquet", 0, 2_500), ("orders/größe b.parquet", 60, 7)]),
        ("noise", vec![("noise/x.parquet", 1, plain.rows("noise"))]),
    ] {
        let mut rows: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
        for batch in sync.batches(table) {
            let keys = batch.column_by_name("_s3_key").unwrap().as_string::<i32>();
            let times = batch.column_by_name("_s3_last_modified").unwrap().as_primitive::<TimestampMicrosecondType>();
            let numbers = batch.column_by_name("_s3_row").unwrap().as_primitive::<Int64Type>();
            for at in 0..batch.num_rows() {
                rows.entry((keys.value(at).to_owned(), times.value(at))).or_default().push(numbers.value(at));
            }
        }
        let expected: Vec<_> = objects
            .into_iter()
            .map(|(key, later, rows)| {
                let micros = i64::try_from((MODIFIED_S + later) * 1_000_000).unwrap();
                ((key.to_owned(), micros), (0..rows as i64).collect::<Vec<_>>())
            })
            .collect();
        assert!(rows.into_iter().eq(expected), "{table}: each row once, in the order of the object");
    }

    // The same rows as without: the same ids, the same order of each object's rows.
    let ids = |sync: &Collected| -> Vec<Vec<u8>> {
        let rows = sync.concatenated("orders");
        let ids = rows.column_by_name("_cq_id").unwrap().as_fixed_size_binary();
        let mut ids: Vec<_> = ids.iter().flatten().map(<[u8]>::to_vec).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&sync), ids(&plain));

    // What `tables` shows is what a sync sends.
    let listed = rig.client.tables(&["*"], &[]).await.unwrap();
    let orders = listed.iter().find(|schema| schema.metadata()["cq:table_name"] == "orders").unwrap();
    assert_eq!(orders.fields(), schema.fields());
}

#[tokio::test]
async fn columns_of_files_with_these_names_keep_their_values_under_another() {
    let mut rig = Rig::start().await;
    let batch = files::batch_of(vec![
        ("_s3_key", true, Arc::new(StringArray::from(vec!["older/key"])) as ArrayRef),
        ("_S3_ROW", true, Arc::new(Int64Array::from(vec![99]))),
    ]);
    rig.s3.put("t/a.parquet", files::write_batch(&batch, &files::Layout::default()));
    for (file_columns, added) in [(false, 0), (true, 3)] {
        let sync = rig.sync(json!({"file_columns": file_columns})).await;
        assert_protocol(&sync);
        let rows = sync.concatenated("t");
        assert_eq!(rows.num_columns(), 2 + added + 2);
        assert_eq!(rows.column_by_name("src_s3_key").unwrap().as_string::<i32>().value(0), "older/key");
        assert_eq!(rows.column_by_name("src_S3_ROW").unwrap().as_primitive::<Int64Type>().value(0), 99);
        let key = rows.column_by_name("_s3_key").map(|keys| keys.as_string::<i32>().value(0).to_owned());
        assert_eq!(key.as_deref(), file_columns.then_some("t/a.parquet"));
    }
}

#[tokio::test]
async fn nested_values_travel_natively_when_asked_to() {
    let mut rig = Rig::start().await;
    rig.s3.put("events/a.parquet", files::nested(300, 1));
    let as_json = rig.sync(json!({})).await;
    assert_protocol(&as_json);
    for name in ["payload", "items", "labels"] {
        let field = as_json.schema("events").field_with_name(name).unwrap();
        assert_eq!(field.metadata().get("ARROW:extension:name").map(String::as_str), Some("json"), "{name}");
    }

    let native = rig.sync(json!({"nested_as": "native", "file_columns": true})).await;
    assert_eq!(protocol_violations(&native, Nested::Native), Vec::<String>::new());
    assert!(native.status.is_none());
    assert!(!protocol_violations(&native, Nested::AsJson).is_empty(), "nested types are there");
    let (rows, sent) = (native.concatenated("events"), files::nested_batch(300, 1));
    assert_eq!(rows.num_rows(), 300);
    let column = |name: &str| (rows.column_by_name(name).unwrap().clone(), sent.column_by_name(name).unwrap().clone());

    let (payload, expected) = column("payload");
    let (payload, expected) = (payload.as_struct(), expected.as_struct());
    assert!(payload.null_count() == 60 && payload.nulls() == expected.nulls());
    assert_eq!(payload.column_by_name("at").unwrap().data_type(), &utc());
    for field in ["kind", "amount", "at"] {
        let (sent, expected) = (payload.column_by_name(field).unwrap(), expected.column_by_name(field).unwrap());
        assert_eq!(sent.data_type(), expected.data_type(), "{field}");
        for row in (0..300).filter(|row| payload.is_valid(*row)) {
            assert_eq!(sent.slice(row, 1).to_data(), expected.slice(row, 1).to_data(), "{field} {row}");
        }
    }
    let (items, expected) = column("items");
    let (items, expected) = (items.as_list::<i32>(), expected.as_list::<i32>());
    for row in 0..300 {
        assert_eq!(items.is_null(row), expected.is_null(row));
        if items.is_valid(row) {
            let (sent, expected) = (items.value(row), expected.value(row));
            for (sent, expected) in sent.as_struct().columns().iter().zip(expected.as_struct().columns()) {
                assert_eq!(sent.as_ref(), expected.as_ref(), "items of row {row}");
            }
        }
    }
    let (labels, expected) = column("labels");
    let (labels, expected) = (labels.as_map(), expected.as_map());
    assert_eq!(labels.offsets(), expected.offsets());
    assert_eq!(
        (labels.keys().as_ref(), labels.values().as_ref()),
        (expected.keys().as_ref(), expected.values().as_ref())
    );
    let DataType::Map(entries, _) = labels.data_type() else { panic!("{}", labels.data_type()) };
    assert_eq!(entries.name(), "entries");
}

/// A table's schema is kept in the state: another choice makes it anew from the footers, and it is kept under that choice.
#[tokio::test]
async fn another_choice_of_nested_types_is_not_answered_from_the_state() {
    let mut rig = Rig::start().await;
    let backend = Backend::start(Mode::Upsert).await;
    rig.s3.put("events/a.parquet", files::nested(100, 1));
    let payload = |sync: &Collected| sync.schema("events").field_with_name("payload").unwrap().data_type().clone();
    let mut sent = Vec::new();
    for nested_as in ["json", "json", "native", "native"] {
        rig.init(json!({"nested_as": nested_as})).await;
        rig.s3.reset_counts();
        let mut request = sync_request(&["*"], &[]);
        request.backend = Some(BackendOptions { table_name: "state".into(), connection: backend.connection() });
        let sync = rig.client.sync_with(request, |message| backend.store(message)).await;
        assert!(sync.status.is_none(), "{:?}", sync.status);
        let native = matches!(payload(&sync), DataType::Struct(_));
        assert_eq!(native, nested_as == "native");
        sent.push((sync.totals().get("events").map_or(0, |totals| totals.rows), rig.s3.counts().gets > 0));
    }
    assert_eq!(sent, [(100, true), (0, false), (100, true), (0, false)], "with other columns all is sent again");
}
