//! cq-source-s3: a CloudQuery source plugin that lists an S3 bucket, derives tables from key prefixes, reads the
//! Parquet objects and streams Arrow record batches over gRPC.
//!
//! The data path, in the order of the modules:
//!
//! ```text
//! list ─ ObjectMeta* ─▶ group ─ Table* ─▶ plan (selection, schema) ─ migrates
//!                                              │ per object, at most `concurrency` at a time
//!   fetch ─ Bytes ─▶ decode ─ RecordBatch ─▶ batch ─ rows, bytes ─▶ encode ─ Message ─▶ send
//! ```
//!
//! Layers point one way: [`run`], [`cli`] → [`plugin`] → [`sync`] → [`plan`] → { [`tables`], [`formats`] } → [`s3`]. [`cloudquery`]
//! speaks the protocol and knows nothing of S3; [`s3`] knows nothing of gRPC. Everyone may use [`config`]'s types,
//! [`telemetry`] and [`shutdown`].

#![forbid(unsafe_code)]

pub mod about;
pub mod cast;
pub mod cli;
pub mod cloudquery;
pub mod config;
pub mod error_chain;
pub mod formats;
pub mod hash;
pub mod plan;
pub mod plugin;
pub mod run;
pub mod s3;
pub mod schema;
pub mod shutdown;
pub mod sync;
pub mod tables;
pub mod telemetry;
