//! S3 as this plugin uses it: connect, list in pages, read ranges tied to an ETag. Nothing in this folder knows about
//! gRPC, Arrow or tables.
//!
//! [`Store`] is one bucket with one set of credentials. Its requests wait in line when S3 asks for fewer of them (`pace`),
//! its calls retry by themselves ([`retry`]) and fail with an [`Error`] that carries bucket, key, status, S3's own code
//! and the request id, so that a message can say what was tried and what to do. Requests and bytes are counted in
//! [`Usage`].

pub mod coalesce;
pub mod connect;
pub mod error;
mod etag;
mod failure;
pub mod list;
mod pace;
pub mod probe;
pub mod read;
pub mod retry;

pub use error::{Error, ErrorKind, Operation};
pub use etag::ETag;
pub use read::{ByteRange, Fetched};
pub use retry::RetryBudget;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One bucket, reachable. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    client: aws_sdk_s3::Client,
    bucket: String,
    /// For people; without user info.
    endpoint: String,
    /// The endpoint was given by the user, so it stays in another region.
    custom_endpoint: bool,
    request_payer: bool,
    /// How many requests there may be at a time, over all objects.
    pace: Arc<pace::Pace>,
    usage: Usage,
    /// When the endpoint last answered anything, so that "it never answers" can be told from "this object fails".
    liveness: retry::Liveness,
}

impl Store {
    /// The bucket's name, or the access point's ARN.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.inner.bucket
    }

    /// Counters of all requests made through this store.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.inner.usage
    }

    fn payer(&self) -> Option<aws_sdk_s3::types::RequestPayer> {
        self.inner.request_payer.then_some(aws_sdk_s3::types::RequestPayer::Requester)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("bucket", &self.inner.bucket).field("endpoint", &self.inner.endpoint).finish()
    }
}

/// What was asked of S3 so far. Requests are counted as sent, retries included.
#[derive(Debug, Default)]
pub struct Usage {
    /// ListObjectsV2 requests.
    pub lists: AtomicU64,
    /// GetObject requests.
    pub gets: AtomicU64,
    /// Body bytes received by GetObject.
    pub bytes: AtomicU64,
    /// Attempts that failed and were tried again.
    pub retries: AtomicU64,
}

impl Usage {
    fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// One object as the listing shows it.
#[derive(Debug, Clone)]
pub struct ObjectMeta {
    /// The whole key.
    pub key: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Entity tag, where the listing has one.
    pub etag: Option<ETag>,
    /// Last modification, whole seconds since 1970 (S3 lists no finer).
    pub last_modified_s: i64,
    /// The object is in an archive class and not restored: a GET would answer `InvalidObjectState`.
    pub archived: bool,
}
