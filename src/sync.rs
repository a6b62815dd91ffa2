//! The conductor of one sync: list → survey → announce → send → conclude.
//!
//! [`run`] walks the phases. Listing ([`listing`]) and [`survey`] come first, since all migrates go out before the first
//! insert; then every object is a task ([`mod@insert`], [`sending`]), and the small ones of a table share one ([`together`]):
//! `concurrency` tasks at a time, tables taking turns. Nothing is written to disk. What fails in one object or table is reported
//! at once (an error line, and a MessageError if the peer takes them, [`report`]) and the rest goes on; whether the stream then
//! ends with an error is the spec's choice.
//! How far it is, the log says now and then ([`progress`]); a collector, where there is one, gets counters and spans.
//!
//! Everything a sync starts ends with it: tasks live in a `JoinSet`, which aborts them when [`run`]'s future is dropped.

pub(crate) mod announce;
pub(crate) mod bad_rows;
pub(crate) mod batch;
pub(crate) mod commit;
pub(crate) mod context;
pub(crate) mod cpu;
pub(crate) mod error;
pub(crate) mod head_guess;
pub(crate) mod incremental;
pub(crate) mod insert;
pub(crate) mod inspect;
pub(crate) mod key_columns;
pub(crate) mod listing;
pub(crate) mod need;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod sample;
#[cfg(test)]
mod second_format_test;
pub(crate) mod sending;
pub(crate) mod survey;
pub(crate) mod table;
mod tasks;
mod together;
pub(crate) mod unknown_columns;

use crate::cloudquery::ipc::encode_schema;
use crate::cloudquery::source::{ErrorKind, Message, SourceError, SyncRequest, SyncSink};
use crate::config::Spec;
use crate::memory::Memory;
use crate::s3::Store;
use crate::tables::group::Table;
use crate::tables::mapping::Mappings;
use crate::tables::prune::{Announced, Refused};
use crate::tables::shard::Shard;
use commit::Delivery;
use context::{Context, concurrency, heads_at_a_time};
use error::disconnected;
use incremental::Table as SentTable;
use incremental::checkpoints::Pace;
use incremental::{State, TableState};
use insert::insert;
use listing::Selected;
use report::{LeftOut, Report};
use std::sync::Arc;
use std::time::Instant;
use survey::SurveyedTable;
use table::{Planned, TableRun};

/// One whole sync. Dropping the future stops it.
///
/// # Errors
/// What ends the stream: a spec or selection that cannot work, S3 out of reach, or (by `on_object_error`, `on_archived`)
/// objects that could not be sent, after everything else was.
pub async fn run(
    spec: &Spec,
    mappings: &Arc<Mappings>,
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
    let run = SyncRun { spec, mappings, request: &request, sink, report: &report, state, pace };
    let result = report.progress().logged(progress::INTERVAL, run.phases(store, started)).await;
    // The peer reads the counters when the stream has ended.
    report.telemetry().finish().await;
    result
}

/// A sync on its way through the phases.
struct SyncRun<'a> {
    spec: &'a Spec,
    /// Which object belongs to which table.
    mappings: &'a Arc<Mappings>,
    request: &'a SyncRequest,
    sink: SyncSink,
    report: &'a Arc<Report>,
    /// What earlier syncs did; only in incremental syncs.
    state: Option<State>,
    pace: Pace,
}

impl SyncRun<'_> {
    async fn phases(mut self, store: &Store, started: Instant) -> Result<(), SourceError> {
        let selected = self.list(store).await?;
        let (skipped, date_s) = (selected.skipped, selected.date_s);
        let cx = self.context(selected.store).await?;
        let surveyed = self.survey(&cx, selected.tables, selected.emptied).await?;
        self.announce(&surveyed).await?;
        let (runs, sent) = self.send(&cx, surveyed).await;
        let ended_well = sent.is_ok();
        let result = match sent {
            Ok(tables) => self.conclude(&cx, tables, date_s).await,
            Err(error) => Err(error),
        };
        self.report.summary(&cx.store, &runs, &skipped, started.elapsed(), ended_well);
        result
    }

    /// Lists the bucket and selects tables.
    async fn list(&self, store: &Store) -> Result<Selected, SourceError> {
        let (selection, is_incremental) = (&self.request.selection, self.state.is_some());
        let watch = listing::Watch::default();
        let announced =
            |table: &Table| self.state.as_ref().map(|s| s.key_columns(self.mappings, table)).unwrap_or_default();
        let known = is_incremental.then_some(&announced as Announced<'_>);
        let listed = listing::list(self.spec, self.mappings, store, selection, known, &watch).await?;
        let emptied = self.state.as_ref().map(|state| state.others(&listed.listing.names())).unwrap_or_default();
        let selected = listing::select(listed, self.mappings, emptied)?;
        if let Some(hint) = &selected.hint {
            tracing::info!("tables of folders: {hint}");
        }
        for Refused { name, text, left_out } in &selected.refused {
            let planned = Planned { objects: left_out.objects, bytes: left_out.bytes };
            self.report.table_failed(name, text, LeftOut { planned, rows: 0, cure: None }).await?;
        }
        if !is_incremental {
            selected.warn_of_delete_stale();
        }
        Ok(selected)
    }

    async fn context(&self, store: Store) -> Result<Context, SourceError> {
        let concurrency = concurrency(self.spec);
        let descriptions = restore::descriptions(&store, self.spec.layout.all_options()).await?;
        Ok(Context {
            store,
            memory: Memory::new(self.spec.memory_limit_bytes),
            sink: self.sink.clone(),
            rows_per_record: self.spec.rows_per_record,
            concurrency,
            heads_at_a_time: heads_at_a_time(concurrency),
            mappings: Arc::clone(self.mappings),
            descriptions: Arc::new(descriptions),
            delivery: self.state.is_some().then(|| Arc::new(Delivery::new(self.pace.behind))),
        })
    }

    /// What is known of a table from earlier syncs; `None` for a table that has no objects any more.
    fn table_state(&self, name: &str, table: Option<&Table>) -> Result<Option<TableState>, SourceError> {
        let options = table.map(|table| incremental::column_options(self.mappings, table));
        self.state.as_ref().map(|state| state.table(name, options.as_ref())).transpose()
    }

    /// Reads what the objects say of themselves. Tables come in the order of their names.
    async fn survey(
        &self,
        cx: &Context,
        tables: Vec<Table>,
        emptied: Vec<String>,
    ) -> Result<Vec<SurveyedTable>, SourceError> {
        cx.memory.account_for_listing(tables.iter().map(|table| table.objects.len() as u64).sum());
        let mut selected = Vec::with_capacity(tables.len());
        for table in tables {
            let table_state = self.table_state(&table.name, Some(&table))?;
            selected.push((table, table_state));
        }
        incremental::say_what_comes_again(selected.iter().filter_map(|(_, state)| state.as_ref()));
        let mut surveyed = survey::survey(cx, selected, Shard::new(self.request.shard), self.report).await?;
        for name in emptied {
            let table_state = self.table_state(&name, None)?;
            surveyed.extend(survey::emptied(name, table_state, self.report)?);
        }
        surveyed.sort_by(|a, b| a.run.name.cmp(&b.run.name));
        Ok(surveyed)
    }

    /// All migrates of the sync, before its first insert.
    async fn announce(&mut self, surveyed: &[SurveyedTable]) -> Result<(), SourceError> {
        for table in surveyed {
            let schema = encode_schema(table.run.encoder.schema())
                .map_err(|error| SourceError::new(ErrorKind::Internal, format!("table {}: {error}", table.run.name)))?;
            self.sink.send(Message::Migrate(schema)).await.map_err(|_| disconnected())?;
        }
        let Some(state) = &mut self.state else { return Ok(()) };
        surveyed.iter().for_each(|table| state.name_is_taken(&table.run.name));
        // Where nothing is sent, there is nothing to commit.
        let to_send = surveyed.iter().any(|table| table.run.planned.objects > 0);
        if let Some(table) = state.commit_table().filter(|_| to_send) {
            commit::announce(table, &self.sink).await?;
        }
        Ok(())
    }

    /// Sends all objects, with checkpoints meanwhile. Gives the runs of the tables, and the tables with their states unless
    /// the sync cannot go on.
    async fn send(&mut self, cx: &Context, mut surveyed: Vec<SurveyedTable>) -> Sent {
        let runs: Vec<Arc<TableRun>> = surveyed.iter().map(|table| Arc::clone(&table.run)).collect();
        let states = surveyed.iter_mut().map(|table| table.state.take());
        let mut tables: Vec<SentTable> = runs.iter().map(Arc::clone).zip(states).collect();
        self.report.progress().inserts_begin(&runs);
        let inserts = insert(cx, surveyed, self.report);
        let sent = match (&mut self.state, &cx.delivery) {
            (Some(state), Some(delivery)) => {
                if let Err(error) = state.begin(&mut tables).await {
                    return (runs, Err(error));
                }
                state.with_checkpoints(self.pace, &mut tables, delivery, &self.sink, inserts).await
            }
            _ => inserts.await,
        };
        (runs, sent.map(|()| tables))
    }

    /// Says how the sync ends, and writes the state of one that ends well.
    async fn conclude(&mut self, cx: &Context, tables: Vec<SentTable>, date_s: Option<i64>) -> Result<(), SourceError> {
        self.report.verdict(self.spec)?;
        let Some(state) = &mut self.state else { return Ok(()) };
        // Not before the transport took the last row: a state that is ahead of the rows would lose them.
        self.sink.drained().await.map_err(|_| disconnected())?;
        for (run, table_state) in tables {
            if let Some((table_state, reference)) = table_state {
                let last = cx.delivery.as_ref().map(|delivery| delivery.last(&run)).unwrap_or_default();
                state.update(&run, table_state, reference, date_s, &last);
            }
        }
        if let (Some(generation), Some(table)) = (state.flush(date_s).await?, state.commit_table()) {
            commit::send(table, &state.source(), generation, &self.sink).await?;
        }
        Ok(())
    }
}

/// What [`SyncRun::send`] leaves: the tables' runs; how it went.
type Sent = (Vec<Arc<TableRun>>, Result<Vec<SentTable>, SourceError>);
