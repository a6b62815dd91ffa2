//! Which object belongs to which table: the spec's `mappings`, of which the first that matches a key counts.
//!
//! Everything here is a function of the key (and of whether the object is empty): nothing of it is stored per object.
//! While a listing is grouped, a table is told by its mapping and a text ([`TableKey`]); its state goes by its name. What the
//! key says besides, the partition values, is read from it again when it is needed ([`Mappings::values_of`]).

mod format;
mod pattern;
mod reads;
mod table_text;
mod template;
#[cfg(test)]
mod tests;
mod tried;

pub(in crate::tables) use pattern::{Captures, Pattern, Source};
pub(in crate::tables) use template::{DatePart, Part, Variable};
pub use tried::Tried;

use super::classify::{SkipReason, split};
use super::modified::Modified;
use super::name::TableKey;
use super::partitions::{Columns, Found, FoundValue, KeyRules, Partitions};
use crate::config::layout::{FileType, Layout, MappingSpec, PartitionOrigin, PatternSpec, Unmapped};
use crate::config::{Format, Mistake, Spec, SpecErrors, TableOptions, quote};
use pattern::PatternSet;
use reads::Reads;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use table_text::TableText;

/// A mapping that was checked.
#[derive(Debug)]
pub(in crate::tables) struct Mapping {
    /// The field that it comes from, as `mappings[1]`; empty at the top level.
    field: String,
    /// `None`: takes every key.
    pub(in crate::tables) pattern: Option<Pattern>,
    /// `None`: its objects are skipped.
    table: Option<TableText>,
    /// The first mapping with the same literal table.
    group: u16,
    reads: Reads,
    pub(in crate::tables) columns: Columns,
    options: Arc<TableOptions>,
}

/// All mappings of a spec.
#[derive(Debug)]
pub struct Mappings {
    /// The last one may be that of objects that no other takes.
    mappings: Vec<Mapping>,
    set: PatternSet,
    /// The mapping for keys that no pattern takes.
    fallback: Option<usize>,
    /// Only a folder is a table, and no folder is a column.
    is_plain: bool,
    /// `modified`.
    modified: Modified,
}

impl Default for Mappings {
    /// No mappings: a folder is a table.
    fn default() -> Self {
        let set = PatternSet::none();
        let mappings = vec![Mapping::of_folders(&Layout::default(), false, &mut Vec::new())];
        Self { mappings, set, fallback: Some(0), is_plain: true, modified: Modified::default() }
    }
}

/// What becomes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// It belongs to a table.
    Table(Mapped),
    /// It is not read.
    Skipped(SkipReason),
    /// All its folders became columns, and nothing is left that could name its table. The text is the error.
    Nameless(String),
}

/// Where a key belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// The mapping that takes it.
    pub mapping: usize,
    /// Its table.
    pub table: TableKey,
    /// What it is read as.
    pub format: Format,
    captures: Captures,
}

impl Mappings {
    /// Reads a spec as [`Spec::parse_with`], and compiles what it says about layouts.
    ///
    /// # Errors
    /// [`SpecErrors`] with all mistakes, those about layouts last.
    pub fn read_spec(json: &[u8]) -> Result<(Spec, Arc<Self>), SpecErrors> {
        Spec::parse_with(json, |layout| Self::new(layout).map(Arc::new))
    }

    /// Checks and compiles what the spec says.
    ///
    /// # Errors
    /// All mistakes, each with its field.
    pub fn new(layout: &Layout) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut mappings: Vec<Mapping> = Vec::with_capacity(layout.mappings.len() + 1);
        let top = layout.path.as_ref().map(|path| of_top(layout, path));
        for mapping in top.iter().chain(&layout.mappings) {
            mappings.extend(Mapping::new(mapping, &mut mistakes));
        }
        note_unreachable(&mappings, &mut mistakes);
        note_outside(&mappings, &layout.path_prefix, &mut mistakes);
        let set =
            PatternSet::new(mappings.iter().filter_map(|mapping| mapping.pattern.as_ref())).unwrap_or_else(|text| {
                mistakes.push(Mistake { path: "mappings".to_owned(), text: format!("all together: {text}") });
                PatternSet::none()
            });
        let has_mappings = layout.path.is_some() || !layout.mappings.is_empty();
        let unmapped = layout.unmapped.unwrap_or(if has_mappings { Unmapped::Skip } else { Unmapped::Folder });
        let fallback = (unmapped == Unmapped::Folder).then_some(mappings.len());
        if fallback.is_some() {
            mappings.push(Mapping::of_folders(layout, has_mappings, &mut mistakes));
        }
        let modified = Modified::new(&layout.modified, &mut mistakes);
        let is_parquet = layout.filetype == FileType::Of(Format::Parquet);
        let is_plain = !has_mappings && fallback.is_some() && !layout.partitions.hive && is_parquet;
        join_literals(&mut mappings);
        note_other_options(&mappings, &mut mistakes);
        // The same partitions in several mappings have the same mistakes.
        let mut seen = HashSet::new();
        mistakes.retain(|mistake| seen.insert(mistake.to_string()));
        if mistakes.is_empty() { Ok(Self { mappings, set, fallback, is_plain, modified }) } else { Err(mistakes) }
    }

    /// What becomes of the object of this key. That it is a folder's marker, excluded or hidden was seen before.
    #[must_use]
    pub fn of(&self, key: &str, size_bytes: u64) -> Match {
        let first = self.set.first(key);
        let tried = first.into_iter().flat_map(|first| first..self.patterns());
        for index in tried {
            let mapping = &self.mappings[index];
            // Those behind the first are asked only if it has a variable twice, with two texts.
            if let Some(captures) = mapping.captures(key) {
                return mapping.place(index, key, size_bytes, captures);
            }
        }
        match self.fallback {
            Some(index) => self.mappings[index].place(index, key, size_bytes, Captures::default()),
            None => Match::Skipped(SkipReason::Unmapped),
        }
    }

    /// Whether a folder is a table and nothing else is said: then [`super::classify`] knows all.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// `modified`.
    #[must_use]
    pub fn modified(&self) -> Modified {
        self.modified
    }

    /// The options of a table.
    #[must_use]
    pub fn table_options(&self, table: &TableKey) -> Arc<TableOptions> {
        let mapping = table.mapping().or(self.fallback).and_then(|index| self.mappings.get(index));
        mapping.map(|mapping| Arc::clone(&mapping.options)).unwrap_or_default()
    }

    /// The mappings whose objects go to a table, by their numbers.
    pub(super) fn feeding(&self, table: &TableKey) -> impl Iterator<Item = usize> {
        let feeds = |mapping: &Mapping| Some(usize::from(mapping.group)) == table.mapping();
        self.mappings.iter().enumerate().filter(move |(_, mapping)| feeds(mapping)).map(|(index, _)| index)
    }

    /// Which columns the keys of a table make and how; `None`: none.
    #[must_use]
    pub fn column_rules(&self, table: &TableKey) -> Option<KeyRules> {
        let rules = self.feeding(table).filter_map(|index| self.mappings[index].columns.rules());
        rules.reduce(|all, rules| KeyRules {
            values: format!("{}\n{}", all.values, rules.values),
            types: format!("{}\n{}", all.types, rules.types),
        })
    }

    /// Whether conditions say which objects of a table are read.
    pub fn has_conditions(&self, table: &TableKey) -> bool {
        self.feeding(table).any(|index| !self.mappings[index].columns.partitions.conditions.is_empty())
    }

    /// Whether there are conditions at all.
    #[must_use]
    pub fn prunes(&self) -> bool {
        self.mappings.iter().any(|mapping| !mapping.columns.partitions.conditions.is_empty())
    }

    /// How many have a pattern: all but that of unmapped objects.
    fn patterns(&self) -> usize {
        self.fallback.unwrap_or(self.mappings.len())
    }

    /// What the columns of its key add to a row of an object when decoded, in bytes: at most that.
    #[must_use]
    pub fn row_bytes(&self, key: &str) -> u64 {
        /// Of a value that is no text, or the place of one.
        const VALUE_BYTES: u64 = 16;
        if self.is_plain {
            return 0;
        }
        let Match::Table(mapped) = self.of(key, 1) else { return 0 };
        let text_bytes = |found: &Found<'_>| match &found.value {
            FoundValue::Text(text) => text.len() as u64,
            _ => 0,
        };
        self.values_of(&mapped, key).iter().map(|found| text_bytes(found) + VALUE_BYTES).sum()
    }

    /// What the key says about each partition column, in the order of the path. `mapping` is the one that takes it.
    #[cfg(test)]
    #[must_use]
    pub fn values<'a>(&'a self, mapping: usize, key: &'a str) -> Vec<Found<'a>> {
        let Some(mapping) = self.mappings.get(mapping) else { return Vec::new() };
        mapping.captures(key).map(|captures| mapping.columns.values(key, &captures)).unwrap_or_default()
    }

    /// The same for a key that was just looked at.
    #[must_use]
    pub fn values_of<'a>(&'a self, mapped: &Mapped, key: &'a str) -> Vec<Found<'a>> {
        self.mappings
            .get(mapped.mapping)
            .map(|mapping| mapping.columns.values(key, &mapped.captures))
            .unwrap_or_default()
    }

    /// Whether what objects of a table are counts more than what their names say.
    pub fn by_content(&self, table: &TableKey) -> bool {
        self.feeding(table).any(|index| self.mappings[index].reads.by_content())
    }

    /// Whether the objects of a table may be of several formats: its mapping says what it is called.
    pub fn joins_formats(&self, table: &TableKey) -> bool {
        self.feeding(table)
            .any(|index| self.mappings[index].table.as_ref().is_some_and(|text| text.literal().is_some()))
    }

    /// How a mapping makes columns of keys.
    #[must_use]
    pub fn partitions(&self, mapping: usize) -> Option<&Partitions> {
        Some(&self.mappings.get(mapping)?.columns.partitions)
    }

    /// A table in words, for errors about two that have one name.
    #[must_use]
    pub fn describe(&self, table: &TableKey) -> String {
        let field =
            table.mapping().and_then(|index| self.mappings.get(index)).map_or("", |mapping| mapping.field.as_str());
        match field {
            "" => format!("{:?}", table.prefix()),
            field => format!("{:?} of {field}", table.prefix()),
        }
    }

    /// What all keys of a table begin with, up to a `/`; may be less than there is.
    #[must_use]
    pub fn common_folder(&self, table: &TableKey) -> String {
        let fed_by = self.mappings.iter().filter(|mapping| Some(usize::from(mapping.group)) == table.mapping());
        let starts = fed_by.map(|mapping| mapping.pattern.as_ref().map(Pattern::literal_start).unwrap_or_default());
        let mut start = pattern::common_start(starts);
        start.truncate(start.rfind('/').map_or(0, |slash| slash + 1));
        start
    }

    /// Whether another mapping's objects go to the same table.
    pub(in crate::tables) fn shares_table(&self, mapping: usize) -> bool {
        let group = |index: usize| self.mappings.get(index).map(|mapping| mapping.group);
        (0..self.mappings.len()).any(|other| other != mapping && group(other) == group(mapping))
    }

    pub(in crate::tables) fn all(&self) -> &[Mapping] {
        &self.mappings
    }
}

impl Mapping {
    fn new(spec: &MappingSpec, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let field = &spec.field;
        let mut note = |name: &str, texts: Vec<String>| {
            let path = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
            mistakes.extend(texts.into_iter().map(|text| Mistake { path: path.clone(), text }));
        };
        let pattern = match &spec.pattern {
            PatternSpec::Path(path) => {
                Pattern::path(path, spec.table.is_some() || spec.skip).map_err(|e| note("path", e))
            }
            PatternSpec::Glob(globs) => Pattern::glob(globs).map_err(|e| note("glob", e)),
            PatternSpec::Regex(regex) => Pattern::regex(regex).map_err(|e| note("regex", e)),
        };
        let pattern = pattern.ok()?;
        let table = match &spec.table {
            _ if spec.skip => None,
            None => Some(TableText::default_of(Some(&pattern))),
            Some(text) => Some(TableText::read(text, &pattern).map_err(|e| note("table", e)).ok()?),
        };
        let groups: Vec<usize> = table.iter().flat_map(TableText::groups).collect();
        let partitions = Partitions::new(&spec.partitions, mistakes);
        let columns = Columns::new(partitions, &spec.partitions, &pattern, &groups, mistakes);
        let reads = Reads::of(spec.filetype, spec.any_name);
        let (field, options) = (field.clone(), Arc::clone(&spec.options));
        Some(Self { field, pattern: Some(pattern), table, group: 0, reads, columns, options })
    }

    /// The mapping of all keys that no other takes.
    fn of_folders(layout: &Layout, has_others: bool, mistakes: &mut Vec<Mistake>) -> Self {
        let mut spec = layout.partitions.clone();
        if has_others {
            // For these, maybe.
            spec.origin = PartitionOrigin::Inherited;
        }
        let columns = Columns::of_folders(Partitions::new(&spec, mistakes), &spec, mistakes);
        let (reads, options) = (Reads::of(layout.filetype, false), Arc::clone(&layout.options));
        let table = Some(TableText::default_of(None));
        Self { field: String::new(), pattern: None, table, group: 0, reads, columns, options }
    }

    /// Whether its objects are passed over.
    pub(in crate::tables) fn skips(&self) -> bool {
        self.table.is_none()
    }

    fn captures(&self, key: &str) -> Option<Captures> {
        match &self.pattern {
            Some(pattern) => pattern.captures(key),
            None => Some(Captures::default()),
        }
    }

    /// Where a key belongs that this mapping takes.
    fn place(&self, index: usize, key: &str, size_bytes: u64, captures: Captures) -> Match {
        let Some(table) = &self.table else { return Match::Skipped(SkipReason::Skip) };
        let mut told = None;
        if let Some(pattern) = &self.pattern {
            if pattern.is_test_object(key, &captures, size_bytes) {
                return Match::Skipped(SkipReason::TestObject);
            }
            let group = pattern.variables().find(|(_, variable)| **variable == Variable::Format);
            told = group.and_then(|(group, _)| format::of_template(captures.text(group, key)?));
        }
        let format = match self.reads.format(key, told) {
            Ok(format) => format,
            Err(reason) => return Match::Skipped(reason),
        };
        let folder = if table.has_folder() { self.columns.other_folders(key, &captures) } else { "".into() };
        let text = table.of(key, &captures, &folder);
        if text.is_empty() {
            return Match::Nameless(self.nameless(key));
        }
        let table = TableKey::mapped(self.group, text);
        Match::Table(Mapped { mapping: index, table, format, captures })
    }

    fn nameless(&self, key: &str) -> String {
        let cure = match self.field.as_str() {
            "" => "write a mapping with a table, such as `mappings: [{glob: \"**\", table: events}]`".to_owned(),
            field => format!("give {field} a `table`"),
        };
        format!("all folders of {key:?} became columns, so that none is left to name its table; {cure}")
    }
}

/// `path` at the top level as a mapping.
fn of_top(layout: &Layout, path: &str) -> MappingSpec {
    MappingSpec {
        field: String::new(),
        pattern: PatternSpec::Path(path.to_owned()),
        table: None,
        skip: false,
        filetype: layout.filetype,
        any_name: false,
        partitions: layout.partitions.clone(),
        options: Arc::clone(&layout.options),
    }
}

/// Mappings that feed one table make its columns together.
fn note_other_options(mappings: &[Mapping], mistakes: &mut Vec<Mistake>) {
    for mapping in mappings {
        let Some(first) = mappings.get(usize::from(mapping.group)) else { continue };
        if mapping.options != first.options {
            let text = format!(
                "its objects go to the table of {}, with other options for files and columns; give both the same",
                first.field
            );
            mistakes.push(Mistake { path: mapping.field.clone(), text });
        }
    }
}

fn note_unreachable(mappings: &[Mapping], mistakes: &mut Vec<Mistake>) {
    for (index, mapping) in mappings.iter().enumerate() {
        let Some(pattern) = &mapping.pattern else { continue };
        let before =
            mappings[..index].iter().find(|before| before.pattern.as_ref().is_some_and(|p| p.takes_all_of(pattern)));
        if let Some(before) = before {
            let text = format!("can never match, {} matches all that it does", before.field);
            mistakes.push(Mistake { path: mapping.field.clone(), text });
        }
    }
}

/// Mappings that take no key that is listed. One that skips does no harm.
fn note_outside(mappings: &[Mapping], path_prefix: &str, mistakes: &mut Vec<Mistake>) {
    for mapping in mappings.iter().filter(|mapping| !mapping.skips()) {
        let Some(pattern) = &mapping.pattern else { continue };
        let start = pattern.literal_start();
        if start.starts_with(path_prefix) || path_prefix.starts_with(&start) {
            continue;
        }
        let (what, name) = match &pattern.source {
            Source::Path(_) => ("a path", "path"),
            Source::Glob(_) => ("a glob", "glob"),
            Source::Regex(_) => ("a regex", "regex"),
        };
        let path = if mapping.field.is_empty() { name.to_owned() } else { format!("{}.{name}", mapping.field) };
        let (prefix, start) = (quote(path_prefix), quote(&start));
        let text = format!(
            "takes no key that is listed: its keys begin with {start}, and path_prefix is {prefix}; {what} stands for whole \
             keys, path_prefix included"
        );
        mistakes.push(Mistake { path, text });
    }
}

/// Mappings with one literal table have one table.
fn join_literals(mappings: &mut [Mapping]) {
    let mut first: HashMap<String, u16> = HashMap::new();
    for (index, mapping) in mappings.iter_mut().enumerate() {
        // At most MAX_MAPPINGS and one.
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let literal = mapping.table.as_ref().and_then(TableText::literal);
        mapping.group = literal.map_or(index, |literal| *first.entry(literal).or_insert(index));
    }
}

/// The folders of a key, with their slashes: where each begins and ends.
pub(in crate::tables) fn folders(key: &str) -> impl Iterator<Item = std::ops::Range<usize>> {
    let directory = split(key).0;
    let mut start = 0;
    directory.match_indices('/').map(move |(slash, _)| {
        let folder = start..slash + 1;
        start = slash + 1;
        folder
    })
}
