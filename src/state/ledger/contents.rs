//! The texts of a ledger: the words of its head, and its parts.

use super::super::hash_text;
use super::super::parts::PartSetWrite;
use super::partly::Partly;
use super::{Entry, Place};

/// The words of the head.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meta {
    /// 0: none.
    pub(super) low_water: u32,
    /// Of the sync that wrote it, if rows were sent.
    pub(super) generation: Option<u64>,
}

impl Meta {
    pub(super) fn parse(key: &str, text: &str) -> Result<Self, String> {
        let mut meta = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let known = match word.split_once('=') {
                Some(("low_water", time)) => time.parse().map(|time| meta.low_water = time).is_ok(),
                Some(("commit", generation)) => {
                    generation.parse().map(|generation| meta.generation = Some(generation)).is_ok()
                }
                _ => false,
            };
            if !known {
                return Err(format!("{key} says {text:?}, which is not known: another release wrote it"));
            }
        }
        Ok(meta)
    }

    pub(super) fn to_text(self) -> String {
        let low_water = (self.low_water > 0).then(|| format!("low_water={}", self.low_water));
        let generation = self.generation.map(|generation| format!("commit={generation}"));
        low_water.into_iter().chain(generation).collect::<Vec<_>>().join(" ")
    }
}

/// What the parts of a ledger hold.
#[derive(Debug)]
pub(super) struct Contents {
    /// By hash.
    pub(super) entries: Vec<Entry>,
    /// Ascending.
    pub(super) starts: Vec<Place>,
    /// The objects that were sent last, ascending; they are among `entries`, too.
    pub(super) last: Vec<u64>,
    /// Objects that failed when some of their rows were sent.
    pub(super) partly: Partly,
}

impl Contents {
    pub(super) fn parse(key: &str, parts: &[&str]) -> Result<Self, String> {
        let damaged = |what| format!("a part of {key} is damaged: {what}");
        let mut chunks = Vec::with_capacity(parts.len());
        let (mut last, mut partly) = (Vec::new(), Partly::default());
        for part in parts {
            let unknown = || format!("a part of {key} is not a chunk of a ledger");
            if let Some(part) = part.strip_prefix(LAST) {
                let (count, hashes) = part.split_once(' ').ok_or_else(unknown)?;
                let count = count.parse().map_err(|_| unknown())?;
                last.extend(hash_text::decode(hashes, count).map_err(damaged)?);
            } else if Partly::is_part(part) {
                partly = Partly::parse(part).ok_or_else(|| format!("a part of {key} is damaged"))?;
            } else {
                chunks.push(Chunk::parse(part).ok_or_else(unknown)?);
            }
        }
        last.sort_unstable();
        let mut entries = Vec::new();
        entries.reserve_exact(chunks.iter().map(|chunk| chunk.count).sum());
        for chunk in &chunks {
            let hashes = hash_text::decode(chunk.hashes, chunk.count).map_err(damaged)?;
            entries.extend(hashes.into_iter().map(|hash| chunk.start.entry(hash)));
        }
        entries.sort_unstable_by_key(Entry::hash);
        entries.dedup_by_key(|entry| entry.hash());
        let mut starts: Vec<Place> = chunks.iter().map(|chunk| chunk.start).collect();
        starts.sort_unstable();
        Ok(Self { entries, starts, last, partly })
    }
}

/// First word of a part that lists objects that were sent last: `last <count> <hashes>`.
pub(super) const LAST: &str = "last ";

/// Such a part; the entries by hash, none twice.
pub(super) fn last_text(entries: &[Entry]) -> String {
    let hashes: Vec<u64> = entries.iter().map(Entry::hash).collect();
    format!("{LAST}{} {}", hashes.len(), hash_text::encode(&hashes))
}

/// A chunk as text: `<time>.<hash> <count> <hashes>`, the first two being the place where it begins.
pub(super) struct Chunk<'a> {
    start: Place,
    count: usize,
    hashes: &'a str,
}

impl<'a> Chunk<'a> {
    pub(super) fn add(change: &mut PartSetWrite, start: Place, hashes: &[u64]) {
        let Place { time, hash } = start;
        change.add(&format!("{time}.{hash:016x} {} {}", hashes.len(), hash_text::encode(hashes)));
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
