//! What every task of a sync needs, and the spec's choices in numbers.

use super::commit::Delivery;
use super::restore::{self, Descriptions};
use super::table::TableRun;
use crate::cast::origin::file_columns_row_bytes;
use crate::cloudquery::source::{SourceError, SyncSink, sync_channel};
use crate::config::{Concurrency, DEFAULT_CONCURRENCY, Spec, TableOptions};
use crate::formats::limits::BATCH_BYTES;
use crate::memory::Memory;
use crate::s3::Store;
use crate::tables::mapping::Mappings;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Objects at a time where the user set no limit: memory is the limit then, this only bounds idle tasks and sockets.
const MAX_CONCURRENCY: usize = 1_000;

/// Heads (and small objects that are kept) that the survey reads at a time with the default `concurrency` or more: S3 takes
/// tens of milliseconds for the first byte of each, and next to nothing for the rest. A few more than the requests that may be
/// in flight (`s3::pace`): while some heads are decoded, other requests wait in line already.
const HEADS_AT_A_TIME: usize = 256;

/// What conversions and the rescue column take of a row, roughly: a few values in another type or as JSON.
const CONVERTED_ROW_BYTES: u64 = 256;

/// And of a batch at most: as much JSON as it may have.
const CONVERTED_BATCH_BYTES: u64 = 2 * BATCH_BYTES;

/// What every task of a sync needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The bucket.
    pub store: Store,
    /// The budget.
    pub memory: Memory,
    /// Where messages go.
    pub sink: SyncSink,
    /// Most rows of a message.
    pub rows_per_record: NonZeroUsize,
    /// Objects that are sent at a time.
    pub concurrency: usize,
    /// Objects that the survey inspects at a time, see [`heads_at_a_time`].
    pub heads_at_a_time: usize,
    /// Which object belongs to which table, and what its key says.
    pub mappings: Arc<Mappings>,
    /// What is known of the sources of tables.
    pub(crate) descriptions: Arc<Descriptions>,
    /// What was sent last; only in incremental syncs.
    pub delivery: Option<Arc<Delivery>>,
}

impl Context {
    /// For who looks at objects and sends nothing.
    ///
    /// # Errors
    /// When a description of tables that the spec names cannot be read.
    pub async fn to_look(spec: &Spec, mappings: &Arc<Mappings>, store: Store) -> Result<Self, SourceError> {
        let (sink, _) = sync_channel(1);
        let concurrency = concurrency(spec);
        let descriptions = Arc::new(restore::descriptions(&store, spec.layout.all_options()).await?);
        Ok(Self {
            store,
            memory: Memory::new(spec.memory_limit_bytes),
            sink,
            rows_per_record: spec.rows_per_record,
            concurrency,
            heads_at_a_time: heads_at_a_time(concurrency),
            mappings: Arc::clone(mappings),
            descriptions,
            delivery: None,
        })
    }

    /// Memory that columns which no file has, and conversions of a merged table, take while an object with batches of
    /// `batch_rows` rows is decoded, in bytes.
    #[must_use]
    pub fn added_bytes(&self, options: &TableOptions, key: &str, batch_rows: u64) -> u64 {
        let of_file = file_columns_row_bytes(self.store.bucket(), key, options.file_columns);
        let of_row = of_file.saturating_add(self.mappings.row_bytes(key));
        // What is kept, and a batch and the one before.
        let added = batch_rows.saturating_mul(of_row).min(BATCH_BYTES).saturating_mul(2);
        let converted = if options.schema.merges() { CONVERTED_ROW_BYTES } else { 0 };
        added.saturating_add(batch_rows.saturating_mul(converted).min(CONVERTED_BATCH_BYTES))
    }

    /// Counts a sent message of `rows` rows and `bytes` encoded bytes.
    pub(super) fn sent(&self, table: &TableRun, rows: u64, bytes: u64) {
        table.sent(rows, bytes);
        if let Some(delivery) = &self.delivery {
            delivery.message(table, rows, bytes);
        }
    }

    /// An object needs more than the whole budget and was admitted alone.
    pub(super) fn warn_oversized(&self, key: &str, bytes: u64) {
        tracing::warn!(
            bucket = self.store.bucket(),
            key,
            bytes,
            memory_limit_bytes = self.memory.limit_bytes(),
            "a row group needs more memory than memory_limit; it is read alone, with nothing else in memory"
        );
    }
}

/// Objects at a time, as a number.
#[must_use]
pub fn concurrency(spec: &Spec) -> usize {
    match spec.concurrency {
        Concurrency::Limited(objects) => objects.get().min(MAX_CONCURRENCY),
        Concurrency::Unlimited => MAX_CONCURRENCY,
    }
}

/// Objects that the survey inspects at a time, given how many are sent at a time. Who lowers `concurrency` spares a server or
/// a network: below the default there are fewer in proportion, and with 1 the survey reads one object at a time, too.
#[must_use]
pub fn heads_at_a_time(concurrency: usize) -> usize {
    let (most, default) = (HEADS_AT_A_TIME - 1, DEFAULT_CONCURRENCY.get() - 1);
    1 + (concurrency.saturating_sub(1) * most / default).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_follow_concurrency_from_one_up_to_its_default() {
        let heads = [1, 2, 10, 49, 50, 51, MAX_CONCURRENCY].map(heads_at_a_time);
        assert_eq!(heads, [1, 6, 47, 250, 256, 256, 256]);
    }
}
