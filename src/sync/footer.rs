//! Reading an object's footer from its last bytes, or from the object if it is in memory.

use super::Error;
use super::memory::{FooterRoom, Seat};
use super::ranges::coalesce;
use crate::formats::error::ReadError;
use crate::formats::parquet::footer::{FIRST_SUFFIX_BYTES, FooterStep, footer_from_suffix};
use crate::s3::{ByteRange, ETag, ErrorKind, RetryBudget, Store};
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
    /// How many of the last bytes of an object to ask for. What is read twice must stay in proportion: at most half of a
    /// small object (unless the table's footers are larger than that: then one request is worth more than bytes), a
    /// sixteenth of a medium one, a 128th of a large one.
    fn suffix_bytes(&self, object_bytes: u64) -> u64 {
        let most = match object_bytes {
            0..ROOMY_OBJECT_BYTES => object_bytes / 2,
            ROOMY_OBJECT_BYTES..SMALL_OBJECT_BYTES => object_bytes / 16,
            _ => object_bytes / 128,
        };
        let guess = match self.largest_bytes.load(Ordering::Relaxed) {
            0 => FIRST_SUFFIX_BYTES.min(most),
            seen if seen > most && object_bytes < ROOMY_OBJECT_BYTES => seen + GUESS_SLACK_BYTES,
            seen => (seen + GUESS_SLACK_BYTES).min(most),
        };
        guess.clamp(8, object_bytes.max(8))
    }

    fn learn(&self, footer_bytes: u64) {
        self.largest_bytes.fetch_max(footer_bytes, Ordering::Relaxed);
    }
}

/// How much larger a parsed footer is than its bytes, roughly: a column chunk has some 100 bytes in the file, without
/// statistics, and some 430 when it is parsed.
const PARSED_FACTOR: u64 = 4;

/// A footer, and which version of the object it belongs to.
#[derive(Debug)]
pub struct Footer {
    /// Its room, see [`Seat::footer_room`]; `None` for an object that was admitted with it.
    _room: Option<FooterRoom>,
    /// The parsed footer.
    pub metadata: Arc<ParquetMetaData>,
    /// The version that was read.
    pub etag: Option<ETag>,
    /// The object's size in bytes.
    pub object_bytes: u64,
}

/// The largest footer that is read. Real ones have a few MiB at most; a damaged tail may claim anything.
const MAX_FOOTER_BYTES: u64 = 256 << 20;

/// How often an object is begun again that is replaced between two requests for its footer.
const MAX_RESTARTS: u32 = 3;

/// Where the memory for a footer comes from.
#[derive(Debug)]
pub enum Room<'a> {
    /// It is asked for. Who asks must hold no other footer, and nothing that it was admitted with.
    Asked(&'a mut Seat),
    /// It is part of what the object was admitted with.
    Admitted,
}

impl Room<'_> {
    /// No more of `suffix_bytes` than there may ever be room for.
    fn cut(&self, suffix_bytes: u64) -> u64 {
        match self {
            Self::Asked(seat) => suffix_bytes.min(seat.most_footer_bytes() / PARSED_FACTOR),
            Self::Admitted => suffix_bytes,
        }
    }

    async fn take(&mut self, footer_bytes: u64) -> Result<Option<FooterRoom>, Error> {
        match self {
            Self::Asked(seat) => Ok(Some(seat.footer_room(footer_bytes * PARSED_FACTOR).await?)),
            Self::Admitted => Ok(None),
        }
    }
}

fn shrink(room: &mut Option<FooterRoom>, metadata: &ParquetMetaData) {
    if let Some(room) = room {
        room.shrink_to(metadata.memory_size() as u64);
    }
}

/// Parses the footer of an object that is in memory and has `look` look at it, on the same thread: for a small object,
/// handing over to another thread costs more than the work itself.
///
/// # Errors
/// When it is no sound Parquet file, or larger than memory; those of `look`.
pub async fn of_bytes<T: Send + 'static>(
    bytes: &Bytes,
    mut room: Room<'_>,
    look: impl FnOnce(&Arc<ParquetMetaData>) -> Result<T, Error> + Send + 'static,
) -> Result<(Arc<ParquetMetaData>, Option<FooterRoom>, T), Error> {
    let footer_bytes = footer_bytes(bytes).min(bytes.len() as u64);
    let mut room = room.take(footer_bytes).await?;
    let object = bytes.clone();
    let parsed = super::cpu::run(move || match footer_from_suffix(&object, object.len() as u64)? {
        FooterStep::Ready(metadata) => {
            let seen = look(&metadata)?;
            Ok((metadata, seen))
        }
        FooterStep::NeedSuffix { bytes: needed } => {
            let text = format!("the footer should have {needed} bytes, the object has {}", object.len());
            Err(Error::from(ReadError::damaged(text)))
        }
    });
    let (metadata, seen) = parsed.await??;
    shrink(&mut room, &metadata);
    Ok((metadata, room, seen))
}

/// As [`fetch`], for the version that is there now, whatever it is: an object that is replaced meanwhile is begun again.
///
/// # Errors
/// As [`fetch`]; [`Error::NeverRests`].
pub async fn fetch_current(
    store: &Store,
    key: &str,
    object_bytes: u64,
    guess: &FooterGuess,
    budget: &RetryBudget,
    seat: &mut Seat,
) -> Result<Footer, Error> {
    for _ in 0..=MAX_RESTARTS {
        match fetch(store, key, object_bytes, None, guess, budget, Room::Asked(seat)).await {
            Err(Error::S3(error)) if error.kind == ErrorKind::Changed => {}
            other => return other,
        }
    }
    Err(Error::NeverRests { times: MAX_RESTARTS + 1 })
}

/// Fetches the last bytes of an object, once more if the footer is larger than guessed, and parses it. The footer keeps
/// its `room` as long as it lives.
///
/// # Errors
/// When S3 refuses, or it is no sound Parquet file, or larger than memory.
pub async fn fetch(
    store: &Store,
    key: &str,
    object_bytes: u64,
    etag: Option<&ETag>,
    guess: &FooterGuess,
    budget: &RetryBudget,
    mut from: Room<'_>,
) -> Result<Footer, Error> {
    let suffix_bytes = from.cut(guess.suffix_bytes(object_bytes));
    let mut room = from.take(suffix_bytes).await?;
    let suffix = ByteRange::Suffix { len: suffix_bytes };
    let mut fetched = store.get(key, suffix, etag, budget).await?;
    let object_bytes = fetched.object_bytes;
    let metadata = match parse(fetched.bytes.clone(), object_bytes).await? {
        FooterStep::Ready(metadata) => metadata,
        FooterStep::NeedSuffix { bytes: needed } if needed > MAX_FOOTER_BYTES => {
            return Err(ReadError::damaged(format!(
                "the footer claims {needed} bytes, more than the {MAX_FOOTER_BYTES} that a footer may have"
            ))
            .into());
        }
        FooterStep::NeedSuffix { bytes: needed } => {
            // Given back before more is asked for: who holds room never waits for room.
            drop(room);
            room = from.take(needed).await?;
            let held = fetched.bytes.len() as u64;
            let missing = object_bytes.saturating_sub(needed)..object_bytes.saturating_sub(held);
            // Only what is missing, of the same version.
            let mut whole = BytesMut::with_capacity(usize::try_from(needed.max(held)).unwrap_or(0));
            for part in coalesce(std::slice::from_ref(&missing)) {
                let range = ByteRange::Part { start: part.start, len: part.end - part.start };
                whole.extend_from_slice(&store.get(key, range, fetched.etag.as_ref(), budget).await?.bytes);
            }
            whole.extend_from_slice(&fetched.bytes);
            fetched.bytes = whole.freeze();
            match parse(fetched.bytes.clone(), object_bytes).await? {
                FooterStep::Ready(metadata) => metadata,
                FooterStep::NeedSuffix { .. } => {
                    return Err(ReadError::damaged("the footer's length changed while it was read").into());
                }
            }
        }
    };
    // Only a footer that was sound teaches something.
    guess.learn(footer_bytes(&fetched.bytes));
    shrink(&mut room, &metadata);
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
        assert_eq!(guess.suffix_bytes(8 << 20), FIRST_SUFFIX_BYTES);
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

    #[test]
    fn one_huge_footer_does_not_make_the_others_expensive() {
        let guess = FooterGuess::default();
        guess.learn(5 << 20);
        assert_eq!(guess.suffix_bytes(10 << 20), (10 << 20) / 128);
        assert_eq!(guess.suffix_bytes(4 << 20), (4 << 20) / 16);
    }
}
