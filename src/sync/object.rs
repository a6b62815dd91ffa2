//! One object from its first byte to its last row.
//!
//! A small object is one step: one GET (none if the footer pass kept it), all row groups. A larger one is a step for as many
//! row groups as make one GET, at least one. The object is admitted once, with what its largest step takes (see
//! [`super::memory`] and [`super::need`]), and its steps follow one another on that; while one of them is decoded and sent,
//! the next is fetched ahead if memory for it is free at that moment, no more than one.
//!
//! What decoding takes is an estimate until the bytes are there: then page headers tell. If it is more than the object was
//! admitted with, and that is not free either, everything is given back and the object is admitted anew, for as much as is
//! known by then, and goes on with that step.
//!
//! Every GET names the ETag. When the object was replaced meanwhile (412), what was decoded is forgotten and the object
//! is read again from its footer on, under the new ETag. Rows of the old version that had already been sent are sent
//! again as the new version has them, with the same `_cq_id`, which a warning says; if the new version has fewer rows
//! than were sent, the object is in error instead, since nothing would replace the surplus: versions are never mixed in
//! silence. An object that was deleted meanwhile gets a warning, which says how many of its rows were sent: there is
//! nothing left that another try could read.

mod steps;

use super::footer::{self, Room, SMALL_OBJECT_BYTES};
use super::memory::{Admitted, MessagePool, Reserved, Seat};
use super::need::{Experience, Facts, Need};
use super::table::TableRun;
use super::{Context, Error, batch, cpu};
use crate::cloudquery::source::Message;
use crate::formats::parquet::chunks::FetchedRanges;
use crate::formats::parquet::memory;
use crate::formats::parquet::row_groups::{ObjectPlan, RowGroupDecoder};
use crate::s3::{ByteRange, ETag, ErrorKind, RetryBudget};
use bytes::Bytes;
use parquet::file::metadata::ParquetMetaData;
use std::ops::Range;
use std::sync::Arc;

/// How often an object that is replaced while it is read is begun again.
const MAX_RESTARTS: u32 = 3;

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
    /// What it takes at a time, by its footer.
    pub need: Need,
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

/// Sends all rows of an object.
///
/// # Errors
/// What keeps the object from being sent; the caller says where. [`Error::Disconnected`] when the peer has gone.
pub async fn send(cx: &Context, table: &TableRun, mut task: Task) -> Result<Outcome, Error> {
    let mut seat = cx.memory.seat();
    // Rows of the object that were sent, of whatever version.
    let mut sent = 0;
    let mut restarts = 0;
    loop {
        let object = Object { cx, table, key: &task.key, index: task.index, first_row: task.first_row };
        let result = match task.kept.take() {
            Some(kept) => object.send_kept(&mut seat, kept, task.need, &mut sent).await,
            None if task.object_bytes <= SMALL_OBJECT_BYTES => object.send_small(&mut seat, &task, &mut sent).await,
            None => object.send_large(&mut seat, &task, &mut sent).await,
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
        let (budget, guess) = (RetryBudget::default(), &table.objects.footers);
        let footer = footer::fetch_current(&cx.store, &task.key, u64::MAX, guess, &budget, &mut seat);
        let footer = match Box::pin(footer).await {
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
        task.need = facts(cx, &task.key, &footer.metadata, footer.object_bytes).of_object(&footer.metadata)?;
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

/// What is known of an object with this footer.
#[must_use]
pub fn facts(cx: &Context, key: &str, metadata: &ParquetMetaData, object_bytes: u64) -> Facts {
    Facts {
        object_bytes,
        added_bytes: cx.rows.working_bytes(key, metadata),
        limit_bytes: cx.memory.limit_bytes(),
        experience: Experience::default(),
    }
}

/// What measures the need of an object that is in memory as a whole, given its footer: work for [`cpu::run`].
pub fn need_of_bytes(
    cx: &Context,
    key: &str,
    bytes: &Bytes,
) -> impl FnOnce(&Arc<ParquetMetaData>) -> Need + Send + 'static {
    let (rows, limit_bytes, key, object) = (cx.rows, cx.memory.limit_bytes(), key.to_owned(), bytes.clone());
    move |metadata| {
        let facts = Facts {
            object_bytes: object.len() as u64,
            added_bytes: rows.working_bytes(&key, metadata),
            limit_bytes,
            experience: Experience::default(),
        };
        let (groups, object) = (0..metadata.num_row_groups(), FetchedRanges::whole(object));
        let decoding_bytes = groups.map(|group| memory::measured_bytes(metadata, group, &object)).max().unwrap_or(0);
        facts.need(metadata, facts.object_bytes, decoding_bytes)
    }
}

/// An object that is sent.
#[derive(Clone, Copy)]
struct Object<'a> {
    cx: &'a Context,
    table: &'a TableRun,
    key: &'a str,
    /// Its place in [`TableRun::objects`].
    index: usize,
    /// The first row to send, from 0.
    first_row: u64,
}

/// What became of an admission.
#[derive(Debug)]
enum Held {
    /// All rows were sent.
    Done,
    /// It does not suffice: this much is needed.
    Needs(Need),
}

// What runs only for who was admitted is in boxes: a thousand tasks that wait for memory need not have room for it.
impl Object<'_> {
    async fn send_kept(self, seat: &mut Seat, kept: Kept, mut need: Need, sent: &mut u64) -> Result<(), Error> {
        // The reserve holds them.
        need.input_bytes = 0;
        let mut admitted = seat.admit_kept(need, kept.share).await;
        let (_, _, plan) = footer::of_bytes(&kept.bytes, Room::Admitted, self.planner()).await?;
        Box::pin(self.send_whole(&mut admitted, &plan, kept.bytes, sent)).await
    }

    async fn send_small(self, seat: &mut Seat, task: &Task, sent: &mut u64) -> Result<(), Error> {
        let (mut need, mut warned) = (task.need, false);
        for _ in 0..=MAX_RESTARTS {
            let mut admitted = seat.admit(need).await;
            match Box::pin(self.send_small_admitted(&mut admitted, task, &mut warned, sent)).await? {
                Held::Done => return Ok(()),
                Held::Needs(more) => need = more,
            }
        }
        // What was measured once is what it takes, unless it is another object each time.
        Err(Error::NeverRests { times: MAX_RESTARTS + 1 })
    }

    async fn send_small_admitted(
        self,
        admitted: &mut Admitted<'_>,
        task: &Task,
        warned: &mut bool,
        sent: &mut u64,
    ) -> Result<Held, Error> {
        let cx = self.cx;
        let range = ByteRange::Whole { most: task.object_bytes };
        let bytes = cx.store.get(self.key, range, task.etag.as_ref(), &RetryBudget::default()).await?.bytes;
        admitted.arrived(bytes.len() as u64);
        let (need_of, plan_of) = (need_of_bytes(cx, self.key, &bytes), self.planner());
        let look = move |metadata: &Arc<_>| Ok((need_of(metadata), plan_of(metadata)?));
        let (_, _, (measured, plan)) = footer::of_bytes(&bytes, Room::Admitted, look).await?;
        if !admitted.try_grow(measured) && !admitted.need().suffices_for(measured) {
            return Ok(Held::Needs(measured));
        }
        self.warn_if_alone(admitted, warned);
        self.send_whole(admitted, &plan, bytes, sent).await?;
        Ok(Held::Done)
    }

    /// All row groups of an object that is in memory.
    async fn send_whole(
        self,
        admitted: &mut Admitted<'_>,
        plan: &Arc<ObjectPlan>,
        bytes: Bytes,
        sent: &mut u64,
    ) -> Result<(), Error> {
        let (metadata, input) = (plan.metadata(), FetchedRanges::whole(bytes));
        let mut first_row = 0;
        for row_group in 0..metadata.num_row_groups() {
            let rows = group_rows(metadata, row_group);
            if first_row + rows > self.first_row {
                self.send_row_group(plan, row_group, input.clone(), first_row, admitted.pool(), sent).await?;
            }
            first_row += rows;
            admitted.filled();
        }
        Ok(())
    }

    fn warn_if_alone(self, admitted: &Admitted<'_>, warned: &mut bool) {
        if admitted.is_alone() && !std::mem::replace(warned, true) {
            self.cx.warn_oversized(self.key, admitted.need().total_bytes());
        }
    }

    /// What plans the object, given its footer: work for [`cpu::run`].
    fn planner(self) -> impl FnOnce(&Arc<ParquetMetaData>) -> Result<Arc<ObjectPlan>, Error> + Send + 'static {
        let (cx, table) = (self.cx, self.table);
        let last_modified_s = table.objects.get(self.index).map_or(0, |(_, object)| object.last_modified_s);
        let origin = cx.rows.origin(cx.store.bucket(), self.key, last_modified_s);
        let (schema, output, counts) =
            (Arc::clone(&table.schema), Arc::clone(table.encoder.schema()), Arc::clone(&table.casts));
        move |metadata| Ok(Arc::new(ObjectPlan::new(Arc::clone(metadata), &schema, output, origin, counts)?))
    }

    /// Decodes, cuts, encodes and sends one row group, but rows before the object's first one. `first_row` is the group's.
    async fn send_row_group(
        self,
        plan: &Arc<ObjectPlan>,
        row_group: usize,
        bytes: FetchedRanges,
        first_row: u64,
        pool: &MessagePool,
        sent: &mut u64,
    ) -> Result<(), Error> {
        let (cx, table) = (self.cx, self.table);
        let mut left = Some(Group::Closed { plan: Arc::clone(plan), row_group, bytes, first_row });
        let mut rows = 0;
        while let Some(group) = left {
            let (encoder, most_rows) = (Arc::clone(&table.encoder), cx.rows_per_record);
            let batch_row = first_row + rows;
            let skipped_rows = self.first_row.saturating_sub(batch_row);
            let step = cpu::run(move || {
                let mut decoder = group.open()?;
                let step = decode_step(&mut decoder, &encoder, most_rows, batch_row, skipped_rows)?;
                // After the last batch the decoder goes here, and no thread is woken only to say that there is no more.
                Ok::<_, Error>((step, (!decoder.is_done()).then_some(Group::Open(decoder))))
            });
            let (messages, batch_rows);
            ((messages, batch_rows), left) = step.await??;
            let mut oversized = false;
            for (record, message_rows) in messages {
                let message_bytes = record.len() as u64;
                oversized |= !pool.has_room_for(message_bytes);
                let grant = pool.grant(message_bytes).await;
                cx.sink.send(Message::Insert { record, grant }).await.map_err(|_| Error::Disconnected)?;
                *sent = (*sent).max(batch_row + message_rows.end);
                cx.sent(table, message_rows.end - message_rows.start, message_bytes);
            }
            rows += batch_rows;
            if oversized {
                // The next batch may be as large: not both at a time.
                pool.idle().await;
            }
        }
        Ok(())
    }
}

/// A row group that is sent.
enum Group {
    /// Nothing of it was decoded yet. `first_row` is its first row's number in the object.
    Closed { plan: Arc<ObjectPlan>, row_group: usize, bytes: FetchedRanges, first_row: u64 },
    /// It has rows left.
    Open(Box<RowGroupDecoder>),
}

impl Group {
    fn open(self) -> Result<Box<RowGroupDecoder>, Error> {
        match self {
            Self::Closed { plan, row_group, bytes, first_row } => {
                Ok(Box::new(RowGroupDecoder::open(plan, row_group, bytes, first_row)?))
            }
            Self::Open(decoder) => Ok(decoder),
        }
    }
}

/// Messages, each with its rows (counted inside the batch), and the rows of the batch.
type Decoded = (Vec<(Bytes, Range<u64>)>, u64);

/// One decoded batch as messages, without its first `skipped_rows`. Nothing at the end of the row group.
fn decode_step(
    decoder: &mut RowGroupDecoder,
    encoder: &crate::cloudquery::ipc::BatchEncoder,
    most_rows: std::num::NonZeroUsize,
    first_row: u64,
    skipped_rows: u64,
) -> Result<Decoded, Error> {
    let Some(batch) = decoder.next_batch()? else { return Ok((Vec::new(), 0)) };
    let batch_rows = batch.num_rows() as u64;
    let skipped = usize::try_from(skipped_rows).unwrap_or(usize::MAX).min(batch.num_rows());
    if skipped == batch.num_rows() {
        return Ok((Vec::new(), batch_rows));
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
    Ok((messages, batch_rows))
}
