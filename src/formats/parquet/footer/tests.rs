use super::*;
use crate::formats::parquet::tests::{columns, decode, footer, write};
use arrow::array::{Array, ArrayRef, Int64Array};
use parquet::file::metadata::{ColumnChunkMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaDataBuilder};

fn file() -> Bytes {
    write(&columns(vec![("x", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]))
}

/// The file with another footer.
fn with_footer(
    file: &Bytes,
    column: impl FnOnce(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
    group: impl FnOnce(RowGroupMetaDataBuilder) -> RowGroupMetaDataBuilder,
) -> Bytes {
    let metadata = footer(file).unwrap();
    let data_end = metadata.row_group(0).column(0).byte_range();
    let mut builder = ParquetMetaData::clone(&metadata).into_builder();
    let mut old = builder.take_row_groups().remove(0).into_builder();
    let chunk = column(old.take_columns().remove(0).into_builder()).build().unwrap();
    let metadata = builder.set_row_groups(vec![group(old.set_column_metadata(vec![chunk])).build().unwrap()]).build();
    let mut output = file[..usize::try_from(data_end.0 + data_end.1).unwrap()].to_vec();
    ParquetMetaDataWriter::new(&mut output, &metadata).finish().unwrap();
    output.into()
}

fn error(file: &Bytes) -> ReadError {
    footer(file).unwrap_err()
}

#[test]
fn other_files_are_not_parquet() {
    assert!(matches!(error(&Bytes::from_static(b"PAR1")), ReadError::OtherFormat { .. }));
    assert!(matches!(error(&Bytes::new()), ReadError::OtherFormat { .. }));
    let text = error(&Bytes::from_static(b"id,name\n1,some text that is CSV\n")).to_string();
    assert!(text.contains("not a Parquet file") && text.contains("PAR1"), "{text}");
    let mut start = file().to_vec();
    start[0] = b'X';
    assert!(matches!(error(&start.into()), ReadError::OtherFormat { .. }));
}

#[test]
fn encrypted_files_are_named() {
    let mut bytes = file().to_vec();
    *bytes.last_mut().unwrap() = b'E';
    assert!(matches!(error(&bytes.into()), ReadError::Encrypted { .. }));
}

/// A file without rows, whose only column lies in `groups` groups, the root included.
fn nested(groups: usize) -> Bytes {
    let mut footer = vec![0x15, 0x02, 0x19, 0xfc]; // version, a list of more than 14 structs
    let mut elements = groups + 1;
    while elements > 0x7f {
        footer.push((elements & 0x7f) as u8 | 0x80);
        elements >>= 7;
    }
    footer.push(elements as u8);
    for _ in 0..groups {
        footer.extend([0x35, 0x00, 0x18, 1, b'g', 0x15, 0x02, 0x00]); // required, name, one child
    }
    footer.extend([0x15, 0x02, 0x25, 0x00, 0x18, 1, b'x', 0x00]); // INT32, required, name
    footer.extend([0x16, 0x00, 0x19, 0x0c, 0x00]); // no rows, no row groups
    let mut file = b"PAR1".to_vec();
    file.extend(&footer);
    file.extend(u32::try_from(footer.len()).unwrap().to_le_bytes());
    file.extend(b"PAR1");
    file.into()
}

#[test]
fn schemas_nested_too_deeply_are_refused_before_they_are_read() {
    for groups in [elements::MAX_SCHEMA_DEPTH + 1, 300_000] {
        let text = error(&nested(groups)).to_string();
        assert!(text.contains("nested more than 200 levels"), "{text}");
    }
    let metadata = footer(&nested(elements::MAX_SCHEMA_DEPTH)).unwrap();
    assert_eq!(metadata.file_metadata().schema_descr().num_columns(), 1);
    let schema = crate::formats::parquet::columns::file_schema(&metadata, crate::config::NestedAs::Json).unwrap();
    assert_eq!(schema.columns.len(), 1);
}

/// Lists of lists of two levels get a third: what is put in counts, too.
#[test]
fn legacy_lists_nested_too_deeply_are_refused() {
    let lists = |count: u8| {
        // A list, in it repeated lists: name, one child, LIST; at last a repeated INT32.
        let mut elements = vec![0x35, 0x02, 0x18, 1, b'l', 0x15, 0x02, 0x15, 0x06, 0x00];
        for _ in 1..count {
            elements.extend([0x35, 0x04, 0x18, 1, b'l', 0x15, 0x02, 0x15, 0x06, 0x00]);
        }
        elements.extend([0x15, 0x02, 0x25, 0x04, 0x18, 1, b'x', 0x00]);
        let mut footer = vec![0x15, 0x02, 0x19, 0xfc];
        let count = usize::from(count) + 2;
        footer.extend([u8::try_from(count & 0x7f).unwrap() | 0x80, u8::try_from(count >> 7).unwrap()]);
        footer.extend([0x48, 1, b'm', 0x15, 0x02, 0x00]);
        footer.extend(elements);
        footer.extend([0x16, 0x00, 0x19, 0x0c, 0x00]);
        with_footer_bytes(b"PAR1", &footer)
    };
    assert_eq!(types(&lists(3)), ["list<list<list<int32>>>"]);
    let text = error(&lists(150)).to_string();
    assert!(text.contains("nested more than 200 levels"), "{text}");
}

#[test]
fn wide_schemas_are_not_deep() {
    let many = (0..500).map(|n| (format!("c{n}"), Arc::new(Int64Array::from(vec![n])) as ArrayRef));
    let file = write(&arrow::array::RecordBatch::try_from_iter(many).unwrap());
    assert_eq!(footer(&file).unwrap().file_metadata().schema_descr().num_columns(), 500);
}

#[test]
fn footer_lengths_that_cannot_be() {
    for length in [u32::MAX, 1 << 20, 0] {
        let mut bytes = file().to_vec();
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(error(&bytes.into()), ReadError::Damaged { .. } | ReadError::At { .. }), "{length}");
    }
}

#[test]
fn impossible_chunks_are_refused() {
    let file = file();
    let same_group = |group: RowGroupMetaDataBuilder| group;
    type Change = fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder;
    let cases: [(&str, Change); 5] = [
        ("outside", |c| c.set_total_compressed_size(1 << 40)),
        ("outside", |c| c.set_data_page_offset(1).set_dictionary_page_offset(None)),
        ("negative", |c| c.set_total_compressed_size(-1)),
        ("negative", |c| c.set_total_uncompressed_size(-1)),
        ("negative", |c| c.set_num_values(-1)),
    ];
    for (word, change) in cases {
        let error = error(&with_footer(&file, change, same_group));
        assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let error = error(&with_footer(&file, |c| c, |group| group.set_num_rows(-1)));
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
}

#[test]
fn row_counts_must_agree() {
    // FileMetaData: field 3 (rows, zigzag 3) and the header of field 4, a list of one row group.
    let mut bytes = file().to_vec();
    let at = bytes.windows(4).position(|w| w == [0x16, 6, 0x19, 0x1c]).unwrap();
    bytes[at + 1] = 4;
    let error = error(&bytes.into());
    assert_eq!(error.to_string(), "damaged Parquet file: 3 rows in its row groups, 2 by its footer");
}

/// Pages with more rows than the footer says: nothing may be left out silently.
#[test]
fn rows_beyond_the_footers_count_are_an_error() {
    for rows in [2, 4] {
        let error = decode(&with_footer(&file(), |c| c, |group| group.set_num_rows(rows))).unwrap_err();
        let expected = format!("damaged Parquet file: row group 0 should have {rows} rows, its pages hold 3");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn lzo_and_data_in_other_files_are_refused_by_name() {
    let text = error(&with_footer(&file(), |c| c.set_compression(Compression::LZO), |group| group)).to_string();
    assert!(text.contains("\"x\"") && text.contains("LZO"), "{text}");
    let text = error(&with_footer(&file(), |c| c.set_file_path("part-1.parquet".into()), |group| group)).to_string();
    assert!(text.contains("another file"), "{text}");
}

/// Files of old writers: the offset of a dictionary that isn't there is 0.
#[test]
fn offset_zero_is_no_dictionary() {
    let batch = columns(vec![("x", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef)]);
    let properties = parquet::file::properties::WriterProperties::builder().set_dictionary_enabled(false).build();
    let file = crate::formats::parquet::tests::write_with(&batch, properties);
    let file = with_footer(&file, |c| c.set_dictionary_page_offset(Some(0)), |group| group);
    assert_eq!(footer(&file).unwrap().row_group(0).column(0).dictionary_page_offset(), None);
    assert_eq!(decode(&file).unwrap().0[0].column(2).len(), 3);
}

/// A file without rows, with these elements below the root of its schema and these bytes behind its (empty) row groups.
fn without_rows(fields: u8, elements: &[u8], more: &[u8]) -> Bytes {
    // Version; schema: a list of structs; root: name, children.
    let mut footer = vec![0x15, 0x02, 0x19, (fields + 1) << 4 | 12, 0x48, 1, b'm', 0x15, fields << 1, 0x00];
    footer.extend(elements);
    footer.extend([0x16, 0x00, 0x19, 0x0c]); // no rows, no row groups
    footer.extend(more);
    footer.push(0x00);
    with_footer_bytes(b"PAR1", &footer)
}

fn with_footer_bytes(before: &[u8], footer: &[u8]) -> Bytes {
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    [before, footer, &length, b"PAR1"].concat().into()
}

/// The types of a file's columns.
fn types(file: &Bytes) -> Vec<String> {
    let schema = crate::formats::parquet::columns::file_schema(&footer(file).unwrap(), crate::config::NestedAs::Json);
    schema.unwrap().columns.iter().map(|column| column.source.clone()).collect()
}

#[test]
fn converted_types_that_the_format_does_not_have_say_nothing() {
    // Type, optional, name, converted type: INT32 with 24 (all values are null), with 22, BYTE_ARRAY with 99 (two bytes).
    let elements = [
        &[0x15, 0x02, 0x25, 0x02, 0x18, 1, b'a', 0x25, 48, 0x00][..],
        &[0x15, 0x02, 0x25, 0x02, 0x18, 1, b'b', 0x25, 44, 0x00],
        &[0x15, 0x0c, 0x25, 0x02, 0x18, 1, b'c', 0x25, 0xc6, 0x01, 0x00],
    ];
    assert_eq!(types(&without_rows(3, &elements.concat(), &[])), ["null", "int32", "binary"]);
}

#[test]
fn a_decimal_without_scale_has_the_scale_0() {
    // Type, optional, name, DECIMAL, precision (field 8) 9; the second with the logical type DECIMAL(9, 2), too.
    let elements = [
        &[0x15, 0x02, 0x25, 0x02, 0x18, 1, b'a', 0x25, 0x0a, 0x25, 18, 0x00][..],
        &[0x15, 0x02, 0x25, 0x02, 0x18, 1, b'b', 0x25, 0x0a, 0x25, 18, 0x2c, 0x5c, 0x15, 4, 0x15, 18, 0, 0, 0x00],
    ];
    assert_eq!(types(&without_rows(2, &elements.concat(), &[])), ["decimal(9, 0)", "decimal(9, 2)"]);
}

#[test]
fn texts_that_are_no_utf8_are_no_reason_to_refuse_a_file() {
    let column = [0x15, 0x02, 0x25, 0x00, 0x18, 1, b'x', 0x00];
    // Key-values: one of two texts; then created_by.
    let more = [0x19, 0x1c, 0x18, 2, b'k', 0xff, 0x18, 3, 0xc3, b'(', b'v', 0x00, 0x18, 4, b'w', 0xe2, 0x82, b'!'];
    let file = without_rows(1, &column, &more);
    let metadata = footer(&file).unwrap();
    let pair = &metadata.file_metadata().key_value_metadata().unwrap()[0];
    assert_eq!((pair.key.as_str(), pair.value.as_deref()), ("k?", Some("?(v")));
    assert_eq!(metadata.file_metadata().created_by(), Some("w??!"));
}

#[test]
fn empty_lists_may_have_items_of_any_type() {
    let column = [0x15, 0x02, 0x25, 0x00, 0x18, 1, b'x', 0x00];
    for kind in 0..13 {
        let file = without_rows(1, &column, &[0x19, kind]); // key-values
        // The list of row groups, too: no rows, no row groups.
        let mut bytes = file.to_vec();
        let at = bytes.windows(4).position(|w| w == [0x16, 0x00, 0x19, 0x0c]).unwrap();
        bytes[at + 3] = kind;
        assert_eq!(footer(&bytes.into()).unwrap().num_row_groups(), 0, "{kind}");
    }
}

#[test]
fn encrypted_columns_of_a_plain_footer_are_named() {
    let element = |name| [0x15, 0x02, 0x25, 0x00, 0x18, 1, name, 0x00];
    let mut elements = element(b'a').to_vec();
    elements.extend([0x35, 0x00, 0x18, 1, b'g', 0x15, 0x02, 0x00]); // a group of one
    elements.extend(element(b'b'));
    let mut footer = vec![0x15, 0x02, 0x19, 0x4c, 0x48, 1, b'm', 0x15, 0x04, 0x00];
    footer.extend(elements);
    // One row; one row group of two columns: offset; of the second how it is encrypted and what is in it (encrypted).
    footer.extend([0x16, 0x02, 0x19, 0x1c, 0x19, 0x2c, 0x26, 0x08, 0x00]);
    footer.extend([0x26, 0x08, 0x6c, 0x2c, 0x00, 0x00, 0x18, 1, 0xff, 0x00]);
    footer.extend([0x16, 0x00, 0x16, 0x02, 0x00, 0x00]);
    let error = error(&with_footer_bytes(b"PAR1", &footer));
    let text = error.to_string();
    assert!(matches!(error, ReadError::Unsupported { .. }), "{text}");
    assert!(text.contains("encrypted columns (\"g.b\")"), "{text}");
}

/// As pyarrow writes a column without values: a dictionary of nothing, and no page of data.
#[test]
fn chunks_without_values_may_be_anywhere() {
    let none = Vec::<i64>::new();
    let file = write(&columns(vec![("x", Arc::new(Int64Array::from(none)) as ArrayRef)]));
    assert!(footer(&file).unwrap().row_groups().is_empty());
    let metadata = footer(&self::file()).unwrap();
    let mut builder = ParquetMetaData::clone(&metadata).into_builder();
    let mut group = builder.take_row_groups().remove(0).into_builder();
    let chunk = group.take_columns().remove(0).into_builder().set_num_values(0).set_data_page_offset(0);
    let chunk = chunk.set_dictionary_page_offset(Some(4)).set_total_compressed_size(15).build().unwrap();
    let group = group.set_column_metadata(vec![chunk]).set_num_rows(0).build().unwrap();
    let file_metadata = metadata.file_metadata();
    let file_metadata = parquet::file::metadata::FileMetaData::new(
        file_metadata.version(),
        0,
        None,
        None,
        file_metadata.schema_descr_ptr(),
        None,
    );
    let metadata = ParquetMetaData::new(file_metadata, vec![group]);
    let mut output = b"PAR1".to_vec();
    ParquetMetaDataWriter::new(&mut output, &metadata).finish().unwrap();
    let file = Bytes::from(output);
    assert_eq!(footer(&file).unwrap().num_row_groups(), 1);
    assert!(
        crate::formats::parquet::chunks::row_group_ranges(&footer(&file).unwrap(), 0, &Default::default())
            .unwrap()
            .is_empty()
    );
    assert!(decode(&file).unwrap().0.is_empty());
}

/// Lists that claim more items than there are bytes, in each place where the repair walks over one.
#[test]
fn counts_beyond_the_bytes_end_at_once() {
    const MANY: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    // Version 1, then a field of that number that is a list of structs.
    for field in [2_u8, 4, 5, 7, 9] {
        let footer = [&[0x15, 0x02, (field - 1) << 4 | 9, 0xfc], &MANY[..], &[0x00]].concat();
        assert!(matches!(repair::repaired(&footer), Ok(std::borrow::Cow::Borrowed(_))), "{field}");
        // And inside a struct that ends with the bytes.
        let footer = [&[0x15, 0x02, (field - 1) << 4 | 9, 0x1c, 0x19, 0xfc], &MANY[..]].concat();
        assert!(matches!(repair::repaired(&footer), Ok(std::borrow::Cow::Borrowed(_))), "{field} inside");
    }
    // As many elements as bytes, none of which has a name.
    let mut zeros = vec![0x15, 0x02, 0x19, 0xfc, 0x80, 0x80, 0x40];
    zeros.resize(zeros.len() + (1 << 20), 0);
    assert!(matches!(repair::repaired(&zeros), Ok(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn large_schemas_are_left_as_they_are_but_for_their_depth() {
    let names = 100_001_u32;
    let mut footer = vec![0x15, 0x02, 0x19, 0xfc, 0xa1, 0x8d, 0x06];
    assert_eq!(u32::from(footer[4] & 0x7f) | u32::from(footer[5] & 0x7f) << 7 | u32::from(footer[6]) << 14, names);
    for _ in 0..names {
        // Named "x", with a converted type that the format does not have: mended in a smaller schema.
        footer.extend([0x48, 1, b'x', 0x25, 24 << 1, 0x00]);
    }
    footer.push(0);
    assert!(matches!(repair::repaired(&footer), Ok(std::borrow::Cow::Borrowed(_))));
}
