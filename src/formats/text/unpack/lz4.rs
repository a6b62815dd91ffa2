//! The frame format of LZ4. The frame is read here, so that memory follows what is there and not what a header claims; the
//! blocks are unpacked by `lz4_flex`.

use super::codec::{Begins, Codec, Step};
use super::input::Input;
use super::{Compression, UnpackError, zstd};
use bytes::Bytes;
use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use std::hash::Hasher;
use twox_hash::XxHash32;

/// What a frame begins with.
pub(super) const MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];

/// What the format before frames begins with.
pub(super) const LEGACY_MAGIC: &[u8] = &[0x02, 0x21, 0x4c, 0x18];

/// How far back blocks that are linked look.
const WINDOW_BYTES: usize = 64 << 10;

/// A block's bytes grow to no more than this many times as much: a byte of length stands for 255.
const MAX_GROWTH: usize = 255;

/// Magic, flags, size of blocks, size of the content, number of a dictionary, and a checksum.
const MAX_HEADER_BYTES: usize = 4 + 2 + 8 + 4 + 1;

/// A block of 4 MiB, packed and unpacked.
pub(super) const STATE_BYTES: u64 = 8 << 20;

/// The frame that is read.
#[derive(Debug)]
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_bytes: Option<u64>,
    /// Of all content, if it is to be checked.
    hasher: Option<XxHash32>,
    max_block_bytes: usize,
    unpacked_bytes: u64,
    /// The last bytes that were unpacked, which a linked block refers to.
    window: Vec<u8>,
}

#[derive(Debug, Default)]
enum Place {
    /// Before a frame.
    #[default]
    Begin,
    /// In a frame to pass over.
    Skip(u64),
    /// Before a block.
    Block(Box<Frame>),
}

/// Unpacks frames.
#[derive(Debug, Default)]
pub(super) struct Lz4 {
    place: Place,
}

impl Codec for Lz4 {
    fn begins(&self, first: &[u8]) -> Begins {
        let frame = Begins::with(first, MAGIC).or(Begins::with(first, LEGACY_MAGIC));
        // A frame to pass over has the magic that it has in zstd, whose own is no other's.
        if Begins::with(first, zstd::MAGIC) == Begins::Yes { Begins::No } else { frame.or(zstd::begins(first)) }
    }

    fn step(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step, UnpackError> {
        loop {
            match &mut self.place {
                Place::Begin => match begin(input)? {
                    Some(place) => self.place = place,
                    None => return Ok(Step::More),
                },
                Place::Skip(0) => {
                    self.place = Place::Begin;
                    return Ok(Step::End);
                }
                Place::Skip(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(input.waiting_bytes());
                    if step == 0 {
                        return Ok(Step::More);
                    }
                    input.advance(step);
                    *left -= step as u64;
                }
                Place::Block(frame) => match frame.block(input, out)? {
                    Some(Step::End) => {
                        self.place = Place::Begin;
                        return Ok(Step::End);
                    }
                    Some(step) => return Ok(step),
                    None => {}
                },
            }
        }
    }

    fn held_bytes(&self) -> u64 {
        match &self.place {
            Place::Block(frame) => (frame.window.capacity() + size_of::<Frame>()) as u64,
            Place::Begin | Place::Skip(_) => 0,
        }
    }
}

/// Reads the header of a frame; None: it is not whole.
fn begin(input: &mut Input) -> Result<Option<Place>, UnpackError> {
    let mut buffer = [0; MAX_HEADER_BYTES];
    let first = input.peek(&mut buffer);
    if first.starts_with(LEGACY_MAGIC) {
        let what = "it is the legacy format (`lz4 -l`): compress it without `-l`";
        return Err(UnpackError::unsupported(Compression::Lz4, what));
    }
    let Some(header) = first.first_chunk() else { return Ok(None) };
    if let Some(length) = zstd::skippable_bytes(*header) {
        return Ok(Some(Place::Skip(length)));
    }
    let (flags, sizes) = (first[4], first[5]);
    if flags >> 6 != 1 || flags & 2 != 0 || sizes & 0x8f != 0 {
        return Err(damaged("the header of a frame has flags that are not known"));
    }
    let max_block_bytes = match sizes >> 4 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err(damaged("the header of a frame has no valid size of blocks")),
    };
    let content_length = if flags & 8 != 0 { 8 } else { 0 };
    let dictionary_length = if flags & 1 != 0 { 4 } else { 0 };
    let length = MAGIC.len() + 2 + content_length + dictionary_length;
    let Some(&checksum) = first.get(length) else { return Ok(None) };
    let [_, expected, ..] = hash(&first[MAGIC.len()..length]).to_le_bytes();
    if checksum != expected {
        return Err(damaged("the header of a frame has a wrong checksum"));
    }
    if dictionary_length > 0 {
        return Err(UnpackError::unsupported(Compression::Lz4, "it needs a dictionary: compress without one"));
    }
    let content_bytes =
        first.get(6..6 + content_length).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let frame = Frame {
        linked: flags & 0x20 == 0,
        block_checksums: flags & 0x10 != 0,
        content_bytes,
        hasher: (flags & 4 != 0).then(|| XxHash32::with_seed(0)),
        max_block_bytes,
        unpacked_bytes: 0,
        window: Vec::new(),
    };
    input.advance(length + 1);
    Ok(Some(Place::Block(Box::new(frame))))
}

impl Frame {
    /// Unpacks one block, or the end of the frame; None: go on.
    fn block(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Option<Step>, UnpackError> {
        let Some(header) = input.peek_all().map(u32::from_le_bytes) else { return Ok(Some(Step::More)) };
        if header == 0 {
            return self.end(input);
        }
        let (packed, length) = (header >> 31 == 0, (header & (u32::MAX >> 1)) as usize);
        if length > self.max_block_bytes {
            let most = self.max_block_bytes;
            return Err(damaged(&format!("a block of {length} bytes, in a frame of blocks of {most} bytes at most")));
        }
        let checksum_length = if self.block_checksums { 4 } else { 0 };
        let whole = 4 + length + checksum_length;
        if input.waiting_bytes() < whole {
            return Ok(Some(Step::More));
        }
        let most = if packed { length.saturating_mul(MAX_GROWTH).min(self.max_block_bytes) } else { length };
        if out.capacity() - out.len() < most {
            if !out.is_empty() {
                return Ok(Some(Step::Full));
            }
            *out = Vec::with_capacity(most);
        }
        input.advance(4);
        let Some(bytes) = input.take(length + checksum_length) else { return Ok(Some(Step::More)) };
        let (block, checksum) = bytes.split_at(length);
        if !checksum.is_empty() && hash(block).to_le_bytes() != *checksum {
            return Err(damaged("a block has a wrong checksum"));
        }
        let begin = out.len();
        if packed {
            self.unpack(block, out, most)?
        } else {
            out.extend_from_slice(block)
        }
        self.note(&out[begin..]);
        Ok(None)
    }

    fn unpack(&self, block: &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), UnpackError> {
        let begin = out.len();
        out.resize(begin + most, 0);
        let room = &mut out[begin..];
        let result = if self.window.is_empty() {
            decompress_into(block, room)
        } else {
            decompress_into_with_dict(block, room, &self.window)
        };
        out.truncate(begin + result.as_ref().map_or(0, |&length| length));
        result.map(drop).map_err(|error| damaged(&format!("a block is invalid: {error}")))
    }

    /// Remembers what was unpacked.
    fn note(&mut self, bytes: &[u8]) {
        self.unpacked_bytes += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.write(bytes);
        }
        if self.linked {
            let tail = &bytes[bytes.len().saturating_sub(WINDOW_BYTES)..];
            let surplus = (self.window.len() + tail.len()).saturating_sub(WINDOW_BYTES);
            self.window.drain(..surplus);
            self.window.extend_from_slice(tail);
        }
    }

    fn end(&self, input: &mut Input) -> Result<Option<Step>, UnpackError> {
        let checksum_length = if self.hasher.is_some() { 4 } else { 0 };
        let Some(end) = input.take(4 + checksum_length) else { return Ok(Some(Step::More)) };
        if let Some(hasher) = &self.hasher
            && !checksum_is(&end, hasher.finish_32())
        {
            return Err(damaged("the content has a wrong checksum"));
        }
        match self.content_bytes {
            Some(expected) if expected != self.unpacked_bytes => {
                let unpacked = self.unpacked_bytes;
                Err(damaged(&format!("{unpacked} bytes were in it, its header says {expected}")))
            }
            _ => Ok(Some(Step::End)),
        }
    }
}

/// Whether the checksum behind the mark of the end is the expected one.
fn checksum_is(end: &Bytes, expected: u32) -> bool {
    end[4..] == expected.to_le_bytes()
}

fn hash(bytes: &[u8]) -> u32 {
    XxHash32::oneshot(0, bytes)
}

fn damaged(what: &str) -> UnpackError {
    UnpackError::damaged(Compression::Lz4, what)
}
