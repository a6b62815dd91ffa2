//! What one failed attempt was: reads the SDK's errors and S3's answers, by code, status and header.

use super::error::{ErrorKind, Operation};
use crate::error_chain::error_chain;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

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
    pub fn contradiction(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Refused, retryable: true, ..Self::transport("ContradictoryAnswer", message) }
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
        // An error whose body is not S3's XML, from whatever is between S3 and us: its status says enough.
        SdkError::ResponseError(context) if matches!(context.raw().status().as_u16(), 429 | 500..) => {
            let failure = of_answer(operation, context.raw().status().as_u16(), "", &error_chain(error), None, None);
            Failure { retry_after: retry_after(context.raw()), ..failure }
        }
        SdkError::ResponseError(context) => Failure {
            status: Some(context.raw().status().as_u16()),
            ..Failure::transport("BadResponse", error_chain(error))
        },
        error if let Some(retryable) = credentials_retryable(error) => Failure {
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
            let failure = of_answer(
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
pub(super) fn of_answer(
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
        // Any other 404 may come from whatever is between S3 and us: it does not prove that the object is gone.
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
/// which `date` tells; `now` is taken where it does not.
fn retry_wait(text: &str, date: Option<&str>, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| SystemTime::try_from(DateTime::from_str(text.trim(), Format::HttpDate).ok()?).ok();
    Some(time(text)?.duration_since(date.and_then(time).unwrap_or(now)).unwrap_or_default())
}

/// If loading credentials failed, whether a later try may succeed: a service that gives them may be slow or broken for a
/// moment, a missing profile stays missing. `None`: something else failed. Looks through the wrappers by type.
fn credentials_retryable(error: &(dyn StdError + 'static)) -> Option<bool> {
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
        let failure = of_answer(operation, status, code, message, Some("eu-west-1".to_owned()), None);
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
        let throttled = |status, code| of_answer(Operation::Get, status, code, "", None, None).throttled;
        for (status, code) in
            [(503, "SlowDown"), (503, ""), (429, "TooManyRequests"), (400, "ThrottlingException"), (200, "SlowDown")]
        {
            assert!(throttled(status, code), "{status} {code}");
            assert!(of_answer(Operation::List, status, code, "", None, None).retryable, "{status} {code}");
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
}
