//! Finding and checking a file's footer in the last bytes of an object.
//!
//! Everything that later code relies on is checked here, once: no negative counts or sizes, every column chunk with
//! values inside the object and in this file, no codec that can't be read.

pub(super) mod compact;
mod elements;
mod repair;

use super::chunks::{chunk_range, path};
use super::errors::{damaged, footer_error};
use crate::formats::error::ReadError;
use crate::formats::format::Format;
use bytes::Bytes;
use parquet::basic::Compression;
use parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy, RowGroupMetaData,
};
use std::sync::Arc;

/// A good first guess for the suffix to fetch, in bytes: most footers are smaller, and a request costs more than this.
pub const FIRST_SUFFIX_BYTES: u64 = 64 << 10;

/// How much larger a parsed footer is than its bytes, roughly: a column chunk has some 100 bytes in the file, without
/// statistics, and some 430 when it is parsed.
pub(in crate::formats) const PARSED_FACTOR: u64 = 4;

/// Magic of a plain Parquet file, at both ends.
const MAGIC: &[u8; 4] = b"PAR1";

/// Magic of a file with an encrypted footer.
const MAGIC_ENCRYPTED: &[u8; 4] = b"PARE";

/// Footer length (4 bytes) and magic.
const TAIL_BYTES: usize = 8;

/// The smallest object that can be a Parquet file: magic, tail.
const MIN_OBJECT_BYTES: u64 = 12;

/// What the last bytes of an object gave.
#[derive(Debug)]
pub enum FooterStep {
    /// The footer is larger than the suffix: fetch this many of the object's last bytes (at most its size).
    NeedSuffix {
        /// Bytes to fetch, counted from the object's end.
        bytes: u64,
    },
    /// The footer.
    Ready(Arc<ParquetMetaData>),
}

/// Length of the footer with its tail, as the object's last 8 bytes claim it.
pub(in crate::formats) fn footer_bytes(suffix: &[u8]) -> u64 {
    let length = suffix.last_chunk::<TAIL_BYTES>().and_then(|tail| tail.first_chunk::<4>());
    length.map_or(0, |length| u64::from(u32::from_le_bytes(*length)) + TAIL_BYTES as u64)
}

/// Reads the footer out of `suffix`, the last bytes of an object of `object_size` bytes. Column statistics are left out,
/// they are of no use here and the largest part of many footers.
///
/// # Errors
/// [`ReadError::OtherFormat`], [`ReadError::Encrypted`], [`ReadError::Damaged`], [`ReadError::Unsupported`],
/// [`ReadError::At`].
pub fn footer_from_suffix(suffix: &Bytes, object_size: u64) -> Result<FooterStep, ReadError> {
    if object_size < MIN_OBJECT_BYTES {
        return Err(ReadError::OtherFormat {
            format: Format::Parquet,
            what: format!("it has {object_size} bytes, the smallest Parquet file has {MIN_OBJECT_BYTES}"),
            found: None,
        });
    }
    let held = suffix.len() as u64;
    if held > object_size {
        return Err(ReadError::Internal { what: format!("a suffix of {held} bytes of {object_size}") });
    }
    let Some(tail) = suffix.last_chunk::<TAIL_BYTES>() else {
        return Ok(FooterStep::NeedSuffix { bytes: FIRST_SUFFIX_BYTES.min(object_size) });
    };
    let magic = &tail[4..];
    if magic == MAGIC_ENCRYPTED {
        return Err(ReadError::Encrypted { format: Format::Parquet, sign: "its magic is PARE" });
    }
    if magic != MAGIC {
        return Err(ReadError::OtherFormat {
            format: Format::Parquet,
            what: format!("it ends in \"{}\", expected \"PAR1\"", magic.escape_ascii()),
            found: None,
        });
    }
    let footer_bytes = footer_bytes(tail);
    // The leading magic is not part of the footer.
    let largest = object_size - MAGIC.len() as u64;
    if footer_bytes > largest {
        return Err(damaged(format!("the footer should have {footer_bytes} bytes, the object has {object_size}")));
    }
    if footer_bytes > held {
        return Ok(FooterStep::NeedSuffix { bytes: footer_bytes });
    }
    if held == object_size && !suffix.starts_with(MAGIC) {
        let start = &suffix[..MAGIC.len()];
        return Err(ReadError::OtherFormat {
            format: Format::Parquet,
            what: format!("it starts with {}, expected \"PAR1\"", start.escape_ascii()),
            found: None,
        });
    }
    // No more than is held.
    let start = suffix.len() - usize::try_from(footer_bytes).unwrap_or(suffix.len());
    let footer = &suffix[start..suffix.len() - TAIL_BYTES];
    let footer = repair::repaired(footer)?;
    // Page counts are wanted in full: the estimate of memory is made of them.
    let options = ParquetMetaDataOptions::new()
        .with_encoding_stats_as_mask(false)
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let metadata = ParquetMetaDataReader::decode_metadata_with_options(&footer, Some(&options));
    let metadata = without_false_dictionaries(metadata.map_err(footer_error)?)?;
    check(&metadata, object_size - footer_bytes)?;
    Ok(FooterStep::Ready(Arc::new(metadata)))
}

/// Some old writers set the offset of the dictionary page to 0, or behind the data, when there is none: then the chunk
/// starts with its data page.
fn without_false_dictionaries(metadata: ParquetMetaData) -> Result<ParquetMetaData, ReadError> {
    let wrong = |offset: Option<i64>, data: i64| offset.is_some_and(|offset| offset <= 0 || offset > data);
    let any = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    if !any.into_iter().any(|c| wrong(c.dictionary_page_offset(), c.data_page_offset())) {
        return Ok(metadata);
    }
    let mut builder = metadata.into_builder();
    let mut groups = Vec::new();
    for group in builder.take_row_groups() {
        let mut group = group.into_builder();
        let mut columns = Vec::new();
        for column in group.take_columns() {
            columns.push(if wrong(column.dictionary_page_offset(), column.data_page_offset()) {
                let column = column.into_builder().set_dictionary_page_offset(None);
                column.build().map_err(footer_error)?
            } else {
                column
            });
        }
        groups.push(group.set_column_metadata(columns).build().map_err(footer_error)?);
    }
    Ok(builder.set_row_groups(groups).build())
}

/// `data_end`: the first byte of the footer.
fn check(metadata: &ParquetMetaData, data_end: u64) -> Result<(), ReadError> {
    let file = metadata.file_metadata();
    let leaves = file.schema_descr().num_columns();
    let mut rows: i64 = 0;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        if group.num_rows() < 0 {
            return Err(damaged(format!("row group {index} has {} rows", group.num_rows())));
        }
        rows = rows.saturating_add(group.num_rows());
        if group.num_columns() != leaves {
            return Err(damaged(format!(
                "row group {index} has {} columns, the schema has {leaves}",
                group.num_columns()
            )));
        }
        check_columns(group, index, data_end)?;
    }
    // Readers size their batches by the file's row count: a wrong one would lose rows without an error.
    if rows != file.num_rows() {
        return Err(damaged(format!("{rows} rows in its row groups, {} by its footer", file.num_rows())));
    }
    Ok(())
}

fn check_columns(group: &RowGroupMetaData, index: usize, data_end: u64) -> Result<(), ReadError> {
    for column in group.columns() {
        // Where a chunk without values lies is of no use, and some writers give it places that can't be.
        let range = if column.num_values() == 0 { 0..0 } else { chunk_range(column)? };
        if range.end > data_end || (range.start < MAGIC.len() as u64 && !range.is_empty()) {
            return Err(damaged(format!(
                "row group {index}, column {:?}: bytes {} to {} are outside the object's data",
                path(column),
                range.start,
                range.end
            )));
        }
        if column.num_values() < 0 || column.uncompressed_size() < 0 {
            return Err(damaged(format!("row group {index}, column {:?}: negative size", path(column))));
        }
        if column.compression() == Compression::LZO {
            return Err(ReadError::Unsupported {
                column: path(column),
                what: "it is compressed with LZO, which can't be read; write the file with another codec (for example \
                       ZSTD or Snappy), or exclude it"
                    .into(),
            });
        }
        if column.file_path().is_some_and(|path| !path.is_empty()) {
            return Err(ReadError::Unsupported {
                column: path(column),
                what: "its data is in another file (this is a summary file such as _metadata); exclude it".into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
