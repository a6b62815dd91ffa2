//! How blocks are packed.

use super::damaged;
use crate::formats::error::ReadError;
use bytes::Bytes;
use liblzma::stream::Stream;
use std::io::Read;

/// The largest block, packed. Writers make blocks of kilobytes to a few MiB.
pub(super) const MAX_PACKED_BYTES: u64 = 64 << 20;
/// The largest block, unpacked.
pub(super) const MAX_UNPACKED_BYTES: u64 = 256 << 20;
/// The largest window of Zstandard, as a power of two: 128 MiB.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// What xz may take: a dictionary of 64 MiB and its tables.
const MAX_XZ_MEMORY_BYTES: u64 = (64 << 20) + (1 << 20);
/// What is taken to be a packed block's size when it is unpacked, unless it says so itself, as a multiple.
const USUAL_EXPANSION: u64 = 8;
/// Bytes of the checksum behind Snappy's data.
const CHECKSUM_BYTES: usize = 4;

/// What a block is packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
    Bzip2,
    Xz,
}

impl Codec {
    /// By its name in the header.
    pub(super) fn of_name(name: &[u8]) -> Result<Self, ReadError> {
        Ok(match name {
            b"null" => Self::Null,
            b"deflate" => Self::Deflate,
            b"snappy" => Self::Snappy,
            b"zstandard" => Self::Zstandard,
            b"bzip2" => Self::Bzip2,
            b"xz" => Self::Xz,
            other => {
                let what = format!(
                    "its blocks are packed with \"{}\", and only null, deflate, snappy, zstandard, bzip2 and xz can be read: \
                     write it with one of these",
                    other.escape_ascii()
                );
                return Err(ReadError::At { place: "read the header".to_owned(), what });
            }
        })
    }

    /// What a packed block has when it is unpacked, as it says, or else a guess. `packed` may be its beginning alone.
    pub(super) fn unpacked_guess(self, packed: &[u8], packed_bytes: u64) -> u64 {
        let said = match self {
            Self::Null => Some(packed_bytes),
            Self::Snappy => snap::raw::decompress_len(packed).ok().map(|length| length as u64),
            Self::Zstandard => zstd::zstd_safe::get_frame_content_size(packed).ok().flatten(),
            Self::Deflate | Self::Bzip2 | Self::Xz => None,
        };
        said.unwrap_or_else(|| packed_bytes.saturating_mul(USUAL_EXPANSION)).min(MAX_UNPACKED_BYTES)
    }

    /// The block unpacked, or what is wrong with it, in words.
    pub(super) fn unpack(self, packed: Bytes) -> Result<Bytes, String> {
        match self {
            Self::Null => Ok(packed),
            Self::Deflate => read(flate2::bufread::DeflateDecoder::new(&packed[..])),
            Self::Snappy => snappy(&packed),
            Self::Zstandard => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&packed[..]).map_err(|e| e.to_string())?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(|error| error.to_string())?;
                read(decoder)
            }
            Self::Bzip2 => read(bzip2::bufread::MultiBzDecoder::new(&packed[..])),
            Self::Xz => {
                let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY_BYTES, 0).map_err(|error| error.to_string())?;
                read(liblzma::bufread::XzDecoder::new_stream(&packed[..], stream))
            }
        }
    }
}

fn too_large() -> String {
    format!("it has more than {MAX_UNPACKED_BYTES} bytes when it is unpacked")
}

fn read(decoder: impl Read) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    decoder.take(MAX_UNPACKED_BYTES + 1).read_to_end(&mut unpacked).map_err(|error| error.to_string())?;
    if unpacked.len() as u64 > MAX_UNPACKED_BYTES { Err(too_large()) } else { Ok(unpacked.into()) }
}

fn snappy(packed: &[u8]) -> Result<Bytes, String> {
    let Some((data, checksum)) = packed.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err("it is too short for its checksum".to_owned());
    };
    let length = snap::raw::decompress_len(data).map_err(|error| error.to_string())?;
    if length as u64 > MAX_UNPACKED_BYTES {
        return Err(too_large());
    }
    let unpacked = snap::raw::Decoder::new().decompress_vec(data).map_err(|error| error.to_string())?;
    if crc32fast::hash(&unpacked) != u32::from_be_bytes(*checksum) {
        return Err("its checksum is wrong".to_owned());
    }
    Ok(unpacked.into())
}

/// A block's length, if it may have it.
pub(super) fn checked_length(claimed: i64) -> Result<usize, ReadError> {
    let fits = u64::try_from(claimed).ok().filter(|bytes| *bytes <= MAX_PACKED_BYTES);
    fits.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
        damaged(format!("a block claims {claimed} bytes; at most {MAX_PACKED_BYTES} are read: write smaller blocks"))
    })
}
