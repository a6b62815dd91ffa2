//! The conductor of one sync: list → group → select → footers → migrates → inserts → summary → state.
//!
//! [`run`] walks the phases. Listing and footers ([`survey`]) come first, since all migrates go out before the first
//! insert; then every object is a task of its own ([`sending`]), `concurrency` at a time, tables taking turns. Nothing is
//! written to disk. What fails in one object or table is reported at once (an error line, and a MessageError if the peer
//! takes them, [`report`]) and the rest goes on; whether the stream then ends with an error is the spec's choice. How far
//! it is, the log says now and then ([`progress`]); a collector, where there is one, gets counters and spans.
//!
//! Everything a sync starts ends with it: tasks live in a `JoinSet`, which aborts them when [`run`]'s future is dropped.

pub(crate) mod announce;
pub(crate) mod batch;
pub(crate) mod commit;
pub(crate) mod cpu;
pub(crate) mod incremental;
pub(crate) mod inspect;
pub(crate) mod listing;
pub(crate) mod need;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod sample;
#[cfg(test)]
mod second_format_test;
pub(crate) mod sending;
pub(crate) mod survey;
pub(crate) mod table;

use crate::cast::origin::{Origin, file_columns_row_bytes};
use crate::cloudquery::source::{ErrorKind, Message, SourceError, SyncRequest, SyncSink};
use crate::config::{Concurrency, NestedAs, Spec};
use crate::formats::error::ReadError;
use crate::formats::limits::BATCH_BYTES;
use crate::memory::Memory;
use crate::s3::{self, Store};
use crate::tables::shard::Shard;
use commit::Delivery;
use incremental::State;
use incremental::checkpoints::Pace;
use report::Report;
use sending::{Outcome, Task};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;
use survey::SurveyedTable;
use table::TableRun;
use tokio::task::JoinSet;

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
    Decode(#[from] ReadError),
    /// The head of the file is larger than memory.
    #[error(transparent)]
    HeadTooLarge(#[from] crate::memory::HeadTooLarge),
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
    /// The object was replaced again and again.
    #[error("it was replaced {times} times while it was read; sync again when nobody writes to it, or `exclude` it")]
    NeverRests {
        /// How often.
        times: u32,
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
    /// How rows look.
    pub rows: RowOptions,
    /// What was sent last; only in incremental syncs.
    pub delivery: Option<Arc<Delivery>>,
}

/// The spec's choices about what rows look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowOptions {
    /// How structs, maps and lists of structs travel.
    pub nested_as: NestedAs,
    /// Add the columns that say where a row is from ([`crate::schema::names::FILE_COLUMNS`]).
    pub file_columns: bool,
}

impl From<&Spec> for RowOptions {
    fn from(spec: &Spec) -> Self {
        Self { nested_as: spec.nested_as, file_columns: spec.file_columns }
    }
}

impl RowOptions {
    /// Where the rows of an object are from, as rows tell it.
    #[must_use]
    pub fn origin(self, bucket: &str, key: &str, last_modified_s: i64) -> Origin {
        if self.file_columns {
            Origin::with_file_columns(bucket, key, last_modified_s)
        } else {
            Origin::new(bucket, key)
        }
    }

    /// Memory that these choices take while an object with batches of `batch_rows` rows is decoded, in bytes, besides that
    /// of its own columns.
    #[must_use]
    pub fn working_bytes(self, key: &str, batch_rows: u64) -> u64 {
        if !self.file_columns {
            return 0;
        }
        // The keys that are kept, and a batch and the one before.
        batch_rows.saturating_mul(file_columns_row_bytes(key)).min(BATCH_BYTES).saturating_mul(2)
    }
}

impl Context {
    /// A message of so many rows and encoded bytes was sent.
    fn sent(&self, table: &TableRun, rows: u64, bytes: u64) {
        table.sent(rows, bytes);
        if let Some(delivery) = &self.delivery {
            delivery.message(rows, bytes);
        }
    }

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

/// Objects at a time, as a number.
#[must_use]
pub fn concurrency(spec: &Spec) -> usize {
    match spec.concurrency {
        Concurrency::Limited(objects) => objects.get().min(MAX_CONCURRENCY),
        Concurrency::Unlimited => MAX_CONCURRENCY,
    }
}

/// One whole sync. Dropping the future stops it.
///
/// # Errors
/// What ends the stream: a spec or selection that cannot work, S3 out of reach, or (by `on_object_error`, `on_archived`)
/// objects that could not be sent, after everything else was.
pub async fn run(
    spec: &Spec,
    store: &Store,
    request: SyncRequest,
    sink: SyncSink,
    pace: Pace,
) -> Result<(), SourceError> {
    let started = Instant::now();
    let state = match &request.backend {
        Some(backend) => State::open(backend, spec, &request).await?,
        None => None,
    };
    let (with_errors, incremental) = (request.with_error_messages, state.is_some());
    let report = Arc::new(Report::new(store.bucket(), sink.clone(), with_errors, incremental, spec.on_archived));
    let phases = phases(spec, store, &request, sink, state.map(|state| (state, pace)), started, &report);
    let result = report.progress().logged(progress::INTERVAL, phases).await;
    // The peer reads the counters when the stream has ended.
    report.telemetry().finish().await;
    result
}

async fn phases(
    spec: &Spec,
    store: &Store,
    request: &SyncRequest,
    sink: SyncSink,
    state: Option<(State, Pace)>,
    started: Instant,
    report: &Arc<Report>,
) -> Result<(), SourceError> {
    let (mut state, pace) = state.map_or((None, Pace::default()), |(state, pace)| (Some(state), pace));
    let listed = listing::list(spec, store, &request.selection, state.is_some()).await?;
    let emptied = state.as_ref().map(|state| state.others(&listed.listing.names())).unwrap_or_default();
    let tables = listing::select(listed, emptied)?;
    let cx = Context {
        store: tables.store.clone(),
        memory: Memory::new(spec.memory_limit_bytes),
        sink: sink.clone(),
        rows_per_record: spec.rows_per_record,
        concurrency: concurrency(spec),
        rows: spec.into(),
        delivery: state.is_some().then(|| Arc::new(Delivery::new(pace.behind))),
    };
    cx.memory.listed(tables.tables.iter().map(|table| table.objects.len() as u64).sum());
    let (skipped, date_s, emptied) = (tables.skipped, tables.date_s, tables.emptied);
    let mut selected = Vec::with_capacity(tables.tables.len());
    for table in tables.tables {
        let table_state = state.as_ref().map(|state| state.table(&table.name)).transpose()?;
        selected.push((table, table_state));
    }
    incremental::say_what_comes_again(selected.iter().filter_map(|(_, state)| state.as_ref()));
    let mut surveyed = survey::survey(&cx, selected, Shard::new(request.shard), report).await?;
    for name in emptied {
        let table_state = state.as_ref().map(|state| state.table(&name)).transpose()?;
        surveyed.extend(survey::emptied(&cx, name, table_state, report)?);
    }
    surveyed.sort_by(|a, b| a.run.name.cmp(&b.run.name));
    for table in &surveyed {
        let schema = crate::cloudquery::ipc::encode_schema(table.run.encoder.schema())
            .map_err(|error| SourceError::new(ErrorKind::Internal, format!("table {}: {error}", table.run.name)))?;
        sink.send(Message::Migrate(schema)).await.map_err(|_| disconnected())?;
    }
    let to_send = surveyed.iter().any(|table| table.run.planned.objects > 0);
    if let Some(state) = &mut state {
        surveyed.iter().for_each(|table| state.name_is_taken(&table.run.name));
        // Where nothing is sent, there is nothing to commit.
        if let Some(table) = state.commit_table().filter(|_| to_send) {
            commit::announce(table, &sink).await?;
        }
    }
    let runs: Vec<Arc<TableRun>> = surveyed.iter().map(|table| Arc::clone(&table.run)).collect();
    let states = surveyed.iter_mut().map(|table| table.state.take());
    let mut states: Vec<_> = runs.iter().map(Arc::clone).zip(states).collect();
    report.progress().inserts_begin(&runs);
    let inserts = insert(&cx, surveyed, report);
    let sent = match (&mut state, &cx.delivery) {
        (Some(state), Some(delivery)) => {
            state.begin(&mut states).await?;
            state.with_checkpoints(pace, &mut states, delivery, inserts).await
        }
        _ => inserts.await,
    };
    let ended_well = sent.is_ok();
    let conclude = async {
        sent?;
        report.verdict(spec)?;
        let Some(state) = &mut state else { return Ok(()) };
        // Not before the transport took the last row: a state that is ahead of the rows would lose them.
        sink.drained().await.map_err(|_| disconnected())?;
        for (run, table_state) in states {
            if let Some((table_state, reference)) = table_state {
                let last = cx.delivery.as_ref().map(|delivery| delivery.last(&run)).unwrap_or_default();
                state.update(&run, table_state, reference, date_s, &last);
            }
        }
        if let (Some(generation), Some(table)) = (state.flush(date_s).await?, state.commit_table()) {
            commit::send(table, &state.source(), generation, &sink).await?;
        }
        Ok(())
    };
    let result = conclude.await;
    report.summary(&cx.store, &runs, &skipped, started.elapsed(), ended_well);
    result
}

/// All objects of all tables. What the footer pass kept in memory goes first: the others wait until it was admitted.
async fn insert(cx: &Context, tables: Vec<SurveyedTable>, report: &Arc<Report>) -> Result<(), SourceError> {
    let mut kept = Vec::new();
    let mut queues = Vec::with_capacity(tables.len());
    for table in tables {
        if table.run.planned.objects == 0 {
            table.run.telemetry.finished();
        }
        let indexes: Vec<usize> = table.kept.keys().copied().collect();
        for (index, object) in table.kept {
            let task = task(&table.run, index, cx).map(|task| Task { kept: Some(object), ..task });
            kept.extend(task.map(|task| (Arc::clone(&table.run), task)));
        }
        let (run, cx) = (Arc::clone(&table.run), cx.clone());
        let later = (0..run.objects.len())
            .filter(move |index| indexes.binary_search(index).is_err())
            .filter_map(move |index| Some((Arc::clone(&run), task(&run, index, &cx)?)));
        queues.push(later);
    }
    let sends = kept.into_iter().chain(Turns::new(queues)).map(|(run, task)| {
        let (cx, report) = (cx.clone(), Arc::clone(report));
        async move { send_object(&cx, &run, task, &report).await }
    });
    run_each(cx.concurrency, sends).await
}

/// Runs every one of `tasks`, at most `at_a_time` of them at a time, each as a task of the runtime. The first error ends
/// them all, as does dropping the future.
async fn run_each<F>(at_a_time: usize, mut tasks: impl Iterator<Item = F>) -> Result<(), SourceError>
where
    F: Future<Output = Result<(), SourceError>> + Send + 'static,
{
    let mut running = JoinSet::new();
    loop {
        while running.len() < at_a_time {
            let Some(task) = tasks.next() else { break };
            running.spawn(task);
        }
        match running.join_next().await {
            None => return Ok(()),
            Some(result) => joined(result)?,
        }
    }
}

/// What is to be done about an object of a table; `None` for one that is not to be sent.
fn task(table: &TableRun, index: usize, cx: &Context) -> Option<Task> {
    let (key, object) = table.objects.get(index)?;
    let need = need::recorded(object.held_bytes()?, object.size_bytes, cx.memory.limit_bytes());
    let (object_bytes, first_row) = (object.size_bytes, table.objects.rows_sent(index));
    let (format, etag) = (object.format, object.etag);
    Some(Task { index, key, format, object_bytes, etag, first_row, need, kept: None })
}

/// The result of a task of the sync.
fn joined(result: Result<Result<(), SourceError>, tokio::task::JoinError>) -> Result<(), SourceError> {
    match result {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(SourceError::new(ErrorKind::Cancelled, "the plugin is stopping")),
        // A bug of ours outside the decoder: the log has the panic.
        Err(_) => Err(SourceError::new(ErrorKind::Internal, "a task of the sync panicked; the log says where")),
    }
}

/// Tables take turns, an object at a time.
struct Turns<I> {
    queues: VecDeque<I>,
}

impl<I> Turns<I> {
    fn new(queues: Vec<I>) -> Self {
        Self { queues: queues.into() }
    }
}

impl<I: Iterator> Iterator for Turns<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        loop {
            let mut queue = self.queues.pop_front()?;
            if let Some(item) = queue.next() {
                self.queues.push_back(queue);
                return Some(item);
            }
        }
    }
}

/// One object; what happens to it is counted and reported. Only what ends the whole sync is an error.
async fn send_object(cx: &Context, table: &Arc<TableRun>, task: Task, report: &Report) -> Result<(), SourceError> {
    let (key, index, object_bytes) = (task.key.clone(), task.index, task.object_bytes);
    match sending::send(cx, table, task).await {
        Ok(Outcome::Sent { etag }) => {
            table.objects.sent(index, etag);
            table.stats.object();
            if let Some(delivery) = &cx.delivery {
                delivery.object(table, index);
            }
        }
        Ok(Outcome::Gone { sent }) => report.gone(&table.name, &key, sent).await?,
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
        | s3::ErrorKind::Overloaded
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
        let queues = vec![vec!["a1", "a2", "a3"].into_iter(), vec!["b1"].into_iter(), vec!["c1", "c2"].into_iter()];
        let order: Vec<&str> = Turns::new(queues).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3"]);
    }
}
