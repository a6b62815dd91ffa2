//! Cuts the text of one object into chunks of whole records.
//!
//! ```text
//! skip_rows lines ─▶ delimiter: auto looks at the first records ─▶ header ─▶ chunks
//! ```

use super::boundaries::{Boundaries, Span};
use super::dialect::{DETECTED_BYTES, Dialect, FALLBACK_DELIMITER, detect};
use super::header::Header;
use crate::config::csv::{CsvOptions, Delimiter};
use crate::formats::text::carry::Carry;
use crate::formats::text::chunk::{
    BadReason, BadRecord, CHUNK_BYTES, CHUNK_FIELDS, CHUNK_RECORDS, Chunk, Cut, SplitError,
};
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;

/// Cuts a text that comes in pieces. Where they are cut changes nothing in the records, their numbers and offsets.
#[derive(Debug)]
pub(crate) struct Splitter {
    options: Arc<CsvOptions>,
    phase: Phase,
    /// What was pushed and not scanned yet.
    pieces: VecDeque<Bytes>,
    /// Whether nothing will be pushed any more.
    is_finished: bool,
    /// Where the first of `pieces` begins in the text, in bytes.
    offset: u64,
    carry: Carry,
    header: Option<Arc<Header>>,
    /// The number of the next record.
    number: u64,
    /// A bad record, found behind a chunk that is given first.
    bad: Option<BadRecord>,
    /// Why nothing follows any more.
    failed: Option<SplitError>,
}

#[derive(Debug)]
enum Phase {
    /// Passing over lines.
    Skip {
        lines: u64,
        /// Whether a line end of two bytes may be half over.
        is_behind_cr: bool,
    },
    /// Waiting for enough to know the delimiter.
    Detect {
        /// The bytes that were too few.
        looked_at: usize,
    },
    Records(Boundaries),
}

/// What one scan found.
#[derive(Debug, Default)]
struct Found {
    /// From the first to the last of the records that belong into the chunk, with the line end.
    span: Option<Span>,
    records: u64,
    /// A record behind them that is too long.
    too_long: Option<Span>,
}

impl Splitter {
    /// Records may have `max_row_bytes`.
    pub(crate) fn new(options: Arc<CsvOptions>, max_row_bytes: u64) -> Self {
        let phase = Phase::Skip { lines: options.skip_rows, is_behind_cr: false };
        Self {
            options,
            phase,
            pieces: VecDeque::new(),
            is_finished: false,
            offset: 0,
            carry: Carry::new(max_row_bytes),
            header: None,
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

    /// What the beginning of the object says; known before the first chunk is given. At the end, `None` means that there is
    /// nothing: no header, no record, no names.
    pub(crate) fn header(&self) -> Option<&Arc<Header>> {
        self.header.as_ref()
    }

    /// What is held from one piece to the next, in bytes: the beginning of a record, or what is too little to know the delimiter.
    pub(crate) fn held_bytes(&self) -> u64 {
        let pieces: usize = self.pieces.iter().map(Bytes::len).sum();
        self.carry.held_bytes() + pieces as u64
    }

    /// The next records; `None`: more is to be pushed or, behind [`Self::finish`], that was all.
    ///
    /// # Errors
    /// When there is no place to go on. All records before it were given; it is given again then.
    pub(crate) fn next(&mut self) -> Result<Option<Cut>, SplitError> {
        if let Some(bad) = self.bad.take() {
            return Ok(Some(Cut::Bad(bad)));
        }
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = self.advance();
        if let Err(error) = &next {
            self.failed = Some(error.clone());
        }
        next
    }

    /// Decides on what is there, as at the end of the text: for who won't push all of it.
    pub(super) fn detect_now(&mut self) {
        if let Phase::Detect { .. } = self.phase {
            let delimiter = detect(&self.options, &self.head(), true).unwrap_or(FALLBACK_DELIMITER);
            self.split_with(delimiter);
        }
    }

    fn advance(&mut self) -> Result<Option<Cut>, SplitError> {
        loop {
            let goes_on = match &self.phase {
                Phase::Skip { .. } => self.skip_lines(),
                Phase::Detect { looked_at } => self.detect(*looked_at),
                Phase::Records(_) => match self.pieces.front().cloned() {
                    Some(piece) => {
                        if let Some(cut) = self.cut(&piece)? {
                            return Ok(Some(cut));
                        }
                        true
                    }
                    None if self.is_finished => return self.last(),
                    None => false,
                },
            };
            if !goes_on {
                return Ok(None);
            }
        }
    }

    /// The first bytes of what was pushed, copied.
    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        for piece in &self.pieces {
            let lacks = DETECTED_BYTES - head.len();
            head.extend_from_slice(piece.get(..lacks).unwrap_or(piece));
        }
        head
    }

    /// Passes over the lines of `skip_rows`. False: more is to be pushed.
    fn skip_lines(&mut self) -> bool {
        while let Phase::Skip { lines, is_behind_cr } = &mut self.phase {
            let piece = match self.pieces.front() {
                Some(piece) if *lines > 0 => piece,
                None if *lines > 0 && !self.is_finished => return false,
                _ => {
                    match self.options.delimiter {
                        Delimiter::Is(delimiter) => self.split_with(delimiter),
                        Delimiter::Auto => self.phase = Phase::Detect { looked_at: 0 },
                    }
                    return true;
                }
            };
            let used = if *is_behind_cr && piece.first() == Some(&b'\n') {
                *is_behind_cr = false;
                1
            } else if let Some(end) = memchr::memchr2(b'\n', b'\r', piece) {
                *is_behind_cr = piece.get(end) == Some(&b'\r');
                *lines -= 1;
                end + 1
            } else {
                *is_behind_cr = false;
                piece.len()
            };
            self.use_up(used);
        }
        true
    }

    /// Finds the delimiter. False: more is to be pushed. It looks again when there is twice as much.
    fn detect(&mut self, looked_at: usize) -> bool {
        let held: usize = self.pieces.iter().map(Bytes::len).sum();
        if held < looked_at.saturating_mul(2).clamp(1, DETECTED_BYTES) && !self.is_finished {
            return false;
        }
        match detect(&self.options, &self.head(), self.is_finished && held < DETECTED_BYTES) {
            Some(delimiter) => {
                self.split_with(delimiter);
                true
            }
            None => {
                self.phase = Phase::Detect { looked_at: held };
                false
            }
        }
    }

    fn split_with(&mut self, delimiter: u8) {
        self.phase = Phase::Records(Boundaries::new(Dialect::new(&self.options, delimiter)));
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

    /// Whether the next record is the header.
    fn is_at_header(&self) -> bool {
        self.options.header && self.header.is_none()
    }

    /// What the first piece has next, whose bytes `piece` is; `None`: nothing in what was scanned of it.
    fn cut(&mut self, piece: &Bytes) -> Result<Option<Cut>, SplitError> {
        let offset = self.offset;
        let (found, scanned, under_way) = self.scan(piece);
        self.use_up(scanned);
        let mut cut = None;
        if let Some(span) = found.span {
            let offset = if self.carry.is_empty() { offset + span.start as u64 } else { self.carry.offset() };
            let bytes = if self.carry.is_empty() {
                piece.slice(span.start..span.end)
            } else {
                Bytes::from(self.carry.take(piece.get(..span.end).unwrap_or_default()))
            };
            cut = self.records(bytes, offset, found.records).map(Cut::Chunk);
        }
        // What is wrong behind the chunk is told after it.
        if let Some(span) = found.too_long {
            let record = piece.get(span.start..span.end).unwrap_or_default();
            match self.too_long(record, offset + span.start as u64) {
                Ok(bad) => self.bad = Some(bad),
                Err(error) => self.failed = Some(error),
            }
        } else if let Some(start) = under_way {
            let part = piece.get(start..scanned).unwrap_or_default();
            let pushed = self.carry.push(part, offset + start as u64, self.number);
            self.failed = pushed.map_err(|error| self.of_header(error)).err();
        }
        if cut.is_none() {
            cut = self.bad.take().map(Cut::Bad);
        }
        match (&cut, &self.failed) {
            (None, Some(error)) => Err(error.clone()),
            _ => Ok(cut),
        }
    }

    /// Looks for the records of the next chunk: them, where the scan ended, and where the record begins that is under way there.
    fn scan(&mut self, piece: &Bytes) -> (Found, usize, Option<usize>) {
        let mut found = Found::default();
        let Phase::Records(boundaries) = &mut self.phase else { return (found, 0, None) };
        if self.header.is_none() && !self.options.header && self.carry.is_empty() {
            boundaries.clone().scan(piece, |first| {
                let text = piece.get(first.start..first.end).unwrap_or_default();
                if !self.carry.is_too_long(text.len() as u64) {
                    self.header = Some(Arc::new(Header::read(&self.options, boundaries.delimiter(), text)));
                }
                false
            });
        }
        let most_records = match &self.header {
            Some(header) if self.carry.is_empty() => {
                (CHUNK_FIELDS / header.names.len().max(1) as u64).clamp(1, CHUNK_RECORDS)
            }
            _ => 1,
        };
        let carry = &self.carry;
        let (scanned, under_way) = boundaries.scan(piece, |record| {
            // What is carried belongs to the first record, and there is only one then.
            if carry.is_too_long(carry.length_with(piece.get(record.start..record.end).unwrap_or_default())) {
                found.too_long = Some(record);
                return false;
            }
            let start = found.span.map_or(record.start, |span| span.start);
            found.span = Some(Span { start, end: record.end });
            found.records += 1;
            found.records < most_records && record.end - start < CHUNK_BYTES
        });
        (found, scanned, under_way)
    }

    /// Numbers `records` whole records; `None`: they were the header.
    fn records(&mut self, bytes: Bytes, offset: u64, records: u64) -> Option<Chunk> {
        let is_header = self.is_at_header();
        if self.header.is_none()
            && let Phase::Records(boundaries) = &self.phase
        {
            self.header = Some(Arc::new(Header::read(&self.options, boundaries.delimiter(), &bytes)));
        }
        if is_header {
            return None;
        }
        let first_record = self.number;
        self.number += records;
        Some(Chunk { bytes, first_record, records, offset, kept: None })
    }

    /// The next record, which ends in `part` or begins with it at `offset`, is too long.
    fn too_long(&mut self, part: &[u8], offset: u64) -> Result<BadRecord, SplitError> {
        let bad = self.carry.take_too_long(part, offset, self.number).map_err(|error| self.of_header(error))?;
        if self.is_at_header() {
            return Err(SplitError::Other(format!("the header is bad: {}", bad.reason)));
        }
        self.number += 1;
        Ok(bad)
    }

    /// The same, or what is to be said if it is about the header.
    fn of_header(&self, error: SplitError) -> SplitError {
        if !self.is_at_header() {
            return error;
        }
        let reason = match error {
            SplitError::TooLong { most_bytes, .. } => BadReason::TooLong { most_bytes },
            SplitError::UnclosedQuote { .. } => BadReason::UnclosedQuote,
            other @ SplitError::Other(_) => return other,
        };
        SplitError::Other(format!("the header is bad: {reason}"))
    }

    /// The record that the text ends with, if no line end is behind it.
    fn last(&mut self) -> Result<Option<Cut>, SplitError> {
        let Phase::Records(boundaries) = &mut self.phase else { return Ok(None) };
        let is_in_record = boundaries.is_in_record();
        let is_in_quotes = boundaries.is_in_quotes();
        let delimiter = boundaries.delimiter();
        boundaries.end_record();
        if is_in_quotes {
            return self.unclosed().map(Some);
        }
        if is_in_record && self.carry.is_too_long(self.carry.length_with(&[])) {
            return self.too_long(&[], 0).map(Cut::Bad).map(Some);
        }
        let chunk = if is_in_record {
            let offset = self.carry.offset();
            let bytes = Bytes::from(self.carry.take(&[]));
            self.records(bytes, offset, 1)
        } else {
            None
        };
        if self.header.is_none() {
            self.header = Header::of_nothing(&self.options, delimiter).map(Arc::new);
        }
        Ok(chunk.map(Cut::Chunk))
    }

    /// The text ends in a quoted field: a bad record, and then nobody knows where the next one would have begun.
    fn unclosed(&mut self) -> Result<Cut, SplitError> {
        let number = self.number;
        let offset = self.carry.offset();
        let error = self.of_header(SplitError::UnclosedQuote { number, offset });
        if self.is_at_header() {
            return Err(error);
        }
        self.number += 1;
        self.failed = Some(error);
        Ok(Cut::Bad(BadRecord::new(number, offset, BadReason::UnclosedQuote, &self.carry.take(&[]))))
    }
}
