//! How many requests a store has in flight.
//!
//! S3 answers 503 `SlowDown` when requests come faster than it can take them at the moment, often for a second or two,
//! while it spreads a bucket over more partitions. What helps is fewer requests at a time for a while, and then soon as
//! many as before. [`Window`] decides how many, from nothing but answers and the time: every throttled answer may halve
//! it, once in a [`CUT_INTERVAL`], since the answers of one burst are one piece of news; every good answer lets it grow
//! a little, and much faster once nothing was throttled for [`CALM`]. [`Pace`] has the requests wait in line for their
//! place. Waiting here is our own doing: it does not count as S3's silence, see [`super::retry`].
//!
//! A [`Permit`] is held until the body has been read, so the window also bounds the sockets. Who holds one waits for
//! nothing but S3; so places come back.

use super::failure::Failure;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most requests in flight, over all objects: each is a socket, and a process may have 1,024 of them, on some systems
/// 256. More connections than this bring no more bandwidth than a machine has.
const MAX_IN_FLIGHT: usize = 200;
/// The window is halved at most once in this time: what else was sent before S3 could feel it says nothing new.
const CUT_INTERVAL: Duration = Duration::from_secs(1);
/// After this time without a throttled answer the window doubles with each round of answers, so that a burst costs
/// seconds, not minutes. Longer than [`CUT_INTERVAL`]: at the edge of what S3 takes, it must not leap over it at once.
const CALM: Duration = Duration::from_secs(2);

/// How many requests may be in flight. Pure: times are those since the store was made.
#[derive(Debug)]
struct Window {
    /// Requests that may be in flight.
    limit: usize,
    /// Requests that are.
    in_flight: usize,
    /// Most requests in flight since the last cut: a limit that was never reached does not tell what was too much.
    peak: usize,
    /// Requests in flight beyond the limit, whose places go when they end.
    surplus: usize,
    /// Good answers towards the next place.
    credit: usize,
    last_cut: Option<Duration>,
    last_throttled: Option<Duration>,
}

impl Window {
    fn new() -> Self {
        Self {
            limit: MAX_IN_FLIGHT,
            in_flight: 0,
            peak: 0,
            surplus: 0,
            credit: 0,
            last_cut: None,
            last_throttled: None,
        }
    }

    fn enter(&mut self) {
        self.in_flight += 1;
        self.peak = self.peak.max(self.in_flight);
    }

    /// A request has ended. Whether another one may have its place.
    fn leave(&mut self) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        let gone = self.surplus > 0;
        self.surplus -= usize::from(gone);
        !gone
    }

    /// S3 refused a request for its pace. Answers how many places are to go, if any; `sent_at` is when it was sent.
    fn throttled(&mut self, sent_at: Duration, now: Duration) -> Option<usize> {
        self.last_throttled = Some(now);
        let old_news = self.last_cut.is_some_and(|cut| sent_at < cut || now < cut + CUT_INTERVAL);
        if old_news || self.limit == 1 {
            return None;
        }
        let limit = (self.limit.min(self.peak) / 2).max(1);
        let removed = self.limit - limit;
        self.limit = limit;
        self.peak = self.in_flight;
        self.credit = 0;
        self.last_cut = Some(now);
        Some(removed)
    }

    /// S3 took a request. Whether there is a place more now.
    fn good(&mut self, now: Duration) -> bool {
        if self.limit == MAX_IN_FLIGHT {
            return false;
        }
        let calm = self.last_throttled.is_none_or(|throttled| now >= throttled + CALM);
        self.credit += 1;
        // A place for each answer doubles the window with each round of them; one for all answers of a round adds one.
        if self.credit < if calm { 1 } else { self.limit } {
            return false;
        }
        self.credit = 0;
        self.limit += 1;
        true
    }
}

/// The line in which the requests of one store wait for their place. First come, first served.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    places: Arc<Semaphore>,
    /// Locked for a few instructions only.
    window: Mutex<Window>,
}

impl Pace {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            places: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            window: Mutex::new(Window::new()),
        })
    }

    /// A place for one request. Dropping the future gives up the place in line.
    pub async fn admit(self: &Arc<Self>) -> Permit {
        // The semaphore is never closed; if it were, requests would go out without a place.
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        self.window().enter();
        Permit { pace: Arc::clone(self), place, sent_at: self.start.elapsed() }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throttled(&self, sent_at: Duration) {
        let mut window = self.window();
        let first = window.last_cut.is_none();
        let Some(removed) = window.throttled(sent_at, self.start.elapsed()) else { return };
        // Free places go at once, the others when their requests end.
        window.surplus += removed - self.places.forget_permits(removed);
        let limit = window.limit;
        drop(window);
        if first {
            tracing::info!(
                requests_at_a_time = limit,
                "S3 asks for fewer requests: there are fewer at a time until it takes them again"
            );
        } else {
            tracing::debug!(requests_at_a_time = limit, "S3 asks for fewer requests");
        }
    }

    fn good(&self) {
        let mut window = self.window();
        if !window.good(self.start.elapsed()) {
            return;
        }
        if window.surplus > 0 {
            window.surplus -= 1;
        } else {
            self.places.add_permits(1);
        }
        let full = window.limit == MAX_IN_FLIGHT;
        drop(window);
        if full {
            tracing::debug!(requests_at_a_time = MAX_IN_FLIGHT, "S3 takes requests at full pace again");
        }
    }
}

/// A place for one request, until it is dropped: after the whole answer was read.
#[derive(Debug)]
pub(super) struct Permit {
    pace: Arc<Pace>,
    place: Option<OwnedSemaphorePermit>,
    /// When the request went out, since the store was made.
    sent_at: Duration,
}

impl Permit {
    /// What came of the request says at what pace others may follow. No answer, and an error of S3's own, say nothing.
    pub fn judge<T>(&self, result: &Result<T, Failure>) {
        match result {
            Err(failure) if failure.throttled => self.pace.throttled(self.sent_at),
            Err(failure) if failure.status.is_none_or(|status| status >= 500) => {}
            Ok(_) | Err(_) => self.pace.good(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let place = self.place.take();
        if !self.pace.window().leave()
            && let Some(place) = place
        {
            place.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// A server in simulated time: every request is answered after `latency`, and throttled if `refuses` says so, given
    /// the time and the requests answered before in the same second. There is always more to ask.
    struct Simulation {
        window: Window,
        now: Duration,
        latency: Duration,
        /// When each request in flight was sent.
        sent: std::collections::VecDeque<Duration>,
        good: u64,
        throttled: u64,
        cuts: Vec<Duration>,
    }

    impl Simulation {
        fn new(latency: Duration) -> Self {
            let sent = std::collections::VecDeque::new();
            Self { window: Window::new(), now: Duration::ZERO, latency, sent, good: 0, throttled: 0, cuts: Vec::new() }
        }

        /// Runs until `end`, with at most `most` requests at a time.
        fn run(&mut self, end: Duration, most: usize, mut refuses: impl FnMut(Duration, u64) -> bool) {
            let mut second = (0, 0);
            while self.now < end {
                while self.sent.front().is_some_and(|sent| *sent + self.latency <= self.now) {
                    let sent_at = self.sent.pop_front().unwrap();
                    if self.now.as_secs() != second.0 {
                        second = (self.now.as_secs(), 0);
                    }
                    second.1 += 1;
                    if refuses(self.now, second.1) {
                        self.throttled += 1;
                        if let Some(removed) = self.window.throttled(sent_at, self.now) {
                            let free = (self.window.limit + removed).saturating_sub(self.window.in_flight);
                            self.window.surplus += removed - free.min(removed);
                            self.cuts.push(self.now);
                        }
                    } else {
                        self.good += 1;
                        if self.window.good(self.now) {
                            self.window.surplus = self.window.surplus.saturating_sub(1);
                        }
                    }
                    self.window.leave();
                }
                while self.window.in_flight < self.window.limit.min(most) {
                    self.window.enter();
                    self.sent.push_back(self.now);
                }
                self.now += MS;
            }
        }
    }

    #[test]
    fn a_burst_costs_half_the_window_for_seconds() {
        let mut simulation = Simulation::new(30 * MS);
        let mut left = 0..100;
        simulation.run(Duration::from_secs(1), 50, |_, _| left.next().is_some());
        assert_eq!(simulation.cuts.len(), 1, "a burst is one piece of news");
        assert!(simulation.window.limit >= 25, "{}", simulation.window.limit);
        simulation.run(Duration::from_secs(4), 50, |_, _| false);
        assert_eq!(simulation.window.limit, MAX_IN_FLIGHT);
        let undisturbed = 4.0 * 50.0 / 0.030;
        assert!(simulation.good as f64 > 0.8 * undisturbed, "{} of {undisturbed}", simulation.good);
    }

    #[test]
    fn a_minute_of_refusals_is_over_seconds_after_it() {
        for latency in [MS, 30 * MS, 300 * MS] {
            let mut simulation = Simulation::new(latency);
            simulation.run(Duration::from_secs(60), 1_000, |_, _| true);
            assert_eq!(simulation.window.limit, 1);
            simulation.run(Duration::from_secs(66), 1_000, |_, _| false);
            assert_eq!(simulation.window.limit, MAX_IN_FLIGHT, "{latency:?}");
        }
    }

    #[test]
    fn a_server_that_takes_so_many_a_second_gets_about_as_many() {
        let mut simulation = Simulation::new(30 * MS);
        simulation.run(Duration::from_secs(120), 200, |_, this_second| this_second > 1_000);
        let taken = simulation.good as f64 / 120_000.0;
        let refused = simulation.throttled as f64 / (simulation.good + simulation.throttled) as f64;
        assert!(taken > 0.75 && refused < 0.3, "takes {taken:.2} of what it may, refuses {refused:.2}");
    }

    #[test]
    fn refusals_at_random_leave_a_window_to_work_with() {
        for latency in [MS, 30 * MS, 100 * MS] {
            let mut simulation = Simulation::new(latency);
            let mut random = fastrand::Rng::with_seed(7);
            simulation.run(Duration::from_secs(120), 50, |_, _| random.f64() < 0.3);
            let a_second = simulation.good as f64 / 120.0;
            // At the very least what ten requests at a time bring.
            assert!(a_second > 7.0 / latency.as_secs_f64(), "{a_second} a second at {latency:?}");
        }
    }

    proptest! {
        #[test]
        fn the_window_keeps_its_bounds(
            latency_ms in 1_u32..500,
            most in 1_usize..300,
            refused in prop::collection::vec(0.0_f64..=1.0, 1..12),
            seed: u64,
        ) {
            let mut simulation = Simulation::new(MS * latency_ms);
            let mut random = fastrand::Rng::with_seed(seed);
            for (second, share) in (1..).zip(refused) {
                simulation.run(Duration::from_secs(second), most, |_, _| random.f64() < share);
                let window = &simulation.window;
                prop_assert!((1..=MAX_IN_FLIGHT).contains(&window.limit));
                prop_assert_eq!(window.in_flight, simulation.sent.len());
                prop_assert!(window.in_flight <= window.limit + window.surplus);
            }
            for pair in simulation.cuts.windows(2) {
                prop_assert!(pair[1] - pair[0] >= CUT_INTERVAL);
            }
        }
    }

    fn throttled() -> Result<(), Failure> {
        Err(super::super::failure::of_answer(super::super::Operation::Get, 503, "SlowDown", "", None, None))
    }

    #[tokio::test]
    async fn places_in_flight_go_when_their_requests_end_and_come_back() {
        let pace = Pace::new();
        let mut permits = Vec::new();
        for _ in 0..8 {
            permits.push(pace.admit().await);
        }
        // Eight were too many: four remain, which eight requests hold.
        permits[0].judge(&throttled());
        assert_eq!((pace.window().limit, pace.places.available_permits()), (4, 0));
        permits.truncate(4);
        assert_eq!(pace.places.available_permits(), 0);
        permits.truncate(3);
        assert_eq!(pace.places.available_permits(), 1);
        // A waiter that has gone takes no place with it.
        let _fourth = pace.admit().await;
        let waiter = tokio::time::timeout(20 * MS, pace.admit()).await;
        assert!(waiter.is_err());
        permits.pop();
        let _next = pace.admit().await;
        for _ in 0..4 {
            permits[0].judge(&Ok(()));
        }
        assert_eq!((pace.window().limit, pace.places.available_permits()), (5, 1));
        drop((permits, _fourth, _next));
        assert_eq!((pace.window().in_flight, pace.places.available_permits()), (0, 5));
    }
}
