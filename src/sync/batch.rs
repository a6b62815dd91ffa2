//! Cutting a decoded record batch into what one message may hold. Pure: it answers where to cut; slicing copies nothing.

use std::num::NonZeroUsize;

/// What a message aims at, encoded. Destinations batch at 4 to 5 MiB themselves, and each message costs the CLI one
/// decode and one encode on a single goroutine, so much smaller ones are slow and larger ones gain nothing.
pub const TARGET_MESSAGE_BYTES: usize = 4 << 20;
/// A single row larger than this is an error: SDKs drop messages above 100 MiB without a word, and the CLI adds columns
/// before it passes the message on.
pub const MAX_MESSAGE_BYTES: usize = 100 << 20;

/// A row that alone is too large for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {row} takes {bytes} bytes when encoded, more than the {MAX_MESSAGE_BYTES} bytes that a message may have")]
pub struct RowTooLarge {
    /// Number of the row in the object, from 0.
    pub row: u64,
    /// Its size, encoded.
    pub bytes: usize,
}

/// Cuts `rows` rows into consecutive slices (offset, length) of at most `most_rows` rows, and of at most
/// [`TARGET_MESSAGE_BYTES`] unless they are one row. `encoded_bytes` tells the size of a slice; `first_row` is the first
/// row's number in the object, for the error.
///
/// # Errors
/// [`RowTooLarge`], for a row above [`MAX_MESSAGE_BYTES`].
pub fn cut(
    rows: usize,
    first_row: u64,
    most_rows: NonZeroUsize,
    encoded_bytes: impl Fn(usize, usize) -> usize,
) -> Result<Vec<(usize, usize)>, RowTooLarge> {
    let mut slices = Vec::with_capacity(rows.div_ceil(most_rows.get()));
    let mut offset = 0;
    // What fitted last is the first guess for the next slice: rows of one table are of similar size.
    let mut guess = most_rows.get();
    while offset < rows {
        let most = most_rows.get().min(rows - offset);
        let mut len = guess.clamp(1, most);
        let mut bytes = encoded_bytes(offset, len);
        while bytes > TARGET_MESSAGE_BYTES && len > 1 {
            // In proportion, and at least by an eighth, so that it ends quickly.
            let fitting = (len as u128 * TARGET_MESSAGE_BYTES as u128 / bytes as u128) as usize;
            len = fitting.clamp(1, len - len.div_ceil(8));
            bytes = encoded_bytes(offset, len);
        }
        if bytes > MAX_MESSAGE_BYTES {
            return Err(RowTooLarge { row: first_row + offset as u64, bytes });
        }
        slices.push((offset, len));
        offset += len;
        guess = if bytes < TARGET_MESSAGE_BYTES / 2 { most_rows.get().min(len * 2) } else { len };
    }
    Ok(slices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn most(rows: usize) -> NonZeroUsize {
        NonZeroUsize::new(rows).unwrap()
    }

    #[test]
    fn small_rows_are_cut_by_count() {
        let slices = cut(1_200, 0, most(500), |_, len| len * 100).unwrap();
        assert_eq!(slices, [(0, 500), (500, 500), (1_000, 200)]);
    }

    #[test]
    fn a_row_above_the_limit_is_named() {
        let error =
            cut(
                10,
                1_000,
                most(500),
                |offset, len| {
                    if (offset..offset + len).contains(&7) { MAX_MESSAGE_BYTES + 1 } else { 10 }
                },
            );
        assert_eq!(error.unwrap_err().row, 1_007);
    }

    proptest! {
        #[test]
        fn slices_rejoin_and_keep_the_limits(
            sizes in prop::collection::vec(1usize..9_000_000, 1..60),
            rows in 1usize..20,
        ) {
            let bytes = |offset: usize, len: usize| sizes[offset..offset + len].iter().sum::<usize>();
            let slices = cut(sizes.len(), 0, most(rows), bytes).unwrap();
            let mut next = 0;
            for (offset, len) in slices {
                prop_assert_eq!(offset, next);
                prop_assert!(len >= 1 && len <= rows);
                prop_assert!(len == 1 || bytes(offset, len) <= TARGET_MESSAGE_BYTES);
                next += len;
            }
            prop_assert_eq!(next, sizes.len());
        }
    }
}
