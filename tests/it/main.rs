//! Integration tests: the real binary, driven as the CloudQuery CLI drives it. The numbers in the tests' names are those
//! of docs/conformance.md. One binary: linking Arrow and the AWS SDK is slow, so it is done once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by a panic; helpers are part of tests")]

#[cfg(unix)]
mod raw_http2;

mod client;
mod cloudquery_files;
mod columns;
mod command_line;
mod data;
mod discovery;
mod docs;
mod init_tables;
mod layers;
#[cfg(unix)]
mod lifecycle;
mod logs;
mod otel;
mod parquet_files;
mod real_files;
mod release;
mod s3_server;
mod state_backend;
mod sync_shape;
mod transport;

// From tables to messages: what is read, at what cost, and what happens when it goes wrong.
mod admission;
mod checkpoints;
mod cost;
mod faults;
mod formats;
mod histories;
#[cfg(target_os = "linux")]
mod hostile;
mod incremental;
mod lakes;
mod lineage;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(unix)]
mod memory_functions;
mod merge;
mod other_servers;
mod plan;
mod policies;
mod rig;
mod tables;
mod texts;
mod throttling;
