//! S3 as this plugin uses it: connect, list in pages, read ranges tied to an ETag. Nothing in this folder knows about
//! gRPC, Arrow or tables.
//!
//! [`Store`] is one bucket with one set of credentials. Its requests wait in line when S3 asks for fewer of them (`pace`),
//! its calls retry by themselves ([`retry`]) and fail with an [`Error`] that carries bucket, key, status, S3's own code
//! and the request id, so that a message can say what was tried and what to do. Requests and bytes are counted in
//! [`Usage`].

pub mod connect;
pub mod error;
pub mod list;
mod pace;
pub mod probe;
pub mod read;
pub mod retry;

pub use error::chain as error_chain;
pub use error::{Error, ErrorKind, Operation};
pub use list::Pages;
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
    /// Shown in the first log line of a sync; without user info.
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

    /// Where requests go, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inner.endpoint
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

/// An entity tag as S3 gave it, quotes included. Stored in 24 bytes for the usual forms, since a sync keeps one for each
/// listed object: an MD5 digest, or an MD5 digest and the number of parts of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(Repr);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// `"<32 lower-case hex digits>"`, with `-<parts>` when `parts` is not zero.
    Digest { digest: [u8; 16], parts: u32 },
    /// Anything else, as it is.
    Text(Box<str>),
}

impl ETag {
    /// Takes the text of an `ETag` header or element.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Self::digest(text).unwrap_or_else(|| Repr::Text(text.into())))
    }

    fn digest(text: &str) -> Option<Repr> {
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        let (hex, parts) = match inner.split_once('-') {
            // A leading zero would not survive the round trip.
            Some((_, parts)) if parts.starts_with('0') || !parts.bytes().all(|b| b.is_ascii_digit()) => return None,
            Some((hex, parts)) => (hex, parts.parse().ok()?),
            None => (inner, 0),
        };
        let hex = hex.as_bytes();
        if hex.len() != 32 {
            return None;
        }
        let nibble = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let mut digest = [0; 16];
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Repr::Digest { digest, parts })
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Text(text) => f.write_str(text),
            Repr::Digest { digest, parts } => {
                f.write_str("\"")?;
                for byte in digest {
                    write!(f, "{byte:02x}")?;
                }
                if *parts > 0 {
                    write!(f, "-{parts}")?;
                }
                f.write_str("\"")
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_come_back_as_they_were() {
        for text in [
            "\"d41d8cd98f00b204e9800998ecf8427e\"",
            "\"d41d8cd98f00b204e9800998ecf8427e-12\"",
            "\"d41d8cd98f00b204e9800998ecf8427e-012\"",
            "\"d41d8cd98f00b204e9800998ecf8427e-+1\"",
            "\"D41D8CD98F00B204E9800998ECF8427E\"",
            "d41d8cd98f00b204e9800998ecf8427e",
            "\"xyz\"",
            "",
        ] {
            assert_eq!(ETag::new(text).to_string(), text);
        }
        assert!(matches!(ETag::new("\"d41d8cd98f00b204e9800998ecf8427e-12\"").0, Repr::Digest { parts: 12, .. }));
    }

    #[test]
    fn an_etag_takes_24_bytes() {
        assert_eq!(size_of::<Option<ETag>>(), 24);
    }
}
