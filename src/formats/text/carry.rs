//! A record over the ends of pieces: what is there of it, and what becomes of one that is too long.

use super::chunk::{BadReason, BadRecord, RAW_BYTES, SplitError};

/// A record is longer than any can be that fits into a message, whatever the options say: this many bytes.
const MAX_RECORD_BYTES: u64 = 256 << 20;

/// The end of a record that is too long is looked for up to this many times what a record may have: it may be one bad record
/// among good ones. Then the object is given up.
const LOOK_AHEAD: u64 = 2;

/// What is known of a record that is under way.
#[derive(Debug)]
pub(super) struct Carry {
    most_bytes: u64,
    /// Its bytes so far; only the first of them once it is too long.
    bytes: Vec<u8>,
    /// How many they are.
    length: u64,
    /// Where it begins in the text, in bytes.
    offset: u64,
}

impl Carry {
    /// Records may have `most_bytes`.
    pub(super) fn new(most_bytes: u64) -> Self {
        Self { most_bytes: most_bytes.min(MAX_RECORD_BYTES), bytes: Vec::new(), length: 0, offset: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.bytes.capacity() as u64
    }

    /// Where the record begins in the text, in bytes.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether a record of this many bytes is longer than it may be.
    pub(super) fn is_too_long(&self, length: u64) -> bool {
        length > self.most_bytes
    }

    /// How many bytes the record has, if `part` belongs to it.
    pub(super) fn length_with(&self, part: &[u8]) -> u64 {
        self.length + part.len() as u64
    }

    /// `part` of the record is at the end of a piece; it begins at `offset` if it is the first one.
    ///
    /// # Errors
    /// When the record, which has this number, is not to be waited for any more.
    pub(super) fn push(&mut self, part: &[u8], offset: u64, number: u64) -> Result<(), SplitError> {
        if self.is_empty() {
            self.offset = offset;
        }
        self.length += part.len() as u64;
        if self.is_too_long(self.length) {
            self.bytes.truncate(RAW_BYTES);
            self.bytes.shrink_to(RAW_BYTES);
            let lacks = RAW_BYTES - self.bytes.len();
            self.bytes.extend_from_slice(part.get(..lacks).unwrap_or(part));
        } else {
            self.bytes.extend_from_slice(part);
        }
        self.checked(self.length, self.offset, number)
    }

    /// The whole record, whose last part is `part`. Nothing is under way then.
    pub(super) fn take(&mut self, part: &[u8]) -> Vec<u8> {
        let mut record = std::mem::take(&mut self.bytes);
        record.extend_from_slice(part);
        self.length = 0;
        record
    }

    /// The record with this number, which has `length` bytes, is too long and ends in `part`, or is all of it, from `offset` on.
    ///
    /// # Errors
    /// When it is so long that its end is none that can be waited for.
    pub(super) fn take_too_long(&mut self, part: &[u8], offset: u64, number: u64) -> Result<BadRecord, SplitError> {
        let length = self.length_with(part);
        let offset = if self.is_empty() { offset } else { self.offset };
        let mut raw = std::mem::take(&mut self.bytes);
        let lacks = RAW_BYTES.saturating_sub(raw.len());
        raw.extend_from_slice(part.get(..lacks).unwrap_or(part));
        self.length = 0;
        self.checked(length, offset, number)?;
        Ok(BadRecord::new(number, offset, BadReason::TooLong { most_bytes: self.most_bytes }, &raw))
    }

    fn checked(&self, length: u64, offset: u64, number: u64) -> Result<(), SplitError> {
        let looked_at_bytes = self.most_bytes.saturating_mul(LOOK_AHEAD);
        if length > looked_at_bytes {
            return Err(SplitError::TooLong { number, offset, most_bytes: self.most_bytes, looked_at_bytes });
        }
        Ok(())
    }
}
