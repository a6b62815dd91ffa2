//! What tests, the quickstart example and the benches share: an S3 server in memory, a server that breaks HTTP on
//! purpose, builders of Parquet files, a gRPC client that behaves like the CloudQuery CLI, a state backend, and the plugin
//! as a process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here fails the test; clippy knows that only of tests"
)]

pub mod backend;
pub mod client;
pub mod faults;
pub mod parquet_files;
pub mod process;
pub mod proxy;
pub mod s3_server;

/// The root of the repository.
pub fn repository() -> &'static std::path::Path {
    let member = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().and_then(std::path::Path::parent).expect("this member lies in tests/testkit")
}

/// A listener on a free port of 127.0.0.1, and the port.
async fn listen() -> (tokio::net::TcpListener, u16) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on 127.0.0.1");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    (listener, port)
}
