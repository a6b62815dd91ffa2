//! From the steps of an object to messages: decodes, cuts, encodes and sends.

use crate::cloudquery::ipc::BatchEncoder;
use crate::cloudquery::source::{Grant, Message};
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::{Position, Reader, Rows, Step};
use crate::memory::MessagePool;
use crate::sync::context::Context;
use crate::sync::error::Error;
use crate::sync::table::TableRun;
use crate::sync::{batch, cpu};
use bytes::Bytes;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

/// Where the rows of one object go.
pub(super) struct RowSink<'a> {
    cx: &'a Context,
    table: &'a TableRun,
    /// The reader of the version that is sent.
    reader: Option<Reader>,
    /// The first row of that version that is still to be sent, from 0: those before it were sent.
    next_row: u64,
    /// The first row behind all that this sync has sent, of whatever version; 0: nothing was sent.
    sent: u64,
}

/// A decoded batch, encoded, with the rows of each message by their numbers in the object.
type Messages = Vec<(Bytes, Range<u64>)>;

impl<'a> RowSink<'a> {
    /// For an object whose rows before `first_row` were sent by an earlier sync.
    pub(super) fn new(cx: &'a Context, table: &'a TableRun, first_row: u64) -> Self {
        Self { cx, table, reader: None, next_row: first_row, sent: 0 }
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
        (self.next_row, self.reader) = (0, None);
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

    /// Sends the rows of a step, but those that were sent before.
    ///
    /// # Errors
    /// What is wrong with the file; [`Error::Disconnected`].
    pub(super) async fn send_step(
        &mut self,
        step: Step,
        bytes: FetchedRanges,
        pool: &MessagePool,
    ) -> Result<(), Error> {
        let (cx, table) = (self.cx, self.table);
        let mut reader =
            self.reader.take().ok_or_else(|| ReadError::Internal { what: "a step without a reader".into() })?;
        let mut step_bytes = Some((step, bytes));
        loop {
            let step_bytes = step_bytes.take();
            let (encoder, most_rows, next_row) = (Arc::clone(&table.encoder), cx.rows_per_record, self.next_row);
            let (back, messages) = cpu::run(move || {
                // Here, and not where tasks run: a format may copy or unpack what it is fed.
                if let Some((step, bytes)) = step_bytes {
                    reader.feed(&step, bytes);
                }
                let messages = next_messages(&mut reader, &encoder, most_rows, next_row);
                (reader, messages)
            })
            .await?;
            reader = back;
            let Some(messages) = messages? else { break };
            // No thread is woken only to say that there is no more.
            let done = reader.is_done();
            let mut oversized = false;
            for (record, rows) in messages {
                let message_bytes = record.len() as u64;
                oversized |= !pool.has_room_for(message_bytes);
                let grant = Grant::holding(pool.room(message_bytes).await);
                cx.sink.send(Message::Insert { record, grant }).await.map_err(|_| Error::Disconnected)?;
                self.next_row = rows.end;
                self.sent = self.sent.max(rows.end);
                cx.sent(table, rows.end - rows.start, message_bytes);
            }
            if oversized {
                // The next batch may be as large: not both at a time.
                pool.idle().await;
            }
            if done {
                break;
            }
        }
        self.reader = Some(reader);
        Ok(())
    }
}

/// The next batch of the step as messages, without rows before `next_row`; `None` at the step's end.
fn next_messages(
    reader: &mut Reader,
    encoder: &BatchEncoder,
    most_rows: NonZeroUsize,
    next_row: u64,
) -> Result<Option<Messages>, Error> {
    let Some(Rows { first_row, batch }) = reader.next_batch(next_row)? else { return Ok(None) };
    let skipped = usize::try_from(next_row.saturating_sub(first_row)).unwrap_or(usize::MAX).min(batch.num_rows());
    if skipped == batch.num_rows() {
        return Ok(Some(Vec::new()));
    }
    let first_row = first_row + skipped as u64;
    let rows = batch.slice(skipped, batch.num_rows() - skipped);
    let size = |offset, len| encoder.encoded_size_bytes(&rows.slice(offset, len));
    let slices = batch::cut(rows.num_rows(), first_row, most_rows, encoder.schema_bytes(), size)?;
    let messages = slices.into_iter().map(|(offset, len)| {
        let record = encoder.encode(&rows.slice(offset, len))?;
        Ok((record, first_row + offset as u64..first_row + (offset + len) as u64))
    });
    messages.collect::<Result<_, Error>>().map(Some)
}
