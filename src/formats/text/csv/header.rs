//! The names of the columns of one object.

use super::backslash;
use super::dialect::Dialect;
use super::lexer::{End, Lexer};
use crate::config::csv::CsvOptions;
use std::borrow::Cow;

/// What the beginning of an object says about its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The names of the columns, as they stand in the file or in the options: any text, the same one twice, too.
    pub(crate) names: Vec<String>,
    /// What stands between two fields.
    pub(crate) delimiter: u8,
    /// The fields of the header, if the object has one.
    pub(super) fields: Option<Vec<String>>,
    /// Why its columns cannot be named; `None`: they are.
    pub(crate) unnamed: Option<String>,
}

/// The columns that CloudQuery's CLI puts in front of those of the source. The last is not always there.
const COLUMNS_IN_FRONT: [&str; 3] = ["_cq_sync_time", "_cq_source_name", "_cq_sync_group_id"];
/// How many there are at least, if there are any.
const LEAST_IN_FRONT: usize = 2;

impl Header {
    /// Of an object whose first record, the header itself or one without a header, begins `text`.
    pub(super) fn read(options: &CsvOptions, delimiter: u8, text: &[u8]) -> Self {
        let fields = fields(Dialect::new(options, delimiter), text);
        let (described, unnamed) = match &options.described {
            Some(described) if options.lacks_names() => named(described, fields.len()),
            _ => (None, None),
        };
        let given = options.names.as_deref().or(described.as_deref()).unwrap_or_default();
        let columns = given.len().max(fields.len());
        let names = (0..columns).map(|column| match (given.get(column), fields.get(column)) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) if options.header && options.names.is_none() => name.clone(),
            (None, _) => format!("column_{}", column + 1),
        });
        Self { names: names.collect(), delimiter, fields: options.header.then_some(fields), unnamed }
    }

    /// Of an object without records; `None` where its columns are unknown.
    pub(super) fn of_nothing(options: &CsvOptions, delimiter: u8) -> Option<Self> {
        let names = options.names.clone()?;
        Some(Self { names, delimiter, fields: None, unnamed: None })
    }
}

/// The names of `fields` columns of a source that is known to have these; or why they are unknown. Those that the CLI puts in
/// front are there if the count says so.
fn named(described: &[String], fields: usize) -> (Option<Vec<String>>, Option<String>) {
    let mut missing: Vec<&str> = COLUMNS_IN_FRONT.into();
    missing.retain(|name| !described.iter().any(|known| known == name));
    let in_front = fields.checked_sub(described.len());
    let in_front = in_front.filter(|count| *count == 0 || (LEAST_IN_FRONT..=missing.len()).contains(count));
    let Some(in_front) = in_front else {
        let text = format!(
            "its first record has {fields} fields, and the description that restore_types.tables_json names has {} columns for \
             this table, with CloudQuery's own {} more: set csv.names",
            described.len(),
            LEAST_IN_FRONT,
        );
        return (None, Some(text));
    };
    let names = missing[..in_front].iter().map(|name| (*name).to_owned()).chain(described.iter().cloned());
    (Some(names.collect()), None)
}

/// The fields of the record that `text` begins with.
fn fields(dialect: Dialect, text: &[u8]) -> Vec<String> {
    let mut lexer = Lexer::new(text, dialect);
    let mut copied = Vec::new();
    let mut fields = Vec::new();
    if lexer.next_record() {
        loop {
            let (field, end) = lexer.field(&mut copied);
            fields.push(decoded(dialect, field.bytes(text, &copied)).into_owned());
            if end != End::Delimiter {
                break;
            }
        }
    }
    fields
}

/// Whether the record that `text` begins with has just these fields.
pub(super) fn is_record(dialect: Dialect, text: &[u8], expected: &[String]) -> bool {
    let mut lexer = Lexer::new(text, dialect);
    let mut copied = Vec::new();
    for (index, expected_field) in expected.iter().enumerate() {
        let (field, end) = lexer.field(&mut copied);
        let is_last = index + 1 == expected.len();
        if is_last != (end != End::Delimiter) || decoded(dialect, field.bytes(text, &copied)) != expected_field.as_str()
        {
            return false;
        }
    }
    !expected.is_empty()
}

/// The text of a field. What is no character becomes U+FFFD.
fn decoded(dialect: Dialect, bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) if dialect.backslash_escapes => backslash::unescaped(text),
        Cow::Owned(text) if dialect.backslash_escapes => Cow::Owned(backslash::unescaped(&text).into_owned()),
        text => text,
    }
}
