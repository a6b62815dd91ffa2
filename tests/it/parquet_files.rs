//! The Parquet files of the tests are what their names say, seen through the reader.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, LogicalType, Type};
use testkit::parquet_files as files;

fn open(file: &Bytes) -> ParquetRecordBatchReaderBuilder<Bytes> {
    ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap()
}

fn rows(file: &Bytes) -> RecordBatch {
    let builder = open(file);
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().collect::<Result<_, _>>().unwrap();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// Fails when the file's rows are not these. The reader adds metadata to nested fields, which is not what is compared.
#[track_caller]
fn assert_rows(file: &Bytes, written: &RecordBatch) {
    for (read, written) in rows(file).columns().iter().zip(written.columns()) {
        assert_eq!(&arrow::compute::cast(read, written.data_type()).unwrap(), written);
    }
    assert_eq!(rows(file).num_columns(), written.num_columns());
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    assert_eq!(files::flat(50, 1), files::flat(50, 1));
    assert_ne!(files::flat(50, 1), files::flat(50, 2));
    assert_eq!(files::nested(50, 1), files::nested(50, 1));
}

#[test]
fn batches_come_back_as_written() {
    assert_rows(&files::flat(100, 3), &files::flat_batch(100, 3));
    assert_rows(&files::nested(100, 3), &files::nested_batch(100, 3));
    assert_eq!(rows(&files::zero_rows()).num_rows(), 0);
}

#[test]
fn row_groups_and_codecs_are_as_asked() {
    let grouped = files::with_row_groups(25, 10, 1);
    let sizes: Vec<_> = open(&grouped).metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    for codec in
        [Compression::UNCOMPRESSED, Compression::GZIP(Default::default()), Compression::ZSTD(Default::default())]
    {
        let file = files::with_codec(100, 1, codec);
        assert_eq!(open(&file).metadata().row_group(0).column(0).compression(), codec);
        assert_eq!(rows(&file).num_rows(), 100);
    }
    let big = files::incompressible(3, Some(1000), 1);
    assert!(big.len() > 3 << 20 && big.len() < (3 << 20) * 102 / 100, "{} bytes", big.len());
}

#[test]
fn cloudquery_files_have_table_metadata_and_no_arrow_schema() {
    let file = files::cloudquery_written("aws_ec2_instances", 5, 1);
    let builder = open(&file);
    let pairs = builder.metadata().file_metadata().key_value_metadata().unwrap();
    assert!(pairs.iter().all(|pair| pair.key != "ARROW:schema"));
    let name = pairs.iter().find(|pair| pair.key == "cq:table_name").unwrap();
    assert_eq!(name.value.as_deref(), Some("aws_ec2_instances"));
    assert_eq!(builder.schema().field_with_name("_cq_id").unwrap().data_type(), &DataType::Utf8);
    let time = builder.schema().field_with_name("_cq_sync_time").unwrap().data_type().clone();
    assert_eq!(time, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
}

#[test]
fn types_that_arrow_does_not_write_are_there() {
    let times = files::int96(&[Some((2_440_588, 5_000_000_000)), None]);
    let builder = open(&times);
    assert_eq!(builder.parquet_schema().column(0).physical_type(), Type::INT96);
    let read = rows(&times);
    let nanos = read.column(0).as_any().downcast_ref::<arrow::array::TimestampNanosecondArray>().unwrap();
    assert_eq!((nanos.value(0), arrow::array::Array::is_null(nanos, 1)), (5_000_000_000, true));

    let typed = files::uuid_and_json(&[Some("{}"), None, Some("not JSON")]);
    let schema = open(&typed).parquet_schema().clone();
    assert_eq!(schema.column(0).logical_type_ref(), Some(&LogicalType::Uuid));
    assert_eq!(schema.column(1).logical_type_ref(), Some(&LogicalType::Json));
    assert_eq!((rows(&typed).num_rows(), rows(&typed).column(1).null_count()), (3, 1));
}
