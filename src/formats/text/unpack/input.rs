//! Bytes of an object that were pushed and not yet read, in their order.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// A queue of pushed bytes. What lies within one push is never copied.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// None of them is empty.
    pieces: VecDeque<Bytes>,
    /// All bytes of `pieces`.
    waiting_bytes: usize,
    /// What was read before.
    taken_bytes: u64,
    ended: bool,
}

impl Input {
    /// The next bytes.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.waiting_bytes += bytes.len();
            self.pieces.push_back(bytes);
        }
    }

    /// There are no more than those that were pushed.
    pub(super) fn finish(&mut self) {
        self.ended = true;
    }

    /// Whether nothing will follow what waits.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// How many bytes were read: the position of the next one.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// The next bytes as far as they lie in one piece; empty if nothing waits.
    pub(super) fn first(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece.as_ref())
    }

    /// Passes over `count` bytes of what waits.
    pub(super) fn advance(&mut self, count: usize) {
        let mut left = count.min(self.waiting_bytes);
        self.waiting_bytes -= left;
        self.taken_bytes += left as u64;
        while left > 0 {
            let Some(piece) = self.pieces.front_mut() else { return };
            let step = left.min(piece.len());
            piece.advance(step);
            left -= step;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    /// Copies the next bytes, as many as fit and wait, without reading them.
    pub(super) fn peek<'b>(&self, buffer: &'b mut [u8]) -> &'b [u8] {
        let mut filled = 0;
        for piece in &self.pieces {
            let step = piece.len().min(buffer.len() - filled);
            buffer[filled..filled + step].copy_from_slice(&piece[..step]);
            filled += step;
            if filled == buffer.len() {
                break;
            }
        }
        &buffer[..filled]
    }

    /// Copies the next bytes without reading them, if all of them wait.
    pub(super) fn peek_all<const N: usize>(&self) -> Option<[u8; N]> {
        let mut buffer = [0; N];
        (self.peek(&mut buffer).len() == N).then_some(buffer)
    }

    /// Reads `count` bytes into one piece, if all of them wait. Copied only where they lie in several pieces.
    pub(super) fn take(&mut self, count: usize) -> Option<Bytes> {
        if self.waiting_bytes < count {
            return None;
        }
        if let Some(piece) = self.pieces.front()
            && piece.len() >= count
        {
            let taken = piece.slice(..count);
            self.advance(count);
            return Some(taken);
        }
        let mut taken = BytesMut::with_capacity(count);
        while taken.len() < count {
            let first = self.first();
            let step = first.len().min(count - taken.len());
            taken.extend_from_slice(&first[..step]);
            self.advance(step);
        }
        Some(taken.freeze())
    }

    /// Passes over zero bytes.
    pub(super) fn skip_zeros(&mut self) {
        while !self.is_empty() {
            let first = self.first();
            let zeros = first.iter().position(|&byte| byte != 0).unwrap_or(first.len());
            let found = zeros < first.len();
            self.advance(zeros);
            if found {
                return;
            }
        }
    }
}
