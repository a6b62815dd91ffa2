//! From options to a client: where requests go, who signs them, through which proxy and with which certificates.
//!
//! Making a [`Store`] sends nothing to S3 unless the region is unknown; credentials are fetched with the first request.
//! What the AWS environment offers is left to the AWS SDK: `AWS_*` variables, profiles, SSO, web identity, container and
//! instance roles, `AWS_USE_FIPS_ENDPOINT`, `AWS_USE_DUALSTACK_ENDPOINT`. Added here, because the SDK for Rust lacks
//! them or leaves them to the application: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` and `AWS_CA_BUNDLE`.

use super::pace::Pace;
use super::retry::{CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, Liveness};
use super::{Inner, Store, Usage};
use crate::config::Secret;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use std::fmt;
use std::sync::Arc;

/// Region for signing where a custom endpoint is given and no region is: what other S3 servers expect.
const CUSTOM_ENDPOINT_REGION: &str = "us-east-1";
/// Where a bucket is asked for its region. Every region answers with the right one.
const ASK_REGION: &str = "us-east-1";
/// The session name of an assumed role where the user gives none; it shows up in CloudTrail.
const DEFAULT_SESSION_NAME: &str = "cq-source-s3";

/// Everything needed to reach a bucket.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bucket name, or an access point's ARN or alias.
    pub bucket: String,
    /// Region from the spec.
    pub region: Option<String>,
    /// Another server than AWS: `http://` or `https://` URL.
    pub endpoint: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// Accept the costs of requests to a requester-pays bucket.
    pub request_payer: bool,
    /// Who signs.
    pub credentials: CredentialSource,
    /// A role to assume with these credentials.
    pub role: Option<Role>,
}

impl Options {
    /// Where requests will go, as far as that is known before connecting; without user info.
    #[must_use]
    pub fn endpoint_text(&self) -> String {
        match (self.endpoint.clone().or_else(environment_endpoint), &self.region) {
            (Some(url), _) => without_user_info(&url),
            (None, Some(region)) => regional_endpoint(region),
            (None, None) => "Amazon S3".to_owned(),
        }
    }
}

/// Where credentials come from.
#[derive(Clone)]
pub enum CredentialSource {
    /// The AWS chain, with a named profile if given.
    Chain {
        /// Name of a profile in the AWS configuration files.
        profile: Option<String>,
    },
    /// Keys from the spec.
    Keys {
        /// Access key id.
        access_key_id: Secret,
        /// Secret access key.
        secret_access_key: Secret,
        /// Session token of temporary keys.
        session_token: Option<Secret>,
    },
    /// Requests are not signed.
    Anonymous,
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain { .. } => "Chain",
            Self::Keys { .. } => "Keys",
            Self::Anonymous => "Anonymous",
        })
    }
}

/// A role to assume.
#[derive(Debug, Clone)]
pub struct Role {
    /// The role's ARN.
    pub arn: String,
    /// External id that the role's trust policy asks for.
    pub external_id: Option<Secret>,
    /// Name of the session.
    pub session_name: Option<String>,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `AWS_CA_BUNDLE` names a file that can't be used.
    #[error("AWS_CA_BUNDLE: cannot read {path}: {cause}")]
    CaBundle {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The TLS set-up was refused.
    #[error("TLS set-up failed: {0}")]
    Tls(String),
    /// The region is unknown and the bucket's answer could not be had.
    #[error(transparent)]
    Region(#[from] super::Error),
}

impl Store {
    /// Makes the client. See the module's text for what is sent when.
    ///
    /// # Errors
    /// When the environment's TLS settings can't be used, or the region is unknown and the bucket cannot be asked.
    pub async fn connect(options: &Options) -> Result<Self, ConnectError> {
        let config = sdk_config(options).await?;
        let region = match (&options.region, config.region(), arn_region(&options.bucket)) {
            (Some(region), _, _) => Some(region.clone()),
            (None, _, Some(region)) => Some(region.to_owned()),
            (None, Some(region), None) => Some(region.to_string()),
            (None, None, None) if endpoint(options, &config).is_some() => Some(CUSTOM_ENDPOINT_REGION.to_owned()),
            (None, None, None) => None,
        };
        let region = match region {
            Some(region) => region,
            None => {
                let asked = Self::build(options, &config, ASK_REGION).bucket_region().await?;
                tracing::debug!(
                    bucket = options.bucket,
                    region = asked,
                    "no region is set, the bucket says where it is"
                );
                asked
            }
        };
        Ok(Self::build(options, &config, &region))
    }

    fn build(options: &Options, config: &SdkConfig, region: &str) -> Self {
        let mut s3 = aws_sdk_s3::config::Builder::from(config)
            .region(Region::new(region.to_owned()))
            .force_path_style(options.path_style)
            .use_arn_region(true)
            // One attempt a call: `retry` does the rest, and `pace` follows what S3 answers. (The SDK's adaptive mode keeps
            // its own pace, one for the whole process, and is half a request a second after a burst of refusals.)
            .retry_config(RetryConfig::disabled())
            // Bodies are watched by the reader, which knows that it never pauses.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = &options.endpoint {
            s3 = s3.endpoint_url(endpoint);
        }
        let custom = endpoint(options, config);
        Self {
            inner: Arc::new(Inner {
                client: aws_sdk_s3::Client::from_conf(s3.build()),
                bucket: options.bucket.clone(),
                endpoint: custom.as_deref().map_or_else(|| regional_endpoint(region), without_user_info),
                custom_endpoint: custom.is_some(),
                request_payer: options.request_payer,
                pace: Pace::new(),
                usage: Usage::default(),
                liveness: Liveness::new(),
            }),
        }
    }

    /// The same bucket through another region, as S3 itself advised.
    #[must_use]
    pub fn moved_to(&self, region: &str) -> Self {
        let config = self.inner.client.config().to_builder().region(Region::new(region.to_owned())).build();
        Self {
            inner: Arc::new(Inner {
                client: aws_sdk_s3::Client::from_conf(config),
                bucket: self.inner.bucket.clone(),
                endpoint: if self.inner.custom_endpoint {
                    self.inner.endpoint.clone()
                } else {
                    regional_endpoint(region)
                },
                custom_endpoint: self.inner.custom_endpoint,
                request_payer: self.inner.request_payer,
                pace: Pace::new(),
                usage: Usage::default(),
                liveness: Liveness::new(),
            }),
        }
    }
}

async fn sdk_config(options: &Options) -> Result<SdkConfig, ConnectError> {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http_client()?).timeout_config(
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(FIRST_BYTE_TIMEOUT).build(),
    );
    let profile = match &options.credentials {
        CredentialSource::Chain { profile } => profile.as_deref(),
        CredentialSource::Keys { access_key_id, secret_access_key, session_token } => {
            let mut keys = Credentials::builder()
                .access_key_id(access_key_id.expose())
                .secret_access_key(secret_access_key.expose())
                .provider_name("spec");
            keys.set_session_token(session_token.as_ref().map(|token| token.expose().to_owned()));
            loader = loader.credentials_provider(keys.build());
            None
        }
        CredentialSource::Anonymous => {
            loader = loader.no_credentials();
            None
        }
    };
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    let region = match &options.region {
        Some(region) => Some(Region::new(region.clone())),
        // The instance metadata service is only asked where AWS is meant: elsewhere it costs a second for nothing.
        None if options.endpoint.is_some() || environment_endpoint().is_some() => {
            let mut file = ProfileFileRegionProvider::builder();
            if let Some(profile) = profile {
                file = file.profile_name(profile);
            }
            match EnvironmentVariableRegionProvider::new().region().await {
                Some(region) => Some(region),
                None => file.build().region().await,
            }
        }
        None => {
            let mut chain = DefaultRegionChain::builder();
            if let Some(profile) = profile {
                chain = chain.profile_name(profile);
            }
            chain.build().region().await
        }
    };
    let config = loader.region(region).load().await;
    let Some(role) = &options.role else { return Ok(config) };
    let mut assume = aws_config::sts::AssumeRoleProvider::builder(&role.arn)
        .session_name(role.session_name.as_deref().unwrap_or(DEFAULT_SESSION_NAME));
    if let Some(id) = &role.external_id {
        assume = assume.external_id(id.expose());
    }
    if config.region().is_none() {
        // STS wants one, too; its global endpoint is there.
        assume = assume.region(Region::from_static(ASK_REGION));
    }
    let provider = assume.configure(&config).build().await;
    Ok(config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build())
}

/// One connection pool, with the proxies and certificates that the environment asks for.
fn http_client() -> Result<SharedHttpClient, ConnectError> {
    let mut trust = TrustStore::default();
    if let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        let refuse = |cause| ConnectError::CaBundle { path: path.to_string_lossy().into_owned(), cause };
        let pem = std::fs::read(&path).and_then(usable_certificates).map_err(refuse)?;
        // As in other AWS tools, the bundle replaces the system's certificates.
        trust = TrustStore::empty().with_pem_certificate(pem);
    }
    let tls = TlsContext::builder().with_trust_store(trust).build().map_err(|e| ConnectError::Tls(e.to_string()))?;
    Ok(HttpBuilder::new().build_with_connector_fn(move |settings, _| {
        let mut connector = Connector::builder();
        connector.set_connector_settings(settings.cloned());
        connector
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.clone())
            .build()
    }))
}

/// The PEM text, if each certificate in it can be used: the TLS library takes what it is given on trust.
fn usable_certificates(pem: Vec<u8>) -> std::io::Result<Vec<u8>> {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    let invalid = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidData, text);
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        count += 1;
        let certificate = certificate.map_err(|error| invalid(format!("certificate {count} is not PEM: {error}")))?;
        webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| invalid(format!("certificate {count} cannot be used: {error}; remove it")))?;
    }
    if count == 0 { Err(invalid("it has no PEM certificate".to_owned())) } else { Ok(pem) }
}

/// `arn:aws:s3:eu-west-1:…` names its region; a multi-region access point has none.
fn arn_region(bucket: &str) -> Option<&str> {
    let mut parts = bucket.split(':');
    (parts.next()? == "arn").then(|| parts.nth(2)).flatten().filter(|region| !region.is_empty())
}

/// The endpoint that requests will go to, if it is not AWS's own: the spec's, else what the AWS environment says.
fn endpoint(options: &Options, config: &SdkConfig) -> Option<String> {
    let spec = options.endpoint.clone();
    spec.or_else(environment_endpoint).or_else(|| config.endpoint_url().map(str::to_owned))
}

/// The SDK applies these variables by itself; here they only decide what is said and which region is the default.
fn environment_endpoint() -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"))
}

/// What AWS calls the region's endpoint, for people to read; the SDK finds the real one by its own rules.
fn regional_endpoint(region: &str) -> String {
    format!("https://s3.{region}.amazonaws.com")
}

/// `https://user:secret@host/` → `https://host/`.
fn without_user_info(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_info_is_not_shown() {
        assert_eq!(without_user_info("https://u:p@w@host:1/x@y"), "https://host:1/x@y");
        assert_eq!(without_user_info("http://127.0.0.1:4566"), "http://127.0.0.1:4566");
    }

    #[test]
    fn arns_name_their_region() {
        assert_eq!(arn_region("arn:aws:s3:eu-west-1:123456789012:accesspoint/lake"), Some("eu-west-1"));
        assert_eq!(arn_region("arn:aws:s3::123456789012:accesspoint/x.mrap"), None);
        assert_eq!(arn_region("lake"), None);
    }

    #[test]
    fn keys_are_not_printed() {
        let source = CredentialSource::Keys {
            access_key_id: Secret::new("AKIAX".to_owned()),
            secret_access_key: Secret::new("hush".to_owned()),
            session_token: None,
        };
        assert_eq!(format!("{source:?}"), "Keys");
    }
}
