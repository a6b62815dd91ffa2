//! The bytes of an object in their order, as its steps bring them, for formats whose records straddle steps.

use super::fetched::FetchedRanges;
use super::{Position, Step};
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;

/// What was fetched and is not consumed. What lies in one piece is given without a copy; a beginning that straddles pieces is
/// copied together once, and the pieces are let go.
#[derive(Debug, Default)]
pub(super) struct BytesInOrder {
    /// The beginning of what was asked for and is not there as a whole.
    carried: Vec<u8>,
    /// What follows it.
    pieces: VecDeque<Bytes>,
    /// The offset in the object of the first byte that is not consumed.
    offset: u64,
    begun: bool,
}

impl BytesInOrder {
    /// Takes the bytes of the step behind the last one; the first one says where they begin. Whether it is the first.
    pub(super) fn feed(&mut self, step: &Step, bytes: &FetchedRanges) -> bool {
        let first = !std::mem::replace(&mut self.begun, true);
        if first {
            self.offset = step.from.part;
        }
        let (mut from, end) = (step.from.part, step.next.part);
        while from < end
            && let Some(mut piece) = bytes.rest_of_piece(from)
        {
            piece.truncate(usize::try_from(end - from).unwrap_or(usize::MAX));
            from += piece.len() as u64;
            self.pieces.push_back(piece);
        }
        first
    }

    /// The next `length` bytes, which stay; `None` when they are not all there.
    pub(super) fn peek(&mut self, length: usize) -> Option<&[u8]> {
        if self.carried.is_empty() {
            while self.pieces.front().is_some_and(Bytes::is_empty) {
                self.pieces.pop_front();
            }
            if self.pieces.front().is_some_and(|piece| piece.len() >= length) {
                return self.pieces.front().map(|piece| &piece[..length]);
            }
        }
        self.carry(length);
        self.carried.get(..length)
    }

    /// The next `length` bytes, which are consumed; `None`, and nothing is, when they are not all there.
    pub(super) fn take(&mut self, length: usize) -> Option<Bytes> {
        self.peek(length)?;
        self.offset += length as u64;
        if self.carried.is_empty() {
            return Some(self.pieces.front_mut().map_or_else(Bytes::new, |piece| piece.split_to(length)));
        }
        let rest = self.carried.split_off(length);
        Some(std::mem::replace(&mut self.carried, rest).into())
    }

    /// Gathers the next `length` bytes, as far as they are there, behind those that are carried.
    fn carry(&mut self, length: usize) {
        let missing = length.saturating_sub(self.carried.len());
        let there: usize = self.pieces.iter().map(Bytes::len).sum();
        // Only what is there, whatever a damaged length claims, until it is known to be all that is needed.
        self.carried.reserve_exact(missing.min(there));
        while self.carried.len() < length
            && let Some(piece) = self.pieces.front_mut()
        {
            let count = piece.len().min(length - self.carried.len());
            self.carried.extend_from_slice(&piece[..count]);
            piece.advance(count);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    /// The offset in the object of the first byte that is not consumed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is kept, in bytes.
    pub(super) fn held_bytes(&self) -> u64 {
        (self.carried.len() + self.pieces.iter().map(Bytes::len).sum::<usize>()) as u64
    }
}

/// The step of an object that is read in order, from `from` on.
pub(super) fn step(from: Position, object_bytes: u64, most_bytes: u64) -> Option<(Step, u64)> {
    if from.part >= object_bytes {
        return None;
    }
    let end = object_bytes.min(from.part.saturating_add(most_bytes.max(1)));
    // How many rows are before it only the reader knows.
    let next = Position { part: end, first_row: 0 };
    let step = Step { from, next, ranges: std::iter::once(from.part..end).collect(), decoding_bytes: 0 };
    Some((step, end - from.part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(of: &mut BytesInOrder, from: u64, bytes: &'static [u8]) {
        let (step, _) = step(Position { part: from, first_row: 0 }, 1_000, bytes.len() as u64).unwrap();
        of.feed(&step, &FetchedRanges::new([(from, Bytes::from_static(bytes))]).unwrap());
    }

    #[test]
    fn bytes_come_in_order_whatever_the_pieces() {
        let mut bytes = BytesInOrder::default();
        fed(&mut bytes, 10, b"abcde");
        assert_eq!(bytes.peek(2).unwrap(), b"ab");
        assert_eq!(bytes.offset(), 10);
        assert_eq!((bytes.take(2).unwrap(), bytes.offset()), (Bytes::from_static(b"ab"), 12));
        assert_eq!((bytes.take(4), bytes.offset(), bytes.held_bytes()), (None, 12, 3));
        fed(&mut bytes, 15, b"fghijk");
        assert_eq!((bytes.take(4).unwrap(), bytes.offset()), (Bytes::from_static(b"cdef"), 16));
        assert_eq!(bytes.take(0).unwrap(), Bytes::new());
        assert_eq!(bytes.take(5).unwrap(), Bytes::from_static(b"ghijk"));
        assert_eq!(bytes.peek(1), None);
        assert_eq!((bytes.take(usize::MAX), bytes.held_bytes()), (None, 0));
    }

    #[test]
    fn what_lies_in_one_piece_is_not_copied() {
        let whole = Bytes::from_static(b"0123456789");
        let mut bytes = BytesInOrder::default();
        let (step, _) = step(Position { part: 2, first_row: 0 }, 10, u64::MAX).unwrap();
        assert!(bytes.feed(&step, &FetchedRanges::whole(whole.clone())));
        assert_eq!(bytes.take(3).unwrap().as_ptr(), whole[2..].as_ptr());
        assert_eq!(bytes.take(5).unwrap(), Bytes::from_static(b"56789"));
    }
}
