//! What is kept because it may save work: it goes when somebody needs the room.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::OwnedSemaphorePermit;

/// A value on a part of the reserve, until it is taken, dropped, or given up for somebody who asks for more than the rest.
/// Nobody waits for one: who has it may wait for memory all the same.
pub struct Spare<T> {
    slot: Arc<Slot<T>>,
}

/// Locked to put the value in or to take it out.
type Slot<T> = Mutex<Option<(T, Part)>>;

/// A part of the reserve, as units of both semaphores.
pub(super) type Part = [OwnedSemaphorePermit; 2];

impl<T> Spare<T> {
    /// The value, if it is still there. Its part of the reserve is given back: who takes it has another account for it.
    #[must_use]
    pub fn take(self) -> Option<T> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take().map(|(value, _)| value)
    }
}

impl<T> fmt::Debug for Spare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").finish_non_exhaustive()
    }
}

trait GiveUp: Send + Sync {
    fn give_up(&self);
}

impl<T: Send> GiveUp for Slot<T> {
    fn give_up(&self) {
        let held = self.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(held);
    }
}

/// All spares of a budget. No more than the reserve has units.
#[derive(Default)]
pub(super) struct Spares {
    /// Locked to add one, or to take one.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    slots: Vec<Weak<dyn GiveUp>>,
    /// They are given up: no more are kept.
    closed: bool,
}

impl Spares {
    /// Keeps `value` on `part`; `None` once spares are given up.
    pub(super) fn keep<T: Send + 'static>(&self, value: T, part: Part) -> Option<Spare<T>> {
        let mut kept = self.lock();
        if kept.closed {
            return None;
        }
        let slot: Arc<Slot<T>> = Arc::new(Mutex::new(Some((value, part))));
        let weak: Weak<Slot<T>> = Arc::downgrade(&slot);
        kept.slots.push(weak);
        Some(Spare { slot })
    }

    /// Drops them all, one at a time: freeing thousands of values at once would hold up a worker. Who drops the future leaves
    /// the rest to the next one that calls.
    pub(super) async fn give_up(&self) {
        while let Some(slot) = self.close_and_pop() {
            if let Some(slot) = slot.upgrade() {
                slot.give_up();
                tokio::task::yield_now().await;
            }
        }
    }

    fn close_and_pop(&self) -> Option<Weak<dyn GiveUp>> {
        let mut kept = self.lock();
        kept.closed = true;
        kept.slots.pop()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Spares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spares").finish_non_exhaustive()
    }
}
