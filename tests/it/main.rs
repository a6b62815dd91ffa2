//! Integration tests, in one binary: linking Arrow and the AWS SDK is slow, so it is done once.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod parquet_files;
mod s3_server;
