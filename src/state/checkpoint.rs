//! The checkpoint of one table: objects that a sync sent which is not over, and whose rows count as stored already.
//!
//! A ledger is written when a sync ends. Until then a checkpoint says beside it what is done since, so that a sync that is
//! killed after days does not start over. Only objects are in it that have enough rows and bytes of their own table
//! and enough time behind them ([`super::tail`]): nothing of it has to be taken back. It is a set of parts of its own:
//!
//! ```text
//! <state prefix>checkpoint.0, …   objects <count> <hashes>
//! <state prefix>checkpoint        meta: after=<name of the ledger's head, or none> schema=<name of the schema's head>
//! ```
//!
//! It adds to the ledger whose head it names, as long as the table has the columns that it names. So the ledger that the sync
//! writes at its end, with all of these objects in it, makes the checkpoint dead; and where that ledger is
//! taken back, since its last rows were not stored, the checkpoint counts again. The next write of the ledger empties what is
//! dead for good.
//!
//! A checkpoint writes the parts that changed: the last one, until it is full. Parts that are full stay where they are, so
//! that its cost is that of what is new, and one part at most, however much was done before.
//!
//! Since it only saves work, a checkpoint that is damaged or that two syncs mixed is left out with a warning: the
//! objects are read again.

use super::Identity;
use super::hash_text;
use super::ledger::{Ledger, MAX_CHUNK_OBJECTS};
use super::parts::{PartSet, Stored, Which};
use super::schema::SchemaState;

/// The key of a table's checkpoint, behind what all its keys start with.
const CHECKPOINT: &str = "checkpoint";
/// First word of a part.
const OBJECTS: &str = "objects ";

/// Whether a state key belongs to the checkpoint of the table whose keys start with `state_prefix`.
#[must_use]
pub fn is_key(state_prefix: &str, key: &str) -> bool {
    key.strip_prefix(state_prefix).is_some_and(|rest| rest.starts_with(CHECKPOINT))
}

/// The checkpoint of one table. Eight bytes of memory are held for each object of the part that is not full, and some fifty
/// for each full part.
#[derive(Debug, Default)]
pub struct Checkpoint {
    set: PartSet,
    /// The hashes of the part that is not full, ascending.
    open: Vec<u64>,
    /// How many objects all parts have.
    objects: u64,
    /// The name of the ledger's head that it adds to; empty: it does not count.
    after: String,
    /// What an earlier sync left that is added to the ledger.
    joined: u64,
    damage: Option<String>,
    /// The state has it, and it does not count.
    anew: bool,
}

impl Checkpoint {
    /// Reads what an interrupted sync left, and adds its objects to `ledger`, if they belong to it and to `schema`, both as
    /// they were just loaded. `entries` are the backend's keys and values that start with [`Identity::state_prefix`].
    #[must_use]
    pub fn load<'a>(
        identity: &Identity<'_>,
        entries: impl IntoIterator<Item = (&'a str, &'a str)> + Clone,
        ledger: &mut Ledger,
        schema: &SchemaState,
    ) -> Self {
        let key = format!("{}{CHECKPOINT}", identity.state_prefix());
        let ruins = || Self { set: PartSet::ruins(&key, entries.clone()), ..Self::default() };
        // Without a head it was never written: its first write was interrupted.
        let Some((_, head)) = entries.clone().into_iter().find(|(entry, value)| *entry == key && !value.is_empty())
        else {
            return ruins();
        };
        let named = schema.head_name().map(|schema| meta(ledger.head_name(), schema));
        let Some(named) = named.filter(|named| head.contains(named.as_str())) else { return ruins() };
        match Self::read(&key, entries.clone(), &named) {
            Ok((mut checkpoint, hashes)) => {
                checkpoint.after = ledger.head_name().to_owned();
                checkpoint.joined = ledger.join(&hashes);
                checkpoint
            }
            Err(what) => Self { damage: Some(what), ..ruins() },
        }
    }

    fn read<'a>(
        key: &str,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
        named: &str,
    ) -> Result<(Self, Vec<u64>), String> {
        let loaded = Stored::read(key, entries)?.take(Which::Current)?;
        if loaded.meta.as_deref() != Some(named) {
            return Err(format!("{key} is damaged: its words are not those of a checkpoint"));
        }
        let (mut hashes, mut open) = (Vec::new(), Vec::new());
        for part in loaded.parts {
            let part = objects(part).map_err(|what| format!("a part of {key} is damaged: {what}"))?;
            hashes.extend_from_slice(&part);
            if part.len() < MAX_CHUNK_OBJECTS {
                open = part;
            }
        }
        let objects = hashes.len() as u64;
        Ok((Self { set: loaded.set, open, objects, ..Self::default() }, hashes))
    }

    /// How many objects an earlier sync left in it that are done by it alone.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// What is wrong with it, if it was left out for that; names the key.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// How many objects it has.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// Nothing in it is done any more: the table starts anew.
    pub fn start_anew(&mut self) {
        self.anew = !self.after.is_empty();
        self.set.discard();
        self.open = Vec::new();
        (self.objects, self.joined) = (0, 0);
        self.after = String::new();
    }

    /// Whether [`Checkpoint::renounce`] has something to say.
    #[must_use]
    pub fn is_anew(&self) -> bool {
        self.anew
    }

    /// The state keys and values to set, in this order, so that a checkpoint of a table that was started anew counts no more;
    /// none when that is so already.
    #[must_use]
    pub fn renounce(&mut self) -> Vec<(String, String)> {
        if !std::mem::take(&mut self.anew) {
            return Vec::new();
        }
        let (entries, set) = std::mem::take(&mut self.set).clear();
        self.set = set;
        entries
    }

    /// Adds objects whose rows this sync sent and that count as stored, by [`super::ledger::Object::hash`]. Gives the state
    /// keys and values to set, in this order; then the checkpoint is what they make it. `ledger` and `schema` are as the
    /// state has them by then: the head names them, also where nothing is added. Above `most_objects` in all nothing is: such an
    /// object is read again.
    #[must_use]
    pub fn add(
        &mut self,
        mut hashes: Vec<u64>,
        ledger: &Ledger,
        schema: &SchemaState,
        most_objects: u64,
    ) -> Vec<(String, String)> {
        let room = most_objects.saturating_sub(self.objects);
        hashes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        if hashes.is_empty() {
            return self.rename(ledger.head_name(), schema);
        }
        let Some(schema) = schema.head_name() else { return Vec::new() };
        self.objects += hashes.len() as u64;
        let mut change = std::mem::take(&mut self.set).change();
        change.keep_all();
        if !self.open.is_empty() {
            change.remove(&text(&self.open));
        }
        let mut all = std::mem::take(&mut self.open);
        all.append(&mut hashes);
        // In the order in which they came: the hashes of each part are spread as evenly as those of all, and take little room.
        for part in all.chunks(MAX_CHUNK_OBJECTS) {
            let mut part = part.to_vec();
            part.sort_unstable();
            part.dedup();
            change.add(&text(&part));
            if part.len() < MAX_CHUNK_OBJECTS {
                self.open = part;
            }
        }
        ledger.head_name().clone_into(&mut self.after);
        let (entries, set) = change.finish_and_go_on(&meta(&self.after, schema));
        self.set = set;
        entries
    }

    /// The state keys and values to set so that a checkpoint that adds to the ledger with this head counts for today's columns,
    /// too; none when it does already, or holds nothing.
    #[must_use]
    pub(super) fn rename(&mut self, ledger_head: &str, schema: &SchemaState) -> Vec<(String, String)> {
        let Some(schema) = schema.head_name().filter(|_| self.objects > 0 && self.after == ledger_head) else {
            return Vec::new();
        };
        let mut change = std::mem::take(&mut self.set).change();
        change.keep_all();
        let (entries, set) = change.finish_and_go_on(&meta(&self.after, schema));
        self.set = set;
        entries
    }

    /// Whether it adds to the ledger whose head is now the current one.
    #[must_use]
    pub fn adds_to(&self, ledger: &Ledger) -> bool {
        self.after == ledger.head_name()
    }

    /// The state keys and values to set, in this order, so that nothing is left of it.
    #[must_use]
    pub fn clear(self) -> Vec<(String, String)> {
        self.set.clear().0
    }
}

fn meta(after: &str, schema: &str) -> String {
    format!("after={after} schema={schema}")
}

/// A part: hashes ascending, none twice.
fn text(hashes: &[u64]) -> String {
    format!("{OBJECTS}{} {}", hashes.len(), hash_text::encode(hashes))
}

/// The hashes of a part.
fn objects(part: &str) -> Result<Vec<u64>, &'static str> {
    let words = part.strip_prefix(OBJECTS).and_then(|words| words.split_once(' '));
    let (count, hashes) = words.ok_or("it has no objects")?;
    hash_text::decode(hashes, count.parse().map_err(|_| "it has no number of objects")?)
}

#[cfg(test)]
mod tests;
