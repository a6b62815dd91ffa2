//! From listed objects to tables: each object goes to its table or is counted under the reason why not.
//!
//! A bucket may have millions of objects, so a listed object is kept small: its key without the table's folder, its ETag
//! in 24 bytes, size and time. That, with what the allocator adds, is the 120 bytes a key of the memory bound.

use super::classify::{Classified, LakeFormat, SkipReason, classify, lake_table, partition_folders};
use super::name::TableKey;
use crate::s3::{ETag, ObjectMeta};
use crate::spec::KeyFilter;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroUsize;

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
}

impl Table {
    /// The whole key of one of its objects.
    #[must_use]
    pub fn object_key(&self, object: &ListedObject) -> String {
        object.key(self.key.directory_str())
    }
}

/// One object of a table, as listed.
#[derive(Debug, Clone)]
pub struct ListedObject {
    /// The key behind the table's folder.
    suffix: Box<str>,
    /// Entity tag, where the listing has one.
    pub etag: Option<ETag>,
    /// Size in bytes; never 0.
    pub size_bytes: u64,
    /// Last modification, seconds since 1970.
    pub last_modified_s: i64,
    /// What the footer pass found out: the memory that decoding it takes, in KiB, plus one. 0: not to be sent.
    working_kib: u32,
    /// Its last row was sent in this sync.
    pub sent: bool,
    /// It is archived, so it cannot be read.
    pub archived: bool,
}

impl ListedObject {
    fn new(object: ObjectMeta, folder: &str) -> Self {
        Self {
            suffix: object.key[folder.len()..].into(),
            etag: object.etag,
            size_bytes: object.size_bytes,
            last_modified_s: object.last_modified_s,
            working_kib: 0,
            sent: false,
            archived: object.archived,
        }
    }

    /// The whole key, given what the keys of its table begin with.
    #[must_use]
    pub fn key(&self, folder: &str) -> String {
        let mut key = String::with_capacity(folder.len() + self.suffix.len());
        key.push_str(folder);
        key.push_str(&self.suffix);
        key
    }

    /// The object can be sent, and decoding it takes so much memory.
    pub fn set_working_bytes(&mut self, bytes: u64) {
        self.working_kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).saturating_add(1);
    }

    /// The memory that decoding it takes, in bytes; `None` for an object that is not to be sent.
    #[must_use]
    pub fn working_bytes(&self) -> Option<u64> {
        self.working_kib.checked_sub(1).map(|kib| u64::from(kib) * 1024)
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

/// What the listing had besides the objects of tables, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    counts: BTreeMap<SkipReason, u64>,
}

impl Skipped {
    /// How many objects were skipped for `reason`.
    #[must_use]
    pub fn count(&self, reason: SkipReason) -> u64 {
        self.counts.get(&reason).copied().unwrap_or(0)
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counts.is_empty() {
            return f.write_str("none");
        }
        for (index, (reason, count)) in self.counts.iter().enumerate() {
            write!(f, "{}{}: {count}", if index == 0 { "" } else { ", " }, reason.name())?;
        }
        Ok(())
    }
}

/// A whole listing.
#[derive(Debug)]
pub struct Listing {
    /// All tables, in the order of name and prefix.
    pub tables: Vec<Table>,
    /// What is in no table.
    pub skipped: Skipped,
    lakes: BTreeSet<(LakeFormat, String)>,
}

impl Listing {
    /// What the user should know about the bucket.
    #[must_use]
    pub fn warnings(&self, bucket: &str) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .lakes
            .iter()
            .map(|(format, prefix)| {
                format!(
                    "s3://{bucket}/{prefix} is a table in {} format: all its Parquet files are read, also those that \
                     the table no longer refers to; exclude it, or expect old rows",
                    format.name()
                )
            })
            .collect();
        if warnings.len() > MAX_LAKE_WARNINGS {
            let more = warnings.len() - MAX_LAKE_WARNINGS;
            warnings.truncate(MAX_LAKE_WARNINGS);
            warnings.push(format!("{more} more prefixes are tables in Delta or Iceberg format"));
        }
        warnings
    }
}

/// Lake tables that are warned about by name; the rest is a number.
const MAX_LAKE_WARNINGS: usize = 20;

/// Takes listed objects one by one.
#[derive(Debug)]
pub struct Grouper<'a> {
    keys: &'a KeyFilter,
    remember_unread: bool,
    /// Filtered out, by the table that they would belong to.
    excluded: HashMap<TableKey, Vec<ListedObject>>,
    index: HashMap<TableKey, usize>,
    tables: Vec<Table>,
    skipped: Skipped,
    lakes: BTreeSet<(LakeFormat, String)>,
}

impl<'a> Grouper<'a> {
    /// A grouper without objects, that leaves out what `keys` does not admit.
    #[must_use]
    pub fn new(keys: &'a KeyFilter) -> Self {
        Self {
            keys,
            remember_unread: false,
            excluded: HashMap::new(),
            index: HashMap::new(),
            tables: Vec::new(),
            skipped: Skipped::default(),
            lakes: BTreeSet::new(),
        }
    }

    /// Has [`Table::unread`] filled, for incremental syncs.
    #[must_use]
    pub fn remember_unread(mut self, remember: bool) -> Self {
        self.remember_unread = remember;
        self
    }

    /// Adds one object.
    pub fn add(&mut self, object: ObjectMeta) {
        if let Some((format, prefix)) = lake_table(&object.key) {
            self.lakes.insert((format, prefix.to_owned()));
        }
        let key = match classify(&object.key, object.size_bytes, self.keys) {
            Classified::Skipped(reason) => {
                *self.skipped.counts.entry(reason).or_default() += 1;
                if self.remember_unread
                    && reason == SkipReason::Excluded
                    && let Classified::Parquet(key) = classify(&object.key, object.size_bytes, &KeyFilter::default())
                {
                    let object = ListedObject::new(object, key.directory_str());
                    self.excluded.entry(key).or_default().push(object);
                }
                return;
            }
            Classified::Parquet(key) => key,
        };
        // A listing is sorted, so the table is nearly always that of the object before.
        let last = self.tables.len().wrapping_sub(1);
        let index = match self.tables.last() {
            Some(table) if table.key == key => last,
            _ => *self.index.entry(key).or_insert_with_key(|key| {
                self.tables.push(Table {
                    name: key.table_name(),
                    key: key.clone(),
                    objects: Vec::new(),
                    archived: Archived::default(),
                    unread: Vec::new(),
                });
                self.tables.len() - 1
            }),
        };
        let table = &mut self.tables[index];
        if object.archived {
            table.archived.count += 1;
            if table.archived.first_key.is_none() {
                table.archived.first_key = Some(object.key.clone());
            }
            if self.remember_unread {
                table.unread.push(ListedObject::new(object, table.key.directory_str()));
            }
            return;
        }
        table.objects.push(ListedObject::new(object, table.key.directory_str()));
    }

    /// The listing is complete.
    #[must_use]
    pub fn finish(mut self) -> Listing {
        // Whether `include` admits the log files says nothing; what counts is whether anything below is read.
        self.lakes
            .retain(|(_, prefix)| self.tables.iter().any(|table| table.key.prefix().starts_with(prefix.as_str())));
        for table in &mut self.tables {
            keep_once(&mut table.objects);
            table.objects.shrink_to_fit();
            table.unread.extend(self.excluded.remove(&table.key).unwrap_or_default());
        }
        self.tables.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.key.prefix().cmp(&b.key.prefix())));
        Listing { tables: self.tables, skipped: self.skipped, lakes: self.lakes }
    }
}

/// Brings the objects into the order of their keys, each key once: as it was listed last. A listing of S3 is like that
/// already; pages of other servers may overlap when objects are written meanwhile, or come in another order.
fn keep_once(objects: &mut Vec<ListedObject>) {
    if objects.is_sorted_by(|a, b| a.suffix < b.suffix) {
        return;
    }
    objects.sort_by(|a, b| a.suffix.cmp(&b.suffix));
    objects.dedup_by(|later, kept| {
        let twice = later.suffix == kept.suffix;
        if twice {
            std::mem::swap(later, kept);
        }
        twice
    });
}

/// Why the selected tables cannot be synced together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// Two prefixes give one name.
    #[error(
        "{first:?} and {second:?} would both become the table {name}; read one of them, for example with \
         `exclude: [{exclude:?}]`, or sync them as two sources with different destinations"
    )]
    SameName {
        /// The name.
        name: String,
        /// One prefix.
        first: String,
        /// The other.
        second: String,
        /// A glob that leaves the second one out.
        exclude: String,
    },
    /// Too many tables.
    #[error(
        "{tables} tables are selected, more than max_tables ({max_tables}){partitions}; narrow `path_prefix`, `include` or \
         `tables`, or raise `max_tables`"
    )]
    TooMany {
        /// How many are selected.
        tables: usize,
        /// The limit.
        max_tables: usize,
        /// What the folders look like, if they explain it.
        partitions: Partitions,
    },
}

/// How many of the tables come from `key=value` folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(pub usize);

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(
                f,
                ": {count} of them are `key=value` folders of partitioned tables, each of which is a table of its own"
            ),
        }
    }
}

/// Makes sure that the selected tables (in the order of their names) have names of their own and are not too many.
///
/// # Errors
/// [`TablesError`].
pub fn check(tables: &[Table], max_tables: NonZeroUsize) -> Result<(), TablesError> {
    if tables.len() > max_tables.get() {
        let partitioned = tables.iter().filter(|table| partition_folders(table.key.directory_str()) > 0).count();
        return Err(TablesError::TooMany {
            tables: tables.len(),
            max_tables: max_tables.get(),
            partitions: Partitions(partitioned),
        });
    }
    for pair in tables.windows(2) {
        if pair[0].name == pair[1].name {
            return Err(TablesError::SameName {
                name: pair[0].name.clone(),
                first: pair[0].key.prefix(),
                second: pair[1].key.prefix(),
                exclude: pair[1].key.exclude_glob(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> ObjectMeta {
        ObjectMeta { key: key.to_owned(), size_bytes: 10, etag: None, last_modified_s: 0, archived: false }
    }

    fn list(keys: &[&str]) -> Listing {
        let filter = KeyFilter::default();
        let mut grouper = Grouper::new(&filter);
        keys.iter().for_each(|key| grouper.add(object(key)));
        grouper.finish()
    }

    #[test]
    fn objects_meet_in_their_table_in_whatever_order() {
        let listing = list(&["b/2.parquet", "a/1.parquet", "b/1.parquet", "b/x.csv", "root.parquet"]);
        let tables: Vec<(&str, Vec<String>)> = listing
            .tables
            .iter()
            .map(|table| (table.name.as_str(), table.objects.iter().map(|o| table.object_key(o)).collect()))
            .collect();
        assert_eq!(
            tables,
            [
                ("a", vec!["a/1.parquet".to_owned()]),
                ("b", vec!["b/1.parquet".to_owned(), "b/2.parquet".to_owned()]),
                ("root", vec!["root.parquet".to_owned()]),
            ]
        );
        assert_eq!(listing.skipped.to_string(), "not_parquet: 1");
    }

    #[test]
    fn a_key_that_is_listed_again_counts_once_as_it_was_last() {
        let filter = KeyFilter::default();
        let mut grouper = Grouper::new(&filter);
        for (key, last_modified_s) in
            [("a/2.parquet", 1), ("a/2.parquet", 2), ("a/3.parquet", 3), ("a/1.parquet", 4), ("a/3.parquet", 5)]
        {
            grouper.add(ObjectMeta { last_modified_s, ..object(key) });
        }
        let listing = grouper.finish();
        let objects = listing.tables[0].objects.iter();
        let objects: Vec<_> = objects.map(|object| (object.key("a/"), object.last_modified_s)).collect();
        let expected = [("a/1.parquet", 4), ("a/2.parquet", 2), ("a/3.parquet", 5)];
        assert_eq!(objects, expected.map(|(key, time)| (key.to_owned(), time)));
    }

    #[test]
    fn two_prefixes_with_one_name_are_both_named_with_the_cure() {
        let listing = list(&["a-b/1.parquet", "a_b/1.parquet"]);
        let error = check(&listing.tables, NonZeroUsize::MAX).unwrap_err().to_string();
        assert!(error.contains("\"a-b/\" and \"a_b/\" would both become the table a_b"), "{error}");
        assert!(error.contains("exclude: [\"a_b/*.parquet\"]"), "{error}");
    }

    #[test]
    fn too_many_tables_are_counted_with_their_partitions() {
        let listing = list(&["e/dt=1/x.parquet", "e/dt=2/x.parquet", "f/x.parquet"]);
        let error = check(&listing.tables, NonZeroUsize::MIN).unwrap_err().to_string();
        assert!(
            error.contains("3 tables are selected, more than max_tables (1): 2 of them are `key=value`"),
            "{error}"
        );
        assert!(check(&listing.tables, NonZeroUsize::new(3).unwrap()).is_ok());
    }

    #[test]
    fn lake_tables_are_warned_about_once() {
        let listing = list(&[
            "t/_delta_log/0.json",
            "t/_delta_log/1.json",
            "t/a.parquet",
            "i/metadata/v1.metadata.json",
            "i/data/x.parquet",
            "nothing/_delta_log/0.json",
        ]);
        let warnings = listing.warnings("lake");
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("s3://lake/t/ is a table in Delta format"), "{}", warnings[0]);
    }

    #[test]
    fn archived_objects_are_known_but_not_read() {
        let filter = KeyFilter::default();
        let mut grouper = Grouper::new(&filter);
        grouper.add(ObjectMeta { archived: true, ..object("a/1.parquet") });
        grouper.add(object("a/2.parquet"));
        let listing = grouper.finish();
        assert_eq!(listing.tables[0].objects.len(), 1);
        let archived = Archived { count: 1, first_key: Some("a/1.parquet".to_owned()) };
        assert_eq!(listing.tables[0].archived, archived);
    }

    #[test]
    fn a_listed_object_is_small() {
        assert!(size_of::<ListedObject>() <= 64);
    }
}
