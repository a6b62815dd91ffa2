//! The one memory budget of a sync: fetched bytes, decoded batches and queued messages all live on grants from it.
//!
//! A step (one row group, or one small object) asks for everything it will need at once, before its first GET, and gives
//! parts of it to the messages it makes. So a slow client holds messages, messages hold grants, and without grants
//! nothing is fetched: back-pressure reaches S3.
//!
//! Nothing can wait for ever: a step that holds a grant never asks for more, so every holder finishes; requests are
//! served in the order they came; and a step larger than the budget asks for all of it, which means that it is admitted
//! alone, once nothing else is held. Small objects that the footer pass kept hold a reserve that is at most
//! [`RESERVE_DIVISOR`]th of the budget; their steps come first and ask for no more than the rest.
//!
//! The bound for the process: max(`memory_limit`, largest row group) + 64 MB + 120 bytes for each listed key. The 64 MB
//! are the program itself, the runtime, TLS buffers, what tonic and h2 hold of messages in flight, and errors of the
//! estimates; the 120 bytes are a record of [`crate::tables::group`].

use crate::cloudquery::source::Grant;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Budget is handed out in units of 1 KiB: a semaphore's request is a `u32`, which is 4 TiB this way.
const UNIT_BYTES: u64 = 1024;
/// A quarter of the budget may hold whole small objects from the footer pass to the insert phase.
pub const RESERVE_DIVISOR: u64 = 4;

/// Parsed footers have a small pool of their own, so that holding one while waiting for the budget blocks nobody: the
/// order is always footer first, budget second. A footer larger than the pool is admitted alone. Part of the 64 MB.
const FOOTER_POOL_BYTES: u64 = 24 << 20;

/// The budget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    units: Arc<Semaphore>,
    total_units: u32,
    footers: Arc<Semaphore>,
}

/// A share of the budget, given back on drop.
#[derive(Debug)]
pub struct Share {
    permit: OwnedSemaphorePermit,
    /// It asked for more than there is and was admitted alone.
    pub oversized: bool,
}

impl Memory {
    /// A budget of `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        let total_units = units(limit_bytes).max(1);
        Self {
            units: Arc::new(Semaphore::new(total_units as usize)),
            total_units,
            footers: Arc::new(Semaphore::new(units(FOOTER_POOL_BYTES) as usize)),
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
        self.take_at_most(bytes, self.total_units).await
    }

    /// Waits for room for a parsed footer of `bytes`. Never to be asked for by somebody who holds some.
    pub async fn take_footer(&self, bytes: u64) -> FooterRoom {
        FooterRoom { _permit: acquire(&self.footers, bytes, units(FOOTER_POOL_BYTES)).await }
    }

    /// As [`Memory::take`], for a step whose input is already held in the reserve: it is served from the rest.
    pub async fn take_beside_reserve(&self, bytes: u64) -> Share {
        let reserve = self.total_units / u32::try_from(RESERVE_DIVISOR).unwrap_or(u32::MAX);
        self.take_at_most(bytes, (self.total_units - reserve).max(1)).await
    }

    async fn take_at_most(&self, bytes: u64, most: u32) -> Share {
        let permit = acquire(&self.units, bytes, most).await;
        Share { permit, oversized: bytes > self.limit_bytes() }
    }

    /// Takes `bytes` if they are free now and `held` stays within the reserve.
    #[must_use]
    pub fn try_reserve(&self, bytes: u64, held_bytes: u64) -> Option<Share> {
        if held_bytes.saturating_add(bytes) > self.limit_bytes() / RESERVE_DIVISOR {
            return None;
        }
        let permit = Arc::clone(&self.units).try_acquire_many_owned(units(bytes).max(1)).ok()?;
        Some(Share { permit, oversized: false })
    }
}

/// Room for one parsed footer, given back on drop.
#[derive(Debug)]
pub struct FooterRoom {
    _permit: OwnedSemaphorePermit,
}

async fn acquire(semaphore: &Arc<Semaphore>, bytes: u64, most_units: u32) -> OwnedSemaphorePermit {
    let permit = Arc::clone(semaphore).acquire_many_owned(units(bytes).clamp(1, most_units)).await;
    #[expect(clippy::expect_used, reason = "acquiring fails only for a closed semaphore, and nothing closes these")]
    permit.expect("a memory budget is never closed")
}

impl Share {
    /// Cuts off a part of the share, for a message of `bytes`: as much as there is left.
    pub fn split(&mut self, bytes: u64) -> Grant {
        let most = u32::try_from(self.permit.num_permits()).unwrap_or(u32::MAX);
        let part = self.permit.split(units(bytes).min(most) as usize).filter(|part| part.num_permits() > 0);
        Grant(part.map(|part| Box::new(part) as Box<dyn Send>))
    }

    /// Joins another share of the same budget to this one.
    pub fn merge(&mut self, other: Share) {
        self.oversized |= other.oversized;
        self.permit.merge(other.permit);
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let keep = units(bytes) as usize;
        let spare = self.permit.num_permits().saturating_sub(keep);
        drop(self.permit.split(spare));
    }

    /// What is left of it, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.permit.num_permits() as u64 * UNIT_BYTES
    }
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
    async fn messages_hold_their_part_after_the_step_has_ended() {
        let memory = Memory::new(100 * KIB);
        let mut step = memory.take(80 * KIB).await;
        let message = step.split(30 * KIB);
        drop(step);
        assert!(timeout(SOON, memory.take(71 * KIB)).await.is_err());
        drop(memory.take(70 * KIB).await);
        drop(message);
        drop(memory.take(100 * KIB).await);
    }

    #[tokio::test]
    async fn a_message_larger_than_what_is_left_takes_what_is_left() {
        let memory = Memory::new(100 * KIB);
        let mut step = memory.take(10 * KIB).await;
        let message = step.split(50 * KIB);
        assert_eq!(step.bytes(), 0);
        let none = step.split(KIB);
        assert!(none.0.is_none());
        drop((message, none, step));
        drop(memory.take(100 * KIB).await);
    }

    #[tokio::test]
    async fn the_reserve_is_a_quarter_and_its_steps_never_wait_for_it() {
        let memory = Memory::new(100 * KIB);
        let kept = memory.try_reserve(25 * KIB, 0).expect("a quarter is there");
        assert!(memory.try_reserve(KIB, 25 * KIB).is_none());
        let step = timeout(SOON, memory.take_beside_reserve(500 * KIB)).await.expect("served from the rest");
        assert_eq!(step.bytes(), 75 * KIB);
        drop((kept, step));
    }
}
