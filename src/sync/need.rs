//! What an object needs at a time, and which GETs bring the steps in which it is read. Pure.
//!
//! A small object is one step: its bytes are fetched whole. A larger one has steps of about one GET, more where its format
//! can't cut it so small. All of an object's steps run on what its largest takes, see [`crate::memory`].

use super::batch::TARGET_ROWS_BYTES;
use crate::formats::error::ReadError;
use crate::formats::limits::MAX_PIECE_BYTES;
use crate::formats::{File, Position, Step};
use crate::memory::need::Need;
use crate::s3::coalesce::{MAX_GET_BYTES, coalesce};
use std::ops::Range;

/// Objects up to this size are fetched whole: one GET brings all there is to know and to send.
pub const SMALL_OBJECT_BYTES: u64 = 8 << 20;

// Formats estimate what it takes to join values that lie in several pieces.
const _: () = assert!(MAX_GET_BYTES == MAX_PIECE_BYTES);

/// What the messages of an object may take: the one that is sent and the one behind it.
const MESSAGE_POOL_BYTES: u64 = 2 * TARGET_ROWS_BYTES as u64;
/// Least pool, for objects that decode to next to nothing: a schema and some padding.
const MIN_MESSAGE_POOL_BYTES: u64 = 64 << 10;

/// The need of an object of which [`Need::held_bytes`] and its size are known.
#[must_use]
pub fn recorded(held_bytes: u64, object_bytes: u64, limit_bytes: u64) -> Need {
    // A larger object's steps fetch as much as they do: all that matters is the sum.
    let input_bytes = if object_bytes <= SMALL_OBJECT_BYTES { object_bytes } else { 0 };
    let decoding_bytes = held_bytes.saturating_sub(input_bytes);
    let message_bytes = message_pool_bytes(decoding_bytes, limit_bytes);
    Need { input_bytes, decoding_bytes, head_bytes: 0, message_bytes }
}

/// The need of objects that are sent together, given what all of them take.
#[must_use]
pub fn together(input_bytes: u64, decoding_bytes: u64, head_bytes: u64, limit_bytes: u64) -> Need {
    let message_bytes = message_pool_bytes(decoding_bytes, limit_bytes);
    Need { input_bytes, decoding_bytes, head_bytes, message_bytes }
}

/// What the messages of an object need, given what decoding takes; with a small budget no more than an eighth of it.
fn message_pool_bytes(decoding_bytes: u64, limit_bytes: u64) -> u64 {
    let most = MESSAGE_POOL_BYTES.min(limit_bytes / 8).max(MIN_MESSAGE_POOL_BYTES);
    decoding_bytes.clamp(MIN_MESSAGE_POOL_BYTES, most)
}

/// What is known of an object besides what its file says.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Its size.
    pub object_bytes: u64,
    /// What the spec's options add to decoding, [`super::context::Context::added_bytes`].
    pub added_bytes: u64,
    /// The budget.
    pub limit_bytes: u64,
    /// What measuring taught about the estimates.
    pub experience: Experience,
}

/// How much more than estimated decoding was found to take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Experience {
    estimated_bytes: u64,
    measured_bytes: u64,
}

impl Experience {
    /// Learns from what was estimated and what was found.
    pub fn learn(&mut self, estimated_bytes: u64, measured_bytes: u64) {
        if u128::from(measured_bytes) > self.scaled(estimated_bytes) {
            *self = Self { estimated_bytes: estimated_bytes.max(1), measured_bytes };
        }
    }

    fn scaled(self, estimated_bytes: u64) -> u128 {
        let scaled = u128::from(estimated_bytes) * u128::from(self.measured_bytes);
        (scaled / u128::from(self.estimated_bytes.max(1))).max(estimated_bytes.into())
    }

    /// What an estimate comes to.
    #[must_use]
    pub fn apply(self, estimated_bytes: u64) -> u64 {
        u64::try_from(self.scaled(estimated_bytes)).unwrap_or(u64::MAX)
    }
}

impl Facts {
    /// The same with what was learned.
    #[must_use]
    pub fn with(self, experience: Experience) -> Self {
        Self { experience, ..self }
    }

    /// The need of a step that fetches `input_bytes` and decodes with `decoding_bytes`, on top of what the options add.
    #[must_use]
    pub fn need(self, file: &File, input_bytes: u64, decoding_bytes: u64) -> Need {
        let decoding_bytes = decoding_bytes.saturating_add(self.added_bytes);
        Need {
            input_bytes,
            decoding_bytes,
            head_bytes: file.held_bytes(),
            message_bytes: message_pool_bytes(decoding_bytes, self.limit_bytes),
        }
    }

    /// The need of an object, the way it will be read.
    ///
    /// # Errors
    /// As [`Fetch::of`].
    pub fn of_object(self, file: &File) -> Result<Need, ReadError> {
        if self.object_bytes <= SMALL_OBJECT_BYTES {
            self.of_whole(file)
        } else {
            self.of_steps(file, file.position_of_row(0))
        }
    }

    /// The need of an object that is fetched whole.
    ///
    /// # Errors
    /// As [`Fetch::of`].
    pub fn of_whole(self, file: &File) -> Result<Need, ReadError> {
        let step = file.step(file.position_of_row(0), u64::MAX)?;
        let decoding_bytes = step.map_or(0, |step| step.decoding_bytes);
        Ok(self.need(file, self.object_bytes, self.experience.apply(decoding_bytes)))
    }

    /// The need of the largest step from `from` on, of an object that is fetched in steps.
    ///
    /// # Errors
    /// As [`Fetch::of`].
    pub fn of_steps(self, file: &File, mut from: Position) -> Result<Need, ReadError> {
        let mut largest = self.need(file, 0, 0);
        while let Some(fetch) = Fetch::of(file, from, self.step_bytes())? {
            from = fetch.step.next;
            let need = self.need(file, fetch.input_bytes(), self.experience.apply(fetch.step.decoding_bytes));
            if need.total_bytes() > largest.total_bytes() {
                largest = need;
            }
        }
        Ok(largest)
    }

    /// What a step aims at: what one GET can bring, with a small budget no more than an eighth of it.
    #[must_use]
    pub fn step_bytes(self) -> u64 {
        MAX_GET_BYTES.min(self.limit_bytes / 8)
    }
}

/// A step, and the GETs that bring it.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// What is read with it.
    pub step: Step,
    /// The GETs.
    pub pieces: Vec<Range<u64>>,
}

impl Fetch {
    /// The step of `file` from `from` on, which aims at `most_bytes`; `None` at the end.
    ///
    /// # Errors
    /// When what the file says makes no sense.
    pub fn of(file: &File, from: Position, most_bytes: u64) -> Result<Option<Self>, ReadError> {
        let step = file.step(from, most_bytes)?;
        Ok(step.map(|step| Self { pieces: coalesce(&step.ranges), step }))
    }

    /// Bytes of all GETs.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.end - piece.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_row_group_taught_holds_for_the_next() {
        let mut experience = Experience::default();
        assert_eq!(experience.apply(10), 10);
        experience.learn(100, 300);
        assert_eq!((experience.apply(10), experience.apply(0)), (30, 0));
        experience.learn(100, 200);
        assert_eq!(experience.apply(10), 30, "the worst that was seen");
        experience.learn(0, u64::MAX);
        assert_eq!(experience.apply(u64::MAX), u64::MAX);
    }

    #[test]
    fn messages_have_an_eighth_of_a_small_budget_and_something_of_each() {
        assert_eq!(message_pool_bytes(0, 1), MIN_MESSAGE_POOL_BYTES);
        assert_eq!(message_pool_bytes(u64::MAX, 32 << 20), 4 << 20);
        assert_eq!(message_pool_bytes(u64::MAX, 1 << 30), MESSAGE_POOL_BYTES);
        let need = recorded(100 << 10, 90 << 10, 1 << 30);
        assert_eq!((need.input_bytes, need.decoding_bytes), (90 << 10, 10 << 10));
        assert_eq!(need.total_bytes(), (100 << 10) + MIN_MESSAGE_POOL_BYTES);
    }
}
