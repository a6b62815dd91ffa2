//! Text formats: which objects are read as what, what their records become, and what becomes of records that are none.

mod bad_rows;
mod columnar;
mod compression;
mod csv;
mod evolution;
mod json;
mod names;
mod recipes;
mod samples;
mod small_objects;
mod windows;

use crate::rig::{Log, Rig};
use serde_json::Value;
use testkit::client::{Collected, assert_protocol};

pub use crate::lakes::{columns, rows};

/// A sync of these objects, which keeps to the protocol, and what was logged.
async fn synced(objects: &[(&str, &[u8])], spec: Value) -> (Collected, Log) {
    let mut rig = Rig::start().await;
    for (key, bytes) in objects {
        rig.s3.put(key, bytes.to_vec());
    }
    let sync = rig.sync(spec).await;
    if sync.status.is_none() {
        assert_protocol(&sync);
    }
    (sync, rig.stop())
}

/// The columns and rows of the table `t` of one object.
async fn table_of(key: &str, bytes: &[u8], spec: Value) -> (Vec<String>, Vec<String>) {
    let (sync, _) = synced(&[(key, bytes)], spec).await;
    assert!(sync.status.is_none(), "{:?}", sync.status);
    (columns(&sync, "t"), rows(&sync, "t"))
}
