//! The judge of a sync: each rule of the protocol that it claims to check is broken once.

use crate::support::client::{Collected, Message, Nested, protocol_violations};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::HashMap;
use std::sync::Arc;

fn keys(primary: bool) -> HashMap<String, String> {
    let falsy = ["unique", "incremental", "primary_key_component"];
    let mut keys: HashMap<_, _> = falsy.iter().map(|key| (format!("cq:extension:{key}"), "false".to_owned())).collect();
    keys.insert("cq:extension:primary_key".into(), primary.to_string());
    keys.insert("cq:extension:type_schema".into(), String::new());
    keys
}

fn id_field() -> Field {
    let mut metadata = keys(true);
    metadata.insert("ARROW:extension:name".into(), "uuid".into());
    metadata.insert("ARROW:extension:metadata".into(), "uuid-serialized".into());
    Field::new("_cq_id", DataType::FixedSizeBinary(16), false).with_metadata(metadata)
}

fn schema(field: Field) -> SchemaRef {
    let names = ["table_description", "table_title", "extension:constraint_name"];
    let names = names.iter().chain(&["table_permissions_needed", "table_sensitive_columns"]);
    let mut metadata: HashMap<_, _> = names.map(|name| (format!("cq:{name}"), String::new())).collect();
    metadata.insert("cq:table_name".into(), "t".into());
    Arc::new(Schema::new(vec![id_field(), field]).with_metadata(metadata))
}

fn plain() -> Field {
    Field::new("n", DataType::Int64, true).with_metadata(keys(false))
}

fn batch(schema: &SchemaRef, ids: &[u8], values: ArrayRef) -> RecordBatch {
    let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids.iter().map(|id| Some([*id; 16])), 16).unwrap();
    RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(ids), values]).unwrap()
}

fn numbers(rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from(vec![1; rows]))
}

fn migrate(schema: &SchemaRef) -> Message {
    Message::Migrate { table: "t".into(), schema: Arc::clone(schema), batches: 0 }
}

fn insert(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Message {
    Message::Insert { table: "t".into(), schema: Arc::clone(schema), batches, encoded_bytes: 100 }
}

#[track_caller]
fn assert_broken(messages: Vec<Message>, rules: &[&str]) {
    let broken = protocol_violations(&Collected { messages, ..Collected::default() }, Nested::AsJson);
    let numbers: Vec<&str> = broken.iter().map(|text| text.split(':').next().unwrap_or_default()).collect();
    assert_eq!(numbers, rules, "{broken:?}");
}

#[test]
fn a_proper_sync_breaks_nothing() {
    let schema = schema(plain());
    let batches = [&[1, 2][..], &[3]].map(|ids| insert(&schema, vec![batch(&schema, ids, numbers(ids.len()))]));
    let [first, second] = batches;
    assert_broken(vec![migrate(&schema), first, second], &[]);
}

#[test]
fn order_and_number_of_batches_are_judged() {
    let schema = schema(plain());
    let one = || batch(&schema, &[1], numbers(1));
    let two = batch(&schema, &[2], numbers(1));
    assert_broken(vec![insert(&schema, vec![one()]), migrate(&schema)], &["54", "55"]);
    assert_broken(vec![migrate(&schema), insert(&schema, vec![one(), two])], &["56"]);
    assert_broken(vec![migrate(&schema), insert(&schema, vec![])], &["56"]);
    assert_broken(vec![migrate(&schema), insert(&schema, vec![batch(&schema, &[], numbers(0))])], &["56"]);
    assert_broken(vec![migrate(&schema), insert(&schema, vec![one()]), insert(&schema, vec![one()])], &["62"]);
}

#[test]
fn schemas_are_judged() {
    let announced = schema(plain());
    let not_null = schema(Field::new("n", DataType::Int64, false).with_metadata(keys(false)));
    let rows = batch(&not_null, &[1], numbers(1));
    assert_broken(vec![migrate(&announced), insert(&not_null, vec![rows])], &["57"]);
    assert_broken(vec![migrate(&schema(Field::new("n", DataType::Int64, true)))], &["50"; 5]);

    let mut foreign = keys(false);
    foreign.insert("PARQUET:field_id".into(), "1".into());
    assert_broken(vec![migrate(&schema(plain().with_metadata(foreign)))], &["58"]);
    let mut canonical = keys(false);
    canonical.insert("ARROW:extension:name".into(), "arrow.json".into());
    let field = Field::new("n", DataType::Utf8, true).with_metadata(canonical);
    assert_broken(vec![migrate(&schema(field))], &["58"]);
}

#[test]
fn types_are_judged_also_inside_lists() {
    let list = |inner: DataType| {
        let element = Arc::new(Field::new("item", inner, true));
        Field::new("n", DataType::List(element), true).with_metadata(keys(false))
    };
    assert_broken(vec![migrate(&schema(list(DataType::Utf8)))], &[]);
    assert_broken(vec![migrate(&schema(list(DataType::LargeUtf8)))], &["59"]);
    assert_broken(vec![migrate(&schema(list(list(DataType::Utf8).data_type().clone())))], &["59"]);
    let structure = DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into());
    let field = Field::new("n", structure, true).with_metadata(keys(false));
    assert_broken(vec![migrate(&schema(field.clone()))], &["59"]);
    let native = Collected { messages: vec![migrate(&schema(field))], ..Collected::default() };
    assert_eq!(protocol_violations(&native, Nested::Native), Vec::<String>::new());
}

#[test]
fn rows_are_put_together_per_table() {
    let element = Arc::new(Field::new("item", DataType::Utf8, true));
    let field = Field::new("n", DataType::List(Arc::clone(&element)), true).with_metadata(keys(false));
    let schema = schema(field);
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let lists = ListArray::new(element, OffsetBuffer::from_lengths([1, 1]), words, None);
    let rows = batch(&schema, &[1, 2], Arc::new(lists));
    let messages = vec![migrate(&schema), insert(&schema, vec![rows.clone()])];
    let collected = Collected { messages, ..Collected::default() };
    assert_eq!((collected.rows("t"), collected.tables()), (2, vec!["t".to_owned()]));
    assert_eq!(collected.concatenated("t"), rows);
    assert_eq!((collected.totals()["t"].rows, collected.totals()["t"].inserts), (2, 1));
}
