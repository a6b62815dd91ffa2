//! The CloudQuery plugin protocol, version 3: everything the CLI and the destinations rely on, and nothing of S3.
//!
//! [`source`] says what a source plugin has to provide; [`service`] turns it into the gRPC service and [`server`]
//! serves that over TCP or a unix socket (where [`unix_authority`] repairs what the CLI's dialer sends). [`schema`] and
//! [`ipc`] make the Arrow bytes that travel in it. [`state_client`] is the client of a state backend, [`commits`] the
//! table that says which rows a destination has. [`proto`] is generated.

pub(crate) mod commits;
pub(crate) mod ipc;
pub(crate) mod network;
pub mod proto;
pub(crate) mod schema;
pub mod server;
pub(crate) mod service;
pub mod source;
pub mod state_client;
pub(crate) mod status;
pub(crate) mod unix_authority;
