//! Reads the messages of an Arrow file or stream in their order.

use super::file::File;
use super::message::{self, FRAME_BYTES, Frame};
use super::{CONTINUATION, MAGIC, damaged};
use crate::formats::assemble::{Assembly, PartName};
use crate::formats::bytes_in_order::BytesInOrder;
use crate::formats::contained::contained;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::plain::read_columns;
use crate::formats::plain::slices::{Part, Slicer};
use crate::formats::{Output, Position, Rows, Step};
use arrow::array::{Array as _, ArrayRef};
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{Message, MessageHeader};
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;

/// What is said of files whose dictionaries stand behind what needs them: they would have to be read from their end.
const LATE_DICTIONARIES: &str = "its dictionaries do not come before it, as in files of Polars with categorical columns, and \
                                 files are read forward: write it as a stream, or with texts in place of categories";

/// What may be between the last message and the footer: the mark of the end, and padding.
const MAX_PADDING_BYTES: usize = 64;

/// Reads steps in their order.
pub(crate) struct Reader {
    file: File,
    /// The indexes of the columns that are read; `None`: all are.
    projection: Option<Vec<usize>>,
    slicer: Slicer,
    bytes: BytesInOrder,
    /// By their ids in the schema.
    dictionaries: HashMap<i64, ArrayRef>,
    dictionaries_bytes: u64,
    /// The number of the next row in the object, from 0.
    row: u64,
    /// What says that the stream ends was read.
    ended: bool,
    /// The offset behind the last step.
    fed_to: u64,
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
            dictionaries: HashMap::new(),
            dictionaries_bytes: 0,
            row: 0,
            ended: false,
            fed_to: file.start,
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
            if !self.next_message(first_row)? {
                return Ok(None);
            }
        }
    }

    /// Takes the next message; false where it is not all there, or there is none.
    fn next_message(&mut self, first_row: u64) -> Result<bool, ReadError> {
        if self.ended {
            self.skip_footer()?;
            return Ok(false);
        }
        let left = self.file.object_bytes.saturating_sub(self.bytes.offset());
        let frame_bytes = FRAME_BYTES.min(usize::try_from(left).unwrap_or(FRAME_BYTES));
        let Some(first) = self.bytes.peek(frame_bytes) else { return self.missing(left > 0) };
        // Not all writers say where the messages of a file end.
        let is_footer = self.file.is_file && self.file.is_marked && !first.starts_with(&CONTINUATION);
        let frame = if is_footer && !first.is_empty() { Some(Frame::End) } else { Frame::of(first)? };
        let (prefix, metadata) = match frame {
            None => return self.missing(left > 0),
            Some(Frame::Message { prefix, metadata }) => (prefix, metadata),
            Some(Frame::End) => {
                self.ended = true;
                self.skip_footer()?;
                return Ok(false);
            }
        };
        let head = prefix + metadata;
        let Some(bytes) = self.bytes.peek(head) else { return self.missing(true) };
        let metadata = message::aligned(&bytes[prefix..]);
        let message = message::parse(&metadata)?;
        let body = message::body_bytes(&message, left.saturating_sub(head as u64))?;
        let at = self.bytes.offset();
        let Some(mut whole) = self.bytes.take(head + body) else { return self.missing(true) };
        let body = whole.split_off(head);
        self.read(&message, &body, at, first_row)?;
        Ok(true)
    }

    /// There is no further message in the steps so far: the object's end, or the beginning of one.
    fn missing(&self, is_begun: bool) -> Result<bool, ReadError> {
        if self.fed_to < self.file.object_bytes {
            return Ok(false);
        }
        if is_begun {
            return Err(damaged("it stops in the middle of a message"));
        }
        if self.file.is_file {
            return Err(damaged("it stops before its footer"));
        }
        Ok(false)
    }

    /// What is behind the messages: of a file its footer, whose length stands behind it, and the magic. It must begin where the
    /// messages end, or what was taken for their end is damage.
    fn skip_footer(&mut self) -> Result<(), ReadError> {
        if !self.file.is_file || self.fed_to < self.file.object_bytes {
            return Ok(());
        }
        let left = usize::try_from(self.file.object_bytes.saturating_sub(self.bytes.offset())).unwrap_or(usize::MAX);
        let Some(rest) = self.bytes.take(left) else { return Ok(()) };
        // What is behind the end is asked for once more when it was consumed.
        if rest.is_empty() {
            return Ok(());
        }
        let (footer, length) = rest
            .strip_suffix(MAGIC)
            .and_then(|rest| rest.split_last_chunk::<4>())
            .ok_or_else(|| damaged("it stops in its footer"))?;
        let before =
            usize::try_from(i32::from_le_bytes(*length)).ok().and_then(|length| footer.len().checked_sub(length));
        match before {
            Some(before) if before <= MAX_PADDING_BYTES => Ok(()),
            _ => Err(damaged(format!(
                "its messages end {} bytes before the object's end, and its footer not",
                rest.len()
            ))),
        }
    }

    /// Takes the message that begins at the byte `at` of the object.
    fn read(&mut self, message: &Message<'_>, body: &Bytes, at: u64, first_row: u64) -> Result<(), ReadError> {
        let named = |word| PartName { word, number: at };
        let body_buffer = message::aligned_body(body);
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let name = named("record batch at byte");
                let batch = message.header_as_record_batch().ok_or_else(|| damaged("a record batch is missing"))?;
                message::check(&batch, body)?;
                let (first, rows) = (self.row, batch.length().unsigned_abs());
                self.row += rows;
                if self.row <= first_row {
                    return Ok(());
                }
                let (schema, projection) = (self.file.schema.clone(), self.projection.as_deref());
                let read = contained(|| {
                    let version = message.version();
                    read_record_batch(&body_buffer, batch, schema, &self.dictionaries, projection, &version)
                });
                let read = read.map_err(|what| {
                    let is_early = self.file.has_dictionaries && self.dictionaries.is_empty();
                    damage(name, if is_early { LATE_DICTIONARIES.to_owned() } else { what })
                })?;
                let arrays = read.columns().to_vec();
                self.slicer.feed(Part { arrays, rows: read.num_rows(), first_row: first, name });
                Ok(())
            }
            MessageHeader::DictionaryBatch => {
                let name = named("dictionary batch at byte");
                let batch = message.header_as_dictionary_batch();
                let batch = batch.ok_or_else(|| damaged("a dictionary batch is missing"))?;
                let data = batch.data().ok_or_else(|| damaged(format!("{name} has no values")))?;
                message::check(&data, body)?;
                let (schema, dictionaries) = (&self.file.schema, &mut self.dictionaries);
                contained(|| read_dictionary(&body_buffer, batch, schema, dictionaries, &message.version()))
                    .map_err(|what| damage(name, what))?;
                self.dictionaries_bytes =
                    self.dictionaries.values().map(|values| values.get_array_memory_size() as u64).sum();
                Ok(())
            }
            // Writers may add what readers need not know.
            MessageHeader::NONE => Ok(()),
            other => {
                Err(damaged(format!("a message is a {other:?}, and only dictionaries and record batches may follow")))
            }
        }
    }

    /// What is carried, and the dictionaries.
    pub(in crate::formats) fn held_bytes(&self) -> u64 {
        self.bytes.held_bytes() + self.dictionaries_bytes
    }

    pub(in crate::formats) fn resume_at(&self) -> Position {
        if self.file.has_dictionaries {
            return self.file.start();
        }
        Position { part: self.bytes.offset(), first_row: self.row }
    }
}

/// What Arrow says of a message that it can't read.
fn damage(name: PartName, what: String) -> ReadError {
    ReadError::At { place: name.to_string(), what }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("row", &self.row).field("ended", &self.ended).finish_non_exhaustive()
    }
}
