//! bzip2: streams of blocks.

use super::codec::{Begins, Codec, Step};
use super::input::Input;
use super::{Compression, UnpackError};
use ::bzip2::{Decompress, Status};

/// What a stream begins with; the size of its blocks follows, as a digit.
pub(super) const MAGIC: &[u8] = b"BZh";

/// The largest block: 900,000 bytes of four each, and tables.
pub(super) const STATE_BYTES: u64 = 4 << 20;

/// Unpacks streams.
#[derive(Debug, Default)]
pub(super) struct Bzip2 {
    stream: Option<Inner>,
}

/// A stream's decoder.
struct Inner(Decompress);

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bzip2 decoder")
    }
}

/// Whether `first` begins a stream: the magic and a digit.
pub(super) fn begins(first: &[u8]) -> Begins {
    match (Begins::with(first, MAGIC), first.get(MAGIC.len())) {
        (Begins::Yes, Some(b'1'..=b'9')) => Begins::Yes,
        (Begins::Yes, None) => Begins::Maybe,
        (Begins::Yes, Some(_)) => Begins::No,
        (other, _) => other,
    }
}

impl Codec for Bzip2 {
    fn begins(&self, first: &[u8]) -> Begins {
        begins(first)
    }

    fn step(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step, UnpackError> {
        let Inner(stream) = self.stream.get_or_insert_with(|| Inner(Decompress::new(false)));
        loop {
            if out.len() == out.capacity() {
                return Ok(Step::Full);
            }
            let (taken_before, length_before) = (stream.total_in(), out.len());
            let result = stream.decompress_vec(input.first(), out);
            let taken = usize::try_from(stream.total_in() - taken_before).unwrap_or(usize::MAX);
            input.advance(taken);
            match result {
                Ok(Status::StreamEnd) => {
                    self.stream = None;
                    return Ok(Step::End);
                }
                Ok(Status::MemNeeded) => return Err(damaged("no memory for its block")),
                Ok(_) if taken > 0 || out.len() > length_before => {}
                Ok(_) if input.is_empty() => return Ok(Step::More),
                Ok(_) => return Err(damaged("it can't be continued")),
                Err(::bzip2::Error::Data) => return Err(damaged("invalid data, or a wrong checksum")),
                Err(::bzip2::Error::DataMagic) => return Err(damaged("its header is invalid")),
                Err(_) => return Err(damaged("it can't be continued")),
            }
        }
    }

    fn held_bytes(&self) -> u64 {
        if self.stream.is_some() { STATE_BYTES } else { 0 }
    }
}

fn damaged(what: &str) -> UnpackError {
    UnpackError::damaged(Compression::Bzip2, what)
}
