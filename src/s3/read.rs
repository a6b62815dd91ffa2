//! GetObject, whole or a range, always tied to one version of the object by its ETag.
//!
//! A body that breaks off is resumed where it ended, under the same ETag, so what [`Store::get`] returns is never a mix
//! of versions. The caller holds the memory for the bytes before it asks for them, and the body is taken as fast as it
//! comes: a stall is S3's, and ends the attempt.

use super::failure::{Failure, classify};
use super::retry::{Attempts, Patience, RetryBudget};
use super::{ETag, Error, ErrorKind, Operation, Store, Usage};
use crate::error_chain::error_chain;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};

/// Which bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// All of it, if it is not larger than expected: there is memory for no more.
    Whole {
        /// Most bytes; a larger object counts as changed.
        most: u64,
    },
    /// The first bytes, at most `len`.
    Prefix {
        /// How many; at least 1.
        len: u64,
    },
    /// The last bytes, at most `len`.
    Suffix {
        /// How many.
        len: u64,
    },
    /// From `start`, `len` bytes, all of which must exist.
    Part {
        /// Offset of the first byte.
        start: u64,
        /// How many; at least 1.
        len: u64,
    },
}

/// What a GET brought.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes, contiguous.
    pub bytes: Bytes,
    /// Offset of the first byte in the object.
    pub start: u64,
    /// The object's size in bytes, as this answer says.
    pub object_bytes: u64,
    /// The version that was read, if S3 names it.
    pub etag: Option<ETag>,
    /// The version's id, in a bucket that has versions.
    pub version: Option<String>,
}

/// The position of a read that may take several attempts.
struct Progress {
    /// First byte wanted, once known (a suffix is relative until the first answer).
    start: Option<u64>,
    /// Bytes wanted in all, once known.
    len: Option<u64>,
    object_bytes: u64,
    etag: Option<ETag>,
    version: Option<String>,
    received: Received,
}

/// Body bytes so far: one chunk is kept as it came, more are put together in one buffer of the right size.
enum Received {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Received {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, chunk: Bytes, total: usize) {
        match self {
            _ if chunk.is_empty() => {}
            Self::Nothing => *self = Self::One(chunk),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(total.max(first.len() + chunk.len()));
                all.extend_from_slice(first);
                all.extend_from_slice(&chunk);
                *self = Self::Many(all);
            }
            Self::Many(all) => all.extend_from_slice(&chunk),
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

impl Store {
    /// Reads `range` of `key`, of the version `etag` if one is given, else of whatever version is there first (its ETag
    /// is in the answer). Dropping the future ends the request.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] when the object no longer has that ETag, `Gone`, `Archived`, … and what S3 answered
    /// last when asking again is of no use, see [`super::retry`].
    pub async fn get(
        &self,
        key: &str,
        range: ByteRange,
        etag: Option<&ETag>,
        budget: &RetryBudget,
    ) -> Result<Fetched, Error> {
        self.get_with(key, range, etag, budget, Patience::OBJECT).await
    }

    pub(super) async fn get_with(
        &self,
        key: &str,
        range: ByteRange,
        etag: Option<&ETag>,
        budget: &RetryBudget,
        patience: Patience,
    ) -> Result<Fetched, Error> {
        let mut progress = Progress {
            start: match range {
                ByteRange::Whole { .. } | ByteRange::Prefix { .. } => Some(0),
                ByteRange::Suffix { .. } => None,
                ByteRange::Part { start, .. } => Some(start),
            },
            len: match range {
                ByteRange::Part { len, .. } => Some(len),
                ByteRange::Whole { .. } | ByteRange::Prefix { .. } | ByteRange::Suffix { .. } => None,
            },
            object_bytes: 0,
            etag: etag.cloned(),
            version: None,
            received: Received::Nothing,
        };
        let mut attempts = Attempts::new(self, Operation::Get, key, patience, budget);
        loop {
            match self.attempt(key, range, &mut progress, &mut attempts).await {
                Ok(()) => {
                    return Ok(Fetched {
                        bytes: progress.received.finish(),
                        start: progress.start.unwrap_or(0),
                        object_bytes: progress.object_bytes,
                        etag: progress.etag,
                        version: progress.version,
                    });
                }
                Err(failure) => attempts.again(failure).await?,
            }
        }
    }

    async fn attempt(
        &self,
        key: &str,
        range: ByteRange,
        progress: &mut Progress,
        attempts: &mut Attempts<'_>,
    ) -> Result<(), Failure> {
        // Lives as long as the body.
        let permit = attempts.admitted().await;
        let header = progress.header(range);
        let resumed = progress.received.len() as u64;
        Usage::add(&self.inner.usage.gets, 1);
        let request = self
            .inner
            .client
            .get_object()
            .bucket(&self.inner.bucket)
            .key(key)
            .set_range(header.clone())
            .set_if_match(progress.etag.as_ref().map(ETag::if_match))
            .set_request_payer(self.payer())
            .send();
        let answer = match tokio::time::timeout(attempts.first_byte(), request).await {
            Ok(answer) => answer.map_err(|error| not_as_listed(key, classify(Operation::Get, &error))),
            Err(_) => Err(Failure::transport("Timeout", "no answer in time")),
        };
        permit.judge(&answer);
        let answer = answer?;
        attempts.progressed(0);
        progress.check(&answer, range, resumed)?;
        let total = progress.len.unwrap_or(0);
        if matches!(range, ByteRange::Whole { most } if total > most) {
            return Err(Failure::changed(format!("the object has {total} bytes now")));
        }
        let capacity =
            usize::try_from(total).map_err(|_| Failure::contradiction("more bytes than memory can address"))?;
        let mut body = answer.body;
        loop {
            let chunk = tokio::time::timeout(attempts.stall(), body.next())
                .await
                .map_err(|_| Failure::transport("Stalled", "the body stopped coming"))?;
            match chunk {
                None => break,
                Some(Err(error)) => {
                    // All bytes came and then an error: a checksum does not match, so none of them is worth anything.
                    if progress.received.len() as u64 == total {
                        progress.received = Received::Nothing;
                    }
                    return Err(Failure::transport("BodyBroken", error_chain(&error)));
                }
                Some(Ok(bytes)) => {
                    attempts.progressed(bytes.len() as u64);
                    Usage::add(&self.inner.usage.bytes, bytes.len() as u64);
                    if (progress.received.len() + bytes.len()) as u64 > total {
                        return Err(Failure::contradiction("the body is longer than announced"));
                    }
                    progress.received.push(bytes, capacity);
                }
            }
        }
        let received = progress.received.len() as u64;
        if received < total {
            return Err(Failure::transport("BodyBroken", format!("the body ended after {received} of {total} bytes")));
        }
        Ok(())
    }
}

impl Progress {
    /// The Range header of the next attempt: what is still missing.
    fn header(&self, range: ByteRange) -> Option<String> {
        let resumed = self.received.len() as u64;
        match (self.start, self.len, range) {
            (Some(start), Some(len), _) if resumed > 0 || !matches!(range, ByteRange::Whole { .. }) => {
                Some(format!("bytes={}-{}", start + resumed, start + len - 1))
            }
            (_, _, ByteRange::Prefix { len }) => Some(format!("bytes=0-{}", len.saturating_sub(1))),
            (_, _, ByteRange::Suffix { len }) => Some(format!("bytes=-{len}")),
            _ => None,
        }
    }

    /// Checks the answer against the request, and learns position, size and version from the first one.
    fn check(&mut self, answer: &GetObjectOutput, range: ByteRange, resumed: u64) -> Result<(), Failure> {
        let ranged = resumed > 0 || !matches!(range, ByteRange::Whole { .. });
        let body_bytes = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (start, len, object_bytes) = match (ranged, answer.content_range()) {
            (true, Some(text)) => {
                parse_content_range(text).ok_or_else(|| Failure::contradiction(format!("Content-Range is {text:?}")))?
            }
            // A server may answer a range that spans the object with all of it.
            (true, None) => {
                let len =
                    body_bytes.ok_or_else(|| Failure::contradiction("neither Content-Range nor Content-Length"))?;
                (0, len, len)
            }
            (false, _) => {
                let len = body_bytes.ok_or_else(|| Failure::contradiction("no Content-Length"))?;
                (0, len, len)
            }
        };
        let wanted_start = self.start.map_or(start, |start| start + resumed);
        let wanted_len = self.len.map_or(len, |len| len - resumed);
        if start != wanted_start || len != wanted_len {
            return Err(Failure::contradiction(format!(
                "asked for {wanted_len} bytes at {wanted_start}, was given {len} bytes at {start}"
            )));
        }
        if matches!(range, ByteRange::Suffix { len: most } | ByteRange::Prefix { len: most } if len > most) {
            // There is memory for no more; and a server that does this once does it again.
            let end = if matches!(range, ByteRange::Suffix { .. }) { "last" } else { "first" };
            let text = format!("asked for the {end} bytes of the object, was given all {len}");
            return Err(Failure { retryable: false, ..Failure::contradiction(text) });
        }
        let version = answer.e_tag().filter(|tag| !tag.is_empty()).map(ETag::new);
        match (&self.etag, version) {
            (Some(wanted), Some(version)) if *wanted != version => {
                // If-Match should have made this a 412; some servers ignore it.
                return Err(Failure::changed(format!("the object is now {version}")));
            }
            (None, version) => self.etag = version,
            _ => {}
        }
        self.version = answer.version_id().map(str::to_owned);
        if self.start.is_none() || self.len.is_none() {
            self.start = Some(start);
            self.len = Some(len);
        }
        self.object_bytes = object_bytes;
        Ok(())
    }
}

/// What a listing has for a character that XML cannot write, where the server does not encode keys, and in a key for
/// bytes that are not UTF-8.
const REPLACED: char = '\u{fffd}';

/// An object that is not there may never have been there under this key. Then it was not deleted, its rows are missing.
fn not_as_listed(key: &str, failure: Failure) -> Failure {
    if failure.kind != ErrorKind::Gone || !key.contains(REPLACED) {
        return failure;
    }
    let message = format!(
        "the listing has {REPLACED:?} in the key, most likely in place of a character that the server cannot list, or \
         of bytes that are not UTF-8; give the object another key"
    );
    Failure { kind: ErrorKind::Refused, message, ..failure }
}

/// `bytes 0-9/100` → first byte, length, object size.
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, size.parse::<u64>().ok()?);
    (first <= last && last < size).then(|| (first, last - first + 1, size))
}

#[cfg(test)]
mod tests;
