//! The type of a column of texts, by its values: the first of these that all of them are.
//!
//! | values | type |
//! |---|---|
//! | the words for true and false | `bool` |
//! | whole numbers in digits, within 64 bits | `int64` |
//! | of at most 38 digits | `decimal(38, 0)` |
//! | numbers that a float holds: exactly, or as the shortest digits that give it; NaN and ±∞ | `float64` |
//! | numbers of at most 38 digits | `decimal(p, s)` |
//! | days | `date` |
//! | moments and days | `timestamp` |
//! | times of day | `time` |
//! | others | `utf8` |
//!
//! In JSON, numbers and strings are told apart: numbers have the types of numbers, strings are days, moments or text, and a
//! column of both is `json`, as are objects and arrays. Arrays of scalars of one kind are lists where nested values travel
//! natively.
//!
//! What was seen is kept as what all values are, so that neither their order nor how they were grouped changes anything: uniting
//! is associative, commutative and idempotent. Values of many files are joined as those of one.

use super::text_forms::number::Number;
use super::text_forms::{TextForms, date, not_finite, time_us, timestamp_us};
use super::types::ColumnType;
use crate::config::NestedAs;
use serde_json::value::RawValue;

/// The most digits of a decimal column.
const MAX_DIGITS: u8 = 38;

// What values may be, as bits of `Fits::bits`.
const BOOLEAN: u16 = 1;
const INT64: u16 = 1 << 1;
/// Whole numbers of at most 38 digits.
const INTEGER: u16 = 1 << 2;
const FLOAT: u16 = 1 << 3;
const DECIMAL: u16 = 1 << 4;
const DATE: u16 = 1 << 5;
const TIMESTAMP: u16 = 1 << 6;
const TIME: u16 = 1 << 7;
const NUMBERS: u16 = INT64 | INTEGER | FLOAT | DECIMAL;
const TIMES: u16 = DATE | TIMESTAMP | TIME;
const ALL: u16 = BOOLEAN | NUMBERS | TIMES;

/// What the values of a column of texts are, as far as they were seen. Small, whatever they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TextTypes {
    csv: Fits,
    json: Kinds,
}

impl TextTypes {
    /// Looks at a text of CSV that is not null.
    pub(crate) fn see_text(&mut self, text: &str, forms: &TextForms) {
        let left = self.csv.bits;
        let mut seen = Fits::of(0);
        if left & BOOLEAN != 0 && forms.boolean(text).is_some() {
            seen.bits |= BOOLEAN;
        }
        if left & NUMBERS != 0 {
            let numbers = Fits::of_number(text, forms.point());
            seen = Fits { bits: seen.bits | numbers.bits, ..numbers };
            if not_finite(text).is_some() {
                seen.bits |= FLOAT;
            }
        }
        if left & TIMES != 0 {
            seen.bits |= times(text);
        }
        self.csv.unite(&seen);
    }

    /// Looks at a text that is nothing but text, whatever it says.
    pub(crate) fn see_only_text(&mut self) {
        self.csv.unite(&Fits::of(0));
    }

    /// Looks at a JSON value as it stands in the file; null says nothing. Arrays are lists where nested values travel natively.
    pub(crate) fn see_json(&mut self, raw: &str, nested: NestedAs) {
        self.json.see(raw, nested);
    }

    /// Takes in what others saw.
    pub(crate) fn unite(&mut self, other: &Self) {
        self.csv.unite(&other.csv);
        self.json.unite(&other.json);
    }

    /// The type of the texts of CSV, and that of the values of JSON; `Null` of none. A column that has both is joined of them.
    pub(super) fn column_types(&self) -> [ColumnType; 2] {
        [self.csv.column_type(), self.json.column_type()]
    }

    /// The type of which all are; `Null` if there were no values.
    pub(crate) fn column_type(&self) -> ColumnType {
        super::join::joined_text(self)
    }
}

/// The types of which all values are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fits {
    seen: bool,
    bits: u16,
    /// The most digits of numbers before the point and behind it, as long as they are decimals.
    integer: u8,
    scale: u8,
}

/// Nothing was seen, so that it may be anything.
impl Default for Fits {
    fn default() -> Self {
        Self { seen: false, bits: ALL, integer: 0, scale: 0 }
    }
}

impl Fits {
    fn of(bits: u16) -> Self {
        Self { seen: true, bits, integer: 0, scale: 0 }
    }

    fn of_number(text: &str, point: u8) -> Self {
        let Some(number) = Number::read(text.as_bytes(), point) else { return Self::of(0) };
        let mut fits = Self::of(0);
        if number.is_integer {
            fits.bits |= INTEGER;
            if number.integer().is_some_and(|integer| i64::try_from(integer).is_ok()) {
                fits.bits |= INT64;
            }
        }
        if number.float64(text, point).is_some() {
            fits.bits |= FLOAT;
        }
        if let Some((integer, scale)) = number.decimal_digits() {
            fits.bits |= DECIMAL;
            (fits.integer, fits.scale) = (integer, scale);
        }
        fits
    }

    fn unite(&mut self, other: &Self) {
        self.seen |= other.seen;
        self.bits &= other.bits;
        self.integer = self.integer.max(other.integer);
        self.scale = self.scale.max(other.scale);
        // More digits than any decimal has stay more.
        if self.bits & DECIMAL == 0 || self.integer + self.scale > MAX_DIGITS {
            self.bits &= !DECIMAL;
            (self.integer, self.scale) = (0, 0);
        }
    }

    fn column_type(&self) -> ColumnType {
        let is = |bit: u16| self.bits & bit != 0;
        if !self.seen {
            ColumnType::Null
        } else if is(BOOLEAN) {
            ColumnType::Boolean
        } else if is(INT64) {
            ColumnType::Int64
        } else if is(INTEGER) {
            ColumnType::Decimal128 { precision: MAX_DIGITS, scale: 0 }
        } else if is(FLOAT) {
            ColumnType::Float64
        } else if is(DECIMAL) {
            let precision = (self.integer + self.scale).max(1);
            ColumnType::Decimal128 { precision, scale: self.scale.cast_signed() }
        } else if is(DATE) {
            ColumnType::Date32
        } else if is(TIMESTAMP) {
            ColumnType::Timestamp
        } else if is(TIME) {
            ColumnType::Time64
        } else {
            ColumnType::Utf8
        }
    }
}

/// Which days, moments or times of day a text is.
fn times(text: &str) -> u16 {
    if date(text).is_some() {
        DATE | TIMESTAMP
    } else if timestamp_us(text).is_some() {
        TIMESTAMP
    } else if time_us(text).is_some() {
        TIME
    } else {
        0
    }
}

// Kinds of JSON values, as bits of `Kinds::seen`.
const TRUE_OR_FALSE: u8 = 1;
const NUMBER: u8 = 1 << 1;
const STRING: u8 = 1 << 2;
/// Strings that are no finite number: CloudQuery writes such floats so.
const NOT_FINITE: u8 = 1 << 3;
/// Arrays that may be lists.
const ARRAY: u8 = 1 << 4;
/// Objects, and arrays that are no lists.
const NESTED: u8 = 1 << 5;

/// What values of JSON are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kinds {
    seen: u8,
    numbers: Fits,
    strings: Fits,
    /// What is in arrays, where those may be lists.
    items: Option<Box<Kinds>>,
}

impl Kinds {
    fn see(&mut self, raw: &str, nested: NestedAs) {
        match raw.as_bytes().first() {
            None | Some(b'n') => {}
            Some(b't' | b'f') => self.seen |= TRUE_OR_FALSE,
            Some(b'"') => self.see_string(raw),
            Some(b'[') if nested == NestedAs::Native => self.see_array(raw),
            Some(b'[' | b'{') => self.seen |= NESTED,
            Some(_) => {
                self.seen |= NUMBER;
                self.numbers.unite(&Fits::of_number(raw, b'.'));
            }
        }
    }

    fn see_string(&mut self, raw: &str) {
        // With an escape it is nothing that programs write for one of these.
        let text = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if not_finite(text).is_some() {
            self.seen |= NOT_FINITE;
            return;
        }
        self.seen |= STRING;
        if self.strings.bits & (DATE | TIMESTAMP) != 0 || !self.strings.seen {
            self.strings.unite(&Fits::of(times(text) & (DATE | TIMESTAMP)));
        }
    }

    fn see_array(&mut self, raw: &str) {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw) else {
            self.seen |= NESTED;
            return;
        };
        self.seen |= ARRAY;
        let seen = self.items.get_or_insert_default();
        for item in items {
            // Destinations take no lists of lists.
            seen.see(item.get(), NestedAs::Json);
        }
    }

    fn unite(&mut self, other: &Self) {
        self.seen |= other.seen;
        self.numbers.unite(&other.numbers);
        self.strings.unite(&other.strings);
        if let Some(items) = &other.items {
            self.items.get_or_insert_default().unite(items);
        }
    }

    fn column_type(&self) -> ColumnType {
        match self.seen {
            0 => ColumnType::Null,
            TRUE_OR_FALSE => ColumnType::Boolean,
            NUMBER => self.numbers.column_type(),
            STRING => self.strings.column_type(),
            ARRAY => match self.items.as_ref().map_or(ColumnType::Null, |items| items.column_type()) {
                ColumnType::Json => ColumnType::Json,
                item => ColumnType::List(Box::new(item)),
            },
            seen if seen == NUMBER | NOT_FINITE && self.numbers.bits & FLOAT != 0 => ColumnType::Float64,
            seen if seen & !(STRING | NOT_FINITE) == 0 => ColumnType::Utf8,
            _ => ColumnType::Json,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
