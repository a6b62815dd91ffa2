//! Types that files of CloudQuery's destinations have lost: from the description of the source's tables, or from values.
//!
//! The description is one object, which is read at the start. Values are those at the beginning of some of a table's
//! objects, such as the first row group, of columns of text alone; they are looked at once: a table with a stored schema keeps
//! its types.
//!
//! The description names the columns of CSV without a header, too.

use super::context::Context;
use super::cpu;
use super::error::Error;
use super::head_guess::HeadGuess;
use super::inspect::{Inspector, Kind, Room, inspect_listed};
use super::need::{Fetch, SMALL_OBJECT_BYTES};
use super::sending::facts;
use crate::cast::counts::CastCounts;
use crate::cast::kinds::Kinds;
use crate::cast::origin::Origin;
use crate::cloudquery::source::{ErrorKind, SourceError};
use crate::config::csv::CsvOptions;
use crate::config::{NestedAs, RestoreTypes, TableOptions};
use crate::error_chain::error_chain;
use crate::formats::fetched::FetchedRanges;
use crate::formats::format::Format;
use crate::formats::{Output, Reader, Step};
use crate::memory::Admitted;
use crate::s3::{ByteRange, ETag, RetryBudget, Store};
use crate::schema::by_hand::label;
use crate::schema::rules::ColumnRules;
use crate::schema::source_tables::SourceTables;
use crate::schema::table::{ColumnSource, TableColumn, TableSchema};
use crate::schema::types::ColumnType;
use crate::tables::group::ListedObject;
use arrow::array::AsArray as _;
use futures::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Objects of a table whose values are looked at: the first, the last, and between them as many as are evenly spread.
const SAMPLED_OBJECTS: usize = 20;
/// The largest description of a source's tables that is read. That of a source with 1,500 tables has some 6 MiB.
const MAX_TABLES_JSON_BYTES: u64 = 16 << 20;
/// What is looked at of an object that is read in pieces of any size, at most, in bytes: what is fetched whole of small ones.
/// Where it is one record batch, less would show nothing.
const LOOKED_AT_BYTES: u64 = SMALL_OBJECT_BYTES;
/// Columns beside those of a table: the ids.
const ID_COLUMNS: usize = 2;

/// Descriptions of sources, by the keys of their objects.
pub(crate) type Descriptions = BTreeMap<String, SourceTables>;

/// Reads the descriptions that these options name, each once.
///
/// # Errors
/// When one cannot be read: the types of all its tables would be other ones.
pub(crate) async fn descriptions<'a>(
    store: &Store,
    options: impl IntoIterator<Item = &'a TableOptions>,
) -> Result<Descriptions, SourceError> {
    let mut read = Descriptions::new();
    for options in options {
        let RestoreTypes::TablesJson { key } = &options.restore_types else { continue };
        if !read.contains_key(key) {
            read.insert(key.clone(), description(store, key).await?);
        }
    }
    Ok(read)
}

async fn description(store: &Store, key: &str) -> Result<SourceTables, SourceError> {
    let range = ByteRange::Prefix { len: MAX_TABLES_JSON_BYTES };
    let fetched = store.get(key, range, None, &RetryBudget::default()).await.map_err(|error| {
        if error.is_fatal() {
            return super::error::fatal(&error);
        }
        unusable(store, key, &error_chain(&error))
    })?;
    if fetched.object_bytes > MAX_TABLES_JSON_BYTES {
        let text = format!("it has {} bytes, and no more than {MAX_TABLES_JSON_BYTES} are read", fetched.object_bytes);
        return Err(unusable(store, key, &text));
    }
    let bytes = fetched.bytes;
    let parsed = cpu::run(move || SourceTables::parse(&bytes)).await;
    let parsed = parsed.map_err(|error| SourceError::new(ErrorKind::Internal, error.to_string()))?;
    parsed.map_err(|what| {
        unusable(store, key, &format!("it is not what `cloudquery tables --format json` writes: {what}"))
    })
}

fn unusable(store: &Store, key: &str, what: &str) -> SourceError {
    let bucket = store.bucket();
    let text = format!("restore_types.tables_json: the object {key:?} of bucket {bucket} cannot be used: {what}");
    SourceError::new(ErrorKind::InvalidSpec, text)
}

/// The rules of a table, with the types that are known before its files are looked at: those of its stored schema, and of the
/// description of its source.
pub(crate) fn rules(cx: &Context, table: &str, options: &TableOptions, stored: Option<&TableSchema>) -> ColumnRules {
    let mut rules = ColumnRules::new(options);
    let key = match &options.restore_types {
        RestoreTypes::Off => return rules,
        RestoreTypes::CloudQuery => None,
        RestoreTypes::TablesJson { key } => Some(key),
    };
    let mut types: BTreeMap<String, Option<ColumnType>> = BTreeMap::new();
    if let Some(description) = key.and_then(|key| cx.descriptions.get(key)) {
        match description.columns(table) {
            Some(columns) => {
                if stored.is_none() {
                    rules = rules.ordered(columns.iter().map(|column| column.name.clone()).collect());
                }
                let nested_as = options.json.nested.unwrap_or(options.nested_as);
                let told = |told: &ColumnType| travelling(told.clone(), nested_as);
                types.extend(columns.iter().map(|c| (c.name.clone(), c.column_type.as_ref().map(told))));
            }
            None => tracing::warn!(
                table,
                "restore_types.tables_json describes no table of this name: its columns of text stay text"
            ),
        }
    }
    // What was announced stays. Of other columns the values say what they are, in files of text by other rules than where it is
    // told.
    let is_restored = |label: &String, column_type: Option<&ColumnType>| match key {
        Some(_) => types.contains_key(label),
        None => column_type.is_none_or(is_of_values),
    };
    let announced = stored.into_iter().flat_map(TableSchema::columns).filter_map(stored_type);
    let announced: Vec<_> = announced.filter(|(label, kind)| is_restored(label, kind.as_ref())).collect();
    types.extend(announced);
    rules.restoring(types.into_iter().filter_map(|(label, column_type)| Some((label, column_type?))))
}

/// The options of a table, with the names of the columns of objects that have none, if a description of its source says them.
pub(crate) fn named(cx: &Context, table: &str, options: &Arc<TableOptions>) -> Arc<TableOptions> {
    let RestoreTypes::TablesJson { key } = &options.restore_types else { return Arc::clone(options) };
    if !options.csv.lacks_names() && !options.tsv.lacks_names() {
        return Arc::clone(options);
    }
    let described = cx.descriptions.get(key).and_then(|description| description.columns(table));
    let described: Option<Arc<[String]>> = described.map(|columns| columns.iter().map(|c| c.name.clone()).collect());
    let with = |dialect: &Arc<CsvOptions>| Arc::new(CsvOptions { described: described.clone(), ..(**dialect).clone() });
    Arc::new(TableOptions { csv: with(&options.csv), tsv: with(&options.tsv), ..(**options).clone() })
}

/// Of the type that the description says: lists travel as all nested values do.
fn travelling(column_type: ColumnType, nested_as: NestedAs) -> ColumnType {
    match column_type {
        ColumnType::List(_) if nested_as == NestedAs::Json => ColumnType::Json,
        other => other,
    }
}

/// Types that values alone tell.
fn is_of_values(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::Uuid | ColumnType::Json | ColumnType::Inet | ColumnType::Mac)
}

/// The stored type of a column, as far as it may have been one of text before.
fn stored_type(column: &TableColumn) -> Option<(String, Option<ColumnType>)> {
    let ColumnSource::File { name, occurrence } = &column.source else { return None };
    let restored = Some(column.column_type.clone()).filter(|kind| *kind != ColumnType::Utf8);
    Some((label(name, *occurrence).into_owned(), restored))
}

/// The columns of a table without a stored schema, and what it makes of its files' columns.
pub(crate) struct Told {
    pub(crate) columns: TableSchema,
    pub(crate) rules: ColumnRules,
}

/// The columns with the types that values of some objects tell, if the spec wants that.
///
/// # Errors
/// When nothing will work.
pub(crate) async fn told(
    cx: &Context,
    options: &Arc<TableOptions>,
    columns: TableSchema,
    rules: ColumnRules,
    objects: Vec<(String, ListedObject)>,
) -> Result<Told, SourceError> {
    if options.restore_types != RestoreTypes::CloudQuery {
        return Ok(Told { columns, rules });
    }
    let types = Box::pin(types_of_values(cx, options, &columns, &rules, objects)).await?;
    let rules = rules.restoring(types);
    Ok(Told { columns: rules.with_restored_types(&columns), rules })
}

/// Which of `len` objects are looked at.
pub(crate) fn sampled(len: usize) -> Vec<usize> {
    if len <= SAMPLED_OBJECTS {
        return (0..len).collect();
    }
    (0..SAMPLED_OBJECTS).map(|n| n * (len - 1) / (SAMPLED_OBJECTS - 1)).collect()
}

/// The types of which all values are that were looked at: of the columns of text of `table`, by what the spec calls them.
///
/// # Errors
/// When nothing will work. Objects that cannot be read are left out: who sends them says so.
async fn types_of_values(
    cx: &Context,
    options: &Arc<TableOptions>,
    table: &TableSchema,
    rules: &ColumnRules,
    objects: Vec<(String, ListedObject)>,
) -> Result<Vec<(String, ColumnType)>, SourceError> {
    let columns: Vec<TableColumn> = table.columns().iter().filter(|column| is_open(column, rules)).cloned().collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let labels: Vec<String> = columns.iter().filter_map(of_file).collect();
    let look = Look {
        cx,
        options,
        table: &Arc::new(TableSchema::from_columns(columns)),
        rules: &Arc::new(ColumnRules::only(labels.iter().cloned())),
        guess: &HeadGuess::default(),
    };
    let mut looks = futures::stream::iter(objects)
        .map(|(key, object)| async move { (look.at(&key, &object).await, key) })
        .buffer_unordered(cx.concurrency.clamp(1, SAMPLED_OBJECTS));
    let mut kinds: Vec<Kinds> = vec![Kinds::default(); labels.len()];
    while let Some((seen, key)) = looks.next().await {
        match seen {
            Ok(seen) => kinds.iter_mut().zip(seen).for_each(|(kinds, seen)| kinds.join(&seen)),
            Err(Error::S3(error)) if error.is_fatal() => return Err(super::error::fatal(&error)),
            Err(error) => tracing::debug!(key, error = error_chain(&error), "its values were not looked at"),
        }
    }
    Ok(labels.into_iter().zip(kinds).filter_map(|(label, kinds)| Some((label, kinds.column_type()?))).collect())
}

/// A column of text whose type is not told.
fn is_open(column: &TableColumn, rules: &ColumnRules) -> bool {
    let ColumnSource::File { name, occurrence } = &column.source else { return false };
    column.column_type == ColumnType::Utf8 && !rules.is_told(name, *occurrence)
}

fn of_file(column: &TableColumn) -> Option<String> {
    let ColumnSource::File { name, occurrence } = &column.source else { return None };
    Some(label(name, *occurrence).into_owned())
}

/// A look at values of a table's objects.
#[derive(Clone, Copy)]
struct Look<'a> {
    cx: &'a Context,
    options: &'a Arc<TableOptions>,
    /// The columns that are looked at.
    table: &'a Arc<TableSchema>,
    rules: &'a Arc<ColumnRules>,
    guess: &'a HeadGuess,
}

impl Look<'_> {
    /// What the values of an object's first row group are, by column.
    async fn at(self, key: &str, object: &ListedObject) -> Result<Vec<Kinds>, Error> {
        let none = vec![Kinds::default(); self.table.columns().len()];
        let mut seat = self.cx.memory.seat();
        let found = inspect_listed(self.cx, &mut seat, key, object, self.guess, (self.options, self.rules)).await?;
        let facts = facts(self.cx, self.options, key, &found.file, found.object_bytes);
        let most_bytes = match object.format {
            // A row group at least.
            Format::Parquet => 1,
            _ => LOOKED_AT_BYTES,
        };
        let Some(fetch) = Fetch::of(&found.file, found.file.position_of_row(0), most_bytes)? else { return Ok(none) };
        let mut need = facts.need(&found.file, fetch.input_bytes(), fetch.step.decoding_bytes);
        let (etag, object_bytes) = (found.etag.clone(), found.object_bytes);
        // Its room is given back before more is asked for.
        drop(found);
        let budget = RetryBudget::default();
        let kind = Kind { format: object.format, options: self.options, rules: self.rules };
        let inspector = Inspector { store: &self.cx.store, guess: self.guess, budget: &budget, kind, key };
        loop {
            let mut own = seat.admit_before_kept(need).await;
            let found = inspector.fetch(object_bytes, etag.as_ref(), Room::Admitted).await?;
            let bytes = self.fetch(&fetch, key, etag.as_ref(), &mut own).await?;
            let (file, step, fetched) = (found.file.clone(), fetch.step.clone(), bytes.clone());
            let measured = cpu::run(move || file.measured_bytes(&step, &fetched)).await?;
            let measured = facts.need(&found.file, fetch.input_bytes(), measured);
            if !own.suffices_for(measured) {
                need = measured;
                continue;
            }
            let (file, step, output) = (found.file.clone(), fetch.step.clone(), self.output(key));
            return cpu::run(move || observe(file.reader(output)?, &step, bytes, none)).await?;
        }
    }

    async fn fetch(
        self,
        fetch: &Fetch,
        key: &str,
        etag: Option<&ETag>,
        own: &mut Admitted<'_>,
    ) -> Result<FetchedRanges, Error> {
        let budget = RetryBudget::default();
        let mut pieces = Vec::with_capacity(fetch.pieces.len());
        for piece in &fetch.pieces {
            let part = ByteRange::Part { start: piece.start, len: piece.end - piece.start };
            let fetched = self.cx.store.get(key, part, etag, &budget).await?;
            pieces.push((fetched.start, fetched.bytes));
        }
        own.mark_resident(fetch.input_bytes());
        Ok(FetchedRanges::new(pieces)?)
    }

    fn output(self, key: &str) -> Output {
        let origin = Origin::new(self.cx.store.bucket(), key);
        let schema = Arc::clone(self.table.arrow());
        let output = Output::new(Arc::clone(self.table), schema, origin, Arc::new(CastCounts::default()));
        Output { rules: Arc::clone(self.rules), ..output }
    }
}

/// What the values of a step are.
fn observe(mut reader: Reader, step: &Step, bytes: FetchedRanges, mut kinds: Vec<Kinds>) -> Result<Vec<Kinds>, Error> {
    reader.feed(step, bytes);
    while kinds.iter().any(Kinds::is_open)
        && let Some(next) = reader.next(0)?
    {
        for rows in next.decode().rows {
            for (kinds, column) in kinds.iter_mut().zip(rows.batch.columns().iter().skip(ID_COLUMNS)) {
                if let Some(texts) = column.as_string_opt() {
                    kinds.observe(texts);
                }
            }
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_object_are_looked_at() {
        assert_eq!(sampled(3), [0, 1, 2]);
        for len in [20, 21, 1_000, 1_000_003] {
            let sampled = sampled(len);
            assert_eq!((sampled.len(), sampled[0], sampled[SAMPLED_OBJECTS - 1]), (SAMPLED_OBJECTS, 0, len - 1));
            assert!(sampled.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
