//! One object from its first byte to its last row.
//!
//! A small object is one step: one GET (none if the survey kept it). A larger one has steps of about one GET each, behind one
//! for its head (none if the survey kept that). The object is admitted once, with what its largest step takes (see [`crate::memory`] and [`super::need`]), and its steps follow one
//! another on that; while one of them is decoded and sent, the next is fetched ahead if memory for it is free at that moment,
//! no more than one.
//!
//! What decoding takes may be an estimate until the bytes are there. If it is more than the object was admitted with, and that
//! is not free either, everything is given back and the object is admitted again, for as much as is known by then, and goes on
//! with that step.
//!
//! Every GET names the ETag. When the object was replaced meanwhile (412), what was decoded is forgotten and the object
//! is read again from its head on, under the new ETag. Rows of the old version that had already been sent are sent
//! again as the new version has them, with the same `_cq_id`, which a warning says; if the new version has fewer rows
//! than were sent, the object is in error instead, since nothing would replace the surplus: versions are never mixed in
//! silence. An object that was deleted meanwhile gets a warning, which says how many of its rows were sent: there is
//! nothing left that another try could read.

mod row_sink;
mod steps;

use super::context::Context;
use super::error::Error;
use super::inspect::{self, Inspector, Kind, MAX_RESTARTS, Room};
use super::need::{Experience, Facts, SMALL_OBJECT_BYTES};
use super::table::TableRun;
use crate::cast::origin::{ObjectFacts, Origin};
use crate::config::TableOptions;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::format::Format;
use crate::formats::{File, Output, Reader, Step};
use crate::memory::need::Need;
use crate::memory::spare::Spare;
use crate::memory::{Admitted, Reserved, Seat};
use crate::s3::{ByteRange, ETag, ErrorKind, RetryBudget};
use crate::schema::rules::ColumnRules;
use bytes::Bytes;
use row_sink::RowSink;
use std::sync::Arc;

/// An object to send, and what is known of it.
#[derive(Debug)]
pub struct Task {
    /// Its place in [`TableRun::objects`].
    pub index: usize,
    /// The whole key.
    pub key: String,
    /// What it is, by its name.
    pub format: Format,
    /// Size in bytes, as listed or as read since.
    pub object_bytes: u64,
    /// The version to read, if known.
    pub etag: Option<ETag>,
    /// The version's id, once something of it was read, in a bucket that has versions.
    pub version: Option<String>,
    /// The first row to send, from 0: those before it were sent by an earlier sync.
    pub first_row: u64,
    /// What it takes at a time, by what its file says.
    pub need: Need,
    /// The whole object, kept by the survey.
    pub kept: Option<Kept>,
    /// What its file says, kept by the survey.
    pub head: Option<Spare<File>>,
}

/// A small object in memory, with its part of the reserve.
#[derive(Debug)]
pub struct Kept {
    /// All bytes.
    pub bytes: Bytes,
    /// The version's id, in a bucket that has versions.
    pub version: Option<String>,
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
pub async fn send(cx: &Context, table: &TableRun, task: Task) -> Result<Outcome, Error> {
    let rows = RowSink::new(cx, table, &task.key, task.first_row);
    let rules = table.objects.keys.rules_of(&task.key, &table.rules);
    Sending { cx, table, task, rules, rows, restarts: 0, warned: false }.run().await
}

/// What is known of an object with this file.
#[must_use]
pub fn facts(cx: &Context, options: &TableOptions, key: &str, file: &File, object_bytes: u64) -> Facts {
    Facts {
        object_bytes,
        added_bytes: cx.added_bytes(options, key, file.most_batch_rows()),
        limit_bytes: cx.memory.limit_bytes(),
        experience: Experience::default(),
    }
}

/// What measures the need of an object that is in memory as a whole, given its file: work for [`super::cpu::run`].
pub fn need_of_bytes(
    cx: &Context,
    options: &Arc<TableOptions>,
    key: &str,
    bytes: &Bytes,
) -> impl FnOnce(&File) -> Result<Need, Error> + Send + 'static {
    let (cx, options, limit_bytes) = (cx.clone(), Arc::clone(options), cx.memory.limit_bytes());
    let (key, object) = (key.to_owned(), bytes.clone());
    move |file| {
        let facts = Facts {
            object_bytes: object.len() as u64,
            added_bytes: cx.added_bytes(&options, &key, file.most_batch_rows()),
            limit_bytes,
            experience: Experience::default(),
        };
        let step = file.step(file.position_of_row(0), u64::MAX)?;
        let decoding_bytes = step.map_or(0, |step| file.measured_bytes(&step, &FetchedRanges::whole(object)));
        Ok(facts.need(file, facts.object_bytes, decoding_bytes))
    }
}

/// An object that is in memory, ready to be read in one step.
struct Whole {
    reader: Reader,
    /// `None`: it has no rows to be sent.
    step: Option<Step>,
}

impl Whole {
    /// The rows from `next_row` on: work for [`super::cpu::run`].
    fn of(file: &File, output: Output, next_row: u64) -> Result<Self, Error> {
        let step = file.step(file.position_of_row(next_row), u64::MAX)?;
        Ok(Self { reader: file.reader(output)?, step })
    }
}

/// An object on its way.
struct Sending<'a> {
    cx: &'a Context,
    table: &'a TableRun,
    task: Task,
    /// Which columns of its file are read.
    rules: Arc<ColumnRules>,
    rows: RowSink<'a>,
    /// How often it was begun again.
    restarts: u32,
    /// It was said that the object is read alone.
    warned: bool,
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
impl Sending<'_> {
    async fn run(mut self) -> Result<Outcome, Error> {
        let mut seat = self.cx.memory.seat();
        loop {
            let error = match self.send_version(&mut seat).await {
                Ok(()) => {
                    let rows = self.rows.all_sent()?;
                    tracing::debug!(table = self.table.name, key = self.task.key, rows, "object was sent");
                    return Ok(Outcome::Sent { etag: self.task.etag });
                }
                Err(error) => error,
            };
            match &error {
                Error::S3(cause) if cause.kind == ErrorKind::Gone => {
                    return Ok(Outcome::Gone { sent: self.rows.sent() });
                }
                Error::S3(cause) if cause.kind == ErrorKind::Changed && self.restarts < MAX_RESTARTS => {}
                Error::S3(cause) if cause.kind == ErrorKind::Changed => {
                    return Err(Error::NeverRests { times: self.restarts + 1 });
                }
                // Before any row of it was sent: its first bytes say so.
                Error::Decode(ReadError::OtherFormat { format, found: Some(found), .. })
                    if self.table.objects.by_content && self.task.format == *format =>
                {
                    self.table.objects.say_other_format(&self.table.name, &self.task.key, *format, *found);
                    self.task.format = *found;
                }
                _ => {
                    // Of one that was replaced, rows of several versions were sent.
                    if self.restarts == 0 {
                        let rows = self.rows.sent().max(self.task.first_row);
                        self.table.objects.sent_partly(self.task.index, self.task.etag, rows);
                    }
                    return Err(error);
                }
            }
            match Box::pin(self.begin_again(&mut seat)).await {
                Err(Error::S3(error)) if error.kind == ErrorKind::Gone => {
                    return Ok(Outcome::Gone { sent: self.rows.sent() });
                }
                other => other?,
            }
        }
    }

    /// Takes the version that is there now, after the object was replaced.
    async fn begin_again(&mut self, seat: &mut Seat) -> Result<(), Error> {
        // Whoever asks for a head holds no other one.
        self.rows.drop_reader();
        self.task.head = None;
        self.restarts += 1;
        self.task.first_row = 0;
        self.table.objects.forget_rows_sent(self.task.index);
        let budget = RetryBudget::default();
        let found = self.inspector(&budget).fetch_current(u64::MAX, seat).await?;
        let sent = self.rows.sent();
        if let Some(rows) = found.file.rows().filter(|rows| *rows < sent) {
            return Err(Error::ReplacedByFewerRows { sent, rows });
        }
        if sent > 0 {
            tracing::warn!(
                table = self.table.name,
                bucket = self.cx.store.bucket(),
                key = self.task.key,
                rows_sent_again = sent,
                "object was replaced while it was read: rows of the old version were sent before, they are sent again \
                 as the new version has them"
            );
        }
        self.rows.begin_again();
        self.task.need = facts(self.cx, &self.table.objects.options, &self.task.key, &found.file, found.object_bytes)
            .of_object(&found.file)?;
        self.task.object_bytes = found.object_bytes;
        self.task.etag.clone_from(&found.etag);
        Ok(())
    }

    fn inspector<'a>(&'a self, budget: &'a RetryBudget) -> Inspector<'a> {
        let guess = &self.table.objects.heads;
        Inspector { store: &self.cx.store, guess, budget, kind: self.kind(), key: &self.task.key }
    }

    /// What the object is read as.
    fn kind(&self) -> Kind<'_> {
        Kind { format: self.task.format, options: &self.table.objects.options, rules: &self.rules }
    }

    async fn send_version(&mut self, seat: &mut Seat) -> Result<(), Error> {
        match self.task.kept.take() {
            Some(kept) => self.send_kept(seat, kept).await,
            None if self.task.object_bytes <= SMALL_OBJECT_BYTES => self.send_small(seat).await,
            None => self.send_large(seat).await,
        }
    }

    async fn send_kept(&mut self, seat: &mut Seat, kept: Kept) -> Result<(), Error> {
        // The reserve holds them.
        let need = Need { input_bytes: 0, ..self.task.need };
        let mut admitted = seat.admit_kept(need, kept.share).await;
        self.task.version = kept.version;
        let (output, next_row) = (self.output(), self.rows.next_row());
        let look = move |file: &File| Whole::of(file, output, next_row);
        let whole = inspect::open_bytes(self.kind(), &kept.bytes, look).await?;
        Box::pin(self.send_whole(&mut admitted, whole, kept.bytes)).await
    }

    async fn send_small(&mut self, seat: &mut Seat) -> Result<(), Error> {
        let mut need = self.task.need;
        for _ in 0..=MAX_RESTARTS {
            let mut admitted = seat.admit(need).await;
            match Box::pin(self.send_small_admitted(&mut admitted)).await? {
                Held::Done => return Ok(()),
                Held::Needs(more) => need = more,
            }
        }
        // What was measured once is what it takes, unless it is another object each time.
        Err(Error::NeverRests { times: MAX_RESTARTS + 1 })
    }

    async fn send_small_admitted(&mut self, admitted: &mut Admitted<'_>) -> Result<Held, Error> {
        let (cx, task) = (self.cx, &mut self.task);
        let range = ByteRange::Whole { most: task.object_bytes };
        let fetched = cx.store.get(&task.key, range, task.etag.as_ref(), &RetryBudget::default()).await?;
        task.version = fetched.version;
        let (bytes, task) = (fetched.bytes, &self.task);
        admitted.mark_resident(bytes.len() as u64);
        let need_of = need_of_bytes(cx, &self.table.objects.options, &task.key, &bytes);
        let (output, next_row) = (self.output(), self.rows.next_row());
        let look = move |file: &File| Ok((need_of(file)?, Whole::of(file, output, next_row)?));
        let (measured, whole) = inspect::open_bytes(self.kind(), &bytes, look).await?;
        if !admitted.suffices_for(measured) {
            return Ok(Held::Needs(measured));
        }
        self.warn_if_alone(admitted);
        self.send_whole(admitted, whole, bytes).await?;
        Ok(Held::Done)
    }

    /// All rows of an object that is in memory.
    async fn send_whole(&mut self, admitted: &mut Admitted<'_>, whole: Whole, bytes: Bytes) -> Result<(), Error> {
        let Some(step) = whole.step else { return Ok(()) };
        self.rows.read(whole.reader);
        self.rows.send_step(step, FetchedRanges::whole(bytes), admitted.pool()).await?;
        admitted.mark_all_resident();
        Ok(())
    }

    fn warn_if_alone(&mut self, admitted: &Admitted<'_>) {
        if admitted.is_alone() && !std::mem::replace(&mut self.warned, true) {
            self.cx.warn_oversized(&self.task.key, admitted.need().total_bytes());
        }
    }

    /// What batches of the object are made for.
    fn output(&self) -> Output {
        let version = Version {
            object_bytes: self.task.object_bytes,
            etag: self.task.etag.as_ref(),
            id: self.task.version.as_deref(),
        };
        output(self.cx, self.table, &self.rules, (self.task.index, &self.task.key), version)
    }
}

/// The version of an object, as rows tell of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) object_bytes: u64,
    pub(super) etag: Option<&'a ETag>,
    pub(super) id: Option<&'a str>,
}

/// What batches of the table's object with this index and key are made for.
pub(super) fn output(
    cx: &Context,
    table: &TableRun,
    rules: &Arc<ColumnRules>,
    (index, key): (usize, &str),
    version: Version<'_>,
) -> Output {
    let columns = table.objects.options.file_columns;
    let origin = match table.objects.get(index).filter(|_| !columns.is_empty()) {
        Some((_, listed)) => {
            let facts = ObjectFacts {
                bucket: cx.store.bucket().to_owned(),
                key: key.to_owned(),
                last_modified_s: listed.last_modified_s,
                size_bytes: version.object_bytes,
                etag: version.etag.map(ETag::tag),
                version: version.id.map(str::to_owned),
            };
            Origin::with_columns(facts, columns)
        }
        None => Origin::new(cx.store.bucket(), key),
    };
    Output {
        table: Arc::clone(&table.schema),
        schema: Arc::clone(table.encoder.schema()),
        rules: Arc::clone(rules),
        key_values: table.objects.keys.values(key),
        origin,
        counts: Arc::clone(&table.casts),
    }
}
