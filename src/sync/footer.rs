//! Reading an object's footer: the whole object when it is small and may be kept, else its last bytes.

use super::Error;
use super::memory::{FooterRoom, Memory};
use crate::decode::footer::{FIRST_SUFFIX_BYTES, FooterStep, footer_from_suffix};
use crate::s3::{ByteRange, ETag, RetryBudget, Store};
use bytes::{Bytes, BytesMut};
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects up to this size are fetched whole: one GET brings footer and data.
pub const SMALL_OBJECT_BYTES: u64 = 8 << 20;
/// Objects from this size on can spare [`FIRST_SUFFIX_BYTES`] for a first guess: it is a sixteenth of them.
const ROOMY_OBJECT_BYTES: u64 = 1 << 20;
/// Room added to the largest footer seen, so that a slightly larger one still needs one request.
const GUESS_SLACK_BYTES: u64 = 1 << 10;

/// The largest footer seen in a table: the files of a table have similar ones, so most need one request.
#[derive(Debug, Default)]
pub struct FooterGuess {
    largest_bytes: AtomicU64,
}

impl FooterGuess {
    /// How many of the last bytes of an object to ask for: at most half of a small one, unless the table's footers are
    /// larger than that. What is read twice must stay in proportion.
    fn suffix_bytes(&self, object_bytes: u64) -> u64 {
        let half = if object_bytes < ROOMY_OBJECT_BYTES { object_bytes / 2 } else { object_bytes };
        let guess = match self.largest_bytes.load(Ordering::Relaxed) {
            0 => FIRST_SUFFIX_BYTES.min(half),
            seen if seen <= half => (seen + GUESS_SLACK_BYTES).min(half),
            seen => seen + GUESS_SLACK_BYTES,
        };
        guess.clamp(8, object_bytes.max(8))
    }

    fn learn(&self, footer_bytes: u64) {
        self.largest_bytes.fetch_max(footer_bytes, Ordering::Relaxed);
    }
}

/// How much larger a parsed footer is than its bytes, roughly.
const PARSED_FACTOR: u64 = 4;

/// A footer, and which version of the object it belongs to.
#[derive(Debug)]
pub struct Footer {
    /// Its room in the pool of parsed footers, see [`Memory::take_footer`].
    _room: FooterRoom,
    /// The parsed footer.
    pub metadata: Arc<ParquetMetaData>,
    /// The version that was read.
    pub etag: Option<ETag>,
    /// The object's size in bytes.
    pub object_bytes: u64,
}

/// Parses the footer of an object that is in memory.
///
/// # Errors
/// When it is no sound Parquet file.
pub async fn of_bytes(bytes: &Bytes) -> Result<Arc<ParquetMetaData>, Error> {
    match parse(bytes.clone(), bytes.len() as u64).await? {
        FooterStep::Ready(metadata) => Ok(metadata),
        FooterStep::NeedSuffix { bytes: needed } => {
            let text = format!("the footer should have {needed} bytes, the object has {}", bytes.len());
            Err(crate::decode::DecodeError::damaged(text).into())
        }
    }
}

/// Fetches the last bytes of an object, once more if the footer is larger than guessed, and parses it. The footer has
/// room in the footers' pool of `memory` as long as it lives; the caller must hold no other footer.
///
/// # Errors
/// When S3 refuses, or it is no sound Parquet file.
pub async fn fetch(
    store: &Store,
    key: &str,
    object_bytes: u64,
    etag: Option<&ETag>,
    guess: &FooterGuess,
    budget: &RetryBudget,
    memory: &Memory,
) -> Result<Footer, Error> {
    let suffix_bytes = guess.suffix_bytes(object_bytes);
    let mut room = memory.take_footer(suffix_bytes * PARSED_FACTOR).await;
    let suffix = ByteRange::Suffix { len: suffix_bytes };
    let mut fetched = store.get(key, suffix, etag, budget).await?;
    let object_bytes = fetched.object_bytes;
    let step = parse(fetched.bytes.clone(), object_bytes).await?;
    let metadata = match step {
        FooterStep::Ready(metadata) => metadata,
        FooterStep::NeedSuffix { bytes: needed } => {
            let held = fetched.bytes.len() as u64;
            guess.learn(needed);
            // Given back before more is asked for: who holds room never waits for room.
            drop(room);
            room = memory.take_footer(needed * PARSED_FACTOR).await;
            // Only what is missing, of the same version.
            let part = ByteRange::Part {
                start: object_bytes.saturating_sub(needed),
                len: needed.min(object_bytes).saturating_sub(held).max(1),
            };
            let front = store.get(key, part, fetched.etag.as_ref(), budget).await?;
            let mut whole = BytesMut::with_capacity(front.bytes.len() + fetched.bytes.len());
            whole.extend_from_slice(&front.bytes);
            whole.extend_from_slice(&fetched.bytes);
            fetched.bytes = whole.freeze();
            match parse(fetched.bytes.clone(), object_bytes).await? {
                FooterStep::Ready(metadata) => metadata,
                FooterStep::NeedSuffix { .. } => {
                    return Err(
                        crate::decode::DecodeError::damaged("the footer's length changed while it was read").into()
                    );
                }
            }
        }
    };
    guess.learn(footer_bytes(&fetched.bytes));
    Ok(Footer { _room: room, metadata, etag: fetched.etag, object_bytes })
}

/// Length of the footer with its tail, from the object's last 8 bytes.
fn footer_bytes(suffix: &Bytes) -> u64 {
    suffix.last_chunk::<8>().map_or(0, |tail| u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]])) + 8)
}

/// Parses away from the async threads: a footer of a wide table takes milliseconds.
async fn parse(suffix: Bytes, object_bytes: u64) -> Result<FooterStep, Error> {
    super::cpu::run(move || footer_from_suffix(&suffix, object_bytes)).await?.map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_guess_is_in_proportion() {
        let guess = FooterGuess::default();
        assert_eq!(guess.suffix_bytes(10_000), 5_000);
        assert_eq!(guess.suffix_bytes(1 << 20), FIRST_SUFFIX_BYTES);
        assert_eq!(guess.suffix_bytes(1 << 40), FIRST_SUFFIX_BYTES);
        assert_eq!(guess.suffix_bytes(3), 8);
    }

    #[test]
    fn later_guesses_follow_the_largest_footer() {
        let guess = FooterGuess::default();
        guess.learn(2_000);
        guess.learn(1_000);
        assert_eq!(guess.suffix_bytes(1 << 30), 2_000 + GUESS_SLACK_BYTES);
        assert_eq!(guess.suffix_bytes(1_500), 1_500, "more footer than data: one request is worth more than bytes");
        assert_eq!(guess.suffix_bytes(4_200), 2_100, "the slack does not go beyond half");
    }
}
