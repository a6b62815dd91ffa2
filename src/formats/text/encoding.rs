//! Text of an object ▶ UTF-8.
//!
//! A [`Transcoder`] takes text in any cuts, also in the middle of a character. A byte-order mark at the very start decides
//! which Unicode encoding it is, whatever the spec says, and is removed. UTF-8 goes through without a copy and is not checked:
//! who cuts it into values does that. What is no character in UTF-16 becomes U+FFFD and is counted.

#[cfg(test)]
mod tests;

pub(crate) use crate::config::csv::Encoding;

use bytes::{Bytes, BytesMut};

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF16_LE_MARK: &[u8] = b"\xff\xfe";
const UTF16_BE_MARK: &[u8] = b"\xfe\xff";

/// What stands for units that are no characters.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Bytes that are looked at together: where all are ASCII, they are copied.
const RUN_BYTES: usize = 32;

/// The characters of 80 to 9f in Windows-1252. Five bytes have none there; as browsers do it, they stand for the control
/// characters of their numbers, so that no two bytes become the same.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', //
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// What the bytes are.
#[derive(Debug, Clone)]
enum Code {
    /// The start is too short to say whether it is a mark.
    Start {
        encoding: Encoding,
        held: BytesMut,
    },
    Utf8,
    Utf16(Utf16),
    Latin1,
    Windows1252,
}

/// Makes UTF-8 of an object's text.
#[derive(Debug, Clone)]
pub(crate) struct Transcoder {
    code: Code,
    replaced: u64,
}

impl Transcoder {
    /// For an object that has this encoding, if no mark says otherwise.
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { code: Code::Start { encoding, held: BytesMut::new() }, replaced: 0 }
    }

    /// The next text: the bytes themselves if they are UTF-8, else up to three times as many. Empty if nothing is whole yet.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Bytes {
        let Code::Start { encoding, held } = &mut self.code else { return self.transcode(&bytes) };
        let text = if held.is_empty() {
            bytes
        } else {
            held.extend_from_slice(&bytes);
            held.split().freeze()
        };
        match code_of(&text, *encoding) {
            Some((code, mark_bytes)) => {
                self.code = code;
                self.transcode(&text.slice(mark_bytes..))
            }
            None => {
                held.extend_from_slice(&text);
                Bytes::new()
            }
        }
    }

    /// The rest: what was held back and is the beginning of nothing.
    pub(crate) fn finish(&mut self) -> Bytes {
        if let Code::Start { encoding, held } = &mut self.code {
            let text = held.split().freeze();
            self.code = code_without_mark(*encoding);
            let begin = self.transcode(&text);
            let end = self.finish();
            return if end.is_empty() { begin } else { [begin, end].concat().into() };
        }
        match &mut self.code {
            Code::Utf16(utf16) => {
                let mut out = Vec::new();
                utf16.finish(&mut out);
                self.replaced = utf16.replaced;
                out.into()
            }
            Code::Start { .. } | Code::Utf8 | Code::Latin1 | Code::Windows1252 => Bytes::new(),
        }
    }

    /// How many times U+FFFD was put in the place of what is no character.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Memory of text that is held back.
    pub(crate) fn held_bytes(&self) -> u64 {
        match &self.code {
            Code::Start { held, .. } => held.capacity() as u64,
            _ => 0,
        }
    }

    fn transcode(&mut self, bytes: &Bytes) -> Bytes {
        match &mut self.code {
            Code::Start { .. } | Code::Utf8 => bytes.clone(),
            Code::Utf16(utf16) => {
                let out = utf16.transcode(bytes);
                self.replaced = utf16.replaced;
                out
            }
            Code::Latin1 => single_bytes(bytes, char::from),
            Code::Windows1252 => single_bytes(bytes, |byte| match byte {
                0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                other => char::from(other),
            }),
        }
    }
}

/// What text that begins with `first` is, and how long its mark is; None: it can be a mark or not.
fn code_of(first: &[u8], encoding: Encoding) -> Option<(Code, usize)> {
    if first.starts_with(UTF16_LE_MARK) {
        return Some((Code::Utf16(Utf16::new(u16::from_le_bytes)), UTF16_LE_MARK.len()));
    }
    if first.starts_with(UTF16_BE_MARK) {
        return Some((Code::Utf16(Utf16::new(u16::from_be_bytes)), UTF16_BE_MARK.len()));
    }
    if first.starts_with(UTF8_MARK) {
        return Some((Code::Utf8, UTF8_MARK.len()));
    }
    let may_be = [UTF16_LE_MARK, UTF16_BE_MARK, UTF8_MARK].iter().any(|mark| mark.starts_with(first));
    (!may_be).then(|| (code_without_mark(encoding), 0))
}

fn code_without_mark(encoding: Encoding) -> Code {
    match encoding {
        Encoding::Utf8 => Code::Utf8,
        Encoding::Utf16 | Encoding::Utf16Le => Code::Utf16(Utf16::new(u16::from_le_bytes)),
        Encoding::Utf16Be => Code::Utf16(Utf16::new(u16::from_be_bytes)),
        Encoding::Latin1 => Code::Latin1,
        Encoding::Windows1252 => Code::Windows1252,
    }
}

/// Text of which each byte is a character; plain ASCII goes through without a copy.
fn single_bytes(bytes: &Bytes, character: impl Fn(u8) -> char) -> Bytes {
    if bytes.is_ascii() {
        return bytes.clone();
    }
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    for run in bytes.chunks(RUN_BYTES) {
        if run.is_ascii() {
            out.extend_from_slice(run);
            continue;
        }
        for &byte in run {
            if byte.is_ascii() { out.push(byte) } else { push(&mut out, character(byte)) }
        }
    }
    out.into()
}

fn push(out: &mut Vec<u8>, character: char) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// UTF-16 that comes in any cuts.
#[derive(Debug, Clone)]
struct Utf16 {
    unit: fn([u8; 2]) -> u16,
    /// The first byte of a unit whose second did not come yet.
    half: Option<u8>,
    /// The first unit of a character of two whose second did not come yet.
    high: Option<u16>,
    replaced: u64,
}

impl Utf16 {
    fn new(unit: fn([u8; 2]) -> u16) -> Self {
        Self { unit, half: None, high: None, replaced: 0 }
    }

    fn transcode(&mut self, bytes: &[u8]) -> Bytes {
        // Latin text becomes half as long, Chinese half as long again.
        let mut out = Vec::with_capacity(bytes.len() / 2 + bytes.len() / 8 + 4);
        let mut rest = bytes;
        if let Some(half) = self.half
            && let Some((&byte, behind)) = rest.split_first()
        {
            rest = behind;
            self.half = None;
            self.push((self.unit)([half, byte]), &mut out);
        }
        let (units, odd) = rest.as_chunks::<2>();
        for &pair in units {
            let unit = (self.unit)(pair);
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() && self.high.is_none() => out.push(byte),
                _ => self.push(unit, &mut out),
            }
        }
        self.half = odd.first().copied().or(self.half);
        out.into()
    }

    fn push(&mut self, unit: u16, out: &mut Vec<u8>) {
        let high = self.high.take();
        let is_low = (0xdc00..=0xdfff).contains(&unit);
        match high {
            Some(high) if is_low => {
                let number = 0x1_0000 + ((u32::from(high) - 0xd800) << 10) + (u32::from(unit) - 0xdc00);
                return push(out, char::from_u32(number).unwrap_or(REPLACEMENT));
            }
            Some(_) => self.replace(out),
            None => {}
        }
        match char::from_u32(u32::from(unit)) {
            Some(character) => push(out, character),
            None if is_low => self.replace(out),
            None => self.high = Some(unit),
        }
    }

    /// What is left in the middle of a character is none.
    fn finish(&mut self, out: &mut Vec<u8>) {
        let (high, half) = (self.high.take(), self.half.take());
        if high.is_some() || half.is_some() {
            self.replace(out);
        }
    }

    fn replace(&mut self, out: &mut Vec<u8>) {
        self.replaced += 1;
        push(out, REPLACEMENT);
    }
}
