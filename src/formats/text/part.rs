//! A part of an object of text: whole records, of which batches are made beside other parts.

use super::chunk::{BadRecord, Chunk, Cut, Parsed};
use super::splitter::Splitter;
use super::{csv, json, lines};
use crate::cast::counts::CastCounts;
use crate::cast::origin::Repeated;
use crate::cast::row_numbers::RowNumbers;
use crate::config::csv::CsvOptions;
use crate::config::{NestedAs, OnBadRow, OnTypeChange, TableOptions};
use crate::formats::assemble::{AssembleError, Assembled, Assembly, PartName, ReadRows};
use crate::formats::error::ReadError;
use crate::formats::format::Format;
use crate::formats::{Decoded, Output, Rows};
use crate::schema::field::FileField;
use crate::schema::fit::Fitted;
use crate::schema::names::{CQ_ID, CQ_PARENT_ID};
use crate::schema::rules::{Merges, Others};
use crate::schema::table::ColumnSource;
use crate::schema::text_forms::{TextForms, TextReading};
use crate::schema::text_types::TextTypes;
use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray};
use arrow::buffer::BooleanBuffer;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// By how much fewer rows are tried when a batch would have exceeded 32-bit offsets.
const OVERFLOW_SHRINK: usize = 64;
/// What records have beside the table's columns is looked at in so many rows of a part: enough to know the columns.
const MAX_UNKNOWN_ROWS: usize = 1_000;
/// Columns that one part may tell of.
const MAX_UNKNOWN_COLUMNS: usize = 1_600;

/// What all parts of an object are decoded with.
#[derive(Debug)]
pub(super) struct Object {
    format: Format,
    options: Arc<TableOptions>,
    parser: Parser,
    reading: TextReading,
    assembly: Assembly,
}

#[derive(Debug)]
enum Parser {
    Csv(csv::Parser),
    Json(json::Parser),
    Lines(lines::Parser),
}

impl Object {
    /// For the object that `splitter` has begun to cut.
    ///
    /// # Errors
    /// Columns that are not the table's, where that is an error.
    pub(super) fn new(
        format: Format,
        options: &Arc<TableOptions>,
        splitter: &Splitter,
        output: Output,
    ) -> Result<Self, ReadError> {
        let reading = reading(format, options);
        let header = match splitter {
            Splitter::Csv(splitter) => splitter.header().cloned(),
            Splitter::Json(_) | Splitter::Lines(_) => None,
        };
        check_names(format, header.as_deref())?;
        let shape = match splitter {
            Splitter::Json(splitter) => splitter.shape().unwrap_or(json::Shape::Lines),
            _ => json::Shape::Lines,
        };
        let names = match (&header, format) {
            (Some(header), _) => header.names.clone(),
            (None, Format::Json | Format::Jsonl) => names_of(&output),
            (None, _) => vec![lines::COLUMN.to_owned()],
        };
        // Those that nobody wants are not even cut out.
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut wanted = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let occurrence = seen.entry(name).or_default();
            if output.rules.reads(name, *occurrence) {
                wanted.push(index);
            }
            *occurrence += 1;
        }
        let fields: Vec<FileField> =
            names.iter().map(|name| FileField::of_text(name.clone(), reading.clone(), None)).collect();
        let parser = match (format, header) {
            (_, Some(header)) => Parser::Csv(csv::Parser::new(Arc::clone(options.dialect(format)), &header, &wanted)),
            (Format::Text, None) => Parser::Lines(lines::Parser::new(options.dialect(format).invalid_utf8)),
            (_, None) => {
                let fields = wanted.iter().filter_map(|index| names.get(*index)).cloned().collect();
                Parser::Json(
                    json::Parser::new(&options.json, shape, options.limits.max_depth, fields)
                        .leaving_out(Arc::clone(&output.rules)),
                )
            }
        };
        let assembly = Assembly::new(&fields, output)?;
        Ok(Self { format, options: Arc::clone(options), parser, reading, assembly })
    }
}

/// Columns that have no names are an error: their values would be in the wrong ones.
pub(super) fn check_names(format: Format, header: Option<&csv::Header>) -> Result<(), ReadError> {
    match header.and_then(|header| header.unnamed.as_ref()) {
        Some(what) => Err(ReadError::Unnamed { format, what: what.clone() }),
        None => Ok(()),
    }
}

/// How texts of this format are read as values.
pub(super) fn reading(format: Format, options: &TableOptions) -> TextReading {
    match format {
        Format::Json | Format::Jsonl => TextReading::Json,
        _ => TextReading::Csv(Arc::new(forms(options.dialect(format)))),
    }
}

/// How values of CSV are written.
fn forms(options: &CsvOptions) -> TextForms {
    TextForms {
        true_values: options.true_values.clone(),
        false_values: options.false_values.clone(),
        decimal_comma: options.decimal_comma,
    }
}

/// How nested values of JSON travel.
pub(super) fn nested_as(options: &TableOptions) -> NestedAs {
    options.json.nested.unwrap_or(options.nested_as)
}

/// The names that files have for the columns of a table, and for the ids of its rows where these are taken from files.
fn names_of(output: &Output) -> Vec<String> {
    let ids = if output.rules.restores_ids() { &[CQ_ID, CQ_PARENT_ID][..] } else { &[] };
    let mut names: Vec<String> = ids.iter().map(|name| (*name).to_owned()).collect();
    for column in output.table.columns() {
        match &column.source {
            // An object's key is there once: its last value, or the record is bad.
            ColumnSource::File { name, occurrence: 0 } => names.push(name.clone()),
            ColumnSource::Key { name } if output.rules.stands_in(name) => names.push(name.clone()),
            ColumnSource::File { .. } | ColumnSource::Key { .. } | ColumnSource::Rescue => {}
        }
    }
    names
}

/// Whole records of an object.
#[derive(Debug)]
pub(crate) struct Part {
    object: Arc<Object>,
    cut: Cut,
}

impl Part {
    pub(super) fn new(object: Arc<Object>, cut: Cut) -> Self {
        Self { object, cut }
    }

    /// Its rows. What is wrong with a record comes with the rows before it, or beside them.
    pub(crate) fn decode(self) -> Decoded {
        let Self { object, cut } = self;
        let chunk = match cut {
            Cut::Chunk(chunk) => chunk,
            Cut::Bad(record) => return object.decode_bad(record),
        };
        let parsed = match &object.parser {
            Parser::Csv(parser) => parser.parse(&chunk),
            Parser::Json(parser) => parser.parse(&chunk),
            Parser::Lines(parser) => parser.parse(&chunk),
        };
        object.decode(parsed, &chunk)
    }
}

impl Object {
    /// A record that could not even be cut out.
    fn decode_bad(&self, record: BadRecord) -> Decoded {
        let is_error = self.options.bad_rows.on == OnBadRow::Fail;
        let error = is_error.then(|| self.bad_record(&record));
        let bad = if is_error { Vec::new() } else { vec![record] };
        Decoded { rows: Vec::new(), bad, error, unknown: Vec::new() }
    }

    /// What is counted of all objects of the table.
    pub(super) fn counts(&self) -> &CastCounts {
        &self.assembly.output().counts
    }

    fn decode(&self, parsed: Parsed, chunk: &Chunk) -> Decoded {
        let counts = self.counts();
        counts.characters_replaced.fetch_add(parsed.replaced, Ordering::Relaxed);
        counts.short_rows.fetch_add(parsed.short_rows, Ordering::Relaxed);
        let Parsed { numbers, columns, others, mut bad, .. } = parsed;
        let leaves_out = |merges: &Merges| merges.others == Others::LeftOut;
        let others = others.filter(|_| !self.assembly.output().rules.merges.as_ref().is_some_and(leaves_out));
        let mut rows = numbers.len();
        let mut error = None;
        if self.options.bad_rows.on == OnBadRow::Fail
            && let Some(first) = bad.first()
        {
            rows = numbers.count_before(first.number);
            error = Some(self.bad_record(first));
            bad.clear();
        }
        let unknown = self.unknown(&columns, others.as_ref());
        let mut decoded = Decoded { rows: Vec::with_capacity(1), bad, error, unknown };
        let part = PartName { word: "records from", number: chunk.first_record };
        let texts = Texts { numbers, columns, others, part, offset: chunk.offset };
        if let Err(error) = self.assemble(&texts, rows, &mut decoded) {
            decoded.error = Some(error);
        }
        decoded
    }

    /// Batches of the first `rows` rows.
    fn assemble(&self, texts: &Texts, rows: usize, decoded: &mut Decoded) -> Result<(), ReadError> {
        let (mut at, mut most) = (0, rows);
        let mut repeated: Option<Repeated> = None;
        while at < rows {
            let count = most.min(rows - at);
            let read = texts.slice(at, count);
            match self.assembly.assemble(read.rows(), count, &mut repeated) {
                Ok(Assembled { batch, bad, lost, then }) => {
                    self.see_lost(&read.columns, &lost, &mut decoded.unknown);
                    let numbers = self.good_numbers(&read, &bad, batch.num_rows());
                    decoded.bad.extend(bad.into_iter().map(|(row, what)| read.bad(row, what)));
                    decoded.rows.push(Rows { numbers, batch });
                    if let Some(error) = then {
                        return Err(error);
                    }
                    at += count;
                }
                Err(AssembleError::OverBudget(fit)) => most = fit.clamp(1, count.saturating_sub(1).max(1)),
                Err(AssembleError::TooLarge(error)) if count <= 1 => return Err(error),
                Err(AssembleError::TooLarge(_)) => most = (count / OVERFLOW_SHRINK).max(1),
                Err(AssembleError::Other(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The numbers of `good` rows of those that were read, without the `bad` ones among and before them.
    fn good_numbers(&self, read: &Texts, bad: &[(usize, String)], good: usize) -> RowNumbers {
        let numbers = read.numbers.cut(good + bad.len());
        if bad.is_empty() {
            return numbers;
        }
        numbers.filter(|row| bad.binary_search_by_key(&row, |(row, _)| *row).is_err())
    }

    /// What the values are that their columns do not hold, where the columns may get wider types.
    fn see_lost(&self, columns: &[ArrayRef], lost: &[(usize, BooleanBuffer)], unknown: &mut Vec<(String, TextTypes)>) {
        if self.options.schema.on_type_change != OnTypeChange::Widen {
            return;
        }
        let names = self.assembly.fit().columns.iter().filter_map(Fitted::file);
        for (index, rows) in lost {
            let column = names.clone().find(|column| column.from.index == *index);
            let texts = columns.get(*index).map(|column| column.as_string::<i32>());
            let (Some(column), Some(texts)) = (column, texts) else { continue };
            let mut types = TextTypes::default();
            rows.set_indices().take(MAX_UNKNOWN_ROWS).for_each(|row| self.see(texts.value(row), &mut types));
            unknown.push((column.from.field.name.clone(), types));
        }
    }

    fn see(&self, text: &str, types: &mut TextTypes) {
        match &self.reading {
            TextReading::Csv(forms) => types.see_text(text, forms),
            TextReading::Json => types.see_json(text, nested_as(&self.options)),
        }
    }

    fn bad_record(&self, bad: &BadRecord) -> ReadError {
        let (record, offset, reason) = (bad.number, bad.offset, bad.reason.to_string());
        ReadError::BadRecord { format: self.format, record, offset, reason }
    }

    /// What the records have beside the table's columns.
    fn unknown(&self, columns: &[ArrayRef], others: Option<&StringArray>) -> Vec<(String, TextTypes)> {
        let mut unknown: BTreeMap<String, TextTypes> = BTreeMap::new();
        let nested = nested_as(&self.options);
        for column in &self.assembly.fit().others {
            // The second of a name is told from the first in its own file alone.
            if column.occurrence > 0 {
                continue;
            }
            let types = unknown.entry(column.label()).or_default();
            let texts = columns.get(column.index).map(|column| column.as_string::<i32>());
            let texts = texts.into_iter().flatten().flatten().take(MAX_UNKNOWN_ROWS);
            texts.for_each(|text| self.see(text, types));
        }
        if let (Parser::Json(_), Some(others)) =
            (&self.parser, others.filter(|others| others.null_count() < others.len()))
        {
            for other in others.iter().flatten().take(MAX_UNKNOWN_ROWS) {
                json::each_member(other, |name, value| {
                    if let Some(types) = unknown.get_mut(name) {
                        types.see_json(value, nested);
                    } else if unknown.len() < MAX_UNKNOWN_COLUMNS {
                        unknown.entry(name.to_owned()).or_default().see_json(value, nested);
                    }
                });
            }
        }
        unknown.into_iter().collect()
    }
}

/// The texts of a part.
#[derive(Debug)]
struct Texts {
    numbers: RowNumbers,
    columns: Vec<ArrayRef>,
    others: Option<StringArray>,
    part: PartName,
    /// Where the part begins in the unpacked text.
    offset: u64,
}

impl Texts {
    fn slice(&self, at: usize, rows: usize) -> Self {
        Self {
            numbers: self.numbers.slice(at, rows),
            columns: self.columns.iter().map(|column| column.slice(at, rows)).collect(),
            others: self.others.as_ref().map(|others| others.slice(at, rows)),
            part: self.part,
            offset: self.offset,
        }
    }

    /// A record with a value that is not of its column's type. What it says is not at hand any more.
    fn bad(&self, row: usize, what: String) -> BadRecord {
        BadRecord::of_value(self.numbers.number(row), self.offset, what)
    }

    fn rows(&self) -> ReadRows<'_> {
        let others = self.others.as_ref();
        ReadRows { columns: &self.columns, second: None, others, numbers: &self.numbers, part: self.part }
    }
}
