//! The format `text`: one row a line, in the column `line`.
//!
//! A line ends with `\n` or `\r\n`. Blank lines are rows, so that the number of a row is the number of its line; the last line
//! needs no line end.

#[cfg(test)]
mod tests;

use super::carry::Carry;
use super::chunk::{BadReason, BadRecord, CHUNK_BYTES, CHUNK_RECORDS, Chunk, Cut, Parsed, RowNumbers, SplitError};
use crate::config::csv::InvalidUtf8;
use arrow::array::StringBuilder;
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;

/// The name of the only column.
pub(crate) const COLUMN: &str = "line";

/// Cuts a text that comes in pieces into chunks of whole lines. The last line of a chunk has no line end.
#[derive(Debug)]
pub(crate) struct Splitter {
    pieces: VecDeque<Bytes>,
    is_finished: bool,
    /// Where the first of `pieces` begins in the text, in bytes.
    offset: u64,
    carry: Carry,
    /// The number of the next line, from 0.
    number: u64,
    /// A bad line, found behind a chunk that is given first.
    bad: Option<BadRecord>,
    failed: Option<SplitError>,
}

impl Splitter {
    /// Lines may have `max_row_bytes`.
    pub(crate) fn new(max_row_bytes: u64) -> Self {
        Self {
            pieces: VecDeque::new(),
            is_finished: false,
            offset: 0,
            carry: Carry::new(max_row_bytes),
            number: 0,
            bad: None,
            failed: None,
        }
    }

    /// Takes what follows in the text. It is to be used up by [`Self::next`] before more is pushed: all of it is held.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// The text is over.
    pub(crate) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// What is held from one piece to the next, in bytes: the beginning of a line.
    pub(crate) fn held_bytes(&self) -> u64 {
        let pieces: usize = self.pieces.iter().map(Bytes::len).sum();
        self.carry.held_bytes() + pieces as u64
    }

    /// The next lines; `None`: more is to be pushed or, behind [`Self::finish`], that was all.
    ///
    /// # Errors
    /// When a line is far too long. All lines before it were given; it is given again then.
    pub(crate) fn next(&mut self) -> Result<Option<Cut>, SplitError> {
        if let Some(bad) = self.bad.take() {
            return Ok(Some(Cut::Bad(bad)));
        }
        while self.failed.is_none() {
            let Some(piece) = self.pieces.front().cloned() else {
                if !self.is_finished || self.carry.is_empty() {
                    return Ok(None);
                }
                return self.end_carried(&[]);
            };
            if let Some(cut) = self.cut(&piece)? {
                return Ok(Some(cut));
            }
        }
        self.failed.clone().map_or(Ok(None), Err)
    }

    /// What the first piece has next; `None`: no line ends in it.
    fn cut(&mut self, piece: &Bytes) -> Result<Option<Cut>, SplitError> {
        let Some(first) = memchr::memchr(b'\n', piece) else {
            if let Err(error) = self.carry.push(piece, self.offset, self.number) {
                self.failed = Some(error);
            }
            self.use_up(piece.len());
            return Ok(None);
        };
        if !self.carry.is_empty() {
            self.use_up(first + 1);
            return self.end_carried(piece.get(..first).unwrap_or_default());
        }
        let (lines, end, too_long) = self.whole_lines(piece);
        let offset = self.offset;
        self.use_up(too_long.unwrap_or(end) + 1);
        let chunk = (lines > 0).then(|| self.chunk(piece.slice(..end), offset, lines));
        if let Some(line_end) = too_long {
            let start = if lines > 0 { end + 1 } else { 0 };
            let line = piece.get(start..line_end).unwrap_or_default();
            match self.carry.take_too_long(line, offset + start as u64, self.number) {
                Ok(bad) => {
                    self.number += 1;
                    self.bad = Some(bad);
                }
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(chunk.or_else(|| self.bad.take().map(Cut::Bad)))
    }

    /// The lines of the next chunk that `piece` begins with: how many, where the last one ends, and where the one behind it ends
    /// if it is too long.
    fn whole_lines(&self, piece: &[u8]) -> (u64, usize, Option<usize>) {
        let mut lines = 0;
        let mut end = 0;
        for place in memchr::memchr_iter(b'\n', piece) {
            let start = if lines > 0 { end + 1 } else { 0 };
            if self.carry.is_too_long((place - start) as u64) {
                return (lines, end, Some(place));
            }
            lines += 1;
            end = place;
            if lines >= CHUNK_RECORDS || end >= CHUNK_BYTES {
                break;
            }
        }
        (lines, end, None)
    }

    /// The line that is under way ends in `part`.
    fn end_carried(&mut self, part: &[u8]) -> Result<Option<Cut>, SplitError> {
        let offset = self.carry.offset();
        if !self.carry.is_too_long(self.carry.length_with(part)) {
            let line = Bytes::from(self.carry.take(part));
            return Ok(Some(self.chunk(line, offset, 1)));
        }
        match self.carry.take_too_long(part, offset, self.number) {
            Ok(bad) => {
                self.number += 1;
                Ok(Some(Cut::Bad(bad)))
            }
            Err(error) => {
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    fn chunk(&mut self, bytes: Bytes, offset: u64, records: u64) -> Cut {
        let first_record = self.number;
        self.number += records;
        Cut::Chunk(Chunk { bytes, first_record, records, offset, kept: None })
    }

    /// The first `length` bytes of the first piece were scanned.
    fn use_up(&mut self, length: usize) {
        self.offset += length as u64;
        if let Some(piece) = self.pieces.front_mut() {
            piece.advance(length.min(piece.len()));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

/// Makes the column of chunks, in any order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parser {
    invalid_utf8: InvalidUtf8,
}

impl Parser {
    pub(crate) fn new(invalid_utf8: InvalidUtf8) -> Self {
        Self { invalid_utf8 }
    }

    /// The lines of a chunk, without line ends.
    pub(crate) fn parse(self, chunk: &Chunk) -> Parsed {
        let bytes = chunk.bytes.as_ref();
        let rows = usize::try_from(chunk.records).unwrap_or_default();
        let mut lines = StringBuilder::with_capacity(rows.min(bytes.len() + 1), bytes.len());
        let numbers = RowNumbers::From { first: chunk.first_record, rows };
        if let Ok(text) = std::str::from_utf8(bytes) {
            text.split('\n').for_each(|line| lines.append_value(line.strip_suffix('\r').unwrap_or(line)));
            return parsed(numbers, lines, Vec::new(), 0);
        }
        let mut bad = Vec::new();
        let mut good = Vec::new();
        let mut replaced = 0;
        let mut offset = chunk.offset;
        for (number, line) in (chunk.first_record..).zip(bytes.split(|byte| *byte == b'\n')) {
            match std::str::from_utf8(line) {
                Err(error) if self.invalid_utf8 == InvalidUtf8::Bad => {
                    let at = error.valid_up_to() as u64;
                    bad.push(BadRecord::new(number, offset, BadReason::NotUtf8 { at }, line));
                }
                _ => {
                    replaced += line.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64;
                    let line = String::from_utf8_lossy(line);
                    lines.append_value(line.strip_suffix('\r').unwrap_or(&line));
                    good.push(number);
                }
            }
            offset += line.len() as u64 + 1;
        }
        let numbers = if bad.is_empty() { numbers } else { RowNumbers::Each(good.into()) };
        parsed(numbers, lines, bad, replaced)
    }
}

fn parsed(numbers: RowNumbers, mut lines: StringBuilder, bad: Vec<BadRecord>, replaced: u64) -> Parsed {
    Parsed { numbers, columns: vec![Arc::new(lines.finish())], others: None, bad, replaced, short_rows: 0 }
}
