//! The one setting of the allocator that cannot be made without its C interface.

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay` of mimalloc's `mi_option_t`.
const PURGE_DELAY: c_int = 15;

// Provided by mimalloc, which is linked as the global allocator.
#[expect(unsafe_code, reason = "mimalloc has no other interface for its options")]
unsafe extern "C" {
    /// Sets an option unless the environment (`MIMALLOC_…`) did. Two integers in, nothing out: no call of it can break
    /// memory safety. Before other threads run there is nothing to race with either.
    safe fn mi_option_set_default(option: c_int, value: c_long);
}

/// Has freed memory go back to the system at once. By default mimalloc keeps it for a second, which at hundreds of
/// megabytes a second of fetched and decoded bytes is several times the memory that is really in use: `memory_limit`
/// would bound nothing that the kernel sees. Call it first in `main`.
pub fn give_back_at_once() {
    mi_option_set_default(PURGE_DELAY, 0);
}
