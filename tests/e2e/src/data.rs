//! The data set of these tests: for every column what the file holds and what a destination must get, so that a wrong
//! cast can't agree with itself. And rows as text, to compare what was written with what arrived.

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
    Int32Array, Int64Array, LargeStringArray, ListArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

/// A table of the bucket: the name it must get, and its objects.
pub struct Table {
    pub name: &'static str,
    pub objects: Vec<Object>,
}

/// One Parquet object.
#[derive(Clone)]
pub struct Object {
    pub key: String,
    pub columns: Vec<Column>,
}

/// One column: in the file, and as it must arrive.
#[derive(Clone)]
pub struct Column {
    /// Name in the file.
    file_name: &'static str,
    /// Values in the file.
    file: ArrayRef,
    /// Name at the destination.
    pub name: &'static str,
    /// Values at the destination.
    pub sent: ArrayRef,
    /// The values are JSON documents: compared as such, not byte by byte.
    pub json: bool,
}

impl Column {
    /// Passes unchanged.
    fn same(name: &'static str, array: impl Array + 'static) -> Self {
        Self::of(name, Arc::new(array))
    }

    fn of(name: &'static str, array: ArrayRef) -> Self {
        Self { file_name: name, file: Arc::clone(&array), name, sent: array, json: false }
    }

    /// Arrives with another type.
    fn cast(name: &'static str, file: impl Array + 'static, sent: impl Array + 'static) -> Self {
        Self { file_name: name, file: Arc::new(file), name, sent: Arc::new(sent), json: false }
    }

    /// Arrives as JSON.
    fn json(name: &'static str, file: impl Array + 'static, documents: &[Option<&str>]) -> Self {
        let sent = BinaryArray::from_iter(documents.iter().map(|document| document.map(str::as_bytes)));
        Self { file_name: name, file: Arc::new(file), name, sent: Arc::new(sent), json: true }
    }

    /// Arrives under another name.
    fn renamed(file_name: &'static str, name: &'static str, array: impl Array + 'static) -> Self {
        Self { file_name, name, ..Self::same(file_name, array) }
    }
}

impl Object {
    /// The object's content.
    pub fn parquet(&self) -> Bytes {
        let field = |column: &Column| Field::new(column.file_name, column.file.data_type().clone(), true);
        let schema = Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()));
        let arrays = self.columns.iter().map(|column| Arc::clone(&column.file)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("columns of one length");
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut content = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut content, schema, Some(properties)).expect("a Parquet writer");
        writer.write(&batch).expect("write a batch");
        writer.close().expect("finish the file");
        Bytes::from(content)
    }

    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.columns[0].file.len()
    }
}

impl Table {
    /// Names of the columns as they must arrive, in order.
    pub fn column_names(&self) -> Vec<&'static str> {
        self.objects[0].columns.iter().map(|column| column.name).collect()
    }

    /// Number of rows in all objects.
    pub fn row_count(&self) -> usize {
        self.objects.iter().map(Object::row_count).sum()
    }

    /// The rows that must arrive, as sorted text.
    pub fn expected_rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for object in &self.objects {
            let columns = object.columns.iter().map(|column| (column.name, &column.sent, column.json));
            rows.extend(render(&columns.collect::<Vec<_>>()));
        }
        rows.sort();
        rows
    }
}

/// The rows of batches without CloudQuery's own columns, as sorted text.
pub fn received_rows(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let columns =
            schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !field.name().starts_with("_cq_"));
        let columns = columns.map(|(field, array)| (field.name().as_str(), array, is_json(field)));
        rows.extend(render(&columns.collect::<Vec<_>>()));
    }
    rows.sort();
    rows
}

/// The array with types that can be printed: times with a zone's name can't without a time zone database.
pub fn printable(array: &ArrayRef) -> ArrayRef {
    match array.as_any().downcast_ref::<TimestampMicrosecondArray>() {
        Some(times) => Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)),
        None => Arc::clone(array),
    }
}

fn is_json(field: &Field) -> bool {
    field.metadata().get("ARROW:extension:name").is_some_and(|name| name == "json")
}

/// One text a row: `id=1 | name=anna | …`. Values of different types never look alike where it matters: the type is
/// part of the text.
fn render(columns: &[(&str, &ArrayRef, bool)]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let arrays: Vec<ArrayRef> = columns.iter().map(|(_, array, _)| printable(array)).collect();
    let formatters: Vec<_> = arrays
        .iter()
        .map(|array| ArrayFormatter::try_new(array.as_ref(), &options).expect("a type that can be printed"))
        .collect();
    let row_count = columns.first().map_or(0, |(_, array, _)| array.len());
    let cell = |row: usize, index: usize| {
        let (name, array, json) = columns[index];
        let value = if json { json_text(array, row) } else { formatters[index].value(row).to_string() };
        format!("{name}: {} = {value}", array.data_type())
    };
    (0..row_count).map(|row| (0..columns.len()).map(|index| cell(row, index)).collect::<Vec<_>>().join(" | ")).collect()
}

/// A JSON document in one form, whatever the white space of its writer.
fn json_text(array: &ArrayRef, row: usize) -> String {
    let documents = array.as_any().downcast_ref::<BinaryArray>().expect("JSON travels as binary");
    if documents.is_null(row) {
        return "NULL".to_owned();
    }
    let document: serde_json::Value = serde_json::from_slice(documents.value(row)).expect("a JSON document");
    document.to_string()
}

/// Four tables: nested and odd types, several objects, a name that needs cleaning, an object at the root, and files that
/// CloudQuery itself wrote once.
pub fn tables() -> Vec<Table> {
    vec![orders(), events(), readings(), inventory()]
}

/// How many rows one object of [`readings`] has: several batches of the default size.
pub const READINGS_PER_OBJECT: i64 = 1_300;

fn orders() -> Table {
    let object = |key: &str, first_id: i64, notes: [Option<&'static str>; 3]| Object {
        key: key.to_owned(),
        columns: vec![
            Column::same("id", Int64Array::from_iter_values(first_id..first_id + 3)),
            Column::cast(
                "customer",
                LargeStringArray::from(vec!["anna", "b'ob", "çelik \"ç\""]),
                StringArray::from(vec!["anna", "b'ob", "çelik \"ç\""]),
            ),
            Column::same("amount", decimals(&[Some(1_999), Some(-5), None])),
            Column::same("paid", BooleanArray::from(vec![Some(true), None, Some(false)])),
            Column::cast(
                "ordered_at",
                TimestampNanosecondArray::from(vec![Some(1_709_210_096_123_456_789), None, Some(-1_000)]),
                TimestampMicrosecondArray::from(vec![Some(1_709_210_096_123_456), None, Some(-1)]).with_timezone("UTC"),
            ),
            Column::same("day", Date32Array::from(vec![Some(19_782), Some(-1), None])),
            Column::same("tags", text_lists(&["new", "gift", "late"], &[2, 0, 1])),
            Column::json(
                "lines",
                lines(),
                &[
                    Some(r#"[{"sku":"A-1","quantity":2},{"sku":null,"quantity":9007199254740993}]"#),
                    Some("[]"),
                    Some(r#"[{"sku":"B-7","quantity":null}]"#),
                ],
            ),
            Column::same("note", StringArray::from(notes.to_vec())),
        ],
    };
    Table {
        name: "orders",
        objects: vec![
            object("orders/2024-02.parquet", 1, [Some("first"), None, Some("")]),
            object("orders/2024-03.parquet", 4, [None, Some("two\nlines"), None]),
        ],
    }
}

/// A file that CloudQuery's own S3 destination could have written: its bookkeeping columns must not collide.
fn events() -> Table {
    let kinds = DictionaryArray::<Int32Type>::try_new(
        Int32Array::from(vec![Some(1), Some(0), None, Some(1)]),
        Arc::new(StringArray::from(vec!["login", "logout"])),
    );
    let columns = vec![
        Column::renamed("_cq_id", "src_cq_id", StringArray::from(vec!["a", "a", "b", "c"])),
        Column::renamed("_cq_source_name", "src_cq_source_name", StringArray::from(vec!["aws"; 4])),
        Column::renamed(
            "_cq_sync_time",
            "src_cq_sync_time",
            TimestampMicrosecondArray::from(vec![1_600_000_000_000_000; 4]).with_timezone("UTC"),
        ),
        Column::cast(
            "kind",
            kinds.expect("keys within the values"),
            StringArray::from(vec![Some("logout"), Some("login"), None, Some("logout")]),
        ),
        Column::same("payload", BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), Some(b""), None, Some(b"abc")])),
        Column::same("score", Float64Array::from(vec![Some(0.1), Some(-0.0), None, Some(1e300)])),
        Column::same("sequence", UInt64Array::from(vec![0, 1, u64::MAX, 7])),
    ];
    Table { name: "events_app", objects: vec![Object { key: "events/app/login.parquet".to_owned(), columns }] }
}

fn readings() -> Table {
    let object = |part: i64| {
        let first = part * READINGS_PER_OBJECT;
        let ids = first..first + READINGS_PER_OBJECT;
        Object {
            key: format!("Sensor Readings/year=2024/part-{part}.parquet"),
            columns: vec![
                Column::same("sensor", Int64Array::from_iter_values(ids.clone().map(|id| id % 17))),
                Column::same("value", Float64Array::from_iter_values(ids.clone().map(|id| id as f64 / 8.0))),
                Column::same("label", StringArray::from_iter_values(ids.map(|id| format!("reading {id}")))),
            ],
        }
    };
    Table { name: "sensor_readings_year_2024", objects: (0..3).map(object).collect() }
}

fn inventory() -> Table {
    let columns = vec![
        Column::same("item", StringArray::from(vec!["bolt", "nut"])),
        Column::same("stock", Int32Array::from(vec![Some(12), None])),
    ];
    Table { name: "inventory", objects: vec![Object { key: "inventory.parquet".to_owned(), columns }] }
}

/// Columns that pass unchanged.
pub fn columns<const N: usize>(columns: [(&'static str, AnyArray); N]) -> Vec<Column> {
    columns.into_iter().map(|(name, AnyArray(array))| Column::of(name, array)).collect()
}

/// An array of any type.
pub struct AnyArray(ArrayRef);

impl<A: Array + 'static> From<A> for AnyArray {
    fn from(array: A) -> Self {
        Self(Arc::new(array))
    }
}

/// The rows of some columns as text, sorted: values as PostgreSQL prints them, nothing for null, `|` between them.
pub fn rows_of_columns(batches: &[RecordBatch], names: &[&str]) -> Vec<String> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        // Batches that are older than a column do not have it.
        let printed: Vec<Option<ArrayFormatter<'_>>> = names
            .iter()
            .map(|name| batch.column_by_name(name))
            .map(|array| {
                array.map(|array| ArrayFormatter::try_new(array.as_ref(), &options).expect("a printable column"))
            })
            .collect();
        for row in 0..batch.num_rows() {
            let value = |column: &Option<ArrayFormatter<'_>>| {
                column.as_ref().map(|column| column.value(row).to_string()).unwrap_or_default()
            };
            let values: Vec<String> = printed.iter().map(value).collect();
            rows.push(values.join("|"));
        }
    }
    rows.sort_unstable();
    rows
}

/// A small object of its own table, for tests that need very many or changing ones.
pub fn counter_object(key: &str, values: std::ops::Range<i64>) -> Object {
    Object { key: key.to_owned(), columns: vec![Column::same("value", Int64Array::from_iter_values(values))] }
}

fn decimals(values: &[Option<i128>]) -> Decimal128Array {
    Decimal128Array::from(values.to_vec()).with_precision_and_scale(12, 2).expect("a legal precision")
}

/// Lists of texts: `lengths` cuts `values` into lists.
fn text_lists(values: &[&str], lengths: &[usize]) -> ListArray {
    let field = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    ListArray::new(field, offsets, Arc::new(StringArray::from(values.to_vec())), None)
}

fn lines() -> ListArray {
    let fields =
        Fields::from(vec![Field::new("sku", DataType::Utf8, true), Field::new("quantity", DataType::Int64, true)]);
    let values = StructArray::new(
        fields.clone(),
        vec![
            Arc::new(StringArray::from(vec![Some("A-1"), None, Some("B-7")])),
            Arc::new(Int64Array::from(vec![Some(2), Some(9_007_199_254_740_993), None])),
        ],
        None,
    );
    let field = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    ListArray::new(field, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(values), None)
}
