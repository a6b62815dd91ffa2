//! What all tests of JSON share: objects, split and parsed as a whole.

use super::{Parser, Shape, Splitter};
use crate::config::json::{JsonAs, JsonOptions, JsonRecords};
use crate::formats::text::chunk::{Chunk, Cut, RowNumbers, SplitError};
use arrow::array::{Array, AsArray};
use bytes::Bytes;
use std::sync::Arc;

mod cuts;
mod documents;
mod lines;
mod reference;
mod samples;
mod speed;

const MOST_BYTES: u64 = 1 << 20;
const MOST_LEVELS: usize = 64;

/// How a text is read.
#[derive(Debug, Clone)]
pub(super) struct How {
    options: JsonOptions,
    is_lines: bool,
    most_bytes: u64,
    names: Vec<String>,
    piece_bytes: usize,
}

/// What a record became: its number, its values and others; or its number, offset and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    Row(u64, Vec<Option<String>>, Option<String>),
    Bad(u64, u64, String, Bytes),
}

pub(super) fn json(names: &[&str]) -> How {
    let names = names.iter().copied().map(String::from).collect();
    How { options: JsonOptions::default(), is_lines: false, most_bytes: MOST_BYTES, names, piece_bytes: usize::MAX }
}

pub(super) fn jsonl(names: &[&str]) -> How {
    How { is_lines: true, ..json(names) }
}

impl How {
    fn records(mut self, pointer: &str) -> Self {
        self.options.records = JsonRecords::At(pointer.parse().unwrap());
        self
    }

    fn keep(mut self, pointers: &[&str]) -> Self {
        self.options.keep = pointers.iter().map(|pointer| pointer.parse().unwrap()).collect();
        self
    }

    fn document(mut self) -> Self {
        self.options.read_as = JsonAs::Document;
        self
    }

    fn pieces(mut self, bytes: usize) -> Self {
        self.piece_bytes = bytes;
        self
    }

    /// The chunks and bad records of the splitter, its shape, and its error.
    fn split(&self, text: &[u8]) -> (Vec<Cut>, Option<Shape>, Option<SplitError>) {
        let mut splitter = Splitter::new(Arc::new(self.options.clone()), self.is_lines, self.most_bytes, MOST_LEVELS);
        let mut cuts = Vec::new();
        let text = Bytes::copy_from_slice(text);
        let (mut from, mut is_finished) = (0, false);
        loop {
            match splitter.next() {
                Ok(Some(cut)) => cuts.push(cut),
                Err(error) => return (cuts, splitter.shape(), Some(error)),
                Ok(None) if from < text.len() => {
                    let to = text.len().min(from.saturating_add(self.piece_bytes));
                    splitter.push(text.slice(from..to));
                    from = to;
                }
                Ok(None) if !is_finished => {
                    splitter.finish();
                    is_finished = true;
                }
                Ok(None) => return (cuts, splitter.shape(), None),
            }
        }
    }

    fn read(&self, text: impl AsRef<[u8]>) -> (Vec<Read>, Option<SplitError>) {
        let (cuts, shape, error) = self.split(text.as_ref());
        let mut read = Vec::new();
        for cut in cuts {
            match cut {
                Cut::Chunk(chunk) => read.extend(self.parse(shape.unwrap(), &chunk)),
                Cut::Bad(bad) => read.push(Read::Bad(bad.number, bad.offset, bad.reason.to_string(), bad.raw)),
            }
        }
        let numbers: Vec<u64> = read
            .iter()
            .map(|read| match read {
                Read::Row(number, ..) | Read::Bad(number, ..) => *number,
            })
            .collect();
        assert_eq!(numbers, (0..read.len() as u64).collect::<Vec<_>>(), "{}", String::from_utf8_lossy(text.as_ref()));
        (read, error)
    }

    fn parse(&self, shape: Shape, chunk: &Chunk) -> Vec<Read> {
        let parsed = Parser::new(&self.options, shape, MOST_LEVELS, self.names.clone()).parse(chunk);
        let value = |array: &dyn Array, row: usize| {
            let texts = array.as_string::<i32>();
            texts.is_valid(row).then(|| String::from(texts.value(row)))
        };
        assert!(parsed.columns.iter().all(|column| column.len() == parsed.numbers.len()));
        if let RowNumbers::From { first, .. } = parsed.numbers {
            assert_eq!(first, chunk.first_record);
        }
        let mut read: Vec<Read> = (0..parsed.numbers.len())
            .map(|row| {
                let values = parsed.columns.iter().map(|column| value(column, row)).collect();
                let others = parsed.others.as_ref().and_then(|others| value(others, row));
                Read::Row(parsed.numbers.number(row), values, others)
            })
            .collect();
        read.extend(
            parsed.bad.into_iter().map(|bad| Read::Bad(bad.number, bad.offset, bad.reason.to_string(), bad.raw)),
        );
        read.sort_by_key(|read| match read {
            Read::Row(number, ..) | Read::Bad(number, ..) => *number,
        });
        read
    }

    /// One line a record: `values | others`, or `bad offset: reason`.
    fn shown(&self, text: impl AsRef<[u8]>) -> Vec<String> {
        let (read, error) = self.read(text);
        let shown = |read: Read| match read {
            Read::Row(_, values, others) => {
                let values: Vec<String> =
                    values.into_iter().map(|value| value.unwrap_or_else(|| String::from("-"))).collect();
                let others = others.map(|others| format!(" | {others}")).unwrap_or_default();
                format!("{}{others}", values.join(" "))
            }
            Read::Bad(_, offset, reason, _) => format!("bad {offset}: {reason}"),
        };
        read.into_iter().map(shown).chain(error.map(|error| format!("error: {error}"))).collect()
    }
}
