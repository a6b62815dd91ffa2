//! Reads whole objects in memory as a sync does, step by step: what tests of formats share, and the files of real writers.

use super::error::ReadError;
use super::fetched::FetchedRanges;
use super::format::Format;
use super::{File, Inspected, Output};
use crate::cast::counts::CastCounts;
use crate::cast::origin::Origin;
use crate::config::NestedAs;
use crate::schema::merge::SchemaMerger;
use crate::schema::rules::ColumnRules;
use crate::schema::types::{EXTENSION_NAME, Extension};
use ::arrow::array::types::{Int64Type, Time64MicrosecondType, TimestampMicrosecondType};
use ::arrow::array::{Array, AsArray, RecordBatch};
use ::arrow::compute::{cast, concat_batches};
use ::arrow::datatypes::{DataType, Field, Schema};
use ::arrow::util::display::array_value_to_string;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// How an object is read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) step_bytes: u64,
    pub(super) nested_as: NestedAs,
    pub(super) rules: Arc<ColumnRules>,
    pub(super) first_row: u64,
    /// A reader is made anew behind each step, as when memory is given up.
    pub(super) resumes: bool,
}

impl Default for Reading {
    fn default() -> Self {
        let rules = Arc::default();
        Self { step_bytes: u64::MAX, nested_as: NestedAs::Json, rules, first_row: 0, resumes: false }
    }
}

/// What the head of an object says, read with as many requests as a sync may make.
pub(super) fn inspect(format: Format, object: &Bytes) -> Result<File, ReadError> {
    let object_bytes = object.len() as u64;
    let head = |bytes: u64| object.slice(..usize::try_from(bytes.min(object_bytes)).unwrap());
    match format.inspect(&Arc::default(), &head(64), object_bytes)? {
        Inspected::File(file) => Ok(file),
        Inspected::Needs(needed) => {
            assert!(needed > 64 && format.head_bytes(&head(64)).min(object_bytes) <= needed);
            match format.inspect(&Arc::default(), &head(needed), object_bytes)? {
                Inspected::File(file) => Ok(file),
                Inspected::Needs(again) => panic!("{needed} bytes were asked for, now {again}"),
            }
        }
    }
}

/// The rows of an object, in batches, and what is wrong behind them.
pub(super) fn read(format: Format, object: &Bytes, reading: &Reading) -> (Vec<RecordBatch>, Option<ReadError>) {
    let mut batches = Vec::new();
    let error = read_into(format, object, reading, &mut batches).err();
    (batches, error)
}

fn read_into(
    format: Format,
    object: &Bytes,
    reading: &Reading,
    batches: &mut Vec<RecordBatch>,
) -> Result<(), ReadError> {
    let file = inspect(format, object)?.projected(&reading.rules);
    let mut merger = SchemaMerger::new();
    merger.add("key", reading.rules.apply(file.schema(reading.nested_as)?)?);
    let table = merger.finish().unwrap().unwrap().schema;
    let (ids, columns) = table.arrow().fields().split_at(2);
    let columns = columns.iter().zip(table.columns());
    let columns = columns
        .map(|(field, column)| Arc::new(field.as_ref().clone().with_metadata(column.column_type.extension_metadata())));
    let schema = Arc::new(Schema::new(ids.iter().cloned().chain(columns).collect::<Vec<_>>()));
    let mut output =
        Output::new(Arc::new(table), schema, Origin::new("bucket", "key"), Arc::new(CastCounts::default()));
    output.rules = Arc::clone(&reading.rules);
    let mut reader = file.reader(output.clone())?;
    let (mut at, mut next_row) = (file.position_of_row(reading.first_row), reading.first_row);
    while let Some(step) = file.step(at, reading.step_bytes)? {
        let range = step.ranges[0].clone();
        let bytes = object.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        let bytes = FetchedRanges::new([(range.start, bytes)])?;
        assert!(file.measured_bytes(&step, &bytes) > 0);
        reader.feed(&step, bytes);
        while let Some(next) = reader.next(next_row)? {
            for rows in next.decode().rows {
                let skip = rows.numbers.count_before(next_row);
                next_row = next_row.max(rows.numbers.number(rows.batch.num_rows()));
                if skip < rows.batch.num_rows() {
                    batches.push(rows.batch.slice(skip, rows.batch.num_rows() - skip));
                }
            }
        }
        at = step.next;
        // Where a step has no end of a frame, it would not go on.
        if reading.resumes && reader.resume_at().part > step.from.part {
            at = reader.resume_at();
            reader = file.reader(output.clone())?;
        }
    }
    Ok(())
}

/// All rows as one batch.
#[track_caller]
pub(super) fn rows(format: Format, object: &Bytes, reading: &Reading) -> RecordBatch {
    let (batches, error) = read(format, object, reading);
    assert!(error.is_none(), "{}", error.unwrap());
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// A value as `expected.json` has it.
pub(super) fn value(field: &Field, array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Binary if field.metadata().get(EXTENSION_NAME).is_some_and(|name| name == Extension::Json.name()) => {
            json!({"json": serde_json::from_slice::<Value>(array.as_binary::<i32>().value(row)).unwrap()})
        }
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row)),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).into(),
        DataType::Time64(_) => array.as_primitive::<Time64MicrosecondType>().value(row).into(),
        DataType::UInt64 => array_value_to_string(array, row).unwrap().parse::<u64>().unwrap().into(),
        data_type if data_type.is_integer() => {
            cast(&array.slice(row, 1), &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0).into()
        }
        data_type if data_type.is_floating() => {
            let value = cast(&array.slice(row, 1), &DataType::Float64).unwrap();
            value.as_primitive::<::arrow::array::types::Float64Type>().value(0).into()
        }
        DataType::List(item) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|index| value(item, &items, index)).collect::<Vec<_>>().into()
        }
        _ => array_value_to_string(array, row).unwrap().into(),
    }
}

pub(super) fn fixture(name: &str) -> Bytes {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/binary_formats/");
    std::fs::read(format!("{folder}{name}")).unwrap().into()
}

fn format_of(name: &str) -> Format {
    if name.ends_with(".avro") { Format::Avro } else { Format::Arrow }
}

/// Numbers that differ in nothing but how JSON writes them are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn files_of_real_writers_have_the_values_that_python_says() {
    let expected: Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    let mut checked = 0;
    for (name, group) in expected["files"].as_object().unwrap() {
        let batch = rows(format_of(name), &fixture(name), &Reading::default());
        let columns = expected["values"][group.as_str().unwrap()].as_object().unwrap();
        assert_eq!(batch.num_columns(), 2 + columns.len(), "{name}");
        for (column, values) in columns {
            let (index, field) = batch.schema_ref().column_with_name(column).unwrap();
            let read: Value = (0..batch.num_rows()).map(|row| value(field, batch.column(index), row)).collect();
            assert!(same(&read, values), "{name}, column {column:?}:\n  read {read}\nexpect {values}");
            checked += 1;
        }
    }
    assert!(checked > 400, "{checked}");
}

#[test]
fn steps_of_any_size_and_readers_made_anew_give_the_same_rows() {
    for name in
        ["fastavro_deflate.avro", "pyarrow_file_lz4.arrow", "pyarrow_stream_plain.arrows", "pyarrow_deltas.arrows"]
    {
        let (format, object) = (format_of(name), fixture(name));
        let whole = rows(format, &object, &Reading::default());
        for (step_bytes, resumes) in [(1, false), (97, false), (1_000, false), (5_000, false), (20_000, true)] {
            let reading = Reading { step_bytes, resumes, ..Reading::default() };
            assert!(rows(format, &object, &reading) == whole, "{name} in steps of {step_bytes} bytes");
        }
        for first_row in [1, 12, 13, 14, whole.num_rows() - 1] {
            if first_row >= whole.num_rows() {
                continue;
            }
            let reading = Reading { first_row: first_row as u64, step_bytes: 700, ..Reading::default() };
            let rest = whole.slice(first_row, whole.num_rows() - first_row);
            assert!(rows(format, &object, &reading) == rest, "{name} from row {first_row} on");
        }
    }
}

/// As they come from a network: not where the numbers in them may be read.
#[test]
fn bytes_may_be_anywhere_in_memory() {
    let expected: Value = serde_json::from_slice(&fixture("expected.json")).unwrap();
    for name in expected["files"].as_object().unwrap().keys() {
        let (format, object) = (format_of(name), fixture(name));
        let whole = rows(format, &object, &Reading::default());
        for before in [1, 2, 4, 8] {
            let moved = Bytes::from([vec![0; before], object.to_vec()].concat()).slice(before..);
            assert!(rows(format, &moved, &Reading::default()) == whole, "{name} behind {before} bytes");
        }
    }
}

#[test]
fn nested_values_may_travel_natively() {
    let reading = Reading { nested_as: NestedAs::Native, ..Reading::default() };
    let avro = rows(Format::Avro, &fixture("fastavro_null.avro"), &reading);
    let arrow = rows(Format::Arrow, &fixture("pyarrow_stream_zstd.arrows"), &reading);
    let is = |batch: &RecordBatch, name: &str| batch.schema().field_with_name(name).unwrap().data_type().to_string();
    assert!(is(&avro, "null_record").starts_with("Struct"), "{}", is(&avro, "null_record"));
    assert!(is(&avro, "map").starts_with("Map"), "{}", is(&avro, "map"));
    assert!(is(&arrow, "struct").starts_with("Struct") && is(&arrow, "map").starts_with("Map"));
    assert!(is(&arrow, "list_of_struct").starts_with("List"));
    let points = avro.column_by_name("points").unwrap().as_list::<i32>().value(2);
    assert_eq!(points.as_struct().column(0).as_primitive::<::arrow::array::types::Int32Type>().values(), &[2, 2]);
}

#[test]
fn damage_is_an_error_behind_the_rows_before_it_and_never_a_panic() {
    for name in ["fastavro_snappy.avro", "fastavro_xz.avro", "pyarrow_file_zstd.arrow", "pyarrow_stream_plain.arrows"] {
        let (format, object) = (format_of(name), fixture(name));
        let whole = rows(format, &object, &Reading::default());
        let prefix_of = |batches: &[RecordBatch]| {
            let mut at = 0;
            batches.iter().all(|batch| {
                at += batch.num_rows();
                *batch == whole.slice(at - batch.num_rows(), batch.num_rows())
            })
        };
        // Cut anywhere: the rows before, and an error, but for a stream that ends between messages.
        let mut rows_seen = std::collections::BTreeSet::new();
        for length in (0..object.len()).step_by(object.len() / 80) {
            let (batches, error) = read(format, &object.slice(..length), &Reading::default());
            assert!(prefix_of(&batches), "{name} cut at {length}");
            assert!(error.is_some() || name.contains("stream"), "{name} cut at {length}");
            rows_seen.insert(batches.iter().map(RecordBatch::num_rows).sum::<usize>());
        }
        assert!(rows_seen.len() > 1, "{name}: {rows_seen:?}");
        // A byte that is wrong gives an error or other values.
        for at in (0..object.len()).step_by(object.len() / 200) {
            let mut damaged = object.to_vec();
            damaged[at] ^= 0x55;
            let _ = read(format, &damaged.into(), &Reading::default());
        }
    }
}

#[test]
fn columns_that_are_left_out_are_not_read() {
    for (name, dropped) in [("fastavro_null.avro", "union"), ("pyarrow_file_plain.arrow", "dictionary")] {
        let spec = json!({"bucket": "my-bucket", "columns": {dropped: {"drop": true}}});
        let spec = crate::config::Spec::parse(spec.to_string().as_bytes()).unwrap();
        let rules = Arc::new(ColumnRules::new(&spec.layout.options));
        let all = rows(format_of(name), &fixture(name), &Reading::default());
        let rest = rows(format_of(name), &fixture(name), &Reading { rules, ..Reading::default() });
        assert_eq!(rest.num_columns() + 1, all.num_columns(), "{name}");
        for (field, column) in rest.schema().fields().iter().zip(rest.columns()) {
            assert_eq!(column, all.column_by_name(field.name()).unwrap(), "{name} {field}");
        }
    }
}
