//! The structure of JSON text without its meaning: where strings and brackets begin and end, over pieces of any cut.

/// What the bytes so far have opened.
#[derive(Debug, Clone, Default)]
pub(super) struct Structure {
    /// Brackets and braces that are open.
    depth: usize,
    in_string: bool,
    /// In a string, behind a backslash.
    escaped: bool,
}

impl Structure {
    /// In a string, of which the opening quote was seen.
    pub(super) fn in_string() -> Self {
        Self { in_string: true, ..Self::default() }
    }

    /// Where the value ends that began where this began: behind the bracket, brace or quote that closes it. `None`: not in
    /// these bytes, go on with the next ones.
    pub(super) fn value_end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            if self.in_string {
                at = self.string_end(bytes, at)?;
                if self.depth == 0 {
                    return Some(at);
                }
            }
            at = self.bracket_or_quote(bytes, at)?;
            if matches!(bytes.get(at), Some(b'}' | b']')) {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return Some(at + 1);
                }
            }
            at += 1;
        }
    }

    /// Where the item ends: at the comma, bracket or brace that is not inside it. `None`: not in these bytes.
    pub(super) fn item_end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            if self.in_string {
                at = self.string_end(bytes, at)?;
            }
            if self.depth == 0 {
                match bytes.get(at)? {
                    b',' | b'}' | b']' => return Some(at),
                    b'{' | b'[' => self.depth = 1,
                    b'"' => self.in_string = true,
                    _ => {}
                }
            } else {
                at = self.bracket_or_quote(bytes, at)?;
                if matches!(bytes.get(at), Some(b'}' | b']')) {
                    self.depth -= 1;
                }
            }
            at += 1;
        }
    }

    /// The next closing bracket or brace, or a quote, which begins a string. Opening ones on the way are counted.
    fn bracket_or_quote(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        for (index, byte) in bytes.get(from..)?.iter().enumerate() {
            match byte {
                b'"' => {
                    self.in_string = true;
                    return Some(from + index);
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => return Some(from + index),
                _ => {}
            }
        }
        None
    }

    /// Where the string ends: behind its closing quote. `None`: not in these bytes.
    pub(super) fn string_end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        if self.escaped {
            bytes.get(at)?;
            self.escaped = false;
            at += 1;
        }
        loop {
            at = plain_end(bytes, at);
            match bytes.get(at)? {
                b'"' => {
                    self.in_string = false;
                    return Some(at + 1);
                }
                b'\\' if at + 1 >= bytes.len() => {
                    self.escaped = true;
                    return None;
                }
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }
}

/// One in each byte.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each byte.
const HIGH_BITS: u64 = ONES << 7;

/// The first quote, backslash or control character of a string at `from` or behind it; the length if there is none.
///
/// It looks at eight bytes at once: most strings are short, so that a search that has to be set up would cost more.
pub(super) fn plain_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = bytes.get(at..at + 8) {
        let Ok(word) = <[u8; 8]>::try_from(word) else { break };
        let word = u64::from_le_bytes(word);
        let quotes = word ^ (ONES * u64::from(b'"'));
        let backslashes = word ^ (ONES * u64::from(b'\\'));
        // A borrow marks only bytes above one that is marked rightly, so the lowest mark is right.
        let marks = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quotes.wrapping_sub(ONES) & !quotes)
            | (backslashes.wrapping_sub(ONES) & !backslashes);
        let marks = marks & HIGH_BITS;
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}

/// The first byte at `from` or behind it that is no white space; the length if there is none.
pub(super) fn spaces_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}
