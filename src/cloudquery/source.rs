//! What a source plugin has to provide; [`super::service`] turns it into the gRPC service.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A source plugin. One value lives as long as the process; [`Source::init`] makes a `Client` for each Init.
pub trait Source: Send + Sync + 'static {
    /// What Init makes of a spec. Dropped when the next Init succeeds, or at Close.
    type Client: Send + Sync + 'static;

    /// The JSON Schema of the spec, draft 2020-12, as text.
    fn spec_schema(&self) -> String;

    /// Parses and checks the spec (JSON text; empty, `null` and `{}` mean the same). Touches no network.
    /// With `no_connection` a missing or wrong spec is not an error here: it comes out of [`Source::tables`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSpec`], with one line per mistake.
    fn init(&self, spec: &[u8], no_connection: bool) -> Result<Self::Client, SourceError>;

    /// The schemas of the selected tables, complete with CloudQuery metadata.
    fn tables(
        &self,
        client: &Self::Client,
        selection: Selection,
    ) -> impl Future<Output = Result<Vec<SchemaRef>, SourceError>> + Send;

    /// Sends all messages of one sync into `sink`. Returns when everything was sent, or with the error that ends the
    /// stream. Must stop soon after `cancel` fires (the peer went away, or the process ends).
    fn sync(
        &self,
        client: &Self::Client,
        request: SyncRequest,
        sink: SyncSink,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Checks that the spec works: the caller reports the failure with gRPC status OK.
    fn test_connection(&self, spec: &[u8]) -> impl Future<Output = Result<(), TestFailure>> + Send;
}

/// `tables` and `skip_tables` as the user wrote them.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Include patterns.
    pub tables: Vec<String>,
    /// Exclude patterns; they win.
    pub skip_tables: Vec<String>,
}

/// A Sync request in the plugin's own terms.
#[derive(Debug, Clone, Default)]
pub struct SyncRequest {
    /// Which tables.
    pub selection: Selection,
    /// State backend, when the user configured one.
    pub backend: Option<Backend>,
    /// Shard number (from 1) and total, when sharded.
    pub shard: Option<(u32, u32)>,
    /// The peer understands [`Message::Error`].
    pub with_error_messages: bool,
}

/// Where incremental state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The state table's name.
    pub table_name: String,
    /// A gRPC target (`host:port`, `unix:///path`, …).
    pub connection: String,
}

/// Why a test of the connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFailure {
    /// Stable upper-case code, for example `ACCESS_DENIED`.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub description: String,
}

/// One message of a Sync stream.
#[derive(Debug)]
pub enum Message {
    /// A table's schema, as an Arrow IPC stream without batches.
    Migrate(Bytes),
    /// One record batch, as an Arrow IPC stream with exactly one batch, and the memory it holds until it was sent.
    Insert {
        /// The IPC stream.
        record: Bytes,
        /// Dropped when the transport took the message.
        grant: Grant,
    },
    /// A table had an error, the sync goes on. Must only be sent if the peer understands it.
    Error {
        /// The table.
        table: String,
        /// What happened.
        error: String,
    },
}

/// Something that is released when it is dropped (a share of the memory budget).
#[derive(Default)]
pub struct Grant(pub Option<Box<dyn Send>>);

impl Grant {
    /// Holds something until the transport took the message.
    pub fn holding(held: impl Send + 'static) -> Self {
        Self(Some(Box::new(held)))
    }
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grant")
    }
}

/// The sending half of a Sync stream: bounded, so a slow peer holds up the sync. Made by [`sync_channel`].
#[derive(Debug, Clone)]
pub struct SyncSink {
    pub(super) sender: mpsc::Sender<Message>,
    /// How many messages were queued so far, by all clones of this sink.
    queued: Arc<AtomicU64>,
    /// How many messages the transport took so far. Closed when the receiving half is gone.
    taken: watch::Receiver<u64>,
}

impl SyncSink {
    /// Waits for room, then queues the message. Cancel safe: a message is queued whole or not at all.
    ///
    /// # Errors
    /// [`Disconnected`] when the peer has gone: stop.
    pub async fn send(&self, message: Message) -> Result<(), Disconnected> {
        let room = self.sender.reserve().await.map_err(|_| Disconnected)?;
        self.queued.fetch_add(1, Ordering::SeqCst);
        room.send(message);
        Ok(())
    }

    /// Waits until the transport took every message queued before this call: it asked for more after the last one.
    /// That is as much as gRPC tells; the peer may still not have read them. Cancel safe.
    ///
    /// # Errors
    /// [`Disconnected`] when the peer went away before that.
    pub async fn drained(&self) -> Result<(), Disconnected> {
        let queued = self.queued.load(Ordering::SeqCst);
        let mut taken = self.taken.clone();
        taken.wait_for(|taken| *taken >= queued).await.map_err(|_| Disconnected)?;
        Ok(())
    }
}

/// The receiving half of a Sync stream. Dropping it tells the sinks that the peer has gone.
#[derive(Debug)]
pub struct SyncReceiver {
    receiver: mpsc::Receiver<Message>,
    taken: watch::Sender<u64>,
    /// A message was given out and is counted as taken when the next one is asked for.
    given: bool,
    closed: bool,
}

impl SyncReceiver {
    /// Lets no sink queue anything more; what is queued can still be received. False if that was so before.
    pub fn close(&mut self) -> bool {
        self.receiver.close();
        !std::mem::replace(&mut self.closed, true)
    }

    /// The next message, or `None` after the last sink was dropped. Asking again says that the previous message is
    /// out of the way. Cancel safe.
    pub async fn recv(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// See [`SyncReceiver::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        if std::mem::take(&mut self.given) {
            self.taken.send_modify(|taken| *taken += 1);
        }
        let polled = self.receiver.poll_recv(cx);
        self.given = matches!(polled, Poll::Ready(Some(_)));
        polled
    }
}

/// A Sync stream that holds at most `capacity` messages (at least 1) that have not been taken yet.
pub fn sync_channel(capacity: usize) -> (SyncSink, SyncReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let (taken_sender, taken) = watch::channel(0);
    (
        SyncSink { sender, queued: Arc::default(), taken },
        SyncReceiver { receiver, taken: taken_sender, given: false, closed: false },
    )
}

/// The peer of a Sync stream went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer closed the sync stream")]
pub struct Disconnected;

/// An error of the source: what kind it is (the service picks the gRPC code) and what the user reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What the caller should make of it.
    pub kind: ErrorKind,
    /// One clear text: what is wrong, where, what to do. Never contains a secret.
    pub message: String,
}

impl SourceError {
    /// An error of `kind` with `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What the caller does next decides the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Fix the spec.
    InvalidSpec,
    /// The selection matches nothing, two tables share a name, too many tables: change the configuration.
    InvalidSelection,
    /// The bucket does not exist.
    NotFound,
    /// Not allowed: change a policy.
    AccessDenied,
    /// No or bad credentials.
    Unauthorized,
    /// The endpoint does not answer, or retries are exhausted: try later.
    Unavailable,
    /// The state of earlier syncs is damaged: reset it.
    InvalidState,
    /// Some objects or tables could not be read; everything else was sent, which does not mean that it was stored.
    Incomplete,
    /// The peer went away or the process ends.
    Cancelled,
    /// Our bug.
    Internal,
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn message(number: u8) -> Message {
        Message::Migrate(Bytes::from(vec![number]))
    }

    #[tokio::test]
    async fn drained_waits_for_the_poll_after_the_last_message() {
        let (sink, mut receiver) = sync_channel(4);
        sink.drained().now_or_never().expect("nothing was queued").unwrap();
        sink.send(message(1)).await.unwrap();
        sink.clone().send(message(2)).await.unwrap();
        receiver.recv().await.unwrap();
        assert!(sink.drained().now_or_never().is_none(), "one is still queued");
        receiver.recv().await.unwrap();
        assert!(sink.drained().now_or_never().is_none(), "the last was given out, but no more was asked for");
        assert!(receiver.recv().now_or_never().is_none());
        sink.drained().now_or_never().expect("asked for more").unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_goes_away_ends_send_and_drained() {
        let (sink, receiver) = sync_channel(1);
        sink.send(message(1)).await.unwrap();
        drop(receiver);
        assert_eq!(sink.send(message(2)).await, Err(Disconnected));
        assert_eq!(sink.drained().await, Err(Disconnected));
    }

    #[tokio::test]
    async fn a_full_channel_holds_up_the_sender() {
        let (sink, mut receiver) = sync_channel(1);
        sink.send(message(1)).await.unwrap();
        assert!(sink.send(message(2)).now_or_never().is_none());
        receiver.recv().await.unwrap();
        sink.send(message(3)).now_or_never().expect("there is room again").unwrap();
        assert!(matches!(receiver.recv().await, Some(Message::Migrate(bytes)) if bytes[..] == [3]));
    }
}
