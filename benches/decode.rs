//! What decoding costs, as ratios: times alone depend on the machine. Run with `cargo bench --bench decode`.
//!
//! First the ratios are printed (best of several rounds of the same work), then divan's own table.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a bench prints, and stops when its own files are bad")]

use arrow::array::types::Int64Type;
use arrow::array::{Array, AsArray};
use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use bytes::Bytes;
use cq_source_s3::cast::counts::CastCounts;
use cq_source_s3::cast::origin::Origin;
use cq_source_s3::cast::row_id::ObjectId;
use cq_source_s3::cast::row_numbers::RowNumbers;
use cq_source_s3::config::NestedAs;
use cq_source_s3::formats::Output;
use cq_source_s3::formats::fetched::FetchedRanges;
use cq_source_s3::formats::parquet::columns::file_schema;
use cq_source_s3::formats::parquet::footer::{FooterStep, footer_from_suffix};
use cq_source_s3::formats::parquet::plan::ObjectPlan;
use cq_source_s3::formats::parquet::row_groups::RowGroupDecoder;
use cq_source_s3::schema::merge::SchemaMerger;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of the files: a few batches.
const ROWS: usize = 50_000;

/// Rounds of which the fastest counts.
const ROUNDS: usize = 7;

fn main() {
    let ids = fastest(ids);
    println!(
        "_cq_id: {:.1} ns a row; SHA-256 for each row takes {:.0} times as long",
        per_row(ids),
        ratio(fastest(hashed_ids), ids)
    );
    let (file, plan) = flat();
    let plain = fastest(|| decode_only(&file));
    println!(
        "flat rows: {:.0} ns a row; with ids and casts {:.2} times the reader alone",
        per_row(plain),
        ratio(fastest(|| decode(&file, &plan)), plain)
    );
    let (file, plan) = nested();
    let plain = fastest(|| decode_only(&file));
    let encode = fastest(|| decode(&file, &plan)).saturating_sub(plain);
    let values = fastest(|| decode_to_values(&file)).saturating_sub(plain);
    println!(
        "nested rows to JSON: {:.0} ns a row; through serde_json::Value {:.1} times as long",
        per_row(encode),
        ratio(values, encode)
    );
    divan::main();
}

fn fastest<T>(mut work: impl FnMut() -> T) -> Duration {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box(work());
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn per_row(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / ROWS as f64
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-9)
}

#[divan::bench(name = "ids of 50,000 rows")]
fn ids() -> usize {
    let ids =
        ObjectId::new("bucket", "some/prefix/part-00000.parquet").rows(&RowNumbers::From { first: 0, rows: ROWS });
    ids.map_or(0, |ids| ids.len())
}

#[divan::bench(name = "ids of 50,000 rows by a hash for each")]
fn hashed_ids() -> usize {
    let mut bytes = Vec::with_capacity(ROWS * 16);
    for row in 0..ROWS as u64 {
        let digest = Sha256::new()
            .chain_update("bucket")
            .chain_update([0])
            .chain_update("some/prefix/part-00000.parquet")
            .chain_update(row.to_be_bytes())
            .finalize();
        bytes.extend_from_slice(&digest[..16]);
    }
    bytes.len()
}

#[divan::bench(name = "flat: ids and casts")]
fn flat_rows(bencher: divan::Bencher<'_, '_>) {
    let (file, plan) = flat();
    bencher.bench_local(|| decode(&file, &plan));
}

#[divan::bench(name = "nested: to JSON")]
fn nested_rows(bencher: divan::Bencher<'_, '_>) {
    let (file, plan) = nested();
    bencher.bench_local(|| decode(&file, &plan));
}

fn flat() -> (Bytes, Arc<ObjectPlan>) {
    let rows = 0..ROWS as i64;
    planned(vec![
        ("id", Arc::new(Int64Array::from_iter_values(rows.clone())) as ArrayRef),
        ("amount", Arc::new(Float64Array::from_iter_values(rows.clone().map(|row| row as f64 * 0.25)))),
        ("name", Arc::new(rows.clone().map(|row| Some(format!("customer {row}"))).collect::<StringArray>())),
        ("kind", Arc::new(rows.clone().map(|row| Some(["a", "b", "c"][row as usize % 3])).collect::<StringArray>())),
        ("at", Arc::new(TimestampMillisecondArray::from_iter_values(rows.map(|row| 1_700_000_000_000 + row)))),
    ])
}

fn nested() -> (Bytes, Arc<ObjectPlan>) {
    let rows = 0..ROWS as i64;
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>(
        rows.clone().map(|row| Some((0..row % 4).map(Some).collect::<Vec<_>>())),
    );
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.clone())),
        Arc::new(rows.clone().map(|row| Some(format!("customer \"{row}\""))).collect::<StringArray>()),
        Arc::new(Float64Array::from_iter_values(rows.map(|row| row as f64 * 0.1))),
        Arc::new(tags),
    ];
    let names = ["id", "name", "score", "tags"];
    let fields: Fields = names.iter().zip(&arrays).map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    planned(vec![("record", Arc::new(StructArray::new(fields, arrays, None)))])
}

fn planned(columns: Vec<(&str, ArrayRef)>) -> (Bytes, Arc<ObjectPlan>) {
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let properties = WriterProperties::builder().build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect("a plain schema");
    writer.write(&batch).expect("write to memory");
    writer.close().expect("write to memory");
    let file = Bytes::from(file);
    let metadata = footer(&file);
    let mut merger = SchemaMerger::new();
    merger.add("key", file_schema(&metadata, NestedAs::Json).expect("a plain schema"));
    let table = merger.finish().expect("one file agrees with itself").expect("there is a file").schema;
    let output = Arc::clone(table.arrow());
    let plan = ObjectPlan::new(
        metadata,
        Output::new(Arc::new(table.clone()), output, Origin::new("bucket", "key"), Arc::new(CastCounts::default())),
    );
    (file, Arc::new(plan.expect("the table of this file")))
}

fn footer(file: &Bytes) -> Arc<ParquetMetaData> {
    match footer_from_suffix(file, file.len() as u64).expect("a good file") {
        FooterStep::Ready(metadata) => metadata,
        FooterStep::NeedSuffix { .. } => unreachable!("the whole file is there"),
    }
}

fn decode(file: &Bytes, plan: &Arc<ObjectPlan>) -> usize {
    let mut rows = 0;
    for group in 0..footer(file).num_row_groups() {
        let bytes = FetchedRanges::whole(file.clone());
        let mut decoder =
            RowGroupDecoder::open(Arc::clone(plan), group, bytes, plan.first_row(group)).expect("a good file");
        while let Some(batch) = decoder.next_batch().expect("a good file") {
            rows += black_box(batch).num_rows();
        }
    }
    assert_eq!(rows, ROWS);
    rows
}

fn batches(file: &Bytes) -> impl Iterator<Item = RecordBatch> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).expect("a good file");
    builder.with_batch_size(8_192).build().expect("a good file").map(|batch| batch.expect("a good file"))
}

fn decode_only(file: &Bytes) -> usize {
    batches(file).map(|batch| black_box(batch).num_rows()).sum()
}

/// The usual way: a tree of values for each row, then its text.
fn decode_to_values(file: &Bytes) -> usize {
    let mut bytes = 0;
    for batch in batches(file) {
        let records = batch.column(0).as_struct();
        for row in 0..records.len() {
            bytes += value(records, row).to_string().len();
        }
    }
    bytes
}

fn value(array: &dyn Array, row: usize) -> serde_json::Value {
    use arrow::array::types::Float64Type;
    use serde_json::Value;
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(&items, item)).collect()
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let pairs = fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), value(column, row)));
            Value::Object(pairs.collect())
        }
        other => unreachable!("no {other} in the bench"),
    }
}
