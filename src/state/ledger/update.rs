//! What a sync did to the objects of a table, and what is to be written because of it.

use super::chunks::{CHUNK_SIZES, ChunkSizes, chunks, collapsed_time};
use super::contents::{Chunk, Meta, last_text};
use super::partly::Partly;
use super::{Entry, Ledger, Object};
use crate::state::parts::PartSetWrite;

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

/// A ledger that learns what a listing had.
#[derive(Debug)]
pub struct LedgerUpdate {
    pub(super) ledger: Ledger,
    /// Which of its entries were listed.
    pub(super) seen: Seen,
    pub(super) added: Vec<Entry>,
    /// Last modifications of listed objects that are not done.
    pub(super) not_done: Vec<u32>,
    /// Objects that failed when some of their rows were sent, in this sync or before.
    pub(super) partly: Partly,
    /// Rows of such an object were sent in this sync.
    pub(super) partly_grew: bool,
    /// Objects that were sent last.
    pub(super) last: Vec<Entry>,
    /// The listing was not complete.
    pub(super) is_partial: bool,
}

/// Which entries of a ledger were listed, a bit each.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<u64>);

impl Seen {
    /// None of so many.
    pub(super) fn none(entries: usize) -> Self {
        Self(vec![0; entries.div_ceil(64)])
    }

    fn all(entries: usize) -> Self {
        Self(vec![u64::MAX; entries.div_ceil(64)])
    }

    fn add(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn has(&self, index: usize) -> bool {
        self.0[index / 64] & 1 << (index % 64) != 0
    }
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
            Some(index) => self.see(index, time),
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
            Some(index) => self.see(index, time),
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

    fn see(&mut self, index: usize, time: u32) {
        self.ledger.entries[index].time = time;
        self.seen.add(index);
    }

    /// The listing was not complete: what it did not name may be there, and keeps the state that it had. Such a listing does not
    /// tell which objects are the oldest, so none becomes a time. To be called last.
    pub fn keep_unseen(&mut self) {
        self.is_partial = true;
        self.seen = Seen::all(self.ledger.entries.len());
        let Self { ledger, added, partly, .. } = self;
        let is_done = |hash| ledger.find(hash).is_some() || added.iter().any(|entry| entry.hash() == hash);
        partly.keep(&ledger.partly, |hash| !is_done(hash));
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

    pub(super) fn finish_with(self, limits: &Limits, sizes: ChunkSizes) -> StateWrites {
        let Self { ledger, seen, mut added, not_done, partly, partly_grew, mut last, is_partial } = self;
        let Ledger { set, mut entries, starts, mut low_water, held, .. } = ledger;
        let known = entries.len();
        let mut index = 0..;
        entries.retain(|_| index.next().is_some_and(|index| seen.has(index)));
        let forgotten = (known - entries.len()) as u64;
        added.sort_unstable_by_key(Entry::hash);
        added.dedup_by_key(|entry| entry.hash());
        let added_count = added.len() as u64;
        entries.reserve_exact(added.len());
        entries.append(&mut added);
        entries.sort_unstable_by_key(Entry::place);

        // What may be read once more must not fall below the low water, where everything counts as done.
        let first_last = last.iter().map(|entry| i64::from(entry.time) - 1).min().unwrap_or(i64::MAX);
        let newest_low_water_s = if is_partial { 0 } else { limits.newest_low_water_s.min(first_last) };
        let limits = &Limits { newest_low_water_s, ..*limits };
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
            change.add(&last_text(part));
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
