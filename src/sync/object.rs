//! One object from its first byte to its last row.
//!
//! A small object is one step: one share of memory, one GET (none if the footer pass kept it), all row groups. A larger
//! one is a step for as many row groups as make one GET, at least one: while a step is decoded and sent, the next is
//! fetched, no more. A step's share covers fetched bytes, decoding and messages, see [`super::memory`].
//!
//! Every GET names the ETag. When the object was replaced meanwhile (412), what was decoded is forgotten and the object
//! is read again from its footer on, under the new ETag. Rows of the old version that had already been sent are sent
//! again as the new version has them, with the same `_cq_id`, which a warning says; if the new version has fewer rows
//! than were sent, the object is in error instead, since nothing would replace the surplus: versions are never mixed in
//! silence. An object that was deleted meanwhile gets a warning, which says how many of its rows were sent: there is
//! nothing left that another try could read.

use super::footer::{self, SMALL_OBJECT_BYTES};
use super::memory::{MessagePool, Reserved, Share};
use super::ranges::{MAX_GET_BYTES, coalesce};
use super::table::TableRun;
use super::{Context, Error, batch, cpu};
use crate::cloudquery::source::Message;
use crate::decode::ranges::{RangeBytes, row_group_ranges, working_set_bytes};
use crate::decode::reader::{ObjectPlan, RowGroupDecoder};
use crate::s3::{ByteRange, ETag, ErrorKind, RetryBudget};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::file::metadata::ParquetMetaData;
use std::ops::Range;
use std::sync::Arc;

/// How often an object that is replaced while it is read is begun again.
const MAX_RESTARTS: u32 = 3;
/// Range reads of one step at a time: enough to fill a connection's latency, few enough that fifty objects at a time do
/// not open hundreds of connections each.
const GETS_IN_FLIGHT: usize = 4;
/// What the messages of a step may take: the one that is sent and the one behind it.
const MESSAGE_POOL_BYTES: u64 = 2 * batch::TARGET_ROWS_BYTES as u64;
/// Least pool of a step, for objects that decode to next to nothing: a schema and some padding.
const MIN_MESSAGE_POOL_BYTES: u64 = 64 << 10;

/// An object to send, and what is known of it.
#[derive(Debug)]
pub struct Task {
    /// Its place in [`TableRun::objects`].
    pub index: usize,
    /// The whole key.
    pub key: String,
    /// Size in bytes, as listed or as read since.
    pub object_bytes: u64,
    /// The version to read, if known.
    pub etag: Option<ETag>,
    /// The first row to send, from 0: those before it were sent by an earlier sync.
    pub first_row: u64,
    /// Memory for decoding its largest row group, in bytes, from its footer.
    pub working_bytes: u64,
    /// The whole object, kept by the footer pass.
    pub kept: Option<Kept>,
}

/// A small object in memory, with its part of the reserve.
#[derive(Debug)]
pub struct Kept {
    /// All bytes.
    pub bytes: Bytes,
    /// Holds them.
    pub share: Reserved,
}

/// What became of an object that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All rows were sent.
    Sent {
        /// The version that was read.
        etag: Option<ETag>,
    },
    /// It was deleted since the listing.
    Gone {
        /// Rows of it that had been sent before.
        sent: u64,
    },
}

/// What a step's messages need, given what decoding takes; with a small budget no more than an eighth of it.
#[must_use]
pub fn message_pool_bytes(working_bytes: u64, limit_bytes: u64) -> u64 {
    let most = MESSAGE_POOL_BYTES.min(limit_bytes / 8).max(MIN_MESSAGE_POOL_BYTES);
    working_bytes.clamp(MIN_MESSAGE_POOL_BYTES, most)
}

/// Sends all rows of an object. `begun` is called once its share of memory is there.
///
/// # Errors
/// What keeps the object from being sent; the caller says where. [`Error::Disconnected`] when the peer has gone.
pub async fn send(cx: &Context, table: &TableRun, mut task: Task, begun: impl FnOnce()) -> Result<Outcome, Error> {
    // Rows of the object that were sent, of whatever version.
    let mut sent = 0;
    let mut begun = Some(begun);
    let mut restarts = 0;
    loop {
        let kept = task.kept.take();
        let result = if task.object_bytes <= SMALL_OBJECT_BYTES {
            send_small(cx, table, &task, kept, &mut begun, &mut sent).await
        } else {
            if let Some(begun) = begun.take() {
                begun();
            }
            send_large(cx, table, &task, &mut sent).await
        };
        let error = match result {
            Ok(()) => {
                tracing::debug!(table = table.name, key = task.key, rows = sent, "object was sent");
                return Ok(Outcome::Sent { etag: task.etag });
            }
            Err(error) => error,
        };
        match &error {
            Error::S3(cause) if cause.kind == ErrorKind::Gone => return Ok(Outcome::Gone { sent }),
            Error::S3(cause) if cause.kind == ErrorKind::Changed && restarts < MAX_RESTARTS => {}
            Error::S3(cause) if cause.kind == ErrorKind::Changed => {
                return Err(Error::NeverRests { times: restarts + 1 });
            }
            _ => {
                // Of one that was replaced, rows of several versions were sent.
                if restarts == 0 {
                    table.objects.sent_partly(task.index, task.etag, sent.max(task.first_row));
                }
                return Err(error);
            }
        }
        restarts += 1;
        task.first_row = 0;
        table.objects.forget_rows_sent(task.index);
        let budget = RetryBudget::default();
        let guess = &table.objects.footers;
        let footer = match footer::fetch_current(&cx.store, &task.key, u64::MAX, guess, &budget, &cx.memory).await {
            Err(Error::S3(error)) if error.kind == ErrorKind::Gone => return Ok(Outcome::Gone { sent }),
            other => other?,
        };
        let rows = rows(&footer.metadata);
        if rows < sent {
            return Err(Error::ReplacedByFewerRows { sent, rows });
        }
        if sent > 0 {
            tracing::warn!(
                table = table.name,
                bucket = cx.store.bucket(),
                key = task.key,
                rows_sent_again = sent,
                "object was replaced while it was read: rows of the old version were sent before, they are sent again \
                 as the new version has them"
            );
        }
        task.working_bytes = working_bytes(&footer.metadata) + cx.rows.working_bytes(&task.key, &footer.metadata);
        task.object_bytes = footer.object_bytes;
        task.etag = footer.etag;
    }
}

/// Rows of an object, by its footer.
#[must_use]
pub fn rows(metadata: &ParquetMetaData) -> u64 {
    (0..metadata.num_row_groups()).map(|group| group_rows(metadata, group)).sum()
}

/// Rows of a row group, by the footer.
fn group_rows(metadata: &ParquetMetaData, row_group: usize) -> u64 {
    u64::try_from(metadata.row_group(row_group).num_rows()).unwrap_or(0)
}

/// The first row group that has rows from `row` on, and the rows before it. Empty ones in front of it are passed over.
fn group_of_row(metadata: &ParquetMetaData, row: u64) -> (usize, u64) {
    let mut before = 0;
    for group in 0..metadata.num_row_groups() {
        let rows = group_rows(metadata, group);
        if row == 0 || before + rows > row {
            return (group, before);
        }
        before += rows;
    }
    (metadata.num_row_groups(), before)
}

/// Memory to decode the row group that needs most, besides its bytes, the parsed footer included. What the spec's options
/// add is [`super::RowOptions::working_bytes`].
#[must_use]
pub fn working_bytes(metadata: &ParquetMetaData) -> u64 {
    let decoding = (0..metadata.num_row_groups()).map(|group| working_set_bytes(metadata, group)).max().unwrap_or(0);
    decoding.saturating_add(metadata.memory_size() as u64)
}

async fn send_small(
    cx: &Context,
    table: &TableRun,
    task: &Task,
    kept: Option<Kept>,
    begun: &mut Option<impl FnOnce()>,
    sent: &mut u64,
) -> Result<(), Error> {
    let pool_bytes = message_pool_bytes(task.working_bytes, cx.memory.limit_bytes());
    let needed = task.working_bytes.saturating_add(pool_bytes);
    let (kept, share) = match kept {
        Some(kept) => (Some(kept), cx.memory.take_beside_reserve(needed).await),
        None => (None, cx.memory.take(needed.saturating_add(task.object_bytes)).await),
    };
    if share.oversized {
        cx.warn_oversized(&task.key, needed.saturating_add(task.object_bytes));
    }
    if let Some(begun) = begun.take() {
        begun();
    }
    let (mut share, pool) = share.with_messages(pool_bytes);
    let (bytes, _reserved) = match kept {
        Some(kept) => (kept.bytes, Some(kept.share)),
        None => {
            let range = ByteRange::Whole { most: task.object_bytes };
            (cx.store.get(&task.key, range, task.etag.as_ref(), &RetryBudget::default()).await?.bytes, None)
        }
    };
    share.arrived(task.object_bytes);
    // Its room is in the share already, as part of the working memory.
    let (metadata, room) = footer::of_bytes(&bytes, &cx.memory).await?;
    drop(room);
    let plan = plan(cx, table, task, &metadata).await?;
    let input = RangeBytes::whole(bytes);
    let mut first_row = 0;
    for row_group in 0..metadata.num_row_groups() {
        let rows = group_rows(&metadata, row_group);
        if first_row + rows > task.first_row {
            send_row_group(cx, table, task, &plan, row_group, input.clone(), first_row, &pool, sent).await?;
        }
        first_row += rows;
        share.filled();
    }
    Ok(())
}

/// Row groups that are fetched together, and what they need.
#[derive(Debug)]
struct Step {
    row_groups: Range<usize>,
    /// The GETs.
    pieces: Vec<Range<u64>>,
    working_bytes: u64,
}

/// The next step from `row_group` on: as many row groups as have `most_bytes`, at least one.
fn step(metadata: &ParquetMetaData, row_group: usize, most_bytes: u64) -> Result<Step, Error> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let (mut end, mut bytes, mut working_bytes) = (row_group, 0, 0);
    while end < metadata.num_row_groups() {
        let group = row_group_ranges(metadata, end)?;
        let group_bytes: u64 = group.iter().map(|range| range.end - range.start).sum();
        if end > row_group && bytes + group_bytes > most_bytes {
            break;
        }
        bytes += group_bytes;
        ranges.extend(group);
        working_bytes = working_set_bytes(metadata, end).max(working_bytes);
        end += 1;
    }
    ranges.sort_by_key(|range| (range.start, range.end));
    Ok(Step { row_groups: row_group..end, pieces: coalesce(&ranges), working_bytes })
}

/// A step's bytes and the memory that holds them.
struct FetchedStep {
    row_groups: Range<usize>,
    bytes: RangeBytes,
    input: Share,
    pool: MessagePool,
}

async fn send_large(cx: &Context, table: &TableRun, task: &Task, sent: &mut u64) -> Result<(), Error> {
    let budget = Arc::new(RetryBudget::default());
    let guess = &table.objects.footers;
    // Held until the object is done, and with it its room.
    let footer =
        footer::fetch(&cx.store, &task.key, task.object_bytes, task.etag.as_ref(), guess, &budget, &cx.memory).await?;
    let plan = plan(cx, table, task, &footer.metadata).await?;
    let (first_group, mut first_row) = group_of_row(&footer.metadata, task.first_row);

    // One step ahead: the fetcher takes a place before it asks for memory.
    let (places, mut fetched) = tokio::sync::mpsc::channel::<FetchedStep>(1);
    let fetcher = {
        let (cx, key) = (cx.clone(), task.key.clone());
        let (metadata, etag) = (Arc::clone(&footer.metadata), footer.etag.clone());
        async move {
            // What one GET can bring, with a small budget no more than an eighth of it.
            let most_bytes = MAX_GET_BYTES.min(cx.memory.limit_bytes() / 8);
            let (mut next, mut warned) = (first_group, false);
            while next < metadata.num_row_groups() {
                let Ok(place) = places.reserve().await else { return Ok(()) };
                let mut step = step(&metadata, next, most_bytes)?;
                step.working_bytes += cx.rows.working_bytes(&key, &metadata);
                next = step.row_groups.end;
                place.send(fetch_step(&cx, &key, etag.as_ref(), step, &budget, &mut warned).await?);
            }
            Ok::<_, Error>(())
        }
    };
    let fetcher = super::AbortOnDrop(tokio::spawn(fetcher));
    while let Some(FetchedStep { row_groups, bytes, mut input, pool }) = fetched.recv().await {
        for row_group in row_groups {
            let rows = group_rows(&footer.metadata, row_group);
            send_row_group(cx, table, task, &plan, row_group, bytes.clone(), first_row, &pool, sent).await?;
            first_row += rows;
            input.filled();
        }
        drop(bytes);
        drop(input);
    }
    fetcher.join().await?
}

async fn plan(
    cx: &Context,
    table: &TableRun,
    task: &Task,
    metadata: &Arc<ParquetMetaData>,
) -> Result<Arc<ObjectPlan>, Error> {
    let last_modified_s = table.objects.get(task.index).map_or(0, |(_, object)| object.last_modified_s);
    let origin = cx.rows.origin(cx.store.bucket(), &task.key, last_modified_s);
    let (metadata, schema, output, counts) =
        (Arc::clone(metadata), Arc::clone(&table.schema), Arc::clone(table.encoder.schema()), Arc::clone(&table.casts));
    let plan = cpu::run(move || ObjectPlan::new(metadata, &schema, output, origin, counts)).await??;
    Ok(Arc::new(plan))
}

async fn fetch_step(
    cx: &Context,
    key: &str,
    etag: Option<&ETag>,
    step: Step,
    budget: &RetryBudget,
    warned: &mut bool,
) -> Result<FetchedStep, Error> {
    let bytes: u64 = step.pieces.iter().map(|piece| piece.end - piece.start).sum();
    let pool_bytes = message_pool_bytes(step.working_bytes, cx.memory.limit_bytes());
    let needed = bytes.saturating_add(step.working_bytes).saturating_add(pool_bytes);
    let share = cx.memory.take(needed).await;
    if share.oversized && !std::mem::replace(warned, true) {
        cx.warn_oversized(key, needed);
    }
    let (mut input, pool) = share.with_messages(pool_bytes);
    let pieces: Vec<(u64, Bytes)> = futures::stream::iter(step.pieces)
        .map(|piece| async move {
            let part = ByteRange::Part { start: piece.start, len: piece.end - piece.start };
            let fetched = cx.store.get(key, part, etag, budget).await?;
            Ok::<_, Error>((fetched.start, fetched.bytes))
        })
        .buffer_unordered(GETS_IN_FLIGHT)
        .try_collect()
        .await?;
    input.arrived(bytes);
    Ok(FetchedStep { row_groups: step.row_groups, bytes: RangeBytes::new(pieces)?, input, pool })
}

/// Decodes, cuts, encodes and sends one row group, but rows before the task's first one. `first_row` is the group's.
#[expect(clippy::too_many_arguments, reason = "the state of one object's walk, passed down once")]
async fn send_row_group(
    cx: &Context,
    table: &TableRun,
    task: &Task,
    plan: &Arc<ObjectPlan>,
    row_group: usize,
    bytes: RangeBytes,
    first_row: u64,
    pool: &MessagePool,
    sent: &mut u64,
) -> Result<(), Error> {
    let open = Arc::clone(plan);
    let mut decoder = cpu::run(move || RowGroupDecoder::open(open, row_group, bytes, first_row)).await??;
    let mut rows = 0;
    loop {
        let (encoder, most_rows) = (Arc::clone(&table.encoder), cx.rows_per_record);
        let batch_row = first_row + rows;
        let skipped_rows = task.first_row.saturating_sub(batch_row);
        let (back, step) = cpu::run(move || {
            let step = decode_step(&mut decoder, &encoder, most_rows, batch_row, skipped_rows);
            (decoder, step)
        })
        .await?;
        decoder = back;
        let Some((messages, batch_rows)) = step? else { return Ok(()) };
        for (record, message_rows) in messages {
            let message_bytes = record.len() as u64;
            let grant = pool.grant(message_bytes).await;
            cx.sink.send(Message::Insert { record, grant }).await.map_err(|_| Error::Disconnected)?;
            *sent = (*sent).max(batch_row + message_rows.end);
            table.sent(message_rows.end - message_rows.start, message_bytes);
        }
        rows += batch_rows;
    }
}

type Decoded = Option<(Vec<(Bytes, Range<u64>)>, u64)>;

/// One decoded batch as messages, each with its rows (counted inside the batch); without its first `skipped_rows`.
fn decode_step(
    decoder: &mut RowGroupDecoder,
    encoder: &crate::cloudquery::ipc::BatchEncoder,
    most_rows: std::num::NonZeroUsize,
    first_row: u64,
    skipped_rows: u64,
) -> Result<Decoded, Error> {
    let Some(batch) = decoder.next_batch()? else { return Ok(None) };
    let batch_rows = batch.num_rows() as u64;
    let skipped = usize::try_from(skipped_rows).unwrap_or(usize::MAX).min(batch.num_rows());
    if skipped == batch.num_rows() {
        return Ok(Some((Vec::new(), batch_rows)));
    }
    let decoded = batch.slice(skipped, batch.num_rows() - skipped);
    let size = |offset, len| encoder.encoded_size_bytes(&decoded.slice(offset, len));
    let slices = batch::cut(decoded.num_rows(), first_row, most_rows, encoder.schema_bytes(), size)?;
    let messages = slices
        .into_iter()
        .map(|(offset, len)| {
            let record = encoder.encode(&decoded.slice(offset, len))?;
            Ok((record, (skipped + offset) as u64..(skipped + offset + len) as u64))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Some((messages, batch_rows)))
}
