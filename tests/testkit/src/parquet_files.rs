//! Parquet files made in memory: the same arguments always give the same bytes.

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int96, Int96Type};
use parquet::file::metadata::{ColumnChunkMetaDataBuilder, KeyValue, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

/// 2026-01-01T00:00:00Z, in microseconds since 1970.
const YEAR_2026_MICROS: i64 = 1_767_225_600_000_000;

/// Numbers that look random and are the same in every run (splitmix64).
pub struct Numbers(u64);

impl Numbers {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next one, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// The text of a random UUID.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.next_u64(), self.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            (low >> 48) & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }
}

/// How a file is written.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The codec of all columns.
    pub compression: Compression,
    /// Rows in a row group; `None`: all in one.
    pub row_group_rows: Option<usize>,
    /// Rows in a data page; `None`: the writer's choice.
    pub page_rows: Option<usize>,
    /// Embed the Arrow schema (`ARROW:schema`), as Arrow's own writers do.
    pub arrow_schema: bool,
    /// Data pages of format version 2.
    pub pages_v2: bool,
    /// Dictionary encoding.
    pub dictionary: bool,
    /// All of a column chunk in one page, as DuckDB and polars write it.
    pub one_page: bool,
    /// Further key/value metadata of the file.
    pub metadata: Vec<(String, String)>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            compression: Compression::SNAPPY,
            row_group_rows: None,
            page_rows: None,
            arrow_schema: true,
            pages_v2: false,
            dictionary: true,
            one_page: false,
            metadata: Vec::new(),
        }
    }
}

/// A file with these batches, which share `schema`. No batches: a file without rows.
pub fn write(schema: &SchemaRef, batches: &[RecordBatch], layout: &Layout) -> Bytes {
    let mut properties = WriterProperties::builder()
        .set_compression(layout.compression)
        .set_dictionary_enabled(layout.dictionary)
        .set_max_row_group_row_count(layout.row_group_rows);
    if layout.pages_v2 {
        properties = properties.set_writer_version(WriterVersion::PARQUET_2_0);
    }
    if let Some(rows) = layout.page_rows {
        // The limit is looked at after each written batch.
        properties = properties.set_data_page_row_count_limit(rows).set_write_batch_size(rows);
    }
    if layout.one_page {
        properties = properties.set_data_page_size_limit(1 << 30).set_data_page_row_count_limit(usize::MAX);
    }
    let pairs = layout.metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    let properties = properties.set_key_value_metadata(Some(pairs)).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(!layout.arrow_schema);
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new_with_options(&mut file, Arc::clone(schema), options).expect("a writable schema");
    for batch in batches {
        writer.write(batch).expect("a batch of this schema");
    }
    writer.close().expect("writing into memory");
    file.into()
}

/// A file with one batch.
pub fn write_batch(batch: &RecordBatch, layout: &Layout) -> Bytes {
    write(&batch.schema(), std::slice::from_ref(batch), layout)
}

/// The same file with another footer: what `change` makes of each column chunk's part of it.
pub fn with_footer(file: &Bytes, change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder) -> Bytes {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(file).expect("a good file");
    let footer_bytes = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().expect("4 bytes")) as usize;
    let mut builder = metadata.into_builder();
    let groups = builder.take_row_groups().into_iter().map(|group| {
        let mut group = group.into_builder();
        let columns =
            group.take_columns().into_iter().map(|column| change(column.into_builder()).build().expect("sound"));
        let columns = columns.collect();
        group.set_column_metadata(columns).build().expect("the same columns")
    });
    let groups = groups.collect();
    let mut changed = file[..file.len() - footer_bytes - 8].to_vec();
    let metadata = builder.set_row_groups(groups).build();
    ParquetMetaDataWriter::new(&mut changed, &metadata).finish().expect("writing into memory");
    changed.into()
}

/// [`flat_batch`] in a file.
pub fn flat(rows: usize, seed: u64) -> Bytes {
    write_batch(&flat_batch(rows, seed), &Layout::default())
}

/// [`nested_batch`] in a file.
pub fn nested(rows: usize, seed: u64) -> Bytes {
    write_batch(&nested_batch(rows, seed), &Layout::default())
}

/// [`flat_batch`] in row groups of `row_group_rows` rows.
pub fn with_row_groups(rows: usize, row_group_rows: usize, seed: u64) -> Bytes {
    write_batch(&flat_batch(rows, seed), &Layout { row_group_rows: Some(row_group_rows), ..Layout::default() })
}

/// [`flat_batch`], compressed with `compression`.
pub fn with_codec(rows: usize, seed: u64, compression: Compression) -> Bytes {
    write_batch(&flat_batch(rows, seed), &Layout { compression, ..Layout::default() })
}

/// The columns of [`flat_batch`] and no row.
pub fn zero_rows() -> Bytes {
    write(&flat_batch(0, 0).schema(), &[], &Layout::default())
}

/// A file of at least `mebibytes` MiB that no codec makes smaller: an `id` and 1,000 bytes of noise a row.
pub fn incompressible(mebibytes: usize, row_group_rows: Option<usize>, seed: u64) -> Bytes {
    let layout = Layout { row_group_rows, dictionary: false, ..Layout::default() };
    write_batch(&incompressible_batch(mebibytes, seed), &layout)
}

/// The rows of [`incompressible`].
pub fn incompressible_batch(mebibytes: usize, seed: u64) -> RecordBatch {
    const ROW_BYTES: usize = 1000;
    let rows = (mebibytes << 20).div_ceil(ROW_BYTES);
    let mut numbers = Numbers::new(seed);
    let mut noise = Vec::with_capacity(rows * ROW_BYTES + 8);
    while noise.len() < rows * ROW_BYTES {
        noise.extend_from_slice(&numbers.next_u64().to_le_bytes());
    }
    batch_of(vec![
        ("id", false, Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("noise", false, Arc::new(BinaryArray::from_iter_values(noise.chunks_exact(ROW_BYTES).take(rows)))),
    ])
}

/// Columns of the plain types; most are nullable, and about every seventh value of these is null.
///
/// `id` int64 (0, 1, 2, …, not null), `small` int16, `count` int32, `big` uint64, `ratio` float64, `score` float32,
/// `name` text, `active` bool, `created_at` timestamp µs UTC, `day` date, `price` decimal(12,2), `raw` binary.
pub fn flat_batch(rows: usize, seed: u64) -> RecordBatch {
    const NAMES: [&str; 6] = ["Ada", "Grace", "Zoë", "李雷", "", "O'Brien \"the\" 2nd"];
    let mut numbers = Numbers::new(seed);
    let mut column = |limit: u64| -> Vec<Option<u64>> {
        (0..rows).map(|_| (numbers.below(7) != 0).then(|| numbers.below(limit))).collect()
    };
    let small = column(60_000).into_iter().map(|value| value.map(|value| (value as i64 - 30_000) as i16));
    let small: Int16Array = small.collect();
    let count: Int32Array = column(1 << 31).into_iter().map(|value| value.map(|value| value as i32)).collect();
    let big: UInt64Array = column(u64::MAX).into_iter().collect();
    let ratio: Float64Array = column(1 << 40).into_iter().map(|value| value.map(|value| value as f64 / 1e6)).collect();
    let score: Float32Array = column(1000).into_iter().map(|value| value.map(|value| value as f32 / 8.0)).collect();
    let name: StringArray = column(6).into_iter().map(|value| value.map(|value| NAMES[value as usize])).collect();
    let active: BooleanArray = column(2).into_iter().map(|value| value.map(|value| value == 1)).collect();
    let created_at: TimestampMicrosecondArray = column(31_536_000_000_000)
        .into_iter()
        .map(|value| value.map(|value| YEAR_2026_MICROS + value as i64))
        .collect();
    let day: Date32Array = column(30_000).into_iter().map(|value| value.map(|value| value as i32)).collect();
    let price: Decimal128Array =
        column(1_000_000).into_iter().map(|value| value.map(|value| i128::from(value) - 500_000)).collect();
    let raw: BinaryArray = column(1 << 32).into_iter().map(|value| value.map(u64::to_le_bytes)).collect();
    batch_of(vec![
        ("id", false, Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("small", true, Arc::new(small)),
        ("count", true, Arc::new(count)),
        ("big", true, Arc::new(big)),
        ("ratio", true, Arc::new(ratio)),
        ("score", true, Arc::new(score)),
        ("name", true, Arc::new(name)),
        ("active", true, Arc::new(active)),
        ("created_at", true, Arc::new(created_at.with_timezone("UTC"))),
        ("day", true, Arc::new(day)),
        ("price", true, Arc::new(price.with_precision_and_scale(12, 2).expect("12 digits hold a million"))),
        ("raw", true, Arc::new(raw)),
    ])
}

/// `id` int64; `payload` struct {`kind` text, `amount` decimal(10,2), `at` timestamp}; `tags` list of text; `counts`
/// list of int32; `items` list of struct {`sku` text, `quantity` int32}; `labels` map of text to text. Every fifth
/// payload and every third list is null, and some lists are empty.
pub fn nested_batch(rows: usize, seed: u64) -> RecordBatch {
    const KINDS: [&str; 4] = ["page_view", "add_to_cart", "purchase", "refund"];
    const WORDS: [&str; 5] = ["red", "blue", "größe", "a/b", "x y"];
    let mut numbers = Numbers::new(seed);

    let kind: StringArray = (0..rows).map(|_| Some(numbers.pick(&KINDS))).collect();
    let amount: Decimal128Array = (0..rows).map(|_| Some(i128::from(numbers.below(100_000)))).collect();
    let at: TimestampMicrosecondArray =
        (0..rows).map(|_| Some(YEAR_2026_MICROS + numbers.below(31_536_000_000_000) as i64)).collect();
    let payload = struct_of(
        vec![
            ("kind", Arc::new(kind) as ArrayRef),
            ("amount", Arc::new(amount.with_precision_and_scale(10, 2).expect("10 digits hold 100,000"))),
            ("at", Arc::new(at.with_timezone("UTC"))),
        ],
        Some((0..rows).map(|row| row % 5 != 4).collect()),
    );

    let lengths = |numbers: &mut Numbers| -> Vec<usize> { (0..rows).map(|_| numbers.below(4) as usize).collect() };
    let valid = || Some((0..rows).map(|row| row % 3 != 2).collect::<NullBuffer>());

    let tag_lengths = lengths(&mut numbers);
    let tag_values: StringArray = (0..total(&tag_lengths)).map(|_| Some(numbers.pick(&WORDS))).collect();
    let tags = list_of(Arc::new(tag_values), tag_lengths, valid());

    let count_lengths = lengths(&mut numbers);
    let count_values: Int32Array = (0..total(&count_lengths)).map(|_| Some(numbers.below(1000) as i32)).collect();
    let counts = list_of(Arc::new(count_values), count_lengths, None);

    let item_lengths = lengths(&mut numbers);
    let items = total(&item_lengths);
    let sku: StringArray = (0..items).map(|_| Some(format!("SKU-{:05}", numbers.below(100_000)))).collect();
    let quantity: Int32Array = (0..items).map(|_| Some(numbers.below(9) as i32 + 1)).collect();
    let item_values = struct_of(vec![("sku", Arc::new(sku) as ArrayRef), ("quantity", Arc::new(quantity))], None);
    let items = list_of(Arc::new(item_values), item_lengths, valid());

    let label_lengths: Vec<usize> = (0..rows).map(|_| numbers.below(3) as usize).collect();
    let label_keys: StringArray =
        label_lengths.iter().flat_map(|&length| WORDS.iter().take(length)).map(|&word| Some(word)).collect();
    let label_values: StringArray = (0..label_keys.len()).map(|_| Some(numbers.pick(&KINDS))).collect();
    let entry_fields =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
    let entries = StructArray::new(entry_fields, vec![Arc::new(label_keys), Arc::new(label_values)], None);
    let entries_field = Arc::new(Field::new("key_value", entries.data_type().clone(), false));
    let labels = MapArray::new(entries_field, OffsetBuffer::from_lengths(label_lengths), entries, None, false);

    batch_of(vec![
        ("id", false, Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("payload", true, Arc::new(payload)),
        ("tags", true, Arc::new(tags)),
        ("counts", true, Arc::new(counts)),
        ("items", true, Arc::new(items)),
        ("labels", true, Arc::new(labels)),
    ])
}

/// What CloudQuery's own S3 destination writes for `table`: Snappy, pages of version 2, the table's metadata as
/// key/value pairs of the file, no embedded Arrow schema, UUID, JSON and inet as text, and the `_cq_*` columns.
pub fn cloudquery_written(table: &str, rows: usize, seed: u64) -> Bytes {
    let batch = cloudquery_batch(rows, seed);
    let pairs = [
        ("cq:table_name", table),
        ("cq:table_description", "EC2 instances"),
        ("cq:table_title", ""),
        ("cq:table_permissions_needed", "null"),
        ("cq:table_sensitive_columns", "null"),
        ("cq:extension:constraint_name", ""),
    ];
    let layout = Layout {
        arrow_schema: false,
        pages_v2: true,
        metadata: pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..Layout::default()
    };
    write_batch(&batch, &layout)
}

/// The rows of [`cloudquery_written`].
pub fn cloudquery_batch(rows: usize, seed: u64) -> RecordBatch {
    let mut numbers = Numbers::new(seed);
    let id: StringArray = (0..rows).map(|_| Some(numbers.uuid())).collect();
    let parent_id: StringArray = (0..rows).map(|_| None::<&str>).collect();
    let sync_time = TimestampMicrosecondArray::from(vec![YEAR_2026_MICROS; rows]).with_timezone("UTC");
    let source = StringArray::from(vec!["aws"; rows]);
    let account = StringArray::from(vec!["123456789012"; rows]);
    let region: StringArray =
        (0..rows).map(|_| Some(numbers.pick(&["eu-central-1", "us-east-1", "ap-south-1"]))).collect();
    let names: Vec<String> = (0..rows).map(|_| format!("i-{:017x}", numbers.below(1 << 60))).collect();
    let arn: StringArray =
        names.iter().map(|name| Some(format!("arn:aws:ec2:eu-central-1:123456789012:instance/{name}"))).collect();
    let launched: TimestampMicrosecondArray =
        (0..rows).map(|_| Some(YEAR_2026_MICROS - numbers.below(31_536_000_000_000) as i64)).collect();
    let address: StringArray = (0..rows).map(|_| Some(format!("10.0.{}.7", numbers.below(256)))).collect();
    let tags: StringArray = (0..rows).map(|_| Some(format!("{{\"Name\":\"web-{}\"}}", numbers.below(100)))).collect();
    batch_of(vec![
        ("_cq_sync_time", true, Arc::new(sync_time)),
        ("_cq_source_name", true, Arc::new(source)),
        ("_cq_id", true, Arc::new(id)),
        ("_cq_parent_id", true, Arc::new(parent_id)),
        ("account_id", true, Arc::new(account)),
        ("region", true, Arc::new(region)),
        ("instance_id", true, Arc::new(StringArray::from(names))),
        ("arn", true, Arc::new(arn)),
        ("launch_time", true, Arc::new(launched.with_timezone("UTC"))),
        ("private_ip_address", true, Arc::new(address)),
        ("tags", true, Arc::new(tags)),
    ])
}

/// An optional INT96 column `at`, as Spark and Impala wrote timestamps: (Julian day, nanoseconds of the day). Julian
/// day 2,440,588 is 1970-01-01.
pub fn int96(values: &[Option<(u32, u64)>]) -> Bytes {
    write_low_level("message spark_schema { optional int96 at; }", |columns| {
        let present: Vec<Int96> = values
            .iter()
            .flatten()
            .map(|&(day, nanos)| {
                let mut value = Int96::new();
                value.set_data(nanos as u32, (nanos >> 32) as u32, day);
                value
            })
            .collect();
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        columns.next(|column| column.typed::<Int96Type>().write_batch(&present, Some(&levels), None));
    })
}

/// Parquet's own UUID and JSON types: a required `id` UUID (its 16 bytes all equal the row number) and an optional
/// `document` with the given texts, which need not be valid JSON.
pub fn uuid_and_json(documents: &[Option<&str>]) -> Bytes {
    let schema = "message m { required fixed_len_byte_array(16) id (UUID); optional binary document (JSON); }";
    write_low_level(schema, |columns| {
        let ids: Vec<FixedLenByteArray> = (0..documents.len()).map(|row| vec![row as u8; 16].into()).collect();
        columns.next(|column| column.typed::<FixedLenByteArrayType>().write_batch(&ids, None, None));
        let present: Vec<ByteArray> = documents.iter().flatten().map(|&text| ByteArray::from(text)).collect();
        let levels: Vec<i16> = documents.iter().map(|text| i16::from(text.is_some())).collect();
        columns.next(|column| column.typed::<ByteArrayType>().write_batch(&present, Some(&levels), None));
    })
}

/// The columns of the one row group of [`write_low_level`], in order.
pub struct Columns<'a, 'b> {
    group: &'a mut parquet::file::writer::SerializedRowGroupWriter<'b, Vec<u8>>,
}

impl Columns<'_, '_> {
    /// Writes the next column.
    pub fn next(
        &mut self,
        write: impl FnOnce(&mut parquet::file::writer::SerializedColumnWriter<'_>) -> parquet::errors::Result<usize>,
    ) {
        let mut column = self.group.next_column().expect("a column writer").expect("one more column in the schema");
        write(&mut column).expect("values of the column's type");
        column.close().expect("writing into memory");
    }
}

/// A file with one row group and a schema in Parquet's own notation, for types that Arrow does not write.
pub fn write_low_level(message: &str, columns: impl FnOnce(&mut Columns<'_, '_>)) -> Bytes {
    let schema = Arc::new(parse_message_type(message).expect("a valid message type"));
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::new())).expect("a writable schema");
    let mut group = writer.next_row_group().expect("a row group");
    columns(&mut Columns { group: &mut group });
    group.close().expect("all columns written");
    writer.into_inner().expect("writing into memory").into()
}

/// A batch of (name, nullable, values).
pub fn batch_of(columns: Vec<(&str, bool, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, nullable, values)| Field::new(*name, values.data_type().clone(), *nullable))
        .collect();
    let values = columns.into_iter().map(|(_, _, values)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).expect("columns of one length")
}

/// A struct of nullable fields.
pub fn struct_of(columns: Vec<(&str, ArrayRef)>, valid: Option<NullBuffer>) -> StructArray {
    let fields: Vec<Field> =
        columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect();
    StructArray::new(Fields::from(fields), columns.into_iter().map(|(_, values)| values).collect(), valid)
}

/// A list of nullable elements; a null list may have elements, which do not count.
pub fn list_of(values: ArrayRef, lengths: Vec<usize>, valid: Option<NullBuffer>) -> ListArray {
    let element = Arc::new(Field::new("element", values.data_type().clone(), true));
    ListArray::new(element, OffsetBuffer::from_lengths(lengths), values, valid)
}

fn total(lengths: &[usize]) -> usize {
    lengths.iter().sum()
}
