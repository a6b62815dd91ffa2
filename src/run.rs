//! From arguments to exit status: parses the command line, listens, starts the runtime, serves.

use crate::{
    about::{PLUGIN_NAME, PLUGIN_VERSION},
    cli::{self, Cli, Command, Serve},
    cloudquery::{server, source::Source as _},
    plan,
    plugin::S3Source,
    shutdown, telemetry,
};
use clap::Parser as _;
use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};
use tokio_util::sync::CancellationToken;

/// Stack of each of the runtime's threads, in bytes. Reading a schema and writing nested values recurse once for each level
/// of nesting, in crates whose frames are not ours to bound. Virtual memory only: pages that are never touched cost
/// nothing.
const THREAD_STACK_BYTES: usize = 64 << 20;

/// Runs the program with `args`, the program's name first. `serve` ends the process itself once it was told to stop.
pub fn main_with_args(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = match Cli::parse_from(args).command {
        Command::Serve(flags) => serve(flags),
        Command::Plan(flags) => match plan(&flags) {
            Ok(status) => return status,
            Err(error) => Err(error),
        },
        Command::SpecSchema => {
            let schema = S3Source::new().spec_schema();
            writeln!(io::stdout(), "{schema}").map_err(Into::into)
        }
        Command::Info => {
            let line = format!("Package and version: source/{PLUGIN_NAME}@{PLUGIN_VERSION}");
            writeln!(io::stdout(), "{line}").map_err(Into::into)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // stderr may be closed, too; then the exit status has to do.
            let _ = writeln!(io::stderr(), "Error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Shows what a sync would do.
fn plan(flags: &cli::Plan) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(THREAD_STACK_BYTES).build()?;
    let status = runtime.block_on(plan::run(flags))?;
    // Not by dropping the runtime: that would wait for a head that is still looked at.
    runtime.shutdown_background();
    Ok(ExitCode::from(status))
}

/// Listens first, since the CLI dials at once; everything else comes after.
fn serve(flags: Serve) -> Result<(), Box<dyn std::error::Error>> {
    let listener = server::bind(flags.network, &flags.address)?;
    let token = CancellationToken::new();
    let socket_file = listener.socket_file();
    shutdown::watch(token.clone(), move || drop(socket_file))?;
    telemetry::init(flags.log_format.into(), flags.log_level.into(), token.clone());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(THREAD_STACK_BYTES).build()?;
    telemetry::otlp::init(&flags.otel_endpoint, flags.otel_endpoint_insecure, runtime.handle().clone());
    tracing::info!(
        address = listener.address(),
        plugin = format!("source/{PLUGIN_NAME}@{PLUGIN_VERSION}"),
        "Plugin server listening"
    );
    runtime.block_on(listener.serve(S3Source::new(), token))?;
    tracing::info!("Plugin server stopped");
    // Not by dropping the runtime: that would wait for decoding that is under way.
    std::process::exit(0)
}
