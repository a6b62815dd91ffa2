//! What the texts of a spec must look like: names, ARNs, the endpoint.

use super::field_types::TextRule;
use super::object_reader::quote;
use std::fmt;

/// The name of a bucket, or what stands for one.
///
/// Names are checked loosely: up to 2018 us-east-1 allowed upper case, underscores and 255 characters, and other S3
/// servers still do. Of ARNs those pass for which the AWS SDK finds an endpoint that lists and reads objects as they
/// are: access points, multi-region access points (no region, `….mrap`), access points on Outposts.
pub(super) struct BucketRule;

impl TextRule for BucketRule {
    const PATTERN: &'static str = concat!(
        "^(?:[A-Za-z0-9][A-Za-z0-9._-]{2,254}",
        "|arn:aws[a-z-]*:s3:[a-z0-9-]+:[0-9]{12}:accesspoint[/:][A-Za-z0-9-]+",
        "|arn:aws[a-z-]*:s3::[0-9]{12}:accesspoint[/:][A-Za-z0-9-]+[.]mrap",
        "|arn:aws[a-z-]*:s3-outposts:[a-z0-9-]+:[0-9]{12}:outpost[/:][A-Za-z0-9-]+[/:]accesspoint[/:][A-Za-z0-9-]+)$",
    );
    const EXPECTED: &'static str =
        "a bucket's name (3 to 255 letters, digits, dots, hyphens, underscores), an access point's alias or ARN";

    fn hint(text: &str) -> Option<String> {
        if text.contains('@') {
            return None;
        }
        if let Some(rest) = text.strip_prefix("s3://").or_else(|| text.strip_prefix("s3a://")) {
            let rest = rest.trim_end_matches('/');
            return Some(only_the_name(rest.split_once('/').map_or((rest, ""), |(name, prefix)| (name, prefix))));
        }
        if text.starts_with("arn:") {
            if text.contains(":s3-object-lambda:") {
                return Some(
                    "S3 Object Lambda access points are not supported: their objects need not have the size and ETag \
                     that the listing says; use the bucket or a plain access point"
                        .to_owned(),
                );
            }
            if let Some(name) = text.split(":s3:::").nth(1) {
                return Some(format!("write the bucket's name, {}; only access points are given by ARN", quote(name)));
            }
            return None;
        }
        text.split_once('/').filter(|(name, _)| !name.is_empty() && !name.ends_with(':')).map(only_the_name)
    }
}

/// The hint for a bucket that was given with a path.
fn only_the_name((name, prefix): (&str, &str)) -> String {
    let name = quote(name);
    match prefix {
        "" => format!("write only the bucket's name, {name}"),
        prefix => format!("write only the bucket's name, {name}, and path_prefix {}", quote(prefix)),
    }
}

/// A region: goes into host names.
pub(super) struct RegionRule;

impl TextRule for RegionRule {
    const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9-]{0,62}$";
    const EXPECTED: &'static str =
        "a region such as us-east-1 (letters, digits, hyphens); leave it out to have it found";
}

/// A profile of the shared AWS files.
pub(super) struct ProfileRule;

impl TextRule for ProfileRule {
    const PATTERN: &'static str = "^[^\\n\\r]+$";
    const EXPECTED: &'static str = "the name of a profile in ~/.aws/config or ~/.aws/credentials";
}

/// The ARN of a role; other STS servers than Amazon's have their own forms.
pub(super) struct RoleArnRule;

impl TextRule for RoleArnRule {
    const PATTERN: &'static str = "^arn:[!-~]+$";
    const LENGTH: (usize, usize) = (20, 2048);
    const EXPECTED: &'static str = "a role's ARN such as arn:aws:iam::123456789012:role/name";
}

/// As STS takes it.
pub(super) struct ExternalIdRule;

impl TextRule for ExternalIdRule {
    const PATTERN: &'static str = "^[A-Za-z0-9_+=,.@:/-]+$";
    const LENGTH: (usize, usize) = (2, 1224);
    const EXPECTED: &'static str = "2 to 1224 letters, digits or characters of _+=,.@:/-";
    // Not a password, yet an outsider should not learn it from a log.
    const SECRET: bool = true;
}

/// As STS takes it.
pub(super) struct RoleSessionNameRule;

impl TextRule for RoleSessionNameRule {
    const PATTERN: &'static str = "^[A-Za-z0-9_+=,.@-]+$";
    const LENGTH: (usize, usize) = (2, 64);
    const EXPECTED: &'static str = "2 to 64 letters, digits or characters of _+=,.@-";
}

/// The address of an S3 server.
pub(super) struct EndpointRule;

/// A port from 1 to 65535, with its colon.
macro_rules! port_pattern {
    () => {
        "(?::(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
    };
}

impl TextRule for EndpointRule {
    const PATTERN: &'static str = concat!(
        r"^https?://(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:]+\])",
        port_pattern!(),
        "(?:/[A-Za-z0-9._~/-]*)?$",
    );
    const EXPECTED: &'static str = "a URL such as https://s3.example.org:9000, without query";

    fn hint(text: &str) -> Option<String> {
        // First, and without quoting: what stands before the @ may be a password.
        if text.contains('@') {
            return Some(
                "must not carry a user name or password; give keys under `credentials` or by the AWS chain".to_owned(),
            );
        }
        if text.contains(['?', '#']) {
            return Some("must have no query and no fragment (`?`, `#`)".to_owned());
        }
        (!text.contains("://")).then(|| format!("must begin with https:// or http://, found {}", quote(text)))
    }
}

/// The URL of an S3 server, `http` or `https`, without user info, query and fragment: always fit to be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Takes a text that [`EndpointRule`] accepted.
    pub(super) fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_automata::meta::Regex;

    fn accepts<R: TextRule>(text: &str) -> bool {
        Regex::new(R::PATTERN).unwrap().is_match(text)
    }

    #[test]
    fn buckets() {
        for bucket in [
            "abc",
            "my-bucket",
            "My_Old.Bucket",
            "bucket--use1-az4--x-s3",
            "ap-alias-1x5h2d6nbucket-s3alias",
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/finance",
            "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint:finance",
            "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
            "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01234567890123456/accesspoint/ap",
        ] {
            assert!(accepts::<BucketRule>(bucket), "{bucket}");
        }
        for bucket in [
            "",
            "ab",
            "-abc",
            "a/b/c",
            "s3://bucket",
            "bücket",
            "my bucket",
            "arn:aws:s3:::bucket",
            "arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/mine",
            "arn:aws:s3::123456789012:accesspoint/no-region",
            "arn:aws:s3:eu-west-1:1234:accesspoint/finance",
        ] {
            assert!(!accepts::<BucketRule>(bucket), "{bucket}");
        }
    }

    #[test]
    fn bucket_hints() {
        let hint = |text| BucketRule::hint(text).unwrap();
        assert_eq!(hint("s3://b-1/raw/x"), r#"write only the bucket's name, "b-1", and path_prefix "raw/x""#);
        assert_eq!(hint("s3://b-1/"), r#"write only the bucket's name, "b-1""#);
        assert_eq!(hint("b-1/raw/"), r#"write only the bucket's name, "b-1", and path_prefix "raw/""#);
        assert!(hint("arn:aws:s3:::b-1").contains(r#""b-1""#));
        assert_eq!(BucketRule::hint("s3n://AKIA:hunter2@bucket/x"), None);
        assert!(hint("arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/x").contains("Object Lambda"));
        assert_eq!(BucketRule::hint("ab"), None);
        assert_eq!(BucketRule::hint("http://x"), None);
    }

    #[test]
    fn endpoints() {
        for url in [
            "http://127.0.0.1:4566",
            "https://s3.eu-central-1.amazonaws.com",
            "http://my_minio:9000/",
            "http://[::1]:9000",
            "https://project.example.co/storage/v1/s3",
            "http://h:65535",
        ] {
            assert!(accepts::<EndpointRule>(url), "{url}");
        }
        for url in [
            "localhost:9000",
            "ftp://h",
            "https://",
            "https://user:pass@h",
            "https://h?x=1",
            "https://h#x",
            "https://h:65536",
            "https://h:0",
            "https://h:",
            "https://h h",
            "HTTPS://h",
        ] {
            assert!(!accepts::<EndpointRule>(url), "{url}");
        }
        assert!(!EndpointRule::hint("https://user:hunter2@h").unwrap().contains("hunter2"));
    }

    #[test]
    fn every_pattern_compiles_and_is_anchored() {
        for pattern in [
            BucketRule::PATTERN,
            RegionRule::PATTERN,
            ProfileRule::PATTERN,
            RoleArnRule::PATTERN,
            ExternalIdRule::PATTERN,
            RoleSessionNameRule::PATTERN,
            EndpointRule::PATTERN,
        ] {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
            assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{pattern}");
        }
    }
}
