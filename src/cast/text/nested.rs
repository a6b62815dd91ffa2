//! Lists, structs and maps that stand in the file as JSON: in files of CSV, too. What is in them is read as JSON.

use super::How;
use crate::cast::convert::{Converted, either, of_spans, some_set};
use crate::cast::error::CastError;
use crate::schema::text_forms::{TextForms, TextReading};
use crate::schema::types::ColumnType;
use arrow::array::{Array, ArrayRef, ListArray, MapArray, StringArray, StringBuilder, StructArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pair of a map, as CloudQuery writes it.
#[derive(serde::Deserialize)]
struct Pair<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// Converts to a nested type; what is not of its kind is lost.
pub(super) fn convert(how: How<'_>, target: &ColumnType, values: &StringArray) -> Result<Converted, CastError> {
    match (target, target.arrow_type()) {
        (ColumnType::List(item), arrow) => lists(how, item, &arrow, values),
        (ColumnType::Struct(fields), arrow) => structs(how, fields, &arrow, values),
        (ColumnType::Map { key, value }, arrow) => maps(how, (key, value), &arrow, values),
        (_, arrow) => Err(unplanned(&arrow)),
    }
}

fn unplanned(arrow: &DataType) -> CastError {
    CastError::Type("text".to_owned(), arrow.to_string())
}

impl How<'_> {
    /// What is in nested values.
    fn inside(self, target: &ColumnType, values: StringArray) -> Result<Converted, CastError> {
        let values: ArrayRef = Arc::new(values);
        How { reading: &TextReading::Json, ..self }.convert(target, &values)
    }
}

/// Rows that are read one by one.
struct Rows<'a> {
    values: &'a StringArray,
    fits: Vec<bool>,
}

impl<'a> Rows<'a> {
    fn of(values: &'a StringArray) -> Self {
        Self { values, fits: Vec::with_capacity(values.len()) }
    }

    /// The next row's value, if it is there and can be read.
    fn read<T>(&mut self, read: impl Fn(&'a str) -> Option<T>) -> Option<T> {
        let row = self.fits.len();
        let value = if self.values.is_valid(row) { read(self.values.value(row)) } else { None };
        self.fits.push(value.is_some());
        value
    }

    /// The column's nulls, and the rows whose value could not be read.
    fn finish(self) -> (NullBuffer, Option<BooleanBuffer>) {
        let fits = BooleanBuffer::from(self.fits);
        let given =
            self.values.nulls().map_or_else(|| BooleanBuffer::new_set(fits.len()), |nulls| nulls.inner().clone());
        let lost = some_set(&!&fits & &given);
        (NullBuffer::new(fits), lost)
    }
}

/// Appends a value of JSON; null is null.
fn append(builder: &mut StringBuilder, raw: &RawValue) {
    builder.append_option(Some(raw.get()).filter(|text| *text != "null"));
}

fn offset(length: usize) -> Result<i32, CastError> {
    i32::try_from(length).map_err(|_| CastError::TooLarge)
}

fn lists(how: How<'_>, item: &ColumnType, arrow: &DataType, values: &StringArray) -> Result<Converted, CastError> {
    let DataType::List(field) = arrow else { return Err(unplanned(arrow)) };
    let mut rows = Rows::of(values);
    let mut items = StringBuilder::new();
    let (mut count, mut offsets) = (0, vec![0]);
    for _ in 0..values.len() {
        let read = rows.read(|text| serde_json::from_str::<Vec<&RawValue>>(text).ok());
        for raw in read.into_iter().flatten() {
            append(&mut items, raw);
            count += 1;
        }
        offsets.push(offset(count)?);
    }
    let (nulls, lost) = rows.finish();
    let items = how.inside(item, items.finish())?;
    let offsets = OffsetBuffer::new(offsets.into());
    let lost = either(lost, of_spans(items.lost.as_ref(), &offsets, Some(&nulls)));
    let list = ListArray::try_new(Arc::clone(field), offsets, items.array, Some(nulls))?;
    Ok(Converted { array: Arc::new(list), lost })
}

/// Field by field, by name; fields that the table lacks are lost where they are not null.
fn structs(
    how: How<'_>,
    fields: &[(String, ColumnType)],
    arrow: &DataType,
    values: &StringArray,
) -> Result<Converted, CastError> {
    let DataType::Struct(output) = arrow else { return Err(unplanned(arrow)) };
    let mut rows = Rows::of(values);
    let mut texts: Vec<StringBuilder> = fields.iter().map(|_| StringBuilder::new()).collect();
    let mut surplus = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let read = rows.read(|text| serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok());
        let mut object = read.unwrap_or_default();
        for ((name, _), builder) in fields.iter().zip(&mut texts) {
            match object.remove(name) {
                Some(raw) => append(builder, raw),
                None => builder.append_null(),
            }
        }
        surplus.push(object.values().any(|raw| raw.get() != "null"));
    }
    let (nulls, mut lost) = rows.finish();
    lost = either(lost, some_set(BooleanBuffer::from(surplus)));
    let mut columns = Vec::with_capacity(fields.len());
    for ((_, target), mut builder) in fields.iter().zip(texts) {
        let converted = how.inside(target, builder.finish())?;
        lost = either(lost, converted.lost);
        columns.push(converted.array);
    }
    let array = StructArray::try_new(output.clone(), columns, Some(nulls))?;
    Ok(Converted { array: Arc::new(array), lost })
}

/// Objects, arrays of pairs, and arrays of objects with `key` and `value`. A map with a key that is none of its type is lost.
fn maps(
    how: How<'_>,
    (key_target, value_target): (&ColumnType, &ColumnType),
    arrow: &DataType,
    values: &StringArray,
) -> Result<Converted, CastError> {
    let DataType::Map(entries, sorted) = arrow else { return Err(unplanned(arrow)) };
    let DataType::Struct(pair) = entries.data_type() else { return Err(unplanned(arrow)) };
    let mut read = Maps::read(values, None)?;
    let of_key = TextReading::Csv(Arc::new(TextForms::default()));
    let keys_of = How { reading: &of_key, ..how };
    let mut keys = keys_of.convert(key_target, &read.keys)?;
    if let Some(bad) = of_spans(keys.lost.as_ref(), &read.offsets, Some(&read.nulls)) {
        read = Maps::read(values, Some(&bad))?;
        keys = keys_of.convert(key_target, &read.keys)?;
    }
    let inside = how.inside(value_target, read.values)?;
    let lost = either(read.lost, of_spans(inside.lost.as_ref(), &read.offsets, Some(&read.nulls)));
    let pairs = StructArray::try_new(pair.clone(), vec![keys.array, inside.array], None)?;
    let map = MapArray::try_new(Arc::clone(entries), read.offsets, pairs, Some(read.nulls), *sorted)?;
    Ok(Converted { array: Arc::new(map), lost })
}

/// Maps as texts of their keys and values.
struct Maps {
    keys: ArrayRef,
    values: StringArray,
    offsets: OffsetBuffer<i32>,
    nulls: NullBuffer,
    lost: Option<BooleanBuffer>,
}

impl Maps {
    /// Reads all rows but the `bad` ones, which are lost.
    fn read(values: &StringArray, bad: Option<&BooleanBuffer>) -> Result<Self, CastError> {
        let mut rows = Rows::of(values);
        let (mut keys, mut inside) = (StringBuilder::new(), StringBuilder::new());
        let (mut count, mut offsets) = (0, vec![0]);
        for row in 0..values.len() {
            let is_bad = bad.is_some_and(|bad| bad.value(row));
            let pairs = rows.read(|text| if is_bad { None } else { pairs(text) });
            for (key, value) in pairs.into_iter().flatten() {
                keys.append_value(key);
                inside.append_option(value.map(RawValue::get).filter(|text| *text != "null"));
                count += 1;
            }
            offsets.push(offset(count)?);
        }
        let (nulls, lost) = rows.finish();
        let offsets = OffsetBuffer::new(offsets.into());
        Ok(Self { keys: Arc::new(keys.finish()), values: inside.finish(), offsets, nulls, lost })
    }
}

/// Keys in plain text with their values.
fn pairs(text: &str) -> Option<Vec<(String, Option<&RawValue>)>> {
    if text.starts_with('{') {
        let object: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
        return Some(object.into_iter().map(|(key, value)| (key, Some(value))).collect());
    }
    let pairs: Vec<(&RawValue, Option<&RawValue>)> = match serde_json::from_str::<Vec<Pair<'_>>>(text) {
        Ok(pairs) => pairs.into_iter().map(|pair| (pair.key, pair.value)).collect(),
        Err(_) => serde_json::from_str::<Vec<(&RawValue, Option<&RawValue>)>>(text).ok()?,
    };
    pairs.into_iter().map(|(key, value)| Some((key_text(key)?, value))).collect()
}

/// The text of a key; `None`: it is null, or nested.
fn key_text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'n' | b'{' | b'[' => None,
        _ => Some(super::strings::string(raw.get()).map_or_else(|| raw.get().to_owned(), Into::into)),
    }
}
