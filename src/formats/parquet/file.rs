//! What a Parquet file says of itself, behind [`crate::formats`]: its footer, and the steps in which its row groups are read.

use super::chunks::row_group_ranges;
use super::columns;
use super::errors::damaged;
use super::footer::{FooterStep, footer_from_suffix};
use super::memory::{estimated_bytes, measured_bytes};
use super::projection::Projection;
use super::reader::{Reader, row_groups};
use crate::config::NestedAs;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::{Output, Position, Step};
use crate::schema::file::FileSchema;
use crate::schema::rules::ColumnRules;
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use std::ops::Range;
use std::sync::Arc;

/// A file with its parsed footer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct File {
    metadata: Arc<ParquetMetaData>,
    /// Which of its columns are read.
    projection: Projection,
}

/// The file whose last bytes these are, or how many of them are needed.
pub(in crate::formats) fn inspect(suffix: &Bytes, object_bytes: u64) -> Result<Result<File, u64>, ReadError> {
    let is_whole = suffix.len() as u64 == object_bytes;
    let step = footer_from_suffix(suffix, object_bytes);
    let step = step.map_err(|error| if is_whole { error.with_first_bytes(suffix) } else { error })?;
    Ok(match step {
        FooterStep::Ready(metadata) => Ok(File { metadata, projection: Projection::default() }),
        FooterStep::NeedSuffix { bytes } if bytes > MAX_FOOTER_BYTES => {
            return Err(damaged(format!(
                "the footer claims {bytes} bytes, more than the {MAX_FOOTER_BYTES} that a footer may have"
            )));
        }
        FooterStep::NeedSuffix { bytes } if suffix.len() as u64 == object_bytes => {
            return Err(damaged(format!("the footer should have {bytes} bytes, the object has {object_bytes}")));
        }
        FooterStep::NeedSuffix { bytes } => Err(bytes),
    })
}

/// The largest footer that is read. Real ones have a few MiB at most; a damaged tail may claim anything.
const MAX_FOOTER_BYTES: u64 = 256 << 20;

impl File {
    /// The same file, of which only the columns are read that the rules read.
    pub(in crate::formats) fn projected(self, rules: &ColumnRules) -> Self {
        Self { projection: Projection::of(&self.metadata, rules), ..self }
    }

    pub(in crate::formats) fn schema(&self, nested_as: NestedAs) -> Result<FileSchema, ReadError> {
        columns::file_schema(&self.metadata, nested_as)
    }

    pub(in crate::formats) fn rows(&self) -> u64 {
        (0..self.metadata.num_row_groups()).map(|group| self.group_rows(group)).sum()
    }

    fn group_rows(&self, row_group: usize) -> u64 {
        u64::try_from(self.metadata.row_group(row_group).num_rows()).unwrap_or(0)
    }

    pub(in crate::formats) fn held_bytes(&self) -> u64 {
        self.metadata.memory_size() as u64
    }

    pub(in crate::formats) fn most_batch_rows(&self) -> u64 {
        (0..self.metadata.num_row_groups()).map(|group| self.group_rows(group)).max().unwrap_or(0)
    }

    /// The first row group that has rows from `row` on. Empty ones in front of it are skipped.
    pub(in crate::formats) fn position_of_row(&self, row: u64) -> Position {
        let mut first_row = 0;
        for group in 0..self.metadata.num_row_groups() {
            let rows = self.group_rows(group);
            if row == 0 || first_row + rows > row {
                return Position { part: group as u64, first_row };
            }
            first_row += rows;
        }
        Position { part: self.metadata.num_row_groups() as u64, first_row }
    }

    /// As many row groups as have `most_bytes`, at least one.
    pub(in crate::formats) fn step(&self, from: Position, most_bytes: u64) -> Result<Option<Step>, ReadError> {
        let first = usize::try_from(from.part).unwrap_or(usize::MAX);
        if first >= self.metadata.num_row_groups() {
            return Ok(None);
        }
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let (mut end, mut bytes, mut rows, mut decoding_bytes) = (first, 0_u64, 0, 0);
        while end < self.metadata.num_row_groups() {
            let group = row_group_ranges(&self.metadata, end, &self.projection)?;
            let group_bytes: u64 = group.iter().map(|range| range.end - range.start).sum();
            if end > first && bytes.saturating_add(group_bytes) > most_bytes {
                break;
            }
            bytes = bytes.saturating_add(group_bytes);
            rows += self.group_rows(end);
            ranges.extend(group);
            decoding_bytes = estimated_bytes(&self.metadata, end, &self.projection).max(decoding_bytes);
            end += 1;
        }
        ranges.sort_by_key(|range| (range.start, range.end));
        let next = Position { part: end as u64, first_row: from.first_row + rows };
        Ok(Some(Step { from, next, ranges, decoding_bytes }))
    }

    pub(in crate::formats) fn measured_bytes(&self, step: &Step, bytes: &FetchedRanges) -> u64 {
        row_groups(step).map(|group| measured_bytes(&self.metadata, group, &self.projection, bytes)).max().unwrap_or(0)
    }

    pub(in crate::formats) fn reader(&self, output: Output) -> Result<Reader, ReadError> {
        Reader::new(Arc::clone(&self.metadata), output)
    }
}
