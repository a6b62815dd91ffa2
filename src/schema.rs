//! What columns are, whatever the format of the files: the ground floor that tables, casts, formats and state stand on.
//!
//! ```text
//! field (a file's column as it is read) ─▶ file (its outgoing type) ─▶ merge (all files agree) ─▶ table (outgoing columns)
//!                 └──────────────────── fit (which of a file's columns is which of the table's) ◀──────────────┘
//! ```
//!
//! [`types`] are the outgoing types, [`names`] the rules for outgoing names, [`rules`] say which of the files' columns count. Everything here is pure.

use crate::config::{NestedAs, SchemaOptions, TableOptions};
use crate::hash::{first_u64, hex, update_framed};
use sha2::{Digest, Sha256};

pub(crate) mod field;
pub(crate) mod file;
pub(crate) mod fit;
pub(crate) mod join;
pub mod merge;
pub(crate) mod names;
mod rank;
pub(crate) mod rules;
pub(crate) mod table;
pub(crate) mod types;

/// Names the rules by which columns of files become columns of a table: outgoing types, nullability, and [`names`]. It is
/// kept with a table's schema in the state backend. Change it whenever the same file would give other columns than in the
/// last release: then the schemas of all files are read again.
pub const COLUMN_RULES: &str = "1";

/// [`COLUMN_RULES`] with the spec's choices that change columns of files: what a table's schema is kept under. `keys` are the
/// choices about columns of keys, in any words. The [`names::file_columns`] do not count: they are no columns of files, and
/// the state knows them by themselves.
#[must_use]
pub fn column_rules(options: &TableOptions, keys: Option<&str>) -> String {
    let nested_as = match options.nested_as {
        NestedAs::Json => "json",
        // 2: lists of two levels that hold lists or maps have other types than in 0.1.0, which for JSON are all the same.
        NestedAs::Native => "native2",
    };
    let mut rules = format!("{COLUMN_RULES};nested_as={nested_as}");
    if let Some(keys) = keys {
        rules.push_str(&format!(";keys={}", hex(&Sha256::digest(format!("{keys}{:?}", options.conflict))[..8])));
    }
    if options.schema.merges() {
        rules.push_str(";schema=merge");
    }
    let chosen = options_that_change_columns(options);
    if !chosen.is_empty() {
        let mut hash = Sha256::new();
        chosen.iter().for_each(|text| update_framed(&mut hash, text));
        rules.push_str(&format!(";options={:016x}", first_u64(&hash.finalize())));
    }
    rules
}

/// The other options of a table that change columns of files, each as text; none where all are as by default.
fn options_that_change_columns(options: &TableOptions) -> Vec<String> {
    let schema = &options.schema;
    let mut chosen = Vec::new();
    if schema.merges() && schema.rescue_name() != SchemaOptions::default_rescue_name() {
        chosen.push(format!("schema.rescue_column={:?}", schema.rescue_name()));
    }
    chosen
}
