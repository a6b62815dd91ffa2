//! When to try again, how long to wait, and when to give up.
//!
//! The SDK makes one attempt a call: trying again is done here, because a body that breaks off must be resumed where it
//! ended, and because an error has to say truthfully how often and how long it was tried.
//!
//! Failures are of two sorts. S3 asking for fewer requests is not a failure of the object: `pace` slows all
//! requests down, and the one that was refused is sent again for as long as anything might come of it
//! (`Patience::max_lost` without any success), however often that is. Everything else (no answer, a broken body, an
//! error of S3's own) counts: tries of a request, and lost time of an object, have a limit.
//!
//! Time in our own queue is neither S3's silence nor lost: clocks stand still there.

use super::failure::Failure;
use super::pace::Permit;
use super::{Error, ErrorKind, Operation, Store, Usage};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Attempts for one request that fail otherwise than by S3's asking for fewer requests. Ten tries with the waits below
/// span about half a minute, which outlasts most troubles that pass at all.
const MAX_ATTEMPTS: u32 = 10;
/// Time that one object may lose in failed attempts and waits before it is given up; for a request that S3 throttles,
/// the time without any success.
const MAX_LOST_AN_OBJECT: Duration = Duration::from_secs(5 * 60);
/// Lost time that is earned back with each MiB of a body: an object that comes at a MiB a second on the whole is worth
/// waiting for, however often its bodies break off in the hours that it takes.
const EARNED_A_MIB: Duration = Duration::from_secs(1);
/// LIST, and anything that gets no answer at all, gives up within two minutes; a margin is left for the last attempt.
const MAX_LOST_WITHOUT_ANSWER: Duration = Duration::from_secs(110);
/// First wait is random between nothing and this; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Longest wait before a throttled request is sent again, unless S3 names one. Short, since the pace keeps S3 from being
/// asked too often; long waits would only leave it idle when it is well again.
const MAX_THROTTLED_WAIT: Duration = Duration::from_secs(5);
/// Longest wait that S3's `Retry-After` is granted: listings give up after two minutes, and must have asked again.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Time from sending a request to the first byte of the answer; the SDK's connector watches it.
pub(super) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(25);
/// Time without a further byte of a body. The reader takes bytes as they come, so a stall is never our own doing.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Time to connect, TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// S3's code for a request whose time is minutes off. The SDK learns S3's time from each answer and signs the next request
/// with it, so another attempt is all it takes.
const SKEWED_CLOCK: &str = "RequestTimeTooSkewed";

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
    /// Throttled attempts do not count.
    pub outlasts_throttling: bool,
}

impl Patience {
    /// For the objects of a sync.
    pub const OBJECT: Self = Self {
        max_attempts: MAX_ATTEMPTS,
        max_lost: MAX_LOST_AN_OBJECT,
        max_lost_without_answer: MAX_LOST_WITHOUT_ANSWER,
        first_byte: MAX_LOST_WITHOUT_ANSWER,
        stall: STALL_TIMEOUT,
        outlasts_throttling: true,
    };
    /// For listings.
    pub const LIST: Self = Self { max_lost: MAX_LOST_WITHOUT_ANSWER, ..Self::OBJECT };
    /// For a user who waits at a terminal: TestConnection, and asking a bucket for its region.
    pub const PROBE: Self = Self {
        max_attempts: 3,
        max_lost: Duration::from_secs(15),
        max_lost_without_answer: Duration::from_secs(30),
        outlasts_throttling: false,
        ..Self::OBJECT
    };
}

/// The time that requests for one object have lost so far, shared by its concurrent range reads. A second is lost once,
/// however many of them it passes for, and bytes that come earn time back.
#[derive(Debug, Default)]
pub struct RetryBudget {
    /// Locked for a few instructions only.
    lost: Mutex<Lost>,
}

/// The arithmetic of [`RetryBudget`].
#[derive(Debug, Default)]
struct Lost {
    time: Duration,
    /// Up to here, time that was lost is counted.
    counted_until: Option<Instant>,
}

impl Lost {
    /// Counts the time from `since` to `until`, as far as it is not counted yet. Answers what is lost in all.
    fn lose(&mut self, since: Instant, until: Instant) -> Duration {
        let since = self.counted_until.map_or(since, |counted| counted.max(since));
        self.time += until.saturating_duration_since(since);
        self.counted_until = Some(since.max(until));
        self.time
    }

    fn earn(&mut self, bytes: u64) {
        let earned = u128::from(bytes) * EARNED_A_MIB.as_nanos() / (1 << 20);
        self.time = self.time.saturating_sub(Duration::from_nanos(u64::try_from(earned).unwrap_or(u64::MAX)));
    }
}

impl RetryBudget {
    fn lose(&self, since: Instant, until: Instant) -> Duration {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).lose(since, until)
    }

    fn earn(&self, bytes: u64) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).earn(bytes);
    }
}

/// When the endpoint last answered, in milliseconds since the store was made.
#[derive(Debug)]
pub(super) struct Liveness {
    start: Instant,
    last_answer_ms: AtomicU64,
    last_success_ms: AtomicU64,
}

impl Liveness {
    pub fn new() -> Self {
        Self { start: Instant::now(), last_answer_ms: AtomicU64::new(0), last_success_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The endpoint said something, if only what is wrong.
    fn answered(&self) {
        self.last_answer_ms.fetch_max(self.now_ms(), Ordering::Relaxed);
    }

    /// The endpoint did what it was asked for.
    fn succeeded(&self) {
        self.last_success_ms.fetch_max(self.now_ms(), Ordering::Relaxed);
        self.answered();
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
    /// When the first attempt was sent, by [`Liveness`].
    first_sent_ms: u64,
    /// Since when nothing was heard of S3 for this request: neither an answer nor a byte.
    silent_since: Instant,
    /// Since when S3 did nothing for this request: neither a good answer nor a byte.
    fruitless_since: Instant,
    /// Since when this attempt achieved nothing: what it loses is counted from here.
    idle_since: Instant,
    /// Requests sent.
    sent: u32,
    /// Those that failed and count.
    failed: u32,
    /// Those that were throttled since S3 last did something for this request.
    throttled: u32,
    /// S3 found our clock wrong, and the SDK has learned of it.
    clock_corrected: bool,
}

impl<'a> Attempts<'a> {
    pub fn new(
        store: &'a Store,
        operation: Operation,
        key: &'a str,
        patience: Patience,
        budget: &'a RetryBudget,
    ) -> Self {
        let now = Instant::now();
        Self {
            store,
            operation,
            key,
            patience,
            budget,
            started: now,
            first_sent_ms: 0,
            silent_since: now,
            fruitless_since: now,
            idle_since: now,
            sent: 0,
            failed: 0,
            throttled: 0,
            clock_corrected: false,
        }
    }

    /// To be called before each attempt: waits in line for its place, which it must hold as long as it lasts. The clocks
    /// of the attempt start when it is there. Dropping the future loses nothing but the place in line.
    pub async fn admitted(&mut self) -> Permit {
        let queued = Instant::now();
        let permit = self.store.inner.pace.admit().await;
        let now = Instant::now();
        let waited = now - queued;
        self.silent_since += waited;
        self.fruitless_since += waited;
        self.idle_since = now;
        if self.sent == 0 {
            self.first_sent_ms = self.store.inner.liveness.now_ms();
        }
        self.sent += 1;
        permit
    }

    /// How long to wait for an answer at most. That is more than [`FIRST_BYTE_TIMEOUT`], since the SDK may fetch
    /// credentials first.
    pub fn first_byte(&self) -> Duration {
        let left = self.patience.max_lost_without_answer.saturating_sub(self.silent_since.elapsed());
        left.max(CONNECT_TIMEOUT).min(self.patience.first_byte)
    }

    /// To be called when a good answer or bytes of a body came, with how many: the time until now was not lost.
    pub fn progressed(&mut self, bytes: u64) {
        self.silent_since = Instant::now();
        self.fruitless_since = self.silent_since;
        self.idle_since = self.silent_since;
        self.throttled = 0;
        self.store.inner.liveness.succeeded();
        self.budget.earn(bytes);
    }

    /// How long to wait for a further byte of a body.
    pub fn stall(&self) -> Duration {
        self.patience.stall
    }

    /// Waits if another attempt makes sense. The last one's permit must have been given back.
    ///
    /// # Errors
    /// The final error, if not.
    pub async fn again(&mut self, failure: Failure) -> Result<(), Error> {
        let now = Instant::now();
        if failure.status.is_some() {
            self.silent_since = now;
            self.store.inner.liveness.answered();
        }
        let wait = if failure.code == SKEWED_CLOCK && !std::mem::replace(&mut self.clock_corrected, true) {
            Some(Duration::ZERO)
        } else if failure.throttled && self.patience.outlasts_throttling {
            self.wait_throttled(&failure, now)
        } else {
            self.wait_failed(&failure, now)
        };
        let Some(wait) = wait else { return Err(self.give_up(failure)) };
        Usage::add(&self.store.inner.usage.retries, 1);
        tracing::debug!(
            key = self.key,
            attempt = self.sent,
            code = failure.code,
            message = failure.message,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "S3 request failed, trying again"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// How long to wait after S3 asked for fewer requests; `None`: that is enough.
    fn wait_throttled(&mut self, failure: &Failure, now: Instant) -> Option<Duration> {
        self.throttled += 1;
        let wait = wait_before(self.throttled, MAX_THROTTLED_WAIT, failure.retry_after, fastrand::f64());
        (now - self.fruitless_since + wait < self.patience.max_lost).then_some(wait)
    }

    /// How long to wait after any other failure; `None`: there is no use in another attempt.
    fn wait_failed(&mut self, failure: &Failure, now: Instant) -> Option<Duration> {
        self.failed += 1;
        let wait = wait_before(self.failed, MAX_WAIT, failure.retry_after, fastrand::f64());
        let lost = self.budget.lose(self.idle_since, now + wait);
        // The next attempt may be silent, too, and must end before the limit.
        let silent = now - self.silent_since + wait + FIRST_BYTE_TIMEOUT;
        let out_of_time =
            lost >= self.patience.max_lost || silent > self.patience.max_lost_without_answer + CONNECT_TIMEOUT;
        (failure.retryable && !out_of_time && self.failed < self.patience.max_attempts).then_some(wait)
    }

    fn give_up(&self, failure: Failure) -> Error {
        let liveness = &self.store.inner.liveness;
        let since_first = |at: &AtomicU64| at.load(Ordering::Relaxed) > self.first_sent_ms;
        let kind = match failure.kind {
            ErrorKind::Unreachable if !since_first(&liveness.last_answer_ms) => ErrorKind::EndpointDown,
            ErrorKind::Exhausted
                if failure.throttled
                    && self.patience.outlasts_throttling
                    && !since_first(&liveness.last_success_ms) =>
            {
                ErrorKind::Overloaded
            }
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
            attempts: self.sent,
            elapsed: self.started.elapsed(),
        }
    }
}

/// A random part of a bound that doubles up to `longest`; after what S3 asked for, if it did.
fn wait_before(attempt: u32, longest: Duration, retry_after: Option<Duration>, random: f64) -> Duration {
    let bound = FIRST_WAIT.saturating_mul(1 << (attempt.saturating_sub(1)).min(16)).min(longest);
    retry_after.unwrap_or_default().min(MAX_RETRY_AFTER) + bound.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let wait = |attempt, random| wait_before(attempt, MAX_WAIT, None, random);
        assert_eq!(wait(1, 1.0), FIRST_WAIT);
        assert_eq!(wait(2, 1.0), FIRST_WAIT * 2);
        assert_eq!(wait(2, 0.5), FIRST_WAIT);
        assert_eq!(wait(60, 1.0), MAX_WAIT);
        assert_eq!(wait(5, 0.0), Duration::ZERO);
    }

    #[test]
    fn what_s3_asks_for_is_waited_and_a_little_more() {
        let wait = |asked_s, random| wait_before(1, MAX_WAIT, Some(Duration::from_secs(asked_s)), random);
        assert_eq!(wait(7, 0.0), Duration::from_secs(7));
        assert_eq!(wait(7, 1.0), Duration::from_secs(7) + FIRST_WAIT, "not all at the same moment");
        assert_eq!(wait(86_400, 0.0), MAX_RETRY_AFTER);
        assert!(MAX_RETRY_AFTER + MAX_THROTTLED_WAIT < MAX_LOST_WITHOUT_ANSWER);
    }

    #[test]
    fn a_second_is_lost_once_however_many_ranges_stall_in_it() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut lost = Lost::default();
        for _ in 0..4 {
            lost.lose(start, start + second * 20);
        }
        assert_eq!(lost.time, second * 20);
        assert_eq!(lost.lose(start + second * 15, start + second * 25), second * 25);
        assert_eq!(lost.lose(start, start + second * 5), second * 25);
        assert_eq!(lost.lose(start + second * 30, start + second * 31), second * 26);
    }

    #[test]
    fn hours_of_an_object_that_comes_outlast_its_stalls() {
        let (start, hour) = (Instant::now(), Duration::from_secs(3_600));
        let mut lost = Lost::default();
        // 50 GiB an hour, three stalls an hour.
        for stall in 0..30 {
            let at = start + hour / 3 * stall;
            assert!(lost.lose(at, at + STALL_TIMEOUT) < MAX_LOST_AN_OBJECT);
            lost.earn((50 << 30) / 3);
        }
        assert_eq!(lost.time, Duration::ZERO, "what is earned is not saved up");
        // One of which next to nothing comes.
        let end = (0..100).map(|stall| {
            lost.earn(1 << 20);
            lost.lose(start + hour * 11 + hour / 3 * stall, start + hour * 11 + hour / 3 * stall + STALL_TIMEOUT)
        });
        assert!(end.max() > Some(MAX_LOST_AN_OBJECT));
    }

    #[test]
    fn a_silent_endpoint_is_given_up_within_two_minutes() {
        // An attempt only begins if it can end, silent as the others, before this.
        assert!(MAX_LOST_WITHOUT_ANSWER + CONNECT_TIMEOUT <= Duration::from_secs(120));
        // And there is time for more than one.
        assert!(MAX_LOST_WITHOUT_ANSWER >= FIRST_BYTE_TIMEOUT * 4);
    }
}
