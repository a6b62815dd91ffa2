//! From a batch of a file's columns to a batch of the table's, the same for all formats: ids, what the object's origin and key
//! say, the file's columns in the table's types, and what these cannot hold.

use super::Output;
use super::error::ReadError;
use super::limits::BATCH_BYTES;
use super::row_ids::RestoredIds;
use crate::cast::counts::CastCounts;
use crate::cast::error::CastError;
use crate::cast::origin::Repeated;
use crate::cast::row_numbers::RowNumbers;
use crate::cast::table_batch::TableBatch;
use crate::config::OnMismatch;
use crate::schema::field::FileField;
use crate::schema::fit::{FileColumnAt, Fit, Fitted, Misfit, fit};
use crate::schema::types::UUID_BYTES;
use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, RecordBatch, StringArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::FieldRef;
use std::fmt;
use std::sync::Arc;

/// JSON of all columns that a batch may have, unless it is one row: what a batch aims at, and as much again since it is aimed
/// with averages.
pub(super) const JSON_BATCH_BYTES: u64 = 2 * BATCH_BYTES;

/// What a value takes more that is converted or rescued: the longest texts of numbers and timestamps, on average.
const CONVERTED_VALUE_BYTES: u64 = 32;

/// Where the columns of the object's origin stand: behind the ids.
const ID_COLUMNS: usize = 2;

/// A part of a file, as messages name it: `row group 3`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartName {
    pub(super) word: &'static str,
    /// From 0.
    pub(super) number: u64,
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word, self.number)
    }
}

impl PartName {
    /// What is wrong at `place` in it.
    pub(super) fn error(self, place: &str, what: impl Into<String>) -> ReadError {
        ReadError::At { place: format!("{self}, {place}"), what: what.into() }
    }
}

/// A batch as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadRows<'a> {
    /// The columns that are read, in the file's order.
    pub(super) columns: &'a [ArrayRef],
    /// Those of them that are read twice, as the second reader has them, if there is one.
    pub(super) second: Option<&'a [ArrayRef]>,
    /// What its rows have besides, of which there are no columns: a JSON object each.
    pub(super) others: Option<&'a StringArray>,
    /// The numbers of its rows in the object.
    pub(super) numbers: &'a RowNumbers,
    /// The part that it is of.
    pub(super) part: PartName,
}

impl ReadRows<'_> {
    fn second(&self, column: &FileColumnAt) -> Option<&ArrayRef> {
        self.second?.get(column.second?)
    }
}

/// A batch of the table.
#[derive(Debug)]
pub(super) struct Assembled {
    /// The rows before the one that is wrong.
    pub(super) batch: RecordBatch,
    /// Rows before it that are not in the batch, since a value is not what its column needs: their indexes among those that were
    /// read, ascending, and why.
    pub(super) bad: Vec<(usize, String)>,
    /// The columns, by their index among those that were read, that have values which the table's type does not hold, and the rows
    /// of these.
    pub(super) lost: Vec<(usize, BooleanBuffer)>,
    /// What is wrong with the row behind them: the object is in error when they were sent.
    pub(super) then: Option<ReadError>,
}

/// Why a batch could not be made: `TooLarge` and `OverBudget` are cured by fewer rows.
#[derive(Debug)]
pub(super) enum AssembleError {
    TooLarge(ReadError),
    /// The rows that should fit.
    OverBudget(usize),
    Other(ReadError),
}

/// How the columns of one file become those of a table. Made once an object.
#[derive(Debug)]
pub(super) struct Assembly {
    fit: Fit,
    output: Output,
    /// The file is made of records, of which one by itself may be bad.
    has_records: bool,
}

impl Assembly {
    /// Of a file with these columns.
    ///
    /// # Errors
    /// [`ReadError::SchemaChanged`] when they are not the table's; [`ReadError::Internal`] when the schema of `output` isn't
    /// the table's.
    pub(super) fn new(fields: &[FileField], output: Output) -> Result<Self, ReadError> {
        check_output(&output)?;
        let fit = fit(&output.table, fields, &output.rules)
            .map_err(|Misfit { column, what }| ReadError::SchemaChanged { column, what })?;
        Ok(Self { fit, output, has_records: fields.iter().all(FileField::is_text) })
    }

    /// What batches are made for.
    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Which of the file's columns is which of the table's.
    pub(super) fn fit(&self) -> &Fit {
        &self.fit
    }

    /// Counts what was lost before values came here.
    pub(super) fn count(&self, counts: &CastCounts) {
        self.output.counts.add(counts);
    }

    /// What a row takes beside what its columns have in the file, roughly, in bytes.
    pub(super) fn added_bytes_a_row(&self) -> u64 {
        let Output { origin, key_values, .. } = &self.output;
        origin.bytes_a_row() + key_values.bytes_a_row() + self.fit.converted() * CONVERTED_VALUE_BYTES
    }

    /// The table's batch of `read`. What is alike in batches of up to `most_rows` rows is kept in `repeated`.
    ///
    /// # Errors
    /// Values that can't be cast, rows that together are too large.
    pub(super) fn assemble(
        &self,
        read: ReadRows<'_>,
        most_rows: usize,
        repeated: &mut Option<Repeated>,
    ) -> Result<Assembled, AssembleError> {
        let mut ids = match &self.fit.ids {
            Some(columns) => Some(
                RestoredIds::of(columns, &read)
                    .map_err(|(column, error)| column_error(&read, &column.label(), error))?,
            ),
            None => None,
        };
        let Some((row, error)) = ids.as_mut().and_then(|ids| ids.bad.take()) else {
            return self.batch(&read, ids, most_rows, repeated);
        };
        if row == 0 {
            return Err(AssembleError::Other(error));
        }
        let cut = |columns: &[ArrayRef]| columns.iter().map(|column| column.slice(0, row)).collect::<Vec<_>>();
        let (columns, second, numbers) = (cut(read.columns), read.second.map(cut), read.numbers.cut(row));
        let others = read.others.map(|others| others.slice(0, row));
        let (second, others) = (second.as_deref(), others.as_ref());
        let before = ReadRows { columns: &columns, second, others, numbers: &numbers, part: read.part };
        Ok(Assembled { then: Some(error), ..self.batch(&before, ids, most_rows, repeated)? })
    }

    fn batch(
        &self,
        read: &ReadRows<'_>,
        ids: Option<RestoredIds>,
        most_rows: usize,
        repeated: &mut Option<Repeated>,
    ) -> Result<Assembled, AssembleError> {
        let rows = read.numbers.len();
        let counts = CastCounts::default();
        let origin = &self.output.origin;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.output.schema.fields().len());
        match ids {
            Some(ids) => arrays.extend([ids.id.slice(0, rows), ids.parent.slice(0, rows)]),
            None => {
                arrays.push(Arc::new(origin.id.rows(read.numbers).map_err(|error| added_error(read, error))?));
                arrays.push(Arc::new(FixedSizeBinaryArray::new_null(UUID_BYTES, rows)));
            }
        }
        let added = origin.arrays(read.numbers, most_rows, repeated);
        arrays.extend(added.map_err(|error| added_error(read, error))?);
        let mut lost = Vec::new();
        let bad = self.columns(read, &counts, &mut arrays, &mut lost)?;
        // Checks types and that non-nullable columns hold no nulls.
        let batch = RecordBatch::try_new(Arc::clone(&self.output.schema), arrays).map_err(|error| {
            let place = format!("from row {} of the object", read.numbers.number(0));
            AssembleError::Other(read.part.error(&place, error.to_string()))
        })?;
        self.output.counts.add(&counts);
        if bad.is_empty() {
            return Ok(Assembled { batch, bad, lost, then: None });
        }
        let mut good = vec![true; rows];
        bad.iter().for_each(|(row, _)| good[*row] = false);
        let batch = filter_record_batch(&batch, &BooleanArray::from(good))
            .map_err(|error| AssembleError::Other(ReadError::Internal { what: error.to_string() }))?;
        Ok(Assembled { batch, bad, lost, then: None })
    }

    /// The columns of keys and files.
    fn columns(
        &self,
        read: &ReadRows<'_>,
        counts: &CastCounts,
        arrays: &mut Vec<ArrayRef>,
        lost: &mut Vec<(usize, BooleanBuffer)>,
    ) -> Result<Vec<(usize, String)>, AssembleError> {
        let rows = read.numbers.len();
        let key_values = &self.output.key_values;
        let mut table = TableBatch::new(rows, counts, (self.on_mismatch(), self.rescues()), JSON_BATCH_BYTES);
        let mut rescue_at = None;
        for column in &self.fit.columns {
            arrays.push(match column {
                Fitted::File(column) => {
                    let array = column_of(read, &column.from)?;
                    let array = table.column(column, array, read.second(&column.from));
                    lost.extend(table.take_lost().map(|rows| (column.from.index, rows)));
                    array.map_err(|error| column_error(read, &column.from.label(), error))?
                }
                Fitted::Key { ident, target } => {
                    if let Some(text) = key_values.misfit(ident) {
                        let misfit = table.key_misfit(ident, text, target);
                        misfit.map_err(|error| key_error(read, ident, text, error))?;
                    }
                    key_values.rows(ident, target, rows).map_err(|error| added_error(read, error))?
                }
                Fitted::Null(target) => new_null_array(&target.arrow_type(), rows),
                Fitted::Rescue => {
                    rescue_at = Some(arrays.len());
                    continue;
                }
            });
        }
        for column in &self.fit.others {
            let rescued = table.rescue(column, column_of(read, column)?, read.second(column));
            rescued.map_err(|error| column_error(read, &column.label(), error))?;
        }
        if let Some(index) = rescue_at {
            let rescued =
                table.rescue_column(read.others).map_err(|error| cast_error(read, "the rescue column", error))?;
            arrays.insert(index, rescued);
        } else if let Some(others) = read.others {
            table.others(others).map_err(|error| column_error(read, "values beside the columns", error))?;
        }
        Ok(table.into_bad_rows())
    }

    /// Whether there is a column for what others cannot hold.
    fn rescues(&self) -> bool {
        self.fit.columns.iter().any(|column| matches!(column, Fitted::Rescue))
    }

    /// Without the column for them nothing is rescued.
    fn on_mismatch(&self) -> OnMismatch {
        match self.output.rules.on_mismatch {
            // Text has no types of its own: what does not fit there is told.
            OnMismatch::Rescue if !self.rescues() && self.has_records => OnMismatch::Fail,
            OnMismatch::Rescue if !self.rescues() => OnMismatch::Null,
            // Files of columns have no records that could be set aside.
            OnMismatch::Bad if !self.has_records => OnMismatch::Fail,
            on_mismatch => on_mismatch,
        }
    }
}

fn check_output(output: &Output) -> Result<(), ReadError> {
    let (ids, columns) = output.table.arrow().fields().split_at(ID_COLUMNS);
    let of_field = |field: &FieldRef| (field.name().clone(), field.data_type().clone(), field.is_nullable());
    let added = output.origin.columns().map(|(name, added)| (name.to_owned(), added.arrow_type(), true));
    let expected = ids.iter().map(of_field).chain(added).chain(columns.iter().map(of_field));
    // Nested fields included: arrays are made with the table's, and a batch takes no others.
    let same = expected.eq(output.schema.fields().iter().map(of_field));
    if same { Ok(()) } else { Err(ReadError::Internal { what: "the output schema is not the table's".into() }) }
}

/// A column of the file as it was read.
fn column_of<'a>(read: &ReadRows<'a>, column: &FileColumnAt) -> Result<&'a ArrayRef, AssembleError> {
    read.columns.get(column.index).ok_or_else(|| {
        let what = format!("column {:?} was not read", column.label());
        AssembleError::Other(ReadError::Internal { what })
    })
}

/// The columns that no file has could not be made.
fn added_error(read: &ReadRows<'_>, error: CastError) -> AssembleError {
    AssembleError::Other(match error {
        CastError::TooManyRows(_) => ReadError::At { place: read.part.to_string(), what: error.to_string() },
        error => ReadError::Internal { what: error.to_string() },
    })
}

/// `error` of the column that messages call `label`.
fn column_error(read: &ReadRows<'_>, label: &str, error: CastError) -> AssembleError {
    let place = format!("column {label:?}");
    if let CastError::Mismatch { row, target } = error {
        let what = format!(
            "the value in row {} of the object does not fit the table's type {target}, and schema.on_mismatch is fail: \
             `rescue` keeps such values in the rescue column",
            read.numbers.number(row)
        );
        return AssembleError::Other(read.part.error(&place, what));
    }
    cast_error(read, &place, error)
}

/// `error` of what the key says of a column.
fn key_error(read: &ReadRows<'_>, column: &str, text: &str, error: CastError) -> AssembleError {
    let CastError::Mismatch { target, .. } = error else { return added_error(read, error) };
    let what = format!(
        "{text:?} in the key does not fit the table's type {target}, and schema.on_mismatch is fail: `rescue` keeps such \
         values in the rescue column"
    );
    AssembleError::Other(read.part.error(&format!("column {column:?}"), what))
}

fn cast_error(read: &ReadRows<'_>, place: &str, error: CastError) -> AssembleError {
    match error {
        CastError::OverBudget(rows) => AssembleError::OverBudget(rows),
        CastError::TooLarge => AssembleError::TooLarge(read.part.error(place, error.to_string())),
        error => AssembleError::Other(read.part.error(place, error.to_string())),
    }
}
