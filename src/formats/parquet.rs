//! Parquet: from the bytes of an object to record batches in the table's outgoing types.
//!
//! ```text
//! last bytes ──footer──▶ ParquetMetaData ─columns─▶ FileSchema ──▶ schema::merge (of all files) ───▶ TableSchema
//!                              │                                                                           │
//! fetched ranges ──chunks──▶ FetchedRanges ──plan, row_groups──▶ cast ──▶ RecordBatch
//! ```
//!
//! What decoding takes is estimated by [`memory`] from the footer and from the headers of the [`pages`]; how many rows a batch
//! has says `batch_size`; where a row group is damaged, `damage`; which columns are read at all, `projection`.
//!
//! Nothing of a file's own metadata (key/value pairs, embedded Arrow schema, field ids) reaches a batch: the outgoing schema is
//! made from scratch. Damaged files give a [`ReadError`](super::error::ReadError). The `parquet` crate may panic on some kinds
//! of damage; the caller runs these functions under `catch_unwind`, so that a panic stays in its object.

mod batch_size;
pub(crate) mod chunks;
pub mod columns;
mod damage;
mod errors;
pub(crate) mod file;
pub mod footer;
pub(crate) mod memory;
mod pages;
pub mod plan;
mod projection;
pub(crate) mod reader;
pub mod row_groups;

#[cfg(test)]
pub(crate) mod tests;
