//! From a reader's arrays to the outgoing types, whatever the format of the file. Columns that already have the outgoing
//! type are passed on without a copy; a cast never panics and never wraps: what doesn't fit becomes null and is counted.
//!
//! Where a file's type is another one than its table's, [`mod@convert`] goes on from there; files that have no types, but texts,
//! are read by [`text`]. [`table_batch`] does all of it for a batch, and collects what the table's columns cannot hold.
//!
//! [`leaf`] casts plain values within the limits of [`calendar`], [`json`] writes nested ones as text; nested types keep their
//! own nulls and offsets, what is in them is cast. [`row_id`], [`origin`] and [`key_values`] make the columns that no file has, of [`row_numbers`]
//! and what is known of the object.

mod by_hand;
pub(crate) mod calendar;
mod canonical;
pub(crate) mod convert;
pub mod counts;
pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod key_values;
pub(crate) mod kinds;
mod leaf;
pub mod origin;
pub(crate) mod restored_ids;
pub mod row_id;
pub mod row_numbers;
pub(crate) mod table_batch;
pub(crate) mod text;

use crate::schema::field::{FieldKind, FileField, Reading};
use crate::schema::types::ColumnType;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::DataType;
use counts::CastCounts;
use error::{CastError, unexpected};
use json::Encoder;
use std::sync::Arc;

/// Casts `array`, which was read from `field`, to `target`: what [`FileField::target_as`] gives, whatever the spec's
/// choice. `second` is the same column as the second reader read it; it must be there when `field.read_twice()`.
pub(crate) fn cast(
    field: &FileField,
    target: &ColumnType,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<ArrayRef, CastError> {
    let mismatch = || unexpected(array, target);
    Ok(match (&field.kind, target) {
        (FieldKind::Leaf { arrow, .. }, _) if array.data_type() != arrow => return Err(mismatch()),
        (FieldKind::Leaf { reading: Reading::Json, .. }, _) => Arc::new(json::check_texts(array.as_string(), counts)?),
        (FieldKind::Leaf { reading, .. }, _) => leaf::cast(*reading, target, array, second, counts)?,
        (_, ColumnType::Json) => {
            let encoder = Encoder::new(field, array, second)?;
            Arc::new(json::encode(&encoder, array.len(), array.nulls(), counts)?)
        }
        _ => cast_nested(field, target, array, second, counts)?,
    })
}

/// Casts to a nested type.
fn cast_nested(
    field: &FileField,
    target: &ColumnType,
    array: &ArrayRef,
    second: Option<&ArrayRef>,
    counts: &CastCounts,
) -> Result<ArrayRef, CastError> {
    let mismatch = || unexpected(array, target);
    Ok(match (&field.kind, target, target.arrow_type()) {
        (FieldKind::List(item), ColumnType::List(item_target), DataType::List(item_field)) => {
            let list = array.as_list_opt::<i32>().ok_or_else(mismatch)?;
            let second = second.and_then(|second| second.as_list_opt::<i32>()).map(ListArray::values);
            let values = cast(item, item_target, list.values(), second, counts)?;
            Arc::new(ListArray::try_new(item_field, list.offsets().clone(), values, list.nulls().cloned())?)
        }
        (FieldKind::Struct(fields), ColumnType::Struct(targets), DataType::Struct(output)) => {
            let read = array.as_struct_opt().ok_or_else(mismatch)?;
            let second = second.and_then(|second| second.as_struct_opt());
            let mut columns = Vec::with_capacity(fields.len());
            for (index, (field, (_, target))) in fields.iter().zip(targets).enumerate() {
                let column = read.columns().get(index).ok_or_else(mismatch)?;
                let second = second.and_then(|second| second.columns().get(index));
                columns.push(cast(field, target, column, second, counts)?);
            }
            Arc::new(StructArray::try_new(output, columns, read.nulls().cloned())?)
        }
        (
            FieldKind::Map { key, value },
            ColumnType::Map { key: key_target, value: value_target },
            DataType::Map(entries, sorted),
        ) => {
            let map = array.as_map_opt().ok_or_else(mismatch)?;
            let second = second.and_then(|second| second.as_map_opt());
            let keys = cast(key, key_target, map.keys(), second.map(MapArray::keys), counts)?;
            let values = cast(value, value_target, map.values(), second.map(MapArray::values), counts)?;
            let DataType::Struct(pair) = entries.data_type() else { return Err(mismatch()) };
            let pairs = StructArray::try_new(pair.clone(), vec![keys, values], None)?;
            Arc::new(MapArray::try_new(entries, map.offsets().clone(), pairs, map.nulls().cloned(), sorted)?)
        }
        _ => return Err(mismatch()),
    })
}
