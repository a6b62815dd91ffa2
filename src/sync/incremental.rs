//! What an incremental sync remembers: which objects of a table are done, and what its columns are.
//!
//! The state is loaded before the listing and written at the very end: after the transport took the last row, before the
//! stream ends, and never after an error. So of a sync that fails or is cut off nothing counts but its [`checkpoints`], and
//! the next one reads the other objects again, which overwrites their rows. Behind the state goes the commit row, the last
//! of the stream: with it a destination says that it has stored all rows before it, see [`crate::state::commit`].
//!
//! Two syncs of one source may run at the same time. Before the state is written it is read once more; of a table that
//! another sync has written meanwhile nothing is written, so what the two write is not mixed, unless both write within the
//! milliseconds between that read and the write. Their checkpoints may mix where the state is too large to be read before each:
//! then they do not count.
//!
//! What the values look like is [`crate::state`]'s business, how they travel that of [`crate::cloudquery::state_client`].

pub mod checkpoints;
mod say;

use super::key_columns::stored_columns;
use super::table::TableRun;
use crate::cloudquery::commits::CommitTable;
use crate::cloudquery::source::{Backend, ErrorKind, SourceError, SyncRequest};
use crate::cloudquery::state_client::{Patience, StateClient, StateError};
use crate::config::Spec;
use crate::state::Identity;
use crate::state::commit::{Commits, Evidence};
use crate::state::ledger::Limits;
use crate::state::schema::{ColumnOptions, SchemaState};
use crate::state::table::{self, Listed, TableUpdate, TableWrites, with_object};
use crate::tables::group::{ListedObject, Table as ListedTable};
use crate::tables::mapping::Mappings;
use crate::tables::partitions::StoredColumn;
use crate::tables::shard::Shard;
use checkpoints::{Counted, Proof};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

pub use crate::state::table::TableState;
pub use say::{say_what_comes_again, start_anew};

/// The state of a sync.
#[derive(Debug)]
pub struct State {
    client: StateClient,
    endpoint: String,
    bucket: String,
    prefix: String,
    state_id: String,
    shard: Option<(u32, u32)>,
    /// The objects that are this sync's to send.
    own: Shard,
    ledger_limit: u64,
    late_arrival_window_s: i64,
    /// Objects whose rows this sync sent, and that are to be written as done.
    sent_objects: u64,
    /// Hashes of the objects that are to go into the next checkpoint, by the names of their tables.
    stored: BTreeMap<String, Vec<u64>>,
    /// How many objects checkpoints have, by the names of their tables.
    in_checkpoints: BTreeMap<String, Counted>,
    /// Keys that other syncs have written meanwhile.
    foreign: BTreeSet<String>,
    commits: Commits,
    /// `None`: there are no commit rows.
    commit_table: Option<CommitTable>,
    proof: Proof,
    /// What is to be written.
    pending: Vec<Pending>,
}

/// A table that is sent; with its state, and the object that its schema is from.
pub type Table = (Arc<TableRun>, Option<(TableState, String)>);

/// What a sync changes in the state of a table.
#[derive(Debug)]
struct Pending {
    table: String,
    writes: TableWrites,
}

impl Listed for ListedObject {
    fn etag(&self) -> Option<String> {
        self.etag.as_ref().map(ToString::to_string)
    }

    fn last_modified_s(&self) -> i64 {
        self.last_modified_s
    }
}

impl State {
    /// Loads the state. `None` when no backend is configured.
    ///
    /// # Errors
    /// When the backend cannot be reached or is not a backend.
    pub async fn open(backend: &Backend, spec: &Spec, request: &SyncRequest) -> Result<Option<Self>, SourceError> {
        let Some(client) = StateClient::open(backend).await.map_err(unavailable)? else { return Ok(None) };
        Self::of(client, backend, spec, request.shard).await.map(Some)
    }

    /// The state for who only looks, of all shards: nothing is made or changed in the backend. `Ok(Err(…))` says how a
    /// backend refuses to read the table, which is what backends do that have none.
    ///
    /// # Errors
    /// When the backend cannot be reached, is not a backend, or none is configured.
    pub async fn look(backend: &Backend, spec: &Spec, patience: Patience) -> Result<Result<Self, String>, SourceError> {
        let missing = StateError::Options { missing: "connection" };
        match StateClient::look(backend, patience).await.map_err(unavailable)?.ok_or_else(|| unavailable(missing))? {
            Ok(client) => Ok(Ok(Self::of(client, backend, spec, None).await?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// What the client has read.
    async fn of(
        client: StateClient,
        backend: &Backend,
        spec: &Spec,
        shard: Option<(u32, u32)>,
    ) -> Result<Self, SourceError> {
        let mut state = Self {
            client,
            endpoint: spec.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
            bucket: spec.bucket.clone(),
            prefix: spec.path_prefix.clone(),
            state_id: spec.state_id.clone(),
            shard,
            own: Shard::new(shard),
            ledger_limit: spec.ledger_limit.get() as u64,
            late_arrival_window_s: i64::try_from(spec.late_arrival_window.as_secs()).unwrap_or(i64::MAX),
            sent_objects: 0,
            stored: BTreeMap::new(),
            in_checkpoints: BTreeMap::new(),
            foreign: BTreeSet::new(),
            commits: Commits::default(),
            commit_table: spec.commit_table.then(|| CommitTable::of_state_table(&backend.table_name)),
            pending: Vec::new(),
            proof: Proof::Missing,
        };
        state.load_commits().await?;
        Ok(state)
    }

    /// Finds out what is known of the commits of earlier syncs.
    async fn load_commits(&mut self) -> Result<(), SourceError> {
        let key = Commits::key(&self.identity(""));
        let commits = Commits::load(key.clone(), self.client.get(&key), Evidence::None).map_err(|what| {
            let text = format!(
                "the state of the source cannot be used: {what}; delete the row with this key from the backend's state \
                 table: then the objects that were sent last are sent once more, and all others count as stored; if a sync \
                 was interrupted lately, give the spec another state_id instead"
            );
            SourceError::new(ErrorKind::InvalidState, text)
        })?;
        let source = self.source();
        let evidence = match &self.commit_table {
            // A table that cannot be there is not asked for: some backends log an error.
            Some(table) if commits.any() => match self.client.generation(table, &source).await.map_err(unavailable)? {
                Ok(Some(generation)) => Evidence::Stored(generation),
                Ok(None) => Evidence::NoRow,
                Err(reason) => {
                    tracing::debug!(table = table.name(), reason, "the backend has no table of commits");
                    Evidence::None
                }
            },
            _ => Evidence::None,
        };
        tracing::debug!(?evidence, "commits of earlier syncs");
        if matches!(evidence, Evidence::Stored(_)) {
            self.proof = Proof::Shown;
        }
        self.commits = commits.with(evidence);
        Ok(())
    }

    /// What the table of commits calls this source.
    #[must_use]
    pub fn source(&self) -> String {
        self.identity("").state_prefix().trim_end_matches('/').to_owned()
    }

    /// The table of commits; `None`: there are no commit rows.
    #[must_use]
    pub fn commit_table(&self) -> Option<&CommitTable> {
        self.commit_table.as_ref()
    }

    /// A table of the bucket has this name: it cannot be that of the commits, too.
    pub fn name_is_taken(&mut self, name: &str) {
        if self.commit_table.take_if(|table| table.name() == name).is_some() {
            self.commits = std::mem::take(&mut self.commits).with(Evidence::None);
            tracing::warn!(
                table = name,
                "a table of the bucket has the name of the table of commits: there are no commit rows; give another \
                 table_name in backend_options"
            );
        }
    }

    fn identity<'a>(&'a self, table: &'a str) -> Identity<'a> {
        Identity {
            endpoint: &self.endpoint,
            bucket: &self.bucket,
            prefix: &self.prefix,
            table,
            shard: self.shard,
            state_id: &self.state_id,
        }
    }

    /// What is known of a table. `options` are those of today; `None`: nothing of it will be read.
    ///
    /// # Errors
    /// When the state is damaged: it never passes for "everything is done" or "nothing is".
    pub fn table(&self, name: &str, options: Option<&ColumnOptions>) -> Result<TableState, SourceError> {
        let identity = self.identity(name);
        let prefix = identity.state_prefix();
        let entries: Vec<(&str, &str)> = self.client.keys_with_prefix(&prefix).collect();
        let mut state = TableState::load(&identity, entries.iter().copied(), options, &self.commits)
            .map_err(|error| SourceError::new(ErrorKind::InvalidState, error.to_string()))?;
        if let Some(error) = state.checkpoint_damage() {
            tracing::warn!(
                table = name,
                error,
                "the checkpoint of an interrupted sync cannot be used: the objects that it names are read again"
            );
        }
        if state.is_unknown() && self.client.keys_with_prefix(&identity.relatives_prefix()).next().is_some() {
            tracing::info!(
                table = name,
                "there is state of this table, but for another prefix, endpoint, state_id or number of shards: \
                 everything is read"
            );
        }
        if state.schema.added_columns_changed() {
            start_anew(name, &mut state);
        }
        Ok(state)
    }

    /// The columns of a table's keys that earlier syncs announced. What is wrong with its state, [`Self::table`] says.
    #[must_use]
    pub fn key_columns(&self, mappings: &Mappings, table: &ListedTable) -> Vec<StoredColumn> {
        let identity = self.identity(&table.name);
        let prefix = identity.state_prefix();
        let options = column_options(mappings, table);
        let schema = SchemaState::load(&identity, self.client.keys_with_prefix(&prefix), Some(&options));
        let schema = schema.ok().and_then(|schema| Some(schema.stored()?.schema.clone()));
        schema.map(|schema| stored_columns(&schema)).unwrap_or_default()
    }

    /// Tables of this source that earlier syncs left in the state and that `listed` does not name, in the order of their
    /// names.
    #[must_use]
    pub fn others(&self, listed: &HashSet<&str>) -> Vec<String> {
        let prefix = self.identity("").bucket_prefix();
        table::others(self.client.keys_with_prefix(&prefix), |name| self.identity(name).state_prefix(), listed)
    }

    /// What comes before the first row: of a table that starts anew the backend gets an empty ledger. Its rows are overwritten
    /// with other columns from now on, so that however this sync ends, what was done with the old ones does not count. The
    /// state is read once more for it, and a ledger that another sync wrote meanwhile is left alone.
    ///
    /// # Errors
    /// When the backend fails for good.
    pub async fn begin(&mut self, tables: &mut [Table]) -> Result<(), SourceError> {
        let is_anew = |(_, state): &&mut Table| state.as_ref().is_some_and(|(state, _)| state.is_anew());
        let mut anew: Vec<&mut Table> = tables.iter_mut().filter(is_anew).collect();
        if anew.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = anew.iter().map(|(run, _)| format!("{:?}", run.name)).collect();
        let names = names.join(", ");
        let refused = |error| migration_refused(error, &names);
        self.foreign.extend(self.client.refresh().await.map_err(refused)?);
        for (run, state) in &mut anew {
            // Another sync's checkpoint is no reason to leave the ledger as it is.
            let is_left = table::is_ledger_foreign(&self.foreign, &self.identity(&run.name));
            let Some((state, _)) = state.as_mut().filter(|_| !is_left) else { continue };
            for (key, value) in state.renounce() {
                self.client.set(&key, value);
            }
        }
        self.client.flush().await.map_err(refused)?;
        Ok(())
    }

    /// Takes in what this sync did of a table. `reference` is the object that its schema is from, `date_s` S3's clock at
    /// the listing's first page, `last` the places of the objects that were sent last.
    pub fn update(
        &mut self,
        run: &TableRun,
        state: TableState,
        reference: String,
        date_s: Option<i64>,
        last: &HashSet<usize>,
    ) {
        let mut update = state.update();
        self.walk(run, &mut update, last);
        if run.objects.partly_listed() {
            update.walk.keep_unseen();
        }
        let limits = Limits {
            ledger_limit: self.ledger_limit,
            // Without S3's clock nothing can be said of lateness: then nothing collapses.
            newest_low_water_s: date_s.map_or(0, |date_s| date_s.saturating_sub(self.late_arrival_window_s)),
        };
        let stored = run.stored_schema(reference);
        let writes = update.finish(&self.identity(&run.name), &limits, &stored);
        let ledger = &writes.ledger;
        tracing::debug!(
            table = run.name,
            objects = ledger.objects,
            added = ledger.added,
            forgotten = ledger.forgotten,
            "state of the table"
        );
        if let Some(collapse) = ledger.collapse {
            tracing::warn!(
                table = run.name,
                ledger_limit = self.ledger_limit,
                low_water_s = collapse.low_water_s,
                objects = collapse.objects,
                unseen = collapse.unseen,
                "the table has more objects than ledger_limit: objects last modified by the low water count as done from \
                 now on, known or not"
            );
        }
        if !writes.is_empty() {
            self.pending.push(Pending { table: run.name.clone(), writes });
        }
    }

    /// Tells `update` of each object of the table.
    fn walk(&mut self, run: &TableRun, update: &mut TableUpdate, last: &HashSet<usize>) {
        let walk = &mut update.walk;
        let mut places = 0..;
        run.objects.for_each(|key, object| {
            let place = places.next().unwrap_or(usize::MAX);
            // Another shard's object is in that one's ledger.
            if !self.own.has(key) {
                return;
            }
            if object.sent {
                self.sent_objects += 1;
            }
            with_object(key, object, |entry| match object.sent {
                true if last.contains(&place) => walk.sent_last(entry),
                true => walk.sent(entry),
                false => walk.seen(entry),
            });
        });
        run.objects.for_each_sent_partly(|key, object, rows| {
            with_object(key, object, |entry| walk.sent_partly(entry, rows));
        });
    }

    /// Writes what changed. Gives the generation of the sync, if state was written that counts only when the rows are
    /// stored: the commit row comes next. Without a change the backend is not called.
    ///
    /// # Errors
    /// When the backend fails for good: then the next sync repeats what this one did, which the text says.
    pub async fn flush(&mut self, date_s: Option<i64>) -> Result<Option<u64>, SourceError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        self.leave_to_others().await?;
        let generation = self.commits.next(now_s(date_s));
        let revocable = self.pending.iter().any(|pending| pending.writes.ledger.revocable);
        if revocable {
            // First, so that no head names a generation that is not known.
            let (key, value) = self.commits.update(generation);
            self.client.set(&key, value);
        }
        for Pending { writes, .. } in std::mem::take(&mut self.pending) {
            for (key, value) in writes.entries(generation) {
                self.client.set(&key, value);
            }
        }
        let keys = self.client.flush().await.map_err(|error| self.not_written(error))?;
        tracing::debug!(keys, generation, "state flushed");
        Ok(revocable.then_some(generation))
    }

    /// The sync ends without its state.
    fn not_written(&self, error: StateError) -> SourceError {
        let text = crate::error_chain::error_chain(&error);
        let objects = self.sent_objects.saturating_sub(self.objects_in_checkpoints());
        let text = format!(
            "{text}; all rows were sent, but the state does not say so: the next sync reads the {} of this one again",
            crate::words::count(objects, "object")
        );
        SourceError::new(ErrorKind::Unavailable, text)
    }

    /// Whether another sync is known to have written something of a table meanwhile.
    fn is_foreign(&self, table: &str) -> bool {
        table::is_foreign(&self.foreign, &self.identity(table))
    }

    /// Reads the state once more, and drops what is pending of tables that another sync has written meanwhile.
    async fn leave_to_others(&mut self) -> Result<(), SourceError> {
        let foreign = self.client.refresh().await.map_err(|error| self.not_written(error))?;
        self.foreign.extend(foreign);
        if self.foreign.contains(&Commits::key(&self.identity(""))) {
            self.load_commits().await?;
        }
        let is_others =
            |pending: &Pending| pending.writes.is_written_by_another(&self.foreign, |key| self.client.get(key));
        let (others, ours): (Vec<Pending>, Vec<Pending>) =
            std::mem::take(&mut self.pending).into_iter().partition(is_others);
        self.pending = ours;
        others.iter().for_each(|pending| self.client.forget_changes(&pending.writes.prefix));
        if let Some(first) = others.first() {
            tracing::warn!(
                tables = others.len(),
                first = first.table,
                "another sync of this source ran at the same time and wrote the state of these tables: what this one did \
                 there is not remembered, and done again by the next one; let only one run at a time"
            );
        }
        Ok(())
    }
}

/// What else than its files the columns of a table depend on.
#[must_use]
pub fn column_options(mappings: &Mappings, table: &ListedTable) -> ColumnOptions {
    let keys = mappings.column_rules(&table.key);
    ColumnOptions {
        rules: crate::schema::column_rules(&table.options, keys.as_ref().map(|keys| (&*keys.values, &*keys.types))),
        file_columns: table.options.file_columns.iter().map(|column| column.word().to_owned()).collect(),
    }
}

/// Seconds since 1970, by S3's clock if it is known.
fn now_s(date_s: Option<i64>) -> u64 {
    let here = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date_s.and_then(|date_s| u64::try_from(date_s).ok()).unwrap_or_else(here)
}

/// The backend failed right behind the migrates of tables that start anew. Where it is the destination, too, it may have ended
/// because of them; it does not say so here.
fn migration_refused(error: StateError, tables: &str) -> SourceError {
    let text = crate::error_chain::error_chain(&error);
    let text = format!(
        "{text}; the columns of these tables are other ones than before, and if the destination has refused them, it needs \
         `migrate_mode: forced`: {tables}"
    );
    SourceError::new(ErrorKind::Unavailable, text)
}

fn unavailable(error: StateError) -> SourceError {
    SourceError::new(ErrorKind::Unavailable, crate::error_chain::error_chain(&error))
}
