//! From a chunk of whole records to columns of texts.
//!
//! First the fields of all records are found, then each column is made in one go. A chunk is checked to be UTF-8 once; only one
//! that is not is looked at field by field.

use super::columns::{Columns, Nulls};
use super::dialect::Dialect;
use super::header::{Header, is_record};
use super::lexer::{End, Field, Lexer};
use crate::config::csv::{CsvOptions, InvalidUtf8, LongRows, RepeatedHeader, ShortRows};
use crate::formats::text::chunk::{BadReason, BadRecord, Chunk, Parsed, RowNumbers};
use arrow::array::StringBuilder;
use std::sync::Arc;

/// Parses the chunks of one object, in any order.
#[derive(Debug)]
pub(crate) struct Parser {
    options: Arc<CsvOptions>,
    dialect: Dialect,
    /// Whether each column of the header is read.
    is_wanted: Vec<bool>,
    /// How many are.
    wanted: usize,
    /// What a repeated header has; `None`: there is none, or it is a row.
    repeated: Option<Vec<String>>,
    nulls: Nulls,
}

impl Parser {
    /// `wanted` are the columns that are read, ascending, as indexes of [`Header::names`].
    pub(crate) fn new(options: Arc<CsvOptions>, header: &Header, wanted: &[usize]) -> Self {
        let mut is_wanted = vec![false; header.names.len()];
        for column in wanted {
            if let Some(is_wanted) = is_wanted.get_mut(*column) {
                *is_wanted = true;
            }
        }
        let wanted = is_wanted.iter().filter(|wanted| **wanted).count();
        let repeated = header.fields.clone().filter(|_| options.repeated_header == RepeatedHeader::Skip);
        let dialect = Dialect::new(&options, header.delimiter);
        let nulls = Nulls::new(&options);
        Self { options, dialect, is_wanted, wanted, repeated, nulls }
    }

    /// The columns of a chunk.
    pub(crate) fn parse(&self, chunk: &Chunk) -> Parsed {
        let text = chunk.bytes.as_ref();
        let valid = std::str::from_utf8(text).ok();
        let mut rows = Rows::new(chunk, self.wanted);
        let mut lexer = Lexer::new(text, self.dialect);
        let mut number = chunk.first_record;
        while lexer.next_record() {
            let start = lexer.at();
            let mark = rows.mark();
            let end = self.record(&mut lexer, &mut rows);
            match self.judge(&mut rows, text, start..end, valid.is_some()) {
                Verdict::Row => rows.keep(number),
                Verdict::PassOver => rows.drop_row(mark),
                Verdict::Bad(reason) => {
                    rows.drop_row(mark);
                    let raw = text.get(start..end).unwrap_or_default();
                    rows.bad.push(BadRecord::new(number, chunk.offset + start as u64, reason, raw));
                }
            }
            number += 1;
        }
        let columns = Columns { text, valid, copied: &rows.copied, nulls: &self.nulls, dialect: self.dialect };
        let (columns, replaced) = columns.all(&rows.fields, self.wanted, rows.rows);
        Parsed {
            numbers: rows.numbers(chunk.first_record),
            columns,
            others: rows.others.map(|mut others| others.finish()),
            bad: rows.bad,
            replaced: replaced + rows.replaced,
            short_rows: rows.short_rows,
        }
    }

    /// Reads the fields of the record that is next; where its text ends.
    #[inline]
    fn record(&self, lexer: &mut Lexer<'_>, rows: &mut Rows) -> usize {
        rows.surplus.clear();
        rows.found = 0;
        loop {
            let (field, end) = lexer.field(&mut rows.copied);
            match self.is_wanted.get(rows.found) {
                Some(true) => rows.fields.push(field),
                Some(false) => {}
                None => rows.surplus.push(field),
            }
            rows.found += 1;
            match end {
                End::Delimiter => {}
                End::Line => return lexer.at() - 1,
                End::Text => return lexer.at(),
            }
        }
    }

    /// What becomes of the record that was read.
    fn judge(&self, rows: &mut Rows, text: &[u8], record: std::ops::Range<usize>, is_valid: bool) -> Verdict {
        let record = text.get(record).unwrap_or_default();
        if self.repeated.as_ref().is_some_and(|header| is_record(self.dialect, record, header)) {
            return Verdict::PassOver;
        }
        if !is_valid
            && self.options.invalid_utf8 == InvalidUtf8::Bad
            && let Err(error) = std::str::from_utf8(record)
        {
            return Verdict::Bad(BadReason::NotUtf8 { at: error.valid_up_to() as u64 });
        }
        let expected = self.is_wanted.len();
        let found = rows.found;
        if found < expected {
            if self.options.short_rows == ShortRows::Bad {
                return Verdict::Bad(BadReason::ShortRow { fields: found, expected });
            }
            rows.short_rows += 1;
            let missing = self.is_wanted.iter().skip(found).filter(|wanted| **wanted).count();
            rows.fields.extend(std::iter::repeat_n(Field::MISSING, missing));
        } else if found > expected {
            let filled = rows.surplus.iter().rposition(|field| field.len() > 0).map_or(0, |last| last + 1);
            rows.surplus.truncate(filled);
            match self.options.long_rows {
                _ if filled == 0 => {}
                LongRows::Ignore => {}
                LongRows::Bad => return Verdict::Bad(BadReason::LongRow { fields: expected + filled, expected }),
                LongRows::Rescue => rows.rescue(text),
            }
        }
        Verdict::Row
    }
}

/// What becomes of a record.
enum Verdict {
    Row,
    PassOver,
    Bad(BadReason),
}

/// The rows of a chunk while it is read.
struct Rows {
    /// The fields that are read, row by row, with those of a record that isn't judged yet.
    fields: Vec<Field>,
    /// The texts of fields that don't stand in the chunk as they are.
    copied: Vec<u8>,
    /// The fields of the record at hand behind those of the header.
    surplus: Vec<Field>,
    /// How many fields the record at hand has.
    found: usize,
    rows: usize,
    /// The numbers of the rows, once a record was left out.
    numbers: Option<Vec<u64>>,
    first: u64,
    others: Option<StringBuilder>,
    /// The object of the record at hand for `others`.
    other: Option<String>,
    bad: Vec<BadRecord>,
    replaced: u64,
    short_rows: u64,
}

impl Rows {
    fn new(chunk: &Chunk, wanted: usize) -> Self {
        let rows = usize::try_from(chunk.records).unwrap_or_default();
        // What a chunk says of itself is not taken on trust: a record has one byte at least.
        let fields = rows.saturating_mul(wanted).min(chunk.bytes.len() + 1);
        Self {
            fields: Vec::with_capacity(fields),
            copied: Vec::new(),
            surplus: Vec::new(),
            found: 0,
            rows: 0,
            numbers: None,
            first: chunk.first_record,
            others: None,
            other: None,
            bad: Vec::new(),
            replaced: 0,
            short_rows: 0,
        }
    }

    /// Where the fields of the record begin that is read next.
    fn mark(&self) -> usize {
        self.fields.len()
    }

    /// The record at hand is the row with this number.
    #[inline]
    fn keep(&mut self, number: u64) {
        if let Some(numbers) = &mut self.numbers {
            numbers.push(number);
        }
        if self.other.is_some() && self.others.is_none() {
            let mut others = StringBuilder::new();
            others.append_nulls(self.rows);
            self.others = Some(others);
        }
        if let Some(others) = &mut self.others {
            others.append_option(self.other.take());
        }
        self.rows += 1;
    }

    /// The record at hand, whose fields begin at `mark`, is no row.
    fn drop_row(&mut self, mark: usize) {
        self.fields.truncate(mark);
        let first = self.first;
        let rows = self.rows as u64;
        self.numbers.get_or_insert_with(|| (first..first + rows).collect());
    }

    /// Keeps the surplus fields of the record at hand for the rescue column.
    fn rescue(&mut self, text: &[u8]) {
        let mut object = String::from("{\"_extra\":[");
        for (index, field) in self.surplus.iter().enumerate() {
            let bytes = field.bytes(text, &self.copied);
            let field = String::from_utf8_lossy(bytes);
            self.replaced += super::columns::replaced(bytes);
            if index > 0 {
                object.push(',');
            }
            object.push_str(&serde_json::Value::from(field.as_ref()).to_string());
        }
        object.push_str("]}");
        self.other = Some(object);
    }

    fn numbers(&self, first: u64) -> RowNumbers {
        match &self.numbers {
            Some(numbers) => RowNumbers::Each(numbers.as_slice().into()),
            None => RowNumbers::From { first, rows: self.rows },
        }
    }
}
