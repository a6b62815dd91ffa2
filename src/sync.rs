//! The conductor of one sync: list → group → select → footers → migrates → inserts → summary.
//!
//! [`run`] walks the phases. Listing and footers ([`survey`]) come first, since all migrates go out before the first
//! insert; then every object is a task of its own ([`object`]), `concurrency` at a time, tables taking turns. Nothing is
//! written to disk. What fails in one object or table is reported at once (an error line, and a MessageError if the peer
//! takes them, [`report`]) and the rest goes on; whether the stream then ends with an error is the spec's choice. How far
//! it is, the log says now and then ([`progress`]); a collector, where there is one, gets counters and spans.
//!
//! Everything a sync starts ends with it: tasks live in a `JoinSet`, which aborts them when [`run`]'s future is dropped.

pub mod batch;
pub mod cpu;
pub mod footer;
pub mod listing;
pub mod memory;
pub mod object;
pub mod progress;
pub mod ranges;
pub mod report;
pub mod survey;
pub mod table;

use crate::cloudquery::source::{ErrorKind, Message, SourceError, SyncRequest, SyncSink};
use crate::decode::DecodeError;
use crate::plan::shard::Shard;
use crate::s3::{self, Store};
use crate::spec::{Concurrency, Spec};
use memory::Memory;
use object::{Outcome, Task};
use report::Report;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;
use survey::SurveyedTable;
use table::TableRun;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// Objects at a time where the user set no limit: memory is the limit then, this only bounds idle tasks and sockets.
const MAX_CONCURRENCY: usize = 1_000;

/// Why an object (or what it stands for) could not be sent. Where it is, the caller adds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// S3 refused or did not answer.
    #[error(transparent)]
    S3(#[from] s3::Error),
    /// It is no sound Parquet file, or not what the table was announced with.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A row does not fit into a message.
    #[error(transparent)]
    RowTooLarge(#[from] batch::RowTooLarge),
    /// A batch could not be encoded: our bug.
    #[error(transparent)]
    Encode(#[from] crate::cloudquery::ipc::EncodeError),
    /// The decoder panicked: damage that it did not foresee.
    #[error("the decoder panicked, the file is probably damaged: {0}")]
    Panic(String),
    /// The object was replaced while it was read, and rows were sent that the new version does not have.
    #[error(
        "it was replaced while it was read: {sent} rows of the old version were sent, the new one has only {rows}; \
         sync again"
    )]
    ReplacedByFewerRows {
        /// Rows of the old version that were sent.
        sent: u64,
        /// Rows of the new version.
        rows: u64,
    },
    /// The peer has gone: stop.
    #[error("the peer closed the sync stream")]
    Disconnected,
    /// The process ends.
    #[error("the plugin is stopping")]
    Cancelled,
}

/// What every task of a sync needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The bucket.
    pub store: Store,
    /// The budget.
    pub memory: Memory,
    /// Where messages go.
    pub sink: SyncSink,
    /// Most rows of a message.
    pub rows_per_record: NonZeroUsize,
    /// Objects at a time.
    pub concurrency: usize,
}

impl Context {
    /// An object needs more than the whole budget and was admitted alone.
    fn warn_oversized(&self, key: &str, bytes: u64) {
        tracing::warn!(
            bucket = self.store.bucket(),
            key,
            bytes,
            memory_limit_bytes = self.memory.limit_bytes(),
            "a row group needs more memory than memory_limit; it is read alone, with nothing else in memory"
        );
    }
}

/// A task that ends when its owner does.
pub(crate) struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, Error> {
        (&mut self.0).await.map_err(|_| Error::Cancelled)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Objects at a time, as a number.
#[must_use]
pub fn concurrency(spec: &Spec) -> usize {
    match spec.concurrency {
        Concurrency::Limited(objects) => objects.get(),
        Concurrency::Unlimited => MAX_CONCURRENCY,
    }
}

/// One whole sync. Dropping the future stops it.
///
/// # Errors
/// What ends the stream: a spec or selection that cannot work, S3 out of reach, or (by `on_object_error`, `on_archived`)
/// objects that could not be sent, after everything else was.
pub async fn run(spec: &Spec, store: &Store, request: SyncRequest, sink: SyncSink) -> Result<(), SourceError> {
    let telemetry = crate::telemetry::otlp::sync_started();
    let report = Report::new(store.bucket(), sink.clone(), request.with_error_messages, telemetry.clone());
    let report = Arc::new(report);
    let result = report.progress().logged(progress::INTERVAL, phases(spec, store, request, sink, &report)).await;
    // The peer reads the counters when the stream has ended.
    telemetry.finish().await;
    result
}

async fn phases(
    spec: &Spec,
    store: &Store,
    request: SyncRequest,
    sink: SyncSink,
    report: &Arc<Report>,
) -> Result<(), SourceError> {
    let started = Instant::now();
    tracing::info!(endpoint = store.endpoint(), bucket = store.bucket(), prefix = spec.path_prefix, "sync started");
    if request.backend.is_some() {
        tracing::warn!("backend_options are set, but incremental syncs are not supported yet: everything is read");
    }
    let listing = listing::list(spec, store).await?;
    let tables = listing::select(spec, listing, &request.selection)?;
    let cx = Context {
        store: tables.store.clone(),
        memory: Memory::new(spec.memory_limit_bytes),
        sink: sink.clone(),
        rows_per_record: spec.rows_per_record,
        concurrency: concurrency(spec),
    };
    let skipped = tables.skipped.clone();
    let surveyed = survey::survey(&cx, tables.tables, Shard::of(&request), report).await?;
    for table in &surveyed {
        let schema = crate::cloudquery::ipc::encode_schema(table.run.encoder.schema())
            .map_err(|error| SourceError::new(ErrorKind::Internal, format!("table {}: {error}", table.run.name)))?;
        sink.send(Message::Migrate(schema)).await.map_err(|_| disconnected())?;
    }
    let runs: Vec<Arc<TableRun>> = surveyed.iter().map(|table| Arc::clone(&table.run)).collect();
    report.progress().inserts_begin(&runs);
    let sent = insert(&cx, surveyed, report).await;
    let result = sent.and_then(|()| report.verdict(spec));
    report.summary(&cx.store, &runs, &skipped, started.elapsed());
    result
}

/// All objects of all tables. What the footer pass kept in memory goes first: its steps need nothing but to be served
/// before anything that might wait for all of the budget.
async fn insert(cx: &Context, tables: Vec<SurveyedTable>, report: &Arc<Report>) -> Result<(), SourceError> {
    let mut queues: Vec<(Arc<TableRun>, std::vec::IntoIter<Task>)> = Vec::with_capacity(tables.len());
    let mut kept = Vec::new();
    for table in tables {
        let run = table.run;
        if run.planned.objects == 0 {
            run.telemetry.finished();
        }
        let (now, later): (Vec<Task>, Vec<Task>) = table.tasks.into_iter().partition(|task| task.kept.is_some());
        kept.extend(now.into_iter().map(|task| (Arc::clone(&run), task)));
        queues.push((run, later.into_iter()));
    }
    // Who holds a token is a kept object without its grant; everything else waits for them.
    let gate = TaskTracker::new();
    let kept: Vec<_> = kept.into_iter().map(|(run, task)| (run, task, Some(gate.token()))).collect();
    gate.close();
    let turns = Turns { queues, next: 0 };
    let mut objects = kept.into_iter().chain(turns.map(|(run, task)| (run, task, None)));
    let mut tasks: JoinSet<Result<(), SourceError>> = JoinSet::new();
    loop {
        while tasks.len() < cx.concurrency {
            let Some((run, task, token)) = objects.next() else { break };
            let (cx, report, gate) = (cx.clone(), Arc::clone(report), gate.clone());
            tasks.spawn(async move {
                if token.is_none() {
                    gate.wait().await;
                }
                send_object(&cx, &run, task, &report, || drop(token)).await
            });
        }
        match tasks.join_next().await {
            None => return Ok(()),
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(fatal))) => return Err(fatal),
            Some(Err(error)) if error.is_cancelled() => {
                return Err(SourceError::new(ErrorKind::Cancelled, "cancelled"));
            }
            // A bug of ours outside the decoder: the log has the panic.
            Some(Err(_)) => return Err(SourceError::new(ErrorKind::Internal, "a task of the sync panicked")),
        }
    }
}

/// Tables take turns, an object at a time.
struct Turns {
    queues: Vec<(Arc<TableRun>, std::vec::IntoIter<Task>)>,
    next: usize,
}

impl Iterator for Turns {
    type Item = (Arc<TableRun>, Task);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.queues.is_empty() {
            self.next %= self.queues.len();
            let (run, tasks) = &mut self.queues[self.next];
            if let Some(task) = tasks.next() {
                let item = (Arc::clone(run), task);
                self.next += 1;
                return Some(item);
            }
            self.queues.remove(self.next);
        }
        None
    }
}

/// One object; what happens to it is counted and reported. Only what ends the whole sync is an error.
async fn send_object(
    cx: &Context,
    table: &Arc<TableRun>,
    task: Task,
    report: &Report,
    begun: impl FnOnce(),
) -> Result<(), SourceError> {
    let (key, object_bytes) = (task.key.clone(), task.object_bytes);
    match object::send(cx, table, task, begun).await {
        Ok(Outcome::Sent { .. }) => table.stats.object(),
        Ok(Outcome::Gone) => report.gone(&table.name, &key),
        Err(error) => report.object(&table.name, &key, error).await?,
    }
    table.handled(object_bytes);
    Ok(())
}

fn disconnected() -> SourceError {
    SourceError::new(ErrorKind::Cancelled, "the peer closed the sync stream")
}

/// An S3 error that ends the whole call.
pub(crate) fn fatal(error: &s3::Error) -> SourceError {
    let kind = match &error.kind {
        s3::ErrorKind::NoSuchBucket => ErrorKind::NotFound,
        s3::ErrorKind::WrongRegion(_) => ErrorKind::InvalidSpec,
        s3::ErrorKind::AccessDenied(_) => ErrorKind::AccessDenied,
        s3::ErrorKind::Unauthorized => ErrorKind::Unauthorized,
        s3::ErrorKind::Exhausted
        | s3::ErrorKind::Unreachable
        | s3::ErrorKind::EndpointDown
        | s3::ErrorKind::Refused
        | s3::ErrorKind::Changed
        | s3::ErrorKind::Gone
        | s3::ErrorKind::Archived => ErrorKind::Unavailable,
    };
    SourceError::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_take_turns() {
        // Turns only needs the order; tables are told apart by their position here.
        let order: Vec<String> = {
            let task =
                |key: &str| Task { key: key.to_owned(), object_bytes: 1, etag: None, working_bytes: 0, kept: None };
            let queues = vec![
                (survey::tests::run("a"), vec![task("a1"), task("a2"), task("a3")].into_iter()),
                (survey::tests::run("b"), vec![task("b1")].into_iter()),
                (survey::tests::run("c"), vec![task("c1"), task("c2")].into_iter()),
            ];
            Turns { queues, next: 0 }.map(|(_, task)| task.key).collect()
        };
        assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }
}
