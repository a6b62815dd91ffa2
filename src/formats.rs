//! The formats of files: from the bytes of an object to record batches in the table's outgoing types.
//!
//! Everything here is CPU work on bytes in memory: no network, no clock, no async. Arrays of files become outgoing arrays in
//! [`crate::cast`].

pub mod error;
pub(crate) mod limits;
pub mod parquet;
