//! cq-source-s3: a CloudQuery source plugin that lists an S3 bucket, derives tables from key prefixes, reads the
//! Parquet objects and streams Arrow record batches over gRPC.
//!
//! ```text
//!  run ── cli                        what the process is told                 telemetry, shutdown: for everybody
//!   │
//! plugin ─▶ sync ────────────────▶ cloudquery ─▶ the CLI, a state backend     the protocol: knows nothing of S3
//!   │        ├─▶ s3 ─▶ the bucket                                             ranges and pages: knows nothing of gRPC
//!   │        ├─▶ tables                                                       keys ─▶ tables
//!   │        ├─▶ formats ─▶ cast ─▶ schema                                    bytes ─▶ record batches
//!   │        └─▶ plan ─────────────▶ schema                                   what earlier syncs did
//!   └─▶ config                                                                what the user wants
//! ```
//!
//! The data path of a sync: list the keys, make tables of them, read what the files say of themselves until their columns
//! agree, announce the tables, then fetch, decode, cast and send object by object.

#![forbid(unsafe_code)]

// The process: from arguments to exit status; signals; what it is called.
pub(crate) mod about;
pub(crate) mod cli;
pub mod run;
pub(crate) mod shutdown;

// What the user wants: the spec, validated.
pub mod config;

// The plugin: the spec's connection, then one sync at a time.
pub mod plugin;
// One sync: list, survey, announce, send, conclude; the only room that knows both wings below.
pub mod sync;

// The protocol's wing: gRPC with the CLI, the state backend and its table of commits.
pub mod cloudquery;

// The data's wing. The bucket: listing, reading, retrying, pacing.
pub(crate) mod s3;
// From keys to tables.
pub(crate) mod tables;
// From the bytes of an object to record batches.
pub mod formats;
// From file arrays to outgoing arrays, and the columns that no file has.
pub mod cast;
// What earlier syncs did, as text in the state backend.
pub(crate) mod plan;
// What columns are: the ground floor.
pub mod schema;

// For everybody.
pub(crate) mod error_chain;
pub(crate) mod hash;
pub(crate) mod telemetry;
