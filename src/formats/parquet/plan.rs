//! What is known of an object before its row groups are decoded: which of its columns are read, by which readers, and which of the
//! table's they are.

use super::columns::ReadSchema;
use super::errors::footer_error;
use super::projection::Projection;
use crate::formats::Output;
use crate::formats::assemble::Assembly;
use crate::formats::error::ReadError;
use crate::formats::limits::BATCH_ROWS;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// How to read one object's row groups into a table's batches. Made once an object.
#[derive(Debug)]
pub struct ObjectPlan {
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) main: ArrowReaderMetadata,
    pub(super) second: Option<(ArrowReaderMetadata, ProjectionMask)>,
    /// Which of the file's columns are read.
    pub(super) projection: Projection,
    pub(super) assembly: Assembly,
    /// Rows of a batch at most, by what was found in earlier row groups.
    pub(super) learned_rows: AtomicUsize,
}

impl ObjectPlan {
    /// Plans to read the file with the footer `metadata` as rows of `output`'s table.
    ///
    /// # Errors
    /// [`ReadError::SchemaChanged`] when the file's columns are not the table's; [`ReadError::Internal`] when the schema of
    /// `output` isn't the table's.
    pub fn new(metadata: Arc<ParquetMetaData>, output: Output) -> Result<Self, ReadError> {
        let projection = Projection::of(&metadata, &output.rules);
        let source = ReadSchema::from_metadata(&metadata)?;
        let assembly = Assembly::new(&source.fields, output)?;
        let main = reader_metadata(&metadata, source.supplied)?;
        let second = match source.second {
            Some((schema, leaves)) if leaves.iter().any(|leaf| projection.has(*leaf)) => {
                let leaves = leaves.into_iter().filter(|leaf| projection.has(*leaf));
                let mask = ProjectionMask::leaves(metadata.file_metadata().schema_descr(), leaves);
                Some((reader_metadata(&metadata, Some(schema))?, mask))
            }
            _ => None,
        };
        let learned_rows = AtomicUsize::new(BATCH_ROWS);
        Ok(Self { metadata, main, second, projection, assembly, learned_rows })
    }

    /// Rows of a row group, by the footer; 0 if there is none of that index.
    pub(super) fn rows(&self, row_group: usize) -> u64 {
        let group = self.metadata.row_groups().get(row_group);
        group.map_or(0, |group| u64::try_from(group.num_rows()).unwrap_or(0))
    }

    /// The number of a row group's first row in the object, from 0: what
    /// [`RowGroupDecoder::open`](super::row_groups::RowGroupDecoder::open) makes ids from.
    pub fn first_row(&self, row_group: usize) -> u64 {
        (0..row_group).map(|before| self.rows(before)).sum()
    }
}

fn reader_metadata(
    metadata: &Arc<ParquetMetaData>,
    supplied: Option<SchemaRef>,
) -> Result<ArrowReaderMetadata, ReadError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let options = match supplied {
        Some(schema) => options.with_schema(schema),
        None => options,
    };
    ArrowReaderMetadata::try_new(Arc::clone(metadata), options).map_err(footer_error)
}
