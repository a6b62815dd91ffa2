//! Decoding one row group of an object from bytes in memory into batches of the table's outgoing schema.
//!
//! A batch aims at [`BATCH_ROWS`](crate::formats::limits::BATCH_ROWS) rows or [`BATCH_BYTES`] decoded, whichever is less. How many rows that is comes from the
//! footer; where it can't know (dictionaries, whose values count once in the file and many times in a batch) the
//! dictionary itself is looked at. JSON, whose size only writing it tells, stops at a budget, and the batch is read again with
//! as many rows as fit. A batch that comes out far larger all the same makes the following ones smaller. What one row group
//! taught holds for the object's others.

use super::batch_size::first_batch_rows;
use super::damage::{self, Damage};
use super::errors::{cause, damaged, part, row_group_error};
use super::plan::ObjectPlan;
use crate::cast::origin::Repeated;
use crate::cast::row_numbers::RowNumbers;
use crate::formats::assemble::{AssembleError, Assembled, ReadRows};
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::limits::BATCH_BYTES;
use arrow::array::{RecordBatch, RecordBatchReader as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A batch larger than this many times [`BATCH_BYTES`] makes the following ones smaller. Less would have the pages that
/// were read skipped once more for little.
const OVERSIZE_FACTOR: u64 = 4;

/// By how much fewer rows are tried when a batch would have exceeded 32-bit offsets.
const OVERFLOW_SHRINK: usize = 64;

/// Decodes one row group batch by batch.
pub struct RowGroupDecoder {
    plan: Arc<ObjectPlan>,
    row_group: usize,
    bytes: FetchedRanges,
    /// Number of the group's first row in the object.
    first_row: u64,
    rows_done: u64,
    rows_total: u64,
    batch_rows: usize,
    readers: Option<Readers>,
    /// What is alike in all batches, see [`crate::cast::origin::Origin::arrays`].
    repeated: Option<Repeated>,
    /// What is wrong with the row behind the last one that was given.
    pending: Option<ReadError>,
}

/// The readers at row `rows_done`, made for `batch_rows`.
struct Readers {
    main: ParquetRecordBatchReader,
    second: Option<ParquetRecordBatchReader>,
}

impl RowGroupDecoder {
    /// Starts on `row_group` of the plan's object. `bytes` must hold its [`super::chunks::row_group_ranges`];
    /// `first_row` is the number of its first row in the object ([`ObjectPlan::first_row`]).
    ///
    /// # Errors
    /// When there is no such row group, its pages are not what the footer says, its dictionaries are damaged, or it has
    /// values that are too large for a message.
    pub fn open(
        plan: Arc<ObjectPlan>,
        row_group: usize,
        bytes: FetchedRanges,
        first_row: u64,
    ) -> Result<Self, ReadError> {
        let group = plan.metadata.row_groups().get(row_group).ok_or_else(|| ReadError::Internal {
            what: format!("row group {row_group} of {}", plan.metadata.num_row_groups()),
        })?;
        let rows_total = u64::try_from(group.num_rows())
            .map_err(|_| damaged(format!("row group {row_group} has {} rows", group.num_rows())))?;
        let batch_rows = if rows_total == 0 {
            1
        } else {
            let assembly = &plan.assembly;
            let added_bytes = assembly.added_bytes_a_row();
            first_batch_rows((group, row_group), &plan.projection, assembly.fit(), added_bytes, &bytes)?
        };
        let batch_rows = batch_rows.min(plan.learned_rows.load(Ordering::Relaxed));
        Ok(Self {
            plan,
            row_group,
            bytes,
            first_row,
            rows_done: 0,
            rows_total,
            batch_rows,
            readers: None,
            repeated: None,
            pending: None,
        })
    }

    /// Whether the last batch was returned, or none ever will be.
    pub fn is_done(&self) -> bool {
        self.rows_done >= self.rows_total
    }

    /// The next batch, `None` after the last one. A batch may be larger than aimed at: the caller slices. After an error
    /// the rest of the row group is lost.
    ///
    /// # Errors
    /// Damaged pages, wrong checksums, text that isn't UTF-8, fewer rows than the footer says.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        if let Some(error) = self.pending.take() {
            self.rows_done = self.rows_total;
            return Err(error);
        }
        if self.is_done() {
            return Ok(None);
        }
        let batch = loop {
            match self.try_batch() {
                Ok(batch) => break batch,
                Err(AssembleError::TooLarge(error)) if self.batch_rows <= 1 => return Err(error),
                Err(AssembleError::TooLarge(_)) => self.shrink(self.batch_rows / OVERFLOW_SHRINK),
                Err(AssembleError::OverBudget(rows)) => self.shrink(rows.min(self.batch_rows - 1)),
                Err(AssembleError::Other(error)) => return Err(error),
            }
        };
        let rows = batch.num_rows() as u64;
        self.rows_done += rows;
        let beyond = if self.rows_done == self.rows_total { self.rows_beyond()? } else { 0 };
        if rows == 0 || self.rows_done > self.rows_total || beyond > 0 {
            let got = self.rows_done + beyond;
            // Nothing more can come out of this row group.
            self.rows_done = self.rows_total;
            let (row_group, expected) = (self.row_group, self.rows_total);
            return Err(damaged(format!("row group {row_group} should have {expected} rows, its pages hold {got}")));
        }
        self.adapt(&batch);
        Ok(Some(batch))
    }

    /// Rows that the pages hold beyond the footer's count, at least: to lose them silently is not an option.
    fn rows_beyond(&mut self) -> Result<u64, ReadError> {
        let Some(mut readers) = self.readers.take() else { return Ok(0) };
        match self.read(&mut readers.main) {
            Ok(batch) => Ok(batch.num_rows() as u64),
            Err(AssembleError::TooLarge(error) | AssembleError::Other(error)) => Err(error),
            // Nothing is cast here.
            Err(AssembleError::OverBudget(rows)) => Ok(rows as u64),
        }
    }

    /// From here on batches have at most this many rows, also in the object's other row groups.
    fn shrink(&mut self, rows: usize) {
        self.batch_rows = rows.max(1);
        self.readers = None;
        self.plan.learned_rows.fetch_min(self.batch_rows, Ordering::Relaxed);
    }

    fn try_batch(&mut self) -> Result<RecordBatch, AssembleError> {
        let mut readers = match self.readers.take() {
            Some(readers) => readers,
            None => self.readers().map_err(AssembleError::Other)?,
        };
        let main = self.read(&mut readers.main)?;
        let second = match &mut readers.second {
            Some(reader) => Some(self.read(reader)?),
            None => None,
        };
        let batch = self.assemble(&main, second.as_ref())?;
        self.readers = Some(readers);
        Ok(batch)
    }

    fn readers(&self) -> Result<Readers, ReadError> {
        let done = usize::try_from(self.rows_done).map_err(|error| ReadError::Internal { what: error.to_string() })?;
        let build = |metadata: &ArrowReaderMetadata, mask: Option<&ProjectionMask>| {
            let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), metadata.clone())
                .with_row_groups(vec![self.row_group])
                .with_batch_size(self.batch_rows);
            if done > 0 {
                builder = builder.with_offset(done);
            }
            if let Some(mask) = mask {
                builder = builder.with_projection(mask.clone());
            }
            builder.build().map_err(|source| self.located(source))
        };
        let main = build(&self.plan.main, self.plan.projection.mask(&self.plan.metadata).as_ref())?;
        let second = self.plan.second.as_ref().map(|(metadata, mask)| build(metadata, Some(mask))).transpose()?;
        Ok(Readers { main, second })
    }

    /// The reader's next batch; an empty one at its end.
    fn read(&self, reader: &mut ParquetRecordBatchReader) -> Result<RecordBatch, AssembleError> {
        match reader.next() {
            None => Ok(RecordBatch::new_empty(reader.schema())),
            Some(Ok(batch)) => Ok(batch),
            Some(Err(error)) => {
                // The only sign that the crate gives of values that exceed 32-bit offsets is this word.
                let too_large = error.to_string().contains("overflow");
                let error = ParquetError::from(error);
                Err(if too_large {
                    AssembleError::TooLarge(self.undecodable(error))
                } else {
                    AssembleError::Other(self.located(error))
                })
            }
        }
    }

    fn undecodable(&self, error: ParquetError) -> ReadError {
        let place = format!("from row {} of it", self.rows_done);
        row_group_error(self.row_group, &place, cause(&error))
    }

    /// The error, with the column and page that it is about.
    fn located(&self, error: ParquetError) -> ReadError {
        let row = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
        let rows = row(self.rows_done)..row(self.rows_total).min(row(self.rows_done).saturating_add(self.batch_rows));
        match damage::find(&self.plan.main, self.row_group, &self.bytes, &self.plan.projection, &rows) {
            Some(Damage { place, error }) => row_group_error(self.row_group, &place, cause(&error)),
            None => self.undecodable(error),
        }
    }

    fn assemble(&mut self, main: &RecordBatch, second: Option<&RecordBatch>) -> Result<RecordBatch, AssembleError> {
        let rows = main.num_rows();
        if second.is_some_and(|second| second.num_rows() != rows) {
            let source = ParquetError::General("two readings of a column differ in length".into());
            return Err(AssembleError::Other(self.undecodable(source)));
        }
        let numbers = RowNumbers::From { first: self.first_row + self.rows_done, rows };
        let (columns, second) = (main.columns(), second.map(RecordBatch::columns));
        let read = ReadRows { columns, second, others: None, numbers: &numbers, part: part(self.row_group) };
        // A row group with fewer rows needs no more of what is alike.
        let most_rows = usize::try_from(self.rows_total).unwrap_or(usize::MAX).min(self.batch_rows);
        let Assembled { batch, then, .. } = self.plan.assembly.assemble(read, most_rows, &mut self.repeated)?;
        self.pending = then;
        Ok(batch)
    }

    /// Makes the following batches smaller after one that was far too large.
    fn adapt(&mut self, batch: &RecordBatch) {
        let bytes = batch.get_array_memory_size() as u64;
        let rows = batch.num_rows() as u64;
        if bytes > OVERSIZE_FACTOR * BATCH_BYTES && rows > 1 && self.rows_done < self.rows_total {
            let fitting = usize::try_from((rows * BATCH_BYTES / bytes).max(1)).unwrap_or(1);
            if fitting < self.batch_rows {
                self.shrink(fitting);
            }
        }
    }
}

#[cfg(test)]
mod tests;
