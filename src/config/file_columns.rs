//! `file_columns`: which columns say where a row is from.

use super::field_types::inline_schema;
use super::object_reader::{FromJson, Mistakes, quote, wrong_type};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// A column that says where a row is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileColumn {
    /// The object's key.
    Key,
    /// When the object was last modified.
    LastModified,
    /// The row's number in the object, from 0.
    Row,
    /// The object's size in bytes.
    Size,
    /// The object's entity tag.
    Etag,
    /// The object's version, in a bucket that has versions.
    Version,
    /// The last part of the key.
    File,
    /// The bucket.
    Bucket,
}

impl FileColumn {
    /// All of them, in the order in which they stand in a table.
    pub const ALL: [Self; 8] =
        [Self::Key, Self::LastModified, Self::Row, Self::Size, Self::Etag, Self::Version, Self::File, Self::Bucket];

    /// The word in the spec, and behind `_s3_` the column's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::LastModified => "last_modified",
            Self::Row => "row",
            Self::Size => "size",
            Self::Etag => "etag",
            Self::Version => "version",
            Self::File => "file",
            Self::Bucket => "bucket",
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// Some of the [`FileColumn`]s.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FileColumns(u8);

impl FileColumns {
    /// What `true` means: the columns of the first releases.
    pub const USUAL: [FileColumn; 3] = [FileColumn::Key, FileColumn::LastModified, FileColumn::Row];

    /// Whether a column is among them.
    #[must_use]
    pub fn has(self, column: FileColumn) -> bool {
        self.0 & column.bit() != 0
    }

    /// How many columns there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are no columns.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The columns, in their order in a table.
    pub fn iter(self) -> impl Iterator<Item = FileColumn> {
        FileColumn::ALL.into_iter().filter(move |column| self.has(*column))
    }
}

impl FromIterator<FileColumn> for FileColumns {
    fn from_iter<I: IntoIterator<Item = FileColumn>>(columns: I) -> Self {
        Self(columns.into_iter().fold(0, |bits, column| bits | column.bit()))
    }
}

/// By the words of the spec; others are none.
impl<'a> FromIterator<&'a str> for FileColumns {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        let column = |word| FileColumn::ALL.into_iter().find(|column| column.word() == word);
        words.into_iter().filter_map(column).collect()
    }
}

impl fmt::Debug for FileColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(FileColumn::word)).finish()
    }
}

inline_schema!(FileColumns; json_schema!({"anyOf": [
    {"type": "boolean"},
    {"type": "array", "items": {"type": "string", "enum": FileColumn::ALL.map(FileColumn::word)}, "uniqueItems": true},
]}));

impl FromJson for FileColumns {
    fn from_json(value: &Value, path: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let items = match value {
            Value::Bool(true) => return Some(Self::USUAL.into_iter().collect()),
            Value::Bool(false) => return Some(Self::default()),
            Value::Array(items) => items,
            other => {
                mistakes.add(path, wrong_type("true or false, or a list of texts", other));
                return None;
            }
        };
        let mut columns = Self::default();
        let words = || FileColumn::ALL.map(|column| format!("`{}`", column.word())).join(", ");
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(text) = item.as_str() else {
                mistakes.add(path, wrong_type("text", item));
                continue;
            };
            match FileColumn::ALL.into_iter().find(|column| column.word() == text) {
                Some(column) if columns.has(column) => mistakes.add(path, format!("{} is there twice", quote(text))),
                Some(column) => columns.0 |= column.bit(),
                None => mistakes.add(path, format!("must be one of {}, found {}", words(), quote(text))),
            }
        }
        Some(columns)
    }
}
