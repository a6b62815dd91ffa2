//! What the spec says of single columns: which are left out, what they are called, and what types they have.

use super::field::{FieldKind, FileField};
use super::types::ColumnType;
use crate::config::{ColumnChoice, NestedAs, TypeChoice, TypeWord};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Columns of files by what the spec calls them: the name in the files, of several columns of one name the second is `name#2`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ByHand(BTreeMap<String, Choice>);

/// What is said of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// It is left out.
    pub(crate) drop: bool,
    /// The outgoing name.
    pub(crate) name: Option<String>,
    /// The outgoing type, and how values become of it.
    pub(crate) conversion: Option<Arc<Conversion>>,
}

/// A type, and how values are brought into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conversion {
    pub(crate) target: ColumnType,
    pub(crate) choice: TypeChoice,
}

/// What messages and the spec call a column of a file: its name there, the second `x` being `x#2`.
pub(crate) fn label(name: &str, occurrence: usize) -> Cow<'_, str> {
    match occurrence {
        0 => Cow::Borrowed(name),
        n => Cow::Owned(format!("{name}#{}", n + 1)),
    }
}

impl ByHand {
    /// As the spec says it.
    pub(crate) fn new(choices: &[ColumnChoice]) -> Self {
        let choice = |choice: &ColumnChoice| {
            let ColumnChoice { column, drop, name, typed } = choice.clone();
            (column, Choice { drop, name, conversion: typed.map(|typed| Arc::new(Conversion::new(typed))) })
        };
        Self(choices.iter().map(choice).collect())
    }

    /// What is said of the column.
    pub(crate) fn get(&self, name: &str, occurrence: usize) -> Option<&Choice> {
        if self.0.is_empty() { None } else { self.0.get(label(name, occurrence).as_ref()) }
    }

    /// Types of columns by what the spec calls them.
    pub(crate) fn types(&self) -> impl Iterator<Item = (&str, &Arc<Conversion>)> {
        self.0.iter().filter_map(|(label, choice)| Some((label.as_str(), choice.conversion.as_ref()?)))
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Conversion {
    pub(crate) fn new(choice: TypeChoice) -> Self {
        Self { target: column_type(&choice.word), choice }
    }

    /// A type alone.
    pub(crate) fn to(target: ColumnType) -> Self {
        Self { target, choice: TypeChoice::plain(TypeWord::Text) }
    }

    /// A type that values had before they were written as text, maybe with finer times than the type has.
    pub(crate) fn back_to(target: ColumnType) -> Self {
        Self { target, choice: TypeChoice { nanoseconds: true, ..TypeChoice::plain(TypeWord::Text) } }
    }

    /// The type that a file's column is cast to by the rules of all tables, before it is converted; `Null` of columns of files of
    /// text, which have none by themselves and may become any.
    pub(crate) fn from(field: &FileField) -> ColumnType {
        match &field.kind {
            FieldKind::Leaf { .. } | FieldKind::List(_) => field.target_as(NestedAs::Json).settled(),
            FieldKind::Struct(_) | FieldKind::Map { .. } => ColumnType::Json,
            FieldKind::Text { .. } => ColumnType::Null,
        }
    }

    /// Whether values of the type `own` are as they are.
    pub(crate) fn changes_nothing(&self, own: &ColumnType) -> bool {
        *own == self.target && self.choice.null_values.is_empty()
    }

    /// Why values of the type `own` can never be of this one; `None`: they may.
    pub(crate) fn refuses(&self, own: &ColumnType) -> Option<String> {
        let options = "a type that it can be made, `text` or `json` for any";
        match (own, &self.target) {
            (ColumnType::Null | ColumnType::Utf8, target) if target.item().is_none() => None,
            (ColumnType::Null, _) | (_, ColumnType::Utf8 | ColumnType::Json) => None,
            (own, target) if own == target => None,
            (ColumnType::List(own), ColumnType::List(target)) => {
                Self { target: (**target).clone(), choice: self.choice.clone() }.refuses(own)
            }
            (own, target) if is_number(own) && is_time(target) => self
                .choice
                .unit
                .is_none()
                .then(|| format!("it is {own} in this file: give `unit` (s, ms, us or ns) to make it {target}")),
            (own, target) if is_number(own) && is_number(target) => None,
            (ColumnType::Date32, ColumnType::Timestamp) | (ColumnType::Timestamp, ColumnType::Date32) => None,
            (ColumnType::Binary, target) if target.item().is_none() => None,
            (ColumnType::Uuid, ColumnType::Binary) => None,
            (own, target) => Some(format!("it is {own} in this file, which is never {target}: give {options}")),
        }
    }
}

fn is_number(column_type: &ColumnType) -> bool {
    use ColumnType::{Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    matches!(
        column_type,
        Int8 | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | Float32
            | Float64
            | ColumnType::Decimal128 { .. }
    )
}

fn is_time(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Date32 | ColumnType::Time64 | ColumnType::Timestamp)
}

/// The outgoing type of a word.
pub(crate) fn column_type(word: &TypeWord) -> ColumnType {
    match word {
        TypeWord::Bool => ColumnType::Boolean,
        TypeWord::Int8 => ColumnType::Int8,
        TypeWord::Int16 => ColumnType::Int16,
        TypeWord::Int32 => ColumnType::Int32,
        TypeWord::Int64 => ColumnType::Int64,
        TypeWord::UInt8 => ColumnType::UInt8,
        TypeWord::UInt16 => ColumnType::UInt16,
        TypeWord::UInt32 => ColumnType::UInt32,
        TypeWord::UInt64 => ColumnType::UInt64,
        TypeWord::Float32 => ColumnType::Float32,
        TypeWord::Float64 => ColumnType::Float64,
        TypeWord::Text => ColumnType::Utf8,
        TypeWord::Binary => ColumnType::Binary,
        TypeWord::Date => ColumnType::Date32,
        TypeWord::Time => ColumnType::Time64,
        TypeWord::Timestamp => ColumnType::Timestamp,
        TypeWord::Decimal { precision, scale } => {
            ColumnType::Decimal128 { precision: *precision, scale: scale.cast_signed() }
        }
        TypeWord::Uuid => ColumnType::Uuid,
        TypeWord::Json => ColumnType::Json,
        TypeWord::Inet => ColumnType::Inet,
        TypeWord::Mac => ColumnType::Mac,
        TypeWord::List(item) => ColumnType::List(Box::new(column_type(item))),
    }
}
