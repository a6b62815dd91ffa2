//! What the kernel counts against the process, and how it is kept near the budget.
//!
//! The budget of [`super::memory`] counts what is in use. An allocator would keep what was freed for a while, because getting
//! pages from the kernel again costs more than the work that is done on them; at hundreds of megabytes a second it would
//! soon keep more than `memory_limit`, and what it hands out again counts in full, however little of it is used. So:
//!
//! - with a small limit nothing is kept: every page that is freed goes back at once, which costs up to half of the throughput;
//! - from [`KEEP_FROM_BYTES`] on it is kept as long as the process is within `memory_limit`, and all of it goes back when the
//!   process is about to leave it: before memory is used, which always has a share of the budget, the resident size is
//!   looked at. The 64 MB that the bound has besides are for what happens between two looks.
//!
//! The library has no allocator of its own: the program says how it is told, with [`manage`]. Without that, and where the
//! system doesn't say what a process uses, nothing is done here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The resident size is looked at once for so much memory that is about to be used: a look takes some 20 µs.
const LOOK_EVERY_BYTES: u64 = 2 << 20;
/// After memory was given back the process must have grown by so much before that is done again: what was still there is
/// in use, and asking for it again and again would only cost time.
const GROWTH_BYTES: u64 = 4_000_000;

/// From this limit on freed memory is kept: an eighth of it is more than what is lost by handing out used pages again.
const KEEP_FROM_BYTES: u64 = 256 << 20;

/// How an allocator is told what to do with freed memory. Both may be called on any thread at any time.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// Give all of it back now; whether to keep any for a while from now on.
    pub keep: fn(bool),
    /// Give all of it back now.
    pub give_back: fn(),
}

static ALLOCATOR: OnceLock<Allocator> = OnceLock::new();

/// Says how the program's allocator is told. The first call counts.
pub fn manage(allocator: Allocator) {
    let _ = ALLOCATOR.set(allocator);
}

/// After a sync: gives back what was freed and keeps nothing more. A server that waits for the next one should be small.
pub fn rest() {
    if let Some(allocator) = ALLOCATOR.get() {
        (allocator.keep)(false);
    }
}

/// Watches the process for one budget.
#[derive(Debug)]
pub struct Resident {
    limit_bytes: u64,
    /// Used besides the budget, by the length of the listing.
    listed_bytes: AtomicU64,
    /// The last share: if it is larger than the budget it is alone.
    share_bytes: AtomicU64,
    /// Announced since the last look.
    announced_bytes: AtomicU64,
    /// Shares that were handed out but are not filled yet: what is not resident now, but will be.
    unfilled_bytes: AtomicU64,
    /// Resident after memory was given back last.
    floor_bytes: AtomicU64,
    /// One looks at a time: who comes while memory is given back waits, instead of using more meanwhile.
    looking: Mutex<()>,
}

impl Resident {
    /// For a budget of `limit_bytes`, which also decides what the allocator does from now on.
    pub fn new(limit_bytes: u64) -> Self {
        if let Some(allocator) = ALLOCATOR.get() {
            (allocator.keep)(limit_bytes >= KEEP_FROM_BYTES);
        }
        Self {
            limit_bytes,
            listed_bytes: AtomicU64::new(0),
            share_bytes: AtomicU64::new(0),
            announced_bytes: AtomicU64::new(0),
            unfilled_bytes: AtomicU64::new(0),
            floor_bytes: AtomicU64::new(0),
            looking: Mutex::new(()),
        }
    }

    /// So much more may be used besides the budget.
    pub fn listed(&self, bytes: u64) {
        self.listed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The budget handed out a share of so many bytes, more than it has or not. To be undone with [`Self::filled`].
    pub fn share(&self, bytes: u64) {
        self.share_bytes.store(bytes, Ordering::Relaxed);
        self.unfilled_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.announce(bytes);
    }

    /// A share of so many bytes has in memory what it was taken for, or never will.
    pub fn filled(&self, bytes: u64) {
        self.unfilled_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// So many bytes are about to be used.
    pub fn announce(&self, bytes: u64) {
        let Some(allocator) = ALLOCATOR.get().filter(|_| self.limit_bytes >= KEEP_FROM_BYTES) else { return };
        let announced = self.announced_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if announced < LOOK_EVERY_BYTES {
            return;
        }
        self.announced_bytes.store(0, Ordering::Relaxed);
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(resident) = resident_bytes() else { return };
        if self.is_excess(resident.saturating_add(self.unfilled_bytes.load(Ordering::Relaxed))) {
            (allocator.give_back)();
            self.floor_bytes.store(resident_bytes().unwrap_or(0), Ordering::Relaxed);
        }
    }

    fn is_excess(&self, bytes: u64) -> bool {
        let budget = self.limit_bytes.max(self.share_bytes.load(Ordering::Relaxed));
        let allowed = budget + self.listed_bytes.load(Ordering::Relaxed);
        bytes > allowed.max(self.floor_bytes.load(Ordering::Relaxed) + GROWTH_BYTES)
    }
}

/// The most memory that the process has had resident, where the system says it.
pub fn peak_bytes() -> Option<u64> {
    figure("VmHWM:")
}

/// The memory that the process has resident now, where the system says it.
fn resident_bytes() -> Option<u64> {
    figure("VmRSS:")
}

#[cfg(target_os = "linux")]
fn figure(name: &str) -> Option<u64> {
    figure_of(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

#[cfg(not(target_os = "linux"))]
fn figure(_name: &str) -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", test))]
fn figure_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    #[test]
    fn figures_are_in_the_status_of_a_process() {
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        assert_eq!(figure_of(status, "VmHWM:"), Some(2_097_152));
        assert_eq!(figure_of(status, "VmRSS:"), Some(1_048_576));
        assert_eq!(figure_of("Name:\tx\n", "VmHWM:"), None);
    }

    #[test]
    fn the_budget_the_listing_and_a_share_larger_than_the_budget_are_no_excess() {
        let resident = Resident::new(100 * MB);
        assert!(!resident.is_excess(100 * MB));
        assert!(resident.is_excess(101 * MB));
        resident.listed(10 * MB);
        assert!(!resident.is_excess(110 * MB));
        resident.share(200 * MB);
        assert!(!resident.is_excess(210 * MB));
        resident.share(MB);
        assert!(resident.is_excess(111 * MB));
    }

    #[test]
    fn what_is_still_there_after_memory_was_given_back_is_not_asked_for_again() {
        let resident = Resident::new(100 * MB);
        resident.floor_bytes.store(150 * MB, Ordering::Relaxed);
        assert!(!resident.is_excess(154 * MB));
        assert!(resident.is_excess(155 * MB));
    }
}
