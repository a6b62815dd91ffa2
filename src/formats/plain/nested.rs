//! Nested values made plain. What is sliced is cut to what the slice has, so that cutting a batch into pieces costs no more
//! than the batch.

use super::Column;
use crate::cast::counts::CastCounts;
use crate::cast::error::CastError;
use crate::cast::json::union_texts;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, GenericListArray, ListArray, MapArray, OffsetSizeTrait, StructArray, UnionArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use std::sync::Arc;

/// A list of any kind as one with 32-bit offsets.
pub(super) fn list(item: &Column, array: &ArrayRef, counts: &CastCounts) -> Result<ArrayRef, CastError> {
    let (offsets, values) = match array.data_type() {
        DataType::List(_) => cut_list(array.as_list::<i32>())?,
        DataType::LargeList(_) => cut_list(array.as_list::<i64>())?,
        DataType::ListView(item) => {
            let list = super::fitting(array, &DataType::List(Arc::clone(item)))?;
            cut_list(list.as_list::<i32>())?
        }
        DataType::LargeListView(item) => {
            let list = super::fitting(array, &DataType::LargeList(Arc::clone(item)))?;
            cut_list(list.as_list::<i64>())?
        }
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            let rows = i32::try_from(list.len()).map_err(|_| CastError::TooLarge)?;
            rows.checked_mul(*size).ok_or(CastError::TooLarge)?;
            let offsets: Vec<i32> = (0..=rows).map(|row| row * size).collect();
            (OffsetBuffer::new(offsets.into()), Arc::clone(list.values()))
        }
        other => return Err(CastError::Type(other.to_string(), "list".to_owned())),
    };
    let values = item.array(&values, counts)?;
    Ok(Arc::new(ListArray::try_new(field_of(item, &values, true), offsets, values, array.nulls().cloned())?))
}

/// The offsets of a list from 0 on, and the values that they are about.
fn cut_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Result<(OffsetBuffer<i32>, ArrayRef), CastError> {
    let (offsets, range) = cut_offsets(list.value_offsets())?;
    Ok((offsets, list.values().slice(range.start, range.len())))
}

fn cut_offsets<O: OffsetSizeTrait>(offsets: &[O]) -> Result<(OffsetBuffer<i32>, std::ops::Range<usize>), CastError> {
    let first = offsets.first().map_or(0, |first| first.as_usize());
    let rebased = offsets.iter().map(|offset| i32::try_from(offset.as_usize() - first));
    let rebased: Vec<i32> = rebased.collect::<Result<_, _>>().map_err(|_| CastError::TooLarge)?;
    let end = offsets.last().map_or(first, |last| last.as_usize());
    Ok((OffsetBuffer::new(ScalarBuffer::from(rebased)), first..end))
}

pub(super) fn structs(columns: &[Column], array: &ArrayRef, counts: &CastCounts) -> Result<ArrayRef, CastError> {
    let read = array.as_struct();
    if columns.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(read.len(), read.nulls().cloned())));
    }
    let arrays = columns.iter().zip(read.columns()).map(|(column, array)| column.array(array, counts));
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let fields: Fields = columns.iter().zip(&arrays).map(|(column, array)| field_of(column, array, true)).collect();
    Ok(Arc::new(StructArray::try_new(fields, arrays, read.nulls().cloned())?))
}

pub(super) fn map(key: &Column, value: &Column, array: &ArrayRef, counts: &CastCounts) -> Result<ArrayRef, CastError> {
    let map = array.as_map();
    let (offsets, range) = cut_offsets(map.value_offsets())?;
    let keys = key.array(&map.keys().slice(range.start, range.len()), counts)?;
    let values = value.array(&map.values().slice(range.start, range.len()), counts)?;
    let pair = vec![field_of(key, &keys, key.field.nullable), field_of(value, &values, true)];
    let entries = StructArray::try_new(pair.into(), vec![keys, values], None)?;
    let entries_field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    Ok(Arc::new(MapArray::try_new(entries_field, offsets, entries, map.nulls().cloned(), false)?))
}

fn field_of(column: &Column, array: &ArrayRef, nullable: bool) -> FieldRef {
    Arc::new(Field::new(&column.field.name, array.data_type().clone(), nullable))
}

/// A union as JSON texts, null where the branch's value is.
pub(super) fn union(branches: &[(i8, Column)], array: &ArrayRef, counts: &CastCounts) -> Result<ArrayRef, CastError> {
    let union = array.as_any().downcast_ref::<UnionArray>();
    let union = union.ok_or_else(|| CastError::Type(array.data_type().to_string(), "union".to_owned()))?;
    let mut children = Vec::with_capacity(branches.len());
    let mut at = vec![(branches.len(), 0); union.len()];
    for (index, (id, column)) in branches.iter().enumerate() {
        let rows = || (0..union.len()).filter(|row| union.type_id(*row) == *id);
        // Of a dense union's branch, those values that these rows have.
        let first = rows().map(|row| union.value_offset(row)).min().unwrap_or(0);
        let end = rows().map(|row| union.value_offset(row) + 1).max().unwrap_or(0);
        for row in rows() {
            at[row] = (index, union.value_offset(row) - first);
        }
        let child = union.child(*id).slice(first, end - first);
        children.push((column.field.clone(), column.array(&child, counts)?));
    }
    Ok(Arc::new(union_texts(children, at, counts)?))
}
