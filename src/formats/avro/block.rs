//! The frame of a block: how many records it has and how many bytes, then these, then the marker.

use super::codec::checked_length;
use super::{SYNC_BYTES, damaged, number};
use crate::formats::bytes_in_order::BytesInOrder;
use crate::formats::error::ReadError;
use bytes::Bytes;

/// The two numbers at a block's beginning have so many bytes at most.
const MAX_FRAME_BYTES: usize = 20;

/// A block that is all there, packed.
#[derive(Debug)]
pub(super) struct Block {
    /// The offset in the object.
    pub(super) at: u64,
    pub(super) rows: u64,
    pub(super) packed: Bytes,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Block(Block),
    /// Nothing is there.
    Nothing,
    /// The beginning of a block.
    Part,
}

/// The next block in `bytes`, of an object of `object_bytes` bytes.
pub(super) fn next(bytes: &mut BytesInOrder, sync: &[u8; SYNC_BYTES], object_bytes: u64) -> Result<Next, ReadError> {
    let at = bytes.offset();
    let left = object_bytes.saturating_sub(at);
    // At the object's end there may be fewer bytes than the longest frame has.
    let look = MAX_FRAME_BYTES.min(usize::try_from(left).unwrap_or(MAX_FRAME_BYTES));
    if look == 0 {
        return Ok(Next::Nothing);
    }
    let Some(frame) = bytes.peek(look) else { return Ok(Next::Part) };
    let Some((rows, first)) = number(frame)? else { return Ok(Next::Part) };
    let Some((length, second)) = number(&frame[first..])? else { return Ok(Next::Part) };
    let rows = u64::try_from(rows).map_err(|_| damaged(format!("the block at byte {at} claims {rows} records")))?;
    let (length, start) = (checked_length(length)?, first + second);
    let Some(mut whole) = bytes.take(start + length + SYNC_BYTES) else { return Ok(Next::Part) };
    if whole[start + length..] != sync[..] {
        return Err(damaged(format!("the block at byte {at} does not end with the marker of the file")));
    }
    whole.truncate(start + length);
    Ok(Next::Block(Block { at, rows, packed: whole.split_off(start) }))
}
