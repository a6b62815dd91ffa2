//! What a sync reads, decided before anything is read. Pure.

pub mod shard;
