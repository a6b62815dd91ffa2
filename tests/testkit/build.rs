//! There is nothing to do: Cargo heeds build-dependencies, whose features this package is to ask for, only of a package with
//! a build script.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
