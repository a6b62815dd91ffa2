//! What decoding a row group takes: estimated by the footer as long as that is all there is, and by the headers of its
//! [`pages`](super::pages) once its bytes are there.

use super::columns::fixed_width_bytes;
use super::pages::{Pages, walk_row_group};
use super::projection::Projection;
use crate::formats::fetched::FetchedRanges;
use crate::formats::limits::MAX_PIECE_BYTES;
use crate::formats::limits::{BATCH_BYTES, BATCH_ROWS};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

/// Page size when the footer doesn't say how many pages there are: writers aim at 1 MiB of data and as much of dictionary;
/// twice that is left for those that aim higher.
const UNKNOWN_PAGES_BYTES: u64 = 4 << 20;
/// A batch, cast, and the one before, which the caller may still hold.
const BATCHES: u64 = 3;
/// What a Zstandard decoder holds, one for each column: its tables and a block's literals.
const ZSTD_CONTEXT_BYTES: u64 = 128 << 10;
/// Definition or repetition level of a value.
const LEVEL_BYTES: u64 = 2;
/// Values below this are counted with their average: a batch has many of them.
const LARGE_VALUE_BYTES: u64 = 64 << 10;
/// Estimate of the memory that decoding a row group needs on top of its fetched bytes: of each column one decompressed
/// page and the dictionary, and a few batches on their way through the casts. An estimate, because pages may differ.
#[must_use]
pub(crate) fn estimated_bytes(metadata: &ParquetMetaData, row_group: usize, projection: &Projection) -> u64 {
    let Some(group) = metadata.row_groups().get(row_group) else { return 0 };
    let pages = projection.chunks(group).map(estimated_pages_bytes).fold(0, u64::saturating_add);
    let average = |_, chunk: &ColumnChunkMetaData| value_bytes(chunk, None);
    pages.saturating_add(batches_bytes(group, projection, average))
}

/// As [`estimated_bytes`], now that the row group's bytes are there. Nothing for a row group that is damaged: it won't be
/// decoded.
#[must_use]
pub(crate) fn measured_bytes(
    metadata: &ParquetMetaData,
    row_group: usize,
    projection: &Projection,
    bytes: &FetchedRanges,
) -> u64 {
    let Some(group) = metadata.row_groups().get(row_group) else { return 0 };
    let Ok(pages) = walk_row_group(group, row_group, projection, bytes) else { return 0 };
    let chunks = group.columns().iter().zip(&pages).enumerate();
    let chunks = chunks.filter(|(leaf, _)| projection.has(*leaf)).map(|(_, chunk)| chunk);
    let held = chunks.map(|(chunk, pages)| held_bytes(chunk, pages)).fold(0, u64::saturating_add);
    let largest = |leaf: usize, chunk: &ColumnChunkMetaData| value_bytes(chunk, pages.get(leaf));
    held.saturating_add(batches_bytes(group, projection, largest))
}

/// What is in memory at a time while the chunk is read.
fn held_bytes(chunk: &ColumnChunkMetaData, pages: &Pages) -> u64 {
    let (dictionary, joined) = (pages.dictionary_bytes, pages.joined_bytes);
    match chunk.compression() {
        // Data pages are read where they are; a dictionary's values are copied. Of joined pages a batch may hold one
        // while the next is joined.
        Compression::UNCOMPRESSED => dictionary.saturating_add(joined.saturating_mul(2).min(pages.total_bytes)),
        codec => {
            let unpacked = dictionary.saturating_add(dictionary.max(pages.pair_bytes));
            unpacked.saturating_add(joined).saturating_add(codec_bytes(codec))
        }
    }
}

fn codec_bytes(codec: Compression) -> u64 {
    if matches!(codec, Compression::ZSTD(_)) { ZSTD_CONTEXT_BYTES } else { 0 }
}

fn estimated_pages_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let uncompressed = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
    let pages: u64 = chunk
        .page_encoding_stats()
        .map(|stats| stats.iter().map(|s| u64::try_from(s.count).unwrap_or(0)).sum())
        .unwrap_or(0);
    let joined = estimated_joined_bytes(chunk, pages);
    let pages = match pages {
        // Of what isn't packed a page takes memory only where it lies in several pieces, and may then be all of the chunk.
        0 if chunk.compression() == Compression::UNCOMPRESSED && uncompressed > MAX_PIECE_BYTES => uncompressed,
        0 => uncompressed.min(UNKNOWN_PAGES_BYTES),
        1 => uncompressed,
        // The current page and the dictionary, and as pages are not all of one size, one more.
        pages => (uncompressed / pages).saturating_mul(3).min(uncompressed),
    };
    // A dictionary's page and its values, where that is more than the pages after it.
    let dictionary = estimated_dictionary_bytes(chunk, uncompressed).saturating_mul(2);
    pages.max(dictionary).saturating_add(joined).saturating_add(codec_bytes(chunk.compression()))
}

/// A packed page that lies in several pieces, given how many pages there are (0: unknown). Pages that aren't packed are
/// counted as such.
fn estimated_joined_bytes(chunk: &ColumnChunkMetaData, pages: u64) -> u64 {
    let packed = u64::try_from(chunk.compressed_size()).unwrap_or(0);
    if chunk.compression() == Compression::UNCOMPRESSED || packed <= MAX_PIECE_BYTES {
        return 0;
    }
    match pages {
        0 => UNKNOWN_PAGES_BYTES,
        // One of them may be a small dictionary; and pages are not all of one size.
        pages => (packed / pages).saturating_mul(2).min(packed),
    }
}

/// The dictionary's page, unpacked, as if everything in the chunk packed alike.
fn estimated_dictionary_bytes(chunk: &ColumnChunkMetaData, uncompressed: u64) -> u64 {
    let packed = chunk.dictionary_page_offset().map_or(0, |start| chunk.data_page_offset().saturating_sub(start));
    let packed = u128::try_from(packed).unwrap_or(0);
    let all_packed = u128::try_from(chunk.compressed_size()).unwrap_or(0).max(1);
    u64::try_from(packed * u128::from(uncompressed) / all_packed).unwrap_or(u64::MAX).min(uncompressed)
}

/// The size of a value: on average, or where it is largest.
fn value_bytes(chunk: &ColumnChunkMetaData, pages: Option<&Pages>) -> u64 {
    if let Some(width) = fixed_width_bytes(chunk.column_descr()) {
        return width;
    }
    let values = u64::try_from(chunk.num_values()).unwrap_or(0).max(1);
    let unencoded = chunk.unencoded_byte_array_data_bytes().and_then(|bytes| u64::try_from(bytes).ok());
    let total = unencoded.unwrap_or_else(|| u64::try_from(chunk.uncompressed_size()).unwrap_or(0));
    let largest = pages.map(|pages| pages.value_bytes).filter(|bytes| *bytes >= LARGE_VALUE_BYTES);
    total.div_ceil(values).max(largest.unwrap_or(0))
}

/// What batches of a row group's values take, given the size of each column's values.
fn batches_bytes(
    group: &RowGroupMetaData,
    projection: &Projection,
    value_bytes: impl Fn(usize, &ColumnChunkMetaData) -> u64,
) -> u64 {
    let rows = u64::try_from(group.num_rows()).unwrap_or(0);
    let (mut row_bytes, mut level_bytes) = (0_u64, 0_u64);
    for (leaf, chunk) in group.columns().iter().enumerate().filter(|(leaf, _)| projection.has(*leaf)) {
        let values = u64::try_from(chunk.num_values()).unwrap_or(0).div_ceil(rows.max(1));
        let value_bytes = value_bytes(leaf, chunk).saturating_add(json_bytes(chunk));
        row_bytes = row_bytes.saturating_add(values.saturating_mul(value_bytes));
        let column = chunk.column_descr();
        let levels = u64::from(column.max_def_level() > 0) + u64::from(column.max_rep_level() > 0);
        level_bytes = level_bytes.saturating_add(values.saturating_mul(levels * LEVEL_BYTES));
    }
    // A batch has one row at least, however large that is.
    let batch_rows = (BATCH_BYTES / row_bytes.max(1)).clamp(1, BATCH_ROWS as u64).min(rows);
    let batch = row_bytes.saturating_mul(BATCHES).saturating_add(level_bytes);
    batch_rows.saturating_mul(batch)
}

/// What nested values take more when they become JSON, roughly: the key, and `null`.
fn json_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    const QUOTES_AND_NULL: u64 = 8;
    match chunk.column_path().parts() {
        [_, .., key] => key.len() as u64 + QUOTES_AND_NULL,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
