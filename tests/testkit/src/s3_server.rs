//! An S3 server in memory, in the process of the test: buckets filled by Rust calls, every request recorded, answers
//! delayed, refused or broken on demand. Bodies are slices of what was stored, so that it is fast enough to measure
//! with.
//!
//! ```ignore
//! let server = S3Server::start().await;
//! server.put("orders/a.parquet", bytes);
//! // point a client at server.endpoint(), path style, bucket DEFAULT_BUCKET
//! assert_eq!(server.counts().gets, 1);
//! ```
//!
//! The server runs on the runtime that started it and stops when it is dropped.

mod api;
mod store;

use api::{Access, Api, Auth, Caller};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
pub use store::{Action, Counts, DEFAULT_REGION, ObjectAttributes, Op, Request, Restore};
use store::{MAX_PAGE_KEYS, Store};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The bucket that is there from the start, and that [`S3Server`]'s own `put` and `delete` mean.
pub const DEFAULT_BUCKET: &str = "test-bucket";

/// A running server.
pub struct S3Server {
    store: Arc<Store>,
    port: u16,
    accepting: tokio::task::JoinHandle<()>,
}

impl S3Server {
    /// Starts a server on a free port of 127.0.0.1, with one empty bucket, [`DEFAULT_BUCKET`]. Anyone may do anything.
    pub async fn start() -> Self {
        let (listener, port) = crate::listen().await;
        let store = Arc::new(Store::new());
        store.lock().bucket(DEFAULT_BUCKET);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&store)));
        Self { store, port, accepting }
    }

    /// For the spec's `endpoint` and a client's `endpoint_url`. Only path-style addresses work.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port, for endpoints written in another way.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A bucket, created if need be.
    pub fn bucket(&self, name: &str) -> Bucket {
        self.store.lock().bucket(name);
        Bucket { store: Arc::clone(&self.store), name: name.to_owned() }
    }

    /// Writes into [`DEFAULT_BUCKET`]; returns the ETag without quotes.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) -> String {
        self.bucket(DEFAULT_BUCKET).put(key, bytes)
    }

    /// As [`Self::put`], with the attributes that the test wants.
    pub fn put_with(&self, key: &str, bytes: impl Into<Bytes>, attributes: ObjectAttributes) -> String {
        self.bucket(DEFAULT_BUCKET).put_with(key, bytes, attributes)
    }

    /// Removes a key from [`DEFAULT_BUCKET`]; says whether it was there.
    pub fn delete(&self, key: &str) -> bool {
        self.bucket(DEFAULT_BUCKET).delete(key)
    }

    /// Every request so far, in the order in which they were answered.
    pub fn requests(&self) -> Vec<Request> {
        self.store.lock().requests.clone()
    }

    /// The GETs of one key (in any bucket).
    pub fn gets_of(&self, key: &str) -> Vec<Request> {
        let state = self.store.lock();
        state.requests.iter().filter(|request| request.op == Op::Get && request.key == key).cloned().collect()
    }

    /// Sums over [`Self::requests`].
    pub fn counts(&self) -> Counts {
        self.store.lock().counts
    }

    /// Forgets requests and counts. What a hook counts starts again, too.
    pub fn reset_counts(&self) {
        let mut state = self.store.lock();
        state.requests.clear();
        state.counts = Counts::default();
        state.gets_by_key.clear();
        state.lists_seen = 0;
    }

    /// Asks `hook` at each GET; its arguments are the key and the how many-th GET of it this is (from 1). One hook at
    /// a time: the last one counts. It may change objects through a [`Bucket`].
    pub fn on_get(&self, hook: impl Fn(&str, u64) -> Option<Action> + Send + Sync + 'static) {
        self.store.lock().get_hook = Some(Arc::new(hook));
    }

    /// Asks `hook` at each listing page; its argument is the how many-th page since the start or the last reset this
    /// is (from 1).
    pub fn on_list(&self, hook: impl Fn(u64) -> Option<Action> + Send + Sync + 'static) {
        self.store.lock().list_hook = Some(Arc::new(hook));
    }

    /// Back to normal answers.
    pub fn clear_hooks(&self) {
        let mut state = self.store.lock();
        state.get_hook = None;
        state.list_hook = None;
    }

    /// At most so many keys in a listing page (1 to 1,000).
    pub fn set_page_keys(&self, keys: usize) {
        self.store.lock().page_keys = keys.clamp(1, MAX_PAGE_KEYS);
    }

    /// Listings show keys as they are, whatever encoding was asked for.
    pub fn set_ignores_encoding_type(&self, ignores: bool) {
        self.store.lock().ignores_encoding_type = ignores;
    }

    /// Each GET waits so long before it is answered.
    pub fn set_get_latency(&self, latency: Duration) {
        self.store.lock().get_latency = latency;
    }

    /// Each GET's body comes at no more than this rate; `None`: as fast as it can.
    pub fn set_get_bytes_per_second(&self, rate: Option<u64>) {
        self.store.lock().get_bytes_per_second = rate;
    }

    /// From now on requests must be signed: another access key is `InvalidAccessKeyId`, another secret
    /// `SignatureDoesNotMatch`, no signature `AccessDenied`.
    pub fn require_credentials(&self, access_key_id: &str, secret_access_key: &str) {
        self.store.lock().credentials = Some((access_key_id.to_owned(), secret_access_key.to_owned()));
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort(); // its connections live in the task's join set and end with it
    }
}

/// One bucket of a server, to fill and to change.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<Store>,
    name: String,
}

impl Bucket {
    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes an object, new or not; returns its ETag (the content's MD5) without quotes.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) -> String {
        self.put_with(key, bytes, ObjectAttributes::default())
    }

    /// As [`Self::put`], with the attributes that the test wants.
    pub fn put_with(&self, key: &str, bytes: impl Into<Bytes>, attributes: ObjectAttributes) -> String {
        self.store.put(&self.name, key, bytes.into(), attributes)
    }

    /// New content under a key that must be there; its other attributes stay, ETag and LastModified are new ones.
    pub fn replace(&self, key: &str, bytes: impl Into<Bytes>) -> String {
        let old = self.store.lock().bucket(&self.name).objects.get(key).cloned().expect("replace: the key exists");
        let attributes = ObjectAttributes { etag: None, last_modified: None, ..old.attributes.clone() };
        self.put_with(key, bytes, attributes)
    }

    /// Removes an object; says whether it was there.
    pub fn delete(&self, key: &str) -> bool {
        self.store.delete(&self.name, key)
    }

    /// All keys, in S3's order.
    pub fn keys(&self) -> Vec<String> {
        self.store.lock().bucket(&self.name).objects.keys().cloned().collect()
    }

    /// The bucket lives in `region`: a request that is signed for another one gets 301 and `x-amz-bucket-region`.
    pub fn set_region(&self, region: &str) {
        self.store.lock().bucket(&self.name).region = region.to_owned();
    }

    /// Requests without `x-amz-request-payer: requester` get AccessDenied.
    pub fn set_requester_pays(&self, requester_pays: bool) {
        self.store.lock().bucket(&self.name).requester_pays = requester_pays;
    }
}

/// Serves connections until the task is aborted.
async fn accept(listener: TcpListener, store: Arc<Store>) {
    let mut builder = s3s::service::S3ServiceBuilder::new(Api(Arc::clone(&store)));
    builder.set_auth(Auth(Arc::clone(&store)));
    builder.set_access(Access(Arc::clone(&store)));
    let service = builder.build();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let (service, store) = (service.clone(), Arc::clone(&store));
                connections.spawn(async move {
                    let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let service = service.clone();
                        let request = prepare(request, &store);
                        async move { service.call(request).await }
                    });
                    // A client that hangs up in the middle is nothing to report.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Notes who asks. Without required credentials the signature is taken off: s3s would check it against a secret that
/// nobody agreed on.
fn prepare(request: hyper::Request<hyper::body::Incoming>, store: &Store) -> s3s::HttpRequest {
    let mut request = request.map(s3s::Body::from);
    let caller = request.headers().get(hyper::header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(caller);
    request.extensions_mut().insert(caller.unwrap_or_default());
    let mut state = store.lock();
    state.counts.http_requests += 1;
    if state.credentials.is_none() {
        request.headers_mut().remove(hyper::header::AUTHORIZATION);
    }
    request
}

/// `AWS4-HMAC-SHA256 Credential=<access key>/<date>/<region>/s3/aws4_request, …`
fn caller(authorization: &str) -> Caller {
    let scope = authorization.split("Credential=").nth(1).and_then(|rest| rest.split(',').next());
    let mut parts = scope.unwrap_or_default().split('/');
    let access_key = parts.next().filter(|key| !key.is_empty()).map(str::to_owned);
    let region = if authorization.starts_with("AWS4-HMAC-SHA256") { parts.nth(1).map(str::to_owned) } else { None };
    Caller { access_key, region }
}
