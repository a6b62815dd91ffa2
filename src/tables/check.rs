//! Whether the selected tables can be synced together: each has a name of its own, and they are not absurdly many.

use super::classify::partition_folders;
use super::name::TableKey;
use crate::words::count_as;
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

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
    /// The same, where a mapping makes one of them.
    #[error("{first} and {second} would both become the table {name}; give one of the mappings another `table`")]
    SameNameMapped {
        /// The name.
        name: String,
        /// One table, with its mapping.
        first: String,
        /// The other.
        second: String,
    },
    /// An object of which all folders became columns.
    #[error("{0}")]
    Nameless(String),
    /// Too many tables.
    #[error(
        "at least {tables} tables are selected, more than max_tables ({max_tables}){reason}; narrow `path_prefix`, \
         `include` or `tables`, or raise `max_tables`"
    )]
    TooMany {
        /// How many were selected when the listing was stopped.
        tables: usize,
        /// The limit.
        max_tables: usize,
        /// What the folders look like, if that explains it.
        reason: Explosion,
    },
}

/// What makes tables out of folders that were not meant to be any, with one of them as an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explosion {
    /// Nothing in particular.
    Unknown,
    /// How many come from `key=value` folders; a table, and the one that it is part of without them.
    Partitions(usize, String, String),
    /// How many lie below one folder.
    Below(usize, String, String),
}

impl Explosion {
    /// What explains more than half of the tables; if nothing does, the partitions among them.
    fn of<'a>(tables: impl Iterator<Item = &'a TableKey> + Clone) -> Self {
        match Self::partitions(tables.clone()) {
            Self::Partitions(count, example, whole) if count > tables.clone().count() / 2 => {
                Self::Partitions(count, example, whole)
            }
            partitions => match Self::below(tables) {
                Self::Unknown => partitions,
                below => below,
            },
        }
    }

    fn partitions<'a>(tables: impl Iterator<Item = &'a TableKey>) -> Self {
        let mut partitioned = tables.filter(|key| partition_folders(key.directory_str()) > 0);
        match (partitioned.next(), partitioned.count()) {
            // A single one makes no table too many.
            (None, _) | (_, 0) => Self::Unknown,
            (Some(example), more) => {
                let whole = without_partitions(example.directory_str());
                Self::Partitions(1 + more, example.prefix(), whole)
            }
        }
    }

    fn below<'a>(tables: impl Iterator<Item = &'a TableKey> + Clone) -> Self {
        let folder = fullest_folder(tables.clone().map(TableKey::directory_str));
        let mut below = tables.filter(|key| key.directory_str().len() > folder.len()).filter(|key| {
            // At the root everything lies below, which says nothing.
            !folder.is_empty() && key.directory_str().starts_with(folder)
        });
        match below.next() {
            Some(example) => Self::Below(1 + below.count(), folder.to_owned(), example.prefix()),
            None => Self::Unknown,
        }
    }
}

impl fmt::Display for Explosion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::Partitions(count, example, whole) => {
                write!(
                    f,
                    ": {count} of them are `key=value` folders of partitioned tables, such as {example:?}, each of which \
                     is a table of its own; {}",
                    columns_of_folders(whole)
                )
            }
            Self::Below(count, folder, example) => {
                write!(f, ": {count} of them are folders below {folder:?}, such as {example:?}")
            }
        }
    }
}

/// What whoever has tables of `key=value` folders may want instead of them.
#[must_use]
pub fn hint<'a>(tables: impl Iterator<Item = &'a TableKey> + Clone) -> Option<String> {
    let mut partitioned = tables.filter(|key| key.mapping().is_none() && partition_folders(key.directory_str()) > 0);
    let example = partitioned.next()?;
    let tables = count_as(1 + partitioned.count() as u64, "table is", "tables are");
    let cure = columns_of_folders(&without_partitions(example.directory_str()));
    Some(format!("{tables} made of `key=value` folders, such as {:?}: {cure}", example.prefix()))
}

/// How folders become columns of one table, the one of the folder `whole`.
fn columns_of_folders(whole: &str) -> String {
    match whole {
        "" => "a mapping with a `table` and `partitions: hive` makes columns of them".to_owned(),
        whole => format!("`partitions: hive` makes columns of them, and one table of {whole:?}"),
    }
}

/// The folders of a partitioned table that are no partitions.
fn without_partitions(directory: &str) -> String {
    directory.split_inclusive('/').filter(|folder| partition_folders(folder) == 0).collect()
}

/// The deepest folder below which more than half of `directories` lie; empty for the root.
fn fullest_folder<'a>(directories: impl Iterator<Item = &'a str> + Clone) -> &'a str {
    let half = directories.clone().count() / 2;
    let mut folder = "";
    loop {
        let mut children: BTreeMap<&str, usize> = BTreeMap::new();
        for directory in directories.clone().filter(|directory| directory.starts_with(folder)) {
            if let Some(slash) = directory[folder.len()..].find('/') {
                *children.entry(&directory[..=folder.len() + slash]).or_default() += 1;
            }
        }
        match children.into_iter().find(|&(_, count)| count > half) {
            Some((child, _)) => folder = child,
            None => return folder,
        }
    }
}

/// Makes sure that these tables, the selected ones so far, are not too many.
///
/// # Errors
/// [`TablesError::TooMany`], with an example of the folders that are the most of them.
pub fn number<'a>(
    tables: impl ExactSizeIterator<Item = &'a TableKey> + Clone,
    max_tables: NonZeroUsize,
) -> Result<(), TablesError> {
    if tables.len() <= max_tables.get() {
        return Ok(());
    }
    Err(TablesError::TooMany { tables: tables.len(), max_tables: max_tables.get(), reason: Explosion::of(tables) })
}

/// Makes sure that the selected tables (in the order of their names) have names of their own. `describe` names a table of a
/// mapping.
///
/// # Errors
/// [`TablesError::SameName`] or [`TablesError::SameNameMapped`], for the first two that have not.
pub fn names<'a>(
    tables: impl Iterator<Item = (&'a TableKey, &'a str)>,
    describe: impl Fn(&TableKey) -> String,
) -> Result<(), TablesError> {
    let mut before: Option<(&TableKey, &str)> = None;
    for (key, name) in tables {
        if let Some((first, _)) = before.filter(|(_, before)| *before == name) {
            if first.mapping().or(key.mapping()).is_some() {
                let (first, second) = (describe(first), describe(key));
                return Err(TablesError::SameNameMapped { name: name.to_owned(), first, second });
            }
            return Err(TablesError::SameName {
                name: name.to_owned(),
                first: first.prefix(),
                second: key.prefix(),
                exclude: key.exclude_glob(),
            });
        }
        before = Some((key, name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_many(directories: &[&str]) -> String {
        let keys: Vec<TableKey> = directories.iter().map(|directory| TableKey::directory(*directory)).collect();
        assert_eq!(number(keys.iter(), NonZeroUsize::new(keys.len()).unwrap()), Ok(()));
        number(keys.iter(), NonZeroUsize::MIN).unwrap_err().to_string()
    }

    #[test]
    fn partitions_are_counted_with_an_example() {
        let error = too_many(&["a/", "e/dt=1/", "e/dt=2/", "f/"]);
        let expected = "at least 4 tables are selected, more than max_tables (1): 2 of them are `key=value` folders of \
                        partitioned tables, such as \"e/dt=1/\", each of which is a table of its own; `partitions: hive` makes \
                        columns of them, and one table of \"e/\"; narrow";
        assert!(error.starts_with(expected), "{error}");
        let error = too_many(&["dt=1/a=2/", "dt=2/"]);
        assert!(
            error.contains("own; a mapping with a `table` and `partitions: hive` makes columns of them; narrow"),
            "{error}"
        );
    }

    #[test]
    fn few_partitions_are_named_only_if_nothing_else_explains_the_tables() {
        let error = too_many(&["raw/events/2024/01/", "raw/events/2024/02/", "raw/events/2024/03/", "x/dt=1/"]);
        assert!(error.contains("(1): 3 of them are folders below \"raw/events/2024/\", such as"), "{error}");
        let error = too_many(&["e/dt=1/", "e/dt=2/", "e/dt=3/", "e/x/"]);
        assert!(error.contains("(1): 3 of them are `key=value` folders"), "{error}");
        let error = too_many(&["a/", "b/", "e/dt=1/"]);
        assert!(error.contains("(1); narrow"), "{error}");
    }

    #[test]
    fn folders_that_explode_without_a_key_are_named_by_what_they_share() {
        let error =
            too_many(&["a/", "raw/events/2024/01/", "raw/events/2024/02/", "raw/events/2025/01/", "raw/users/"]);
        assert!(
            error.contains("(1): 3 of them are folders below \"raw/events/\", such as \"raw/events/2024/01/\";"),
            "{error}"
        );
        let error = too_many(&["a/", "b/", "c/"]);
        assert!(error.contains("more than max_tables (1); narrow"), "{error}");
        assert!(too_many(&["", "", "x/"]).contains("(1); narrow"));
    }
}
