//! A text of any length under numbered keys, that is read back whole or not at all.
//!
//! ```text
//! <key>.0, <key>.1, …   parts, each at most 48 KiB, in any order
//! <key>                 the head: which numbers count, how many parts and characters, and a checksum of it all
//! <key>.prev            the head before it, where a change may have to be taken back; else empty, or not there
//! ```
//!
//! A change never touches a part that one of the two heads counts: new content goes to numbers that are free, and the head,
//! written last, turns from the old parts to the new ones. So a write that stops before the head leaves everything as it
//! was, and as long as `<key>.prev` is there, what the set held before is whole, too: [`Which`] chooses.
//! Whatever else happens to the rows (some lost, some from another write) the checksum does not fit, which is an error.
//! Parts that no head counts any more are reused, or emptied, by the next change.

mod change;
mod head;

pub(super) use change::PartSetWrite;
pub(super) use head::VERSION;

use head::{Checksum, Digest, Head, digest, version_1};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is put behind the key for the head before the current one.
const PREVIOUS: &str = ".prev";
/// What [`PartSet::base_name`] gives where there is no head.
const NO_HEAD: &str = "none";

/// One of the two states of a set that the backend may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// As the last change left it.
    Current,
    /// As it was before that: nothing, if the last change kept no head or was the first.
    Previous,
}

/// The rows of a set: its heads are read, its parts are not checked yet.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    key: String,
    current: Option<Head>,
    previous: Option<Head>,
    parts: BTreeMap<u32, &'a str>,
}

/// A set of parts, as the backend has it.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct PartSet {
    key: String,
    /// How often the set was changed; 0 when it was never written.
    generation: u64,
    /// What else the current head says than the parts.
    meta: String,
    /// The numbers that the current head counts.
    current: BTreeSet<u32>,
    /// Characters of these parts.
    chars: u64,
    /// The numbers that one of the two heads counts.
    taken: BTreeSet<u32>,
    /// The parts that one of the two heads counts, by what is in them.
    live: HashMap<Digest, u32>,
    /// Parts that hold something and don't count.
    leftover: BTreeSet<u32>,
    /// The head that a change starts from, as text; empty: it starts from nothing.
    base: String,
    /// The previous head, as text; empty: there is none.
    previous: String,
    /// There is a current head.
    has_head: bool,
}

/// A set and its contents.
#[derive(Debug)]
pub(super) struct Loaded<'a> {
    pub(super) set: PartSet,
    /// What else the head says than the parts; `None` when the set was never written.
    pub(super) meta: Option<String>,
    /// The parts that count, without the version, in the order of their numbers.
    pub(super) parts: Vec<&'a str>,
}

impl<'a> Stored<'a> {
    /// Picks the set with this key out of `entries` (keys and values; other keys are ignored).
    pub(super) fn read(key: &str, entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let (mut head, mut previous) = ("", "");
        let mut parts = BTreeMap::new();
        for (entry, value) in entries {
            match entry.strip_prefix(key) {
                Some("") => head = value,
                Some(PREVIOUS) => previous = value,
                Some(rest) if !value.is_empty() => {
                    if let Some(number) = rest.strip_prefix('.').and_then(|number| number.parse::<u32>().ok()) {
                        parts.insert(number, value);
                    }
                }
                _ => {}
            }
        }
        if head.is_empty() && !(parts.is_empty() && previous.is_empty()) {
            return Err(format!("{key} is missing though there are {} parts of it", parts.len()));
        }
        let parse = |name: &str, head: &str| match head {
            "" => Ok(None),
            head => Head::parse(head).map(Some).map_err(|what| format!("{name} {what}")),
        };
        let current = parse(key, head)?;
        let previous = parse(&format!("{key}{PREVIOUS}"), previous)?;
        Ok(Self { key: key.to_owned(), current, previous, parts })
    }

    /// What else the head says than the parts; `None`: there is no such head.
    pub(super) fn meta(&self, which: Which) -> Option<&str> {
        self.head(which).map(|head| head.meta.as_str())
    }

    fn head(&self, which: Which) -> Option<&Head> {
        match which {
            Which::Current => self.current.as_ref(),
            Which::Previous => self.previous.as_ref(),
        }
    }

    /// The parts of one of the two heads, without the version; checked.
    pub(super) fn parts(&self, which: Which) -> Result<Vec<&'a str>, String> {
        let Some(head) = self.head(which) else { return Ok(Vec::new()) };
        let key = &self.key;
        let mut counted = Vec::new();
        let mut checksum = Checksum::new(&head.text);
        let mut chars = 0;
        for number in &head.live {
            let value =
                self.parts.get(number).ok_or_else(|| format!("{key}.{number} is missing, which {key} counts on"))?;
            checksum.add(*number, &digest(value));
            chars += value.len() as u64;
            counted.push(version_1(value).map_err(|what| format!("{key}.{number} {what}"))?);
        }
        if counted.len() as u64 != head.parts || chars != head.chars || checksum.finish() != head.checksum {
            return Err(format!(
                "the parts of {key} do not fit together ({} of {}, {chars} characters of {}): some are older than others",
                counted.len(),
                head.parts,
                head.chars
            ));
        }
        Ok(counted)
    }

    /// Checks the parts of the head that counts: the next change starts from it.
    pub(super) fn take(self, which: Which) -> Result<Loaded<'a>, String> {
        let counted = self.parts(which)?;
        let base = self.head(which);
        let meta = base.map(|head| head.meta.clone());
        let base = base.map_or_else(String::new, Head::value);
        let Self { key, current, previous, mut parts } = self;
        let has_head = current.is_some();
        let numbers = |head: &Option<Head>| head.as_ref().map(|head| head.live.clone()).unwrap_or_default();
        let (current_numbers, previous_numbers) = (numbers(&current), numbers(&previous));
        let taken: BTreeSet<u32> = current_numbers.iter().chain(&previous_numbers).copied().collect();
        let live =
            taken.iter().filter_map(|number| parts.remove(number).map(|value| (digest(value), *number))).collect();
        let heads = [&current, &previous].into_iter().flatten();
        let set = PartSet {
            key,
            generation: heads.map(|head| head.generation).max().unwrap_or(0),
            chars: current.as_ref().map_or(0, |head| head.chars),
            meta: current.map(|head| head.meta).unwrap_or_default(),
            current: current_numbers.into_iter().collect(),
            taken,
            live,
            leftover: parts.into_keys().collect(),
            base,
            previous: previous.as_ref().map(Head::value).unwrap_or_default(),
            has_head,
        };
        Ok(Loaded { set, meta, parts: counted })
    }
}

impl PartSet {
    /// Picks the set with this key out of `entries` (keys and values; other keys are ignored) and checks it, as the last
    /// change left it.
    pub(super) fn load<'a>(
        key: &str,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Loaded<'a>, String> {
        Stored::read(key, entries)?.take(Which::Current)
    }

    /// What the set holds does not count any more: a change that may be taken back leaves nothing then.
    pub(super) fn start_from_nothing(&mut self) {
        self.base = String::new();
    }

    /// The rows of a set that cannot be used: all are leftover. `entries` as for [`PartSet::load`].
    pub(super) fn ruins<'a>(key: &str, entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut set = Self { key: key.to_owned(), ..Self::default() };
        for (rest, value) in entries.into_iter().filter_map(|(entry, value)| Some((entry.strip_prefix(key)?, value))) {
            if rest.is_empty() {
                set.has_head = !value.is_empty();
                set.generation = Head::parse(value).map_or(0, |head| head.generation);
            } else if let Some(Ok(number)) = rest.strip_prefix('.').map(str::parse)
                && !value.is_empty()
            {
                set.leftover.insert(number);
            }
        }
        set
    }

    /// The name of the head that a change starts from: no two heads of a set have the same, whatever syncs wrote them.
    pub(super) fn base_name(&self) -> &str {
        self.base.rsplit_once(head::CHECKSUM).map_or(NO_HEAD, |(_, checksum)| checksum)
    }

    /// Whether there is such a head.
    pub(super) fn has_base(&self) -> bool {
        !self.base.is_empty()
    }

    /// Whether the set was ever written.
    pub(super) fn was_written(&self) -> bool {
        self.generation > 0
    }

    /// Nothing that the set holds is needed any more: the next change may write over it.
    pub(super) fn discard(&mut self) {
        self.leftover.append(&mut self.taken);
        (self.current, self.live, self.chars) = (BTreeSet::new(), HashMap::new(), 0);
        (self.base, self.meta, self.previous) = (String::new(), String::new(), String::new());
    }

    /// The keys to write with their values so that nothing is left of the set, and the set as it is then.
    pub(super) fn clear(self) -> (Vec<(String, String)>, Self) {
        let Self { key, taken, leftover, has_head, .. } = self;
        let parts = taken.union(&leftover).map(|number| format!("{key}.{number}"));
        // Last: parts without a head could be taken for damage.
        let head = has_head.then(|| key.clone());
        let entries = parts.chain(head).map(|key| (key, String::new())).collect();
        (entries, Self { key, ..Self::default() })
    }

    /// A head that counts no part, for a set that was never written: what is written behind it may stop anywhere, and the set
    /// is not taken for one that lost its head. Gives the keys to write with their values, and the set as it is then.
    pub(super) fn found(self) -> (Vec<(String, String)>, Self) {
        if self.was_written() { (Vec::new(), self) } else { self.emptied() }
    }

    /// A head that counts no part.
    pub(super) fn emptied(self) -> (Vec<(String, String)>, Self) {
        self.change().write_and_go_on("")
    }

    /// Starts a change: what the set is to hold from now on.
    pub(super) fn change(self) -> PartSetWrite {
        PartSetWrite::new(self)
    }
}

#[cfg(test)]
mod tests;
