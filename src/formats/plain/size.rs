//! How much an array takes once it is plain: dictionaries, runs and views may say a value once and mean it many times.

use arrow::array::cast::AsArray as _;
use arrow::array::types::{ByteArrayType, ByteViewType};
use arrow::array::{AnyDictionaryArray, Array, GenericByteArray, GenericByteViewArray, OffsetSizeTrait};
use arrow::datatypes::{ArrowNativeType as _, DataType};

/// What a value takes at least, whatever its type: one without bytes becomes a `null` in JSON all the same.
const LEAST_VALUE_BYTES: u64 = 5;

/// Roughly, and never less than half of what it is for arrays that hide their size.
pub(in crate::formats) fn plain_bytes(array: &dyn Array) -> u64 {
    let rows = array.len() as u64;
    let own = match array.data_type() {
        DataType::Utf8View => viewed(array.as_string_view()),
        DataType::BinaryView => viewed(array.as_binary_view()),
        DataType::Dictionary(..) => array.as_any_dictionary_opt().map_or(0, of_dictionary),
        DataType::RunEndEncoded(..) => {
            let values = array.to_data().child_data().get(1).map(|values| arrow::array::make_array(values.clone()));
            values.map_or(0, |values| largest(&values).saturating_mul(rows))
        }
        DataType::List(_) => spans(array.as_list::<i32>().value_offsets(), array.as_list::<i32>().values()),
        DataType::LargeList(_) => spans(array.as_list::<i64>().value_offsets(), array.as_list::<i64>().values()),
        DataType::Map(..) => spans(array.as_map().value_offsets(), array.as_map().entries()),
        DataType::ListView(_) => {
            let list = array.as_list_view::<i32>();
            views(list.value_sizes().iter().map(|size| size.as_usize()), list.values())
        }
        DataType::LargeListView(_) => {
            let list = array.as_list_view::<i64>();
            views(list.value_sizes().iter().map(|size| size.as_usize()), list.values())
        }
        DataType::FixedSizeList(..) => plain_bytes(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| plain_bytes(column)).sum(),
        DataType::Union(..) => {
            // Of a dense one a slice has all of each branch.
            let data = array.to_data();
            let all: u64 =
                data.child_data().iter().map(|child| child.get_slice_memory_size().unwrap_or(0) as u64).sum();
            let values: u64 = data.child_data().iter().map(|child| child.len() as u64).sum();
            (all / values.max(1)).saturating_mul(rows)
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or(0) as u64,
    };
    own.max(rows.saturating_mul(LEAST_VALUE_BYTES))
}

fn viewed<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> u64 {
    array.lengths().map(u64::from).sum()
}

fn of_dictionary(array: &dyn AnyDictionaryArray) -> u64 {
    let keys = array.normalized_keys();
    let rows = keys.len() as u64;
    let values = array.values();
    let sum = |length: &dyn Fn(usize) -> usize| -> u64 {
        let there = keys.iter().filter(|key| **key < values.len());
        there.map(|key| length(*key) as u64).sum()
    };
    match values.data_type() {
        DataType::Utf8 => sum(&|key| length_of(values.as_string::<i32>(), key)),
        DataType::LargeUtf8 => sum(&|key| length_of(values.as_string::<i64>(), key)),
        DataType::Binary => sum(&|key| length_of(values.as_binary::<i32>(), key)),
        DataType::LargeBinary => sum(&|key| length_of(values.as_binary::<i64>(), key)),
        _ => largest(values).saturating_mul(rows),
    }
}

fn length_of<T: ByteArrayType>(array: &GenericByteArray<T>, index: usize) -> usize {
    array.value_length(index).as_usize()
}

/// The largest value, where values may differ, or else their average.
fn largest(array: &dyn Array) -> u64 {
    let most = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0) as u64;
    match array.data_type() {
        DataType::Utf8 => most(&mut (0..array.len()).map(|row| length_of(array.as_string::<i32>(), row))),
        DataType::LargeUtf8 => most(&mut (0..array.len()).map(|row| length_of(array.as_string::<i64>(), row))),
        DataType::Binary => most(&mut (0..array.len()).map(|row| length_of(array.as_binary::<i32>(), row))),
        DataType::LargeBinary => most(&mut (0..array.len()).map(|row| length_of(array.as_binary::<i64>(), row))),
        DataType::Utf8View => array.as_string_view().lengths().max().unwrap_or(0).into(),
        DataType::BinaryView => array.as_binary_view().lengths().max().unwrap_or(0).into(),
        _ => (plain_bytes(array) / (array.len() as u64).max(1)).max(LEAST_VALUE_BYTES),
    }
}

fn spans<O: OffsetSizeTrait>(offsets: &[O], values: &dyn Array) -> u64 {
    let first = offsets.first().map_or(0, |first| first.as_usize());
    let end = offsets.last().map_or(first, |last| last.as_usize());
    plain_bytes(&values.slice(first, end - first))
}

fn views(sizes: impl Iterator<Item = usize>, values: &dyn Array) -> u64 {
    let items: u64 = sizes.map(|size| size as u64).sum();
    items.saturating_mul(largest(values))
}
