//! In which order files decide about a table's columns.

use std::sync::Arc;

/// A file's place in the order that decides: the one whose schema was given, then by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Given(Arc<str>),
    Key(Arc<str>),
}

impl Rank {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Given(key) | Self::Key(key) => key,
        }
    }
}

/// Where a column or field stands first: the file, and its index there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: Rank,
    pub(super) index: usize,
}
