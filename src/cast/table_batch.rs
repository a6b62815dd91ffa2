//! The columns of one batch, from a file's arrays to the table's types: within a budget of JSON, and with what the table's
//! columns cannot hold collected for the rescue column.

use super::by_hand;
use super::convert::{Converted, convert, present};
use super::counts::CastCounts;
use super::error::CastError;
use super::json::{Encoded, Encoder, encode_within};
use super::text;
use crate::config::OnMismatch;
use crate::schema::field::FieldKind;
use crate::schema::fit::{FileColumnAt, FittedColumn};
use crate::schema::types::ColumnType;
use arrow::array::{Array, ArrayRef, StringArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What summaries call that which records have beside the columns of their file. There may be any number of names in it.
const OTHERS: &str = "(no column)";

/// A batch that is being cast.
pub(crate) struct TableBatch<'a> {
    rows: usize,
    counts: &'a CastCounts,
    on_mismatch: OnMismatch,
    /// There is a column for what others cannot hold.
    rescues: bool,
    /// JSON that all columns together may have, and that they have so far.
    most_json_bytes: u64,
    json_bytes: u64,
    /// Values that no column holds: the column of the file, the rows, what writes them.
    rescued: Vec<(String, BooleanBuffer, Encoder)>,
    /// The rows whose value the column that came last does not hold.
    lost: Option<BooleanBuffer>,
    /// Rows with a value that is not what its column needs, where that makes them bad: by their indexes, with why.
    bad: BTreeMap<usize, String>,
}

impl<'a> TableBatch<'a> {
    /// Of `rows` rows. Changes are counted in `counts`.
    pub(crate) fn new(
        rows: usize,
        counts: &'a CastCounts,
        (on_mismatch, rescues): (OnMismatch, bool),
        most_json_bytes: u64,
    ) -> Self {
        Self {
            rows,
            counts,
            on_mismatch,
            rescues,
            most_json_bytes,
            json_bytes: 0,
            rescued: Vec::new(),
            lost: None,
            bad: BTreeMap::new(),
        }
    }

    /// A column of the table that the file has; `second` as in [`super::cast()`].
    ///
    /// # Errors
    /// [`CastError::OverBudget`], [`CastError::Mismatch`], and those of casts.
    pub(crate) fn column(
        &mut self,
        column: &FittedColumn,
        array: &ArrayRef,
        second: Option<&ArrayRef>,
    ) -> Result<ArrayRef, CastError> {
        let field = &column.from.field;
        if let Some(conversion) = &column.told {
            let converted = by_hand::convert(field, conversion, array, second, self.counts)?;
            return self.converted(column, converted, (array, second));
        }
        let nested = !matches!(field.kind, FieldKind::Leaf { .. });
        if column.target == ColumnType::Json && (nested || column.converts) && !field.is_text() {
            let encoder = Encoder::new(field, array, second)?;
            let encoder = if column.converts { encoder.by_itself() } else { encoder };
            return self.json(&encoder, array.nulls());
        }
        if !column.converts {
            return super::cast(field, &column.target, array, second, self.counts);
        }
        let converted = convert(field, &column.target, array, second, self.counts)?;
        self.converted(column, converted, (array, second))
    }

    /// A column that was converted from what was read; what was lost on the way is rescued or counted.
    fn converted(
        &mut self,
        column: &FittedColumn,
        Converted { array: converted, lost }: Converted,
        (array, second): (&ArrayRef, Option<&ArrayRef>),
    ) -> Result<ArrayRef, CastError> {
        let Some(lost) = lost else { return Ok(converted) };
        self.lost = Some(lost.clone());
        let label = column.from.label();
        let values = lost.count_set_bits() as u64;
        match self.on_mismatch {
            OnMismatch::Rescue => {
                self.counts.rescued.count(&label, values);
                let encoder = match &column.from.field.kind {
                    FieldKind::Text { reading, .. } => text::encoder(reading, array, Some(&lost))?,
                    _ => Encoder::new(&column.from.field, array, second)?,
                };
                self.rescued.push((label, lost, encoder));
            }
            OnMismatch::Null => self.counts.mismatched.count(&label, values),
            OnMismatch::Bad => self.bad(&lost, &label, &column.target),
            OnMismatch::Fail => {
                let row = lost.set_indices().next().unwrap_or(0);
                return Err(CastError::Mismatch { row, target: column.target.to_string() });
            }
        }
        Ok(converted)
    }

    fn bad(&mut self, rows: &BooleanBuffer, label: &str, target: &ColumnType) {
        for row in rows.set_indices() {
            self.bad.entry(row).or_insert_with(|| format!("the value of the column {label:?} is no {target}"));
        }
    }

    /// The rows that are bad since a value does not fit, with why, in their order.
    pub(crate) fn into_bad_rows(self) -> Vec<(usize, String)> {
        self.bad.into_iter().collect()
    }

    /// The rows whose value the column that was asked for last does not hold, if there are any.
    pub(crate) fn take_lost(&mut self) -> Option<BooleanBuffer> {
        self.lost.take()
    }

    /// A text of the key that its column cannot hold: it is rescued, or was told when the keys were looked at.
    ///
    /// # Errors
    /// [`CastError::Mismatch`].
    pub(crate) fn key_misfit(&mut self, label: &str, text: &str, target: &ColumnType) -> Result<(), CastError> {
        match self.on_mismatch {
            OnMismatch::Rescue => {
                self.counts.rescued.count(label, self.rows as u64);
                let texts = StringArray::from_iter_values(std::iter::repeat_n(text, self.rows));
                self.rescued.push((label.to_owned(), BooleanBuffer::new_set(self.rows), Encoder::Text(texts)));
                Ok(())
            }
            OnMismatch::Null => Ok(()),
            // What the key says is no fault of a record.
            OnMismatch::Bad | OnMismatch::Fail => Err(CastError::Mismatch { row: 0, target: target.to_string() }),
        }
    }

    /// A column of the file that has no place in the table: its values are rescued.
    pub(crate) fn rescue(
        &mut self,
        column: &FileColumnAt,
        array: &ArrayRef,
        second: Option<&ArrayRef>,
    ) -> Result<(), CastError> {
        let Some(rows) = present(array) else { return Ok(()) };
        let label = column.label();
        if !self.rescues {
            return self.surplus(&rows, &label);
        }
        self.counts.rescued.count(&label, rows.count_set_bits() as u64);
        self.rescued.push((label, rows, Encoder::new(&column.field, array, second)?));
        Ok(())
    }

    /// Values for which the table has no column, and no column for what others cannot hold.
    fn surplus(&mut self, rows: &BooleanBuffer, label: &str) -> Result<(), CastError> {
        match self.on_mismatch {
            OnMismatch::Rescue | OnMismatch::Null => {
                self.counts.mismatched.count(label, rows.count_set_bits() as u64);
                Ok(())
            }
            OnMismatch::Bad => {
                for row in rows.set_indices() {
                    self.bad.entry(row).or_insert_with(|| format!("the table has no column for {label}"));
                }
                Ok(())
            }
            OnMismatch::Fail => {
                let row = rows.set_indices().next().unwrap_or(0);
                Err(CastError::Mismatch { row, target: "which has no column for it".to_owned() })
            }
        }
    }

    /// What records have beside the columns of their file, where there is no rescue column.
    ///
    /// # Errors
    /// [`CastError::Mismatch`].
    pub(crate) fn others(&mut self, others: &StringArray) -> Result<(), CastError> {
        let rows = match others.nulls() {
            Some(nulls) => nulls.inner().clone(),
            None => BooleanBuffer::new_set(others.len()),
        };
        if rows.count_set_bits() == 0 { Ok(()) } else { self.surplus(&rows, OTHERS) }
    }

    /// The rescue column, when all others are done. `others` is what a file's records have beside its columns, an object of JSON a
    /// row.
    ///
    /// # Errors
    /// [`CastError::OverBudget`], [`CastError::TooLarge`].
    pub(crate) fn rescue_column(&mut self, others: Option<&StringArray>) -> Result<ArrayRef, CastError> {
        let rescued = std::mem::take(&mut self.rescued);
        let others = others.filter(|others| others.null_count() < others.len()).cloned();
        let with_others = others.as_ref().map(|others| match others.nulls() {
            Some(nulls) => nulls.inner().clone(),
            None => BooleanBuffer::new_set(others.len()),
        });
        if let Some(rows) = &with_others {
            self.counts.rescued.count(OTHERS, rows.count_set_bits() as u64);
        }
        let rows = rescued.iter().map(|(_, rows, _)| rows.clone()).chain(with_others).reduce(|a, b| &a | &b);
        let Some(rows) = rows else { return Ok(new_null_array(&ColumnType::Json.arrow_type(), self.rows)) };
        self.json(&Encoder::picking(rescued, others), Some(&NullBuffer::new(rows)))
    }

    fn json(&mut self, encoder: &Encoder, nulls: Option<&NullBuffer>) -> Result<ArrayRef, CastError> {
        let left = self.most_json_bytes.saturating_sub(self.json_bytes);
        match encode_within(encoder, self.rows, nulls, self.counts, left)? {
            Encoded::Whole(encoded) => {
                self.json_bytes += encoded.value_data().len() as u64;
                Ok(Arc::new(encoded))
            }
            Encoded::Part { rows, bytes } => {
                // Of a row, by the average of what was written. An eighth less, as the next rows are not the same ones.
                let row_bytes = self.json_bytes / (self.rows as u64).max(1) + bytes / (rows as u64).max(1);
                let fit = self.most_json_bytes / row_bytes.max(1) / 8 * 7;
                Err(CastError::OverBudget(usize::try_from(fit).unwrap_or(self.rows).max(1)))
            }
        }
    }
}
