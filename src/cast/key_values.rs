//! What an object's key says: one value a column, the same in all rows of the object.

use super::error::CastError;
use crate::schema::types::ColumnType;
use arrow::array::{Array as _, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::take;
use std::sync::Arc;

/// The values of an object's key, by the names of their columns. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyValues(Arc<[(String, KeyValue)]>);

/// A value of a key.
#[derive(Debug, Clone)]
pub(crate) enum KeyValue {
    /// An array of length one in the outgoing type of the column.
    Fits(ArrayRef),
    /// A text that the column cannot hold: null there.
    Misfit(String),
}

impl KeyValues {
    /// These values, each with the folded name of its column.
    pub(crate) fn new(values: Vec<(String, KeyValue)>) -> Self {
        Self(values.into())
    }

    /// What they add to a row when decoded, in bytes.
    pub(crate) fn bytes_a_row(&self) -> u64 {
        let bytes = |(_, value): &(String, KeyValue)| match value {
            KeyValue::Fits(value) => value.to_data().get_slice_memory_size().unwrap_or(0),
            KeyValue::Misfit(text) => text.len(),
        };
        self.0.iter().map(|value| bytes(value) as u64).sum()
    }

    /// The text of the column with this folded name that the column cannot hold.
    pub(crate) fn misfit(&self, ident: &str) -> Option<&str> {
        match self.get(ident)? {
            KeyValue::Misfit(text) => Some(text),
            KeyValue::Fits(_) => None,
        }
    }

    fn get(&self, ident: &str) -> Option<&KeyValue> {
        self.0.iter().find(|(known, _)| known == ident).map(|(_, value)| value)
    }

    /// The value of the column with this folded name in `rows` rows; null where the key has none that fits.
    ///
    /// # Errors
    /// When it is not of the type `target`, or the rows together are too large for an array.
    pub(crate) fn rows(&self, ident: &str, target: &ColumnType, rows: usize) -> Result<ArrayRef, CastError> {
        let Some(KeyValue::Fits(value)) = self.get(ident) else {
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
        let values = KeyValues::new(vec![
            ("dt".to_owned(), KeyValue::Fits(dt)),
            ("region".to_owned(), KeyValue::Fits(region)),
            ("x".to_owned(), KeyValue::Fits(none)),
            ("month".to_owned(), KeyValue::Misfit("May".to_owned())),
        ]);
        let dates = values.rows("dt", &ColumnType::Date32, 3).unwrap();
        assert_eq!(dates.as_primitive::<arrow::datatypes::Date32Type>().values(), &[19_753; 3]);
        let regions = values.rows("region", &ColumnType::Utf8, 2).unwrap();
        assert_eq!(regions.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["größe"; 2]);
        assert_eq!((values.misfit("month"), values.misfit("x")), (Some("May"), None));
        for name in ["x", "missing", "month"] {
            assert_eq!(values.rows(name, &ColumnType::Utf8, 4).unwrap().null_count(), 4, "{name}");
        }
        assert!(values.rows("dt", &ColumnType::Utf8, 1).is_err());
        assert!(values.bytes_a_row() >= 4 + "größe".len() as u64);
        assert_eq!(values.rows("region", &ColumnType::Utf8, 0).unwrap().len(), 0);
    }
}
