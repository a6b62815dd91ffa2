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

use super::{MAX_VALUE_CHARS, hex};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// First word of all values. Another format gets another word.
pub(super) const VERSION: &str = "v1 ";
/// What is put behind the key for the head before the current one.
const PREVIOUS: &str = ".prev";
/// Bytes of a part's digest.
const DIGEST_BYTES: usize = 16;

type Digest = [u8; DIGEST_BYTES];

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
    /// What the current head says besides the parts.
    meta: String,
    /// The numbers that the current head counts.
    current: BTreeSet<u32>,
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
}

/// A set and its contents.
#[derive(Debug)]
pub(super) struct Loaded<'a> {
    pub(super) set: PartSet,
    /// What the head says besides the parts; `None` when the set was never written.
    pub(super) meta: Option<String>,
    /// The parts that count, without the version, in the order of their numbers.
    pub(super) parts: Vec<&'a str>,
}

impl<'a> Stored<'a> {
    /// Picks the set with this key out of `entries` (keys and values, others are passed over).
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

    /// What the head says besides the parts; `None`: there is no such head.
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
        let numbers = |head: &Option<Head>| head.as_ref().map(|head| head.live.clone()).unwrap_or_default();
        let (current_numbers, previous_numbers) = (numbers(&current), numbers(&previous));
        let taken: BTreeSet<u32> = current_numbers.iter().chain(&previous_numbers).copied().collect();
        let live =
            taken.iter().filter_map(|number| parts.remove(number).map(|value| (digest(value), *number))).collect();
        let heads = [&current, &previous].into_iter().flatten();
        let set = PartSet {
            key,
            generation: heads.map(|head| head.generation).max().unwrap_or(0),
            meta: current.map(|head| head.meta).unwrap_or_default(),
            current: current_numbers.into_iter().collect(),
            taken,
            live,
            leftover: parts.into_keys().collect(),
            base,
            previous: previous.as_ref().map(Head::value).unwrap_or_default(),
        };
        Ok(Loaded { set, meta, parts: counted })
    }
}

impl PartSet {
    /// Picks the set with this key out of `entries` (keys and values, others are passed over) and checks it, as the last
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

    /// Starts a change: what the set is to hold from now on.
    pub(super) fn change(self) -> Change {
        let taken = self.taken.clone();
        Change { set: self, taken, free: 0, parts: BTreeMap::new(), chars: 0, written: BTreeMap::new() }
    }
}

/// The new contents of a set.
#[derive(Debug)]
pub(super) struct Change {
    set: PartSet,
    /// Numbers that are not free: those of the old parts, and of the new ones so far.
    taken: BTreeSet<u32>,
    /// No number below it is free.
    free: u32,
    parts: BTreeMap<u32, Digest>,
    chars: u64,
    written: BTreeMap<u32, String>,
}

impl Change {
    /// Adds a part (ASCII, no two alike). One that is in the set already stays where it is. True if it is new.
    pub(super) fn add(&mut self, part: &str) -> bool {
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

    /// Whether the set holds just this already, and `also` besides, under a head with this `meta`.
    pub(super) fn is_stored(&self, also: &[String], meta: &str) -> bool {
        let also = also.iter().map(|part| self.set.live.get(&digest(&format!("{VERSION}{part}"))).copied());
        let numbers: Option<BTreeSet<u32>> = also.chain(self.parts.keys().copied().map(Some)).collect();
        self.written.is_empty() && self.set.meta == meta && numbers.is_some_and(|numbers| numbers == self.set.current)
    }

    /// The keys to write with their values, in that order; none when nothing changed. `meta`: words `name=value`,
    /// separated by single spaces. The head that the change started from is not kept.
    pub(super) fn finish(self, meta: &str) -> Vec<(String, String)> {
        self.finish_with(meta, false)
    }

    /// The same, with the head that the change started from as the previous one, so that the next reader may choose.
    pub(super) fn finish_revocably(self, meta: &str) -> Vec<(String, String)> {
        self.finish_with(meta, true)
    }

    fn finish_with(self, meta: &str, revocable: bool) -> Vec<(String, String)> {
        if self.is_stored(&[], meta) {
            return Vec::new();
        }
        let Self { set, parts, written, chars, .. } = self;
        let key = &set.key;
        let text = Head::text(set.generation + 1, parts.keys().copied(), parts.len(), chars, meta);
        let mut checksum = Checksum::new(&text);
        parts.iter().for_each(|(number, digest)| checksum.add(*number, digest));
        let head = (key.clone(), format!("{text} checksum={}", checksum.finish()));
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

/// What is behind the version word.
fn version_1(value: &str) -> Result<&str, String> {
    value.strip_prefix(VERSION).ok_or_else(|| {
        let start: String = value.chars().take(8).collect();
        format!("starts with {start:?}, expected {VERSION:?}: it was damaged, or written by another release")
    })
}

fn digest(value: &str) -> Digest {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&Sha256::digest(value)[..DIGEST_BYTES]);
    digest
}

/// Over the head's text, and number and content of each part.
struct Checksum(Sha256);

impl Checksum {
    fn new(head: &str) -> Self {
        Self(Sha256::new_with_prefix(head))
    }

    fn add(&mut self, number: u32, digest: &Digest) {
        self.0.update(number.to_be_bytes());
        self.0.update(digest);
    }

    fn finish(self) -> String {
        hex(&self.0.finalize()[..DIGEST_BYTES])
    }
}

/// A parsed head: `v1 generation=3 parts=2 chars=9000 live=05 <meta> checksum=<hex>`.
#[derive(Debug, Clone)]
struct Head {
    generation: u64,
    parts: u64,
    chars: u64,
    /// The numbers of the parts that count, ascending.
    live: Vec<u32>,
    meta: String,
    checksum: String,
    /// All of it in front of the checksum.
    text: String,
}

impl Head {
    /// In `live` number 8i + j is bit j of byte i: two characters for eight parts.
    fn text(generation: u64, live: impl Iterator<Item = u32>, parts: usize, chars: u64, meta: &str) -> String {
        let mut bitmap = Vec::new();
        for number in live {
            let byte = number as usize / 8;
            if bitmap.len() <= byte {
                bitmap.resize(byte + 1, 0);
            }
            bitmap[byte] |= 1 << (number % 8);
        }
        let space = if meta.is_empty() { "" } else { " " };
        let live = hex(&bitmap);
        format!("{VERSION}generation={generation} parts={parts} chars={chars} live={live}{space}{meta}")
    }

    /// The text that it was parsed from.
    fn value(&self) -> String {
        format!("{} checksum={}", self.text, self.checksum)
    }

    fn parse(value: &str) -> Result<Self, String> {
        let words = version_1(value)?;
        let damaged = || "is damaged: its words are not those of a head".to_owned();
        let (words, checksum) = words.rsplit_once(" checksum=").ok_or_else(damaged)?;
        let text = format!("{VERSION}{words}");
        let mut words = words.splitn(5, ' ');
        let mut word = |name: &str| {
            let word = words.next().and_then(|word| word.strip_prefix(name)).and_then(|word| word.strip_prefix('='));
            word.ok_or_else(damaged)
        };
        let number = |word: &str| word.parse::<u64>().map_err(|_| damaged());
        let generation = number(word("generation")?)?;
        let parts = number(word("parts")?)?;
        let chars = number(word("chars")?)?;
        let live = bitmap(word("live")?).ok_or_else(damaged)?;
        let meta = words.next().unwrap_or_default().to_owned();
        Ok(Self { generation, parts, chars, live, meta, checksum: checksum.to_owned(), text })
    }
}

/// The numbers whose bits are set.
fn bitmap(text: &str) -> Option<Vec<u32>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let mut numbers = Vec::new();
    for index in 0..text.len() / 2 {
        let byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
        let first = u32::try_from(index * 8).ok()?;
        numbers.extend((0..8).filter(|bit| byte >> bit & 1 == 1).map(|bit| first + bit));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = BTreeMap<String, String>;

    fn load(rows: &Rows) -> Result<Loaded<'_>, String> {
        PartSet::load("k", rows.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }

    fn change(rows: &Rows, parts: &[&str], meta: &str) -> Vec<(String, String)> {
        let mut change = load(rows).unwrap().set.change();
        for part in parts {
            change.add(part);
        }
        change.finish(meta)
    }

    fn keys(changes: &[(String, String)]) -> Vec<&str> {
        changes.iter().map(|(key, _)| key.as_str()).collect()
    }

    fn contents(rows: &Rows) -> Result<Vec<&str>, String> {
        let mut parts = load(rows)?.parts;
        parts.sort_unstable();
        Ok(parts)
    }

    #[test]
    fn what_was_written_is_read_and_only_changes_are_written() {
        let mut rows = Rows::from([("other".to_owned(), "x".to_owned()), ("k2".to_owned(), "x".to_owned())]);
        assert_eq!(load(&rows).unwrap().meta, None);
        assert!(change(&rows, &[], "").is_empty());
        let first = change(&rows, &["a", "b"], "n=1");
        assert_eq!(keys(&first), ["k.0", "k.1", "k"]);
        rows.extend(first);
        assert_eq!(contents(&rows).unwrap(), ["a", "b"]);
        assert_eq!(load(&rows).unwrap().meta.as_deref(), Some("n=1"));
        assert!(change(&rows, &["b", "a"], "n=1").is_empty());
        assert_eq!(keys(&change(&rows, &["a", "b"], "n=2")), ["k"]);

        let second = change(&rows, &["a", "c"], "n=1");
        assert_eq!(keys(&second), ["k.2", "k", "k.1"], "k.1 counts until the head is written, and is emptied then");
        rows.extend(second);
        assert_eq!(contents(&rows).unwrap(), ["a", "c"]);
        let third = change(&rows, &["a", "d"], "n=1");
        assert_eq!(keys(&third), ["k.1", "k", "k.2"], "reused");
        rows.extend(third);
        let fourth = change(&rows, &["a"], "n=1");
        assert_eq!(keys(&fourth), ["k", "k.1"]);
        rows.extend(fourth);
        assert_eq!((rows["k.1"].as_str(), rows["k.2"].as_str()), ("", ""));
        assert_eq!(contents(&rows).unwrap(), ["a"]);
    }

    fn revocably(rows: &Rows, which: Which, parts: &[&str], meta: &str) -> Vec<(String, String)> {
        let mut change = stored(rows).take(which).unwrap().set.change();
        for part in parts {
            change.add(part);
        }
        change.finish_revocably(meta)
    }

    fn stored(rows: &Rows) -> Stored<'_> {
        Stored::read("k", rows.iter().map(|(key, value)| (key.as_str(), value.as_str()))).unwrap()
    }

    fn both(rows: &Rows) -> [Vec<&str>; 2] {
        [Which::Current, Which::Previous].map(|which| {
            let mut parts = stored(rows).parts(which).unwrap();
            parts.sort_unstable();
            parts
        })
    }

    #[test]
    fn what_was_there_before_stays_whole_as_long_as_it_may_be_needed() {
        let mut rows = Rows::new();
        rows.extend(revocably(&rows, Which::Current, &["a", "b"], "n=1"));
        assert_eq!(both(&rows), [vec!["a", "b"], vec![]]);
        let second = revocably(&rows, Which::Current, &["a", "c"], "n=2");
        assert_eq!(keys(&second), ["k.2", "k.prev", "k"]);
        for stop in 0..second.len() {
            let mut torn = rows.clone();
            torn.extend(second[..stop].iter().cloned());
            assert_eq!(both(&torn)[0], ["a", "b"], "{stop}");
        }
        rows.extend(second);
        assert_eq!(both(&rows), [vec!["a", "c"], vec!["a", "b"]]);
        assert_eq!(
            (stored(&rows).meta(Which::Current), stored(&rows).meta(Which::Previous)),
            (Some("n=2"), Some("n=1"))
        );

        // From the previous one again: the current one stays until the head is written.
        let instead = revocably(&rows, Which::Previous, &["a", "b", "d"], "n=3");
        assert_eq!(keys(&instead), ["k.3", "k"], "the previous head is the same");
        let mut other = rows.clone();
        other.extend(instead);
        assert_eq!(both(&other), [vec!["a", "b", "d"], vec!["a", "b"]]);

        let third = revocably(&rows, Which::Current, &["c", "e"], "n=3");
        for stop in 0..third.len() {
            let mut torn = rows.clone();
            torn.extend(third[..stop].iter().cloned());
            assert_eq!(both(&torn)[0], ["a", "c"], "{stop}");
        }
        rows.extend(third);
        assert_eq!(both(&rows), [vec!["c", "e"], vec!["a", "c"]]);
        let back = stored(&rows).take(Which::Previous).unwrap().set.change();
        assert!(!back.is_stored(&[], "n=2"), "nothing of it is new, but it is not what counts now");
        rows.extend(change(&rows, &["c"], "n=4"));
        assert_eq!(both(&rows), [vec!["c"], vec![]]);
        assert_eq!(rows.values().filter(|value| !value.is_empty()).count(), 2, "all else is emptied");
    }

    #[test]
    fn a_write_that_stops_before_the_head_changes_nothing() {
        let mut rows = Rows::new();
        rows.extend(change(&rows, &["a", "b"], ""));
        let second = change(&rows, &["c", "d", "e"], "");
        let head = second.iter().position(|(key, _)| key == "k").unwrap();
        for stop in 0..=head {
            let mut torn = rows.clone();
            torn.extend(second[..stop].iter().cloned());
            assert_eq!(contents(&torn).unwrap(), ["a", "b"], "{stop}");
            torn.extend(change(&torn, &["f", "g"], ""));
            assert_eq!(contents(&torn).unwrap(), ["f", "g"]);
        }
        for lost in 0..head {
            let mut torn = rows.clone();
            torn.extend(second.iter().enumerate().filter(|(i, _)| *i != lost).map(|(_, change)| change.clone()));
            assert!(contents(&torn).unwrap_err().contains("is missing"), "{lost}");
        }
    }

    #[test]
    fn parts_of_different_writes_do_not_pass_for_one() {
        let mut rows = Rows::new();
        rows.extend(change(&rows, &["a", "b"], ""));
        let old = rows.clone();
        rows.extend(change(&rows, &["a", "c"], ""));
        rows.extend(change(&rows, &["a", "d"], ""));
        rows.insert("k.1".to_owned(), old["k.1"].clone());
        assert!(contents(&rows).unwrap_err().contains("do not fit together"));
    }

    #[test]
    fn any_damage_is_an_error() {
        let mut rows = Rows::new();
        rows.extend(change(&rows, &["a", "b"], "n=1"));
        for (key, from, to) in [
            ("k", "generation=1", "generation=2"),
            ("k", "n=1", "n=2"),
            ("k", "live=03", "live=01"),
            ("k", "live=03", "live=07"),
            ("k", "live=03", "live=0é"),
            ("k", "parts=2", "parts=3"),
            ("k", "parts=2", "pants=2"),
            ("k", "v1", "v2"),
            ("k", " checksum=", " "),
            ("k.0", "a", "b"),
            ("k.0", "v1", "v9"),
        ] {
            let mut damaged = rows.clone();
            let value = damaged[key].replace(from, to);
            assert_ne!(value, damaged[key], "{from}");
            damaged.insert(key.to_owned(), value);
            assert!(contents(&damaged).is_err(), "{from} {to}");
        }
        rows.remove("k");
        assert_eq!(contents(&rows).unwrap_err(), "k is missing though there are 2 parts of it");
    }

    #[test]
    fn a_head_of_many_parts_fits_into_a_value() {
        let live = 50_000..100_000;
        let text = Head::text(u64::MAX, live, 50_000, u64::MAX, "low_water=4294967295 objects=18446744073709551615");
        assert!(text.len() + 50 < MAX_VALUE_CHARS, "{}", text.len());
    }
}
