//! The join of types: the type of a column whose files have several. Types are collected as a set, of which one type is made
//! at the end, so that neither the order of files nor how they were grouped changes anything: uniting sets is associative,
//! commutative and idempotent.
//!
//! | types | joined |
//! |---|---|
//! | null and another | the other |
//! | integers | the narrowest integer type that holds all; `decimal(20, 0)` for `uint64` with a signed one |
//! | integers and decimals | the most integer digits and the most decimals; text beyond 38 digits |
//! | numbers with a float | `float64`: values that it cannot hold exactly are rescued |
//! | date and timestamp | timestamp |
//! | other scalars | text |
//! | lists, structs, maps | item by item, field by field, value by value |
//! | a nested type or json, and anything else | json |
//!
//! Columns of files of text have the type that all their values have, those of all such files together; that type is joined with
//! the others.

use super::file::FileColumn;
use super::rank::{Place, Rank};
use super::text_types::TextTypes;
use super::types::ColumnType;
use std::collections::BTreeMap;

/// The most digits of a decimal column.
const MAX_DIGITS: u8 = 38;

/// Fields of a struct at most: where every file has others, they are data, and the column is json.
const MAX_FIELDS: usize = 10_000;

// Scalars that are no integers and no decimals, as bits of `TypeSet::plain`.
const BOOLEAN: u16 = 1;
const FLOAT32: u16 = 1 << 1;
const FLOAT64: u16 = 1 << 2;
const UTF8: u16 = 1 << 3;
const BINARY: u16 = 1 << 4;
const DATE: u16 = 1 << 5;
const TIME: u16 = 1 << 6;
const TIMESTAMP: u16 = 1 << 7;
const UUID: u16 = 1 << 8;
const JSON: u16 = 1 << 9;
const INET: u16 = 1 << 10;
const MAC: u16 = 1 << 11;

/// The types that a column has in some files. Its default is no type at all, that of a column which is null everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TypeSet {
    /// Bits of the scalars that are no integers and no decimals.
    plain: u16,
    /// Bits of the widest signed integer; 0: there is none.
    signed_bits: u8,
    /// Bits of the widest unsigned integer; 0: there is none.
    unsigned_bits: u8,
    decimal: Option<Digits>,
    items: Option<Box<TypeSet>>,
    map: Option<Map>,
    fields: Option<Fields>,
    /// What the values in files of text are.
    text: Option<Box<TextTypes>>,
}

/// The most digits of some decimals before the point and behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digits {
    integer: u8,
    scale: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Map {
    /// `None`: maps with other keys are different types.
    key: Option<ColumnType>,
    values: Box<TypeSet>,
}

/// Fields of structs by name and the number of fields of that name before them.
type Fields = BTreeMap<(String, usize), Field>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    place: Place,
    types: TypeSet,
}

impl TypeSet {
    /// The set of this one type, which the file `rank` has.
    pub(super) fn of(column_type: &ColumnType, rank: &Rank) -> Self {
        let mut set = Self::default();
        match column_type {
            ColumnType::Null => {}
            ColumnType::Int8 => set.signed_bits = 8,
            ColumnType::Int16 => set.signed_bits = 16,
            ColumnType::Int32 => set.signed_bits = 32,
            ColumnType::Int64 => set.signed_bits = 64,
            ColumnType::UInt8 => set.unsigned_bits = 8,
            ColumnType::UInt16 => set.unsigned_bits = 16,
            ColumnType::UInt32 => set.unsigned_bits = 32,
            ColumnType::UInt64 => set.unsigned_bits = 64,
            ColumnType::Decimal128 { precision, scale } => {
                let scale = scale.unsigned_abs();
                set.decimal = Some(Digits { integer: precision.saturating_sub(scale), scale });
            }
            ColumnType::Boolean => set.plain = BOOLEAN,
            ColumnType::Float32 => set.plain = FLOAT32,
            ColumnType::Float64 => set.plain = FLOAT64,
            ColumnType::Utf8 => set.plain = UTF8,
            ColumnType::Binary => set.plain = BINARY,
            ColumnType::Date32 => set.plain = DATE,
            ColumnType::Time64 => set.plain = TIME,
            ColumnType::Timestamp => set.plain = TIMESTAMP,
            ColumnType::Uuid => set.plain = UUID,
            ColumnType::Json => set.plain = JSON,
            ColumnType::Inet => set.plain = INET,
            ColumnType::Mac => set.plain = MAC,
            ColumnType::List(item) => set.items = Some(Box::new(Self::of(item, rank))),
            ColumnType::Map { key, value } => {
                set.map = Some(Map { key: Some((**key).clone()), values: Box::new(Self::of(value, rank)) });
            }
            ColumnType::Struct(fields) => set.fields = Some(fields_of(fields, rank)),
        }
        set
    }

    /// The set of the types that the file `rank` has in this column.
    pub(super) fn of_column(column: &FileColumn, rank: &Rank) -> Self {
        match &column.inferred {
            Some(types) => Self::of_text(types),
            None => Self::of(&column.target, rank),
        }
    }

    /// The set of what values of files of text are.
    fn of_text(types: &TextTypes) -> Self {
        Self { text: Some(Box::new(types.clone())), ..Self::default() }
    }

    /// Takes in the types of another set.
    pub(super) fn unite(&mut self, other: Self) {
        self.plain |= other.plain;
        self.signed_bits = self.signed_bits.max(other.signed_bits);
        self.unsigned_bits = self.unsigned_bits.max(other.unsigned_bits);
        let digits = |a: Digits, b: Digits| Digits { integer: a.integer.max(b.integer), scale: a.scale.max(b.scale) };
        self.decimal = both(self.decimal, other.decimal, digits);
        self.items = both(self.items.take(), other.items, |mut a, b| {
            a.unite(*b);
            a
        });
        self.map = both(self.map.take(), other.map, |mut a, b| {
            if a.key != b.key {
                a.key = None;
            }
            a.values.unite(*b.values);
            a
        });
        self.fields = both(self.fields.take(), other.fields, |mut a, b| {
            for (name, field) in b {
                match a.get_mut(&name) {
                    Some(known) => {
                        known.place = known.place.clone().min(field.place);
                        known.types.unite(field.types);
                    }
                    None => {
                        a.insert(name, field);
                    }
                }
            }
            a
        });
        self.text = both(self.text.take(), other.text, |mut a, b| {
            a.unite(&b);
            a
        });
        if self.fields.as_ref().is_some_and(|fields| fields.len() > MAX_FIELDS) {
            self.plain |= JSON;
        }
        // It takes everything, so the rest is nothing.
        if self.plain & JSON != 0 {
            *self = Self { plain: JSON, ..Self::default() };
        }
    }

    /// The type that takes the values of all, or the text of those that it cannot take. [`ColumnType::Null`] of no type.
    pub(super) fn joined(&self) -> ColumnType {
        if let Some(text) = &self.text {
            let mut all = Self { text: None, ..self.clone() };
            // No structs are among them, whose fields would have a place in a file.
            let nowhere = Rank::Key("".into());
            text.column_types().iter().for_each(|column_type| all.unite(Self::of(column_type, &nowhere)));
            return all.joined();
        }
        let nested =
            usize::from(self.items.is_some()) + usize::from(self.map.is_some()) + usize::from(self.fields.is_some());
        if nested == 0 {
            return self.scalar();
        }
        if nested > 1 || self.has_scalar() {
            return ColumnType::Json;
        }
        self.nested().unwrap_or(ColumnType::Json)
    }

    /// The one nested type; `None` where it is json.
    fn nested(&self) -> Option<ColumnType> {
        if let Some(items) = &self.items {
            let item = items.joined();
            // Destinations take no lists of lists.
            return item.item().is_none().then(|| ColumnType::List(Box::new(item)));
        }
        if let Some(Map { key, values }) = &self.map {
            return Some(ColumnType::Map { key: Box::new(key.clone()?), value: Box::new(values.joined()) });
        }
        let mut fields: Vec<_> = self.fields.as_ref()?.iter().collect();
        fields.sort_by_key(|(_, field)| &field.place);
        Some(ColumnType::Struct(
            fields.into_iter().map(|((name, _), field)| (name.clone(), field.types.joined())).collect(),
        ))
    }

    fn has_scalar(&self) -> bool {
        self.plain != 0 || self.has_exact_number()
    }

    fn has_exact_number(&self) -> bool {
        self.signed_bits > 0 || self.unsigned_bits > 0 || self.decimal.is_some()
    }

    fn scalar(&self) -> ColumnType {
        if !self.has_exact_number() {
            return match self.plain {
                0 => ColumnType::Null,
                BOOLEAN => ColumnType::Boolean,
                FLOAT32 => ColumnType::Float32,
                BINARY => ColumnType::Binary,
                DATE => ColumnType::Date32,
                TIME => ColumnType::Time64,
                TIMESTAMP => ColumnType::Timestamp,
                UUID => ColumnType::Uuid,
                INET => ColumnType::Inet,
                MAC => ColumnType::Mac,
                plain if plain & JSON != 0 => ColumnType::Json,
                plain if plain & !(FLOAT32 | FLOAT64) == 0 => ColumnType::Float64,
                plain if plain & !(DATE | TIMESTAMP) == 0 => ColumnType::Timestamp,
                _ => ColumnType::Utf8,
            };
        }
        match self.plain {
            0 => self.exact_number(),
            plain if plain & JSON != 0 => ColumnType::Json,
            plain if plain & !(FLOAT32 | FLOAT64) == 0 => ColumnType::Float64,
            _ => ColumnType::Utf8,
        }
    }

    fn exact_number(&self) -> ColumnType {
        let (signed, unsigned) = (self.signed_bits, self.unsigned_bits);
        if let Some(Digits { integer, scale }) = self.decimal {
            let integer = integer.max(signed_digits(signed)).max(unsigned_digits(unsigned));
            let precision = integer + scale;
            return match i8::try_from(scale) {
                Ok(scale) if precision <= MAX_DIGITS => ColumnType::Decimal128 { precision: precision.max(1), scale },
                _ => ColumnType::Utf8,
            };
        }
        if signed == 0 {
            return match unsigned {
                8 => ColumnType::UInt8,
                16 => ColumnType::UInt16,
                32 => ColumnType::UInt32,
                _ => ColumnType::UInt64,
            };
        }
        match signed.max(unsigned.saturating_mul(2)) {
            8 => ColumnType::Int8,
            16 => ColumnType::Int16,
            32 => ColumnType::Int32,
            64 => ColumnType::Int64,
            _ => ColumnType::Decimal128 { precision: unsigned_digits(64), scale: 0 },
        }
    }

    /// Whether text is made of bytes, which is base64.
    pub(super) fn has_binary_as_text(&self) -> bool {
        self.plain & BINARY != 0 && self.joined() == ColumnType::Utf8
    }
}

/// The type of values of files of text alone.
pub(super) fn joined_text(types: &TextTypes) -> ColumnType {
    TypeSet::of_text(types).joined()
}

/// The join of two types, as [`TypeSet`] makes it of one file after another.
#[cfg(test)]
pub(crate) fn join(first: &ColumnType, second: &ColumnType) -> ColumnType {
    let rank = |key: &str| Rank::Key(key.into());
    let mut set = TypeSet::of(first, &rank("1"));
    set.unite(TypeSet::of(second, &rank("2")));
    set.joined()
}

/// Of two that may be there: the one that is, or what `unite` makes of both.
fn both<T>(a: Option<T>, b: Option<T>, unite: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(unite(a, b)),
        (a, b) => a.or(b),
    }
}

fn fields_of(fields: &[(String, ColumnType)], rank: &Rank) -> Fields {
    let mut found = Fields::new();
    for (index, (name, column_type)) in fields.iter().enumerate() {
        let occurrence = fields[..index].iter().filter(|(before, _)| before == name).count();
        let field = Field { place: Place { file: rank.clone(), index }, types: TypeSet::of(column_type, rank) };
        found.insert((name.clone(), occurrence), field);
    }
    found
}

/// Digits of the largest values of signed integers of so many bits.
fn signed_digits(bits: u8) -> u8 {
    match bits {
        0 => 0,
        8 => 3,
        16 => 5,
        32 => 10,
        _ => 19,
    }
}

fn unsigned_digits(bits: u8) -> u8 {
    match bits {
        0 => 0,
        8 => 3,
        16 => 5,
        32 => 10,
        _ => 20,
    }
}

#[cfg(test)]
mod tests;
