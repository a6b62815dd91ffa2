//! Numbers of any type, and which of them another type holds exactly.

use crate::schema::types::ColumnType;
use arrow::array::types::{
    Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{ArrayRef, ArrowPrimitiveType, AsArray};

/// The numbers of a column; what lies under its nulls means nothing.
pub(in crate::cast) enum Numbers {
    /// `values / 10^scale`.
    Exact {
        values: Vec<i128>,
        scale: u8,
    },
    Float(Vec<f64>),
}

impl Numbers {
    /// The numbers of a column of the outgoing type `own`; `None`: it has no numbers.
    pub(in crate::cast) fn new(own: &ColumnType, array: &ArrayRef) -> Option<Self> {
        let integers = |values| Self::Exact { values, scale: 0 };
        Some(match own {
            ColumnType::Int8 => integers(values::<Int8Type>(array)?),
            ColumnType::Int16 => integers(values::<Int16Type>(array)?),
            ColumnType::Int32 => integers(values::<Int32Type>(array)?),
            ColumnType::Int64 => integers(values::<Int64Type>(array)?),
            ColumnType::UInt8 => integers(values::<UInt8Type>(array)?),
            ColumnType::UInt16 => integers(values::<UInt16Type>(array)?),
            ColumnType::UInt32 => integers(values::<UInt32Type>(array)?),
            ColumnType::UInt64 => integers(values::<UInt64Type>(array)?),
            ColumnType::Decimal128 { scale, .. } => {
                Self::Exact { values: values::<Decimal128Type>(array)?, scale: scale.unsigned_abs() }
            }
            ColumnType::Float32 => {
                Self::Float(array.as_primitive_opt::<Float32Type>()?.values().iter().map(|v| f64::from(*v)).collect())
            }
            ColumnType::Float64 => Self::Float(array.as_primitive_opt::<Float64Type>()?.values().to_vec()),
            _ => return None,
        })
    }

    pub(in crate::cast) fn len(&self) -> usize {
        match self {
            Self::Exact { values, .. } => values.len(),
            Self::Float(values) => values.len(),
        }
    }

    /// The number, if it is a whole one.
    pub(in crate::cast) fn integer(&self, row: usize) -> Option<i128> {
        match self {
            Self::Exact { values, scale } => {
                let unit = power_of_ten(*scale)?;
                (values[row] % unit == 0).then_some(values[row] / unit)
            }
            Self::Float(values) => whole(values[row]),
        }
    }

    /// The number as a float that holds it: a whole one exactly, of another one the float whose shortest digits it has.
    pub(super) fn float64(&self, row: usize) -> Option<f64> {
        match self {
            Self::Float(values) => Some(values[row]),
            Self::Exact { values, scale } => match self.integer(row) {
                Some(integer) => float_of(integer),
                None => {
                    let (value, exponent) = normal(values[row], -i32::from(*scale));
                    let float: f64 = format!("{value}e{exponent}").parse().ok()?;
                    (shortest(float)? == (value, exponent)).then_some(float)
                }
            },
        }
    }

    pub(super) fn float32(&self, row: usize) -> Option<f32> {
        let float = match self {
            Self::Float(values) => values[row],
            Self::Exact { .. } => float_of(self.integer(row)?)?,
        };
        #[expect(clippy::cast_possible_truncation, reason = "what does not come back is none")]
        let narrow = float as f32;
        let same = f64::from(narrow).to_bits() == float.to_bits() || float.is_nan();
        same.then_some(narrow)
    }

    /// The number in units of `10^-scale`, if those hold it with at most `precision` digits.
    pub(super) fn decimal(&self, row: usize, precision: u8, scale: u8) -> Option<i128> {
        let (value, exponent) = match self {
            Self::Exact { values, scale } => (values[row], -i32::from(*scale)),
            Self::Float(values) => shortest(values[row])?,
        };
        let shift = exponent + i32::from(scale);
        let unit = power_of_ten(u8::try_from(shift.unsigned_abs()).ok()?);
        let scaled = if shift >= 0 {
            // Zero has any number of digits.
            if value == 0 { 0 } else { value.checked_mul(unit?)? }
        } else {
            let unit = unit?;
            (value % unit == 0).then_some(value / unit)?
        };
        (scaled.unsigned_abs() < power_of_ten(precision)?.unsigned_abs()).then_some(scaled)
    }
}

fn values<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<Vec<i128>>
where
    T::Native: Into<i128>,
{
    Some(array.as_primitive_opt::<T>()?.values().iter().map(|value| (*value).into()).collect())
}

/// `None` beyond 38 digits.
pub(in crate::cast) fn power_of_ten(digits: u8) -> Option<i128> {
    10_i128.checked_pow(digits.into())
}

/// The float with exactly this value.
fn float_of(integer: i128) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "what does not come back is none")]
    let float = integer as f64;
    (whole(float)? == integer).then_some(float)
}

/// The integer with exactly this value; `None` for fractions, and beyond 127 bits.
fn whole(float: f64) -> Option<i128> {
    /// 2^127, the first that does not fit.
    const END: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    let integer = || float as i128;
    #[expect(clippy::float_cmp, reason = "whole numbers equal themselves truncated")]
    let is_whole = float.trunc() == float;
    (is_whole && float.abs() < END).then(integer)
}

/// The shortest digits that give this float, as a number without a zero at its end and an exponent of ten; `None` if it is
/// not finite.
pub(in crate::cast) fn shortest(float: f64) -> Option<(i128, i32)> {
    if !float.is_finite() {
        return None;
    }
    // As in `-1.25e-7`: 17 digits at most.
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e')?;
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let value: i128 = digits.replace('.', "").parse().ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    Some(normal(value, exponent - i32::try_from(decimals).ok()?))
}

/// The same number without a zero at its end.
pub(in crate::cast) fn normal(mut value: i128, mut exponent: i32) -> (i128, i32) {
    if value == 0 {
        return (0, 0);
    }
    while value % 10 == 0 {
        value /= 10;
        exponent += 1;
    }
    (value, exponent)
}
