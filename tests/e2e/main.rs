//! The built plugin with real parts: S3 in a container, the CloudQuery CLI, destinations that run as processes of their
//! own. `just test-e2e` runs [`localstack`], [`sync`] and [`incremental`], `just test-cli` runs [`cli`], `just test-image`
//! runs [`image`], `just test-docs` runs [`readme`].
//!
//! A part that is missing (no Docker, no CLI) fails the test and says what to install: a test that skips itself would
//! one day test nothing. CloudQuery's own PostgreSQL destination is in no package registry: its test is selected where a
//! variable gives its path.

#![expect(clippy::expect_used, reason = "what fails here fails the test, helpers included")]

#[path = "../support/backend.rs"]
mod backend;
mod cli;
#[path = "../support/client.rs"]
mod client;
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

/// The plugin that was built with these tests.
const PLUGIN: &str = env!("CARGO_BIN_EXE_cq-source-s3");
