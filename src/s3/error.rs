//! What can go wrong with S3, in terms of what the caller does next.

use crate::error_chain::error_chain;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, SystemTime};

/// What was asked of S3, with the IAM action that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// ListObjectsV2.
    List,
    /// GetObject.
    Get,
}

impl Operation {
    /// The IAM action.
    #[must_use]
    pub fn action(self) -> &'static str {
        match self {
            Self::List => "s3:ListBucket",
            Self::Get => "s3:GetObject",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::List => "ListObjectsV2",
            Self::Get => "GetObject",
        }
    }
}

/// What the caller does next decides the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// The object is no longer what the ETag named (412): read it again under its new one.
    Changed,
    /// The object is gone (404).
    Gone,
    /// The bucket does not exist.
    NoSuchBucket,
    /// The bucket lives elsewhere; S3 says where, if it does.
    WrongRegion(Option<String>),
    /// Valid credentials, not allowed. The field is the IAM action that is missing.
    AccessDenied(&'static str),
    /// No, expired or wrong credentials.
    Unauthorized,
    /// The object must be restored from its archive class first.
    Archived,
    /// S3 answered, but with errors that a later try may not meet; tries are exhausted.
    Exhausted,
    /// S3 asked for fewer requests, whatever was asked of it and however slowly: the whole sync is pointless for now.
    Overloaded,
    /// The endpoint did not answer; tries are exhausted.
    Unreachable,
    /// The endpoint did not answer this request, nor any other one meanwhile: the whole sync is pointless.
    EndpointDown,
    /// S3 refused the request for good, or gave an answer that makes no sense.
    Refused,
}

/// A failed S3 call: what was asked for, what came back, how often it was tried.
#[derive(Debug)]
pub struct Error {
    /// What the caller does next.
    pub kind: ErrorKind,
    /// What was asked.
    pub operation: Operation,
    /// The bucket, or the access point's ARN.
    pub bucket: String,
    /// The key of a GetObject, the prefix of a ListObjectsV2.
    pub key: String,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// S3's error code, or our own word where there was no answer.
    pub code: String,
    /// S3's or the transport's message.
    pub message: String,
    /// S3's request id.
    pub request_id: Option<String>,
    /// How often the request was sent.
    pub attempts: u32,
    /// How long it took until we gave up.
    pub elapsed: Duration,
}

impl Error {
    /// Where the object is, for messages.
    #[must_use]
    pub fn location(&self) -> String {
        match self.operation {
            Operation::List if self.key.is_empty() => format!("s3://{}", self.bucket),
            _ => format!("s3://{}/{}", self.bucket, self.key),
        }
    }

    /// What to do about it, or nothing where the message says it already.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match &self.kind {
            ErrorKind::NoSuchBucket => "check `bucket`, and `endpoint` if it is set".to_owned(),
            ErrorKind::WrongRegion(Some(region)) => format!("set `region: {region}` in the spec"),
            ErrorKind::WrongRegion(None) => "set `region` to the bucket's region".to_owned(),
            ErrorKind::AccessDenied(action) => {
                format!("allow {action} on {}", self.resource(action))
            }
            ErrorKind::Unauthorized if self.code == "RequestTimeTooSkewed" => {
                "set the machine's clock: S3 refuses requests that are 15 minutes off".to_owned()
            }
            ErrorKind::Unauthorized => "check the credentials: the spec's `credentials` or `local_profile`, \
                 else the AWS environment, profile, container or instance role"
                .to_owned(),
            ErrorKind::Archived => "restore it, or skip such objects with `on_archived: skip`".to_owned(),
            ErrorKind::EndpointDown | ErrorKind::Unreachable => {
                "check `endpoint`, `region`, the network and HTTPS_PROXY/NO_PROXY".to_owned()
            }
            ErrorKind::Exhausted => "S3 is overloaded or has a fault: sync again, or lower `concurrency`".to_owned(),
            ErrorKind::Overloaded => "S3 has taken no request at all meanwhile: sync again later".to_owned(),
            ErrorKind::Changed | ErrorKind::Gone | ErrorKind::Refused => return None,
        })
    }

    fn resource(&self, action: &str) -> String {
        // An access point's objects have a part of their own in the ARN.
        let (bucket, objects) = if self.bucket.starts_with("arn:") {
            (self.bucket.clone(), format!("{}/object", self.bucket))
        } else {
            let bucket = format!("arn:aws:s3:::{}", self.bucket);
            (bucket.clone(), bucket)
        };
        match (self.operation, action) {
            (_, "kms:Decrypt") => format!("the key that encrypts s3://{}/{}", self.bucket, self.key),
            (Operation::List, _) => bucket,
            (Operation::Get, _) => format!("{objects}/{}", self.key),
        }
    }

    /// The whole sync is pointless: nothing else will work either.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::NoSuchBucket
                | ErrorKind::WrongRegion(_)
                | ErrorKind::Unauthorized
                | ErrorKind::EndpointDown
                | ErrorKind::Overloaded
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} failed: {}", self.operation.name(), self.location(), self.code)?;
        if let Some(status) = self.status {
            write!(f, " (HTTP {status})")?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        if self.attempts > 1 {
            write!(f, "; tried {} times in {} s", self.attempts, self.elapsed.as_secs())?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "; request id {id}")?;
        }
        if let Some(hint) = self.hint() {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl StdError for Error {}

/// One failed attempt: what kind it is and whether another one makes sense.
#[derive(Debug)]
pub(super) struct Failure {
    pub kind: ErrorKind,
    pub retryable: bool,
    /// S3 asked for fewer requests.
    pub throttled: bool,
    /// S3 asked for no other try before this time is over.
    pub retry_after: Option<Duration>,
    pub status: Option<u16>,
    pub code: String,
    pub message: String,
    pub request_id: Option<String>,
}

impl Failure {
    /// No usable answer: connecting, waiting or reading failed.
    pub fn transport(code: &str, message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unreachable,
            retryable: true,
            throttled: false,
            retry_after: None,
            status: None,
            code: code.to_owned(),
            message: message.into(),
            request_id: None,
        }
    }

    /// An answer about another version of the object than the one asked for.
    pub fn changed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Changed, retryable: false, ..Self::transport("Changed", message) }
    }

    /// An answer that contradicts the request.
    pub fn nonsense(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Refused, retryable: true, ..Self::transport("BadAnswer", message) }
    }
}

/// Reads an SDK error. Codes and headers decide, never message texts, but for one: S3 names the missing KMS action only
/// in the text of its AccessDenied.
pub(super) fn classify<E>(operation: Operation, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::TimeoutError(_) => Failure::transport("Timeout", "no answer in time"),
        // An error whose body is not S3's XML, from whatever stands between S3 and us: its status says enough.
        SdkError::ResponseError(context) if matches!(context.raw().status().as_u16(), 429 | 500..) => {
            let failure = answer(operation, context.raw().status().as_u16(), "", &error_chain(error), None, None);
            Failure { retry_after: retry_after(context.raw()), ..failure }
        }
        SdkError::ResponseError(context) => Failure {
            status: Some(context.raw().status().as_u16()),
            ..Failure::transport("BadResponse", error_chain(error))
        },
        error if let Some(retryable) = credentials(error) => Failure {
            kind: ErrorKind::Unauthorized,
            retryable,
            ..Failure::transport("NoCredentials", error_chain(error))
        },
        SdkError::DispatchFailure(failure) => {
            let code = if failure.is_timeout() { "ConnectTimeout" } else { "ConnectionFailed" };
            let message = failure.as_connector_error().map_or_else(String::new, |e| error_chain(e));
            Failure { retryable: !failure.is_user(), ..Failure::transport(code, message) }
        }
        SdkError::ServiceError(context) => {
            let raw = context.raw();
            let header = |name: &str| raw.headers().get(name).map(str::to_owned);
            let failure = answer(
                operation,
                raw.status().as_u16(),
                context.err().code().unwrap_or_default(),
                context.err().message().unwrap_or_default(),
                header("x-amz-bucket-region"),
                header("x-amz-request-id"),
            );
            Failure { retry_after: retry_after(raw), ..failure }
        }
        _ => Failure {
            kind: ErrorKind::Refused,
            retryable: false,
            ..Failure::transport("BadRequest", error_chain(error))
        },
    }
}

/// The decision table for answers of S3.
pub(super) fn answer(
    operation: Operation,
    status: u16,
    code: &str,
    message: &str,
    region: Option<String>,
    request_id: Option<String>,
) -> Failure {
    let (kind, retryable) = match (status, code) {
        (_, "InvalidObjectState") => (ErrorKind::Archived, false),
        (_, "NoSuchBucket") => (ErrorKind::NoSuchBucket, false),
        (
            _,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "RequestTimeTooSkewed"
            | "InvalidSecurity"
            | "NotSignedUp",
        ) => (ErrorKind::Unauthorized, false),
        (301 | 307, _)
        | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            (ErrorKind::WrongRegion(region), false)
        }
        _ if is_throttled(status, code) => (ErrorKind::Exhausted, true),
        (500 | 502..=599, _) | (_, "RequestTimeout" | "InternalError") => (ErrorKind::Exhausted, true),
        (401, _) => (ErrorKind::Unauthorized, false),
        (403, _) if operation == Operation::Get && message.contains("kms:Decrypt") => {
            (ErrorKind::AccessDenied("kms:Decrypt"), false)
        }
        (403, _) => (ErrorKind::AccessDenied(operation.action()), false),
        (404, "NoSuchKey") => (ErrorKind::Gone, false),
        // Any other 404 may come from whatever stands between S3 and us: it does not prove that the object is gone.
        (404, _) if operation == Operation::Get => (ErrorKind::Refused, false),
        (404, _) => (ErrorKind::NoSuchBucket, false),
        (501, _) => (ErrorKind::Refused, false),
        // 416: shorter than the listing said, so it is another object now.
        (412 | 416, _) => (ErrorKind::Changed, false),
        _ => (ErrorKind::Refused, false),
    };
    let throttled = retryable && is_throttled(status, code);
    let code = if code.is_empty() { "no error code" } else { code };
    Failure {
        kind,
        retryable,
        throttled,
        retry_after: None,
        status: Some(status),
        code: code.to_owned(),
        message: message.to_owned(),
        request_id,
    }
}

/// Whether an answer asks for fewer requests: by its status, or by the codes of S3 and of servers that speak as S3 does.
fn is_throttled(status: u16, code: &str) -> bool {
    matches!(status, 429 | 503)
        || matches!(
            code,
            "SlowDown"
                | "SlowDownRead"
                | "ServiceUnavailable"
                | "KMS.ThrottlingException"
                | "Throttling"
                | "ThrottlingException"
                | "ThrottledException"
                | "RequestThrottled"
                | "RequestThrottledException"
                | "RequestLimitExceeded"
                | "BandwidthLimitExceeded"
                | "TooManyRequests"
                | "TooManyRequestsException"
        )
}

/// What `Retry-After` asks for.
fn retry_after(raw: &HttpResponse) -> Option<Duration> {
    let header = |name: &str| raw.headers().get(name);
    retry_wait(header("retry-after")?, header("date"), SystemTime::now())
}

/// The text of a `Retry-After` header as a time to wait: seconds, or a point in time by the clock of whoever sent it,
/// which `date` tells; `now` stands in where it does not.
fn retry_wait(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| SystemTime::try_from(DateTime::from_str(text.trim(), Format::HttpDate).ok()?).ok();
    Some(time(text)?.duration_since(date.and_then(time).unwrap_or(now)).unwrap_or_default())
}

/// Looks through the wrappers by type: was it the credentials that could not be had? Then, whether a later try may have
/// them: a service that gives them may be slow or broken for a moment, a missing profile stays missing.
fn credentials(error: &(dyn StdError + 'static)) -> Option<bool> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return Some(matches!(error, CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_)));
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(operation: Operation, status: u16, code: &str, message: &str) -> (ErrorKind, bool) {
        let failure = answer(operation, status, code, message, Some("eu-west-1".to_owned()), None);
        (failure.kind, failure.retryable)
    }

    #[test]
    fn answers_are_read_by_code_and_status() {
        use ErrorKind::*;
        let cases = [
            (Operation::Get, 412, "PreconditionFailed", "", Changed, false),
            (Operation::Get, 416, "InvalidRange", "", Changed, false),
            (Operation::Get, 404, "NoSuchKey", "", Gone, false),
            (Operation::Get, 404, "", "", Refused, false),
            (Operation::List, 501, "NotImplemented", "", Refused, false),
            (Operation::List, 404, "NoSuchBucket", "", NoSuchBucket, false),
            (Operation::List, 301, "PermanentRedirect", "", WrongRegion(Some("eu-west-1".to_owned())), false),
            (
                Operation::List,
                400,
                "AuthorizationHeaderMalformed",
                "",
                WrongRegion(Some("eu-west-1".to_owned())),
                false,
            ),
            (Operation::List, 403, "AccessDenied", "", AccessDenied("s3:ListBucket"), false),
            (Operation::Get, 403, "AccessDenied", "", AccessDenied("s3:GetObject"), false),
            (
                Operation::Get,
                403,
                "AccessDenied",
                "not authorized to perform: kms:Decrypt on",
                AccessDenied("kms:Decrypt"),
                false,
            ),
            (Operation::Get, 403, "InvalidObjectState", "", Archived, false),
            (Operation::Get, 403, "SignatureDoesNotMatch", "", Unauthorized, false),
            (Operation::Get, 400, "ExpiredToken", "", Unauthorized, false),
            (Operation::Get, 503, "SlowDown", "", Exhausted, true),
            (Operation::Get, 500, "", "", Exhausted, true),
            (Operation::Get, 400, "RequestTimeout", "", Exhausted, true),
            (Operation::Get, 400, "InvalidArgument", "", Refused, false),
        ];
        for (operation, status, code, message, expected, retryable) in cases {
            assert_eq!(kind(operation, status, code, message), (expected, retryable), "{status} {code}");
        }
    }

    #[test]
    fn what_asks_for_fewer_requests() {
        let throttled = |status, code| answer(Operation::Get, status, code, "", None, None).throttled;
        for (status, code) in
            [(503, "SlowDown"), (503, ""), (429, "TooManyRequests"), (400, "ThrottlingException"), (200, "SlowDown")]
        {
            assert!(throttled(status, code), "{status} {code}");
            assert!(answer(Operation::List, status, code, "", None, None).retryable, "{status} {code}");
        }
        for (status, code) in [(500, "InternalError"), (502, ""), (504, ""), (403, "AccessDenied"), (404, "NoSuchKey")]
        {
            assert!(!throttled(status, code), "{status} {code}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_400);
        let (date, minute) = ("Wed, 21 Oct 2015 07:28:00 GMT", Duration::from_secs(60));
        assert_eq!(retry_wait("60", None, now), Some(minute));
        assert_eq!(retry_wait(" 0 ", None, now), Some(Duration::ZERO));
        // By the server's own clock where it tells it, whatever ours says.
        assert_eq!(retry_wait("Wed, 21 Oct 2015 07:29:00 GMT", Some(date), now), Some(minute));
        assert_eq!(retry_wait(date, None, now), Some(Duration::from_secs(80)));
        assert_eq!(retry_wait("Wed, 21 Oct 2015 07:27:00 GMT", Some(date), now), Some(Duration::ZERO), "it is over");
        for bad in ["", "soon", "-1", "1.5"] {
            assert_eq!(retry_wait(bad, None, now), None, "{bad}");
        }
    }

    #[test]
    fn the_text_says_where_what_and_what_to_do() {
        let error = Error {
            kind: ErrorKind::AccessDenied("s3:GetObject"),
            operation: Operation::Get,
            bucket: "lake".to_owned(),
            key: "a/b.parquet".to_owned(),
            status: Some(403),
            code: "AccessDenied".to_owned(),
            message: "Access Denied.".to_owned(),
            request_id: Some("R1".to_owned()),
            attempts: 1,
            elapsed: Duration::ZERO,
        };
        assert_eq!(
            error.to_string(),
            "GetObject of s3://lake/a/b.parquet failed: AccessDenied (HTTP 403): Access Denied; request id R1; \
             allow s3:GetObject on arn:aws:s3:::lake/a/b.parquet"
        );
    }
}
