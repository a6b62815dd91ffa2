//! Texts of Parquet's JSON type: which of them are JSON that consumers take, and how they are written.
//!
//! One value that a destination refuses ends the sync of all tables. The limits are those of PostgreSQL's `jsonb`:
//! what it refuses becomes a JSON string. MySQL's are narrower (100 levels, numbers that a double holds) and not covered.

use super::write::write_string;
use serde::de::IgnoredAny;

/// Deepest nesting of arrays and objects. PostgreSQL's stack takes some thousands of levels (error 54001), SQLite's
/// functions 1,000.
const MAX_DEPTH: usize = 1_000;

/// Most digits in front of a number's point, its exponent applied. PostgreSQL's `numeric` takes 131,072 (error 22003).
const MAX_INTEGER_DIGITS: i64 = 100_000;

/// Most digits behind a number's point, its exponent applied: those of PostgreSQL's `numeric`.
const MAX_FRACTION_DIGITS: i64 = 16_383;

/// The most bytes that a text may have to be within the limits whatever is in it, exponents aside: a level takes two.
const SHORT_BYTES: usize = 2 * MAX_DEPTH;

/// Why a text is written as a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is not JSON.
    Invalid,
    /// It is JSON that consumers refuse: too deep, or with a number too large or too fine.
    BeyondLimits,
}

/// Whether consumers take `text`.
pub(super) fn check(text: &[u8]) -> Result<(), Flaw> {
    // Bytes below strings are checked to be UTF-8 by neither of the two alone.
    let valid = std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    if !valid {
        return Err(Flaw::Invalid);
    }
    let harmless = text.len() <= SHORT_BYTES && !may_have_exponent(text);
    if harmless || within_limits(text) { Ok(()) } else { Err(Flaw::BeyondLimits) }
}

/// Whether there is something like an exponent, be it inside of a string.
fn may_have_exponent(text: &[u8]) -> bool {
    text.windows(2).any(|pair| matches!(pair, [b'e' | b'E', b'0'..=b'9' | b'+' | b'-']))
}

/// Of valid JSON: see [`MAX_DEPTH`] and the other limits.
fn within_limits(text: &[u8]) -> bool {
    let (mut depth, mut at) = (0, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at),
            b'[' | b'{' if depth == MAX_DEPTH => return false,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b'-' | b'0'..=b'9' => {
                let rest = &text[at..];
                let length = rest.iter().position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
                let number = &rest[..length.unwrap_or(rest.len())];
                if !number_within_limits(number) {
                    return false;
                }
                at += number.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    true
}

/// Where the string that starts at `start` has its closing quote.
fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn number_within_limits(number: &[u8]) -> bool {
    let exponent_at = number.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(number.len());
    let (mantissa, exponent) = number.split_at(exponent_at);
    let digits = |part: &[u8]| i64::try_from(part.iter().filter(|b| b.is_ascii_digit()).count()).unwrap_or(i64::MAX);
    let mut parts = mantissa.splitn(2, |byte| *byte == b'.');
    let (integer, fraction) = (digits(parts.next().unwrap_or_default()), digits(parts.next().unwrap_or_default()));
    let exponent = match exponent {
        [] => 0,
        // What 64 bits can't hold is beyond any limit.
        [_, text @ ..] => match std::str::from_utf8(text).unwrap_or_default().parse::<i64>() {
            Ok(exponent) => exponent,
            Err(_) => return false,
        },
    };
    integer.saturating_add(exponent) <= MAX_INTEGER_DIGITS && fraction.saturating_sub(exponent) <= MAX_FRACTION_DIGITS
}

pub(super) fn has_unicode_escape(text: &[u8]) -> bool {
    text.windows(2).any(|pair| pair == b"\\u")
}

/// Writes a text of Parquet's JSON type; as a string if [`check`] refuses it.
pub(super) fn write_checked(text: &[u8], out: &mut Vec<u8>) -> Result<(), Flaw> {
    let checked = check(text);
    if checked.is_err() {
        write_string(&String::from_utf8_lossy(text), out);
    } else if has_unicode_escape(text) {
        write_clean_escapes(text, out);
    } else {
        out.extend_from_slice(text);
    }
    checked
}

/// Copies valid JSON without the escapes that PostgreSQL's `jsonb` refuses: `\u0000` is left out, half a surrogate pair
/// becomes the replacement character.
fn write_clean_escapes(text: &[u8], out: &mut Vec<u8>) {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'\\' {
            out.push(text[at]);
            at += 1;
            continue;
        }
        let length = match unit(at) {
            Some(0) => {
                at += 6;
                continue;
            }
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out.extend_from_slice(b"\\ufffd");
                at += 6;
                continue;
            }
            Some(_) => 6,
            None => 2,
        };
        let end = (at + length).min(text.len());
        out.extend_from_slice(&text[at..end]);
        at = end;
    }
}
