//! cq-source-s3: a CloudQuery source plugin that lists an S3 bucket, makes tables of the keys, reads the
//! objects (Parquet, CSV, JSON, Avro, Arrow) and streams Arrow record batches over gRPC.
//!
//! ```text
//!  run ── cli                        what the process is told                 telemetry, shutdown: for everybody
//!   ├─▶ plan                                                                   what a sync would do
//! plugin ─▶ sync ────────────────▶ cloudquery ─▶ the CLI, a state backend     the protocol: knows nothing of S3
//!   │        ├─▶ memory                                                       the budget: uses no other module
//!   │        ├─▶ s3 ─▶ the bucket                                             ranges and pages: knows nothing of gRPC
//!   │        ├─▶ tables                                                       keys ─▶ tables
//!   │        ├─▶ formats ─▶ cast ─▶ schema                                    bytes ─▶ record batches
//!   │        └─▶ state ────────────▶ schema                                   what earlier syncs did
//!   └─▶ config                                                                what the user wants
//! ```
//!
//! The data path of a sync: list the keys, make tables of them, read what the files say of themselves until their columns
//! agree, announce the tables, then fetch, decode, cast and send: small objects of a table together, large ones by themselves.
//!
//! The modules in reading order; `tests/it/layers.rs` has which of them uses which:
//!
//! - [`run`] is the process: from arguments to the exit status.
//! - [`cli`] has the commands and flags of the program.
//! - [`shutdown`] turns signals into one token on which everything stops.
//! - [`about`] has the plugin's name and version.
//! - [`config`] is what the user wants: the spec, validated.
//! - [`plan`] is the command that shows what a sync would do: the same phases, without their effects.
//! - [`plugin`] is what the protocol calls: a spec and its connection, then one sync at a time.
//! - [`sync`] is one sync: list, survey, announce, send, conclude. Only here data and protocol meet.
//! - [`memory`] is the one budget that all of a sync lives on, and what the kernel counts against it.
//! - [`cloudquery`] is the protocol: gRPC with the CLI, the state backend and its table of commits.
//! - [`s3`] is the bucket: listing, reading, retrying, pacing.
//! - [`tables`] makes tables of keys.
//! - [`formats`] makes record batches of the bytes of an object.
//! - [`cast`] makes outgoing arrays of a file's arrays, and the columns that no file has.
//! - [`state`] is what earlier syncs did, as text in the state backend.
//! - [`schema`] is the ground floor: what columns are, in files and in tables.
//! - [`telemetry`] is for all of them: logs, traces, counters.
//! - [`error_chain`] writes an error with its causes.
//! - [`times`] reads days and moments that are written as text.
//! - [`hash`] has the digests that names and state are made of.
//! - [`words`] counts things in words.

#![forbid(unsafe_code)]

// The blank lines keep the reading order: rustfmt sorts lines that touch.

pub mod run;

pub(crate) mod cli;

pub(crate) mod shutdown;

pub(crate) mod about;

pub mod config;

pub(crate) mod plan;

pub mod plugin;

pub(crate) mod sync;

pub mod memory;

pub mod cloudquery;

pub(crate) mod s3;

pub(crate) mod tables;

pub mod formats;

pub mod cast;

pub(crate) mod state;

pub mod schema;

pub(crate) mod telemetry;

pub(crate) mod error_chain;

pub(crate) mod times;

pub(crate) mod hash;

pub(crate) mod words;
