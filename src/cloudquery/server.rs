//! Listens and serves: TCP or a unix socket, discovery, the plugin, health and reflection.
//!
//! [`bind`] comes first in the process and is synchronous: the CLI dials right after it started the plugin, and waits a
//! whole second when nothing listens yet. Connections that arrive before [`Listener::serve`] runs wait in the kernel.
//!
//! On stop, streams end and the socket file goes; connections that stay open are not waited for longer than
//! [`STOP_GRACE`].

use super::network::Network;
#[cfg(unix)]
use super::unix_authority::AuthorityStream;
use super::{
    proto::{DESCRIPTORS, discovery_v0, discovery_v1, plugin_v3::plugin_server::PluginServer},
    service::Service,
    source::Source,
};
use crate::error_chain::error_chain;
use futures::{Stream, future::BoxFuture};
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt, io,
    net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs as _},
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service as HttpService, http},
    server::NamedService,
    transport::server::{Connected, Server},
};

/// Largest message in either direction: what the Go SDK and the CLI allow.
pub const MAX_MESSAGE_BYTES: usize = 200 * 1024 * 1024;
/// How long open connections get to end their streams once the process stops.
pub const STOP_GRACE: Duration = Duration::from_millis(300);
/// A connection is asked for a sign of life this often. Without it a peer whose machine vanished in mid-sync would hold
/// the plugin for ever: nothing is sent that could fail.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// No answer for this long ends the connection, and with it its sync.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after a failed accept: the usual cause is too many open files, which time cures.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the plugin does not listen or serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not `host:port`, or the name is unknown.
    #[error("cannot resolve --address `{address}`: {cause}; expected host:port, for example localhost:7777")]
    Resolve {
        /// As given.
        address: String,
        /// The resolver's answer.
        cause: io::Error,
    },
    /// The name has no address of the family that `--network` asks for.
    #[error("--address `{address}` has no {network:?} address")]
    NoAddress {
        /// As given.
        address: String,
        /// As given.
        network: Network,
    },
    /// The system refused to listen.
    #[error("cannot listen on `{address}`: {cause}")]
    Listen {
        /// As given.
        address: String,
        /// The system's answer.
        cause: io::Error,
    },
    /// The path is taken by something else than a socket, or another process serves there.
    #[error("cannot listen on unix socket `{path}`: {reason}")]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// What is there.
        reason: &'static str,
    },
    /// A network that exists in Go only.
    #[error("--network {0} is not supported; use tcp, tcp4, tcp6 or unix")]
    Network(&'static str),
    /// A unix socket on a system without them.
    #[error("--network unix is not supported on this system; use --network tcp")]
    NoUnixSockets,
    /// The server failed later on.
    #[error("serve: {0}")]
    Serve(String),
}

/// A bound socket that is not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    shown: String,
}

#[derive(Debug)]
enum Socket {
    Tcp(StdTcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

/// The file of a unix socket, removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Already gone when the CLI was faster; nothing to do about any other failure.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Listens on the address.
///
/// # Errors
/// [`ServeError`], which names the address and what is wrong with it.
pub fn bind(network: Network, address: &str) -> Result<Listener, ServeError> {
    match network {
        Network::Tcp | Network::Tcp4 | Network::Tcp6 => bind_tcp(network, address),
        Network::Unix => bind_unix(address),
        Network::Unixpacket => Err(ServeError::Network("unixpacket")),
    }
}

fn bind_tcp(network: Network, address: &str) -> Result<Listener, ServeError> {
    let listen = |cause| ServeError::Listen { address: address.to_owned(), cause };
    // Go's form of "all interfaces".
    let name = match address.strip_prefix(':') {
        Some(port) if network == Network::Tcp6 => format!("[::]:{port}"),
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    };
    let resolved = name.to_socket_addrs();
    let resolved = resolved.map_err(|cause| ServeError::Resolve { address: address.to_owned(), cause })?;
    let mut candidates: Vec<SocketAddr> = resolved
        .filter(|candidate| match network {
            Network::Tcp4 => candidate.is_ipv4(),
            Network::Tcp6 => candidate.is_ipv6(),
            Network::Tcp | Network::Unix | Network::Unixpacket => true,
        })
        .collect();
    // As Go does: of a name's addresses, IPv4 first.
    candidates.sort_by_key(SocketAddr::is_ipv6);
    if candidates.is_empty() {
        return Err(ServeError::NoAddress { address: address.to_owned(), network });
    }
    let socket = StdTcpListener::bind(&candidates[..]).map_err(listen)?;
    socket.set_nonblocking(true).map_err(listen)?;
    let shown = socket.local_addr().map_err(listen)?.to_string();
    Ok(Listener { socket: Socket::Tcp(socket), shown })
}

#[cfg(unix)]
fn bind_unix(address: &str) -> Result<Listener, ServeError> {
    use std::os::unix::{
        fs::FileTypeExt as _,
        net::{UnixListener, UnixStream},
    };
    let path = PathBuf::from(address);
    if let Ok(found) = std::fs::symlink_metadata(&path) {
        if !found.file_type().is_socket() {
            return Err(ServeError::SocketPath { path, reason: "a file that is not a socket exists there" });
        }
        if UnixStream::connect(&path).is_ok() {
            return Err(ServeError::SocketPath { path, reason: "another process listens there" });
        }
        // Left behind by a process that was killed. When it cannot be removed, bind says so.
        let _ = std::fs::remove_file(&path);
    }
    let listen = |cause| ServeError::Listen { address: address.to_owned(), cause };
    let socket = UnixListener::bind(&path).map_err(listen)?;
    let file = SocketFile(path);
    socket.set_nonblocking(true).map_err(listen)?;
    Ok(Listener { socket: Socket::Unix(socket, file), shown: address.to_owned() })
}

#[cfg(not(unix))]
fn bind_unix(_: &str) -> Result<Listener, ServeError> {
    Err(ServeError::NoUnixSockets)
}

impl Listener {
    /// The address that was bound, with the port that the system chose.
    pub fn address(&self) -> &str {
        &self.shown
    }

    /// Another handle to the socket's file, for a process that ends without dropping the listener.
    pub fn socket_file(&self) -> Option<SocketFile> {
        match &self.socket {
            Socket::Tcp(_) => None,
            #[cfg(unix)]
            Socket::Unix(_, file) => Some(SocketFile(file.0.clone())),
        }
    }

    /// Serves until `shutdown` fires, and [`STOP_GRACE`] longer at most. Removes the socket's file at the end.
    ///
    /// # Errors
    /// [`ServeError::Listen`] when the runtime cannot take the socket, [`ServeError::Serve`] when serving fails.
    pub async fn serve<S: Source>(self, source: S, shutdown: CancellationToken) -> Result<(), ServeError> {
        let listen = |cause| ServeError::Listen { address: self.shown.clone(), cause };
        let routes = Routes::new(Service::new(source, shutdown.clone())).await?;
        match self.socket {
            Socket::Tcp(socket) => {
                let socket = tokio::net::TcpListener::from_std(socket).map_err(listen)?;
                let incoming = connections(socket, |socket: &tokio::net::TcpListener, cx: &mut Context<'_>| {
                    let (stream, _) = ready!(socket.poll_accept(cx))?;
                    // Answers are small and waited for; without this each may wait for an acknowledgement.
                    Poll::Ready(stream.set_nodelay(true).map(|()| stream))
                });
                serve_connections(routes, incoming, shutdown).await
            }
            #[cfg(unix)]
            Socket::Unix(socket, _file) => {
                let socket = tokio::net::UnixListener::from_std(socket).map_err(listen)?;
                let incoming = connections(socket, |socket: &tokio::net::UnixListener, cx: &mut Context<'_>| {
                    let (stream, _) = ready!(socket.poll_accept(cx))?;
                    Poll::Ready(Ok(AuthorityStream::new(stream)))
                });
                serve_connections(routes, incoming, shutdown).await
            }
        }
    }
}

/// Accepted connections. A failed accept is logged and tried again; it never ends the server.
fn connections<L, T>(
    listener: L,
    accept: impl Fn(&L, &mut Context<'_>) -> Poll<io::Result<T>>,
) -> impl Stream<Item = io::Result<T>> {
    futures::stream::unfold((listener, accept), |(listener, accept)| async {
        loop {
            match std::future::poll_fn(|cx| accept(&listener, cx)).await {
                Ok(connection) => return Some((Ok(connection), (listener, accept))),
                Err(error) => {
                    tracing::debug!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

async fn serve_connections<T>(
    routes: Routes,
    incoming: impl Stream<Item = io::Result<T>>,
    shutdown: CancellationToken,
) -> Result<(), ServeError>
where
    T: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    let serve = server.serve_with_incoming_shutdown(routes, incoming, shutdown.cancelled());
    tokio::select! {
        result = serve => result.map_err(|error| ServeError::Serve(error_chain(&error))),
        () = async { shutdown.cancelled().await; tokio::time::sleep(STOP_GRACE).await } => Ok(()),
    }
}

type Handler = Box<dyn Fn(http::Request<Body>) -> BoxFuture<'static, http::Response<Body>> + Send + Sync>;

/// Picks the gRPC service by the first part of a request's path. Cheap to clone.
#[derive(Clone)]
struct Routes(Arc<HashMap<&'static str, Handler>>);

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Routes {
    async fn new<S: Source>(service: Service<S>) -> Result<Self, ServeError> {
        let plugin = PluginServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (health, health_server) = tonic_health::server::health_reporter();
        health.set_serving::<PluginServer<Service<S>>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let descriptors = |error: tonic_reflection::server::Error| ServeError::Serve(error_chain(&error));
        Ok(Self(Arc::new(HashMap::from([
            route(plugin),
            route(discovery_v0::discovery_server::DiscoveryServer::new(Discovery)),
            route(discovery_v1::discovery_server::DiscoveryServer::new(Discovery)),
            route(health_server),
            route(reflection().build_v1().map_err(descriptors)?),
            route(reflection().build_v1alpha().map_err(descriptors)?),
        ]))))
    }
}

fn route<T>(service: T) -> (&'static str, Handler)
where
    T: HttpService<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    T: NamedService + Clone + Send + Sync + 'static,
    T::Future: Send + 'static,
{
    let handler = move |request| -> BoxFuture<'static, _> {
        let response = service.clone().call(request);
        Box::pin(async {
            match response.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    };
    (T::NAME, Box::new(handler))
}

impl HttpService<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        let response: BoxFuture<'static, _> = match self.0.get(service) {
            Some(handler) => handler(request),
            None => {
                let status = Status::unimplemented(format!("unknown service {service}"));
                Box::pin(std::future::ready(status.into_http()))
            }
        };
        Box::pin(async { Ok(response.await) })
    }
}

/// Which versions of the protocol are spoken: only 3.
#[derive(Debug, Clone, Copy)]
struct Discovery;

#[tonic::async_trait]
impl discovery_v1::discovery_server::Discovery for Discovery {
    async fn get_versions(
        &self,
        _: Request<discovery_v1::get_versions::Request>,
    ) -> Result<Response<discovery_v1::get_versions::Response>, Status> {
        Ok(Response::new(discovery_v1::get_versions::Response { versions: vec![3] }))
    }
}

#[tonic::async_trait]
impl discovery_v0::discovery_server::Discovery for Discovery {
    async fn get_versions(
        &self,
        _: Request<discovery_v0::get_versions::Request>,
    ) -> Result<Response<discovery_v0::get_versions::Response>, Status> {
        Ok(Response::new(discovery_v0::get_versions::Response { versions: vec!["v3".to_owned()] }))
    }
}

#[cfg(test)]
mod tests;
