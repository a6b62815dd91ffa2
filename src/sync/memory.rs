//! The one memory budget of a sync: fetched bytes, decoded batches and queued messages all live on shares of it.
//!
//! A step (some row groups, or one small object) asks for everything it will need at once, before its first GET. Its
//! share has two parts: one for the fetched bytes and for decoding, held until the step ends, and a pool for its
//! messages, which holds until the last of them was sent. A message waits for room in its own step's pool. So a slow
//! client holds messages, messages hold pools, and without shares nothing is fetched: back-pressure reaches S3.
//!
//! Nothing can wait for ever: a step that holds a share asks for nothing more (its messages only wait for its earlier
//! ones, which the client takes), so every holder finishes; requests are served in the order they came; and a step
//! larger than the budget asks for all of it, which means that it is admitted alone, once nothing else is held. Small
//! objects that the footer pass kept hold the reserve, at most a quarter of the budget; their steps come first and ask
//! for no more than the rest.
//!
//! The bound for the process: max(`memory_limit`, largest row group) + 64 MB + 120 bytes for each listed key. The 64 MB
//! are the program itself, the runtime, TLS buffers, parsed footers, what tonic and h2 hold of messages in flight, and
//! errors of the estimates; the 120 bytes are a record of [`crate::tables::group`]. What was freed but not given back to
//! the system is the matter of [`super::resident`].

use super::resident::Resident;
use crate::cloudquery::source::Grant;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Budget is handed out in units of 1 KiB: a semaphore's request is a `u32`, which is 4 TiB this way.
const UNIT_BYTES: u64 = 1024;
/// One part in so many of the budget may hold whole small objects from the footer pass to the insert phase.
const RESERVE_DIVISOR: u32 = 4;
/// Parsed footers have a small pool of their own, so that holding one while waiting for the budget blocks nobody: the
/// order is always footer first, budget second. A footer larger than the pool is admitted alone. Part of the 64 MB.
const FOOTER_POOL_BYTES: u64 = 24 << 20;
/// For each listed key, in the bound.
const KEY_BYTES: u64 = 120;

/// The budget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    units: Arc<Semaphore>,
    total_units: u32,
    /// How much of the budget may be held as reserve. Taken together with the budget's units, and with as many.
    reserve: Arc<Semaphore>,
    reserve_units: u32,
    footers: Arc<Semaphore>,
    resident: Arc<Resident>,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub struct Share {
    permit: OwnedSemaphorePermit,
    /// It asked for more than there is and was admitted alone.
    pub oversized: bool,
    resident: Arc<Resident>,
    asked_bytes: u64,
    /// What is still to come into memory.
    unfilled_bytes: u64,
}

/// A share of the budget that is part of the reserve, given back on drop.
#[derive(Debug)]
pub struct Reserved {
    _units: OwnedSemaphorePermit,
    _reserve: OwnedSemaphorePermit,
}

/// Room for one parsed footer, given back on drop.
#[derive(Debug)]
pub struct FooterRoom {
    permit: OwnedSemaphorePermit,
}

/// What the messages of one step live on: a part of its share, which is given back when the step has ended and its last
/// message was sent.
#[derive(Debug, Clone)]
pub struct MessagePool {
    inner: Arc<PoolInner>,
}

#[derive(Debug)]
struct PoolInner {
    units: Arc<Semaphore>,
    total_units: u32,
    _share: OwnedSemaphorePermit,
    resident: Arc<Resident>,
}

impl Memory {
    /// A budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        let total_units = units(limit_bytes).max(RESERVE_DIVISOR);
        let reserve_units = total_units / RESERVE_DIVISOR;
        let semaphore = |units: u32| Arc::new(Semaphore::new(units as usize));
        Self {
            units: semaphore(total_units),
            total_units,
            reserve: semaphore(reserve_units),
            reserve_units,
            footers: semaphore(units(FOOTER_POOL_BYTES)),
            resident: Arc::new(Resident::new(u64::from(total_units) * UNIT_BYTES)),
        }
    }

    /// The budget in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        u64::from(self.total_units) * UNIT_BYTES
    }

    /// Waits for `bytes`. More than the whole budget waits until nothing else is held. Dropping the future gives up the
    /// place in the queue.
    pub async fn take(&self, bytes: u64) -> Share {
        let permit = acquire(&self.units, bytes, self.total_units).await;
        self.share(permit, bytes, self.limit_bytes())
    }

    fn share(&self, permit: OwnedSemaphorePermit, bytes: u64, most_bytes: u64) -> Share {
        self.resident.share(bytes);
        Share {
            permit,
            oversized: bytes > most_bytes,
            resident: Arc::clone(&self.resident),
            asked_bytes: bytes,
            unfilled_bytes: bytes,
        }
    }

    /// So many keys are listed, and kept besides the budget.
    pub fn listed(&self, keys: u64) {
        self.resident.listed(keys * KEY_BYTES);
    }

    /// What there is besides the reserve, in bytes.
    #[must_use]
    pub fn beside_reserve_bytes(&self) -> u64 {
        u64::from(self.total_units - self.reserve_units) * UNIT_BYTES
    }

    /// As [`Memory::take`], for a step whose input is held in the reserve already: it is served from the rest.
    pub async fn take_beside_reserve(&self, bytes: u64) -> Share {
        let permit = acquire(&self.units, bytes, self.total_units - self.reserve_units).await;
        self.share(permit, bytes, self.beside_reserve_bytes())
    }

    /// Takes `bytes` of the reserve, if they are free now.
    #[must_use]
    pub fn try_reserve(&self, bytes: u64) -> Option<Reserved> {
        let wanted = units(bytes).max(1);
        let reserve = Arc::clone(&self.reserve).try_acquire_many_owned(wanted).ok()?;
        let permit = Arc::clone(&self.units).try_acquire_many_owned(wanted).ok()?;
        self.resident.announce(bytes);
        Some(Reserved { _units: permit, _reserve: reserve })
    }

    /// Waits for room for a parsed footer of `bytes`. Never to be asked for by somebody who holds some.
    pub async fn take_footer(&self, bytes: u64) -> FooterRoom {
        let permit = acquire(&self.footers, bytes, units(FOOTER_POOL_BYTES)).await;
        self.resident.announce(bytes.min(FOOTER_POOL_BYTES));
        FooterRoom { permit }
    }
}

impl FooterRoom {
    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let spare = self.permit.num_permits().saturating_sub(units(bytes).max(1) as usize);
        drop(self.permit.split(spare));
    }
}

impl Share {
    /// So many bytes of what it was taken for are in memory.
    pub fn arrived(&mut self, bytes: u64) {
        let arrived = bytes.min(self.unfilled_bytes);
        self.unfilled_bytes -= arrived;
        self.resident.filled(arrived);
    }

    /// Everything that it was taken for is in memory, or was.
    pub fn filled(&mut self) {
        self.arrived(u64::MAX);
    }

    /// Divides the share: `message_bytes` of it (half, if it was cut down to the budget and is smaller than that) become
    /// the pool of the step's messages, the rest stays.
    #[must_use]
    pub fn with_messages(mut self, message_bytes: u64) -> (Self, MessagePool) {
        // A share of a single unit is all pool: something has to be.
        let half = (self.permit.num_permits() / 2).max(1);
        let wanted = (units(message_bytes).max(1) as usize).min(half);
        #[expect(clippy::expect_used, reason = "a permit has at least one unit, and no more are split off than it has")]
        let part = self.permit.split(wanted).expect("half of a share");
        let pool = MessagePool::new(part, Arc::clone(&self.resident));
        (self, pool)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.filled();
        self.resident.given_up(self.asked_bytes);
    }
}

impl MessagePool {
    fn new(share: OwnedSemaphorePermit, resident: Arc<Resident>) -> Self {
        let total_units = u32::try_from(share.num_permits()).unwrap_or(u32::MAX).max(1);
        let units = Arc::new(Semaphore::new(total_units as usize));
        Self { inner: Arc::new(PoolInner { units, total_units, _share: share, resident }) }
    }

    /// Waits for room for a message of `bytes`: until enough of the step's earlier messages were sent. A message larger
    /// than the pool waits for all of them.
    pub async fn grant(&self, bytes: u64) -> Grant {
        let permit = acquire(&self.inner.units, bytes, self.inner.total_units).await;
        self.inner.resident.announce(bytes);
        Grant(Some(Box::new((permit, Arc::clone(&self.inner)))))
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, bytes: u64, most_units: u32) -> OwnedSemaphorePermit {
    let permit = Arc::clone(semaphore).acquire_many_owned(units(bytes).clamp(1, most_units)).await;
    #[expect(clippy::expect_used, reason = "acquiring fails only for a closed semaphore, and nothing closes these")]
    permit.expect("a memory budget is never closed")
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const KIB: u64 = 1024;
    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_request_larger_than_the_budget_waits_for_everything_and_is_admitted_alone() {
        let memory = Memory::new(100 * KIB);
        let small = memory.take(10 * KIB).await;
        assert!(timeout(SOON, memory.take(500 * KIB)).await.is_err(), "something is held");
        drop(small);
        let alone = memory.take(500 * KIB).await;
        assert!(alone.oversized);
        assert!(timeout(SOON, memory.take(1)).await.is_err(), "alone means alone");
        drop(alone);
        assert!(!memory.take(1).await.oversized);
    }

    #[tokio::test]
    async fn the_input_stays_held_while_messages_come_and_go() {
        let memory = Memory::new(100 * KIB);
        let (input, pool) = memory.take(80 * KIB).await.with_messages(30 * KIB);
        for _ in 0..10 {
            drop(pool.grant(30 * KIB).await);
        }
        assert!(timeout(SOON, memory.take(21 * KIB)).await.is_err(), "messages that were sent free nothing else");
        drop(input);
        drop(memory.take(70 * KIB).await);
    }

    #[tokio::test]
    async fn messages_hold_their_pool_after_the_step_has_ended() {
        let memory = Memory::new(100 * KIB);
        let (input, pool) = memory.take(80 * KIB).await.with_messages(30 * KIB);
        let message = pool.grant(KIB).await;
        drop((input, pool));
        assert!(timeout(SOON, memory.take(71 * KIB)).await.is_err());
        drop(message);
        drop(memory.take(100 * KIB).await);
    }

    #[tokio::test]
    async fn a_message_larger_than_the_pool_waits_for_the_earlier_ones() {
        let memory = Memory::new(100 * KIB);
        let (_input, pool) = memory.take(80 * KIB).await.with_messages(30 * KIB);
        let first = pool.grant(KIB).await;
        assert!(timeout(SOON, pool.grant(500 * KIB)).await.is_err());
        drop(first);
        drop(pool.grant(500 * KIB).await);
    }

    #[tokio::test]
    async fn the_smallest_share_still_has_a_pool() {
        let memory = Memory::new(100 * KIB);
        let (_input, pool) = memory.take(1).await.with_messages(1);
        drop(pool.grant(10 * KIB).await);
    }

    #[tokio::test]
    async fn the_reserve_is_a_quarter_and_its_steps_never_wait_for_it() {
        let memory = Memory::new(100 * KIB);
        let kept = memory.try_reserve(25 * KIB).expect("a quarter is there");
        assert!(memory.try_reserve(1).is_none());
        let step = timeout(SOON, memory.take_beside_reserve(500 * KIB)).await.expect("served from the rest");
        drop((kept, step));
    }

    #[tokio::test]
    async fn tiny_objects_fill_the_reserve_by_whole_units() {
        let memory = Memory::new(100 * KIB);
        let kept: Vec<Reserved> = std::iter::from_fn(|| memory.try_reserve(10)).collect();
        assert_eq!(kept.len(), 25);
        drop(timeout(SOON, memory.take_beside_reserve(75 * KIB)).await.expect("three quarters are free"));
    }

    #[tokio::test]
    async fn room_for_a_footer_shrinks_to_what_it_takes() {
        let memory = Memory::new(100 * KIB);
        let mut room = memory.take_footer(u64::MAX).await;
        assert!(timeout(SOON, memory.take_footer(1)).await.is_err());
        room.shrink_to(KIB);
        drop(timeout(SOON, memory.take_footer(FOOTER_POOL_BYTES - KIB)).await.expect("the rest is free"));
    }
}
