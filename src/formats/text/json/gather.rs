//! From where records begin and end to chunks, over pieces of any cut.
//!
//! Records that are in one piece become chunks that are views of it. One over the end of a piece is carried: it alone is
//! copied, and is a chunk of its own.

use crate::formats::text::chunk::{
    BadReason, BadRecord, CHUNK_BYTES, CHUNK_RECORDS, Chunk, Cut, Kept, RAW_BYTES, SplitError,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// The end of a record that is too long is looked for within this many times the length that a record may have: behind it the
/// object has most likely no more records.
const REACH: u64 = 2;

/// Makes chunks of records.
#[derive(Debug)]
pub(super) struct Gather {
    piece: Bytes,
    /// Where the piece begins in the text.
    piece_offset: u64,
    /// The records of the piece that will be a chunk, and how many they are.
    group: Option<Range<usize>>,
    group_records: u64,
    open: Option<Open>,
    /// Of the next record that begins.
    number: u64,
    kept: Option<Arc<Kept>>,
    /// What `kept` adds to each record.
    kept_bytes: usize,
    most_bytes: u64,
    /// Records of a chunk.
    most_records: u64,
    ready: VecDeque<Cut>,
}

/// A record that has begun.
#[derive(Debug)]
struct Open {
    /// In the text.
    offset: u64,
    /// Where it begins in the piece; 0 if in one before.
    from: usize,
    /// What former pieces have of it; no more than can be shown once it is too long.
    carried: Vec<u8>,
    /// How long it is in former pieces.
    carried_bytes: u64,
}

impl Gather {
    pub(super) fn new(most_bytes: u64) -> Self {
        Self {
            piece: Bytes::new(),
            piece_offset: 0,
            group: None,
            group_records: 0,
            open: None,
            number: 0,
            kept: None,
            kept_bytes: 0,
            most_bytes,
            most_records: CHUNK_RECORDS,
            ready: VecDeque::new(),
        }
    }

    pub(super) fn piece(&self) -> &Bytes {
        &self.piece
    }

    /// Where this place of the piece is in the text.
    pub(super) fn offset(&self, at: usize) -> u64 {
        self.piece_offset + at as u64
    }

    pub(super) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    pub(super) fn carried_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.carried.capacity() as u64)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn has_cut(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn take_cut(&mut self) -> Option<Cut> {
        self.ready.pop_front()
    }

    /// What the records from here on get beside their own values.
    pub(super) fn keep(&mut self, kept: Option<Arc<Kept>>) {
        self.flush();
        self.kept_bytes = kept.as_ref().map_or(0, |kept| kept.0.iter().flatten().map(Bytes::len).sum());
        self.kept = kept;
    }

    /// Chunks have no more than this many records from now on, nor more than [`CHUNK_RECORDS`].
    pub(super) fn limit_records(&mut self, most_records: u64) {
        self.most_records = most_records.clamp(1, CHUNK_RECORDS);
    }

    /// A record begins at this place of the piece.
    pub(super) fn begin(&mut self, at: usize) {
        self.open = Some(Open { offset: self.offset(at), from: at, carried: Vec::new(), carried_bytes: 0 });
    }

    /// The record that has begun ends in front of this place of the piece.
    pub(super) fn end(&mut self, at: usize) {
        let Some(mut open) = self.open.take() else { return };
        let length = open.carried_bytes + (at - open.from) as u64;
        if length > self.most_bytes {
            self.flush();
        }
        let number = self.number;
        self.number += 1;
        if length > self.most_bytes {
            self.show_more(&mut open, at);
            let reason = BadReason::TooLong { most_bytes: self.most_bytes };
            self.ready.push_back(Cut::Bad(BadRecord::new(number, open.offset, reason, &open.carried)));
        } else if open.carried_bytes > 0 {
            open.carried.extend_from_slice(self.piece.get(..at).unwrap_or_default());
            self.push_chunk(open.carried.into(), number, 1, open.offset);
        } else {
            self.add(open.from..at);
        }
    }

    /// The text ends in the middle of the record that has begun.
    pub(super) fn truncate(&mut self) {
        let Some(open) = self.open.take() else { return };
        let number = self.number;
        self.number += 1;
        self.ready.push_back(Cut::Bad(BadRecord::new(number, open.offset, BadReason::Truncated, &open.carried)));
    }

    /// Adds a record of the piece to the group; `number` is behind it already.
    fn add(&mut self, record: Range<usize>) {
        if self.group.as_ref().is_some_and(|group| self.rows_bytes(record.end - group.start) > CHUNK_BYTES) {
            self.flush_before(self.number - 1);
        }
        let start = self.group.as_ref().map_or(record.start, |group| group.start);
        self.group_records += 1;
        if self.group_records >= self.most_records || self.rows_bytes(record.end - start) >= CHUNK_BYTES {
            self.group = Some(start..record.end);
            self.flush_before(self.number);
        } else {
            self.group = Some(start..record.end);
        }
    }

    /// What the rows of the group have, with one more, if their text has `bytes`.
    fn rows_bytes(&self, bytes: usize) -> usize {
        let rows = usize::try_from(self.group_records).unwrap_or_default().saturating_add(1);
        bytes.saturating_add(self.kept_bytes.saturating_mul(rows))
    }

    /// Makes a chunk of the group, if there is one.
    pub(super) fn flush(&mut self) {
        self.flush_before(self.number);
    }

    /// `number`: that of the first record behind the group.
    fn flush_before(&mut self, number: u64) {
        let Some(group) = self.group.take() else { return };
        let records = std::mem::take(&mut self.group_records);
        let offset = self.offset(group.start);
        self.push_chunk(self.piece.slice(group), number - records, records, offset);
    }

    fn push_chunk(&mut self, bytes: Bytes, first_record: u64, records: u64, offset: u64) {
        let kept = self.kept.clone();
        self.ready.push_back(Cut::Chunk(Chunk { bytes, first_record, records, offset, kept }));
    }

    /// Goes on with the next piece; the one before was left.
    pub(super) fn enter_piece(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// Bytes of the text that are in no piece: white space in front of all records.
    pub(super) fn pass_over(&mut self, bytes: usize) {
        self.piece_offset += bytes as u64;
    }

    /// Goes behind the piece: nothing of it is needed afterwards.
    ///
    /// # Errors
    /// The record that has begun is much longer than it may be.
    pub(super) fn leave_piece(&mut self) -> Result<(), SplitError> {
        self.flush();
        if let Some(open) = self.open.take() {
            self.open = Some(self.carry(open)?);
        }
        self.piece_offset += self.piece.len() as u64;
        self.piece = Bytes::new();
        Ok(())
    }

    /// The record as far as the piece has it.
    fn carry(&self, mut open: Open) -> Result<Open, SplitError> {
        let end = self.piece.len();
        let looked_at_bytes = open.carried_bytes + (end - open.from) as u64;
        if looked_at_bytes > self.most_bytes.saturating_mul(REACH) {
            let (number, offset, most_bytes) = (self.number, open.offset, self.most_bytes);
            return Err(SplitError::TooLong { number, offset, most_bytes, looked_at_bytes });
        }
        if looked_at_bytes > self.most_bytes {
            self.show_more(&mut open, end);
            open.carried.truncate(RAW_BYTES);
            open.carried.shrink_to_fit();
        } else {
            open.carried.extend_from_slice(self.piece.get(open.from..).unwrap_or_default());
        }
        Ok(Open { from: 0, carried_bytes: looked_at_bytes, ..open })
    }

    /// Carries as much of a record that is too long as is shown of it.
    fn show_more(&self, open: &mut Open, end: usize) {
        let missing = RAW_BYTES.saturating_sub(open.carried.len());
        let rest = self.piece.get(open.from..end).unwrap_or_default();
        open.carried.extend_from_slice(rest.get(..missing).unwrap_or(rest));
    }
}
