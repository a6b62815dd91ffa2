//! Copying memory in static binaries: `libc_memory/functions.c`, which `build.rs` compiles, in front of musl's own functions.
//! Nothing calls it by name. The linker takes `memcpy` and its like from the first library that has them, and
//! [`use_own_functions`] makes that this one: were musl's taken as well, they would be defined twice and nothing would link.

#[expect(unsafe_code, reason = "a C function without arguments, which does nothing")]
unsafe extern "C" {
    safe fn cq_source_s3_memory_functions();
}

/// Has the linker take the functions, all of which are in one object file. Does nothing at run time.
pub fn use_own_functions() {
    cq_source_s3_memory_functions();
}
