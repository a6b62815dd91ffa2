//! The columns of an object of text, by its first bytes.

use super::MAX_SAMPLE_BYTES;
use super::opening::Opening;
use super::part::{check_names, nested_as, reading};
use super::{csv, json, lines};
use crate::config::csv::CsvTypes;
use crate::config::json::{DOCUMENT_COLUMN, JsonAs, JsonTypes};
use crate::config::{NestedAs, TableOptions};
use crate::formats::error::ReadError;
use crate::formats::format::Format;
use crate::schema::field::FileField;
use crate::schema::file::FileSchema;
use crate::schema::text_forms::TextReading;
use crate::schema::text_types::TextTypes;
use arrow::array::AsArray as _;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// By how much more is looked at where the sample does not hold a whole record.
const SAMPLE_GROWTH: u64 = 4;

/// The columns that the object with these first bytes has; `None`: they do not hold a whole record.
pub(super) fn schema(
    format: Format,
    options: &Arc<TableOptions>,
    head: &Bytes,
    is_whole: bool,
) -> Result<Option<FileSchema>, ReadError> {
    let mut sample_bytes = options.schema.sample.bytes;
    loop {
        let (text, is_all) = text(format, options, head, is_whole, sample_bytes)?;
        let is_short = (text.len() as u64) < sample_bytes;
        if let Some(schema) = of_text(format, options, text, is_all)? {
            return Ok(Some(schema));
        }
        if sample_bytes >= MAX_SAMPLE_BYTES || (is_short && head.len() as u64 >= MAX_SAMPLE_BYTES) {
            return of_text(format, options, Bytes::new(), true);
        }
        if is_short && !is_whole {
            return Ok(None);
        }
        if is_short {
            return of_text(format, options, Bytes::new(), true);
        }
        sample_bytes = sample_bytes.saturating_mul(SAMPLE_GROWTH).min(MAX_SAMPLE_BYTES);
    }
}

/// The columns of an object whose text begins with, or is, `text`; `None`: it does not hold a whole record.
fn of_text(
    format: Format,
    options: &Arc<TableOptions>,
    text: Bytes,
    is_whole: bool,
) -> Result<Option<FileSchema>, ReadError> {
    let reading = reading(format, options);
    let nested = nested_as(options);
    let columns = match format {
        Format::Text => {
            let mut types = TextTypes::default();
            types.see_only_text();
            vec![(lines::COLUMN.to_owned(), types)]
        }
        Format::Json | Format::Jsonl => {
            let Some(columns) = of_json(format, options, text, is_whole) else { return Ok(None) };
            columns
        }
        _ => {
            let dialect = options.dialect(format);
            let sample = csv::Sample::read(dialect, text, is_whole, options.limits.max_row_bytes);
            let Some(header) = &sample.header else {
                return Ok(is_whole.then(|| FileSchema { columns: Vec::new() }));
            };
            check_names(format, Some(header))?;
            if sample.rows() == 0 && sample.failed.is_none() && !is_whole {
                return Ok(None);
            }
            let types = |column: usize| {
                let mut types = TextTypes::default();
                match (&reading, dialect.types) {
                    (TextReading::Csv(forms), CsvTypes::Infer) => {
                        sample.values(column).for_each(|text| types.see_text(text, forms));
                    }
                    _ => types.see_only_text(),
                }
                types
            };
            header.names.iter().enumerate().map(|(column, name)| (name.clone(), types(column))).collect()
        }
    };
    let fields: Vec<FileField> = columns
        .into_iter()
        .map(|(name, types)| FileField::of_text(name, reading.clone(), Some(Arc::new(types))))
        .collect();
    Ok(Some(FileSchema::of_fields(&fields, nested)))
}

/// The names of a JSON object's records in the order of their appearance, with what their values are.
fn of_json(
    format: Format,
    options: &Arc<TableOptions>,
    text: Bytes,
    is_whole: bool,
) -> Option<Vec<(String, TextTypes)>> {
    let nested = nested_as(options);
    let limits = options.limits;
    let is_lines = format == Format::Jsonl;
    let sample = json::sample(&options.json, is_lines, limits.max_row_bytes, limits.max_depth, text, is_whole);
    if sample.rows + sample.bad == 0 && sample.error.is_none() && !is_whole {
        return None;
    }
    let is_document = |column: usize| {
        options.json.read_as == JsonAs::Document && sample.names.get(column).is_some_and(|name| name == DOCUMENT_COLUMN)
    };
    let types = |column: usize| {
        let mut types = TextTypes::default();
        let arrays = sample.chunks.iter().filter_map(|chunk| chunk.get(column));
        let values = arrays.flat_map(|array| array.as_string::<i32>().iter().flatten());
        match options.json.types {
            // Whatever it is: nothing is looked at.
            _ if is_document(column) => types.see_json("{}", NestedAs::Json),
            JsonTypes::Infer => values.for_each(|value| types.see_json(value, nested)),
            JsonTypes::Text => values.for_each(|value| match value.as_bytes() {
                [b'{' | b'[', ..] => types.see_json(value, nested),
                _ => types.see_only_text(),
            }),
        }
        types
    };
    Some(sample.names.iter().enumerate().map(|(column, name)| (name.clone(), types(column))).collect())
}

/// The first text of an object, and whether it is all.
fn text(
    format: Format,
    options: &Arc<TableOptions>,
    head: &Bytes,
    is_whole: bool,
    most_bytes: u64,
) -> Result<(Bytes, bool), ReadError> {
    let most_bytes = usize::try_from(most_bytes).unwrap_or(usize::MAX);
    let mut opening = Opening::new(format, options);
    opening.push(head.clone());
    if is_whole {
        opening.finish();
    }
    let mut text = BytesMut::new();
    loop {
        match opening.next() {
            Ok(Some(piece)) if text.is_empty() && opening.is_done() => return Ok((piece, true)),
            Ok(Some(piece)) => text.extend_from_slice(&piece[..piece.len().min(most_bytes - text.len())]),
            Ok(None) => return Ok((text.freeze(), opening.is_done())),
            Err(error @ ReadError::OtherFormat { .. }) => return Err(error),
            // Whoever reads the object says so, behind the rows before it.
            Err(error) if text.is_empty() => return Err(error),
            Err(_) => return Ok((text.freeze(), false)),
        }
        if text.len() >= most_bytes {
            return Ok((text.freeze(), false));
        }
    }
}
