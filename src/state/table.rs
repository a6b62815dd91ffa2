//! The state of one table as a whole: its ledger, its schema and its checkpoint, how a sync changes them together, and in
//! which order.
//!
//! Two syncs of one source may run at the same time. What they write must not be mixed, so of a table that another sync has
//! written meanwhile nothing is written: [`TableWrites::is_written_by_another`] tells, from the keys that are foreign.

use super::checkpoint::{self, Checkpoint};
use super::commit::Commits;
use super::ledger::{LEDGER, Ledger, LedgerUpdate, Limits, Object, StateWrites};
use super::schema::{ColumnOptions, SCHEMA, SchemaState, StoredSchema, named_tables};
use super::{BadState, Identity};
use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

/// What a listing says of an object, beside its key.
pub trait Listed {
    /// Its ETag, quotes included.
    fn etag(&self) -> Option<String>;
    /// Last modification, in seconds since 1970.
    fn last_modified_s(&self) -> i64;
}

/// Uses a listed object as ledgers know it.
pub fn with_object<T>(key: &str, listed: &impl Listed, use_it: impl FnOnce(&Object<'_>) -> T) -> T {
    let etag = listed.etag();
    use_it(&Object { key, etag: etag.as_deref(), last_modified_s: listed.last_modified_s() })
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
    /// Reads it out of the state: `entries` are the backend's keys and values that start with [`Identity::state_prefix`], others
    /// do no harm. `options` are those of today, or `None` for a table of which nothing is read; `commits` says how much of the ledger counts.
    ///
    /// # Errors
    /// [`BadState`] when the state is incomplete, damaged, or of another release's format.
    pub fn load<'a>(
        identity: &Identity<'_>,
        entries: impl IntoIterator<Item = (&'a str, &'a str)> + Clone,
        options: Option<&ColumnOptions>,
        commits: &Commits,
    ) -> Result<Self, BadState> {
        let mut ledger = Ledger::load(identity, entries.clone(), commits)?;
        let schema = SchemaState::load(identity, entries.clone(), options)?;
        let checkpoint = Checkpoint::load(identity, entries, &mut ledger, &schema);
        Ok(Self { ledger, schema, checkpoint })
    }

    /// What is wrong with the checkpoint, if it was left out for that; names the key.
    #[must_use]
    pub fn checkpoint_damage(&self) -> Option<&str> {
        self.checkpoint.damage()
    }

    /// Whether nothing is done, and no columns are known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.ledger.objects() == 0 && self.schema.stored().is_none()
    }

    /// Whether this version of an object was fully sent before.
    #[must_use]
    pub fn is_done(&self, key: &str, object: &impl Listed) -> bool {
        with_object(key, object, |object| self.ledger.is_done(object))
    }

    /// Rows of this version of an object that earlier syncs sent before it failed.
    #[must_use]
    pub fn rows_sent(&self, key: &str, object: &impl Listed) -> u64 {
        with_object(key, object, |object| self.ledger.rows_sent(object))
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

    /// Forgets what was done: the table's columns are no longer those that its rows were sent with. Gives the number of done
    /// objects; `None`: nothing was done.
    pub fn start_anew(&mut self) -> Option<u64> {
        let done = (!self.ledger.is_empty()).then(|| self.ledger.objects());
        self.ledger.start_anew();
        self.checkpoint.start_anew();
        done
    }

    /// Whether the state still has as done what no longer is: [`TableState::renounce`] has something to say.
    #[must_use]
    pub fn is_anew(&self) -> bool {
        self.ledger.is_anew() || self.checkpoint.is_anew()
    }

    /// The state keys and values to set, in this order, before the first row of a table that was started anew.
    #[must_use]
    pub fn renounce(&mut self) -> Vec<(String, String)> {
        let mut entries = self.ledger.renounce();
        entries.append(&mut self.checkpoint.renounce());
        entries
    }

    /// The state keys and values to set, in this order, so that these objects count as done however the sync ends: by
    /// [`Object::hash`], their rows count as stored. With them the number of objects that the checkpoint has more than before.
    /// `schema` is what the rows are sent with; above `most_objects` none is added.
    #[must_use]
    pub fn checkpoint(
        &mut self,
        hashes: Vec<u64>,
        schema: &StoredSchema,
        most_objects: u64,
    ) -> (Vec<(String, String)>, u64) {
        let known = self.checkpoint.objects();
        let mut entries = self.schema.update(schema);
        entries.append(&mut self.checkpoint.add(hashes, &self.ledger, &self.schema, most_objects));
        (entries, self.checkpoint.objects() - known)
    }

    /// Starts the walk over a complete listing, after a sync that came to its end.
    #[must_use]
    pub fn update(self) -> TableUpdate {
        let Self { ledger, schema, checkpoint } = self;
        let (adds_to_ledger, head) = (checkpoint.adds_to(&ledger), ledger.head_name().to_owned());
        TableUpdate { walk: ledger.update(), schema, checkpoint, adds_to_ledger, head }
    }
}

/// The state of a table that learns what a listing had.
#[derive(Debug)]
pub struct TableUpdate {
    /// To be told of each object.
    pub walk: LedgerUpdate,
    schema: SchemaState,
    checkpoint: Checkpoint,
    adds_to_ledger: bool,
    /// The name of the ledger's head before the walk.
    head: String,
}

impl TableUpdate {
    /// Ends the walk: what is to be written.
    #[must_use]
    pub fn finish(self, identity: &Identity<'_>, limits: &Limits, stored: &StoredSchema) -> TableWrites {
        let Self { walk, mut schema, mut checkpoint, adds_to_ledger, head } = self;
        let ledger = walk.finish(limits);
        let columns = schema.update(stored);
        // The ledger from now on has its objects. They are needed beside the one before, which may come back.
        let needed = ledger.is_empty() || (ledger.revocable && adds_to_ledger);
        let checkpoint = if needed { checkpoint.rename(&head, &schema) } else { checkpoint.clear() };
        TableWrites { prefix: identity.state_prefix(), ledger, schema: columns, checkpoint }
    }
}

/// What a sync changes in the state of a table.
#[derive(Debug)]
pub struct TableWrites {
    /// What all state keys of the table start with.
    pub prefix: String,
    /// Its ledger.
    pub ledger: StateWrites,
    schema: Vec<(String, String)>,
    /// What empties a checkpoint that counts no more, or makes one count that does.
    checkpoint: Vec<(String, String)>,
}

impl TableWrites {
    /// Whether all is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ledger.is_empty() && self.schema.is_empty()
    }

    /// Whether another sync has written more of the table than a checkpoint, which is that sync's alone, and the schema that this
    /// one writes: `foreign` are the keys that others wrote, `value` gives what they have now. The head of the schema says how
    /// often it was written, too: what it holds are its parts.
    #[must_use]
    pub fn is_written_by_another<'a>(
        &self,
        foreign: &BTreeSet<String>,
        value: impl Fn(&str) -> Option<&'a str>,
    ) -> bool {
        let is_ours = |key: &str| self.schema.iter().any(|(ours, mine)| ours == key && value(key) == Some(mine));
        let is_head = |key: &str| key.strip_prefix(&*self.prefix) == Some(SCHEMA);
        of_table(foreign, &self.prefix)
            .any(|key| !checkpoint::is_key(&self.prefix, key) && !is_head(key) && !is_ours(key))
    }

    /// The state keys and values to set, in this order: the schema first, so that a ledger never stands without the columns that
    /// its rows were sent with. `generation` is that of this sync.
    pub fn entries(self, generation: u64) -> impl Iterator<Item = (String, String)> {
        self.schema.into_iter().chain(self.ledger.entries(generation)).chain(self.checkpoint)
    }
}

/// Whether one of the `foreign` keys is the table's.
#[must_use]
pub fn is_foreign(foreign: &BTreeSet<String>, identity: &Identity<'_>) -> bool {
    !foreign.is_empty() && of_table(foreign, &identity.state_prefix()).next().is_some()
}

/// Whether one of the `foreign` keys is the ledger's of the table.
#[must_use]
pub fn is_ledger_foreign(foreign: &BTreeSet<String>, identity: &Identity<'_>) -> bool {
    of_table(foreign, &format!("{}{LEDGER}", identity.state_prefix())).next().is_some()
}

fn of_table<'a>(foreign: &'a BTreeSet<String>, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let from_prefix = (Bound::Included(prefix), Bound::Unbounded);
    foreign.range::<str, _>(from_prefix).map(String::as_str).take_while(move |key| key.starts_with(prefix))
}

/// Tables of a source that earlier syncs left in the state and that `listed` does not name, in the order of their names.
/// `entries` are the keys and values that start with [`Identity::bucket_prefix`], sorted; `state_prefix` is that of a
/// table with this name.
#[must_use]
pub fn others<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    state_prefix: impl Fn(&str) -> String,
    listed: &HashSet<&str>,
) -> Vec<String> {
    let tables = named_tables(entries).into_iter();
    // State of another source may lie beside ours: then the hash in the prefix is another one.
    let ours = tables.filter(|(prefix, name)| state_prefix(name) == *prefix);
    let mut names: Vec<String> = ours.map(|(_, name)| name).filter(|name| !listed.contains(&**name)).collect();
    names.sort_unstable();
    names
}
