//! A text of any length under numbered keys, that is read back whole or not at all.
//!
//! ```text
//! <key>.0, <key>.1, …   parts, each at most 48 KiB, in any order
//! <key>                 the head: which numbers count, how many parts and characters, and a checksum of it all
//! ```
//!
//! A change never touches a part that the head counts: new content goes to numbers that are free, and the head, written
//! last, turns from the old parts to the new ones. So a write that stops before the head leaves everything as it was.
//! Whatever else happens to the rows (some lost, some from another write) the checksum does not fit, which is an error.
//! Parts that no head counts any more are reused, or emptied, by the next change.

use super::{MAX_VALUE_CHARS, hex};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// First word of all values. Another format gets another word.
pub(super) const VERSION: &str = "v1 ";
/// Bytes of a part's digest.
const DIGEST_BYTES: usize = 16;

type Digest = [u8; DIGEST_BYTES];

/// A set of parts, as the backend has it.
#[derive(Debug, Default)]
pub(super) struct PartSet {
    key: String,
    /// How often the set was changed; 0 when it was never written.
    generation: u64,
    /// What the head says besides the parts.
    meta: String,
    /// The parts that count, by what is in them.
    live: HashMap<Digest, u32>,
    /// Parts that hold something and don't count.
    leftover: BTreeSet<u32>,
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

impl PartSet {
    /// Picks the set with this key out of `entries` (keys and values, others are passed over) and checks it.
    pub(super) fn load<'a>(
        key: &str,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Loaded<'a>, String> {
        let mut head = "";
        let mut parts = BTreeMap::new();
        for (entry, value) in entries {
            match entry.strip_prefix(key) {
                Some("") => head = value,
                Some(rest) if !value.is_empty() => {
                    if let Some(number) = rest.strip_prefix('.').and_then(|number| number.parse::<u32>().ok()) {
                        parts.insert(number, value);
                    }
                }
                _ => {}
            }
        }
        if head.is_empty() {
            if !parts.is_empty() {
                return Err(format!("{key} is missing though there are {} parts of it", parts.len()));
            }
            let set = Self { key: key.to_owned(), ..Self::default() };
            return Ok(Loaded { set, meta: None, parts: Vec::new() });
        }
        let head = Head::parse(head).map_err(|what| format!("{key} {what}"))?;
        let mut live = HashMap::new();
        let mut counted = Vec::new();
        let mut checksum = Checksum::new(&head.text);
        let mut chars = 0;
        for number in &head.live {
            let value =
                parts.remove(number).ok_or_else(|| format!("{key}.{number} is missing, which {key} counts on"))?;
            let digest = digest(value);
            checksum.add(*number, &digest);
            chars += value.len() as u64;
            live.insert(digest, *number);
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
        let leftover = parts.into_keys().collect();
        let set = Self { key: key.to_owned(), generation: head.generation, meta: head.meta.clone(), live, leftover };
        Ok(Loaded { set, meta: Some(head.meta), parts: counted })
    }

    /// Starts a change: what the set is to hold from now on.
    pub(super) fn change(self) -> Change {
        let taken = self.live.values().copied().collect();
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

    /// The keys to write with their values, the head last; none when nothing changed. `meta`: words `name=value`,
    /// separated by single spaces.
    pub(super) fn finish(self, meta: &str) -> Vec<(String, String)> {
        let same_parts = self.written.is_empty() && self.parts.len() == self.set.live.len();
        if same_parts && (self.set.generation > 0 || self.parts.is_empty() && meta.is_empty()) && self.set.meta == meta
        {
            return Vec::new();
        }
        let key = &self.set.key;
        let text = Head::text(self.set.generation + 1, self.parts.keys().copied(), self.parts.len(), self.chars, meta);
        let mut checksum = Checksum::new(&text);
        self.parts.iter().for_each(|(number, digest)| checksum.add(*number, digest));
        let head = format!("{text} checksum={}", checksum.finish());
        let emptied = self.set.leftover.iter().filter(|number| !self.written.contains_key(number));
        let emptied: Vec<_> = emptied.map(|number| (format!("{key}.{number}"), String::new())).collect();
        let mut changes: Vec<_> =
            self.written.into_iter().map(|(number, value)| (format!("{key}.{number}"), value)).collect();
        changes.extend(emptied);
        changes.push((self.set.key, head));
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
        assert_eq!(keys(&second), ["k.2", "k"], "k.1 still counts until the head is written");
        rows.extend(second);
        assert_eq!(contents(&rows).unwrap(), ["a", "c"]);
        let third = change(&rows, &["a", "d"], "n=1");
        assert_eq!(keys(&third), ["k.1", "k"], "reused");
        rows.extend(third);
        let fourth = change(&rows, &["a"], "n=1");
        assert_eq!(keys(&fourth), ["k.2", "k"], "emptied");
        rows.extend(fourth);
        assert_eq!(rows["k.2"], "");
        assert_eq!(contents(&rows).unwrap(), ["a"]);
    }

    #[test]
    fn a_write_that_stops_before_the_head_changes_nothing() {
        let mut rows = Rows::new();
        rows.extend(change(&rows, &["a", "b"], ""));
        let second = change(&rows, &["c", "d", "e"], "");
        for stop in 0..second.len() {
            let mut torn = rows.clone();
            torn.extend(second[..stop].iter().cloned());
            assert_eq!(contents(&torn).unwrap(), ["a", "b"], "{stop}");
            torn.extend(change(&torn, &["f", "g"], ""));
            assert_eq!(contents(&torn).unwrap(), ["f", "g"]);
        }
        for lost in 0..second.len() - 1 {
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
