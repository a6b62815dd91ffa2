//! Single values as JSON: what makes a JSON column of a plain one, and the rescue column of values of several.

use super::text::write_checked;
use super::{Encoder, Lost, Picked, append, null, write_string};
use crate::cast::calendar;
use crate::cast::canonical::{not_finite, write_date, write_timestamp};
use arrow::array::{Array as _, StringArray};
use arrow::buffer::BooleanBuffer;
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

impl Encoder {
    /// Writes plain values as they are also where JSON has no such number and RFC 3339 no such year: as strings. Inside of
    /// nested values these are null.
    pub(crate) fn by_itself(self) -> Self {
        Self::ByItself(Box::new(self))
    }

    /// Writes objects of those values that `columns` pick, by their names, and of what the objects of `others` have; rows of which
    /// there is nothing are null.
    pub(crate) fn picking(columns: Vec<(String, BooleanBuffer, Self)>, others: Option<StringArray>) -> Self {
        let column = |(name, rows, encoder): (String, BooleanBuffer, Self)| {
            let mut key = Vec::new();
            write_string(&name, &mut key);
            key.push(b':');
            Picked { key, rows, encoder: encoder.by_itself() }
        };
        Self::Picked(columns.into_iter().map(column).collect(), others)
    }

    pub(super) fn write_by_itself(&self, row: usize, out: &mut Vec<u8>, lost: &mut Lost) {
        if self.is_null(row) {
            return null(out);
        }
        let mut text = String::new();
        let written = match self {
            Self::Float32(array) if !array.value(row).is_finite() => {
                text.push_str(not_finite(array.value(row).into()));
                Ok(())
            }
            Self::Float64(array) if !array.value(row).is_finite() => {
                text.push_str(not_finite(array.value(row)));
                Ok(())
            }
            Self::Date(array) => write_date(array.value(row), &mut text),
            Self::Date64(array) => match calendar::date64_to_days(array.value(row)) {
                Some(days) => write_date(days.into(), &mut text),
                None => return self.write(row, out, lost),
            },
            Self::Timestamp(array, unit) => match calendar::to_micros(array.value(row), *unit) {
                Some(micros) => write_timestamp(micros, &mut text),
                None => return self.write(row, out, lost),
            },
            Self::Int96(micros, seconds) => match calendar::int96_micros(micros.value(row), seconds.value(row)) {
                Some(micros) => write_timestamp(micros, &mut text),
                None => return self.write(row, out, lost),
            },
            _ => return self.write(row, out, lost),
        };
        // Writing into a String cannot fail.
        debug_assert!(written.is_ok());
        out.push(b'"');
        append(text.as_bytes(), out);
        out.push(b'"');
    }
}

pub(super) fn write(columns: &[Picked], others: Option<&StringArray>, row: usize, out: &mut Vec<u8>, lost: &mut Lost) {
    out.push(b'{');
    let mut comma = false;
    for column in columns.iter().filter(|column| column.rows.value(row)) {
        separate(&mut comma, out);
        append(&column.key, out);
        column.encoder.write(row, out, lost);
    }
    if let Some(others) = others.filter(|others| others.is_valid(row)) {
        write_members(others.value(row), &mut comma, out, lost);
    }
    out.push(b'}');
}

fn separate(comma: &mut bool, out: &mut Vec<u8>) {
    if std::mem::replace(comma, true) {
        out.push(b',');
    }
}

/// Writes what is in an object, each value as consumers take it.
fn write_members(object: &str, comma: &mut bool, out: &mut Vec<u8>, lost: &mut Lost) {
    // Parsers write it, so it is one.
    let members = serde_json::from_str::<Members<'_>>(object).map(|members| members.0).unwrap_or_default();
    for (name, value) in members {
        separate(comma, out);
        write_string(&name, out);
        out.push(b':');
        lost.count(write_checked(value.get().as_bytes(), out));
    }
}

/// What is in an object, in its order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;
        impl<'de> Visitor<'de> for OfObject {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(OfObject)
    }
}
