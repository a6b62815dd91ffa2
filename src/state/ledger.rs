//! The ledger of one table: which objects are done.
//!
//! An object is known by a 64-bit hash of key and ETag; nothing else of it is kept. (That two of a million objects share a
//! hash has a chance of one in 37 million; then one of them would be taken for the other.) The state holds the hashes in
//! chunks by last modification, at most 5,500 each: a bucket that only grows changes its newest chunk, a
//! late arrival or a deleted object the one chunk of its time, and all others stay as they are in the backend.
//!
//! A sync asks [`Ledger::is_done`] for each object, and when all was sent it walks the listing once more, with
//! [`Ledger::update`]: every listed object is named once, with [`LedgerUpdate::sent`] or [`LedgerUpdate::seen`].
//! Objects that are not named are gone from the bucket and forgotten. Above a limit the oldest objects are replaced by
//! a time, the *low water*: see [`Limits`].
//!
//! Of an object that fails when some of its rows were sent, the ledger keeps how many: [`Ledger::rows_sent`].
//!
//! When rows were sent, the head names the sync's generation, the ledger before it is kept, and the objects that were sent
//! last are listed once more: how much of it all counts is decided when it is read, see [`super::commit`].
//!
//! Twelve bytes of memory are held for each object that is known or was sent.

mod chunks;
mod contents;
mod partly;
mod update;

use super::commit::{Commits, Counting};
use super::parts::{PartSet, Stored, Which};
use super::{BadState, Identity};
use crate::hash::{first_u64, update_framed};
use contents::{Contents, LAST, Meta};
use partly::Partly;
use sha2::{Digest as _, Sha256};
use update::Seen;

pub(super) use chunks::MAX_CHUNK_OBJECTS;
pub use update::{LedgerUpdate, Limits, StateWrites};

/// The key of a table's ledger, behind what all its keys start with.
pub(super) const LEDGER: &str = "ledger";

/// An object of the listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// Its whole key.
    pub key: &'a str,
    /// Its ETag, quotes included. Without one there is no way to see a change: such an object is never done.
    pub etag: Option<&'a str>,
    /// Last modification, in seconds since 1970.
    pub last_modified_s: i64,
}

impl Object<'_> {
    /// The first 64 bits of SHA-256 of key and ETag. `None`: without an ETag it is never done. Frozen.
    #[must_use]
    pub fn hash(&self) -> Option<u64> {
        let etag = self.etag?;
        let mut hash = Sha256::new();
        update_framed(&mut hash, self.key);
        hash.update(etag);
        Some(first_u64(&hash.finalize()))
    }

    fn time(&self) -> u32 {
        // Zero is not a time here. Seconds of 32 bits last until 2106.
        u32::try_from(self.last_modified_s.max(1)).unwrap_or(u32::MAX)
    }
}

/// A done object, in 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    hash: [u32; 2],
    /// Last modification as listed this time. Not listed yet: that of its place, where its chunk begins; 0: not known.
    time: u32,
}

impl Entry {
    fn new(hash: u64, time: u32) -> Self {
        Self { hash: [(hash >> 32) as u32, hash as u32], time }
    }

    fn hash(&self) -> u64 {
        u64::from(self.hash[0]) << 32 | u64::from(self.hash[1])
    }

    fn place(&self) -> Place {
        Place { time: self.time, hash: self.hash() }
    }
}

/// The position of an object among all: by time, those of one second by hash. Chunks begin at places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: u32,
    hash: u64,
}

impl Place {
    const FIRST: Self = Self { time: 0, hash: 0 };

    /// An entry of the chunk that begins here, in a place that is surely in that chunk.
    fn entry(self, hash: u64) -> Entry {
        let behind = u32::from(hash < self.hash);
        Entry::new(hash, self.time.saturating_add(behind))
    }
}

/// The done objects of a table.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Ledger {
    set: PartSet,
    /// By hash.
    entries: Vec<Entry>,
    /// Where the chunks begin, ascending.
    starts: Vec<Place>,
    /// Objects last modified then or before are done; 0: no such time.
    low_water: u32,
    /// Objects that failed when some of their rows were sent.
    partly: Partly,
    /// What else the backend holds than the chunks.
    held: Held,
    /// Objects that are to be read once more though the state has them as done. By hash.
    again: Vec<u64>,
    /// An object of `again` that was sent once more counts, whenever that was.
    once: bool,
    /// Objects that the state has as done and that are not, since their rows were never stored. By hash.
    lost: Vec<u64>,
    /// What the state has as done does not count, and the state does not say so yet.
    anew: bool,
}

/// What else is in the backend's current ledger than the chunks, for the case that nothing changes.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Held {
    /// All of the current ledger counts.
    whole: bool,
    /// The head's words.
    meta: String,
    /// The parts with the objects that were sent last, as text.
    last: Vec<String>,
}

impl Ledger {
    /// Reads the table's ledger out of the state: `entries` are the backend's keys and values that start with
    /// [`Identity::state_prefix`], others do no harm. `commits` says how much of it counts. Without state nothing is done.
    ///
    /// # Errors
    /// [`BadState`] when the state is incomplete, damaged, or of another release's format.
    pub fn load<'a>(
        identity: &Identity<'_>,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
        commits: &Commits,
    ) -> Result<Self, BadState> {
        let key = format!("{}{LEDGER}", identity.state_prefix());
        Self::read(&key, entries, commits).map_err(|what| identity.bad_state(what))
    }

    fn read<'a>(
        key: &str,
        state: impl IntoIterator<Item = (&'a str, &'a str)>,
        commits: &Commits,
    ) -> Result<Self, String> {
        let stored = Stored::read(key, state)?;
        let counting = |which| {
            let meta = stored.meta(which).map(|meta| Meta::parse(key, meta)).transpose()?;
            Ok::<_, String>(commits.counting(meta.and_then(|meta| meta.generation)))
        };
        let (which, counting, newer) = match counting(Which::Current)? {
            Counting::Previous => (Which::Previous, counting(Which::Previous)?, stored.parts(Which::Current).ok()),
            counting => (Which::Current, counting, None),
        };
        let loaded = stored.take(which)?;
        let meta = loaded.meta.unwrap_or_default();
        let contents = Contents::parse(key, &loaded.parts)?;
        let mut ledger = Self {
            set: loaded.set,
            entries: contents.entries,
            starts: contents.starts,
            low_water: Meta::parse(key, &meta)?.low_water,
            partly: contents.partly,
            held: Held::default(),
            again: Vec::new(),
            once: false,
            lost: Vec::new(),
            anew: false,
        };
        match counting {
            Counting::Whole => {}
            Counting::WithoutLast { once } => {
                ledger.entries.retain(|entry| contents.last.binary_search(&entry.hash()).is_err());
                contents.last.iter().for_each(|hash| ledger.partly.set(*hash, 0));
                (ledger.again, ledger.once) = (contents.last, once);
            }
            // It would have to be taken back twice: then nothing of it is sure.
            Counting::Previous => ledger.start_anew(),
        }
        if which == Which::Current {
            let last = loaded.parts.iter().filter(|part| part.starts_with(LAST)).map(|part| (*part).to_owned());
            ledger.held = Held { whole: ledger.again.is_empty(), meta, last: last.collect() };
        }
        if let Some(newer) = newer.and_then(|parts| Contents::parse(key, &parts).ok()) {
            let lost = newer.entries.iter().map(Entry::hash).filter(|hash| ledger.find(*hash).is_none());
            ledger.lost = lost.collect();
        }
        Ok(ledger)
    }

    /// How many objects are read once more, since it is not sure that their rows were stored.
    #[must_use]
    pub fn again(&self) -> u64 {
        self.again.len() as u64
    }

    /// How many objects an earlier sync sent whose rows were never stored: it was interrupted.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.len() as u64
    }

    /// How many objects are known to be done, those below the low water not counted.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether this version of the object was fully sent before, or is below the low water.
    #[must_use]
    pub fn is_done(&self, object: &Object<'_>) -> bool {
        object.time() <= self.low_water || object.hash().is_some_and(|hash| self.find(hash).is_some())
    }

    /// Forgets all objects and the low water: everything is to be read again.
    pub fn start_anew(&mut self) {
        self.entries = Vec::new();
        self.starts = Vec::new();
        self.low_water = 0;
        self.partly = Partly::default();
        self.again = Vec::new();
        self.held = Held::default();
        self.set.start_from_nothing();
        self.anew = true;
    }

    /// The state keys and values to set, in this order, so that a ledger that was started anew counts no more, even if this
    /// sync comes to no end; none when that is so already. Nothing that is known of the bucket is in them: with them more is
    /// read again, never less.
    #[must_use]
    pub fn renounce(&mut self) -> Vec<(String, String)> {
        if !self.is_anew() {
            return Vec::new();
        }
        self.anew = false;
        let (entries, set) = std::mem::take(&mut self.set).emptied();
        self.set = set;
        entries
    }

    /// Whether [`Ledger::renounce`] has something to say.
    #[must_use]
    pub fn is_anew(&self) -> bool {
        self.anew && self.set.was_written()
    }

    /// The name of the head that counts, or will when what [`Ledger::renounce`] gave is written: another one after each
    /// change. Where there is none, it has a name, too.
    pub(super) fn head_name(&self) -> &str {
        self.set.base_name()
    }

    /// These objects are done, too, and the state is to say so when it is written next. Gives how many are new.
    pub(super) fn join(&mut self, hashes: &[u64]) -> u64 {
        let known = self.entries.len();
        self.entries.reserve_exact(hashes.len());
        self.entries.extend(hashes.iter().map(|hash| Entry::new(*hash, 0)));
        self.entries.sort_unstable_by_key(Entry::hash);
        self.entries.dedup_by_key(|entry| entry.hash());
        let Self { entries, again, lost, held, .. } = self;
        let is_missing = |hash: &u64| entries.binary_search_by_key(hash, Entry::hash).is_err();
        again.retain(is_missing);
        lost.retain(is_missing);
        held.whole = false;
        (entries.len() - known) as u64
    }

    /// Rows of this version of the object that earlier syncs sent before it failed, from the first one on.
    #[must_use]
    pub fn rows_sent(&self, object: &Object<'_>) -> u64 {
        object.hash().map_or(0, |hash| self.partly.rows(hash))
    }

    /// Whether nothing is done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.low_water == 0 && self.partly == Partly::default()
    }

    fn find(&self, hash: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&hash, Entry::hash).ok()
    }

    /// Starts the walk over a complete listing, after a sync in which all that is marked [`LedgerUpdate::sent`] was sent.
    #[must_use]
    pub fn update(self) -> LedgerUpdate {
        let (added, not_done, partly, last) = (Vec::new(), Vec::new(), Partly::default(), Vec::new());
        let seen = Seen::none(self.entries.len());
        LedgerUpdate { ledger: self, seen, added, not_done, partly, last, partly_grew: false, is_partial: false }
    }
}

#[cfg(test)]
mod tests;
