//! Generated protocol code: `discovery` v0 and v1, `plugin` v3, and the descriptor set for reflection.
//! Made by `build.rs` from the files under `proto/`.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

/// `cloudquery.discovery.v0`.
pub mod discovery_v0 {
    tonic::include_proto!("cloudquery.discovery.v0");
}

/// `cloudquery.discovery.v1`.
pub mod discovery_v1 {
    tonic::include_proto!("cloudquery.discovery.v1");
}

/// `cloudquery.plugin.v3`.
pub mod plugin_v3 {
    tonic::include_proto!("cloudquery.plugin.v3");
}

/// Encoded `FileDescriptorSet` of all services above.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
