//! Arrow IPC streams as the protocol wants them: a schema alone, or a schema and exactly one record batch.
//!
//! A table sends many small batches and every message repeats the schema, so [`BatchEncoder`] encodes the schema once
//! and copies it from then on. A batch is written straight from its Arrow buffers into the message: one copy of the
//! data, also where the batch is a slice. Buffers are uncompressed and dictionaries do not occur.

use arrow::{
    array::{Array, ArrayRef, AsArray as _, RecordBatch},
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::StreamWriter,
};
use bytes::Bytes;
use std::sync::{Mutex, PoisonError};

/// The end of an IPC stream: the continuation marker and a length of 0.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// The writer pads every buffer to a multiple of this.
const ALIGNMENT_BYTES: usize = 64;
/// Upper bound of the fixed part of a record batch message: its length words, the flatbuffer's tables and padding.
const MESSAGE_OVERHEAD_BYTES: usize = 320;
/// Bytes that a field node (length, null count) or a buffer (offset, length) takes in a message's metadata.
const METADATA_ENTRY_BYTES: usize = 16;

/// A batch or schema that cannot become a message. Both are bugs of the caller.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The batch has other columns than the table's schema says.
    #[error("a record batch of table `{table}` does not have the table's schema; expected {expected}, got {got}")]
    OtherSchema {
        /// The table.
        table: String,
        /// The announced fields.
        expected: String,
        /// The batch's fields.
        got: String,
    },
    /// Arrow refused it.
    #[error("encode Arrow data: {0}")]
    Arrow(#[from] ArrowError),
}

/// The schema as an IPC stream without batches (migrate messages, GetTables).
///
/// # Errors
/// [`EncodeError::Arrow`] for a type that IPC cannot carry.
pub fn encode_schema(schema: &Schema) -> Result<Bytes, EncodeError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    Ok(writer.into_inner()?.into())
}

/// Encodes the record batches of one table. Shared by all tasks that read the table's objects.
pub struct BatchEncoder {
    schema: SchemaRef,
    /// The encoded schema message: what every message begins with.
    prefix: Bytes,
    /// Writers that are not in use; each has its schema behind it. A writer is taken out for one batch, so the lock is
    /// held for a push or a pop only. There are as many as batches were ever encoded at the same time.
    idle: Mutex<Vec<StreamWriter<Vec<u8>>>>,
}

impl std::fmt::Debug for BatchEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchEncoder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl BatchEncoder {
    /// An encoder for batches that have exactly this schema.
    ///
    /// # Errors
    /// [`EncodeError::Arrow`] for a type that IPC cannot carry.
    pub fn new(schema: SchemaRef) -> Result<Self, EncodeError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        let prefix = std::mem::take(writer.get_mut()).into();
        Ok(Self { schema, prefix, idle: Mutex::new(vec![writer]) })
    }

    /// The schema that every message carries.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What every message begins with: the encoded schema, in bytes. It grows with the number of columns, not of rows.
    pub fn schema_bytes(&self) -> usize {
        self.prefix.len()
    }

    /// An upper bound, in bytes, of what [`Self::encode`] makes of this batch. Cheap: looks at offsets, not at data.
    pub fn encoded_size_bytes(&self, batch: &RecordBatch) -> usize {
        self.prefix.len() + encoded_size_bytes(batch) + END_OF_STREAM.len()
    }

    /// The batch (or slice of one) as a complete IPC stream.
    ///
    /// # Errors
    /// [`EncodeError::OtherSchema`] when the batch's schema is not the table's.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Bytes, EncodeError> {
        if !std::ptr::eq(batch.schema_ref().as_ref(), self.schema.as_ref()) && batch.schema_ref() != &self.schema {
            return Err(self.other_schema(batch));
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut writer = match taken {
            Some(writer) => writer,
            None => StreamWriter::try_new(Vec::with_capacity(self.prefix.len()), &self.schema)?,
        };
        let mut message = Vec::with_capacity(self.encoded_size_bytes(batch));
        message.extend_from_slice(&self.prefix);
        *writer.get_mut() = message;
        writer.write(batch)?; // a writer that failed is not used again
        let mut message = std::mem::take(writer.get_mut());
        idle().push(writer);
        message.extend_from_slice(&END_OF_STREAM);
        Ok(message.into())
    }

    fn other_schema(&self, batch: &RecordBatch) -> EncodeError {
        let fields = |schema: &Schema| {
            let fields = schema.fields().iter();
            fields.map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>().join(", ")
        };
        EncodeError::OtherSchema {
            table: super::schema::table_name(&self.schema).unwrap_or_default().to_owned(),
            expected: fields(&self.schema),
            got: fields(batch.schema_ref()),
        }
    }
}

/// An upper bound, in bytes, of a record batch message (without the schema that precedes it). For a slice only the rows
/// of the slice count. Exceeds the true size by a few hundred bytes at most.
pub fn encoded_size_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(column_size_bytes).sum::<usize>() + MESSAGE_OVERHEAD_BYTES
}

/// One column's buffers, padded, and its entries in the metadata.
fn column_size_bytes(column: &ArrayRef) -> usize {
    let rows = column.len();
    let validity_bytes = if column.nulls().is_some_and(|nulls| nulls.null_count() > 0) { rows.div_ceil(8) } else { 0 };
    // The node, the validity buffer and one more buffer.
    let entries = 3 * METADATA_ENTRY_BYTES + padded(validity_bytes);
    let offsets = || padded((rows + 1) * size_of::<i32>()) + METADATA_ENTRY_BYTES;
    match column.data_type() {
        DataType::Null => METADATA_ENTRY_BYTES,
        DataType::Boolean => entries + padded(rows.div_ceil(8)),
        DataType::Utf8 => entries + offsets() + padded(span(column.as_string::<i32>().value_offsets())),
        DataType::Binary => entries + offsets() + padded(span(column.as_binary::<i32>().value_offsets())),
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            entries + offsets() + child_size_bytes(list.values(), list.value_offsets())
        }
        DataType::FixedSizeBinary(width) => entries + padded(rows * usize::try_from(*width).unwrap_or(0)),
        other => match other.primitive_width() {
            Some(width) => entries + padded(rows * width),
            // Types that are never sent (they are cast before): good enough an estimate.
            None => {
                entries + padded(column.to_data().get_slice_memory_size().unwrap_or(column.get_array_memory_size()))
            }
        },
    }
}

/// The part of a list's values that its rows refer to.
fn child_size_bytes(values: &ArrayRef, offsets: &[i32]) -> usize {
    let start = offsets.first().map_or(0, |&first| usize::try_from(first).unwrap_or(0));
    column_size_bytes(&values.slice(start, span(offsets)))
}

/// How many values (or bytes) lie between the first offset and the last.
fn span(offsets: &[i32]) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => usize::try_from(last - first).unwrap_or(0),
        _ => 0,
    }
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudquery::schema;
    use crate::schema::types::ColumnType;
    use arrow::{
        array::{BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Int64Array, ListArray, StringArray},
        datatypes::Int32Type,
        ipc::reader::StreamReader,
    };
    use std::sync::Arc;

    /// A batch of every type that is sent, with nulls.
    fn batch(rows: usize) -> RecordBatch {
        let n = |row: usize| i64::try_from(row).unwrap();
        let some = |row: &usize| !row.is_multiple_of(3);
        let schema = schema::table_schema(
            "orders",
            [
                schema::cq_id_field(),
                schema::field("n", &ColumnType::Int64, true),
                schema::field("text", &ColumnType::Utf8, true),
                schema::field("doc", &ColumnType::Json, true),
                schema::field("flag", &ColumnType::Boolean, false),
                schema::field("price", &ColumnType::Decimal128 { precision: 10, scale: 2 }, true),
                schema::field("list", &ColumnType::List(Box::new(ColumnType::Int32)), true),
            ],
        );
        let ids: Vec<[u8; 16]> = (0..rows).map(|row| [u8::try_from(row % 256).unwrap(); 16]).collect();
        let ids = if rows == 0 {
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(std::iter::empty::<Option<[u8; 16]>>(), 16).unwrap()
        } else {
            FixedSizeBinaryArray::try_from_iter(ids.into_iter()).unwrap()
        };
        let text = |row: usize| "x".repeat(row % 50);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids),
            Arc::new((0..rows).map(|row| some(&row).then_some(n(row))).collect::<Int64Array>()),
            Arc::new((0..rows).map(|row| some(&row).then(|| text(row))).collect::<StringArray>()),
            Arc::new((0..rows).map(|row| some(&row).then(|| format!("[{row}]"))).collect::<BinaryArray>()),
            Arc::new((0..rows).map(|row| Some(some(&row))).collect::<BooleanArray>()),
            Arc::new(
                (0..rows)
                    .map(|row| some(&row).then_some(i128::from(n(row))))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..rows).map(|row| some(&row).then(|| (0..row % 7).map(|i| Some(i32::try_from(i).unwrap())))),
            )),
        ];
        RecordBatch::try_new(schema, columns).unwrap()
    }

    fn decode(message: &[u8]) -> (SchemaRef, Vec<RecordBatch>) {
        let reader = StreamReader::try_new(message, None).unwrap();
        (reader.schema(), reader.map(Result::unwrap).collect())
    }

    #[test]
    fn a_schema_alone_has_no_batches_and_keeps_its_metadata() {
        let schema = batch(1).schema();
        let (decoded, batches) = decode(&encode_schema(&schema).unwrap());
        assert_eq!(decoded, schema);
        assert_eq!(batches, []);
    }

    #[test]
    fn every_message_holds_the_schema_and_exactly_one_batch() {
        let whole = batch(100);
        let encoder = BatchEncoder::new(whole.schema()).unwrap();
        for slice in [whole.clone(), whole.slice(0, 1), whole.slice(13, 40), whole.slice(99, 1)] {
            let message = encoder.encode(&slice).unwrap();
            assert!(message.ends_with(&END_OF_STREAM));
            let (schema, batches) = decode(&message);
            assert_eq!(schema, whole.schema());
            assert_eq!(batches, [slice]);
        }
    }

    #[test]
    fn messages_equal_those_of_a_plain_stream_writer() {
        let whole = batch(50);
        let encoder = BatchEncoder::new(whole.schema()).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &whole.schema()).unwrap();
        writer.write(&whole).unwrap();
        writer.finish().unwrap();
        let expected = writer.into_inner().unwrap();
        assert_eq!(encoder.encode(&whole).unwrap(), expected);
        assert_eq!(encoder.encode(&whole).unwrap(), expected, "the second one, from a used writer");
    }

    #[test]
    fn the_size_is_an_upper_bound_and_close() {
        const SLACK_BYTES: usize = 700;
        let whole = batch(5_000);
        let encoder = BatchEncoder::new(whole.schema()).unwrap();
        for (offset, rows) in [(0, 5_000), (0, 0), (17, 1), (4_000, 500), (64, 128), (4_999, 1)] {
            let slice = whole.slice(offset, rows);
            let (bound, size) = (encoder.encoded_size_bytes(&slice), encoder.encode(&slice).unwrap().len());
            assert!(size <= bound, "{rows} rows at {offset}: {size} bytes, bound {bound}");
            assert!(bound <= size + SLACK_BYTES, "{rows} rows at {offset}: {size} bytes, bound {bound}");
        }
    }

    #[test]
    fn a_batch_of_another_schema_is_refused_by_name() {
        let encoder = BatchEncoder::new(batch(1).schema()).unwrap();
        let other = batch(1).project(&[0, 1]).unwrap();
        let error = encoder.encode(&other).unwrap_err().to_string();
        assert!(error.contains("`orders`") && error.contains("got _cq_id"), "{error}");
        assert!(encoder.encode(&batch(2)).is_ok());
    }

    #[test]
    fn one_encoder_serves_several_threads() {
        let whole = batch(300);
        let encoder = BatchEncoder::new(whole.schema()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (encoder, whole) = (&encoder, &whole);
                scope.spawn(move || {
                    for start in 0..50 {
                        let slice = whole.slice(start + thread, 20);
                        assert_eq!(decode(&encoder.encode(&slice).unwrap()).1, [slice]);
                    }
                });
            }
        });
        assert!(encoder.idle.lock().unwrap().len() <= 4);
    }
}
