//! What the S3 server keeps: buckets and objects, the settings of the test, and a record of every request.

use bytes::Bytes;
use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A page of a listing has at most this many keys, as in S3.
pub const MAX_PAGE_KEYS: usize = 1000;

/// Where a bucket lives unless the test says otherwise.
pub const DEFAULT_REGION: &str = "us-east-1";

/// What a test may set on an object; the default is what S3 itself would do.
#[derive(Debug, Clone, Default)]
pub struct ObjectAttributes {
    /// `None`: now, in whole seconds as S3 has it.
    pub last_modified: Option<SystemTime>,
    /// Without quotes. `None`: the MD5 of the content.
    pub etag: Option<String>,
    /// For example `GLACIER`. `None`: `STANDARD`.
    pub storage_class: Option<String>,
    /// The state of a restore from an archive.
    pub restore: Restore,
    /// In an archive tier although the storage class does not say so (`INTELLIGENT_TIERING` can do that).
    pub archived: bool,
    /// The listing has no ETag for this object (some S3 work-alikes leave it out).
    pub no_etag_in_listing: bool,
}

/// The restore of an archived object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Restore {
    /// Nobody asked for one.
    #[default]
    None,
    /// Asked for, not yet readable.
    InProgress,
    /// Readable until the given time.
    Until(SystemTime),
}

/// An object as stored.
#[derive(Debug)]
pub struct Object {
    /// The content.
    pub bytes: Bytes,
    /// Without quotes.
    pub etag: String,
    /// When it was written.
    pub last_modified: SystemTime,
    /// What the test set.
    pub attributes: ObjectAttributes,
}

impl Object {
    /// A GET answers `InvalidObjectState`.
    pub fn is_archived(&self) -> bool {
        let class = self.attributes.storage_class.as_deref().unwrap_or("STANDARD");
        let archived = self.attributes.archived || matches!(class, "GLACIER" | "DEEP_ARCHIVE");
        archived && !matches!(self.attributes.restore, Restore::Until(_))
    }
}

/// What the server was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// ListObjectsV2.
    List,
    /// GetObject.
    Get,
    /// HeadObject.
    Head,
    /// PutObject.
    Put,
    /// DeleteObject.
    Delete,
    /// HeadBucket.
    HeadBucket,
    /// GetBucketLocation.
    BucketLocation,
}

/// One request that reached an operation (one refused for its signature is only in [`Counts::http_requests`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The operation.
    pub op: Op,
    /// The bucket.
    pub bucket: String,
    /// The key; for a listing, its prefix.
    pub key: String,
    /// Of a listing: where it starts.
    pub start_after: Option<String>,
    /// The Range header as sent.
    pub range: Option<String>,
    /// The If-Match header, without quotes.
    pub if_match: Option<String>,
    /// `x-amz-request-payer: requester` was sent.
    pub request_payer: bool,
    /// Who signed; `None` for an anonymous request.
    pub access_key: Option<String>,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Bytes of object content in the answer, as its Content-Length promised. A client that hangs up reads less.
    pub bytes_sent: u64,
}

/// Sums over the requests since the start or the last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Listing pages asked for.
    pub lists: u64,
    /// GetObject requests, failed ones included.
    pub gets: u64,
    /// HeadObject requests.
    pub heads: u64,
    /// Bytes of object content sent.
    pub bytes: u64,
    /// Every HTTP request, whatever came of it.
    pub http_requests: u64,
}

/// What a hook does to a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// Answer with this HTTP status and S3 error code.
    Status(u16, &'static str),
    /// Wait, then answer normally.
    Delay(Duration),
    /// Replace the object's content, then answer (GET only).
    ReplaceObjectFirst(Bytes),
    /// Delete the object, then answer (GET only).
    DeleteFirst,
    /// Promise the whole body, send this many bytes of it, close the connection (GET only).
    CutBodyAfter(usize),
    /// Promise the whole body, send this many bytes of it, then nothing for so long, then the rest (GET only).
    StallBodyAfter(usize, Duration),
}

/// Decides about the n-th GET of a key; n counts from 1.
pub type GetHook = Arc<dyn Fn(&str, u64) -> Option<Action> + Send + Sync>;

/// Decides about the n-th listing page; n counts from 1.
pub type ListHook = Arc<dyn Fn(u64) -> Option<Action> + Send + Sync>;

/// A bucket.
#[derive(Debug)]
pub struct BucketState {
    /// By key, in the order of their UTF-8 bytes, as S3 lists them.
    pub objects: BTreeMap<String, Arc<Object>>,
    /// A request that is signed for another region is redirected.
    pub region: String,
    /// Requests without `x-amz-request-payer` are denied.
    pub requester_pays: bool,
}

/// Everything behind the lock.
pub struct State {
    pub buckets: BTreeMap<String, BucketState>,
    pub page_keys: usize,
    /// Listings show keys as they are, whatever encoding was asked for.
    pub ignores_encoding_type: bool,
    pub requests: Vec<Request>,
    pub counts: Counts,
    /// GETs seen so far, for the hook's n.
    pub gets_by_key: HashMap<(String, String), u64>,
    pub lists_seen: u64,
    pub get_hook: Option<GetHook>,
    pub list_hook: Option<ListHook>,
    pub get_latency: Duration,
    pub get_bytes_per_second: Option<u64>,
    /// Access key and secret key; `None`: everyone may do everything, and signatures are not looked at.
    pub credentials: Option<(String, String)>,
}

/// The state, shared by all connections and the test.
pub struct Store(Mutex<State>);

impl Store {
    /// Nothing in it, nothing set.
    pub fn new() -> Self {
        Self(Mutex::new(State {
            buckets: BTreeMap::new(),
            page_keys: MAX_PAGE_KEYS,
            ignores_encoding_type: false,
            requests: Vec::new(),
            counts: Counts::default(),
            gets_by_key: HashMap::new(),
            lists_seen: 0,
            get_hook: None,
            list_hook: None,
            get_latency: Duration::ZERO,
            get_bytes_per_second: None,
            credentials: None,
        }))
    }

    /// The state. Never held across an await. A test that panicked while holding it poisons nothing for the others.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Writes an object and returns its ETag, without quotes. The bucket is created if need be.
    pub fn put(&self, bucket: &str, key: &str, bytes: Bytes, attributes: ObjectAttributes) -> String {
        let etag = attributes.etag.clone().unwrap_or_else(|| md5_hex(&bytes));
        let last_modified = attributes.last_modified.unwrap_or_else(now_in_seconds);
        let object = Arc::new(Object { bytes, etag: etag.clone(), last_modified, attributes });
        let mut state = self.lock();
        state.bucket(bucket).objects.insert(key.to_owned(), object);
        etag
    }

    /// Removes an object; says whether it was there.
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        self.lock().bucket(bucket).objects.remove(key).is_some()
    }

    /// Keeps the record of one request.
    pub fn record(&self, request: Request) {
        let mut state = self.lock();
        match request.op {
            Op::List => state.counts.lists += 1,
            Op::Get => state.counts.gets += 1,
            Op::Head => state.counts.heads += 1,
            Op::Put | Op::Delete | Op::HeadBucket | Op::BucketLocation => {}
        }
        state.counts.bytes += request.bytes_sent;
        state.requests.push(request);
    }
}

impl State {
    /// The bucket, created if need be.
    pub fn bucket(&mut self, name: &str) -> &mut BucketState {
        self.buckets.entry(name.to_owned()).or_insert_with(|| BucketState {
            objects: BTreeMap::new(),
            region: DEFAULT_REGION.to_owned(),
            requester_pays: false,
        })
    }
}

/// The ETag that S3 gives to an object of one part.
fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// S3 keeps whole seconds.
fn now_in_seconds() -> SystemTime {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UNIX_EPOCH + Duration::from_secs(seconds)
}
