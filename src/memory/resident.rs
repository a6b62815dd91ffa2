//! What the kernel counts against the process, and how it is kept near the budget.
//!
//! The budget of [`super`] counts what is in use. An allocator would keep what was freed for a while, because getting
//! pages from the kernel again costs more than the work that is done on them; at hundreds of megabytes a second it would
//! soon keep more than `memory_limit`, and what it hands out again counts in full, however little of it is used. So:
//!
//! - with a small limit nothing is kept: every page that is freed goes back at once, which costs up to half of the throughput;
//! - from 256 MiB on it may be kept as long as the process is within `memory_limit`, and is given back when the
//!   process is about to leave it: before memory is used, which always has a share of the budget, the resident size is
//!   looked at. The 64 MB that the bound adds are for what happens between two looks.
//!
//! A look, and all the more giving back, takes time: both are done on the runtime's blocking threads, and who is about to
//! use memory waits for them without holding up a worker.
//!
//! The library has no allocator of its own: the program says how it is told, with [`set_allocator_hooks`]. Without
//! that, and where the system doesn't say what a process uses, nothing is kept by what is done here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The resident size is looked at once for this much memory that is about to be used: a look takes some 20 µs.
const LOOK_EVERY_BYTES: u64 = 2 << 20;
/// Memory is given back only if the process has grown this far above its lowest resident size: what is still there
/// after a try is in use, and asking for it again and again would only cost time.
const GROWTH_BYTES: u64 = 4_000_000;
/// From this limit on freed memory may be kept. What is lost by handing out used pages again was up to 20 MB in tests: a good
/// part of a small limit, covered by the 64 MB of a large one, whose steps have the same size.
const KEEP_FROM_BYTES: u64 = 256 << 20;

/// How an allocator is told what to do with freed memory. Both may be called on any thread at any time.
#[derive(Debug, Clone, Copy)]
pub struct AllocatorHooks {
    /// Whether to keep some for a while from now on.
    pub keep: fn(bool),
    /// Give back now what can be.
    pub give_back: fn(),
}

static ALLOCATOR: OnceLock<Managed> = OnceLock::new();

#[derive(Debug)]
struct Managed {
    allocator: AllocatorHooks,
    /// The system says what the process uses.
    watched: bool,
    /// Whether it was told to keep memory. Held while it is told, by blocking threads only.
    keeps: Mutex<bool>,
}

/// Budgets that are in use, whose limits let memory be kept or not. The allocator is the process's: it may keep memory only
/// while that is free. Held for counting.
static IN_USE: Mutex<InUse> = Mutex::new(InUse { keeping: 0, strict: 0 });

#[derive(Debug, Clone, Copy)]
struct InUse {
    keeping: u32,
    strict: u32,
}

impl InUse {
    fn keep(self) -> bool {
        self.keeping > 0 && self.strict == 0
    }
}

/// Says how the program's allocator is told. The first call counts.
pub fn set_allocator_hooks(allocator: AllocatorHooks) {
    let watched = resident_bytes().is_some();
    let _ = ALLOCATOR.set(Managed { allocator, watched, keeps: Mutex::new(false) });
}

/// Changes who is there, and tells the allocator if that makes a difference: on a blocking thread, since it gives back memory
/// at that.
fn with_budgets(change: impl FnOnce(&mut InUse)) {
    let Some(managed) = ALLOCATOR.get() else { return };
    let (before, now) = {
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = in_use.keep();
        change(&mut in_use);
        (before, in_use.keep())
    };
    if now != before {
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(|| managed.tell())),
            Err(_) => managed.tell(),
        }
    }
}

impl Managed {
    fn tell(&self) {
        let mut keeps = self.keeps.lock().unwrap_or_else(PoisonError::into_inner);
        // What holds now, whoever else changes it at the same time.
        let keep = IN_USE.lock().unwrap_or_else(PoisonError::into_inner).keep();
        if *keeps != keep {
            *keeps = keep;
            (self.allocator.keep)(keep);
        }
    }
}

/// Watches the process for one budget, as long as that is in use: afterwards nothing more is kept, since a server that waits
/// for the next sync should be small.
#[derive(Debug)]
pub struct Resident {
    limit_bytes: u64,
    /// Memory may be kept, and so has to be watched.
    keeps: bool,
    /// Used on top of the budget, by the length of the listing.
    listed_bytes: AtomicU64,
    /// The share that is larger than the budget, while it is held: it is alone.
    oversized_bytes: AtomicU64,
    /// Announced since the last look.
    announced_bytes: AtomicU64,
    /// Shares that were handed out but are not filled yet: what is not resident now, but will be.
    unfilled_bytes: AtomicU64,
    /// The least that was resident since memory was given back.
    floor_bytes: AtomicU64,
    /// One looks at a time: who comes while memory is given back waits, instead of using more meanwhile.
    looking: tokio::sync::Mutex<()>,
}

impl Resident {
    /// For a budget of `limit_bytes`, which also decides what the allocator does while it is in use.
    pub fn new(limit_bytes: u64) -> Self {
        let keeps = limit_bytes >= KEEP_FROM_BYTES && ALLOCATOR.get().is_some_and(|managed| managed.watched);
        with_budgets(|now| *if keeps { &mut now.keeping } else { &mut now.strict } += 1);
        Self {
            limit_bytes,
            keeps,
            listed_bytes: AtomicU64::new(0),
            oversized_bytes: AtomicU64::new(0),
            announced_bytes: AtomicU64::new(0),
            unfilled_bytes: AtomicU64::new(0),
            floor_bytes: AtomicU64::new(u64::MAX),
            looking: tokio::sync::Mutex::new(()),
        }
    }

    /// Raises what may be used on top of the budget.
    pub fn account_for_listing(&self, bytes: u64) {
        self.listed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The budget handed out a share of `bytes`, more than it has or not. To be undone with [`Self::mark_resident`] and
    /// [`Self::release`]; it counts at once, even if the future is dropped.
    pub async fn share(self: &Arc<Self>, bytes: u64) {
        self.count_oversized(bytes);
        self.refilled(bytes).await;
    }

    /// A share is about to be filled again with `bytes`. Counts at once, even if the future is dropped.
    pub async fn refilled(self: &Arc<Self>, bytes: u64) {
        self.unfilled_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.about_to_use(bytes).await;
    }

    /// A share that was handed out has grown, which makes it `share_bytes`.
    pub fn grown(&self, bytes: u64, share_bytes: u64) {
        self.count_oversized(share_bytes);
        self.unfilled_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.announced_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn count_oversized(&self, share_bytes: u64) {
        if share_bytes > self.limit_bytes {
            self.oversized_bytes.store(share_bytes, Ordering::Relaxed);
        }
    }

    /// `bytes` of a share are in memory, or never will be.
    pub fn mark_resident(&self, bytes: u64) {
        self.unfilled_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A share of `bytes` was given back.
    pub fn release(&self, bytes: u64) {
        if bytes > self.limit_bytes {
            self.oversized_bytes.store(0, Ordering::Relaxed);
        }
    }

    /// `bytes` are about to be used. Waits while memory is given back.
    pub async fn about_to_use(self: &Arc<Self>, bytes: u64) {
        if !self.keeps {
            return;
        }
        let announced = self.announced_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if announced < LOOK_EVERY_BYTES {
            return;
        }
        let _looking = self.looking.lock().await;
        // Another one may have looked meanwhile.
        if self.announced_bytes.load(Ordering::Relaxed) >= LOOK_EVERY_BYTES {
            self.announced_bytes.store(0, Ordering::Relaxed);
            let resident = Arc::clone(self);
            // Ends early only when the runtime does.
            let _ = tokio::task::spawn_blocking(move || resident.look()).await;
        }
    }

    fn look(&self) {
        let (Some(managed), Some(resident)) = (ALLOCATOR.get(), resident_bytes()) else { return };
        if self.is_excess(resident) {
            (managed.allocator.give_back)();
            self.floor_bytes.store(resident_bytes().unwrap_or(resident), Ordering::Relaxed);
        }
    }

    fn is_excess(&self, resident: u64) -> bool {
        let floor = self.floor_bytes.fetch_min(resident, Ordering::Relaxed).min(resident);
        let budget = self.limit_bytes.max(self.oversized_bytes.load(Ordering::Relaxed));
        let allowed = budget.saturating_add(self.listed_bytes.load(Ordering::Relaxed));
        let soon = resident.saturating_add(self.unfilled_bytes.load(Ordering::Relaxed));
        soon > allowed && resident > floor.saturating_add(GROWTH_BYTES)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        with_budgets(|now| *if self.keeps { &mut now.keeping } else { &mut now.strict } -= 1);
    }
}

/// The most memory that the process has had resident, where the system says it.
pub fn peak_bytes() -> Option<u64> {
    proc_status_bytes("VmHWM:")
}

/// The memory that the process has resident now, where the system says it.
fn resident_bytes() -> Option<u64> {
    proc_status_bytes("VmRSS:")
}

#[cfg(target_os = "linux")]
fn proc_status_bytes(name: &str) -> Option<u64> {
    proc_status_bytes_of(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

#[cfg(not(target_os = "linux"))]
fn proc_status_bytes(_name: &str) -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", test))]
fn proc_status_bytes_of(status: &str, name: &str) -> Option<u64> {
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
        assert_eq!(proc_status_bytes_of(status, "VmHWM:"), Some(2_097_152));
        assert_eq!(proc_status_bytes_of(status, "VmRSS:"), Some(1_048_576));
        assert_eq!(proc_status_bytes_of("Name:\tx\n", "VmHWM:"), None);
        if cfg!(target_os = "linux") {
            assert!([peak_bytes(), resident_bytes()].iter().all(|bytes| bytes.is_some_and(|bytes| bytes > MB)));
        }
    }

    #[test]
    fn the_budget_the_listing_and_a_share_larger_than_the_budget_are_no_excess() {
        let resident = Resident::new(100 * MB);
        assert!(!resident.is_excess(20 * MB));
        assert!(!resident.is_excess(100 * MB));
        assert!(resident.is_excess(101 * MB));
        resident.account_for_listing(10 * MB);
        assert!(!resident.is_excess(110 * MB));
        resident.grown(200 * MB, 200 * MB);
        resident.mark_resident(200 * MB);
        assert!(!resident.is_excess(210 * MB));
        resident.release(200 * MB);
        assert!(resident.is_excess(111 * MB));
        resident.count_oversized(u64::MAX);
        assert!(!resident.is_excess(u64::MAX));
    }

    #[test]
    fn what_will_be_there_soon_counts() {
        let resident = Resident::new(100 * MB);
        assert!(!resident.is_excess(20 * MB));
        resident.grown(60 * MB, 60 * MB);
        assert!(resident.is_excess(50 * MB));
        resident.mark_resident(15 * MB);
        assert!(!resident.is_excess(50 * MB));
    }

    #[test]
    fn what_is_still_there_after_memory_was_given_back_is_not_asked_for_again() {
        let resident = Resident::new(100 * MB);
        resident.floor_bytes.store(150 * MB, Ordering::Relaxed);
        assert!(!resident.is_excess(154 * MB));
        assert!(resident.is_excess(155 * MB));
        assert!(!resident.is_excess(149 * MB));
        assert!(resident.is_excess(154 * MB), "less was resident in between");
    }

    #[test]
    fn one_strict_budget_is_enough_to_keep_nothing() {
        let mut now = InUse { keeping: 1, strict: 0 };
        assert!(now.keep());
        now.strict += 1;
        assert!(!now.keep());
        assert!(!InUse { keeping: 0, strict: 0 }.keep(), "no budget is there: a server at rest");
    }
}
