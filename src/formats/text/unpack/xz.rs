//! xz: streams of blocks. The size of the dictionary is read here, so that an error can name it.

use super::codec::{Begins, Codec, Step};
use super::input::Input;
use super::{Compression, UnpackError};
use liblzma::stream::{Action, Error, Status, Stream};

/// What a stream begins with.
pub(super) const MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// The largest dictionary: that of `xz -9`.
pub(super) const MAX_DICTIONARY_BYTES: u64 = 64 << 20;

/// A decoder's memory besides the dictionary.
const DECODER_BYTES: u64 = 1 << 20;

/// The header of a stream; that of the first block follows, with its length in front.
const STREAM_HEADER_BYTES: usize = 12;

/// A block's header is not longer.
const MAX_BLOCK_HEADER_BYTES: usize = 1024;

/// The number of the filter LZMA2, whose property tells the dictionary.
const LZMA2: u64 = 0x21;

/// Unpacks streams.
#[derive(Debug, Default)]
pub(super) struct Xz {
    stream: Option<Inner>,
}

/// A stream's decoder and its memory.
struct Inner {
    decoder: Stream,
    dictionary_bytes: u64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("dictionary_bytes", &self.dictionary_bytes).finish_non_exhaustive()
    }
}

/// Memory of the decoder for a stream that begins with `first`: the largest that is allowed if these are too few to say it.
pub(super) fn codec_bytes(first: &[u8]) -> u64 {
    let dictionary_bytes = match header(first) {
        Header::Whole(dictionary_bytes) => dictionary_bytes.unwrap_or(0),
        Header::Short => MAX_DICTIONARY_BYTES,
    };
    dictionary_bytes.min(MAX_DICTIONARY_BYTES) + DECODER_BYTES
}

/// What the headers of a stream and of its first block tell.
enum Header {
    /// All is there; none if there is no block, no LZMA2 or no valid header.
    Whole(Option<u64>),
    /// More bytes are needed.
    Short,
}

fn header(first: &[u8]) -> Header {
    let Some(&size) = first.get(STREAM_HEADER_BYTES) else { return Header::Short };
    // Zero is no block's: the stream is empty, and its index follows.
    if size == 0 {
        return Header::Whole(None);
    }
    let length = (usize::from(size) + 1) * 4;
    match first.get(STREAM_HEADER_BYTES..STREAM_HEADER_BYTES + length) {
        Some(block) => Header::Whole(dictionary_of_block(block)),
        None => Header::Short,
    }
}

/// The dictionary that a block's header asks for, in bytes.
fn dictionary_of_block(block: &[u8]) -> Option<u64> {
    let flags = *block.get(1)?;
    let mut rest = block.get(2..)?;
    for present in [flags & 0x40, flags & 0x80] {
        if present != 0 {
            number(&mut rest)?;
        }
    }
    for _ in 0..=(flags & 3) {
        let filter = number(&mut rest)?;
        let length = usize::try_from(number(&mut rest)?).ok()?;
        let properties = rest.get(..length)?;
        rest = rest.get(length..)?;
        if filter == LZMA2 {
            return dictionary_of_property(*properties.first()?);
        }
    }
    None
}

/// Two bits and an exponent: 4 KiB, 6 KiB, 8 KiB, 12 KiB and so on.
fn dictionary_of_property(property: u8) -> Option<u64> {
    match property {
        0..40 => Some((2 | u64::from(property & 1)) << (property / 2 + 11)),
        40 => Some(u64::from(u32::MAX)),
        _ => None,
    }
}

/// A number of seven bits a byte, the low ones first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl Codec for Xz {
    fn begins(&self, first: &[u8]) -> Begins {
        Begins::with(first, MAGIC)
    }

    fn step(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step, UnpackError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => match start(input)? {
                Some(stream) => self.stream.insert(stream),
                None => return Ok(Step::More),
            },
        };
        let decoder = &mut stream.decoder;
        loop {
            if out.len() == out.capacity() {
                return Ok(Step::Full);
            }
            let (taken_before, length_before) = (decoder.total_in(), out.len());
            let result = decoder.process_vec(input.first(), out, Action::Run);
            let taken = usize::try_from(decoder.total_in() - taken_before).unwrap_or(usize::MAX);
            input.advance(taken);
            match result {
                Ok(Status::StreamEnd) => {
                    self.stream = None;
                    return Ok(Step::End);
                }
                Ok(_) if taken > 0 || out.len() > length_before => {}
                Ok(_) if input.is_empty() => return Ok(Step::More),
                Ok(_) => return Err(damaged("it can't be continued")),
                Err(error) => return Err(failure(error)),
            }
        }
    }

    fn held_bytes(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.dictionary_bytes + DECODER_BYTES)
    }
}

/// A decoder for the stream that begins, as soon as its headers wait.
fn start(input: &Input) -> Result<Option<Inner>, UnpackError> {
    let mut buffer = [0; STREAM_HEADER_BYTES + MAX_BLOCK_HEADER_BYTES];
    let dictionary_bytes = match header(input.peek(&mut buffer)) {
        Header::Short if !input.ended() => return Ok(None),
        // What is cut off there needs no dictionary.
        Header::Short => 0,
        Header::Whole(dictionary_bytes) => dictionary_bytes.unwrap_or(0),
    };
    if dictionary_bytes > MAX_DICTIONARY_BYTES {
        return Err(UnpackError::Dictionary { dictionary_bytes: Some(dictionary_bytes) });
    }
    let decoder = Stream::new_stream_decoder(MAX_DICTIONARY_BYTES + DECODER_BYTES, 0).map_err(failure)?;
    Ok(Some(Inner { decoder, dictionary_bytes }))
}

fn failure(error: Error) -> UnpackError {
    match error {
        // A later block's: only the first one's header is read here.
        Error::MemLimit => UnpackError::Dictionary { dictionary_bytes: None },
        Error::Mem => damaged("no memory for its dictionary"),
        Error::Options | Error::UnsupportedCheck => damaged("it uses a filter or an option that is not known"),
        Error::Format => damaged("its header is invalid"),
        _ => damaged("invalid data, or a wrong checksum"),
    }
}

fn damaged(what: &str) -> UnpackError {
    UnpackError::damaged(Compression::Xz, what)
}
