use super::*;
use crate::decode::tests::{columns, footer, write_with};
use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
use arrow::datatypes::Float32Type;
use bytes::Bytes;
use parquet::basic::{Encoding, PageType};
use parquet::column::page::PageReader as _;
use parquet::file::metadata::PageEncodingStats;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::serialized_reader::SerializedPageReader;
use std::sync::Arc;

fn snappy() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(Compression::SNAPPY)
}

fn texts(rows: usize, length: usize) -> ArrayRef {
    Arc::new((0..rows).map(|row| Some(format!("{row:07}").repeat(length / 7))).collect::<StringArray>())
}

fn measured(file: &Bytes) -> u64 {
    measured_bytes(&footer(file).unwrap(), 0, &RangeBytes::whole(file.clone()))
}

#[test]
fn headers_say_what_the_real_reader_finds() {
    let numbers: ArrayRef = Arc::new((0..20_000).map(|n| (n % 7 != 0).then_some(n % 1_000)).collect::<Int64Array>());
    let batch = columns(vec![("n", numbers), ("t", texts(20_000, 70))]);
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for statistics in [EnabledStatistics::None, EnabledStatistics::Page] {
            let properties = snappy()
                .set_writer_version(version)
                .set_statistics_enabled(statistics)
                .set_write_page_header_statistics(true)
                .set_data_page_row_count_limit(3_000)
                .set_write_batch_size(1_000);
            let file = write_with(&batch, properties.build());
            let metadata = footer(&file).unwrap();
            let bytes = RangeBytes::whole(file.clone());
            for chunk in metadata.row_group(0).columns() {
                let pages = walk(chunk, 0, &bytes).unwrap();
                let mut reader = SerializedPageReader::new(Arc::new(bytes.clone()), chunk, 20_000, None).unwrap();
                let (mut total, mut dictionary, mut before, mut pair) = (0, 0, 0, 0);
                while let Some(page) = reader.get_next_page().unwrap() {
                    let page_bytes = page.buffer().len() as u64;
                    total += page_bytes;
                    if page.is_dictionary_page() {
                        dictionary = page_bytes;
                    } else {
                        pair = pair.max(before + page_bytes);
                        before = page_bytes;
                    }
                }
                assert_eq!((pages.total_bytes, pages.dictionary_bytes, pages.pair_bytes), (total, dictionary, pair));
            }
        }
    }
}

#[test]
fn a_header_may_lie_in_two_pieces() {
    let file = write_with(&columns(vec![("t", texts(5_000, 70))]), snappy().build());
    let metadata = footer(&file).unwrap();
    let chunk = metadata.row_group(0).column(0);
    let whole = walk(chunk, 0, &RangeBytes::whole(file.clone())).unwrap();
    for cut in [5, 10, 20, 1_000] {
        let pieces = [(0, file.slice(..cut)), (cut as u64, file.slice(cut..))];
        let walked = walk(chunk, 0, &RangeBytes::new(pieces).unwrap()).unwrap();
        assert_eq!(Pages { joined_bytes: 0, ..walked }, whole);
    }
}

/// A column of 7 MB in one page or pages of 100,000 bytes, and what it measures in one piece and in three.
fn measured_in_pieces(compression: Compression, page_bytes: usize) -> (Bytes, u64, u64) {
    let layout = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(page_bytes)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(100);
    let file = write_with(&columns(vec![("t", texts(100_000, 70))]), layout.build());
    let third = file.len() / 3;
    let cuts = [0..third, third..2 * third, 2 * third..file.len()];
    let pieces = RangeBytes::new(cuts.map(|cut| (cut.start as u64, file.slice(cut)))).unwrap();
    let (whole, cut) = (measured(&file), measured_bytes(&footer(&file).unwrap(), 0, &pieces));
    (file, whole, cut)
}

#[test]
fn pages_that_reading_joins_count() {
    for (compression, copies) in [(Compression::UNCOMPRESSED, 2), (Compression::SNAPPY, 1)] {
        let (file, whole, cut) = measured_in_pieces(compression, 100_000);
        let chunk_bytes = footer(&file).unwrap().row_group(0).column(0).compressed_size() as u64;
        // The lengths of the values are written, too.
        let page_bytes = chunk_bytes / 74;
        let added = (cut - whole) / copies;
        assert!((page_bytes - page_bytes / 4..=page_bytes + page_bytes / 4).contains(&added), "{added} {page_bytes}");
        // There is no second one for a batch to hold.
        let (file, whole, cut) = measured_in_pieces(compression, 1 << 30);
        let chunk_bytes = footer(&file).unwrap().row_group(0).column(0).compressed_size() as u64;
        assert!((chunk_bytes - 100..=chunk_bytes).contains(&(cut - whole)), "{compression:?}: {cut} {whole}");
    }
}

#[test]
fn a_chunk_of_several_pieces_is_estimated_with_the_pages_that_are_joined() {
    let file = write_with(&columns(vec![("t", texts(100, 70))]), snappy().build());
    let metadata = footer(&file).unwrap();
    let estimated = |compression, pages: &[i32], mib: u64| {
        let stats = pages.iter().map(|count| PageEncodingStats {
            page_type: PageType::DATA_PAGE,
            encoding: Encoding::PLAIN,
            count: *count,
        });
        let bytes = (mib << 20) as i64;
        let chunk = metadata.row_group(0).column(0).clone().into_builder().set_compression(compression);
        let chunk = chunk.set_total_compressed_size(bytes).set_total_uncompressed_size(bytes);
        let chunk = chunk.set_dictionary_page_offset(None).set_page_encoding_stats(stats.collect());
        estimated_pages_bytes(&chunk.build().unwrap()) >> 20
    };
    assert_eq!(estimated(Compression::UNCOMPRESSED, &[], 16), 4);
    assert_eq!(estimated(Compression::UNCOMPRESSED, &[], 40), 40);
    assert_eq!(estimated(Compression::UNCOMPRESSED, &[40], 40), 3);
    assert_eq!(estimated(Compression::SNAPPY, &[], 16), 4);
    assert_eq!(estimated(Compression::SNAPPY, &[], 40), 8);
    assert_eq!(estimated(Compression::SNAPPY, &[1], 40), 80);
    assert_eq!(estimated(Compression::SNAPPY, &[1, 1], 40), 80);
    assert_eq!(estimated(Compression::SNAPPY, &[40], 40), 5);
}

#[test]
fn headers_with_long_statistics_cost_little_wherever_they_lie() {
    const PAGES: usize = 40;
    // Each page has one value, of which its header has two copies: it is longer than is read first.
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(None)
        .set_write_page_header_statistics(true)
        .set_data_page_row_count_limit(1)
        .set_write_batch_size(1);
    let file = write_with(&columns(vec![("t", texts(PAGES, 7_000))]), properties.build());
    let metadata = footer(&file).unwrap();
    let chunk = metadata.row_group(0).column(0);
    let whole = RangeBytes::whole(file.clone());
    let first = header(&whole, chunk_range(chunk).unwrap().start, file.len() as u64).unwrap();
    assert!(first.length > 2 * SHORT_HEADER_BYTES, "{}", first.length);
    let pages = walk(chunk, 0, &whole).unwrap();
    assert!((PAGES as u64 * 7_004..PAGES as u64 * 7_020).contains(&pages.total_bytes), "{pages:?}");
    for piece in [1_000, 5_000, 100_000, 300_000] {
        let pieces = (0..file.len()).step_by(piece).map(|at| (at as u64, file.slice(at..file.len().min(at + piece))));
        let walked = walk(chunk, 0, &RangeBytes::new(pieces).unwrap()).unwrap();
        assert_eq!((walked.total_bytes, walked.pair_bytes), (pages.total_bytes, pages.pair_bytes), "pieces of {piece}");
    }
}

#[test]
fn a_header_is_looked_for_in_a_few_lengths() {
    let windows = |left| header_windows(left).collect::<Vec<_>>();
    assert_eq!(windows(100), [100]);
    assert_eq!(windows(4 << 10), [4 << 10]);
    assert_eq!(windows(5 << 10), [4 << 10, 5 << 10]);
    assert_eq!(windows(1 << 40), [4 << 10, 64 << 10, 1 << 20, 16 << 20]);
}

#[test]
fn pages_larger_than_the_footer_says_are_damage_before_they_are_unpacked() {
    let file = write_with(&columns(vec![("t", texts(5_000, 70))]), snappy().set_dictionary_enabled(false).build());
    let metadata = footer(&file).unwrap();
    let group = metadata.row_group(0);
    let chunk = group.column(0).clone().into_builder().set_total_uncompressed_size(1_000).build().unwrap();
    let error = walk(&chunk, 3, &RangeBytes::whole(file.clone())).unwrap_err().to_string();
    assert!(error.starts_with("damaged Parquet file: row group 3, column \"t\": its pages have 37"), "{error}");
    assert!(error.ends_with("bytes and more when they are unpacked, 1000 by the footer"), "{error}");
    let mut broken = file.to_vec();
    broken[4..14].fill(0xff);
    let pages = walk(group.column(0), 0, &RangeBytes::whole(broken.into())).unwrap();
    assert!(pages.pair_bytes >= 350_000, "as the footer says: {pages:?}");
}

#[test]
fn one_page_of_a_whole_chunk_is_measured() {
    let layout = snappy()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(1 << 30)
        .set_data_page_row_count_limit(usize::MAX);
    let file = write_with(&columns(vec![("t", texts(150_000, 70))]), layout.build());
    let page_bytes = 150_000 * 74;
    let bytes = measured(&file);
    assert!((page_bytes..page_bytes + BATCHES * BATCH_BYTES + (1 << 20)).contains(&bytes), "{bytes}");
}

#[test]
fn all_values_of_lists_count() {
    const LENGTH: i32 = 1_536;
    let lists = (0..100).map(|row| Some((0..LENGTH).map(move |n| Some((row * n) as f32))));
    let lists: ListArray = ListArray::from_iter_primitive::<Float32Type, _, _>(lists);
    let file = write_with(&columns(vec![("l", Arc::new(lists))]), WriterProperties::builder().build());
    let group_bytes = estimated_bytes(&footer(&file).unwrap(), 0);
    let values = u64::from(LENGTH.unsigned_abs()) * 100;
    assert!(group_bytes >= values * 4 * BATCHES + values * 2 * LEVEL_BYTES, "{group_bytes}");
}

#[test]
fn a_row_group_of_another_file_needs_nothing() {
    let file = write_with(&columns(vec![("t", texts(10, 70))]), snappy().build());
    assert_eq!(estimated_bytes(&footer(&file).unwrap(), 1), 0);
    assert_eq!(measured_bytes(&footer(&file).unwrap(), 1, &RangeBytes::whole(file.clone())), 0);
}

#[test]
fn plain_files_are_estimated_with_what_they_measure() {
    let noise = |rows: usize| -> ArrayRef {
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("{:016x}", state).repeat(20)
        };
        Arc::new((0..rows).map(|_| Some(next())).collect::<StringArray>())
    };
    let numbers = |rows: i64| Arc::new((0..rows).map(|n| n * 7_919 % 10_007).collect::<Int64Array>()) as ArrayRef;
    for rows in [100, 2_000, 20_000] {
        let batch = columns(vec![("n", numbers(rows as i64)), ("t", texts(rows, 70)), ("x", noise(rows))]);
        for compression in [Compression::SNAPPY, Compression::UNCOMPRESSED, Compression::ZSTD(Default::default())] {
            for dictionary in [false, true] {
                let properties = WriterProperties::builder().set_compression(compression);
                let file = write_with(&batch, properties.set_dictionary_enabled(dictionary).build());
                let (estimated, measured) = (estimated_bytes(&footer(&file).unwrap(), 0), measured(&file));
                assert!(
                    measured <= estimated + estimated / 8,
                    "{rows} {compression:?} {dictionary}: {measured} > {estimated}"
                );
            }
        }
    }
}
