//! The bytes of an object that were fetched, and which ones a row group needs. What decoding them takes is in [`super::pages`].

use crate::formats::error::ReadError;
use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

/// Most bytes of a piece: a column chunk that is longer lies in several, unless its object was fetched whole.
pub const MAX_PIECE_BYTES: u64 = 16 << 20;

/// Pieces of one object by offset. Cheap to clone. A read inside one piece copies nothing.
#[derive(Debug, Clone, Default)]
pub struct FetchedRanges {
    /// Sorted by offset, without overlap.
    pieces: Arc<[(u64, Bytes)]>,
}

impl FetchedRanges {
    /// Takes pieces as (offset in the object, bytes), in any order; empty ones are dropped.
    ///
    /// # Errors
    /// When two pieces overlap.
    pub fn new(pieces: impl IntoIterator<Item = (u64, Bytes)>) -> Result<Self, ReadError> {
        let mut pieces: Vec<_> = pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        pieces.sort_by_key(|(offset, _)| *offset);
        for pair in pieces.windows(2) {
            if pair[0].0.saturating_add(pair[0].1.len() as u64) > pair[1].0 {
                return Err(ReadError::Internal { what: format!("fetched ranges overlap at byte {}", pair[1].0) });
            }
        }
        Ok(Self { pieces: pieces.into() })
    }

    /// A whole object.
    pub fn whole(bytes: Bytes) -> Self {
        Self { pieces: [(0, bytes)].into() }
    }

    /// What is there from `offset` to the end of its piece, `None` when it wasn't fetched.
    pub(super) fn rest_of_piece(&self, offset: u64) -> Option<Bytes> {
        let index = self.pieces.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let (start, bytes) = &self.pieces[index];
        let skip = usize::try_from(offset - start).ok()?;
        (skip < bytes.len()).then(|| bytes.slice(skip..))
    }
}

fn outside(offset: u64, length: usize) -> ParquetError {
    ParquetError::EOF(format!("a page refers to {length} bytes at offset {offset}, outside its column chunk"))
}

impl Length for FetchedRanges {
    fn len(&self) -> u64 {
        self.pieces.last().map_or(0, |(offset, bytes)| offset + bytes.len() as u64)
    }
}

impl ChunkReader for FetchedRanges {
    type T = RangeReader;

    fn get_read(&self, start: u64) -> Result<RangeReader, ParquetError> {
        let current = self.rest_of_piece(start).ok_or_else(|| outside(start, 1))?;
        Ok(RangeReader { next_offset: start + current.len() as u64, current, bytes: self.clone() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let first = self.rest_of_piece(start).ok_or_else(|| outside(start, length))?;
        if first.len() >= length {
            return Ok(first.slice(..length));
        }
        // Over several pieces. The sum is known before anything is allocated: a damaged length costs nothing.
        let mut parts = vec![first];
        let mut have = parts[0].len();
        while have < length {
            let part = self.rest_of_piece(start + have as u64).ok_or_else(|| outside(start, length))?;
            have += part.len();
            parts.push(part);
        }
        let mut joined = Vec::with_capacity(length);
        for part in parts {
            let take = part.len().min(length - joined.len());
            joined.extend_from_slice(&part[..take]);
        }
        Ok(joined.into())
    }
}

/// Reads on over adjoining pieces; ends where the next byte wasn't fetched.
#[derive(Debug)]
pub struct RangeReader {
    current: Bytes,
    next_offset: u64,
    bytes: FetchedRanges,
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.current.is_empty() {
            let Some(next) = self.bytes.rest_of_piece(self.next_offset) else { return Ok(0) };
            self.next_offset += next.len() as u64;
            self.current = next;
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// The byte ranges of all column chunks of a row group, dictionary pages included, sorted; adjoining ones are separate:
/// the caller coalesces. Empty chunks and those without values are left out.
///
/// # Errors
/// When there is no such row group, or its ranges are negative (footers from [`super::footer`] never are).
pub fn row_group_ranges(metadata: &ParquetMetaData, row_group: usize) -> Result<Vec<Range<u64>>, ReadError> {
    let group = metadata.row_groups().get(row_group).ok_or_else(|| ReadError::Internal {
        what: format!("row group {row_group} of {}", metadata.num_row_groups()),
    })?;
    let mut ranges = Vec::with_capacity(group.num_columns());
    for column in group.columns().iter().filter(|column| column.num_values() > 0) {
        let range = chunk_range(column)?;
        if !range.is_empty() {
            ranges.push(range);
        }
    }
    ranges.sort_by_key(|range| (range.start, range.end));
    ranges.dedup();
    Ok(ranges)
}

/// The byte range of a column chunk, without the panic that [`ColumnChunkMetaData::byte_range`] has for negative values.
pub(crate) fn chunk_range(column: &ColumnChunkMetaData) -> Result<Range<u64>, ReadError> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let start = u64::try_from(start);
    let length = u64::try_from(column.compressed_size());
    let range = start.ok().zip(length.ok()).and_then(|(start, length)| Some(start..start.checked_add(length)?));
    range.ok_or_else(|| ReadError::damaged(format!("column {:?} has a negative offset or size", path(column))))
}

pub(crate) fn path(column: &ColumnChunkMetaData) -> String {
    column.column_path().string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::parquet::tests::{columns, footer, write_with};
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use parquet::file::properties::WriterProperties;

    fn pieces(pieces: &[(u64, &'static [u8])]) -> FetchedRanges {
        FetchedRanges::new(pieces.iter().map(|(offset, bytes)| (*offset, Bytes::from_static(bytes)))).unwrap()
    }

    #[test]
    fn reads_inside_one_piece_copy_nothing() {
        let whole = Bytes::from_static(b"0123456789");
        let bytes = FetchedRanges::new([(100, whole.clone())]).unwrap();
        let part = bytes.get_bytes(103, 4).unwrap();
        assert_eq!(&part[..], b"3456");
        assert_eq!(part.as_ptr(), whole[3..].as_ptr());
    }

    #[test]
    fn reads_go_on_over_adjoining_pieces_and_end_at_gaps() {
        let bytes = pieces(&[(14, b"ef"), (10, b"abcd"), (20, b"xy"), (16, b"")]);
        assert_eq!(&bytes.get_bytes(12, 4).unwrap()[..], b"cdef");
        assert_eq!(bytes.get_bytes(12, 0).unwrap().len(), 0);
        let mut text = String::new();
        bytes.get_read(11).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "bcdef");
        for (start, length) in
            [(12, 5), (9, 1), (16, 1), (19, 2), (21, 2), (u64::MAX, 1), (0, usize::MAX), (10, usize::MAX)]
        {
            assert!(bytes.get_bytes(start, length).is_err(), "{start} {length}");
        }
        assert!(bytes.get_read(16).is_err());
        assert!(FetchedRanges::default().get_read(0).is_err());
        assert_eq!(bytes.len(), 22);
    }

    #[test]
    fn overlapping_pieces_are_refused() {
        let overlap = [(0, Bytes::from_static(b"abc")), (2, Bytes::from_static(b"c"))];
        assert!(matches!(FetchedRanges::new(overlap), Err(ReadError::Internal { .. })));
    }

    #[test]
    fn ranges_of_a_row_group_cover_dictionaries_and_data() {
        let texts: StringArray = (0..500).map(|row| Some(if row % 2 == 0 { "even" } else { "odd" })).collect();
        let batch =
            columns(vec![("n", Arc::new(Int64Array::from_iter_values(0..500)) as ArrayRef), ("t", Arc::new(texts))]);
        let file = write_with(&batch, WriterProperties::builder().set_max_row_group_row_count(Some(250)).build());
        let metadata = footer(&file).unwrap();
        assert_eq!(metadata.num_row_groups(), 2);
        let ranges: Vec<Range<u64>> = (0..2).flat_map(|group| row_group_ranges(&metadata, group).unwrap()).collect();
        assert_eq!(ranges.len(), 4);
        assert_eq!(ranges[0].start, 4);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
        assert!(row_group_ranges(&metadata, 2).is_err());
    }
}
