//! What an object is, by its key and size alone: part of a table, or skipped for a reason that is counted.

use super::mapping::{Mapped, Mappings, Match};
use super::name::TableKey;
use crate::config::KeyFilter;
use crate::formats::format::Format;

/// Folders of engines that keep files there which are no rows of the table, or not yet. Others that start with `_` or
/// `.` are tables: their names are frozen.
const HIDDEN_FOLDERS: [&str; 7] = [
    // Delta Lake: its log, changes between versions, Bloom filters.
    "_delta_log",
    "_change_data",
    "_delta_index",
    // Hadoop's and Spark's commits, Spark's streaming sink.
    "_temporary",
    "_spark_metadata",
    // Impala's inserts under way.
    "_impala_insert_staging",
    // Hudi's log.
    ".hoodie",
];
/// The same for folders that have an id behind this: Hive's and Spark's writes under way. Hive puts `_tmp.` in front of names
/// such as `-ext-10000`; `_tmp.orders` is a table.
const HIDDEN_FOLDER_PREFIXES: [&str; 3] = [".hive-staging", "_tmp.-", ".spark-staging-"];
/// Flink's writes under way, with a time in milliseconds behind this; `.staging_orders` and `.staging_2024` are tables.
const FLINK_STAGING: &str = ".staging_";
/// Fewest digits that are a time, and more than a date has.
const MIN_TIME_DIGITS: usize = 10;

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classified {
    /// To be read as a file.
    File(Placed),
    /// Not to be read; never an error.
    Skipped(SkipReason),
    /// It has to be in a table, and nothing says how that is called: an error, in words.
    Nameless(String),
}

/// Where an object belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its table.
    pub table: TableKey,
    /// What it is read as.
    pub format: Format,
    /// What a mapping, or the partitions of the top level, found in its key.
    pub mapped: Option<Mapped>,
}

/// Why an object is skipped. The first that applies counts, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SkipReason {
    /// The key ends in `/`: it only makes a folder show up in consoles.
    DirectoryMarker,
    /// The spec's `include` or `exclude` says so.
    Excluded,
    /// A file name that starts with `_` or `.`, or a folder in which engines keep what are not rows of a table.
    Hidden,
    /// Written by CloudQuery's S3 destination to test its access.
    TestObject,
    /// A mapping says so.
    Skip,
    /// No mapping takes it.
    Unmapped,
    /// Not the name of a Parquet file, which is what is read.
    NotParquet,
    /// Not the name of the format that is read.
    OtherFormat,
    /// Not the name of any format.
    UnknownFormat,
    /// The name of a format that is not read.
    UnsupportedFormat,
    /// The name of a file that would be read, with nothing in it.
    ZeroBytes,
    /// Not last modified within the spec's `modified`.
    Modified,
    /// The conditions of `partitions.where` do not hold for its key.
    Pruned,
}

impl SkipReason {
    /// All reasons, in the order in which they are tried.
    pub const ALL: [Self; 13] = [
        Self::DirectoryMarker,
        Self::Excluded,
        Self::Hidden,
        Self::TestObject,
        Self::Skip,
        Self::Unmapped,
        Self::NotParquet,
        Self::OtherFormat,
        Self::UnknownFormat,
        Self::UnsupportedFormat,
        Self::ZeroBytes,
        Self::Modified,
        Self::Pruned,
    ];

    /// The reason's name in logs and counters; never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::DirectoryMarker => "directory_marker",
            Self::Excluded => "excluded",
            Self::Hidden => "hidden",
            Self::TestObject => "test_object",
            Self::Skip => "skip",
            Self::Unmapped => "unmapped",
            Self::NotParquet => "not_parquet",
            Self::OtherFormat => "other_format",
            Self::UnknownFormat => "unknown_format",
            Self::UnsupportedFormat => "unsupported_format",
            Self::ZeroBytes => "zero_bytes",
            Self::Modified => "modified",
            Self::Pruned => "pruned",
        }
    }
}

/// Classifies one listed object. `mappings`: which objects belong to which table; `None`: a folder is a table.
pub fn classify(key: &str, size_bytes: u64, keys: &KeyFilter, mappings: Option<&Mappings>) -> Classified {
    if key.ends_with('/') {
        return Classified::Skipped(SkipReason::DirectoryMarker);
    }
    if !keys.admits(key) {
        return Classified::Skipped(SkipReason::Excluded);
    }
    if hidden_part(key).is_some() {
        return Classified::Skipped(SkipReason::Hidden);
    }
    if is_test_object(key) {
        return Classified::Skipped(SkipReason::TestObject);
    }
    let placed = match mappings.map(|mappings| mappings.of(key, size_bytes)) {
        None => {
            let (directory, file) = split(key);
            let Some((table, format)) = table_of(directory, file) else {
                return Classified::Skipped(SkipReason::NotParquet);
            };
            Placed { table, format, mapped: None }
        }
        Some(Match::Table(mapped)) => {
            Placed { table: mapped.table.clone(), format: mapped.format, mapped: Some(mapped) }
        }
        Some(Match::Skipped(reason)) => return Classified::Skipped(reason),
        Some(Match::Nameless(text)) => return Classified::Nameless(text),
    };
    if size_bytes == 0 {
        return Classified::Skipped(SkipReason::ZeroBytes);
    }
    Classified::File(placed)
}

/// The file name or the folder for which a key is hidden, if it is.
pub fn hidden_part(key: &str) -> Option<&str> {
    let (directory, file) = split(key);
    if file.starts_with(['_', '.']) { Some(file) } else { directory.split('/').find(|folder| is_hidden_folder(folder)) }
}

fn is_hidden_folder(folder: &str) -> bool {
    // Nearly every folder ends here.
    folder.starts_with(['_', '.'])
        && (HIDDEN_FOLDERS.contains(&folder)
            || HIDDEN_FOLDER_PREFIXES.iter().any(|prefix| folder.starts_with(prefix))
            || folder.strip_prefix(FLINK_STAGING).is_some_and(starts_with_time))
}

fn starts_with_time(id: &str) -> bool {
    id.bytes().take_while(u8::is_ascii_digit).count() >= MIN_TIME_DIGITS
}

/// The key's folder, with its slash (empty at the root), and its file name.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_at(key.rfind('/').map_or(0, |slash| slash + 1))
}

/// The ends of names that are read by default, in the order in which they are tried.
const EXTENSIONS: &[(&str, Format)] = &[
    (PARQUET, Format::Parquet),
    #[cfg(test)]
    (".records", Format::Records),
];
/// Of a Parquet file's name. Case matters.
pub(super) const PARQUET: &str = ".parquet";

/// The table that a file belongs to, and its format, if its name is one that is read.
fn table_of(directory: &str, file: &str) -> Option<(TableKey, Format)> {
    EXTENSIONS.iter().find_map(|(extension, format)| Some((table_of_format(directory, file, extension)?, *format)))
}

/// Whether a file is named as a Parquet file: the rule of all releases.
pub(super) fn is_parquet_name(file: &str) -> bool {
    table_of_format("", file, PARQUET).is_some()
}

pub(super) fn table_of_format(directory: &str, file: &str, extension: &str) -> Option<TableKey> {
    // `<name>.parquet.<uuid>`: CloudQuery's default layout has the files of all tables in one folder.
    if let Some((stem, uuid)) = file.rsplit_once('.')
        && is_uuid(uuid)
        && let Some(name) = stem.strip_suffix(extension)
    {
        return Some(TableKey::named(directory, name));
    }
    let name = file.strip_suffix(extension)?;
    // At the root there is no folder to name the table, so each file is its own.
    Some(if directory.is_empty() { TableKey::named("", name) } else { TableKey::directory(directory) })
}

/// Whether `text` is a UUID in its usual form: hex digits in groups of 8, 4, 4, 4, 12.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// CloudQuery's S3 destination fills its key template with table `TEST_TABLE` (or `TEST-TABLE`, where the template asks
/// for hyphens) and id `TEST_UUID`.
fn is_test_object(key: &str) -> bool {
    ["TEST_TABLE", "TEST-TABLE"]
        .iter()
        .any(|table| key.find(table).is_some_and(|at| key[at + table.len()..].contains("TEST_UUID")))
}

/// How many folders of `directory` look like `key=value`, the usual sign of a partitioned table: each value would
/// become a table of its own.
pub fn partition_folders(directory: &str) -> usize {
    directory.split('/').filter(|folder| folder.find('=').is_some_and(|at| at > 0)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c";

    fn table(key: &str) -> Option<TableKey> {
        match classify(key, 1, &KeyFilter::default(), None) {
            Classified::File(placed) => Some(placed.table),
            _ => None,
        }
    }

    fn reason(key: &str, size_bytes: u64) -> Option<SkipReason> {
        match classify(key, size_bytes, &KeyFilter::default(), None) {
            Classified::Skipped(reason) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn folders_and_names_tell_the_table() {
        assert_eq!(table("raw/users/1.parquet"), Some(TableKey::directory("raw/users/")));
        assert_eq!(table("users.parquet"), Some(TableKey::named("", "users")));
        assert_eq!(table(&format!("raw/users.parquet.{UUID}")), Some(TableKey::named("raw/", "users")));
        assert_eq!(table(&format!("users.parquet.{UUID}")), table("users.parquet"));
        assert_eq!(table(&format!("raw/a.b.parquet.{}", UUID.to_uppercase())), Some(TableKey::named("raw/", "a.b")));
        assert_eq!(table("/x.parquet"), Some(TableKey::directory("/")));
        assert_eq!(table("_private/x.parquet"), Some(TableKey::directory("_private/")));
        assert_eq!(table("raw/x.snappy.parquet"), Some(TableKey::directory("raw/")));
    }

    #[test]
    fn skipped_for_the_first_reason_that_applies() {
        use SkipReason::*;
        for (key, size_bytes, expected) in [
            ("raw/", 0, DirectoryMarker),
            ("raw/x.parquet/", 5, DirectoryMarker),
            ("raw/_SUCCESS", 0, Hidden),
            ("raw/_metadata.parquet", 5, Hidden),
            ("raw/.x.parquet", 5, Hidden),
            (".parquet", 5, Hidden),
            ("raw/_temporary/0/x.parquet", 5, Hidden),
            ("t/_delta_log/00.checkpoint.parquet", 5, Hidden),
            ("t/_spark_metadata/0", 5, Hidden),
            (".hoodie/x.parquet", 5, Hidden),
            ("t/_change_data/cdc-1.parquet", 5, Hidden),
            ("t/_delta_index/x.parquet", 5, Hidden),
            ("t/.spark-staging-4f6a/dt=1/x.parquet", 5, Hidden),
            ("t/.hive-staging_hive_2026-01-01/-ext-10000/x.parquet", 5, Hidden),
            ("t/_tmp.-ext-10002/x.parquet", 5, Hidden),
            ("t/_impala_insert_staging/a_b/x.parquet", 5, Hidden),
            ("t/.staging_1700000000/x.parquet", 5, Hidden),
            ("raw/TEST_TABLE/TEST_UUID.parquet", 0, TestObject),
            ("raw/TEST_TABLE.parquet.TEST_UUID", 0, TestObject),
            ("raw/TEST-TABLE/2024/TEST_UUID.csv", 0, TestObject),
            ("raw/x.csv", 5, NotParquet),
            ("raw/x.PARQUET", 5, NotParquet),
            ("raw/x.parquet.crc", 5, NotParquet),
            ("raw/x.parquet.8f3c2b1a", 5, NotParquet),
            ("raw/x.parquet.8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2g", 5, NotParquet),
            ("raw/x.csv.8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c", 5, NotParquet),
            ("raw/x_$folder$", 0, NotParquet),
            ("raw/parquet", 5, NotParquet),
            ("raw/x.parquet", 0, ZeroBytes),
        ] {
            assert_eq!(reason(key, size_bytes), Some(expected), "{key}");
        }
        assert_eq!(reason("raw/TEST_TABLES/x.parquet", 5), None);
        assert_eq!(reason("TEST_UUID/TEST_TABLE.parquet", 5), None);
        assert_eq!(reason("raw/my_temporary/x.parquet", 5), None);
        for table in [
            "_staging/x.parquet",
            "_tmp/x.parquet",
            "_tmp.orders/x.parquet",
            ".staging_/x.parquet",
            ".staging_orders/x.parquet",
            ".staging_20240131/x.parquet",
            ".data/x.parquet",
            "_change_data_old/x.parquet",
        ] {
            assert_eq!(reason(table, 5), None, "{table} is a table of earlier releases");
        }
    }

    #[test]
    fn the_spec_excludes() {
        let keys = KeyFilter::new(&["raw/**".to_owned()], &["**/tmp/*".to_owned()]).unwrap();
        let excluded = Classified::Skipped(SkipReason::Excluded);
        let of = |key, size_bytes| classify(key, size_bytes, &keys, None);
        assert_eq!(of("other/x.parquet", 1), excluded);
        assert_eq!(of("raw/tmp/_x", 1), excluded);
        let placed = Placed { table: TableKey::directory("raw/"), format: Format::Parquet, mapped: None };
        assert_eq!(of("raw/x.parquet", 1), Classified::File(placed));
        assert_eq!(of("tmp/", 0), Classified::Skipped(SkipReason::DirectoryMarker));
    }

    #[test]
    fn reasons_have_names_of_their_own() {
        let names: std::collections::BTreeSet<&str> = SkipReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), SkipReason::ALL.len());
    }

    #[test]
    fn partition_folders_are_counted() {
        assert_eq!(partition_folders("events/year=2024/month=01/"), 2);
        assert_eq!(partition_folders("events/=x/y/"), 0);
        assert_eq!(partition_folders("a=/"), 1);
        assert_eq!(partition_folders(""), 0);
    }

    /// The table in `docs/naming.md`: key, table name; a reason in words where the object is skipped.
    #[test]
    fn documented_names_are_true() {
        let text = include_str!("../../docs/naming.md");
        let (_, section) = text.split_once("## Keys to tables").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut checked = 0;
        for line in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let key = cells[0].trim_matches('`');
            let size_bytes = u64::from(!cells[2].contains("empty object"));
            let found = match classify(key, size_bytes, &KeyFilter::default(), None) {
                Classified::File(placed) => format!("`{}`", placed.table.table_name()),
                Classified::Skipped(reason) => format!("skipped: `{}`", reason.name()),
                Classified::Nameless(text) => text,
            };
            assert_eq!(found, cells[1], "{key}");
            checked += 1;
        }
        assert!(checked >= 25, "only {checked} rows");
    }
}
