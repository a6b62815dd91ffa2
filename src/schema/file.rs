//! What one file looks like to the table: its columns in outgoing types. Small, so that it can be kept for as long as
//! the table's schema is being decided.

use super::field::FileField;
use super::text_types::TextTypes;
use super::types::ColumnType;
use crate::config::NestedAs;
use crate::hash::{first_u64, update_framed};
use sha2::{Digest, Sha256};

/// The columns of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSchema {
    /// In the file's order.
    pub columns: Vec<FileColumn>,
}

/// One column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileColumn {
    /// The name in the file.
    pub name: String,
    /// The outgoing type, as far as the file says it: see [`ColumnType::Null`].
    pub target: ColumnType,
    /// Of files of text: what the values are by which the type was told. Such files are joined by all their values.
    pub(crate) inferred: Option<TextTypes>,
    /// The type in the file, for messages.
    pub source: String,
}

impl FileSchema {
    /// The columns of a file that has these fields. `nested_as` decides how structs, maps and lists of them travel.
    pub(crate) fn of_fields(fields: &[FileField], nested_as: NestedAs) -> Self {
        let column = |field: &FileField| FileColumn {
            name: field.name.clone(),
            target: field.target_as(nested_as),
            inferred: field.inferred().cloned(),
            source: field.describe(),
        };
        Self { columns: fields.iter().map(column).collect() }
    }

    /// Each column with the number of columns of exactly that name before it: what identifies a column in all files of
    /// a table.
    pub fn identities(&self) -> Vec<(&str, usize)> {
        let mut seen = std::collections::HashMap::new();
        let mut identities = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let count: &mut usize = seen.entry(column.name.as_str()).or_default();
            identities.push((column.name.as_str(), *count));
            *count += 1;
        }
        identities
    }

    /// A hash of column names and outgoing types, whatever their order; of types that files say the same in all releases. Whether the file lets a
    /// column be null plays no part: outgoing columns always may.
    pub fn shape(&self) -> u64 {
        self.hash(|column| match &column.inferred {
            Some(types) => Some(format!("{types:?}")),
            None => Some(column.target.to_string()),
        })
    }

    /// A hash of the column names alone, whatever their order: files with the same names may go into one table.
    pub fn names(&self) -> u64 {
        self.hash(|_| None)
    }

    fn hash(&self, further: impl Fn(&FileColumn) -> Option<String>) -> u64 {
        let mut parts: Vec<_> = self.identities().into_iter().zip(&self.columns).collect();
        parts.sort_by_key(|(identity, _)| *identity);
        let mut hash = Sha256::new();
        for ((name, occurrence), column) in parts {
            update_framed(&mut hash, name);
            hash.update((occurrence as u64).to_be_bytes());
            if let Some(text) = further(column) {
                update_framed(&mut hash, text);
            }
        }
        first_u64(&hash.finalize())
    }
}
