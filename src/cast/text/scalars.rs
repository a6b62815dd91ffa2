//! Plain values.

use super::strings::string;
use crate::cast::by_hand::text::{base64, float32, inet, mac, uuid};
use crate::cast::convert::{Converted, some_set};
use crate::cast::error::CastError;
use crate::schema::text_forms::number::{Number, int64};
use crate::schema::text_forms::{TextReading, date, float64, not_finite, time_us, timestamp_us};
use crate::schema::types::{ColumnType, UTC, UUID_BYTES};
use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanArray, FixedSizeBinaryBuilder, PrimitiveArray, StringArrayType,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use std::borrow::Cow;
use std::sync::Arc;

/// The point of numbers in JSON.
const POINT: u8 = b'.';

/// How one value is read.
#[derive(Clone, Copy)]
struct Form<'a> {
    reading: &'a TextReading,
    point: u8,
    is_json: bool,
}

/// Converts to a plain type.
pub(super) fn convert<'a>(
    reading: &TextReading,
    target: &ColumnType,
    values: impl StringArrayType<'a> + Copy,
) -> Result<Converted, CastError> {
    let form = match reading {
        TextReading::Csv(forms) => Form { reading, point: forms.point(), is_json: false },
        TextReading::Json => Form { reading, point: POINT, is_json: true },
    };
    Ok(match target {
        ColumnType::Boolean => booleans(form, values),
        ColumnType::Int64 => whole(&collect::<Int64Type>(values, |text| form.int64(text))),
        ColumnType::Float64 if form.is_json => whole(&collect::<Float64Type>(values, |raw| form.json_float(raw))),
        ColumnType::Float64 => whole(&collect::<Float64Type>(values, |text| float64(text, form.point))),
        ColumnType::Float32 => whole(&collect::<Float32Type>(values, |text| form.float32(text))),
        ColumnType::Int8 => whole(&collect::<Int8Type>(values, |text| form.int(text))),
        ColumnType::Int16 => whole(&collect::<Int16Type>(values, |text| form.int(text))),
        ColumnType::Int32 => whole(&collect::<Int32Type>(values, |text| form.int(text))),
        ColumnType::UInt8 => whole(&collect::<UInt8Type>(values, |text| form.int(text))),
        ColumnType::UInt16 => whole(&collect::<UInt16Type>(values, |text| form.int(text))),
        ColumnType::UInt32 => whole(&collect::<UInt32Type>(values, |text| form.int(text))),
        ColumnType::UInt64 => whole(&collect::<UInt64Type>(values, |text| form.int(text))),
        ColumnType::Decimal128 { precision, scale } => {
            let number = |text: &str| form.number(text)?.decimal(*precision, scale.unsigned_abs());
            let (array, lost) = collect::<Decimal128Type>(values, number);
            Converted { array: Arc::new(array.with_precision_and_scale(*precision, *scale)?), lost }
        }
        ColumnType::Date32 => whole(&collect::<Date32Type>(values, |text| date(&form.text(text)?))),
        ColumnType::Time64 => whole(&collect::<Time64MicrosecondType>(values, |text| time_us(&form.text(text)?))),
        ColumnType::Timestamp => {
            let (array, lost) = collect::<TimestampMicrosecondType>(values, |text| timestamp_us(&form.text(text)?));
            Converted { array: Arc::new(array.with_timezone(UTC)), lost }
        }
        ColumnType::Uuid => uuids(form, values)?,
        ColumnType::Inet => bytes(values, |text| inet(&form.text(text)?).map(String::into_bytes))?,
        ColumnType::Mac => bytes(values, |text| mac(&form.text(text)?).map(Vec::from))?,
        ColumnType::Binary => bytes(values, |text| base64(&form.text(text)?))?,
        target => nothing(values, target),
    })
}

impl Form<'_> {
    #[inline]
    fn int64(self, text: &str) -> Option<i64> {
        match int64(text.as_bytes()) {
            None if self.is_json => self.int(text),
            value => value,
        }
    }

    /// In CSV digits alone, so that a text that looks like something else is none.
    fn int<T: TryFrom<i128>>(self, text: &str) -> Option<T> {
        let number = self.number(text).filter(|number| number.is_integer || self.is_json)?;
        T::try_from(number.integer()?).ok()
    }

    fn number(self, text: &str) -> Option<Number> {
        Number::read(text.as_bytes(), self.point)
    }

    /// A number, or one of the strings that stand for what is not finite.
    #[inline]
    fn json_float(self, raw: &str) -> Option<f64> {
        match raw.strip_prefix('"') {
            None => self.number(raw)?.float64(raw, POINT),
            Some(rest) => not_finite(rest.strip_suffix('"')?),
        }
    }

    fn float32(self, text: &str) -> Option<f32> {
        let float = if self.is_json { self.json_float(text) } else { float64(text, self.point) };
        #[expect(clippy::cast_possible_truncation, reason = "it is not finite")]
        match float {
            Some(float) if !float.is_finite() => Some(float as f32),
            _ => {
                self.number(text)?;
                if self.point == POINT { float32(text) } else { float32(&text.replace(',', ".")) }
            }
        }
    }

    fn boolean(self, text: &str) -> Option<bool> {
        match (self.reading, text) {
            (TextReading::Csv(forms), text) => forms.boolean(text),
            (TextReading::Json, "true") => Some(true),
            (TextReading::Json, "false") => Some(false),
            (TextReading::Json, _) => None,
        }
    }

    /// The text; of JSON that of a string, and no other value.
    #[inline]
    fn text(self, text: &str) -> Option<Cow<'_, str>> {
        if self.is_json { string(text) } else { Some(Cow::Borrowed(text)) }
    }
}

fn whole<T: ArrowPrimitiveType>((array, lost): &(PrimitiveArray<T>, Option<BooleanBuffer>)) -> Converted {
    Converted { array: Arc::new(array.clone()), lost: lost.clone() }
}

/// The values, and the rows whose text is none of the type.
fn collect<'a, T: ArrowPrimitiveType>(
    values: impl StringArrayType<'a> + Copy,
    read: impl Fn(&'a str) -> Option<T::Native>,
) -> (PrimitiveArray<T>, Option<BooleanBuffer>) {
    let mut read_values = Vec::with_capacity(values.len());
    let fits = each(values, |text| {
        let value = text.and_then(&read);
        read_values.push(value.unwrap_or_default());
        value.is_some()
    });
    let (nulls, lost) = nulls_and_lost(values, fits);
    (PrimitiveArray::new(read_values.into(), nulls), lost)
}

/// The rows for whose text `fits` says so; it is called for each row in order, also for nulls.
fn each<'a>(values: impl StringArrayType<'a> + Copy, mut fits: impl FnMut(Option<&'a str>) -> bool) -> BooleanBuffer {
    match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => BooleanBuffer::collect_bool(values.len(), |row| fits(Some(values.value(row)))),
        Some(nulls) => BooleanBuffer::collect_bool(values.len(), |row| {
            fits(if nulls.is_valid(row) { Some(values.value(row)) } else { None })
        }),
    }
}

/// Of a column with values in the rows that fit: its nulls, and the rows that are null there alone.
fn nulls_and_lost<'a>(
    values: impl StringArrayType<'a>,
    fits: BooleanBuffer,
) -> (Option<NullBuffer>, Option<BooleanBuffer>) {
    let nulls = NullBuffer::new(fits);
    if nulls.null_count() == 0 {
        return (None, None);
    }
    let missing = !nulls.inner();
    let lost = match values.nulls() {
        Some(given) => &missing & given.inner(),
        None => missing,
    };
    (Some(nulls), some_set(lost))
}

fn booleans<'a>(form: Form<'_>, values: impl StringArrayType<'a> + Copy) -> Converted {
    let mut read = Vec::with_capacity(values.len());
    let fits = each(values, |text| {
        let value = text.and_then(|text| form.boolean(text));
        read.push(value == Some(true));
        value.is_some()
    });
    let (nulls, lost) = nulls_and_lost(values, fits);
    Converted { array: Arc::new(BooleanArray::new(BooleanBuffer::from(read), nulls)), lost }
}

fn uuids<'a>(form: Form<'_>, values: impl StringArrayType<'a> + Copy) -> Result<Converted, CastError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), UUID_BYTES);
    let mut appended = Ok(());
    let fits = each(values, |text| {
        let value = text.and_then(|text| uuid(&form.text(text)?));
        match value {
            Some(bytes) if appended.is_ok() => appended = builder.append_value(bytes),
            _ => builder.append_null(),
        }
        value.is_some()
    });
    appended?;
    let (_, lost) = nulls_and_lost(values, fits);
    Ok(Converted { array: Arc::new(builder.finish()), lost })
}

fn bytes<'a>(
    values: impl StringArrayType<'a> + Copy,
    read: impl Fn(&'a str) -> Option<Vec<u8>>,
) -> Result<Converted, CastError> {
    let mut builder = BinaryBuilder::with_capacity(values.len(), 0);
    let mut left_bytes = i32::MAX.unsigned_abs() as usize;
    let mut is_too_large = false;
    let fits = each(values, |text| {
        let value = text.and_then(&read);
        match value.as_ref().map(|value| left_bytes.checked_sub(value.len())) {
            Some(Some(left)) => left_bytes = left,
            Some(None) => is_too_large = true,
            None => {}
        }
        let is_some = value.is_some();
        builder.append_option(value.filter(|_| !is_too_large));
        is_some
    });
    if is_too_large {
        return Err(CastError::TooLarge);
    }
    let (_, lost) = nulls_and_lost(values, fits);
    Ok(Converted { array: Arc::new(builder.finish()), lost })
}

/// Nulls: the type has none of the texts.
fn nothing<'a>(values: impl StringArrayType<'a> + Copy, target: &ColumnType) -> Converted {
    let fits = each(values, |_| false);
    let (_, lost) = nulls_and_lost(values, fits);
    let array: ArrayRef = new_null_array(&target.arrow_type(), values.len());
    Converted { array, lost }
}
