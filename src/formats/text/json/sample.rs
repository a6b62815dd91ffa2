//! What the first bytes of an object tell of its columns.

use super::parser::Parser;
use super::shape::Shape;
use super::splitter::Splitter;
use crate::config::json::{DOCUMENT_COLUMN, JsonAs, JsonOptions};
use crate::formats::text::chunk::{Chunk, Cut, SplitError};
use arrow::array::ArrayRef;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

/// The columns of the first records of an object.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The names of the columns in the order of their first appearance; kept values before those of the records.
    pub(crate) names: Vec<String>,
    /// For each chunk of rows, the values of each column, as they stand in the text.
    pub(crate) chunks: Vec<Vec<ArrayRef>>,
    /// How many records there are, without bad ones.
    pub(crate) rows: u64,
    /// How many records can't become rows.
    pub(crate) bad: u64,
    /// Why the object can't be split any further, if it can't.
    pub(crate) error: Option<SplitError>,
}

/// Reads `text`, the first bytes of an object, or all of them (`is_all`). A record that is not whole is left out. The other
/// arguments are those of [`Splitter::new`].
pub(crate) fn sample(
    options: &Arc<JsonOptions>,
    is_lines: bool,
    max_row_bytes: u64,
    max_depth: usize,
    text: Bytes,
    is_all: bool,
) -> Sample {
    let mut splitter = Splitter::new(Arc::clone(options), is_lines, max_row_bytes, max_depth);
    splitter.push(text);
    if is_all {
        splitter.finish();
    }
    let (mut chunks, mut bad, mut error) = (Vec::new(), 0, None);
    loop {
        match splitter.next() {
            Ok(Some(Cut::Chunk(chunk))) => chunks.push(chunk),
            Ok(Some(Cut::Bad(_))) => bad += 1,
            Ok(None) => break,
            Err(stopped) => {
                error = Some(stopped);
                break;
            }
        }
    }
    let shape = splitter.shape().unwrap_or(Shape::Lines);
    let names = Names::of(options, shape, max_depth, &chunks);
    let parser = Parser::new(options, shape, max_depth, names.clone());
    let mut sample = Sample { names, chunks: Vec::new(), rows: 0, bad, error };
    for parsed in chunks.iter().map(|chunk| parser.parse(chunk)) {
        sample.rows += parsed.numbers.len() as u64;
        sample.bad += parsed.bad.len() as u64;
        sample.chunks.push(parsed.columns);
    }
    sample
}

/// Names in the order of their first appearance.
#[derive(Default)]
struct Names {
    order: Vec<String>,
    seen: HashSet<String>,
}

impl Names {
    fn of(options: &JsonOptions, shape: Shape, max_depth: usize, chunks: &[Chunk]) -> Vec<String> {
        let mut names = Self::default();
        for name in options.keep.iter().filter_map(|keep| keep.name()) {
            names.add(name);
        }
        if options.read_as == JsonAs::Document {
            names.add(DOCUMENT_COLUMN);
            return names.order;
        }
        let mut no_columns = Parser::new(options, shape, max_depth, Vec::new());
        no_columns.has_null_others = true;
        for chunk in chunks {
            // Without columns, all keys are others.
            let others = no_columns.parse(chunk).others;
            for object in others.iter().flatten().flatten() {
                super::each_member(object, |name, _| names.add(name));
            }
        }
        names.order
    }

    fn add(&mut self, name: &str) {
        if !self.seen.contains(name) {
            self.seen.insert(String::from(name));
            self.order.push(String::from(name));
        }
    }
}
