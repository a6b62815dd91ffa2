//! A part of a file that is in memory as Arrow's arrays, given out in batches of the table.

use super::Column;
use super::size::plain_bytes;
use crate::cast::counts::CastCounts;
use crate::cast::error::CastError;
use crate::cast::origin::Repeated;
use crate::cast::row_numbers::RowNumbers;
use crate::formats::Rows;
use crate::formats::assemble::{AssembleError, Assembled, Assembly, PartName, ReadRows};
use crate::formats::error::ReadError;
use crate::formats::limits::{BATCH_BYTES, BATCH_ROWS, MAX_VALUE_BYTES};
use arrow::array::ArrayRef;

/// By how much fewer rows are tried when a batch would have exceeded 32-bit offsets.
const OVERFLOW_SHRINK: usize = 64;

/// A batch may be this many times as large as it aims at: sizes are estimates.
const OVERSIZE_FACTOR: u64 = 2;

/// A row larger than this is refused before it is made: four values as large as a message.
const MAX_ROW_BYTES: u64 = 4 * MAX_VALUE_BYTES;

/// Makes batches of the table of a file's arrays. One for each reader.
#[derive(Debug)]
pub(in crate::formats) struct Slicer {
    /// The columns that are read.
    columns: Vec<Column>,
    assembly: Assembly,
    repeated: Option<Repeated>,
    /// Rows of a batch at most, by what was found.
    batch_rows: usize,
    part: Option<Part>,
    /// What is wrong with the row behind the last one that was given out.
    pending: Option<ReadError>,
}

/// Rows that are read and not given out.
#[derive(Debug)]
pub(in crate::formats) struct Part {
    /// The columns that are read, in the file's order.
    pub(in crate::formats) arrays: Vec<ArrayRef>,
    pub(in crate::formats) rows: usize,
    /// The number of the first one in the object.
    pub(in crate::formats) first_row: u64,
    pub(in crate::formats) name: PartName,
}

impl Slicer {
    /// For a file of which these columns are read.
    pub(in crate::formats) fn new(columns: Vec<Column>, assembly: Assembly) -> Self {
        Self { columns, assembly, repeated: None, batch_rows: BATCH_ROWS, part: None, pending: None }
    }

    /// Takes the next part. The one before must have been given out.
    pub(in crate::formats) fn feed(&mut self, part: Part) {
        self.part = Some(part);
    }

    /// The next batch of the part; `None` when all was given out. Rows before `first_row` may be left out. After an error the
    /// rest of the part is lost.
    ///
    /// # Errors
    /// Values that can't be cast, or are too large.
    pub(in crate::formats) fn next_batch(&mut self, first_row: u64) -> Result<Option<Rows>, ReadError> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        let Some(mut part) = self.part.take() else { return Ok(None) };
        let skip = usize::try_from(first_row.saturating_sub(part.first_row)).unwrap_or(usize::MAX).min(part.rows);
        part.advance(skip);
        if part.rows == 0 {
            return Ok(None);
        }
        let mut rows = self.fitting_rows(&part)?;
        let Assembled { batch, then, .. } = loop {
            match self.assemble(&part, rows) {
                Ok(assembled) => break assembled,
                Err(AssembleError::TooLarge(error)) if rows <= 1 => return Err(error),
                Err(AssembleError::TooLarge(_)) => rows = (rows / OVERFLOW_SHRINK).max(1),
                Err(AssembleError::OverBudget(fit)) => rows = fit.min(rows.saturating_sub(1)).max(1),
                Err(AssembleError::Other(error)) => return Err(error),
            }
            self.batch_rows = rows;
        };
        let first_row = part.first_row;
        self.pending = then;
        part.advance(rows);
        if part.rows > 0 && self.pending.is_none() {
            self.part = Some(part);
        }
        Ok(Some(Rows { numbers: RowNumbers::From { first: first_row, rows: batch.num_rows() }, batch }))
    }

    /// How many rows of the part make a batch of the size that is aimed at.
    fn fitting_rows(&self, part: &Part) -> Result<usize, ReadError> {
        let mut rows = self.batch_rows.min(part.rows);
        loop {
            let bytes = part.arrays.iter().map(|array| plain_bytes(&array.slice(0, rows)));
            let added = self.assembly.added_bytes_a_row().saturating_mul(rows as u64);
            let bytes = bytes.fold(added, u64::saturating_add);
            if rows == 1 && bytes > MAX_ROW_BYTES {
                let what = format!("it takes about {bytes} bytes, more than the {MAX_ROW_BYTES} that a row may have");
                return Err(part.name.error(&format!("row {} of the object", part.first_row), what));
            }
            if rows == 1 || bytes <= OVERSIZE_FACTOR * BATCH_BYTES {
                return Ok(rows);
            }
            // In proportion, and at least by an eighth, so that it ends quickly.
            let fitting = u128::from(BATCH_BYTES) * rows as u128 / u128::from(bytes);
            rows = usize::try_from(fitting).unwrap_or(1).clamp(1, rows - rows.div_ceil(8));
        }
    }

    fn assemble(&mut self, part: &Part, rows: usize) -> Result<Assembled, AssembleError> {
        let counts = CastCounts::default();
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (column, array) in self.columns.iter().zip(&part.arrays) {
            let plain = column.array(&array.slice(0, rows), &counts).map_err(|error| {
                let place = format!("column {:?}", column.field.name);
                let what = part.name.error(&place, error.to_string());
                if error == CastError::TooLarge { AssembleError::TooLarge(what) } else { AssembleError::Other(what) }
            });
            arrays.push(plain?);
        }
        let numbers = RowNumbers::From { first: part.first_row, rows };
        let read = ReadRows { columns: &arrays, second: None, others: None, numbers: &numbers, part: part.name };
        let assembled = self.assembly.assemble(read, self.batch_rows, &mut self.repeated)?;
        self.assembly.count(&counts);
        Ok(assembled)
    }
}

impl Part {
    fn advance(&mut self, rows: usize) {
        if rows == 0 {
            return;
        }
        let left = self.rows - rows;
        self.arrays.iter_mut().for_each(|array| *array = array.slice(rows, left));
        (self.rows, self.first_row) = (left, self.first_row + rows as u64);
    }
}
