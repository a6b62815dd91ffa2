//! The records of a document: the items of the array that a pointer names, and the values beside it that are kept.
//!
//! Only the way to the pointers is looked at; everything beside it is passed over, and nothing but one kept value or one key is
//! held. Documents may stand behind each other. An array at the top is a document of which the pointer is empty.

use super::gather::Gather;
use super::scanner::Scanner;
use super::structure::{Structure, spaces_end};
use super::unescape::unescape;
use crate::config::json::{JsonOptions, JsonPointer, JsonRecords};
use crate::formats::text::chunk::{Kept, SplitError};
use bytes::Bytes;
use std::sync::Arc;

/// Walks through documents.
#[derive(Debug)]
pub(super) struct Document {
    /// Where the records are.
    records: JsonPointer,
    keep: Vec<JsonPointer>,
    most_levels: usize,
    /// What is open on the way.
    levels: Vec<Level>,
    step: Step,
    /// Of the key or value that is passed over, or is a record.
    structure: Structure,
    /// The key or kept value as far as it was read.
    held: Vec<u8>,
    /// What the document has of `keep` so far.
    kept: Vec<Option<Bytes>>,
    /// Whether the document has the array of the records.
    is_found: bool,
    /// Whether the document gave records.
    gave_records: bool,
}

/// An object or array on the way to a pointer.
#[derive(Debug)]
struct Level {
    is_object: bool,
    /// Of the item of an array.
    index: usize,
    /// The key of an object.
    key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Between two documents.
    Between,
    /// In front of a value.
    Value,
    /// In front of a key, or the end of an object.
    FirstKey,
    /// In front of a key.
    Key,
    /// In a key.
    InKey,
    /// In front of a colon.
    Colon,
    /// In front of a value, or the end of an array.
    FirstValue,
    /// Behind a value.
    Behind,
    /// In a value that is passed over.
    Skip,
    /// In the value of `keep` with this index.
    Keep(usize),
    /// In front of an item, or the end of the records.
    FirstItem,
    /// In front of an item.
    Item,
    /// In an item.
    InItem,
}

/// What a pointer says of a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    Inside,
    Elsewhere,
}

impl Document {
    pub(super) fn new(options: &JsonOptions, most_levels: usize) -> Self {
        let (records, keep) = match &options.records {
            JsonRecords::At(pointer) => (pointer.clone(), options.keep.clone()),
            JsonRecords::Auto => (JsonPointer::default(), Vec::new()),
        };
        Self {
            kept: vec![None; keep.len()],
            records,
            keep,
            most_levels,
            levels: Vec::new(),
            step: Step::Between,
            structure: Structure::default(),
            held: Vec::new(),
            is_found: false,
            gave_records: false,
        }
    }

    pub(super) fn held_bytes(&self) -> u64 {
        self.held.capacity() as u64
    }

    /// Goes through the piece from `from` on until there is a cut, or the piece ends. Gives the place where it stopped.
    pub(super) fn scan(&mut self, gather: &mut Gather, from: usize) -> Result<usize, SplitError> {
        let piece = gather.piece().clone();
        let mut at = from;
        while at < piece.len() && !gather.has_cut() {
            at = self.step(gather, &piece, at)?;
        }
        Ok(at)
    }

    /// The text ends here.
    pub(super) fn finish(&mut self, gather: &mut Gather) -> Result<(), SplitError> {
        match self.step {
            Step::Between => return Ok(()),
            Step::InItem => gather.truncate(),
            _ => {}
        }
        Err(SplitError::Other(String::from("the object ends in the middle of a JSON document")))
    }

    fn step(&mut self, gather: &mut Gather, piece: &[u8], from: usize) -> Result<usize, SplitError> {
        match self.step {
            Step::Skip | Step::Keep(_) | Step::InKey | Step::InItem => return self.go_on(gather, piece, from),
            _ => {}
        }
        let at = spaces_end(piece, from);
        let Some(byte) = piece.get(at).copied() else { return Ok(at) };
        match (self.step, byte) {
            (Step::Between | Step::Value, _) => return self.value(gather, at, byte),
            (Step::FirstValue, b']') | (Step::FirstKey, b'}') | (Step::FirstItem, b']') => {
                return self.close(gather, at);
            }
            (Step::FirstValue, _) => return self.value(gather, at, byte),
            (Step::FirstKey | Step::Key, b'"') => {
                self.held.clear();
                self.structure = Structure::in_string();
                self.step = Step::InKey;
                return Ok(at + 1);
            }
            (Step::Colon, b':') => self.step = Step::Value,
            (Step::Behind, b',') => {
                let level = self.levels.last_mut();
                self.step = match level {
                    Some(Level { is_object: true, .. }) => Step::Key,
                    Some(level) => {
                        level.index += 1;
                        Step::Value
                    }
                    None => return Err(not_json(gather, at)),
                };
            }
            (Step::Behind, b'}' | b']') => {
                let is_object = byte == b'}';
                if self.levels.last().is_none_or(|level| level.is_object != is_object) {
                    return Err(not_json(gather, at));
                }
                return self.close(gather, at);
            }
            (Step::FirstItem | Step::Item, _) => {
                gather.begin(at);
                self.gave_records = true;
                self.structure = Structure::default();
                self.step = Step::InItem;
                return Ok(at);
            }
            _ => return Err(not_json(gather, at)),
        }
        Ok(at + 1)
    }

    /// In a key or a value that is not looked at any closer.
    fn go_on(&mut self, gather: &mut Gather, piece: &[u8], from: usize) -> Result<usize, SplitError> {
        let end = match self.step {
            Step::InKey => self.structure.string_end(piece, from),
            _ => self.structure.item_end(piece, from),
        };
        let until = end.unwrap_or(piece.len());
        if matches!(self.step, Step::InKey | Step::Keep(_)) {
            self.held.extend_from_slice(piece.get(from..until).unwrap_or_default());
            if self.held.len() as u64 > gather.most_bytes() {
                let most = gather.most_bytes();
                let what = format!("a key or kept value is longer than {most} bytes (limits.max_row_bytes)");
                return Err(SplitError::Other(what));
            }
        }
        let Some(end) = end else { return Ok(piece.len()) };
        match self.step {
            Step::InKey => {
                self.end_key(gather, end)?;
                return Ok(end);
            }
            Step::InItem => {
                gather.end(end);
                match piece.get(end) {
                    Some(b',') => self.step = Step::Item,
                    Some(b']') => return self.close(gather, end),
                    _ => return Err(not_json(gather, end)),
                }
                return Ok(end + 1);
            }
            Step::Keep(index) => self.end_kept(gather, index, end)?,
            _ => {}
        }
        self.step = Step::Behind;
        Ok(end)
    }

    fn end_key(&mut self, gather: &Gather, end: usize) -> Result<(), SplitError> {
        let Ok(key) = std::str::from_utf8(&self.held) else { return Err(not_json(gather, end)) };
        let key = unescape(key, &mut 0).into_owned();
        if let Some(level) = self.levels.last_mut() {
            level.key = key;
        }
        self.step = Step::Colon;
        Ok(())
    }

    fn end_kept(&mut self, gather: &Gather, index: usize, end: usize) -> Result<(), SplitError> {
        let raw = self.held.trim_ascii();
        let is_json = Scanner::new(self.most_levels).value(raw, 0, 0) == Ok(raw.len());
        if !is_json || std::str::from_utf8(raw).is_err() {
            return Err(not_json(gather, end));
        }
        if let Some(kept) = self.kept.get_mut(index) {
            *kept = (raw != b"null").then(|| Bytes::copy_from_slice(raw));
        }
        self.held = Vec::new();
        Ok(())
    }

    /// A value on the way begins with this byte.
    fn value(&mut self, gather: &mut Gather, at: usize, byte: u8) -> Result<usize, SplitError> {
        if matches!(byte, b',' | b':' | b'}' | b']') {
            return Err(not_json(gather, at));
        }
        self.structure = Structure::default();
        self.step = Step::Skip;
        match self.place(&self.records) {
            // No records, as some writers say it.
            Place::Here if byte == b'n' && !self.levels.is_empty() => self.is_found = true,
            Place::Here => return self.records(gather, at, byte),
            Place::Inside if self.opens(byte) => return Ok(at + 1),
            _ => {}
        }
        let places: Vec<Place> = self.keep.iter().map(|keep| self.place(keep)).collect();
        if let Some(index) = places.iter().position(|place| *place == Place::Here) {
            if self.gave_records {
                let (records, place) = (&self.records, gather.offset(at));
                let keep = self.keep.get(index).map(ToString::to_string).unwrap_or_default();
                return Err(SplitError::Other(format!(
                    "{keep} of json.keep stands at byte {place}, behind the records at {records}: rows before it can't have it; \
                     take it out of json.keep"
                )));
            }
            self.held.clear();
            self.step = Step::Keep(index);
        } else if places.contains(&Place::Inside) && self.opens(byte) {
            return Ok(at + 1);
        }
        if self.levels.is_empty() {
            return Err(self.not_found(gather, at));
        }
        Ok(at)
    }

    /// The array of the records begins.
    fn records(&mut self, gather: &mut Gather, at: usize, byte: u8) -> Result<usize, SplitError> {
        if byte != b'[' {
            let (pointer, place) = (&self.records, gather.offset(at));
            return Err(SplitError::Other(match pointer.tokens() {
                [] => format!("what begins at byte {place} is not an array of records"),
                _ => format!("the value at json.records ({pointer}) is not an array: it begins at byte {place}"),
            }));
        }
        self.is_found = true;
        self.levels.push(Level { is_object: false, index: 0, key: String::new() });
        // Chunks hold items of one array.
        gather.flush();
        if !self.keep.is_empty() {
            gather.keep(Some(Arc::new(Kept(self.kept.clone()))));
        }
        self.step = Step::FirstItem;
        Ok(at + 1)
    }

    /// Goes into an object or array.
    fn opens(&mut self, byte: u8) -> bool {
        self.step = match byte {
            b'{' => Step::FirstKey,
            b'[' => Step::FirstValue,
            _ => return false,
        };
        self.levels.push(Level { is_object: byte == b'{', index: 0, key: String::new() });
        true
    }

    /// The innermost object or array ends.
    fn close(&mut self, gather: &mut Gather, at: usize) -> Result<usize, SplitError> {
        self.levels.pop();
        self.step = Step::Behind;
        if self.levels.is_empty() {
            self.end_document(gather, at)?;
        }
        Ok(at + 1)
    }

    fn end_document(&mut self, gather: &Gather, at: usize) -> Result<(), SplitError> {
        if !self.is_found {
            return Err(self.not_found(gather, at));
        }
        self.step = Step::Between;
        (self.is_found, self.gave_records) = (false, false);
        self.kept.fill(None);
        Ok(())
    }

    fn not_found(&self, gather: &Gather, at: usize) -> SplitError {
        let (pointer, place) = (&self.records, gather.offset(at));
        SplitError::Other(format!("the JSON document up to byte {place} has nothing at json.records ({pointer})"))
    }

    /// Where the pointer leads to, seen from the value that begins.
    fn place(&self, pointer: &JsonPointer) -> Place {
        let tokens = pointer.tokens();
        let leads_here = self.levels.len() <= tokens.len()
            && self.levels.iter().zip(tokens).all(|(level, token)| {
                if level.is_object { level.key == *token } else { token.parse() == Ok(level.index) }
            });
        match leads_here {
            false => Place::Elsewhere,
            true if self.levels.len() == tokens.len() => Place::Here,
            true => Place::Inside,
        }
    }
}

fn not_json(gather: &Gather, at: usize) -> SplitError {
    SplitError::Other(format!("the JSON document is not valid JSON at byte {}", gather.offset(at)))
}
