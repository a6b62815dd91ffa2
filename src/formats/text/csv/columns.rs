//! Columns of texts, made of the places of fields.

use super::backslash;
use super::dialect::Dialect;
use super::lexer::{Field, Kind};
use crate::config::csv::CsvOptions;
use arrow::array::{ArrayRef, StringBuilder};
use std::sync::Arc;

/// Which texts mean null.
#[derive(Debug)]
pub(super) struct Nulls {
    /// Whether no text at all does.
    empty: bool,
    /// The others.
    texts: Vec<Vec<u8>>,
    /// The longest of them, in bytes.
    longest_bytes: usize,
    /// Whether they mean it in quotes, too.
    in_quotes: bool,
}

impl Nulls {
    pub(super) fn new(options: &CsvOptions) -> Self {
        let texts: Vec<Vec<u8>> =
            options.null_values.iter().filter(|text| !text.is_empty()).map(|text| text.clone().into_bytes()).collect();
        Self {
            empty: options.null_values.iter().any(String::is_empty),
            longest_bytes: texts.iter().map(Vec::len).max().unwrap_or_default(),
            texts,
            in_quotes: options.quoted_null,
        }
    }

    #[inline]
    fn has(&self, text: &[u8], kind: Kind) -> bool {
        match kind {
            Kind::Missing => true,
            Kind::Quoted | Kind::Copied if !self.in_quotes => false,
            _ if text.is_empty() => self.empty,
            _ => text.len() <= self.longest_bytes && self.texts.iter().any(|null| null == text),
        }
    }
}

/// What the fields of a chunk point to, and what becomes of them.
pub(super) struct Columns<'a> {
    /// The chunk.
    pub(super) text: &'a [u8],
    /// The same, if it is UTF-8.
    pub(super) valid: Option<&'a str>,
    /// The texts that don't stand in the chunk as they are.
    pub(super) copied: &'a [u8],
    pub(super) nulls: &'a Nulls,
    pub(super) dialect: Dialect,
}

impl Columns<'_> {
    /// A column for each of `columns` places in a row, of `fields` that are `rows` rows; and how many characters were replaced.
    pub(super) fn all(&self, fields: &[Field], columns: usize, rows: usize) -> (Vec<ArrayRef>, u64) {
        let mut replaced = 0;
        let has_backslashes = self.dialect.backslash_escapes && memchr::memchr(b'\\', self.text).is_some();
        let copied = std::str::from_utf8(self.copied).ok();
        let all = (0..columns).map(|column| {
            let fields = fields.iter().skip(column).step_by(columns).copied();
            let mut builder = StringBuilder::with_capacity(rows, fields.clone().map(Field::len).sum());
            match (self.valid, copied) {
                (Some(valid), Some(copied)) if !has_backslashes => self.plain(fields, valid, copied, &mut builder),
                _ => replaced += self.special(fields, &mut builder),
            }
            Arc::new(builder.finish()) as ArrayRef
        });
        let all = all.collect();
        (all, replaced)
    }

    fn plain(&self, fields: impl Iterator<Item = Field>, text: &str, copied: &str, to: &mut StringBuilder) {
        for field in fields {
            let from = if field.kind() == Kind::Copied { copied } else { text };
            match from.get(field.range()) {
                Some(value) if !self.nulls.has(value.as_bytes(), field.kind()) => to.append_value(value),
                _ => to.append_null(),
            }
        }
    }

    /// Fields that may not be UTF-8, or have escapes.
    fn special(&self, fields: impl Iterator<Item = Field>, to: &mut StringBuilder) -> u64 {
        let mut all_replaced = 0;
        for field in fields {
            let bytes = field.bytes(self.text, self.copied);
            if self.nulls.has(bytes, field.kind()) {
                to.append_null();
                continue;
            }
            all_replaced += replaced(bytes);
            let text = String::from_utf8_lossy(bytes);
            if self.dialect.backslash_escapes && !field.is_quoted() {
                to.append_value(backslash::unescaped(&text));
            } else {
                to.append_value(text);
            }
        }
        all_replaced
    }
}

/// How many characters are replaced where `bytes` become text.
pub(super) fn replaced(bytes: &[u8]) -> u64 {
    bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64
}
