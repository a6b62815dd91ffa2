//! What a table makes of the columns of its files before they are compared: which of them are left out, which have other types
//! than the files say; and whether files may differ from the table.

use super::by_hand::{ByHand, Conversion, label};
use super::file::{FileColumn, FileSchema};
use super::fit::Misfit;
use super::names::{CQ_ID, CQ_PARENT_ID, fold, is_reserved};
use super::table::{ColumnSource, TableColumn, TableSchema, give_name};
use super::types::ColumnType;
use crate::config::{CqColumns, NewColumns, OnMismatch, SchemaOptions, TableOptions};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Which of the files' columns belong to the table; by default all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ColumnRules {
    /// Names that columns of the key have, folded: columns of files that are called so are left out.
    hidden: BTreeSet<String>,
    /// Those of them of which this file's columns stand in for values of the key.
    standing_in: BTreeSet<String>,
    /// How files may differ from the table; `None`: not at all.
    pub(crate) merges: Option<Merges>,
    /// What becomes of values that their columns cannot hold.
    pub(crate) on_mismatch: OnMismatch,
    /// What the spec says of single columns.
    by_hand: ByHand,
    /// What becomes of columns that are called `_cq_…`.
    cq_columns: CqColumns,
    /// Types that columns of text get back, by what the spec calls the columns.
    restored: BTreeMap<String, Arc<Conversion>>,
    /// The order of columns, by what the spec calls them; those that it lacks come behind, CloudQuery's own before.
    order: Vec<String>,
    /// The only columns that are read, by what the spec calls them; `None`: all.
    only: Option<BTreeSet<String>>,
    /// The name of the column of what fits nowhere else, where types are told.
    rescue_column: Option<String>,
}

/// How files of a merged table may differ from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merges {
    /// What becomes of columns that have no place in the table.
    pub(crate) others: Others,
}

/// What becomes of a file's columns that have no place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// Their values go into the rescue column; without one, the way of [`OnMismatch`].
    Rescued,
    /// They are not looked at.
    LeftOut,
}

impl Merges {
    /// By the spec's choices; `None`: all files must agree.
    pub(crate) fn of(options: &SchemaOptions) -> Option<Self> {
        if !options.merges() {
            return None;
        }
        let others = if options.new_columns == NewColumns::Ignore { Others::LeftOut } else { Others::Rescued };
        Some(Self { others })
    }
}

impl ColumnRules {
    /// By the spec's choices for a table.
    pub(crate) fn new(options: &TableOptions) -> Self {
        Self {
            by_hand: ByHand::new(&options.columns),
            cq_columns: options.cq_columns,
            rescue_column: options.schema.named_rescue_column().map(str::to_owned),
            ..Self::default().merging(&options.schema)
        }
    }

    /// For a look at these columns alone: files may lack them, and may have them with any type.
    pub(crate) fn only(labels: impl IntoIterator<Item = String>) -> Self {
        Self {
            only: Some(labels.into_iter().collect()),
            merges: Some(Merges { others: Others::LeftOut }),
            on_mismatch: OnMismatch::Null,
            ..Self::default()
        }
    }

    /// Leaves out columns of this name, whatever its case.
    #[must_use]
    pub(crate) fn hiding(mut self, name: &str) -> Self {
        self.hidden.insert(fold(name));
        self
    }

    /// Takes a file's columns of these folded names, which are hidden, where the key says nothing that counts.
    #[must_use]
    pub(crate) fn with_stand_ins(mut self, idents: BTreeSet<String>) -> Self {
        self.standing_in = idents;
        self
    }

    /// Whether the key may have this column, too.
    pub(crate) fn hides(&self, name: &str) -> bool {
        !self.hidden.is_empty() && self.hidden.contains(&fold(name))
    }

    /// Whether a column of a file stands in for values of the key.
    pub(crate) fn stands_in(&self, name: &str) -> bool {
        !self.standing_in.is_empty() && self.standing_in.contains(&fold(name))
    }

    /// Lets files differ from the table.
    #[must_use]
    pub(crate) fn merging(mut self, options: &SchemaOptions) -> Self {
        self.merges = Merges::of(options);
        self.on_mismatch = options.on_mismatch;
        self
    }

    /// Gives columns of text these types back, by what the spec calls the columns; types that are set by hand stay.
    #[must_use]
    pub(crate) fn restoring(mut self, types: impl IntoIterator<Item = (String, ColumnType)>) -> Self {
        let conversion = |(label, target)| (label, Arc::new(Conversion::back_to(target)));
        self.restored.extend(types.into_iter().map(conversion));
        self
    }

    /// Brings the columns of a table into this order.
    #[must_use]
    pub(crate) fn ordered(mut self, labels: Vec<String>) -> Self {
        self.order = labels;
        self
    }

    /// The place of a column in that order.
    fn place(&self, column: &TableColumn) -> usize {
        let (name, occurrence) = match &column.source {
            ColumnSource::File { name, occurrence } => (name, occurrence),
            ColumnSource::Key { .. } => return 0,
            ColumnSource::Rescue => return usize::MAX,
        };
        let label = label(name, *occurrence);
        match self.order.iter().position(|known| *known == label) {
            Some(position) => position + 1,
            None if is_reserved(name) => 0,
            None => usize::MAX,
        }
    }

    /// Whether a column of a file belongs to the table: its name there, and its index among those of exactly that name.
    pub(crate) fn keeps(&self, name: &str, occurrence: usize) -> bool {
        if self.is_id(name, occurrence) || self.hides(name) {
            return false;
        }
        if self.only.as_ref().is_some_and(|only| !only.contains(label(name, occurrence).as_ref())) {
            return false;
        }
        match self.by_hand.get(name, occurrence) {
            Some(choice) => !choice.drop,
            None => self.cq_columns != CqColumns::Drop || !is_reserved(name),
        }
    }

    /// Whether a column of a file is read at all.
    pub(crate) fn reads(&self, name: &str, occurrence: usize) -> bool {
        self.keeps(name, occurrence) || self.is_id(name, occurrence) || (occurrence == 0 && self.stands_in(name))
    }

    /// Whether rows have their own ids in files.
    pub(crate) fn restores_ids(&self) -> bool {
        self.cq_columns == CqColumns::Restore
    }

    /// Whether a column of a file has ids of the rows or of their parents.
    fn is_id(&self, name: &str, occurrence: usize) -> bool {
        self.restores_ids() && occurrence == 0 && (name == CQ_ID || name == CQ_PARENT_ID)
    }

    /// Whether a column of the type `own` may have ids.
    pub(super) fn check_id(&self, name: &str, own: &ColumnType) -> Result<(), Misfit> {
        if matches!(own, ColumnType::Utf8 | ColumnType::Binary | ColumnType::Uuid | ColumnType::Null) {
            return Ok(());
        }
        let what = format!("it is {own} in this file, and with cq_columns: restore it must have uuids");
        Err(Misfit { column: name.to_owned(), what })
    }

    /// The type that is told of a column of a file, and how its values become of it; `own` is the type that the file says,
    /// where nested values are JSON.
    pub(crate) fn conversion(&self, name: &str, occurrence: usize, own: &ColumnType) -> Option<&Arc<Conversion>> {
        match self.by_hand.get(name, occurrence) {
            Some(choice) if choice.conversion.is_some() => choice.conversion.as_ref(),
            _ if self.restored.is_empty() => None,
            _ => {
                let restored = self.restored.get(label(name, occurrence).as_ref());
                restored.filter(|conversion| restores(own, &conversion.target))
            }
        }
    }

    /// Whether a column that a file lacks is there all the same, and null: one whose type is told.
    pub(crate) fn is_told(&self, name: &str, occurrence: usize) -> bool {
        self.by_hand.get(name, occurrence).is_some_and(|choice| choice.conversion.is_some())
    }

    /// The columns that belong to the table, with the types that are told.
    ///
    /// # Errors
    /// A column whose values can never be of the type that is told.
    pub(crate) fn apply(&self, schema: FileSchema) -> Result<FileSchema, Misfit> {
        if self.by_hand.is_empty()
            && self.hidden.is_empty()
            && self.restored.is_empty()
            && self.cq_columns == CqColumns::Rename
        {
            return Ok(schema);
        }
        if self.restores_ids() && !schema.columns.iter().any(|column| column.name == CQ_ID) {
            return Err(Misfit::without_id());
        }
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut columns = Vec::with_capacity(schema.columns.len());
        for mut column in schema.columns {
            let next = seen.entry(column.name.clone()).or_default();
            let occurrence = *next;
            *next += 1;
            if self.is_id(&column.name, occurrence) {
                self.check_id(&column.name, &column.target)?;
            }
            if !self.keeps(&column.name, occurrence) {
                continue;
            }
            // Texts have no type by themselves.
            let own = if column.inferred.is_some() { &ColumnType::Null } else { &column.target };
            if let Some(conversion) = self.conversion(&column.name, occurrence, own) {
                if let Some(what) = conversion.refuses(own) {
                    return Err(Misfit { column: label(&column.name, occurrence).into_owned(), what });
                }
                (column.target, column.inferred) = (conversion.target.clone(), None);
            }
            columns.push(column);
        }
        columns.extend(self.missing(&seen));
        Ok(FileSchema { columns })
    }

    /// The columns whose types are told and that a file with these columns lacks.
    fn missing(&self, seen: &HashMap<String, usize>) -> Vec<FileColumn> {
        if self.by_hand.is_empty() {
            return Vec::new();
        }
        // In merged tables names in another case are the same.
        let folded: BTreeSet<String> =
            if self.merges.is_some() { seen.keys().map(|name| fold(name)).collect() } else { BTreeSet::new() };
        let is_there = |label: &str| {
            let (name, number) = label.rsplit_once('#').unwrap_or((label, ""));
            let second = number.parse::<usize>().is_ok_and(|number| number >= 2);
            // The second of a name cannot be told from a file in which there is one.
            seen.contains_key(label) || (second && seen.contains_key(name)) || folded.contains(&fold(label))
        };
        let missing = self.by_hand.types().filter(|(label, _)| !is_there(label) && self.keeps(label, 0));
        let column = |(label, conversion): (&str, &Arc<Conversion>)| FileColumn {
            name: label.to_owned(),
            target: conversion.target.clone(),
            inferred: None,
            source: conversion.target.to_string(),
        };
        missing.map(column).collect()
    }

    /// Columns of `table` get the types back that are restored.
    #[must_use]
    pub(crate) fn with_restored_types(&self, table: &TableSchema) -> TableSchema {
        let column = |column: &TableColumn| {
            let mut column = column.clone();
            if let ColumnSource::File { name, occurrence } = &column.source
                && !self.is_told(name, *occurrence)
                && let Some(conversion) = self.conversion(name, *occurrence, &column.column_type)
            {
                column.column_type = conversion.target.clone();
            }
            column
        };
        TableSchema::from_columns(table.columns().iter().map(column).collect())
    }

    /// The table with the names that are given, and with the column of what fits nowhere else where types are told.
    #[must_use]
    pub(crate) fn complete(&self, table: TableSchema) -> TableSchema {
        let mut columns = table.columns().to_vec();
        if !self.order.is_empty() {
            columns.sort_by_cached_key(|column| self.place(column));
        }
        for index in 0..columns.len() {
            let ColumnSource::File { name, occurrence } = &columns[index].source else { continue };
            let given = self.by_hand.get(name, *occurrence).and_then(|choice| choice.name.clone());
            if let Some(given) = given {
                give_name(&mut columns, index, &given);
            }
        }
        let told = columns.iter().any(|column| match &column.source {
            ColumnSource::File { name, occurrence } => {
                self.is_told(name, *occurrence) || self.restored.contains_key(label(name, *occurrence).as_ref())
            }
            ColumnSource::Key { .. } | ColumnSource::Rescue => false,
        });
        if let Some(name) = self.rescue_column.as_ref().filter(|_| told)
            && !columns.iter().any(|column| column.source == ColumnSource::Rescue)
        {
            columns.push(TableColumn::rescue(name));
            let index = columns.len() - 1;
            give_name(&mut columns, index, name);
        }
        TableSchema::from_columns(columns)
    }
}

/// Whether a column of the type `own` may be one whose type `target` was lost on the way into the file.
fn restores(own: &ColumnType, target: &ColumnType) -> bool {
    own != target && matches!(own, ColumnType::Utf8 | ColumnType::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ColumnChoice, TypeChoice, TypeWord};
    use crate::schema::file::FileColumn;
    use crate::schema::text_forms::TextForms;
    use crate::schema::text_types::TextTypes;
    use crate::schema::types::ColumnType;

    /// A column of a file of text, of which the values are such.
    fn of_text(name: &str, texts: &[&str]) -> FileColumn {
        let mut types = TextTypes::default();
        texts.iter().for_each(|text| types.see_text(text, &TextForms::default()));
        let (target, source) = (types.column_type(), "text".to_owned());
        FileColumn { name: name.into(), target, inferred: Some(types), source }
    }

    #[test]
    fn texts_may_have_any_type_that_is_told() {
        let told = |column: &str, word: &str| ColumnChoice {
            column: column.to_owned(),
            drop: false,
            name: None,
            typed: Some(TypeChoice::plain(TypeWord::parse(word).unwrap())),
        };
        let columns = vec![told("a", "date"), told("b", "list<int64>"), told("c", "bool")];
        let options = TableOptions { columns, ..TableOptions::default() };
        let restored = [("d".to_owned(), ColumnType::Utf8), ("a".to_owned(), ColumnType::Uuid)];
        let rules = ColumnRules::new(&options).restoring(restored);
        let columns = ["a", "b", "c", "d", "e"].map(|name| of_text(name, &["1", "2"])).into();
        let applied = rules.apply(FileSchema { columns }).unwrap();
        let types: Vec<String> = applied.columns.iter().map(|column| column.target.to_string()).collect();
        assert_eq!(types, ["date", "list<int64>", "bool", "utf8", "int64"]);
        let inferred: Vec<bool> = applied.columns.iter().map(|column| column.inferred.is_some()).collect();
        assert_eq!(inferred, [false, false, false, false, true], "values decide nothing where a type is told");
    }

    #[test]
    fn columns_of_hidden_names_are_left_out_whatever_their_case() {
        let column = |name: &str| FileColumn {
            name: name.into(),
            target: ColumnType::Utf8,
            inferred: None,
            source: "string".into(),
        };
        let schema = FileSchema { columns: ["id", "DT", "dt", "date"].map(column).into() };
        assert_eq!(ColumnRules::default().apply(schema.clone()).unwrap(), schema);
        let left = ColumnRules::default().hiding("Dt").apply(schema).unwrap();
        let names: Vec<&str> = left.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "date"]);
    }
}
