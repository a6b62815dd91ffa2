//! When to try again, how long to wait, and when to give up.
//!
//! The SDK's adaptive mode paces requests when S3 throttles (it learns from every answer), but each of its calls makes
//! one attempt only: trying again is done here, because a body that breaks off must be resumed where it ended, and
//! because an error has to say truthfully how often and how long it was tried.

use super::error::Failure;
use super::{Error, ErrorKind, Operation, Store, Usage};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Attempts for one request. S3 asks clients to retry 503s; ten tries with the waits below span about half a minute,
/// which outlasts the usual partition split.
const MAX_ATTEMPTS: u32 = 10;
/// Time that one object may lose in failed attempts and waits before it is given up.
const MAX_LOST_AN_OBJECT: Duration = Duration::from_secs(5 * 60);
/// LIST, and anything that gets no answer at all, gives up within two minutes; a margin is left for the last attempt.
const MAX_LOST_WITHOUT_ANSWER: Duration = Duration::from_secs(110);
/// First wait is random between nothing and this; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Time from sending a request to the first byte of the answer; the SDK's connector watches it.
pub(super) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(25);
/// Time without a further byte of a body. The reader takes bytes as they come, so a stall is never our own doing.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Time to connect, TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How patient a call is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub max_attempts: u32,
    pub max_lost: Duration,
    pub max_lost_without_answer: Duration,
    /// Longest wait for the first byte of an answer.
    pub first_byte: Duration,
    /// Longest wait for a further byte of a body.
    pub stall: Duration,
}

impl Patience {
    /// For the objects of a sync.
    pub const OBJECT: Self = Self {
        max_attempts: MAX_ATTEMPTS,
        max_lost: MAX_LOST_AN_OBJECT,
        max_lost_without_answer: MAX_LOST_WITHOUT_ANSWER,
        first_byte: MAX_LOST_WITHOUT_ANSWER,
        stall: STALL_TIMEOUT,
    };
    /// For listings.
    pub const LIST: Self = Self { max_lost: MAX_LOST_WITHOUT_ANSWER, ..Self::OBJECT };
    /// For somebody who waits at a terminal: TestConnection, and asking a bucket for its region.
    pub const PROBE: Self = Self {
        max_attempts: 3,
        max_lost: Duration::from_secs(15),
        max_lost_without_answer: Duration::from_secs(30),
        ..Self::OBJECT
    };
}

/// The time that requests for one object have lost so far, shared by its concurrent range reads.
#[derive(Debug, Default)]
pub struct RetryBudget {
    lost_ms: AtomicU64,
}

impl RetryBudget {
    fn lose(&self, time: Duration) -> Duration {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.lost_ms.fetch_add(ms, Ordering::Relaxed).saturating_add(ms))
    }
}

/// When the endpoint last answered, in milliseconds since the store was made.
#[derive(Debug)]
pub(super) struct Liveness {
    start: Instant,
    last_answer_ms: AtomicU64,
}

impl Liveness {
    pub fn new() -> Self {
        Self { start: Instant::now(), last_answer_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn answered(&self) {
        self.last_answer_ms.fetch_max(self.now_ms(), Ordering::Relaxed);
    }
}

/// The attempts of one request.
pub(super) struct Attempts<'a> {
    store: &'a Store,
    operation: Operation,
    key: &'a str,
    patience: Patience,
    budget: &'a RetryBudget,
    started: Instant,
    started_ms: u64,
    /// Since when nothing was heard of S3 for this request: neither an answer nor a byte.
    silent_since: Instant,
    /// Since when this attempt achieved nothing: what it loses is counted from here.
    idle_since: Instant,
    attempts: u32,
}

impl<'a> Attempts<'a> {
    pub fn new(
        store: &'a Store,
        operation: Operation,
        key: &'a str,
        patience: Patience,
        budget: &'a RetryBudget,
    ) -> Self {
        let started_ms = store.inner.liveness.now_ms();
        let now = Instant::now();
        Self {
            store,
            operation,
            key,
            patience,
            budget,
            started: now,
            started_ms,
            silent_since: now,
            idle_since: now,
            attempts: 0,
        }
    }

    /// To be called before each attempt. Answers how long to wait for an answer at most. That is more than
    /// [`FIRST_BYTE_TIMEOUT`], since the SDK may hold a request back when S3 throttles, and may fetch credentials first.
    pub fn start(&mut self) -> Duration {
        self.attempts += 1;
        self.idle_since = Instant::now();
        let left = self.patience.max_lost_without_answer.saturating_sub(self.silent_since.elapsed());
        left.max(CONNECT_TIMEOUT).min(self.patience.first_byte)
    }

    /// To be called when headers or bytes of a body came: the time until now was not lost.
    pub fn progressed(&mut self) {
        self.silent_since = Instant::now();
        self.idle_since = self.silent_since;
        self.store.inner.liveness.answered();
    }

    /// How long to wait for a further byte of a body.
    pub fn stall(&self) -> Duration {
        self.patience.stall
    }

    /// Waits if another attempt makes sense.
    ///
    /// # Errors
    /// The final error, if not.
    pub async fn again(&mut self, failure: Failure) -> Result<(), Error> {
        let lost = self.budget.lose(self.idle_since.elapsed());
        if failure.status.is_some() {
            self.progressed();
        }
        let wait = wait_before(self.attempts, fastrand::f64());
        // The next attempt may be silent, too, and must end before the limit.
        let silent = self.silent_since.elapsed() + wait + FIRST_BYTE_TIMEOUT;
        let out_of_time =
            lost + wait >= self.patience.max_lost || silent > self.patience.max_lost_without_answer + CONNECT_TIMEOUT;
        if !failure.retryable || out_of_time || self.attempts >= self.patience.max_attempts {
            return Err(self.give_up(failure));
        }
        Usage::add(&self.store.inner.usage.retries, 1);
        tracing::debug!(
            key = self.key,
            attempt = self.attempts,
            code = failure.code,
            message = failure.message,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "S3 request failed, trying again"
        );
        self.budget.lose(wait);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn give_up(&self, failure: Failure) -> Error {
        let silent = self.store.inner.liveness.last_answer_ms.load(Ordering::Relaxed) <= self.started_ms;
        let kind = match failure.kind {
            ErrorKind::Unreachable if silent => ErrorKind::EndpointDown,
            kind => kind,
        };
        Error {
            kind,
            operation: self.operation,
            bucket: self.store.inner.bucket.clone(),
            key: self.key.to_owned(),
            status: failure.status,
            code: failure.code,
            message: failure.message,
            request_id: failure.request_id,
            attempts: self.attempts,
            elapsed: self.started.elapsed(),
        }
    }
}

/// Full jitter: a random part of a doubling bound.
fn wait_before(attempts_so_far: u32, random: f64) -> Duration {
    let bound = FIRST_WAIT.saturating_mul(1 << (attempts_so_far.saturating_sub(1)).min(16)).min(MAX_WAIT);
    bound.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        assert_eq!(wait_before(1, 1.0), FIRST_WAIT);
        assert_eq!(wait_before(2, 1.0), FIRST_WAIT * 2);
        assert_eq!(wait_before(2, 0.5), FIRST_WAIT);
        assert_eq!(wait_before(60, 1.0), MAX_WAIT);
        assert_eq!(wait_before(5, 0.0), Duration::ZERO);
    }

    #[test]
    fn a_silent_endpoint_is_given_up_within_two_minutes() {
        // An attempt only begins if it can end, silent as the others, before this.
        assert!(MAX_LOST_WITHOUT_ANSWER + CONNECT_TIMEOUT <= Duration::from_secs(120));
        // And there is time for more than one.
        assert!(MAX_LOST_WITHOUT_ANSWER >= FIRST_BYTE_TIMEOUT * 4);
    }
}
