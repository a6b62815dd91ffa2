//! Guards against objects that would take more than a sync has: `limits` in the spec.

use std::num::NonZeroUsize;

/// The guards, validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a record of a text format.
    pub max_row_bytes: u64,
    /// Most columns of a table that is merged.
    pub max_columns: MaxColumns,
    /// Most bytes that come out of each packed one.
    pub max_expansion: u64,
    /// Most bytes that an object may unpack to; `None`: as many as there are.
    pub max_decompressed_bytes: Option<u64>,
    /// Most levels of a JSON record, of which the outermost counts.
    pub max_depth: usize,
}

/// Most bytes of a record unless the spec says otherwise: larger ones are mostly a quote that never ends.
pub(crate) const DEFAULT_MAX_ROW_BYTES: u64 = 16 << 20;
/// The part of the memory limit that a record may take at most: it is there as text, as values and as a message, for several
/// objects at a time.
pub(crate) const ROW_PART_OF_MEMORY: u64 = 8;
/// Most columns of a table unless the spec says otherwise: what PostgreSQL takes.
pub(crate) const DEFAULT_MAX_COLUMNS: NonZeroUsize = NonZeroUsize::new(1_600).unwrap();
/// Most bytes that come out of a packed one unless the spec says otherwise: gzip cannot exceed 1,032.
pub(crate) const DEFAULT_MAX_EXPANSION: u64 = 1_000;
/// Most levels of a record unless the spec says otherwise: deeper ones are mostly an attack.
pub(crate) const DEFAULT_MAX_DEPTH: usize = 64;

/// Most columns of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxColumns(pub NonZeroUsize);

impl Default for MaxColumns {
    fn default() -> Self {
        Self(DEFAULT_MAX_COLUMNS)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_row_bytes: DEFAULT_MAX_ROW_BYTES,
            max_columns: MaxColumns::default(),
            max_expansion: DEFAULT_MAX_EXPANSION,
            max_decompressed_bytes: None,
            max_depth: DEFAULT_MAX_DEPTH,
        }
    }
}
