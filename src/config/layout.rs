//! Which object belongs to which table, as the spec says it: mappings and partitions, read and not yet compiled. The rules
//! for keys are those of [`crate::tables`], which also says what is wrong with a pattern, a condition or a type.

use super::format::Format;
use super::table_options::TableOptions;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most mappings: their patterns are one automaton that is held for the whole sync, and more are a program's work that globs
/// with braces do better.
pub const MAX_MAPPINGS: usize = 500;

/// What the spec says about layouts.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// `path_prefix`: what all keys begin with.
    pub path_prefix: String,
    /// `path` at the top level, short for one mapping. Never together with mappings.
    pub path: Option<String>,
    /// `mappings`.
    pub mappings: Vec<MappingSpec>,
    /// `unmapped`; by default a folder is a table only if there are no mappings.
    pub unmapped: Option<Unmapped>,
    /// `filetype` at the top level.
    pub filetype: FileType,
    /// `partitions` at the top level.
    pub partitions: PartitionSpec,
    /// `modified`.
    pub modified: ModifiedSpec,
    /// The options of tables of no mapping.
    pub options: Arc<TableOptions>,
}

impl Layout {
    /// The options of all tables, by where they are set.
    pub fn all_options(&self) -> impl Iterator<Item = &TableOptions> {
        let of_mappings = self.mappings.iter().map(|mapping| mapping.options.as_ref());
        std::iter::once(self.options.as_ref()).chain(of_mappings)
    }
}

/// A mapping.
#[derive(Debug, Clone)]
pub struct MappingSpec {
    /// Where it stands, as `mappings[1]`; empty for `path` at the top level.
    pub field: String,
    /// Which keys it takes.
    pub pattern: PatternSpec,
    /// `table`.
    pub table: Option<String>,
    /// `skip`. Never together with `table`.
    pub skip: bool,
    /// Which objects are read.
    pub filetype: FileType,
    /// The mapping has a `filetype` of its own: then names do not matter.
    pub any_name: bool,
    /// `partitions`, with those of the top level.
    pub partitions: PartitionSpec,
    /// The other options, with those of the top level.
    pub options: Arc<TableOptions>,
}

/// Which keys a mapping takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternSpec {
    /// `path`: a template.
    Path(String),
    /// `glob`: one of these, at least one.
    Glob(Vec<String>),
    /// `regex`: a regular expression for the whole key.
    Regex(String),
}

/// Which objects are read, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// Those of one format.
    Of(Format),
    /// Each as its name says, or its first bytes.
    Auto,
}

impl Default for FileType {
    fn default() -> Self {
        Self::Of(Format::Parquet)
    }
}

/// What happens to objects that no mapping takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmapped {
    /// A folder is a table.
    Folder,
    /// They are passed over.
    Skip,
}

/// `modified`: RFC 3339, a date, or a span that counts back from S3's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModifiedSpec {
    /// `after`: objects last modified then or later.
    pub after: Option<String>,
    /// `before`: objects last modified earlier.
    pub before: Option<String>,
}

/// `partitions`.
#[derive(Debug, Clone, Default)]
pub struct PartitionSpec {
    /// Which keys stand where.
    pub origin: PartitionOrigin,
    /// `style: hive`.
    pub hive: bool,
    /// `columns`: name, type.
    pub columns: Vec<(String, TypeSpec)>,
    /// `null_values`.
    pub null_values: Option<Vec<String>>,
    /// `decode`.
    pub decode: Option<bool>,
    /// `path_time`.
    pub path_time: Option<String>,
    /// `where`.
    pub conditions: Vec<String>,
}

/// Where the keys of `partitions` stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PartitionOrigin {
    /// At the top level, where they are used.
    #[default]
    Top,
    /// At the top level, and used elsewhere: what cannot be used there is no mistake.
    Inherited,
    /// Some in a mapping, the others at the top level.
    Mapping {
        /// As `mappings[1]`.
        field: String,
        /// The keys that stand in the mapping.
        own: BTreeSet<&'static str>,
    },
}

impl PartitionSpec {
    /// The field of one of the keys, as `mappings[1].partitions.where`.
    #[must_use]
    pub fn field(&self, key: &str) -> String {
        match &self.origin {
            PartitionOrigin::Mapping { field, own } if own.contains(key) => format!("{field}.partitions.{key}"),
            _ => format!("partitions.{key}"),
        }
    }

    /// Whether a key is from the top level and used elsewhere.
    #[must_use]
    pub fn is_inherited(&self, key: &str) -> bool {
        match &self.origin {
            PartitionOrigin::Top => false,
            PartitionOrigin::Inherited => true,
            PartitionOrigin::Mapping { own, .. } => !own.contains(key),
        }
    }
}

/// The type of a column as the spec has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeSpec {
    /// The type's word.
    pub word: String,
    /// `format`.
    pub format: Option<String>,
}

/// What happens if a file has a column with a partition's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflict {
    /// The path's value is taken.
    #[default]
    Path,
    /// The file's; the path's for a file that lacks the column.
    File,
    /// Both, the file's under another name.
    Both,
    /// The table is in error.
    Error,
}
