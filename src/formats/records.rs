//! A format for tests alone, which has what Parquet has not: records that straddle steps, and no count of rows. A file is
//! `RECS` (or `RECH`), then texts, each behind its length as a little-endian `u32`; it has the one column `text`.

use super::error::ReadError;
use super::format::Format;
use super::{Output, Position, Rows, Step};
use crate::cast::row_numbers::RowNumbers;
use crate::formats::fetched::FetchedRanges;
use crate::schema::file::{FileColumn, FileSchema};
use crate::schema::types::{ColumnType, UUID_BYTES};
use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray};
use bytes::Bytes;
use std::sync::Arc;

const MAGIC: &[u8; 4] = b"RECS";
/// Of a file whose steps are found to take more than its head tells.
const HEAVY_MAGIC: &[u8; 4] = b"RECH";
pub(super) const HEAD_BYTES: u64 = MAGIC.len() as u64;
/// Behind the magic.
pub(super) const START: Position = Position { part: HEAD_BYTES, first_row: 0 };
/// Rows of a batch: few, so that a small file has several.
const BATCH_ROWS: usize = 3;
/// Records and arrays, roughly.
const DECODING_FACTOR: u64 = 3;
/// What a step of a heavy file is said to take, once its bytes are there.
const HEAVY_DECODING_FACTOR: u64 = 9;

#[derive(Debug, Clone)]
pub(crate) struct File {
    object_bytes: u64,
    heavy: bool,
}

pub(super) fn inspect(head: &Bytes, object_bytes: u64) -> Result<File, ReadError> {
    let heavy = head.starts_with(HEAVY_MAGIC);
    if heavy || head.starts_with(MAGIC) {
        return Ok(File { object_bytes, heavy });
    }
    Err(ReadError::OtherFormat { format: Format::Records, what: "it does not start with RECS".into(), found: None })
}

pub(super) fn schema() -> FileSchema {
    let column = FileColumn { name: "text".into(), target: ColumnType::Utf8, inferred: None, source: "text".into() };
    FileSchema { columns: vec![column] }
}

impl File {
    pub(super) fn step(&self, from: Position, most_bytes: u64) -> Option<Step> {
        if from.part >= self.object_bytes {
            return None;
        }
        let end = self.object_bytes.min(from.part.saturating_add(most_bytes.max(1)));
        let decoding_bytes = (end - from.part) * DECODING_FACTOR;
        let next = Position { part: end, first_row: 0 };
        Some(Step { from, next, ranges: std::iter::once(from.part..end).collect(), decoding_bytes })
    }

    pub(super) fn measured_bytes(&self, step: &Step) -> u64 {
        let factor = if self.heavy { HEAVY_DECODING_FACTOR } else { DECODING_FACTOR };
        (step.next.part - step.from.part) * factor
    }

    pub(super) fn reader(&self, output: Output) -> Reader {
        Reader { output, object_bytes: self.object_bytes, buffer: Vec::new(), end: 0, row: 0, begun: false }
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    output: Output,
    object_bytes: u64,
    /// What is not read yet, up to `end`: at the end of a step the beginning of a record.
    buffer: Vec<u8>,
    end: u64,
    /// The number of the next row.
    row: u64,
    begun: bool,
}

impl Reader {
    pub(super) fn feed(&mut self, step: &Step, bytes: &FetchedRanges) {
        if !std::mem::replace(&mut self.begun, true) {
            (self.end, self.row) = (step.from.part, step.from.first_row);
        }
        assert_eq!(self.end, step.from.part, "steps come in their order");
        let length = usize::try_from(step.next.part - step.from.part).unwrap();
        self.buffer.extend_from_slice(&bytes.get(step.from.part, length).unwrap());
        self.end = step.next.part;
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Rows>, ReadError> {
        let mut texts = Vec::new();
        while texts.len() < BATCH_ROWS
            && let Some((length, rest)) = self.buffer.split_first_chunk()
            && let Some(text) = rest.get(..u32::from_le_bytes(*length) as usize)
        {
            texts.push(String::from_utf8_lossy(text).into_owned());
            self.buffer.drain(..4 + text.len());
        }
        if texts.is_empty() && self.end == self.object_bytes && !self.buffer.is_empty() {
            let what = "the last record stops early".into();
            return Err(ReadError::Damaged { format: Format::Records, what });
        }
        if texts.is_empty() {
            return Ok(None);
        }
        let (first_row, rows) = (self.row, texts.len());
        self.row += rows as u64;
        let numbers = RowNumbers::From { first: first_row, rows };
        let origin = &self.output.origin;
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(origin.id.rows(&numbers).unwrap()),
            Arc::new(FixedSizeBinaryArray::new_null(UUID_BYTES, rows)),
        ];
        arrays.extend(origin.arrays(&numbers, rows, &mut None).unwrap());
        arrays.push(Arc::new(StringArray::from(texts)));
        let batch = RecordBatch::try_new(Arc::clone(&self.output.schema), arrays).unwrap();
        Ok(Some(Rows { numbers: RowNumbers::From { first: first_row, rows }, batch }))
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    pub(super) fn resume_at(&self) -> Position {
        Position { part: self.end - self.buffer.len() as u64, first_row: self.row }
    }
}

/// A file with these texts.
pub(crate) fn write(texts: &[&str]) -> Bytes {
    write_as(MAGIC, texts)
}

/// The same, whose steps take more than its head tells.
pub(crate) fn write_heavy(texts: &[&str]) -> Bytes {
    write_as(HEAVY_MAGIC, texts)
}

fn write_as(magic: &[u8; 4], texts: &[&str]) -> Bytes {
    let mut file = magic.to_vec();
    for text in texts {
        file.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        file.extend_from_slice(text.as_bytes());
    }
    file.into()
}
