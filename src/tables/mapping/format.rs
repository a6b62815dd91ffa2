//! What a name says about an object's format.

use crate::config::Format;
use crate::tables::classify::{is_parquet_name, is_uuid, split};

/// Suffixes of names, without the dot; the first of a format is the word that CloudQuery's destinations write for it.
const SUFFIXES: [(&str, Format); 15] = [
    ("parquet", Format::Parquet),
    ("parq", Format::Parquet),
    ("pqt", Format::Parquet),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("tab", Format::Tsv),
    ("jsonl", Format::Jsonl),
    ("ndjson", Format::Jsonl),
    ("jsonlines", Format::Jsonl),
    ("json", Format::Json),
    ("avro", Format::Avro),
    ("arrow", Format::Arrow),
    ("feather", Format::Arrow),
    ("ipc", Format::Arrow),
    ("arrows", Format::Arrow),
];
/// Suffixes of compressed objects, without the dot.
pub(super) const COMPRESSIONS: [&str; 9] = ["gz", "gzip", "zst", "zstd", "bz2", "lz4", "sz", "snappy", "xz"];
/// What `{{FORMAT}}` may be.
pub(super) const TEMPLATE_FORMATS: [&str; 6] = ["csv", "jsonl", "json", "parquet", "avro", "arrow"];

/// Suffixes of formats that are not read, without the dot: whoever reads all formats should know.
const UNSUPPORTED: [&str; 7] = ["zip", "tar", "tgz", "orc", "xlsx", "xml", "7z"];

/// The format of a word that `{{FORMAT}}` matched, maybe with a compression behind.
pub(super) fn of_template(text: &str) -> Option<Format> {
    let word = text.split('.').next()?;
    SUFFIXES.iter().find(|(suffix, _)| *suffix == word).map(|(_, format)| *format)
}

/// Whether an object of this key is named as one of this format. Parquet's rule is that of all releases.
pub(super) fn is_named(key: &str, format: Format) -> bool {
    let (_, file) = split(key);
    match format {
        Format::Parquet => is_parquet_name(file),
        other => FileName::of(file).format == Some(other),
    }
}

/// The format that an object of this key has by its name.
pub(super) fn named(key: &str) -> Option<Format> {
    FileName::of(split(key).1).format
}

/// Whether an object of this key is named as one of a format that is not read.
pub(super) fn is_unsupported(key: &str) -> bool {
    let (_, file) = split(key);
    let name = file.rsplit_once('.').filter(|(_, suffix)| is_one_of(suffix, COMPRESSIONS.iter().copied()));
    let name = name.map_or(file, |(name, _)| name);
    name.rsplit_once('.').is_some_and(|(_, suffix)| is_one_of(suffix, UNSUPPORTED.iter().copied()))
}

/// The parts of a file name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileName<'a> {
    /// The name without suffixes of formats and compressions and without CloudQuery's UUID.
    pub(super) stem: &'a str,
    /// The format, if a suffix tells it.
    pub(super) format: Option<Format>,
    /// A UUID follows the format: the folder may hold files of several tables.
    pub(super) has_uuid: bool,
}

impl<'a> FileName<'a> {
    /// Takes a name apart: `<stem>.<format>[.<compression>][.<uuid>]`. A name without a known format is all stem.
    pub(super) fn of(file: &'a str) -> Self {
        let (name, has_uuid) = match file.rsplit_once('.') {
            Some((name, uuid)) if is_uuid(uuid) => (name, true),
            _ => (file, false),
        };
        let packed = name.rsplit_once('.').filter(|(_, suffix)| is_one_of(suffix, COMPRESSIONS.iter().copied()));
        let unpacked = packed.map_or(name, |(name, _)| name);
        let told = unpacked.rsplit_once('.').and_then(|(stem, suffix)| {
            let (_, format) = SUFFIXES.iter().find(|(known, _)| known.eq_ignore_ascii_case(suffix))?;
            Some((stem, *format))
        });
        match told {
            Some((stem, format)) => Self { stem, format: Some(format), has_uuid },
            None => Self { stem: file, format: None, has_uuid: false },
        }
    }
}

fn is_one_of<'a>(text: &str, mut words: impl Iterator<Item = &'a str>) -> bool {
    words.any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::classify::table_of_format;
    use proptest::prelude::*;

    const UUID: &str = "8f3c2b1a-0d4e-4f6a-9b8c-7d6e5f4a3b2c";

    #[test]
    fn names_are_taken_apart() {
        for (file, stem, format, has_uuid) in [
            ("a.csv", "a", Some(Format::Csv), false),
            ("a.b.CSV.GZ", "a.b", Some(Format::Csv), false),
            (&format!("a.json.gz.{UUID}"), "a", Some(Format::Json), true),
            (&format!("a.parquet.{UUID}"), "a", Some(Format::Parquet), true),
            ("a.snappy.parquet", "a.snappy", Some(Format::Parquet), false),
            ("a.gz", "a.gz", None, false),
            (&format!("a.{UUID}"), &format!("a.{UUID}"), None, false),
            ("csv", "csv", None, false),
            ("", "", None, false),
        ] {
            assert_eq!(FileName::of(file), FileName { stem, format, has_uuid }, "{file}");
        }
    }

    #[test]
    fn formats_of_templates_are_formats_with_and_without_compression() {
        for word in TEMPLATE_FORMATS {
            let format = of_template(word);
            assert!(format.is_some());
            assert_eq!(of_template(&format!("{word}.gz")), format);
        }
    }

    #[test]
    fn parquet_is_named_as_in_all_releases() {
        for (key, expected) in [
            ("x.parquet", true),
            (&format!("a/x.parquet.{UUID}"), true),
            ("a/x.PARQUET", false),
            ("a/x.parq", false),
            ("a/x.parquet.gz", false),
        ] {
            assert_eq!(is_named(key, Format::Parquet), expected, "{key}");
        }
        assert!(is_named("a/x.CSV.gz", Format::Csv));
        assert!(!is_named("a/x.tsv", Format::Csv));
        let unsupported = ["a/x.ZIP", "x.tar.gz", "x.tgz", "x.orc", "x.csv.zip"];
        assert!(unsupported.iter().all(|key| is_unsupported(key)));
        assert!(!is_unsupported("a.zip/x.csv") && !is_unsupported("zip"));
    }

    proptest! {
        #[test]
        fn a_parquet_name_has_the_stem_of_all_releases(stem in "[a-z.]{0,8}", uuid in any::<bool>()) {
            let file = if uuid { format!("{stem}.parquet.{UUID}") } else { format!("{stem}.parquet") };
            let named = table_of_format("", &file, ".parquet").map(|table| table.prefix());
            prop_assert_eq!(named.as_deref(), Some(FileName::of(&file).stem));
        }
    }
}
