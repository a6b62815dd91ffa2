//! The columns of tables by a sample of their objects, for whoever only wants to see them.

use super::context::Context;
use super::error::Error;
use super::head_guess::HeadGuess;
use super::inspect::{file_schema, inspect_listed};
use super::key_columns::KeyColumns;
use super::restore::{self, Told};
use super::survey::say;
use crate::cloudquery::source::SourceError;
use crate::config::SampledFiles;
use crate::formats::error::ReadError;
use crate::schema::file::FileSchema;
use crate::schema::merge::SchemaMerger;
use crate::schema::rules::ColumnRules;
use crate::schema::table::TableSchema;
use crate::state::schema::StoredSchema;
use crate::tables::group::{ListedObject, Table};
use futures::{Stream, StreamExt as _};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Objects of a table that are looked at: the first and the newest. Enough to show its columns; a sync reads all of them.
pub const SAMPLED_OBJECTS: usize = 10;

/// What a sample of a table's objects gave.
#[derive(Debug)]
pub struct Sample {
    /// The columns; `None` when no object of the sample could be read, or the files do not agree.
    pub columns: Option<TableSchema>,
    /// Objects that were looked at.
    pub objects: usize,
    /// These are all that the table has.
    pub whole: bool,
    /// The objects that could not be read: key, and a text that names it and says why.
    pub unreadable: Vec<(String, String)>,
    /// Why a sync would leave the table out: two files do not agree.
    pub conflict: Option<String>,
}

/// The columns of each table by a sample of its objects, as many at a time over all tables as the survey looks at, at most, in
/// the tables' order. `stored`: the columns that earlier syncs left.
///
/// # Errors
/// Of an item: when nothing will work.
pub fn samples<'a>(
    cx: &'a Context,
    tables: &'a [Table],
    stored: impl Fn(&Table) -> Option<StoredSchema> + 'a,
) -> impl Stream<Item = Result<Sample, SourceError>> + 'a {
    let tables_at_a_time = (cx.heads_at_a_time / SAMPLED_OBJECTS).max(1);
    let samples = tables.iter().map(move |table| sample(cx, table, stored(table)));
    futures::stream::iter(samples).buffered(tables_at_a_time)
}

async fn sample(cx: &Context, table: &Table, stored: Option<StoredSchema>) -> Result<Sample, SourceError> {
    let sampled = sampled(table);
    let (objects, whole) = (sampled.len(), sampled.len() == table.objects.len());
    let guess = HeadGuess::default();
    let options = &restore::named(cx, &table.name, &table.options);
    let known = stored.as_ref().map(|stored| &stored.schema);
    let each_key = |each: &mut dyn FnMut(&str)| table.objects.iter().for_each(|object| each(&table.object_key(object)));
    let keys = KeyColumns::new(&table.name, &cx.mappings, &table.key_columns, options, known, &each_key);
    let mut keys = keys.unwrap_or_default();
    let rules = Arc::new(keys.hide(restore::rules(cx, &table.name, options, known)));
    let sampled: Vec<(String, ListedObject)> =
        sampled.into_iter().map(|object| (table.object_key(object), object.clone())).collect();
    let mut reads = futures::stream::iter(sampled.clone())
        .map(|(key, object)| {
            let (guess, rules, keys) = (&guess, &rules, &keys);
            async move {
                let schema = async {
                    // What is found goes with this block, and with it its room, which the others wait for.
                    let mut seat = cx.memory.seat();
                    let found = inspect_listed(cx, &mut seat, &key, &object, guess, (options, rules)).await?;
                    let schema = file_schema(options, &found.file).await?;
                    keys.see_file(&table.name, &key, &schema);
                    Ok(rules.apply(schema).map_err(ReadError::from)?)
                };
                let schema: Result<FileSchema, Error> = schema.await;
                (key, schema)
            }
        })
        .buffer_unordered(cx.heads_at_a_time.clamp(1, SAMPLED_OBJECTS));
    let added_columns = options.file_columns.len() + keys.len();
    let reference = stored.as_ref().map(|stored| (stored.key.as_str(), keys.without_shared(&stored.schema)));
    let reference = reference.as_ref().map(|(key, schema)| (*key, schema));
    let mut merger = SchemaMerger::with(&options.schema, added_columns, reference);
    let mut unreadable = Vec::new();
    while let Some((key, read)) = reads.next().await {
        match read {
            Ok(schema) => merger.add(&key, schema),
            Err(Error::S3(error)) if error.is_fatal() => return Err(super::error::fatal(&error)),
            Err(error) => {
                let text = super::report::object_text(cx.store.bucket(), &key, &error);
                unreadable.push((key, text));
            }
        }
    }
    drop(reads);
    // They came in any order.
    unreadable.sort();
    let merged = merger.finish().map_err(|conflict| conflict.with_cure());
    let (columns, conflict) = match merged {
        Ok(Some(merged)) => {
            say(&table.name, &merged.notes);
            let mut told = Told { columns: merged.schema, rules: ColumnRules::clone(&rules) };
            if known.is_none() {
                told = restore::told(cx, options, told.columns, told.rules, sampled).await?;
            }
            match keys.join(told.columns, known, options.file_columns) {
                Ok(columns) => {
                    let added = options.file_columns.len();
                    let (columns, note) = SchemaMerger::keep_to_limit(&options.schema, columns, added, known);
                    say(&table.name, note.as_slice());
                    (Some(told.rules.complete(columns)), None)
                }
                Err(conflict) => (None, Some(conflict)),
            }
        }
        Ok(None) => (None, None),
        Err(conflict) => (None, Some(conflict)),
    };
    Ok(Sample { columns, objects, whole, unreadable, conflict })
}

/// The objects by which a table's columns are shown.
fn sampled(table: &Table) -> Vec<&ListedObject> {
    let objects = &table.objects[..];
    let texts: Vec<(usize, i64)> = objects
        .iter()
        .enumerate()
        .filter(|(_, object)| object.format.is_sampled())
        .map(|(index, object)| (index, object.last_modified_s))
        .collect();
    if texts.len() == objects.len() {
        // A sync looks at no others.
        let sample = of_texts(&texts, table.options.schema.sample.files);
        return sample.into_iter().filter_map(|index| objects.get(index)).collect();
    }
    first_and_newest(objects)
}

/// Which of a table's objects are looked at that are texts, given their places and times in the order of their keys: the first,
/// the last, the newest, and between them as many as are evenly spread.
pub(super) fn of_texts(texts: &[(usize, i64)], files: SampledFiles) -> BTreeSet<usize> {
    let most = match files {
        SampledFiles::All => texts.len(),
        SampledFiles::Some(most) => most.get(),
    };
    if texts.len() <= most {
        return texts.iter().map(|(index, _)| *index).collect();
    }
    let newest = texts.iter().enumerate().max_by_key(|(_, (_, last_modified_s))| *last_modified_s);
    let newest = newest.map(|(place, _)| place);
    let spread = |count: usize| (0..count).map(move |n| n * (texts.len() - 1) / count.saturating_sub(1).max(1));
    let mut places: BTreeSet<usize> = spread(most).collect();
    if newest.is_some_and(|newest| !places.contains(&newest)) {
        places = newest.into_iter().chain(spread(most.saturating_sub(1))).collect();
    }
    places.into_iter().filter_map(|place| texts.get(place)).map(|(index, _)| *index).collect()
}

/// The first half by key, the newest for the rest.
fn first_and_newest(objects: &[ListedObject]) -> Vec<&ListedObject> {
    if objects.len() <= SAMPLED_OBJECTS {
        return objects.iter().collect();
    }
    let (first, others) = objects.split_at(SAMPLED_OBJECTS / 2);
    let mut others: Vec<&ListedObject> = others.iter().collect();
    others.sort_by_key(|object| std::cmp::Reverse(object.last_modified_s));
    first.iter().chain(others.into_iter().take(SAMPLED_OBJECTS - first.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::group::Grouper;
    use std::num::NonZeroUsize;

    #[test]
    fn the_sample_has_the_first_and_the_newest() {
        let filter = crate::config::KeyFilter::default();
        let mut grouper = Grouper::new(&filter);
        for n in 0..30 {
            grouper.add(crate::s3::ObjectMeta {
                key: format!("t/{n:02}.parquet"),
                size_bytes: 1,
                etag: None,
                last_modified_s: i64::from((n * 7) % 30),
                archived: false,
            });
        }
        let listing = grouper.finish();
        let table = &listing.tables[0];
        let keys: Vec<String> = sampled(table).into_iter().map(|object| table.object_key(object)).collect();
        assert_eq!(keys.len(), SAMPLED_OBJECTS);
        assert_eq!(keys[..2], ["t/00.parquet", "t/01.parquet"]);
        // 7 n ≡ 29 (mod 30) for n = 17.
        assert_eq!(keys[5], "t/17.parquet");
    }

    #[test]
    fn of_texts_the_first_the_last_and_the_newest_are_looked_at() {
        let texts: Vec<(usize, i64)> = (0..1_000).map(|n| (2 * n, i64::from(n == 333))).collect();
        let some = |most| of_texts(&texts, SampledFiles::Some(NonZeroUsize::new(most).unwrap()));
        let sample = some(20);
        assert!((19..=20).contains(&sample.len()), "the newest may be among those that are spread");
        assert!([0, 666, 1_998].iter().all(|place| sample.contains(place)), "{sample:?}");
        assert_eq!((some(1).len(), some(2).len(), some(1_000).len()), (1, 2, 1_000));
        assert_eq!(of_texts(&texts, SampledFiles::All).len(), 1_000);
        assert_eq!(of_texts(&[], SampledFiles::All).len(), 0);
    }
}
