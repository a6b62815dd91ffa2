//! The bytes of an object that were fetched.

use super::error::ReadError;
use bytes::{Buf, Bytes};
use std::io::Read;
use std::sync::Arc;

/// Pieces of one object by offset. Cheap to clone. A read inside one piece copies nothing.
#[derive(Debug, Clone, Default)]
pub struct FetchedRanges {
    /// Sorted by offset, without overlap.
    pieces: Arc<[(u64, Bytes)]>,
}

impl FetchedRanges {
    /// Takes pieces as (offset in the object, bytes), in any order; empty ones are dropped.
    ///
    /// # Errors
    /// When two pieces overlap.
    pub fn new(pieces: impl IntoIterator<Item = (u64, Bytes)>) -> Result<Self, ReadError> {
        let mut pieces: Vec<_> = pieces.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        pieces.sort_by_key(|(offset, _)| *offset);
        for pair in pieces.windows(2) {
            if pair[0].0.saturating_add(pair[0].1.len() as u64) > pair[1].0 {
                return Err(ReadError::Internal { what: format!("fetched ranges overlap at byte {}", pair[1].0) });
            }
        }
        Ok(Self { pieces: pieces.into() })
    }

    /// A whole object.
    pub fn whole(bytes: Bytes) -> Self {
        Self { pieces: [(0, bytes)].into() }
    }

    /// What is there from `offset` to the end of its piece, `None` when it wasn't fetched.
    pub(super) fn rest_of_piece(&self, offset: u64) -> Option<Bytes> {
        let index = self.pieces.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        let (start, bytes) = &self.pieces[index];
        let skip = usize::try_from(offset - start).ok()?;
        (skip < bytes.len()).then(|| bytes.slice(skip..))
    }

    /// `length` bytes at `start`, copied only where they lie in several pieces; `None` when not all of them were fetched.
    pub(super) fn get(&self, start: u64, length: usize) -> Option<Bytes> {
        if length == 0 {
            return Some(Bytes::new());
        }
        let first = self.rest_of_piece(start)?;
        if first.len() >= length {
            return Some(first.slice(..length));
        }
        // Over several pieces. The sum is known before anything is allocated: a damaged length costs nothing.
        let mut parts = vec![first];
        let mut have = parts[0].len();
        while have < length {
            let part = self.rest_of_piece(start + have as u64)?;
            have += part.len();
            parts.push(part);
        }
        let mut joined = Vec::with_capacity(length);
        for part in parts {
            let take = part.len().min(length - joined.len());
            joined.extend_from_slice(&part[..take]);
        }
        Some(joined.into())
    }

    /// Reads on from `start` over adjoining pieces; `None` when it wasn't fetched.
    pub(super) fn read_from(&self, start: u64) -> Option<RangeReader> {
        let current = self.rest_of_piece(start)?;
        Some(RangeReader { next_offset: start + current.len() as u64, current, bytes: self.clone() })
    }

    /// The offset behind the last piece.
    pub(super) fn end(&self) -> u64 {
        self.pieces.last().map_or(0, |(offset, bytes)| offset + bytes.len() as u64)
    }
}

/// Reads on over adjoining pieces; ends where the next byte wasn't fetched.
#[derive(Debug)]
pub struct RangeReader {
    current: Bytes,
    next_offset: u64,
    bytes: FetchedRanges,
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.current.is_empty() {
            let Some(next) = self.bytes.rest_of_piece(self.next_offset) else { return Ok(0) };
            self.next_offset += next.len() as u64;
            self.current = next;
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pieces: &[(u64, &'static [u8])]) -> FetchedRanges {
        FetchedRanges::new(pieces.iter().map(|(offset, bytes)| (*offset, Bytes::from_static(bytes)))).unwrap()
    }

    #[test]
    fn reads_inside_one_piece_copy_nothing() {
        let whole = Bytes::from_static(b"0123456789");
        let bytes = FetchedRanges::new([(100, whole.clone())]).unwrap();
        let part = bytes.get(103, 4).unwrap();
        assert_eq!(&part[..], b"3456");
        assert_eq!(part.as_ptr(), whole[3..].as_ptr());
    }

    #[test]
    fn reads_go_on_over_adjoining_pieces_and_end_at_gaps() {
        let bytes = pieces(&[(14, b"ef"), (10, b"abcd"), (20, b"xy"), (16, b"")]);
        assert_eq!(&bytes.get(12, 4).unwrap()[..], b"cdef");
        assert_eq!(bytes.get(12, 0).unwrap().len(), 0);
        let mut text = String::new();
        bytes.read_from(11).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "bcdef");
        for (start, length) in
            [(12, 5), (9, 1), (16, 1), (19, 2), (21, 2), (u64::MAX, 1), (0, usize::MAX), (10, usize::MAX)]
        {
            assert!(bytes.get(start, length).is_none(), "{start} {length}");
        }
        assert!(bytes.read_from(16).is_none());
        assert!(FetchedRanges::default().read_from(0).is_none());
        assert_eq!(bytes.end(), 22);
    }

    #[test]
    fn overlapping_pieces_are_refused() {
        let overlap = [(0, Bytes::from_static(b"abc")), (2, Bytes::from_static(b"c"))];
        assert!(matches!(FetchedRanges::new(overlap), Err(ReadError::Internal { .. })));
    }
}
