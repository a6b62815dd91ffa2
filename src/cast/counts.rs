//! What casts had to change.

use crate::words::count_as;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Columns that a summary names.
const MAX_NAMED: usize = 10;

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
    /// Halves of surrogate pairs in strings of JSON that became U+FFFD.
    pub surrogates_replaced: AtomicU64,
    /// Bytes of texts that are no character and became U+FFFD.
    pub characters_replaced: AtomicU64,
    /// Records of CSV whose missing fields became null.
    pub short_rows: AtomicU64,
    /// Values that their columns cannot hold and that the rescue column has.
    pub rescued: ByColumn,
    /// Values that their columns cannot hold and that became null.
    pub mismatched: ByColumn,
}

/// Values, counted by the names of their columns in the files. Held for adding one number.
#[derive(Debug, Default)]
pub struct ByColumn(Mutex<BTreeMap<String, u64>>);

impl ByColumn {
    /// Counts `n` values of the column `name`.
    pub(crate) fn count(&self, name: &str, n: u64) {
        if n == 0 {
            return;
        }
        let mut columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match columns.get_mut(name) {
            Some(count) => *count += n,
            None => {
                columns.insert(name.to_owned(), n);
            }
        }
    }

    /// How many, what became of one or of several, and of which columns they are, the most frequent first; `None` of none.
    fn summary(&self, fate: [&str; 2]) -> Option<String> {
        let columns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if columns.is_empty() {
            return None;
        }
        let mut counts: Vec<(&String, &u64)> = columns.iter().collect();
        counts.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let named: Vec<String> =
            counts.iter().take(MAX_NAMED).map(|(name, count)| format!("{name:?}: {count}")).collect();
        let more = if counts.len() > MAX_NAMED { ", …" } else { "" };
        let total: u64 = columns.values().sum();
        let values = count_as(total, "value that its column cannot hold", "values that their columns cannot hold");
        let fate = fate[usize::from(total != 1)];
        Some(format!("{values} {fate} ({}{more})", named.join(", ")))
    }

    fn add(&self, other: &Self) {
        let columns = other.0.lock().unwrap_or_else(PoisonError::into_inner);
        columns.iter().for_each(|(name, count)| self.count(name, *count));
    }
}

impl CastCounts {
    fn named(&self) -> [(&'static str, &AtomicU64); 10] {
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
            ("bytes that are no characters became U+FFFD", &self.characters_replaced),
            ("records of CSV lacked fields, which became null", &self.short_rows),
            ("halves of surrogate pairs in JSON strings became U+FFFD", &self.surrogates_replaced),
        ]
    }

    /// One line that says what was changed and how often, or `None` when nothing was.
    pub fn summary(&self) -> Option<String> {
        let mut parts: Vec<String> = self
            .named()
            .into_iter()
            .filter_map(|(what, count)| {
                let count = count.load(Ordering::Relaxed);
                (count > 0).then(|| format!("{what}: {count}"))
            })
            .collect();
        parts.extend(self.rescued.summary(["is in the rescue column", "are in the rescue column"]));
        parts.extend(self.mismatched.summary(["became null"; 2]));
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
        self.rescued.add(&other.rescued);
        self.mismatched.add(&other.mismatched);
    }
}

/// Adds to a counter; statistics need no ordering.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    if n > 0 {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
