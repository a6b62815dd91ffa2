//! Lists, structs and maps as Arrow types: their own nulls and offsets stay, what is in them is cast.

use super::CastCounts;
use super::cast::{self, CastError, unexpected};
use crate::schema::field::{FieldKind, FileField};
use crate::schema::types::ColumnType;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// Casts `array`, which was read from `field`, to the nested type `target`; `second` as in [`cast::cast`].
pub(crate) fn cast(
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
            let values = cast::cast(item, item_target, list.values(), second, counts)?;
            Arc::new(ListArray::try_new(item_field, list.offsets().clone(), values, list.nulls().cloned())?)
        }
        (FieldKind::Struct(fields), ColumnType::Struct(targets), DataType::Struct(output)) => {
            let read = array.as_struct_opt().ok_or_else(mismatch)?;
            let second = second.and_then(|second| second.as_struct_opt());
            let mut columns = Vec::with_capacity(fields.len());
            for (index, (field, (_, target))) in fields.iter().zip(targets).enumerate() {
                let column = read.columns().get(index).ok_or_else(mismatch)?;
                let second = second.and_then(|second| second.columns().get(index));
                columns.push(cast::cast(field, target, column, second, counts)?);
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
            let keys = cast::cast(key, key_target, map.keys(), second.map(MapArray::keys), counts)?;
            let values = cast::cast(value, value_target, map.values(), second.map(MapArray::values), counts)?;
            let DataType::Struct(pair) = entries.data_type() else { return Err(mismatch()) };
            let pairs = StructArray::try_new(pair.clone(), vec![keys, values], None)?;
            Arc::new(MapArray::try_new(entries, map.offsets().clone(), pairs, map.nulls().cloned(), sorted)?)
        }
        _ => return Err(mismatch()),
    })
}

#[cfg(test)]
mod tests;
