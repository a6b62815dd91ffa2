//! Reads the blocks of an Avro file in their order.

use super::block::{self, Block};
use super::damaged;
use super::file::File;
use super::rows::{RowDecoder, check_count};
use crate::formats::assemble::{Assembly, PartName};
use crate::formats::bytes_in_order::BytesInOrder;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::plain::read_columns;
use crate::formats::plain::slices::{Part, Slicer};
use crate::formats::{Output, Position, Rows, Step};
use bytes::{Buf as _, Bytes};

/// Reads steps in their order.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    /// The indexes of the columns that are read; `None`: all are.
    projection: Option<Vec<usize>>,
    slicer: Slicer,
    bytes: BytesInOrder,
    /// `None` until it is needed, and after an error.
    decoder: Option<RowDecoder>,
    block: Option<OpenBlock>,
    /// The number of the next row in the object, from 0.
    row: u64,
    /// The offset behind the last step.
    fed_to: u64,
}

/// A block that is being read.
#[derive(Debug)]
struct OpenBlock {
    name: PartName,
    /// What is not read, unpacked.
    bytes: Bytes,
    rows_left: u64,
}

impl Reader {
    pub(super) fn new(file: File, output: Output) -> Result<Self, ReadError> {
        let read = read_columns(&file.columns, &output.rules);
        let columns = read.iter().filter_map(|index| file.columns.get(*index).cloned()).collect();
        let fields: Vec<_> = file.columns.iter().map(|column| column.field.clone()).collect();
        let slicer = Slicer::new(columns, Assembly::new(&fields, output)?);
        Ok(Self {
            projection: (read.len() < file.columns.len()).then_some(read),
            slicer,
            bytes: BytesInOrder::default(),
            decoder: None,
            block: None,
            row: 0,
            fed_to: file.start().part,
            file,
        })
    }

    pub(in crate::formats) fn feed(&mut self, step: &Step, bytes: &FetchedRanges) {
        if self.bytes.feed(step, bytes) {
            self.row = step.from.first_row;
        }
        self.fed_to = step.next.part;
    }

    pub(in crate::formats) fn next_batch(&mut self, first_row: u64) -> Result<Option<Rows>, ReadError> {
        loop {
            if let Some(rows) = self.slicer.next_batch(first_row)? {
                return Ok(Some(rows));
            }
            match self.block.take() {
                Some(block) => self.read_rows(block)?,
                None if !self.next_block(first_row)? => return Ok(None),
                None => {}
            }
        }
    }

    /// Takes the next block; false where it is not all there, or there is none.
    fn next_block(&mut self, first_row: u64) -> Result<bool, ReadError> {
        match block::next(&mut self.bytes, &self.file.sync, self.file.object_bytes)? {
            block::Next::Block(block) => {
                if self.row + block.rows <= first_row {
                    self.row += block.rows;
                } else {
                    self.open(block)?;
                }
                Ok(true)
            }
            block::Next::Part if self.fed_to >= self.file.object_bytes => {
                Err(damaged(format!("it stops in the block at byte {}", self.bytes.offset())))
            }
            block::Next::Nothing | block::Next::Part => Ok(false),
        }
    }

    fn open(&mut self, Block { at, rows, packed }: Block) -> Result<(), ReadError> {
        let name = PartName { word: "block at byte", number: at };
        let bytes = self.file.codec.unpack(packed);
        let bytes = bytes.map_err(|error| ReadError::At { place: name.to_string(), what: error })?;
        check_count(rows, bytes.len() as u64, at)?;
        self.block = Some(OpenBlock { name, bytes, rows_left: rows });
        Ok(())
    }

    /// Decodes some rows of the block.
    fn read_rows(&mut self, mut block: OpenBlock) -> Result<(), ReadError> {
        let name = block.name;
        if block.rows_left == 0 {
            if block.bytes.is_empty() {
                return Ok(());
            }
            return Err(damaged(format!("the {name} has {} bytes behind its records", block.bytes.len())));
        }
        let mut rows = block.rows_left;
        let decoded = loop {
            let mut decoder = match self.decoder.take() {
                Some(decoder) => decoder,
                None => RowDecoder::new(&self.file.schema, self.projection.as_deref(), self.file.batch_rows)?,
            };
            match decoder.decode(&block.bytes, rows) {
                Ok(decoded) => {
                    self.decoder = Some(decoder);
                    break decoded;
                }
                // Fewer and fewer, so that all rows before the bad one are sent.
                Err(_) if rows > 1 => rows = rows.min(self.file.batch_rows as u64) / 2,
                Err(error) => return Err(name.error(&format!("row {} of the object", self.row), error)),
            }
        };
        let rows = decoded.batch.num_rows();
        block.bytes.advance(decoded.bytes);
        block.rows_left -= rows as u64;
        self.slicer.feed(Part { arrays: decoded.batch.columns().to_vec(), rows, first_row: self.row, name });
        self.row += rows as u64;
        self.block = Some(block);
        Ok(())
    }

    /// What is carried. A block is read to its end in the step that ends it.
    pub(in crate::formats) fn held_bytes(&self) -> u64 {
        self.bytes.held_bytes()
    }

    pub(in crate::formats) fn resume_at(&self) -> Position {
        Position { part: self.bytes.offset(), first_row: self.row }
    }
}
