//! From keys to tables: which object belongs to which table, what the table is called, and which objects a shard sends.
//! Everything in here is pure: values in, values out.

pub mod check;
pub mod classify;
pub mod folders;
pub mod formats;
pub mod group;
pub mod lakes;
pub mod mapping;
pub mod modified;
pub mod name;
pub mod objects;
pub mod partitions;
pub mod passed_over;
pub mod prune;
pub mod select;
pub mod shard;
