//! Where a row came from: `_cq_id`, which every row has, and with `file_columns: true` the columns `_s3_key`,
//! `_s3_last_modified` and `_s3_row`. They stand behind `_cq_parent_id`, before the columns of the files. Columns of files
//! never have these names, with or without the option: see [`crate::schema::names`].

use super::calendar::to_micros;
use super::error::CastError;
use super::row_id::ObjectId;
use crate::schema::names::FILE_COLUMNS;
use crate::schema::types::{ColumnType, UTC};
use arrow::array::{Array as _, ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::TimeUnit;
use std::sync::Arc;

/// An object, as far as its rows tell of it.
#[derive(Debug, Clone)]
pub struct Origin {
    pub(crate) id: ObjectId,
    file: Option<File>,
}

#[derive(Debug, Clone)]
struct File {
    key: String,
    /// Microseconds since 1970; `None` when out of range.
    last_modified_micros: Option<i64>,
}

impl Origin {
    /// The object `key` in `bucket`.
    #[must_use]
    pub fn new(bucket: &str, key: &str) -> Self {
        Self { id: ObjectId::new(bucket, key), file: None }
    }

    /// The object `key` in `bucket`, last modified this many seconds after 1970 as the listing says; rows get the
    /// [`FILE_COLUMNS`].
    #[must_use]
    pub fn with_file_columns(bucket: &str, key: &str, last_modified_s: i64) -> Self {
        let file = File { key: key.to_owned(), last_modified_micros: to_micros(last_modified_s, TimeUnit::Second) };
        Self { file: Some(file), ..Self::new(bucket, key) }
    }

    /// The columns that rows get beside their ids.
    pub(crate) fn columns(&self) -> &'static [(&'static str, ColumnType)] {
        if self.file.is_some() { &FILE_COLUMNS } else { &[] }
    }

    /// What these columns add to a row when decoded, in bytes.
    pub(crate) fn bytes_a_row(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file_columns_row_bytes(&file.key))
    }

    /// The values of [`Self::columns`] for `rows` rows from `first_row` on. The keys of a row group's batches are made
    /// once, for `most_rows`, and kept in `keys`.
    pub(crate) fn arrays(
        &self,
        first_row: u64,
        rows: usize,
        most_rows: usize,
        keys: &mut Option<StringArray>,
    ) -> Result<Vec<ArrayRef>, CastError> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let repeated = match keys.take().filter(|keys| keys.len() == most_rows && rows <= most_rows) {
            Some(kept) => kept,
            None => StringArray::new_repeated(&file.key, most_rows.max(rows)),
        };
        let key = repeated.slice(0, rows);
        *keys = Some(repeated);
        let time = match file.last_modified_micros {
            Some(micros) => TimestampMicrosecondArray::from_value(micros, rows),
            None => TimestampMicrosecondArray::new_null(rows),
        };
        let numbers = i64::try_from(first_row).ok().and_then(|first| Some(first..first.checked_add(rows as i64)?));
        let numbers = numbers.ok_or(CastError::TooManyRows(i64::MAX.unsigned_abs()))?;
        Ok(vec![Arc::new(key), Arc::new(time.with_timezone(UTC)), Arc::new(Int64Array::from_iter_values(numbers))])
    }
}

/// What the [`FILE_COLUMNS`] of the object `key` add to a row, in bytes.
pub(crate) fn file_columns_row_bytes(key: &str) -> u64 {
    const OFFSET_BYTES: u64 = 4;
    const NUMBER_BYTES: u64 = 8;
    key.len() as u64 + OFFSET_BYTES + 2 * NUMBER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::array::types::{Int64Type, TimestampMicrosecondType};

    #[test]
    fn columns_are_those_that_are_announced() {
        let origin = Origin::with_file_columns("b", "größe/x", 1_700_000_000);
        let mut keys = None;
        let arrays = origin.arrays(5, 3, 4, &mut keys).unwrap();
        for (array, (name, column_type)) in arrays.iter().zip(&FILE_COLUMNS) {
            assert_eq!((array.len(), array.data_type()), (3, &column_type.arrow_type()), "{name}");
        }
        assert_eq!(arrays[0].as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["größe/x"; 3]);
        assert_eq!(arrays[1].as_primitive::<TimestampMicrosecondType>().values(), &[1_700_000_000_000_000; 3]);
        assert_eq!(arrays[2].as_primitive::<Int64Type>().values(), &[5, 6, 7]);
        assert_eq!((origin.columns().len(), arrays.len()), (3, 3));
        let plain = Origin::new("b", "größe/x");
        assert_eq!((plain.columns().len(), plain.arrays(0, 3, 4, &mut keys).unwrap().len()), (0, 0));
        assert_eq!(plain.id, origin.id);
    }

    #[test]
    fn keys_are_made_once_for_batches_of_one_size() {
        let origin = Origin::with_file_columns("b", "k", 0);
        let mut keys = None;
        let mut values = |rows, most| {
            let arrays = origin.arrays(0, rows, most, &mut keys).unwrap();
            assert_eq!(arrays[0].len(), rows);
            arrays[0].as_string::<i32>().values().as_ptr()
        };
        let first = values(100, 100);
        assert_eq!([values(100, 100), values(7, 100)], [first; 2]);
        values(200, 100);
        values(3, 3);
    }

    #[test]
    fn odd_times_are_null_and_odd_rows_an_error() {
        let origin = Origin::with_file_columns("b", "k", i64::MAX);
        assert_eq!(origin.arrays(0, 2, 2, &mut None).unwrap()[1].null_count(), 2);
        assert!(origin.arrays(u64::MAX, 1, 1, &mut None).is_err());
        assert!(origin.arrays(i64::MAX.unsigned_abs(), 1, 1, &mut None).is_err());
    }
}
