//! Records of an unpacked block, decoded by `arrow-avro` with the schema that they were written with. It is given one record at
//! a time, so that it is known how far it came.

use super::damaged;
use crate::formats::contained::contained;
use crate::formats::error::ReadError;
use crate::formats::limits::{BATCH_BYTES, MAX_VALUE_BYTES};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_avro::reader::{Decoder, DecoderMode, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, SchemaStore};

/// Decodes records.
#[derive(Debug)]
pub(super) struct RowDecoder {
    decoder: Decoder,
}

/// Records that were decoded.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) batch: RecordBatch,
    /// The bytes that they had.
    pub(super) bytes: usize,
}

impl RowDecoder {
    /// Of records of this schema, of which the fields with these indexes are read (`None`: all).
    pub(super) fn new(schema: &str, projection: Option<&[usize]>, most_rows: usize) -> Result<Self, ReadError> {
        let odd = |error: String| ReadError::At { place: "read the schema".to_owned(), what: error };
        let mut store = SchemaStore::new();
        let fingerprint = store.register(AvroSchema::new(schema.to_owned())).map_err(|error| odd(error.to_string()))?;
        let mut builder = ReaderBuilder::new()
            .with_writer_schema_store(store)
            .with_active_fingerprint(fingerprint)
            .with_decoder_mode(DecoderMode::UnframedDatum)
            .with_batch_size(most_rows);
        if let Some(projection) = projection {
            builder = builder.with_projection(projection.to_vec());
        }
        let decoder = contained(|| builder.build_decoder()).map_err(odd)?;
        Ok(Self { decoder })
    }

    /// The columns that are read.
    pub(super) fn schema(&self) -> SchemaRef {
        self.decoder.schema()
    }

    /// Decodes up to `rows` records at the beginning of `bytes`, at least one, about as many as a batch aims at. After an error
    /// the decoder is of no use.
    pub(super) fn decode(&mut self, bytes: &[u8], rows: u64) -> Result<Decoded, String> {
        let (mut at, mut done) = (0, 0);
        while done < rows && !self.decoder.batch_is_full() && (done == 0 || (at as u64) < BATCH_BYTES) {
            let rest = &bytes[at..];
            let datum = &rest[..rest.len().min(usize::try_from(MAX_VALUE_BYTES).unwrap_or(usize::MAX))];
            let read = contained(|| self.decoder.decode(datum))?;
            (at, done) = (at + read, done + 1);
        }
        let batch = contained(|| self.decoder.flush())?;
        let batch = batch.ok_or_else(|| "it gave no records".to_owned())?;
        Ok(Decoded { batch, bytes: at })
    }
}

/// Whether a block of so many bytes can have so many records: only records without any bytes have no limit of their own.
pub(super) fn check_count(rows: u64, unpacked_bytes: u64, at: u64) -> Result<(), ReadError> {
    /// What a block may have of records that take no bytes.
    const MAX_EMPTY_ROWS: u64 = 1 << 20;
    if rows > unpacked_bytes.max(MAX_EMPTY_ROWS) {
        return Err(damaged(format!("the block at byte {at} claims {rows} records in {unpacked_bytes} bytes")));
    }
    Ok(())
}
