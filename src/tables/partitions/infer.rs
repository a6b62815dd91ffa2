//! Which partition columns a table has, and of which types: found out from all its keys, one by one.
//!
//! The result is the same in whatever order the keys come: a column is called and placed as in the smallest key that has
//! it, and its type is what all values have in common. What is kept is a little per column, nothing per key.

use super::value::is_canonical_int64;
use super::{Found, FoundValue, KeyType, Value};
use crate::times;
use std::collections::{BTreeMap, BTreeSet};

/// Most partition columns of a table: far more than people have, and few enough that folders such as `<id>=<x>/`, of
/// which each is a name of its own, stop before they fill the memory.
const MAX_PARTITION_COLUMNS: usize = 100;

/// Takes the keys of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inference {
    /// By folded name.
    columns: BTreeMap<String, Seen>,
    /// There were more than [`MAX_PARTITION_COLUMNS`]. Then nothing is kept, so that all orders end alike.
    too_many: bool,
}

/// What is known about a column.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    /// The smallest key that has it, and where in it.
    first: (Box<str>, usize),
    /// How that key spells it.
    name: Box<str>,
    /// Types that the spec gives it, in one mapping or another.
    given: BTreeSet<KeyType>,
    /// What the other values are.
    kinds: Kinds,
    misfits: Misfits,
}

/// Which types all values have so far that are not null and have no given type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds {
    any: bool,
    all_int64: bool,
    all_date: bool,
    all_timestamp: bool,
    /// Can be read as whole numbers, `01` too.
    all_read_as_int64: bool,
    /// Can be read as moments, dates too.
    all_read_as_timestamp: bool,
}

impl Default for Kinds {
    fn default() -> Self {
        Self {
            any: false,
            all_int64: true,
            all_date: true,
            all_timestamp: true,
            all_read_as_int64: true,
            all_read_as_timestamp: true,
        }
    }
}

impl Kinds {
    fn of(text: &str) -> Self {
        Self {
            any: true,
            all_int64: is_canonical_int64(text),
            all_date: times::iso_date(text).is_some(),
            all_timestamp: times::iso_timestamp_us(text).is_some(),
            all_read_as_int64: Value::read(text, KeyType::Int64).is_some(),
            all_read_as_timestamp: Value::read(text, KeyType::Timestamp).is_some(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            any: self.any || other.any,
            all_int64: self.all_int64 && other.all_int64,
            all_date: self.all_date && other.all_date,
            all_timestamp: self.all_timestamp && other.all_timestamp,
            all_read_as_int64: self.all_read_as_int64 && other.all_read_as_int64,
            all_read_as_timestamp: self.all_read_as_timestamp && other.all_read_as_timestamp,
        }
    }

    fn ty(self) -> Option<KeyType> {
        match self {
            Self { any: false, .. } => None,
            Self { all_int64: true, .. } => Some(KeyType::Int64),
            Self { all_date: true, .. } => Some(KeyType::Date),
            Self { all_timestamp: true, .. } => Some(KeyType::Timestamp),
            _ => Some(KeyType::Text),
        }
    }

    /// Whether all values can be read as this type, which may be wider than what they look like.
    fn read_as(self, ty: KeyType) -> bool {
        match ty {
            KeyType::Int64 => self.all_read_as_int64,
            KeyType::Timestamp => self.all_read_as_timestamp,
            ty => self.ty().is_none_or(|own| KeyType::join([own, ty]) == Some(ty)),
        }
    }
}

/// Values that are not of the type that the spec gives, or no date: they become null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Misfits {
    /// In how many keys.
    pub count: u64,
    /// The smallest of those keys.
    pub first_key: Option<Box<str>>,
}

impl Misfits {
    fn add(&mut self, key: &str) {
        self.count += 1;
        if self.first_key.as_deref().is_none_or(|first| key < first) {
            self.first_key = Some(key.into());
        }
    }
}

/// More columns than a table can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the folders name=value have more than {MAX_PARTITION_COLUMNS} names, so they cannot all be columns; set \
     `partitions: off` for these objects, or exclude them"
)]
pub struct TooManyColumns;

impl Inference {
    /// Adds what a key says.
    pub fn see(&mut self, key: &str, values: &[Found<'_>]) {
        for found in values {
            if self.too_many {
                return;
            }
            let kinds = match (&found.value, found.typed) {
                (FoundValue::Text(text), None) => Kinds::of(text),
                _ => Kinds::default(),
            };
            let is_moment = matches!(found.value, FoundValue::Moment(_) | FoundValue::NoMoment(_));
            let is_misfit = match (&found.value, found.typed) {
                (FoundValue::Text(text), Some(typed)) => typed.read(text).is_none(),
                (FoundValue::NoMoment(_), _) => true,
                _ => false,
            };
            // The hot path: a column that is known, and a key behind those before.
            let seen = match self.columns.get_mut(&found.ident) {
                Some(seen) => seen,
                None => self.columns.entry(found.ident.clone()).or_insert_with(|| Seen::new(key, found)),
            };
            seen.come_first(key, found.at, &found.name);
            seen.kinds = seen.kinds.and(kinds);
            if let Some(ty) = found.typed.map(|typed| typed.ty).or(is_moment.then_some(KeyType::Timestamp))
                && !seen.given.contains(&ty)
            {
                seen.given.insert(ty);
            }
            if is_misfit {
                seen.misfits.add(key);
            }
            self.stop_at_too_many();
        }
    }

    fn stop_at_too_many(&mut self) {
        if self.too_many || self.columns.len() > MAX_PARTITION_COLUMNS {
            self.too_many = true;
            self.columns.clear();
        }
    }

    /// The columns: first those of the state, in their order, then the others by the smallest key that has them.
    ///
    /// # Errors
    /// [`TooManyColumns`].
    pub fn columns(&self, stored: &[StoredColumn]) -> Result<Vec<Column>, TooManyColumns> {
        if self.too_many {
            return Err(TooManyColumns);
        }
        let mut columns: Vec<Column> = Vec::with_capacity(self.columns.len());
        for stored in stored {
            let ident = super::fold(&stored.name);
            let seen = self.columns.get(&ident);
            let ty = match seen {
                Some(seen) if !seen.read_as(stored.ty) => seen.ty().and_then(|ty| KeyType::join([ty, stored.ty])),
                _ => None,
            };
            let ty = ty.unwrap_or(stored.ty);
            let misfits = seen.map(|seen| seen.misfits.clone()).unwrap_or_default();
            let given = seen.is_some_and(|seen| !seen.given.is_empty());
            columns.push(Column { name: stored.name.clone(), ident, ty, stored: Some(stored.ty), given, misfits });
        }
        let mut new: Vec<(&String, &Seen)> = self.columns.iter().collect();
        new.retain(|(ident, _)| !columns.iter().any(|column| column.ident == **ident));
        new.sort_by(|(_, a), (_, b)| a.first.cmp(&b.first));
        columns.extend(new.into_iter().map(|(ident, seen)| Column {
            name: seen.name.to_string(),
            ident: ident.clone(),
            ty: seen.ty().unwrap_or(KeyType::Text),
            stored: None,
            given: !seen.given.is_empty(),
            misfits: seen.misfits.clone(),
        }));
        Ok(columns)
    }
}

impl Seen {
    fn new(key: &str, found: &Found<'_>) -> Self {
        let (name, given) = (found.name.as_ref().into(), BTreeSet::new());
        Self { first: (key.into(), found.at), name, given, kinds: Kinds::default(), misfits: Misfits::default() }
    }

    fn come_first(&mut self, key: &str, at: usize, name: &str) {
        if (key, at) < (&*self.first.0, self.first.1) {
            self.first = (key.into(), at);
            self.name = name.into();
        }
    }

    /// Whether all values can be read as this type.
    fn read_as(&self, ty: KeyType) -> bool {
        self.kinds.read_as(ty) && self.given.iter().all(|given| KeyType::join([*given, ty]) == Some(ty))
    }

    /// `None`: all values are null.
    fn ty(&self) -> Option<KeyType> {
        KeyType::join(self.given.iter().copied().chain(self.kinds.ty()))
    }
}

/// A partition column as the state has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredColumn {
    /// Its name.
    pub name: String,
    /// The type that was announced.
    pub ty: KeyType,
}

/// A partition column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the path spells it.
    pub name: String,
    /// The same for comparison with [`Found::ident`].
    pub ident: String,
    /// The type that holds all its values: the stored one as long as all can be read as that, or else what both have in common.
    pub ty: KeyType,
    /// The type in the state, if it is there.
    pub stored: Option<KeyType>,
    /// The spec gives its type, or a date in the path does.
    pub given: bool,
    /// Values that become null.
    pub misfits: Misfits,
}

/// A value in a table's column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Null, or the key says nothing.
    Null,
    /// A value.
    Value(Value),
    /// A text that does not fit the column's type: null, to be counted or rescued.
    Misfit(String),
}

impl Cell {
    /// The value that a key has in a column of type `ty`.
    #[must_use]
    pub fn of(found: &Found<'_>, ty: KeyType) -> Self {
        let (value, text) = match &found.value {
            FoundValue::Null => return Self::Null,
            FoundValue::Moment(us) => {
                let value = Value::Timestamp(*us);
                (value.clone().cast(ty), value.to_string())
            }
            FoundValue::NoMoment(text) => return Self::Misfit(text.clone()),
            FoundValue::Text(text) => {
                let value = match found.typed {
                    Some(typed) => typed.read(text).and_then(|value| value.cast(ty)),
                    // A type that all values look like, or one that is kept: `01` is 1 there.
                    None => Value::read(text, ty),
                };
                (value, text.to_string())
            }
        };
        value.map_or(Self::Misfit(text), Self::Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layout::{FileType, Layout, PartitionSpec, TypeSpec};
    use crate::tables::mapping::Mappings;
    use proptest::prelude::*;

    fn mappings(columns: &[(&str, &str)]) -> Mappings {
        let typed = |(name, ty): &(&str, &str)| ((*name).to_owned(), TypeSpec { word: (*ty).to_owned(), format: None });
        let columns = columns.iter().map(typed).collect();
        let partitions = PartitionSpec { hive: true, columns, ..Default::default() };
        Mappings::new(&Layout { filetype: FileType::Auto, partitions, ..Layout::default() }).unwrap()
    }

    fn infer(mappings: &Mappings, keys: &[String]) -> Inference {
        let mut inference = Inference::default();
        keys.iter().for_each(|key| inference.see(key, &mappings.values(0, key)));
        inference
    }

    /// Names and types, as `name type`.
    fn columns(given: &[(&str, &str)], folders: &[&str]) -> Vec<String> {
        let mappings = mappings(given);
        let keys: Vec<String> = folders.iter().map(|folders| format!("t/{folders}/x")).collect();
        let columns = infer(&mappings, &keys).columns(&[]).unwrap();
        columns.iter().map(|column| format!("{} {}", column.name, column.ty)).collect()
    }

    #[test]
    fn types_are_what_all_values_have_in_common() {
        for (values, expected) in [
            (&["2024-01-31", "2024-02-01"][..], "date"),
            (&["2024-01-31", "2024-02-30"], "utf8"),
            (&["1", "-5", "0"], "int64"),
            (&["1", "x"], "utf8"),
            (&["01", "12"], "utf8"),
            (&["2026-01-31 10%3A00%3A00", "2026-01-31T10:00:00+01:00"], "timestamp"),
            (&["2026-01-31", "2026-01-31 10:00:00"], "utf8"),
            (&["", "__HIVE_DEFAULT_PARTITION__"], "utf8"),
            (&["", "5"], "int64"),
            (&["true"], "utf8"),
            (&["1.5"], "utf8"),
        ] {
            let folders: Vec<String> = values.iter().map(|value| format!("k={value}")).collect();
            let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
            assert_eq!(columns(&[], &folders), [format!("k {expected}")], "{values:?}");
        }
        assert_eq!(columns(&[("k", "int64")], &["k=01", "k=x"]), ["k int64"]);
    }

    #[test]
    fn columns_are_in_the_order_of_the_path_and_later_ones_behind() {
        assert_eq!(columns(&[], &["a=1/b=2", "b=2/a=1/c=3", "0=x"]), ["0 utf8", "a int64", "b int64", "c int64"]);
        assert_eq!(columns(&[], &["A=1", "a=2"]), ["A int64"]);
        assert_eq!(columns(&[], &["k=1/K=x/k=2"]), ["k int64", "K_2 utf8", "k_3 int64"]);
    }

    #[test]
    fn stored_columns_come_first_and_are_joined() {
        let mappings = mappings(&[]);
        let keys = ["t/a=x/b=2026-01-01/c=1/x", "t/a=y/x"].map(str::to_owned);
        let stored = |name: &str, ty| StoredColumn { name: name.to_owned(), ty };
        let stored = [stored("B", KeyType::Timestamp), stored("gone", KeyType::Date), stored("a", KeyType::Int64)];
        let columns = infer(&mappings, &keys).columns(&stored).unwrap();
        let shown: Vec<String> = columns.iter().map(|c| format!("{} {} {:?}", c.name, c.ty, c.stored)).collect();
        let expected = ["B timestamp Some(Timestamp)", "gone date Some(Date)", "a utf8 Some(Int64)", "c int64 None"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn misfits_are_counted_with_the_first_key() {
        let mappings = mappings(&[("month", "int64")]);
        let keys = ["t/month=y/x", "t/month=01/x", "t/month=x/x", "t/month=/x"].map(str::to_owned);
        let columns = infer(&mappings, &keys).columns(&[]).unwrap();
        assert_eq!(columns[0].misfits, Misfits { count: 2, first_key: Some("t/month=x/x".into()) });
        let cells: Vec<Cell> = keys.iter().map(|key| Cell::of(&mappings.values(0, key)[0], columns[0].ty)).collect();
        let expected =
            [Cell::Misfit("y".to_owned()), Cell::Value(Value::Int64(1)), Cell::Misfit("x".to_owned()), Cell::Null];
        assert_eq!(cells, expected);
    }

    #[test]
    fn names_without_end_are_an_error_and_take_no_memory() {
        let mappings = mappings(&[]);
        let keys: Vec<String> = (0..1000).map(|n| format!("t/{n}=x/f")).collect();
        let inference = infer(&mappings, &keys);
        assert_eq!(inference.columns(&[]), Err(TooManyColumns));
        assert!(inference.columns.is_empty());
        assert!(infer(&mappings, &keys[..MAX_PARTITION_COLUMNS]).columns(&[]).is_ok());
    }

    fn keys() -> impl Strategy<Value = Vec<String>> {
        let value = "[0-9]|0[0-9]|2026-01-0[0-3]|2026-01-01 00:00:0[0-9]|x|||%31|2026-02-30";
        let folders = prop::collection::vec(("[abAB]", value), 0..4);
        let key = (folders, "[xy]").prop_map(|(folders, file)| {
            let folders: String = folders.iter().map(|(name, value)| format!("{name}={value}/")).collect();
            format!("{folders}{file}")
        });
        prop::collection::vec(key, 0..10)
    }

    proptest! {
        #[test]
        fn the_order_of_keys_is_nothing(keys in keys(), turn in 0..10_usize) {
            let mappings = mappings(&[("b", "int64")]);
            let whole = infer(&mappings, &keys);
            let mut turned = keys.clone();
            turned.rotate_left(turn.min(keys.len()));
            prop_assert_eq!(&infer(&mappings, &turned), &whole);
        }

        #[test]
        fn inferred_types_hold_all_values_exactly(keys in keys()) {
            let mappings = mappings(&[]);
            let columns = infer(&mappings, &keys).columns(&[]).unwrap();
            for key in &keys {
                for found in mappings.values(0, key) {
                    let column = columns.iter().find(|column| column.ident == found.ident).unwrap();
                    let cell = Cell::of(&found, column.ty);
                    prop_assert!(!matches!(cell, Cell::Misfit(_)), "{} {:?}", key, cell);
                    prop_assert_eq!(cell == Cell::Null, found.value == FoundValue::Null);
                }
            }
        }
    }
}
