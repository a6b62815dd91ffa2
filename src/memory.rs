//! The one memory budget of a sync: fetched bytes, decoded batches and queued messages all live on shares of it.
//!
//! Whoever sends an object takes a [`Seat`] and asks with it, at once, for all that the object's largest step takes at
//! a time: fetched bytes, decoding, the parsed head of the file, messages ([`Need`]). What comes back, [`Admitted`], is
//! held until the object is done or gives all of it back, and serves each of its steps in turn. A part of it is the
//! pool of the messages, which holds until the last of them was sent: a message waits for room in its own object's
//! pool. So a slow client holds messages, messages hold pools, and without shares nothing is fetched: back-pressure
//! reaches S3.
//!
//! Nothing can wait for ever:
//!
//! 1. Who was admitted never waits for more memory. The compiler sees to it: what is admitted borrows the seat, and no one
//!    waits for memory without one. What would be useful on top (the next step, fetched ahead; a step that turns out larger
//!    than foreseen) is taken if it is free at this moment, or not at all: then the step comes when the one before has ended,
//!    or everything is given back and asked for again. Messages only wait for earlier ones, which the client takes. So every
//!    holder finishes.
//! 2. Small objects that the survey kept hold a part of the reserve, at most a quarter of the budget, and wait for a share of the
//!    rest. Nothing else is admitted before the last of them was, and none asks for more than the rest.
//! 3. Parsed heads (footers) of the survey, and of objects that were replaced while they were read, have a pool of their own,
//!    and what is larger than it takes the remainder of the budget's rest: first one, then the other. Who holds one waits
//!    for no other head and for no share.
//! 4. Parsed heads that the survey kept for the objects' steps ([`spare`]) lie in the reserve, too. Nobody waits for one: it
//!    moves into the object's own share once that is admitted. Who asks for more than the rest has all of them dropped before
//!    he waits, and none is kept from then on.
//! 5. Requests are served in the order they came, so none is overtaken; one that is larger than the budget asks for all of
//!    it, which means that it is admitted alone, once nothing else is held.
//!
//! The test `every_mix_of_objects_ends` plays this with thousands of random mixes.
//!
//! The bound for the process: max(`memory_limit`, largest row group) + 64 MB + 120 bytes for each listed key. A row group
//! counts unpacked where its pages are large, and with three times its largest value where that has many MB: decoded, in a
//! message, and on its way. The 64 MB are the program itself, the runtime, TLS buffers, the heads' pool, what tonic and h2
//! hold of messages in flight, and errors of the estimates; the 120 bytes are a record of [`crate::tables::group`]. What was
//! freed but not given back to the system is the matter of [`resident`].

pub(crate) mod head_room;
pub(crate) mod need;
pub mod resident;
pub(crate) mod spare;

use need::Need;
use resident::Resident;
use spare::{Spare, Spares};
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Budget is handed out in units of 1 KiB: a semaphore's request is a `u32`, which is 4 TiB this way.
const UNIT_BYTES: u64 = 1024;
/// At most 1/RESERVE_DIVISOR of the budget may hold whole small objects from the survey to the insert phase.
const RESERVE_DIVISOR: u32 = 4;
/// Parsed heads of the survey have a small pool of their own. Part of the 64 MB.
const HEAD_POOL_BYTES: u64 = 24 << 20;
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
    /// Kept objects without their share.
    waiting_kept: TaskTracker,
    spares: Arc<Spares>,
    heads: Arc<Semaphore>,
    resident: Arc<Resident>,
}

/// What one waits for memory with. One for each object that is sent or looked at: see the module's rules.
#[derive(Debug)]
pub struct Seat {
    memory: Memory,
}

/// What an object was admitted with, given back on drop.
#[derive(Debug)]
pub struct Admitted<'seat> {
    permit: OwnedSemaphorePermit,
    most_units: u32,
    pool: MessagePool,
    resident: Arc<Resident>,
    need: Need,
    /// What is still to come into memory.
    unfilled_bytes: u64,
    /// Of kept objects: holds their bytes.
    _reserved: Vec<Reserved>,
    seat: PhantomData<&'seat mut ()>,
}

/// A share of the budget that is part of the reserve, given back on drop.
#[derive(Debug)]
pub struct Reserved {
    _part: spare::Part,
    /// Goes when it was admitted.
    waiting: Option<TaskTrackerToken>,
}

/// What the messages of one object live on: a part of its share, which is given back when the object is done and its last
/// message was sent.
#[derive(Debug, Clone)]
pub struct MessagePool {
    inner: Arc<PoolInner>,
}

/// What one message holds until the transport took it.
#[derive(Debug)]
pub struct MessageRoom {
    _permit: OwnedSemaphorePermit,
    _pool: Arc<PoolInner>,
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
        let waiting_kept = TaskTracker::new();
        // To wait until it is empty, it has to be closed; it takes tokens all the same.
        waiting_kept.close();
        Self {
            units: semaphore(total_units),
            total_units,
            reserve: semaphore(reserve_units),
            reserve_units,
            waiting_kept,
            spares: Arc::default(),
            heads: semaphore(units(HEAD_POOL_BYTES)),
            resident: Arc::new(Resident::new(u64::from(total_units) * UNIT_BYTES)),
        }
    }

    /// The budget in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        u64::from(self.total_units) * UNIT_BYTES
    }

    /// How much of the budget small objects may hold between the survey and their insert, in bytes.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        u64::from(self.reserve_units) * UNIT_BYTES
    }

    /// The budget without the reserve, in bytes.
    #[must_use]
    pub fn unreserved_bytes(&self) -> u64 {
        u64::from(self.total_units - self.reserve_units) * UNIT_BYTES
    }

    /// Accounts for the memory of listed keys, which is not part of the budget.
    pub fn account_for_listing(&self, keys: u64) {
        self.resident.account_for_listing(keys * KEY_BYTES);
    }

    /// A seat. Who holds something that another one admitted must not wait with it.
    #[must_use]
    pub fn seat(&self) -> Seat {
        Seat { memory: self.clone() }
    }

    /// As [`Seat::admit`], if all of it is free now and nothing waits: for what is useful but not necessary.
    pub async fn try_admit(&self, need: Need) -> Option<Admitted<'static>> {
        let wanted = units(need.total_bytes());
        if wanted > self.total_units {
            return None;
        }
        let permit = Arc::clone(&self.units).try_acquire_many_owned(wanted.max(1)).ok()?;
        Some(self.admitted(permit, self.total_units, need, Vec::new()).await)
    }

    /// Takes `bytes` of the reserve, if they are free now.
    pub async fn try_reserve(&self, bytes: u64) -> Option<Reserved> {
        let reserved = Reserved { _part: self.part_of_reserve(bytes)?, waiting: Some(self.waiting_kept.token()) };
        self.resident.about_to_use(bytes).await;
        Some(reserved)
    }

    /// Keeps `value`, which is in memory and takes `bytes`, on a part of the reserve, if that is free now and nobody had use for
    /// all of the budget yet.
    pub fn try_spare<T: Send + 'static>(&self, value: T, bytes: u64) -> Option<Spare<T>> {
        self.spares.keep(value, self.part_of_reserve(bytes)?)
    }

    fn part_of_reserve(&self, bytes: u64) -> Option<spare::Part> {
        let wanted = units(bytes).max(1);
        let reserve = Arc::clone(&self.reserve).try_acquire_many_owned(wanted).ok()?;
        let units = Arc::clone(&self.units).try_acquire_many_owned(wanted).ok()?;
        Some([units, reserve])
    }

    async fn admitted<'seat>(
        &self,
        mut permit: OwnedSemaphorePermit,
        most_units: u32,
        need: Need,
        reserved: Vec<Reserved>,
    ) -> Admitted<'seat> {
        // A share that was cut down to the budget may be smaller than its pool alone; one of a single unit is all pool.
        let half = (permit.num_permits() / 2).max(1);
        let pool_units = (units(need.message_bytes).max(1) as usize).min(half);
        #[expect(clippy::expect_used, reason = "a permit has at least one unit, and no more are split off than it has")]
        let part = permit.split(pool_units).expect("half of a share");
        let bytes = need.total_bytes();
        let admitted = Admitted {
            permit,
            most_units,
            pool: MessagePool::new(part, Arc::clone(&self.resident)),
            resident: Arc::clone(&self.resident),
            need,
            unfilled_bytes: bytes,
            _reserved: reserved,
            seat: PhantomData,
        };
        self.resident.share(bytes).await;
        admitted
    }
}

impl Seat {
    /// Waits until all of `need` is there. More than the whole budget waits until nothing else is held. Dropping the future
    /// gives up the place in the queue.
    pub async fn admit(&mut self, need: Need) -> Admitted<'_> {
        let memory = &self.memory;
        memory.waiting_kept.wait().await;
        if need.total_bytes() > memory.unreserved_bytes() {
            memory.spares.give_up().await;
        }
        let permit = acquire(&memory.units, need.total_bytes(), memory.total_units).await;
        memory.admitted(permit, memory.total_units, need, Vec::new()).await
    }

    /// As [`Seat::admit`], while objects in the reserve wait for what comes later: it is served from the rest.
    pub async fn admit_before_kept(&mut self, need: Need) -> Admitted<'_> {
        let memory = &self.memory;
        let most_units = memory.total_units - memory.reserve_units;
        let permit = acquire(&memory.units, need.total_bytes(), most_units).await;
        memory.admitted(permit, most_units, need, Vec::new()).await
    }

    /// As [`Seat::admit`], for an object whose bytes are held in the reserve already: it is served from the rest.
    pub async fn admit_kept(&mut self, need: Need, reserved: Reserved) -> Admitted<'_> {
        self.admit_all_kept(need, vec![reserved]).await
    }

    /// As [`Seat::admit_kept`], for objects that are sent together.
    pub async fn admit_all_kept(&mut self, need: Need, mut reserved: Vec<Reserved>) -> Admitted<'_> {
        let memory = &self.memory;
        let most_units = memory.total_units - memory.reserve_units;
        let permit = acquire(&memory.units, need.total_bytes(), most_units).await;
        reserved.iter_mut().for_each(|reserved| reserved.waiting = None);
        memory.admitted(permit, most_units, need, reserved).await
    }
}

impl Admitted<'_> {
    /// What it was admitted for.
    #[must_use]
    pub fn need(&self) -> Need {
        self.need
    }

    /// It asked for more than there is and was admitted alone.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        units(self.need.total_bytes()) > self.most_units
    }

    /// The pool of its messages.
    #[must_use]
    pub fn pool(&self) -> &MessagePool {
        &self.pool
    }

    /// Takes what `need` has beyond that of now, if it is free at this moment or held already.
    #[must_use]
    pub fn try_grow(&mut self, need: Need) -> bool {
        let held = self.permit.num_permits() + self.pool.inner.total_units as usize;
        let wanted = units(need.total_bytes()) as usize;
        // Who holds all of it is alone already.
        if wanted > held && held < self.most_units as usize {
            let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
            match Arc::clone(self.permit.semaphore()).try_acquire_many_owned(more) {
                Ok(more) => self.permit.merge(more),
                Err(_) => return false,
            }
        }
        let more_bytes = need.total_bytes().saturating_sub(self.need.total_bytes());
        if more_bytes > 0 {
            self.unfilled_bytes += more_bytes;
            self.need = need;
            self.resident.grown(more_bytes, need.total_bytes());
        }
        true
    }

    /// Whether it is enough for what measured to be `need`, or can get it now.
    #[must_use]
    pub fn suffices_for(&mut self, need: Need) -> bool {
        self.try_grow(need) || self.need.suffices_for(need)
    }

    /// What the step before took is out of use, and the next one begins to fill it again.
    pub async fn refill(&mut self) {
        self.mark_all_resident();
        self.unfilled_bytes = self.need.total_bytes();
        self.resident.refilled(self.unfilled_bytes).await;
    }

    /// `bytes` of what it was taken for are in memory.
    pub fn mark_resident(&mut self, bytes: u64) {
        let arrived = bytes.min(self.unfilled_bytes);
        self.unfilled_bytes -= arrived;
        self.resident.mark_resident(arrived);
    }

    /// Everything that it was taken for is in memory, or was.
    pub fn mark_all_resident(&mut self) {
        self.mark_resident(u64::MAX);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.mark_all_resident();
        self.resident.release(self.need.total_bytes());
    }
}

impl MessagePool {
    fn new(share: OwnedSemaphorePermit, resident: Arc<Resident>) -> Self {
        let total_units = u32::try_from(share.num_permits()).unwrap_or(u32::MAX).max(1);
        let units = Arc::new(Semaphore::new(total_units as usize));
        Self { inner: Arc::new(PoolInner { units, total_units, _share: share, resident }) }
    }

    /// Waits for room for a message of `bytes`: until enough of the object's earlier messages were sent. A message larger
    /// than the pool waits for all of them.
    pub async fn room(&self, bytes: u64) -> MessageRoom {
        let permit = acquire(&self.inner.units, bytes, self.inner.total_units).await;
        self.inner.resident.about_to_use(bytes).await;
        MessageRoom { _permit: permit, _pool: Arc::clone(&self.inner) }
    }

    /// Whether a message of `bytes` has room beside others.
    #[must_use]
    pub fn has_room_for(&self, bytes: u64) -> bool {
        units(bytes) <= self.inner.total_units
    }

    /// Waits until all messages were sent.
    pub async fn idle(&self) {
        drop(acquire(&self.inner.units, u64::MAX, self.inner.total_units).await);
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
mod tests;
