//! The one place that decides a table's schema from the schemas of its files. All files must agree about names and types,
//! except that a column which is null by its type in one file has the type that it has in another. Merging and widening
//! would go here.

use super::file::{FileColumn, FileSchema};
use super::table::TableSchema;
use super::types::ColumnType;
use std::collections::HashMap;
use std::sync::Arc;

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

/// A file's place in the order that decides: the one whose schema was given, then by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Given(Arc<str>),
    Key(Arc<str>),
}

impl Rank {
    fn key(&self) -> &str {
        match self {
            Self::Given(key) | Self::Key(key) => key,
        }
    }
}

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
pub struct SchemaMerger {
    /// The groups with the smallest keys, at most [`MAX_GROUPS`]: with two the table is in conflict.
    groups: Vec<Group>,
}

/// The reference and one that differs from it.
const MAX_GROUPS: usize = 2;

/// How a conflict calls a column that a file doesn't have.
const MISSING: &str = "missing";

impl SchemaMerger {
    /// A merger without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// A merger for a table that has a schema already, set by the file `key`: new files are compared with it.
    pub fn with_reference(key: &str, schema: &TableSchema) -> Self {
        let mut merger = Self::default();
        merger.insert(Rank::Given(key.into()), schema.to_file());
        merger
    }

    /// The key of the file that decides about names and order. `None` when no file was added.
    pub fn reference_key(&self) -> Option<&str> {
        self.groups.first().map(|group| group.key.key())
    }

    /// Adds the file `key`.
    pub fn add(&mut self, key: &str, schema: FileSchema) {
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
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The table's schema; `None` when no file was added. A column that is null by its type in some files has the type
    /// that it has in others.
    ///
    /// # Errors
    /// [`SchemaConflict`], when the files don't agree.
    pub fn finish(self) -> Result<Option<TableSchema>, SchemaConflict> {
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
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{ColumnSource, TableColumn};
    use super::*;
    use arrow::datatypes::DataType;
    use proptest::prelude::*;

    fn of_file(name: &str) -> ColumnSource {
        ColumnSource::File { name: name.to_owned(), occurrence: 0 }
    }

    fn file(columns: &[(&str, ColumnType)]) -> FileSchema {
        let column = |(name, target): &(&str, ColumnType)| FileColumn {
            name: (*name).to_owned(),
            target: target.clone(),
            source: format!("source {target}"),
        };
        FileSchema { columns: columns.iter().map(column).collect() }
    }

    fn merge(files: &[(&str, FileSchema)]) -> Result<Option<TableSchema>, SchemaConflict> {
        let mut merger = SchemaMerger::new();
        for (key, schema) in files {
            merger.add(key, schema.clone());
        }
        merger.finish()
    }

    #[test]
    fn order_of_the_first_key_and_all_nullable() {
        let a = file(&[("x", ColumnType::Int64), ("y", ColumnType::Utf8), ("X", ColumnType::Json)]);
        let b = file(&[("y", ColumnType::Utf8), ("X", ColumnType::Json), ("x", ColumnType::Int64)]);
        let schema = merge(&[("k2", b), ("k1", a)]).unwrap().unwrap();
        let fields: Vec<_> = schema.arrow().fields().iter().map(|f| (f.name().as_str(), f.is_nullable())).collect();
        let expected = [("_cq_id", false), ("_cq_parent_id", true), ("x", true), ("y", true), ("X_2", true)];
        assert_eq!(fields, expected);
        assert_eq!(schema.columns()[2].source, ColumnSource::File { name: "X".to_owned(), occurrence: 0 });
        assert_eq!(schema.arrow().field(4).data_type(), &DataType::Binary);
    }

    #[test]
    fn conflicts_name_both_files_column_and_types() {
        let a = file(&[("x", ColumnType::Int64)]);
        let b = file(&[("x", ColumnType::Utf8)]);
        let c = file(&[("x", ColumnType::Int64), ("z", ColumnType::Date32)]);
        let conflict = merge(&[("k3", c.clone()), ("k2", b), ("k1", a.clone())]).unwrap_err();
        assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k1", "k2"));
        assert_eq!(
            (conflict.column.as_str(), conflict.reference_type.as_str(), conflict.other_type.as_str()),
            ("x", "source int64", "source utf8")
        );
        let conflict = merge(&[("k1", a.clone()), ("k2", c.clone())]).unwrap_err();
        assert_eq!((conflict.column.as_str(), conflict.reference_type.as_str()), ("z", "missing"));
        let conflict = merge(&[("k1", c), ("k2", a)]).unwrap_err();
        assert_eq!((conflict.column.as_str(), conflict.other_type.as_str()), ("z", "missing"));
        assert!(conflict.to_string().contains("\"k1\" and \"k2\""), "{conflict}");
    }

    /// Columns that are null by type take the type of the others, in whatever order the files come.
    #[test]
    fn null_types_agree_with_every_type() {
        let list = |item| ColumnType::List(Box::new(item));
        let of = |x: ColumnType, y: ColumnType| file(&[("x", x), ("y", y)]);
        let files = [
            ("k1", of(ColumnType::Null, list(ColumnType::Null))),
            ("k2", of(ColumnType::Int64, list(ColumnType::Null))),
            ("k3", of(ColumnType::Null, ColumnType::Json)),
            ("k4", of(ColumnType::Int64, ColumnType::Null)),
        ];
        let expected = Ok(Some(TableSchema::from_columns(vec![
            TableColumn { source: of_file("x"), name: "x".into(), column_type: ColumnType::Int64 },
            TableColumn { source: of_file("y"), name: "y".into(), column_type: ColumnType::Json },
        ])));
        for turn in 0..4 {
            let mut files = files.clone();
            files.rotate_left(turn);
            assert_eq!(merge(&files), expected);
            files.reverse();
            assert_eq!(merge(&files), expected);
        }
        // Two that say other types don't agree, and are the ones that are named.
        let conflict = merge(&[files.as_slice(), &[("k0", of(ColumnType::Null, list(ColumnType::Utf8)))]].concat());
        let conflict = conflict.unwrap_err();
        assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k0", "k3"));
        assert_eq!(
            (conflict.reference_type.as_str(), conflict.other_type.as_str()),
            ("source list<utf8>", "source json")
        );
        // No sample has a type: text.
        let schema = merge(&files[..1]).unwrap().unwrap();
        let types: Vec<String> = schema.columns().iter().map(|column| column.column_type.to_string()).collect();
        assert_eq!(types, ["utf8", "list<utf8>"]);
    }

    #[test]
    fn null_types_agree_with_a_given_schema() {
        let schema = merge(&[("k5", file(&[("x", ColumnType::Int64)]))]).unwrap().unwrap();
        let with = |x: ColumnType| {
            let mut merger = SchemaMerger::with_reference("k5", &schema);
            merger.add("k1", file(&[("x", ColumnType::Null)]));
            merger.add("k2", file(&[("x", x)]));
            merger.finish()
        };
        assert_eq!(with(ColumnType::Null), Ok(Some(schema.clone())));
        assert_eq!(with(ColumnType::Int64), Ok(Some(schema.clone())));
        let conflict = with(ColumnType::Utf8).unwrap_err();
        assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k5", "k2"));
    }

    #[test]
    fn nothing_added_is_no_schema() {
        assert!(SchemaMerger::new().is_empty());
        assert_eq!(SchemaMerger::new().finish(), Ok(None));
    }

    #[test]
    fn a_given_schema_decides_against_smaller_keys() {
        let old = file(&[("x", ColumnType::Int64), ("X", ColumnType::Utf8)]);
        let schema = merge(&[("k5", old.clone())]).unwrap().unwrap();
        let with = |files: &[(&str, FileSchema)]| {
            let mut merger = SchemaMerger::with_reference("k5", &schema);
            files.iter().for_each(|(key, schema)| merger.add(key, schema.clone()));
            assert_eq!(merger.reference_key(), Some("k5"));
            merger.finish()
        };
        assert_eq!(with(&[]).unwrap().unwrap(), schema);
        let swapped = file(&[("X", ColumnType::Utf8), ("x", ColumnType::Int64)]);
        let merged = with(&[("k1", swapped.clone())]).unwrap().unwrap();
        assert_eq!(merged, schema, "the order stays");
        // Without a given schema the first file decides about order and names.
        let merged = merge(&[("k1", swapped)]).unwrap().unwrap();
        let names: Vec<&str> = merged.columns().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["X", "x_2"]);
        let other = |column_type| file(&[("x", column_type), ("X", ColumnType::Utf8)]);
        let conflict = with(&[("k3", other(ColumnType::Date32)), ("k2", other(ColumnType::Json)), ("k1", old)]);
        let conflict = conflict.unwrap_err();
        assert_eq!((conflict.reference_key.as_str(), conflict.other_key.as_str()), ("k5", "k2"));
        assert_eq!((conflict.reference_type.as_str(), conflict.other_type.as_str()), ("int64", "source json"));
    }

    #[test]
    fn columns_of_one_name_are_told_apart() {
        let twice = file(&[("x", ColumnType::Int64), ("x", ColumnType::Utf8)]);
        let schema = merge(&[("k", twice.clone())]).unwrap().unwrap();
        assert_eq!(schema.columns()[1].name, "x_2");
        assert_eq!(schema.columns()[1].source, ColumnSource::File { name: "x".to_owned(), occurrence: 1 });
        let swapped = file(&[("x", ColumnType::Utf8), ("x", ColumnType::Int64)]);
        assert!(merge(&[("k", twice), ("l", swapped)]).is_err());
    }

    /// Frozen: a hash of one release is compared with that of another.
    #[test]
    fn golden_shape() {
        let a = file(&[("x", ColumnType::List(Box::new(ColumnType::Uuid))), ("y", ColumnType::Utf8)]);
        let b = file(&[("y", ColumnType::Utf8), ("x", ColumnType::List(Box::new(ColumnType::Uuid)))]);
        assert_eq!(a.shape(), b.shape());
        let other = file(&[("x", ColumnType::List(Box::new(ColumnType::Utf8))), ("y", ColumnType::Utf8)]);
        assert_ne!(a.shape(), other.shape());
        assert_eq!(format!("{:016x}", a.shape()), GOLDEN_SHAPE);
    }

    const GOLDEN_SHAPE: &str = "e075b06cdbd1b9a6";

    proptest! {
        #[test]
        fn arrival_order_does_not_matter(
            picks in prop::collection::vec((0usize..9, 0u8..8), 1..8),
            seed in any::<u64>(),
        ) {
            let shapes = [
                file(&[("x", ColumnType::Int64), ("y", ColumnType::Utf8)]),
                file(&[("y", ColumnType::Utf8), ("x", ColumnType::Int64)]),
                file(&[("x", ColumnType::Int64)]),
                file(&[("x", ColumnType::Boolean), ("y", ColumnType::Utf8)]),
                file(&[("x", ColumnType::Null), ("y", ColumnType::Utf8)]),
                file(&[("x", ColumnType::Int64), ("y", ColumnType::Null)]),
                file(&[("x", ColumnType::List(Box::new(ColumnType::Null))), ("y", ColumnType::Null)]),
                file(&[("x", ColumnType::List(Box::new(ColumnType::Int8))), ("y", ColumnType::Utf8)]),
                file(&[("x", ColumnType::Json), ("y", ColumnType::Int8)]),
            ];
            let mut files: Vec<(String, FileSchema)> =
                picks.iter().enumerate().map(|(i, (shape, k))| (format!("{k}-{i}"), shapes[*shape].clone())).collect();
            let merge = |files: &[(String, FileSchema)]| {
                let mut merger = SchemaMerger::new();
                files.iter().for_each(|(key, schema)| merger.add(key, schema.clone()));
                merger.finish()
            };
            files.sort_by(|a, b| a.0.cmp(&b.0));
            let sorted = merge(&files);
            let turn = usize::try_from(seed % 8).unwrap() % files.len();
            files.rotate_left(turn);
            if seed % 2 == 0 { files.reverse(); }
            prop_assert_eq!(merge(&files), sorted);
        }
    }
}
