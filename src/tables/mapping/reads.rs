//! Which objects a mapping reads, as far as their names tell, and as what.

use super::format::{is_named, is_unsupported, named};
use crate::config::Format;
use crate::config::layout::FileType;
use crate::tables::classify::SkipReason;

/// Which objects are read, as far as their names tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Those that are named as this format: `filetype` at the top level.
    Named(Format),
    /// All, as this format, unless `{{FORMAT}}` is another: `filetype` in the mapping.
    All(Format),
    /// Each as its name says, or `{{FORMAT}}`; its first bytes count more.
    Auto,
}

impl Reads {
    /// By a `filetype`; `any_name`: it stands in the mapping.
    pub(super) fn of(filetype: FileType, any_name: bool) -> Self {
        match filetype {
            FileType::Auto => Self::Auto,
            FileType::Of(format) if any_name => Self::All(format),
            FileType::Of(format) => Self::Named(format),
        }
    }

    /// What an object of this key is read as, of which `told` is what `{{FORMAT}}` says.
    ///
    /// # Errors
    /// Why it is not read.
    pub(super) fn format(self, key: &str, told: Option<Format>) -> Result<Format, SkipReason> {
        let (wanted, is_wanted) = match self {
            Self::Auto => {
                let reason =
                    if is_unsupported(key) { SkipReason::UnsupportedFormat } else { SkipReason::UnknownFormat };
                return told.or_else(|| named(key)).ok_or(reason);
            }
            Self::Named(wanted) => (wanted, told.is_none_or(|told| told == wanted) && is_named(key, wanted)),
            Self::All(wanted) => (wanted, told.is_none_or(|told| told == wanted)),
        };
        match wanted {
            _ if is_wanted => Ok(wanted),
            Format::Parquet => Err(SkipReason::NotParquet),
            _ => Err(SkipReason::OtherFormat),
        }
    }

    /// Whether what an object is counts more than what its name says.
    pub(super) fn by_content(self) -> bool {
        self == Self::Auto
    }
}
