//! Faults of footers that all other readers ignore and ours would not: repaired in a copy of the bytes, so
//! that the `parquet` crate reads it. Nothing is changed that decides where data lies or what its bytes mean.
//!
//! What can't be read here is left to the crate, whose error then says so.

use super::compact::{self, Compact};
use super::elements::{self, Schema};
use crate::formats::error::ReadError;
use crate::formats::parquet::errors::damaged;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// `FileMetaData`: …, schema 2, rows 3, row groups 4, …
const SCHEMA: i64 = 2;
const ROW_GROUPS: i64 = 4;
const KEY_VALUES: i64 = 5;
const CREATED_BY: i64 = 6;
const COLUMN_ORDERS: i64 = 7;

/// `RowGroup`: columns 1, bytes 2, rows 3, sorting columns 4, …
const COLUMNS: i64 = 1;
const SORTING_COLUMNS: i64 = 4;

/// `ColumnChunk`: …, metadata 3, …, how it is encrypted 8, …
const COLUMN_METADATA: i64 = 3;
const COLUMN_ENCRYPTION: i64 = 8;

/// `ColumnMetaData`: …, encoding stats 13, …
const ENCODING_STATS: i64 = 13;

/// Most places that are repaired: each is held until the footer is written again, and takes more memory than the bytes that
/// ask for it. A footer with more is left to the crate.
const MAX_PATCHES: usize = 100_000;

/// Replaces a byte that is not UTF-8.
const REPLACEMENT: u8 = b'?';

/// `footer` (without length and magic) as the crate takes it.
///
/// # Errors
/// [`ReadError::Damaged`] when the schema is nested too deeply, [`ReadError::Unsupported`] when columns are encrypted.
pub(super) fn repaired(footer: &[u8]) -> Result<Cow<'_, [u8]>, ReadError> {
    let mut found = Findings::default();
    // What comes after something unreadable is of no use: the crate stops there, too.
    let readable = found.footer(Compact::new(footer)).is_some();
    if found.too_deep {
        return Err(damaged(format!("its schema is nested more than {} levels deep", elements::MAX_SCHEMA_DEPTH)));
    }
    if let Some(column) = found.encrypted.first() {
        let named = &found.encrypted[..found.encrypted.len().min(MAX_NAMED)];
        let paths = found.schema.and_then(|mut at| elements::leaf_paths(&mut at, named));
        return Err(encrypted(&paths.unwrap_or_default(), *column, &found.encrypted));
    }
    if !readable || found.patches.is_empty() {
        return Ok(Cow::Borrowed(footer));
    }
    found.patches.sort_by_key(|(range, _)| range.start);
    let (mut output, mut done) = (Vec::with_capacity(footer.len()), 0);
    for (range, bytes) in found.patches {
        output.extend_from_slice(footer.get(done..range.start).unwrap_or_default());
        output.extend(bytes);
        done = range.end;
    }
    output.extend_from_slice(footer.get(done..).unwrap_or_default());
    Ok(Cow::Owned(output))
}

/// How many encrypted columns an error names.
const MAX_NAMED: usize = 10;

fn encrypted(paths: &BTreeMap<usize, String>, first: usize, all: &[usize]) -> ReadError {
    let name = |leaf: usize| paths.get(&leaf).cloned().unwrap_or_else(|| format!("number {leaf}"));
    let names: Vec<String> = all.iter().take(MAX_NAMED).map(|leaf| format!("{:?}", name(*leaf))).collect();
    let more = if all.len() > MAX_NAMED { format!(" and {} more", all.len() - MAX_NAMED) } else { String::new() };
    ReadError::Unsupported {
        column: name(first),
        what: format!(
            "the file has encrypted columns ({}{more}), which can't be read; write it unencrypted, or exclude it",
            names.join(", ")
        ),
    }
}

/// What a pass over a footer finds.
#[derive(Default)]
struct Findings<'a> {
    patches: Vec<(Range<usize>, Vec<u8>)>,
    too_deep: bool,
    /// Where the schema's list starts.
    schema: Option<Compact<'a>>,
    /// Leaves of the first row group with encrypted ones.
    encrypted: Vec<usize>,
}

impl<'a> Findings<'a> {
    fn footer(&mut self, mut reader: Compact<'a>) -> Option<()> {
        let mut id = 0;
        // Every occurrence counts: readers may pick any.
        while let Some((kind, next)) = reader.next_field(id)? {
            id = next;
            match (id, kind) {
                (SCHEMA, compact::LIST) => self.schema(&mut reader)?,
                (ROW_GROUPS, compact::LIST) => self.structs(&mut reader, Self::row_group)?,
                (KEY_VALUES, compact::LIST) => self.structs(&mut reader, Self::texts)?,
                (CREATED_BY, compact::BINARY) => self.text(&mut reader, kind)?,
                (COLUMN_ORDERS, compact::LIST) => self.structs(&mut reader, Self::skip_struct)?,
                _ => reader.skip(kind)?,
            }
        }
        Some(())
    }

    fn schema(&mut self, reader: &mut Compact<'a>) -> Option<()> {
        let (start, list) = (reader.at(), reader.clone());
        if self.empty_list(reader) {
            return Some(());
        }
        match elements::read(reader)? {
            Schema::Fine => {}
            Schema::Rewritten(list) => self.patches.push((start..reader.at(), list)),
            Schema::TooDeep => {
                self.too_deep = true;
                return None;
            }
        }
        self.schema.get_or_insert(list);
        Some(())
    }

    /// A list of structs, each of which `read` passes over; it is given the number of the struct in the list.
    fn structs(
        &mut self,
        reader: &mut Compact<'a>,
        read: fn(&mut Self, &mut Compact<'a>, usize) -> Option<()>,
    ) -> Option<()> {
        if self.empty_list(reader) {
            return Some(());
        }
        let (kind, items) = reader.list()?;
        if kind != compact::STRUCT {
            return None;
        }
        (0..usize::try_from(items).ok()?).try_for_each(|index| read(self, reader, index).filter(|()| !self.is_full()))
    }

    fn is_full(&self) -> bool {
        self.patches.len() >= MAX_PATCHES
    }

    /// Passes over a list of structs if it is empty. An empty list has no item to be of a type: some writers name none,
    /// or any, which the crate refuses.
    fn empty_list(&mut self, reader: &mut Compact<'a>) -> bool {
        let mut ahead = reader.clone();
        let Some((kind, 0)) = ahead.list() else { return false };
        if kind != compact::STRUCT {
            self.patches.push((reader.at()..ahead.at(), compact::list_of_structs(0)));
        }
        *reader = ahead;
        true
    }

    fn skip_struct(&mut self, reader: &mut Compact<'a>, _: usize) -> Option<()> {
        reader.skip(compact::STRUCT)
    }

    fn row_group(&mut self, reader: &mut Compact<'a>, _: usize) -> Option<()> {
        let mut id = 0;
        while let Some((kind, next)) = reader.next_field(id)? {
            id = next;
            match (id, kind) {
                // One row group with encrypted columns says it.
                (COLUMNS, compact::LIST) if self.encrypted.is_empty() => self.structs(reader, Self::column_chunk)?,
                (SORTING_COLUMNS, compact::LIST) => self.structs(reader, Self::skip_struct)?,
                _ => reader.skip(kind)?,
            }
        }
        Some(())
    }

    fn column_chunk(&mut self, reader: &mut Compact<'a>, leaf: usize) -> Option<()> {
        let mut id = 0;
        while let Some((kind, next)) = reader.next_field(id)? {
            id = next;
            match (id, kind) {
                (COLUMN_METADATA, compact::STRUCT) => self.column_metadata(reader)?,
                (COLUMN_ENCRYPTION, compact::STRUCT) => {
                    self.encrypted.push(leaf);
                    reader.skip(kind)?;
                }
                _ => reader.skip(kind)?,
            }
        }
        Some(())
    }

    fn column_metadata(&mut self, reader: &mut Compact<'a>) -> Option<()> {
        let mut id = 0;
        while let Some((kind, next)) = reader.next_field(id)? {
            id = next;
            match (id, kind) {
                (ENCODING_STATS, compact::LIST) => self.structs(reader, Self::skip_struct)?,
                _ => reader.skip(kind)?,
            }
        }
        Some(())
    }

    /// A struct of texts.
    fn texts(&mut self, reader: &mut Compact<'a>, _: usize) -> Option<()> {
        let mut id = 0;
        while let Some((kind, next)) = reader.next_field(id)? {
            id = next;
            if kind == compact::BINARY { self.text(reader, kind)? } else { reader.skip(kind)? }
        }
        Some(())
    }

    /// A text that means nothing here: what is not UTF-8 in it is replaced.
    fn text(&mut self, reader: &mut Compact<'a>, kind: u8) -> Option<()> {
        let text = reader.binary(kind).filter(|_| !self.is_full())?;
        let start = reader.at() - text.len();
        if std::str::from_utf8(text).is_err() {
            // Of the same length, so that nothing else moves.
            let mut mended = Vec::with_capacity(text.len());
            for chunk in text.utf8_chunks() {
                mended.extend_from_slice(chunk.valid().as_bytes());
                mended.resize(mended.len() + chunk.invalid().len(), REPLACEMENT);
            }
            self.patches.push((start..reader.at(), mended));
        }
        Some(())
    }
}
