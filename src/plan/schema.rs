//! A table's schema, kept beside its ledger: with it a sync announces the table without reading a footer, and compares
//! new files with it.
//!
//! It is JSON: the rules by which it was made, the key of the object that set it, and the columns.

use super::parts::PartSet;
use super::{BadState, Identity, MAX_VALUE_CHARS};
use crate::decode::types::ColumnType;
use crate::tables::schema::{TableColumn, TableSchema};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Characters of JSON in one part: leaves room for the version and the part's number.
const MAX_PART_CHARS: usize = MAX_VALUE_CHARS - 64;

/// A table's schema, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSchema {
    /// The object that set it: the one with the smallest key when all footers were read last.
    pub key: String,
    /// The columns.
    pub schema: TableSchema,
}

/// The place of a table's schema in the state.
#[derive(Debug)]
pub struct SchemaState {
    set: PartSet,
    rules: String,
    stored: Option<StoredSchema>,
    outdated: bool,
}

/// A column: source name, occurrence, outgoing name, type.
type StoredColumn = (String, usize, String, String);

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    rules: String,
    key: String,
    columns: Vec<StoredColumn>,
}

impl SchemaState {
    /// Reads the table's schema out of the state: `entries` are the backend's keys and values that start with
    /// [`Identity::state_prefix`], others do no harm. `rules` names what columns depend on besides the files:
    /// [`crate::decode::cast_rules`].
    ///
    /// # Errors
    /// [`BadState`] when the state is incomplete, damaged, or of another release's format.
    pub fn load<'a>(
        identity: &Identity<'_>,
        entries: impl IntoIterator<Item = (&'a str, &'a str)>,
        rules: &str,
    ) -> Result<Self, BadState> {
        let key = format!("{}schema", identity.state_prefix());
        Self::read(&key, entries, rules).map_err(|what| identity.bad_state(what))
    }

    fn read<'a>(key: &str, entries: impl IntoIterator<Item = (&'a str, &'a str)>, rules: &str) -> Result<Self, String> {
        let loaded = PartSet::load(key, entries)?;
        let mut state = Self { set: loaded.set, rules: rules.to_owned(), stored: None, outdated: false };
        let mut parts = Vec::with_capacity(loaded.parts.len());
        for part in loaded.parts {
            let part = part.split_once(' ').and_then(|(index, text)| Some((index.parse::<usize>().ok()?, text)));
            parts.push(part.ok_or_else(|| format!("a part of {key} has no number"))?);
        }
        if parts.is_empty() {
            return Ok(state);
        }
        parts.sort_unstable();
        let text: String = parts.into_iter().map(|(_, text)| text).collect();
        let stored: Stored = serde_json::from_str(&text).map_err(|error| format!("{key} is no schema: {error}"))?;
        if stored.rules != rules {
            // What other rules made may have types that are not known here; it is made anew anyway.
            state.outdated = true;
            return Ok(state);
        }
        let mut columns = Vec::with_capacity(stored.columns.len());
        for (source_name, occurrence, name, column_type) in stored.columns {
            let parsed = ColumnType::parse(&column_type)
                .ok_or_else(|| format!("{key} has a column of the type {column_type:?}, which is not known"))?;
            columns.push(TableColumn { source_name, occurrence, name, column_type: parsed });
        }
        state.stored = Some(StoredSchema { key: stored.key, schema: TableSchema::from_columns(columns) });
        Ok(state)
    }

    /// The schema, if there is one that was made by the rules of today.
    #[must_use]
    pub fn stored(&self) -> Option<&StoredSchema> {
        self.stored.as_ref()
    }

    /// Whether there is a schema that other rules made: it must be made anew from all footers.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// The state keys and values to set, in this order, so that the next sync finds `schema`; none when it does already.
    #[must_use]
    pub fn update(self, schema: &StoredSchema) -> Vec<(String, String)> {
        let column = |column: &TableColumn| -> StoredColumn {
            let TableColumn { source_name, occurrence, name, column_type } = column;
            (source_name.clone(), *occurrence, name.clone(), column_type.to_string())
        };
        let columns = schema.schema.columns().iter().map(column).collect();
        let stored = Stored { rules: self.rules, key: schema.key.clone(), columns };
        let text = ascii_json(&stored);
        let mut change = self.set.change();
        let mut rest = text.as_str();
        let mut index = 0;
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(MAX_PART_CHARS));
            change.add(&format!("{index} {part}"));
            rest = later;
            index += 1;
        }
        change.finish("")
    }
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
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const RULES: &str = "1;nested_as=json";

    fn schema(columns: &[(&str, ColumnType)]) -> StoredSchema {
        let column = |(name, column_type): &(&str, ColumnType)| TableColumn {
            source_name: (*name).to_owned(),
            occurrence: 0,
            name: name.to_lowercase(),
            column_type: column_type.clone(),
        };
        let columns = columns.iter().map(column).collect();
        StoredSchema { key: "raw/größe \"a\".parquet".to_owned(), schema: TableSchema::from_columns(columns) }
    }

    fn read(rows: &BTreeMap<String, String>, rules: &str) -> Result<SchemaState, String> {
        SchemaState::read("p/schema", rows.iter().map(|(key, value)| (key.as_str(), value.as_str())), rules)
    }

    #[test]
    fn what_was_stored_is_found_and_written_once() {
        let mut rows = BTreeMap::new();
        let state = read(&rows, RULES).unwrap();
        assert!(state.stored().is_none() && !state.is_outdated());
        let stored = schema(&[
            ("Id", ColumnType::Int64),
            ("größe\u{7f}😀", ColumnType::List(Box::new(ColumnType::Decimal128 { precision: 9, scale: 2 }))),
        ]);
        rows.extend(state.update(&stored));
        assert!(rows.values().all(|value| value.is_ascii()), "{rows:?}");
        let state = read(&rows, RULES).unwrap();
        assert_eq!(state.stored(), Some(&stored));
        assert!(state.update(&stored).is_empty());
        let changed = schema(&[("Id", ColumnType::Int32)]);
        rows.extend(read(&rows, RULES).unwrap().update(&changed));
        assert_eq!(read(&rows, RULES).unwrap().stored(), Some(&changed));
    }

    #[test]
    fn other_rules_make_it_outdated_also_with_types_of_the_future() {
        let mut rows = BTreeMap::new();
        rows.extend(read(&rows, RULES).unwrap().update(&schema(&[("Id", ColumnType::Int64)])));
        let state = read(&rows, "2").unwrap();
        assert!(state.stored().is_none() && state.is_outdated());
        let stored = schema(&[("Id", ColumnType::Int64)]);
        rows.extend(state.update(&stored));
        assert_eq!(read(&rows, "2").unwrap().stored(), Some(&stored));
        assert!(read(&rows, RULES).unwrap().is_outdated());
    }

    #[test]
    fn a_wide_schema_is_split_over_several_values() {
        let names: Vec<String> = (0..5_000).map(|number| format!("column_{number}_é")).collect();
        let columns: Vec<(&str, ColumnType)> = names.iter().map(|name| (name.as_str(), ColumnType::Utf8)).collect();
        let wide = schema(&columns);
        let mut rows = BTreeMap::new();
        let changes = read(&rows, RULES).unwrap().update(&wide);
        assert!(changes.len() > 3);
        assert_eq!(changes.last().unwrap().0, "p/schema");
        assert!(changes.iter().all(|(_, value)| value.len() <= MAX_VALUE_CHARS && value.is_ascii()));
        rows.extend(changes);
        assert_eq!(read(&rows, RULES).unwrap().stored(), Some(&wide));
        rows.remove("p/schema.1");
        assert!(read(&rows, RULES).unwrap_err().contains("p/schema.1 is missing"));
    }

    /// Frozen: the next release reads it. (Rewritten never; a change of the format gets a new version and a new file.)
    #[test]
    fn golden_schema() {
        let golden = include_str!("../../tests/fixtures/state/schema_v1.json");
        let rows: BTreeMap<String, String> = serde_json::from_str(golden).unwrap();
        let stored = schema(&[("Id", ColumnType::Int64), ("größe", ColumnType::List(Box::new(ColumnType::Uuid)))]);
        let state = read(&rows, RULES).unwrap();
        assert_eq!(state.stored(), Some(&stored));
        let written: BTreeMap<String, String> =
            read(&BTreeMap::new(), RULES).unwrap().update(&stored).into_iter().collect();
        assert_eq!(written, rows);
    }
}
