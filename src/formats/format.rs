//! Which formats there are.

use std::fmt;

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Records behind their lengths: the format that tests prove the seam with.
    #[cfg(test)]
    Records,
}

impl Format {
    /// All of them, in the order in which names are tried.
    pub(crate) const ALL: &[Self] = &[
        Self::Parquet,
        #[cfg(test)]
        Self::Records,
    ];

    /// What the name of a file of this format has at its end, or before CloudQuery's UUID. Case matters.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Parquet => ".parquet",
            #[cfg(test)]
            Self::Records => ".records",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            #[cfg(test)]
            Self::Records => "records",
        })
    }
}
