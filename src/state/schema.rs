//! A table's schema, kept beside its ledger: with it a sync announces the table without reading a footer, and compares
//! new files with it.
//!
//! It is JSON: the rules by which it was made, the key of the object that set it, and the columns; since release 0.2 also
//! the table's name, which the keys show only shortened, and whether columns were added that no file has. What release 0.1
//! wrote lacks both, which is no difference.
//!
//! Where the columns are other ones than before, though the files are the same, rows that were sent once are wrong at the
//! destination: [`SchemaState::added_columns_changed`] and [`SchemaState::differs`] say so.

use super::parts::PartSet;
use super::{BadState, Identity, MAX_VALUE_CHARS};
use crate::schema::are_kept;
use crate::schema::table::{ColumnSource, TableColumn, TableSchema};
use crate::schema::types::ColumnType;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Characters of JSON in one part: leaves room for the version and the part's number.
const MAX_PART_CHARS: usize = MAX_VALUE_CHARS - 64;

/// The key of a table's schema, behind what all its keys start with.
pub(super) const SCHEMA: &str = "schema";

/// A table's schema, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSchema {
    /// The object that set it: the one with the smallest key when all footers were read last.
    pub key: String,
    /// The columns.
    pub schema: TableSchema,
    /// Columns that objects have beside them, or with other types: known since the objects were read, and announced by the next
    /// sync, if the spec wants that.
    pub pending: Vec<PendingColumn>,
}

/// A column that is not announced yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingColumn {
    /// The first object that was found to have it.
    pub key: String,
    /// The name in the files.
    pub name: String,
    /// The type of its values.
    pub column_type: ColumnType,
}

/// What else a table's columns depend on than the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnOptions {
    /// [`crate::schema::column_rules`].
    pub rules: String,
    /// The columns of [`crate::cast::origin`] that are added, by their words in the spec, in their order.
    pub file_columns: Vec<String>,
}

/// The place of a table's schema in the state.
#[derive(Debug)]
pub struct SchemaState {
    set: PartSet,
    table: String,
    options: ColumnOptions,
    stored: Option<StoredSchema>,
    /// Names and types of the columns that other rules made, sorted.
    former: Option<Vec<(String, String)>>,
    /// Whether the spec's choices about columns were others, which may change values where names and types stay.
    other_choices: bool,
    /// Which columns were added, if that is known.
    had_file_columns: Option<Vec<String>>,
}

/// A column: source name, occurrence, outgoing name, type.
type StoredColumn = (String, usize, String, String);

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    rules: String,
    key: String,
    columns: Vec<StoredColumn>,
    #[serde(default)]
    table: Option<String>,
    #[serde(default)]
    file_columns: Option<StoredFileColumns>,
    /// Indexes of the columns whose values come from the key, and whose first two words are the name there and 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    key_columns: Vec<usize>,
    /// Names and types of columns that are not announced yet, and the keys of objects that have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pending: Vec<(String, String, String)>,
    /// The index of the column of what fits nowhere else, whose first two words mean nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rescue_column: Option<usize>,
}

/// Which columns were added: as the first releases knew it, or by their words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredFileColumns {
    /// The [`FIRST_FILE_COLUMNS`], or none.
    Flag(bool),
    Words(Vec<String>),
}

/// The columns that the first releases add, all or none of them.
const FIRST_FILE_COLUMNS: [&str; 3] = ["key", "last_modified", "row"];

impl StoredFileColumns {
    fn of(words: &[String]) -> Self {
        match words {
            [] => Self::Flag(false),
            words if words == FIRST_FILE_COLUMNS => Self::Flag(true),
            words => Self::Words(words.to_vec()),
        }
    }

    fn words(self) -> Vec<String> {
        match self {
            Self::Flag(false) => Vec::new(),
            Self::Flag(true) => FIRST_FILE_COLUMNS.map(str::to_owned).to_vec(),
            Self::Words(words) => words,
        }
    }
}

/// The one field of [`Stored`] that says whose schema it is.
#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default)]
    table: Option<String>,
}

/// The names of the tables whose schemas are in `entries` (keys and values of any tables, sorted by key), each with what
/// its state keys start with. Schemas that cannot be read or do not name their table are ignored.
#[must_use]
pub fn named_tables<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, String)> {
    let mut of_table: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for (key, value) in entries {
        if let Some(slash) = key.rfind('/')
            && key[slash + 1..].starts_with(SCHEMA)
        {
            of_table.entry(&key[..=slash]).or_default().push((key, value));
        }
    }
    let name = |(prefix, entries): (&'a str, Vec<(&'a str, &'a str)>)| {
        let (_, text) = text(&format!("{prefix}{SCHEMA}"), entries).ok()?;
        let named: Named = serde_json::from_str(&text).ok()?;
        Some((prefix, named.table?))
    };
    of_table.into_iter().filter_map(name).collect()
}

/// The set with this key, and the JSON in it; empty if there is none.
fn text<'a>(key: &str, entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(PartSet, String), String> {
    let loaded = PartSet::load(key, entries)?;
    let mut parts = Vec::with_capacity(loaded.parts.len());
    for part in loaded.parts {
        let part = part.split_once(' ').and_then(|(index, text)| Some((index.parse::<usize>().ok()?, text)));
        parts.push(part.ok_or_else(|| format!("a part of {key} has no number"))?);
    }
    parts.sort_unstable();
    Ok((loaded.set, parts.into_iter().map(|(_, text)| text).collect()))
}

impl SchemaState {
    /// Reads the table's schema out of the state: `entries` are the backend's keys and values that start with
    /// [`Identity::state_prefix`], others do no harm. `options` are those of today; `None`: nothing will be read, and those that
    /// the state has are as good.
    ///
    /// # Errors
    /// [`BadState`] when the state is incomplete, damaged, or of another release's format.
    pub fn load<'a>(
        identity: &Identity<'_>,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
        options: Option<&ColumnOptions>,
    ) -> Result<Self, BadState> {
        let key = format!("{}{SCHEMA}", identity.state_prefix());
        Self::read(&key, identity.table, entries, options).map_err(|what| identity.bad_state(what))
    }

    fn read<'a>(
        key: &str,
        table: &str,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
        options: Option<&ColumnOptions>,
    ) -> Result<Self, String> {
        let (set, text) = text(key, entries)?;
        let (table, is_as_stored) = (table.to_owned(), options.is_none());
        let options = options.cloned().unwrap_or_default();
        let mut state =
            Self { set, table, options, stored: None, former: None, other_choices: false, had_file_columns: None };
        if text.is_empty() {
            return Ok(state);
        }
        let stored: Stored = serde_json::from_str(&text).map_err(|error| format!("{key} is not a schema: {error}"))?;
        state.had_file_columns = stored.file_columns.map(StoredFileColumns::words);
        if is_as_stored {
            let file_columns = state.had_file_columns.clone().unwrap_or_default();
            state.options = ColumnOptions { rules: stored.rules.clone(), file_columns };
        }
        if !are_kept(&stored.rules, &state.options.rules) {
            // What other rules made may have types that are not known here; it is made again anyway.
            let mut former: Vec<_> = stored.columns.into_iter().map(|(.., name, kind)| (name, kind)).collect();
            former.sort_unstable();
            state.former = Some(former);
            state.other_choices = choices(&stored.rules) != choices(&state.options.rules)
                || other_values_of_keys(&stored.rules, &state.options.rules);
            return Ok(state);
        }
        let mut columns = Vec::with_capacity(stored.columns.len());
        for (index, (source_name, occurrence, name, column_type)) in stored.columns.into_iter().enumerate() {
            let parsed = ColumnType::parse(&column_type)
                .ok_or_else(|| format!("{key} has a column of the type {column_type:?}, which is not known"))?;
            let source = if stored.rescue_column == Some(index) {
                ColumnSource::Rescue
            } else if stored.key_columns.contains(&index) {
                ColumnSource::Key { name: source_name }
            } else {
                ColumnSource::File { name: source_name, occurrence }
            };
            columns.push(TableColumn { source, name, column_type: parsed });
        }
        let pending = stored.pending.into_iter().map(|(name, column_type, key_of)| {
            let column_type = ColumnType::parse(&column_type)
                .ok_or_else(|| format!("{key} has a column of the type {column_type:?}, which is not known"))?;
            Ok(PendingColumn { key: key_of, name, column_type })
        });
        let pending = pending.collect::<Result<_, String>>()?;
        state.stored = Some(StoredSchema { key: stored.key, schema: TableSchema::from_columns(columns), pending });
        Ok(state)
    }

    /// The schema, if there is one that was made by the rules of today.
    #[must_use]
    pub fn stored(&self) -> Option<&StoredSchema> {
        self.stored.as_ref()
    }

    /// The columns that are added, by their words in the spec.
    #[must_use]
    pub fn file_columns(&self) -> &[String] {
        &self.options.file_columns
    }

    /// Whether there is a schema that other rules made: it must be made again from all footers.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.former.is_some()
    }

    /// Whether rows of `schema`, made by the rules of today, are other ones than those of the outdated one: the columns have
    /// other names or types, in whatever order, or the spec's choices about them changed.
    #[must_use]
    pub fn differs(&self, schema: &TableSchema) -> bool {
        self.former.as_ref().is_some_and(|former| {
            if self.other_choices {
                return true;
            }
            let columns = schema.columns().iter();
            let mut columns: Vec<_> =
                columns.map(|column| (column.name.clone(), column.column_type.to_string())).collect();
            columns.sort_unstable();
            columns != *former
        })
    }

    /// Whether the columns that no file has are there today and were not before, or the other way round.
    #[must_use]
    pub fn added_columns_changed(&self) -> bool {
        self.had_file_columns.as_ref().is_some_and(|had| *had != self.options.file_columns)
    }

    /// The name of the head that the state has, or will have when what [`SchemaState::update`] gave is written: another
    /// one after each change. `None`: there is no schema.
    #[must_use]
    pub fn head_name(&self) -> Option<&str> {
        self.set.has_base().then(|| self.set.base_name())
    }

    /// Whether the state has never had a schema of the table.
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.set.was_written()
    }

    /// The state keys and values to set in front of a first schema, so that it may be written by half and does no harm; none
    /// when there was one before.
    #[must_use]
    pub fn found(&mut self) -> Vec<(String, String)> {
        let (entries, set) = std::mem::take(&mut self.set).found();
        self.set = set;
        entries
    }

    /// The state keys and values to set, in this order, so that the next sync finds `schema`; none when it does already.
    #[must_use]
    pub fn update(&mut self, schema: &StoredSchema) -> Vec<(String, String)> {
        let column = |column: &TableColumn| -> StoredColumn {
            let TableColumn { source, name, column_type } = column;
            let (source_name, occurrence) = match source {
                ColumnSource::File { name, occurrence } => (name, *occurrence),
                ColumnSource::Key { name } => (name, 0),
                ColumnSource::Rescue => (name, 0),
            };
            (source_name.clone(), occurrence, name.clone(), column_type.to_string())
        };
        let columns = schema.schema.columns();
        let of_key = |column: &TableColumn| matches!(column.source, ColumnSource::Key { .. });
        let key_columns = (0..columns.len()).filter(|index| of_key(&columns[*index])).collect();
        let rescue_column = columns.iter().position(|column| column.source == ColumnSource::Rescue);
        let columns = columns.iter().map(column).collect();
        let stored = Stored {
            rules: self.options.rules.clone(),
            key: schema.key.clone(),
            columns,
            table: Some(self.table.clone()),
            file_columns: Some(StoredFileColumns::of(&self.options.file_columns)),
            key_columns,
            pending: schema
                .pending
                .iter()
                .map(|column| (column.name.clone(), column.column_type.to_string(), column.key.clone()))
                .collect(),
            rescue_column,
        };
        let text = ascii_json(&stored);
        let mut change = std::mem::take(&mut self.set).change();
        let mut rest = text.as_str();
        let mut index = 0;
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(MAX_PART_CHARS));
            change.add(&format!("{index} {part}"));
            rest = later;
            index += 1;
        }
        let (entries, set) = change.finish_and_go_on("");
        self.set = set;
        entries
    }
}

/// What [`crate::schema::column_rules`] adds for choices about columns of files that are not as by default.
fn choices(rules: &str) -> Vec<&str> {
    rules
        .split(';')
        .skip(2)
        .filter(|choice| !choice.starts_with("keys=") && !choice.starts_with("key_types="))
        .collect()
}

/// Whether the choices about values of keys changed. Where there were none before, or are none now, the columns show what
/// changed.
fn other_values_of_keys(before: &str, today: &str) -> bool {
    fn keys(rules: &str) -> Option<&str> {
        rules.split(';').find_map(|choice| choice.strip_prefix("keys="))
    }
    keys(before).zip(keys(today)).is_some_and(|(before, today)| before != today)
}

/// JSON in ASCII: other characters, which are only in strings, become escapes.
fn ascii_json(stored: &Stored) -> String {
    #[expect(clippy::expect_used, reason = "strings and numbers always become JSON")]
    let json = serde_json::to_string(stored).expect("no map, no custom impl");
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for char in json.chars() {
        if char.is_ascii() && char != '\u{7f}' {
            ascii.push(char);
            continue;
        }
        for unit in char.encode_utf16(&mut units) {
            // Writing into a String cannot fail.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}

#[cfg(test)]
mod tests;
