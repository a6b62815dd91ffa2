use super::*;
use crate::formats::parquet::tests::{columns, footer, write_with};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use parquet::column::page::PageReader as _;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::serialized_reader::SerializedPageReader;
use std::sync::Arc;

pub(in crate::formats::parquet) fn snappy() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(Compression::SNAPPY)
}

pub(in crate::formats::parquet) fn texts(rows: usize, length: usize) -> ArrayRef {
    Arc::new((0..rows).map(|row| Some(format!("{row:07}").repeat(length / 7))).collect::<StringArray>())
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
            let bytes = FetchedRanges::whole(file.clone());
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
    let whole = walk(chunk, 0, &FetchedRanges::whole(file.clone())).unwrap();
    for cut in [5, 10, 20, 1_000] {
        let pieces = [(0, file.slice(..cut)), (cut as u64, file.slice(cut..))];
        let walked = walk(chunk, 0, &FetchedRanges::new(pieces).unwrap()).unwrap();
        assert_eq!(Pages { joined_bytes: 0, ..walked }, whole);
    }
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
    let whole = FetchedRanges::whole(file.clone());
    let first = header(&whole, chunk_range(chunk).unwrap().start, file.len() as u64).unwrap();
    assert!(first.length > 2 * SHORT_HEADER_BYTES, "{}", first.length);
    let pages = walk(chunk, 0, &whole).unwrap();
    assert!((PAGES as u64 * 7_004..PAGES as u64 * 7_020).contains(&pages.total_bytes), "{pages:?}");
    for piece in [1_000, 5_000, 100_000, 300_000] {
        let pieces = (0..file.len()).step_by(piece).map(|at| (at as u64, file.slice(at..file.len().min(at + piece))));
        let walked = walk(chunk, 0, &FetchedRanges::new(pieces).unwrap()).unwrap();
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
    let error = walk(&chunk, 3, &FetchedRanges::whole(file.clone())).unwrap_err().to_string();
    assert!(error.starts_with("damaged Parquet file: row group 3, column \"t\": its pages have 37"), "{error}");
    assert!(error.ends_with("bytes and more when they are unpacked, 1000 by the footer"), "{error}");
    let mut broken = file.to_vec();
    broken[4..14].fill(0xff);
    let pages = walk(group.column(0), 0, &FetchedRanges::whole(broken.into())).unwrap();
    assert!(pages.pair_bytes >= 350_000, "as the footer says: {pages:?}");
}
