use super::*;
use crate::formats::parquet::pages::tests::{snappy, texts};
use crate::formats::parquet::tests::{columns, footer, write_with};
use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
use arrow::datatypes::Float32Type;
use bytes::Bytes;
use parquet::basic::{Encoding, PageType};
use parquet::file::metadata::PageEncodingStats;
use parquet::file::properties::WriterProperties;
use std::sync::Arc;

fn measured(file: &Bytes) -> u64 {
    measured_bytes(&footer(file).unwrap(), 0, &Projection::default(), &FetchedRanges::whole(file.clone()))
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
    let pieces = FetchedRanges::new(cuts.map(|cut| (cut.start as u64, file.slice(cut)))).unwrap();
    let (whole, cut) = (measured(&file), measured_bytes(&footer(&file).unwrap(), 0, &Projection::default(), &pieces));
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
    let group_bytes = estimated_bytes(&footer(&file).unwrap(), 0, &Projection::default());
    let values = u64::from(LENGTH.unsigned_abs()) * 100;
    assert!(group_bytes >= values * 4 * BATCHES + values * 2 * LEVEL_BYTES, "{group_bytes}");
}

#[test]
fn a_row_group_of_another_file_needs_nothing() {
    let file = write_with(&columns(vec![("t", texts(10, 70))]), snappy().build());
    assert_eq!(estimated_bytes(&footer(&file).unwrap(), 1, &Projection::default()), 0);
    assert_eq!(
        measured_bytes(&footer(&file).unwrap(), 1, &Projection::default(), &FetchedRanges::whole(file.clone())),
        0
    );
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
                let (estimated, measured) =
                    (estimated_bytes(&footer(&file).unwrap(), 0, &Projection::default()), measured(&file));
                assert!(
                    measured <= estimated + estimated / 8,
                    "{rows} {compression:?} {dictionary}: {measured} > {estimated}"
                );
            }
        }
    }
}
