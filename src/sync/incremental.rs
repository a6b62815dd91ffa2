//! What an incremental sync remembers: which objects of a table are done, and what its columns are.
//!
//! The state is loaded before the listing and written at the very end: after the transport took the last row, before the
//! stream ends, and never after an error. So of a sync that fails or is cut off nothing counts but its [`checkpoints`], and
//! the next one reads the other objects again, which overwrites their rows. Behind the state goes the commit row, the last
//! of the stream: with it a destination says that it has stored all rows before it, see [`crate::state::commit`].
//!
//! Two syncs of one source may run at the same time. Before the state is written it is read once more; of a table that
//! another sync has written meanwhile nothing is written, so what the two write is not mixed, unless both write within the
//! milliseconds between that read and the write. The checkpoints of the two may mix: then they do not count.
//!
//! What the values look like is [`crate::state`]'s business, how they travel that of [`crate::cloudquery::state_client`].

pub mod checkpoints;

use super::table::TableRun;
use crate::cloudquery::commits::CommitTable;
use crate::cloudquery::source::{Backend, ErrorKind, SourceError, SyncRequest};
use crate::cloudquery::state_client::{StateClient, StateError};
use crate::config::Spec;
use crate::state::Identity;
use crate::state::checkpoint::{self, Checkpoint};
use crate::state::commit::{Commits, Evidence};
use crate::state::ledger::{Ledger, Limits, Object, StateWrites};
use crate::state::schema::{ColumnOptions, SchemaState, StoredSchema, named_tables};
use crate::tables::group::ListedObject;
use crate::tables::shard::Shard;
use checkpoints::Proof;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

/// The state of a sync.
#[derive(Debug)]
pub struct State {
    client: StateClient,
    endpoint: String,
    bucket: String,
    prefix: String,
    state_id: String,
    options: ColumnOptions,
    shard: Option<(u32, u32)>,
    /// The objects that are this sync's to send.
    own: Shard,
    ledger_limit: u64,
    late_arrival_window_s: i64,
    /// Objects whose rows this sync sent, and that are to be written as done.
    sent_objects: u64,
    /// Hashes of the objects that are to go into the next checkpoint, by the names of their tables.
    stored: BTreeMap<String, Vec<u64>>,
    /// Of the objects that this sync sent, those that checkpoints have.
    objects_in_checkpoints: u64,
    /// Objects of the checkpoint that is being written, or could not be written so far.
    objects_on_their_way: u64,
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
    /// What all state keys of the table start with.
    prefix: String,
    ledger: StateWrites,
    schema: Vec<(String, String)>,
    /// What empties a checkpoint that counts no more.
    checkpoint: Vec<(String, String)>,
}

/// The state of one table, as earlier syncs left it.
#[derive(Debug)]
pub struct TableState {
    ledger: Ledger,
    /// Its columns.
    pub schema: SchemaState,
    /// What is done since the ledger was written; the ledger has its objects, too.
    checkpoint: Checkpoint,
}

impl TableState {
    /// Whether this version of an object was fully sent before.
    #[must_use]
    pub fn is_done(&self, key: &str, object: &ListedObject) -> bool {
        let etag = object.etag.as_ref().map(ToString::to_string);
        self.ledger.is_done(&Object { key, etag: etag.as_deref(), last_modified_s: object.last_modified_s })
    }

    /// Rows of this version of an object that earlier syncs sent before it failed.
    #[must_use]
    pub fn rows_sent(&self, key: &str, object: &ListedObject) -> u64 {
        let etag = object.etag.as_ref().map(ToString::to_string);
        self.ledger.rows_sent(&Object { key, etag: etag.as_deref(), last_modified_s: object.last_modified_s })
    }

    /// Forgets what was done: the table's columns are no longer those that its rows were sent with.
    pub fn start_anew(&mut self, table: &str) {
        if !self.ledger.is_empty() {
            tracing::warn!(
                table,
                objects_done = self.ledger.objects(),
                "the table's columns changed with an option or the release: all its objects are read again"
            );
        }
        self.ledger.start_anew();
        self.checkpoint.start_anew();
    }

    /// Whether the state still has as done what no longer is.
    fn is_anew(&self) -> bool {
        self.ledger.is_anew() || self.checkpoint.is_anew()
    }

    /// Objects that an earlier sync sent whose rows were never stored, and those that are read once more, since it is not
    /// sure.
    #[must_use]
    pub fn again(&self) -> (u64, u64) {
        (self.ledger.lost(), self.ledger.again())
    }

    /// Objects that a sync sent which came to no end, by its last checkpoint.
    #[must_use]
    pub fn done_by_checkpoint(&self) -> u64 {
        self.checkpoint.joined()
    }
}

impl State {
    /// Loads the state. `None` when no backend is configured.
    ///
    /// # Errors
    /// When the backend cannot be reached or is not a backend.
    pub async fn open(backend: &Backend, spec: &Spec, request: &SyncRequest) -> Result<Option<Self>, SourceError> {
        let Some(client) = StateClient::open(backend).await.map_err(unavailable)? else { return Ok(None) };
        let mut state = Self {
            client,
            endpoint: spec.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
            bucket: spec.bucket.clone(),
            prefix: spec.path_prefix.clone(),
            state_id: spec.state_id.clone(),
            options: ColumnOptions {
                rules: crate::schema::column_rules(spec.nested_as),
                file_columns: spec.file_columns,
            },
            shard: request.shard,
            own: Shard::new(request.shard),
            ledger_limit: spec.ledger_limit.get() as u64,
            late_arrival_window_s: i64::try_from(spec.late_arrival_window.as_secs()).unwrap_or(i64::MAX),
            sent_objects: 0,
            stored: BTreeMap::new(),
            objects_in_checkpoints: 0,
            objects_on_their_way: 0,
            foreign: BTreeSet::new(),
            commits: Commits::default(),
            commit_table: spec.commit_table.then(|| CommitTable::of_state_table(&backend.table_name)),
            pending: Vec::new(),
            proof: Proof::Missing,
        };
        state.load_commits().await?;
        Ok(Some(state))
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

    /// What is known of a table.
    ///
    /// # Errors
    /// When the state is damaged: it never passes for "everything is done" or "nothing is".
    pub fn table(&self, name: &str) -> Result<TableState, SourceError> {
        let bad = |error: crate::state::BadState| SourceError::new(ErrorKind::InvalidState, error.to_string());
        let identity = self.identity(name);
        let prefix = identity.state_prefix();
        let entries: Vec<(&str, &str)> = self.client.keys_with_prefix(&prefix).collect();
        let entries = || entries.iter().copied();
        let mut ledger = Ledger::load(&identity, entries(), &self.commits).map_err(bad)?;
        let schema = SchemaState::load(&identity, entries(), &self.options).map_err(bad)?;
        let checkpoint = Checkpoint::load(&identity, entries(), &mut ledger, &schema);
        if let Some(error) = checkpoint.damage() {
            tracing::warn!(
                table = name,
                error,
                "the checkpoint of an interrupted sync cannot be used: the objects that it names are read again"
            );
        }
        if ledger.objects() == 0 && schema.stored().is_none() {
            let relatives = identity.relatives_prefix();
            if self.client.keys_with_prefix(&relatives).next().is_some() {
                tracing::info!(
                    table = name,
                    "there is state of this table, but for another prefix, endpoint, state_id or number of shards: \
                     everything is read"
                );
            }
        }
        let mut state = TableState { ledger, schema, checkpoint };
        if state.schema.added_columns_changed() {
            state.start_anew(name);
        }
        Ok(state)
    }

    /// Tables of this source that earlier syncs left in the state and that `listed` does not name, in the order of their
    /// names.
    #[must_use]
    pub fn others(&self, listed: &HashSet<&str>) -> Vec<String> {
        let prefix = self.identity("").bucket_prefix();
        let tables = named_tables(self.client.keys_with_prefix(&prefix)).into_iter();
        // State of another source may lie beside ours: then the hash in the prefix is another one.
        let ours = tables.filter(|(prefix, name)| self.identity(name).state_prefix() == *prefix);
        let mut names: Vec<String> = ours.map(|(_, name)| name).filter(|name| !listed.contains(&**name)).collect();
        names.sort_unstable();
        names
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
        self.foreign.extend(self.client.refresh().await.map_err(unavailable)?);
        for (run, state) in &mut anew {
            // Another sync's checkpoint is no reason to leave the ledger as it is.
            let ledger = format!("{}ledger", self.identity(&run.name).state_prefix());
            let is_left = self.foreign.iter().any(|key| key.starts_with(&ledger));
            let Some((state, _)) = state.as_mut().filter(|_| !is_left) else { continue };
            for (key, value) in state.ledger.renounce().into_iter().chain(state.checkpoint.renounce()) {
                self.client.set(&key, value);
            }
        }
        self.client.flush().await.map_err(unavailable)?;
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
        let TableState { ledger, mut schema, checkpoint } = state;
        let adds_to_ledger = checkpoint.adds_to(&ledger);
        let mut update = ledger.update();
        let mut places = 0..;
        run.objects.for_each(|key, object| {
            let place = places.next().unwrap_or(usize::MAX);
            // Another shard's object is in that one's ledger.
            if !self.own.has(key) {
                return;
            }
            let etag = object.etag.as_ref().map(ToString::to_string);
            let entry = Object { key, etag: etag.as_deref(), last_modified_s: object.last_modified_s };
            if object.sent {
                self.sent_objects += 1;
            }
            match object.sent {
                true if last.contains(&place) => update.sent_last(&entry),
                true => update.sent(&entry),
                false => update.seen(&entry),
            }
        });
        run.objects.for_each_sent_partly(|key, object, rows| {
            let etag = object.etag.as_ref().map(ToString::to_string);
            let entry = Object { key, etag: etag.as_deref(), last_modified_s: object.last_modified_s };
            update.sent_partly(&entry, rows);
        });
        let changes = update.finish(&Limits {
            ledger_limit: self.ledger_limit,
            // Without S3's clock nothing can be said of lateness: then nothing collapses.
            newest_low_water_s: date_s.map_or(0, |date_s| date_s.saturating_sub(self.late_arrival_window_s)),
        });
        tracing::debug!(
            table = run.name,
            objects = changes.objects,
            added = changes.added,
            forgotten = changes.forgotten,
            "state of the table"
        );
        if let Some(collapse) = changes.collapse {
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
        let stored = StoredSchema { key: reference, schema: (*run.schema).clone() };
        let (table, prefix) = (run.name.clone(), self.identity(&run.name).state_prefix());
        let schema = schema.update(&stored);
        if !(changes.is_empty() && schema.is_empty()) {
            // The ledger from now on has its objects. They are needed beside the one before, which may come back.
            let needed = changes.is_empty() || (changes.revocable && adds_to_ledger);
            let checkpoint = if needed { Vec::new() } else { checkpoint.clear() };
            self.pending.push(Pending { table, prefix, ledger: changes, schema, checkpoint });
        }
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
        let revocable = self.pending.iter().any(|pending| pending.ledger.revocable);
        if revocable {
            // First, so that no head names a generation that is not known.
            let (key, value) = self.commits.update(generation);
            self.client.set(&key, value);
        }
        for Pending { ledger, schema, checkpoint, .. } in std::mem::take(&mut self.pending) {
            // The schema first: a ledger never stands without the columns that its rows were sent with.
            for (key, value) in schema.into_iter().chain(ledger.entries(generation)).chain(checkpoint) {
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
        let objects = self.sent_objects.saturating_sub(self.objects_in_checkpoints);
        let text = format!(
            "{text}; all rows were sent, but the state does not say so: the next sync reads the {objects} objects of this \
             one again"
        );
        SourceError::new(ErrorKind::Unavailable, text)
    }

    /// Whether another sync has written more of a table than a checkpoint, which is that sync's alone, and the schema that
    /// this one writes. The head of the schema says how often it was written, too: what it holds are its parts.
    fn is_written_by_another(&self, pending: &Pending) -> bool {
        let is_ours =
            |key: &str| pending.schema.iter().any(|(ours, value)| ours == key && self.client.get(key) == Some(value));
        let is_head = |key: &str| key.strip_prefix(&*pending.prefix) == Some("schema");
        let mut foreign = self.foreign.iter().filter(|key| key.starts_with(&pending.prefix));
        foreign.any(|key| !checkpoint::is_key(&pending.prefix, key) && !is_head(key) && !is_ours(key))
    }

    /// Whether another sync is known to have written something of a table meanwhile.
    fn is_foreign(&self, table: &str) -> bool {
        if self.foreign.is_empty() {
            return false;
        }
        let prefix = self.identity(table).state_prefix();
        self.foreign.iter().any(|key| key.starts_with(&prefix))
    }

    /// Reads the state once more, and drops what is pending of tables that another sync has written meanwhile.
    async fn leave_to_others(&mut self) -> Result<(), SourceError> {
        let foreign = self.client.refresh().await.map_err(|error| self.not_written(error))?;
        self.foreign.extend(foreign);
        if self.foreign.contains(&Commits::key(&self.identity(""))) {
            self.load_commits().await?;
        }
        let (others, ours): (Vec<Pending>, Vec<Pending>) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| self.is_written_by_another(pending));
        self.pending = ours;
        others.iter().for_each(|pending| self.client.forget_changes(&pending.prefix));
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

/// Says what earlier syncs did and this one does again, if there is any.
pub fn say_what_comes_again<'a>(tables: impl Iterator<Item = &'a TableState>) {
    let (mut lost, mut again, mut done) = (0, 0, 0);
    for table in tables {
        let (lost_of_table, again_of_table) = table.again();
        (lost, again, done) = (lost + lost_of_table, again + again_of_table, done + table.done_by_checkpoint());
    }
    if done > 0 {
        tracing::info!(
            objects = done,
            "an earlier sync came to no end: the objects that it had sent by its last checkpoint are not read again"
        );
    }
    if lost > 0 {
        tracing::warn!(
            objects = lost,
            "the last sync was interrupted before the destination had stored all of its rows: these objects are read again"
        );
    }
    if again > 0 {
        tracing::info!(
            objects = again,
            "it is not known whether the destination stored the last rows of the sync before: these objects are read once \
             more"
        );
    }
}

/// Seconds since 1970, by S3's clock if it is known.
fn now_s(date_s: Option<i64>) -> u64 {
    let here = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date_s.and_then(|date_s| u64::try_from(date_s).ok()).unwrap_or_else(here)
}

fn unavailable(error: StateError) -> SourceError {
    SourceError::new(ErrorKind::Unavailable, crate::error_chain::error_chain(&error))
}
