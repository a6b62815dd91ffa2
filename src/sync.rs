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
pub(crate) mod context;
pub(crate) mod cpu;
pub(crate) mod error;
pub(crate) mod head_guess;
pub(crate) mod incremental;
pub(crate) mod insert;
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
mod tasks;

use crate::cloudquery::source::{ErrorKind, Message, SourceError, SyncRequest, SyncSink};
use crate::config::Spec;
use crate::memory::Memory;
use crate::s3::Store;
use crate::tables::shard::Shard;
use commit::Delivery;
use context::{Context, concurrency};
use error::disconnected;
use incremental::State;
use incremental::checkpoints::Pace;
use insert::insert;
use report::Report;
use std::sync::Arc;
use std::time::Instant;
use table::TableRun;

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
