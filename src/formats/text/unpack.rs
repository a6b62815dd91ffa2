//! Bytes of an object ▶ unpacked bytes.
//!
//! An [`Unpacker`] takes the bytes of an object as they come, in any cuts, and gives what they unpack to in pieces. It knows
//! nothing of the object's name: which compression it has is what its first bytes say ([`Compression::of_bytes`]), or the
//! spec. All members count, one behind another, with zeros as padding; anything else behind the last one is an error. An
//! unpacker is one layer: what is compressed twice, as `.gz` files that an uploader compressed again, takes a second one.
//!
//! Errors come last: all bytes that were unpacked before were given then. Neither they nor the bytes depend on the cuts, but
//! for how much comes out of a damaged block of bzip2, whose checksum is checked behind it.
//!
//! Memory: the state of a codec ([`codec_bytes`]), a piece, and what was pushed and is not yet read. What a header claims is
//! checked against a limit before anything is allocated for it, and how much an object may grow is limited
//! ([`UnpackLimits`]).

mod bzip2;
mod codec;
mod error;
mod gzip;
mod input;
mod layer;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;
mod xz;
mod zstd;

pub(crate) use crate::config::Compression;
pub use error::UnpackError;

use bytes::Bytes;
use codec::Begins;
use layer::Layer;
use std::collections::VecDeque;

/// Unpacked bytes of a piece at most: large enough that the cost of a piece doesn't count.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// From here on the growth is limited: small objects may be as dense as they like, they can't hurt.
const EXPANSION_FROM_BYTES: u64 = 64 << 20;

/// How much may come out of an object.
#[derive(Debug, Clone, Copy)]
pub struct UnpackLimits {
    /// How many times as many bytes as went in, once 64 MiB came out: `limits.max_expansion`.
    pub max_expansion: u64,
    /// How many bytes: `limits.max_decompressed`.
    pub max_decompressed_bytes: Option<u64>,
}

impl Compression {
    /// What bytes are that begin with `first`. Eight bytes are enough, and four of a whole magic are needed; gzip has but two.
    pub(crate) fn of_bytes(first: &[u8]) -> Self {
        let begins = |magic: &[u8]| first.len() >= 4 && Begins::with(first, magic) != Begins::No;
        if first.len() >= 2 && Begins::with(first, gzip::MAGIC) != Begins::No {
            Self::Gzip
        } else if zstd::begins(first) == Begins::Yes {
            Self::Zstd
        } else if is_bzip2(first) {
            Self::Bzip2
        } else if begins(lz4::MAGIC) || begins(lz4::LEGACY_MAGIC) {
            Self::Lz4
        } else if begins(snappy::MAGIC) {
            Self::Snappy
        } else if begins(xz::MAGIC) {
            Self::Xz
        } else {
            Self::None
        }
    }
}

/// bzip2's magic is letters: behind it and the digit, numbers of a block or of the end tell it from text.
fn is_bzip2(first: &[u8]) -> bool {
    const BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: &[u8] = &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    let behind = first.get(bzip2::MAGIC.len() + 1..).unwrap_or_default();
    bzip2::begins(first) == Begins::Yes
        && !behind.is_empty()
        && Begins::with(behind, BLOCK).or(Begins::with(behind, END)) != Begins::No
}

/// Memory that a codec takes besides input and a piece, for an object that begins with `first`: the most that is allowed if
/// these bytes are too few to say it.
pub(crate) fn codec_bytes(compression: Compression, first: &[u8]) -> u64 {
    match compression {
        Compression::None => 0,
        Compression::Gzip => gzip::STATE_BYTES,
        Compression::Zstd => zstd::codec_bytes(first),
        Compression::Bzip2 => bzip2::STATE_BYTES,
        Compression::Lz4 => lz4::STATE_BYTES,
        Compression::Snappy => snappy::STATE_BYTES,
        Compression::Xz => xz::codec_bytes(first),
    }
}

/// Unpacks one layer of compression.
#[derive(Debug)]
pub(crate) struct Unpacker {
    layer: Layered,
    limits: UnpackLimits,
    /// What was read of the object for what was pushed, if that came out of another layer.
    object_bytes: Option<u64>,
    given_bytes: u64,
    /// There is more than `max_decompressed_bytes`.
    too_much: bool,
}

#[derive(Debug)]
enum Layered {
    /// Not compressed: what was pushed and not yet given; whether that is all.
    Plain(VecDeque<Bytes>, bool),
    Packed(Box<Layer>),
}

impl Unpacker {
    /// For bytes of this compression.
    pub(crate) fn new(compression: Compression, limits: UnpackLimits) -> Self {
        let layer = match Layer::new(compression) {
            Some(layer) => Layered::Packed(Box::new(layer)),
            None => Layered::Plain(VecDeque::new(), false),
        };
        Self { layer, limits, object_bytes: None, given_bytes: 0, too_much: false }
    }

    /// The compression.
    pub(crate) fn compression(&self) -> Compression {
        match &self.layer {
            Layered::Plain(..) => Compression::None,
            Layered::Packed(layer) => layer.compression(),
        }
    }

    /// The next bytes of the object.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        match &mut self.layer {
            Layered::Plain(waiting, _) if !bytes.is_empty() => waiting.push_back(bytes),
            Layered::Plain(..) => {}
            Layered::Packed(layer) => layer.input.push(bytes),
        }
    }

    /// The next bytes that came out of another layer, for which `object_bytes` of the object were read
    /// ([`Unpacker::read_bytes`]): the growth counts from these, so that two layers together do not grow more than one.
    pub(crate) fn push_inner(&mut self, bytes: Bytes, object_bytes: u64) {
        self.object_bytes = Some(object_bytes);
        self.push(bytes);
    }

    /// There are no more bytes than those that were pushed.
    pub(crate) fn finish(&mut self) {
        match &mut self.layer {
            Layered::Plain(_, ended) => *ended = true,
            Layered::Packed(layer) => layer.input.finish(),
        }
    }

    /// Whether [`Unpacker::finish`] was called.
    pub(crate) fn is_finished(&self) -> bool {
        match &self.layer {
            Layered::Plain(_, ended) => *ended,
            Layered::Packed(layer) => layer.input.ended(),
        }
    }

    /// The next unpacked bytes, up to [`PIECE_BYTES`]; of an object that is not compressed, what was pushed. None: more is to
    /// be pushed, or, after [`Unpacker::finish`], this was all.
    ///
    /// # Errors
    /// Why nothing follows; again with each call.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, UnpackError> {
        let max_bytes = self.limits.max_decompressed_bytes;
        if let Some(max_bytes) = max_bytes.filter(|_| self.too_much) {
            return Err(UnpackError::Decompressed { max_bytes });
        }
        self.check_growth()?;
        let piece = match &mut self.layer {
            Layered::Plain(waiting, _) => return Ok(waiting.pop_front()),
            Layered::Packed(layer) => layer.next()?,
        };
        let Some(mut piece) = piece else { return Ok(None) };
        if let Some(max_bytes) = max_bytes {
            let left = usize::try_from(max_bytes - self.given_bytes).unwrap_or(usize::MAX);
            self.too_much = piece.len() > left;
            piece.truncate(left);
            if piece.is_empty() {
                return Err(UnpackError::Decompressed { max_bytes });
            }
        }
        self.given_bytes += piece.len() as u64;
        Ok(Some(piece))
    }

    /// How many bytes were read of those that were pushed; of what is not compressed none are counted.
    pub(crate) fn read_bytes(&self) -> u64 {
        match &self.layer {
            Layered::Plain(..) => 0,
            Layered::Packed(layer) => layer.input.taken_bytes(),
        }
    }

    /// Memory of the codec, of what was pushed and is not yet read, and of what was unpacked and is not yet given.
    pub(crate) fn held_bytes(&self) -> u64 {
        match &self.layer {
            Layered::Plain(waiting, _) => waiting.iter().map(|piece| piece.len() as u64).sum(),
            Layered::Packed(layer) => layer.held_bytes(),
        }
    }

    /// Whether so much may have come out of what was read.
    fn check_growth(&self) -> Result<(), UnpackError> {
        let packed_bytes = self.object_bytes.unwrap_or_else(|| self.read_bytes());
        let (unpacked_bytes, max_expansion) = (self.given_bytes, self.limits.max_expansion);
        if unpacked_bytes > EXPANSION_FROM_BYTES && unpacked_bytes > packed_bytes.saturating_mul(max_expansion) {
            return Err(UnpackError::Expansion { unpacked_bytes, packed_bytes, max_expansion });
        }
        Ok(())
    }
}
