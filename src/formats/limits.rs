//! How large batches and values may be, whatever the format.

/// Rows of a batch at most: enough that the cost of a batch doesn't count.
pub const BATCH_ROWS: usize = 8_192;

/// Decoded bytes that a batch aims at: the size that messages aim at, too.
pub const BATCH_BYTES: u64 = 4 << 20;

/// A value larger than this fits into no message: SDKs drop messages above 100 MiB silently, and the CLI adds columns
/// before it passes them on. What pages say is enough to refuse it before it is unpacked.
pub const MAX_VALUE_BYTES: u64 = 100 << 20;

/// Most bytes of a fetched piece: what is longer lies in several, unless its object was fetched whole.
pub const MAX_PIECE_BYTES: u64 = 16 << 20;
