//! Files written in memory and read back: what tests of this folder share, and tests that need all of it.

use super::chunks::row_group_ranges;
use super::columns::file_schema;
use super::footer::{FooterStep, footer_from_suffix};
use super::plan::ObjectPlan;
use super::row_groups::RowGroupDecoder;
use super::*;
use crate::cast::counts::{CastCounts, count};
use crate::cast::origin::Origin;
use crate::cast::row_id::ObjectId;
use crate::config::NestedAs;
use crate::formats::Output;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::schema::types::ColumnType;
use crate::schema::{merge::SchemaMerger, table::TableSchema};
use arrow::array::types::*;
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType as PhysicalType, FixedLenByteArray, FixedLenByteArrayType, Int32Type as Int32,
    Int64Type as Int64, Int96, Int96Type,
};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

mod files;
mod json;
mod nested;

pub(super) fn footer(file: &Bytes) -> Result<Arc<ParquetMetaData>, ReadError> {
    match footer_from_suffix(file, file.len() as u64)? {
        FooterStep::Ready(metadata) => Ok(metadata),
        FooterStep::NeedSuffix { bytes } => panic!("the whole object is there, but {bytes} bytes are asked for"),
    }
}

pub(super) fn table(metadata: &ParquetMetaData) -> Result<TableSchema, ReadError> {
    table_as(metadata, NestedAs::Json)
}

pub(super) fn table_as(metadata: &ParquetMetaData, nested_as: NestedAs) -> Result<TableSchema, ReadError> {
    let mut merger = SchemaMerger::new();
    merger.add("key", file_schema(metadata, nested_as)?);
    Ok(merger.finish().unwrap().unwrap().schema)
}

/// Decodes a whole file as the sync does: footer, plan, row group by row group from its own ranges.
pub(super) fn decode(file: &Bytes) -> Result<(Vec<RecordBatch>, Arc<CastCounts>), ReadError> {
    decode_as(file, NestedAs::Json, Origin::new("bucket", "key"))
}

/// The same with the spec's options.
pub(super) fn decode_as(
    file: &Bytes,
    nested_as: NestedAs,
    origin: Origin,
) -> Result<(Vec<RecordBatch>, Arc<CastCounts>), ReadError> {
    let metadata = footer(file)?;
    let table = table_as(&metadata, nested_as)?;
    let counts = Arc::new(CastCounts::default());
    let mut fields = table.arrow().fields().to_vec();
    let added = origin.columns().map(|(name, added)| Arc::new(Field::new(name, added.arrow_type(), true)));
    fields.splice(2..2, added);
    let output = Arc::new(Schema::new(fields));
    let plan = Arc::new(ObjectPlan::new(
        Arc::clone(&metadata),
        Output::new(Arc::new(table.clone()), output, origin, Arc::clone(&counts)),
    )?);
    let mut batches = Vec::new();
    for group in 0..metadata.num_row_groups() {
        let ranges = row_group_ranges(&metadata, group, &plan.projection)?;
        let slice = |range: std::ops::Range<u64>| {
            let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            (range.start, file.slice(start..end))
        };
        let bytes = FetchedRanges::new(ranges.into_iter().map(slice))?;
        let mut decoder = RowGroupDecoder::open(Arc::clone(&plan), group, bytes, plan.first_row(group))?;
        while let Some(batch) = decoder.next_batch()? {
            batches.push(batch);
        }
    }
    Ok((batches, counts))
}

/// Decodes a file whose rows fit into one batch.
pub(super) fn decode_one(file: &Bytes) -> (RecordBatch, Arc<CastCounts>) {
    let (mut batches, counts) = decode(file).unwrap();
    assert_eq!(batches.len(), 1);
    (batches.remove(0), counts)
}

pub(super) fn write_with(batch: &RecordBatch, properties: WriterProperties) -> Bytes {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    file.into()
}

pub(super) fn write(batch: &RecordBatch) -> Bytes {
    write_with(batch, WriterProperties::builder().build())
}

pub(super) fn columns(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

pub(super) fn next_column<T: PhysicalType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, definition, repetition).unwrap();
    column.close().unwrap();
}

/// A file of one row group by the low-level writer: for types that Arrow's writer doesn't make.
pub(super) fn write_raw(message: &str, fill: impl FnOnce(&mut SerializedRowGroupWriter<'_, &mut Vec<u8>>)) -> Bytes {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    fill(&mut group);
    group.close().unwrap();
    writer.close().unwrap();
    file.into()
}

pub(super) fn int96(julian_day: u32, nanos: u64) -> Int96 {
    let mut value = Int96::new();
    let low = u32::try_from(nanos & 0xffff_ffff).unwrap();
    value.set_data(low, u32::try_from(nanos >> 32).unwrap(), julian_day);
    value
}

fn json(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(column).unwrap().as_binary::<i32>();
    column.iter().map(|value| value.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())).collect()
}

fn target(batch: &RecordBatch, column: &str) -> DataType {
    batch.schema().field_with_name(column).unwrap().data_type().clone()
}

#[test]
fn plain_types_pass_and_ids_are_in_the_batch() {
    let batch = columns(vec![
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef),
        ("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(f32::NAN), None]))),
        ("s", Arc::new(StringArray::from(vec![Some("é"), None]))),
        ("bin", Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), None]))),
        ("d", Arc::new(Decimal128Array::from(vec![Some(12345), None]).with_precision_and_scale(10, 2).unwrap())),
    ]);
    let (output, counts) = decode_one(&write(&batch));
    assert_eq!(output.num_columns(), 9);
    for column in batch.schema().fields() {
        let name = column.name();
        assert_eq!(output.column_by_name(name).unwrap(), batch.column_by_name(name).unwrap(), "{name}");
    }
    let ids = output.column(0).as_fixed_size_binary();
    assert_eq!(ids.value(1), ObjectId::new("bucket", "key").row(1));
    assert_eq!(output.schema().field(0).name(), "_cq_id");
    assert!(!output.schema().field(0).is_nullable());
    assert_eq!(output.column(1).null_count(), 2);
    assert_eq!(counts.summary(), None);
}

/// Items 73 and 59 of docs/conformance.md: large, view, dictionary and fixed-size types with an embedded Arrow schema.
#[test]
fn foreign_types_are_cast() {
    let list = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(
        [Some([Some(1), None]), None, Some([Some(3), Some(4)])],
        2,
    );
    let decimals = |values: [i128; 3], p, s| {
        let values = values.map(arrow::datatypes::i256::from_i128);
        Arc::new(Decimal256Array::from(values.to_vec()).with_precision_and_scale(p, s).unwrap()) as ArrayRef
    };
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
    let batch = columns(vec![
        ("dict", Arc::new(dictionary) as ArrayRef),
        ("large", Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("")]))),
        ("view", Arc::new(StringViewArray::from(vec![Some("a view longer than twelve"), None, Some("v")]))),
        ("bview", Arc::new(BinaryViewArray::from(vec![Some(&b"b"[..]), None, Some(b"")]))),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter([b"abc", b"def", b"ghi"].into_iter()).unwrap())),
        ("fsl", Arc::new(list)),
        ("d256", decimals([1, -2, 3], 40, 3)),
        ("d256small", decimals([1, -2, 3], 38, 3)),
        ("f16", Arc::new(Float16Array::from(vec![half::f16::from_f32(1.5); 3]))),
        ("null", Arc::new(NullArray::new(3))),
        ("dur", Arc::new(DurationSecondArray::from(vec![1, 2, 3]))),
        ("t32s", Arc::new(Time32SecondArray::from(vec![Some(1), None, Some(86_401)]))),
        ("t64n", Arc::new(Time64NanosecondArray::from(vec![Some(1_999), None, Some(0)]))),
        ("d64", Arc::new(Date64Array::from(vec![Some(-1), None, Some(86_400_000)]))),
    ]);
    let (output, counts) = decode_one(&write(&batch));
    let texts = |name: &str| -> Vec<Option<String>> {
        output.column_by_name(name).unwrap().as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect()
    };
    let some = |texts: &[&str]| -> Vec<Option<String>> { texts.iter().map(|t| Some((*t).to_owned())).collect() };
    assert_eq!(texts("dict"), [Some("x".into()), None, Some("x".into())]);
    assert_eq!(texts("large"), [Some("a".into()), None, Some(String::new())]);
    assert_eq!(texts("view")[0].as_deref(), Some("a view longer than twelve"));
    assert_eq!(target(&output, "bview"), DataType::Binary);
    assert_eq!(output.column_by_name("fixed").unwrap().as_binary::<i32>().value(1), b"def");
    let expected = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None]),
        None,
        Some(vec![Some(3), Some(4)]),
    ]);
    assert_eq!(output.column_by_name("fsl").unwrap().as_list::<i32>(), &expected);
    assert_eq!(texts("d256"), some(&["0.001", "-0.002", "0.003"]));
    assert_eq!(target(&output, "d256small"), DataType::Decimal128(38, 3));
    assert_eq!(output.column_by_name("d256small").unwrap().as_primitive::<Decimal128Type>().values(), &[1, -2, 3]);
    assert_eq!(output.column_by_name("f16").unwrap().as_primitive::<Float32Type>().value(2), 1.5);
    assert_eq!(texts("null"), [None, None, None]);
    assert_eq!(output.column_by_name("dur").unwrap().as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    let time = |name: &str| -> Vec<Option<i64>> {
        output.column_by_name(name).unwrap().as_primitive::<Time64MicrosecondType>().iter().collect()
    };
    assert_eq!(time("t32s"), [Some(1_000_000), None, None]);
    assert_eq!(time("t64n"), [Some(1), None, Some(0)]);
    let days: Vec<_> = output.column_by_name("d64").unwrap().as_primitive::<Date32Type>().iter().collect();
    assert_eq!(days, [Some(-1), None, Some(1)]);
    assert_eq!(counts.summary().unwrap(), "times of day out of range became null: 1");
}

/// Items 58 and 69 of docs/conformance.md: nothing of the file's metadata survives.
#[test]
fn foreign_metadata_does_not_survive() {
    let key = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let extension = [key("ARROW:extension:name", "arrow.json"), key("PARQUET:field_id", "7")];
    let field = Field::new("x", DataType::Utf8, true).with_metadata(HashMap::from(extension.clone()));
    let item = Field::new("element", DataType::Int32, true).with_metadata(HashMap::from(extension));
    let list = ListArray::new(
        Arc::new(item.clone()),
        OffsetBuffer::from_lengths([1]),
        Arc::new(Int32Array::from(vec![1])),
        None,
    );
    let schema = Schema::new_with_metadata(
        vec![field, Field::new("l", DataType::List(Arc::new(item)), true)],
        HashMap::from([key("cq:table_name", "other")]),
    );
    let batch =
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(StringArray::from(vec!["a"])), Arc::new(list)]).unwrap();
    let (output, _) = decode_one(&write(&batch));
    assert!(output.schema().metadata().is_empty());
    for field in output.schema().fields() {
        assert!(field.metadata().is_empty(), "{field:?}");
    }
    let DataType::List(item) = target(&output, "l") else { panic!("not a list") };
    assert_eq!(*item, Field::new("item", DataType::Int32, true));
    assert_eq!(output.column_by_name("l").unwrap().data_type(), &DataType::List(item));
}

#[test]
fn timestamps_of_any_unit_become_utc_microseconds_or_null() {
    let zone = || Some("+02:00");
    let batch = columns(vec![
        ("s", Arc::new(TimestampSecondArray::from(vec![-1, i64::MAX, 1]).with_timezone_opt(zone())) as ArrayRef),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![Some(-1), Some(i64::MIN), None]))),
        ("us", Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MAX), Some(i64::MIN), None]))),
        ("ns", Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999, i64::MIN]))),
        ("d32", Arc::new(Date32Array::from(vec![i32::MAX, 0, -2_440_588]))),
    ]);
    let (output, counts) = decode_one(&write(&batch));
    let micros = |name: &str| -> Vec<Option<i64>> {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(target(&output, name), utc);
        output.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().iter().collect()
    };
    assert_eq!(micros("s"), [Some(-1_000_000), None, Some(1_000_000)]);
    assert_eq!(micros("ms"), [Some(-1_000), None, None]);
    assert_eq!(micros("us"), [Some(i64::MAX), None, None]);
    assert_eq!(micros("ns"), [Some(-1), Some(1), Some(i64::MIN.div_euclid(1_000))]);
    let days: Vec<_> = output.column_by_name("d32").unwrap().as_primitive::<Date32Type>().iter().collect();
    assert_eq!(days, [None, Some(0), Some(-2_440_588)]);
    assert_eq!(counts.timestamps_out_of_range.load(Ordering::Relaxed), 3);
    assert_eq!(counts.dates_out_of_range.load(Ordering::Relaxed), 1);
}

/// Required columns are announced nullable: casts make nulls, and the next file may have some.
#[test]
fn required_columns_are_nullable() {
    let schema = Schema::new(vec![
        Field::new("t", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("i", DataType::Int64, false),
    ]);
    let arrays: Vec<ArrayRef> =
        vec![Arc::new(TimestampMillisecondArray::from(vec![i64::MAX])), Arc::new(Int64Array::from(vec![1]))];
    let (output, _) = decode_one(&write(&RecordBatch::try_new(Arc::new(schema), arrays).unwrap()));
    assert!(output.schema().field_with_name("t").unwrap().is_nullable());
    assert!(output.schema().field_with_name("i").unwrap().is_nullable());
    assert_eq!(output.column_by_name("t").unwrap().null_count(), 1);
}

/// A file's integers may have more digits than its decimals declare: destinations would refuse them.
#[test]
fn decimals_with_more_digits_than_declared_are_null() {
    let message = "message m { REQUIRED INT32 d (DECIMAL(4, 2)); }";
    let file = write_raw(message, |group| {
        next_column::<parquet::data_type::Int32Type>(group, &[9_999, -9_999, 10_000, -10_000, i32::MIN], None, None);
    });
    let (output, counts) = decode_one(&file);
    let decimals = |output: &RecordBatch, name: &str| -> Vec<Option<i128>> {
        output.column_by_name(name).unwrap().as_primitive::<Decimal128Type>().iter().collect()
    };
    assert_eq!(target(&output, "d"), DataType::Decimal128(4, 2));
    assert_eq!(decimals(&output, "d"), [Some(9_999), Some(-9_999), None, None, None]);
    assert_eq!(counts.decimals_out_of_range.load(Ordering::Relaxed), 3);
    assert!(counts.summary().unwrap().contains("decimals with more digits than declared became null: 3"));

    let wide = [10_i128.pow(38), 10_i128.pow(38) - 1, -10_i128.pow(38), 1 - 10_i128.pow(38)];
    let wide = Decimal256Array::from(wide.map(arrow::datatypes::i256::from_i128).to_vec());
    let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(38, 0).unwrap());
    let (output, counts) = decode_one(&write(&columns(vec![("w", wide)])));
    let largest = 10_i128.pow(38) - 1;
    assert_eq!(decimals(&output, "w"), [None, Some(largest), None, Some(-largest)]);
    assert_eq!(counts.decimals_out_of_range.load(Ordering::Relaxed), 2);
}

#[test]
fn int96_is_right_far_outside_of_nanoseconds_and_null_outside_of_microseconds() {
    const EPOCH: u32 = 2_440_588;
    let values = [
        int96(EPOCH, 1_500),
        int96(EPOCH + 1_000_000, 0),
        int96(u32::MAX, 0),
        int96(i32::MAX.cast_unsigned(), 0),
        int96(0, 0),
    ];
    let message = "message m { OPTIONAL INT96 t; OPTIONAL GROUP l (LIST) { REPEATED GROUP list { OPTIONAL INT96 element; } } \
                   OPTIONAL GROUP s { REQUIRED INT96 x; } }";
    let file = write_raw(message, |group| {
        next_column::<Int96Type>(group, &values, Some(&[1, 1, 1, 1, 1, 0]), None);
        next_column::<Int96Type>(
            group,
            &values,
            Some(&[3, 3, 3, 3, 3, 0, 0, 0, 0, 0]),
            Some(&[0, 1, 1, 1, 1, 0, 0, 0, 0, 0]),
        );
        next_column::<Int96Type>(group, &values, Some(&[1, 1, 1, 1, 1, 0]), None);
    });
    let (output, counts) = decode_one(&file);
    let expected =
        [Some(1), Some(86_400_000_000 * 1_000_000), None, None, Some(crate::cast::calendar::MIN_TIMESTAMP_MICROS)];
    let times: Vec<_> = output.column_by_name("t").unwrap().as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(times[..5], expected);
    let list = output.column_by_name("l").unwrap().as_list::<i32>().value(0);
    assert_eq!(list.as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>(), expected);
    let structs = json(&output, "s");
    assert_eq!(structs[0].as_deref(), Some(r#"{"x":"1970-01-01T00:00:00.000001Z"}"#));
    assert_eq!(structs[1].as_deref(), Some(r#"{"x":"4707-11-29T00:00:00Z"}"#));
    assert_eq!(structs[2].as_deref(), Some(r#"{"x":null}"#));
    assert_eq!(structs[5], None);
    assert_eq!(counts.timestamps_out_of_range.load(Ordering::Relaxed), 2 + 2 + 3);
}

#[test]
fn logical_types_uuid_json_enum_bson_interval() {
    let message = "message m {
        REQUIRED FIXED_LEN_BYTE_ARRAY (16) u (UUID);
        REQUIRED BYTE_ARRAY j (JSON);
        REQUIRED BYTE_ARRAY e (ENUM);
        REQUIRED BYTE_ARRAY b (BSON);
        REQUIRED FIXED_LEN_BYTE_ARRAY (12) i (INTERVAL);
        OPTIONAL GROUP ul (LIST) { REPEATED GROUP list { OPTIONAL FIXED_LEN_BYTE_ARRAY (16) element (UUID); } }
        OPTIONAL GROUP jl (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (JSON); } }
        OPTIONAL GROUP el (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (ENUM); } }
    }";
    let bytes = |text: &str| ByteArray::from(text);
    let uuid = FixedLenByteArray::from((0..16).collect::<Vec<u8>>());
    let interval: Vec<u8> = [14u32, 3, 4_005].iter().flat_map(|part| part.to_le_bytes()).collect();
    let empty = FixedLenByteArray::from(vec![0; 12]);
    let file = write_raw(message, |group| {
        next_column::<FixedLenByteArrayType>(group, &[uuid.clone(), uuid.clone()], None, None);
        next_column::<ByteArrayType>(group, &[bytes(" {\"a\" : 1.0}"), bytes("nonsense\0\"")], None, None);
        next_column::<ByteArrayType>(group, &[bytes("ON"), bytes("OFF")], None, None);
        next_column::<ByteArrayType>(group, &[bytes("x"), bytes("y")], None, None);
        next_column::<FixedLenByteArrayType>(group, &[FixedLenByteArray::from(interval), empty], None, None);
        next_column::<FixedLenByteArrayType>(group, &[uuid], Some(&[3, 0]), Some(&[0, 0]));
        next_column::<ByteArrayType>(group, &[bytes("[1]"), bytes("x")], Some(&[3, 3, 0]), Some(&[0, 1, 0]));
        next_column::<ByteArrayType>(group, &[bytes("A")], Some(&[3, 0]), Some(&[0, 0]));
    });
    let metadata = footer(&file).unwrap();
    let types: Vec<ColumnType> = table(&metadata).unwrap().columns().iter().map(|c| c.column_type.clone()).collect();
    use ColumnType::{Binary, Json, List, Utf8, Uuid};
    let list = |item| List(Box::new(item));
    assert_eq!(types, [Uuid, Json, Utf8, Binary, Utf8, list(Uuid), Json, list(Utf8)]);
    let (output, counts) = decode_one(&file);
    assert_eq!(output.column_by_name("u").unwrap().as_fixed_size_binary().value(0)[15], 15);
    assert_eq!(json(&output, "j"), [Some(" {\"a\" : 1.0}".into()), Some(r#""nonsense\"""#.into())]);
    assert_eq!(output.column_by_name("e").unwrap().as_string::<i32>().value(1), "OFF");
    let intervals = output.column_by_name("i").unwrap().as_string::<i32>();
    assert_eq!((intervals.value(0), intervals.value(1)), ("P1Y2M3DT4.005S", "PT0S"));
    assert_eq!(json(&output, "jl"), [Some(r#"[[1],"x"]"#.into()), None]);
    let enums = output.column_by_name("el").unwrap().as_list::<i32>().value(0);
    assert_eq!(enums.as_string::<i32>().value(0), "A");
    assert_eq!(counts.json_invalid.load(Ordering::Relaxed), 2);
}

#[test]
fn text_that_is_not_utf8_is_an_error_that_names_the_column() {
    let file = write_raw("message m { REQUIRED BYTE_ARRAY state (ENUM); }", |group| {
        next_column::<ByteArrayType>(group, &[ByteArray::from(vec![0xff])], None, None);
    });
    let error = decode(&file).unwrap_err().to_string();
    assert!(error.contains("\"state\"") && error.contains("UTF-8"), "{error}");
    let file = write_raw("message m { REQUIRED BYTE_ARRAY s (UTF8); }", |group| {
        next_column::<ByteArrayType>(group, &[ByteArray::from(vec![0xff])], None, None);
    });
    assert!(matches!(decode(&file).unwrap_err(), ReadError::At { .. }));
}

#[test]
fn nested_values_become_json() {
    let inner = Fields::from(vec![Field::new("z", DataType::Int64, true), Field::new("a", DataType::Utf8, true)]);
    let structs = StructArray::new(
        inner.clone(),
        vec![
            Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(1)])),
            Arc::new(StringArray::from(vec![Some("q\"\0"), None, Some("")])),
        ],
        Some(NullBuffer::from(vec![true, true, false])),
    );
    let list = ListArray::new(
        Arc::new(Field::new("item", DataType::Struct(inner), true)),
        OffsetBuffer::from_lengths([2, 0, 1]),
        Arc::new(structs.clone()),
        None,
    );
    let inner_list = ListArray::from_iter_primitive::<Float64Type, _, _>([
        Some(vec![Some(1.5), Some(f64::NAN)]),
        None,
        Some(vec![]),
    ]);
    let lists = ListArray::new(
        Arc::new(Field::new("item", inner_list.data_type().clone(), true)),
        OffsetBuffer::from_lengths([2, 0, 1]),
        Arc::new(inner_list),
        None,
    );
    let mut by_text = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    let mut by_int = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    for row in 0..3 {
        if row < 2 {
            by_text.keys().append_value(format!("k{row}"));
            by_text.values().append_option((row == 0).then_some(7));
            by_int.keys().append_value(row);
            by_int.values().append_value("v");
        }
        by_text.append(row != 2).unwrap();
        by_int.append(true).unwrap();
    }
    let batch = columns(vec![
        ("s", Arc::new(structs) as ArrayRef),
        ("ls", Arc::new(list)),
        ("ll", Arc::new(lists)),
        ("mt", Arc::new(by_text.finish())),
        ("mi", Arc::new(by_int.finish())),
    ]);
    let (output, counts) = decode_one(&write(&batch));
    let expect = |name: &str, values: [Option<&str>; 3]| {
        assert_eq!(json(&output, name), values.map(|v| v.map(str::to_owned)), "{name}");
    };
    let first = r#"{"z":9223372036854775807,"a":"q\""}"#;
    let second = r#"{"z":null,"a":null}"#;
    expect("s", [Some(first), Some(second), None]);
    expect("ls", [Some(&format!("[{first},{second}]")), Some("[]"), Some("[null]")]);
    expect("ll", [Some("[[1.5,null],null]"), Some("[]"), Some("[[]]")]);
    expect("mt", [Some(r#"{"k0":7}"#), Some(r#"{"k1":null}"#), None]);
    expect("mi", [Some(r#"[[0,"v"]]"#), Some(r#"[[1,"v"]]"#), Some("[]")]);
    assert_eq!(counts.floats_not_finite.load(Ordering::Relaxed), 1);
}

#[test]
fn fixed_and_legacy_lists() {
    // A repeated field outside of a list group, and a list in the two-level form.
    let message =
        "message m { REPEATED INT32 r; OPTIONAL GROUP two (LIST) { REPEATED INT64 array; } REQUIRED INT32 id; }";
    let file = write_raw(message, |group| {
        next_column::<Int32>(group, &[1, 2], Some(&[1, 1, 0]), Some(&[0, 1, 0]));
        next_column::<Int64>(group, &[5], Some(&[2, 0]), Some(&[0, 0]));
        next_column::<Int32>(group, &[10, 11], None, None);
    });
    let (output, _) = decode_one(&file);
    let list = output.column_by_name("r").unwrap().as_list::<i32>();
    assert_eq!(list.value(0).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert_eq!(list.value(1).len(), 0);
    assert_eq!(
        output.column_by_name("two").unwrap().as_list::<i32>().value(0).as_primitive::<Int64Type>().values(),
        &[5]
    );
}

#[test]
fn summary_counts_what_was_changed() {
    let counts = CastCounts::default();
    assert_eq!(counts.summary(), None);
    count(&counts.timestamps_out_of_range, 3);
    count(&counts.json_invalid, 1);
    let other = CastCounts::default();
    other.add(&counts);
    other.add(&counts);
    let expected = "timestamps out of range became null: 6, invalid JSON texts became JSON strings: 2";
    assert_eq!(other.summary().unwrap(), expected);
}
