//! From the type that a file's column has to the one that its table has, where files differ.
//!
//! A column is first cast to its own outgoing type, by the rules of all tables, and then converted, once a batch. A value is
//! converted only as it is: a number that the table's type does not hold exactly, a text where numbers are, a struct's field
//! that the table lacks are lost for the column, and its row says so: [`super::table_batch`] has the values then. Of nested values
//! what fits stays.

use super::counts::CastCounts;
use super::error::{CastError, unexpected};
use super::json::{self, Encoder};
use crate::config::NestedAs;
use crate::schema::field::{FieldKind, FileField};
use crate::schema::types::ColumnType;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use std::sync::Arc;

pub(super) mod numbers;
pub(super) mod scalar;

/// A column in the table's type.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) array: ArrayRef,
    /// The rows whose value the array does not hold, or only in part. `None`: it holds all of them.
    pub(crate) lost: Option<BooleanBuffer>,
}

impl Converted {
    pub(super) fn whole(array: ArrayRef) -> Self {
        Self { array, lost: None }
    }

    /// Nulls: the type holds none of the values.
    pub(super) fn nothing(target: &ColumnType, array: &ArrayRef) -> Self {
        let lost = match array.nulls() {
            Some(nulls) => nulls.inner().clone(),
            None => BooleanBuffer::new_set(array.len()),
        };
        Self { array: new_null_array(&target.arrow_type(), array.len()), lost: some_set(lost) }
    }
}

/// Whether [`super::cast()`] makes a column of the type `target` of the field as it is.
pub(crate) fn is_cast(field: &FileField, target: &ColumnType) -> bool {
    field.target_as(NestedAs::Native).fits(target) || field.target_as(NestedAs::Json).fits(target)
}

/// Converts `array`, which was read from `field`, to any type `target`; `second` as in [`super::cast()`].
///
/// # Errors
/// As [`super::cast()`].
pub(crate) fn convert(
    field: &FileField,
    target: &ColumnType,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<Converted, CastError> {
    if let FieldKind::Text { reading, .. } = &field.kind {
        return super::text::convert(reading, target, array, counts);
    }
    if is_cast(field, target) {
        return super::cast(field, target, array, second, counts).map(Converted::whole);
    }
    match (&field.kind, target) {
        (_, ColumnType::Json) => {
            let encoder = Encoder::new(field, array, second)?.by_itself();
            let json = json::encode(&encoder, array.len(), array.nulls(), counts)?;
            Ok(Converted::whole(Arc::new(json)))
        }
        (FieldKind::Leaf { .. }, _) => {
            let own = field.target().settled();
            let array = super::cast(field, &own, array, second, counts)?;
            scalar::convert(&own, target, &array)
        }
        (FieldKind::List(item), ColumnType::List(item_target)) => list(item, item_target, array, second, counts),
        (FieldKind::Struct(fields), ColumnType::Struct(targets)) => {
            structs(fields, (target, targets), array, second, counts)
        }
        (FieldKind::Map { key, value }, ColumnType::Map { key: key_target, value: value_target })
            if is_cast(key, key_target) =>
        {
            maps((key, value), (target, key_target, value_target), array, second, counts)
        }
        _ => Ok(Converted::nothing(target, array)),
    }
}

fn list(
    item: &FileField,
    item_target: &ColumnType,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<Converted, CastError> {
    let target = ColumnType::List(Box::new(item_target.clone()));
    let list = array.as_list_opt::<i32>().ok_or_else(|| unexpected(array, &target))?;
    let second = second.and_then(|second| second.as_list_opt::<i32>()).map(ListArray::values);
    let items = convert(item, item_target, list.values(), second, counts)?;
    let DataType::List(item_field) = target.arrow_type() else { return Err(unexpected(array, &target)) };
    let lost = of_spans(items.lost.as_ref(), list.offsets(), list.nulls());
    let list = ListArray::try_new(item_field, list.offsets().clone(), items.array, list.nulls().cloned())?;
    Ok(Converted { array: Arc::new(list), lost })
}

fn maps(
    (key, value): (&FileField, &FileField),
    (target, key_target, value_target): (&ColumnType, &ColumnType, &ColumnType),
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<Converted, CastError> {
    let mismatch = || unexpected(array, target);
    let map = array.as_map_opt().ok_or_else(mismatch)?;
    let second = second.and_then(|second| second.as_map_opt());
    let keys = super::cast(key, key_target, map.keys(), second.map(MapArray::keys), counts)?;
    let values = convert(value, value_target, map.values(), second.map(MapArray::values), counts)?;
    let DataType::Map(entries, sorted) = target.arrow_type() else { return Err(mismatch()) };
    let DataType::Struct(pair) = entries.data_type() else { return Err(mismatch()) };
    let lost = of_spans(values.lost.as_ref(), map.offsets(), map.nulls());
    let pairs = StructArray::try_new(pair.clone(), vec![keys, values.array], None)?;
    let map = MapArray::try_new(entries, map.offsets().clone(), pairs, map.nulls().cloned(), sorted)?;
    Ok(Converted { array: Arc::new(map), lost })
}

/// Field by field, by name; fields that the table lacks are lost where they are not null.
fn structs(
    fields: &[FileField],
    (target, targets): (&ColumnType, &[(String, ColumnType)]),
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<Converted, CastError> {
    let mismatch = || unexpected(array, target);
    let read = array.as_struct_opt().ok_or_else(mismatch)?;
    let second = second.and_then(|second| second.as_struct_opt());
    let DataType::Struct(output) = target.arrow_type() else { return Err(mismatch()) };
    let mut left: Vec<Option<usize>> = (0..fields.len()).map(Some).collect();
    let mut columns = Vec::with_capacity(targets.len());
    let mut lost: Option<BooleanBuffer> = None;
    for (name, target) in targets {
        let found = left.iter_mut().find(|index| index.is_some_and(|index| fields[index].name == *name));
        let Some(index) = found.and_then(Option::take) else {
            columns.push(new_null_array(&target.arrow_type(), array.len()));
            continue;
        };
        let column = read.columns().get(index).ok_or_else(mismatch)?;
        let second = second.and_then(|second| second.columns().get(index));
        let converted = convert(&fields[index], target, column, second, counts)?;
        lost = either(lost, converted.lost);
        columns.push(converted.array);
    }
    for index in left.into_iter().flatten() {
        let column = read.columns().get(index).ok_or_else(mismatch)?;
        lost = either(lost, present(column));
    }
    // Under a null there may be anything.
    let lost = match (lost, array.nulls()) {
        (Some(lost), Some(nulls)) => some_set(&lost & nulls.inner()),
        (lost, _) => lost,
    };
    let array = StructArray::try_new(output, columns, read.nulls().cloned())?;
    Ok(Converted { array: Arc::new(array), lost })
}

/// The rows of `array` that are not null; `None` when there are none.
pub(crate) fn present(array: &ArrayRef) -> Option<BooleanBuffer> {
    match array.logical_nulls() {
        Some(nulls) => some_set(nulls.into_inner()),
        None => some_set(BooleanBuffer::new_set(array.len())),
    }
}

/// The rows of a list or map that have a lost item.
pub(super) fn of_spans(
    lost: Option<&BooleanBuffer>,
    offsets: &OffsetBuffer<i32>,
    nulls: Option<&NullBuffer>,
) -> Option<BooleanBuffer> {
    let lost = lost?;
    let index = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let rows = BooleanBuffer::collect_bool(offsets.len() - 1, |row| {
        nulls.is_none_or(|nulls| nulls.is_valid(row))
            && (index(offsets[row])..index(offsets[row + 1])).any(|item| lost.value(item))
    });
    some_set(rows)
}

/// The rows that are in one of both.
pub(crate) fn either(a: Option<BooleanBuffer>, b: Option<BooleanBuffer>) -> Option<BooleanBuffer> {
    match (a, b) {
        (Some(a), Some(b)) => Some(&a | &b),
        (a, b) => a.or(b),
    }
}

/// `None` of no rows.
pub(super) fn some_set(rows: BooleanBuffer) -> Option<BooleanBuffer> {
    (rows.count_set_bits() > 0).then_some(rows)
}

#[cfg(test)]
mod tests;
