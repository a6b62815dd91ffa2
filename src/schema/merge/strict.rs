//! Files that must agree: the same columns with the same types, except that a column which is null by its type in one file
//! has the type that it has in another.

use crate::schema::file::{FileColumn, FileSchema};
use crate::schema::join::TypeSet;
use crate::schema::rank::Rank;
use crate::schema::table::TableSchema;
use crate::schema::types::ColumnType;
use std::collections::HashMap;

/// Two files of one table that don't agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reference_key:?} and {other_key:?} do not agree: column {column:?} is {reference_type} in the first and {other_type} in the second; all files of a table must have the same columns, so move one of them to another prefix, or exclude it"
)]
pub struct SchemaConflict {
    /// The file that decides: the one with the smallest key.
    pub reference_key: String,
    /// The file with the smallest key among those that differ from it.
    pub other_key: String,
    /// The column's name in the files.
    pub column: String,
    /// Its type in the first file, or `missing`.
    pub reference_type: String,
    /// Its type in the second file, or `missing`.
    pub other_type: String,
    /// The plain type that takes both, where both files have the column and only it differs.
    pub joined_type: Option<ColumnType>,
}

/// The type that a user could give the column by hand.
fn plain_join(first: &ColumnType, second: &ColumnType) -> Option<ColumnType> {
    let mut types = TypeSet::of(first, &Rank::Key("1".into()));
    types.unite(TypeSet::of(second, &Rank::Key("2".into())));
    let joined = types.joined();
    let nested = matches!(joined, ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map { .. });
    (!nested).then_some(joined)
}

/// Files whose columns have the same names, in any order.
#[derive(Debug)]
struct Group {
    /// [`FileSchema::names`].
    names: u64,
    /// The smallest key of the group, and that file's schema.
    key: Rank,
    schema: FileSchema,
    /// What its files say about each column, in the order of [`sorted_columns`].
    types: Vec<Types>,
    /// Shapes that `types` knows, each with the smallest key that it is known from: most files are of few shapes.
    known: Vec<(u64, Rank)>,
}

/// How many shapes of a group are remembered. More cost time, not correctness: a table has one, or one for each set of
/// columns that happen to be null in a file.
const MAX_KNOWN_SHAPES: usize = 16;

/// What files say about the type of one column: in the order of their ranks those that say more than the ones before, up
/// to the first that does not agree with them. What comes later can't change the outcome, so nothing else is kept.
#[derive(Debug, Default)]
struct Types(Vec<(Rank, FileColumn)>);

impl Types {
    fn add(&mut self, rank: &Rank, column: &FileColumn) {
        match self.0.iter_mut().find(|(_, known)| known.target == column.target) {
            Some((known, _)) if *known <= *rank => return,
            Some(known) => *known = (rank.clone(), column.clone()),
            None => self.0.push((rank.clone(), column.clone())),
        }
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut joined: Option<ColumnType> = None;
        let mut agree = true;
        self.0.retain(|(_, column)| {
            let before = joined.take();
            let after = before.as_ref().map_or_else(|| Some(column.target.clone()), |b| b.join(&column.target));
            let says_more = agree && after != before;
            agree &= after.is_some();
            joined = after.or(before);
            says_more
        });
    }

    /// The type that all agree on.
    ///
    /// # Errors
    /// Two that don't: the later is the first of all that doesn't agree with those before.
    fn joined(&self) -> Result<ColumnType, [&(Rank, FileColumn); 2]> {
        let mut joined = ColumnType::Null;
        for (index, found) in self.0.iter().enumerate() {
            let Some(next) = joined.join(&found.1.target) else {
                let before = &self.0[..index];
                let other = before.iter().find(|(_, column)| column.target.join(&found.1.target).is_none());
                return Err([other.or(before.last()).unwrap_or(found), found]);
            };
            joined = next;
        }
        Ok(joined)
    }
}

/// The columns of a file by name and occurrence, whatever their order in the file.
fn sorted_columns(schema: &FileSchema) -> Vec<&FileColumn> {
    let mut columns: Vec<_> = schema.identities().into_iter().zip(&schema.columns).collect();
    columns.sort_by_key(|(identity, _)| *identity);
    columns.into_iter().map(|(_, column)| column).collect()
}

impl Group {
    fn new(names: u64, rank: Rank, schema: FileSchema) -> Self {
        let types = std::iter::repeat_with(Types::default).take(schema.columns.len()).collect();
        let mut group = Self { names, key: rank.clone(), schema: schema.clone(), types, known: Vec::new() };
        group.add(rank, schema);
        group
    }

    fn add(&mut self, rank: Rank, schema: FileSchema) {
        let shape = schema.shape();
        let room = self.known.len() < MAX_KNOWN_SHAPES;
        match self.known.iter_mut().find(|(known, _)| *known == shape) {
            Some((_, smallest)) if *smallest <= rank => return,
            Some((_, smallest)) => *smallest = rank.clone(),
            None if room => self.known.push((shape, rank.clone())),
            None => {}
        }
        for (types, column) in self.types.iter_mut().zip(sorted_columns(&schema)) {
            types.add(&rank, column);
        }
        if rank < self.key {
            self.key = rank;
            self.schema = schema;
        }
    }
}

/// Takes the schemas of a table's files in any order and decides as if they had come in the order of their keys. Holds
/// a few schemas at most, however many files there are.
#[derive(Debug, Default)]
pub(super) struct Strict {
    /// The groups with the smallest keys, at most [`MAX_GROUPS`]: with two the table is in conflict.
    groups: Vec<Group>,
}

/// The reference and one that differs from it.
const MAX_GROUPS: usize = 2;

/// How a conflict calls a column that a file doesn't have.
const MISSING: &str = "missing";

impl Strict {
    /// A merger without files.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A merger for a table that has a schema already, set by the file `key`: new files are compared with it.
    pub(super) fn with_reference(key: &str, schema: &TableSchema) -> Self {
        let mut merger = Self::default();
        merger.insert(Rank::Given(key.into()), schema.to_file());
        merger
    }

    /// The key of the file that decides about names and order. `None` when no file was added.
    pub(super) fn reference_key(&self) -> Option<&str> {
        self.groups.first().map(|group| group.key.key())
    }

    /// Adds the file `key`.
    pub(super) fn add(&mut self, key: &str, schema: FileSchema) {
        self.insert(Rank::Key(key.into()), schema);
    }

    fn insert(&mut self, rank: Rank, schema: FileSchema) {
        let names = schema.names();
        match self.groups.iter_mut().find(|group| group.names == names) {
            Some(group) => group.add(rank, schema),
            None => self.groups.push(Group::new(names, rank, schema)),
        }
        self.groups.sort_by(|a, b| a.key.cmp(&b.key));
        self.groups.truncate(MAX_GROUPS);
    }

    /// Whether no file was added.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The table's schema; `None` when no file was added. A column that is null by its type in some files has the type
    /// that it has in others.
    ///
    /// # Errors
    /// [`SchemaConflict`], when the files don't agree.
    pub(super) fn finish(self) -> Result<Option<TableSchema>, SchemaConflict> {
        let mut groups = self.groups.into_iter();
        let Some(Group { key, mut schema, types, .. }) = groups.next() else { return Ok(None) };
        let mut positions: Vec<usize> = (0..schema.columns.len()).collect();
        let identities = schema.identities();
        positions.sort_by_key(|position| identities[*position]);
        let mut conflicts = Vec::new();
        for (types, position) in types.iter().zip(positions) {
            match types.joined() {
                Ok(joined) => schema.columns[position].target = joined.settled(),
                Err(files) => conflicts.push((&files[1].0, position, files)),
            }
        }
        // Of files that differ the one with the smallest key is named, and its first column that does.
        let conflicts_of_types = conflicts.len();
        let of_types = conflicts.into_iter().min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let of_names = groups.next();
        match (of_types, of_names) {
            (Some((rank, _, [(first, a), (second, b)])), other) if other.as_ref().is_none_or(|o| *rank < o.key) => {
                Err(SchemaConflict {
                    reference_key: first.key().to_owned(),
                    other_key: second.key().to_owned(),
                    column: a.name.clone(),
                    reference_type: a.source.clone(),
                    other_type: b.source.clone(),
                    joined_type: (conflicts_of_types == 1 && other.is_none())
                        .then(|| plain_join(&a.target, &b.target))
                        .flatten(),
                })
            }
            (_, Some(other)) => Err(conflict(&key, &schema, &other)),
            _ => Ok(Some(TableSchema::from_file(&schema))),
        }
    }
}

/// Of two files with other columns.
fn conflict(key: &Rank, reference: &FileSchema, other: &Group) -> SchemaConflict {
    let index = |schema: &FileSchema| -> HashMap<(String, usize), usize> {
        let identities = schema.identities().into_iter().enumerate();
        identities.map(|(i, (name, n))| ((name.to_owned(), n), i)).collect()
    };
    let (in_reference, in_other) = (index(reference), index(&other.schema));
    let differs = |(name, n): (&str, usize)| {
        let identity = (name.to_owned(), n);
        let first = in_reference.get(&identity).map(|i| &reference.columns[*i]);
        let second = in_other.get(&identity).map(|i| &other.schema.columns[*i]);
        let same = first.zip(second).is_some_and(|(first, second)| first.target.join(&second.target).is_some());
        let text = |column: Option<&FileColumn>| column.map_or(MISSING.into(), |c| c.source.clone());
        (!same).then(|| (name.to_owned(), text(first), text(second)))
    };
    let all = reference.identities().into_iter().chain(other.schema.identities());
    let found = all.into_iter().find_map(differs);
    // Groups have other names; only a collision of their hashes could say otherwise.
    let (column, reference_type, other_type) = found.unwrap_or_default();
    SchemaConflict {
        reference_key: key.key().to_owned(),
        other_key: other.key.key().to_owned(),
        column,
        reference_type,
        other_type,
        joined_type: None,
    }
}

#[cfg(test)]
mod tests;
