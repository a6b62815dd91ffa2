//! Small objects of one table that are sent together: their rows share messages, they are admitted as one, and their work is one
//! piece for a CPU thread. A message costs the CLI and the destination one decode and one encode, and an object costs a few
//! handovers between threads: with ten thousand objects of three rows that is nearly all of the work.
//!
//! What is odd about an object (it is gone, damaged, larger than it looked, has records that cannot be read) is left to
//! [`sending`], which reads it by itself: here objects are sent whole, or not at all.

use super::context::Context;
use super::error::Error;
use super::need;
use super::sending::{self, Kept, Task};
use super::table::TableRun;
use super::{batch, cpu};
use crate::cloudquery::source::{Grant, Message};
use crate::error_chain::error_chain;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::format::Format;
use crate::formats::{Decoded, Inspected, Output, Position, Rows};
use crate::memory::need::Need;
use crate::s3::{ByteRange, ETag, RetryBudget};
use crate::schema::rules::ColumnRules;
use crate::tables::group::ListedObject;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use futures::StreamExt as _;
use std::iter::Peekable;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Objects up to this size may be sent together: of larger ones a message of their own is no waste.
const SMALL_OBJECT_BYTES: u64 = 64 << 10;
/// Most objects that are sent together.
const MAX_OBJECTS: usize = 256;
/// What they may need all together: what one object of average size needs.
const MAX_NEED_BYTES: u64 = 16 << 20;
/// What decoding one object may take, and its rows: more is no small object, however few its bytes are.
const MAX_DECODING_BYTES: u64 = 4 << 20;
const MAX_DECODED_BYTES: usize = 1 << 20;
/// Objects that are fetched at a time of those that are sent together.
const GETS_IN_FLIGHT: usize = 4;

/// Objects of one table, in the order of their keys.
pub struct Together {
    pub(super) run: Arc<TableRun>,
    pub(super) tasks: Vec<Task>,
}

/// Puts neighbours of one table together that are small.
pub(super) struct Grouped<I: Iterator<Item = (Arc<TableRun>, Task)>> {
    tasks: Peekable<I>,
    most: usize,
}

impl<I: Iterator<Item = (Arc<TableRun>, Task)>> Grouped<I> {
    /// At most `most` of `tasks` at a time, where there is a limit.
    pub(super) fn new(tasks: I, most: usize) -> Self {
        Self { tasks: tasks.peekable(), most: most.clamp(1, MAX_OBJECTS) }
    }
}

impl<I: Iterator<Item = (Arc<TableRun>, Task)>> Iterator for Grouped<I> {
    type Item = Together;

    fn next(&mut self) -> Option<Together> {
        let (run, first) = self.tasks.next()?;
        let mut need_bytes = first.need.held_bytes();
        let mut tasks = vec![first];
        if may_be_together(&tasks[0]) {
            while tasks.len() < self.most
                && let Some((_, next)) = self.tasks.next_if(|(of, next)| {
                    Arc::ptr_eq(of, &run)
                        && may_be_together(next)
                        && need_bytes.saturating_add(next.need.held_bytes()) <= MAX_NEED_BYTES
                })
            {
                need_bytes += next.need.held_bytes();
                tasks.push(next);
            }
        }
        Some(Together { run, tasks })
    }
}

fn may_be_together(task: &Task) -> bool {
    task.object_bytes <= SMALL_OBJECT_BYTES && task.first_row == 0 && task.head.is_none()
}

/// How many small objects of a table are put together that are still to be fetched: no more than leave all of `concurrency` busy.
pub(super) fn most_to_fetch(small_objects: usize, concurrency: usize) -> usize {
    (small_objects / concurrency.max(1)).clamp(1, MAX_OBJECTS)
}

/// Whether an object of this size counts as small.
pub(super) fn is_small(object: &ListedObject) -> bool {
    object.size_bytes <= SMALL_OBJECT_BYTES
}

/// An object in memory, in the version that is there.
struct Fetched {
    bytes: Bytes,
    etag: Option<ETag>,
    version: Option<String>,
}

/// Sends them. Gives back those that have to be sent one by one.
///
/// # Errors
/// When the peer has gone, or the process ends.
pub(super) async fn send(cx: &Context, run: &Arc<TableRun>, mut tasks: Vec<Task>) -> Result<Vec<Task>, Error> {
    if tasks.len() < 2 {
        return Ok(tasks);
    }
    let mut seat = cx.memory.seat();
    let need = need_of(&tasks, cx.memory.limit_bytes());
    let kept: Vec<Kept> = tasks.iter_mut().filter_map(|task| task.kept.take()).collect();
    let (mut admitted, fetched) = if kept.is_empty() {
        let admitted = seat.admit(need).await;
        let wanted = tasks.iter().map(|task| (task.key.clone(), task.object_bytes, task.etag.clone()));
        let wanted: Vec<_> = wanted.map(|wanted| fetch(cx.clone(), wanted)).collect();
        let fetched = futures::stream::iter(wanted).buffered(GETS_IN_FLIGHT).collect().await;
        (admitted, fetched)
    } else {
        let mut shares = Vec::with_capacity(kept.len());
        let mut fetched = Vec::with_capacity(kept.len());
        for (Kept { bytes, version, share }, task) in kept.into_iter().zip(&tasks) {
            shares.push(share);
            fetched.push(Some(Fetched { bytes, etag: task.etag.clone(), version }));
        }
        // The reserve holds them.
        (seat.admit_all_kept(Need { input_bytes: 0, ..need }, shares).await, fetched)
    };
    admitted.mark_resident(need.input_bytes);
    let objects =
        tasks.iter().zip(fetched).map(|(task, fetched)| Some((source(cx, run, task, fetched.as_ref()?), fetched?)));
    let decoding = Decoding { objects: objects.collect(), run: Arc::clone(run), most_rows: cx.rows_per_record };
    let Encoded { messages, ends } = match cpu::run(move || decoding.encode()).await.and_then(|encoded| encoded) {
        Ok(encoded) => encoded,
        Err(error @ Error::Cancelled) => return Err(error),
        Err(error) => {
            // Whose fault it is shows when each is read by itself.
            tracing::debug!(table = run.name, error = error_chain(&error), "small objects are read one by one");
            return Ok(tasks);
        }
    };
    let mut waiting = tasks.into_iter().zip(ends).peekable();
    let mut alone = Vec::new();
    let mut rows_sent = 0;
    let mut messages = messages.into_iter();
    loop {
        while let Some((task, end)) = waiting.next_if(|(_, end)| end.is_none_or(|end| end <= rows_sent)) {
            if end.is_some() { sent(cx, run, &task) } else { alone.push(task) }
        }
        let Some((record, rows)) = messages.next() else { break };
        let message_bytes = record.len() as u64;
        let grant = Grant::holding(admitted.pool().room(message_bytes).await);
        cx.sink.send(Message::Insert { record, grant }).await.map_err(|_| Error::Disconnected)?;
        cx.sent(run, rows as u64, message_bytes);
        rows_sent += rows;
    }
    admitted.mark_all_resident();
    Ok(alone)
}

/// What they need as one: their bytes, what decoding them makes, and that once more where their rows are joined.
fn need_of(tasks: &[Task], limit_bytes: u64) -> Need {
    let sum = |of: fn(&Need) -> u64| tasks.iter().map(|task| of(&task.need)).sum::<u64>();
    let (input_bytes, decoding_bytes) = (sum(|need| need.input_bytes), sum(|need| need.decoding_bytes));
    let head_bytes = tasks.iter().map(|task| task.need.head_bytes).max().unwrap_or(0);
    need::together(input_bytes, decoding_bytes.saturating_mul(2), head_bytes, limit_bytes)
}

/// The object, in the version that was listed or inspected; `None`: why not shows when it is read by itself.
async fn fetch(cx: Context, (key, object_bytes, etag): (String, u64, Option<ETag>)) -> Option<Fetched> {
    let range = ByteRange::Whole { most: object_bytes };
    let fetched = cx.store.get(&key, range, etag.as_ref(), &RetryBudget::default()).await.ok()?;
    (fetched.object_bytes == object_bytes).then_some(Fetched {
        bytes: fetched.bytes,
        etag: fetched.etag,
        version: fetched.version,
    })
}

/// The object was sent to its last row.
fn sent(cx: &Context, run: &Arc<TableRun>, task: &Task) {
    run.objects.sent(task.index, task.etag.clone());
    run.stats.count_object();
    if let Some(delivery) = &cx.delivery {
        delivery.object(run, task.index);
    }
    run.handled(task.object_bytes);
}

/// What an object is decoded with.
struct Source {
    format: Format,
    rules: Arc<ColumnRules>,
    output: Output,
}

fn source(cx: &Context, run: &TableRun, task: &Task, fetched: &Fetched) -> Source {
    let rules = run.objects.keys.rules_of(&task.key, &run.rules);
    let version = sending::Version {
        object_bytes: task.object_bytes,
        etag: fetched.etag.as_ref(),
        id: fetched.version.as_deref(),
    };
    let output = sending::output(cx, run, &rules, (task.index, &task.key), version);
    // Of an object that is read by itself in the end, nothing counts twice.
    let output = Output { counts: Arc::default(), ..output };
    Source { format: task.format, rules, output }
}

/// Objects that are decoded by one piece of work.
struct Decoding {
    /// `None`: it has to be read by itself.
    objects: Vec<Option<(Source, Fetched)>>,
    run: Arc<TableRun>,
    most_rows: NonZeroUsize,
}

/// Rows of several objects as messages.
struct Encoded {
    /// Each with the number of its rows.
    messages: Vec<(Bytes, usize)>,
    /// Behind which of all these rows each object ends; `None`: it has to be read by itself.
    ends: Vec<Option<usize>>,
}

impl Decoding {
    fn encode(self) -> Result<Encoded, Error> {
        let Self { objects, run, most_rows } = self;
        let encoder = &run.encoder;
        let (mut batches, mut rows) = (Vec::with_capacity(objects.len()), 0);
        let mut ends = Vec::with_capacity(objects.len());
        for object in objects {
            let decoded = object.and_then(|(source, fetched)| decode(&run, source, &fetched.bytes));
            ends.push(decoded.map(|decoded| {
                rows += decoded.iter().map(RecordBatch::num_rows).sum::<usize>();
                batches.extend(decoded);
                rows
            }));
        }
        let all = concat_batches(encoder.schema(), &batches)
            .map_err(|error| ReadError::Internal { what: error.to_string() })?;
        drop(batches);
        let size = |offset, len| encoder.encoded_size_bytes(&all.slice(offset, len));
        let slices = batch::cut(all.num_rows(), |row| row as u64, most_rows, encoder.schema_bytes(), size)?;
        let messages = slices.into_iter().map(|(offset, len)| Ok((encoder.encode(&all.slice(offset, len))?, len)));
        Ok(Encoded { messages: messages.collect::<Result<_, Error>>()?, ends })
    }
}

/// All rows of an object; `None` if anything is odd about it.
fn decode(run: &TableRun, source: Source, bytes: &Bytes) -> Option<Vec<RecordBatch>> {
    let Source { format, rules, output } = source;
    let options = &run.objects.options;
    let object_bytes = bytes.len() as u64;
    let file = match format.unread(options, object_bytes) {
        Some(file) => file,
        None => match format.inspect(options, bytes, object_bytes).ok()? {
            Inspected::File(file) => file.projected(&rules),
            Inspected::Needs(_) => return None,
        },
    };
    let Some(step) = file.step(Position::default(), u64::MAX).ok()? else { return Some(Vec::new()) };
    let fetched = FetchedRanges::whole(bytes.clone());
    if file.measured_bytes(&step, &fetched) > MAX_DECODING_BYTES {
        return None;
    }
    let counts = Arc::clone(&output.counts);
    let mut reader = file.reader(output).ok()?;
    reader.feed(&step, fetched);
    let (mut batches, mut decoded_bytes) = (Vec::new(), 0);
    while let Some(next) = reader.next(0).ok()? {
        let Decoded { rows, bad, error, unknown } = next.decode();
        if !bad.is_empty() || error.is_some() || !unknown.is_empty() {
            return None;
        }
        for Rows { batch, .. } in rows {
            decoded_bytes += batch.get_array_memory_size();
            batches.push(batch);
        }
        if decoded_bytes > MAX_DECODED_BYTES {
            return None;
        }
    }
    run.casts.add(&counts);
    Some(batches)
}
