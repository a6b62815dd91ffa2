//! The operations, as [`s3s::S3`] wants them. Bodies are slices of the stored [`Bytes`]: nothing is copied.

use super::store::{Action, Object, Op, Request, Restore, Store};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::StreamExt as _;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// A throttled body is sent in pieces of this many bytes: small enough that the rate is even.
const THROTTLED_PIECE_BYTES: usize = 64 * 1024;

/// Who asks, read from the Authorization header before s3s sees the request.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    pub access_key: Option<String>,
    pub region: Option<String>,
}

/// Checks signatures against the test's credentials.
pub struct Auth(pub Arc<Store>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match &self.0.lock().credentials {
            Some((known, secret)) if known == access_key => Ok(SecretKey::from(secret.as_str())),
            _ => {
                Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
            }
        }
    }
}

/// Lets anonymous requests pass unless the test demands credentials.
pub struct Access(pub Arc<Store>);

#[async_trait::async_trait]
impl s3s::access::S3Access for Access {
    async fn check(&self, context: &mut s3s::access::S3AccessContext<'_>) -> S3Result<()> {
        if self.0.lock().credentials.is_some() && context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}

/// The S3 of a test.
pub struct Api(pub Arc<Store>);

/// What an operation answers, and how many bytes of object content that has.
type Answer<T> = S3Result<(T, u64)>;

impl Api {
    /// Records the request together with its answer.
    fn finish<I, O>(&self, request: &S3Request<I>, mut record: Request, answer: Answer<O>) -> S3Result<S3Response<O>> {
        record.access_key = caller(request).access_key;
        match answer {
            Ok((output, bytes_sent)) => {
                record.status = if record.range.is_some() { 206 } else { 200 };
                record.bytes_sent = bytes_sent;
                self.0.record(record);
                Ok(S3Response::new(output))
            }
            Err(error) => {
                record.status = error.status_code().map_or(500, |status| status.as_u16());
                self.0.record(record);
                Err(error)
            }
        }
    }

    /// What holds for every operation: the bucket exists, is here, and the caller pays if someone must.
    fn check_bucket<I>(&self, request: &S3Request<I>, bucket: &str, requester_pays: bool) -> S3Result<String> {
        let state = self.0.lock();
        let Some(found) = state.buckets.get(bucket) else {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
        };
        if caller(request).region.is_some_and(|region| region != found.region) {
            let mut error = s3_error!(PermanentRedirect, "The bucket must be addressed using its own endpoint");
            error.set_status_code(hyper::StatusCode::MOVED_PERMANENTLY);
            error.set_headers(region_header(&found.region));
            return Err(error);
        }
        if found.requester_pays && !requester_pays {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(found.region.clone())
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        let state = self.0.lock();
        let found = state.buckets.get(bucket).and_then(|bucket| bucket.objects.get(key));
        found.cloned().ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    async fn list(&self, request: &S3Request<dto::ListObjectsV2Input>) -> Answer<dto::ListObjectsV2Output> {
        let input = &request.input;
        let (hook, nth) = {
            let mut state = self.0.lock();
            state.lists_seen += 1;
            (state.list_hook.clone(), state.lists_seen)
        };
        match hook.and_then(|hook| hook(nth)) {
            Some(Action::Status(status, code)) => return Err(injected(status, code)),
            Some(Action::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(other) => return Err(s3_error!(NotImplemented, "a listing cannot do {other:?}")),
            None => {}
        }
        self.check_bucket(request, &input.bucket, pays(input.request_payer.as_ref()))?;
        Ok((self.page(input)?, 0))
    }

    fn page(&self, input: &dto::ListObjectsV2Input) -> S3Result<dto::ListObjectsV2Output> {
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => {
                let bytes = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                bytes.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))?
            }
            (None, Some(start_after)) => start_after.clone(),
            (None, None) => String::new(),
        };
        let start = if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix.clone()) };
        let with_restore = input.optional_object_attributes.as_ref().is_some_and(|wanted| {
            wanted.iter().any(|name| name.as_str() == dto::OptionalObjectAttributes::RESTORE_STATUS)
        });
        let state = self.0.lock();
        let encoding_type = input.encoding_type.clone().filter(|_| !state.ignores_encoding_type);
        let url_encoded = encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == "url");
        let shown = |key: &str| if url_encoded { url_encode(key) } else { key.to_owned() };
        let limit = input.max_keys.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(usize::MAX);
        let limit = limit.min(state.page_keys);
        let Some(bucket) = state.buckets.get(&input.bucket) else {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
        };
        let range = (start, Bound::Unbounded);
        let mut matching =
            bucket.objects.range::<String, _>(range).take_while(|(key, _)| key.starts_with(&prefix)).peekable();
        let mut contents = Vec::new();
        let mut folders: Vec<String> = Vec::new();
        let mut last = None;
        while contents.len() + folders.len() < limit
            && let Some((key, object)) = matching.next()
        {
            last = Some(key);
            let folder_end = input.delimiter.as_ref().and_then(|delimiter| {
                Some(prefix.len() + key[prefix.len()..].find(delimiter.as_str())? + delimiter.len())
            });
            match folder_end.map(|end| shown(&key[..end])) {
                None => contents.push(listed(shown(key), object, with_restore)),
                Some(folder) if folders.last() == Some(&folder) => {}
                Some(folder) => folders.push(folder),
            }
        }
        let folders = folders.into_iter().map(|folder| dto::CommonPrefix { prefix: Some(folder) }).collect();
        let next = matching.peek().and(last).map(|key| URL_SAFE_NO_PAD.encode(key));
        Ok(dto::ListObjectsV2Output {
            name: Some(input.bucket.clone()),
            prefix: Some(prefix),
            key_count: i32::try_from(contents.len()).ok(),
            max_keys: i32::try_from(limit).ok(),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            continuation_token: input.continuation_token.clone(),
            start_after: input.start_after.clone(),
            encoding_type,
            contents: Some(contents),
            common_prefixes: Some(folders),
            ..Default::default()
        })
    }

    async fn get(&self, request: &S3Request<dto::GetObjectInput>) -> Answer<dto::GetObjectOutput> {
        let input = &request.input;
        let (hook, nth, latency, bytes_per_second) = {
            let mut state = self.0.lock();
            let nth = state.gets_by_key.entry((input.bucket.clone(), input.key.clone())).or_default();
            *nth += 1;
            let nth = *nth;
            (state.get_hook.clone(), nth, state.get_latency, state.get_bytes_per_second)
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut fault = BodyFault::None;
        match hook.and_then(|hook| hook(&input.key, nth)) {
            Some(Action::Status(status, code)) => return Err(injected(status, code)),
            Some(Action::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Action::ReplaceObjectFirst(bytes)) => {
                self.0.put(&input.bucket, &input.key, bytes, Default::default());
            }
            Some(Action::DeleteFirst) => {
                self.0.delete(&input.bucket, &input.key);
            }
            Some(Action::CutBodyAfter(bytes)) => fault = BodyFault::Cut { after_bytes: bytes },
            Some(Action::StallBodyAfter(bytes, pause)) => fault = BodyFault::Stall { after_bytes: bytes, pause },
            None => {}
        }
        self.check_bucket(request, &input.bucket, pays(input.request_payer.as_ref()))?;
        let object = self.object(&input.bucket, &input.key)?;
        let (slice, content_range) = readable(&object, input.if_match.as_ref(), input.range)?;
        let length = slice.len();
        let output = dto::GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(length).ok(),
            content_range,
            e_tag: Some(dto::ETag::Strong(object.etag.clone())),
            last_modified: Some(object.last_modified.into()),
            storage_class: object.attributes.storage_class.clone().map(Into::into),
            body: Some(body(slice, bytes_per_second, fault)),
            ..Default::default()
        };
        Ok((output, length as u64))
    }

    fn head(&self, request: &S3Request<dto::HeadObjectInput>) -> Answer<dto::HeadObjectOutput> {
        let input = &request.input;
        self.check_bucket(request, &input.bucket, pays(input.request_payer.as_ref()))?;
        let object = self.object(&input.bucket, &input.key)?;
        check_if_match(&object, input.if_match.as_ref())?;
        let output = dto::HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: i64::try_from(object.bytes.len()).ok(),
            e_tag: Some(dto::ETag::Strong(object.etag.clone())),
            last_modified: Some(object.last_modified.into()),
            storage_class: object.attributes.storage_class.clone().map(Into::into),
            ..Default::default()
        };
        Ok((output, 0))
    }
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        let input = &request.input;
        let mut record = record(Op::List, &input.bucket, input.prefix.as_deref().unwrap_or_default());
        record.request_payer = pays(input.request_payer.as_ref());
        record.start_after = input.start_after.clone();
        let answer = self.list(&request).await;
        self.finish(&request, record, answer)
    }

    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let input = &request.input;
        let mut record = record(Op::Get, &input.bucket, &input.key);
        record.range = input.range.map(|range| range.to_header_string());
        record.if_match = input.if_match.as_ref().map(condition_text);
        record.request_payer = pays(input.request_payer.as_ref());
        let answer = self.get(&request).await;
        self.finish(&request, record, answer)
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        let input = &request.input;
        let mut record = record(Op::Head, &input.bucket, &input.key);
        record.if_match = input.if_match.as_ref().map(condition_text);
        record.request_payer = pays(input.request_payer.as_ref());
        let answer = self.head(&request);
        self.finish(&request, record, answer)
    }

    async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> S3Result<S3Response<dto::HeadBucketOutput>> {
        let record = record(Op::HeadBucket, &request.input.bucket, "");
        let answer = self
            .check_bucket(&request, &request.input.bucket, true)
            .map(|region| (dto::HeadBucketOutput { bucket_region: Some(region), ..Default::default() }, 0));
        self.finish(&request, record, answer)
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<dto::GetBucketLocationInput>,
    ) -> S3Result<S3Response<dto::GetBucketLocationOutput>> {
        let record = record(Op::BucketLocation, &request.input.bucket, "");
        let answer = self.check_bucket(&request, &request.input.bucket, true).map(|region| {
            // S3 names every region but the oldest.
            let named = (region != super::store::DEFAULT_REGION).then(|| region.into());
            (dto::GetBucketLocationOutput { location_constraint: named }, 0)
        });
        self.finish(&request, record, answer)
    }

    async fn put_object(
        &self,
        mut request: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        let record = record(Op::Put, &request.input.bucket, &request.input.key);
        let body = request.input.body.take();
        let answer: Answer<dto::PutObjectOutput> = async {
            self.check_bucket(&request, &request.input.bucket, true)?;
            let mut bytes = Vec::new();
            if let Some(mut body) = body {
                while let Some(piece) = body.next().await {
                    bytes.extend_from_slice(&piece.map_err(|error| s3_error!(IncompleteBody, "{error}"))?);
                }
            }
            let (bucket, key) = (&request.input.bucket, &request.input.key);
            let etag = self.0.put(bucket, key, bytes.into(), Default::default());
            Ok((dto::PutObjectOutput { e_tag: Some(dto::ETag::Strong(etag)), ..Default::default() }, 0))
        }
        .await;
        self.finish(&request, record, answer)
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        let record = record(Op::Delete, &request.input.bucket, &request.input.key);
        let answer = self.check_bucket(&request, &request.input.bucket, true).map(|_| {
            self.0.delete(&request.input.bucket, &request.input.key);
            (dto::DeleteObjectOutput::default(), 0)
        });
        self.finish(&request, record, answer)
    }
}

/// How a body goes wrong.
#[derive(Debug, Clone, Copy)]
enum BodyFault {
    None,
    Cut { after_bytes: usize },
    Stall { after_bytes: usize, pause: Duration },
}

/// The stored bytes as they are, or slices of them at the wanted pace.
fn body(bytes: Bytes, bytes_per_second: Option<u64>, fault: BodyFault) -> dto::StreamingBlob {
    if bytes_per_second.is_none() && matches!(fault, BodyFault::None) {
        return s3s::Body::from(bytes).into();
    }
    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<Bytes>>(1);
    tokio::spawn(async move {
        let stop = match fault {
            BodyFault::None => usize::MAX,
            BodyFault::Cut { after_bytes } | BodyFault::Stall { after_bytes, .. } => after_bytes,
        };
        let mut sent = 0;
        let mut stalled = false;
        while sent < bytes.len() {
            if sent >= stop && !stalled {
                match fault {
                    BodyFault::None => {}
                    BodyFault::Cut { .. } => {
                        // Hyper closes the connection on an error; the pause lets what was sent so far go out.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        let _ = sender.send(Err(std::io::Error::other("cut by the test"))).await;
                        return;
                    }
                    BodyFault::Stall { pause, .. } => tokio::time::sleep(pause).await,
                }
                stalled = true;
            }
            let mut end = bytes.len().min(sent + THROTTLED_PIECE_BYTES);
            if sent < stop {
                end = end.min(stop);
            }
            let piece = bytes.slice(sent..end);
            if let Some(rate) = bytes_per_second {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
            }
            if sender.send(Ok(piece)).await.is_err() {
                return; // the client hung up
            }
            sent = end;
        }
    });
    dto::StreamingBlob::wrap(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

/// The wanted bytes and the Content-Range header, or the reason why not, in S3's order of checks.
fn readable(
    object: &Object,
    if_match: Option<&dto::ETagCondition>,
    range: Option<dto::Range>,
) -> S3Result<(Bytes, Option<String>)> {
    if object.is_archived() {
        return Err(s3_error!(InvalidObjectState, "The operation is not valid for the object's storage class"));
    }
    check_if_match(object, if_match)?;
    let Some(range) = range else {
        return Ok((object.bytes.clone(), None));
    };
    let total = object.bytes.len();
    let unsatisfiable = || s3_error!(InvalidRange, "The requested range is not satisfiable");
    let wanted = range.check(total as u64).map_err(|_| unsatisfiable())?;
    let (Ok(start), Ok(end)) = (usize::try_from(wanted.start), usize::try_from(wanted.end)) else {
        return Err(unsatisfiable());
    };
    if start >= end {
        return Err(unsatisfiable()); // any range of an empty object
    }
    Ok((object.bytes.slice(start..end), Some(format!("bytes {start}-{}/{total}", end - 1))))
}

fn check_if_match(object: &Object, if_match: Option<&dto::ETagCondition>) -> S3Result<()> {
    match if_match {
        Some(condition) if condition.as_etag().is_some_and(|etag| etag.value() != object.etag) => {
            Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"))
        }
        _ => Ok(()),
    }
}

fn listed(key: String, object: &Object, with_restore: bool) -> dto::Object {
    let restore = match object.attributes.restore {
        Restore::None => None,
        Restore::InProgress => {
            Some(dto::RestoreStatus { is_restore_in_progress: Some(true), restore_expiry_date: None })
        }
        Restore::Until(until) => {
            Some(dto::RestoreStatus { is_restore_in_progress: Some(false), restore_expiry_date: Some(until.into()) })
        }
    };
    let class = object.attributes.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned());
    dto::Object {
        key: Some(key),
        size: i64::try_from(object.bytes.len()).ok(),
        e_tag: (!object.attributes.no_etag_in_listing).then(|| dto::ETag::Strong(object.etag.clone())),
        last_modified: Some(object.last_modified.into()),
        storage_class: Some(class.into()),
        restore_status: restore.filter(|_| with_restore),
        ..Default::default()
    }
}

fn record(op: Op, bucket: &str, key: &str) -> Request {
    Request {
        op,
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        start_after: None,
        range: None,
        if_match: None,
        request_payer: false,
        access_key: None,
        status: 0,
        bytes_sent: 0,
    }
}

fn caller<I>(request: &S3Request<I>) -> Caller {
    request.extensions.get::<Caller>().cloned().unwrap_or_default()
}

fn pays(payer: Option<&dto::RequestPayer>) -> bool {
    payer.is_some_and(|payer| payer.as_str() == dto::RequestPayer::REQUESTER)
}

fn condition_text(condition: &dto::ETagCondition) -> String {
    condition.as_etag().map_or_else(|| "*".to_owned(), |etag| etag.value().to_owned())
}

fn injected(status: u16, code: &'static str) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, "made by the test");
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        error.set_status_code(status);
    }
    error
}

fn region_header(region: &str) -> hyper::HeaderMap {
    let mut headers = hyper::HeaderMap::new();
    if let Ok(value) = region.parse() {
        headers.insert("x-amz-bucket-region", value);
    }
    headers
}

/// The encoding that S3 uses in a listing with `encoding-type=url`: a space is `+`, `/` stays.
fn url_encode(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
