//! The formats of files: from the bytes of an object to record batches in the table's outgoing types.
//!
//! ```text
//! Format ─ inspect(head) ─▶ File ─ step(position) ─▶ Step ─ its ranges are fetched ─┐
//!                             └─── reader(output) ─▶ Reader ◀─ feed(step, bytes) ───┘─ next ─▶ Rows
//! ```
//!
//! Nothing here reads anything by itself: a [`Format`] says how many of an object's first or last bytes it needs (the head),
//! and makes a [`File`] of them, which says what it holds: columns, rows if they are known, the memory that it takes, and the
//! [`Step`]s in which the rest is to be fetched. A [`Reader`] is fed with the bytes of steps, and gives batches. A record may
//! straddle two steps: then the reader keeps its beginning. Of text formats it gives parts, of which batches are made side by
//! side. All of it is CPU work on bytes in memory: no network, no clock, no async. Arrays of files become outgoing arrays in
//! [`crate::cast`], batches of them the table's in [`assemble`].
//!
//! The formats are a closed enum, not a trait: the spec's words are closed, too, and a match that lacks a format does not
//! compile. To add one: a module here, its cases in this file, its name and extension in `format.rs`.

pub(crate) mod arrow;
mod assemble;
pub(crate) mod avro;
mod bytes_in_order;
mod contained;
pub mod error;
pub mod fetched;
pub mod format;
pub(crate) mod limits;
pub mod parquet;
mod plain;
#[cfg(test)]
mod reading_test;
#[cfg(test)]
pub(crate) mod records;
mod row_ids;
pub(crate) mod text;

use crate::cast::counts::CastCounts;
use crate::cast::key_values::KeyValues;
use crate::cast::origin::Origin;
use crate::cast::row_numbers::RowNumbers;
use crate::config::{NestedAs, TableOptions};
use crate::schema::file::FileSchema;
use crate::schema::rules::ColumnRules;
use crate::schema::table::TableSchema;
use crate::schema::text_types::TextTypes;
use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;
use bytes::Bytes;
use error::ReadError;
use fetched::FetchedRanges;
use format::Format;
use std::ops::Range;
use std::sync::Arc;
use text::chunk::BadRecord;

/// Which end of an object says what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadAt {
    /// Its first bytes.
    Start,
    /// Its last bytes.
    End,
}

/// What the head of an object gave.
#[derive(Debug)]
pub(crate) enum Inspected {
    /// The head is longer than what is there: its length in bytes, at most the object's.
    Needs(u64),
    /// All of it.
    File(File),
}

/// A place in a file from which reading can go on. What it means is the format's business.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// A row group, an offset, …
    part: u64,
    /// The number of the first row from there on, in the object, from 0. Of a step in the middle of a stream it may be
    /// unknown to all but the reader.
    first_row: u64,
}

/// What is fetched at a time.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Where it begins.
    pub(crate) from: Position,
    /// Where the step after it begins.
    pub(crate) next: Position,
    /// The bytes of the object that it needs, sorted. They may touch or overlap.
    pub(crate) ranges: Vec<Range<u64>>,
    /// The memory that decoding it takes at a time besides its bytes, as far as the head tells.
    pub(crate) decoding_bytes: u64,
}

/// What batches are made for.
#[derive(Debug, Clone)]
pub struct Output {
    /// The table's columns.
    pub(crate) table: Arc<TableSchema>,
    /// The schema that batches carry: names, types and nullability of [`TableSchema::arrow`], with whatever metadata, and
    /// behind the first two the columns that `origin` adds.
    pub(crate) schema: SchemaRef,
    /// Which of the file's columns are left out.
    pub(crate) rules: Arc<ColumnRules>,
    /// The object, as far as its rows tell of it.
    pub(crate) origin: Origin,
    /// What its key says.
    pub(crate) key_values: KeyValues,
    /// What casts change is counted here.
    pub(crate) counts: Arc<CastCounts>,
}

impl Output {
    /// All columns of the files, and none of the key. `schema` is as [`Self::schema`] says.
    #[must_use]
    pub fn new(table: Arc<TableSchema>, schema: SchemaRef, origin: Origin, counts: Arc<CastCounts>) -> Self {
        Self { table, schema, rules: Arc::default(), origin, key_values: KeyValues::default(), counts }
    }
}

/// A batch, and where it is from.
#[derive(Debug)]
pub(crate) struct Rows {
    /// The numbers of its rows in the object, from 0, ascending.
    pub(crate) numbers: RowNumbers,
    pub(crate) batch: RecordBatch,
}

/// What a reader gives next.
#[derive(Debug)]
pub(crate) enum Next {
    /// A batch.
    Rows(Rows),
    /// Bytes of whole records, of which a batch can be made while the reader goes on.
    Part(Box<text::Part>),
}

/// What became of a piece of a file.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// Its rows; may be none.
    pub(crate) rows: Vec<Rows>,
    /// Records of it that could not be read, in their order.
    pub(crate) bad: Vec<BadRecord>,
    /// Why the object cannot be read behind these rows.
    pub(crate) error: Option<ReadError>,
    /// What records have beside the table's columns, and of which types it is.
    pub(crate) unknown: Vec<(String, TextTypes)>,
}

impl Next {
    /// The rows.
    pub(crate) fn decode(self) -> Decoded {
        match self {
            Self::Rows(rows) => Decoded { rows: vec![rows], bad: Vec::new(), error: None, unknown: Vec::new() },
            Self::Part(part) => part.decode(),
        }
    }
}

impl Format {
    pub(crate) fn head_at(self) -> HeadAt {
        match self {
            Self::Parquet => HeadAt::End,
            Self::Avro | Self::Arrow => HeadAt::Start,
            Self::Csv | Self::Tsv | Self::Jsonl | Self::Json | Self::Text => HeadAt::Start,
            #[cfg(test)]
            Self::Records => HeadAt::Start,
        }
    }

    /// A good first guess for the length of the head, in bytes: most are shorter, and a request costs more than this.
    pub(crate) fn first_head_bytes(self) -> u64 {
        match self {
            Self::Parquet => parquet::footer::FIRST_SUFFIX_BYTES,
            Self::Avro => avro::file::FIRST_HEAD_BYTES,
            Self::Arrow => arrow::file::FIRST_HEAD_BYTES,
            Self::Csv | Self::Tsv | Self::Jsonl | Self::Json | Self::Text => text::SAMPLE_BYTES,
            #[cfg(test)]
            Self::Records => records::HEAD_BYTES,
        }
    }

    /// How many of its first bytes tell the columns of an object, in bytes; `None`: they stand in the file. Text that is packed
    /// holds more than these once it is unpacked, so less than a request is worth is never asked for.
    pub(crate) fn sample_bytes(self, options: &TableOptions) -> Option<u64> {
        self.is_sampled().then(|| options.schema.sample.bytes.max(self.first_head_bytes()))
    }

    /// How much larger a parsed head is than its bytes, roughly.
    pub(crate) fn parsed_head_factor(self) -> u64 {
        match self {
            Self::Parquet => parquet::footer::PARSED_FACTOR,
            Self::Avro => avro::file::PARSED_FACTOR,
            Self::Arrow => arrow::file::PARSED_FACTOR,
            Self::Csv | Self::Tsv | Self::Jsonl | Self::Json | Self::Text => text::SAMPLE_FACTOR,
            #[cfg(test)]
            Self::Records => 1,
        }
    }

    /// The length of the head in bytes, by what `bytes` say that hold its beginning or, at [`HeadAt::End`], its end. They may
    /// say anything: only [`Self::inspect`] checks them.
    pub(crate) fn head_bytes(self, bytes: &Bytes) -> u64 {
        match self {
            Self::Parquet => parquet::footer::footer_bytes(bytes),
            Self::Avro => avro::file::head_bytes(bytes),
            Self::Arrow => arrow::file::head_bytes(bytes),
            Self::Csv | Self::Tsv | Self::Jsonl | Self::Json | Self::Text => bytes.len() as u64,
            #[cfg(test)]
            Self::Records => records::HEAD_BYTES,
        }
    }

    /// Makes a file of `head`, the first or last bytes of an object of `object_bytes` bytes, or all of them.
    ///
    /// # Errors
    /// When it is of another format, damaged, encrypted, or uses what isn't supported.
    pub(crate) fn inspect(
        self,
        options: &Arc<TableOptions>,
        head: &Bytes,
        object_bytes: u64,
    ) -> Result<Inspected, ReadError> {
        match self {
            Self::Parquet => Ok(match parquet::file::inspect(head, object_bytes)? {
                Ok(file) => Inspected::File(File::Parquet(file)),
                Err(needed) => Inspected::Needs(needed),
            }),
            Self::Avro => Ok(match avro::file::inspect(head, object_bytes)? {
                Ok(file) => Inspected::File(File::Avro(file)),
                Err(needed) => Inspected::Needs(needed),
            }),
            Self::Arrow => Ok(match arrow::file::inspect(head, object_bytes)? {
                Ok(file) => Inspected::File(File::Arrow(file)),
                Err(needed) => Inspected::Needs(needed),
            }),
            Self::Csv | Self::Tsv | Self::Jsonl | Self::Json | Self::Text => {
                Ok(match text::File::new(self, options, object_bytes).sampled(head)? {
                    Ok(file) => Inspected::File(File::Text(file)),
                    Err(needed) => Inspected::Needs(needed),
                })
            }
            #[cfg(test)]
            Self::Records => Ok(Inspected::File(File::Records(records::inspect(head, object_bytes)?))),
        }
    }

    /// Whether the columns of a table are known by some of its objects: one is read without a look at its head.
    pub(crate) fn is_sampled(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Jsonl | Self::Json | Self::Text)
    }

    /// An object of `object_bytes` bytes of which nothing must be known before it is read; `None`: its head says how.
    pub(crate) fn unread(self, options: &Arc<TableOptions>, object_bytes: u64) -> Option<File> {
        self.is_sampled().then(|| File::Text(text::File::new(self, options, object_bytes)))
    }
}

/// An object of which the head was read: what it says of itself. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum File {
    Parquet(parquet::file::File),
    Avro(avro::file::File),
    Arrow(arrow::file::File),
    Text(text::File),
    #[cfg(test)]
    Records(records::File),
}

impl File {
    /// The same file, of which only those columns are read that `rules` read: steps, and what decoding takes, are without the
    /// others. What [`Self::reader`] reads says its [`Output`].
    pub(crate) fn projected(self, rules: &ColumnRules) -> Self {
        match self {
            Self::Parquet(file) => Self::Parquet(file.projected(rules)),
            // Read in order, all of it; only what is decoded is less.
            file @ (Self::Avro(_) | Self::Arrow(_)) => file,
            Self::Text(file) => Self::Text(file),
            #[cfg(test)]
            Self::Records(file) => Self::Records(file),
        }
    }

    /// Its columns. `nested_as` decides how structs, maps and lists of them travel.
    ///
    /// # Errors
    /// When they can't be mapped to outgoing types.
    pub(crate) fn schema(&self, nested_as: NestedAs) -> Result<FileSchema, ReadError> {
        match self {
            Self::Parquet(file) => file.schema(nested_as),
            Self::Avro(file) => Ok(file.schema(nested_as)),
            Self::Arrow(file) => Ok(file.schema(nested_as)),
            Self::Text(file) => file.schema(),
            #[cfg(test)]
            Self::Records(_) => Ok(records::schema()),
        }
    }

    /// Whether only some of a table's objects of its format are looked at.
    pub(crate) fn is_sampled(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// How many rows it has; `None` where only reading it tells.
    pub(crate) fn rows(&self) -> Option<u64> {
        match self {
            Self::Parquet(file) => Some(file.rows()),
            Self::Avro(_) | Self::Arrow(_) => None,
            Self::Text(_) => None,
            #[cfg(test)]
            Self::Records(_) => None,
        }
    }

    /// The memory that the parsed head takes, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        match self {
            Self::Parquet(file) => file.held_bytes(),
            Self::Avro(file) => file.held_bytes(),
            Self::Arrow(file) => file.held_bytes(),
            Self::Text(file) => file.held_bytes(),
            #[cfg(test)]
            Self::Records(_) => 0,
        }
    }

    /// Rows that a batch may have, if that is known to be less than [`limits::BATCH_ROWS`].
    pub(crate) fn most_batch_rows(&self) -> u64 {
        let known = match self {
            Self::Parquet(file) => file.most_batch_rows(),
            Self::Avro(_) | Self::Arrow(_) => u64::MAX,
            Self::Text(file) => file.most_batch_rows(),
            #[cfg(test)]
            Self::Records(_) => u64::MAX,
        };
        known.min(limits::BATCH_ROWS as u64)
    }

    /// Where reading begins, so that the row number `row` and all behind it come; rows before it may come, too.
    pub(crate) fn position_of_row(&self, row: u64) -> Position {
        match self {
            Self::Parquet(file) => file.position_of_row(row),
            Self::Avro(file) => file.start(),
            Self::Arrow(file) => file.start(),
            Self::Text(_) => Position::default(),
            #[cfg(test)]
            Self::Records(_) => records::START,
        }
    }

    /// The step from a position on: about `most_bytes`, more where less makes no sense; `None` at the end.
    ///
    /// # Errors
    /// When what the head says makes no sense.
    pub(crate) fn step(&self, from: Position, most_bytes: u64) -> Result<Option<Step>, ReadError> {
        match self {
            Self::Parquet(file) => file.step(from, most_bytes),
            Self::Avro(file) => Ok(file.step(from, most_bytes)),
            Self::Arrow(file) => Ok(file.step(from, most_bytes)),
            Self::Text(file) => Ok(file.step(from, most_bytes)),
            #[cfg(test)]
            Self::Records(file) => Ok(file.step(from, most_bytes)),
        }
    }

    /// As [`Step::decoding_bytes`], now that its bytes are there. Nothing for what is damaged: it won't be decoded.
    pub(crate) fn measured_bytes(&self, step: &Step, bytes: &FetchedRanges) -> u64 {
        match self {
            Self::Parquet(file) => file.measured_bytes(step, bytes),
            Self::Avro(file) => file.measured_bytes(step, bytes),
            Self::Arrow(file) => file.measured_bytes(step, bytes),
            Self::Text(file) => file.measured_bytes(step, bytes),
            #[cfg(test)]
            Self::Records(file) => file.measured_bytes(step),
        }
    }

    /// A reader of the file's rows.
    ///
    /// # Errors
    /// [`ReadError::SchemaChanged`] when the file's columns are not the table's; [`ReadError::Internal`] when
    /// [`Output::schema`] isn't the table's.
    pub(crate) fn reader(&self, output: Output) -> Result<Reader, ReadError> {
        match self {
            Self::Parquet(file) => file.reader(output).map(Box::new).map(Reader::Parquet),
            Self::Avro(file) => file.reader(output).map(Box::new).map(Reader::Avro),
            Self::Arrow(file) => file.reader(output).map(Box::new).map(Reader::Arrow),
            Self::Text(file) => text::reader::Reader::new(file.clone(), output).map(Box::new).map(Reader::Text),
            #[cfg(test)]
            Self::Records(file) => Ok(Reader::Records(file.reader(output))),
        }
    }
}

/// Makes batches of the bytes of steps. The steps of a stream must come in their order, from where the first one begins.
#[derive(Debug)]
pub(crate) enum Reader {
    Parquet(Box<parquet::reader::Reader>),
    Avro(Box<avro::reader::Reader>),
    Arrow(Box<arrow::reader::Reader>),
    Text(Box<text::reader::Reader>),
    #[cfg(test)]
    Records(records::Reader),
}

impl Reader {
    /// Takes the bytes of a step: all that [`Step::ranges`] names, maybe more. The step before must have been read to its
    /// end.
    pub(crate) fn feed(&mut self, step: &Step, bytes: FetchedRanges) {
        match self {
            Self::Parquet(reader) => reader.feed(step, bytes),
            Self::Avro(reader) => reader.feed(step, &bytes),
            Self::Arrow(reader) => reader.feed(step, &bytes),
            Self::Text(reader) => reader.feed(step, &bytes),
            #[cfg(test)]
            Self::Records(reader) => reader.feed(step, &bytes),
        }
    }

    /// The next batch of the step; `None` when its bytes give no more. Those without rows from `first_row` on may be left
    /// out. A batch may be larger than aimed at: the caller slices. After an error the rest is lost.
    ///
    /// # Errors
    /// Damage, values that can't be cast, fewer or more rows than the head says.
    pub(crate) fn next(&mut self, first_row: u64) -> Result<Option<Next>, ReadError> {
        match self {
            Self::Avro(reader) => Ok(reader.next_batch(first_row)?.map(Next::Rows)),
            Self::Arrow(reader) => Ok(reader.next_batch(first_row)?.map(Next::Rows)),
            Self::Parquet(reader) => Ok(reader.next_batch(first_row)?.map(Next::Rows)),
            Self::Text(reader) => Ok(reader.next_part(first_row)?.map(|part| Next::Part(Box::new(part)))),
            #[cfg(test)]
            Self::Records(reader) => Ok(reader.next_batch()?.map(Next::Rows)),
        }
    }

    /// Whether it is known that the step has no more rows.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Parquet(reader) => reader.is_done(),
            Self::Avro(_) | Self::Arrow(_) => false,
            Self::Text(_) => false,
            #[cfg(test)]
            Self::Records(_) => false,
        }
    }

    /// What it carries from one step into the next, in bytes: the beginning of a record that straddles them. It is no part of
    /// the memory that a step says it needs.
    pub(crate) fn held_bytes(&self) -> u64 {
        match self {
            // A row group lies in one step.
            Self::Parquet(_) => 0,
            Self::Avro(reader) => reader.held_bytes(),
            Self::Arrow(reader) => reader.held_bytes(),
            Self::Text(reader) => reader.held_bytes(),
            #[cfg(test)]
            Self::Records(reader) => reader.held_bytes(),
        }
    }

    /// Where another reader can go on behind a step that was read to its end: for when everything in memory is given up. It
    /// may be before rows that were given.
    pub(crate) fn resume_at(&self) -> Position {
        match self {
            Self::Parquet(reader) => reader.resume_at(),
            Self::Avro(reader) => reader.resume_at(),
            Self::Arrow(reader) => reader.resume_at(),
            Self::Text(_) => Position::default(),
            #[cfg(test)]
            Self::Records(reader) => reader.resume_at(),
        }
    }
}
