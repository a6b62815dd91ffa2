//! Where the fields of records are: the one place that knows what quotes mean inside of a record.

use super::dialect::Dialect;
use super::scan::Marks;

/// Bytes that a lexer reads at most, so that a place fits into 30 bits: far more than a chunk has.
const MAX_TEXT_BYTES: usize = (1 << 30) - 1;

/// Where the text of a field is: a word, since there are many of them. From its lowest bit: the first byte (32 bits, 30 of them used), the byte
/// behind the last one (30 bits), the [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field(u64);

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Without quotes, in the text.
    Plain = 0,
    /// In quotes, in the text between them.
    Quoted = 1,
    /// In quotes, and not as it stands there: in the bytes beside the text.
    Copied = 2,
    /// Its record ends before it.
    Missing = 3,
}

impl Field {
    pub(super) const MISSING: Self = Self((Kind::Missing as u64) << 62);

    /// Both places are at most [`MAX_TEXT_BYTES`].
    #[inline]
    fn new(start: usize, end: usize, kind: Kind) -> Self {
        Self(start as u64 | (end as u64) << 32 | (kind as u64) << 62)
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        match self.0 >> 62 {
            0 => Kind::Plain,
            1 => Kind::Quoted,
            2 => Kind::Copied,
            _ => Kind::Missing,
        }
    }

    #[inline]
    pub(super) fn range(self) -> std::ops::Range<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "a place has 30 bits")]
        let place = |bits: u64| bits as usize & MAX_TEXT_BYTES;
        place(self.0)..place(self.0 >> 32)
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.range().len()
    }

    #[inline]
    pub(super) fn is_quoted(self) -> bool {
        matches!(self.kind(), Kind::Quoted | Kind::Copied)
    }

    /// Its bytes; `text` and `copied` are what the lexer had.
    #[inline]
    pub(super) fn bytes<'a>(self, text: &'a [u8], copied: &'a [u8]) -> &'a [u8] {
        let from = if self.kind() == Kind::Copied { copied } else { text };
        from.get(self.range()).unwrap_or_default()
    }
}

/// What is behind a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another field of the record.
    Delimiter,
    /// A line end.
    Line,
    /// The end of the text.
    Text,
}

/// Reads the fields of a text of whole records, one after the other.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    marks: Marks<'a, 4>,
    dialect: Dialect,
    /// The first byte that was not read.
    at: usize,
}

impl<'a> Lexer<'a> {
    /// What is behind [`MAX_TEXT_BYTES`] is not read.
    pub(super) fn new(text: &'a [u8], dialect: Dialect) -> Self {
        let text = text.get(..MAX_TEXT_BYTES).unwrap_or(text);
        Self { text, marks: Marks::new(text, dialect.field_marks()), dialect, at: 0 }
    }

    /// The first byte that was not read.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes to the beginning of the next record, past blank lines and comments. False: there is no further one.
    #[inline]
    pub(super) fn next_record(&mut self) -> bool {
        while let Some(byte) = self.text.get(self.at) {
            if matches!(byte, b'\n' | b'\r') {
                self.at = self.marks.next() + 1;
            } else if Some(*byte) == self.dialect.comment {
                let rest = self.text.get(self.at..).unwrap_or_default();
                self.at = memchr::memchr2(b'\n', b'\r', rest).map_or(self.text.len(), |length| self.at + length);
                self.marks.skip_to(self.at);
            } else {
                return true;
            }
        }
        false
    }

    /// The next field of the record, which has one as long as [`End::Delimiter`] comes. What it can't point to in the text is
    /// appended to `copied`.
    #[inline(always)]
    pub(super) fn field(&mut self, copied: &mut Vec<u8>) -> (Field, End) {
        let start = self.at;
        loop {
            let mark = self.marks.next();
            let end = match self.text.get(mark) {
                Some(byte) if *byte == self.dialect.delimiter => End::Delimiter,
                Some(byte) if Some(*byte) == self.dialect.quote => {
                    if mark == start {
                        return self.quoted(start + 1, copied);
                    }
                    continue;
                }
                Some(_) => End::Line,
                None => End::Text,
            };
            self.at = if end == End::Text { mark } else { mark + 1 };
            let field =
                if self.dialect.trim { self.trimmed(start, mark) } else { Field::new(start, mark, Kind::Plain) };
            return (field, end);
        }
    }

    #[inline]
    fn is_quote(&self, at: usize) -> bool {
        self.text.get(at).is_some_and(|byte| Some(*byte) == self.dialect.quote)
    }

    /// Goes behind the mark at which a field ends.
    #[inline]
    fn end(&mut self, mark: usize) -> End {
        self.at = (mark + 1).min(self.text.len());
        match self.text.get(mark) {
            Some(byte) if *byte == self.dialect.delimiter => End::Delimiter,
            Some(_) => End::Line,
            None => End::Text,
        }
    }

    fn trimmed(&self, start: usize, end: usize) -> Field {
        let field = self.text.get(start..end).unwrap_or_default();
        let left = field.iter().take_while(|byte| **byte == b' ').count();
        let right = field.iter().skip(left).rev().take_while(|byte| **byte == b' ').count();
        Field::new(start + left, end - right, Kind::Plain)
    }

    /// The field whose text begins at `start`, behind its opening quote.
    #[inline(never)]
    fn quoted(&mut self, start: usize, copied: &mut Vec<u8>) -> (Field, End) {
        let copied_from = copied.len();
        // Where the part begins that is not copied yet, once something had to be.
        let mut part = start;
        let mut from = start;
        let close = loop {
            let place = self.in_quotes(from);
            let Some(byte) = self.text.get(place) else { break place };
            let next = place + 1;
            if Some(*byte) == self.dialect.escape {
                copied.extend_from_slice(self.text.get(part..place).unwrap_or_default());
                part = next;
                from = next + 1;
                self.marks.skip_to(from);
            } else if self.is_quote(next) {
                copied.extend_from_slice(self.text.get(part..next).unwrap_or_default());
                part = next + 1;
                from = part;
                self.marks.next();
            } else {
                break place;
            }
        };
        let behind = close + 1;
        let mut mark = self.marks.next();
        if part == start && copied.len() == copied_from && (mark == behind || close == self.text.len()) {
            return (Field::new(start, close, Kind::Quoted), self.end(mark));
        }
        // What stands between the closing quote and the delimiter belongs to the field.
        while self.is_quote(mark) {
            mark = self.marks.next();
        }
        copied.extend_from_slice(self.text.get(part..close).unwrap_or_default());
        copied.extend_from_slice(self.text.get(behind..mark).unwrap_or_default());
        (Field::new(copied_from, copied.len(), Kind::Copied), self.end(mark))
    }

    /// The next quote or escape from `from` on; the length of the text if there is none.
    #[inline]
    fn in_quotes(&mut self, from: usize) -> usize {
        if let (Some(escape), Some(quote)) = (self.dialect.escape, self.dialect.quote) {
            let rest = self.text.get(from..).unwrap_or_default();
            let place = memchr::memchr2(quote, escape, rest).map_or(self.text.len(), |length| from + length);
            self.marks.skip_to(place.saturating_add(1).min(self.text.len()));
            return place;
        }
        loop {
            let mark = self.marks.next();
            if mark == self.text.len() || self.is_quote(mark) {
                return mark;
            }
        }
    }
}
