//! The characters that mean something, now that the delimiter is known; and how it becomes known.

use super::lexer::{End, Lexer};
use super::scan::Needles;
use crate::config::csv::{CsvOptions, Trim};

/// The delimiters that `auto` chooses from; of those that fit equally well the first one.
const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Records that `auto` looks at.
const DETECTED_RECORDS: usize = 20;

/// Bytes that `auto` looks at: what splitting holds back until the delimiter is known. Twenty records are mostly far less.
pub(super) const DETECTED_BYTES: usize = 64 << 10;

/// What `auto` gives where no candidate fits, as in a table of one column.
pub(super) const FALLBACK_DELIMITER: u8 = b',';

/// The characters that mean something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
    /// In quotes; never the quote itself.
    pub(super) escape: Option<u8>,
    pub(super) comment: Option<u8>,
    /// Whether spaces around fields without quotes are left out.
    pub(super) trim: bool,
    /// Whether fields without quotes have the escapes of [`super::backslash`].
    pub(super) backslash_escapes: bool,
}

impl Dialect {
    pub(super) fn new(options: &CsvOptions, delimiter: u8) -> Self {
        Self {
            delimiter,
            quote: options.quote,
            escape: options.escape.filter(|escape| options.quote.is_some_and(|quote| quote != *escape)),
            comment: options.comment,
            trim: options.trim == Trim::Outer,
            backslash_escapes: options.backslash_escapes,
        }
    }

    /// What ends or begins a field.
    pub(super) fn field_marks(self) -> Needles<4> {
        Needles([self.delimiter, b'\n', b'\r', self.quote.unwrap_or(b'\n')])
    }

    /// What ends a record, or keeps it from being ended.
    pub(super) fn record_marks(self) -> Needles<3> {
        Needles([b'\n', b'\r', self.quote.unwrap_or(b'\n')])
    }
}

/// The delimiter of the text that begins with `head`: the candidate that gives the same number of fields, more than one, in
/// most of the first records. `None`: there are too few to tell, and more may follow, as `whole` says. What is behind
/// [`DETECTED_BYTES`] doesn't count, so that the answer is the same however the text comes in.
pub(super) fn detect(options: &CsvOptions, head: &[u8], whole: bool) -> Option<u8> {
    let seen = head.get(..DETECTED_BYTES).unwrap_or(head);
    let counts = CANDIDATES
        .map(|delimiter| field_counts(Dialect::new(options, delimiter), seen, whole && seen.len() == head.len()));
    let decided = whole || head.len() >= DETECTED_BYTES || counts.iter().all(|counts| counts.len() == DETECTED_RECORDS);
    if !decided {
        return None;
    }
    let mut best = (0, FALLBACK_DELIMITER);
    for (delimiter, counts) in CANDIDATES.into_iter().zip(&counts) {
        let agreeing = agreeing(counts);
        // More than half of them, and more than with a candidate before.
        if agreeing * 2 > counts.len() && agreeing > best.0 {
            best = (agreeing, delimiter);
        }
    }
    Some(best.1)
}

/// How many fields the first complete records have. `whole`: the text ends with `head`.
fn field_counts(dialect: Dialect, head: &[u8], whole: bool) -> Vec<usize> {
    let mut lexer = Lexer::new(head, dialect);
    let mut counts = Vec::with_capacity(DETECTED_RECORDS);
    let mut copied = Vec::new();
    while counts.len() < DETECTED_RECORDS && lexer.next_record() {
        let mut fields = 0;
        let end = loop {
            copied.clear();
            let (_, end) = lexer.field(&mut copied);
            fields += 1;
            if end != End::Delimiter {
                break end;
            }
        };
        if end == End::Line || whole {
            counts.push(fields);
        }
    }
    counts
}

/// How many of `counts` are the one that most of them are, unless that is one field.
fn agreeing(counts: &[usize]) -> usize {
    let same = |count: &usize| counts.iter().filter(|other| *other == count).count();
    counts.iter().filter(|count| **count > 1).map(same).max().unwrap_or(0)
}
