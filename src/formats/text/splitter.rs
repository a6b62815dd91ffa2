//! One splitter for all text formats.

use super::chunk::{Cut, SplitError};
use super::{csv, json, lines};
use crate::config::TableOptions;
use crate::formats::format::Format;
use bytes::Bytes;
use std::sync::Arc;

/// Cuts a text into chunks of whole records.
#[derive(Debug)]
pub(super) enum Splitter {
    Csv(csv::Splitter),
    Json(Box<json::Splitter>),
    Lines(lines::Splitter),
}

impl Splitter {
    pub(super) fn new(format: Format, options: &TableOptions) -> Self {
        let limits = options.limits;
        match format {
            Format::Jsonl | Format::Json => {
                let lines = format == Format::Jsonl;
                let splitter =
                    json::Splitter::new(Arc::clone(&options.json), lines, limits.max_row_bytes, limits.max_depth);
                Self::Json(Box::new(splitter))
            }
            Format::Text => Self::Lines(lines::Splitter::new(limits.max_row_bytes)),
            _ => Self::Csv(csv::Splitter::new(Arc::clone(options.dialect(format)), limits.max_row_bytes)),
        }
    }

    /// Records are parsed into so many columns; what a header says counts more.
    pub(super) fn expect_columns(&mut self, columns: usize) {
        if let Self::Json(splitter) = self {
            splitter.expect_columns(columns);
        }
    }

    /// The next piece of the text.
    pub(super) fn push(&mut self, piece: Bytes) {
        match self {
            Self::Csv(splitter) => splitter.push(piece),
            Self::Json(splitter) => splitter.push(piece),
            Self::Lines(splitter) => splitter.push(piece),
        }
    }

    /// The text has ended.
    pub(super) fn finish(&mut self) {
        match self {
            Self::Csv(splitter) => splitter.finish(),
            Self::Json(splitter) => splitter.finish(),
            Self::Lines(splitter) => splitter.finish(),
        }
    }

    /// The next records; `None`: more text is needed, or it is the end.
    pub(super) fn next(&mut self) -> Result<Option<Cut>, SplitError> {
        match self {
            Self::Csv(splitter) => splitter.next(),
            Self::Json(splitter) => splitter.next(),
            Self::Lines(splitter) => splitter.next(),
        }
    }

    /// The beginning of a record that is carried.
    pub(super) fn held_bytes(&self) -> u64 {
        match self {
            Self::Csv(splitter) => splitter.held_bytes(),
            Self::Json(splitter) => splitter.held_bytes(),
            Self::Lines(splitter) => splitter.held_bytes(),
        }
    }
}
