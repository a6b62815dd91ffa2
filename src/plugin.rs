//! The S3 source. Temporary: speaks the protocol, syncs nothing.

use crate::cloudquery::source::{ErrorKind, Selection, Source, SourceError, SyncRequest, SyncSink, TestFailure};
use arrow::datatypes::SchemaRef;
use tokio_util::sync::CancellationToken;

/// The source plugin.
#[derive(Debug)]
pub struct S3Source {}

impl S3Source {
    /// A source that stops its work when `shutdown` fires.
    pub fn new(_shutdown: CancellationToken) -> Self {
        Self {}
    }
}

impl Source for S3Source {
    type Client = ();

    fn spec_schema(&self) -> String {
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["bucket"]}"#.to_owned()
    }

    fn init(&self, spec: &[u8], no_connection: bool) -> Result<(), SourceError> {
        let spec: serde_json::Value = match spec {
            b"" => serde_json::Value::Null,
            spec => serde_json::from_slice(spec)
                .map_err(|error| SourceError::new(ErrorKind::InvalidSpec, error.to_string()))?,
        };
        match spec["bucket"].as_str() {
            None if !no_connection => Err(SourceError::new(ErrorKind::InvalidSpec, "bucket: required")),
            _ => Ok(()),
        }
    }

    async fn tables(&self, _: &(), _: Selection) -> Result<Vec<SchemaRef>, SourceError> {
        Ok(Vec::new())
    }

    async fn sync(&self, _: &(), _: SyncRequest, _: SyncSink, _: CancellationToken) -> Result<(), SourceError> {
        Ok(())
    }

    async fn test_connection(&self, _: &[u8]) -> Result<(), TestFailure> {
        Ok(())
    }
}
