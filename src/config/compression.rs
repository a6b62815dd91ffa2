//! The compressions that objects of text may have.

use std::fmt;

/// A compression of whole objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Bytes as they are.
    None,
    /// gzip: one member or several.
    Gzip,
    /// Zstandard: one frame or several.
    Zstd,
    /// bzip2: one stream or several.
    Bzip2,
    /// The frame format of LZ4: one frame or several.
    Lz4,
    /// The framing format of Snappy, which tools write as `.sz`.
    Snappy,
    /// xz: one stream or several.
    Xz,
}

impl Compression {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::None, Self::Gzip, Self::Zstd, Self::Bzip2, Self::Lz4, Self::Snappy, Self::Xz];

    /// The word for it in a spec.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Xz => "xz",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
