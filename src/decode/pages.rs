//! What decoding a row group takes: estimated by the footer as long as that is all there is, and by the headers of its
//! pages once its bytes are there. Headers and footer are two sources for one fact, and only one of them may be sound: a
//! chunk whose pages are larger than its footer says is damaged, which is known before any of them is unpacked.

use super::DecodeError;
use super::columns::fixed_width_bytes;
use super::footer::compact::{Compact, I32, STRUCT};
use super::ranges::{MAX_PIECE_BYTES, RangeBytes, chunk_range, path};
use super::reader::{BATCH_BYTES, BATCH_ROWS};
use crate::cast::origin::file_columns_row_bytes;
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
/// A page header is looked for in so many bytes first; with statistics it may be larger.
const SHORT_HEADER_BYTES: usize = 4 << 10;
/// Then in so many times as many, and so on: a header over two pieces is copied no more than a few times.
const HEADER_GROWTH: usize = 16;
/// And in no more than this: it has room for a smallest and a largest value of several MiB each, and of a damaged chunk no
/// more than this is copied.
const MAX_HEADER_BYTES: usize = 16 << 20;

/// Estimate of the memory that decoding a row group needs besides its fetched bytes: of each column one decompressed
/// page and the dictionary, and a few batches on their way through the casts. An estimate, because pages may differ.
#[must_use]
pub fn estimated_bytes(metadata: &ParquetMetaData, row_group: usize) -> u64 {
    let Some(group) = metadata.row_groups().get(row_group) else { return 0 };
    let pages = group.columns().iter().map(estimated_pages_bytes).fold(0, u64::saturating_add);
    let average = |chunk: &ColumnChunkMetaData| value_bytes(chunk, None);
    pages.saturating_add(batches_bytes(group, average))
}

/// As [`estimated_bytes`], now that the row group's bytes are there. Nothing for a row group that is damaged: it won't be
/// decoded.
#[must_use]
pub fn measured_bytes(metadata: &ParquetMetaData, row_group: usize, bytes: &RangeBytes) -> u64 {
    let Some(group) = metadata.row_groups().get(row_group) else { return 0 };
    let Ok(pages) = walk_row_group(group, row_group, bytes) else { return 0 };
    let chunks = group.columns().iter().zip(&pages);
    let held = chunks.map(|(chunk, pages)| pages.held_bytes(chunk)).fold(0, u64::saturating_add);
    let mut index = 0;
    let largest = |chunk: &ColumnChunkMetaData| {
        index += 1;
        value_bytes(chunk, pages.get(index - 1))
    };
    held.saturating_add(batches_bytes(group, largest))
}

/// The memory that the [`FILE_COLUMNS`] of the object `key` take while it is decoded, in bytes, besides
/// [`estimated_bytes`]: the keys that are kept, and a batch and the one before.
#[must_use]
pub fn file_columns_bytes(key: &str, metadata: &ParquetMetaData) -> u64 {
    let rows = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).max();
    let rows = rows.unwrap_or(0).min(BATCH_ROWS as u64);
    rows.saturating_mul(file_columns_row_bytes(key)).min(BATCH_BYTES).saturating_mul(2)
}

/// The pages of all chunks of a row group, in the order of its columns.
///
/// # Errors
/// When the pages of a chunk are larger than its footer says.
pub(super) fn walk_row_group(
    group: &RowGroupMetaData,
    row_group: usize,
    bytes: &RangeBytes,
) -> Result<Vec<Pages>, DecodeError> {
    group.columns().iter().map(|chunk| walk(chunk, row_group, bytes)).collect()
}

/// The pages of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// The dictionary's page, unpacked.
    dictionary_bytes: u64,
    /// Its values.
    dictionary_values: u64,
    /// The largest two data pages in a row, unpacked: one is decoded while the next is unpacked.
    pair_bytes: u64,
    /// All of them.
    total_bytes: u64,
    /// The largest page, packed, of those that lie in more than one fetched piece: reading it joins it in a new buffer.
    joined_bytes: u64,
    /// The average size of a value, where it is largest: in the page with the largest ones.
    pub value_bytes: u64,
}

impl Pages {
    /// What is in memory at a time while the chunk is read.
    fn held_bytes(&self, chunk: &ColumnChunkMetaData) -> u64 {
        let (dictionary, joined) = (self.dictionary_bytes, self.joined_bytes);
        match chunk.compression() {
            // Data pages are read where they are; a dictionary's values are copied. Of joined pages a batch may hold one
            // while the next is joined.
            Compression::UNCOMPRESSED => dictionary.saturating_add(joined.saturating_mul(2).min(self.total_bytes)),
            codec => {
                let unpacked = dictionary.saturating_add(dictionary.max(self.pair_bytes));
                unpacked.saturating_add(joined).saturating_add(codec_bytes(codec))
            }
        }
    }

    /// The average size of the dictionary's values.
    pub fn dictionary_value_bytes(&self) -> u64 {
        self.dictionary_bytes / self.dictionary_values.max(1)
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
fn batches_bytes(group: &RowGroupMetaData, mut value_bytes: impl FnMut(&ColumnChunkMetaData) -> u64) -> u64 {
    let rows = u64::try_from(group.num_rows()).unwrap_or(0);
    let (mut row_bytes, mut level_bytes) = (0_u64, 0_u64);
    for chunk in group.columns() {
        let values = u64::try_from(chunk.num_values()).unwrap_or(0).div_ceil(rows.max(1));
        let value_bytes = value_bytes(chunk).saturating_add(json_bytes(chunk));
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

/// What nested values take besides when they become JSON, roughly: the key, and `null`.
fn json_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    const QUOTES_AND_NULL: u64 = 8;
    match chunk.column_path().parts() {
        [_, .., key] => key.len() as u64 + QUOTES_AND_NULL,
        _ => 0,
    }
}

/// What a page's header says.
struct Header {
    kind: i64,
    uncompressed_bytes: u64,
    compressed_bytes: u64,
    values: u64,
    /// The header's own length.
    length: usize,
}

/// `PageType`.
const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_V2: i64 = 3;

/// Looks at the headers of a chunk's pages, up to the one with its last value.
fn walk(chunk: &ColumnChunkMetaData, row_group: usize, bytes: &RangeBytes) -> Result<Pages, DecodeError> {
    let damaged =
        |what: String| DecodeError::damaged(format!("row group {row_group}, column {:?}: {what}", path(chunk)));
    let footer_values = u64::try_from(chunk.num_values()).unwrap_or(0);
    if footer_values == 0 {
        // Nothing of it is read, wherever it is said to be.
        return Ok(Pages::default());
    }
    let range = chunk_range(chunk)?;
    let footer_bytes = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
    let (mut pages, mut offset, mut values, mut before) = (Pages::default(), range.start, 0_u64, 0);
    loop {
        // What wasn't fetched the reader finds out.
        if offset >= range.end || values >= footer_values || bytes.rest_of_piece(offset).is_none() {
            break;
        }
        let Some(header) = header(bytes, offset, range.end) else {
            // The reader will say what is wrong with it; until then it may unpack what is left.
            pages.pair_bytes = pages.pair_bytes.max(footer_bytes.saturating_sub(pages.total_bytes));
            break;
        };
        let data_start = offset.saturating_add(header.length as u64);
        offset = data_start.saturating_add(header.compressed_bytes);
        let in_piece = bytes.rest_of_piece(data_start).map_or(0, |rest| rest.len() as u64);
        // What reaches beyond the chunk is damaged, and not read.
        if in_piece < header.compressed_bytes && offset <= range.end {
            pages.joined_bytes = pages.joined_bytes.max(header.compressed_bytes);
        }
        let page_bytes = header.uncompressed_bytes;
        pages.total_bytes = pages.total_bytes.saturating_add(page_bytes);
        // What isn't packed is read where it is, whatever its header says.
        if pages.total_bytes > footer_bytes && chunk.compression() != Compression::UNCOMPRESSED {
            return Err(damaged(format!(
                "its pages have {} bytes and more when they are unpacked, {footer_bytes} by the footer",
                pages.total_bytes
            )));
        }
        match header.kind {
            DICTIONARY_PAGE => {
                pages.dictionary_bytes = pages.dictionary_bytes.max(page_bytes);
                pages.dictionary_values = header.values;
            }
            DATA_PAGE | DATA_PAGE_V2 => {
                values = values.saturating_add(header.values);
                pages.value_bytes = pages.value_bytes.max(page_bytes / header.values.max(1));
                pages.pair_bytes = pages.pair_bytes.max(page_bytes.saturating_add(before));
                before = page_bytes;
            }
            _ => {}
        }
    }
    Ok(pages)
}

/// The header at `offset`, if all of it lies before `end` and makes sense.
fn header(bytes: &RangeBytes, offset: u64, end: u64) -> Option<Header> {
    use parquet::file::reader::ChunkReader as _;
    let left = usize::try_from(end - offset).ok()?;
    let piece = bytes.rest_of_piece(offset)?;
    let short = &piece[..piece.len().min(left).min(SHORT_HEADER_BYTES)];
    read_header(short).or_else(|| {
        // It reaches beyond the piece, or has long statistics.
        header_windows(left)
            .filter(|window| *window > short.len())
            .find_map(|window| read_header(&bytes.get_bytes(offset, window).ok()?))
    })
}

/// In how many bytes a header is looked for, one after the other, when so many are left of its chunk.
fn header_windows(left: usize) -> impl Iterator<Item = usize> {
    let most = left.min(MAX_HEADER_BYTES);
    let longer = move |window: &usize| (*window < most).then(|| window.saturating_mul(HEADER_GROWTH).min(most));
    std::iter::successors(Some(SHORT_HEADER_BYTES.min(most)), longer)
}

fn read_header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Compact::new(bytes);
    let (mut kind, mut uncompressed, mut compressed, mut values) = (None, None, None, 0);
    let mut id = 0;
    while let Some((field, next)) = reader.next_field(id)? {
        id = next;
        match (id, field) {
            (1, I32) => kind = Some(reader.integer(I32)?),
            (2, I32) => uncompressed = Some(u64::try_from(reader.integer(I32)?).ok()?),
            (3, I32) => compressed = Some(u64::try_from(reader.integer(I32)?).ok()?),
            // Of data, a dictionary, data of version 2: all begin with the number of values.
            (5 | 7 | 8, STRUCT) => {
                let mut inner = 0;
                while let Some((field, next)) = reader.next_field(inner)? {
                    inner = next;
                    if (inner, field) == (1, I32) {
                        values = u64::try_from(reader.integer(I32)?).ok()?;
                    } else {
                        reader.skip(field)?;
                    }
                }
            }
            _ => reader.skip(field)?,
        }
    }
    let (uncompressed_bytes, compressed_bytes, length) = (uncompressed?, compressed?, reader.at());
    Some(Header { kind: kind?, uncompressed_bytes, compressed_bytes, values, length })
}

#[cfg(test)]
mod tests;
