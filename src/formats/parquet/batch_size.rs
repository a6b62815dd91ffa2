//! How many rows of a row group the first batch takes.

use super::chunks::path;
use super::columns::fixed_width_bytes;
use super::errors::{cause, row_group_error};
use super::pages::{Pages, walk_row_group};
use super::projection::Projection;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::limits::{BATCH_BYTES, BATCH_ROWS, MAX_VALUE_BYTES};
use crate::schema::field::FieldKind;
use crate::schema::fit::Fit;
use crate::schema::types::UUID_BYTES;
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::column::page::{Page, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use std::sync::Arc;

/// What one batch may take of one column if all its rows had the dictionary's longest value, in bytes.
pub(super) const DICTIONARY_BATCH_BYTES: u64 = 16 << 20;

/// Rows of a batch with values that are stored as differences from one another, without the footer saying how large
/// they are: their size can't be foreseen.
const DELTA_BATCH_ROWS: usize = 1_024;

/// How much larger nested values are as JSON than decoded, roughly, where keys are short and values not null.
const JSON_GROWTH: u64 = 3;

/// Rows of the first batch, by what the footer, page headers and dictionaries say. Columns that no file has add `added_bytes` to a
/// row.
pub(super) fn first_batch_rows(
    (group, row_group): (&RowGroupMetaData, usize),
    projection: &Projection,
    fit: &Fit,
    added_bytes: u64,
    bytes: &FetchedRanges,
) -> Result<usize, ReadError> {
    let rows_total = u64::try_from(group.num_rows()).unwrap_or(0).max(1);
    let pages = walk_row_group(group, row_group, projection, bytes)?;
    let mut row_bytes = 2 * u64::from(UUID_BYTES.unsigned_abs()) + added_bytes;
    let mut cap = BATCH_ROWS;
    for field in fit.fields() {
        // As Arrow types, too: what is inside of them may be JSON.
        let nested = !matches!(field.kind, FieldKind::Leaf { .. });
        let mut column_bytes = 0_u64;
        for leaf in field.leaves.clone() {
            let Some(chunk) = group.columns().get(leaf) else { continue };
            let values = u64::try_from(chunk.num_values()).unwrap_or(0);
            let values_a_row = values.div_ceil(rows_total);
            let leaf_bytes = match fixed_width_bytes(chunk.column_descr()) {
                Some(width) => width.saturating_mul(values_a_row),
                None => {
                    let pages = pages.get(leaf).copied().unwrap_or_default();
                    check_values(chunk, row_group, pages)?;
                    let mut size = variable_size(chunk, row_group, bytes, rows_total)?;
                    // Values of many MB, next to others on other pages.
                    let of_pages = usize::try_from(DICTIONARY_BATCH_BYTES / pages.value_bytes.max(1));
                    size.cap_values = size.cap_values.min(of_pages.unwrap_or(BATCH_ROWS).max(1));
                    // A row of a list may hold many of the longest values; the average says how many.
                    cap = cap.min((size.cap_values / usize::try_from(values_a_row.max(1)).unwrap_or(1)).max(1));
                    size.bytes_a_row + 4 * values_a_row
                }
            };
            column_bytes = column_bytes.saturating_add(leaf_bytes);
        }
        if nested {
            let times = |leaf: usize| {
                let values = group.columns().get(leaf).map_or(0, ColumnChunkMetaData::num_values);
                u64::try_from(values).unwrap_or(0).div_ceil(rows_total)
            };
            let with_overhead = column_bytes.saturating_add(field.json_overhead_bytes(1, &times));
            column_bytes = column_bytes.saturating_mul(JSON_GROWTH).max(with_overhead);
        }
        row_bytes = row_bytes.saturating_add(column_bytes);
    }
    let rows = usize::try_from(BATCH_BYTES / row_bytes.max(1)).unwrap_or(BATCH_ROWS);
    Ok(rows.clamp(1, cap))
}

/// Refuses values that are too large on average of a page or of the dictionary: one of them is.
pub(super) fn check_values(chunk: &ColumnChunkMetaData, row_group: usize, pages: Pages) -> Result<(), ReadError> {
    let bytes = pages.value_bytes.max(pages.dictionary_value_bytes());
    if bytes <= MAX_VALUE_BYTES {
        return Ok(());
    }
    let what =
        format!("it has a value of about {bytes} bytes, more than the {MAX_VALUE_BYTES} that a message may have");
    Err(row_group_error(row_group, &format!("column {:?}", path(chunk)), what))
}

/// How large the values of a chunk of byte arrays come out.
struct VariableSize {
    /// On average.
    bytes_a_row: u64,
    /// Values that a batch may have at most.
    cap_values: usize,
}

fn variable_size(
    chunk: &ColumnChunkMetaData,
    row_group: usize,
    bytes: &FetchedRanges,
    rows_total: u64,
) -> Result<VariableSize, ReadError> {
    let uncompressed = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
    let values = u64::try_from(chunk.num_values()).unwrap_or(0);
    let unencoded = chunk.unencoded_byte_array_data_bytes().and_then(|bytes| u64::try_from(bytes).ok());
    let total = unencoded.unwrap_or(uncompressed);
    let mut size = VariableSize { bytes_a_row: total.div_ceil(rows_total), cap_values: BATCH_ROWS };
    if unencoded.is_some_and(|total| total <= DICTIONARY_BATCH_BYTES) {
        return Ok(size);
    }
    if unencoded.is_none() && chunk.encodings().any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY) {
        size.cap_values = DELTA_BATCH_ROWS;
    }
    // No value is longer than the whole chunk.
    let harmless = uncompressed.saturating_mul(BATCH_ROWS as u64) <= DICTIONARY_BATCH_BYTES;
    if chunk.dictionary_page_offset().is_some() && chunk.column_type() == PhysicalType::BYTE_ARRAY && !harmless {
        let dictionary = dictionary(chunk, bytes, rows_total).map_err(|error| {
            row_group_error(row_group, &format!("column {:?}, dictionary page", path(chunk)), cause(&error))
        })?;
        if let Some(dictionary) = dictionary {
            if unencoded.is_none() {
                let by_average = dictionary.average.saturating_mul(values);
                size.bytes_a_row = size.bytes_a_row.max(by_average.div_ceil(rows_total));
            }
            let cap = usize::try_from(DICTIONARY_BATCH_BYTES / dictionary.longest.max(1)).unwrap_or(BATCH_ROWS);
            size.cap_values = size.cap_values.min(cap.max(1));
        }
    }
    Ok(size)
}

/// Lengths of a dictionary's values, in bytes.
struct Dictionary {
    longest: u64,
    average: u64,
}

/// Looks at a chunk's dictionary page; `None` when it doesn't start with one.
fn dictionary(
    chunk: &ColumnChunkMetaData,
    bytes: &FetchedRanges,
    rows_total: u64,
) -> Result<Option<Dictionary>, ParquetError> {
    let rows = usize::try_from(rows_total)?;
    let mut pages = SerializedPageReader::new(Arc::new(bytes.clone()), chunk, rows, None)?;
    let Some(Page::DictionaryPage { buf, .. }) = pages.get_next_page()? else { return Ok(None) };
    let (mut longest, mut count, mut total) = (0, 0, 0);
    let mut rest = &buf[..];
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        let Some(tail) = usize::try_from(length).ok().and_then(|length| tail.get(length..)) else {
            return Err(ParquetError::General("a value reaches beyond the page".into()));
        };
        longest = longest.max(u64::from(length));
        total += u64::from(length);
        count += 1;
        rest = tail;
    }
    Ok(Some(Dictionary { longest, average: total / u64::max(count, 1) }))
}
