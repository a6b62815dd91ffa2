//! One record: where the values of its keys stand.

use super::parser::Parser;
use super::scanner::{Fault, Scanner, key};
use super::structure::spaces_end;
use super::unescape::unescape;
use crate::config::json::DOCUMENT_COLUMN;
use crate::formats::text::chunk::BadReason;
use std::collections::HashMap;
use std::ops::Range;

/// Up to so many keys without a column are compared one by one to find one that is there twice; more are hashed.
const COMPARED_KEYS: usize = 16;

/// Behind which column no column was seen yet.
const NO_COLUMN: usize = usize::MAX;

/// A record that is read, and what reads it. All places are relative to the text that was read last.
#[derive(Debug)]
pub(super) struct Row {
    scanner: Scanner,
    values: Vec<Value>,
    /// For the beginning, and for each column, the column of the key that came behind it the last time: most records have their
    /// keys in the same order, so that a comparison finds the column.
    next_columns: Vec<usize>,
    others: Vec<Other>,
    /// Where keys are in `others`, once there are many.
    others_by_key: HashMap<String, usize>,
}

/// What a record has for a column.
#[derive(Debug, Clone, Copy)]
enum Value {
    Missing,
    Null,
    At { from: usize, to: usize },
}

/// A key without a column, with its quotes, and its value.
#[derive(Debug)]
struct Other {
    key: Range<usize>,
    value: Range<usize>,
}

impl Row {
    pub(super) fn new(parser: &Parser) -> Self {
        Self {
            scanner: Scanner::new(parser.most_levels),
            values: vec![Value::Missing; parser.names.len()],
            next_columns: vec![NO_COLUMN; parser.names.len() + 1],
            others: Vec::new(),
            others_by_key: HashMap::new(),
        }
    }

    /// Where the values are that are not null, in the order of the columns.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<Range<usize>>> {
        self.values.iter().map(|value| match value {
            Value::At { from, to } => Some(*from..*to),
            Value::Missing | Value::Null => None,
        })
    }

    /// What belongs to no column, as an object, without what `parser` passes over; `None`: nothing.
    pub(super) fn others(&self, text: &str, parser: &Parser) -> Option<String> {
        let mut object = String::new();
        for Other { key, value } in &self.others {
            let (Some(key), Some(value)) = (text.get(key.clone()), text.get(value.clone())) else { continue };
            if (parser.has_null_others || value != "null") && !parser.leaves_out(key) {
                object.push(if object.is_empty() { '{' } else { ',' });
                object.push_str(key);
                object.push(':');
                object.push_str(value);
            }
        }
        (!object.is_empty()).then(|| {
            object.push('}');
            object
        })
    }

    /// Reads a record that is the whole text.
    pub(super) fn read_whole(&mut self, parser: &Parser, text: &str) -> Result<(), BadReason> {
        let end = self.read(parser, text)?;
        let at = spaces_end(text.as_bytes(), end);
        if at < text.len() { Err(BadReason::NotJson { at: at as u64 }) } else { Ok(()) }
    }

    /// Reads the record at the beginning of the text; gives its end.
    pub(super) fn read(&mut self, parser: &Parser, text: &str) -> Result<usize, BadReason> {
        let bad = |fault| match fault {
            Fault::At(at) => BadReason::NotJson { at: at as u64 },
            Fault::TooDeep => BadReason::TooDeep { most_levels: parser.most_levels },
        };
        let bytes = text.as_bytes();
        self.values.fill(Value::Missing);
        self.others.clear();
        self.others_by_key.clear();
        if parser.is_document || bytes.first() != Some(&b'{') {
            let end = self.scanner.value(bytes, 0, 0).map_err(bad)?;
            if !parser.is_document {
                // What is no JSON behind the value counts more than what the value is.
                let at = spaces_end(bytes, end);
                return Err(if at < text.len() {
                    BadReason::NotJson { at: at as u64 }
                } else {
                    BadReason::NotAnObject
                });
            }
            if let Some(value) = parser.columns.get(DOCUMENT_COLUMN).and_then(|column| self.values.get_mut(*column)) {
                *value = value_at(bytes, 0..end);
            }
            return Ok(end);
        }
        if parser.most_levels == 0 {
            return Err(bad(Fault::TooDeep));
        }
        let mut at = spaces_end(bytes, 1);
        if bytes.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        let mut behind = 0;
        loop {
            let key = key(bytes, at).map_err(bad)?;
            let end = self.scanner.value(bytes, key.value, 1).map_err(bad)?;
            behind = self.put(parser, text, at..key.end, key.value..end, behind)?;
            at = spaces_end(bytes, end);
            match bytes.get(at) {
                Some(b',') => at = spaces_end(bytes, at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => return Err(bad(Fault::At(at))),
            }
        }
    }

    /// Puts a value where it belongs. `behind`: one more than the column of the key before, 0 for the first one; gives that of
    /// the next one.
    fn put(
        &mut self,
        parser: &Parser,
        text: &str,
        key: Range<usize>,
        value: Range<usize>,
        behind: usize,
    ) -> Result<usize, BadReason> {
        let raw = text.get(key.clone()).unwrap_or_default();
        let name = raw.get(1..raw.len() - 1).unwrap_or_default();
        let guess = self.next_columns.get(behind).copied().unwrap_or(NO_COLUMN);
        // Only names without escapes are ever guessed.
        let column = if parser.names.get(guess).is_some_and(|guessed| guessed == name) {
            Some(guess)
        } else if name.contains('\\') {
            parser.columns.get(unescape(raw, &mut 0).as_ref()).copied()
        } else {
            let column = parser.columns.get(name).copied();
            if let (Some(column), Some(next)) = (column, self.next_columns.get_mut(behind)) {
                *next = column;
            }
            column
        };
        let Some((column, place)) = column.and_then(|column| Some((column, self.values.get_mut(column)?))) else {
            self.put_other(parser, text, Other { key, value })?;
            return Ok(behind);
        };
        if parser.bad_duplicates && !matches!(place, Value::Missing) {
            return Err(BadReason::DuplicateKey);
        }
        *place = value_at(text.as_bytes(), value);
        Ok(column + 1)
    }

    fn put_other(&mut self, parser: &Parser, text: &str, other: Other) -> Result<(), BadReason> {
        let same = self.find_other(text, &other.key);
        match same.and_then(|index| self.others.get_mut(index)) {
            Some(_) if parser.bad_duplicates => return Err(BadReason::DuplicateKey),
            Some(place) => place.value = other.value,
            None => self.others.push(other),
        }
        Ok(())
    }

    /// Which of the others has this key. With many of them, the key is taken to be the next one if none has.
    fn find_other(&mut self, text: &str, key: &Range<usize>) -> Option<usize> {
        let name = |key: &Range<usize>| unescape(text.get(key.clone()).unwrap_or_default(), &mut 0);
        let searched = name(key);
        if self.others.len() < COMPARED_KEYS {
            return self.others.iter().position(|other| name(&other.key) == searched);
        }
        if self.others_by_key.is_empty() {
            let names = self.others.iter().enumerate().map(|(index, other)| (name(&other.key).into_owned(), index));
            self.others_by_key.extend(names);
        }
        let found = self.others_by_key.get(searched.as_ref()).copied();
        if found.is_none() {
            self.others_by_key.insert(searched.into_owned(), self.others.len());
        }
        found
    }
}

fn value_at(bytes: &[u8], value: Range<usize>) -> Value {
    match bytes.get(value.start) {
        Some(b'n') => Value::Null,
        _ => Value::At { from: value.start, to: value.end },
    }
}
