//! From listed objects to tables: each object goes to its table or is counted under the reason why not.
//!
//! A bucket may have millions of objects. Of those in tables that are selected a small record is kept ([`ListedObject`]);
//! others are counted, and a table that is not selected leaves nothing behind. Whoever lists asks now and then whether
//! there are too many tables ([`Grouper::check_number`]), so that millions of folders are never kept either.

use super::check::{self, TablesError};
use super::classify::{Classified, Placed, SkipReason, classify};
use super::folders::Folders;
use super::formats::Formats;
use super::lakes::Lakes;
use super::mapping::{Mapped, Mappings};
use super::modified::ModifiedWithin;
use super::name::TableKey;
use super::objects::{GrowingList, keep_once};
use super::partitions::Inference;
use super::passed_over::PassedOver;
use super::select::{SelectError, Selector};
use crate::config::layout::Conflict;
use crate::config::{KeyFilter, Mistake, TableOptions};
use crate::formats::format::Format;
use crate::s3::ObjectMeta;
use crate::schema::names::fold;
use crate::words::count;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

pub use super::objects::ListedObject;

/// A table and its objects.
#[derive(Debug)]
pub struct Table {
    /// What its objects have in common.
    pub key: TableKey,
    /// Its name at the destination.
    pub name: String,
    /// In the order of their keys.
    pub objects: Vec<ListedObject>,
    /// Its objects that are archived: known, but not readable.
    pub archived: Archived,
    /// Objects that are in the bucket but not read this time (filtered out, archived): they keep the state that they
    /// have. Only there if the grouper was told to remember them.
    pub unread: Vec<ListedObject>,
    /// The folders of its objects.
    pub folders: Folders,
    /// What all listed keys say about its columns.
    pub key_columns: Inference,
    /// Conditions spared the listing some of its objects: what is not listed may be there.
    pub partly_listed: bool,
    /// What the spec says about it.
    pub options: Arc<TableOptions>,
    /// The formats of its objects, by their names.
    pub formats: Formats,
    /// What an object is counts more than what its name says.
    pub by_content: bool,
}

impl Table {
    /// The whole key of one of its objects.
    #[must_use]
    pub fn object_key(&self, object: &ListedObject) -> String {
        object.key(&self.folders)
    }

    /// What keys of its objects begin with: the folder, or for a table of a mapping all folders in which they lie.
    fn prefixes(&self) -> Vec<String> {
        match self.key.mapping() {
            None => vec![self.key.prefix()],
            Some(_) => self.folders.iter().map(str::to_owned).collect(),
        }
    }
}

/// Archived objects of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archived {
    /// How many.
    pub count: u64,
    /// The first of their keys.
    pub first_key: Option<String>,
}

/// What else the listing had than the objects of selected tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// In no table, by reason.
    pub by_reason: BTreeMap<SkipReason, Counted>,
    /// In tables that are not selected.
    pub unselected: Counted,
}

impl Skipped {
    /// How many were skipped for this reason.
    #[must_use]
    pub fn count(&self, reason: SkipReason) -> u64 {
        self.by_reason.get(&reason).map_or(0, |counted| counted.objects)
    }
}

/// Objects that are counted and not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
    /// The key of the first that was listed.
    pub first_key: Option<String>,
}

impl Counted {
    pub(super) fn add(&mut self, key: &str, size_bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size_bytes);
        self.first_key.get_or_insert_with(|| key.to_owned());
    }
}

/// The reasons with their numbers of objects.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_reason.is_empty() {
            return f.write_str("none");
        }
        for (index, (reason, counted)) in self.by_reason.iter().enumerate() {
            write!(f, "{}{}: {}", if index == 0 { "" } else { ", " }, reason.name(), counted.objects)?;
        }
        Ok(())
    }
}

/// A whole listing.
#[derive(Debug)]
pub struct Listing {
    /// The selected tables, in the order of name and prefix.
    pub tables: Vec<Table>,
    /// What is in no table.
    pub skipped: Skipped,
    /// Names of selected tables whose objects are all filtered out, as far as the grouper was told to remember them.
    pub(super) filtered_out: BTreeSet<String>,
    selector: Selector,
    lakes: Lakes,
    passed_over: PassedOver,
    pub(super) remember_unread: bool,
}

impl Listing {
    /// The names of the selected tables that have an object in the bucket, be it filtered out (where that is remembered).
    #[must_use]
    pub fn names(&self) -> HashSet<&str> {
        let tables = self.tables.iter().map(|table| table.name.as_str());
        tables.chain(self.filtered_out.iter().map(String::as_str)).collect()
    }

    /// There was a table of this name, and it has no object any more: whether it is selected.
    pub fn takes_emptied(&mut self, name: &str) -> bool {
        self.selector.takes(name)
    }

    /// What the user should know about the bucket.
    #[must_use]
    pub fn warnings(&self, bucket: &str) -> Vec<String> {
        let mut read: Vec<String> = self.tables.iter().flat_map(Table::prefixes).collect();
        read.sort_unstable();
        let mut warnings = self.lakes.warnings(bucket, &read);
        warnings.extend(self.passed_over.warnings(bucket));
        warnings.extend(self.unsupported(bucket));
        warnings
    }

    /// Objects of formats that are not read.
    fn unsupported(&self, bucket: &str) -> Option<String> {
        let Counted { objects, first_key, .. } = self.skipped.by_reason.get(&SkipReason::UnsupportedFormat)?;
        let first = first_key.as_deref().unwrap_or_default();
        Some(format!(
            "objects skipped whose names say a format that is not supported (zip, tar, ORC, Excel, XML, 7z): {objects}, the \
             first: s3://{bucket}/{first}; convert them, or leave them out with `exclude`"
        ))
    }

    /// Makes sure that the tables have names of their own. `mappings` name those of mappings.
    ///
    /// # Errors
    /// [`TablesError::SameName`] or [`TablesError::SameNameMapped`].
    pub fn check_names(&self, mappings: &Mappings) -> Result<(), TablesError> {
        let tables = self.tables.iter().map(|table| (&table.key, table.name.as_str()));
        check::names(tables, |table| mappings.describe(table))
    }

    /// What the user should know about the selection.
    ///
    /// # Errors
    /// When it selects nothing.
    pub fn check_selection(&self) -> Result<Vec<String>, SelectError> {
        let unmapped = self.unmapped();
        self.selector.finish(unmapped.as_deref().unwrap_or("no Parquet object passes path_prefix, include and exclude"))
    }

    /// There is no table since no mapping takes an object: a text that says so.
    #[must_use]
    pub fn unmapped(&self) -> Option<String> {
        let unmapped = self.skipped.by_reason.get(&SkipReason::Unmapped).filter(|_| self.selector.saw_none())?;
        Some(format!(
            "no mapping takes any of {}, the first: {:?}; `path`, `glob` and `regex` stand for whole keys, and \
             `cq-source-s3 plan --explain KEY` says how far one fits",
            count(unmapped.objects, "object"),
            unmapped.first_key.as_deref().unwrap_or_default()
        ))
    }

    /// A choice of `columns` that means a column of keys, whose type stands elsewhere. Where the choice can be one for a column of
    /// files, of this table or of another one, it is none.
    #[must_use]
    pub fn misplaced_type(&self) -> Option<Mistake> {
        let is_of_keys = |table: &Table, name: &str| {
            let ident = fold(name);
            let is_of_files = matches!(table.options.conflict, Conflict::File | Conflict::Both);
            // Too many are an error of their own.
            let columns = table.key_columns.columns(&[]).unwrap_or_default();
            !is_of_files && columns.iter().any(|column| column.ident == ident)
        };
        self.tables.iter().find_map(|table| {
            let choices = table.options.columns.iter().filter(|choice| !choice.drop);
            let mut names = choices.map(|choice| choice.column.as_str());
            let has_choice = |other: &&Table, name: &str| other.options.columns.iter().any(|own| own.column == name);
            let name = names.find(|name| {
                is_of_keys(table, name)
                    && self.tables.iter().filter(|other| has_choice(other, name)).all(|other| is_of_keys(other, name))
            })?;
            let text = format!(
                "is made of keys in table {}; give its type in `partitions.columns`, or set `partitions.conflict` to file or \
                 both if a column of the files is meant",
                table.name
            );
            Some(Mistake { path: format!("columns.{name}"), text })
        })
    }

    /// What the user may want to know: folders that could be columns are tables.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        check::hint(self.tables.iter().map(|table| &table.key))
    }
}

/// A table while its objects are listed.
#[derive(Debug)]
struct Growing {
    key: TableKey,
    name: String,
    objects: GrowingList,
    archived: Archived,
    unread: Vec<ListedObject>,
    folders: Folders,
    key_columns: Inference,
    formats: Formats,
    /// Conditions say which of its objects are read.
    is_pruned: bool,
}

/// Takes listed objects one by one.
#[derive(Debug)]
pub struct Grouper<'a> {
    keys: &'a KeyFilter,
    /// `None`: a folder is a table, and its options are those of no spec.
    mappings: Option<&'a Mappings>,
    /// Which objects are read, by their last modification.
    modified: ModifiedWithin,
    selector: Selector,
    remember_unread: bool,
    /// Filtered out, with their whole keys: most of their tables may have no other objects, and then they are nothing.
    excluded: GrowingList,
    no_folders: Folders,
    /// An object that has to be in a table and has no name for it.
    nameless: Option<String>,
    index: HashMap<TableKey, usize>,
    tables: Vec<Growing>,
    /// The table of the last object whose table is not selected.
    unselected: Option<TableKey>,
    skipped: Skipped,
    lakes: Lakes,
    passed_over: PassedOver,
}

impl<'a> Grouper<'a> {
    /// A grouper without objects, that leaves out what `keys` does not admit and takes all tables.
    #[must_use]
    pub fn new(keys: &'a KeyFilter) -> Self {
        Self {
            keys,
            mappings: None,
            modified: ModifiedWithin::default(),
            selector: Selector::all(),
            remember_unread: false,
            excluded: GrowingList::default(),
            no_folders: Folders::whole_keys(),
            nameless: None,
            index: HashMap::new(),
            tables: Vec::new(),
            unselected: None,
            skipped: Skipped::default(),
            lakes: Lakes::default(),
            passed_over: PassedOver::default(),
        }
    }

    /// Objects belong to tables as `mappings` say.
    #[must_use]
    pub fn mapped_by(mut self, mappings: &'a Mappings) -> Self {
        self.mappings = Some(mappings);
        self
    }

    /// Leaves out what was not last modified within this time.
    pub fn modified_within(&mut self, modified: ModifiedWithin) {
        self.modified = modified;
    }

    /// Keeps only the tables that `selector` takes.
    #[must_use]
    pub fn selected_by(mut self, selector: Selector) -> Self {
        self.selector = selector;
        self
    }

    /// Has [`Table::unread`] filled, for incremental syncs.
    #[must_use]
    pub fn remember_unread(mut self, remember: bool) -> Self {
        self.remember_unread = remember;
        self
    }

    /// Adds one object. The reason, if it is skipped.
    pub fn add(&mut self, object: ObjectMeta) -> Option<SkipReason> {
        self.lakes.see(&object.key);
        match self.classify(&object, self.keys) {
            Classified::Skipped(reason) => {
                self.skip(reason, object);
                Some(reason)
            }
            Classified::File(Placed { table, format, mapped }) => {
                let Some(index) = self.table(table) else {
                    self.skipped.unselected.add(&object.key, object.size_bytes);
                    return None;
                };
                self.put(index, object, format, mapped.as_ref())
            }
            Classified::Nameless(text) => {
                self.nameless.get_or_insert(text);
                None
            }
        }
    }

    fn classify(&self, object: &ObjectMeta, keys: &KeyFilter) -> Classified {
        let mappings = self.mappings.filter(|mappings| !mappings.is_plain());
        classify(&object.key, object.size_bytes, keys, mappings)
    }

    fn skip(&mut self, reason: SkipReason, object: ObjectMeta) {
        self.skipped.by_reason.entry(reason).or_default().add(&object.key, object.size_bytes);
        match reason {
            SkipReason::NotParquet => {
                let is_mapped = self.mappings.is_some_and(|mappings| !mappings.is_plain());
                let is_wanted =
                    |folder: &str| is_mapped || self.selector.would_take(&TableKey::directory(folder).table_name());
                self.passed_over.see(&object.key, object.size_bytes, is_wanted);
            }
            SkipReason::Excluded if self.remember_unread => {
                if let Classified::File(Placed { table, format, .. }) = self.classify(&object, &KeyFilter::default())
                    && self.selector.would_take(&table.table_name())
                {
                    // Nobody needs to restore it.
                    let object = ObjectMeta { archived: false, ..object };
                    self.excluded.push(ListedObject::new(object, &mut self.no_folders, format));
                }
            }
            _ => {}
        }
    }

    /// The number of a table, which may be new; `None` if it is not selected.
    fn table(&mut self, key: TableKey) -> Option<usize> {
        // A listing is sorted, so the table is nearly always that of the object before.
        let last = self.tables.len().wrapping_sub(1);
        if self.tables.last().is_some_and(|table| table.key == key) {
            return Some(last);
        }
        if self.unselected.as_ref() == Some(&key) {
            return None;
        }
        if let Some(&index) = self.index.get(&key) {
            return Some(index);
        }
        let name = key.table_name();
        if !self.selector.takes(&name) {
            self.unselected = Some(key);
            return None;
        }
        self.index.insert(key.clone(), self.tables.len());
        let folders = match self.mappings.filter(|_| key.mapping().is_some()) {
            Some(mappings) => Folders::new(&mappings.common_folder(&key)),
            None => Folders::new(key.directory_str()),
        };
        let (objects, archived, unread) = (GrowingList::default(), Archived::default(), Vec::new());
        let is_pruned = self.mappings.is_some_and(|mappings| mappings.has_conditions(&key));
        let (key_columns, formats) = (Inference::default(), Formats::default());
        self.tables.push(Growing { key, name, objects, archived, unread, folders, key_columns, formats, is_pruned });
        Some(self.tables.len() - 1)
    }

    /// Puts an object into its table. The reason, if it is skipped all the same.
    fn put(&mut self, index: usize, object: ObjectMeta, format: Format, mapped: Option<&Mapped>) -> Option<SkipReason> {
        let table = &mut self.tables[index];
        table.formats.see(format, &object.key);
        if let (Some(mappings), Some(mapped)) = (self.mappings, mapped) {
            // Of every key, so that types do not depend on what is read this time.
            table.key_columns.see(&object.key, &mappings.values_of(mapped, &object.key));
        }
        if !self.modified.has(object.last_modified_s) {
            let counted = self.skipped.by_reason.entry(SkipReason::Modified).or_default();
            counted.add(&object.key, object.size_bytes);
            if self.remember_unread {
                let object = ObjectMeta { archived: false, ..object };
                table.unread.push(ListedObject::new(object, &mut table.folders, format));
            }
            return Some(SkipReason::Modified);
        }
        if !object.archived {
            table.objects.push(ListedObject::new(object, &mut table.folders, format));
            return None;
        }
        table.archived.count += 1;
        if table.archived.first_key.is_none() {
            table.archived.first_key = Some(object.key.clone());
        }
        if self.remember_unread || table.is_pruned {
            table.unread.push(ListedObject::new(object, &mut table.folders, format));
        }
        None
    }

    /// Makes sure that there are no more selected tables so far than `max_tables`, and that all have names: more objects
    /// would not help.
    ///
    /// # Errors
    /// [`TablesError::TooMany`], [`TablesError::Nameless`].
    pub fn check_number(&self, max_tables: NonZeroUsize) -> Result<(), TablesError> {
        if let Some(text) = &self.nameless {
            return Err(TablesError::Nameless(text.clone()));
        }
        check::number(self.tables.iter().map(|table| &table.key), max_tables)
    }

    /// The listing is complete.
    #[must_use]
    pub fn finish(mut self) -> Listing {
        let mut filtered_out = BTreeSet::new();
        for object in std::mem::take(&mut self.excluded).into_iter() {
            let key = object.key(&self.no_folders);
            let (size_bytes, last_modified_s) = (object.size_bytes, object.last_modified_s);
            let meta = ObjectMeta { key, size_bytes, etag: None, last_modified_s, archived: false };
            let Classified::File(Placed { table: key, .. }) = self.classify(&meta, &KeyFilter::default()) else {
                continue;
            };
            match self.index.get(&key) {
                Some(&index) => {
                    let table = &mut self.tables[index];
                    table.unread.push(object.moved_to(&mut table.folders));
                }
                None => _ = filtered_out.insert(key.table_name()),
            }
        }
        let options = |key: &TableKey| self.mappings.map(|mappings| mappings.table_options(key)).unwrap_or_default();
        let tables = self.tables.into_iter().map(|growing| {
            let Growing { key, name, objects, archived, mut unread, mut folders, key_columns, formats, .. } = growing;
            unread.shrink_to_fit();
            folders.finish();
            let mut objects = objects.into_vec();
            keep_once(&mut objects, &folders);
            let (mut options, partly_listed) = (options(&key), false);
            formats.settle(&mut options);
            let by_content = self.mappings.is_some_and(|mappings| mappings.by_content(&key));
            Table {
                key,
                name,
                objects,
                archived,
                unread,
                folders,
                key_columns,
                partly_listed,
                options,
                formats,
                by_content,
            }
        });
        let mut tables: Vec<Table> = tables.collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.key.prefix().cmp(&b.key.prefix())));
        let mut listing = Listing {
            tables,
            skipped: self.skipped,
            filtered_out,
            selector: self.selector,
            lakes: self.lakes,
            passed_over: self.passed_over,
            remember_unread: self.remember_unread,
        };
        listing.drop_empty();
        listing
    }
}

impl Listing {
    /// Forgets tables of which nothing is read and nothing archived.
    pub(super) fn drop_empty(&mut self) {
        let filtered_out = &mut self.filtered_out;
        self.tables.retain(|table| {
            let is_there = !table.objects.is_empty() || table.archived.count > 0;
            if !is_there {
                filtered_out.insert(table.name.clone());
            }
            is_there
        });
    }

    /// Counts what is skipped after all.
    pub(super) fn count_skipped(&mut self, reason: SkipReason, counted: Counted) {
        if counted.objects > 0 {
            self.skipped.by_reason.insert(reason, counted);
        }
    }
}

#[cfg(test)]
mod tests;
