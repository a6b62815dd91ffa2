//! Column chunks: which bytes a row group needs, and how the `parquet` crate reads those that were fetched. What decoding them
//! takes is in [`super::memory`].

use super::errors::damaged;
use super::projection::Projection;
use crate::formats::error::ReadError;
use crate::formats::fetched::{FetchedRanges, RangeReader};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use std::ops::Range;

fn outside(offset: u64, length: usize) -> ParquetError {
    ParquetError::EOF(format!("a page refers to {length} bytes at offset {offset}, outside its column chunk"))
}

impl Length for FetchedRanges {
    fn len(&self) -> u64 {
        self.end()
    }
}

impl ChunkReader for FetchedRanges {
    type T = RangeReader;

    fn get_read(&self, start: u64) -> Result<RangeReader, ParquetError> {
        self.read_from(start).ok_or_else(|| outside(start, 1))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.get(start, length).ok_or_else(|| outside(start, length))
    }
}

/// The byte ranges of the column chunks of a row group that are read, dictionary pages included, sorted; adjoining ones are separate:
/// the caller coalesces. Empty chunks and those without values are left out.
///
/// # Errors
/// When there is no such row group, or its ranges are negative (footers from [`super::footer`] never are).
pub(crate) fn row_group_ranges(
    metadata: &ParquetMetaData,
    row_group: usize,
    projection: &Projection,
) -> Result<Vec<Range<u64>>, ReadError> {
    let group = metadata.row_groups().get(row_group).ok_or_else(|| ReadError::Internal {
        what: format!("row group {row_group} of {}", metadata.num_row_groups()),
    })?;
    let mut ranges = Vec::with_capacity(group.num_columns());
    for column in projection.chunks(group).filter(|column| column.num_values() > 0) {
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
    range.ok_or_else(|| damaged(format!("column {:?} has a negative offset or size", path(column))))
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
    use std::sync::Arc;

    #[test]
    fn ranges_of_a_row_group_cover_dictionaries_and_data() {
        let texts: StringArray = (0..500).map(|row| Some(if row % 2 == 0 { "even" } else { "odd" })).collect();
        let batch =
            columns(vec![("n", Arc::new(Int64Array::from_iter_values(0..500)) as ArrayRef), ("t", Arc::new(texts))]);
        let file = write_with(&batch, WriterProperties::builder().set_max_row_group_row_count(Some(250)).build());
        let metadata = footer(&file).unwrap();
        assert_eq!(metadata.num_row_groups(), 2);
        let ranges: Vec<Range<u64>> =
            (0..2).flat_map(|group| row_group_ranges(&metadata, group, &Projection::default()).unwrap()).collect();
        assert_eq!(ranges.len(), 4);
        assert_eq!(ranges[0].start, 4);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
        assert!(row_group_ranges(&metadata, 2, &Projection::default()).is_err());
    }
}
