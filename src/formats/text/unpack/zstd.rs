//! Zstandard: frames of blocks, and frames to pass over.
//!
//! The decoder gets one whole block at a time, and room for all of it: where frame, block and checksum lie is read here. So
//! what an error costs never depends on how the object was cut into pieces, and no frame asks for a window before its size was
//! checked.

use super::codec::{Begins, Codec, Step};
use super::input::Input;
use super::{Compression, UnpackError};
use ::zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};
use bytes::Bytes;

/// What a frame begins with.
pub(super) const MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What a frame to pass over has behind its first byte, `50` to `5f`. Those of LZ4 look the same.
const SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];

/// Magic and length of a frame to pass over.
const SKIPPABLE_HEADER_BYTES: usize = 8;

/// The largest window: what `zstd` itself unpacks without `--long`, and its compressor makes up to level 22.
pub(super) const MAX_WINDOW_BYTES: u64 = 1 << MAX_WINDOW_LOG;
const MAX_WINDOW_LOG: u32 = 27;

/// Tables, and buffers of a block in and out.
const DECODER_BYTES: u64 = 512 << 10;

/// The largest header of a frame: magic, descriptor, window, dictionary and size.
const MAX_HEADER_BYTES: usize = 4 + 1 + 1 + 4 + 8;

/// A block's header: its length, its type, and whether it is the last.
const BLOCK_HEADER_BYTES: usize = 3;

/// A block holds no more, packed or unpacked.
const MAX_BLOCK_BYTES: usize = 128 << 10;

const CHECKSUM_BYTES: usize = 4;

/// Whether `first` begins a frame of either kind.
pub(super) fn begins(first: &[u8]) -> Begins {
    let skippable = match first.split_first() {
        Some((0x50..=0x5f, rest)) => Begins::with(rest, SKIPPABLE),
        _ => Begins::No,
    };
    Begins::with(first, MAGIC).or(skippable)
}

/// How many bytes of a frame to pass over wait, header included; None: it is a frame with data.
pub(super) fn skippable_bytes(header: [u8; SKIPPABLE_HEADER_BYTES]) -> Option<u64> {
    let [first, a, b, c, length @ ..] = header;
    let skippable = (0x50..=0x5f).contains(&first) && [a, b, c] == SKIPPABLE;
    skippable.then(|| SKIPPABLE_HEADER_BYTES as u64 + u64::from(u32::from_le_bytes(length)))
}

/// Memory of the decoder for frames that begin with `first`: the largest that is allowed if these are too few to say it.
pub(super) fn codec_bytes(first: &[u8]) -> u64 {
    let mut rest = first;
    while let Some((header, _)) = rest.split_first_chunk()
        && let Some(length) = skippable_bytes(*header)
    {
        rest = usize::try_from(length).ok().and_then(|length| rest.get(length..)).unwrap_or_default();
    }
    let window_bytes = FrameHeader::read(rest).map_or(MAX_WINDOW_BYTES, |header| header.window_bytes);
    window_bytes.min(MAX_WINDOW_BYTES) + DECODER_BYTES
}

/// The header of a frame with data.
#[derive(Debug, Clone, Copy)]
struct FrameHeader {
    length: usize,
    window_bytes: u64,
    dictionary: u32,
    checksum: bool,
}

impl FrameHeader {
    /// None: it is not whole. `first` begins with the magic.
    fn read(first: &[u8]) -> Option<Self> {
        let descriptor = *first.get(MAGIC.len())?;
        let single_segment = descriptor & 0x20 != 0;
        let mut rest = first.get(MAGIC.len() + 1..)?;
        let mut field = |length: usize| {
            let bytes = rest.get(..length)?;
            rest = rest.get(length..)?;
            Some(bytes.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte)))
        };
        let window = field(usize::from(!single_segment))?;
        let dictionary_length = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let dictionary = field(dictionary_length)?;
        let size_length = match descriptor >> 6 {
            0 => usize::from(single_segment),
            flag => 1 << flag,
        };
        let content = field(size_length)? + if size_length == 2 { 256 } else { 0 };
        let base = 1 << (10 + (window >> 3));
        let window_bytes = if single_segment { content } else { base + base / 8 * (window & 7) };
        Some(Self {
            length: MAGIC.len() + 1 + usize::from(!single_segment) + dictionary_length + size_length,
            window_bytes,
            dictionary: u32::try_from(dictionary).unwrap_or(u32::MAX),
            checksum: descriptor & 4 != 0,
        })
    }
}

/// What the decoder gets next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// The header of a frame.
    #[default]
    Frame,
    /// A block with its header.
    Block,
    /// The checksum behind the last block.
    Checksum,
    /// The frame has ended, if the decoder says so.
    End,
    /// What is left of a frame to pass over.
    Skip(u64),
}

/// Unpacks frames.
#[derive(Debug, Default)]
pub(super) struct Zstd {
    decoder: Option<Inner>,
    place: Place,
    checksum: bool,
    window_bytes: u64,
    /// What the decoder expects; 0 behind a whole frame.
    hint: usize,
}

struct Inner(Decoder<'static>);

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("zstd decoder")
    }
}

impl Zstd {
    /// Gives the decoder a part. There is room for all that can come of it.
    fn run(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), UnpackError> {
        let Inner(decoder) = match &mut self.decoder {
            Some(decoder) => decoder,
            None => self.decoder.insert(new_decoder()?),
        };
        let mut source = InBuffer::around(part);
        while source.pos() < part.len() {
            let (taken, length) = (source.pos(), out.len());
            let mut room = OutBuffer::around_pos(out, length);
            self.hint = decoder.run(&mut source, &mut room).map_err(|error| damaged(&error.to_string()))?;
            if source.pos() == taken && out.len() == length {
                return Err(damaged("it can't be continued"));
            }
        }
        Ok(())
    }

    /// Takes the next part out of the input, of a frame with data; None: it is not whole.
    fn part(&mut self, input: &mut Input) -> Result<Option<Bytes>, UnpackError> {
        match self.place {
            Place::Frame => self.frame(input),
            Place::Block => {
                let Some([a, b, c]) = input.peek_all::<BLOCK_HEADER_BYTES>() else { return Ok(None) };
                let header = u32::from_le_bytes([a, b, c, 0]);
                let repeats_a_byte = (header >> 1) & 3 == 1;
                let length = if repeats_a_byte { 1 } else { (header >> 3) as usize };
                if length > MAX_BLOCK_BYTES {
                    return Err(damaged(&format!("a block of {length} bytes: {MAX_BLOCK_BYTES} are possible")));
                }
                let Some(part) = input.take(BLOCK_HEADER_BYTES + length) else { return Ok(None) };
                self.place = match (header & 1 == 1, self.checksum) {
                    (false, _) => Place::Block,
                    (true, true) => Place::Checksum,
                    (true, false) => Place::End,
                };
                Ok(Some(part))
            }
            Place::Checksum | Place::End | Place::Skip(_) => {
                let Some(part) = input.take(CHECKSUM_BYTES) else { return Ok(None) };
                self.place = Place::End;
                Ok(Some(part))
            }
        }
    }

    fn frame(&mut self, input: &mut Input) -> Result<Option<Bytes>, UnpackError> {
        let mut buffer = [0; MAX_HEADER_BYTES];
        let Some(header) = FrameHeader::read(input.peek(&mut buffer)) else { return Ok(None) };
        if header.window_bytes > MAX_WINDOW_BYTES {
            return Err(UnpackError::Window { window_bytes: header.window_bytes });
        }
        if header.dictionary != 0 {
            return Err(UnpackError::unsupported(Compression::Zstd, "it needs a dictionary: compress without one"));
        }
        self.checksum = header.checksum;
        self.window_bytes = self.window_bytes.max(header.window_bytes);
        self.place = Place::Block;
        Ok(input.take(header.length))
    }
}

impl Codec for Zstd {
    fn begins(&self, first: &[u8]) -> Begins {
        begins(first)
    }

    fn step(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step, UnpackError> {
        loop {
            match self.place {
                Place::End if self.hint != 0 => return Err(damaged("its last block is not its end")),
                Place::End | Place::Skip(0) => {
                    self.place = Place::Frame;
                    return Ok(Step::End);
                }
                Place::Skip(left) => {
                    let step = usize::try_from(left).unwrap_or(usize::MAX).min(input.waiting_bytes());
                    if step == 0 {
                        return Ok(Step::More);
                    }
                    input.advance(step);
                    self.place = Place::Skip(left - step as u64);
                }
                Place::Frame | Place::Block | Place::Checksum => {
                    if self.place == Place::Frame {
                        let Some(begin) = input.peek_all() else { return Ok(Step::More) };
                        if let Some(length) = skippable_bytes(begin) {
                            self.place = Place::Skip(length);
                            continue;
                        }
                    }
                    if out.capacity() - out.len() < MAX_BLOCK_BYTES {
                        return Ok(Step::Full);
                    }
                    let Some(part) = self.part(input)? else { return Ok(Step::More) };
                    self.run(&part, out)?;
                }
            }
        }
    }

    fn held_bytes(&self) -> u64 {
        self.decoder.as_ref().map_or(0, |_| self.window_bytes + DECODER_BYTES)
    }
}

fn new_decoder() -> Result<Inner, UnpackError> {
    let mut decoder = Decoder::new().map_err(|error| damaged(&error.to_string()))?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(|error| damaged(&error.to_string()))?;
    Ok(Inner(decoder))
}

fn damaged(what: &str) -> UnpackError {
    UnpackError::damaged(Compression::Zstd, what)
}
