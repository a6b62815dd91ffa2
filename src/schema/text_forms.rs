//! How values are written in formats of text: what decides about a column's type, and what its values are read by, so that
//! what is taken for a type is a value of it.
//!
//! Texts of CSV are values if they are written as values are, nothing else: `007` is a text. A day is `YYYY-MM-DD`, a moment
//! RFC 3339, also with a space, and in UTC where it says nothing else; a time of day `HH:MM:SS`, maybe with a fraction.

use crate::times::{iso_clock_us, iso_date, iso_moment_us};
use std::sync::Arc;

pub(crate) mod number;

use number::Number;

/// How the values of a column stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TextReading {
    /// As texts.
    Csv(Arc<TextForms>),
    /// As JSON, one value each, as it stands in the file.
    Json,
}

/// How values are written in a file of CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextForms {
    /// Texts that are true.
    pub(crate) true_values: Vec<String>,
    /// Texts that are false.
    pub(crate) false_values: Vec<String>,
    /// Numbers have a comma where others have a point.
    pub(crate) decimal_comma: bool,
}

impl Default for TextForms {
    fn default() -> Self {
        let words = |words: [&str; 3]| words.map(str::to_owned).into();
        Self {
            true_values: words(["true", "TRUE", "True"]),
            false_values: words(["false", "FALSE", "False"]),
            decimal_comma: false,
        }
    }
}

impl TextForms {
    /// The byte between whole numbers and fractions.
    pub(crate) fn point(&self) -> u8 {
        if self.decimal_comma { b',' } else { b'.' }
    }

    /// What `text` says, if it is one of the words.
    pub(crate) fn boolean(&self, text: &str) -> Option<bool> {
        if self.true_values.iter().any(|word| word == text) {
            return Some(true);
        }
        self.false_values.iter().any(|word| word == text).then_some(false)
    }
}

/// The float that a number is, or that has one of the words of Go, PostgreSQL, Java and Python for what is not finite.
#[inline]
pub(crate) fn float64(text: &str, point: u8) -> Option<f64> {
    match Number::read(text.as_bytes(), point) {
        Some(number) => number.float64(text, point),
        None => not_finite(text),
    }
}

/// See [`float64`].
pub(crate) fn not_finite(text: &str) -> Option<f64> {
    match text {
        "NaN" | "nan" => Some(f64::NAN),
        "+Inf" | "Inf" | "inf" | "+inf" | "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Inf" | "-inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Days since 1970.
pub(crate) fn date(text: &str) -> Option<i32> {
    iso_date(text)
}

/// Microseconds since 1970; of a date alone those of its midnight.
pub(crate) fn timestamp_us(text: &str) -> Option<i64> {
    iso_moment_us(text)
}

/// Microseconds since midnight.
pub(crate) fn time_us(text: &str) -> Option<i64> {
    iso_clock_us(text)
}
