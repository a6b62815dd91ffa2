//! The framing format of Snappy: a stream of chunks. Blocks without frames, and those of Hadoop, are told and refused.

use super::codec::{Begins, Codec, Step};
use super::input::Input;
use super::{Compression, UnpackError};
use crc_fast::CrcAlgorithm;
use snap::raw::{Decoder, decompress_len};

/// The chunk that a stream begins with. It may stand between chunks, too, where streams were joined.
pub(super) const MAGIC: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Type and length of a chunk.
const CHUNK_HEADER_BYTES: usize = 4;

const CHECKSUM_BYTES: usize = 4;

/// A chunk holds no more, unpacked.
const MAX_BLOCK_BYTES: usize = 64 << 10;

/// What a block of that size takes at most when it does not compress: 32 + n + n / 6 bytes.
const MAX_PACKED_BYTES: usize = 32 + MAX_BLOCK_BYTES + MAX_BLOCK_BYTES / 6;

/// A chunk, packed and unpacked.
pub(super) const STATE_BYTES: u64 = 128 << 10;

/// Unpacks streams.
#[derive(Debug, Default)]
pub(super) struct Snappy {
    /// What is left of a chunk to pass over.
    skip_bytes: usize,
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    Stream,
    Packed,
    Plain,
    Skipped,
}

impl Codec for Snappy {
    fn begins(&self, first: &[u8]) -> Begins {
        Begins::with(first, MAGIC)
    }

    /// A stream ends where a byte follows that begins no chunk: there is no other mark.
    fn step(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step, UnpackError> {
        loop {
            let skip = self.skip_bytes.min(input.waiting_bytes());
            input.advance(skip);
            self.skip_bytes -= skip;
            if self.skip_bytes > 0 {
                return Ok(Step::More);
            }
            if input.is_empty() && input.ended() {
                return Ok(Step::End);
            }
            if matches!(input.first(), [0x02..=0x7f, ..]) {
                // Types that are reserved and not to be passed over: no chunk of any writer.
                return Ok(Step::End);
            }
            let Some([kind, lengths @ ..]) = input.peek_all::<CHUNK_HEADER_BYTES>() else {
                return Ok(Step::More);
            };
            let length = u32::from_le_bytes([lengths[0], lengths[1], lengths[2], 0]) as usize;
            match kind_of(kind, length)? {
                // Padding of a tape, which no chunk is: packed ones have a checksum at least.
                None => return Ok(Step::End),
                Some(Chunk::Skipped) => {
                    input.advance(CHUNK_HEADER_BYTES);
                    self.skip_bytes = length;
                }
                Some(chunk) => {
                    if let Some(step) = block(chunk, length, input, out)? {
                        return Ok(step);
                    }
                }
            }
        }
    }

    fn held_bytes(&self) -> u64 {
        // The decoder has no state between chunks.
        0
    }
}

/// Which chunk it is; None: zeros.
fn kind_of(kind: u8, length: usize) -> Result<Option<Chunk>, UnpackError> {
    let chunk = match kind {
        0x00 if length == 0 => return Ok(None),
        0x00 => Chunk::Packed,
        0x01 => Chunk::Plain,
        0xff => Chunk::Stream,
        _ => return Ok(Some(Chunk::Skipped)),
    };
    let (least, most) = match chunk {
        Chunk::Stream => (MAGIC.len() - CHUNK_HEADER_BYTES, MAGIC.len() - CHUNK_HEADER_BYTES),
        Chunk::Plain => (CHECKSUM_BYTES, CHECKSUM_BYTES + MAX_BLOCK_BYTES),
        Chunk::Packed | Chunk::Skipped => (CHECKSUM_BYTES, CHECKSUM_BYTES + MAX_PACKED_BYTES),
    };
    if !(least..=most).contains(&length) {
        return Err(damaged(&format!(
            "a chunk of type {kind:#04x} with {length} bytes: {least} to {most} are possible"
        )));
    }
    Ok(Some(chunk))
}

/// Unpacks a chunk; None: go on.
fn block(chunk: Chunk, length: usize, input: &mut Input, out: &mut Vec<u8>) -> Result<Option<Step>, UnpackError> {
    if input.waiting_bytes() < CHUNK_HEADER_BYTES + length {
        return Ok(Some(Step::More));
    }
    if out.capacity() - out.len() < MAX_BLOCK_BYTES {
        return Ok(Some(Step::Full));
    }
    let Some(bytes) = input.take(CHUNK_HEADER_BYTES + length) else { return Ok(Some(Step::More)) };
    if chunk == Chunk::Stream {
        return if bytes == MAGIC { Ok(None) } else { Err(damaged("a chunk that begins a stream is invalid")) };
    }
    let (checksum, packed) = bytes[CHUNK_HEADER_BYTES..].split_at(CHECKSUM_BYTES);
    let begin = out.len();
    if chunk == Chunk::Packed {
        unpack(packed, out)?
    } else {
        out.extend_from_slice(packed)
    }
    if masked_checksum(&out[begin..]).to_le_bytes() != *checksum {
        out.truncate(begin);
        return Err(damaged("a chunk has a wrong checksum"));
    }
    Ok(None)
}

fn unpack(packed: &[u8], out: &mut Vec<u8>) -> Result<(), UnpackError> {
    let invalid = |error: snap::Error| damaged(&format!("a chunk is invalid: {error}"));
    let length = decompress_len(packed).map_err(invalid)?;
    if length > MAX_BLOCK_BYTES {
        return Err(damaged(&format!("a chunk of {length} bytes unpacked: {MAX_BLOCK_BYTES} are possible")));
    }
    let begin = out.len();
    out.resize(begin + length, 0);
    let result = Decoder::new().decompress(packed, &mut out[begin..]);
    out.truncate(begin + result.as_ref().map_or(0, |&length| length));
    result.map(drop).map_err(invalid)
}

/// CRC-32C, turned and shifted, as the format has it.
fn masked_checksum(bytes: &[u8]) -> u32 {
    let checksum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32;
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn damaged(what: &str) -> UnpackError {
    UnpackError::damaged(Compression::Snappy, what)
}
