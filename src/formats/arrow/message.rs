//! One message of a stream: its frame, and what is checked before anything is made of it.

use super::{CONTINUATION, damaged};
use crate::formats::error::ReadError;
use arrow::buffer::Buffer;
use arrow::ipc::{Message, RecordBatch, root_as_message};
use bytes::Bytes;

/// The longest metadata that is read. Those of a schema with thousands of columns have less than a MiB.
pub(super) const MAX_METADATA_BYTES: u64 = 64 << 20;
/// Rows of a record batch at most, and values of an array of it: what 32-bit offsets can number.
const MAX_ROWS: i64 = i32::MAX as i64;
/// How often what is packed may be unpacked, beyond what is unpacked in any case.
const MAX_EXPANSION: u64 = 1_000;
/// Up to this size what is unpacked may be anything that its length says.
const FREE_UNPACKED_BYTES: u64 = 64 << 20;
/// The length of what is unpacked, in front of what is packed.
const UNPACKED_LENGTH_BYTES: usize = 8;

/// Where bodies are read as they stand: numbers of 16 bytes, the largest that there are, must begin at such places. Of those that
/// writers have put at other places in a body Arrow makes copies.
const BODY_ALIGNMENT_BYTES: usize = 16;

/// The frame of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// What is before the metadata, and the metadata, in bytes.
    Message { prefix: usize, metadata: usize },
    /// The stream ends here.
    End,
}

/// Bytes of a frame at most: what [`Frame::of`] looks at.
pub(super) const FRAME_BYTES: usize = 8;

impl Frame {
    /// By the first bytes of a message: [`FRAME_BYTES`], or all that there are. `None`: there are too few.
    pub(super) fn of(bytes: &[u8]) -> Result<Option<Self>, ReadError> {
        let Some(first) = bytes.first_chunk::<4>() else { return Ok(None) };
        let (prefix, length) = if *first == CONTINUATION {
            let Some(length) = bytes[4..].first_chunk::<4>() else { return Ok(None) };
            (8, i32::from_le_bytes(*length))
        } else {
            (4, i32::from_le_bytes(*first))
        };
        match usize::try_from(length) {
            Ok(0) => Ok(Some(Self::End)),
            Ok(metadata) if metadata as u64 <= MAX_METADATA_BYTES => Ok(Some(Self::Message { prefix, metadata })),
            _ => Err(damaged(format!(
                "a message claims metadata of {length} bytes; at most {MAX_METADATA_BYTES} are read"
            ))),
        }
    }
}

/// The metadata where it may be read: its numbers must be aligned in memory, and pieces of an object begin anywhere.
pub(super) fn aligned(metadata: &[u8]) -> Buffer {
    Buffer::from_slice_ref(metadata)
}

/// The body where its numbers may be read, too: a copy, if it isn't there.
pub(super) fn aligned_body(body: &Bytes) -> Buffer {
    if (body.as_ptr() as usize).is_multiple_of(BODY_ALIGNMENT_BYTES) {
        return Buffer::from(body.clone());
    }
    Buffer::from_slice_ref(body)
}

/// The message with this [`aligned`] metadata.
pub(super) fn parse(metadata: &Buffer) -> Result<Message<'_>, ReadError> {
    root_as_message(metadata).map_err(|error| {
        // The text goes on with a trace over several lines.
        let error = error.to_string();
        damaged(format!("a message's metadata can't be read: {}", error.lines().next().unwrap_or_default()))
    })
}

/// The length of its body, of which the object has at most `most_bytes`.
pub(super) fn body_bytes(message: &Message<'_>, most_bytes: u64) -> Result<usize, ReadError> {
    let claimed = message.bodyLength();
    let fits = u64::try_from(claimed).ok().filter(|bytes| *bytes <= most_bytes).and_then(|bytes| bytes.try_into().ok());
    fits.ok_or_else(|| {
        damaged(format!("a message claims a body of {claimed} bytes, and only {most_bytes} bytes of the object follow"))
    })
}

/// Checks what a record batch says of itself against its body. The bytes that it has when it is unpacked.
pub(super) fn check(batch: &RecordBatch<'_>, body: &[u8]) -> Result<u64, ReadError> {
    let rows = |count: i64, what: &str| {
        if (0..=MAX_ROWS).contains(&count) { Ok(()) } else { Err(damaged(format!("{what} has {count} rows"))) }
    };
    rows(batch.length(), "a record batch")?;
    for node in batch.nodes().into_iter().flatten() {
        rows(node.length(), "an array")?;
        if !(0..=node.length()).contains(&node.null_count()) {
            return Err(damaged(format!("an array of {} rows has {} nulls", node.length(), node.null_count())));
        }
    }
    let is_packed = batch.compression().is_some();
    let mut unpacked = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = range.and_then(|(offset, length)| body.get(offset..offset.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| {
            let (offset, length) = (buffer.offset(), buffer.length());
            damaged(format!("a buffer of {length} bytes at {offset} is not inside its body of {} bytes", body.len()))
        })?;
        unpacked = unpacked.saturating_add(if is_packed { unpacked_bytes(bytes)? } else { bytes.len() as u64 });
    }
    if unpacked > FREE_UNPACKED_BYTES && unpacked / MAX_EXPANSION > body.len() as u64 {
        return Err(damaged(format!(
            "a record batch of {} bytes claims {unpacked} bytes when unpacked, more than {MAX_EXPANSION} times as many",
            body.len()
        )));
    }
    Ok(unpacked)
}

/// What a packed buffer says that it has when it is unpacked.
fn unpacked_bytes(buffer: &[u8]) -> Result<u64, ReadError> {
    if buffer.is_empty() {
        return Ok(0);
    }
    let length = buffer.first_chunk::<UNPACKED_LENGTH_BYTES>();
    match length.map(|length| i64::from_le_bytes(*length)) {
        Some(-1) => Ok((buffer.len() - UNPACKED_LENGTH_BYTES) as u64),
        Some(length) if length >= 0 => Ok(length.unsigned_abs()),
        _ => Err(damaged("a packed buffer does not say how long it is unpacked")),
    }
}
