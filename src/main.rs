//! Parses the command line, starts the runtime, runs, and picks the exit code.

fn main() {}
