//! What the compressions have in common: members, one behind another.

use super::{Compression, UnpackError, bzip2, gzip, input::Input, lz4, snappy, xz, zstd};
use std::fmt::Debug;

/// No compression's member needs more bytes to be told.
pub(super) const MAGIC_BYTES: usize = 10;

/// How far a codec came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It cannot go on without more input.
    More,
    /// It cannot go on without more room for output.
    Full,
    /// The member has ended.
    End,
}

/// Whether bytes begin a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    Yes,
    No,
    /// They are too few to say it.
    Maybe,
}

impl Begins {
    /// Whether `first` has all of `magic` in front, as far as there are bytes.
    pub(super) fn with(first: &[u8], magic: &[u8]) -> Self {
        let length = first.len().min(magic.len());
        match first[..length] == magic[..length] {
            false => Self::No,
            true if length < magic.len() => Self::Maybe,
            true => Self::Yes,
        }
    }

    /// The better of two.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Maybe, _) | (_, Self::Maybe) => Self::Maybe,
            (Self::No, Self::No) => Self::No,
        }
    }
}

/// Unpacks members: gzip's members, frames, streams. A value unpacks them all, one after another.
pub(super) trait Codec: Debug + Send {
    /// Whether `first`, up to [`MAGIC_BYTES`], begins a member.
    fn begins(&self, first: &[u8]) -> Begins;

    /// Goes on in the member, and appends to `out` within its capacity. A codec of whole blocks may put a longer `Vec` in the
    /// place of an empty one. What stands in `out` after an error was unpacked before it.
    fn step(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Result<Step, UnpackError>;

    /// Memory of its state.
    fn held_bytes(&self) -> u64;
}

/// The codec of a compression.
pub(super) fn of(compression: Compression) -> Option<Box<dyn Codec>> {
    Some(match compression {
        Compression::None => return None,
        Compression::Gzip => Box::new(gzip::Gzip::new()),
        Compression::Zstd => Box::new(zstd::Zstd::default()),
        Compression::Bzip2 => Box::new(bzip2::Bzip2::default()),
        Compression::Lz4 => Box::new(lz4::Lz4::default()),
        Compression::Snappy => Box::new(snappy::Snappy::default()),
        Compression::Xz => Box::new(xz::Xz::default()),
    })
}
