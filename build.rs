//! Compiles the `.proto` files without `protoc`, and keeps the descriptor set for gRPC reflection.
//! Stamps the version (from the release tag, else Cargo's) and the commit into the binary.
//! Compiles for static binaries what copies memory there, `src/libc_memory/functions.c`.

use prost::Message as _;
use std::{env, fs, path::PathBuf, process::Command};

const PROTOS: [&str; 3] = [
    "cloudquery/discovery/v0/discovery.proto",
    "cloudquery/discovery/v1/discovery.proto",
    "cloudquery/plugin/v3/plugin.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-env-changed=CQ_SOURCE_S3_COMMIT");
    println!("cargo:rerun-if-env-changed=CQ_SOURCE_S3_VERSION");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let set = protox::compile(PROTOS, ["proto"])?;
    fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    // `Bytes` for every bytes field: an encoded message is built once and never copied again.
    // `compile_well_known_types` is off, so google.protobuf.Timestamp comes from prost-types.
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    println!("cargo:rerun-if-changed=src/libc_memory/functions.c");
    if env::var("CARGO_CFG_TARGET_ENV")? == "musl" {
        memory_functions();
    }
    println!("cargo:rustc-env=CQ_SOURCE_S3_COMMIT={}", commit());
    println!("cargo:rustc-env=CQ_SOURCE_S3_VERSION={}", version()?);
    Ok(())
}

/// Links `src/libc_memory/functions.c` in front of the C library. Optimised whatever the profile says, and without what makes a
/// compiler see a copying loop in a function that copies and call it from itself. Without stack protectors, which some compilers
/// have on by default: musl calls `memcpy` before it has set the canary that they compare.
fn memory_functions() {
    cc::Build::new()
        .file("src/libc_memory/functions.c")
        .std("gnu11")
        .opt_level(3)
        .debug(false)
        .warnings(true)
        .extra_warnings(true)
        .flag("-fno-builtin")
        .flag_if_supported("-fno-tree-loop-distribute-patterns")
        .flag_if_supported("-fno-stack-protector")
        .compile("cq_source_s3_memory_functions");
}

/// The version with the leading `v` that CloudQuery wants. A release build gives its tag, which must be the version of
/// `Cargo.toml`: a binary that calls itself otherwise than the page it is downloaded from is never built.
fn version() -> Result<String, Box<dyn std::error::Error>> {
    let own = format!("v{}", env::var("CARGO_PKG_VERSION")?);
    match env::var("CQ_SOURCE_S3_VERSION") {
        Ok(tag) if !tag.is_empty() && tag != own => {
            Err(format!("CQ_SOURCE_S3_VERSION is {tag}, but the version in Cargo.toml makes it {own}").into())
        }
        _ => Ok(own),
    }
}

/// The commit this was built from: a variable where there is no repository (a source tarball, a container), else git.
fn commit() -> String {
    if let Ok(commit) = env::var("CQ_SOURCE_S3_COMMIT")
        && !commit.is_empty()
    {
        return commit;
    }
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    match git {
        Ok(out) if out.status.success() => String::from_utf8_lossy(&out.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
