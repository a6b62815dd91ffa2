//! Whether a text is JSON, exactly, and where its values end. Nothing is built of them.

use super::structure::{plain_end, spaces_end};

/// Why a text is no JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The byte at this place is wrong. The length of the text: it ends too early.
    At(usize),
    /// It is nested deeper than it may be.
    TooDeep,
}

/// Reads the values of texts.
#[derive(Debug)]
pub(super) struct Scanner {
    /// What is open in the value that is read: whether it is an object. A stack of its own, since that of the thread is short.
    open: Vec<bool>,
    most_levels: usize,
}

impl Scanner {
    /// For values of `most_levels` levels, of which the outermost object or array is the first.
    pub(super) fn new(most_levels: usize) -> Self {
        Self { open: Vec::new(), most_levels }
    }

    /// Where the value at `from` ends, which stands in `outer` levels. There is no white space in front of it.
    pub(super) fn value(&mut self, bytes: &[u8], from: usize, outer: usize) -> Result<usize, Fault> {
        let mut at = match bytes.get(from) {
            Some(b'{' | b'[') => from,
            _ => return scalar(bytes, from),
        };
        self.open.clear();
        loop {
            let (is_object, closing) = match bytes.get(at) {
                Some(b'{') => (true, b'}'),
                Some(b'[') => (false, b']'),
                _ => {
                    at = scalar(bytes, at)?;
                    match self.behind(bytes, at)? {
                        Next::Value(next) => at = next,
                        Next::End(end) => return Ok(end),
                    }
                    continue;
                }
            };
            if self.open.len() + outer >= self.most_levels {
                return Err(Fault::TooDeep);
            }
            self.open.push(is_object);
            at = spaces_end(bytes, at + 1);
            if bytes.get(at) == Some(&closing) {
                self.open.pop();
                match self.behind(bytes, at + 1)? {
                    Next::Value(next) => at = next,
                    Next::End(end) => return Ok(end),
                }
            } else if is_object {
                at = key(bytes, at)?.value;
            }
        }
    }

    /// Goes on behind a value: to the next one, or to the end of the outermost.
    fn behind(&mut self, bytes: &[u8], from: usize) -> Result<Next, Fault> {
        let mut at = from;
        loop {
            let Some(is_object) = self.open.last().copied() else { return Ok(Next::End(at)) };
            at = spaces_end(bytes, at);
            match bytes.get(at) {
                Some(b',') => {
                    at = spaces_end(bytes, at + 1);
                    return Ok(Next::Value(if is_object { key(bytes, at)?.value } else { at }));
                }
                Some(b'}') if is_object => {}
                Some(b']') if !is_object => {}
                _ => return Err(Fault::At(at)),
            }
            self.open.pop();
            at += 1;
        }
    }
}

enum Next {
    /// There is a value here.
    Value(usize),
    /// The outermost value ends here.
    End(usize),
}

/// A key, and where its value begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Behind the closing quote.
    pub(super) end: usize,
    /// The first byte of the value.
    pub(super) value: usize,
}

/// The key at `from`, and the colon behind it.
pub(super) fn key(bytes: &[u8], from: usize) -> Result<Key, Fault> {
    if bytes.get(from) != Some(&b'"') {
        return Err(Fault::At(from));
    }
    let end = string(bytes, from + 1)?;
    let colon = spaces_end(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return Err(Fault::At(colon));
    }
    Ok(Key { end, value: spaces_end(bytes, colon + 1) })
}

/// Where the string, number or word at `from` ends.
fn scalar(bytes: &[u8], from: usize) -> Result<usize, Fault> {
    match bytes.get(from) {
        Some(b'"') => string(bytes, from + 1),
        Some(b'-' | b'0'..=b'9') => number(bytes, from),
        Some(b't') => word(bytes, from, b"true"),
        Some(b'f') => word(bytes, from, b"false"),
        Some(b'n') => word(bytes, from, b"null"),
        _ => Err(Fault::At(from)),
    }
}

fn word(bytes: &[u8], from: usize, word: &[u8]) -> Result<usize, Fault> {
    let rest = bytes.get(from..).unwrap_or_default();
    match word.iter().zip(rest).position(|(expected, byte)| expected != byte) {
        Some(index) => Err(Fault::At(from + index)),
        None if rest.len() < word.len() => Err(Fault::At(bytes.len())),
        None => Ok(from + word.len()),
    }
}

/// Where the string ends, behind its closing quote; `from` is behind the opening one.
fn string(bytes: &[u8], from: usize) -> Result<usize, Fault> {
    let mut at = from;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(bytes, at + 1)?,
            _ => return Err(Fault::At(at)),
        }
    }
}

/// Where the escape ends; `at` is behind the backslash.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
        Some(b'u') => {
            for digit in at + 1..at + 5 {
                if !bytes.get(digit).is_some_and(u8::is_ascii_hexdigit) {
                    return Err(Fault::At(digit.min(bytes.len())));
                }
            }
            Ok(at + 5)
        }
        _ => Err(Fault::At(at)),
    }
}

fn number(bytes: &[u8], from: usize) -> Result<usize, Fault> {
    let mut at = from + usize::from(bytes.get(from) == Some(&b'-'));
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        _ => digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at = digits(bytes, at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-'))))?;
    }
    Ok(at)
}

/// Behind the digits at `from`, of which there is at least one.
fn digits(bytes: &[u8], from: usize) -> Result<usize, Fault> {
    let mut at = from;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == from { Err(Fault::At(at)) } else { Ok(at) }
}
