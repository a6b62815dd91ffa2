//! The ids of a batch's rows where they stand in the file.

use super::errors::row_group_error;
use crate::cast::counts::CastCounts;
use crate::cast::error::CastError;
use crate::cast::restored_ids::{BadId, Flaw, ids};
use crate::formats::error::ReadError;
use crate::schema::fit::{FileColumnAt, IdColumns};
use crate::schema::types::UUID_BYTES;
use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use std::sync::Arc;

/// The ids of the rows of a batch.
pub(super) struct RestoredIds {
    pub(super) id: ArrayRef,
    pub(super) parent: ArrayRef,
    /// The index of the first row that has none, and what to say of it.
    pub(super) bad: Option<(usize, ReadError)>,
}

/// A batch as it was read.
#[derive(Clone, Copy)]
pub(super) struct ReadRows<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) row_group: usize,
    /// The number of its first row in the object.
    pub(super) first_row: u64,
}

impl RestoredIds {
    /// The ids in `rows`.
    ///
    /// # Errors
    /// The column in which it is, and why it could not be read as ids.
    pub(super) fn of<'a>(columns: &'a IdColumns, rows: ReadRows<'_>) -> Result<Self, (&'a FileColumnAt, CastError)> {
        // What is wrong with an id is no cast that the log counts: it is the object's error.
        let counts = CastCounts::default();
        let read = |column: &'a FileColumnAt, null_is_bad: bool| {
            let read = ids(&column.field, rows.batch.column(column.index), null_is_bad, &counts);
            let (array, bad) = read.map_err(|error| (column, error))?;
            Ok((array, bad.map(|bad| (bad.row, rows.error(column, bad)))))
        };
        let (id, bad) = read(&columns.id, true)?;
        let (parent, bad_parent) = match &columns.parent {
            Some(parent) => read(parent, false)?,
            None => (Arc::new(FixedSizeBinaryArray::new_null(UUID_BYTES, rows.batch.num_rows())) as ArrayRef, None),
        };
        let bad = [bad, bad_parent].into_iter().flatten().min_by_key(|(row, _)| *row);
        Ok(Self { id, parent, bad })
    }
}

impl ReadRows<'_> {
    fn error(self, column: &FileColumnAt, bad: BadId) -> ReadError {
        let flaw = match bad.flaw {
            Flaw::Null => "is null",
            Flaw::NotUuid => "is no uuid",
        };
        let row = self.first_row + bad.row as u64;
        let what = format!(
            "the value in row {row} of the object {flaw}: with cq_columns: restore every row has the id that is in the file"
        );
        row_group_error(self.row_group, &format!("column {:?}", column.label()), what)
    }
}
