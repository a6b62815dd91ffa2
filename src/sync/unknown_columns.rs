//! Columns that records have and their table lacks: of text formats, of which not every byte is looked at before the table is
//! announced. Their values go into the rescue column; an incremental sync remembers the columns, and the next one announces them.

use crate::schema::text_types::TextTypes;
use crate::state::schema::PendingColumn;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Columns that are remembered of a table: more than it could ever get.
const MAX_COLUMNS: usize = 1_600;

/// The columns of one table. Held for adding those of one part of an object.
#[derive(Debug, Default)]
pub struct UnknownColumns(Mutex<BTreeMap<String, (TextTypes, String)>>);

impl UnknownColumns {
    /// Takes in what a part of the object of `key` has.
    pub(crate) fn see(&self, key: &str, columns: Vec<(String, TextTypes)>) {
        if columns.is_empty() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, types) in columns {
            if let Some((known, _)) = known.get_mut(&name) {
                known.unite(&types);
            } else if known.len() < MAX_COLUMNS {
                known.insert(name, (types, key.to_owned()));
            }
        }
    }

    /// All of them so far, in the order of their names.
    pub(crate) fn pending(&self) -> Vec<PendingColumn> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let column = |(name, (types, key)): (&String, &(TextTypes, String))| PendingColumn {
            key: key.clone(),
            name: name.clone(),
            column_type: types.column_type().settled(),
        };
        known.iter().map(column).collect()
    }
}
