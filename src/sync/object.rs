//! One object from its first byte to its last row.
//!
//! A small object is one step: one grant, one GET (none if the footer pass kept it), all row groups. A larger one is a
//! step for each row group: while one is decoded and sent, the next is fetched, no more. A step's grant covers fetched
//! bytes, decoding and messages, see [`super::memory`].
//!
//! Every GET names the ETag. When the object was replaced meanwhile (412), what was decoded is forgotten and the object
//! is read again from its footer on, under the new ETag. Rows that had already been sent are overwritten by position,
//! as their `_cq_id` is the same; if the new version has fewer rows than were sent, the object is in error instead,
//! since nothing would remove the surplus: versions are never mixed in silence.

use super::footer::{self, Footer, SMALL_OBJECT_BYTES};
use super::memory::Share;
use super::ranges::coalesce;
use super::table::TableRun;
use super::{Context, Error, batch, cpu};
use crate::cloudquery::source::Message;
use crate::decode::ids::ObjectId;
use crate::decode::ranges::{RangeBytes, row_group_ranges, working_set_bytes};
use crate::decode::reader::{ObjectPlan, RowGroupDecoder};
use crate::s3::{ByteRange, ETag, ErrorKind, RetryBudget};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often an object that is replaced while it is read is begun again.
const MAX_RESTARTS: u32 = 3;
/// Range reads of one row group at a time: enough to fill a connection's latency, few enough that fifty objects at a
/// time do not open hundreds of connections each.
const GETS_IN_FLIGHT: usize = 4;

/// An object to send, and what is known of it.
#[derive(Debug)]
pub struct Task {
    /// The whole key.
    pub key: String,
    /// Size in bytes, as listed or as read since.
    pub object_bytes: u64,
    /// The version to read, if known.
    pub etag: Option<ETag>,
    /// Memory for decoding its largest row group, in bytes, from its footer.
    pub working_bytes: u64,
    /// The whole object, kept by the footer pass.
    pub kept: Option<Kept>,
}

/// A small object in memory, with its share of the reserve.
#[derive(Debug)]
pub struct Kept {
    /// All bytes.
    pub bytes: Bytes,
    /// Holds them.
    pub share: Share,
}

/// What became of an object that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All rows were sent.
    Sent {
        /// How many.
        rows: u64,
    },
    /// It was deleted since the listing.
    Gone,
}

/// Sends all rows of an object. `begun` is called once its grant is there.
///
/// # Errors
/// What keeps the object from being sent; the caller says where. [`Error::Disconnected`] when the peer has gone.
pub async fn send(cx: &Context, table: &TableRun, mut task: Task, begun: impl FnOnce()) -> Result<Outcome, Error> {
    let sent = AtomicU64::new(0);
    let mut begun = Some(begun);
    let mut restarts = 0;
    loop {
        let kept = task.kept.take();
        let result = if task.object_bytes <= SMALL_OBJECT_BYTES {
            send_small(cx, table, &task, kept, &mut begun, &sent).await
        } else {
            if let Some(begun) = begun.take() {
                begun();
            }
            send_large(cx, table, &task, &sent).await
        };
        match result {
            Err(Error::S3(error)) if error.kind == ErrorKind::Changed && restarts < MAX_RESTARTS => {
                restarts += 1;
                tracing::debug!(table = table.name, key = task.key, restarts, "object was replaced while it was read");
                let budget = RetryBudget::default();
                match current_version(cx, table, &task.key, &budget).await {
                    Ok(footer) => {
                        let rows: u64 = rows(&footer.metadata);
                        let already = sent.load(Ordering::Relaxed);
                        if rows < already {
                            return Err(Error::ReplacedByFewerRows { sent: already, rows });
                        }
                        task.working_bytes = largest_working_set(&footer.metadata);
                        task.object_bytes = footer.object_bytes;
                        task.etag = footer.etag;
                    }
                    Err(Error::S3(error)) if error.kind == ErrorKind::Gone => return Ok(Outcome::Gone),
                    Err(error) => return Err(error),
                }
            }
            Err(Error::S3(error)) if error.kind == ErrorKind::Gone && sent.load(Ordering::Relaxed) == 0 => {
                return Ok(Outcome::Gone);
            }
            other => return other.map(|rows| Outcome::Sent { rows }),
        }
    }
}

async fn current_version(cx: &Context, table: &TableRun, key: &str, budget: &RetryBudget) -> Result<Footer, Error> {
    footer::fetch(&cx.store, key, u64::MAX, None, &table.footers, budget, &cx.memory).await
}

fn rows(metadata: &ParquetMetaData) -> u64 {
    metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0)).sum()
}

/// Memory to decode the row group that needs most.
pub fn largest_working_set(metadata: &ParquetMetaData) -> u64 {
    (0..metadata.num_row_groups()).map(|group| working_set_bytes(metadata, group)).max().unwrap_or(0)
}

async fn send_small(
    cx: &Context,
    table: &TableRun,
    task: &Task,
    kept: Option<Kept>,
    begun: &mut Option<impl FnOnce()>,
    sent: &AtomicU64,
) -> Result<u64, Error> {
    let (bytes, mut share) = match kept {
        Some(kept) => {
            let mut share = cx.memory.take_beside_reserve(task.working_bytes).await;
            share.merge(kept.share);
            (kept.bytes, share)
        }
        None => {
            let needed = task.object_bytes + task.working_bytes;
            let share = cx.memory.take(needed).await;
            if share.oversized {
                cx.warn_oversized(&task.key, needed);
            }
            let budget = RetryBudget::default();
            let range = ByteRange::Whole { most: task.object_bytes };
            let whole = cx.store.get(&task.key, range, task.etag.as_ref(), &budget).await?;
            (whole.bytes, share)
        }
    };
    if let Some(begun) = begun.take() {
        begun();
    }
    let metadata = footer::of_bytes(&bytes).await?;
    let plan = plan(cx, table, task, &metadata).await?;
    let input = RangeBytes::whole(bytes);
    let mut first_row = 0;
    for row_group in 0..metadata.num_row_groups() {
        first_row += send_row_group(cx, table, &plan, row_group, input.clone(), first_row, &mut share, sent).await?;
    }
    Ok(first_row)
}

/// One row group's bytes and the grant that holds them.
struct FetchedGroup {
    row_group: usize,
    bytes: RangeBytes,
    share: Share,
}

async fn send_large(cx: &Context, table: &TableRun, task: &Task, sent: &AtomicU64) -> Result<u64, Error> {
    let budget = Arc::new(RetryBudget::default());
    let footer =
        footer::fetch(&cx.store, &task.key, task.object_bytes, task.etag.as_ref(), &table.footers, &budget, &cx.memory)
            .await?;

    let plan = plan(cx, table, task, &footer.metadata).await?;

    // One row group ahead: the fetcher takes a place before it asks for memory.
    let (places, mut fetched) = tokio::sync::mpsc::channel::<FetchedGroup>(1);
    let fetcher = {
        let (cx, key, metadata, etag) =
            (cx.clone(), task.key.clone(), Arc::clone(&footer.metadata), footer.etag.clone());
        async move {
            let mut warned = false;
            for row_group in 0..metadata.num_row_groups() {
                let Ok(place) = places.reserve().await else { return Ok(()) };
                let group =
                    fetch_row_group(&cx, &key, etag.as_ref(), &metadata, row_group, &budget, &mut warned).await?;
                place.send(group);
            }
            Ok::<_, Error>(())
        }
    };
    let fetcher = super::AbortOnDrop(tokio::spawn(fetcher));
    let mut first_row = 0;
    while let Some(mut group) = fetched.recv().await {
        let (row_group, bytes) = (group.row_group, group.bytes);
        first_row += send_row_group(cx, table, &plan, row_group, bytes, first_row, &mut group.share, sent).await?;
    }
    fetcher.join().await??;
    Ok(first_row)
}

async fn plan(
    cx: &Context,
    table: &TableRun,
    task: &Task,
    metadata: &Arc<ParquetMetaData>,
) -> Result<Arc<ObjectPlan>, Error> {
    let id = ObjectId::new(cx.store.bucket(), &task.key);
    let (metadata, schema, output, counts) =
        (Arc::clone(metadata), Arc::clone(&table.schema), Arc::clone(table.encoder.schema()), Arc::clone(&table.casts));
    let plan = cpu::run(move || ObjectPlan::new(metadata, &schema, output, id, counts)).await??;
    Ok(Arc::new(plan))
}

async fn fetch_row_group(
    cx: &Context,
    key: &str,
    etag: Option<&ETag>,
    metadata: &ParquetMetaData,
    row_group: usize,
    budget: &RetryBudget,
    warned: &mut bool,
) -> Result<FetchedGroup, Error> {
    let ranges = coalesce(&row_group_ranges(metadata, row_group)?);
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let needed = bytes + working_set_bytes(metadata, row_group);
    let share = cx.memory.take(needed).await;
    if share.oversized && !std::mem::replace(warned, true) {
        cx.warn_oversized(key, needed);
    }
    let pieces: Vec<(u64, Bytes)> = futures::stream::iter(ranges)
        .map(|range| async move {
            let part = ByteRange::Part { start: range.start, len: range.end - range.start };
            let piece = cx.store.get(key, part, etag, budget).await?;
            Ok::<_, Error>((piece.start, piece.bytes))
        })
        .buffer_unordered(GETS_IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(FetchedGroup { row_group, bytes: RangeBytes::new(pieces)?, share })
}

/// Decodes, cuts, encodes and sends one row group; answers its number of rows.
#[expect(clippy::too_many_arguments, reason = "the state of one object's walk, passed down once")]
async fn send_row_group(
    cx: &Context,
    table: &TableRun,
    plan: &Arc<ObjectPlan>,
    row_group: usize,
    bytes: RangeBytes,
    first_row: u64,
    share: &mut Share,
    sent: &AtomicU64,
) -> Result<u64, Error> {
    let open = Arc::clone(plan);
    let mut decoder = cpu::run(move || RowGroupDecoder::open(open, row_group, bytes, first_row)).await??;
    let mut rows = 0;
    loop {
        let (encoder, most_rows) = (Arc::clone(&table.encoder), cx.rows_per_record);
        let batch_row = first_row + rows;
        let (back, step) = cpu::run(move || {
            let step = decode_step(&mut decoder, &encoder, most_rows, batch_row);
            (decoder, step)
        })
        .await?;
        decoder = back;
        let Some((messages, batch_rows)) = step? else { return Ok(rows) };
        for (record, message_rows) in messages {
            let message_bytes = record.len() as u64;
            let grant = share.split(message_bytes);
            cx.sink.send(Message::Insert { record, grant }).await.map_err(|_| Error::Disconnected)?;
            let position = sent.load(Ordering::Relaxed).max(batch_row + message_rows.end);
            sent.store(position, Ordering::Relaxed);
            table.sent(message_rows.end - message_rows.start, message_bytes);
        }
        rows += batch_rows;
    }
}

type Step = Option<(Vec<(Bytes, std::ops::Range<u64>)>, u64)>;

/// One decoded batch as messages, each with its rows (counted inside the batch).
fn decode_step(
    decoder: &mut RowGroupDecoder,
    encoder: &crate::cloudquery::ipc::BatchEncoder,
    most_rows: std::num::NonZeroUsize,
    first_row: u64,
) -> Result<Step, Error> {
    let Some(decoded) = decoder.next_batch()? else { return Ok(None) };
    let size = |offset, len| encoder.encoded_size_bytes(&decoded.slice(offset, len));
    let slices = batch::cut(decoded.num_rows(), first_row, most_rows, size)?;
    let messages = slices
        .into_iter()
        .map(|(offset, len)| {
            let record = encoder.encode(&decoded.slice(offset, len))?;
            Ok((record, offset as u64..(offset + len) as u64))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Some((messages, decoded.num_rows() as u64)))
}
