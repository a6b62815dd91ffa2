//! What the command `plan` does: it shows what a sync would do, without reading data.
//!
//! [`run`] reads the config, asks the phases of [`crate::sync`] that have no effect (the listing, the state, a sample of heads)
//! and prints what they say. [`gather`] is the part that asks; [`config_file`] and [`variables`] read the config; all the rest
//! turns data into text and does no I/O.

mod bar;
mod config_file;
mod cost;
mod explain;
mod explain_output;
mod gather;
mod json;
mod render;
mod report;
mod terminal;
mod variables;
mod words;
mod yaml;

use crate::cli;
use crate::cloudquery::source::Backend;
use crate::config::Spec;
use crate::tables::mapping::Mappings;
use crate::telemetry;
use bar::{Screen, Watch, drawn};
use config_file::{BackendConfig, SourceConfig};
use gather::Question;
use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use terminal::Layout;

/// The exit status of a plan without errors.
const STATUS_GOOD: u8 = 0;
/// The exit status of a plan that shows what a sync would report as an error. 1 is: there is no plan; 2: wrong flags.
const STATUS_WITH_ERRORS: u8 = 3;
/// The exit status of a plan without a table: a sync would send nothing.
const STATUS_WITHOUT_TABLES: u8 = 4;
/// The longest config, in bytes: what a person writes has thousands.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Prints what the flags ask for. Gives the exit status.
///
/// # Errors
/// When there is no plan: one clear text, without secrets.
pub(crate) async fn run(flags: &cli::Plan) -> Result<u8, Box<dyn std::error::Error>> {
    let warnings = telemetry::collected::collect();
    let result = shown(flags, &warnings).await;
    result.map_err(|error| {
        let mut text = error.to_string();
        for warning in warnings.take() {
            text.push_str(&format!("\n{warning}"));
        }
        telemetry::blank_secrets(&mut text);
        text.into()
    })
}

async fn shown(
    flags: &cli::Plan,
    warnings: &telemetry::collected::Collected,
) -> Result<u8, Box<dyn std::error::Error>> {
    let text = config_text(&flags.spec)?;
    let mut config = config_file::source(&text, flags.source.as_deref(), &mut variables::lookup)?;
    if let Some(backend) = told_backend(flags, &config.backend)? {
        config.backend = backend;
    }
    let SourceConfig { name, selection, backend, spec } = config;
    let (spec, mappings) = Mappings::read_spec(&spec)?;
    let question =
        Question { spec: &spec, mappings: &mappings, selection: &selection, with_columns: !flags.no_columns };
    let watch = Watch { place: place(&spec), ..Watch::default() };
    let columns = terminal::redrawable_columns();
    let interval = if columns.is_some() { bar::INTERVAL } else { bar::LINE_INTERVAL };
    let screen = Screen { columns, interval, output: io::stderr() };
    if let Some(key) = &flags.explain {
        let explaining = gather::explanation(&question, backend, key, flags.size);
        let explanation = drawn(&watch, screen, explaining).await?;
        print(flags, || explain_output::value(&explanation), |layout| explain_output::text(&explanation, layout))?;
        return Ok(STATUS_GOOD);
    }
    let gathered = async {
        let store = crate::plugin::connect(&spec).await?;
        let state = gather::state(backend, &spec).await?;
        gather::plan(&question, &store, state, &watch).await
    };
    let mut plan = drawn(&watch, screen, gathered).await?;
    plan.source = name;
    plan.warnings = warnings.take();
    print(flags, || json::value(&plan), |layout| render::text(&plan, layout))?;
    Ok(match () {
        () if plan.has_errors() => STATUS_WITH_ERRORS,
        () if plan.tables.is_empty() => STATUS_WITHOUT_TABLES,
        () => STATUS_GOOD,
    })
}

/// The server that is asked, in words.
fn place(spec: &Spec) -> String {
    match &spec.endpoint {
        Some(endpoint) => endpoint.as_str().to_owned(),
        None => "S3, and whatever gives credentials".to_owned(),
    }
}

fn config_text(path: &Path) -> Result<String, String> {
    let cannot = |what: String| format!("cannot read --spec {}: {what}", path.display());
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text))
    };
    let bytes = read.map_err(|error| cannot(error.to_string()))?;
    if bytes as u64 > MAX_CONFIG_BYTES {
        return Err(cannot(format!("it has more than {MAX_CONFIG_BYTES} bytes, which no config has")));
    }
    Ok(text)
}

/// The backend that the flags name.
fn told_backend(flags: &cli::Plan, config: &BackendConfig) -> Result<Option<BackendConfig>, String> {
    if flags.backend.is_none() && flags.backend_table.is_none() {
        return Ok(None);
    }
    let (table_name, connection) = match config {
        BackendConfig::None => (None, None),
        BackendConfig::Known(backend) => (Some(backend.table_name.clone()), Some(backend.connection.clone())),
        BackendConfig::OfTheCli { table_name, .. } => (Some(table_name.clone()), None),
    };
    let missing = |flag: &str| format!("{flag} is needed, too: the config has no such backend_options");
    let connection = flags.backend.clone().or(connection).ok_or_else(|| missing("--backend"))?;
    let table_name = flags.backend_table.clone().or(table_name).ok_or_else(|| missing("--backend-table"))?;
    Ok(Some(BackendConfig::Known(Backend { table_name, connection })))
}

/// Writes to stdout what the flags ask for. That nobody reads on (`| head`) is no error.
fn print(flags: &cli::Plan, json: impl FnOnce() -> Value, text: impl FnOnce(&Layout) -> String) -> io::Result<()> {
    let mut text = if flags.json { format!("{:#}\n", json()) } else { text(&terminal::layout(flags.color)) };
    telemetry::blank_secrets(&mut text);
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
