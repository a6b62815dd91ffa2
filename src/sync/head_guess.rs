//! How long the heads of a table's files are.

use super::need::SMALL_OBJECT_BYTES;
use crate::formats::format::Format;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects from this size on can spare [`Format::first_head_bytes`] for a first guess: it is a sixteenth of them.
const ROOMY_OBJECT_BYTES: u64 = 1 << 20;
/// Room added to the largest head seen, so that a slightly larger one still needs one request.
const GUESS_SLACK_BYTES: u64 = 1 << 10;
/// The largest head seen in a table: the files of a table have similar ones, so most need one request.
#[derive(Debug, Default)]
pub struct HeadGuess {
    largest_bytes: AtomicU64,
}

impl HeadGuess {
    /// How many of the first or last bytes of an object to ask for. What is read twice must stay in proportion: at most half
    /// of a small object (unless the table's heads are larger than that: then one request is worth more than bytes), a
    /// sixteenth of a medium one, a 128th of a large one.
    pub fn head_bytes(&self, format: Format, object_bytes: u64) -> u64 {
        let most = match object_bytes {
            0..ROOMY_OBJECT_BYTES => object_bytes / 2,
            ROOMY_OBJECT_BYTES..SMALL_OBJECT_BYTES => object_bytes / 16,
            _ => object_bytes / 128,
        };
        let guess = match self.largest_bytes.load(Ordering::Relaxed) {
            0 => format.first_head_bytes().min(most),
            seen if seen > most && object_bytes < ROOMY_OBJECT_BYTES => seen + GUESS_SLACK_BYTES,
            seen => (seen + GUESS_SLACK_BYTES).min(most),
        };
        guess.clamp(8, object_bytes.max(8))
    }

    /// The length of a head that was sound.
    pub fn learn(&self, head_bytes: u64) {
        self.largest_bytes.fetch_max(head_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::parquet::footer::FIRST_SUFFIX_BYTES as FIRST;

    #[test]
    fn a_first_guess_is_in_proportion() {
        let guess = HeadGuess::default();
        assert_eq!(guess.head_bytes(Format::Parquet, 10_000), 5_000);
        assert_eq!(guess.head_bytes(Format::Parquet, 1 << 20), FIRST);
        assert_eq!(guess.head_bytes(Format::Parquet, 8 << 20), FIRST);
        assert_eq!(guess.head_bytes(Format::Parquet, 1 << 40), FIRST);
        assert_eq!(guess.head_bytes(Format::Parquet, 3), 8);
    }

    #[test]
    fn later_guesses_follow_the_largest_head() {
        let guess = HeadGuess::default();
        guess.learn(2_000);
        guess.learn(1_000);
        assert_eq!(guess.head_bytes(Format::Parquet, 1 << 30), 2_000 + GUESS_SLACK_BYTES);
        assert_eq!(
            guess.head_bytes(Format::Parquet, 1_500),
            1_500,
            "more head than data: one request is worth more than bytes"
        );
        assert_eq!(guess.head_bytes(Format::Parquet, 4_200), 2_100, "the slack does not go beyond half");
    }

    #[test]
    fn one_huge_head_does_not_make_the_others_expensive() {
        let guess = HeadGuess::default();
        guess.learn(5 << 20);
        assert_eq!(guess.head_bytes(Format::Parquet, 10 << 20), (10 << 20) / 128);
        assert_eq!(guess.head_bytes(Format::Parquet, 4 << 20), (4 << 20) / 16);
    }
}
