//! Room for parsed heads of files, while they are looked at.

use super::{HEAD_POOL_BYTES, Seat, acquire, units};
use tokio::sync::OwnedSemaphorePermit;

/// Room for one parsed head of a file, given back on drop.
#[derive(Debug)]
pub struct HeadRoom {
    permit: OwnedSemaphorePermit,
    /// What does not fit into the pool.
    beyond: Option<OwnedSemaphorePermit>,
}

/// A head of a file (today always a footer) that takes more memory than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its footer takes about {bytes} bytes of memory when it is read, more than the {most_bytes} that `memory_limit` leaves \
     for one; raise `memory_limit`, or write the file with fewer row groups or columns"
)]
pub struct HeadTooLarge {
    /// What it takes.
    pub bytes: u64,
    /// What there is.
    pub most_bytes: u64,
}

impl Seat {
    /// The most that a head may take while it is read, in bytes.
    #[must_use]
    pub fn most_head_bytes(&self) -> u64 {
        let beyond_pool_bytes = self.memory.unreserved_bytes();
        self.memory.limit_bytes().min(beyond_pool_bytes.saturating_add(HEAD_POOL_BYTES))
    }

    /// Waits for room for a parsed head of `bytes`. Whoever holds it must neither ask for another one nor be admitted.
    ///
    /// # Errors
    /// When there will never be as much.
    pub async fn head_room(&mut self, bytes: u64) -> Result<HeadRoom, HeadTooLarge> {
        let memory = &self.memory;
        let most_bytes = self.most_head_bytes();
        if bytes > most_bytes {
            return Err(HeadTooLarge { bytes, most_bytes });
        }
        let permit = acquire(&memory.heads, bytes, units(HEAD_POOL_BYTES)).await;
        memory.resident.about_to_use(bytes).await;
        let beyond = match bytes.saturating_sub(HEAD_POOL_BYTES) {
            0 => None,
            more => Some(acquire(&memory.units, more, memory.total_units - memory.reserve_units).await),
        };
        Ok(HeadRoom { permit, beyond })
    }
}

impl HeadRoom {
    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let in_pool = bytes.min(HEAD_POOL_BYTES);
        shrink(&mut self.permit, in_pool);
        match (&mut self.beyond, bytes - in_pool) {
            (beyond, 0) => *beyond = None,
            (Some(beyond), more) => shrink(beyond, more),
            (None, _) => {}
        }
    }
}

fn shrink(permit: &mut OwnedSemaphorePermit, bytes: u64) {
    let spare = permit.num_permits().saturating_sub(units(bytes).max(1) as usize);
    drop(permit.split(spare));
}
