//! The ids of a batch's rows where they stand in the file.

use super::assemble::ReadRows;
use super::error::ReadError;
use crate::cast::counts::CastCounts;
use crate::cast::error::CastError;
use crate::cast::restored_ids::{BadId, Flaw, ids};
use crate::schema::fit::{FileColumnAt, IdColumns};
use crate::schema::types::UUID_BYTES;
use arrow::array::{ArrayRef, FixedSizeBinaryArray};
use std::sync::Arc;

/// The ids of the rows of a batch.
pub(super) struct RestoredIds {
    pub(super) id: ArrayRef,
    pub(super) parent: ArrayRef,
    /// The index of the first row that has none, and what to say of it.
    pub(super) bad: Option<(usize, ReadError)>,
}

impl RestoredIds {
    /// The ids in `rows`.
    ///
    /// # Errors
    /// The column in which it is, and why it could not be read as ids.
    pub(super) fn of<'a>(columns: &'a IdColumns, rows: &ReadRows<'_>) -> Result<Self, (&'a FileColumnAt, CastError)> {
        // What is wrong with an id is no cast that the log counts: it is the object's error.
        let counts = CastCounts::default();
        let read = |column: &'a FileColumnAt, null_is_bad: bool| {
            let array = rows.columns.get(column.index);
            let array = array.ok_or_else(|| (column, CastError::Value("it was not read".to_owned())))?;
            let read = ids(&column.field, array, null_is_bad, &counts);
            let (array, bad) = read.map_err(|error| (column, error))?;
            Ok((array, bad.map(|bad| (bad.row, bad_id(rows, column, bad)))))
        };
        let (id, bad) = read(&columns.id, true)?;
        let (parent, bad_parent) = match &columns.parent {
            Some(parent) => read(parent, false)?,
            None => (Arc::new(FixedSizeBinaryArray::new_null(UUID_BYTES, rows.numbers.len())) as ArrayRef, None),
        };
        let bad = [bad, bad_parent].into_iter().flatten().min_by_key(|(row, _)| *row);
        Ok(Self { id, parent, bad })
    }
}

fn bad_id(rows: &ReadRows<'_>, column: &FileColumnAt, bad: BadId) -> ReadError {
    let flaw = match bad.flaw {
        Flaw::Null => "is null",
        Flaw::NotUuid => "is no uuid",
    };
    let row = rows.numbers.number(bad.row);
    let what = format!(
        "the value in row {row} of the object {flaw}: with cq_columns: restore every row has the id that is in the file"
    );
    rows.part.error(&format!("column {:?}", column.label()), what)
}
