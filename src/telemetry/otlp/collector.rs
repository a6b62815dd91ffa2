//! One HTTP client for all three exporters: HTTP/1.1 to the collector, with the TLS stack that the S3 client brings.
//!
//! The exporters call it from threads of their own, without a runtime, so each request is a task of the process's
//! runtime. Certificates of the system are loaded with the first request, off the async threads: start-up must not wait
//! for them. A collector that cannot be reached is worth one line, and none at all once something was delivered: the
//! CloudQuery CLI closes its receiver before it stops the plugin.

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

/// A collector is near, mostly on the same machine. Two of these fit the time that the end of a sync waits: one export
/// that is under way, and the last.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Where telemetry goes.
#[derive(Clone)]
pub(super) struct Collector {
    inner: Arc<Inner>,
    runtime: Handle,
}

struct Inner {
    /// For messages: `https://host:port`.
    url: String,
    connector: OnceCell<Connector>,
    /// Something was delivered: from then on failures are not worth a warning.
    delivered: AtomicBool,
    warned: AtomicBool,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collector").field(&self.inner.url).finish()
    }
}

impl Collector {
    /// Opens no connection and loads nothing yet.
    pub(super) fn new(url: &str, runtime: Handle) -> Self {
        let inner = Inner {
            url: url.to_owned(),
            connector: OnceCell::new(),
            delivered: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner), runtime }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let inner = Arc::clone(&self.inner);
        let request = async move {
            let result = match tokio::time::timeout(REQUEST_TIMEOUT, inner.send(request)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()).into()),
            };
            inner.note(&result);
            result
        };
        self.runtime.spawn(request).await?
    }
}

impl Inner {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let connector = self.connector.get_or_try_init(|| self.connector()).await?;
        let (parts, body) = request.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method(parts.method.as_str())?;
        request.set_uri(parts.uri.to_string())?;
        for (name, value) in &parts.headers {
            request.headers_mut().try_insert(name.as_str().to_owned(), value.to_str()?.to_owned())?;
        }
        let response = connector.call(request).await?;
        let status = response.status().as_u16();
        let body = ByteStream::new(response.into_body()).collect().await?.into_bytes();
        Ok(Response::builder().status(status).body(body)?)
    }

    async fn connector(&self) -> Result<Connector, HttpError> {
        let secure = self.url.starts_with("https:");
        let build = move || {
            if secure {
                // A collector behind TLS may be far away; a plain one is not, and no proxy knows the way to it.
                Connector::builder()
                    .proxy_config(ProxyConfig::from_env())
                    .tls_provider(Provider::Rustls(CryptoMode::Ring))
                    .build()
            } else {
                Connector::builder().build_http()
            }
        };
        Ok(tokio::task::spawn_blocking(build).await?)
    }

    /// Says once that nothing arrives.
    fn note(&self, result: &Result<Response<Bytes>, HttpError>) {
        let error = match result {
            Ok(response) if response.status().is_success() => return self.delivered.store(true, Ordering::Relaxed),
            Ok(response) => format!("it answered {}", response.status()),
            Err(error) => crate::error_chain::error_chain(error.as_ref()),
        };
        if self.delivered.load(Ordering::Relaxed) || self.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            collector = self.url,
            error,
            "metrics, traces and logs cannot be delivered; everything else goes on, and this is not said again"
        );
    }
}
