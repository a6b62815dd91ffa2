//! The head of a set: which parts count, and a checksum over all of them.

use crate::state::hex;
use sha2::{Digest as _, Sha256};

/// First word of all values. Another format gets another word.
pub(in crate::state) const VERSION: &str = "v1 ";
/// What the checksum stands behind.
pub(super) const CHECKSUM: &str = " checksum=";
/// Bytes of a part's digest.
const DIGEST_BYTES: usize = 16;

pub(super) type Digest = [u8; DIGEST_BYTES];

/// What is behind the version word.
pub(super) fn version_1(value: &str) -> Result<&str, String> {
    value.strip_prefix(VERSION).ok_or_else(|| {
        let start: String = value.chars().take(8).collect();
        format!("starts with {start:?}, expected {VERSION:?}: it was damaged, or written by another release")
    })
}

pub(super) fn digest(value: &str) -> Digest {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&Sha256::digest(value)[..DIGEST_BYTES]);
    digest
}

/// Over the head's text, and number and content of each part.
pub(super) struct Checksum(Sha256);

impl Checksum {
    pub fn new(head: &str) -> Self {
        Self(Sha256::new_with_prefix(head))
    }

    pub fn add(&mut self, number: u32, digest: &Digest) {
        self.0.update(number.to_be_bytes());
        self.0.update(digest);
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize()[..DIGEST_BYTES])
    }
}

/// A parsed head: `v1 generation=3 parts=2 chars=9000 live=05 <meta> checksum=<hex>`.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub generation: u64,
    pub parts: u64,
    pub chars: u64,
    /// The numbers of the parts that count, ascending.
    pub live: Vec<u32>,
    pub meta: String,
    pub checksum: String,
    /// All of it in front of the checksum.
    pub text: String,
}

impl Head {
    /// In `live` number 8i + j is bit j of byte i: two characters for eight parts.
    pub fn text(generation: u64, live: impl Iterator<Item = u32>, parts: usize, chars: u64, meta: &str) -> String {
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
    pub fn value(&self) -> String {
        format!("{}{CHECKSUM}{}", self.text, self.checksum)
    }

    pub fn parse(value: &str) -> Result<Self, String> {
        let words = version_1(value)?;
        let damaged = || "is damaged: its words are not those of a head".to_owned();
        let (words, checksum) = words.rsplit_once(CHECKSUM).ok_or_else(damaged)?;
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
