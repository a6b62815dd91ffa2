//! Single values as JSON: what makes a JSON column of a plain one, and the rescue column of values of several.

use super::{Encoder, Lost, Picked, append, null, write_string};
use crate::cast::calendar;
use crate::cast::canonical::{not_finite, write_date, write_timestamp};
use arrow::buffer::BooleanBuffer;

impl Encoder {
    /// Writes plain values as they are also where JSON has no such number and RFC 3339 no such year: as strings. Inside of
    /// nested values these are null.
    pub(crate) fn by_itself(self) -> Self {
        Self::ByItself(Box::new(self))
    }

    /// Writes objects of those values that `columns` pick, by their names; rows of which nothing is picked are null.
    pub(crate) fn picking(columns: Vec<(String, BooleanBuffer, Self)>) -> Self {
        let column = |(name, rows, encoder): (String, BooleanBuffer, Self)| {
            let mut key = Vec::new();
            write_string(&name, &mut key);
            key.push(b':');
            Picked { key, rows, encoder: encoder.by_itself() }
        };
        Self::Picked(columns.into_iter().map(column).collect())
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

pub(super) fn write(columns: &[Picked], row: usize, out: &mut Vec<u8>, lost: &mut Lost) {
    out.push(b'{');
    for (index, column) in columns.iter().filter(|column| column.rows.value(row)).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append(&column.key, out);
        column.encoder.write(row, out, lost);
    }
    out.push(b'}');
}
