//! The ledger of one table: which objects are done.
//!
//! An object is known by a 64-bit hash of key and ETag; nothing else of it is kept. (That two of a million objects share a
//! hash has a chance of one in 37 million; then one of them would be taken for the other.) The state holds the hashes in
//! chunks by last modification, at most 5,500 each: a bucket that only grows changes its newest chunk, a
//! late arrival or a deleted object the one chunk of its time, and all others stay as they are in the backend.
//!
//! A sync asks [`Ledger::is_done`] for each object, and when all was sent it walks the listing once more, with
//! [`Ledger::update`]: every listed object is named once, with [`LedgerUpdate::sent`] or [`LedgerUpdate::seen`]. Objects that are not
//! named are gone from the bucket and forgotten. Above a limit the oldest objects are replaced by a time, the *low water*:
//! see [`Limits`].
//!
//! Of an object that fails when some of its rows were sent, the ledger keeps how many: [`Ledger::rows_sent`].
//!
//! When rows were sent, the head names the sync's generation, the ledger before it is kept, and the objects that were sent
//! last are listed once more: how much of it all counts is decided when it is read, see [`super::commit`].
//!
//! Twelve bytes of memory are held for each object that is known or was sent.

mod contents;
mod partly;

use super::commit::{Commits, Counting};
use super::parts::{PartSet, PartSetWrite, Stored, Which};
use super::{BadState, Identity};
use crate::hash::{first_u64, update_framed};
use contents::{Chunk, Contents, LAST, Meta};
use partly::Partly;
use sha2::{Digest as _, Sha256};

/// How many objects chunks have.
#[derive(Debug, Clone, Copy)]
struct ChunkSizes {
    /// The most.
    max: usize,
    /// In a chunk that gets no newer ones: leaves room for some late arrivals.
    full: usize,
    /// Neighbours that have no more than this together become one. Less than three eighths of the most, which a chunk
    /// has at least when it was split: what was split is not merged again at once.
    merged: usize,
}

/// Most objects in a value of the state: however their hashes lie, the text stays below 48 KiB.
pub(super) const MAX_CHUNK_OBJECTS: usize = 5_500;
const CHUNK_SIZES: ChunkSizes = ChunkSizes { max: MAX_CHUNK_OBJECTS, full: 5_000, merged: 2_000 };

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
    /// Last modification as listed this time; 0: not listed yet.
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

/// When objects stop being remembered one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Above this number of done objects the oldest are forgotten, and the *low water* rises to the last of them: from then on
    /// every object last modified by that time counts as done, be it known or not. What is not seen any more is an
    /// object that arrives with an older last modification (a restored backup of the bucket, another storage system's
    /// copy), and an old object that failed, was archived or not selected so far.
    pub ledger_limit: u64,
    /// The low water never passes this time (seconds since 1970): the `Date` of the listing's first page less
    /// `late_arrival_window`. If that leaves more objects than the limit, they are kept.
    pub newest_low_water_s: i64,
}

/// What a sync changes.
#[derive(Debug)]
pub struct StateWrites {
    /// The new parts; `None` when all is as it was.
    change: Option<PartSetWrite>,
    low_water: u32,
    /// Rows of this table were sent: whether they are stored decides whether it counts.
    pub revocable: bool,
    /// Objects in the ledger from now on.
    pub objects: u64,
    /// Objects that were not in it before.
    pub added: u64,
    /// Objects that were in it and are gone from the listing.
    pub forgotten: u64,
    /// The low water rose.
    pub collapse: Option<LowWaterRise>,
}

/// The oldest objects were replaced by a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowWaterRise {
    /// Objects last modified then (seconds since 1970) or before count as done from now on.
    pub low_water_s: i64,
    /// Done objects that are no longer remembered one by one.
    pub objects: u64,
    /// Listed objects that are not done and will not be read any more.
    pub unseen: u64,
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
        let key = format!("{}ledger", identity.state_prefix());
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
        let (partly, last) = (Partly::default(), Vec::new());
        LedgerUpdate { ledger: self, added: Vec::new(), not_done: Vec::new(), partly, last, partly_grew: false }
    }
}

/// A ledger that learns what a listing had.
#[derive(Debug)]
pub struct LedgerUpdate {
    ledger: Ledger,
    added: Vec<Entry>,
    /// Last modifications of listed objects that are not done.
    not_done: Vec<u32>,
    /// Objects that failed when some of their rows were sent, in this sync or before.
    partly: Partly,
    /// Rows of such an object were sent in this sync.
    partly_grew: bool,
    /// Objects that were sent last.
    last: Vec<Entry>,
}

impl LedgerUpdate {
    /// An object that is in the bucket and was not sent this time: it keeps the state that it had. To be called for
    /// skipped, failed and archived objects, and for those that `include` and `exclude` left out.
    pub fn seen(&mut self, object: &Object<'_>) {
        let time = object.time();
        if time <= self.ledger.low_water {
            return;
        }
        match object.hash().and_then(|hash| self.ledger.find(hash)) {
            Some(index) => self.ledger.entries[index].time = time,
            None => {
                self.not_done.push(time);
                if let Some(hash) = object.hash() {
                    self.partly.set(hash, self.ledger.partly.rows(hash));
                }
            }
        }
    }

    /// Of an object that was named with [`LedgerUpdate::seen`], with the ETag that it was read with, this many rows were sent,
    /// from the first one on, before it failed.
    pub fn sent_partly(&mut self, object: &Object<'_>, rows: u64) {
        if let Some(hash) = object.hash()
            && object.time() > self.ledger.low_water
        {
            if rows > self.ledger.partly.rows(hash) {
                self.partly_grew = true;
                // Nothing follows how far back in the stream they are.
                self.is_last(hash, object.time());
            }
            self.partly.set(hash, rows);
        }
    }

    /// An object of which this sync sent every row, with the ETag that it was read with.
    pub fn sent(&mut self, object: &Object<'_>) {
        let time = object.time();
        let Some(hash) = object.hash() else { return self.not_done.push(time) };
        if time <= self.ledger.low_water {
            return;
        }
        match self.ledger.find(hash) {
            Some(index) => self.ledger.entries[index].time = time,
            None => self.added.push(Entry::new(hash, time)),
        }
    }

    /// The same for an object that was sent so lately that its rows may not be stored yet.
    pub fn sent_last(&mut self, object: &Object<'_>) {
        if let Some(hash) = object.hash()
            && object.time() > self.ledger.low_water
        {
            self.is_last(hash, object.time());
        }
        self.sent(object);
    }

    fn is_last(&mut self, hash: u64, time: u32) {
        if !(self.ledger.once && self.ledger.again.binary_search(&hash).is_ok()) {
            self.last.push(Entry::new(hash, time));
        }
    }

    /// Ends the walk: what is to be written. The old ledger is gone; the next sync loads the new one.
    #[must_use]
    pub fn finish(self, limits: &Limits) -> StateWrites {
        self.finish_with(limits, CHUNK_SIZES)
    }

    fn finish_with(self, limits: &Limits, sizes: ChunkSizes) -> StateWrites {
        let Self { ledger, mut added, not_done, partly, partly_grew, mut last } = self;
        let Ledger { set, mut entries, starts, mut low_water, held, .. } = ledger;
        let known = entries.len();
        entries.retain(|entry| entry.time != 0);
        let forgotten = (known - entries.len()) as u64;
        added.sort_unstable_by_key(Entry::hash);
        added.dedup_by_key(|entry| entry.hash());
        let added_count = added.len() as u64;
        entries.reserve_exact(added.len());
        entries.append(&mut added);
        entries.sort_unstable_by_key(Entry::place);

        // What may be read once more must not fall below the low water, where everything counts as done.
        let first_last = last.iter().map(|entry| i64::from(entry.time) - 1).min().unwrap_or(i64::MAX);
        let limits = &Limits { newest_low_water_s: limits.newest_low_water_s.min(first_last), ..*limits };
        let mut collapse = None;
        let dropped = |time: u32| entries.partition_point(|entry| entry.time <= time);
        let time = collapsed_time(&entries, &starts, limits).filter(|time| *time > low_water && dropped(*time) > 0);
        if let Some(time) = time {
            let dropped = dropped(time);
            entries.drain(..dropped);
            let unseen = not_done.iter().filter(|not_done| **not_done <= time).count() as u64;
            collapse = Some(LowWaterRise { low_water_s: time.into(), objects: dropped as u64, unseen });
            low_water = time;
        }

        let mut change = set.change();
        let mut hashes = Vec::new();
        for (start, chunk) in chunks(&entries, &starts, sizes) {
            hashes.clear();
            hashes.extend(chunk.iter().map(Entry::hash));
            hashes.sort_unstable();
            Chunk::add(&mut change, start, &hashes);
        }
        if let Some(text) = partly.to_text() {
            change.add(&text);
        }
        let revocable = added_count > 0 || partly_grew;
        let untouched = !revocable && collapse.is_none() && held.whole && change.is_stored(&held.last, &held.meta);
        last.sort_unstable_by_key(Entry::hash);
        last.dedup_by_key(|entry| entry.hash());
        for part in last.chunks(sizes.max) {
            change.add(&contents::last_text(part));
        }
        StateWrites {
            change: (!untouched).then_some(change),
            low_water,
            revocable,
            objects: entries.len() as u64,
            added: added_count,
            forgotten,
            collapse,
        }
    }
}

impl StateWrites {
    /// The state keys and values to set, in this order; none when all is as it was. `generation` is that of this sync.
    #[must_use]
    pub fn entries(self, generation: u64) -> Vec<(String, String)> {
        let Some(change) = self.change else { return Vec::new() };
        let meta = Meta { low_water: self.low_water, generation: self.revocable.then_some(generation) };
        if self.revocable { change.finish_revocably(&meta.to_text()) } else { change.finish(&meta.to_text()) }
    }

    /// Whether all is as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.change.is_none()
    }
}

/// The time that the low water rises to; `None` when the limit holds. `entries` by place.
fn collapsed_time(entries: &[Entry], starts: &[Place], limits: &Limits) -> Option<u32> {
    let limit = usize::try_from(limits.ledger_limit).unwrap_or(usize::MAX);
    let excess = entries.len().checked_sub(limit).filter(|excess| *excess > 0)?;
    let last = entries[excess - 1].place();
    // Whole chunks, so that a bucket at its limit does not rewrite two chunks in each sync; never the newest chunk.
    let cut = starts.iter().find(|start| **start > last);
    let cut = cut.map_or(excess, |start| entries.partition_point(|entry| entry.place() < *start));
    let newest = u32::try_from(limits.newest_low_water_s.max(0)).unwrap_or(u32::MAX);
    Some(entries[cut - 1].time.min(newest))
}

/// Cuts `entries` (by place) into chunks, along the old starts where that still makes sense.
fn chunks<'a>(entries: &'a [Entry], starts: &[Place], sizes: ChunkSizes) -> Vec<(Place, &'a [Entry])> {
    let mut merged: Vec<(Place, usize, usize)> = Vec::new();
    let mut begin = 0;
    // The first chunk begins before everything, whatever was its start.
    for index in 0..starts.len().max(1) {
        let start = if index == 0 { Place::FIRST } else { starts[index] };
        let end = starts.get(index + 1);
        let end = end.map_or(entries.len(), |next| entries.partition_point(|entry| entry.place() < *next));
        match merged.last_mut() {
            Some((_, first, last)) if begin == end || *first == *last || end - *first <= sizes.merged => {
                *last = end;
            }
            _ => merged.push((start, begin, end)),
        }
        begin = end;
    }
    let mut chunks = Vec::new();
    let newest = merged.len() - 1;
    for (index, (start, first, last)) in merged.into_iter().enumerate() {
        split(start, &entries[first..last], index == newest, sizes, &mut chunks);
    }
    chunks.retain(|(_, chunk)| !chunk.is_empty());
    chunks
}

/// Cuts a chunk that is too large: the newest into full ones and a rest that grows, others in the middle.
fn split<'a>(
    start: Place,
    entries: &'a [Entry],
    newest: bool,
    sizes: ChunkSizes,
    chunks: &mut Vec<(Place, &'a [Entry])>,
) {
    let count = entries.len();
    if count <= sizes.max {
        chunks.push((start, entries));
        return;
    }
    let (wanted, slack) = if newest { (sizes.full, sizes.full / 4) } else { (count / 2, count / 8) };
    // Between two seconds if one ends nearby, before the wanted place; else in the middle of one.
    let second = entries[wanted].time;
    let cut = entries.partition_point(|entry| entry.time < second);
    let (cut, next) = if cut >= wanted - slack && cut > 0 {
        (cut, Place { time: second, hash: 0 })
    } else {
        (wanted, entries[wanted].place())
    };
    let (left, right) = entries.split_at(cut);
    split(start, left, false, sizes, chunks);
    split(next, right, newest, sizes, chunks);
}

#[cfg(test)]
mod tests;
