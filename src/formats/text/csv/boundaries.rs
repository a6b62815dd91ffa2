//! Where records end, over all pieces of a text: exact, without parsing them.
//!
//! A quote opens a field only behind a delimiter, a line end or at the start; inside, a doubled one is skipped. So whether a
//! line end ends a record is known as soon as it is seen, and nothing has to be guessed. What is known at the end of a piece
//! moves along into the next one.

use super::dialect::Dialect;
use super::scan::Marks;

/// What the byte behind those that were scanned is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first one of a line, with no record begun.
    LineStart,
    /// Of a comment.
    Comment,
    /// Of a record, outside of quotes.
    Plain {
        /// Whether a quote would open a field.
        quote_opens: bool,
    },
    /// Of a quoted field.
    Quoted,
    /// Behind an escape in a quoted field.
    Escaped,
    /// Behind a quote in a quoted field: it was the closing one if this isn't a quote.
    QuoteInQuoted,
}

/// Finds the ends of records.
#[derive(Debug, Clone)]
pub(super) struct Boundaries {
    dialect: Dialect,
    state: State,
}

/// A record, or a part of it, in what was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first byte there.
    pub(super) start: usize,
    /// The byte behind it, which is its line end.
    pub(super) end: usize,
}

impl Boundaries {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, state: State::LineStart }
    }

    pub(super) fn delimiter(&self) -> u8 {
        self.dialect.delimiter
    }

    /// Whether the text so far ends in a record.
    pub(super) fn is_in_record(&self) -> bool {
        !matches!(self.state, State::LineStart | State::Comment)
    }

    /// Whether the text so far ends in a quoted field that is not closed.
    pub(super) fn is_in_quotes(&self) -> bool {
        matches!(self.state, State::Quoted | State::Escaped)
    }

    /// The text ended: what comes next is another one.
    pub(super) fn end_record(&mut self) {
        self.state = State::LineStart;
    }

    /// The records that end in `text`, which goes on where the last scan ended. A record that is under way begins at 0. `on_record`
    /// says whether to go on; where it doesn't, and at the end of `text`, the scan ends: where that is, and where the record
    /// begins that is under way there.
    #[inline]
    pub(super) fn scan(&mut self, text: &[u8], mut on_record: impl FnMut(Span) -> bool) -> (usize, Option<usize>) {
        let mut marks = Marks::new(text, self.dialect.record_marks());
        // The first byte that was not scanned, and of the record that is under way.
        let mut at = 0;
        let mut start = 0;
        while let Some(byte) = text.get(at) {
            match self.state {
                State::LineStart if is_line_end(*byte) => at = marks.next() + 1,
                State::LineStart if Some(*byte) == self.dialect.comment => self.state = State::Comment,
                State::LineStart => {
                    start = at;
                    self.state = State::Plain { quote_opens: true };
                }
                State::Comment => {
                    let mark = marks.next();
                    at = (mark + 1).min(text.len());
                    if text.get(mark).copied().is_some_and(is_line_end) {
                        self.state = State::LineStart;
                    }
                }
                State::Plain { quote_opens } => {
                    let mark = marks.next();
                    match text.get(mark) {
                        Some(byte) if is_line_end(*byte) => {
                            at = mark + 1;
                            self.state = State::LineStart;
                            if !on_record(Span { start, end: mark }) {
                                return (at, None);
                            }
                        }
                        found => {
                            // A quote, or the end.
                            let opens = if mark == at { quote_opens } else { self.is_delimiter(text, mark - 1) };
                            at = if found.is_some() { mark + 1 } else { mark };
                            self.state = match found {
                                Some(_) if opens => State::Quoted,
                                Some(_) => State::Plain { quote_opens: false },
                                None => State::Plain { quote_opens: opens },
                            };
                        }
                    }
                }
                State::Quoted => at = self.quoted(text, at, &mut marks),
                State::Escaped => {
                    at += 1;
                    marks.skip_to(at);
                    self.state = State::Quoted;
                }
                State::QuoteInQuoted => {
                    if Some(*byte) == self.dialect.quote {
                        at = marks.next() + 1;
                        self.state = State::Quoted;
                    } else {
                        self.state = State::Plain { quote_opens: false };
                    }
                }
            }
        }
        (at, self.is_in_record().then_some(start))
    }

    fn is_delimiter(&self, text: &[u8], at: usize) -> bool {
        text.get(at) == Some(&self.dialect.delimiter)
    }

    /// Goes on in a quoted field, up to the next quote or escape.
    #[inline]
    fn quoted(&mut self, text: &[u8], at: usize, marks: &mut Marks<'_, 3>) -> usize {
        if let (Some(escape), Some(quote)) = (self.dialect.escape, self.dialect.quote) {
            let rest = text.get(at..).unwrap_or_default();
            let Some(length) = memchr::memchr2(quote, escape, rest) else { return text.len() };
            let place = at + length;
            marks.skip_to(place + 1);
            self.state = if text.get(place) == Some(&escape) { State::Escaped } else { State::QuoteInQuoted };
            return place + 1;
        }
        loop {
            let mark = marks.next();
            let Some(byte) = text.get(mark) else { return mark };
            if Some(*byte) == self.dialect.quote {
                self.state = State::QuoteInQuoted;
                return mark + 1;
            }
        }
    }
}

/// Whether `byte` ends a line. `\r\n` is a line end and a blank line, which is nothing.
#[inline]
pub(super) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
