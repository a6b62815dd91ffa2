//! The command line: `serve` with every flag that the CloudQuery CLI may pass, and a few commands for people.
//!
//! The CLI passes flags without asking whether the plugin knows them, and a plugin that refuses one does not start. So
//! all flags of an SDK plugin are accepted, also those that mean nothing here (`--no-sentry`, `--license`).

use crate::cloudquery::network::Network;
use crate::telemetry::Format;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use tracing::level_filters::LevelFilter;

/// Name and version in the form of SDK plugins: `cq-source-s3 version v1.2.3 (commit)`.
const VERSION: &str = concat!("version ", env!("CQ_SOURCE_S3_VERSION"), " (", env!("CQ_SOURCE_S3_COMMIT"), ")");

/// CloudQuery source plugin that streams the objects of an S3 bucket to any destination.
#[derive(Debug, Parser)]
#[command(name = "cq-source-s3", version = VERSION, arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the plugin over gRPC, as the CloudQuery CLI starts it.
    Serve(Serve),
    /// Show what a sync would do, without reading data.
    Plan(Plan),
    /// Print the JSON Schema of the plugin's `spec`.
    SpecSchema,
    /// Print the plugin's name and version.
    Info,
}

/// The flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen: `host:port`, or a path with `--network unix`.
    #[arg(long, default_value = "localhost:7777", value_name = "ADDRESS")]
    pub address: String,
    /// Kind of the address.
    #[arg(long, value_enum, default_value_t = Network::Tcp)]
    pub network: Network,
    /// Lowest level that is logged.
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// `json` for the CloudQuery CLI, `text` for people.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Host and port of an OTLP/HTTP collector for metrics, traces and logs.
    #[arg(long, default_value = "", value_name = "HOST:PORT")]
    pub otel_endpoint: String,
    /// Speak plain HTTP to the collector.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
          action = ArgAction::Set, value_parser = boolean, value_name = "BOOL")]
    pub otel_endpoint_insecure: bool,
    /// Accepted for the CloudQuery CLI; this plugin sends no crash reports.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false",
          action = ArgAction::Set, value_parser = boolean, value_name = "BOOL")]
    pub no_sentry: bool,
    /// Accepted for the CloudQuery CLI; this plugin needs no licence.
    #[arg(long, default_value = "", value_name = "PATH")]
    pub license: String,
}

/// The flags of `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// A CloudQuery config, or the plugin's spec alone, in YAML or JSON; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    pub spec: PathBuf,
    /// Which of the config's sources, if there are several of this plugin.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Address of a running state backend, instead of the config's `backend_options`.
    #[arg(long, value_name = "HOST:PORT")]
    pub backend: Option<String>,
    /// The state table in the backend.
    #[arg(long, value_name = "NAME")]
    pub backend_table: Option<String>,
    /// Read no object: no columns.
    #[arg(long)]
    pub no_columns: bool,
    /// Print JSON for programs.
    #[arg(long)]
    pub json: bool,
    /// Tell of one key which table it belongs to and why, or why it is skipped.
    #[arg(long, value_name = "KEY", conflicts_with = "no_columns")]
    pub explain: Option<String>,
    /// With --explain: the object's size in bytes, so that nothing is asked of S3.
    #[arg(long, value_name = "BYTES", requires = "explain")]
    pub size: Option<u64>,
    /// When to use colours.
    #[arg(long, value_enum, default_value_t = ColorWhen::Auto, value_name = "WHEN")]
    pub color: ColorWhen,
}

/// When an output has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// Levels of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::TRACE,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

/// Forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// The spellings of a boolean that Go's flags take.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> Result<Serve, clap::Error> {
        let arguments = ["cq-source-s3", "serve"].iter().chain(arguments);
        Cli::try_parse_from(arguments).map(|cli| match cli.command {
            Command::Serve(serve) => serve,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_sdk() {
        let serve = serve(&[]).unwrap();
        assert_eq!((serve.address.as_str(), serve.network), ("localhost:7777", Network::Tcp));
        assert_eq!((serve.log_level, serve.log_format), (LogLevel::Info, LogFormat::Text));
        assert!(!serve.no_sentry && !serve.otel_endpoint_insecure);
    }

    #[test]
    fn item_14_booleans_work_bare_and_with_a_value() {
        for (argument, expected) in [("--no-sentry", true), ("--no-sentry=true", true), ("--no-sentry=0", false)] {
            assert_eq!(serve(&[argument]).unwrap().no_sentry, expected, "{argument}");
        }
        let bare = serve(&["--no-sentry", "--otel-endpoint-insecure", "--license", "/nowhere"]).unwrap();
        assert!(bare.no_sentry && bare.otel_endpoint_insecure);
        assert!(serve(&["--no-sentry=maybe"]).is_err());
        assert!(serve(&["--no-sentry", "true"]).is_err(), "a value needs the equals sign; this is a stray argument");
    }

    #[test]
    fn item_13_levels_are_the_five_of_the_protocol() {
        for level in ["trace", "debug", "info", "warn", "error"] {
            assert!(serve(&["--log-level", level]).is_ok(), "{level}");
        }
        for level in ["warning", "fatal", ""] {
            assert!(serve(&["--log-level", level]).is_err(), "{level}");
        }
    }
}
