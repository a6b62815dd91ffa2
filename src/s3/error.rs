//! What can go wrong with S3, in terms of what the caller does next.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
