//! Files that may differ: the union of their columns by name, with joined types.
//!
//! Columns are the same if their names are, ignoring case, unless one file has both. They stand in the order of the first file
//! that has them, by key, and of its columns. With a schema from earlier syncs, its columns stay as they are, and new ones go
//! behind them: what a destination has of the table stays what it is.

mod seen;

use super::{Merged, Note};
use crate::config::{MissingColumns, NewColumns, OnTypeChange, SchemaOptions};
use crate::schema::file::FileSchema;
use crate::schema::names::{fold, output_names_beside};
use crate::schema::rank::{Place, Rank};
use crate::schema::table::{ColumnSource, TableColumn, TableSchema};
use crate::schema::types::ColumnType;
use seen::{Column, Group, Identity};
use std::collections::{BTreeMap, BTreeSet};

/// How many shapes of files are remembered, some 30 bytes each: more cost time, not correctness.
const MAX_KNOWN_SHAPES: usize = 256;

/// How many different columns files may have in all, far beyond what a table may: more means that names are data, and each
/// takes some 500 bytes until the table is announced.
const MAX_SEEN_COLUMNS: usize = 20_000;

/// How many columns a note names.
const MAX_NAMED: usize = 5;

/// Name sets that are remembered: two that differ are enough to say so.
const MAX_NAME_SETS: usize = 2;

/// The union of the files so far.
#[derive(Debug)]
pub(super) struct Union {
    options: SchemaOptions,
    most_columns: usize,
    /// The schema from earlier syncs.
    stored: Option<TableSchema>,
    first: Option<Rank>,
    /// Columns by their names in lower case.
    groups: BTreeMap<String, Group>,
    /// How many there are in all groups; above [`MAX_SEEN_COLUMNS`] no others are taken in.
    seen_columns: usize,
    /// Shapes that were taken in, each with the smallest key that it is known from.
    known: Vec<(u64, Rank)>,
    /// Sets of names, each with the first file that has it: the first of all. Only where no column may be missing.
    name_sets: Vec<(Rank, BTreeSet<Identity>)>,
}

impl Union {
    pub(super) fn new(options: SchemaOptions, most_columns: usize, stored: Option<(&str, &TableSchema)>) -> Self {
        let mut union = Self {
            options,
            most_columns,
            stored: stored.map(|(_, schema)| schema.clone()),
            first: None,
            groups: BTreeMap::new(),
            seen_columns: 0,
            known: Vec::new(),
            name_sets: Vec::new(),
        };
        if let Some((key, schema)) = stored {
            union.insert(&Rank::Given(key.into()), &schema.to_file());
        }
        union
    }

    pub(super) fn reference_key(&self) -> Option<&str> {
        self.first.as_ref().map(Rank::key)
    }

    pub(super) fn add(&mut self, key: &str, schema: &FileSchema) {
        self.insert(&Rank::Key(key.into()), schema);
    }

    fn insert(&mut self, rank: &Rank, schema: &FileSchema) {
        if self.first.as_ref().is_none_or(|first| rank < first) {
            self.first = Some(rank.clone());
        }
        // Files of one shape say the same; only the first of them has a say about the order.
        let shape = schema.shape();
        let room = self.known.len() < MAX_KNOWN_SHAPES;
        match self.known.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, smallest)) if *smallest <= *rank => return,
            Some((_, smallest)) => *smallest = rank.clone(),
            None if room => self.known.push((shape, rank.clone())),
            None => {}
        }
        let identities = schema.identities();
        if self.seen_columns > MAX_SEEN_COLUMNS {
            return;
        }
        for (index, ((name, occurrence), column)) in identities.iter().zip(&schema.columns).enumerate() {
            let identity = ((*name).to_owned(), *occurrence);
            let column = Column::new(identity.clone(), Place { file: rank.clone(), index }, column);
            let group = self.groups.entry(fold(name)).or_default();
            match group.columns.get_mut(&identity) {
                Some(known) => known.unite(column),
                None => {
                    group.columns.insert(identity, column);
                    self.seen_columns += 1;
                }
            }
        }
        self.see_names_apart(&identities);
        if self.options.missing_columns == MissingColumns::Fail {
            self.remember_names(rank, &identities);
        }
    }

    /// Names that differ only in case and stand in one file are those of different columns.
    fn see_names_apart(&mut self, identities: &[(&str, usize)]) {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for (name, _) in identities {
            let folded = fold(name);
            let first = *seen.entry(folded.clone()).or_insert(name);
            if first != *name
                && let Some(group) = self.groups.get_mut(&folded)
            {
                group.apart = true;
            }
        }
    }

    fn remember_names(&mut self, rank: &Rank, identities: &[(&str, usize)]) {
        let names: BTreeSet<Identity> = identities.iter().map(|(name, n)| (fold(name), *n)).collect();
        match self.name_sets.iter_mut().find(|(_, known)| *known == names) {
            Some((smallest, _)) => {
                if *rank < *smallest {
                    *smallest = rank.clone();
                }
            }
            None => self.name_sets.push((rank.clone(), names)),
        }
        self.name_sets.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.name_sets.truncate(MAX_NAME_SETS);
    }

    pub(super) fn finish(self) -> Result<Option<Merged>, String> {
        if self.first.is_none() {
            return Ok(None);
        }
        if self.seen_columns > MAX_SEEN_COLUMNS {
            return Err(format!(
                "its files have more than {MAX_SEEN_COLUMNS} different columns, which looks like data in names of columns; \
                 exclude such files, or write them otherwise"
            ));
        }
        self.refuse_missing()?;
        let mut columns = Vec::new();
        for group in self.groups.values() {
            group.united(&mut columns);
        }
        columns.sort_by(|a, b| a.place.cmp(&b.place));
        let (known, mut new): (Vec<Column>, Vec<Column>) =
            columns.into_iter().partition(|column| column.stored_index().is_some());
        let mut notes = Vec::new();
        if self.stored.is_some() {
            self.decide_new(&mut new, &mut notes)?;
            say_parted(&known, &new, &mut notes);
        }
        self.keep_to_limit(&mut new, &mut notes);
        say_joins(&new, &mut notes);
        let (mut columns, widened) = self.known_columns(&known, &mut notes)?;
        let known = self.stored.as_ref().map_or(&[][..], TableSchema::columns);
        let taken: Vec<&str> = known.iter().map(|column| column.name.as_str()).collect();
        let rescue = self.options.rescue_name().filter(|_| self.stored.is_none());
        let taken: Vec<&str> = taken.into_iter().chain(rescue).collect();
        let names: Vec<&str> = new.iter().map(|column| column.name.0.as_str()).collect();
        let names = output_names_beside(&taken, &names);
        columns.extend(new.into_iter().zip(names).map(|(column, name)| {
            let column_type = column.types.joined().settled();
            let (source, occurrence) = column.name;
            TableColumn { source: ColumnSource::File { name: source, occurrence }, name, column_type }
        }));
        columns.extend(rescue.map(TableColumn::rescue));
        Ok(Some(Merged { schema: TableSchema::from_columns(columns), notes, widened }))
    }

    /// The columns of earlier syncs, and whether they have other types now.
    fn known_columns(&self, known: &[Column], notes: &mut Vec<Note>) -> Result<(Vec<TableColumn>, bool), String> {
        let Some(stored) = &self.stored else { return Ok((Vec::new(), false)) };
        // Those of the key are not ours to decide about.
        let columns = stored.columns().iter().filter(|column| !is_of_key(column));
        let mut columns: Vec<TableColumn> = columns.cloned().collect();
        let of_files: Vec<usize> =
            (0..columns.len()).filter(|index| matches!(columns[*index].source, ColumnSource::File { .. })).collect();
        let mut changed = Vec::new();
        for column in known {
            let index = column.stored_index().and_then(|index| of_files.get(index)).copied();
            let Some(table) = index.and_then(|index| columns.get_mut(index)) else { continue };
            let joined = column.types.joined().settled();
            if joined == table.column_type {
                continue;
            }
            if self.options.on_type_change == OnTypeChange::Fail {
                return Err(format!(
                    "column {} do not fit the type that earlier syncs announced, and schema.on_type_change is fail: \
                     `keep` puts what does not fit into the rescue column, `widen` announces {joined}",
                    column.told()
                ));
            }
            changed.push(format!("{} ({} → {joined})", column.told(), table.column_type));
            if self.options.on_type_change == OnTypeChange::Widen {
                table.column_type = joined;
            }
        }
        let widened = self.options.on_type_change == OnTypeChange::Widen && !changed.is_empty();
        if let Some(text) = listed(&changed) {
            notes.push(if widened {
                Note::Warning(format!(
                    "the types of columns are widened, and all objects are read again; the destination must take the new \
                     types (`migrate_mode: forced`): {text}"
                ))
            } else {
                Note::Info(format!("new files have other types: the columns keep theirs, and on_mismatch says what becomes of values that do not fit: {text}"))
            });
        }
        Ok((columns, widened))
    }

    /// What becomes of columns that the table does not have yet.
    fn decide_new(&self, new: &mut Vec<Column>, notes: &mut Vec<Note>) -> Result<(), String> {
        let Some(first) = new.first() else { return Ok(()) };
        let names: Vec<String> = new.iter().map(|column| format!("{:?}", column.name.0)).collect();
        let text = listed(&names).unwrap_or_default();
        match self.options.new_columns {
            NewColumns::Add => notes.push(Note::Info(format!("new columns are added at the end: {text}"))),
            NewColumns::Rescue => {
                notes.push(Note::Info(format!("new columns go into the rescue column: {text}")));
                new.clear();
            }
            NewColumns::Ignore => {
                notes.push(Note::Info(format!("new columns are left out: {text}")));
                new.clear();
            }
            NewColumns::Fail => {
                return Err(format!(
                    "{:?} has the column {:?}, which the table does not have, and schema.new_columns is fail: `add` adds \
                     it, `rescue` puts its values into the rescue column, `ignore` leaves it out",
                    first.place.file.key(),
                    first.name.0
                ));
            }
        }
        Ok(())
    }

    /// Leaves out the last columns where there are too many.
    fn keep_to_limit(&self, new: &mut Vec<Column>, notes: &mut Vec<Note>) {
        let taken = match &self.stored {
            // Those of the key were counted before.
            Some(stored) => stored.columns().iter().filter(|column| !is_of_key(column)).count(),
            None => usize::from(self.options.rescue_name().is_some()),
        };
        let room = self.most_columns.saturating_sub(taken);
        if new.len() <= room {
            return;
        }
        let surplus: Vec<String> = new.drain(room..).map(|column| format!("{:?}", column.name.0)).collect();
        let text = listed(&surplus).unwrap_or_default();
        let fate = if self.options.rescue_name().is_some() { "for the rescue column" } else { "left out" };
        notes.push(Note::Warning(format!(
            "the table would have more than {} columns, which is limits.max_columns: {} {fate}: {text}",
            self.options.max_columns.0,
            crate::words::count_as(surplus.len() as u64, "column is", "columns are")
        )));
    }

    /// Where no column may be missing: the first file that lacks one.
    fn refuse_missing(&self) -> Result<(), String> {
        if self.options.missing_columns != MissingColumns::Fail {
            return Ok(());
        }
        let [(first, has), (second, other)] = &self.name_sets[..] else { return Ok(()) };
        let lacks = |file: &Rank, name: &str| {
            format!(
                "{:?} lacks the column {name:?}, and schema.missing_columns is fail: `null` lets it be null in the rows of \
                 that file",
                file.key()
            )
        };
        if let Some((name, _)) = has.difference(other).next() {
            return Err(lacks(second, name));
        }
        // What the schema of earlier syncs lacks is a new column.
        match other.difference(has).next() {
            Some((name, _)) if matches!(first, Rank::Key(_)) => Err(lacks(first, name)),
            _ => Ok(()),
        }
    }
}

fn is_of_key(column: &TableColumn) -> bool {
    matches!(column.source, ColumnSource::Key { .. })
}

/// Says which names were spellings of a column that the table has, and are columns of their own from now on.
fn say_parted(known: &[Column], new: &[Column], notes: &mut Vec<Note>) {
    let known: BTreeMap<String, &str> =
        known.iter().map(|column| (fold(&column.name.0), column.name.0.as_str())).collect();
    let parted = new.iter().filter_map(|column| {
        let before = known.get(&fold(&column.name.0)).filter(|before| **before != column.name.0)?;
        Some(format!("{:?} beside {before:?} since {:?}", column.name.0, column.place.file.key()))
    });
    if let Some(text) = listed(&parted.collect::<Vec<_>>()) {
        notes.push(Note::Warning(format!(
            "a file has names that differ in nothing but case, which are different columns from now on; what files had under \
             either name before stays in the one column: {text}"
        )));
    }
}

/// Says which columns have a type that is none of theirs, or loses what they are.
fn say_joins(columns: &[Column], notes: &mut Vec<Note>) {
    let types = |column: &Column| column.witnesses.iter().filter(|w| w.target != ColumnType::Null).count();
    let joined: Vec<String> = columns
        .iter()
        .filter(|column| types(column) > 1)
        .map(|column| format!("{} → {}", column.told(), column.types.joined().settled()))
        .collect();
    if let Some(text) = listed(&joined) {
        notes.push(Note::Info(format!("files have columns of several types, which are joined: {text}")));
    }
    let base64 = columns.iter().filter(|column| column.types.has_binary_as_text());
    let base64: Vec<String> = base64.map(|column| format!("{:?}", column.name.0)).collect();
    if let Some(text) = listed(&base64) {
        notes.push(Note::Warning(format!(
            "files have bytes where others have text or numbers: the column is text, and bytes are base64 in it: {text}"
        )));
    }
}

/// The first of them, and how many there are more; `None` of none.
fn listed(texts: &[String]) -> Option<String> {
    if texts.is_empty() {
        return None;
    }
    let more = texts.len().saturating_sub(MAX_NAMED);
    let named = texts[..texts.len() - more].join("; ");
    Some(if more > 0 { format!("{named}; and {more} more") } else { named })
}

#[cfg(test)]
mod tests;
