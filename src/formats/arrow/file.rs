//! What an Arrow file or stream says of itself: its schema, which is its first message.

use super::message::{self, FRAME_BYTES, Frame, MAX_METADATA_BYTES};
use super::reader::Reader;
use super::{CONTINUATION, MAGIC, MAGIC_BYTES, damaged};
use crate::config::NestedAs;
use crate::formats::bytes_in_order::{self, BytesInOrder};
use crate::formats::contained::contained;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::format::Format;
use crate::formats::limits::BATCH_BYTES;
use crate::formats::plain::Column;
use crate::formats::{Output, Position, Step};
use crate::schema::file::FileSchema;
use arrow::datatypes::Schema;
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::{self, Endianness, Message};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A good first guess for the length of the head: the schema of a hundred columns.
pub(in crate::formats) const FIRST_HEAD_BYTES: u64 = 16 << 10;
/// How much larger a parsed schema is than its bytes, roughly.
pub(in crate::formats) const PARSED_FACTOR: u64 = 4;

/// A batch, cast, and the one before, which the caller may still hold.
const BATCHES: u64 = 3;
/// What a step is taken to become when it is unpacked, as long as no message was seen.
const UNPACKED_FACTOR: u64 = 3;

/// A file with its schema. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(super) schema: Arc<Schema>,
    /// All of its columns.
    pub(super) columns: Arc<[Column]>,
    /// Behind the schema.
    pub(super) start: u64,
    pub(super) object_bytes: u64,
    /// It has a footer, which says that it is complete.
    pub(super) is_file: bool,
    /// Its messages begin with [`CONTINUATION`]: what else comes is the footer.
    pub(super) is_marked: bool,
    head_bytes: u64,
    /// Whether columns refer to dictionaries: then it can only be read from its start on.
    pub(super) has_dictionaries: bool,
    /// What the largest message took when it was unpacked, as far as it was seen, in bytes.
    pub(super) largest_message_bytes: Arc<AtomicU64>,
}

/// Where the schema is in the first bytes of an object.
enum Head {
    /// In a message with this metadata.
    Message { metadata: Range<usize> },
    /// In metadata without a frame behind the magic, as Polars writes it, up to the next message or the object's end.
    Bare { schema: Range<usize> },
    /// Further on: the head has at least so many bytes.
    AtLeast(u64),
}

/// A schema's metadata has more than this; without a frame it begins with the offset of its root, which is less.
const LEAST_METADATA_BYTES: usize = 16;
/// Messages begin at multiples of this.
const ALIGNMENT: usize = 8;
/// What is read when metadata without a frame does not end in the first guess: nothing says how long it is.
const BARE_SCHEMA_BYTES: u64 = 1 << 20;

impl Head {
    fn of(bytes: &[u8], object_bytes: u64) -> Result<Self, ReadError> {
        let before = if bytes.starts_with(MAGIC) { MAGIC_BYTES } else { 0 };
        let at = usize::try_from(before).unwrap_or(0);
        match Frame::of(bytes.get(at..).unwrap_or_default())? {
            None => Ok(Self::AtLeast(before + FRAME_BYTES as u64)),
            Some(Frame::End) => Err(damaged("it has no schema")),
            Some(Frame::Message { prefix, metadata }) if prefix == FRAME_BYTES || metadata >= LEAST_METADATA_BYTES => {
                let metadata = at + prefix..at + prefix + metadata;
                let is_there = metadata.end <= bytes.len();
                Ok(if is_there { Self::Message { metadata } } else { Self::AtLeast(metadata.end as u64) })
            }
            Some(Frame::Message { .. }) => {
                let mut starts = (at..bytes.len()).step_by(ALIGNMENT);
                let first = starts.find(|start| bytes[*start..].starts_with(&CONTINUATION));
                match first {
                    Some(first) => Ok(Self::Bare { schema: at..first }),
                    None if bytes.len() as u64 == object_bytes => Ok(Self::Bare { schema: at..bytes.len() }),
                    None => Ok(Self::AtLeast(BARE_SCHEMA_BYTES.max(2 * bytes.len() as u64).min(object_bytes))),
                }
            }
        }
    }
}

/// The length of the head in bytes, by the beginning of it.
pub(in crate::formats) fn head_bytes(bytes: &Bytes) -> u64 {
    match Head::of(bytes, u64::MAX) {
        Ok(Head::Message { metadata: range } | Head::Bare { schema: range }) => range.end as u64,
        Ok(Head::AtLeast(needed)) => needed,
        Err(_) => MAGIC_BYTES + FRAME_BYTES as u64,
    }
}

/// The file whose first bytes these are, or how many of them are needed.
pub(in crate::formats) fn inspect(head: &Bytes, object_bytes: u64) -> Result<Result<File, u64>, ReadError> {
    let is_file = head.starts_with(MAGIC);
    if !is_file && !head.starts_with(&CONTINUATION) {
        let what =
            "it starts neither with ARROW1, as files do, nor with the bytes ff ff ff ff, as streams do".to_owned();
        return Err(ReadError::OtherFormat { format: Format::Arrow, what, found: None }.with_first_bytes(head));
    }
    match Head::of(head, object_bytes)? {
        Head::AtLeast(_) if head.len() as u64 == object_bytes => Err(damaged("it stops before the end of its schema")),
        Head::AtLeast(needed) if needed <= MAX_METADATA_BYTES => Ok(Err(needed)),
        Head::AtLeast(needed) => Err(too_large(needed)),
        Head::Bare { schema } => {
            let bytes = message::aligned(&head[schema.clone()]);
            let message = message::parse(&bytes)?;
            let end = schema.end as u64;
            let places = Places { head_end: end, start: end, is_marked: true };
            file(&schema_of(&message)?, places, is_file, object_bytes).map(Ok)
        }
        Head::Message { metadata } => {
            let bytes = message::aligned(&head[metadata.clone()]);
            let message = message::parse(&bytes)?;
            let head_end = metadata.end as u64;
            let body_bytes = message::body_bytes(&message, object_bytes.saturating_sub(head_end))?;
            let start = head_end + body_bytes as u64;
            let first = usize::try_from(if is_file { MAGIC_BYTES } else { 0 }).unwrap_or(0);
            let is_marked = head[first..].starts_with(&CONTINUATION);
            file(&schema_of(&message)?, Places { head_end, start, is_marked }, is_file, object_bytes).map(Ok)
        }
    }
}

fn schema_of<'a>(message: &Message<'a>) -> Result<ipc::Schema<'a>, ReadError> {
    let what = || damaged(format!("its first message is a {:?} and no schema", message.header_type()));
    message.header_as_schema().ok_or_else(what)
}

/// Where things are in an object.
struct Places {
    head_end: u64,
    start: u64,
    is_marked: bool,
}

fn file(schema: &ipc::Schema<'_>, places: Places, is_file: bool, object_bytes: u64) -> Result<File, ReadError> {
    if schema.endianness() == Endianness::Big {
        let what =
            "the file is big-endian, and only little-endian ones can be read: write it on a little-endian machine";
        return Err(ReadError::At { place: "read the schema".to_owned(), what: what.to_owned() });
    }
    let schema = contained(|| try_fb_to_schema(*schema));
    let schema = schema.map_err(|what| damaged(format!("its schema can't be read: {what}")))?;
    let columns = schema.fields().iter().map(|field| Column::of(field, field.name()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(File {
        has_dictionaries: has_dictionaries(&schema),
        schema: Arc::new(schema),
        columns: columns.into(),
        start: places.start,
        object_bytes,
        is_file,
        is_marked: places.is_marked,
        head_bytes: places.head_end,
        largest_message_bytes: Arc::default(),
    })
}

fn too_large(needed: u64) -> ReadError {
    damaged(format!("its schema claims {needed} bytes; at most {MAX_METADATA_BYTES} are read"))
}

fn has_dictionaries(schema: &Schema) -> bool {
    use arrow::datatypes::DataType;
    schema.flattened_fields().iter().any(|field| matches!(field.data_type(), DataType::Dictionary(..)))
}

impl File {
    pub(in crate::formats) fn schema(&self, nested_as: NestedAs) -> FileSchema {
        let fields: Vec<_> = self.columns.iter().map(|column| column.field.clone()).collect();
        FileSchema::of_fields(&fields, nested_as)
    }

    pub(in crate::formats) fn held_bytes(&self) -> u64 {
        self.head_bytes * PARSED_FACTOR
    }

    pub(in crate::formats) fn start(&self) -> Position {
        Position { part: self.start, first_row: 0 }
    }

    pub(in crate::formats) fn step(&self, from: Position, most_bytes: u64) -> Option<Step> {
        let (step, step_bytes) = bytes_in_order::step(from, self.object_bytes, most_bytes)?;
        Some(Step { decoding_bytes: self.decoding_bytes(step_bytes), ..step })
    }

    /// What decoding takes: the largest message unpacked, if one was seen, and batches that are made of it.
    fn decoding_bytes(&self, step_bytes: u64) -> u64 {
        let unpacked = match self.largest_message_bytes.load(Ordering::Relaxed) {
            0 => step_bytes.saturating_mul(UNPACKED_FACTOR),
            seen => seen,
        };
        unpacked.saturating_add((BATCHES * BATCH_BYTES).min(step_bytes.saturating_mul(BATCHES)))
    }

    /// Looks at the messages of a step that begins with one.
    pub(in crate::formats) fn measured_bytes(&self, step: &Step, bytes: &FetchedRanges) -> u64 {
        if step.from.part == self.start {
            let mut in_order = BytesInOrder::default();
            in_order.feed(step, bytes);
            while let Ok(Some(unpacked)) = self.next_unpacked(&mut in_order) {
                self.largest_message_bytes.fetch_max(unpacked, Ordering::Relaxed);
            }
        }
        let step_bytes = step.next.part.saturating_sub(step.from.part);
        self.decoding_bytes(step_bytes)
    }

    /// What the next message has when it is unpacked; `None` at the end, and where it is not all there.
    fn next_unpacked(&self, bytes: &mut BytesInOrder) -> Result<Option<u64>, ReadError> {
        let Some(frame) = bytes.peek(FRAME_BYTES) else { return Ok(None) };
        let Some(Frame::Message { prefix, metadata }) = Frame::of(frame)? else { return Ok(None) };
        let left = self.object_bytes.saturating_sub(bytes.offset());
        let Some(head) = bytes.peek(prefix + metadata) else { return Ok(None) };
        let head_metadata = message::aligned(&head[prefix..]);
        let message = message::parse(&head_metadata)?;
        let body = message::body_bytes(&message, left)?;
        let Some(whole) = bytes.take(prefix + metadata + body) else { return Ok(None) };
        let body = &whole[prefix + metadata..];
        let batch = message.header_as_record_batch();
        let batch = batch.or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
        batch.map_or(Ok(Some(0)), |batch| {
            // Unpacked, it is no view of the body, of which there may be a copy then.
            let copied = if batch.compression().is_some() { body.len() as u64 } else { 0 };
            message::check(&batch, body).map(|unpacked| Some(unpacked.saturating_add(copied)))
        })
    }

    pub(in crate::formats) fn reader(&self, output: Output) -> Result<Reader, ReadError> {
        Reader::new(self.clone(), output)
    }
}
