//! What columns are, whatever the format of the files: the ground floor that tables, casts, formats and state stand on.
//!
//! ```text
//! field (a file's column as it is read) ─▶ file (its outgoing type) ─▶ merge (all files agree) ─▶ table (outgoing columns)
//!                 └──────────────────── fit (which of a file's columns is which of the table's) ◀──────────────┘
//! ```
//!
//! [`types`] are the outgoing types, [`names`] the rules for outgoing names, [`rules`] say which of the files' columns count. Everything here is pure.

use crate::config::NestedAs;

pub(crate) mod field;
pub(crate) mod file;
pub(crate) mod fit;
pub mod merge;
pub(crate) mod names;
pub(crate) mod rules;
pub(crate) mod table;
pub(crate) mod types;

/// Names the rules by which columns of files become columns of a table: outgoing types, nullability, and [`names`]. It is
/// kept with a table's schema in the state backend. Change it whenever the same file would give other columns than in the
/// last release: then the schemas of all files are read again.
pub const COLUMN_RULES: &str = "1";

/// [`COLUMN_RULES`] with the spec's choices that change columns of files: what a table's schema is kept under. The
/// [`names::FILE_COLUMNS`] do not count: they are no columns of files, and names that they have are never given to others.
#[must_use]
pub fn column_rules(nested_as: NestedAs) -> String {
    let nested_as = match nested_as {
        NestedAs::Json => "json",
        // 2: lists of two levels that hold lists or maps have other types than in 0.1.0, which for JSON are all the same.
        NestedAs::Native => "native2",
    };
    format!("{COLUMN_RULES};nested_as={nested_as}")
}
