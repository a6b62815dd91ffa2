//! What an object's key says: one value a column, the same in all rows of the object.

use super::error::CastError;
use crate::schema::types::ColumnType;
use arrow::array::{Array as _, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use std::sync::Arc;

/// The values of an object's key, by the names of their columns. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyValues(Arc<[(String, ArrayRef)]>);

impl KeyValues {
    /// These values: arrays of length one in the outgoing types of their columns.
    pub(crate) fn new(values: Vec<(String, ArrayRef)>) -> Self {
        Self(values.into())
    }

    /// What they add to a row when decoded, in bytes.
    pub(crate) fn bytes_a_row(&self) -> u64 {
        self.0.iter().map(|(_, value)| value.to_data().get_slice_memory_size().unwrap_or(0) as u64).sum()
    }

    /// The value of the column `name` in `rows` rows; null where the key has none.
    ///
    /// # Errors
    /// When it is not of the type `target`, or the rows together are too large for an array.
    pub(crate) fn rows(&self, name: &str, target: &ColumnType, rows: usize) -> Result<ArrayRef, CastError> {
        let Some((_, value)) = self.0.iter().find(|(known, _)| known == name) else {
            return Ok(new_null_array(&target.arrow_type(), rows));
        };
        if *value.data_type() != target.arrow_type() {
            return Err(super::error::unexpected(value, target));
        }
        if value.is_null(0) {
            return Ok(new_null_array(value.data_type(), rows));
        }
        Ok(take(value, &UInt32Array::from_value(0, rows), None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray as _, Date32Array, StringArray};

    #[test]
    fn a_value_is_in_all_rows_and_a_missing_one_is_null() {
        let dt: ArrayRef = Arc::new(Date32Array::from(vec![19_753]));
        let region: ArrayRef = Arc::new(StringArray::from(vec!["größe"]));
        let none: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        let values = KeyValues::new(vec![("dt".to_owned(), dt), ("region".to_owned(), region), ("x".to_owned(), none)]);
        let dates = values.rows("dt", &ColumnType::Date32, 3).unwrap();
        assert_eq!(dates.as_primitive::<arrow::datatypes::Date32Type>().values(), &[19_753; 3]);
        let regions = values.rows("region", &ColumnType::Utf8, 2).unwrap();
        assert_eq!(regions.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["größe"; 2]);
        for name in ["x", "missing"] {
            assert_eq!(values.rows(name, &ColumnType::Utf8, 4).unwrap().null_count(), 4, "{name}");
        }
        assert!(values.rows("dt", &ColumnType::Utf8, 1).is_err());
        assert!(values.bytes_a_row() >= 4 + "größe".len() as u64);
        assert_eq!(values.rows("region", &ColumnType::Utf8, 0).unwrap().len(), 0);
    }
}
