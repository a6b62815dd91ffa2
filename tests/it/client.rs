//! The judge of a sync: each rule of the protocol that it claims to check is broken once.

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::HashMap;
use std::sync::Arc;
use testkit::client::{Collected, Message, Nested, protocol_violations};

fn with(field: Field, metadata: &[(&str, &str)]) -> Field {
    field.with_metadata(
        metadata.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect::<HashMap<_, _>>(),
    )
}

fn id_field() -> Field {
    let metadata = [
        ("cq:extension:primary_key", "true"),
        ("ARROW:extension:name", "uuid"),
        ("ARROW:extension:metadata", "uuid-serialized"),
    ];
    with(Field::new("_cq_id", DataType::FixedSizeBinary(16), false), &metadata)
}

fn schema(field: Field) -> SchemaRef {
    let names = ["table_description", "table_title", "extension:constraint_name"];
    let names = names.iter().chain(&["table_permissions_needed", "table_sensitive_columns"]);
    let mut metadata: HashMap<_, _> = names.map(|name| (format!("cq:{name}"), String::new())).collect();
    metadata.insert("cq:table_name".into(), "t".into());
    Arc::new(Schema::new(vec![id_field(), field]).with_metadata(metadata))
}

fn plain() -> Field {
    Field::new("n", DataType::Int64, true)
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
    let not_null = schema(Field::new("n", DataType::Int64, false));
    let rows = batch(&not_null, &[1], numbers(1));
    assert_broken(vec![migrate(&announced), insert(&not_null, vec![rows])], &["57"]);

    let broken = |metadata: &[(&str, &str)], rules: &[&str]| {
        assert_broken(vec![migrate(&schema(with(plain(), metadata)))], rules);
    };
    broken(&[("cq:extension:primary_key", "false"), ("cq:extension:type_schema", "")], &["50", "50"]);
    broken(&[("cq:extension:unique", "true")], &["62"]);
    broken(&[("PARQUET:field_id", "1")], &["58"]);
    broken(&[("ARROW:extension:name", "arrow.json")], &["58"]);
}

#[test]
fn types_are_judged_also_inside_lists() {
    let list = |inner: DataType| {
        let element = Arc::new(Field::new("item", inner, true));
        Field::new("n", DataType::List(element), true)
    };
    assert_broken(vec![migrate(&schema(list(DataType::Utf8)))], &[]);
    assert_broken(vec![migrate(&schema(list(DataType::LargeUtf8)))], &["59"]);
    assert_broken(vec![migrate(&schema(list(list(DataType::Utf8).data_type().clone())))], &["59"]);
    let structure = DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into());
    let field = Field::new("n", structure, true);
    assert_broken(vec![migrate(&schema(field.clone()))], &["59"]);
    let native = Collected { messages: vec![migrate(&schema(field))], ..Collected::default() };
    assert_eq!(protocol_violations(&native, Nested::Native), Vec::<String>::new());
}

#[test]
fn rows_are_put_together_per_table() {
    let element = Arc::new(Field::new("item", DataType::Utf8, true));
    let field = Field::new("n", DataType::List(Arc::clone(&element)), true);
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
