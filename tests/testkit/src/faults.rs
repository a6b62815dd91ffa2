//! A scripted HTTP/1.1 server for what no real S3 server can be made to say: bodies that break off or stall, answers
//! that never come, ranges that were not asked for. The script sees each request and decides;
//! [`Reply::listing`] and [`Reply::object`] give the answers that S3 would give, for the requests not to break.
//!
//! ```ignore
//! let server = FaultServer::start(|request, nth| match nth {
//!     1 => Reply::Reset,
//!     _ => Reply::ok("hello"),
//! }).await;
//! ```

use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A request head beyond this is not one of ours.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// By lower-case name.
    pub headers: HashMap<String, String>,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// ListObjectsV2.
    pub fn is_list(&self) -> bool {
        self.target.contains("list-type=2")
    }

    /// The bytes of an object of `length` bytes that the Range header means; all of them without one.
    pub fn range_of(&self, length: usize) -> std::ops::Range<usize> {
        let Some((first, last)) =
            self.headers.get("range").and_then(|text| text.strip_prefix("bytes=")?.split_once('-'))
        else {
            return 0..length;
        };
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => first.min(length)..length.min(last + 1),
            (Ok(first), Err(_)) => first.min(length)..length,
            (Err(_), Ok(suffix)) => length.saturating_sub(suffix)..length,
            (Err(_), Err(_)) => 0..length,
        }
    }
}

/// What the server does.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A proper answer with Content-Length.
    Full {
        /// HTTP status.
        status: u16,
        /// Beside Content-Length.
        headers: Vec<(String, String)>,
        /// The whole body.
        body: Bytes,
    },
    /// Promises more than it sends, then closes the connection.
    CutBody {
        /// HTTP status.
        status: u16,
        /// Beside Content-Length.
        headers: Vec<(String, String)>,
        /// Content-Length.
        declared_bytes: usize,
        /// What really goes out.
        sent: Bytes,
    },
    /// Sends the start of a body, then nothing until the client gives up.
    StallBody {
        /// HTTP status.
        status: u16,
        /// Beside Content-Length.
        headers: Vec<(String, String)>,
        /// The whole body.
        body: Bytes,
        /// So much of it is sent.
        after_bytes: usize,
    },
    /// A whole body in pieces with pauses.
    Drip {
        /// HTTP status.
        status: u16,
        /// Beside Content-Length.
        headers: Vec<(String, String)>,
        /// The whole body.
        body: Bytes,
        /// Bytes in a piece.
        piece_bytes: usize,
        /// Before each piece.
        pause: Duration,
    },
    /// These bytes as they are, then the connection closes: broken status lines, two Content-Lengths, …
    Raw(Bytes),
    /// Reads the request and closes the connection.
    CloseBeforeHeaders,
    /// Reads the request and resets the connection (RST).
    Reset,
    /// Reads the request and never answers.
    Never,
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::Full { status: 200, headers: Vec::new(), body: body.into() }
    }

    /// An S3 error: status, code, message.
    pub fn s3_error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message>\
             <RequestId>TESTREQUEST</RequestId></Error>"
        );
        Self::Full { status, headers: vec![("content-type".into(), "application/xml".into())], body: body.into() }
    }

    /// 206 with a Content-Range that the client did not ask for.
    pub fn wrong_range(etag: &str, content_range: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("etag".into(), format!("\"{etag}\"")), ("content-range".into(), content_range.to_owned())];
        Self::Full { status: 206, headers, body: body.into() }
    }

    /// What S3 answers to a GET of this object, Range honoured.
    pub fn object(request: &Request, etag: &str, content: &Bytes) -> Self {
        let (status, headers, body) = object_parts(request, etag, content);
        Self::Full { status, headers, body }
    }

    /// As [`Self::object`], broken off after `sent_bytes` of the body.
    pub fn cut_object(request: &Request, etag: &str, content: &Bytes, sent_bytes: usize) -> Self {
        let (status, headers, body) = object_parts(request, etag, content);
        let sent = body.slice(..sent_bytes.min(body.len()));
        Self::CutBody { status, headers, declared_bytes: body.len(), sent }
    }

    /// As [`Self::object`], stalled after `after_bytes` of the body.
    pub fn stalled_object(request: &Request, etag: &str, content: &Bytes, after_bytes: usize) -> Self {
        let (status, headers, body) = object_parts(request, etag, content);
        Self::StallBody { status, headers, body, after_bytes }
    }

    /// A complete ListObjectsV2 answer of one page; each object is (key, ETag, bytes). Keys must need no escaping.
    pub fn listing(bucket: &str, objects: &[(&str, &str, usize)]) -> Self {
        let mut body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>{bucket}</Name><Prefix></Prefix>\
             <KeyCount>{}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>",
            objects.len()
        );
        for (key, etag, size) in objects {
            body.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
                 <ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            ));
        }
        body.push_str("</ListBucketResult>");
        Self::Full { status: 200, headers: vec![("content-type".into(), "application/xml".into())], body: body.into() }
    }
}

fn object_parts(request: &Request, etag: &str, content: &Bytes) -> (u16, Vec<(String, String)>, Bytes) {
    let mut headers = vec![
        ("etag".to_owned(), format!("\"{etag}\"")),
        ("accept-ranges".to_owned(), "bytes".to_owned()),
        ("last-modified".to_owned(), "Fri, 02 Jan 2026 03:04:05 GMT".to_owned()),
    ];
    let range = request.range_of(content.len());
    if !request.headers.contains_key("range") {
        return (200, headers, content.clone());
    }
    if range.is_empty() {
        return (416, headers, Bytes::new());
    }
    headers.push(("content-range".to_owned(), format!("bytes {}-{}/{}", range.start, range.end - 1, content.len())));
    (206, headers, content.slice(range))
}

/// Decides about the n-th request (from 1, over all connections).
type Script = Arc<dyn Fn(&Request, u64) -> Reply + Send + Sync>;

/// A running server; it stops when it is dropped.
pub struct FaultServer {
    port: u16,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Script,
    connections: AtomicU64,
    count: AtomicU64,
    requests: Mutex<Vec<Request>>,
}

impl FaultServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start(script: impl Fn(&Request, u64) -> Reply + Send + Sync + 'static) -> Self {
        let (listener, port) = crate::listen().await;
        let shared = Arc::new(Shared {
            script: Arc::new(script),
            connections: AtomicU64::new(0),
            count: AtomicU64::new(0),
            requests: Mutex::new(Vec::new()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { port, shared, accepting }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests read so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.accepting.abort(); // its connections live in the task's join set and end with it
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                // An I/O error here is the client hanging up on a fault: expected.
                connections.spawn(async move { drop(serve(stream, &shared).await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Requests of one connection, until a reply closes it.
async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        let nth = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
        shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let body_follows = request.method != "HEAD";
        match (shared.script)(&request, nth) {
            Reply::Full { status, headers, body } => {
                write_head(&mut stream, status, &headers, body.len()).await?;
                if body_follows {
                    stream.write_all(&body).await?;
                }
            }
            Reply::CutBody { status, headers, declared_bytes, sent } => {
                write_head(&mut stream, status, &headers, declared_bytes).await?;
                stream.write_all(&sent).await?;
                return stream.shutdown().await;
            }
            Reply::StallBody { status, headers, body, after_bytes } => {
                write_head(&mut stream, status, &headers, body.len()).await?;
                stream.write_all(&body[..after_bytes.min(body.len())]).await?;
                return wait_for_hang_up(stream).await;
            }
            Reply::Drip { status, headers, body, piece_bytes, pause } => {
                write_head(&mut stream, status, &headers, body.len()).await?;
                for piece in body.chunks(piece_bytes.max(1)) {
                    tokio::time::sleep(pause).await;
                    stream.write_all(piece).await?;
                }
            }
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Reply::CloseBeforeHeaders => return stream.shutdown().await,
            Reply::Reset => return stream.set_zero_linger(), // dropping it now sends RST
            Reply::Never => return wait_for_hang_up(stream).await,
        }
    }
    Ok(())
}

async fn wait_for_hang_up(mut stream: TcpStream) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}

async fn write_head(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    content_length: usize,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {content_length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await
}

/// The next request; its body, if any, is read and dropped. `None` when the client closed the connection.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(io::Error::other("the request head is too long"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    buffer.drain(..head_end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().unwrap_or_default().to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body_bytes = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    while buffer.len() < body_bytes {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    buffer.drain(..body_bytes);
    Ok(Some(Request { method, target, headers }))
}
