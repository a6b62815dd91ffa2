//! What the first bytes of an object show: its header and the values of its first records.

use super::header::Header;
use super::parser::Parser;
use super::splitter::Splitter;
use crate::config::csv::CsvOptions;
use crate::formats::text::chunk::{Cut, Parsed, SplitError};
use arrow::array::AsArray as _;
use bytes::Bytes;
use std::sync::Arc;

/// The first records of an object.
#[derive(Debug)]
pub(crate) struct Sample {
    /// `None` where the first bytes don't hold the first record, and of an object that has neither a header nor records.
    pub(crate) header: Option<Arc<Header>>,
    /// All columns of the complete records, in order.
    pub(crate) chunks: Vec<Parsed>,
    /// Why there are no more of them, unless it is that the bytes end.
    pub(crate) failed: Option<SplitError>,
}

impl Sample {
    /// Of the first bytes of the text of an object, which may end anywhere; `is_whole`: they are all. Bad records are left out.
    pub(crate) fn read(options: &Arc<CsvOptions>, text: Bytes, is_whole: bool, max_row_bytes: u64) -> Self {
        let mut splitter = Splitter::new(Arc::clone(options), max_row_bytes);
        splitter.push(text);
        if is_whole {
            splitter.finish();
        }
        let mut sample = Self { header: None, chunks: Vec::new(), failed: None };
        let mut parser = None;
        let mut is_detected = false;
        loop {
            match splitter.next() {
                Ok(Some(Cut::Chunk(chunk))) => {
                    let Some(header) = splitter.header() else { continue };
                    let parser = parser.get_or_insert_with(|| {
                        let all: Vec<usize> = (0..header.names.len()).collect();
                        Parser::new(Arc::clone(options), header, &all)
                    });
                    sample.chunks.push(parser.parse(&chunk));
                }
                Ok(Some(Cut::Bad(_))) => {}
                // Too little to know the delimiter for sure is no reason to show nothing.
                Ok(None) if !is_detected => {
                    is_detected = true;
                    splitter.detect_now();
                }
                Ok(None) => break,
                Err(error) => {
                    sample.failed = Some(error);
                    break;
                }
            }
        }
        sample.header = splitter.header().cloned();
        sample
    }

    /// The values of a column, by its index in the header, without nulls.
    pub(crate) fn values(&self, column: usize) -> impl Iterator<Item = &str> {
        let arrays = self.chunks.iter().filter_map(move |chunk| chunk.columns.get(column));
        arrays.flat_map(|array| array.as_string::<i32>().iter().flatten())
    }

    /// How many records it has that are rows.
    pub(crate) fn rows(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.numbers.len()).sum()
    }
}
