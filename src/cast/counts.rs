//! What casts had to change.

use std::sync::atomic::{AtomicU64, Ordering};

/// What casting had to change, counted over all objects of a table: one warning a table is made of it.
#[derive(Debug, Default)]
pub struct CastCounts {
    /// Timestamps that became null: outside 4713 BC to 294276 AD, or inside JSON outside the years 0 to 9999.
    pub timestamps_out_of_range: AtomicU64,
    /// Dates that became null: outside 4713 BC to 5874897 AD, or inside JSON outside the years 0 to 9999.
    pub dates_out_of_range: AtomicU64,
    /// Times of day that became null: negative or after 24:00.
    pub times_out_of_range: AtomicU64,
    /// Decimals that became null: more digits than the column declares (`|unscaled value| ≥ 10^precision`).
    pub decimals_out_of_range: AtomicU64,
    /// NaN and ±∞ inside JSON that became null.
    pub floats_not_finite: AtomicU64,
    /// Values of Parquet's JSON type that are not JSON and became JSON strings.
    pub json_invalid: AtomicU64,
    /// Values of Parquet's JSON type that became JSON strings because destinations refuse them.
    pub json_beyond_limits: AtomicU64,
}

impl CastCounts {
    fn named(&self) -> [(&'static str, &AtomicU64); 7] {
        [
            ("timestamps out of range became null", &self.timestamps_out_of_range),
            ("dates out of range became null", &self.dates_out_of_range),
            ("times of day out of range became null", &self.times_out_of_range),
            ("decimals with more digits than declared became null", &self.decimals_out_of_range),
            ("NaN or infinite numbers inside JSON became null", &self.floats_not_finite),
            ("invalid JSON texts became JSON strings", &self.json_invalid),
            (
                "JSON texts with more than 1,000 levels or too large numbers became JSON strings",
                &self.json_beyond_limits,
            ),
        ]
    }

    /// One line that says what was changed and how often, or `None` when nothing was.
    pub fn summary(&self) -> Option<String> {
        let parts: Vec<String> = self
            .named()
            .into_iter()
            .filter_map(|(what, count)| {
                let count = count.load(Ordering::Relaxed);
                (count > 0).then(|| format!("{count} {what}"))
            })
            .collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Adds what `other` counted. Batches count in a value of their own, which is added when the batch is complete:
    /// a batch that is decoded a second time with fewer rows must not count twice.
    pub(crate) fn add(&self, other: &Self) {
        for ((_, mine), (_, theirs)) in self.named().into_iter().zip(other.named()) {
            let count = theirs.load(Ordering::Relaxed);
            if count > 0 {
                mine.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// Adds to a counter; statistics need no ordering.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
