//! Reads the steps of a Parquet file, behind [`crate::formats`]: one row group after the other.

use super::plan::ObjectPlan;
use super::row_groups::RowGroupDecoder;
use crate::cast::row_numbers::RowNumbers;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::{Output, Position, Rows, Step};
use parquet::file::metadata::ParquetMetaData;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Reads steps in any order: a row group needs nothing of another.
pub struct Reader {
    plan: Arc<ObjectPlan>,
    bytes: FetchedRanges,
    /// Row groups of the step that are not begun.
    left: Range<usize>,
    /// The number of the next row in the object.
    row: u64,
    decoder: Option<RowGroupDecoder>,
}

impl Reader {
    pub(super) fn new(metadata: Arc<ParquetMetaData>, output: Output) -> Result<Self, ReadError> {
        let plan = Arc::new(ObjectPlan::new(metadata, output)?);
        Ok(Self { plan, bytes: FetchedRanges::default(), left: 0..0, row: 0, decoder: None })
    }

    pub(in crate::formats) fn feed(&mut self, step: &Step, bytes: FetchedRanges) {
        (self.left, self.row, self.bytes, self.decoder) = (row_groups(step), step.from.first_row, bytes, None);
    }

    /// The next batch that has rows from `first_row` on: row groups before it are skipped.
    pub(in crate::formats) fn next_batch(&mut self, first_row: u64) -> Result<Option<Rows>, ReadError> {
        loop {
            let decoder = match &mut self.decoder {
                Some(decoder) => decoder,
                None => {
                    let Some(row_group) = self.left.next() else {
                        self.bytes = FetchedRanges::default();
                        return Ok(None);
                    };
                    let rows = self.plan.rows(row_group);
                    if self.row + rows <= first_row {
                        self.row += rows;
                        continue;
                    }
                    let plan = Arc::clone(&self.plan);
                    let decoder = RowGroupDecoder::open(plan, row_group, self.bytes.clone(), self.row)?;
                    self.decoder.insert(decoder)
                }
            };
            match decoder.next_batch()? {
                Some(batch) => {
                    let numbers = RowNumbers::From { first: self.row, rows: batch.num_rows() };
                    self.row += batch.num_rows() as u64;
                    if decoder.is_done() {
                        // At once: the batch may wait long for its peer.
                        self.decoder = None;
                        if self.left.is_empty() {
                            self.bytes = FetchedRanges::default();
                        }
                    }
                    return Ok(Some(Rows { numbers, batch }));
                }
                None => self.decoder = None,
            }
        }
    }

    pub(in crate::formats) fn is_done(&self) -> bool {
        self.left.is_empty() && self.decoder.is_none()
    }

    /// The row group behind those of the step, which was read to its end.
    pub(in crate::formats) fn resume_at(&self) -> Position {
        Position { part: self.left.start as u64, first_row: self.row }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("left", &self.left).field("row", &self.row).finish_non_exhaustive()
    }
}

/// The row groups of a step.
pub(super) fn row_groups(step: &Step) -> Range<usize> {
    let index = |position: Position| usize::try_from(position.part).unwrap_or(usize::MAX);
    index(step.from)..index(step.next)
}
