//! The ids of rows that stand in the file: `_cq_id` and `_cq_parent_id` of what CloudQuery's destinations wrote.

use super::by_hand::convert;
use super::convert::Converted;
use super::counts::CastCounts;
use super::error::CastError;
use crate::schema::by_hand::Conversion;
use crate::schema::field::FileField;
use crate::schema::types::ColumnType;
use arrow::array::{Array as _, ArrayRef};

/// A row without what it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadId {
    /// Its index in the batch.
    pub(crate) row: usize,
    pub(crate) flaw: Flaw,
}

/// What is wrong with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It is null.
    Null,
    /// It is no UUID.
    NotUuid,
}

/// The ids in `array`, which was read from `field`, and the first row that has none: of the rows themselves where null is
/// none, too, or of their parents.
///
/// # Errors
/// As [`super::cast()`].
pub(crate) fn ids(
    field: &FileField,
    array: &ArrayRef,
    null_is_bad: bool,
    counts: &CastCounts,
) -> Result<(ArrayRef, Option<BadId>), CastError> {
    let conversion = Conversion::to(ColumnType::Uuid);
    let Converted { array: ids, lost } = convert(field, &conversion, array, None, counts)?;
    let lost_row = lost.and_then(|lost| lost.set_indices().next());
    let null_row = if null_is_bad { (0..array.len()).find(|row| array.is_null(*row)) } else { None };
    let lost = lost_row.map(|row| BadId { row, flaw: Flaw::NotUuid });
    let null = null_row.map(|row| BadId { row, flaw: Flaw::Null });
    Ok((ids, [lost, null].into_iter().flatten().min_by_key(|bad| bad.row)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::field::{FieldKind, Reading};
    use arrow::array::{AsArray as _, BinaryArray, StringArray};
    use arrow::datatypes::DataType;
    use std::sync::Arc;

    fn of(array: ArrayRef, null_is_bad: bool) -> (ArrayRef, Option<BadId>) {
        let kind = FieldKind::Leaf { arrow: array.data_type().clone(), reading: Reading::Plain };
        let field = FileField { name: "_cq_id".into(), nullable: true, kind, leaves: 0..1 };
        ids(&field, &array, null_is_bad, &CastCounts::default()).unwrap()
    }

    #[test]
    fn the_first_row_without_an_id_is_found() {
        let id = "00000000-0000-0000-0000-00000000000b";
        let texts = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
        let (ids, bad) = of(texts(vec![Some(id), Some(id)]), true);
        assert_eq!((ids.as_fixed_size_binary().value(1)[15], bad), (11, None));
        assert_eq!(ids.data_type(), &DataType::FixedSizeBinary(16));
        let null = BadId { row: 1, flaw: Flaw::Null };
        assert_eq!(of(texts(vec![Some(id), None, Some("x")]), true).1, Some(null));
        let not_uuid = BadId { row: 2, flaw: Flaw::NotUuid };
        assert_eq!(of(texts(vec![Some(id), None, Some("x")]), false).1, Some(not_uuid));
        let bytes = Arc::new(BinaryArray::from(vec![[7; 16].as_slice(), &[7; 15]])) as ArrayRef;
        assert_eq!(of(bytes, true).1, Some(BadId { row: 1, flaw: Flaw::NotUuid }));
    }
}
