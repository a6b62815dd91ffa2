//! gzip: members of Deflate.

use super::codec::{Begins, Codec, Step};
use super::input::Input;
use super::{Compression, UnpackError};
use flate2::{Decompress, DecompressError, FlushDecompress, Status};

/// What a member begins with: the magic, and Deflate as its method.
pub(super) const MAGIC: &[u8] = &[0x1f, 0x8b, 8];

/// The base-2 logarithm of Deflate's window.
const WINDOW_BITS: u8 = 15;

/// The window of 32 KiB, tables and a buffer of the decoder.
pub(super) const STATE_BYTES: u64 = 64 << 10;

/// Unpacks members.
#[derive(Debug)]
pub(super) struct Gzip {
    /// It checks headers, checksums and lengths, too.
    inflate: Decompress,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new_gzip(WINDOW_BITS) }
    }
}

impl Codec for Gzip {
    fn begins(&self, first: &[u8]) -> Begins {
        Begins::with(first, MAGIC)
    }

    fn step(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step, UnpackError> {
        loop {
            if out.len() == out.capacity() {
                return Ok(Step::Full);
            }
            let (taken_before, length_before) = (self.inflate.total_in(), out.len());
            let result = self.inflate.decompress_vec(input.first(), out, FlushDecompress::None);
            let taken = usize::try_from(self.inflate.total_in() - taken_before).unwrap_or(usize::MAX);
            input.advance(taken);
            match result {
                Ok(Status::StreamEnd) => {
                    self.inflate.reset(true);
                    return Ok(Step::End);
                }
                Ok(_) if taken > 0 || out.len() > length_before => {}
                Ok(_) if input.is_empty() => return Ok(Step::More),
                Ok(_) => return Err(damaged("it can't be continued")),
                Err(error) => return Err(damaged(reason(&error))),
            }
        }
    }

    fn held_bytes(&self) -> u64 {
        STATE_BYTES
    }
}

/// The decoder's words for what is wrong with data depend on how it was called, those for checks do not.
fn reason(error: &DecompressError) -> &'static str {
    match error.message() {
        Some("incorrect data check") => "its checksum is wrong",
        Some("incorrect length check") => "its length is wrong",
        _ => "invalid data",
    }
}

fn damaged(what: &str) -> UnpackError {
    UnpackError::damaged(Compression::Gzip, what)
}
