//! Runs the program; everything else is in the library.

use std::process::ExitCode;

mod allocator;
#[cfg(target_env = "musl")]
mod libc_memory;

/// Batches are allocated on one thread and freed on another all the time: mimalloc is made for that, musl's own
/// allocator is not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(target_env = "musl")]
    libc_memory::use_own_functions();
    allocator::stay_within_limits();
    cq_source_s3::run::main_with_args(std::env::args_os())
}
