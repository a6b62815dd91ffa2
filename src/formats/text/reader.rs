//! Reads the windows of an object of text one after the other and cuts them into parts.

use super::File;
use super::chunk::{Cut, SplitError};
use super::opening::Opening;
use super::part::{Object, Part};
use super::splitter::Splitter;
use crate::formats::error::ReadError;
use crate::formats::fetched::FetchedRanges;
use crate::formats::{Output, Step};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Reads windows in their order, from the first one on.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    output: Option<Output>,
    opening: Opening,
    splitter: Splitter,
    /// What parts are decoded with, once the header is known.
    object: Option<Arc<Object>>,
    /// The splitter was told of the end.
    finished: bool,
}

impl Reader {
    pub(in crate::formats) fn new(file: File, output: Output) -> Result<Self, ReadError> {
        let opening = Opening::new(file.format, &file.options);
        let mut splitter = Splitter::new(file.format, &file.options);
        splitter.expect_columns(output.table.columns().len());
        Ok(Self { file, output: Some(output), opening, splitter, object: None, finished: false })
    }

    pub(in crate::formats) fn feed(&mut self, step: &Step, bytes: &FetchedRanges) {
        let (mut at, end) = (step.from.part, step.next.part);
        while at < end
            && let Some(piece) = bytes.rest_of_piece(at)
        {
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(piece.len());
            self.opening.push(piece.slice(..length));
            at += length as u64;
        }
        if end >= self.file.object_bytes {
            self.opening.finish();
        }
    }

    /// The next part that has records from the number `first_row` on; `None`: the next window is needed, or it is the end.
    pub(in crate::formats) fn next_part(&mut self, first_row: u64) -> Result<Option<Part>, ReadError> {
        loop {
            let cut = match self.splitter.next() {
                Ok(cut) => cut,
                Err(error) => return Err(self.located(&error)),
            };
            if let Some(cut) = cut {
                let end = match &cut {
                    Cut::Chunk(chunk) => chunk.first_record + chunk.records,
                    Cut::Bad(record) => record.number + 1,
                };
                if end <= first_row {
                    continue;
                }
                let object = self.object()?;
                return Ok(Some(Part::new(object, cut)));
            }
            if let Some(piece) = self.opening.next()? {
                self.splitter.push(piece);
            } else if self.opening.is_done() && !self.finished {
                self.finished = true;
                self.splitter.finish();
                self.count_replaced();
            } else {
                return Ok(None);
            }
        }
    }

    fn object(&mut self) -> Result<Arc<Object>, ReadError> {
        if let Some(object) = &self.object {
            return Ok(Arc::clone(object));
        }
        let output =
            self.output.take().ok_or_else(|| ReadError::Internal { what: "a reader that has failed".into() })?;
        let object = Arc::new(Object::new(self.file.format, &self.file.options, &self.splitter, output)?);
        self.object = Some(Arc::clone(&object));
        Ok(object)
    }

    /// Characters that mean nothing in the object's encoding.
    fn count_replaced(&self) {
        let of_object = self.object.as_ref().map(|object| object.counts());
        if let Some(counts) = of_object.or(self.output.as_ref().map(|output| &*output.counts)) {
            counts.characters_replaced.fetch_add(self.opening.replaced(), Ordering::Relaxed);
        }
    }

    fn located(&self, error: &SplitError) -> ReadError {
        ReadError::Damaged { format: self.file.format, what: error.to_string() }
    }

    /// The beginning of a record, and what waits to be unpacked.
    pub(in crate::formats) fn held_bytes(&self) -> u64 {
        self.splitter.held_bytes() + self.opening.held_bytes()
    }
}
