//! A change of a set: its new contents, and what has to be written so that they count.

use super::head::{CHECKSUM, Checksum, Digest, Head, VERSION, digest};
use super::{PREVIOUS, PartSet};
use crate::state::MAX_VALUE_CHARS;
use std::collections::{BTreeMap, BTreeSet};

/// The new contents of a set.
#[derive(Debug)]
pub(in crate::state) struct PartSetWrite {
    set: PartSet,
    /// Numbers that are not free: those of the old parts, and of the new ones so far.
    taken: BTreeSet<u32>,
    /// No number below it is free.
    free: u32,
    parts: BTreeMap<u32, Digest>,
    chars: u64,
    written: BTreeMap<u32, String>,
}

impl PartSetWrite {
    pub(super) fn new(set: PartSet) -> Self {
        let taken = set.taken.clone();
        Self { set, taken, free: 0, parts: BTreeMap::new(), chars: 0, written: BTreeMap::new() }
    }

    /// All parts that the set holds now stay.
    pub(in crate::state) fn keep_all(&mut self) {
        let Self { set, parts, .. } = self;
        parts.extend(set.live.iter().filter(|(_, number)| set.current.contains(number)).map(|(d, n)| (*n, *d)));
        self.chars = set.chars;
    }

    /// Takes out a part that stayed.
    pub(in crate::state) fn remove(&mut self, part: &str) {
        let value = format!("{VERSION}{part}");
        if let Some(number) = self.set.live.get(&digest(&value))
            && self.parts.remove(number).is_some()
        {
            self.chars -= value.len() as u64;
        }
    }

    /// Adds a part (ASCII, no two alike). One that is in the set already stays where it is. True if it is new.
    pub(in crate::state) fn add(&mut self, part: &str) -> bool {
        let value = format!("{VERSION}{part}");
        debug_assert!(value.is_ascii() && value.len() <= MAX_VALUE_CHARS, "{} characters", value.len());
        let digest = digest(&value);
        self.chars += value.len() as u64;
        if let Some(number) = self.set.live.get(&digest) {
            self.parts.insert(*number, digest);
            return false;
        }
        while self.taken.contains(&self.free) {
            self.free += 1;
        }
        self.taken.insert(self.free);
        self.parts.insert(self.free, digest);
        self.written.insert(self.free, value);
        true
    }

    /// Whether the set already holds exactly this and `also`, under a head with this `meta`.
    pub(in crate::state) fn is_stored(&self, also: &[String], meta: &str) -> bool {
        let also = also.iter().map(|part| self.set.live.get(&digest(&format!("{VERSION}{part}"))).copied());
        let numbers: Option<BTreeSet<u32>> = also.chain(self.parts.keys().copied().map(Some)).collect();
        self.written.is_empty() && self.set.meta == meta && numbers.is_some_and(|numbers| numbers == self.set.current)
    }

    /// The keys to write with their values, in that order; none when nothing changed. `meta`: words `name=value`,
    /// separated by single spaces. The head that the change started from is not kept.
    pub(in crate::state) fn finish(self, meta: &str) -> Vec<(String, String)> {
        self.finish_with(meta, false)
    }

    /// The same, with the head that the change started from as the previous one, so that the next reader may choose.
    pub(in crate::state) fn finish_revocably(self, meta: &str) -> Vec<(String, String)> {
        self.finish_with(meta, true)
    }

    /// [`PartSetWrite::finish`], with the set as it is once all of it is written.
    pub(in crate::state) fn finish_and_go_on(self, meta: &str) -> (Vec<(String, String)>, PartSet) {
        if self.is_stored(&[], meta) { (Vec::new(), self.set) } else { self.write_and_go_on(meta) }
    }

    /// The same, with a head in any case.
    pub(super) fn write_and_go_on(self, meta: &str) -> (Vec<(String, String)>, PartSet) {
        let numbers: BTreeSet<u32> = self.parts.keys().copied().collect();
        let set = PartSet {
            key: self.set.key.clone(),
            generation: self.set.generation + 1,
            meta: meta.to_owned(),
            current: numbers.clone(),
            chars: self.chars,
            taken: numbers,
            live: self.parts.iter().map(|(number, digest)| (*digest, *number)).collect(),
            leftover: BTreeSet::new(),
            base: self.head(meta),
            previous: String::new(),
            has_head: true,
        };
        (self.entries(meta, false), set)
    }

    fn head(&self, meta: &str) -> String {
        let Self { set, parts, chars, .. } = self;
        let text = Head::text(set.generation + 1, parts.keys().copied(), parts.len(), *chars, meta);
        let mut checksum = Checksum::new(&text);
        parts.iter().for_each(|(number, digest)| checksum.add(*number, digest));
        format!("{text}{CHECKSUM}{}", checksum.finish())
    }

    fn finish_with(self, meta: &str, revocable: bool) -> Vec<(String, String)> {
        if self.is_stored(&[], meta) { Vec::new() } else { self.entries(meta, revocable) }
    }

    fn entries(self, meta: &str, revocable: bool) -> Vec<(String, String)> {
        let head = self.head(meta);
        let Self { set, parts, written, .. } = self;
        let key = &set.key;
        let head = (key.clone(), head);
        let empty = |number: &u32| (format!("{key}.{number}"), String::new());
        let emptied: Vec<_> = set.leftover.iter().filter(|number| !written.contains_key(number)).map(empty).collect();
        let mut changes: Vec<_> =
            written.into_iter().map(|(number, value)| (format!("{key}.{number}"), value)).collect();
        changes.extend(emptied);
        let previous = |value: String| (format!("{key}{PREVIOUS}"), value);
        if revocable {
            if set.previous != set.base {
                changes.push(previous(set.base));
            }
            changes.push(head);
        } else {
            changes.push(head);
            // Behind the head, which counts none of it any more.
            if !set.previous.is_empty() {
                changes.push(previous(String::new()));
            }
            changes.extend(set.taken.iter().filter(|number| !parts.contains_key(number)).map(empty));
        }
        changes
    }
}
