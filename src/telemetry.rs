//! The log: one line an event on stdout, as JSON for the CloudQuery CLI or as text for people.
//!
//! The CLI reads stdout line by line. It drops lines that do not fit 4,096 bytes with their newline, counts lines of
//! level `warn` and `error` for the user, and adds its own `time`. So a line is a JSON object of at most
//! [`MAX_LINE_BYTES`] with `level`, `message`, `module` (always `s3-source`), `invocation_id` (once Init named it) and
//! the event's fields, without `time`, without ANSI escapes.
//!
//! Events come through `tracing`. Those of this crate are shown from the chosen level on. Those of other crates are shown
//! when the level is `trace` only, since a frame or a connection of theirs is a line, and as `debug` at most, because a
//! request that is retried is not an error. Their `trace` events are never shown: they print whole requests. Spans are not
//! printed.
//!
//! A line is built first and written in one call under the lock of `Stdout`, which nothing else here takes. When nothing
//! reads stdout any more, the shutdown token fires: an orphan must not live on.
//!
//! With a collector ([`otlp`]) the lines of this crate's events go there, too; others do not, since sending them makes
//! more of them.

pub mod collected;
pub mod otlp;

use crate::about::MODULE;
use serde_json::Value;
use std::{
    cell::Cell,
    fmt,
    io::{self, Write as _},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};
use tokio_util::sync::CancellationToken;
use tracing::{Event, Level, Metadata, Subscriber, field::Field, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt as _},
    registry,
};

/// Longest line, newline included: the CLI reads into a buffer of 4,096 bytes and needs one byte beyond the line.
pub const MAX_LINE_BYTES: usize = 4_095;
/// Events of this crate have targets that begin so.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");
/// What a value that was cut ends in.
const CUT: &str = "…(cut)";
/// Values are not cut below this; fields are left out instead.
const MIN_VALUE_BYTES: usize = 64;
/// Keys with a meaning of their own: a field of that name gets [`RENAMED`] in front. `time` is the CLI's.
const RESERVED: [&str; 5] = ["level", "message", "module", "invocation_id", "time"];
const RENAMED: &str = "field_";
/// Replaces a secret in a line.
const REDACTED: &str = "[redacted]";
/// Shorter secrets are not searched for in lines: they would hit ordinary words.
const MIN_SECRET_BYTES: usize = 6;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For the CLI.
    Json,
}

/// Where lines go, set up once by [`init`].
struct Log {
    format: Format,
    level: LevelFilter,
    /// Fires when stdout has no reader any more.
    closed: CancellationToken,
}

static LOG: OnceLock<Log> = OnceLock::new();
/// The CLI run that the process works for: that of the last Init. Locked for a copy or a store only.
static INVOCATION_ID: RwLock<Option<Arc<str>>> = RwLock::new(None);
/// Texts that must not appear in a line. Locked for a copy or a store only.
static SECRETS: RwLock<Option<Arc<[String]>>> = RwLock::new(None);

/// Sets up the log and the panic hook. Later calls change nothing. `closed` fires when stdout has no reader any more.
pub fn init(format: Format, level: LevelFilter, closed: CancellationToken) {
    if LOG.set(Log { format, level, closed }).is_ok() {
        // Fails only when the process has a subscriber already, which then gets the events.
        let _ = tracing::subscriber::set_global_default(registry().with(LineLayer { level }));
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Names the CLI run in every line from now on; an empty text removes the name.
pub fn set_invocation_id(id: &str) {
    let id = (!id.is_empty()).then(|| Arc::from(id));
    *INVOCATION_ID.write().unwrap_or_else(PoisonError::into_inner) = id;
}

/// The CLI run that Init named.
fn invocation_id() -> Option<Arc<str>> {
    INVOCATION_ID.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Replaces the set of texts that are blanked in every line, whatever logs them. A second net: nothing should log them
/// in the first place. Texts under 6 bytes are ignored.
pub fn set_secrets(secrets: impl IntoIterator<Item = String>) {
    let secrets: Vec<_> = secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES).collect();
    let secrets = (!secrets.is_empty()).then(|| Arc::from(secrets));
    *SECRETS.write().unwrap_or_else(PoisonError::into_inner) = secrets;
}

/// Blanks the texts of [`set_secrets`] in a text that leaves the process by another way than the log.
pub fn blank_secrets(text: &mut String) {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(secrets) = secrets {
        redact(text, &secrets);
    }
}

thread_local! {
    /// Whether a panic on this thread is caught and reported by its caller.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, whose panics the caller catches and reports itself: they are logged at `debug` only, so that one damaged
/// object is one error line.
pub fn with_contained_panics<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTAINED.set(self.0);
        }
    }
    let _restore = Restore(CONTAINED.replace(true));
    work()
}

/// One line at `error` about a panic: what and where, no backtrace. Does not go through `tracing`, whose code may be
/// the one that panics.
fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("a panic without text");
    let mut fields = Fields::default();
    if let Some(location) = info.location() {
        fields.put("location", location.to_string().into());
    }
    fields.put("thread", std::thread::current().name().unwrap_or("unnamed").into());
    let level = if CONTAINED.get() { Level::DEBUG } else { Level::ERROR };
    // Not for the collector: its own code may be the one that panics.
    write_line(level, format!("panic: {text}"), fields.others, false);
}

/// Prints the events that pass the filter.
struct LineLayer {
    level: LevelFilter,
}

impl LineLayer {
    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let own = is_own(metadata.target());
        metadata.is_event()
            && if own {
                *metadata.level() <= self.level
            } else {
                self.level >= LevelFilter::TRACE && *metadata.level() <= Level::DEBUG
            }
    }
}

fn is_own(target: &str) -> bool {
    target.strip_prefix(OWN_TARGET).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut level = *event.metadata().level();
        let own = is_own(event.metadata().target());
        if !own {
            level = level.max(Level::DEBUG); // more verbose levels are greater
            fields.put("target", event.metadata().target().into());
        }
        write_line(level, fields.message, fields.others, own);
    }
}

/// The fields of an event as JSON values.
#[derive(Default)]
struct Fields {
    message: String,
    /// In the event's order, every name once.
    others: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        if name == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else if RESERVED.contains(&name) {
            self.others.push((format!("{RENAMED}{name}"), value));
        } else if !self.others.iter().any(|(other, _)| other == name) {
            self.others.push((name.to_owned(), value));
        }
    }
}

impl tracing::field::Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field.name(), value.to_string().into());
    }
}

/// Builds one line and writes it, and exports it if it may; a write that fails fires the shutdown token.
fn write_line(level: Level, message: String, fields: Vec<(String, Value)>, export: bool) {
    let Some(log) = LOG.get() else { return };
    if level > log.level {
        return;
    }
    let mut line = Line { level, message, invocation_id: invocation_id(), fields };
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(secrets) = secrets {
        line.redact(&secrets);
    }
    if export {
        otlp::log(level, &line.message, line.invocation_id.as_deref(), &line.fields);
    }
    let text = match log.format {
        Format::Json => line.json(),
        Format::Text => line.text(&now()),
    };
    let mut stdout = io::stdout().lock();
    if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
        log.closed.cancel();
    }
}

/// The time, to the millisecond, in UTC.
fn now() -> String {
    use aws_smithy_types::date_time::{DateTime, Format};
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = DateTime::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(0));
    now.fmt(Format::DateTime).unwrap_or_default()
}

/// What one line says.
struct Line {
    level: Level,
    message: String,
    invocation_id: Option<Arc<str>>,
    fields: Vec<(String, Value)>,
}

impl Line {
    /// A JSON object and a newline, at most [`MAX_LINE_BYTES`]. Long values are cut, the longest first; when there are
    /// too many short ones, the last fields are left out.
    fn json(mut self) -> String {
        loop {
            let text = self.json_uncut();
            let Some(excess) = text.len().checked_sub(MAX_LINE_BYTES).filter(|&excess| excess > 0) else {
                return text;
            };
            if !self.cut_longest(excess) && self.fields.pop().is_none() {
                // Cannot happen while MIN_VALUE_BYTES is small: what is left is a few hundred bytes.
                self.invocation_id = None;
                self.message.clear();
            }
        }
    }

    fn json_uncut(&self) -> String {
        let level = match self.level {
            Level::TRACE => "trace",
            Level::DEBUG => "debug",
            Level::INFO => "info",
            Level::WARN => "warn",
            Level::ERROR => "error",
        };
        let mut text = format!(r#"{{"level":"{level}","message":{},"module":"{MODULE}""#, json_string(&self.message));
        if let Some(id) = &self.invocation_id {
            text += r#","invocation_id":"#;
            text += &json_string(id);
        }
        for (name, value) in &self.fields {
            text.push(',');
            text += &json_string(name);
            text.push(':');
            text += &value.to_string();
        }
        text += "}\n";
        text
    }

    /// Shortens the longest text by `excess` bytes of JSON, but not below [`MIN_VALUE_BYTES`]. False: nothing is long.
    fn cut_longest(&mut self, excess: usize) -> bool {
        let mut longest = &mut self.message;
        for (_, value) in &mut self.fields {
            if let Value::String(text) = value
                && json_string(text).len() > json_string(longest).len()
            {
                longest = text;
            }
        }
        let json_bytes = json_string(longest).len();
        if json_bytes <= MIN_VALUE_BYTES {
            return false;
        }
        let target = json_bytes.saturating_sub(excess + CUT.len()).max(MIN_VALUE_BYTES - CUT.len() - 2);
        let mut kept_json_bytes = 2; // the quotes
        let mut kept_bytes = 0;
        for character in longest.chars() {
            kept_json_bytes += json_string(character.encode_utf8(&mut [0; 4])).len() - 2;
            if kept_json_bytes > target {
                break;
            }
            kept_bytes += character.len_utf8();
        }
        longest.truncate(kept_bytes);
        longest.push_str(CUT);
        true
    }

    /// One line for people. Control characters, newlines among them, are escaped.
    fn text(&self, now: &str) -> String {
        let mut text = format!("{now} {:<5} {}", self.level, self.message);
        for (name, value) in &self.fields {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text += &if value.contains(' ') { format!(" {name}={value:?}") } else { format!(" {name}={value}") };
        }
        let mut line = String::with_capacity(text.len() + 1);
        for character in text.chars() {
            if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
        }
        line.push('\n');
        line
    }

    fn redact(&mut self, secrets: &[String]) {
        redact(&mut self.message, secrets);
        for (_, value) in &mut self.fields {
            if let Value::String(text) = value {
                redact(text, secrets);
            }
        }
    }
}

fn redact(text: &mut String, secrets: &[String]) {
    for secret in secrets {
        if text.contains(secret) {
            *text = text.replace(secret, REDACTED);
        }
    }
}

fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
