//! Which of a file's columns is which of the table's. By default a file must have exactly the table's columns, but for those
//! that the rules leave out, of types that can become the table's. Files of a merged table may differ: what they lack is null,
//! values of other types are converted, and what has no place in the table may be rescued.

use super::by_hand::{Conversion, label};
use super::field::FileField;
use super::names::{CQ_ID, fold};
use super::rules::{ColumnRules, Others};
use super::table::{ColumnSource, TableSchema};
use super::types::ColumnType;
use crate::config::NestedAs;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What one file has of a table's columns.
#[derive(Debug)]
pub(crate) struct Fit {
    /// The table's columns, in its order.
    pub(crate) columns: Vec<Fitted>,
    /// Columns of the file that have no place in the table and go into the rescue column.
    pub(crate) others: Vec<FileColumnAt>,
    /// Where the rows have their own ids, if they have them in the file.
    pub(crate) ids: Option<IdColumns>,
}

/// Columns of a file with the ids of its rows.
#[derive(Debug)]
pub(crate) struct IdColumns {
    /// Of the rows themselves.
    pub(crate) id: FileColumnAt,
    /// Of their parents.
    pub(crate) parent: Option<FileColumnAt>,
}

impl Fit {
    /// The columns of the file that are read.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &FileField> {
        let columns = self.columns.iter().filter_map(Fitted::file).map(|column| &column.from);
        let ids = self.ids.iter().flat_map(|ids| std::iter::once(&ids.id).chain(&ids.parent));
        columns.chain(&self.others).chain(ids).map(|column| &column.field)
    }

    /// How many columns are converted or rescued.
    pub(crate) fn converted(&self) -> u64 {
        let converted = self.columns.iter().filter_map(Fitted::file).filter(|column| column.converts).count();
        (converted + self.others.len()) as u64
    }
}

/// One of the table's columns, and where its values come from for one file.
#[derive(Debug)]
pub(crate) enum Fitted {
    /// A column of the file.
    File(FittedColumn),
    /// The object's key, which has a value of this name, or else null.
    Key {
        /// The folded name by which the key's values are found.
        ident: String,
        /// The outgoing type.
        target: ColumnType,
    },
    /// Nothing: the file lacks the column.
    Null(ColumnType),
    /// What fits nowhere else.
    Rescue,
}

impl Fitted {
    /// The column of the file, if it is one.
    pub(crate) fn file(&self) -> Option<&FittedColumn> {
        match self {
            Self::File(column) => Some(column),
            Self::Key { .. } | Self::Null(_) | Self::Rescue => None,
        }
    }
}

/// A column of a file that is one of the table's.
#[derive(Debug)]
pub(crate) struct FittedColumn {
    /// The column in the file.
    pub(crate) from: FileColumnAt,
    /// The outgoing type.
    pub(crate) target: ColumnType,
    /// The type is another one than the file's: values are converted, and may not fit.
    pub(crate) converts: bool,
    /// How they are converted, where the type is told.
    pub(crate) told: Option<Arc<Conversion>>,
}

/// A column of a file, and where readers have it.
#[derive(Debug, Clone)]
pub(crate) struct FileColumnAt {
    pub(crate) field: FileField,
    /// Its index among the columns of exactly that name.
    pub(crate) occurrence: usize,
    /// Its index among the file's columns that are read.
    pub(crate) index: usize,
    /// Its index among those that are read twice, if it is one.
    pub(crate) second: Option<usize>,
}

impl FileColumnAt {
    /// What messages and the rescue column call it: its name in the file, the second `x` being `x#2`.
    pub(crate) fn label(&self) -> String {
        label(&self.field.name, self.occurrence).into_owned()
    }
}

/// A file's columns are not the table's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The column's name in the file.
    pub(crate) column: String,
    /// What differs.
    pub(crate) what: String,
}

impl Misfit {
    /// A file whose rows should have their ids in it.
    pub(super) fn without_id() -> Self {
        let what = "the file has none, and with cq_columns: restore the ids of rows are taken from it".to_owned();
        Self { column: CQ_ID.to_owned(), what }
    }
}

/// Columns of a file by name and occurrence.
type Found<'a> = HashMap<(&'a str, usize), FileColumnAt>;

/// Finds each of the table's columns in the file, in the table's order, by the rules.
pub(crate) fn fit(table: &TableSchema, fields: &[FileField], rules: &ColumnRules) -> Result<Fit, Misfit> {
    let Columns { mut found, shared, ids } = Columns::of(fields, rules);
    let ids = id_columns(ids, rules)?;
    let renamed = rules.merges.as_ref().map(|_| renamed(table, &found)).unwrap_or_default();
    let mut columns = Vec::with_capacity(table.columns().len());
    for column in table.columns() {
        let target = column.column_type.clone();
        let (name, occurrence) = match &column.source {
            ColumnSource::Key { name } => {
                columns.push(fit_shared(name, target, &shared));
                continue;
            }
            ColumnSource::File { name, .. } if rules.hides(name) => {
                columns.push(fit_shared(name, target, &shared));
                continue;
            }
            ColumnSource::File { name, occurrence } => (name.as_str(), *occurrence),
            ColumnSource::Rescue => {
                columns.push(Fitted::Rescue);
                continue;
            }
        };
        let identity = renamed.get(&(name, occurrence)).copied().unwrap_or(name);
        let fitted = match found.remove(&(identity, occurrence)) {
            Some(from) => Fitted::File(fit_column(from, target, rules)?),
            None if rules.merges.is_some() || rules.is_told(name, occurrence) => Fitted::Null(target),
            None => return Err(Misfit { column: name.to_owned(), what: "it is missing in this file".into() }),
        };
        columns.push(fitted);
    }
    let mut others: Vec<FileColumnAt> = found.into_values().collect();
    others.sort_by_key(|column| column.index);
    match rules.merges.as_ref().map(|merges| merges.others) {
        Some(Others::Rescued) => {}
        Some(Others::LeftOut) => others.clear(),
        None => {
            if let Some(column) = others.into_iter().min_by(|a, b| a.field.name.cmp(&b.field.name)) {
                return Err(Misfit { column: column.field.name, what: "the table does not have it".into() });
            }
            others = Vec::new();
        }
    }
    Ok(Fit { columns, others, ids })
}

/// A file's columns, by what becomes of them; those that the rules leave out are missing.
struct Columns<'a> {
    /// Those of the table.
    found: Found<'a>,
    /// Those that stand in for values of the key.
    shared: Vec<FileColumnAt>,
    /// Those that have ids of rows.
    ids: Vec<FileColumnAt>,
}

impl<'a> Columns<'a> {
    fn of(fields: &'a [FileField], rules: &ColumnRules) -> Self {
        let mut columns = Self { found: HashMap::new(), shared: Vec::new(), ids: Vec::new() };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let (mut in_main, mut in_second) = (0, 0);
        for field in fields {
            let seen = seen.entry(&field.name).or_default();
            let occurrence = *seen;
            *seen += 1;
            if !rules.reads(&field.name, occurrence) {
                continue;
            }
            let index = in_main;
            in_main += 1;
            let second = field.read_twice().then(|| {
                in_second += 1;
                in_second - 1
            });
            let column = FileColumnAt { field: field.clone(), occurrence, index, second };
            if rules.keeps(&field.name, occurrence) {
                columns.found.insert((field.name.as_str(), occurrence), column);
            } else if rules.stands_in(&field.name) {
                columns.shared.push(column);
            } else {
                columns.ids.push(column);
            }
        }
        columns
    }
}

/// A column that the key and files may have: the file's, where it is to be taken and there, or else what the key says.
fn fit_shared(name: &str, target: ColumnType, shared: &[FileColumnAt]) -> Fitted {
    let ident = fold(name);
    match shared.iter().find(|column| fold(&column.field.name) == ident) {
        Some(from) => {
            let converts = converts(&from.field, &target);
            // Text is read as the key's is.
            let is_text = from.field.is_text() || Conversion::from(&from.field) == ColumnType::Utf8;
            let is_text = is_text && target != ColumnType::Json;
            let told = (converts && is_text).then(|| Arc::new(Conversion::to(target.clone())));
            Fitted::File(FittedColumn { from: from.clone(), target, converts, told })
        }
        None => Fitted::Key { ident, target },
    }
}

/// The columns with ids of rows, where the rules take them from files.
fn id_columns(ids: Vec<FileColumnAt>, rules: &ColumnRules) -> Result<Option<IdColumns>, Misfit> {
    if !rules.restores_ids() {
        return Ok(None);
    }
    let (mut id, mut parent) = (None, None);
    for column in ids {
        rules.check_id(&column.field.name, &Conversion::from(&column.field))?;
        if column.field.name == CQ_ID { id = Some(column) } else { parent = Some(column) }
    }
    let id = id.ok_or_else(Misfit::without_id)?;
    Ok(Some(IdColumns { id, parent }))
}

fn fit_column(from: FileColumnAt, target: ColumnType, rules: &ColumnRules) -> Result<FittedColumn, Misfit> {
    let as_json = Conversion::from(&from.field);
    if let Some(conversion) = rules.conversion(&from.field.name, from.occurrence, &as_json)
        && conversion.target == target
    {
        if let Some(what) = conversion.refuses(&as_json) {
            return Err(Misfit { column: from.label(), what });
        }
        let converts = !conversion.changes_nothing(&as_json);
        // What is not text becomes JSON as it does in JSON.
        let as_text = from.field.is_text()
            || target != ColumnType::Json
            || matches!(as_json, ColumnType::Utf8 | ColumnType::Binary);
        let told = (converts && as_text).then(|| Arc::clone(conversion));
        return Ok(FittedColumn { from, target, converts, told });
    }
    let converts = converts(&from.field, &target);
    if converts && rules.merges.is_none() && !from.field.is_text() {
        let own = from.field.target_as(NestedAs::Native);
        return Err(Misfit {
            column: from.field.name,
            what: format!("it is {own} in this file, {target} in the table"),
        });
    }
    Ok(FittedColumn { from, target, converts, told: None })
}

/// Whether a column's values are no values of the table's type as they are. That type tells how nested values travel: what can
/// become it may. Texts of files of text are always read as what the table has.
fn converts(field: &FileField, target: &ColumnType) -> bool {
    let fits = || field.target_as(NestedAs::Native).fits(target) || field.target_as(NestedAs::Json).fits(target);
    field.is_text() || !fits()
}

/// Columns of the table that the file has with a name in another case: what the file calls them. Only where neither of the
/// two has several names that differ in nothing but case.
fn renamed<'t, 'f>(table: &'t TableSchema, found: &Found<'f>) -> BTreeMap<(&'t str, usize), &'f str> {
    let of_table = table.columns().iter().filter_map(|column| match &column.source {
        ColumnSource::File { name, occurrence } => Some((name.as_str(), *occurrence)),
        ColumnSource::Key { .. } | ColumnSource::Rescue => None,
    });
    let missing: Vec<_> = of_table.clone().filter(|identity| !found.contains_key(identity)).collect();
    if missing.is_empty() {
        return BTreeMap::new();
    }
    let table_names = by_folded(of_table.map(|(name, _)| name));
    let file_names = by_folded(found.keys().map(|(name, _)| *name));
    let mut renamed = BTreeMap::new();
    for (name, occurrence) in missing {
        let folded = fold(name);
        let only = |names: &BTreeMap<String, Vec<&'f str>>| names.get(&folded).filter(|n| n.len() == 1).map(|n| n[0]);
        if table_names.get(&folded).is_some_and(|names| names.len() == 1)
            && let Some(in_file) = only(&file_names)
        {
            renamed.insert((name, occurrence), in_file);
        }
    }
    renamed
}

/// Different names, by what they are in lower case.
fn by_folded<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<&'a str>> {
    let mut folded: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in names {
        let known = folded.entry(fold(name)).or_default();
        if !known.contains(&name) {
            known.push(name);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::field::{FieldKind, Reading};
    use crate::schema::rules::Merges;
    use crate::schema::table::TableColumn;
    use crate::schema::text_forms::TextReading;
    use arrow::datatypes::DataType;

    fn field(name: &str, arrow: DataType) -> FileField {
        let kind = FieldKind::Leaf { arrow, reading: Reading::Plain };
        FileField { name: name.to_owned(), nullable: true, kind, leaves: 0..1 }
    }

    fn table(names: &[&str]) -> TableSchema {
        let column = |name: &&str| TableColumn {
            source: ColumnSource::File { name: (*name).to_owned(), occurrence: 0 },
            name: (*name).to_owned(),
            column_type: ColumnType::Int64,
        };
        let mut columns: Vec<TableColumn> = names.iter().map(column).collect();
        columns.push(TableColumn::rescue("_s3_rescued"));
        TableSchema::from_columns(columns)
    }

    fn merging(others: Others) -> ColumnRules {
        let mut rules = ColumnRules::default();
        rules.merges = Some(Merges { others });
        rules
    }

    /// What each column is, in a word.
    fn told(fit: &Fit) -> Vec<String> {
        let columns = fit.columns.iter().map(|column| match column {
            Fitted::File(column) => format!("{}{}", column.from.index, if column.converts { "!" } else { "" }),
            Fitted::Key { ident, .. } => ident.clone(),
            Fitted::Null(_) => "null".to_owned(),
            Fitted::Rescue => "rescue".to_owned(),
        });
        columns.chain(fit.others.iter().map(|other| format!("+{}", other.label()))).collect()
    }

    #[test]
    fn files_of_a_merged_table_may_differ() {
        let fields = [
            field("z", DataType::Utf8),
            field("B", DataType::Int64),
            field("c", DataType::Utf8),
            field("z", DataType::Int64),
        ];
        let told_with = |others| told(&fit(&table(&["a", "b", "c"]), &fields, &merging(others)).unwrap());
        assert_eq!(told_with(Others::Rescued), ["null", "1", "2!", "rescue", "+z", "+z#2"]);
        assert_eq!(told_with(Others::LeftOut), ["null", "1", "2!", "rescue"]);
    }

    /// Texts are no type of the table's, and become any of them, whether or not files may differ.
    #[test]
    fn texts_of_files_of_text_are_always_converted() {
        let reading = || TextReading::Csv(Arc::default());
        let fields = [FileField::of_text("a".to_owned(), reading(), None)];
        for rules in [ColumnRules::default(), merging(Others::Rescued)] {
            let fitted = fit(&table(&["a"]), &fields, &rules).unwrap();
            assert_eq!(told(&fitted), ["0!", "rescue"]);
            assert_eq!(fitted.columns[0].file().unwrap().told, None);
        }
        let restored = [("a".to_owned(), ColumnType::Int64)];
        let fitted = fit(&table(&["a"]), &fields, &ColumnRules::default().restoring(restored)).unwrap();
        assert_eq!(told(&fitted), ["0!", "rescue"]);
        assert_eq!(fitted.columns[0].file().unwrap().told.as_ref().unwrap().target, ColumnType::Int64);
    }

    #[test]
    fn names_in_another_case_are_the_same_unless_there_are_both() {
        let rules = merging(Others::Rescued);
        let told = |names: &[&str], fields: &[&str]| {
            let fields: Vec<FileField> = fields.iter().map(|name| field(name, DataType::Int64)).collect();
            told(&fit(&table(names), &fields, &rules).unwrap())
        };
        assert_eq!(told(&["id"], &["ID"]), ["0", "rescue"]);
        assert_eq!(told(&["id"], &["ID", "id"]), ["1", "rescue", "+ID"]);
        assert_eq!(told(&["id", "ID"], &["Id"]), ["null", "null", "rescue", "+Id"]);
        assert_eq!(told(&["id", "ID"], &["ID"]), ["null", "0", "rescue"]);
        assert_eq!(told(&["id"], &["ID", "Id"]), ["null", "rescue", "+ID", "+Id"]);
    }
}
