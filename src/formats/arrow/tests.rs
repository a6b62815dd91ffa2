//! What can't be read, and what is refused or cut before it takes memory.

use super::*;
use crate::formats::limits::BATCH_BYTES;
use crate::formats::reading_test::{Reading, fixture, inspect, read};
use arrow::array::{ArrayRef, AsArray as _, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use std::sync::Arc;

fn stream(columns: Vec<(&str, ArrayRef)>) -> Bytes {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

#[test]
fn what_is_no_stream_or_big_endian_is_told() {
    let error = inspect(Format::Arrow, &fixture("big_endian.arrows")).unwrap_err().to_string();
    assert!(error.contains("big-endian"), "{error}");
    let error = inspect(Format::Arrow, &Bytes::from_static(b"Obj\x01 and so on")).unwrap_err().to_string();
    assert!(error.contains("ARROW1") && error.contains("it begins with \"Obj\\x01"), "{error}");
    let mut long = CONTINUATION.to_vec();
    long.extend(i32::MAX.to_le_bytes());
    let error = inspect(Format::Arrow, &long.into()).unwrap_err().to_string();
    assert!(error.contains("2147483647"), "{error}");
}

#[test]
fn dictionaries_behind_what_needs_them_are_told() {
    let error = read(Format::Arrow, &fixture("polars_categories.arrow"), &Reading::default()).1.unwrap().to_string();
    assert!(error.contains("its dictionaries do not come before it") && error.contains("as a stream"), "{error}");
}

/// A word of 256 KiB that a thousand rows refer to is as many MiB when it is plain.
#[test]
fn a_dictionary_of_large_values_makes_small_batches() {
    const ROWS: usize = 200;
    const VALUE_BYTES: usize = 256 << 10;
    let words = StringArray::from(vec!["x".repeat(VALUE_BYTES)]);
    let column = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; ROWS]), Arc::new(words));
    let (batches, error) = read(Format::Arrow, &stream(vec![("word", Arc::new(column))]), &Reading::default());
    assert!(error.is_none());
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), ROWS);
    for batch in &batches {
        assert!(batch.column(2).as_string::<i32>().values().len() as u64 <= 2 * BATCH_BYTES);
    }
}

#[test]
fn a_stream_may_stop_between_messages_and_nowhere_else() {
    let object = fixture("pyarrow_deltas.arrows");
    let ended = |length| read(Format::Arrow, &object.slice(..length), &Reading::default()).1;
    // Eight bytes say that it ends.
    assert!(ended(object.len()).is_none() && ended(object.len() - 8).is_none());
    for length in [object.len() - 4, object.len() - 9, object.len() - 30] {
        assert!(ended(length).unwrap().to_string().contains(" a message"), "{length}");
    }
    let file = fixture("pyarrow_deltas.arrow");
    for length in [file.len() - 1, file.len() - 10] {
        let error = read(Format::Arrow, &file.slice(..length), &Reading::default()).1;
        assert!(error.unwrap().to_string().contains("stops in its footer"), "{length}");
    }
}
