//! From chunks to columns: the values of each key, as they stand in the text.

use super::row::Row;
use super::shape::Shape;
use super::splitter::record_end;
use super::structure::spaces_end;
use super::unescape::unescape;
use crate::config::json::{DuplicateKeys, JsonAs, JsonOptions};
use crate::formats::text::chunk::{BadReason, BadRecord, Chunk, Kept, Parsed, RowNumbers};
use crate::schema::rules::ColumnRules;
use arrow::array::{ArrayBuilder, ArrayRef, StringArray, StringBuilder};
use std::collections::HashMap;
use std::sync::Arc;

/// Longer chunks, which have one record, fit no column of text: its offsets are 32 bits. In bytes.
const MOST_CHUNK_BYTES: usize = i32::MAX as usize;

/// Parses the chunks of one object, in any order and many at a time.
#[derive(Debug)]
pub(crate) struct Parser {
    pub(super) shape: Shape,
    pub(super) is_document: bool,
    pub(super) bad_duplicates: bool,
    /// Whether keys without a column are told even if their value is null: for those who look for columns.
    pub(super) has_null_others: bool,
    pub(super) most_levels: usize,
    /// Which keys without a column nobody wants; `None`: all are told.
    rules: Option<Arc<ColumnRules>>,
    pub(super) names: Vec<String>,
    /// The columns of the names that records may have.
    pub(super) columns: HashMap<String, usize>,
    /// For each column, which of the kept values it has.
    kept: Vec<Option<usize>>,
}

impl Parser {
    /// `shape`: what the splitter says; `fields`: the names of the columns. A column with the name of a kept value has that value:
    /// what a record has under this name goes to the others. With `json.as: document` the only field is
    /// [`crate::config::json::DOCUMENT_COLUMN`].
    pub(crate) fn new(options: &JsonOptions, shape: Shape, max_depth: usize, fields: Vec<String>) -> Self {
        let kept_as = |name: &String| options.keep.iter().position(|keep| keep.name() == Some(name));
        let kept: Vec<Option<usize>> = fields.iter().map(kept_as).collect();
        let of_records = fields.iter().enumerate().filter(|(column, _)| kept.get(*column).is_some_and(Option::is_none));
        Self {
            shape,
            is_document: options.read_as == JsonAs::Document,
            bad_duplicates: options.duplicate_keys == DuplicateKeys::Bad,
            has_null_others: false,
            most_levels: max_depth,
            rules: None,
            columns: of_records.map(|(column, name)| (name.clone(), column)).collect(),
            names: fields,
            kept,
        }
    }

    /// Passes over keys that these rules leave out.
    pub(crate) fn leaving_out(mut self, rules: Arc<ColumnRules>) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Whether a key without a column, as it stands in the text, is passed over.
    pub(super) fn leaves_out(&self, key: &str) -> bool {
        self.rules.as_ref().is_some_and(|rules| !rules.keeps(unescape(key, &mut 0).as_ref(), 0))
    }

    /// The rows of the chunk, and its records that are none.
    pub(crate) fn parse(&self, chunk: &Chunk) -> Parsed {
        let mut rows = Rows::new(self, chunk);
        let text = std::str::from_utf8(&chunk.bytes).ok();
        let mut row = Row::new(self);
        let mut at = 0;
        if chunk.bytes.len() > MOST_CHUNK_BYTES {
            let reason = BadReason::TooLong { most_bytes: MOST_CHUNK_BYTES as u64 };
            rows.bad.push(BadRecord::new(chunk.first_record, chunk.offset, reason, &chunk.bytes));
            return rows.finish(chunk);
        }
        for number in chunk.first_record..chunk.first_record + chunk.records {
            at = spaces_end(&chunk.bytes, at);
            at = self.record(chunk, text, at, number, &mut row, &mut rows);
            if self.shape == Shape::Items {
                at = spaces_end(&chunk.bytes, at) + 1;
            }
        }
        rows.finish(chunk)
    }

    /// The record at `from`; gives its end.
    fn record(
        &self,
        chunk: &Chunk,
        text: Option<&str>,
        from: usize,
        number: u64,
        row: &mut Row,
        rows: &mut Rows<'_>,
    ) -> usize {
        // A valid object ends where the splitter has found its end, so that is looked for once more only if it isn't valid.
        if let Some(rest) = text.and_then(|text| text.get(from..))
            && self.shape != Shape::Lines
            && rest.starts_with('{')
            && let Ok(end) = row.read(self, rest)
            && self.ends_well(chunk, from + end)
        {
            rows.add(rest, row, number);
            return from + end;
        }
        let end = record_end(self.shape, &chunk.bytes, from);
        let bytes = chunk.bytes.get(from..end).unwrap_or_default().trim_ascii_end();
        let read = match text {
            Some(text) => text.get(from..from + bytes.len()).ok_or(BadReason::NotJson { at: 0 }),
            None => std::str::from_utf8(bytes).map_err(|error| BadReason::NotUtf8 { at: error.valid_up_to() as u64 }),
        };
        let read = read.and_then(|record| row.read_whole(self, record).map(|()| record));
        match read {
            Ok(record) => rows.add(record, row, number),
            Err(reason) => rows.bad.push(BadRecord::new(number, chunk.offset + from as u64, reason, bytes)),
        }
        end
    }

    /// Whether an item may end here.
    fn ends_well(&self, chunk: &Chunk, end: usize) -> bool {
        self.shape != Shape::Items || matches!(chunk.bytes.get(spaces_end(&chunk.bytes, end)), None | Some(b','))
    }
}

/// The rows of a chunk so far.
struct Rows<'a> {
    parser: &'a Parser,
    builders: Vec<StringBuilder>,
    others: Option<StringBuilder>,
    numbers: Vec<u64>,
    bad: Vec<BadRecord>,
}

impl<'a> Rows<'a> {
    fn new(parser: &'a Parser, chunk: &Chunk) -> Self {
        let records = usize::try_from(chunk.records).unwrap_or_default();
        // An even share, which some columns outgrow; the sum of all is never more than the text twice.
        let share = chunk.bytes.len() / parser.names.len().max(1);
        let builder = |kept: &Option<usize>| {
            let rows = if kept.is_some() { 0 } else { records };
            StringBuilder::with_capacity(rows, if kept.is_some() { 0 } else { share })
        };
        Self {
            parser,
            builders: parser.kept.iter().map(builder).collect(),
            others: None,
            numbers: Vec::with_capacity(records),
            bad: Vec::new(),
        }
    }

    fn add(&mut self, text: &str, row: &Row, number: u64) {
        for ((builder, value), kept) in self.builders.iter_mut().zip(row.values()).zip(&self.parser.kept) {
            if kept.is_none() {
                match value.clone().and_then(|value| text.get(value)) {
                    Some(value) => builder.append_value(value),
                    None => builder.append_null(),
                }
            }
        }
        if let Some(other) = row.others(text, self.parser) {
            let others = self.others.get_or_insert_with(StringBuilder::new);
            for _ in others.len()..self.numbers.len() {
                others.append_null();
            }
            others.append_value(other);
        }
        self.numbers.push(number);
    }

    fn finish(mut self, chunk: &Chunk) -> Parsed {
        let rows = self.numbers.len();
        let column = |(mut builder, kept): (StringBuilder, &Option<usize>)| -> ArrayRef {
            match kept {
                Some(keep) => Arc::new(constant(chunk.kept.as_deref(), *keep, rows)),
                None => Arc::new(builder.finish()),
            }
        };
        let columns = std::mem::take(&mut self.builders).into_iter().zip(&self.parser.kept).map(column).collect();
        let others = self.others.map(|mut others| {
            for _ in others.len()..rows {
                others.append_null();
            }
            others.finish()
        });
        let numbers = if self.bad.is_empty() {
            RowNumbers::From { first: chunk.first_record, rows }
        } else {
            RowNumbers::Each(self.numbers.into())
        };
        Parsed { numbers, columns, others, bad: self.bad, replaced: 0, short_rows: 0 }
    }
}

/// A kept value, `rows` times.
fn constant(kept: Option<&Kept>, index: usize, rows: usize) -> StringArray {
    let value = kept.and_then(|kept| kept.0.get(index)).and_then(Option::as_deref);
    match value.and_then(|value| std::str::from_utf8(value).ok()) {
        Some(value) => StringArray::from_iter_values(std::iter::repeat_n(value, rows)),
        None => StringArray::new_null(rows),
    }
}
