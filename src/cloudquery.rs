//! The CloudQuery plugin protocol, version 3. Nothing in this folder knows about S3.

pub mod proto;
pub mod source;
