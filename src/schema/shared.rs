//! A column that files have and the key of some objects, too.

use super::file::FileColumn;
use super::join::TypeSet;
use super::rank::Rank;
use super::table::{ColumnSource, TableColumn};

/// What files have of it: the smallest key says how it is called, and its type holds the values of all of them.
#[derive(Debug)]
pub(crate) struct SharedColumn {
    /// The file with the smallest key, and the column's name there.
    first: (String, String),
    types: TypeSet,
}

impl SharedColumn {
    /// The column of one file.
    pub(crate) fn of(key: &str, column: &FileColumn) -> Self {
        Self {
            first: (key.to_owned(), column.name.clone()),
            types: TypeSet::of(&column.target, &Rank::Key(key.into())),
        }
    }

    /// The column of another file.
    pub(crate) fn see(&mut self, key: &str, column: &FileColumn) {
        if key < self.first.0.as_str() {
            self.first = (key.to_owned(), column.name.clone());
        }
        self.types.unite(TypeSet::of(&column.target, &Rank::Key(key.into())));
    }

    /// The table's column.
    pub(crate) fn column(&self) -> TableColumn {
        let name = self.first.1.clone();
        TableColumn {
            source: ColumnSource::File { name: name.clone(), occurrence: 0 },
            name,
            column_type: self.types.joined().settled(),
        }
    }
}
