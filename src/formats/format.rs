//! Which formats there are: those that the spec has words for.

pub use crate::config::Format;
