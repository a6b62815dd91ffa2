//! The formats of a table's objects, by their names: one, unless a mapping says what the table is called.

use super::group::{Counted, Listing, Table};
use super::mapping::Mappings;
use super::prune::Refused;
use crate::config::{Format, SchemaMode, TableOptions};
use std::sync::Arc;

/// The formats of a table's objects, each with the first key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Formats(Vec<(Format, String)>);

impl Formats {
    /// Another object.
    pub(super) fn see(&mut self, format: Format, key: &str) {
        let format = format.family();
        // One, nearly always.
        if !self.0.iter().any(|(known, _)| *known == format) {
            self.0.push((format, key.to_owned()));
        }
    }

    /// How files become one schema where the spec does not say: Parquet files must agree, others are united.
    pub(super) fn settle(&self, options: &mut Arc<TableOptions>) {
        if options.schema.mode != SchemaMode::ByFormat {
            return;
        }
        let is_strict = self.0.iter().all(|(format, _)| format.is_strict());
        Arc::make_mut(options).schema.mode = if is_strict { SchemaMode::Strict } else { SchemaMode::Merge };
    }

    /// Why they can be no table, if they can't.
    fn refusal(&self) -> Option<String> {
        let [(first, key), (second, other), ..] = &self.0[..] else { return None };
        // What is one format beside many is more likely what describes the others.
        let file = other.rsplit('/').next().unwrap_or(other);
        Some(format!(
            "its folder has objects of two formats: {key:?} is {first}, {other:?} is {second}. Leave out those that are no rows, \
             such as with `exclude: [\"**/{file}\"]`, or read both with a mapping that names the table"
        ))
    }
}

impl Listing {
    /// Leaves out tables of folders with two formats.
    pub fn refuse_mixed_formats(&mut self, mappings: &Mappings) -> Vec<Refused> {
        let is_mixed = |table: &Table| table.formats.refusal().filter(|_| !mappings.joins_formats(&table.key));
        let mut refused = Vec::new();
        self.tables.retain(|table| {
            let Some(text) = is_mixed(table) else { return true };
            let mut left_out = Counted::default();
            table.objects.iter().for_each(|object| left_out.add(&table.object_key(object), object.size_bytes));
            refused.push(Refused { name: table.name.clone(), text, left_out });
            false
        });
        // Their state stays.
        self.filtered_out.extend(refused.iter().map(|refused| refused.name.clone()));
        refused
    }
}
