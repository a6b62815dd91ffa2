//! Why the state cannot be read or was not written.

use super::target::TargetError;
use super::{WRITE, calls};
use crate::cloudquery::ipc::EncodeError;
use std::time::Duration;
use tonic::Code;

/// Why the state cannot be read or was not written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// One of the two strings is missing.
    #[error("backend_options must contain both connection and table_name: {missing} is empty")]
    Options {
        /// The empty one.
        missing: &'static str,
    },
    /// The state could not be loaded.
    #[error("failed to create state client: {0}")]
    Open(#[from] OpenError),
    /// The state could not be read once more before it is written.
    #[error("failed to read the state in the backend's table {table:?} again: {reason}")]
    Refresh {
        /// The state table.
        table: String,
        /// What the backend answered.
        reason: String,
    },
    /// The changed keys may or may not have been written.
    #[error("failed to write state to the backend's table {table:?}: {reason}")]
    Flush {
        /// The state table.
        table: String,
        /// What the backend answered.
        reason: String,
    },
}

/// What went wrong while the state was loaded.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `connection` is not a target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Nothing answers there.
    #[error("connect to the backend at {target:?}: {reason}")]
    Connect {
        /// `connection`, as given.
        target: String,
        /// What the system says.
        reason: String,
    },
    /// The backend is too old or too new. The text is that of CloudQuery's SDK.
    #[error("please upgrade your state backend plugin. state supporting version 3 plugin has {versions:?}")]
    Versions {
        /// What it speaks.
        versions: Vec<i32>,
    },
    /// A call failed.
    #[error("{call} of the state table {table:?}: {reason}")]
    Call {
        /// What was tried.
        call: &'static str,
        /// The state table.
        table: String,
        /// The answer's status.
        code: Code,
        /// The backend said so itself; else the connection or the time ended.
        answered: bool,
        /// What the backend answered.
        reason: String,
    },
    /// The backend's rows are not those of a state table.
    #[error(
        "the backend's table {table:?} is not a state table: {reason}; give another table_name in backend_options, or \
         drop that table"
    )]
    Table {
        /// The state table.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// Our bug.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl OpenError {
    /// Whether another try would fail the same way.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Connect { .. } => false,
            Self::Call { call, code, answered, reason, .. } => {
                calls::is_final(*code) || (*call == WRITE && *answered && calls::is_of_migration(reason))
            }
            Self::Target(_) | Self::Versions { .. } | Self::Table { .. } | Self::Encode(_) => true,
        }
    }

    /// The same, with a word about how often it was tried.
    pub(super) fn after(mut self, tries: u32, elapsed: Duration) -> Self {
        if let Self::Connect { reason, .. } | Self::Call { reason, .. } = &mut self {
            reason.push_str(&format!(" (tried {tries} times in {} s)", elapsed.as_secs()));
        }
        self
    }
}
