//! Why an object could not be unpacked.

use super::{Compression, xz, zstd};
use std::fmt;

/// Why an object could not be unpacked. What was unpacked before is valid, as far as the format can tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// It stops in the middle.
    #[error("the {compression} stream ends too early: the object was cut off, or its upload was not complete")]
    Truncated {
        /// What it is.
        compression: Compression,
    },
    /// It contradicts itself.
    #[error("damaged {compression} stream: {what}")]
    Damaged {
        /// What it is.
        compression: Compression,
        /// What is wrong.
        what: String,
    },
    /// Something that is not of the compression follows the last member.
    #[error(
        "bytes behind the end of the {compression} stream: byte {at} begins neither a further one nor padding with zeros"
    )]
    Trailing {
        /// What is before it.
        compression: Compression,
        /// The first of these bytes, counted from 0 in what is compressed.
        at: u64,
    },
    /// It is not what the spec says.
    #[error(
        "not a {compression} stream: it begins with \"{first}\"{hint}; leave out `compression`, or set it to what the object is"
    )]
    Other {
        /// What it should be.
        compression: Compression,
        /// Its first bytes, escaped.
        first: String,
        /// What it may be instead.
        hint: &'static str,
    },
    /// A variant of the format that can't be read.
    #[error("{compression} stream that can't be read: {what}")]
    Unsupported {
        /// What it is.
        compression: Compression,
        /// What it needs, and what to do.
        what: &'static str,
    },
    /// A frame of Zstandard needs too much memory.
    #[error(
        "the zstd window is {}, more than {}: compress without `zstd --long`, or with `--long=27` at most",
        Size(*window_bytes), Size(zstd::MAX_WINDOW_BYTES)
    )]
    Window {
        /// What the header of the frame says.
        window_bytes: u64,
    },
    /// A block of xz needs too much memory.
    #[error(
        "the xz dictionary {} {}: compress with `xz -9` at most, whose dictionary is as large as that",
        Dictionary(*dictionary_bytes), Size(xz::MAX_DICTIONARY_BYTES)
    )]
    Dictionary {
        /// What the header of the block says, as far as it was read.
        dictionary_bytes: Option<u64>,
    },
    /// More came out than the limit of the growth allows.
    #[error(
        "{} came out of the first {} of the object, more than {max_expansion} times as much: \
         raise `limits.max_expansion` if that is right",
        Size(*unpacked_bytes), Size(*packed_bytes)
    )]
    Expansion {
        /// What came out.
        unpacked_bytes: u64,
        /// Of which bytes of the object.
        packed_bytes: u64,
        /// `limits.max_expansion`.
        max_expansion: u64,
    },
    /// More came out than the limit of the whole allows.
    #[error("the object unpacks to more than {}: raise `limits.max_decompressed` if that is right", Size(*max_bytes))]
    Decompressed {
        /// `limits.max_decompressed`.
        max_bytes: u64,
    },
}

impl UnpackError {
    /// Whether the object only lacks its end.
    #[cfg(test)]
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::Truncated { .. })
    }

    pub(super) fn damaged(compression: Compression, what: &str) -> Self {
        Self::Damaged { compression, what: what.to_owned() }
    }

    pub(super) fn unsupported(compression: Compression, what: &'static str) -> Self {
        Self::Unsupported { compression, what }
    }

    /// An object that does not begin as the spec says.
    pub(super) fn other(compression: Compression, first: &[u8]) -> Self {
        let hint = match compression {
            Compression::Snappy => {
                " (framed streams are read, which tools write as `.sz`; raw blocks and those of Hadoop are not)"
            }
            Compression::Lz4 => " (frames are read; raw blocks and those of Hadoop are not)",
            _ => "",
        };
        Self::Other { compression, first: first.escape_ascii().to_string(), hint }
    }
}

/// Whether the dictionary's size is known, or only that it is too much.
struct Dictionary(Option<u64>);

impl fmt::Display for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "is {}, more than", Size(bytes)),
            None => f.write_str("of a later block is more than"),
        }
    }
}

/// Bytes, in the largest unit that fits.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: &[(u64, &str)] = &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for &(unit, name) in UNITS {
            if self.0 >= unit {
                let tenths = u128::from(self.0) * 10 / u128::from(unit);
                return match tenths % 10 {
                    0 => write!(f, "{} {name}", tenths / 10),
                    digit => write!(f, "{}.{digit} {name}", tenths / 10),
                };
            }
        }
        write!(f, "{} bytes", self.0)
    }
}
