//! How the objects of a ledger are cut into chunks, and when the oldest become a time.
//!
//! Cuts stay where they are while that makes sense: a chunk that no object came to or left is the same text as before, and the
//! backend is not asked to write it.

use super::{Entry, Limits, Place};

/// How many objects chunks have.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkSizes {
    /// The most.
    pub(super) max: usize,
    /// In a chunk that gets no newer ones: leaves room for some late arrivals.
    pub(super) full: usize,
    /// Neighbours that have no more than this together become one. Less than three eighths of the most, which a chunk
    /// has at least when it was split: what was split is not merged again at once.
    pub(super) merged: usize,
}

/// Most objects in a value of the state: however their hashes lie, the text stays below 48 KiB.
pub(in crate::state) const MAX_CHUNK_OBJECTS: usize = 5_500;
/// Those of a ledger that is written.
pub(super) const CHUNK_SIZES: ChunkSizes = ChunkSizes { max: MAX_CHUNK_OBJECTS, full: 5_000, merged: 2_000 };

/// The time that the low water rises to; `None` when the limit holds. `entries` by place.
pub(super) fn collapsed_time(entries: &[Entry], starts: &[Place], limits: &Limits) -> Option<u32> {
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
pub(super) fn chunks<'a>(entries: &'a [Entry], starts: &[Place], sizes: ChunkSizes) -> Vec<(Place, &'a [Entry])> {
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
