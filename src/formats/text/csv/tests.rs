//! Texts and the rows that they are.

mod cases;
mod others;
mod properties;
mod reference;
mod speed;

use super::header::Header;
use super::{Parser, Splitter};
use crate::config::csv::CsvOptions;
use crate::formats::text::chunk::{BadRecord, Cut, Parsed, SplitError};
use arrow::array::{Array as _, AsArray as _};
use bytes::Bytes;
use std::sync::Arc;

/// More than any text here has.
const MAX_ROW_BYTES: u64 = 1 << 20;

/// What an object gives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    header: Option<Vec<String>>,
    /// The number of each row, and its values.
    rows: Vec<(u64, Vec<Option<String>>)>,
    /// What each row has for the rescue column.
    others: Vec<Option<String>>,
    bad: Vec<BadRecord>,
    replaced: u64,
    short_rows: u64,
    error: Option<SplitError>,
}

impl Read {
    /// The values without their numbers; `-` is null.
    fn values(&self) -> Vec<Vec<&str>> {
        self.rows
            .iter()
            .map(|(_, values)| values.iter().map(|value| value.as_deref().unwrap_or("-")).collect())
            .collect()
    }

    fn numbers(&self) -> Vec<u64> {
        self.rows.iter().map(|(number, _)| *number).collect()
    }

    fn reasons(&self) -> Vec<(u64, u64, String)> {
        self.bad.iter().map(|bad| (bad.number, bad.offset, bad.reason.to_string())).collect()
    }

    fn take(&mut self, parsed: Parsed) {
        for row in 0..parsed.numbers.len() {
            let value = |column: &arrow::array::ArrayRef| {
                let column = column.as_string::<i32>();
                assert_eq!(column.len(), parsed.numbers.len());
                column.is_valid(row).then(|| column.value(row).to_owned())
            };
            self.rows.push((parsed.numbers.number(row), parsed.columns.iter().map(value).collect()));
            let others = parsed.others.as_ref();
            self.others.push(others.filter(|others| others.is_valid(row)).map(|others| others.value(row).to_owned()));
        }
        self.bad.extend(parsed.bad);
        self.replaced += parsed.replaced;
        self.short_rows += parsed.short_rows;
    }
}

/// What the pieces of an object give; `wanted` are the columns that are read, `None` all.
fn read_pieces(options: &CsvOptions, pieces: &[&[u8]], max_row_bytes: u64, wanted: Option<&[usize]>) -> Read {
    let options = Arc::new(options.clone());
    let mut splitter = Splitter::new(Arc::clone(&options), max_row_bytes);
    let mut parser: Option<Parser> = None;
    let mut read = Read::default();
    for piece in pieces.iter().map(Some).chain([None]) {
        match piece {
            Some(piece) => splitter.push(Bytes::copy_from_slice(piece)),
            None => splitter.finish(),
        }
        loop {
            match splitter.next() {
                Ok(Some(Cut::Chunk(chunk))) => {
                    let header = splitter.header().unwrap();
                    let all: Vec<usize> = (0..header.names.len()).collect();
                    let parser =
                        parser.get_or_insert_with(|| Parser::new(Arc::clone(&options), header, wanted.unwrap_or(&all)));
                    let before = read.rows.len() + read.bad.len();
                    read.take(parser.parse(&chunk));
                    assert!(read.rows.len() + read.bad.len() <= before + usize::try_from(chunk.records).unwrap());
                }
                Ok(Some(Cut::Bad(bad))) => read.bad.push(bad),
                Ok(None) => break,
                Err(error) => {
                    read.error = Some(error);
                    break;
                }
            }
        }
        if read.error.is_some() {
            break;
        }
    }
    read.header = splitter.header().map(|header: &Arc<Header>| header.names.clone());
    read
}

fn read(options: &CsvOptions, text: &str) -> Read {
    read_pieces(options, &[text.as_bytes()], MAX_ROW_BYTES, None)
}

fn without_header() -> CsvOptions {
    CsvOptions { header: false, ..CsvOptions::default() }
}
