//! Cuts the text of an object into chunks of whole records.
//!
//! ```text
//! pieces ─▶ shape (told by the first bytes) ─┬ lines: the next newline ──────────────┐
//!                                            ├ values: strings and depth             ├▶ gather ─▶ chunks
//!                                            └ items: the document's way to the array ┘
//! ```
//!
//! Nothing is parsed here but the way to the records, so a record that is no JSON ends where its line or item ends.

use super::document::Document;
use super::gather::Gather;
use super::shape::{Shape, shape};
use super::structure::{Structure, spaces_end};
use crate::config::json::JsonOptions;
use crate::formats::text::chunk::CHUNK_FIELDS;
use crate::formats::text::chunk::{Cut, SplitError};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

/// Cuts the text of one object. Pieces of any cut give the same records.
#[derive(Debug)]
pub(crate) struct Splitter {
    options: Arc<JsonOptions>,
    is_lines: bool,
    most_bytes: u64,
    most_levels: usize,
    /// What was pushed and not looked at yet.
    pieces: VecDeque<Bytes>,
    pub(super) is_finished: bool,
    shape: Option<Shape>,
    /// With fewer first bytes the shape was not told: it is tried again with twice as many, so that it is tried a few times.
    next_try_bytes: usize,
    state: State,
    gather: Gather,
    /// Where to go on in the piece.
    at: usize,
    /// Why it goes no further, once all records before are given.
    error: Option<SplitError>,
}

#[derive(Debug)]
enum State {
    Lines,
    Values(Value),
    Items(Box<Document>),
}

/// The value that has begun.
#[derive(Debug, Default)]
struct Value {
    structure: Structure,
    /// It is a number, a word, or no JSON: it ends where it can't go on.
    is_bare: bool,
}

impl Splitter {
    /// `is_lines`: the format says that the records are lines, so that the first byte doesn't tell. `max_row_bytes`: what a record
    /// may have; `max_depth`: levels that a kept value may have.
    pub(crate) fn new(options: Arc<JsonOptions>, is_lines: bool, max_row_bytes: u64, max_depth: usize) -> Self {
        Self {
            options,
            is_lines,
            most_bytes: max_row_bytes,
            most_levels: max_depth,
            pieces: VecDeque::new(),
            is_finished: false,
            shape: None,
            next_try_bytes: 0,
            state: State::Lines,
            gather: Gather::new(max_row_bytes),
            at: 0,
            error: None,
        }
    }

    /// The next bytes of the text, in order.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pieces.push_back(bytes);
        }
    }

    /// There are no more.
    pub(crate) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Records are parsed into so many columns: a chunk has fewer of them then, since each takes an offset a column, however little
    /// it says.
    pub(crate) fn expect_columns(&mut self, columns: usize) {
        self.gather.limit_records(CHUNK_FIELDS / columns.max(1) as u64);
    }

    /// How the records stand in the text: what the parser has to know. There when the first chunk is there.
    pub(crate) fn shape(&self) -> Option<Shape> {
        self.shape
    }

    /// What is held beside the piece that is split: the record over its end, in bytes.
    pub(crate) fn held_bytes(&self) -> u64 {
        let pushed: usize = self.pieces.iter().map(Bytes::len).sum();
        let held = if let State::Items(document) = &self.state { document.held_bytes() } else { 0 };
        pushed as u64 + self.gather.carried_bytes() + held
    }

    /// The next records; `None`: push more, or, after [`Self::finish`], the end.
    ///
    /// # Errors
    /// It goes no further. All records before were given; from then on, every call gives the error.
    pub(crate) fn next(&mut self) -> Result<Option<Cut>, SplitError> {
        loop {
            if let Some(cut) = self.gather.take_cut() {
                return Ok(Some(cut));
            }
            if let Some(error) = &self.error {
                return Err(error.clone());
            }
            match self.go_on() {
                Ok(true) => {}
                Ok(false) if self.gather.has_cut() => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    self.gather.flush();
                    self.error = Some(error);
                }
            }
        }
    }

    /// Whether there was something to do.
    fn go_on(&mut self) -> Result<bool, SplitError> {
        if self.shape.is_none() && !self.tell_shape()? {
            return Ok(false);
        }
        if self.at < self.gather.piece().len() {
            self.at = self.scan()?;
            return Ok(true);
        }
        self.at = 0;
        self.gather.leave_piece()?;
        if let Some(piece) = self.pieces.pop_front() {
            self.gather.enter_piece(piece);
            return Ok(true);
        }
        if self.is_finished {
            self.end()?;
        }
        Ok(false)
    }

    fn scan(&mut self) -> Result<usize, SplitError> {
        match &mut self.state {
            State::Lines => Ok(scan_lines(&mut self.gather, self.at)),
            State::Values(value) => Ok(value.scan(&mut self.gather, self.at)),
            State::Items(document) => document.scan(&mut self.gather, self.at),
        }
    }

    /// The text ends here.
    fn end(&mut self) -> Result<(), SplitError> {
        match &mut self.state {
            State::Lines => self.gather.end(0),
            State::Values(value) if value.is_bare => self.gather.end(0),
            State::Values(_) => self.gather.truncate(),
            State::Items(document) => document.finish(&mut self.gather)?,
        }
        Ok(())
    }

    /// Whether the shape is told; the pieces that it took are one then, in front.
    fn tell_shape(&mut self) -> Result<bool, SplitError> {
        let bytes: usize = self.pieces.iter().map(Bytes::len).sum();
        if !self.is_finished && (bytes == 0 || bytes < self.next_try_bytes) {
            return Ok(false);
        }
        let head = self.join_pieces(bytes);
        let most_bytes = usize::try_from(self.most_bytes).unwrap_or(usize::MAX);
        self.shape = shape(&self.options, self.is_lines, &head, self.is_finished, most_bytes)?;
        self.next_try_bytes = (head.len() * 2).min(most_bytes);
        if spaces_end(&head, 0) < head.len() {
            self.pieces.push_front(head);
        } else {
            self.gather.pass_over(head.len());
        }
        match self.shape {
            Some(Shape::Lines) => self.state = State::Lines,
            Some(Shape::Values) => self.state = State::Values(Value::default()),
            Some(Shape::Items) => {
                self.state = State::Items(Box::new(Document::new(&self.options, self.most_levels)));
            }
            None => {}
        }
        Ok(self.shape.is_some())
    }

    fn join_pieces(&mut self, bytes: usize) -> Bytes {
        if self.pieces.len() < 2 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut head = BytesMut::with_capacity(bytes);
        for piece in self.pieces.drain(..) {
            head.extend_from_slice(&piece);
        }
        head.freeze()
    }
}

/// Lines, until there is a cut or the piece ends. Blank ones are no records; a record begins behind the white space of its line.
fn scan_lines(gather: &mut Gather, from: usize) -> usize {
    let piece = gather.piece().clone();
    let mut at = from;
    while !gather.has_cut() {
        if !gather.is_open() {
            at = spaces_end(&piece, at);
            if at >= piece.len() {
                return at;
            }
            gather.begin(at);
        }
        let Some(length) = memchr::memchr(b'\n', piece.get(at..).unwrap_or_default()) else { return piece.len() };
        gather.end(at + length);
        at += length + 1;
    }
    at
}

impl Value {
    /// Values, until there is a cut or the piece ends.
    fn scan(&mut self, gather: &mut Gather, from: usize) -> usize {
        let piece = gather.piece().clone();
        let mut at = from;
        while !gather.has_cut() {
            let mut inside = at;
            if !gather.is_open() {
                at = spaces_end(&piece, at);
                let Some(byte) = piece.get(at) else { return at };
                gather.begin(at);
                self.structure = Structure::default();
                self.is_bare = !matches!(byte, b'{' | b'[' | b'"');
                // A byte that no value begins with is a record too.
                inside = at + usize::from(self.is_bare);
            }
            let end = if self.is_bare { bare_end(&piece, inside) } else { self.structure.value_end(&piece, inside) };
            let Some(end) = end else { return piece.len() };
            gather.end(end);
            at = end;
        }
        at
    }
}

/// Where a number or word ends at the latest: at white space, or where a value of another kind begins.
fn bare_end(piece: &[u8], from: usize) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'{' | b'[' | b'"');
    piece.get(from..)?.iter().position(ends).map(|index| from + index)
}

/// Where the record that begins at `from` ends, in the bytes of a chunk: as the splitter has found it.
pub(super) fn record_end(shape: Shape, bytes: &[u8], from: usize) -> usize {
    let end = match (shape, bytes.get(from)) {
        (Shape::Lines, _) => memchr::memchr(b'\n', bytes.get(from..).unwrap_or_default()).map(|length| from + length),
        (Shape::Items, _) => Structure::default().item_end(bytes, from),
        (Shape::Values, Some(b'{' | b'[' | b'"')) => Structure::default().value_end(bytes, from),
        (Shape::Values, _) => bare_end(bytes, from + 1),
    };
    end.unwrap_or(bytes.len())
}
