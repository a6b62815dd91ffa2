//! Where a row group is damaged. The `parquet` crate says what is wrong and not where; once something is, its columns are
//! read once more, one at a time, until one of them fails.

use super::chunks::path;
use super::projection::Projection;
use crate::formats::fetched::FetchedRanges;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use std::ops::Range;
use std::sync::Arc;

/// What a column's damage is.
#[derive(Debug)]
pub(super) struct Damage {
    /// The column's path in the file, and the page if it is known: `column "x", data page 3`.
    pub(super) place: String,
    pub(super) error: ParquetError,
}

/// Looks for the column, of those that are read, and the page that make reading `rows` of `row_group` fail. `None` when all of them can be read one by
/// one.
pub(super) fn find(
    reader: &ArrowReaderMetadata,
    row_group: usize,
    bytes: &FetchedRanges,
    projection: &Projection,
    rows: &Range<usize>,
) -> Option<Damage> {
    let group = reader.metadata().row_groups().get(row_group)?;
    group.columns().iter().enumerate().find_map(|(leaf, chunk)| {
        if !projection.has(leaf) || chunk.num_values() <= 0 {
            return None;
        }
        let mut ends = Vec::new();
        if let Err((page, error)) = pages(chunk, bytes, group.num_rows(), &mut ends) {
            return Some(Damage { place: format!("column {:?}, {page}", path(chunk)), error });
        }
        let (row, error) = failing_row(reader, row_group, bytes, rows, leaf)?;
        // Only where each row has one value is it known which page a row is in.
        let page = (chunk.column_descr().max_rep_level() == 0)
            .then(|| format!(", data page {}", ends.partition_point(|end| *end <= row)));
        Some(Damage { place: format!("column {:?}{}", path(chunk), page.unwrap_or_default()), error })
    })
}

/// Reads the pages of a chunk: headers, checksums, compression. `ends` gets for each data page how many values there are up
/// to its end.
fn pages(
    chunk: &ColumnChunkMetaData,
    bytes: &FetchedRanges,
    rows: i64,
    ends: &mut Vec<usize>,
) -> Result<(), (String, ParquetError)> {
    let mut dictionary = chunk.dictionary_page_offset().is_some();
    let rows = usize::try_from(rows).unwrap_or(0);
    let reader = SerializedPageReader::new(Arc::new(bytes.clone()), chunk, rows, None);
    let mut reader = reader.map_err(|error| ("the first page".to_owned(), error))?;
    loop {
        let page = reader.get_next_page().map_err(|error| {
            let page = if dictionary { "dictionary page".to_owned() } else { format!("data page {}", ends.len()) };
            (page, error)
        })?;
        match page {
            None => return Ok(()),
            Some(Page::DictionaryPage { .. }) => dictionary = false,
            Some(page) => {
                dictionary = false;
                ends.push(ends.last().unwrap_or(&0) + usize::try_from(page.num_values()).unwrap_or(0));
            }
        }
    }
}

/// The first of `rows` at which reading `leaf` alone fails, and why.
fn failing_row(
    reader: &ArrowReaderMetadata,
    row_group: usize,
    bytes: &FetchedRanges,
    rows: &Range<usize>,
    leaf: usize,
) -> Option<(usize, ParquetError)> {
    let read = |rows: &Range<usize>, batch_rows: usize| {
        let mask = ProjectionMask::leaves(reader.metadata().file_metadata().schema_descr(), [leaf]);
        let built = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), reader.clone())
            .with_row_groups(vec![row_group])
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .with_offset(rows.start)
            .with_limit(rows.len())
            .build();
        let batches = match built {
            Ok(batches) => batches,
            Err(error) => return Some((rows.start, error)),
        };
        let mut row = rows.start;
        for batch in batches {
            match batch {
                Ok(batch) => row += batch.num_rows(),
                Err(error) => return Some((row, error.into())),
            }
        }
        None
    };
    let whole = read(rows, rows.len().max(1))?;
    // Row by row it says which one; should that go well, the whole failed all the same.
    Some(read(rows, 1).unwrap_or(whole))
}
