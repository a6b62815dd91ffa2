//! The numbers of a batch's rows in their object: what ids and `_s3_row` are made from.

use std::sync::Arc;

/// The numbers of rows in the object, from 0, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowNumbers {
    /// `rows` rows behind one another, of which `first` is the first.
    From {
        /// The number of the first row.
        first: u64,
        /// How many rows there are.
        rows: usize,
    },
    /// Each row's own number: some between them were left out.
    Each(Arc<[u64]>),
}

impl RowNumbers {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::From { rows, .. } => *rows,
            Self::Each(numbers) => numbers.len(),
        }
    }

    /// The number of the row with this index in the batch. Of an index behind the last row it is a number behind the last.
    pub(crate) fn number(&self, index: usize) -> u64 {
        let behind = |first: u64| first.saturating_add(index as u64);
        match self {
            Self::From { first, .. } => behind(*first),
            Self::Each(numbers) => numbers.get(index).copied().unwrap_or_else(|| {
                numbers.last().map_or(behind(0), |last| behind(last.saturating_sub(numbers.len() as u64 - 1)))
            }),
        }
    }

    /// The first `rows` of them.
    pub(crate) fn cut(&self, rows: usize) -> Self {
        self.slice(0, rows)
    }

    /// `rows` of them from the index `at` on, or as many as there are.
    pub(crate) fn slice(&self, at: usize, rows: usize) -> Self {
        let end = at.saturating_add(rows).min(self.len());
        let at = at.min(end);
        match self {
            Self::From { .. } => Self::From { first: self.number(at), rows: end - at },
            Self::Each(numbers) if end - at < numbers.len() => Self::Each(numbers[at..end].into()),
            Self::Each(numbers) => Self::Each(Arc::clone(numbers)),
        }
    }

    /// How many of them are below `number`.
    pub(crate) fn count_before(&self, number: u64) -> usize {
        match self {
            Self::From { first, rows } => {
                usize::try_from(number.saturating_sub(*first)).unwrap_or(usize::MAX).min(*rows)
            }
            Self::Each(numbers) => numbers.partition_point(|known| *known < number),
        }
    }

    /// Those for which `keep` is true, by their indexes.
    pub(crate) fn filter(&self, keep: impl Fn(usize) -> bool) -> Self {
        Self::Each((0..self.len()).filter(|index| keep(*index)).map(|index| self.number(index)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_numbers_with_and_without_gaps() {
        let plain = RowNumbers::From { first: 5, rows: 3 };
        let gaps = RowNumbers::Each(Arc::from([2, 5, 9]));
        let numbers = |of: &RowNumbers| (0..of.len()).map(|index| of.number(index)).collect::<Vec<_>>();
        assert_eq!((numbers(&plain), numbers(&gaps)), (vec![5, 6, 7], vec![2, 5, 9]));
        assert_eq!((numbers(&plain.cut(1)), numbers(&gaps.cut(2))), (vec![5], vec![2, 5]));
        assert_eq!((plain.cut(9), gaps.cut(9)), (plain.clone(), gaps.clone()));
        assert_eq!((numbers(&plain.slice(1, 9)), numbers(&gaps.slice(1, 1))), (vec![6, 7], vec![5]));
        assert_eq!((plain.slice(4, 1).len(), gaps.slice(4, 1).len()), (0, 0));
        let before = |number| (plain.count_before(number), gaps.count_before(number));
        assert_eq!((before(0), before(6), before(9), before(99)), ((0, 0), (1, 2), (3, 2), (3, 3)));
        assert_eq!(numbers(&plain.filter(|index| index != 1)), [5, 7]);
        assert_eq!((plain.number(3), gaps.number(3), RowNumbers::Each(Arc::from([])).number(0)), (8, 10, 0));
    }
}
