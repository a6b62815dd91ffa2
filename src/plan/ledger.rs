//! The ledger of one table: which objects are done.
//!
//! An object is known by a 64-bit hash of key and ETag; nothing else of it is kept. (That two of a million objects share a
//! hash has a chance of one in 37 million; then one of them would be taken for the other.) The state holds the hashes in
//! chunks by last modification, at most 5,500 each: a bucket that only grows changes its newest chunk, a
//! late arrival or a deleted object the one chunk of its time, and all others stay as they are in the backend.
//!
//! A sync asks [`Ledger::is_done`] for each object, and when all was sent it walks the listing once more, with
//! [`Ledger::update`]: every listed object is named once, with [`Update::sent`] or [`Update::listed`]. Objects that are not
//! named are gone from the bucket and forgotten. Above a limit the oldest objects are replaced by a time, the *low water*:
//! see [`Limits`].
//!
//! Of an object that fails when some of its rows were sent, the ledger keeps how many: [`Ledger::rows_sent`].
//!
//! Twelve bytes of memory are held for each object that is known or was sent.

mod partly;

use super::parts::{Change, PartSet};
use super::{BadState, Identity, format};
use partly::Partly;
use sha2::{Digest as _, Sha256};

/// How many objects chunks have.
#[derive(Debug, Clone, Copy)]
struct ChunkSizes {
    /// The most: however their hashes lie, the text stays below 48 KiB.
    max: usize,
    /// In a chunk that gets no newer ones: leaves room for some late arrivals.
    full: usize,
    /// Neighbours that have no more than this together become one. Less than three eighths of the most, which a chunk
    /// has at least when it was split: what was split is not merged again at once.
    merged: usize,
}

const CHUNK_SIZES: ChunkSizes = ChunkSizes { max: 5_500, full: 5_000, merged: 2_000 };

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
    /// The first 64 bits of SHA-256 of key and ETag. Frozen.
    fn hash(&self) -> Option<u64> {
        let etag = self.etag?;
        let mut hash = Sha256::new();
        // The length first: no two pairs give the same bytes.
        hash.update((self.key.len() as u64).to_be_bytes());
        hash.update(self.key);
        hash.update(etag);
        let digest = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Some(u64::from_be_bytes(first))
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

/// Where an object stands among all: by time, those of one second by hash. Chunks begin at places.
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
}

/// When objects stop being remembered one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Above so many done objects the oldest are forgotten, and the *low water* rises to the last of them: from then on
    /// every object last modified by that time counts as done, be it known or not. What is not seen any more is an
    /// object that arrives with an older last modification (a restored backup of the bucket, another storage system's
    /// copy), and an old object that failed, was archived or not selected so far.
    pub ledger_limit: u64,
    /// The low water never passes this time (seconds since 1970): the `Date` of the listing's first page less
    /// `late_arrival_window`. If that leaves more objects than the limit, they are kept.
    pub newest_low_water_s: i64,
}

/// What a sync changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes {
    /// State keys and values to set, in this order; none when all is as it was.
    pub entries: Vec<(String, String)>,
    /// Objects in the ledger from now on.
    pub objects: u64,
    /// Objects that were not in it before.
    pub added: u64,
    /// Objects that were in it and are gone from the listing.
    pub forgotten: u64,
    /// The low water rose.
    pub collapse: Option<Collapse>,
}

/// The oldest objects were replaced by a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collapse {
    /// Objects last modified then (seconds since 1970) or before count as done from now on.
    pub low_water_s: i64,
    /// Done objects that are no longer remembered one by one.
    pub objects: u64,
    /// Listed objects that are not done and will not be read any more.
    pub unseen: u64,
}

impl Ledger {
    /// Reads the table's ledger out of the state: `entries` are the backend's keys and values that start with
    /// [`Identity::state_prefix`], others do no harm. Without state nothing is done.
    ///
    /// # Errors
    /// [`BadState`] when the state is incomplete, damaged, or of another release's format.
    pub fn load<'a>(
        identity: &Identity<'_>,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BadState> {
        let key = format!("{}ledger", identity.state_prefix());
        Self::read(&key, entries).map_err(|what| identity.bad_state(what))
    }

    fn read<'a>(key: &str, state: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let loaded = PartSet::load(key, state)?;
        let low_water = match loaded.meta.as_deref() {
            None | Some("") => 0,
            Some(meta) => meta
                .strip_prefix("low_water=")
                .and_then(|time| time.parse().ok())
                .ok_or_else(|| format!("{key} says {meta:?}, which is not known: another release wrote it"))?,
        };
        let mut chunks = Vec::with_capacity(loaded.parts.len());
        let mut partly = Partly::default();
        for part in loaded.parts {
            if Partly::is_part(part) {
                partly = Partly::parse(part).ok_or_else(|| format!("a part of {key} is damaged"))?;
                continue;
            }
            let chunk = Chunk::parse(part).ok_or_else(|| format!("a part of {key} is no chunk of a ledger"))?;
            chunks.push(chunk);
        }
        let mut entries = Vec::new();
        entries.reserve_exact(chunks.iter().map(|chunk| chunk.count).sum());
        for chunk in &chunks {
            let hashes = format::decode(chunk.hashes, chunk.count);
            let hashes = hashes.map_err(|what| format!("a part of {key} is damaged: {what}"))?;
            entries.extend(hashes.into_iter().map(|hash| Entry::new(hash, 0)));
        }
        entries.sort_unstable_by_key(Entry::hash);
        entries.dedup_by_key(|entry| entry.hash());
        let mut starts: Vec<Place> = chunks.iter().map(|chunk| chunk.start).collect();
        starts.sort_unstable();
        Ok(Self { set: loaded.set, entries, starts, low_water, partly })
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

    /// Starts the walk over a complete listing, after a sync in which all that is marked [`Update::sent`] was sent.
    #[must_use]
    pub fn update(self) -> Update {
        Update { ledger: self, added: Vec::new(), undone: Vec::new(), partly: Partly::default() }
    }
}

/// A ledger that learns what a listing had.
#[derive(Debug)]
pub struct Update {
    ledger: Ledger,
    added: Vec<Entry>,
    /// Last modifications of listed objects that are not done.
    undone: Vec<u32>,
    /// Objects that failed when some of their rows were sent, in this sync or before.
    partly: Partly,
}

impl Update {
    /// An object that is in the bucket and was not sent this time: it keeps the state that it had. To be called for
    /// skipped, failed and archived objects, and for those that `include` and `exclude` left out.
    pub fn listed(&mut self, object: &Object<'_>) {
        let time = object.time();
        if time <= self.ledger.low_water {
            return;
        }
        match object.hash().and_then(|hash| self.ledger.find(hash)) {
            Some(index) => self.ledger.entries[index].time = time,
            None => {
                self.undone.push(time);
                if let Some(hash) = object.hash() {
                    self.partly.set(hash, self.ledger.partly.rows(hash));
                }
            }
        }
    }

    /// Of an object that was named with [`Update::listed`], with the ETag that it was read with, so many rows were sent,
    /// from the first one on, before it failed.
    pub fn sent_partly(&mut self, object: &Object<'_>, rows: u64) {
        if let Some(hash) = object.hash()
            && object.time() > self.ledger.low_water
        {
            self.partly.set(hash, rows);
        }
    }

    /// An object of which this sync sent every row, with the ETag that it was read with.
    pub fn sent(&mut self, object: &Object<'_>) {
        let time = object.time();
        let Some(hash) = object.hash() else { return self.undone.push(time) };
        if time <= self.ledger.low_water {
            return;
        }
        match self.ledger.find(hash) {
            Some(index) => self.ledger.entries[index].time = time,
            None => self.added.push(Entry::new(hash, time)),
        }
    }

    /// Ends the walk: what is to be written. The old ledger is gone; the next sync loads the new one.
    #[must_use]
    pub fn finish(self, limits: &Limits) -> Changes {
        self.finish_with(limits, CHUNK_SIZES)
    }

    fn finish_with(self, limits: &Limits, sizes: ChunkSizes) -> Changes {
        let Self { ledger, mut added, undone, partly } = self;
        let Ledger { set, mut entries, starts, mut low_water, .. } = ledger;
        let known = entries.len();
        entries.retain(|entry| entry.time != 0);
        let forgotten = (known - entries.len()) as u64;
        added.sort_unstable_by_key(Entry::hash);
        added.dedup_by_key(|entry| entry.hash());
        let added_count = added.len() as u64;
        entries.reserve_exact(added.len());
        entries.append(&mut added);
        entries.sort_unstable_by_key(Entry::place);

        let mut collapse = None;
        if let Some(time) = collapsed_time(&entries, &starts, limits).filter(|time| *time > low_water) {
            let dropped = entries.partition_point(|entry| entry.time <= time);
            entries.drain(..dropped);
            let unseen = undone.iter().filter(|undone| **undone <= time).count() as u64;
            collapse = Some(Collapse { low_water_s: time.into(), objects: dropped as u64, unseen });
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
        let meta = if low_water == 0 { String::new() } else { format!("low_water={low_water}") };
        Changes {
            entries: change.finish(&meta),
            objects: entries.len() as u64,
            added: added_count,
            forgotten,
            collapse,
        }
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

/// A chunk as text: `<time>.<hash> <count> <hashes>`, the first two being the place where it begins.
struct Chunk<'a> {
    start: Place,
    count: usize,
    hashes: &'a str,
}

impl<'a> Chunk<'a> {
    fn add(change: &mut Change, start: Place, hashes: &[u64]) {
        let Place { time, hash } = start;
        change.add(&format!("{time}.{hash:016x} {} {}", hashes.len(), format::encode(hashes)));
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (time, hash) = words.next()?.split_once('.')?;
        let start = Place { time: time.parse().ok()?, hash: u64::from_str_radix(hash, 16).ok()? };
        let count = words.next()?.parse().ok()?;
        let hashes = words.next()?;
        // More than it can be: a chunk of another release is refused by its version, not here.
        (count <= hashes.len()).then_some(Self { start, count, hashes })
    }
}

#[cfg(test)]
mod tests;
