//! What copies memory in static binaries, `src/libc_memory/functions.c`, against loops over bytes. Most tests run with the C library
//! of the machine, so this one compiles it for itself.

use std::path::Path;
use std::process::Command;

#[test]
fn memory_functions_of_static_binaries_do_what_loops_over_bytes_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("memory_functions");
    // The compiler that also links Rust programs, with the options of build.rs.
    let compiled = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-std=gnu11", "-O3", "-fno-builtin", "-Wall", "-Wextra", "-o"])
        .arg(&program)
        .arg(root.join("tests/it/memory_functions.c"))
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let run = Command::new(&program).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    assert_eq!(String::from_utf8_lossy(&run.stdout), "as byte by byte\n", "it ran to its end");
}
