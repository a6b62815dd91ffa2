//! What is asked of the allocator and has no other interface than its C one.

use std::ffi::{c_int, c_long};

/// `mi_option_purge_delay` of mimalloc's `mi_option_t`: milliseconds for which freed memory is kept, 0 for not at all.
const PURGE_DELAY: c_int = 15;
/// mimalloc's own default.
#[cfg(target_os = "linux")]
const KEEP_MS: c_long = 1_000;

// Provided by mimalloc, which is linked as the global allocator.
#[expect(unsafe_code, reason = "mimalloc has no other safe interface for these")]
unsafe extern "C" {
    /// Sets an option unless the environment (`MIMALLOC_…`) did. Two integers in, nothing out. mimalloc lets options be set
    /// while the program runs and reads them again each time, as a plain word: a thread that frees memory meanwhile goes by
    /// the old value or by the new one.
    safe fn mi_option_set_default(option: c_int, value: c_long);

    /// Gives back to the system what was freed, except for what this thread freed of another one's and that one has not
    /// looked at since; does nothing while another thread is at it. For any thread at any time: the allocator guards its
    /// state itself, and nothing that is in use is touched.
    #[cfg(target_os = "linux")]
    safe fn mi_collect(force: bool);
}

/// Has freed memory go back to the system in time for `memory_limit` to bound what the system counts: at once, until the
/// library knows a limit that is large enough to keep some. By itself mimalloc keeps it for a second, which at hundreds of
/// megabytes a second is several times the memory that is in use. Call it first in `main`.
pub fn stay_within_limits() {
    mi_option_set_default(PURGE_DELAY, 0);
    // The library can't see elsewhere what the process uses.
    #[cfg(target_os = "linux")]
    cq_source_s3::memory::resident::set_allocator_hooks(cq_source_s3::memory::resident::AllocatorHooks {
        keep: |keep| {
            // What is kept now goes back first: with a delay of 0 it is not looked for again before it is reused.
            mi_collect(true);
            mi_option_set_default(PURGE_DELAY, if keep { KEEP_MS } else { 0 });
        },
        give_back: || mi_collect(true),
    });
}
