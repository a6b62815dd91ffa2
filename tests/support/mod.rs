//! What tests, the quickstart example and the benches share: an S3 server in memory, a server that breaks HTTP on
//! purpose, builders of Parquet files, a gRPC client that behaves like the CloudQuery CLI, a state backend, and the plugin
//! as a process.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test; clippy knows that only of tests"
)]

pub mod backend;
pub mod client;
pub mod faults;
pub mod parquet_files;
pub mod process;
pub mod proxy;
pub mod s3_server;
