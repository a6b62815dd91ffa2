//! Which objects a mapping reads, as far as their names tell.

use super::format::NamedFormat;
use crate::config::layout::FileType;
use crate::tables::classify::SkipReason;

/// Which objects are read, as far as their names tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Those that are named as this format: `filetype` at the top level.
    Named(NamedFormat),
    /// All, as this format, unless `{{FORMAT}}` is another: `filetype` in the mapping.
    All(NamedFormat),
    /// All, each as its name or content says.
    Auto,
}

impl Reads {
    /// By a `filetype`; `any_name`: it stands in the mapping.
    pub(super) fn of(filetype: FileType, any_name: bool) -> Self {
        let format = match filetype {
            FileType::Parquet => NamedFormat::Parquet,
            FileType::Csv => NamedFormat::Csv,
            FileType::Tsv => NamedFormat::Tsv,
            FileType::Jsonl => NamedFormat::Jsonl,
            FileType::Json => NamedFormat::Json,
            FileType::Avro => NamedFormat::Avro,
            FileType::Arrow => NamedFormat::Arrow,
            FileType::Auto => return Self::Auto,
        };
        if any_name { Self::All(format) } else { Self::Named(format) }
    }

    /// Why an object of this key is not read.
    pub(super) fn skips(self, key: &str, told: Option<NamedFormat>) -> Option<SkipReason> {
        let (wanted, is_wanted) = match self {
            Self::Auto => return None,
            Self::Named(wanted) => (wanted, told.is_none_or(|told| told == wanted) && wanted.names(key)),
            Self::All(wanted) => (wanted, told.is_none_or(|told| told == wanted)),
        };
        match wanted {
            _ if is_wanted => None,
            NamedFormat::Parquet => Some(SkipReason::NotParquet),
            _ => Some(SkipReason::OtherFormat),
        }
    }
}
