//! The headers of a row group's pages, once its bytes are there: how large its pages and values are. Headers and footer are
//! two sources for one fact, and only one of them may be sound: a chunk whose pages are larger than its footer says is damaged,
//! which is known before any of them is unpacked.

use super::chunks::{chunk_range, path};
use super::footer::compact::{Compact, I32, STRUCT};
use super::projection::Projection;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

/// A page header is looked for in this many bytes first; with statistics it may be larger.
const SHORT_HEADER_BYTES: usize = 4 << 10;
/// Then in this many times as many, and so on: a header over two pieces is copied no more than a few times.
const HEADER_GROWTH: usize = 16;
/// And in no more than this: it has room for a smallest and a largest value of several MiB each, and of a damaged chunk no
/// more than this is copied.
const MAX_HEADER_BYTES: usize = 16 << 20;

/// The pages of all chunks of a row group, in the order of its leaves; none of those that are not read.
///
/// # Errors
/// When the pages of a chunk are larger than its footer says.
pub(super) fn walk_row_group(
    group: &RowGroupMetaData,
    row_group: usize,
    projection: &Projection,
    bytes: &FetchedRanges,
) -> Result<Vec<Pages>, ReadError> {
    let pages = |(leaf, chunk)| if projection.has(leaf) { walk(chunk, row_group, bytes) } else { Ok(Pages::default()) };
    group.columns().iter().enumerate().map(pages).collect()
}

/// The pages of a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// The dictionary's page, unpacked.
    pub(super) dictionary_bytes: u64,
    /// Its values.
    dictionary_values: u64,
    /// The largest two data pages in a row, unpacked: one is decoded while the next is unpacked.
    pub(super) pair_bytes: u64,
    /// All of them.
    pub(super) total_bytes: u64,
    /// The largest page, packed, of those that lie in more than one fetched piece: reading it joins it in a new buffer.
    pub(super) joined_bytes: u64,
    /// The average size of a value, where it is largest: in the page with the largest ones.
    pub value_bytes: u64,
}

impl Pages {
    /// The average size of the dictionary's values.
    pub fn dictionary_value_bytes(&self) -> u64 {
        self.dictionary_bytes / self.dictionary_values.max(1)
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
fn walk(chunk: &ColumnChunkMetaData, row_group: usize, bytes: &FetchedRanges) -> Result<Pages, ReadError> {
    let damaged =
        |what: String| super::errors::damaged(format!("row group {row_group}, column {:?}: {what}", path(chunk)));
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
fn header(bytes: &FetchedRanges, offset: u64, end: u64) -> Option<Header> {
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

/// In how many bytes a header is looked for, one after the other, when `left` are left of its chunk.
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
pub(super) mod tests;
