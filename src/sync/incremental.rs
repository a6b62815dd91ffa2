//! What an incremental sync remembers: which objects of a table are done, and what its columns are.
//!
//! The state is loaded before the listing and written once, at the very end: after the transport took the last row, before
//! the stream ends, and never after an error. So a sync that fails or is cut off changes nothing, and the next one reads
//! the same objects again, which overwrites their rows. No protocol message says that a destination has stored a row; what
//! a destination loses after that is lost to the state, too.
//!
//! What the values look like is [`crate::plan`]'s business, how they travel that of [`crate::cloudquery::state`].

use super::table::TableRun;
use crate::cloudquery::source::{Backend, ErrorKind, SourceError, SyncRequest};
use crate::cloudquery::state::StateClient;
use crate::plan::Identity;
use crate::plan::ledger::{Ledger, Limits, Object};
use crate::plan::schema::{ColumnOptions, SchemaState, StoredSchema, named_tables};
use crate::plan::shard::Shard;
use crate::spec::Spec;
use crate::tables::group::ListedObject;
use std::collections::HashSet;

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
}

/// The state of one table, as earlier syncs left it.
#[derive(Debug)]
pub struct TableState {
    ledger: Ledger,
    /// Its columns.
    pub schema: SchemaState,
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
    }
}

impl State {
    /// Loads the state. `None` when no backend is configured.
    ///
    /// # Errors
    /// When the backend cannot be reached or is no backend.
    pub async fn open(backend: &Backend, spec: &Spec, request: &SyncRequest) -> Result<Option<Self>, SourceError> {
        let client = StateClient::open(backend)
            .await
            .map_err(|error| SourceError::new(ErrorKind::Unavailable, crate::s3::error_chain(&error)))?;
        Ok(client.map(|client| Self {
            client,
            endpoint: spec.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
            bucket: spec.bucket.clone(),
            prefix: spec.path_prefix.clone(),
            state_id: spec.state_id.clone(),
            options: ColumnOptions {
                rules: crate::decode::cast_rules(spec.nested_as),
                file_columns: spec.file_columns,
            },
            shard: request.shard,
            own: Shard::of(request),
            ledger_limit: spec.ledger_limit.get() as u64,
            late_arrival_window_s: i64::try_from(spec.late_arrival_window.as_secs()).unwrap_or(i64::MAX),
            sent_objects: 0,
        }))
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
        let bad = |error: crate::plan::BadState| SourceError::new(ErrorKind::InvalidState, error.to_string());
        let identity = self.identity(name);
        let prefix = identity.state_prefix();
        let ledger = Ledger::load(&identity, self.client.keys_with_prefix(&prefix)).map_err(bad)?;
        let schema = SchemaState::load(&identity, self.client.keys_with_prefix(&prefix), &self.options).map_err(bad)?;
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
        let mut state = TableState { ledger, schema };
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

    /// Takes in what this sync did of a table. `reference` is the object that its schema is from, `date_s` S3's clock at
    /// the listing's first page.
    pub fn update(&mut self, run: &TableRun, state: TableState, reference: String, date_s: Option<i64>) {
        let TableState { ledger, schema } = state;
        let mut update = ledger.update();
        run.objects.for_each(|key, object| {
            // Another shard's object is in that one's ledger.
            if !self.own.has(key) {
                return;
            }
            let etag = object.etag.as_ref().map(ToString::to_string);
            let entry = Object { key, etag: etag.as_deref(), last_modified_s: object.last_modified_s };
            if object.sent {
                self.sent_objects += 1;
                update.sent(&entry);
            } else {
                update.listed(&entry);
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
            keys = changes.entries.len(),
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
        for (key, value) in changes.entries.into_iter().chain(schema.update(&stored)) {
            self.client.set(&key, value);
        }
    }

    /// Writes what changed.
    ///
    /// # Errors
    /// When the backend fails for good: then the next sync repeats what this one did, which the text says.
    pub async fn flush(&mut self) -> Result<(), SourceError> {
        let keys = self.client.flush().await.map_err(|error| {
            let (text, objects) = (crate::s3::error_chain(&error), self.sent_objects);
            let text = format!(
                "{text}; all rows were sent, but the state does not say so: the next sync reads the {objects} objects of \
                 this one again"
            );
            SourceError::new(ErrorKind::Unavailable, text)
        })?;
        tracing::debug!(keys, "state flushed");
        Ok(())
    }
}
