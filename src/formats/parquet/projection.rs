//! Which leaves of a file are read: by default all of them. Those of columns that the table's rules leave out are not fetched,
//! not estimated and not decoded.

use crate::schema::rules::ColumnRules;
use parquet::arrow::ProjectionMask;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use std::collections::HashMap;
use std::sync::Arc;

/// The leaves that are read. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Projection {
    /// For each leaf whether it is read; `None`: all are.
    leaves: Option<Arc<[bool]>>,
}

impl Projection {
    /// The leaves of the columns that are read by `rules`.
    pub(crate) fn of(metadata: &ParquetMetaData, rules: &ColumnRules) -> Self {
        let descriptor = metadata.file_metadata().schema_descr();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let columns = descriptor.root_schema().get_fields().iter().map(|column| {
            let occurrence = seen.entry(column.name()).or_default();
            *occurrence += 1;
            rules.reads(column.name(), *occurrence - 1)
        });
        let columns: Vec<bool> = columns.collect();
        if columns.iter().all(|read| *read) {
            return Self::default();
        }
        let column = |leaf| columns.get(descriptor.get_column_root_idx(leaf)).copied().unwrap_or(true);
        Self { leaves: Some((0..descriptor.num_columns()).map(column).collect()) }
    }

    /// Whether the leaf is read.
    pub(crate) fn has(&self, leaf: usize) -> bool {
        self.leaves.as_ref().is_none_or(|leaves| leaves.get(leaf).copied().unwrap_or(true))
    }

    /// The chunks of a row group that are read.
    pub(super) fn chunks<'a>(&self, group: &'a RowGroupMetaData) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
        let chunks = group.columns().iter().enumerate();
        chunks.filter(|(leaf, _)| self.has(*leaf)).map(|(_, chunk)| chunk)
    }

    /// What a reader of all that is read takes; `None`: everything.
    pub(super) fn mask(&self, metadata: &ParquetMetaData) -> Option<ProjectionMask> {
        let leaves = self.leaves.as_ref()?;
        let read = (0..leaves.len()).filter(|leaf| self.has(*leaf));
        Some(ProjectionMask::leaves(metadata.file_metadata().schema_descr(), read))
    }
}
