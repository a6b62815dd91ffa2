//! What the files of a table say of its columns, one by one.

use crate::schema::file::FileColumn;
use crate::schema::join::TypeSet;
use crate::schema::rank::{Place, Rank};
use crate::schema::types::ColumnType;
use std::collections::BTreeMap;

/// How many types of a column are remembered with a file that has it, for messages.
const MAX_WITNESSES: usize = 8;

/// A name in a file, and the number of columns of exactly that name before it.
pub(super) type Identity = (String, usize);

/// Columns whose names differ in nothing but case.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// One file has two of the names: then they are different columns.
    pub(super) apart: bool,
    pub(super) columns: BTreeMap<Identity, Column>,
}

/// What all files say of one column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: Identity,
    /// Where it is first.
    pub(super) place: Place,
    pub(super) types: TypeSet,
    /// Each of its types with the first file that has it, in the order of files.
    pub(super) witnesses: Vec<Witness>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Witness {
    file: Rank,
    pub(super) target: ColumnType,
    /// The type as the file calls it.
    source: String,
}

impl Column {
    pub(super) fn new(name: Identity, place: Place, column: &FileColumn) -> Self {
        let types = TypeSet::of_column(column, &place.file);
        let witness =
            Witness { file: place.file.clone(), target: column.target.clone(), source: column.source.clone() };
        Self { name, place, types, witnesses: vec![witness] }
    }

    /// Takes in what other files say of the column.
    pub(super) fn unite(&mut self, other: Self) {
        if other.place < self.place {
            (self.place, self.name) = (other.place, other.name);
        }
        self.types.unite(other.types);
        for witness in other.witnesses {
            match self.witnesses.iter_mut().find(|known| known.target == witness.target) {
                Some(known) if known.file <= witness.file => {}
                Some(known) => *known = witness,
                None => self.witnesses.push(witness),
            }
        }
        self.witnesses.sort_by(|a, b| a.file.cmp(&b.file));
        self.witnesses.truncate(MAX_WITNESSES);
    }

    /// Its index in the schema of earlier syncs, if it has one.
    pub(super) fn stored_index(&self) -> Option<usize> {
        matches!(self.place.file, Rank::Given(_)).then_some(self.place.index)
    }

    /// Its types and where they are, as a person would say it.
    pub(super) fn told(&self) -> String {
        let types = self.witnesses.iter().filter(|witness| witness.target != ColumnType::Null);
        let types: Vec<String> =
            types.map(|witness| format!("{} in {:?}", witness.source, witness.file.key())).collect();
        format!("{:?}: {}", self.name.0, types.join(", "))
    }
}

impl Group {
    /// Its columns, those of one name in several cases as one unless a file has both.
    pub(super) fn united(&self, columns: &mut Vec<Column>) {
        if self.apart {
            columns.extend(self.columns.values().cloned());
            return;
        }
        let mut united: BTreeMap<usize, Column> = BTreeMap::new();
        for ((_, occurrence), column) in &self.columns {
            match united.get_mut(occurrence) {
                Some(known) => known.unite(column.clone()),
                None => {
                    united.insert(*occurrence, column.clone());
                }
            }
        }
        columns.extend(united.into_values());
    }
}
