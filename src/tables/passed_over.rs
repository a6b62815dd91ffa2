//! Skipped objects that could be data: files whose names do not say that they are Parquet. They are no error, since
//! a bucket holds what it holds, but whoever expects their rows has to hear of them more than as a number.
//!
//! What engines and tools put beside data (checksums, markers, manifests, temporary files) is skipped in silence,
//! as is whatever the spec leaves out.

use super::classify::{PARQUET, is_uuid, split};
use super::lakes::is_bookkeeping;

/// Prefixes that are warned about by name; the rest is a number.
const MAX_PREFIXES: usize = 10;

/// What writers put behind a name when they pack a file, or say with what they packed its inside.
const COMPRESSIONS: [&str; 10] = [".gz", ".gzip", ".zst", ".zstd", ".bz2", ".lz4", ".snappy", ".br", ".xz", ".deflate"];
/// Short forms of `.parquet`.
const PARQUET_LIKE: [&str; 3] = [".parq", ".pqt", ".pq"];
/// Other formats of rows.
const OTHER_FORMATS: [&str; 9] = [".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".avro", ".orc", ".arrow", ".feather"];
/// Behind the name of something that belongs to another file, or is not complete.
const BESIDE_DATA: [&str; 13] = [
    ".crc",
    ".md5",
    ".sha1",
    ".sha256",
    ".sha512",
    ".checksum",
    ".sig",
    ".tmp",
    ".temp",
    ".inprogress",
    ".pending",
    ".partial",
    "._copying_",
];
/// Names (without extension) of what describes data.
const DESCRIPTIONS: [&str; 10] =
    ["manifest", "metadata", "schema", "readme", "license", "success", "latest", "earliest", "version", "done"];
/// Beginnings of the same: what Amazon RDS writes beside an export, in front of its id.
const DESCRIPTION_PREFIXES: [&str; 2] = ["export_info_", "export_tables_info_"];

/// What a skipped object looks like. The first is the surest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Parquet, but not by the end of its name.
    Parquet,
    /// Anything: its name has no extension.
    Unnamed,
    /// Rows in another format.
    OtherFormat,
}

impl Likeness {
    fn cure(self) -> &'static str {
        match self {
            Self::Parquet => {
                "only names that end in `.parquet`, in lower case, are read: rename such files, or read them through a mapping \
                 with `filetype: parquet`"
            }
            Self::Unnamed => {
                "a name without extension tells no format: have the names of Parquet files end in `.parquet`, or read them \
                 through a mapping with `filetype: parquet`"
            }
            Self::OtherFormat => {
                "only Parquet is read by default: `filetype: auto` reads CSV, JSON, Avro and Arrow, too; other formats have to \
                 be converted"
            }
        }
    }
}

/// What an object that is no Parquet file by its name could be; `None` for what is surely no data.
fn likeness(key: &str) -> Option<Likeness> {
    let file = split(key).1.to_ascii_lowercase();
    if file.ends_with("_$folder$") || BESIDE_DATA.iter().any(|suffix| file.ends_with(suffix)) {
        return None;
    }
    let unpacked = COMPRESSIONS.iter().find_map(|suffix| file.strip_suffix(suffix)).unwrap_or(&file);
    // `<name>.csv.<uuid>`, as CloudQuery's destination names files.
    let name = unpacked.rsplit_once('.').filter(|(_, end)| is_uuid(end)).map_or(unpacked, |(name, _)| name);
    if name.contains(PARQUET) || PARQUET_LIKE.iter().any(|suffix| name.ends_with(suffix)) {
        return Some(Likeness::Parquet);
    }
    if is_description(name) || is_bookkeeping(key) {
        return None;
    }
    if !name.contains('.') {
        return Some(Likeness::Unnamed);
    }
    OTHER_FORMATS.iter().any(|suffix| name.ends_with(suffix)).then_some(Likeness::OtherFormat)
}

/// Whether a name in lower case is that of something that describes data, such as `manifest.json`, `report-manifest.json` or
/// `part_manifest`.
fn is_description(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    if DESCRIPTIONS.contains(&first) || DESCRIPTION_PREFIXES.iter().any(|prefix| first.starts_with(prefix)) {
        return true;
    }
    // Descriptions that belong to something are JSON or have no extension: `orders_latest.csv` has rows.
    let stem = name.strip_suffix(".json").unwrap_or(name);
    stem.rsplit_once(['-', '_', '.']).is_some_and(|(_, last)| DESCRIPTIONS.contains(&last))
}

/// `n` skipped objects, in words.
fn skipped(objects: u64, more: &str) -> String {
    format!("{objects}{more} skipped {}", if objects == 1 { "object" } else { "objects" })
}

/// The skipped objects that could be data, by the folder that they lie in.
#[derive(Debug, Default)]
pub struct PassedOver {
    folders: Vec<Folder>,
    /// Objects in other folders.
    more: u64,
}

#[derive(Debug)]
struct Folder {
    /// With its slash; empty at the root.
    prefix: String,
    objects: u64,
    /// Of the surest one, whose key is the example.
    likeness: Likeness,
    example: String,
}

impl PassedOver {
    /// Looks at an object that is skipped for its name. `is_wanted` tells whether the spec's selection has a table that
    /// would be named after this folder.
    pub fn see(&mut self, key: &str, size_bytes: u64, is_wanted: impl FnOnce(&str) -> bool) {
        if size_bytes == 0 {
            return;
        }
        let Some(likeness) = likeness(key) else { return };
        let prefix = split(key).0;
        // The last one first: a listing is mostly sorted.
        if let Some(folder) = self.folders.iter_mut().rev().find(|folder| folder.prefix == prefix) {
            folder.objects += 1;
            if likeness < folder.likeness {
                folder.likeness = likeness;
                folder.example = key.to_owned();
            }
        } else if is_wanted(prefix) {
            if self.folders.len() < MAX_PREFIXES {
                let (prefix, example) = (prefix.to_owned(), key.to_owned());
                self.folders.push(Folder { prefix, objects: 1, likeness, example });
            } else {
                self.more += 1;
            }
        }
    }

    /// What the user should know: one text a folder.
    #[must_use]
    pub fn warnings(&self, bucket: &str) -> Vec<String> {
        let folders = self.folders.iter().map(|folder| {
            format!(
                "s3://{bucket}/{}: {} could be data, such as {:?}; {}, or leave them out with `exclude`",
                folder.prefix,
                skipped(folder.objects, ""),
                folder.example,
                folder.likeness.cure()
            )
        });
        let more = (self.more > 0).then(|| format!("{} of other prefixes could be data", skipped(self.more, " more")));
        folders.chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_data_is_told_from_what_lies_beside_it() {
        use Likeness::*;
        for (key, expected) in [
            ("raw/x.PARQUET", Some(Parquet)),
            ("raw/x.Parquet", Some(Parquet)),
            ("raw/x.parquet.gz", Some(Parquet)),
            ("raw/df.parquet.gzip", Some(Parquet)),
            ("raw/x.parquet.snappy", Some(Parquet)),
            ("raw/x.parquet.8f3c2b1a", Some(Parquet)),
            ("raw/x.parq", Some(Parquet)),
            ("raw/x.pq", Some(Parquet)),
            ("metadata/x.PARQUET", Some(Parquet)),
            ("raw/part-00000", Some(Unnamed)),
            ("raw/20260101_000000_00001_abcde_8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c", Some(Unnamed)),
            ("raw/0000_part_00.gz", Some(Unnamed)),
            ("raw/x.csv", Some(OtherFormat)),
            ("raw/x.CSV.gz", Some(OtherFormat)),
            ("raw/x.csv.8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c", Some(OtherFormat)),
            ("raw/x.jsonl", Some(OtherFormat)),
            ("raw/x.orc", Some(OtherFormat)),
            ("raw/x.parquet.crc", None),
            ("raw/x.parquet.inprogress", None),
            ("raw/x_$folder$", None),
            ("raw/manifest", None),
            ("raw/manifest.json", None),
            ("cur/20260101-20260201/report-Manifest.json", None),
            ("cur/20260101-20260201/report-Manifest.json.gz", None),
            ("rds/export/export_info_export.json", None),
            ("rds/export/export_tables_info_export_from_1_to_9.json", None),
            ("orders/part_manifest", None),
            ("orders/orders.manifest.json", None),
            ("orders/Manifest.v2.json", None),
            ("orders/part_manifest.parq", Some(Parquet)),
            ("orders/orders_latest.csv", Some(OtherFormat)),
            ("orders/my_metadata.jsonl", Some(OtherFormat)),
            ("orders/submanifest.json", Some(OtherFormat)),
            ("orders/manifest_1", Some(Unnamed)),
            ("orders/info.json", Some(OtherFormat)),
            ("README", None),
            ("raw/readme.md", None),
            ("raw/chart.png", None),
            ("raw/run.log", None),
            ("logs/all.tar.gz", None),
            ("t/metadata/v1.metadata.json", None),
            ("t/metadata/snap-1.avro", None),
            ("t/manifest/manifest-8f3c-0", None),
            ("t/snapshot/snapshot-1", None),
        ] {
            assert_eq!(likeness(key), expected, "{key}");
        }
    }

    #[test]
    fn one_warning_a_prefix_with_count_example_and_cure() {
        let mut passed = PassedOver::default();
        for key in ["a/1.csv", "a/2.PARQUET", "a/3.csv", "b/c/part-0", "no/1.csv"] {
            passed.see(key, 1, |prefix| prefix != "no/");
        }
        passed.see("d/empty.csv", 0, |_| true);
        let warnings = passed.warnings("lake");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let expected = "s3://lake/a/: 3 skipped objects could be data, such as \"a/2.PARQUET\"; only names that end in \
                        `.parquet`, in lower case, are read: rename such files, or read them through a mapping with `filetype: parquet`, \
                        or leave them out with `exclude`";
        assert_eq!(warnings[0], expected);
        assert!(warnings[1].starts_with("s3://lake/b/c/: 1 skipped object could be data, "), "{}", warnings[1]);
    }

    #[test]
    fn many_prefixes_are_a_number() {
        let mut passed = PassedOver::default();
        (0..100).for_each(|n| passed.see(&format!("{n}/x.csv"), 1, |_| true));
        let warnings = passed.warnings("lake");
        assert_eq!(warnings.len(), MAX_PREFIXES + 1);
        assert_eq!(warnings[MAX_PREFIXES], "90 more skipped objects of other prefixes could be data");
        let mut passed = PassedOver::default();
        (0..=MAX_PREFIXES).for_each(|n| passed.see(&format!("{n}/x.csv"), 1, |_| true));
        assert_eq!(passed.warnings("lake")[MAX_PREFIXES], "1 more skipped object of other prefixes could be data");
    }
}
