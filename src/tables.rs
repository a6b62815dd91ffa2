//! From keys to tables: which object belongs to which table, what the table is called, and which objects a shard sends.
//! Everything in here is pure: values in, values out.

pub mod check;
pub mod classify;
pub mod group;
pub mod lakes;
pub mod name;
pub mod objects;
pub mod passed_over;
pub mod select;
pub mod shard;
