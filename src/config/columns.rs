//! Columns set by hand: `columns`, `cq_columns` and `restore_types`, validated. How they are typed is in
//! `raw`, made of `fields`, and in `cloudquery`; the words for types are in `types`.

use crate::times::TimeFormat;
use serde_json::json;

mod cloudquery;
mod fields;
mod raw;
mod types;

pub(super) use cloudquery::RawRestoreTypes;
pub(super) use raw::RawColumns;
pub use types::TypeWord;
pub(crate) use types::hint_of_type;

/// What is set by hand of a column of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnChoice {
    /// The name in the files, exactly; of several columns of one name the second is `name#2`.
    pub column: String,
    /// It is left out.
    pub drop: bool,
    /// The outgoing name.
    pub name: Option<String>,
    /// The outgoing type.
    pub typed: Option<TypeChoice>,
}

/// A type that is set by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeChoice {
    /// The type.
    pub word: TypeWord,
    /// How texts are dates or timestamps; `None`: the ISO forms.
    pub(crate) format: Option<TimeFormat>,
    /// What numbers count that are dates, times or timestamps.
    pub unit: Option<Unit>,
    /// What is added to UTC where the texts or numbers are from, in seconds: of those that don't say so themselves.
    pub offset_s: i32,
    /// Texts that are null.
    pub null_values: Vec<String>,
    /// Times in texts may have digits beyond microseconds, which are left out as they are in files that say the type.
    pub nanoseconds: bool,
}

impl ColumnChoice {
    /// The choice as text, the same in all releases: state is kept under it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let typed = self.typed.as_ref().map(|typed| {
            let format = typed.format.as_ref().map(ToString::to_string);
            let unit = typed.unit.map(Unit::word);
            json!([typed.word.to_string(), format, unit, typed.offset_s, typed.null_values])
        });
        json!([self.column, self.drop, self.name, typed]).to_string()
    }
}

impl TypeChoice {
    /// The type alone.
    #[must_use]
    pub fn plain(word: TypeWord) -> Self {
        Self { word, format: None, unit: None, offset_s: 0, null_values: Vec::new(), nanoseconds: false }
    }
}

/// What numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// The word for it in the spec.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }
}

/// What becomes of columns of files that are called `_cq_…`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CqColumns {
    /// They become `src_cq_…`.
    #[default]
    Rename,
    /// They are left out.
    Drop,
    /// `_cq_id` and `_cq_parent_id` are the rows' own; others become `src_cq_…`.
    Restore,
}

/// Where types come from that files of CloudQuery's destinations do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RestoreTypes {
    /// From nowhere: texts stay texts.
    #[default]
    Off,
    /// From the values.
    CloudQuery,
    /// From what `cloudquery tables --format json` wrote.
    TablesJson {
        /// The key of that object.
        key: String,
    },
}
