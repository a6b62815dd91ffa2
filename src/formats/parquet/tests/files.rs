//! Files as writers make them: CloudQuery's own, without rows, of every codec and encoding.

use super::*;

/// Files as CloudQuery's S3 destination writes them, and item 70 of docs/conformance.md.
#[test]
fn files_written_by_cloudquery() {
    let texts = || Arc::new(StringArray::from(vec!["x"])) as ArrayRef;
    let time = || Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")) as ArrayRef;
    let batch = columns(vec![
        ("_cq_sync_time", time()),
        ("_cq_source_name", texts()),
        ("_cq_id", texts()),
        ("_cq_parent_id", texts()),
        ("name", texts()),
    ]);
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_key_value_metadata(Some(vec![
            parquet::file::metadata::KeyValue::new("cq:table_name".into(), "other".to_owned()),
        ]));
    let file = repeated_root(&write_with(&batch, properties.build()));
    let (output, _) = decode_one(&file);
    let schema = output.schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let expected =
        ["_cq_id", "_cq_parent_id", "src_cq_sync_time", "src_cq_source_name", "src_cq_id", "src_cq_parent_id", "name"];
    assert_eq!(names, expected);
    assert!(schema.metadata().is_empty());
    assert_eq!(target(&output, "src_cq_id"), DataType::Utf8);
}

/// Sets the repetition of the schema's root to REPEATED, as the Go writer does: inserts field 3 (zigzag 2) in front of
/// the root's name in the footer.
fn repeated_root(file: &Bytes) -> Bytes {
    let size = file.len();
    let length = usize::try_from(u32::from_le_bytes(file[size - 8..size - 4].try_into().unwrap())).unwrap();
    let start = size - 8 - length;
    let mut footer = file[start..size - 8].to_vec();
    // FileMetaData: version (0x15 v), schema (0x19, list header), root element: name (0x48 length "arrow_schema").
    let name = footer.windows(14).position(|w| &w[..2] == b"\x48\x0c" && &w[2..] == b"arrow_schema").unwrap();
    footer.splice(name..=name, [0x35, 0x04, 0x18]);
    let mut output = file[..start].to_vec();
    output.extend_from_slice(&footer);
    output.extend_from_slice(&u32::try_from(footer.len()).unwrap().to_le_bytes());
    output.extend_from_slice(b"PAR1");
    output.into()
}

/// Trap T12: a file without rows still gives the table's schema.
#[test]
fn a_file_without_rows_has_a_schema_and_no_batches() {
    let batch = columns(vec![("x", Arc::new(Int32Array::from(Vec::<i32>::new())) as ArrayRef)]);
    let file = write(&batch);
    assert_eq!(table(&footer(&file).unwrap()).unwrap().columns()[0].name, "x");
    assert!(decode(&file).unwrap().0.is_empty());
}

#[test]
fn all_codecs() {
    let values: Vec<i64> = (0..1_000).map(|i| i % 7).collect();
    let batch = columns(vec![("x", Arc::new(Int64Array::from(values)) as ArrayRef)]);
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        let file = write_with(&batch, WriterProperties::builder().set_compression(codec).build());
        let (output, _) = decode_one(&file);
        assert_eq!(output.column_by_name("x").unwrap(), batch.column(0), "{codec}");
    }
}

#[test]
fn all_encodings_of_texts() {
    let texts: Vec<String> = (0..3_000).map(|i| format!("prefix-{}", i % 1_001)).collect();
    let batch = columns(vec![("x", Arc::new(StringArray::from(texts)) as ArrayRef)]);
    for encoding in [Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY] {
        let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding).build();
        let (batches, _) = decode(&write_with(&batch, properties)).unwrap();
        let output = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        assert_eq!(output.column_by_name("x").unwrap(), batch.column(0), "{encoding}");
    }
}

#[test]
fn statistics_are_not_kept() {
    let batch = columns(vec![("x", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::Chunk).build();
    let metadata = footer(&write_with(&batch, properties)).unwrap();
    assert!(metadata.row_group(0).column(0).statistics().is_none());
    assert!(metadata.row_group(0).column(0).page_encoding_stats().is_some());
}
