//! Why an object or a whole sync could not go on.

use crate::cloudquery::ipc::EncodeError;
use crate::cloudquery::source::{ErrorKind, SourceError};
use crate::formats::error::ReadError;
use crate::memory::head_room::HeadTooLarge;
use crate::s3;

/// Why an object (or what it stands for) could not be sent. Where it is, the caller adds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// S3 refused or did not answer.
    #[error(transparent)]
    S3(#[from] s3::Error),
    /// It is not a sound Parquet file, or not what the table was announced with.
    #[error(transparent)]
    Decode(#[from] ReadError),
    /// The head of the file is larger than memory.
    #[error(transparent)]
    HeadTooLarge(#[from] HeadTooLarge),
    /// A row does not fit into a message.
    #[error(transparent)]
    RowTooLarge(#[from] super::batch::RowTooLarge),
    /// A batch could not be encoded: our bug.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The decoder panicked: damage that it did not foresee.
    #[error("the decoder panicked, the file is probably damaged: {0}")]
    Panic(String),
    /// The object was replaced while it was read, and rows were sent that the new version does not have.
    #[error(
        "it was replaced while it was read: {sent} rows of the old version were sent, the new one has only {rows}; \
         sync again"
    )]
    ReplacedByFewerRows {
        /// Rows of the old version that were sent.
        sent: u64,
        /// Rows of the new version.
        rows: u64,
    },
    /// The object was replaced again and again.
    #[error("it was replaced {times} times while it was read; sync again when nothing writes to it, or `exclude` it")]
    NeverRests {
        /// How often.
        times: u32,
    },
    /// The peer has gone: stop.
    #[error("the peer closed the sync stream")]
    Disconnected,
    /// The process ends.
    #[error("the plugin is stopping")]
    Cancelled,
}

/// The peer has gone.
pub(crate) fn disconnected() -> SourceError {
    SourceError::new(ErrorKind::Cancelled, "the peer closed the sync stream")
}

/// An S3 error that ends the whole call.
pub(crate) fn fatal(error: &s3::Error) -> SourceError {
    let kind = match &error.kind {
        s3::ErrorKind::NoSuchBucket => ErrorKind::NotFound,
        s3::ErrorKind::WrongRegion(_) => ErrorKind::InvalidSpec,
        s3::ErrorKind::AccessDenied(_) => ErrorKind::AccessDenied,
        s3::ErrorKind::Unauthorized => ErrorKind::Unauthorized,
        s3::ErrorKind::Exhausted
        | s3::ErrorKind::Overloaded
        | s3::ErrorKind::Unreachable
        | s3::ErrorKind::EndpointDown
        | s3::ErrorKind::Refused
        | s3::ErrorKind::Changed
        | s3::ErrorKind::Gone
        | s3::ErrorKind::Archived => ErrorKind::Unavailable,
    };
    SourceError::new(kind, error.to_string())
}
