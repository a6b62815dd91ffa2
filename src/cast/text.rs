//! Columns of files of text, CSV and JSON: from texts to the table's types.
//!
//! ```text
//! texts ─▶ scalars (as the file's format writes values) ─┐
//!       ─▶ nested (JSON inside: lists, structs, maps)    ├▶ the column, and the rows that it lost
//!       ─▶ by_hand (as the spec says they are read)      ┘
//! ```
//!
//! A text becomes a value if it is written as values of that type are ([`crate::schema::text_forms`]); what inference took for a type
//! is one. Others are lost for the column, and their rows say so. In JSON, strings are no numbers, but for those floats that have
//! no number in JSON; numbers never go through a float on their way to another type.

use super::by_hand;
use super::convert::Converted;
use super::counts::{CastCounts, count};
use super::error::{CastError, unexpected};
use super::json::{self, Encoder};
use crate::config::TypeChoice;
use crate::schema::by_hand::Conversion;
use crate::schema::text_forms::TextReading;
use crate::schema::types::ColumnType;
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringArrayType, StringBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use std::sync::Arc;

mod nested;
mod scalars;
mod strings;

/// Converts texts, as they stand in the file, to the type: `values` are views of text, or texts.
///
/// # Errors
/// As [`super::cast()`].
pub(crate) fn convert(
    reading: &TextReading,
    target: &ColumnType,
    values: &ArrayRef,
    counts: &CastCounts,
) -> Result<Converted, CastError> {
    How { reading, told: None, counts }.convert(target, values)
}

/// Converts texts as the spec says.
///
/// # Errors
/// As [`super::cast()`].
pub(super) fn convert_told(
    reading: &TextReading,
    conversion: &Conversion,
    values: &ArrayRef,
    counts: &CastCounts,
) -> Result<Converted, CastError> {
    let how = How { reading, told: Some(&conversion.choice), counts };
    let null_values = &conversion.choice.null_values;
    if null_values.is_empty() {
        return how.convert(&conversion.target, values);
    }
    let plain = how.texts(values)?;
    let is_null = |row: usize| plain.is_null(row) || null_values.iter().any(|null| null == plain.value(row));
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(plain.len(), |row| !is_null(row)));
    let (offsets, values, _) = as_they_stand(values)?.into_parts();
    let values: ArrayRef = Arc::new(StringArray::try_new(offsets, values, Some(nulls))?);
    how.convert(&conversion.target, &values)
}

/// The plain texts of the values: strings of JSON without quotes and escapes, all else as it stands in the file.
///
/// # Errors
/// As [`super::cast()`].
#[cfg_attr(not(test), expect(dead_code, reason = "what reads formats of text uses it"))]
pub(crate) fn texts(reading: &TextReading, values: &ArrayRef, counts: &CastCounts) -> Result<StringArray, CastError> {
    How { reading, told: None, counts }.texts(values)
}

/// What writes the values as JSON, each as it stands in the file; of those rows alone, or of all.
///
/// # Errors
/// As [`super::cast()`].
pub(crate) fn encoder(
    reading: &TextReading,
    values: &ArrayRef,
    rows: Option<&BooleanBuffer>,
) -> Result<Encoder, CastError> {
    let texts = match rows {
        None => as_they_stand(values)?,
        Some(rows) => match values.data_type() {
            DataType::Utf8View => copied(values.as_string_view(), |row| rows.value(row))?,
            _ => copied(string_array(values)?, |row| rows.value(row))?,
        },
    };
    Ok(match reading {
        TextReading::Csv(_) => Encoder::Text(texts),
        TextReading::Json => Encoder::Json(texts),
    })
}

/// How texts become values.
#[derive(Clone, Copy)]
struct How<'a> {
    reading: &'a TextReading,
    /// What the spec says of it.
    told: Option<&'a TypeChoice>,
    counts: &'a CastCounts,
}

impl How<'_> {
    fn convert(self, target: &ColumnType, values: &ArrayRef) -> Result<Converted, CastError> {
        match (target, self.reading) {
            (ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map { .. }, _) => {
                nested::convert(self, target, &as_they_stand(values)?)
            }
            (ColumnType::Json, TextReading::Json) => {
                Ok(Converted::whole(Arc::new(json::check_texts(&as_they_stand(values)?, self.counts)?)))
            }
            // The file's own words are told, too.
            (ColumnType::Boolean, TextReading::Csv(_)) => self.scalars(target, values),
            _ => match self.told {
                Some(choice) => by_hand::texts(&self.with_points(self.texts(values)?, target), target, choice),
                None => self.scalars(target, values),
            },
        }
    }

    fn scalars(self, target: &ColumnType, values: &ArrayRef) -> Result<Converted, CastError> {
        if (self.reading, target) == (&TextReading::Json, &ColumnType::Utf8) {
            return self.json_texts(values, false);
        }
        if let (TextReading::Csv(_), ColumnType::Json) = (self.reading, target) {
            let encoder = Encoder::Text(as_they_stand(values)?);
            let json = json::encode(&encoder, values.len(), values.nulls(), self.counts)?;
            return Ok(Converted::whole(Arc::new(json)));
        }
        if let (TextReading::Csv(_), ColumnType::Utf8 | ColumnType::Null) = (self.reading, target) {
            return Ok(Converted::whole(Arc::new(as_they_stand(values)?)));
        }
        match values.data_type() {
            DataType::Utf8View => scalars::convert(self.reading, target, values.as_string_view()),
            _ => scalars::convert(self.reading, target, string_array(values)?),
        }
    }

    /// See [`texts`].
    fn texts(self, values: &ArrayRef) -> Result<StringArray, CastError> {
        match self.reading {
            TextReading::Csv(_) => as_they_stand(values),
            TextReading::Json => Ok(self.json_texts(values, true)?.array.as_string::<i32>().clone()),
        }
    }

    /// Strings without quotes and escapes, and scalars as they stand there; so are nested values, if they are kept.
    fn json_texts(self, values: &ArrayRef, nested_kept: bool) -> Result<Converted, CastError> {
        let (converted, replaced) = match values.data_type() {
            DataType::Utf8View => strings::plain(values.as_string_view(), nested_kept)?,
            _ => strings::plain(string_array(values)?, nested_kept)?,
        };
        count(&self.counts.surrogates_replaced, replaced);
        Ok(converted)
    }

    /// Numbers of files with a comma where others have a point, as others write them.
    fn with_points(self, texts: StringArray, target: &ColumnType) -> StringArray {
        match self.reading {
            TextReading::Csv(forms) if forms.decimal_comma && is_fractional(target) => {
                // A point is none of a number there, and must not be taken for one.
                let swapped = |c| match c {
                    ',' => '.',
                    '.' => ',',
                    c => c,
                };
                texts.iter().map(|text| text.map(|text| text.chars().map(swapped).collect::<String>())).collect()
            }
            _ => texts,
        }
    }
}

fn is_fractional(target: &ColumnType) -> bool {
    matches!(target, ColumnType::Float32 | ColumnType::Float64 | ColumnType::Decimal128 { .. })
}

/// The texts as they stand in the file.
fn as_they_stand(values: &ArrayRef) -> Result<StringArray, CastError> {
    match values.data_type() {
        DataType::Utf8View => copied(values.as_string_view(), |_| true),
        _ => string_array(values).cloned(),
    }
}

fn string_array(values: &ArrayRef) -> Result<&StringArray, CastError> {
    values.as_string_opt().ok_or_else(|| unexpected(values, &ColumnType::Utf8))
}

/// The texts of those rows; the others are null.
fn copied<'a>(
    values: impl StringArrayType<'a> + Copy,
    keeps: impl Fn(usize) -> bool,
) -> Result<StringArray, CastError> {
    let is_there = |row: usize| values.is_valid(row) && keeps(row);
    let bytes = (0..values.len()).filter(|row| is_there(*row)).map(|row| values.value(row).len()).sum();
    if i32::try_from(bytes).is_err() {
        return Err(CastError::TooLarge);
    }
    let mut builder = StringBuilder::with_capacity(values.len(), bytes);
    for row in 0..values.len() {
        if is_there(row) {
            builder.append_value(values.value(row));
        } else {
            builder.append_null();
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests;
