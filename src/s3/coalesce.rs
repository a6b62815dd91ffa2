//! Which GETs bring a set of byte ranges. Pure.

use std::ops::Range;

/// Most bytes of one GET: large enough that the time to the first byte does not matter, small enough that several are in
/// flight and a broken one costs little.
pub const MAX_GET_BYTES: u64 = 16 << 20;
/// Ranges this close are fetched as one: a request costs more than these bytes.
const MAX_GAP_BYTES: u64 = 16 << 10;

/// Merges sorted ranges that touch or nearly touch into pieces of at most [`MAX_GET_BYTES`]; a longer range is cut into
/// equal parts. Where it can, a piece ends where a range ends, so that what was asked for lies in one piece.
#[must_use]
pub fn coalesce(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut pieces: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        let mut start = range.start;
        if let Some(last) = pieces.last_mut() {
            // What an earlier piece already covers is not fetched again.
            start = start.max(last.end);
            let near = range.start <= last.end.saturating_add(MAX_GAP_BYTES);
            if near && range.end.saturating_sub(last.start) <= MAX_GET_BYTES {
                last.end = last.end.max(range.end);
                continue;
            }
        }
        if start >= range.end {
            continue;
        }
        let parts = (range.end - start).div_ceil(MAX_GET_BYTES);
        let part_bytes = (range.end - start).div_ceil(parts);
        while start < range.end {
            let end = range.end.min(start + part_bytes);
            pieces.push(start..end);
            start = end;
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_are_one_get() {
        let pieces = coalesce(&[4..100, 100..200, 210..300]);
        assert_eq!(pieces, vec![4_u64..300]);
    }

    #[test]
    fn a_piece_ends_where_a_range_ends() {
        let mib = 1 << 20;
        assert_eq!(coalesce(&[0..10 * mib, 10 * mib..20 * mib]), [0..10 * mib, 10 * mib..20 * mib]);
    }

    #[test]
    fn a_long_range_is_cut_evenly() {
        let mib = 1 << 20;
        assert_eq!(coalesce(std::slice::from_ref(&(0..40 * mib))).len(), 3);
    }

    proptest! {
        #[test]
        fn every_byte_is_fetched_once(cuts in prop::collection::vec((0u64..40 << 20, 1u64..30 << 20), 1..20)) {
            let mut ranges: Vec<_> = cuts.into_iter().map(|(start, len)| start..start + len).collect();
            ranges.sort_by_key(|range| (range.start, range.end));
            let pieces = coalesce(&ranges);
            for pair in pieces.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            for piece in &pieces {
                prop_assert!(piece.end - piece.start <= MAX_GET_BYTES && piece.start < piece.end);
            }
            for range in &ranges {
                let mut covered = range.start;
                for piece in &pieces {
                    if piece.start <= covered && piece.end > covered {
                        covered = piece.end;
                    }
                }
                prop_assert!(covered >= range.end);
            }
        }
    }
}
