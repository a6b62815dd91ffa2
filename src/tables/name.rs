//! What a table is called.
//!
//! A table is identified by its [`TableKey`]: the folder its objects lie in, or folder and name where a file name tells
//! the table. The name is derived from that, and two keys may end up with one name; the caller has to look for that.
//! The rules are frozen: a change would make every user's tables move. Golden tests hold them.

use crate::hash::hex;
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest table name in bytes: PostgreSQL's limit, the smallest among the usual destinations.
pub const MAX_NAME_BYTES: usize = 63;

/// Hex digits of a hash in a name: 32 bits, so among 1,000 shortened names two are alike once in 8,600 buckets, and
/// then the sync says so.
const HASH_DIGITS: usize = 8;

/// What identifies a table within a listing: a folder, or folder and name; or the mapping that its objects match (the first,
/// where several have one literal `table`), and the text that this mapping makes of their keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableKey {
    /// The number of the mapping; `None`: the table of a folder.
    mapping: Option<u16>,
    /// The folder as the keys spell it, with the slash at its end; empty at the bucket's root.
    directory: String,
    /// Set where the file name tells the table: objects at the root, and `<name>.parquet.<uuid>`.
    name: Option<String>,
}

impl TableKey {
    /// The table of all objects in `directory`, which ends in `/`.
    pub fn directory(directory: impl Into<String>) -> Self {
        Self { mapping: None, directory: directory.into(), name: None }
    }

    /// The table of the objects called `name` (without `.parquet` and what follows it) in `directory`, which ends in
    /// `/` or is empty.
    pub fn named(directory: impl Into<String>, name: impl Into<String>) -> Self {
        Self { mapping: None, directory: directory.into(), name: Some(name.into()) }
    }

    /// The table of the objects of which a mapping makes this text.
    pub fn mapped(mapping: u16, text: impl Into<String>) -> Self {
        Self { mapping: Some(mapping), directory: String::new(), name: Some(text.into()) }
    }

    /// The number of the mapping; `None`: the table of a folder.
    pub fn mapping(&self) -> Option<usize> {
        self.mapping.map(usize::from)
    }

    /// The name: matches `^[a-z_][a-z0-9_]*$`, 1 to [`MAX_NAME_BYTES`] bytes, the same in all releases.
    pub fn table_name(&self) -> String {
        let prefix = self.prefix();
        let mut name = legal(&prefix);
        if name.is_empty() {
            return format!("_{}", short_hash(&prefix));
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        if name.len() > MAX_NAME_BYTES {
            // All ASCII: any cut is a character boundary.
            name.truncate(MAX_NAME_BYTES - 1 - HASH_DIGITS);
            name = format!("{}_{}", name.trim_end_matches('_'), short_hash(&prefix));
        }
        name
    }

    /// The text that the name and its hash are made of. Of a folder's table also what every object's key starts with.
    pub fn prefix(&self) -> String {
        format!("{}{}", self.directory, self.name.as_deref().unwrap_or_default())
    }

    /// The folder, with the slash at its end; empty at the root, and of a mapping's table.
    pub fn directory_str(&self) -> &str {
        &self.directory
    }

    /// A pattern for the spec's `exclude` that takes away the objects of this table and no others.
    pub fn exclude_glob(&self) -> String {
        let prefix = crate::config::escape_glob(&self.prefix());
        match &self.name {
            // Not all of the folder: it may hold `<name>.parquet.<uuid>` of other tables.
            None => format!("{prefix}*.parquet"),
            Some(_) => format!("{prefix}.parquet*"),
        }
    }
}

impl fmt::Display for TableKey {
    /// The prefix as users look for it in the bucket: `raw/users/`, or `raw/users.parquet…` where the name tells the
    /// table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix())?;
        f.write_str(if self.name.is_some() { ".parquet…" } else { "" })
    }
}

/// Lower-cased, every run of other characters one `_`, none at the ends. ASCII only: Unicode's lower case changes with
/// its versions, and what lies outside ASCII becomes `_` anyway.
fn legal(prefix: &str) -> String {
    let mut name = String::with_capacity(prefix.len());
    for c in prefix.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => name.push(c.to_ascii_lowercase()),
            _ if name.is_empty() || name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    name.truncate(name.trim_end_matches('_').len());
    name
}

/// The first [`HASH_DIGITS`] hex digits of SHA-256 of the text's UTF-8 bytes.
fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..HASH_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frozen for all releases: never change a line, only add some.
    const GOLDEN_DIRECTORIES: &[(&str, &str)] = &[
        ("logs/", "logs"),
        ("data/2024/", "data_2024"),
        ("data/region/us-east/2024/", "data_region_us_east_2024"),
        ("my-data/", "my_data"),
        ("my data/", "my_data"),
        ("data.v2/", "data_v2"),
        ("data//2024///", "data_2024"),
        ("/data/", "data"),
        ("_private/", "private"),
        ("Sales/EU/", "sales_eu"),
        ("2024/01/", "_2024_01"),
        ("events/dt=2024-01-31/", "events_dt_2024_01_31"),
        ("a__b/", "a_b"),
        ("caf\u{e9}/", "caf"),
        ("\u{c9}t\u{e9}/x/", "t_x"),
        ("\u{212a}elvin/", "elvin"),
        ("a\u{1f600}b/", "a_b"),
        ("0/", "_0"),
        ("x/", "x"),
        // Nothing legal left: hashes, checked with `printf '…' | sha256sum`.
        ("\u{65e5}\u{672c}/", "_99e3c23b"),
        ("///", "_732c4e97"),
        ("-/", "_7cf4b02f"),
        // 63 bytes fit, 64 do not.
        (
            "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffabc/",
            "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffabc",
        ),
        (
            "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffabcd/",
            "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffff_7ed334dd",
        ),
        (
            "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefff-ffffffffffabcd/",
            "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefff_e846231f",
        ),
        (
            "1aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffabc/",
            "_1aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefff_f49a38a6",
        ),
    ];

    /// As above, for tables that a file name tells: directory, name, table.
    const GOLDEN_NAMES: &[(&str, &str, &str)] = &[
        ("", "users", "users"),
        ("", "data.v2", "data_v2"),
        ("", "My-Data File", "my_data_file"),
        ("", "2024", "_2024"),
        ("", "\u{65e5}\u{672c}", "_cf2abf0c"),
        ("raw/", "aws_ec2_instances", "raw_aws_ec2_instances"),
        ("raw/2024-01/", "users", "raw_2024_01_users"),
    ];

    #[test]
    fn golden() {
        for (directory, expected) in GOLDEN_DIRECTORIES {
            assert_eq!(&TableKey::directory(*directory).table_name(), expected, "{directory}");
        }
        for (directory, name, expected) in GOLDEN_NAMES {
            assert_eq!(&TableKey::named(*directory, *name).table_name(), expected, "{directory}{name}");
        }
    }

    #[test]
    fn long_names_that_differ_late_stay_apart() {
        let long = "x".repeat(100);
        let names: Vec<String> =
            ["a", "b"].iter().map(|end| TableKey::directory(format!("{long}{end}/")).table_name()).collect();
        assert_ne!(names[0], names[1]);
        assert_eq!(names[0].len(), MAX_NAME_BYTES);
    }

    #[test]
    fn exclude_takes_away_its_own_objects_only() {
        let excluded = |table: TableKey, key: &str| {
            !crate::config::KeyFilter::new(&[], &[table.exclude_glob()]).unwrap().admits(key)
        };
        assert!(excluded(TableKey::directory("a*/{b}/"), "a*/{b}/x.parquet"));
        assert!(!excluded(TableKey::directory("a*/{b}/"), "ax/{b}/x.parquet"));
        assert!(!excluded(TableKey::directory("a/"), "a/b/x.parquet"));
        assert!(!excluded(TableKey::directory("raw/"), "raw/users.parquet.0a1b"));
        assert!(excluded(TableKey::named("", "users"), "users.parquet"));
        assert!(excluded(TableKey::named("raw/", "users"), "raw/users.parquet.0a1b"));
        assert!(!excluded(TableKey::named("raw/", "users"), "raw/users2.parquet.0a1b"));
    }

    proptest! {
        #[test]
        fn names_are_legal_and_stable(directory in ".{0,90}", name in proptest::option::of(".{0,90}")) {
            let directory = format!("{directory}/");
            let key = match name {
                Some(name) => TableKey::named(directory, name),
                None => TableKey::directory(directory),
            };
            let table = key.table_name();
            prop_assert!(!table.is_empty() && table.len() <= MAX_NAME_BYTES, "{}", table);
            prop_assert!(!table.starts_with(|c: char| c.is_ascii_digit()), "{}", table);
            prop_assert!(table.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{}", table);
            prop_assert_eq!(table, key.clone().table_name());
        }
    }
}
