//! Metrics, traces and logs for an OTLP collector (`--otel-endpoint`), over HTTP with protobuf bodies.
//!
//! With `send_sync_summary: true` the CloudQuery CLI is such a collector itself, and a narrow one: it takes every point
//! of every sum for a cumulative count of the table that its attribute `sync.table.name` names, and its handler panics
//! when a point has no such attribute. So there are four counters and nothing else, each point has the attribute, and
//! the SDK's overflow point, which has not, is kept from appearing: beyond `MAX_TABLES` tables are left out.
//!
//! Everything is collected by the SDK's own threads and sent by the collector's client; nothing waits for them, but at the
//! end of a sync for a moment, because the CLI reads the counters when the stream has ended. What cannot be
//! delivered is dropped.

mod collector;

use crate::about::{MODULE, PLUGIN_NAME, PLUGIN_VERSION};
use collector::Collector;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::metrics::{Counter, MeterProvider as _};
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tracing::Level;

/// Name of the tracer, the meter and the logger, as in SDK plugins.
const SCOPE: &str = "io.cloudquery";
/// How often counters are exported; SDK plugins do the same.
const METRICS_INTERVAL: Duration = Duration::from_secs(15);
/// How long the end of a sync may wait for the last export.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Tables with counters, over the life of the process: the SDK reserves memory for this many, about 1 MB a counter.
const MAX_TABLES: usize = 20_000;

/// Set once by [`init`]; empty when there is no collector.
static EXPORT: OnceLock<Export> = OnceLock::new();

struct Export {
    tracer: SdkTracer,
    logger: SdkLogger,
    resources: Counter<u64>,
    errors: Counter<u64>,
    panics: Counter<u64>,
    duration_ms: Counter<u64>,
    /// Tables that have counters. Locked for a look only.
    tables: Mutex<HashSet<String>>,
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    loggers: SdkLoggerProvider,
}

/// Starts exporting to `endpoint` (`host:port`), by tasks of `runtime`. Does nothing if the endpoint is empty. Opens no
/// connection. An endpoint that cannot be one is said in the log, and nothing is exported.
pub fn init(endpoint: &str, insecure: bool, runtime: Handle) {
    if endpoint.is_empty() {
        return;
    }
    let url = format!("{}://{endpoint}", if insecure { "http" } else { "https" });
    match Export::new(&url, Collector::new(&url, runtime)) {
        Ok(export) => drop(EXPORT.set(export)),
        Err(error) => {
            tracing::warn!(endpoint, error = error.to_string(), "--otel-endpoint is not usable: nothing is exported");
        }
    }
}

impl Export {
    fn new(url: &str, collector: Collector) -> Result<Self, ExporterBuildError> {
        // Counters are cumulative, so the next export repeats what one lost; a retry would only make the end of a sync wait.
        macro_rules! exporter {
            ($builder:expr, $path:literal) => {
                $builder
                    .with_http()
                    .with_http_client(collector.clone())
                    .with_endpoint(format!("{url}{}", $path))
                    .with_timeout(collector::REQUEST_TIMEOUT)
                    .with_retry_policy(RetryPolicy::disabled())
                    .build()?
            };
        }
        let metrics = exporter!(MetricExporter::builder().with_temporality(Temporality::Cumulative), "/v1/metrics");
        let spans = exporter!(SpanExporter::builder(), "/v1/traces");
        let logs = exporter!(LogExporter::builder(), "/v1/logs");
        let resource = Resource::builder()
            .with_service_name(format!("cloudquery-{PLUGIN_NAME}"))
            .with_attributes([
                KeyValue::new("service.version", PLUGIN_VERSION),
                KeyValue::new("cloudquery.plugin.path", format!("cloudquery/source/{PLUGIN_NAME}")),
            ])
            .build();
        let room = |_: &Instrument| Stream::builder().with_cardinality_limit(MAX_TABLES).build().ok();
        let meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(PeriodicReader::builder(metrics).with_interval(METRICS_INTERVAL).build())
            .with_view(room)
            .build();
        let tracers = SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
        let loggers = SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(logs).build();
        let meter = meters.meter(SCOPE);
        let counter = |name: &'static str, unit: &'static str| meter.u64_counter(name).with_unit(unit).build();
        Ok(Self {
            tracer: tracers.tracer(SCOPE),
            logger: loggers.logger(SCOPE),
            resources: counter("sync.table.resources", "/{tot}"),
            errors: counter("sync.table.errors", "/{tot}"),
            panics: counter("sync.table.panics", "/{tot}"),
            duration_ms: counter("sync.table.duration", "ms"),
            tables: Mutex::default(),
            tracers,
            meters,
            loggers,
        })
    }

    /// Whether `table` may have counters.
    fn has_room(&self, table: &str) -> bool {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.contains(table) || (tables.len() < MAX_TABLES && tables.insert(table.to_owned()))
    }

    /// Everything that is collected, on its way. Blocks; each of the SDK's threads needs at most two requests.
    async fn flush(&'static self) {
        let flushes = [
            tokio::task::spawn_blocking(|| self.meters.force_flush()),
            tokio::task::spawn_blocking(|| self.tracers.force_flush()),
            tokio::task::spawn_blocking(|| self.loggers.force_flush()),
        ];
        // The client has logged failures; the sync does not fail over late telemetry.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, futures::future::join_all(flushes)).await;
    }
}

/// One line of the log, after secrets were taken out.
pub(super) fn log(level: Level, message: &str, invocation_id: Option<&str>, fields: &[(String, Value)]) {
    let Some(export) = EXPORT.get() else { return };
    let (severity, text) = match level {
        Level::TRACE => (Severity::Trace, "trace"),
        Level::DEBUG => (Severity::Debug, "debug"),
        Level::INFO => (Severity::Info, "info"),
        Level::WARN => (Severity::Warn, "warn"),
        Level::ERROR => (Severity::Error, "error"),
    };
    let mut record = export.logger.create_log_record();
    record.set_timestamp(std::time::SystemTime::now());
    record.set_severity_number(severity);
    record.set_severity_text(text);
    record.set_body(message.to_owned().into());
    record.add_attribute("module", MODULE);
    if let Some(id) = invocation_id {
        record.add_attribute("invocation_id", id.to_owned());
    }
    for (name, value) in fields {
        record.add_attribute(name.clone(), any_value(value));
    }
    export.logger.emit(record);
}

fn any_value(value: &Value) -> AnyValue {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.clone().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(float)) => float.into(),
            (None, None) => number.to_string().into(),
        },
        other => other.to_string().into(),
    }
}

/// What one sync tells the collector, if there is one. Cheap to clone.
#[derive(Clone, Default)]
pub struct SyncTelemetry(Option<Arc<SyncState>>);

struct SyncState {
    export: &'static Export,
    span: Mutex<Span>,
    /// The sync's span as the parent of its tables'.
    parent: Context,
    invocation_id: String,
    /// Locked for a look or a push only.
    tables: Mutex<HashMap<String, TableTelemetry>>,
}

/// Begins the span `sync`.
#[must_use]
pub fn sync_started() -> SyncTelemetry {
    let Some(export) = EXPORT.get() else { return SyncTelemetry::default() };
    let invocation_id = super::invocation_id().map(|id| id.to_string()).unwrap_or_default();
    let span = export
        .tracer
        .span_builder("sync")
        .with_attributes([KeyValue::new("sync.invocation.id", invocation_id.clone())])
        .start_with_context(&export.tracer, &Context::new());
    let parent = Context::new().with_remote_span_context(span.span_context().clone());
    SyncTelemetry(Some(Arc::new(SyncState {
        export,
        span: Mutex::new(span),
        parent,
        invocation_id,
        tables: Mutex::default(),
    })))
}

impl SyncTelemetry {
    /// The counters and the span of a table; its counters appear, at 0, when it is first asked for.
    #[must_use]
    pub fn table(&self, name: &str) -> TableTelemetry {
        let Some(sync) = &self.0 else { return TableTelemetry::default() };
        let mut tables = sync.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(name) {
            return table.clone();
        }
        let table = if sync.export.has_room(name) { sync.new_table(name) } else { TableTelemetry::default() };
        tables.insert(name.to_owned(), table.clone());
        table
    }

    /// Ends what has not ended and waits up to 5 s until the collector has everything.
    ///
    /// Cancel safe: what was not sent yet is sent later, if the process lives.
    pub async fn finish(&self) {
        let Some(sync) = &self.0 else { return };
        let tables: Vec<_> = sync.tables.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for table in tables {
            table.finished();
        }
        sync.span.lock().unwrap_or_else(PoisonError::into_inner).end();
        sync.export.flush().await;
    }
}

impl SyncState {
    fn new_table(&self, name: &str) -> TableTelemetry {
        let state = TableState {
            export: self.export,
            attributes: [KeyValue::new("sync.table.name", name.to_owned()), KeyValue::new("sync.client.id", "")],
            span_name: format!("sync.table.{name}"),
            span_attributes: [
                KeyValue::new("sync.client.id", ""),
                KeyValue::new("sync.invocation.id", self.invocation_id.clone()),
            ],
            parent: self.parent.clone(),
            begun: Mutex::default(),
            resources: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        };
        for counter in [&state.export.resources, &state.export.errors, &state.export.panics, &state.export.duration_ms]
        {
            counter.add(0, &state.attributes);
        }
        TableTelemetry(Some(Arc::new(state)))
    }
}

/// What one table of a sync tells the collector, if there is one. Cheap to clone.
#[derive(Clone, Default)]
pub struct TableTelemetry(Option<Arc<TableState>>);

struct TableState {
    export: &'static Export,
    attributes: [KeyValue; 2],
    span_name: String,
    span_attributes: [KeyValue; 2],
    parent: Context,
    /// From the table's first request to its last row. Locked for a look or a change only.
    begun: Mutex<Progress>,
    resources: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
}

#[derive(Default)]
enum Progress {
    #[default]
    Waiting,
    Begun(Instant, Box<Span>),
    Finished,
}

impl TableTelemetry {
    /// The first work on the table. Later calls change nothing.
    pub fn begun(&self) {
        let Some(table) = &self.0 else { return };
        let mut progress = table.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*progress, Progress::Waiting) {
            *progress = Progress::Begun(Instant::now(), Box::new(table.start_span()));
        }
    }

    /// `rows` rows were sent.
    pub fn add_resources(&self, rows: u64) {
        let Some(table) = &self.0 else { return };
        table.resources.fetch_add(rows, Ordering::Relaxed);
        table.export.resources.add(rows, &table.attributes);
    }

    /// An object, or the table as a whole, could not be read.
    pub fn add_error(&self) {
        let Some(table) = &self.0 else { return };
        table.errors.fetch_add(1, Ordering::Relaxed);
        table.export.errors.add(1, &table.attributes);
    }

    /// The decoder panicked over an object.
    pub fn add_panic(&self) {
        let Some(table) = &self.0 else { return };
        table.panics.fetch_add(1, Ordering::Relaxed);
        table.export.panics.add(1, &table.attributes);
    }

    /// Nothing more will be sent of the table. Later calls change nothing.
    pub fn finished(&self) {
        let Some(table) = &self.0 else { return };
        self.begun();
        let mut progress = table.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Progress::Begun(since, mut span) = std::mem::replace(&mut *progress, Progress::Finished) {
            // Rounded up: a table that was read at all took some time.
            let millis = since.elapsed().as_micros().div_ceil(1_000);
            table.export.duration_ms.add(u64::try_from(millis).unwrap_or(u64::MAX), &table.attributes);
            span.add_event("sync.finish.stats", table.stats());
            span.end();
        }
    }
}

impl TableState {
    fn start_span(&self) -> Span {
        self.export
            .tracer
            .span_builder(self.span_name.clone())
            .with_attributes(self.span_attributes.clone())
            .start_with_context(&self.export.tracer, &self.parent)
    }

    fn stats(&self) -> Vec<KeyValue> {
        let stats = [("sync.resources", &self.resources), ("sync.errors", &self.errors), ("sync.panics", &self.panics)];
        let value = |count: &AtomicU64| i64::try_from(count.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        stats.into_iter().map(|(name, count)| KeyValue::new(name, value(count))).collect()
    }
}

impl fmt::Debug for SyncTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncTelemetry").field("exported", &self.0.is_some()).finish()
    }
}

impl fmt::Debug for TableTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_ref().map(|table| table.attributes[0].value.as_str());
        f.debug_tuple("TableTelemetry").field(&name).finish()
    }
}
