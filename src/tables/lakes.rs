//! Tables of a format that keeps files which no longer, or not yet, belong to the table. All its Parquet files are read
//! as they lie there, so whoever syncs one gets old rows, too, and should hear of it.

use super::classify::{PARQUET, is_uuid, split};
use std::collections::{BTreeMap, BTreeSet};

/// Such tables that are warned about by name; the rest is a number.
const MAX_WARNINGS: usize = 20;

/// A table format that keeps files which are no longer, or not yet, part of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LakeFormat {
    /// Delta Lake: a `_delta_log` folder.
    Delta,
    /// Apache Iceberg: `metadata/*.metadata.json`, maybe with `.gz`.
    Iceberg,
    /// Apache Hudi: a `.hoodie` folder.
    Hudi,
    /// Apache Paimon: `snapshot/snapshot-<number>`, `schema/schema-<number>`.
    Paimon,
    /// DuckLake keeps its catalog in a database; its files are called `ducklake-<uuid>.parquet`.
    DuckLake,
    /// The log of Spark's streaming file sink: a `_spark_metadata` folder.
    SparkStreaming,
}

impl LakeFormat {
    /// The format's own name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delta => "Delta",
            Self::Iceberg => "Iceberg",
            Self::Hudi => "Hudi",
            Self::Paimon => "Paimon",
            Self::DuckLake => "DuckLake",
            Self::SparkStreaming => "Spark streaming",
        }
    }
}

/// If `key` gives away such a table: which, and the prefix where the table lies (with its slash; empty at the root).
pub fn lake_table(key: &str) -> Option<(LakeFormat, &str)> {
    const LOG_FOLDERS: [(&str, LakeFormat); 3] = [
        ("_delta_log/", LakeFormat::Delta),
        (".hoodie/", LakeFormat::Hudi),
        ("_spark_metadata/", LakeFormat::SparkStreaming),
    ];
    for (folder, format) in LOG_FOLDERS {
        if let Some(at) = folder_at(key, folder) {
            return Some((format, &key[..at]));
        }
    }
    let (directory, file) = split(key);
    if is_iceberg_metadata(file) {
        return Some((LakeFormat::Iceberg, without_last(directory, "metadata/")?));
    }
    if is_numbered(file, "snapshot-") {
        return Some((LakeFormat::Paimon, without_last(directory, "snapshot/")?));
    }
    if is_numbered(file, "schema-") {
        return Some((LakeFormat::Paimon, without_last(directory, "schema/")?));
    }
    is_ducklake_file(file).then_some((LakeFormat::DuckLake, directory))
}

/// Whether an object of a lake table's own bookkeeping lies here: it is not data under a careless name.
pub(super) fn is_bookkeeping(key: &str) -> bool {
    const FOLDERS: [&str; 5] = ["metadata/", "snapshot/", "schema/", "manifest/", "statistics/"];
    FOLDERS.iter().any(|folder| without_last(split(key).0, folder).is_some()) || lake_table(key).is_some()
}

/// Where the first folder of this name (with its slash) begins.
fn folder_at(key: &str, folder: &str) -> Option<usize> {
    key.match_indices(folder).map(|(at, _)| at).find(|&at| at == 0 || key.as_bytes()[at - 1] == b'/')
}

/// `directory` without its last folder, if that is `folder` (with its slash).
fn without_last<'a>(directory: &'a str, folder: &str) -> Option<&'a str> {
    directory.strip_suffix(folder).filter(|root| root.is_empty() || root.ends_with('/'))
}

fn is_iceberg_metadata(file: &str) -> bool {
    let file = file.strip_suffix(".gz").unwrap_or(file);
    file.strip_suffix(".metadata.json").is_some_and(|stem| !stem.is_empty())
}

fn is_numbered(file: &str, prefix: &str) -> bool {
    file.strip_prefix(prefix)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_ducklake_file(file: &str) -> bool {
    let stem = file.strip_prefix("ducklake-").and_then(|rest| rest.strip_suffix(PARQUET));
    stem.is_some_and(|stem| is_uuid(stem.strip_suffix("-delete").unwrap_or(stem)))
}

/// The lake tables that a listing gave away.
#[derive(Debug, Default)]
pub struct Lakes(BTreeMap<LakeFormat, BTreeSet<String>>);

impl Lakes {
    /// Looks at a listed key.
    pub fn see(&mut self, key: &str) {
        if let Some((format, prefix)) = lake_table(key) {
            let prefixes = self.0.entry(format).or_default();
            if !prefixes.contains(prefix) {
                prefixes.insert(prefix.to_owned());
            }
        }
    }

    /// What the user should know, given the prefixes of the tables that are read, in their order: whether `include`
    /// admits the log files says nothing, what counts is whether anything below is read.
    #[must_use]
    pub fn warnings(&self, bucket: &str, read: &[String]) -> Vec<String> {
        let is_read = |prefix: &str| {
            let next = read.partition_point(|table| table.as_str() < prefix);
            read.get(next).is_some_and(|table| table.starts_with(prefix))
        };
        let lakes = self.0.iter().flat_map(|(format, prefixes)| prefixes.iter().map(|prefix| (*format, prefix)));
        let mut warnings: Vec<String> = lakes
            .filter(|(_, prefix)| is_read(prefix))
            .map(|(format, prefix)| {
                format!(
                    "s3://{bucket}/{prefix} is a table in {} format: all its Parquet files are read, also those that \
                     the table no longer refers to; exclude it, or expect old rows",
                    format.name()
                )
            })
            .collect();
        if warnings.len() > MAX_WARNINGS {
            let more = warnings.len() - MAX_WARNINGS;
            warnings.truncate(MAX_WARNINGS);
            warnings.push(format!("{more} more prefixes are tables in such formats"));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lake_tables() {
        use LakeFormat::*;
        for (key, expected) in [
            ("t/_delta_log/000.json", Some((Delta, "t/"))),
            ("_delta_log/000.json", Some((Delta, ""))),
            ("t/_delta_log/", Some((Delta, "t/"))),
            ("my_delta_log/000.json", None),
            ("my_delta_log/t/_delta_log/x", Some((Delta, "my_delta_log/t/"))),
            ("t/metadata/v1.metadata.json", Some((Iceberg, "t/"))),
            ("metadata/v1.gz.metadata.json", Some((Iceberg, ""))),
            ("t/metadata/00000-8f3c.metadata.json.gz", Some((Iceberg, "t/"))),
            ("t/metadata/.metadata.json", None),
            ("t/mymetadata/v1.metadata.json", None),
            ("t/metadata/deep/v1.metadata.json", None),
            ("t/metadata/snap-1.avro", None),
            ("t/.hoodie/hoodie.properties", Some((Hudi, "t/"))),
            ("t/.hoodie/metadata/.hoodie/x.commit", Some((Hudi, "t/"))),
            ("w/db.db/t/snapshot/snapshot-12", Some((Paimon, "w/db.db/t/"))),
            ("t/schema/schema-0", Some((Paimon, "t/"))),
            ("t/snapshot/snapshot-x", None),
            ("t/snapshot/LATEST", None),
            ("t/snapshots/snapshot-1", None),
            ("main/t/ducklake-01997f3c-2b1a-7d4e-9f6a-9b8c7d6e5f4a.parquet", Some((DuckLake, "main/t/"))),
            ("main/t/ducklake-01997f3c-2b1a-7d4e-9f6a-9b8c7d6e5f4a-delete.parquet", Some((DuckLake, "main/t/"))),
            ("main/t/ducklake-x.parquet", None),
            ("out/_spark_metadata/0", Some((SparkStreaming, "out/"))),
            ("out/_spark_metadata/9.compact", Some((SparkStreaming, "out/"))),
            ("out/my_spark_metadata/0", None),
        ] {
            assert_eq!(lake_table(key), expected, "{key}");
        }
    }

    #[test]
    fn each_is_warned_about_once_if_anything_below_is_read() {
        let mut lakes = Lakes::default();
        for key in ["t/_delta_log/0.json", "t/_delta_log/1.json", "u/_delta_log/0", "i/metadata/v1.metadata.json"] {
            lakes.see(key);
        }
        let read = ["i/data/".to_owned(), "t/".to_owned(), "ta/".to_owned()];
        let warnings = lakes.warnings("lake", &read);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("s3://lake/t/ is a table in Delta format"), "{}", warnings[0]);
        assert!(warnings[1].starts_with("s3://lake/i/ is a table in Iceberg format"), "{}", warnings[1]);
    }

    #[test]
    fn many_are_a_number() {
        let mut lakes = Lakes::default();
        let read: Vec<String> = (10..10 + MAX_WARNINGS + 3).map(|n| format!("{n}/")).collect();
        read.iter().for_each(|table| lakes.see(&format!("{table}.hoodie/x")));
        let warnings = lakes.warnings("lake", &read);
        assert_eq!(warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(warnings[MAX_WARNINGS], "3 more prefixes are tables in such formats");
    }
}
