use super::*;
use crate::cast::origin::{ObjectFacts, Origin};
use crate::config::FileColumns;
use crate::formats::Output;
use crate::formats::assemble::JSON_BATCH_BYTES;
use crate::formats::limits::BATCH_ROWS;
use crate::formats::limits::MAX_VALUE_BYTES;
use crate::formats::parquet::batch_size;
use crate::formats::parquet::footer::FooterStep;
use crate::formats::parquet::tests::{
    columns, decode, decode_as, footer, next_column, table, write, write_raw, write_with,
};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use std::collections::HashMap;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;

fn plan(file: &Bytes) -> Arc<ObjectPlan> {
    let metadata = footer(file).unwrap();
    let table = table(&metadata).unwrap();
    let output = Arc::clone(table.arrow());
    Arc::new(
        ObjectPlan::new(metadata, Output::new(Arc::new(table.clone()), output, Origin::new("b", "k"), Arc::default()))
            .unwrap(),
    )
}

fn numbers(rows: i64) -> RecordBatch {
    let texts: Vec<String> = (0..rows).map(|row| format!("text {}", row % 50)).collect();
    columns(vec![
        ("n", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef),
        ("t", Arc::new(StringArray::from(texts))),
    ])
}

/// Items 61 and 62 of docs/conformance.md: over row groups and batches all rows come once, in order, with ids of their own.
#[test]
fn row_groups_and_batches_join_without_gaps() {
    let file =
        write_with(&numbers(25_000), WriterProperties::builder().set_max_row_group_row_count(Some(10_000)).build());
    let (batches, _) = decode(&file).unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= BATCH_ROWS));
    let ids: Vec<Vec<u8>> = batches
        .iter()
        .flat_map(|batch| {
            batch.column(0).as_fixed_size_binary().iter().map(|id| id.unwrap().to_vec()).collect::<Vec<_>>()
        })
        .collect();
    assert!(ids.is_sorted());
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 25_000);
    let values: Vec<i64> = batches
        .iter()
        .flat_map(|batch| batch.column(2).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec())
        .collect();
    assert_eq!(values, (0..25_000).collect::<Vec<i64>>());
    let (again, _) = decode(&file).unwrap();
    assert_eq!(again, batches);
}

#[test]
fn identity_columns_take_no_second_buffer() {
    // What the reader allocated is what the batch holds: the ids and two columns.
    let (batches, _) = decode(&write(&numbers(8_000))).unwrap();
    let column = batches[0].column(2);
    assert_eq!(column.get_array_memory_size() / 8_000, 8);
}

#[test]
fn long_dictionary_values_make_small_batches() {
    // 4,000 times the same 100 kB: 400 MB decoded, one value in the file. Without size statistics the footer can't tell.
    let long = "x".repeat(100_000);
    let texts: StringArray = (0..4_000).map(|_| Some(long.as_str())).collect();
    let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None);
    let file = write_with(&columns(vec![("t", Arc::new(texts) as ArrayRef)]), properties.build());
    let metadata = without_sizes(&footer(&file).unwrap());
    assert!(metadata.row_group(0).column(0).unencoded_byte_array_data_bytes().is_none());
    let table = table(&metadata).unwrap();
    let output = Arc::clone(table.arrow());
    let plan = Arc::new(
        ObjectPlan::new(metadata, Output::new(Arc::new(table.clone()), output, Origin::new("b", "k"), Arc::default()))
            .unwrap(),
    );
    let mut decoder = RowGroupDecoder::open(plan, 0, FetchedRanges::whole(file), 0).unwrap();
    let (mut rows, mut largest) = (0, 0);
    while let Some(batch) = decoder.next_batch().unwrap() {
        rows += batch.num_rows();
        largest = largest.max(batch.get_array_memory_size());
    }
    assert_eq!(rows, 4_000);
    assert!(largest as u64 <= 2 * batch_size::DICTIONARY_BATCH_BYTES, "{largest}");
}

fn without_sizes(metadata: &Arc<ParquetMetaData>) -> Arc<ParquetMetaData> {
    let mut builder = ParquetMetaData::clone(metadata).into_builder();
    let mut groups = builder.take_row_groups();
    let mut group = groups.remove(0).into_builder();
    let columns = group.take_columns().into_iter();
    let columns = columns.map(|c| c.into_builder().set_unencoded_byte_array_data_bytes(None).build().unwrap());
    let group = group.set_column_metadata(columns.collect()).build().unwrap();
    Arc::new(builder.set_row_groups(vec![group]).build())
}

#[test]
fn a_batch_that_is_too_large_makes_the_next_smaller() {
    // On average a row is small, so the first batch has many; the first rows are not small.
    let large = "x".repeat(64_000);
    let texts: StringArray = (0..60_000).map(|row| Some(if row < 1_000 { large.as_str() } else { "" })).collect();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let file = write_with(&columns(vec![("t", Arc::new(texts) as ArrayRef)]), properties);
    let mut decoder = RowGroupDecoder::open(plan(&file), 0, FetchedRanges::whole(file), 0).unwrap();
    let first = decoder.batch_rows;
    let (mut rows, mut ids) = (0, HashSet::new());
    let mut smallest = first;
    while let Some(batch) = decoder.next_batch().unwrap() {
        rows += batch.num_rows();
        smallest = smallest.min(decoder.batch_rows);
        ids.extend(batch.column(0).as_fixed_size_binary().iter().map(|id| id.unwrap().to_vec()));
    }
    assert!(smallest < first / 4, "{first} {smallest}");
    assert_eq!((rows, ids.len()), (60_000, 60_000));
}

#[test]
fn wide_rows_make_small_batches() {
    let texts: StringArray = (0..200).map(|row| Some(format!("{row}").repeat(40_000))).collect();
    let file = write(&columns(vec![("t", Arc::new(texts) as ArrayRef)]));
    let (batches, _) = decode(&file).unwrap();
    let largest = batches.iter().map(RecordBatch::get_array_memory_size).max().unwrap() as u64;
    assert!(largest < 4 * BATCH_BYTES, "{largest}");
    assert!(batches.len() > 3);
}

#[test]
fn another_order_and_relaxed_nullability_fit_the_table() {
    let field = |name: &str, nullable| Field::new(name, DataType::Int64, nullable);
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let two: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let batch = |fields: Vec<Field>, arrays: Vec<&ArrayRef>| {
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays.into_iter().cloned().collect()).unwrap()
    };
    let first = write(&batch(vec![field("a", true), field("b", false)], vec![&one, &two]));
    let second = write(&batch(vec![field("b", false), field("a", false)], vec![&two, &one]));
    let table = table(&footer(&first).unwrap()).unwrap();
    let open = |file: &Bytes| {
        let output = Arc::clone(table.arrow());
        ObjectPlan::new(
            footer(file).unwrap(),
            Output::new(Arc::new(table.clone()), output, Origin::new("b", "k"), Arc::default()),
        )
    };
    let decode = |file: &Bytes| {
        let plan = Arc::new(open(file).unwrap());
        RowGroupDecoder::open(plan, 0, FetchedRanges::whole(file.clone()), 0).unwrap().next_batch().unwrap().unwrap()
    };
    assert_eq!(decode(&first), decode(&second));

    let changed = |batch: RecordBatch| open(&write(&batch)).unwrap_err().to_string();
    let text = changed(batch(vec![field("a", true)], vec![&one]));
    assert!(text.contains("\"b\"") && text.contains("missing"), "{text}");
    assert_eq!(decode(&write(&batch(vec![field("a", true), field("b", true)], vec![&one, &two]))), decode(&first));
    let text = changed(batch(vec![field("a", true), field("b", false), field("c", false)], vec![&one, &two, &two]));
    assert!(text.contains("\"c\"") && text.contains("does not have"), "{text}");
    let text =
        changed(columns(vec![("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef), ("b", Arc::clone(&two))]));
    assert!(text.contains("utf8") && text.contains("int64"), "{text}");
}

#[test]
fn the_output_schema_carries_the_callers_metadata() {
    let file = write(&numbers(3));
    let metadata = footer(&file).unwrap();
    let table = table(&metadata).unwrap();
    let fields: Vec<Field> = table
        .arrow()
        .fields()
        .iter()
        .map(|field| {
            field.as_ref().clone().with_metadata(HashMap::from([("cq:extension:unique".to_owned(), "x".to_owned())]))
        })
        .collect();
    let output = Arc::new(Schema::new(fields));
    let new = |output: &SchemaRef| {
        ObjectPlan::new(
            Arc::clone(&metadata),
            Output::new(Arc::new(table.clone()), Arc::clone(output), Origin::new("b", "k"), Arc::default()),
        )
    };
    let plan = Arc::new(new(&output).unwrap());
    let batch = RowGroupDecoder::open(plan, 0, FetchedRanges::whole(file), 0).unwrap().next_batch().unwrap().unwrap();
    assert!(Arc::ptr_eq(&batch.schema(), &output));
    assert!(matches!(new(&Arc::new(Schema::empty())), Err(ReadError::Internal { .. })));
}

/// A list of UUIDs has the extension on its item field: on the batch's array, too. Another output schema is refused.
#[test]
fn nested_fields_of_the_output_schema_are_the_tables() {
    let message = "message m { OPTIONAL GROUP u (LIST) { REPEATED GROUP list {
        OPTIONAL FIXED_LEN_BYTE_ARRAY (16) element (UUID); } } }";
    let uuid = parquet::data_type::FixedLenByteArray::from(vec![7; 16]);
    let file = write_raw(message, |group| {
        next_column::<parquet::data_type::FixedLenByteArrayType>(group, &[uuid], Some(&[3]), Some(&[0]));
    });
    let metadata = footer(&file).unwrap();
    let table = table(&metadata).unwrap();
    let new = |output: &SchemaRef| {
        ObjectPlan::new(
            Arc::clone(&metadata),
            Output::new(Arc::new(table.clone()), Arc::clone(output), Origin::new("b", "k"), Arc::default()),
        )
    };
    let plan = Arc::new(new(table.arrow()).unwrap());
    let batch = RowGroupDecoder::open(plan, 0, FetchedRanges::whole(file), 0).unwrap().next_batch().unwrap().unwrap();
    let DataType::List(item) = batch.column(2).data_type() else { panic!("not a list") };
    assert_eq!(item.metadata()["ARROW:extension:name"], "uuid");
    assert_eq!(batch.column(2).as_list::<i32>().value(0).as_fixed_size_binary().value(0), [7; 16]);
    let mut fields: Vec<Field> = table.arrow().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[2] = Field::new("u", DataType::new_list(DataType::FixedSizeBinary(16), true), true);
    assert!(matches!(new(&Arc::new(Schema::new(fields))), Err(ReadError::Internal { .. })));
}

/// Rows are numbered over the whole object, whatever its row groups and batches are.
#[test]
fn file_columns_tell_key_time_and_row() {
    let file =
        write_with(&numbers(25_000), WriterProperties::builder().set_max_row_group_row_count(Some(10_000)).build());
    let facts = ObjectFacts {
        bucket: "bucket".to_owned(),
        key: "a/b.parquet".to_owned(),
        last_modified_s: 1_700_000_000,
        ..ObjectFacts::default()
    };
    let origin = Origin::with_columns(facts, FileColumns::USUAL.into_iter().collect());
    let (batches, _) = decode_as(&file, crate::config::NestedAs::Json, origin).unwrap();
    assert!(batches.len() > 3);
    let mut next = 0;
    for batch in &batches {
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["_cq_id", "_cq_parent_id", "_s3_key", "_s3_last_modified", "_s3_row", "n", "t"]);
        assert!(batch.column(2).as_string::<i32>().iter().all(|key| key == Some("a/b.parquet")));
        let times = batch.column(3).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        assert!(times.iter().all(|time| time == Some(1_700_000_000_000_000)));
        let rows = batch.column(4).as_primitive::<arrow::datatypes::Int64Type>().values();
        assert!(rows.iter().copied().eq(next..next + batch.num_rows() as i64));
        assert_eq!(batch.column(4).as_ref(), batch.column(5).as_ref(), "the file's own numbers");
        let ids = batch.column(0).as_fixed_size_binary();
        assert_eq!(ids.value(0), crate::cast::row_id::ObjectId::new("bucket", "a/b.parquet").row(next.unsigned_abs()));
        next += batch.num_rows() as i64;
    }
    assert_eq!(next, 25_000);
}

#[test]
fn missing_bytes_are_an_error() {
    let file = write(&numbers(100));
    let mut decoder = RowGroupDecoder::open(plan(&file), 0, FetchedRanges::default(), 0).unwrap();
    assert!(matches!(decoder.next_batch(), Err(ReadError::At { .. })));
    assert!(matches!(
        RowGroupDecoder::open(plan(&file), 1, FetchedRanges::default(), 0),
        Err(ReadError::Internal { .. })
    ));
}

/// Decodes what may be damaged, as the sync does: a panic of the crate counts as an error.
fn survive(file: &Bytes) -> Option<Vec<RecordBatch>> {
    std::panic::catch_unwind(AssertUnwindSafe(|| decode(file).ok().map(|(batches, _)| batches))).unwrap_or(None)
}

#[test]
fn truncated_files_are_errors() {
    let file = write(&numbers(300));
    for length in 0..file.len() {
        let cut = file.slice(..length);
        assert!(crate::formats::parquet::footer::footer_from_suffix(&cut, length as u64).is_err(), "{length}");
    }
}

/// Sets a page's checksum: the Rust writer makes none. Page headers are small Thrift structs: type, uncompressed size,
/// compressed size, and then the checksum (field 4) goes in.
fn with_checksum(file: &Bytes) -> Bytes {
    let metadata = footer(file).unwrap();
    let chunk = metadata.row_group(0).column(0);
    assert_eq!((metadata.num_row_groups(), metadata.row_group(0).num_columns()), (1, 1));
    let start = usize::try_from(chunk.data_page_offset()).unwrap();
    let end = start + usize::try_from(chunk.compressed_size()).unwrap();
    // 0x15 type 0x15 uncompressed 0x15 compressed: three varints.
    let mut at = start;
    let mut size = 0u64;
    for _ in 0..3 {
        assert_eq!(file[at], 0x15);
        at += 1;
        size = 0;
        let mut shift = 0;
        loop {
            size |= u64::from(file[at] & 0x7f) << shift;
            shift += 7;
            at += 1;
            if file[at - 1] & 0x80 == 0 {
                break;
            }
        }
    }
    let data = &file[end - usize::try_from(size / 2).unwrap()..end];
    let mut table = [0u32; 256];
    for (index, entry) in (0u32..).zip(table.iter_mut()) {
        *entry = (0..8).fold(index, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 });
    }
    let crc = !data.iter().fold(!0u32, |crc, byte| table[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8));
    let mut zigzag = u64::from(crc.cast_signed().cast_unsigned() << 1 ^ (crc.cast_signed() >> 31).cast_unsigned());
    let mut field = vec![0x15];
    while zigzag >= 0x80 {
        field.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
        zigzag >>= 7;
    }
    field.push(u8::try_from(zigzag).unwrap());
    // The next field's header holds the difference to field 3, now to field 4.
    let mut output = file[..at].to_vec();
    output.extend_from_slice(&field);
    output.push(file[at] - 0x10);
    output.extend_from_slice(&file[at + 1..end]);
    // The footer's size of the chunk grows; write it again.
    let added = i64::try_from(field.len()).unwrap();
    let mut builder = ParquetMetaData::clone(&metadata).into_builder();
    let mut group = builder.take_row_groups().remove(0).into_builder();
    let column = group.take_columns().remove(0).into_builder();
    let column = column.set_total_compressed_size(chunk.compressed_size() + added).build().unwrap();
    let group = group.set_column_metadata(vec![column]).build().unwrap();
    let metadata = builder.set_row_groups(vec![group]).build();
    let mut footer = Vec::new();
    parquet::file::metadata::ParquetMetaDataWriter::new(&mut footer, &metadata).finish().unwrap();
    output.extend_from_slice(&footer);
    output.into()
}

#[test]
fn checksums_catch_every_flipped_bit_of_a_page() {
    let batch = columns(vec![("n", Arc::new(Int64Array::from_iter_values(0..50)) as ArrayRef)]);
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let file = with_checksum(&write_with(&batch, properties));
    assert_eq!(survive(&file).unwrap()[0].column(2), batch.column(0));
    let metadata = footer(&file).unwrap();
    let chunk = metadata.row_group(0).column(0);
    let end = usize::try_from(chunk.data_page_offset() + chunk.compressed_size()).unwrap();
    for at in end - 50 * 8..end {
        let mut damaged = file.to_vec();
        damaged[at] ^= 1 << (at % 8);
        assert!(survive(&damaged.into()).is_none(), "byte {at}");
    }
}

/// Without checksums damage may go unseen in values, but it must never hang, and never change the number of rows.
#[test]
fn flipped_bytes_never_change_the_row_count() {
    let file = write(&numbers(300));
    for at in 0..file.len() {
        let mut damaged = file.to_vec();
        damaged[at] ^= 0x55;
        if let Some(batches) = survive(&damaged.into()) {
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 300, "byte {at}");
        }
    }
}

#[test]
fn a_suffix_is_asked_for_until_the_footer_is_there() {
    let file = write(&numbers(300));
    let size = file.len() as u64;
    let step = |bytes: u64| {
        let start = file.len() - usize::try_from(bytes).unwrap();
        crate::formats::parquet::footer::footer_from_suffix(&file.slice(start..), size).unwrap()
    };
    let FooterStep::NeedSuffix { bytes } = step(3) else { panic!("a footer out of 3 bytes") };
    assert_eq!(bytes, size.min(crate::formats::parquet::footer::FIRST_SUFFIX_BYTES));
    let FooterStep::NeedSuffix { bytes } = step(8) else { panic!("a footer out of 8 bytes") };
    assert!(bytes < size);
    let FooterStep::Ready(metadata) = step(bytes) else { panic!("asked for too little") };
    assert_eq!(metadata.file_metadata().num_rows(), 300);
}

/// Lists of structs whose only field has a long name and is null: nothing in the file, 80 bytes each in JSON.
fn null_structs(rows: usize, elements: impl Fn(usize) -> usize) -> RecordBatch {
    let lengths: Vec<usize> = (0..rows).map(elements).collect();
    let total = lengths.iter().sum();
    let field = Field::new("a".repeat(70), DataType::Boolean, true);
    let values: ArrayRef = Arc::new(arrow::array::BooleanArray::new_null(total));
    let structs = arrow::array::StructArray::new(vec![field].into(), vec![values], None);
    let item = Arc::new(Field::new("element", structs.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    let lists = arrow::array::ListArray::new(item, offsets, Arc::new(structs), None);
    columns(vec![("l", Arc::new(lists) as ArrayRef)])
}

#[test]
fn keys_and_nulls_count_as_json() {
    let file = write(&null_structs(2_000, |_| 50));
    let (batches, _) = decode(&file).unwrap();
    let largest = batches.iter().map(|batch| batch.column(2).as_binary::<i32>().value_data().len() as u64).max();
    assert!(largest.unwrap() <= BATCH_BYTES + BATCH_BYTES / 4, "{largest:?}");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2_000);
}

#[test]
fn json_that_no_average_foretells_stops_at_its_budget_and_teaches_the_next_row_group() {
    // All of it is at the end of each row group.
    let rows = 6_000;
    let file = write_with(
        &null_structs(2 * rows, |row| if row % rows < rows - 300 { 0 } else { 2_000 }),
        WriterProperties::builder().set_max_row_group_row_count(Some(rows)).build(),
    );
    let plan = plan(&file);
    let mut lengths = Vec::new();
    for row_group in 0..2 {
        let bytes = FetchedRanges::whole(file.clone());
        let mut decoder =
            RowGroupDecoder::open(Arc::clone(&plan), row_group, bytes, (row_group * rows) as u64).unwrap();
        lengths.push(decoder.batch_rows);
        let mut row = 0;
        while let Some(batch) = decoder.next_batch().unwrap() {
            let json = batch.column(2).as_binary::<i32>();
            assert!(json.value_data().len() as u64 <= JSON_BATCH_BYTES || batch.num_rows() == 1);
            for value in json.iter() {
                assert_eq!(value.unwrap().len() > 2, row >= rows - 300, "row {row}");
                row += 1;
            }
        }
        assert_eq!(row, rows);
        lengths.push(decoder.batch_rows);
    }
    assert!(lengths[1] < lengths[0] / 4 && lengths[2] == lengths[1], "{lengths:?}");
}

#[test]
fn a_value_too_large_for_a_message_is_refused_before_it_is_unpacked() {
    let file = write(&numbers(100));
    let plan = plan(&file);
    let group = plan.metadata.row_group(0);
    let pages = crate::formats::parquet::pages::walk_row_group(
        group,
        0,
        &Default::default(),
        &FetchedRanges::whole(file.clone()),
    )
    .unwrap()[1];
    batch_size::check_values(group.column(1), 0, pages).unwrap();
    let mut large = pages;
    large.value_bytes = MAX_VALUE_BYTES + 1;
    let error = batch_size::check_values(group.column(1), 0, large).unwrap_err().to_string();
    assert!(error.starts_with("row group 0, column \"t\": it has a value of about 104857601 bytes"), "{error}");
}
