//! The built plugin with real parts: S3 in a container, the CloudQuery CLI, destinations that run as processes of their
//! own. `just test-e2e` runs `localstack`, `sync` and `incremental`, `just test-cli` runs `cli`, `just test-image`
//! runs `image`, `just test-docs` runs `readme`.
//!
//! A part that is missing (no Docker, no CLI) fails the test and says what to install: a test that skips itself would
//! one day test nothing. CloudQuery's own PostgreSQL destination is in no package registry: its test is selected where a
//! variable gives its path.
//!
//! A member of the workspace of its own, so that `cargo test` at the root needs no client of containers. It is all tests,
//! and the recipes build the plugin that they run.

#![cfg(test)]

mod cli;
mod cloudquery;
mod data;
mod destination;
mod image;
mod incremental;
mod localstack;
mod postgres;
mod readme;
mod server;
mod sync;

/// The path of the plugin to test, as a spec has it.
fn plugin_path() -> String {
    testkit::process::binary().to_str().expect("a path in UTF-8").to_owned()
}
