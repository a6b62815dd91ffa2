//! What a table is announced as, and the run of a table that is.

use super::bad_rows;
use super::table::{Objects, Stats, TableRun};
use super::unknown_columns::UnknownColumns;
use crate::cloudquery::ipc::BatchEncoder;
use crate::cloudquery::schema;
use crate::cloudquery::source::{ErrorKind, SourceError};
use crate::config::FileColumns;
use crate::schema::names::file_columns;
use crate::schema::rules::ColumnRules;
use crate::schema::table::TableSchema;
use crate::telemetry::otlp::TableTelemetry;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// The schema as the peer sees it: built from scratch, with CloudQuery's metadata and nothing else. The columns `added`, which
/// say where a row is from, stand behind the ids.
#[must_use]
pub fn announced(name: &str, table: &TableSchema, added: FileColumns) -> SchemaRef {
    let ids = [schema::cq_id_field(), schema::cq_parent_id_field()];
    let added = file_columns(added).map(|(_, name, added)| schema::field(name, added, true));
    let columns = table.columns().iter().map(|column| schema::field(&column.name, &column.column_type, true));
    schema::table_schema(name, ids.into_iter().chain(added).chain(columns))
}

impl TableRun {
    /// The run of a table that is announced as `announced`.
    ///
    /// # Errors
    /// Our bugs.
    pub(crate) fn new(
        name: String,
        columns: TableSchema,
        rules: ColumnRules,
        announced: SchemaRef,
        objects: Objects,
        telemetry: TableTelemetry,
    ) -> Result<Self, SourceError> {
        let encoder = BatchEncoder::new(announced)
            .map_err(|error| SourceError::new(ErrorKind::Internal, format!("table {name}: {error}")))?;
        Ok(Self {
            name,
            schema: Arc::new(columns),
            rules: Arc::new(rules),
            encoder: Arc::new(encoder),
            casts: Arc::default(),
            planned: objects.planned(),
            bad: bad_rows::Counted::default(),
            bad_rows: None,
            unknown: UnknownColumns::default(),
            objects,
            stats: Stats::default(),
            telemetry,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::KeyFilter;
    use crate::schema::file::FileSchema;
    use crate::schema::merge::SchemaMerger;
    use crate::tables::group::Grouper;

    /// The run of a table with `objects` objects of `object_bytes` bytes each and without columns, for tests that only
    /// need one.
    pub fn run(name: &str, objects: usize, object_bytes: u64) -> Arc<TableRun> {
        let filter = KeyFilter::default();
        let mut grouper = Grouper::new(&filter);
        for n in 0..objects {
            let key = format!("{name}/{n}.parquet");
            let (size_bytes, etag, last_modified_s, archived) = (object_bytes, None, 0, false);
            grouper.add(crate::s3::ObjectMeta { key, size_bytes, etag, last_modified_s, archived });
        }
        let objects_of_table = Objects::new(grouper.finish().tables.remove(0));
        (0..objects).for_each(|index| objects_of_table.mark_ready(index, None, object_bytes, 1));
        let mut merger = SchemaMerger::new();
        merger.add("k", FileSchema { columns: Vec::new() });
        let columns = merger.finish().unwrap().unwrap().schema;
        let announced = announced(name, &columns, FileColumns::default());
        let telemetry = TableTelemetry::default();
        Arc::new(
            TableRun::new(name.to_owned(), columns, ColumnRules::default(), announced, objects_of_table, telemetry)
                .unwrap(),
        )
    }
}
