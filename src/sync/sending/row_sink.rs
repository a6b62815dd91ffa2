//! From the steps of an object to messages: decodes, cuts, encodes and sends.

use crate::cloudquery::ipc::BatchEncoder;
use crate::cloudquery::source::{Grant, Message};
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::text::Part;
use crate::formats::text::chunk::BadRecord;
use crate::formats::{Decoded, Next, Position, Reader, Rows, Step};
use crate::memory::MessagePool;
use crate::schema::text_types::TextTypes;
use crate::sync::bad_rows::BadRows;
use crate::sync::context::Context;
use crate::sync::error::Error;
use crate::sync::table::TableRun;
use crate::sync::{batch, cpu};
use bytes::Bytes;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Where the rows of one object go.
pub(super) struct RowSink<'a> {
    cx: &'a Context,
    table: &'a TableRun,
    key: String,
    /// The reader of the version that is sent.
    reader: Option<Reader>,
    /// The first row of that version that is still to be sent, from 0: those before it were sent.
    next_row: u64,
    /// The first row behind all that this sync has sent, of whatever version; 0: nothing was sent.
    sent: u64,
    /// Records that could not be read.
    bad: BadRows,
}

/// Parts of a step that are in memory at a time: two keep both cores of two busy while the third is sent or waits for the peer,
/// and with more cores other objects are read beside. What they take counts as decoding ([`crate::formats::text`]).
const PARTS_AT_A_TIME: usize = crate::formats::text::PARTS_AT_A_TIME;

/// The rows of a message.
#[derive(Debug, Clone, Copy)]
struct SentRows {
    /// The number of the row behind the last one, in the object.
    end: u64,
    count: u64,
}

/// Encoded rows, with the rows of each message.
type Messages = Vec<(Bytes, SentRows)>;

impl<'a> RowSink<'a> {
    /// For the object of `key`, whose rows before `first_row` were sent by an earlier sync.
    pub(super) fn new(cx: &'a Context, table: &'a TableRun, key: &str, first_row: u64) -> Self {
        Self { cx, table, key: key.to_owned(), reader: None, next_row: first_row, sent: 0, bad: BadRows::default() }
    }

    /// The first row that is still to be sent.
    pub(super) fn next_row(&self) -> u64 {
        self.next_row
    }

    /// How many of the object's first rows this sync has sent, of whatever version.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Another version of the object is read, from its first row on.
    pub(super) fn begin_again(&mut self) {
        (self.next_row, self.reader, self.bad) = (0, None, BadRows::default());
    }

    /// What the reader holds is given back with the memory that it was admitted with.
    pub(super) fn drop_reader(&mut self) {
        self.reader = None;
    }

    /// The version was sent to its last row. Gives the number of rows.
    ///
    /// # Errors
    /// [`Error::ReplacedByFewerRows`]: nothing replaces the surplus of the version before.
    pub(super) fn all_sent(&self) -> Result<u64, Error> {
        if self.next_row < self.sent {
            return Err(Error::ReplacedByFewerRows { sent: self.sent, rows: self.next_row });
        }
        self.bad.check_share(&self.table.objects.options.bad_rows, self.next_row)?;
        Ok(self.sent)
    }

    /// What the reader carries from one step into the next, in bytes.
    pub(super) fn held_bytes(&self) -> u64 {
        self.reader.as_ref().map_or(0, Reader::held_bytes)
    }

    /// Steps of another file, or of the same one, come next, by this reader.
    pub(super) fn read(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }

    /// Where reading can go on behind the last step, with another reader.
    pub(super) fn resume_at(&self) -> Option<Position> {
        self.reader.as_ref().map(Reader::resume_at)
    }

    /// Sends the rows of a step, but those that were sent before. Parts of it are decoded side by side; they are sent in their
    /// order, and what is wrong with one comes behind the rows before it.
    ///
    /// # Errors
    /// What is wrong with the file; [`Error::Disconnected`].
    pub(super) async fn send_step(
        &mut self,
        step: Step,
        bytes: FetchedRanges,
        pool: &MessagePool,
    ) -> Result<(), Error> {
        let mut reader =
            Some(self.reader.take().ok_or_else(|| ReadError::Internal { what: "a step without a reader".into() })?);
        let mut step_bytes = Some((step, bytes));
        let mut parts: VecDeque<DecodedPart> = VecDeque::new();
        let mut read_on = true;
        loop {
            while read_on && parts.len() < PARTS_AT_A_TIME {
                let Some(before) = reader.take() else { break };
                let encoding = self.encoding();
                let (after, part) = read_part(before, step_bytes.take(), encoding).await?;
                // No thread is woken only to say that there is no more.
                read_on = !after.is_done() && part.as_ref().is_some_and(|part| !part.ends());
                // What is decoded here and not beside is sent before the next.
                let is_decoded = part.as_ref().is_some_and(DecodedPart::is_there);
                reader = Some(after);
                parts.extend(part);
                if is_decoded {
                    break;
                }
            }
            let Some(part) = parts.pop_front() else { break };
            self.send_part(part.wait().await?, pool).await?;
        }
        self.reader = reader;
        Ok(())
    }

    fn encoding(&self) -> Encoding {
        Encoding {
            encoder: Arc::clone(&self.table.encoder),
            most_rows: self.cx.rows_per_record,
            next_row: self.next_row,
            with_unknown: self.cx.delivery.is_some(),
        }
    }

    /// Sends what was decoded of a part.
    async fn send_part(&mut self, part: Encoded, pool: &MessagePool) -> Result<(), Error> {
        let (cx, table) = (self.cx, self.table);
        let mut oversized = false;
        for (record, rows) in part.messages {
            let message_bytes = record.len() as u64;
            oversized |= !pool.has_room_for(message_bytes);
            let grant = Grant::holding(pool.room(message_bytes).await);
            cx.sink.send(Message::Insert { record, grant }).await.map_err(|_| Error::Disconnected)?;
            self.next_row = rows.end;
            self.sent = self.sent.max(rows.end);
            cx.sent(table, rows.count, message_bytes);
        }
        if oversized {
            // The next batch may be as large: not both at a time.
            pool.idle().await;
        }
        table.unknown.see(&self.key, part.unknown);
        self.bad.take(cx, table, &self.key, part.bad, pool).await?;
        part.error.map_or(Ok(()), Err)
    }
}

/// Lets the reader go on to its next part, and has that decoded.
async fn read_part(
    mut reader: Reader,
    step_bytes: Option<(Step, FetchedRanges)>,
    encoding: Encoding,
) -> Result<(Reader, Option<DecodedPart>), Error> {
    let (beside, next_row) = (encoding.clone(), encoding.next_row);
    let (reader, read) = cpu::run(move || {
        // Here, and not where tasks run: a format may copy or unpack what it is fed.
        if let Some((step, bytes)) = step_bytes {
            reader.feed(&step, bytes);
        }
        let read = match reader.next(next_row) {
            Ok(None) => None,
            Ok(Some(Next::Part(part))) => Some(Read::Part(part)),
            Ok(Some(next)) => Some(Read::Encoded(Box::new(encoding.encode(next)))),
            Err(error) => Some(Read::Encoded(Box::new(Err(error.into())))),
        };
        (reader, read)
    })
    .await?;
    let part = read.map(|read| match read {
        Read::Encoded(encoded) => DecodedPart::There(encoded),
        Read::Part(part) => {
            let work = async move { cpu::run(move || beside.encode(Next::Part(part))).await? };
            DecodedPart::Coming(AbortOnDropHandle::new(tokio::spawn(work)))
        }
    });
    Ok((reader, part))
}

/// How batches become messages.
#[derive(Debug, Clone)]
struct Encoding {
    encoder: Arc<BatchEncoder>,
    most_rows: NonZeroUsize,
    /// Rows before it were sent.
    next_row: u64,
    /// Whether it matters which columns the table lacks: the next sync may announce them.
    with_unknown: bool,
}

/// What the reader gave.
enum Read {
    Encoded(Box<Result<Encoded, Error>>),
    Part(Box<Part>),
}

/// A part of a step.
enum DecodedPart {
    There(Box<Result<Encoded, Error>>),
    Coming(AbortOnDropHandle<Result<Encoded, Error>>),
}

impl DecodedPart {
    fn is_there(&self) -> bool {
        matches!(self, Self::There(_))
    }

    /// Nothing comes behind it.
    fn ends(&self) -> bool {
        matches!(self, Self::There(encoded) if encoded.is_err())
    }

    async fn wait(self) -> Result<Encoded, Error> {
        match self {
            Self::There(encoded) => *encoded,
            Self::Coming(task) => task.await.map_err(|_| Error::Cancelled)?,
        }
    }
}

/// A part of a step as messages, and what else is to be said of it.
struct Encoded {
    messages: Messages,
    bad: Vec<BadRecord>,
    unknown: Vec<(String, TextTypes)>,
    error: Option<Error>,
}

impl Encoding {
    /// The rows as messages, without those before [`Self::next_row`].
    fn encode(&self, next: Next) -> Result<Encoded, Error> {
        let Decoded { rows, bad, error, unknown } = next.decode();
        let mut encoded = Encoded {
            messages: Vec::new(),
            bad: bad.into_iter().filter(|bad| bad.number >= self.next_row).collect(),
            unknown: if self.with_unknown { unknown } else { Vec::new() },
            error: error.map(Error::from),
        };
        for rows in rows {
            self.encode_rows(&rows, &mut encoded.messages)?;
        }
        Ok(encoded)
    }

    fn encode_rows(&self, Rows { numbers, batch }: &Rows, messages: &mut Messages) -> Result<(), Error> {
        let encoder = &self.encoder;
        let skipped = numbers.count_before(self.next_row);
        let rows = batch.slice(skipped, batch.num_rows() - skipped);
        let size = |offset, len| encoder.encoded_size_bytes(&rows.slice(offset, len));
        let number = |row: usize| numbers.number(skipped + row);
        let slices = batch::cut(rows.num_rows(), number, self.most_rows, encoder.schema_bytes(), size)?;
        for (offset, len) in slices {
            let record = encoder.encode(&rows.slice(offset, len))?;
            let end = number(offset + len - 1) + 1;
            messages.push((record, SentRows { end, count: len as u64 }));
        }
        Ok(())
    }
}
