//! Calls of a backend, each with a deadline, and tried again for about a minute before they count as failed.
//!
//! Each try has a connection of its own, and between calls there is none. A sync may run for days, and a connection that
//! is idle is what firewalls, NAT gateways and proxies drop in silence. Pings are not a cure: gRPC servers in Go, which
//! CloudQuery's destinations are, take pings on an idle connection for abuse and hang up after the third
//! (`ENHANCE_YOUR_CALM`). A new connection costs milliseconds, and there are few.
//!
//! Trying again is safe since all calls are idempotent: a migrate of the same table, a read, an insert of the same keys with
//! the same versions.

use super::OpenError;
use crate::error_chain::error_chain;
use std::time::{Duration, Instant};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

/// Room for state on its way, per stream and per connection: the default of 64 KiB would make a large state table slow.
const WINDOW_BYTES: u32 = 4 << 20;
/// A call that waits for a busy backend: probes of the system's, so that nothing in between forgets the connection, and a
/// peer that is gone is noticed. Below the idle times of usual gateways (AWS: 350 s; many firewalls: 5 minutes or less).
const TCP_PROBES: Duration = Duration::from_secs(60);
/// The slowest backend that is waited for, in bytes a second: what is added to the deadline of a large write.
const SLOWEST_BYTES_A_SECOND: u64 = 256 << 10;
/// Longest wait between two tries: a backend that is back is noticed soon.
const MAX_WAIT: Duration = Duration::from_secs(8);

/// How long the client bears with a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For an answer, and for each further message of one.
    pub answer: Duration,
    /// How long a call is tried again, counted from its first failure. At least one more try is made, whatever the first
    /// one took.
    pub tries: Duration,
    /// The wait behind the first failure; it doubles each time, and a random half of it is left out.
    pub first_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // It was started before the source, so it listens already, or is restarted.
            connect: Duration::from_secs(30),
            // A warehouse may need minutes to wake up, to make a table or to load a batch; none is known that needs five.
            answer: Duration::from_secs(5 * 60),
            // A managed database fails over in about that time.
            tries: Duration::from_secs(60),
            first_wait: Duration::from_millis(500),
        }
    }
}

/// Where the backend is, and how it is called.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    endpoint: Endpoint,
    /// `connection`, as given.
    target: String,
    table: String,
    patience: Patience,
}

impl Caller {
    pub fn new(endpoint: Endpoint, target: &str, table: &str, patience: Patience) -> Self {
        let endpoint = endpoint
            .connect_timeout(patience.connect)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .tcp_keepalive(Some(TCP_PROBES));
        Self { endpoint, target: target.to_owned(), table: table.to_owned(), patience }
    }

    /// Runs `attempt` on a new connection until it works, until it fails for good, or until patience ends. Safe to cancel
    /// as far as `attempt` is.
    pub async fn until_it_works<T, F>(&self, attempt: impl Fn(Channel) -> F) -> Result<T, OpenError>
    where
        F: Future<Output = Result<T, OpenError>>,
    {
        let started = Instant::now();
        let mut first_failure: Option<Instant> = None;
        let mut wait = self.patience.first_wait;
        let mut tries = 0_u32;
        loop {
            tries += 1;
            let error = match self.once(&attempt).await {
                Ok(done) => return Ok(done),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => error,
            };
            let first_failure = *first_failure.get_or_insert_with(Instant::now);
            let jittered = wait.mul_f64(1.0 - 0.5 * fastrand::f64());
            if tries > 1 && first_failure.elapsed() + jittered > self.patience.tries {
                return Err(error.after(tries, started.elapsed()));
            }
            tracing::warn!(
                state_table = self.table,
                error = error.to_string(),
                tries,
                wait_ms = u64::try_from(jittered.as_millis()).unwrap_or(u64::MAX),
                "the state backend failed; it is tried again"
            );
            tokio::time::sleep(jittered).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    /// One try of [`Self::until_it_works`].
    async fn once<T, F>(&self, attempt: impl Fn(Channel) -> F) -> Result<T, OpenError>
    where
        F: Future<Output = Result<T, OpenError>>,
    {
        let failed = |reason| OpenError::Connect { target: self.target.clone(), reason };
        // The endpoint's own limit is for each address of the host; this one is for all of it, HTTP/2 included.
        let connected = tokio::time::timeout(self.patience.connect, self.endpoint.connect()).await;
        let connected =
            connected.map_err(|_| failed(format!("no answer in {} s", self.patience.connect.as_secs_f64())))?;
        attempt(connected.map_err(|error| failed(error_chain(&error)))?).await
    }

    /// What `call` gives, with a deadline: the answer's, and what `bytes` need on their way to it.
    pub async fn answer<T>(
        &self,
        call: &'static str,
        bytes: u64,
        answer: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, OpenError> {
        let deadline = self.patience.answer + Duration::from_secs(bytes / SLOWEST_BYTES_A_SECOND);
        let failed =
            |code, answered, reason| OpenError::Call { call, table: self.table.clone(), code, answered, reason };
        match tokio::time::timeout(deadline, answer).await {
            // A status that was made on this side has what it was made of as its source.
            Ok(answer) => answer.map_err(|status| {
                failed(status.code(), std::error::Error::source(&status).is_none(), super::describe(&status))
            }),
            Err(_) => Err(failed(Code::DeadlineExceeded, false, format!("no answer in {} s", deadline.as_secs_f64()))),
        }
    }
}

/// Whether a backend that answers with this code would answer so again.
pub(super) fn is_final(code: Code) -> bool {
    matches!(code, Code::Unimplemented | Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated)
}

/// Whether a backend that refuses a write speaks of the schema of a table: it is the destination, too, and refuses a
/// migrate of the same sync, which only another `migrate_mode` changes.
pub(super) fn is_of_migration(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["migrate_mode", "require migration", "failed to migrate"].iter().any(|words| reason.contains(words))
}
