//! `cloudquery.plugin.v3.Plugin` over a [`Source`], with the Go SDK's rules and error texts (users search for those).
//!
//! One lock is shared by Init, Sync and Close; none of them waits for it. A Sync holds it until its stream ended or
//! the peer dropped it, whichever comes first, so that the next CLI finds a plugin that is free.
//!
//! A Sync is a task of its own that fills a small bounded channel; the response stream empties it as fast as the peer
//! reads. When the peer goes away, the stream is dropped: that fires the sync's cancellation token and closes the
//! channel. A panic in the source ends the call with an error status instead of a stream that hangs.

use super::{
    ipc,
    proto::plugin_v3::{self as pb, plugin_server::Plugin},
    source::{
        Backend, ErrorKind, Grant, Message, Selection, Source, SourceError, SyncReceiver, SyncRequest, sync_channel,
    },
    status::{for_peer, status, status_with},
};
use crate::about::{PLUGIN_NAME, PLUGIN_VERSION};
use futures::{FutureExt as _, Stream};
use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Response, Status, Streaming};

/// Messages of a sync that wait for the transport. Enough that encoding the next message and sending this one overlap;
/// few, because each may hold several MiB. Senders wait while it is full.
pub const SYNC_CHANNEL_MESSAGES: usize = 4;
/// How long a sync may go on after its token was cancelled; then it is dropped.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

const IN_USE: &str = "plugin already in use";
const INIT_FAILED: &str = "failed to init plugin";
const INIT_CLIENT_FAILED: &str = "failed to init plugin: failed to initialize client";
const TABLES_FAILED: &str = "failed to get tables: failed to get tables";
const SYNC_FAILED: &str = "failed to sync records: failed to sync unmanaged client";

/// The gRPC service. Cheap to clone; clones share everything.
pub struct Service<S: Source> {
    shared: Arc<Shared<S>>,
}

struct Shared<S: Source> {
    source: S,
    /// Held by a running Init, Sync or Close. It is never waited for: a call that finds it taken fails at once.
    busy: Arc<Mutex<()>>,
    /// What the last successful Init made; none before it and after Close. A call takes a share of it, so a replaced
    /// client lives until its last call ended. Locked for a clone or a store only.
    client: StdMutex<Option<Arc<S::Client>>>,
    /// Fires when the process ends: running calls stop.
    shutdown: CancellationToken,
}

impl<S: Source> std::fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl<S: Source> Clone for Service<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: Source> Service<S> {
    /// A service before its first Init. Calls in progress end soon after `shutdown` fired.
    pub fn new(source: S, shutdown: CancellationToken) -> Self {
        let shared = Shared { source, busy: Arc::default(), client: StdMutex::default(), shutdown };
        Self { shared: Arc::new(shared) }
    }

    fn try_lock(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.shared.busy).try_lock_owned().ok()
    }

    fn client(&self) -> Option<Arc<S::Client>> {
        self.shared.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_client(&self, client: Option<Arc<S::Client>>) {
        let old = std::mem::replace(&mut *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner), client);
        drop(old); // after the lock was released: a client's drop may take its time
    }

    /// Runs a call of the source: ends with the process, and turns a panic into an error.
    async fn guarded<T, E: From<SourceError>>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::select! {
            result = AssertUnwindSafe(call).catch_unwind() => result.unwrap_or_else(|_| Err(panicked().into())),
            () = self.shared.shutdown.cancelled() => Err(SourceError::new(ErrorKind::Cancelled, "the plugin stops").into()),
        }
    }
}

/// What the peer reads when the source panicked. The panic itself is in the log.
fn panicked() -> SourceError {
    SourceError::new(ErrorKind::Internal, "the plugin hit a bug and panicked; its log says where. Please report it")
}

/// Why a sync cannot start, in the words that follow [`SYNC_FAILED`].
fn sync_request(request: pb::sync::Request) -> Result<SyncRequest, SourceError> {
    let invalid = |text: String| SourceError::new(ErrorKind::InvalidSelection, text);
    let backend = match request.backend {
        Some(backend) if backend.table_name.is_empty() && backend.connection.is_empty() => None,
        Some(backend) if backend.table_name.is_empty() || backend.connection.is_empty() => {
            let empty = if backend.table_name.is_empty() { "table_name" } else { "connection" };
            return Err(invalid(format!(
                "backend_options must contain both connection and table_name: {empty} is empty"
            )));
        }
        Some(backend) => Some(Backend { table_name: backend.table_name, connection: backend.connection }),
        None => None,
    };
    let shard = match request.shard {
        None => None,
        Some(shard) => match (u32::try_from(shard.num), u32::try_from(shard.total)) {
            (Ok(number @ 1..), Ok(total)) if number <= total => Some((number, total)),
            _ => {
                let (number, total) = (shard.num, shard.total);
                return Err(invalid(format!("shard {number}/{total}: the number must be from 1 to the total")));
            }
        },
    };
    Ok(SyncRequest {
        selection: Selection { tables: request.tables, skip_tables: request.skip_tables },
        backend,
        shard,
        with_error_messages: request.with_error_messages,
    })
}

#[tonic::async_trait]
impl<S: Source> Plugin for Service<S> {
    type SyncStream = SyncStream;
    type ReadStream = futures::stream::Empty<Result<pb::read::Response, Status>>;
    type TransformStream = futures::stream::Empty<Result<pb::transform::Response, Status>>;

    async fn get_name(&self, _: Request<pb::get_name::Request>) -> Result<Response<pb::get_name::Response>, Status> {
        Ok(Response::new(pb::get_name::Response { name: PLUGIN_NAME.to_owned() }))
    }

    async fn get_version(
        &self,
        _: Request<pb::get_version::Request>,
    ) -> Result<Response<pb::get_version::Response>, Status> {
        Ok(Response::new(pb::get_version::Response { version: PLUGIN_VERSION.to_owned() }))
    }

    async fn get_spec_schema(
        &self,
        _: Request<pb::get_spec_schema::Request>,
    ) -> Result<Response<pb::get_spec_schema::Response>, Status> {
        let json_schema = Some(self.shared.source.spec_schema());
        Ok(Response::new(pb::get_spec_schema::Response { json_schema }))
    }

    async fn init(&self, request: Request<pb::init::Request>) -> Result<Response<pb::init::Response>, Status> {
        let request = request.into_inner();
        let Some(_busy) = self.try_lock() else {
            return Err(status_with(Code::Internal, INIT_FAILED, IN_USE));
        };
        crate::telemetry::set_invocation_id(&request.invocation_id);
        let init = AssertUnwindSafe(|| self.shared.source.init(&request.spec, request.no_connection));
        let client = std::panic::catch_unwind(init)
            .unwrap_or_else(|_| Err(panicked()))
            .map_err(|error| status_with(Code::Internal, INIT_CLIENT_FAILED, &error.message))?;
        self.set_client(Some(Arc::new(client)));
        Ok(Response::new(pb::init::Response {}))
    }

    async fn get_tables(
        &self,
        request: Request<pb::get_tables::Request>,
    ) -> Result<Response<pb::get_tables::Response>, Status> {
        let request = request.into_inner();
        let Some(client) = self.client() else {
            return Err(status_with(Code::Internal, "failed to get tables", "plugin not initialized"));
        };
        let selection = Selection { tables: request.tables, skip_tables: request.skip_tables };
        let schemas = self
            .guarded(self.shared.source.tables(&client, selection))
            .await
            .map_err(|error| status(TABLES_FAILED, &error))?;
        let tables = schemas.iter().map(|schema| ipc::encode_schema(schema)).collect::<Result<_, _>>();
        let tables =
            tables.map_err(|error| status_with(Code::Internal, "failed to encode table schema", &error.to_string()))?;
        Ok(Response::new(pb::get_tables::Response { tables }))
    }

    async fn sync(&self, request: Request<pb::sync::Request>) -> Result<Response<SyncStream>, Status> {
        let failed = "failed to sync records";
        let busy = self.try_lock().ok_or_else(|| status_with(Code::FailedPrecondition, failed, IN_USE))?;
        let client = self.client().ok_or_else(|| {
            status_with(Code::FailedPrecondition, failed, "plugin not initialized. call Init() first")
        })?;
        let request = sync_request(request.into_inner()).map_err(|error| status(SYNC_FAILED, &error))?;
        let with_errors = request.with_error_messages;
        let cancel = self.shared.shutdown.child_token();
        let (sink, messages) = sync_channel(SYNC_CHANNEL_MESSAGES);
        let (shared, token) = (Arc::clone(&self.shared), cancel.clone());
        let task = tokio::spawn(async move {
            let sync = AssertUnwindSafe(shared.source.sync(&client, request, sink, token.clone())).catch_unwind();
            tokio::select! {
                result = sync => result.unwrap_or_else(|_| Err(panicked())),
                () = async { token.cancelled().await; tokio::time::sleep(CANCEL_GRACE).await } => {
                    Err(SourceError::new(ErrorKind::Cancelled, "the sync was cancelled and did not stop in time"))
                }
            }
        });
        Ok(Response::new(SyncStream {
            messages,
            held: Grant::default(),
            with_errors,
            outcome: Some(Outcome { task, result: None, _busy: busy, _cancel: cancel.drop_guard() }),
        }))
    }

    async fn read(&self, _: Request<pb::read::Request>) -> Result<Response<Self::ReadStream>, Status> {
        Err(Status::unimplemented("failed to read records: this plugin is a source; Read is for destinations"))
    }

    async fn write(&self, _: Request<Streaming<pb::write::Request>>) -> Result<Response<pb::write::Response>, Status> {
        Err(Status::unimplemented("write failed: this plugin is a source; Write is for destinations"))
    }

    async fn transform(
        &self,
        _: Request<Streaming<pb::transform::Request>>,
    ) -> Result<Response<Self::TransformStream>, Status> {
        Err(Status::unimplemented("failed to transform: this plugin is a source; Transform is for transformers"))
    }

    async fn transform_schema(
        &self,
        _: Request<pb::transform_schema::Request>,
    ) -> Result<Response<pb::transform_schema::Response>, Status> {
        Err(Status::unimplemented(
            "failed to transform schema: this plugin is a source; TransformSchema is for transformers",
        ))
    }

    async fn close(&self, _: Request<pb::close::Request>) -> Result<Response<pb::close::Response>, Status> {
        let Some(_busy) = self.try_lock() else { return Err(Status::failed_precondition(IN_USE)) };
        self.set_client(None);
        Ok(Response::new(pb::close::Response {}))
    }

    async fn test_connection(
        &self,
        request: Request<pb::test_connection::Request>,
    ) -> Result<Response<pb::test_connection::Response>, Status> {
        let spec = request.into_inner().spec;
        let test = async { Ok::<_, SourceError>(self.shared.source.test_connection(&spec).await) };
        let response = match self.guarded(test).await {
            Ok(Ok(())) => pb::test_connection::Response { success: true, ..Default::default() },
            Ok(Err(failure)) => pb::test_connection::Response {
                success: false,
                failure_code: if failure.code.is_empty() { "UNKNOWN" } else { failure.code }.to_owned(),
                failure_description: for_peer(failure.description),
            },
            Err(error) => return Err(status("failed to test connection", &error)),
        };
        Ok(Response::new(response))
    }
}

/// The response stream of a Sync. Dropping it cancels the sync and frees the plugin.
#[derive(Debug)]
pub struct SyncStream {
    messages: SyncReceiver,
    /// The memory of the message given out last; released when the transport asks for the next one.
    held: Grant,
    with_errors: bool,
    /// Gone once the end of the stream was given out; the plugin is free from then on.
    outcome: Option<Outcome>,
}

/// How a sync ends, and what it holds until then.
#[derive(Debug)]
struct Outcome {
    task: JoinHandle<Result<(), SourceError>>,
    result: Option<Result<(), SourceError>>,
    _busy: OwnedMutexGuard<()>,
    _cancel: DropGuard,
}

impl Outcome {
    /// Ready once the sync ended and `result` is there.
    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.result.is_none() {
            // The task itself catches panics; what is left is a panic in a destructor, or a runtime that shuts down.
            self.result = Some(ready!(self.task.poll_unpin(cx)).unwrap_or_else(|_| Err(panicked())));
        }
        Poll::Ready(())
    }
}

impl Stream for SyncStream {
    type Item = Result<pb::sync::Response, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        use pb::sync::response::Message as Wire;
        let this = self.get_mut();
        let Some(outcome) = &mut this.outcome else { return Poll::Ready(None) };
        this.held = Grant::default();
        loop {
            let message = match this.messages.poll_recv(cx) {
                Poll::Ready(Some(message)) => message,
                Poll::Ready(None) => break,
                Poll::Pending => {
                    // The sync may end while a task that it left behind still holds a sink: that must not hold up
                    // the end of the stream. What was queued until now is still sent.
                    ready!(outcome.poll_result(cx));
                    if !this.messages.close() {
                        return Poll::Pending;
                    }
                    continue;
                }
            };
            let wire = match message {
                Message::Migrate(table) => Wire::MigrateTable(pb::sync::MessageMigrateTable { table }),
                Message::Insert { record, grant } => {
                    this.held = grant;
                    Wire::Insert(pb::sync::MessageInsert { record })
                }
                // A peer that does not know this message would abort.
                Message::Error { .. } if !this.with_errors => continue,
                Message::Error { table, error } => {
                    Wire::Error(pb::sync::MessageError { table_name: table, error: for_peer(error) })
                }
            };
            return Poll::Ready(Some(Ok(pb::sync::Response { message: Some(wire) })));
        }
        ready!(outcome.poll_result(cx));
        let result = this.outcome.take().and_then(|outcome| outcome.result); // frees the plugin
        match result {
            Some(Err(error)) => Poll::Ready(Some(Err(status(SYNC_FAILED, &error)))),
            Some(Ok(())) | None => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests;
