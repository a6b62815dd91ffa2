//! What an Avro file says of itself: its header.

use super::codec::Codec;
use super::header::{self, Header, Parsed};
use super::reader::Reader;
use super::rows::RowDecoder;
use super::schema::{self, Checked};
use super::{SYNC_BYTES, block, damaged};
use crate::config::NestedAs;
use crate::formats::bytes_in_order::{self, BytesInOrder};
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::limits::{BATCH_BYTES, BATCH_ROWS};
use crate::formats::plain::Column;
use crate::formats::{Output, Position, Step};
use crate::schema::file::FileSchema;
use bytes::Bytes;
use std::sync::Arc;

/// A good first guess for the length of the head: the schema of a hundred fields.
pub(in crate::formats) const FIRST_HEAD_BYTES: u64 = 16 << 10;
/// How much larger a parsed header is than its bytes, roughly.
pub(in crate::formats) const PARSED_FACTOR: u64 = 8;

/// A batch, cast, and the one before, which the caller may still hold.
const BATCHES: u64 = 3;
/// What a step takes as long as its blocks are not known: one of them, unpacked, is much smaller than a step.
const USUAL_BLOCK_BYTES: u64 = 4 << 20;

/// A file with its header. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// As [`Checked::schema`] has it.
    pub(super) schema: Arc<str>,
    /// All of its columns.
    pub(super) columns: Arc<[Column]>,
    pub(super) codec: Codec,
    pub(super) sync: [u8; SYNC_BYTES],
    /// Where the first block begins.
    start: u64,
    pub(super) object_bytes: u64,
    /// Rows of a batch at most, by what each takes at least.
    pub(super) batch_rows: usize,
}

/// The length of the head in bytes, by the beginning of it.
pub(in crate::formats) fn head_bytes(bytes: &Bytes) -> u64 {
    match header::parse(bytes) {
        Ok(Parsed::Whole(header)) => header.bytes,
        Ok(Parsed::AtLeast(needed)) => needed,
        Err(_) => FIRST_HEAD_BYTES,
    }
}

/// The file whose first bytes these are, or how many of them are needed.
pub(in crate::formats) fn inspect(head: &Bytes, object_bytes: u64) -> Result<Result<File, u64>, ReadError> {
    let header = match header::parse(head)? {
        Parsed::Whole(header) => header,
        Parsed::AtLeast(_) if head.len() as u64 == object_bytes => {
            return Err(damaged("it stops before the end of its header"));
        }
        Parsed::AtLeast(needed) => return Ok(Err(needed.min(object_bytes))),
    };
    let Header { schema: text, codec, sync, bytes } = header;
    let Checked { schema, row_bytes } = schema::check(&text)?;
    let decoder = RowDecoder::new(&schema, None, 1)?;
    let read = decoder.schema();
    let columns = read.fields().iter().map(|field| Column::of(field, field.name()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let batch_rows = usize::try_from(BATCH_BYTES / row_bytes.max(1)).unwrap_or(BATCH_ROWS).clamp(1, BATCH_ROWS);
    Ok(Ok(File { schema: schema.into(), columns: columns.into(), codec, sync, start: bytes, object_bytes, batch_rows }))
}

impl File {
    pub(in crate::formats) fn schema(&self, nested_as: NestedAs) -> FileSchema {
        let fields: Vec<_> = self.columns.iter().map(|column| column.field.clone()).collect();
        FileSchema::of_fields(&fields, nested_as)
    }

    pub(in crate::formats) fn held_bytes(&self) -> u64 {
        self.schema.len() as u64 * PARSED_FACTOR
    }

    pub(in crate::formats) fn start(&self) -> Position {
        Position { part: self.start, first_row: 0 }
    }

    pub(in crate::formats) fn step(&self, from: Position, most_bytes: u64) -> Option<Step> {
        let (step, step_bytes) = bytes_in_order::step(from, self.object_bytes, most_bytes)?;
        let block_bytes = self.codec.unpacked_guess(&[], step_bytes).min(USUAL_BLOCK_BYTES);
        Some(Step { decoding_bytes: batches_bytes(step_bytes).saturating_add(block_bytes), ..step })
    }

    /// Looks for the largest block of a step.
    pub(in crate::formats) fn measured_bytes(&self, step: &Step, bytes: &FetchedRanges) -> u64 {
        let step_bytes = step.next.part.saturating_sub(step.from.part);
        let mut in_order = BytesInOrder::default();
        in_order.feed(step, bytes);
        let mut largest = 0;
        if step.from.part == self.start || self.skip_to_block(&mut in_order).is_some() {
            while let Ok(block::Next::Block(block)) = block::next(&mut in_order, &self.sync, self.object_bytes) {
                let unpacked = self.codec.unpacked_guess(&block.packed, block.packed.len() as u64);
                largest = unpacked.max(largest);
            }
        }
        batches_bytes(step_bytes).saturating_add(largest)
    }

    /// A step in the middle begins in a block, which ends with the marker.
    fn skip_to_block(&self, in_order: &mut BytesInOrder) -> Option<()> {
        let there = usize::try_from(in_order.held_bytes()).ok()?;
        let found = in_order.peek(there)?.windows(SYNC_BYTES).position(|window| window == self.sync)?;
        in_order.take(found + SYNC_BYTES).map(drop)
    }

    pub(in crate::formats) fn reader(&self, output: Output) -> Result<Reader, ReadError> {
        Reader::new(self.clone(), output)
    }
}

fn batches_bytes(step_bytes: u64) -> u64 {
    // What is packed well becomes much more.
    (BATCHES * BATCH_BYTES).min(step_bytes.saturating_mul(BATCHES * BATCHES))
}
