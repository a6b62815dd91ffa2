//! Where a row came from: `_cq_id`, which every row has, and the columns that `file_columns` asks for. They stand behind
//! `_cq_parent_id`, before the columns of keys and files, see [`crate::schema::names`].

use super::calendar::to_micros;
use super::error::CastError;
use super::row_id::ObjectId;
use super::row_numbers::RowNumbers;
use crate::config::{FileColumn, FileColumns};
use crate::schema::names::file_columns;
use crate::schema::types::{ColumnType, UTC};
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::TimeUnit;
use std::sync::Arc;

/// An object, as far as its rows tell of it.
#[derive(Debug, Clone)]
pub struct Origin {
    pub(crate) id: ObjectId,
    columns: FileColumns,
    facts: Arc<ObjectFacts>,
}

/// What is known of an object.
#[derive(Debug, Clone, Default)]
pub struct ObjectFacts {
    /// The bucket, as in the spec.
    pub bucket: String,
    /// The whole key.
    pub key: String,
    /// As the listing says, seconds since 1970.
    pub last_modified_s: i64,
    /// In bytes.
    pub size_bytes: u64,
    /// Entity tag, without quotes.
    pub etag: Option<String>,
    /// The version's id, in a bucket that has versions.
    pub version: Option<String>,
}

/// The arrays that are alike in all batches of one size.
#[derive(Debug)]
pub(crate) struct Repeated {
    rows: usize,
    arrays: Vec<ArrayRef>,
}

impl Origin {
    /// The object `key` in `bucket`, of which rows tell nothing but their ids.
    #[must_use]
    pub fn new(bucket: &str, key: &str) -> Self {
        Self { id: ObjectId::new(bucket, key), columns: FileColumns::default(), facts: Arc::default() }
    }

    /// An object of which rows tell in these columns.
    #[must_use]
    pub fn with_columns(facts: ObjectFacts, columns: FileColumns) -> Self {
        Self { id: ObjectId::new(&facts.bucket, &facts.key), columns, facts: Arc::new(facts) }
    }

    /// The columns that rows get beside their ids.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&'static str, &'static ColumnType)> {
        file_columns(self.columns).map(|(_, name, column_type)| (name, column_type))
    }

    /// What these columns add to a row when decoded, in bytes.
    pub(crate) fn bytes_a_row(&self) -> u64 {
        file_columns_row_bytes(&self.facts.bucket, &self.facts.key, self.columns)
    }

    /// The values of [`Self::columns`] for these rows. What is alike in the batches of a part of the file is made once, for
    /// `most_rows`, and kept in `repeated`.
    pub(crate) fn arrays(
        &self,
        numbers: &RowNumbers,
        most_rows: usize,
        repeated: &mut Option<Repeated>,
    ) -> Result<Vec<ArrayRef>, CastError> {
        if self.columns.is_empty() {
            return Ok(Vec::new());
        }
        let rows = numbers.len();
        let kept = repeated.take().filter(|kept| kept.rows == most_rows && rows <= most_rows);
        let kept = kept.unwrap_or_else(|| self.repeated(most_rows.max(rows)));
        let mut arrays: Vec<ArrayRef> = kept.arrays.iter().map(|array| array.slice(0, rows)).collect();
        if let Some(at) = file_columns(self.columns).position(|(column, ..)| column == FileColumn::Row) {
            arrays[at] = Arc::new(row_column(numbers)?);
        }
        *repeated = Some(kept);
        Ok(arrays)
    }

    fn repeated(&self, rows: usize) -> Repeated {
        let array = |column| self.array(column, rows);
        let arrays = file_columns(self.columns).map(|(column, _, column_type)| {
            array(column).unwrap_or_else(|| new_null_array(&column_type.arrow_type(), rows))
        });
        Repeated { rows, arrays: arrays.collect() }
    }

    /// A value in all rows; `None`: null, or another one in each.
    fn array(&self, column: FileColumn, rows: usize) -> Option<ArrayRef> {
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::new_repeated(text, rows)) };
        let facts = &self.facts;
        Some(match column {
            FileColumn::Key => text(&facts.key),
            FileColumn::LastModified => {
                let micros = to_micros(facts.last_modified_s, TimeUnit::Second)?;
                Arc::new(TimestampMicrosecondArray::from_value(micros, rows).with_timezone(UTC))
            }
            FileColumn::Row => return None,
            FileColumn::Size => Arc::new(Int64Array::from_value(i64::try_from(facts.size_bytes).ok()?, rows)),
            FileColumn::Etag => text(facts.etag.as_ref()?),
            FileColumn::Version => text(facts.version.as_ref()?),
            FileColumn::File => text(facts.key.rsplit('/').next().unwrap_or_default()),
            FileColumn::Bucket => text(&facts.bucket),
        })
    }
}

/// The numbers as a column.
fn row_column(numbers: &RowNumbers) -> Result<Int64Array, CastError> {
    let too_many = CastError::TooManyRows(i64::MAX.unsigned_abs());
    let end = i64::try_from(numbers.number(numbers.len())).map_err(|_| too_many)?;
    Ok(match numbers {
        RowNumbers::From { rows, .. } => Int64Array::from_iter_values(end.saturating_sub_unsigned(*rows as u64)..end),
        RowNumbers::Each(numbers) => Int64Array::from_iter_values(numbers.iter().map(|number| number.cast_signed())),
    })
}

/// What these columns of an object add to a row, in bytes, roughly.
pub(crate) fn file_columns_row_bytes(bucket: &str, key: &str, columns: FileColumns) -> u64 {
    const OFFSET_BYTES: u64 = 4;
    const NUMBER_BYTES: u64 = 8;
    /// An ETag or the id of a version.
    const TAG_BYTES: u64 = 40;
    let bytes = |column| match column {
        FileColumn::Key | FileColumn::File => key.len() as u64 + OFFSET_BYTES,
        FileColumn::Bucket => bucket.len() as u64 + OFFSET_BYTES,
        FileColumn::Etag | FileColumn::Version => TAG_BYTES + OFFSET_BYTES,
        FileColumn::LastModified | FileColumn::Row | FileColumn::Size => NUMBER_BYTES,
    };
    columns.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::types::{Int64Type, TimestampMicrosecondType};
    use arrow::array::{Array as _, AsArray};

    fn from(first: u64, rows: usize) -> RowNumbers {
        RowNumbers::From { first, rows }
    }

    fn origin(columns: impl IntoIterator<Item = FileColumn>, last_modified_s: i64) -> Origin {
        let facts = ObjectFacts {
            bucket: "b".to_owned(),
            key: "größe/x".to_owned(),
            last_modified_s,
            size_bytes: 7,
            etag: Some("abc".to_owned()),
            version: None,
        };
        Origin::with_columns(facts, columns.into_iter().collect())
    }

    #[test]
    fn columns_are_those_that_are_announced() {
        let origin = origin(FileColumn::ALL, 1_700_000_000);
        let arrays = origin.arrays(&from(5, 3), 4, &mut None).unwrap();
        for (array, (name, column_type)) in arrays.iter().zip(origin.columns()) {
            assert_eq!((array.len(), array.data_type()), (3, &column_type.arrow_type()), "{name}");
        }
        let texts = |index: usize| arrays[index].as_string::<i32>().iter().flatten().collect::<Vec<_>>();
        assert_eq!(
            (texts(0), texts(4), texts(6), texts(7)),
            (vec!["größe/x"; 3], vec!["abc"; 3], vec!["x"; 3], vec!["b"; 3])
        );
        assert_eq!(arrays[1].as_primitive::<TimestampMicrosecondType>().values(), &[1_700_000_000_000_000; 3]);
        assert_eq!(arrays[2].as_primitive::<Int64Type>().values(), &[5, 6, 7]);
        let gaps = origin.arrays(&RowNumbers::Each(Arc::from([2, 9])), 4, &mut None).unwrap();
        assert_eq!(gaps[2].as_primitive::<Int64Type>().values(), &[2, 9]);
        assert_eq!(arrays[3].as_primitive::<Int64Type>().values(), &[7; 3]);
        assert_eq!((arrays[5].null_count(), arrays.len(), origin.columns().count()), (3, 8, 8));
        let plain = Origin::new("b", "größe/x");
        assert_eq!((plain.columns().count(), plain.arrays(&from(0, 3), 4, &mut None).unwrap().len()), (0, 0));
        assert_eq!(plain.id, origin.id);
    }

    #[test]
    fn texts_are_made_once_for_batches_of_one_size() {
        let origin = origin(FileColumns::USUAL, 0);
        let mut repeated = None;
        let mut values = |rows, most| {
            let arrays = origin.arrays(&from(0, rows), most, &mut repeated).unwrap();
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
        let origin = origin(FileColumns::USUAL, i64::MAX);
        assert_eq!(origin.arrays(&from(0, 2), 2, &mut None).unwrap()[1].null_count(), 2);
        assert!(origin.arrays(&from(u64::MAX, 1), 1, &mut None).is_err());
        assert!(origin.arrays(&from(i64::MAX.unsigned_abs(), 1), 1, &mut None).is_err());
        assert!(origin.arrays(&RowNumbers::Each(Arc::from([0, u64::MAX])), 2, &mut None).is_err());
    }
}
