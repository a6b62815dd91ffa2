//! Cutting a decoded record batch into what one message may hold. Pure: it answers where to cut; slicing copies nothing.

use std::num::NonZeroUsize;

/// What the rows of a message aim at, encoded. Destinations batch at 4 to 5 MiB themselves, and each message costs the
/// CLI one decode and one encode on a single goroutine, so much smaller ones are slow and larger ones gain nothing.
///
/// The schema, which every message repeats, comes on top: counted in, it would leave a table of ten thousand columns
/// no room for more than a row, and most of what is sent would be schema.
pub const TARGET_ROWS_BYTES: usize = 4 << 20;
/// A single row that makes a message larger than this is an error: SDKs drop messages above 100 MiB silently, and the
/// CLI adds columns before it passes the message on.
pub const MAX_MESSAGE_BYTES: usize = crate::formats::limits::MAX_VALUE_BYTES as usize;

/// A row that alone is too large for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("row {row} takes {bytes} bytes when encoded, more than the {MAX_MESSAGE_BYTES} bytes that a message may have")]
pub struct RowTooLarge {
    /// Number of the row in the object, from 0.
    pub row: u64,
    /// The size of its message: the row and the schema, encoded.
    pub bytes: usize,
}

/// Cuts `rows` rows into consecutive slices (offset, length) of at most `most_rows` rows, and of at most
/// [`TARGET_ROWS_BYTES`] beside the schema unless they are one row. `message_bytes` tells the size of a slice's message,
/// `schema_bytes` of which are the schema; `number` tells the number of a row in the object, for the error.
///
/// # Errors
/// [`RowTooLarge`], for a row whose message is above [`MAX_MESSAGE_BYTES`].
pub fn cut(
    rows: usize,
    number: impl Fn(usize) -> u64,
    most_rows: NonZeroUsize,
    schema_bytes: usize,
    message_bytes: impl Fn(usize, usize) -> usize,
) -> Result<Vec<(usize, usize)>, RowTooLarge> {
    let rows_bytes = |offset, len| message_bytes(offset, len).saturating_sub(schema_bytes);
    // However large the schema, a message of more than one row stays below what one may have.
    let target = TARGET_ROWS_BYTES.min(MAX_MESSAGE_BYTES.saturating_sub(schema_bytes));
    let mut slices = Vec::with_capacity(rows.div_ceil(most_rows.get()));
    let mut offset = 0;
    // What fitted last is the first guess for the next slice: rows of one table are of similar size.
    let mut guess = most_rows.get();
    while offset < rows {
        let most = most_rows.get().min(rows - offset);
        let mut len = guess.clamp(1, most);
        let mut bytes = rows_bytes(offset, len);
        while bytes > target && len > 1 {
            // In proportion, and at least by an eighth, so that it ends quickly.
            let fitting = (len as u128 * target as u128 / bytes as u128) as usize;
            len = fitting.clamp(1, len - len.div_ceil(8));
            bytes = rows_bytes(offset, len);
        }
        if bytes.saturating_add(schema_bytes) > MAX_MESSAGE_BYTES {
            return Err(RowTooLarge { row: number(offset), bytes: bytes + schema_bytes });
        }
        slices.push((offset, len));
        offset += len;
        guess = if bytes < target / 2 { most_rows.get().min(len * 2) } else { len };
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

    fn from(first: u64) -> impl Fn(usize) -> u64 {
        move |row| first + row as u64
    }

    #[test]
    fn small_rows_are_cut_by_count() {
        let slices = cut(1_200, from(0), most(500), 50, |_, len| 50 + len * 100).unwrap();
        assert_eq!(slices, [(0, 500), (500, 500), (1_000, 200)]);
    }

    #[test]
    fn a_row_above_the_limit_is_named() {
        let error = cut(10, from(1_000), most(500), 1_000, |offset, len| {
            if (offset..offset + len).contains(&7) { MAX_MESSAGE_BYTES + 1 } else { 1_010 }
        });
        assert_eq!(error.unwrap_err().row, 1_007);
    }

    #[test]
    fn a_large_schema_does_not_eat_the_rows() {
        const SCHEMA_BYTES: usize = 6 << 20;
        const ROW_BYTES: usize = 50_000;
        let slices = cut(200, from(0), most(500), SCHEMA_BYTES, |_, len| SCHEMA_BYTES + len * ROW_BYTES).unwrap();
        assert!(slices.len() <= 200usize.div_ceil(TARGET_ROWS_BYTES / ROW_BYTES) + 1, "{slices:?}");
        let whole = cut(1, from(7), most(500), MAX_MESSAGE_BYTES, |_, len| MAX_MESSAGE_BYTES + len);
        assert_eq!(whole, Err(RowTooLarge { row: 7, bytes: MAX_MESSAGE_BYTES + 1 }));
    }

    proptest! {
        #[test]
        fn slices_rejoin_and_keep_the_limits(
            sizes in prop::collection::vec(1usize..9_000_000, 1..60),
            rows in 1usize..20,
            schema in 0usize..9_000_000,
        ) {
            let bytes = |offset: usize, len: usize| sizes[offset..offset + len].iter().sum::<usize>();
            let slices = cut(sizes.len(), from(0), most(rows), schema, |offset, len| schema + bytes(offset, len)).unwrap();
            let mut next = 0;
            for (offset, len) in slices {
                prop_assert_eq!(offset, next);
                prop_assert!(len >= 1 && len <= rows);
                prop_assert!(len == 1 || bytes(offset, len) <= TARGET_ROWS_BYTES);
                next += len;
            }
            prop_assert_eq!(next, sizes.len());
        }
    }
}
